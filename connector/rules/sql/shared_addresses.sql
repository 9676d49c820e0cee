-- Addresses that more than one contact answers to, each with its contacts; main: it is the contact's own address, not a
-- further one. The people behind them may be listed in several systems, or twice in one.
-- {versions}: everybody as known at a moment, merged and folded ones too. {further}: contact_key, match_email.
WITH answered AS (
    SELECT contact_key, match_email AS address, true AS main FROM {versions} WHERE match_email IS NOT NULL
    UNION ALL
    SELECT contact_key, match_email, false FROM {further}
),
likely AS (
    SELECT * FROM answered
    WHERE hash(address) IN (SELECT code FROM (SELECT hash(address) AS code FROM answered) GROUP BY code HAVING count(*) > 1)
)
SELECT contact_key, address, bool_or(main) AS main
FROM likely SEMI JOIN (
    SELECT address FROM likely GROUP BY address HAVING count(*) > 1 AND count(DISTINCT contact_key) > 1
) USING (address)
GROUP BY contact_key, address
