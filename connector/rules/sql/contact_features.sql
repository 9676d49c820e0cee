-- One row per contact with usage or payments, as of the end of a day: recency, windows, rhythm, value, quintiles, lifecycle.
-- inactive_days: days from the last active day to {as_of}, 0 on an active day. active_days_N: active days among the N
-- days that end with {as_of}. Quintile 5 is the best fifth: at least 4/5 of the contacts that have the value are strictly
-- below; equal values share a quintile, no value means no quintile. Recency ranks inactive_days (fewer is better),
-- frequency active_days_365, monetary lifetime_value. lifecycle, the first that holds: dormant, silent for 30 days or
-- more; new, first active in the last 28 days; resurrected, came back in the last 28 days after 90 or more silent days;
-- slipping, silent for 8 days or longer than nine of ten of the contact's own gaps; active. Never active: none.
-- {activity} must hold nothing later than {as_of}. {paid}: contact_value.
WITH windows AS MATERIALIZED (
    SELECT
        coalesce(a.contact_key, v.contact_key) AS contact_key,
        a.* EXCLUDE (contact_key, active_dates, top_events),
        ({as_of} - a.last_date)::BIGINT AS inactive_days,
        CASE WHEN a.last_date > {as_of} - 365
            THEN len(list_filter(a.active_dates, lambda d: d > {as_of} - 365)) ELSE 0 END::BIGINT AS active_days_365,
        CASE WHEN a.last_date > {as_of} - 90
            THEN len(list_filter(a.active_dates, lambda d: d > {as_of} - 90)) ELSE 0 END::BIGINT AS active_days_90,
        CASE WHEN a.last_date > {as_of} - 28
            THEN len(list_filter(a.active_dates, lambda d: d > {as_of} - 28)) ELSE 0 END::BIGINT AS active_days_28,
        v.value_365d,
        v.lifetime_value
    FROM {activity} AS a FULL JOIN {paid} AS v USING (contact_key)
),
recency AS (
    SELECT inactive_days, 1 + (5 * (sum(n) OVER better - n)) // sum(n) OVER () AS recency_quintile
    FROM (SELECT inactive_days, count(*) AS n FROM windows WHERE inactive_days IS NOT NULL GROUP BY inactive_days)
    WINDOW better AS (ORDER BY inactive_days DESC)
),
frequency AS (
    SELECT active_days_365, 1 + (5 * (sum(n) OVER better - n)) // sum(n) OVER () AS frequency_quintile
    FROM (SELECT active_days_365, count(*) AS n FROM windows WHERE inactive_days IS NOT NULL GROUP BY active_days_365)
    WINDOW better AS (ORDER BY active_days_365)
),
monetary AS (
    SELECT lifetime_value, 1 + (5 * (sum(n) OVER better - n)) // sum(n) OVER () AS monetary_quintile
    FROM (SELECT lifetime_value, count(*) AS n FROM windows WHERE lifetime_value IS NOT NULL GROUP BY lifetime_value)
    WINDOW better AS (ORDER BY lifetime_value)
)
SELECT
    w.*,
    recency_quintile::BIGINT AS recency_quintile,
    CASE WHEN w.inactive_days IS NOT NULL THEN frequency_quintile END::BIGINT AS frequency_quintile,
    monetary_quintile::BIGINT AS monetary_quintile,
    CASE
        WHEN w.inactive_days IS NULL THEN NULL
        WHEN w.inactive_days >= 30 THEN 'dormant'
        WHEN w.first_date > {as_of} - 28 THEN 'new'
        WHEN w.returned_on > {as_of} - 28 THEN 'resurrected'
        WHEN w.inactive_days >= 8 OR w.inactive_days > w.gap_p90_days THEN 'slipping'
        ELSE 'active'
    END AS lifecycle
FROM windows AS w
LEFT JOIN recency ON recency.inactive_days = w.inactive_days
LEFT JOIN frequency ON frequency.active_days_365 = w.active_days_365
LEFT JOIN monetary ON monetary.lifetime_value = w.lifetime_value
