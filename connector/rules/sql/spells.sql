-- How long silences last: every active day begins a spell that lasts until the contact's next active day, or is cut off at
-- {as_of}. One row per length in days: spells that ended in a return, and spells cut off.
-- {activity}: contact_key, active_dates in order, up to {as_of}. {since}: only spells that began on this day or later.
WITH silence AS (
    SELECT unnest(active_dates[:-2]) AS day, unnest(active_dates[2:]) AS next_day
    FROM {activity}
),
lasting AS (
    SELECT (next_day - day)::BIGINT AS days, count(*) AS ended, 0 AS cut_off
    FROM silence WHERE day >= {since} GROUP BY 1
    UNION ALL
    SELECT ({as_of} - active_dates[-1])::BIGINT, 0, count(*)
    FROM {activity} WHERE active_dates[-1] >= {since} GROUP BY 1
)
SELECT days, sum(ended)::BIGINT AS ended, sum(cut_off)::BIGINT AS cut_off
FROM lasting
GROUP BY days
ORDER BY days
