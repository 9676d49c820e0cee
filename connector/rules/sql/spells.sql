-- How long silences last: every active day begins a spell that lasts until the contact's next active day, or is cut off at
-- {as_of}. One row per length in days: spells that ended in a return, and spells cut off.
-- {activity}: contact_key, active_dates up to {as_of}. {since}: only spells that began on this day or later.
WITH spell AS (
    SELECT day, lead(day) OVER (PARTITION BY contact_key ORDER BY day) AS next_day
    FROM (SELECT contact_key, unnest(active_dates) AS day FROM {activity})
)
SELECT
    (coalesce(next_day, {as_of}) - day)::BIGINT AS days,
    count(next_day)::BIGINT AS ended,
    (count(*) - count(next_day))::BIGINT AS cut_off
FROM spell
WHERE day >= {since}
GROUP BY days
ORDER BY days
