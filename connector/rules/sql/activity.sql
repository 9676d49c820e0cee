-- One row per contact that was ever active: what its usage says, whatever the date it is looked at from.
-- A gap is the number of days between two active days that follow each other. gap_median_days needs one gap,
-- gap_p90_days five; both interpolate linearly between the ordered gaps, in whole numbers until the last division, so
-- that a comparison never turns on rounding. returned_on is the last day on which the contact came back after 90 or more
-- silent days. {days}: contact_days. {best}: contact_best. {ranked}: the features by name.
WITH gaps AS (
    SELECT
        contact_key,
        active_dates,
        list_sort(list_transform(
            list_zip(active_dates[2:], active_dates[:-2]), lambda pair: (pair[1] - pair[2])::INTEGER
        )) AS gap,
        list_max(list_transform(
            list_zip(active_dates[2:], active_dates[:-2]),
            lambda pair: CASE WHEN pair[1] - pair[2] > 90 THEN pair[1] END
        )) AS returned_on
    FROM {days}
),
places AS (
    SELECT
        *,
        (len(gap) - 1) // 2 + 1 AS middle,
        (len(gap) - 1) % 2 AS halves,
        (len(gap) - 1) * 9 // 10 + 1 AS ninth,
        (len(gap) - 1) * 9 % 10 AS tenths
    FROM gaps
)
SELECT
    contact_key,
    active_dates,
    active_dates[1] AS first_date,
    active_dates[-1] AS last_date,
    returned_on,
    CASE WHEN len(gap) >= 1 THEN
        (gap[middle] + gap[middle + halves]) / 2
    END AS gap_median_days,
    CASE WHEN len(gap) >= 5 THEN
        (gap[ninth] * (10 - tenths) + coalesce(gap[ninth + 1], 0) * tenths) / 10
    END AS gap_p90_days,
    first_active_at,
    make_timestamptz((last_packed // 16777216)::BIGINT) AS last_active_at,
    latest.feature_key AS last_feature_key,
    top.feature_key AS top_feature_key,
    (top_packed // 16777216)::BIGINT AS top_events
FROM places
JOIN {best} USING (contact_key)
JOIN {ranked} AS latest ON latest.rank = (16777215 - last_packed % 16777216)::INTEGER
JOIN {ranked} AS top ON top.rank = (16777215 - top_packed % 16777216)::INTEGER
