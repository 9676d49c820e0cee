-- Which contacts of a CRM are people that a CRM before it knows too, and why others that share something are not taken for
-- one. Never guessed: what is shared must mean one person on the other side; several contacts on this side are that person
-- only where they share the external id, or where their full names are the same and no external id says otherwise.
-- {people}: live contacts of the CRMs: contact_key, person_key (whom they are part of by now), rank of their CRM, contact_id,
-- external_id, name, created_at. {known_by}: contact_key, place (of the kind, best first), value. {rank}: of this CRM.
-- {by_id}: the place of external ids; 0 where nobody is matched by them.
-- into_key: the person; NULL where they are kept apart, for the reason. place: of several, which comes first.
WITH mine AS (
    SELECT * FROM {people} WHERE rank = {rank}
),
meeting AS (
    SELECT DISTINCT k.contact_key, k.place, before.person_key
    FROM {known_by} AS k
    SEMI JOIN mine USING (contact_key)
    JOIN {known_by} AS other ON other.place = k.place AND other.value = k.value
    JOIN {people} AS before ON before.contact_key = other.contact_key AND before.rank < {rank}
),
best AS (
    SELECT contact_key, place, count(*) AS persons, min(person_key) AS person_key
    FROM meeting
    GROUP BY contact_key, place
    QUALIFY row_number() OVER (PARTITION BY contact_key ORDER BY place) = 1
),
found AS (
    SELECT
        b.*, m.contact_id, m.external_id, m.name, m.created_at,
        b.persons = 1 AND {by_id} > 0 AND b.place <> {by_id} AND m.external_id <> p.external_id AS differs
    FROM best AS b
    JOIN mine AS m USING (contact_key)
    JOIN {people} AS p ON p.contact_key = b.person_key
),
ranked AS (
    SELECT
        *,
        min(place) OVER person AS first_place,
        row_number() OVER (PARTITION BY person_key ORDER BY place, created_at, contact_id) AS number
    FROM found
    WHERE persons = 1 AND differs IS NOT TRUE
    WINDOW person AS (PARTITION BY person_key)
),
firsts AS (
    SELECT
        person_key,
        first_place = {by_id} OR count(*) = 1
            OR (count(name) = count(*) AND count(DISTINCT name) = 1 AND count(DISTINCT external_id) <= 1) AS certain,
        arg_min(name, number) AS name,
        arg_min(external_id, number) AS external_id
    FROM ranked
    WHERE place = first_place
    GROUP BY person_key, first_place
),
judged AS (
    SELECT
        r.*,
        f.certain AND (
            r.place = r.first_place
            OR (r.name = f.name AND (r.external_id IS NULL OR f.external_id IS NULL OR r.external_id = f.external_id)) IS TRUE
        ) AS same
    FROM ranked AS r JOIN firsts AS f USING (person_key)
)
SELECT
    f.contact_key,
    CASE WHEN j.same THEN f.person_key END AS into_key,
    j.number::INTEGER AS place,
    CASE
        WHEN j.same THEN NULL
        WHEN f.persons > 1 AND f.place = {by_id} THEN 'the external id means more than one contact of a CRM before it'
        WHEN f.persons > 1 THEN 'the address means more than one contact of a CRM before it'
        WHEN f.differs THEN 'the same address, but another external id'
        ELSE 'others in its CRM have the address too, and it is not certain that they are one person'
    END AS reason
FROM found AS f LEFT JOIN judged AS j USING (contact_key)
