-- In which hours of the day, on their own clock, contacts use the product: per contact the number of distinct event hours
-- that begin at 0, 1, … 23 o'clock. Ten uses within one hour of one day are one event hour.
-- {uses}: contact_key, day, occurred_at. {zones}: contact_key, zone. {offsets}: minutes ahead of UTC by zone and UTC day,
-- none on a day on which the clocks change. {counts}: one count for each hour of `hour`.
SELECT contact_key, {counts} AS hours
FROM (
    SELECT contact_key, (local_hour % 24)::INTEGER AS hour
    FROM (
        SELECT DISTINCT contact_key, CASE WHEN minutes IS NOT NULL
            THEN (epoch_us(occurred_at) // 60000000 + minutes) // 60
            ELSE epoch_us(timezone(zone, occurred_at)) // 3600000000 END AS local_hour
        FROM (SELECT *, epoch_us(occurred_at) // 86400000000 AS utc_day FROM {uses})
        JOIN {zones} USING (contact_key)
        JOIN {offsets} USING (zone, utc_day)
    )
)
GROUP BY contact_key
