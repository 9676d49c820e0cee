-- contact_best of the contacts that have new usage, old and new together. Counts only grow here, so the old top feature
-- competes with the new totals of the features that were used again. {fresh}: contact_best of those totals.
-- {activity}: the state before. {ranked}: the features by name, renumbered since.
SELECT
    fresh.contact_key,
    greatest(fresh.top_packed, before.top_events::HUGEINT * 16777216 + 16777215 - top.rank) AS top_packed,
    greatest(
        fresh.last_packed, epoch_us(before.last_active_at)::HUGEINT * 16777216 + 16777215 - latest.rank
    ) AS last_packed,
    least(fresh.first_active_at, before.first_active_at) AS first_active_at
FROM {fresh} AS fresh
LEFT JOIN {activity} AS before ON before.contact_key = fresh.contact_key
LEFT JOIN {ranked} AS top ON top.feature_key = before.top_feature_key
LEFT JOIN {ranked} AS latest ON latest.feature_key = before.last_feature_key
