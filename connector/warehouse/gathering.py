"""Everybody a plan may have to do with, one row each, in the order of their ids, a batch at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from connector.program.columns import PERSON, SIGNALS
from connector.rules import sql_files
from connector.warehouse import contacts, entered, features, hours, said_no, same_person
from connector.warehouse.database import Database, literal
from connector.warehouse.features import Made
from connector.warehouse.rows import dicts
from connector.warehouse.said_no import Heard

if TYPE_CHECKING:
    import pyarrow as pa

ALWAYS = (
    "contact_id", "account_id", "merged_into", "deleted_at", "can_email", "email", "country", "timezone", "created_at",
    "last_active_at", "last_active_on", "last_feature", "inactive_days",
)  # fmt: skip
"""Columns of the relation that every row has; opted_out and bounced are the whole person's."""

_READ = ("opted_out", "bounced", "active_days_28", "attributes")
BEST_HOUR = "best_hour"
FIRST = "first_with_address"
MADE_HERE = frozenset({FIRST, "opted_out", "bounced"}).union(
    (c.relation or c.name for c in SIGNALS), (c.name for c in SIGNALS), (name for name, _ in PERSON)
)
"""Columns that are worked out for these rows alone; asking for them is no mistake."""

NOBODY: dict[str, Any] = {
    "segments": [], "active_days_since_enrollment": 0, "engaged_clicks": 0, "engaged_replies": 0, "engaged_visits": 0,
    "transactions_since_enrollment": 0, "milestone_days": 0, FIRST: True,
}  # fmt: skip
"""What is known of somebody of whom nothing is."""

SECOND = "second_with_address"
SHARE_ROWS = 100_000
CROWD = "crowd"
_SHARE, _TEAMS, _ASKED, _TOGETHER = "crowd_share", "active_teams", "crowd_asked", "segment_combinations"
_STAGED = "names_given"

_SEEN_KEYS = (
    "legal_hold", "erased", "consent_basis", "consent_at", "consent_source", "snoozed_until", "lead_converted_at",
    "became_opportunity_at", "became_customer_at", "email_last_click_at", "sales_last_click_at", "email_last_reply_at",
    "sales_last_reply_at", "site_last_visit_at", "form_last_submitted_at", "owner_contacted_at", "email_bounced_at",
    "last_paid_at",
)  # fmt: skip
"""Attributes with a meaning here; mappings fill them."""


class _Said:
    """SQL for attributes that have a meaning here, of a row with `attributes`; those nobody has are not looked for.

    Most installations fill a few of them, and looking for all of a million people takes longer than everything else
    that is found out about them.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._known = [key for key in _SEEN_KEYS if key in names]

    def found(self) -> str:
        """A list of their values, for `seen` to read as `said`."""
        if not self._known:
            return "NULL::VARCHAR[]"
        paths = ", ".join(f"'$.{key}'" for key in self._known)
        return f"CASE WHEN attributes IS NOT NULL THEN json_extract_string(attributes, [{paths}]) END"

    def seen(self) -> str:
        """A struct of what they mean."""
        return f"""struct_pack(
            legal_hold := {self._yes("legal_hold")},
            erased := {self._yes("erased")},
            consent_basis := {self._one("consent_basis")},
            consent_at := {self._latest("consent_at")},
            consent_source := {self._one("consent_source")},
            snoozed_until := {self._latest("snoozed_until")},
            lead_converted_at := {self._latest("lead_converted_at", "became_opportunity_at", "became_customer_at")},
            clicked_at := {self._latest("email_last_click_at", "sales_last_click_at")},
            replied_at := {self._latest("email_last_reply_at", "sales_last_reply_at")},
            visited_at := {self._latest("site_last_visit_at", "form_last_submitted_at")},
            owner_contacted_at := {self._latest("owner_contacted_at")},
            bounced_at := {self._latest("email_bounced_at")},
            paid_at := {self._latest("last_paid_at")}
        )"""

    def _one(self, key: str) -> str:
        return f"said[{self._known.index(key) + 1}]" if key in self._known else "NULL::VARCHAR"

    def _latest(self, *keys: str) -> str:
        moments = [f"TRY_CAST({self._one(key)} AS TIMESTAMPTZ)" for key in keys if key in self._known]
        return f"greatest({', '.join(moments)})" if moments else "NULL::TIMESTAMPTZ"

    def _yes(self, key: str) -> str:
        if key not in self._known:
            return "false"
        said = self._one(key)
        return f"({said} IS NOT NULL AND lower({said}) NOT IN ('false', 'f', 'no', 'n', '0', 'off', ''))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller wants to know.

    columns: Further columns of the features relation, as named there or in conditions.
    episodes: Who is in a program, since when, after which silence.
    everybody_in: Systems all of whose contacts are wanted (`hubspot`), or single contact ids.
    only: The one contact that is wanted, in a segment or not.
    """

    columns: Sequence[str] = ()
    episodes: Sequence[tuple[str, datetime, date]] | pa.Table | None = None
    everybody_in: Sequence[str] = ()
    only: str | None = None


