-- The three hours in a row in which each contact is likeliest to be there, as the hour in UTC at which they begin. A
-- contact's own event hours are smoothed with everybody's, as if they had so many more of these; with fewer than
-- {least} of their own, everybody's decide. Of equals, the earlier. {people}: contact_key, zone. {hours}: event_hours.
-- {windows}: for each hour, the contact's event hours in the window that begins there, plus everybody's share of them.
-- {everybody}: where everybody's begins. {offsets}: minutes ahead of UTC by zone, today.
SELECT contact_key, ((local_hour * 60 - minutes + 2880) // 60 % 24)::BIGINT AS best_hour
FROM (
    SELECT p.contact_key, p.zone, CASE WHEN list_sum(h.hours) >= {least}
        THEN list_position({windows}, list_max({windows})) - 1 ELSE {everybody} END AS local_hour
    FROM {people} AS p LEFT JOIN {hours} AS h USING (contact_key)
)
JOIN {offsets} USING (zone)
