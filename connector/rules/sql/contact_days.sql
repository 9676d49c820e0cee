-- Each contact's active days in order, each day once: the second of the two sums that activity is made of.
-- {usage} has one row per use, many of which may fall on one day.
SELECT contact_key, list_sort(list(day)) AS active_dates
FROM (SELECT DISTINCT contact_key, day FROM {usage})
GROUP BY contact_key
