"""Contacts and accounts: what is new, what changed, what was merged or deleted; every version of a person is kept."""

from __future__ import annotations

from connector.identity import email_table
from connector.warehouse import schema
from connector.warehouse.arrival import MAPPED, Arrival, Folded
from connector.warehouse.database import Database, literal, timestamp

COMING = "coming_contacts"
BEFORE = "contacts_before"


def fold_contacts(database: Database, arrival: Arrival) -> Folded:
    """Insert new contacts, add a version to changed ones; only columns the page provides change."""
    provided = [name for name in schema.CONTACT_COLUMNS if name in arrival.columns]
    _drop_implicit(database)
    before = _living(database, arrival.system)
    if provided:
        _stage(database, arrival, provided)
        if "attributes" in provided:
            database.execute(schema.attribute_names_of(COMING))
        counts = _upsert(database, arrival)
        _keep_identities(database, arrival)
    else:
        counts = Folded()
    deleted = _end_snapshot(database, arrival, any_rows=bool(provided))
    if counts.new or counts.changed or deleted:
        database.set_meta("matched", None)
    return Folded(
        new=counts.new,
        changed=counts.changed + deleted,
        unchanged=counts.unchanged,
        # What this page changed: a system may list its people in several streams.
        held=_living(database, arrival.system) - before,
        newest_at=timestamp(arrival.pulled_at) if counts.new or counts.changed or deleted else None,
    )


def attribute_names(database: Database) -> frozenset[str]:
    """The attributes that some contact has or had."""
    return frozenset(row[0] for row in database.rows("SELECT name FROM attribute_names"))


def _living(database: Database, system: str) -> int:
    """How many contacts of a system there are."""
    current = f"SELECT count(*) FROM contacts_history WHERE valid_to = {schema.END} AND deleted_at IS NULL"
    return int(database.value(f"{current} AND system = ?", [system]))


def _stage(database: Database, arrival: Arrival, provided: list[str]) -> None:
    """The page's contacts as they will be: provided columns new, the others as stored, the last of equals wins."""
    ids = {"contact_id": arrival.id_of("contact_id"), "account_id": arrival.id_of("account_id")}
    ids["merged_into"] = arrival.id_of("merged_into")
    fresh = ", ".join(f"{ids.get(name, name)} AS {name}" for name in provided)
    chosen = []
    for name in schema.CONTACT_COLUMNS[1:]:
        if name == "deleted_at" and (name not in provided) and not arrival.page.partial:
            chosen.append("NULL::TIMESTAMPTZ AS deleted_at")  # listed again, so it is there again
        elif name not in provided:
            chosen.append(f"stored.{name}")
        elif arrival.page.partial:
            chosen.append(f"coalesce(fresh.{name}, stored.{name}) AS {name}")
        else:
            chosen.append(f"fresh.{name}")
    extra = [name for name in ("merged_ids", "secondary_emails") if name in arrival.columns]
    with_extra = ", ".join(["", *extra])
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {COMING} AS "
        f"WITH fresh AS (SELECT {fresh}{with_extra} FROM {MAPPED} WHERE reject_reason IS NULL "
        "  QUALIFY row_number() OVER (PARTITION BY contact_id ORDER BY ordinal DESC) = 1) "
        "SELECT fresh.contact_id, stored.contact_key, stored.valid_from AS stored_from, stored.match_email, "
        "  stored.email AS stored_email, "
        f"  {', '.join(chosen)}{''.join(f', fresh.{name}' for name in extra)} "
        "FROM fresh LEFT JOIN "
        f"  (SELECT * FROM contacts_history WHERE valid_to = {schema.END}) AS stored USING (contact_id)"
    )
    emails = (
        "SELECT DISTINCT email FROM coming_contacts WHERE email IS DISTINCT FROM stored_email OR contact_key IS NULL"
    )
    email_table(database.connection, emails, into="coming_emails")
    database.execute(
        f"UPDATE {COMING} SET match_email = (SELECT match_email FROM coming_emails e WHERE e.email = {COMING}.email) "
        "WHERE email IS DISTINCT FROM stored_email OR contact_key IS NULL"
    )


