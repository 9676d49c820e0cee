-- Everybody of whom some system says that they must not be mailed: one row per contact, whoever of its doubles it was
-- said of. An opt-out, an unsubscribe and a spam report mean the person: the contact, those merged or matched into it,
-- and every contact with one of its addresses. A bounce means the address: it holds for contacts whose own address it is.
-- {versions}: everybody as known at a moment, merged and folded ones too. {folded}: who is now part of whom.
-- {mails}: mail events up to that moment (contact_key, kind, happened_at). {shared}: shared_addresses.
WITH persons AS (
    SELECT v.contact_key, v.match_email, v.opted_out, v.bounced, coalesce(f.into_key, v.contact_key) AS person_key
    FROM {versions} AS v LEFT JOIN {folded} AS f USING (contact_key)
),
heard AS (
    SELECT contact_key, person_key, true AS opted_out, NULL::TIMESTAMPTZ AS unsubscribed_at, NULL::TIMESTAMPTZ AS complained_at
    FROM persons WHERE opted_out
    UNION ALL
    SELECT contact_key, contact_key, false, max(happened_at) FILTER (kind = 'unsubscribe'), min(happened_at) FILTER (kind = 'spam')
    FROM {mails} WHERE kind IN ('unsubscribe', 'spam') GROUP BY contact_key
),
answering AS (
    SELECT s.contact_key, coalesce(f.into_key, s.contact_key) AS person_key, s.address
    FROM {shared} AS s LEFT JOIN {folded} AS f USING (contact_key)
),
meant AS (
    SELECT person_key, opted_out, unsubscribed_at, complained_at FROM heard
    UNION ALL
    SELECT other.person_key, h.opted_out, h.unsubscribed_at, h.complained_at
    FROM heard AS h
    JOIN answering AS mine ON mine.person_key = h.person_key
    JOIN (SELECT DISTINCT person_key, address FROM answering) AS other USING (address)
),
failing AS (
    SELECT person_key FROM persons WHERE bounced AND (contact_key = person_key OR match_email IS NULL)
    UNION ALL
    SELECT double.contact_key
    FROM persons AS p
    JOIN {shared} AS double ON double.address = p.match_email AND double.main
    WHERE p.bounced
)
SELECT
    person_key AS contact_key,
    coalesce(bool_or(opted_out), false) AS opted_out,
    bool_or(bounced) AS bounced,
    max(unsubscribed_at) AS unsubscribed_at,
    min(complained_at) AS complained_at
FROM (
    SELECT person_key, opted_out, false AS bounced, unsubscribed_at, complained_at FROM meant
    UNION ALL
    SELECT person_key, false, true, NULL, NULL FROM failing
)
GROUP BY person_key
