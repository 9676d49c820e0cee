"""Which product user is which contact, kept in the tables; people merged into one another; product users as people."""

from __future__ import annotations

import json
from collections.abc import Sequence

from connector.errors import SettingError
from connector.identity import KINDS, matching_sql, normal_email
from connector.model import Contact
from connector.warehouse import same_person, schema
from connector.warehouse.answers import IdentityReport
from connector.warehouse.contacts import next_contact_key
from connector.warehouse.database import Database, literal
from connector.warehouse.same_person import Crms

SAMPLE = 20


def match_identities(database: Database, match: Sequence[str], crms: Crms | None = None) -> IdentityReport:
    """Bring every user's contact up to date; does nothing when neither users nor contacts changed since.

    crms: Where an install has several: whoever they both know becomes one person.
    """
    unknown = [kind for kind in match if kind not in KINDS]
    if unknown:
        raise SettingError(f"identity.match: no kind {unknown[0]!r}", hint=f"kinds: {', '.join(KINDS)}")
    done = (",".join(match) or "none") + (f" {crms.text}" if crms is not None else "")
    if database.meta("matched") != done:
        with database.transaction():
            if database.rows("SELECT 1 FROM stream_stats WHERE into_table = 'contacts' LIMIT 1"):
                _match(database, match, crms)
            else:
                _make_contacts_of_users(database)
            database.drop("matching", "facts", "moved", "roots", "product_systems")
            database.set_meta("matched", done)
    return _report(database)