def _upsert(database: Database, arrival: Arrival) -> Folded:
    at = timestamp(arrival.pulled_at)
    columns = ", ".join(schema.CONTACT_COLUMNS[1:])
    compared = ", ".join(f"c.{name}" for name in schema.CONTACT_COLUMNS[1:])
    stored = ", ".join(f"s.{name}" for name in schema.CONTACT_COLUMNS[1:])
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {BEFORE} AS SELECT c.contact_key, c.stored_from FROM {COMING} AS c "
        f"JOIN (SELECT * FROM contacts_history WHERE valid_to = {schema.END}) AS s USING (contact_key) "
        f"WHERE row({compared}) IS DISTINCT FROM row({stored})"
    )
    total, known = database.rows(f"SELECT count(*), count(contact_key) FROM {COMING}")[0]
    changed = int(database.value(f"SELECT count(*) FROM {BEFORE}"))
    if changed:
        database.execute(
            f"DELETE FROM contacts_history WHERE valid_to = {schema.END} AND contact_key IN "
            f"(SELECT contact_key FROM {BEFORE} WHERE stored_from >= {at})"
        )
        database.execute(
            f"UPDATE contacts_history SET valid_to = {at} WHERE valid_to = {schema.END} AND contact_key IN "
            f"(SELECT contact_key FROM {BEFORE})"
        )
        database.execute(
            "INSERT INTO contacts_history BY NAME SELECT c.contact_key, ? AS system, false AS implicit, "
            f"greatest(b.stored_from, {at}) AS valid_from, {schema.END} AS valid_to, match_email, contact_id, "
            f"{columns} "
            f"FROM {COMING} AS c JOIN {BEFORE} AS b USING (contact_key)",
            [arrival.system],
        )
    if total > known:
        first = next_contact_key(database)
        database.execute(
            f"UPDATE {COMING} SET contact_key = fresh.contact_key, stored_from = NULL FROM "
            f"(SELECT contact_id, (row_number() OVER (ORDER BY contact_id) + {first - 1})::INTEGER AS contact_key "
            f" FROM {COMING} WHERE contact_key IS NULL) AS fresh WHERE {COMING}.contact_id = fresh.contact_id"
        )
        database.execute(
            "INSERT INTO contacts_history BY NAME SELECT contact_key, ? AS system, false AS implicit, "
            f"{schema.BEGINNING} AS valid_from, {schema.END} AS valid_to, match_email, contact_id, {columns} "
            f"FROM {COMING} WHERE contact_key >= {first}",
            [arrival.system],
        )
    return Folded(new=total - known, changed=changed, unchanged=known - changed)


def next_contact_key(database: Database) -> int:
    """The first contact key that was never given."""
    first = int(database.value("SELECT coalesce(max(contact_key), 0) FROM contacts_history")) + 1
    return max(first, int(database.meta("next_contact_key") or 1))


def _keep_identities(database: Database, arrival: Arrival) -> None:
    """Remember merged ids and further addresses: they mean this contact too."""
    if "secondary_emails" in arrival.columns:
        further = (
            "SELECT contact_key, unnest(string_split(secondary_emails, ';')) AS email FROM coming_contacts "
            "WHERE secondary_emails IS NOT NULL"
        )
        email_table(database.connection, f"SELECT DISTINCT email FROM ({further})", into="coming_emails")
        if not arrival.page.partial:
            database.execute(f"DELETE FROM secondary_emails WHERE contact_key IN (SELECT contact_key FROM {COMING})")
        database.execute(
            f"INSERT INTO secondary_emails SELECT DISTINCT contact_key, match_email FROM ({further}) "
            "JOIN coming_emails USING (email) WHERE match_email IS NOT NULL"
        )
    if "merged_ids" in arrival.columns:
        added = database.count(
            f"INSERT INTO merges SELECT ?, ids.merged_id, ids.contact_id, {timestamp(arrival.pulled_at)} FROM ("
            f"  SELECT DISTINCT {arrival.id_of('trim(piece)')} AS merged_id, contact_id FROM "
            f"  (SELECT contact_id, unnest(string_split(merged_ids, ';')) AS piece FROM {COMING}) "
            "  WHERE trim(piece) <> ''"
            ") AS ids WHERE ids.merged_id <> ids.contact_id AND NOT EXISTS "
            "(FROM merges m WHERE m.merged_id = ids.merged_id AND m.contact_id = ids.contact_id)",
            [arrival.system],
        )
        if added:
            database.set_meta("matched", None)
            database.touch()


