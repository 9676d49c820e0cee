-- How often and when last each contact used each feature: the first of the two sums that activity is made of.
-- {usage} has one row per use: contact_key, day, feature_key, events, occurred_at.
SELECT
    contact_key,
    feature_key,
    sum(events)::BIGINT AS events,
    min(occurred_at) AS first_at,
    max(occurred_at) AS last_at
FROM {usage}
GROUP BY contact_key, feature_key
