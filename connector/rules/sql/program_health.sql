-- How the mail of each program was received: its touches, and the people who bounced, complained or unsubscribed after one.
-- An answer counts for the program that touched the contact last before it. {sent}: program, sent. {touches}: contact_key,
-- program, at; of those who answered at least.
-- {answers}: contact_key, kind, happened_at; from mail events, and from when a system was first seen to mark it so.
WITH answered AS (
    SELECT DISTINCT t.program, t.contact_key, a.kind
    FROM {answers} AS a
    ASOF JOIN {touches} AS t ON t.contact_key = a.contact_key AND t.at <= a.happened_at
),
sums AS (
    SELECT
        program,
        count(*) FILTER (kind = 'bounce') AS bounce,
        count(*) FILTER (kind = 'spam') AS spam,
        count(*) FILTER (kind = 'unsubscribe') AS unsubscribe
    FROM answered
    GROUP BY program
)
SELECT
    t.program AS name,
    t.sent,
    0::BIGINT AS delivered,
    coalesce(s.bounce, 0) AS bounce,
    coalesce(s.spam, 0) AS spam,
    coalesce(s.unsubscribe, 0) AS unsubscribe
FROM {sent} AS t
LEFT JOIN sums AS s USING (program)
ORDER BY t.program