def _end_snapshot(database: Database, arrival: Arrival, *, any_rows: bool) -> int:
    """Remember who a complete listing named; at its end mark the others deleted, and say how many."""
    page, key = arrival.page, [arrival.source, arrival.stream]
    if page.snapshot is None:
        return 0
    database.execute(
        "DELETE FROM snapshot_seen WHERE source = ? AND stream = ? AND snapshot <> ?", [*key, page.snapshot]
    )
    if any_rows:
        database.execute(f"INSERT INTO snapshot_seen SELECT ?, ?, ?, contact_key FROM {COMING}", [*key, page.snapshot])
    if not page.snapshot_complete:
        return 0
    gone = (
        f"SELECT contact_key FROM contacts_history "
        f"WHERE valid_to = {schema.END} AND system = {literal(arrival.system)} "
        f"AND starts_with(contact_id, {literal(f'{arrival.system}:{page.snapshot_ids}')}) "
        "AND deleted_at IS NULL AND merged_into IS NULL AND contact_key NOT IN "
        "(SELECT contact_key FROM snapshot_seen WHERE source = ? AND stream = ?)"
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE gone_contacts AS {gone}", key)
    at = timestamp(arrival.pulled_at)
    deleted = new_version(database, "gone_contacts", {"deleted_at": at}, at=at)
    database.execute("DELETE FROM snapshot_seen WHERE source = ? AND stream = ?", key)
    return deleted


def new_version(database: Database, keys: str, changes: dict[str, str], *, at: str) -> int:
    """Give the contacts in `keys` a version that begins at `at`, with these columns changed; how many."""
    count = int(database.value(f"SELECT count(*) FROM {keys}"))
    if not count:
        return 0
    changed = ", ".join(f"{value} AS {name}" for name, value in changes.items())
    database.execute(
        "CREATE OR REPLACE TEMP TABLE versions AS "
        f"SELECT * REPLACE (greatest(valid_from, {at}) AS valid_from, {changed}) "
        f"FROM contacts_history WHERE valid_to = {schema.END} AND contact_key IN (SELECT contact_key FROM {keys})"
    )
    current = f"valid_to = {schema.END} AND contact_key IN (SELECT contact_key FROM versions)"
    database.execute(f"DELETE FROM contacts_history WHERE {current} AND valid_from >= {at}")
    database.execute(f"UPDATE contacts_history SET valid_to = {at} WHERE {current}")
    database.execute("INSERT INTO contacts_history FROM versions")
    return count


def _drop_implicit(database: Database) -> None:
    """People made from product users give way once a source lists contacts."""
    if database.meta("implicit_contacts") is None:
        return
    database.set_meta("next_contact_key", str(next_contact_key(database)))
    database.execute("INSERT INTO stale_contacts SELECT contact_key FROM contacts_history WHERE implicit")
    database.execute("DELETE FROM contacts_history WHERE implicit")
    database.execute("UPDATE users SET contact_key = NULL, matched_by = NULL, since_batch = 0")
    database.set_meta("implicit_contacts", None)
    database.set_meta("matched", None)
    database.set_meta("activity_batch", None)


def fold_accounts(database: Database, arrival: Arrival) -> Folded:
    """Insert or update accounts; only columns the page provides change."""
    provided = [name for name in schema.ACCOUNT_COLUMNS if name in arrival.columns]
    if not provided:
        return Folded()
    fresh = ", ".join(f"{arrival.id_of(n) if n == 'account_id' else n} AS {n}" for n in provided)
    partial = arrival.page.partial
    chosen = ", ".join(
        f"stored.{n}" if n not in provided else (f"coalesce(fresh.{n}, stored.{n}) AS {n}" if partial else f"fresh.{n}")
        for n in schema.ACCOUNT_COLUMNS[1:]
    )
    compared = [n for n in schema.ACCOUNT_COLUMNS[1:] if n in provided]
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE coming_accounts AS WITH fresh AS (SELECT {fresh} FROM {MAPPED} "
        "  WHERE reject_reason IS NULL "
        "  QUALIFY row_number() OVER (PARTITION BY account_id ORDER BY ordinal DESC) = 1), "
        f"joined AS (SELECT {literal(arrival.system)} AS system, fresh.account_id, {chosen}, "
        "  stored.account_id IS NULL AS is_new, "
        f"  row({', '.join(f'stored.{n}' for n in compared)}) AS was FROM fresh LEFT JOIN accounts AS stored "
        "  USING (account_id)) "
        f"SELECT * EXCLUDE (was), was IS DISTINCT FROM row({', '.join(compared)}) AS differs FROM joined"
    )
    total, new, changed = database.rows(
        "SELECT count(*), count(*) FILTER (is_new), count(*) FILTER (NOT is_new AND differs) FROM coming_accounts"
    )[0]
    database.execute(
        "DELETE FROM accounts WHERE account_id IN (SELECT account_id FROM coming_accounts WHERE differs AND NOT is_new)"
    )
    database.execute(
        "INSERT INTO accounts BY NAME SELECT * EXCLUDE (is_new, differs) FROM coming_accounts WHERE is_new OR differs"
    )
    newest = timestamp(arrival.pulled_at) if new or changed else None
    return Folded(new=new, changed=changed, unchanged=total - new - changed, held=new, newest_at=newest)