@dataclass(frozen=True, slots=True)
class Assigned:
    """The last evaluation: its day, its table with a segment number per slot, and which numbers occur together."""

    as_of: date
    table: str
    slots: Sequence[str]
    together: Sequence[tuple[int | None, ...]]
    names: Sequence[str]

    @property
    def combinations(self) -> list[list[str]]:
        """The names of the segments that somebody is in together, in the playbook's order."""
        return [[self.names[number - 1] for number in sorted(filter(None, slots))] for slots in self.together]


def people(database: Database, made: Made, heard: Heard, assigned: Assigned, asked: Asked) -> Iterator[dict[str, Any]]:
    """One row for whoever is in a segment now or when last recorded, may not be mailed, or has an episode, by id."""
    gather(database, made, heard, assigned, asked)
    return handed_over(database, made, assigned, asked)


def gather(
    database: Database, made: Made, heard: Heard, assigned: Assigned, asked: Asked, *, in_line: bool = True
) -> None:
    """Make `crowd`, and what the rows of its people are put together from; not `in_line`: until `line_up` is called."""
    as_of = assigned.as_of
    features.measure(database, as_of, made)
    said_no.hear(database, heard, ends_at=database.end_of(as_of))
    entered.place(database, asked.episodes)
    entered.watch(database, as_of, made)
    _find_second(database, as_of)
    _share_out(database, as_of, assigned, asked, share=_by_id() if in_line else "0")
    if in_line:
        _count_teammates(database, as_of)


def handed_over(database: Database, made: Made, assigned: Assigned, asked: Asked) -> Iterator[dict[str, Any]]:
    """The rows of those gathered in `crowd`, and of whoever has an episode and is not there any more."""
    shares = int(database.value(f"SELECT coalesce(max(share) + 1, 0) FROM {CROWD}"))
    sql = sql_of(database, made, assigned, asked)
    absent = _absent(database, assigned, asked)
    rows = _rows(database, sql, assigned.combinations, shares)
    return merge(rows, absent, key=itemgetter("contact_id")) if absent else rows


def line_up(database: Database, as_of: date, *, chosen: str | None = None) -> None:
    """Put `crowd` in the order in which it is handed over; of it only those in `chosen` (contact_key), if given."""
    only = "" if chosen is None else f"SEMI JOIN {chosen} USING (contact_key) "
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {CROWD} AS SELECT contact_key, combination, ({_by_id()})::INTEGER AS share "
        f"FROM (FROM {CROWD} {only}) JOIN contacts USING (contact_key)"
    )
    _count_teammates(database, as_of)


def _by_id() -> str:
    return f"(row_number() OVER (ORDER BY contact_id) - 1) // {SHARE_ROWS}"


