-- The feature counts of new usage, raised to their totals by what was counted before. {fresh}: contact_feature_counts of
-- the new usage. {counts}: those of before, of which there may be several rows per contact and feature.
SELECT
    contact_key,
    feature_key,
    any_value(fresh.events)::BIGINT + coalesce(sum(before.events), 0)::BIGINT AS events,
    any_value(fresh.first_at) AS first_at,
    any_value(fresh.last_at) AS last_at
FROM {fresh} AS fresh LEFT JOIN {counts} AS before USING (contact_key, feature_key)
GROUP BY contact_key, feature_key
