"""Who is known by what: every id and address of the people a run is about, for whoever must know them without us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from connector.warehouse.database import Database, literal

_ROWS = 10_000

_CHOSEN = "chosen_people"

_SQL = """
WITH root AS (
    SELECT c.contact_key, coalesce(f.into_key, c.contact_key) AS root_key
    FROM contacts AS c LEFT JOIN folded AS f USING (contact_key)
),
named AS (
    SELECT 'external_id' AS kind, c.external_id AS value, r.root_key
    FROM contacts AS c JOIN root AS r USING (contact_key) WHERE c.external_id IS NOT NULL
    UNION SELECT 'external_id', substr(u.user_id, length(u.system) + 2), r.root_key
    FROM users AS u JOIN root AS r USING (contact_key)
    WHERE u.system IN (SELECT system FROM stream_stats WHERE into_table = 'usage') AND u.system <> {ours}
    UNION SELECT 'email', match_email, r.root_key FROM contacts JOIN root AS r USING (contact_key)
    WHERE match_email IS NOT NULL
    UNION SELECT 'email', match_email, r.root_key FROM secondary_emails JOIN root AS r USING (contact_key)
    UNION SELECT 'record', c.contact_id, r.root_key FROM contacts AS c JOIN root AS r USING (contact_key)
    WHERE r.root_key <> c.contact_key
    UNION SELECT 'record', m.merged_id, r.root_key FROM merges AS m JOIN contacts AS c USING (contact_id)
    JOIN root AS r USING (contact_key) WHERE m.merged_id <> c.contact_id
)
SELECT n.kind, n.value, arg_min(c.contact_id, (NOT p.entered, c.contact_id)) AS contact_id
FROM named AS n JOIN contacts AS c ON c.contact_key = n.root_key JOIN {chosen} AS p ON p.contact_key = n.root_key
GROUP BY ALL
HAVING n.kind = 'email' OR (n.kind, n.value) NOT IN (
    SELECT (kind, value) FROM named GROUP BY kind, value HAVING count(DISTINCT root_key) > 1
)
"""


def identities(database: Database, entered: Sequence[str], *, ours: str) -> Iterator[tuple[str, str, str]]:
    """(kind, value, contact_id) of everybody in a segment when last recorded, and of the contacts given.

    kind is external_id, email or record (of another system, or merged away). What means two people is left out; of an
    address that two share it is whoever is in a program, else the first: what one does, the other does.

    Args:
        database: The warehouse.
        entered: Contacts with an open episode.
        ours: The system of what we were told ourselves: its ids are not the product's.
    """
    import pyarrow as pa

    database.connection.register("entered_given", pa.table({"contact_id": pa.array(entered, pa.string())}))
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_CHOSEN} AS SELECT contact_key, bool_or(entered) AS entered FROM ("
        "  SELECT contact_key, false AS entered FROM recorded_members UNION ALL "
        "  SELECT contact_key, true FROM contacts WHERE contact_id IN (SELECT contact_id FROM entered_given)"
        ") GROUP BY contact_key"
    )
    database.connection.unregister("entered_given")
    reader = database.reader(_SQL.format(chosen=_CHOSEN, ours=literal(ours)), rows=_ROWS)
    for batch in reader:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
    database.drop(_CHOSEN)


def addresses(database: Database) -> Iterator[tuple[str, str]]:
    """(contact_id, address) of everybody, further addresses too; merged people as whom they are now."""
    sql = (
        "SELECT c.contact_id, e.match_email FROM ("
        "  SELECT contact_key, match_email FROM contacts WHERE match_email IS NOT NULL UNION "
        "  SELECT contact_key, match_email FROM secondary_emails) AS e LEFT JOIN folded AS f USING (contact_key) "
        "JOIN contacts AS c ON c.contact_key = coalesce(f.into_key, e.contact_key)"
    )
    for batch in database.reader(sql, rows=_ROWS):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
