-- Growth accounting: contacts by what they did in each period, from the first with any activity to the one of {as_of}.
-- new: active, never before. retained: active, and in the period before. resurrected: active, not in the period before,
-- active some time before that. dormant: not active, but active in the period before. The last period is unfinished.
-- {activity}: contact_key, active_dates up to {as_of}. {unit}: 'day', 'week' (from Monday) or 'month'.
WITH active AS (
    SELECT DISTINCT contact_key, date_trunc({unit}, day)::DATE AS period
    FROM (SELECT contact_key, unnest(active_dates) AS day FROM {activity})
),
placed AS (
    SELECT
        period,
        lag(period) OVER mine AS previous,
        lead(period) OVER mine AS following
    FROM active
    WINDOW mine AS (PARTITION BY contact_key ORDER BY period)
),
moves AS (
    SELECT
        period,
        count(*) FILTER (previous IS NULL) AS new,
        count(*) FILTER (previous = period - {step}) AS retained,
        count(*) FILTER (previous < period - {step}) AS resurrected,
        count(*) FILTER (following IS NULL OR following > period + {step}) AS leaving
    FROM placed
    GROUP BY period
),
periods AS (
    SELECT unnest(generate_series(
        (SELECT min(period) FROM active), date_trunc({unit}, {as_of}), {step}
    ))::DATE AS period
)
SELECT
    p.period,
    coalesce(m.new, 0)::BIGINT AS new,
    coalesce(m.retained, 0)::BIGINT AS retained,
    coalesce(m.resurrected, 0)::BIGINT AS resurrected,
    coalesce(before.leaving, 0)::BIGINT AS dormant
FROM periods AS p
LEFT JOIN moves AS m ON m.period = p.period
LEFT JOIN moves AS before ON before.period = p.period - {step}
ORDER BY p.period
