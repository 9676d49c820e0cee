"""One person known in several CRMs: whose contact they go by, which records they have, and what is believed of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from connector.identity import ATTRIBUTE, BELIEVED
from connector.rules import sql_files
from connector.warehouse.database import Database, literal

SAME = "same_person"
"""contact_key of a CRM's contact, into_key of the person it is part of, its system, and which of several it is."""

APART = "kept_apart"
"""contact_key of a CRM's contact that shares something with another CRM's, and why it is not taken for that person."""

_PEOPLE, _KNOWN_BY, _FOUND, _RANKS = "crm_people", "crm_known_by", "crm_found", "crm_ranks"
_META = "crms"
_LAST = 1_000_000_000
"""Behind every record that is there: of a person, what a deleted one says counts last."""

_MOST = 1_000_000
"""More records than one person has in a CRM: what the CRMs' places are told apart by."""
_YES = ("legal_hold", "erased")
"""Attributes that hold as soon as one CRM says so."""


@dataclass(frozen=True, slots=True)
class Crms:
    """The CRMs of an install that has several.

    systems: As in contact ids, the first one first.
    record: Column, or `attributes.<name>` → the system that is believed about it.
    """

    systems: tuple[str, ...]
    record: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The same, as a setting is kept."""
        return json.dumps([list(self.systems), dict(sorted(self.record.items()))])


@dataclass(frozen=True, slots=True)
class RecordElsewhere:
    """A record that a person has in a CRM besides the contact they go by.

    contact_id: The person. record_id: The record, as the contact it would be without the other. main: The one that is
    shown on lists; of the others only opt-outs are written. told: It says itself that the person has opted out.
    gone: It was deleted, and the person goes on as the contact of another CRM that knows them.
    """

    contact_id: str
    record_id: str
    main: bool
    told: bool
    has_address: bool
    gone: bool = False


def crms_of(database: Database) -> Crms | None:
    """Those people were last matched across; None where there are not several."""
    text = database.meta(_META)
    if text is None:
        return None
    systems, record = json.loads(text)
    return Crms(tuple(systems), record)


def fold(database: Database, match: Sequence[str], crms: Crms | None) -> None:
    """Bring `same_person` up to date, and let `roots` lead to the person, from wherever a contact was merged into."""
    database.set_meta(_META, crms.text if crms is not None else None)
    if crms is None:
        if database.value(f"SELECT 1 FROM {SAME} LIMIT 1") or database.value(f"SELECT 1 FROM {APART} LIMIT 1"):
            database.execute(f"DELETE FROM {SAME}")
            database.execute(f"DELETE FROM {APART}")
            database.touch()
        return
    _find(database, match, crms)
    _let_inherit(database)
    _keep(database, f"SELECT contact_key, into_key, system, place FROM {_FOUND} WHERE into_key IS NOT NULL", SAME)
    _keep(database, f"SELECT contact_key, reason FROM {_FOUND} WHERE into_key IS NULL", APART)
    database.execute(f"UPDATE roots SET root_key = s.into_key FROM {SAME} AS s WHERE roots.root_key = s.contact_key")
    database.execute(f"INSERT INTO roots SELECT contact_key, into_key FROM {SAME}")
    database.drop(_PEOPLE, _KNOWN_BY, _FOUND, _RANKS)


def _find(database: Database, match: Sequence[str], crms: Crms) -> None:
    """Make `crm_found`: one CRM after the other, each against all before it."""
    ranks = ", ".join(f"({literal(system)}, {rank})" for rank, system in enumerate(crms.systems))
    database.execute(f"CREATE OR REPLACE TEMP TABLE {_RANKS} AS FROM (VALUES {ranks}) AS r(system, rank)")
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_PEOPLE} AS SELECT contact_key, contact_key AS person_key, system, rank, "
        "contact_id, external_id, created_at, CASE WHEN trim(first_name) <> '' AND trim(last_name) <> '' "
        "THEN lower(trim(first_name)) || ' ' || lower(trim(last_name)) END AS name "
        f"FROM contacts JOIN {_RANKS} USING (system) "
        "WHERE deleted_at IS NULL AND merged_into IS NULL AND contact_key NOT IN (SELECT contact_key FROM roots)"
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE {_KNOWN_BY} AS {_known_by(match)}")
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_FOUND} "
        "(contact_key INTEGER, into_key INTEGER, place INTEGER, reason VARCHAR, system VARCHAR)"
    )
    by_id = list(match).index("external_id") + 1 if "external_id" in match else 0
    for rank, system in enumerate(crms.systems):
        if rank == 0:
            continue
        found = sql_files.render("same_people", people=_PEOPLE, known_by=_KNOWN_BY, rank=str(rank), by_id=str(by_id))
        database.execute(
            f"INSERT INTO {_FOUND} BY NAME SELECT * REPLACE (place + {rank * _MOST} AS place), "
            f"{literal(system)} AS system "
            f"FROM ({found})"
        )
        database.execute(
            f"UPDATE {_PEOPLE} SET person_key = f.into_key FROM {_FOUND} AS f "
            f"WHERE f.contact_key = {_PEOPLE}.contact_key AND f.into_key IS NOT NULL"
        )


def _let_inherit(database: Database) -> None:
    """Whoever went by a contact that was deleted goes on as the one another CRM has: it is still the same spell."""
    database.execute(
        f"INSERT INTO {_FOUND} BY NAME WITH before AS ("
        f"  SELECT s.into_key AS gone_key, s.contact_key AS heir_key, s.place FROM {SAME} AS s UNION ALL "
        f"  SELECT s.contact_key, s.into_key, s.place FROM {SAME} AS s"
        "), heirs AS ("
        "  SELECT b.gone_key AS contact_key, c.system, coalesce(f.into_key, b.heir_key) AS into_key, b.place "
        "  FROM before AS b JOIN contacts AS c ON c.contact_key = b.gone_key "
        f"  JOIN {_PEOPLE} AS p ON p.contact_key = b.heir_key "
        f"  LEFT JOIN {_FOUND} AS f ON f.contact_key = b.heir_key AND f.into_key IS NOT NULL "
        "  WHERE c.deleted_at IS NOT NULL AND c.merged_into IS NULL "
        "  AND b.gone_key NOT IN (SELECT contact_key FROM roots)"
        ") SELECT contact_key, arg_min(into_key, (place, into_key)) AS into_key, "
        f"{_LAST} AS place, NULL AS reason, min(system) AS system FROM heirs GROUP BY contact_key"
    )


_VALUES = {
    "external_id": ("SELECT contact_key, external_id AS value FROM contacts WHERE external_id IS NOT NULL",),
    "email": (
        "SELECT contact_key, match_email AS value FROM contacts WHERE match_email IS NOT NULL",
        "SELECT contact_key, match_email AS value FROM secondary_emails",
    ),
}


def _known_by(match: Sequence[str]) -> str:
    """SQL for what the live contacts are known by, those merged into them included."""
    parts = [
        f"SELECT contact_key, {place} AS place, value FROM ({sql})"
        for place, kind in enumerate(match, start=1)
        for sql in _VALUES[kind]
    ]
    return (
        "SELECT DISTINCT coalesce(r.root_key, v.contact_key) AS contact_key, v.place, v.value "
        f"FROM ({' UNION ALL '.join(parts)}) AS v LEFT JOIN roots AS r USING (contact_key) "
        f"WHERE coalesce(r.root_key, v.contact_key) IN (SELECT contact_key FROM {_PEOPLE})"
    )


def _keep(database: Database, found: str, table: str) -> None:
    """Let the table hold these rows; it is a change of the facts where it held others."""
    if database.value(f"SELECT 1 FROM (({found} EXCEPT FROM {table}) UNION ALL (FROM {table} EXCEPT {found})) LIMIT 1"):
        database.execute(f"DELETE FROM {table}")
        database.execute(f"INSERT INTO {table} {found}")
        database.touch()


def together(database: Database, people: str, *, ends_at: str) -> str:
    """SQL for the same people, each with what all their records say; unchanged where there are not several CRMs."""
    crms = crms_of(database)
    if crms is None:
        return people
    chosen = [f"{_first_said(name, crms.record.get(name))} AS {name}" for name in BELIEVED]
    chosen += ["bool_and(can_email) AS can_email", f"{_attributes(crms.record)} AS attributes"]
    replaced = [f"CASE WHEN t.person_key IS NULL THEN p.{name} ELSE t.{name} END AS {name}" for name in _REPLACED]
    return sql_files.render(
        "people_together",
        people=people,
        history="contacts_history",
        ends_at=ends_at,
        same=SAME,
        chosen=", ".join(chosen),
        replaced=", ".join(replaced),
    )


_REPLACED = (*BELIEVED, "can_email", "attributes")


def _first_said(value: str, believed: str | None) -> str:
    """SQL: what the CRM says that is believed, else what the first says that says anything."""
    return f"arg_min({value}, {_order(believed)}) FILTER (({value}) IS NOT NULL)"


def _order(believed: str | None) -> str:
    return "place" if believed is None else f"(system <> {literal(believed)}, place)"


def _attributes(record: Mapping[str, str]) -> str:
    """SQL for the free fields of all records: of each field what the first says that has it, or whoever is believed."""
    merged = (
        "list_reduce(list(attributes::JSON ORDER BY place DESC) FILTER (attributes IS NOT NULL), "
        "lambda a, b: json_merge_patch(a, b))"
    )
    for name, system in sorted(record.items()):
        if name.startswith(ATTRIBUTE):
            key = name.removeprefix(ATTRIBUTE)
            # The place in the document, with the key as it is written.
            path = literal('$."' + key.replace('"', "") + '"')
            said = _first_said(f"json_extract(attributes, {path})", system)
            patched = f"json_merge_patch({merged}, json_object({literal(key)}, {said}))"
            merged = f"CASE WHEN {said} IS NULL THEN {merged} ELSE {patched} END"
    for key in _YES:
        said = f"lower(json_extract_string(attributes, '$.{key}'))"
        yes = f"bool_or({said} NOT IN ('false', 'f', 'no', 'n', '0', 'off', ''))"
        merged = f"CASE WHEN {yes} THEN json_merge_patch({merged}, json_object('{key}', true)) ELSE {merged} END"
    return f"({merged})::VARCHAR"


def elsewhere(database: Database, system: str) -> list[RecordElsewhere]:
    """The records in this system of people who go by another's contact; of each person the main one first."""
    rows = database.rows(
        "SELECT p.contact_id, c.contact_id, s.place = min(s.place) OVER (PARTITION BY s.into_key), "
        "coalesce(c.opted_out, false), c.email IS NOT NULL, c.deleted_at IS NOT NULL "
        f"FROM {SAME} AS s JOIN contacts AS c USING (contact_key) "
        "JOIN contacts AS p ON p.contact_key = s.into_key WHERE s.system = ? ORDER BY s.into_key, s.place",
        [system],
    )
    return [RecordElsewhere(*row) for row in rows]