def _rows(database: Database, sql: str, combinations: Sequence[Sequence[str]], shares: int) -> Iterator[dict[str, Any]]:
    """One share after the other, so that memory does not grow with their number."""
    for share in range(shares):
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE {_SHARE} AS "
            f"SELECT contact_key, combination FROM {CROWD} WHERE share = {share}"
        )
        found = database.arrow(sql)
        keys = found.schema.names
        for batch in found.to_batches(max_chunksize=features.BATCH_ROWS):
            for row in dicts(batch, keys):
                row["segments"] = list(combinations[row.pop("combination")])
                yield row


def _share_out(database: Database, as_of: date, assigned: Assigned, asked: Asked, *, share: str) -> None:
    """Make `crowd` (contact_key, combination, share)."""
    _number_combinations(database, assigned)
    relation = features.relation(database, as_of, ["contact_id", "deleted_at", "opted_out", "bounced"])
    within, also = "true", "false"
    if asked.only is not None:
        within, also = f"contact_id = {literal(asked.only)}", "true"
    elif asked.everybody_in:
        also = f"contact_id IN (FROM {_ASKED}) OR split_part(contact_id, ':', 1) IN (FROM {_ASKED})"
    _name_asked(database, asked.everybody_in)
    crowd = sql_files.render(
        "crowd",
        people=f"(FROM ({relation}) JOIN {_numbered(assigned)} USING (contact_key))",
        recorded="recorded_members",
        said_no=said_no.SAID_NO,
        entered=entered.ENTERED,
        also=also,
        within=within,
        share=share,
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE {CROWD} AS {crowd}")


def _name_asked(database: Database, names: Sequence[str]) -> None:
    import pyarrow as pa

    database.connection.register(_STAGED, pa.table({"name": pa.array(names, pa.string())}))
    database.execute(f"CREATE OR REPLACE TEMP TABLE {_ASKED} AS FROM {_STAGED}")
    database.connection.unregister(_STAGED)


def _number_combinations(database: Database, assigned: Assigned) -> None:
    """Make `segment_combinations`: few rows, whatever the number of contacts."""
    import pyarrow as pa

    given = {slot: pa.array([one[place] for one in assigned.together], pa.int16()) for place, slot in _places(assigned)}
    given["combination"] = pa.array(range(len(assigned.together)), pa.int32())
    given["somewhere"] = pa.array([any(one) for one in assigned.together], pa.bool_())
    database.connection.register(_STAGED, pa.table(given))
    database.execute(f"CREATE OR REPLACE TEMP TABLE {_TOGETHER} AS FROM {_STAGED}")
    database.connection.unregister(_STAGED)


def _places(assigned: Assigned) -> Iterator[tuple[int, str]]:
    return enumerate(assigned.slots)


def _numbered(assigned: Assigned) -> str:
    """SQL for contact_key, combination, and whether that is any segment at all (somewhere)."""
    same = " AND ".join(f"a.{slot} IS NOT DISTINCT FROM t.{slot}" for slot in assigned.slots) or "true"
    return f"(SELECT contact_key, combination, somewhere FROM {assigned.table} AS a JOIN {_TOGETHER} AS t ON {same})"


_NO_DAYS = "(SELECT NULL::INTEGER AS contact_key, NULL::BIGINT AS days WHERE false)"
_NO_TEAMS = "(SELECT NULL::VARCHAR AS account_id, NULL::BIGINT AS active WHERE false)"


def sql_of(
    database: Database,
    made: Made,
    assigned: Assigned,
    asked: Asked,
    *,
    within: str = _SHARE,
    short: bool = False,
) -> str:
    """The statement of the rows of those in `within`.

    short: In no order, with `contact_key`, and without what only mails are made of (teammates, milestones).
    """
    as_of = assigned.as_of
    own = (features.KEY,) if short else ()
    days = f"(SELECT contact_key, len(active_dates) AS days FROM {features.state_table(database, as_of, made)})"
    asked_for = [features.relation_name(name) for name in asked.columns if name not in MADE_HERE]
    shown = [*ALWAYS, *(name for name in dict.fromkeys(asked_for) if name not in ALWAYS)]
    relation = features.relation(database, as_of, [*shown, *(name for name in _READ if name not in shown)])
    said = _Said(contacts.attribute_names(database))
    ends_at = database.end_of(as_of)
    return sql_files.render(
        "people",
        columns=", ".join(f"f.{name}" for name in (*own, *shown)),
        people=f"(SELECT *, {said.seen()} AS seen FROM (SELECT *, {said.found()} AS said FROM ({relation}) "
        f"JOIN {within} USING (contact_key)))",
        entered=entered.ENTERED,
        signals=entered.SIGNALS,
        said_no=said_no.SAID_NO,
        second=SECOND,
        days=_NO_DAYS if short else days,
        paid="(SELECT contact_key, max(happened_at) AS last_paid_at FROM "
        f"{entered.payments(f'happened_at < {ends_at}')} GROUP BY contact_key)",
        teammates=_NO_TEAMS if short else _TEAMS,
        confirmed="(SELECT system, min(pulled_at) AS confirmed_at FROM stream_stats WHERE into_table = 'contacts' "
        "GROUP BY system)",
        hours=_hours(database, as_of, assigned, asked),
        best="NULL",
        sorted="" if short else "ORDER BY f.contact_id",
    )


def _find_second(database: Database, as_of: date) -> None:
    among, rank = same_person.doubles(database)
    second = sql_files.render(
        "second_with_address",
        among=among,
        rank=rank,
        people=f"({features.people_as_of(database, as_of)})",
        shared=said_no.SHARED,
        measured=features.MEASURED,
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE {SECOND} AS {second}")


def _count_teammates(database: Database, as_of: date) -> None:
    relation = features.relation(database, as_of, ["account_id", "active_days_28"])
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TEAMS} AS SELECT account_id, count(*) AS active FROM ({relation}) "
        "WHERE active_days_28 > 0 AND account_id IS NOT NULL GROUP BY account_id"
    )