def _match(database: Database, match: Sequence[str], crms: Crms | None) -> None:
    database.execute(
        "CREATE OR REPLACE TEMP TABLE product_systems AS "
        "SELECT DISTINCT system FROM stream_stats WHERE into_table = 'usage'"
    )
    _find_roots(database)
    same_person.fold(database, match, crms)
    _add_profiles(database)
    database.execute(
        "CREATE OR REPLACE TEMP TABLE facts AS SELECT user_key, kind, value FROM user_facts UNION "
        "SELECT user_key, 'email', match_email FROM users AS u JOIN contacts AS c ON c.contact_id = u.user_id "
        "WHERE match_email IS NOT NULL UNION "
        "SELECT user_key, 'external_id', external_id FROM users AS u JOIN contacts AS c ON c.contact_id = u.user_id "
        "WHERE external_id IS NOT NULL"
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE matching AS {matching_sql(match)}")
    _rekey(database)
    database.execute("DELETE FROM folded")
    database.execute(
        "INSERT INTO folded SELECT contact_key, root_key FROM roots UNION "
        "SELECT c.contact_key, u.contact_key FROM users AS u JOIN contacts AS c ON c.contact_id = u.user_id "
        "WHERE u.contact_key IS NOT NULL AND u.contact_key <> c.contact_key "
        "AND c.contact_key NOT IN (SELECT contact_key FROM roots)"
    )


def _find_roots(database: Database) -> None:
    """Make `roots`: every merged contact and the contact it ended up in, along chains; circles are ignored."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE roots AS WITH RECURSIVE named AS ("
        "  SELECT merged_id, contact_id, seen_at FROM merges UNION ALL "
        f"  SELECT contact_id, merged_into, {schema.BEGINNING} FROM contacts WHERE merged_into IS NOT NULL"
        "), edge AS (SELECT merged_id, arg_max(contact_id, (seen_at, contact_id)) AS into_id FROM named GROUP BY ALL), "
        "walk(merged_id, at_id, steps) AS (SELECT merged_id, into_id, 1 FROM edge UNION ALL "
        "  SELECT w.merged_id, e.into_id, w.steps + 1 FROM walk AS w JOIN edge AS e ON e.merged_id = w.at_id "
        "  WHERE w.steps < 64 AND e.into_id <> w.merged_id), "
        "ended AS (SELECT merged_id, arg_max(at_id, steps) AS root_id FROM walk GROUP BY merged_id) "
        "SELECT loser.contact_key, root.contact_key AS root_key FROM ended "
        "JOIN contacts AS loser ON loser.contact_id = ended.merged_id "
        "JOIN contacts AS root ON root.contact_id = ended.root_id "
        "WHERE ended.root_id NOT IN (SELECT merged_id FROM edge)"
    )
    database.execute(
        "UPDATE contacts_history SET merged_into = r.contact_id FROM "
        "(SELECT roots.contact_key, c.contact_id FROM roots JOIN contacts AS c ON c.contact_key = roots.root_key) AS r "
        f"WHERE r.contact_key = contacts_history.contact_key AND valid_to = {schema.END} "
        "AND merged_into IS DISTINCT FROM r.contact_id"
    )


def _add_profiles(database: Database) -> None:
    """Where the product lists people and so does a CRM, a product profile without usage is a user to match too."""
    first = int(database.value("SELECT coalesce(max(user_key), 0) FROM users")) + 1
    database.execute(
        "INSERT INTO users (user_key, system, user_id, since_batch) "
        f"SELECT (row_number() OVER (ORDER BY contact_id) + {first - 1})::INTEGER, system, contact_id, 0 "
        "FROM contacts WHERE system IN (FROM product_systems) "
        "AND EXISTS (SELECT 1 FROM contacts WHERE system NOT IN (FROM product_systems)) "
        "AND contact_id NOT IN (SELECT user_id FROM users)"
    )


def _rekey(database: Database) -> None:
    """Write the matches to the users, and note whose state must be worked out again because of it."""
    changed = "FROM matching AS m JOIN users AS u USING (user_key) WHERE u.contact_key IS DISTINCT FROM m.contact_key"
    read = int(database.meta("activity_batch") or 0)
    database.execute(
        "INSERT INTO stale_contacts SELECT DISTINCT contact_key FROM ("
        f"SELECT u.contact_key {changed} UNION ALL SELECT m.contact_key {changed} AND u.since_batch <= {read}) "
        "WHERE contact_key IS NOT NULL"
    )
    if int(database.value(f"SELECT count(*) {changed}")):
        database.touch()
    database.execute(
        "UPDATE users SET contact_key = m.contact_key, matched_by = m.matched_by, reason = m.reason FROM matching AS m "
        "WHERE m.user_key = users.user_key AND (users.contact_key IS DISTINCT FROM m.contact_key "
        "OR users.matched_by IS DISTINCT FROM m.matched_by OR users.reason IS DISTINCT FROM m.reason)"
    )


def _make_contacts_of_users(database: Database) -> None:
    """No source lists contacts: every product user is a person, known since the first use."""
    batch, read = database.meta("batch") or "0", database.meta("first_uses_batch") or "0"
    database.execute(
        "UPDATE users SET first_at = e.first_at FROM (SELECT user_key, min(occurred_at) AS first_at FROM usage_events "
        f"WHERE batch > {read} GROUP BY user_key) AS e WHERE e.user_key = users.user_key "
        "AND (users.first_at IS NULL OR e.first_at < users.first_at)"
    )
    database.set_meta("first_uses_batch", batch)
    first = next_contact_key(database)
    database.execute(
        "UPDATE users SET matched_by = 'user', contact_key = fresh.contact_key FROM "
        f"(SELECT user_key, (row_number() OVER (ORDER BY user_key) + {first - 1})::INTEGER AS contact_key "
        " FROM users WHERE contact_key IS NULL) AS fresh WHERE fresh.user_key = users.user_key"
    )
    database.execute(
        "CREATE OR REPLACE TEMP TABLE matching AS SELECT u.contact_key, u.system, u.user_id AS contact_id, "
        "u.first_at AS created_at, u.account_id, "
        "CASE WHEN a.addresses = 1 THEN a.address END AS email, CASE WHEN e.ids = 1 THEN e.id END AS external_id "
        "FROM users AS u "
        "LEFT JOIN (SELECT user_key, count(*) AS addresses, min(value) AS address FROM user_facts "
        "  WHERE kind = 'email' GROUP BY user_key) AS a USING (user_key) "
        "LEFT JOIN (SELECT user_key, count(*) AS ids, min(value) AS id FROM user_facts "
        "  WHERE kind = 'external_id' GROUP BY user_key) AS e USING (user_key)"
    )
    database.execute(
        "CREATE OR REPLACE TEMP TABLE moved AS "
        "SELECT m.* FROM matching AS m LEFT JOIN contacts AS c USING (contact_key) "
        "WHERE c.contact_key IS NULL OR row(m.created_at, m.account_id, m.email, m.external_id) "
        "IS DISTINCT FROM row(c.created_at, c.account_id, c.email, c.external_id)"
    )
    if not int(database.value("SELECT count(*) FROM moved")):
        return
    database.execute("DELETE FROM contacts_history WHERE contact_key IN (SELECT contact_key FROM moved)")
    database.execute(
        f"INSERT INTO contacts_history BY NAME SELECT *, true AS implicit, {schema.BEGINNING} AS valid_from, "
        f"{schema.END} AS valid_to, email AS match_email FROM moved"
    )
    database.set_meta("implicit_contacts", "yes")
    database.touch()


def _report(database: Database) -> IdentityReport:
    kinds = database.rows(
        "SELECT matched_by, count(*) FROM users WHERE contact_key IS NOT NULL GROUP BY matched_by ORDER BY matched_by"
    )
    reasons = database.rows(
        "SELECT reason, count(*) FROM users WHERE contact_key IS NULL GROUP BY reason ORDER BY reason"
    )
    sample = (
        database.rows(f"SELECT user_id, reason FROM users WHERE contact_key IS NULL ORDER BY user_id LIMIT {SAMPLE}")
        if reasons
        else []
    )
    matched, unmatched = sum(n for _, n in kinds), sum(n for _, n in reasons)
    together, apart = same_person.said(database)
    return IdentityReport(
        users=matched + unmatched,
        matched=matched,
        by_kind=dict(kinds),
        unmatched=unmatched,
        unmatched_by_reason=dict(reasons),
        sample=tuple((user, reason) for user, reason in sample),
        together=together,
        apart=apart,
    )


def resolve(database: Database, text: str) -> str | None:
    """The contact that an id (with or without its system), an external id or a mail address means; None if nobody.

    Raises:
        SettingError: More than one contact answers to it.
    """
    wanted = literal(text.strip())
    exact = _people(database, f"contact_id = {wanted}", f"user_id = {wanted}", f"merged_id = {wanted}")
    if len(exact) != 1:
        suffix = literal(":" + text.strip())
        exact = exact or _people(
            database,
            f"external_id = {wanted} "
            f"OR (contact_id LIKE '%:%' AND substr(contact_id, strpos(contact_id, ':')) = {suffix})",
            f"substr(user_id, strpos(user_id, ':')) = {suffix}",
            f"substr(merged_id, strpos(merged_id, ':')) = {suffix}",
        )
    address = normal_email(text) if "@" in text and not exact else None
    if address is not None:
        email = literal(address)
        exact = _people(
            database,
            f"match_email = {email} "
            f"OR contact_key IN (SELECT contact_key FROM secondary_emails WHERE match_email = {email})",
            f"user_key IN (SELECT user_key FROM user_facts WHERE kind = 'email' AND value = {email})",
            "false",
        )
    if len(exact) > 1:
        raise SettingError(
            f"{len(exact)} contacts answer to this: {', '.join(exact[:5])}",
            hint="give the full contact id, with its system in front",
        )
    return exact[0] if exact else None


def _people(database: Database, contact: str, user: str, merged: str) -> list[str]:
    """Ids of the contacts found by these conditions, merged and folded ones as whom they are now."""
    found = database.rows(
        "SELECT DISTINCT c.contact_id FROM ("
        f"  SELECT contact_key FROM contacts WHERE {contact} UNION ALL "
        f"  SELECT contact_key FROM users WHERE contact_key IS NOT NULL AND ({user}) UNION ALL "
        f"  SELECT w.contact_key FROM merges JOIN contacts AS w USING (contact_id) WHERE {merged}"
        ") AS f LEFT JOIN folded USING (contact_key) "
        "JOIN contacts AS c ON c.contact_key = coalesce(folded.into_key, f.contact_key) ORDER BY 1"
    )
    return [row[0] for row in found]


def merged(database: Database, system: str) -> dict[str, str]:
    """Contacts of this system that were merged away there, and whom each of them is now, there."""
    rows = database.rows(
        "SELECT away.contact_id, now.contact_id FROM ("
        "  SELECT contact_id, contact_key FROM contacts WHERE contact_key IN (SELECT contact_key FROM folded) "
        "  AND contact_key NOT IN (SELECT contact_key FROM same_person) UNION "
        "  SELECT merged_id, c.contact_key FROM merges JOIN contacts AS c USING (contact_id) "
        "  WHERE merged_id NOT IN (SELECT contact_id FROM contacts)"
        ") AS away LEFT JOIN folded USING (contact_key) "
        f"LEFT JOIN {_RECORDS} AS record ON record.contact_key = away.contact_key "
        "LEFT JOIN same_person AS same ON same.contact_key = away.contact_key JOIN contacts AS now "
        "ON now.contact_key = coalesce(record.into_key, same.contact_key, folded.into_key, away.contact_key) "
        f"WHERE starts_with(away.contact_id, {literal(system + ':')}) "
        f"AND starts_with(now.contact_id, {literal(system + ':')}) AND away.contact_id <> now.contact_id"
    )
    return dict(rows)


_RECORDS = (
    "(SELECT gone.contact_key, there.contact_key AS into_key "
    "FROM (SELECT contact_key, merged_into FROM contacts WHERE merged_into IS NOT NULL AND contact_key IN ("
    "  SELECT contact_key FROM folded WHERE into_key IN (SELECT into_key FROM same_person))) AS gone "
    "JOIN contacts AS there ON there.contact_id = gone.merged_into)"
)
"""SQL: of people known in several CRMs, the contact each record is part of within its own."""


def contacts(database: Database) -> list[Contact]:
    """Everybody as now, by id, without those who are part of another contact."""
    rows = database.dicts(
        f"SELECT {', '.join(schema.CONTACT_COLUMNS)} FROM contacts "
        "WHERE contact_key NOT IN (SELECT contact_key FROM folded) ORDER BY contact_id"
    )
    return [Contact(**row | {"attributes": json.loads(row["attributes"] or "{}")}) for row in rows]
