-- The feature each contact used most and used last, out of {counts} (contact_feature_counts).
-- Equal counts, or two features at the same moment: the alphabetically first. {ranked} numbers the features by name,
-- and count and rank are packed into one number, so that one max() decides both.
SELECT
    contact_key,
    max(events::HUGEINT * 16777216 + 16777215 - rank) AS top_packed,
    max(epoch_us(last_at)::HUGEINT * 16777216 + 16777215 - rank) AS last_packed,
    min(first_at) AS first_active_at
FROM {counts} JOIN {ranked} USING (feature_key)
GROUP BY contact_key