def aliases(database: Database) -> dict[str, str]:
    """The contact each of these records would be → the contact the person goes by."""
    return dict(
        database.rows(
            f"SELECT c.contact_id, p.contact_id FROM {SAME} AS s JOIN contacts AS c USING (contact_key) "
            "JOIN contacts AS p ON p.contact_key = s.into_key"
        )
    )


def said(database: Database) -> tuple[int, dict[str, int]]:
    """How many records were found to be people of another CRM, and how many were kept apart, by reason."""
    if crms_of(database) is None:
        return 0, {}
    reasons = database.rows(f"SELECT reason, count(*) FROM {APART} GROUP BY reason ORDER BY reason")
    return int(database.value(f"SELECT count(*) FROM {SAME}")), dict(reasons)


def why_apart(database: Database, contact_id: str) -> str | None:
    """Why a contact is not taken for a person another CRM knows; None where there is nothing to tell."""
    reason: str | None = database.value(
        f"SELECT reason FROM {APART} JOIN contacts USING (contact_key) WHERE contact_id = ?", [contact_id]
    )
    return reason


def doubles(database: Database) -> tuple[str, str]:
    """SQL: who is compared with whom about an address, and who comes first: a CRM's contacts, the first CRM's first."""
    crms = crms_of(database)
    if crms is None:
        return "p.system", "0"
    ranks = " ".join(f"WHEN {literal(system)} THEN {rank}" for rank, system in enumerate(crms.systems))
    named = ", ".join(map(literal, crms.systems))
    return f"CASE WHEN p.system IN ({named}) THEN '' ELSE p.system END", f"CASE p.system {ranks} ELSE 0 END"
