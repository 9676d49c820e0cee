-- Everybody as one person, where several CRMs know them: of each column what the CRM says that is believed about it, else
-- what the first says that says anything. A "no" of any of them to mail is one; opt-outs and bounces are told apart later.
-- {people}: contacts_as_of. {history}: contacts_history. {ends_at}: the moment. {same}: contact_key, into_key, system, place.
-- {chosen}: the aggregates of the columns. {replaced}: those columns of p, with t's in their place where there is one.
WITH everybody AS MATERIALIZED (
    {people}
),
members AS (
    SELECT p.*, p.contact_key AS person_key, 0 AS place
    FROM everybody AS p
    WHERE p.contact_key IN (SELECT into_key FROM {same})
    UNION ALL BY NAME
    SELECT h.*, s.into_key AS person_key, s.place
    FROM {history} AS h JOIN {same} AS s USING (contact_key)
    WHERE h.valid_from < {ends_at} AND {ends_at} <= h.valid_to
),
together AS (
    SELECT person_key, {chosen}
    FROM members
    GROUP BY person_key
)
SELECT p.* REPLACE ({replaced})
FROM everybody AS p LEFT JOIN together AS t ON t.person_key = p.contact_key
