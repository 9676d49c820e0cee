-- The segment of every contact in every group: in a group the first condition that holds wins, unknown is no.
-- {choices}: one CASE per group over the columns of {features}, giving the segment's number.
SELECT contact_key, inactive_days, {choices}
FROM ({features})
