-- How many contacts entered and left each segment since the evaluation that was recorded last.
-- {now}, {before}: segment, contact_key.
SELECT segment, count(*) FILTER (arrived) AS entered, count(*) FILTER (NOT arrived) AS departed
FROM (
    SELECT segment, true AS arrived FROM (SELECT * FROM {now} AS n ANTI JOIN {before} AS b USING (segment, contact_key))
    UNION ALL
    SELECT segment, false FROM (SELECT * FROM {before} AS b ANTI JOIN {now} AS n USING (segment, contact_key))
)
GROUP BY segment
