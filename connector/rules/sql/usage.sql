-- Usage by contact, day and feature, from one row per use. Who a product's user is, is looked up, not written into the
-- uses: a match or a merge changes no history. {uses}, {users}, {names}: the tables behind it.
SELECT
    users.contact_key,
    uses.day,
    names.feature,
    sum(uses.events)::BIGINT AS events,
    min(uses.occurred_at) AS first_at,
    max(uses.occurred_at) AS last_at,
    max(uses.arrived_at) AS arrived_at
FROM {uses} AS uses
JOIN {users} AS users USING (user_key)
JOIN {names} AS names USING (feature_key)
WHERE users.contact_key IS NOT NULL
GROUP BY users.contact_key, uses.day, names.feature
