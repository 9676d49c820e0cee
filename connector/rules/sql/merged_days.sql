-- The active days of the contacts that have new usage, old and new together. {fresh}: contact_days of the new usage.
-- {activity}: the state before. New days usually come after all old ones; then nothing is sorted again.
SELECT
    contact_key,
    CASE
        WHEN before.active_dates IS NULL THEN fresh.active_dates
        WHEN fresh.active_dates[1] > before.last_date THEN list_concat(before.active_dates, fresh.active_dates)
        ELSE list_sort(list_distinct(list_concat(before.active_dates, fresh.active_dates)))
    END AS active_dates
FROM {fresh} AS fresh LEFT JOIN {activity} AS before USING (contact_key)
