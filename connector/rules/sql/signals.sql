-- What happened since each contact entered, one row per contact to whom anything did. A use between the first silent day
-- and entry breaks the spell: it was reported late. Opens never count; machine clicks never do, and a click of unknown
-- origin within two seconds of its delivery is a machine's. A refund is no payment.
-- {entered}: contact_key, entered_at, spell_started_on. {doubles}: contact_key of anybody with a contact's address, and
-- that contact's entered_key. {uses}: contact_key, day, occurred_at of the uses that may matter. {mails}: contact_key,
-- happened_at, kind, campaign, machine, user_key. {deliveries}: user_key, campaign, happened_at. {payments}: contact_key,
-- happened_at.
WITH used AS (
    SELECT
        e.contact_key,
        count(DISTINCT u.day) FILTER (u.occurred_at > e.entered_at) AS active_days,
        min(u.occurred_at) FILTER (u.occurred_at > e.entered_at) AS active_since_at,
        min(u.occurred_at) FILTER (u.occurred_at <= e.entered_at) AS spell_broken_on
    FROM {entered} AS e JOIN {uses} AS u USING (contact_key)
    WHERE u.day >= e.spell_started_on
    GROUP BY e.contact_key
),
mailed AS (
    SELECT e.contact_key, m.happened_at, m.kind
    FROM {entered} AS e
    JOIN {doubles} AS d ON d.entered_key = e.contact_key
    JOIN {mails} AS m ON m.contact_key = d.contact_key
    WHERE m.happened_at > e.entered_at AND (m.machine IS NOT TRUE OR m.kind = 'bounce')
      AND NOT (m.kind = 'click' AND m.machine IS NULL AND EXISTS (
          FROM {deliveries} AS sent
          WHERE sent.user_key = m.user_key AND sent.campaign IS NOT DISTINCT FROM m.campaign
            AND sent.happened_at <= m.happened_at AND m.happened_at <= sent.happened_at + INTERVAL 2 SECONDS
      ))
),
engaged AS (
    SELECT
        contact_key,
        count(*) FILTER (kind = 'click') AS clicks,
        count(*) FILTER (kind = 'reply') AS replies,
        count(*) FILTER (kind = 'visit') AS visits,
        max(happened_at) FILTER (kind IN ('click', 'reply', 'visit')) AS last_at,
        min(happened_at) FILTER (kind = 'reply') AS replied_at,
        min(happened_at) FILTER (kind = 'bounce') AS bounced_at
    FROM mailed
    GROUP BY contact_key
),
paid AS (
    SELECT e.contact_key, count(*) AS payments
    FROM {entered} AS e
    JOIN {doubles} AS d ON d.entered_key = e.contact_key
    JOIN {payments} AS p ON p.contact_key = d.contact_key
    WHERE p.happened_at > e.entered_at
    GROUP BY e.contact_key
)
SELECT *
FROM used
FULL JOIN engaged USING (contact_key)
FULL JOIN paid USING (contact_key)
