-- One row per contact that was ever active: what its usage says, whatever the date it is looked at from.
-- A gap is the number of days between two active days that follow each other. gap_median_days needs one gap,
-- gap_p90_days five; both interpolate linearly between the ordered gaps. returned_on is the last day on which the
-- contact came back after 90 or more silent days. {days}: contact_days. {best}: contact_best. {ranked}: features by name.
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
    SELECT *, (len(gap) - 1) / 2 AS middle, (len(gap) - 1) * 9 / 10 AS ninth FROM gaps
)
SELECT
    contact_key,
    active_dates,
    active_dates[1] AS first_date,
    active_dates[-1] AS last_date,
    returned_on,
    CASE WHEN len(gap) >= 1 THEN
        gap[floor(middle)::INTEGER + 1]
        + (gap[ceil(middle)::INTEGER + 1] - gap[floor(middle)::INTEGER + 1]) * (middle - floor(middle))
    END AS gap_median_days,
    CASE WHEN len(gap) >= 5 THEN
        gap[floor(ninth)::INTEGER + 1]
        + (gap[ceil(ninth)::INTEGER + 1] - gap[floor(ninth)::INTEGER + 1]) * (ninth - floor(ninth))
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
