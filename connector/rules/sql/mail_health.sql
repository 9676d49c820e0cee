-- How the mail of each campaign was received: mails sent and delivered, and people who bounced, complained or unsubscribed.
-- {mails}: user_key, kind, campaign. A campaign without a name is ''.
SELECT
    coalesce(campaign, '') AS name,
    count(*) FILTER (kind = 'sent') AS sent,
    count(*) FILTER (kind = 'delivered') AS delivered,
    count(DISTINCT user_key) FILTER (kind = 'bounce') AS bounce,
    count(DISTINCT user_key) FILTER (kind = 'spam') AS spam,
    count(DISTINCT user_key) FILTER (kind = 'unsubscribe') AS unsubscribe
FROM {mails}
GROUP BY ALL
ORDER BY ALL