def _hours(database: Database, as_of: date, assigned: Assigned, asked: Asked) -> str:
    if BEST_HOUR not in asked.columns:
        return "(SELECT NULL::INTEGER AS contact_key, NULL::BIGINT AS best_hour WHERE false)"
    relation = features.relation(database, as_of, ["timezone"])
    members = f"SELECT contact_key FROM {assigned.table} WHERE coalesce({', '.join((*assigned.slots, 'NULL'))}) > 0"
    return hours.find(
        database,
        as_of,
        wanted=f"FROM ({relation}) WHERE contact_key IN "
        f"({members} UNION ALL SELECT contact_key FROM {entered.ENTERED})",
    )


def _absent(database: Database, assigned: Assigned, asked: Asked) -> list[dict[str, Any]]:
    """Who has an episode and is not there at that day: merged or matched into another, or not known at all."""
    found = database.dicts(
        "SELECT e.contact_id, c.account_id, coalesce(c.merged_into, root.contact_id) AS merged_into, c.deleted_at, "
        "c.can_email, c.opted_out AS opted_out_here, c.opted_out, c.bounced, c.email, c.country, c.timezone, "
        f"c.created_at FROM (FROM {entered.ENTERED} ANTI JOIN {assigned.table} USING (contact_key)) AS e "
        "LEFT JOIN contacts AS c USING (contact_key) LEFT JOIN folded USING (contact_key) "
        "LEFT JOIN contacts AS root ON root.contact_key = folded.into_key ORDER BY e.contact_id"
    )
    further = [features.relation_name(name) for name in asked.columns if name not in MADE_HERE]
    everything: dict[str, Any] = dict.fromkeys(name for name in (*ALWAYS, *sorted(MADE_HERE)) if "." not in name)
    everything |= {name: 0 if name in features.COUNTED else None for name in further if name not in everything}
    return [everything | NOBODY | {"segments": []} | row for row in found]
