"""The warehouse: facts in, one row per contact out. One process at a time; every page is stored all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from connector.model import Contact, Page, Reject
from connector.rules import sql_files
from connector.warehouse import activity, features, known, measures, pages, people, same_person
from connector.warehouse.answers import (
    Checked,
    Evaluation,
    IdentityReport,
    Refreshed,
    ReturnCurve,
    SourceStat,
    Stored,
)
from connector.warehouse.database import Database
from connector.warehouse.evaluation import Evaluator
from connector.warehouse.features import Made
from connector.warehouse.gathering import Asked
from connector.warehouse.same_person import Crms, RecordElsewhere
from connector.warehouse.shortlist import Shortlist

if TYPE_CHECKING:
    import pyarrow as pa

    from mappings.schema import StreamMapping


T = TypeVar("T")


class Warehouse:
    """The neutral tables of one account, in one DuckDB file or in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._made = Made()
        self._evaluator = Evaluator(database, self._made)
        self._once: dict[str, tuple[int, Any]] = {}

    @classmethod
    def open(cls, url: str, *, timezone: str = "UTC", memory_limit: str | None = None) -> Self:
        """Open or create the warehouse at `duckdb:///path` or `duckdb:///:memory:`.

        Args:
            url: Where it is.
            timezone: The account's time zone: which day an event is on. A change moves all events to their new days.
            memory_limit: What DuckDB may use, as in "2GB"; the process needs some 0.3 GB beside it.

        Raises:
            SettingError: The address or the time zone is wrong.
            StateError: Another process has it open, it is of a newer version, or not ours.
        """
        return cls(Database.open(url, timezone=timezone, memory_limit=memory_limit))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # --- facts in ------------------------------------------------------------------------------------------

    def cursor(self, source: str, stream: str) -> dict[str, Any] | None:
        """How far a stream is stored; None if it never was."""
        found = self._database.value("SELECT cursor FROM cursors WHERE source = ? AND stream = ?", [source, stream])
        if found is None:
            return None
        cursor: dict[str, Any] = json.loads(found)
        return cursor

    def store_page(
        self, page: Page, mapping: StreamMapping, *, source: str, system: str, stream: str, pulled_at: datetime
    ) -> Stored:
        """Map a page into its neutral table, with its rejects and its cursor, in one transaction.

        `replaces_origin` belongs on the first page of an origin that is read again, and on no other.

        Raises:
            MappingError: A field the mapping needs is not among the page's columns.
        """
        return pages.store_page(
            self._database, page, mapping, source=source, system=system, stream=stream, pulled_at=pulled_at
        )

    def note_pulled(self, source: str, stream: str, at: datetime) -> None:
        """Note that a stream was read to its end, also when that brought nothing new."""
        self._database.execute(
            "UPDATE stream_stats SET pulled_at = ?::TIMESTAMPTZ WHERE source = ? AND stream = ?",
            [at.isoformat(), source, stream],
        )

    def match_identities(self, match: Sequence[str], crms: Crms | None = None) -> IdentityReport:
        """Decide which product user is which contact; cheap when nobody is new or changed.

        Where no source lists contacts, every product user is a contact. Where there are several CRMs, whoever they
        both know is one person from here on, who goes by the contact of the first.
        """
        return people.match_identities(self._database, match, crms)

    def elsewhere(self, system: str) -> list[RecordElsewhere]:
        """The records in this CRM of people who go by another's contact; of each person the main one first."""
        return same_person.elsewhere(self._database, system)

    def aliases(self) -> dict[str, str]:
        """What these records would be called if no other CRM knew them → the contact the person goes by."""
        return same_person.aliases(self._database)

    def once(self, what: str, find: Callable[[], T]) -> T:
        """What `find` says, asked once while no fact changes."""
        commits, found = self._once.get(what, (None, None))
        if commits != self._database.commits:
            found = find()
            self._once[what] = self._database.commits, found
        return cast("T", found)

    def why_apart(self, contact_id: str) -> str | None:
        """Why a contact is not taken for the person of another CRM with whom it shares something."""
        return same_person.why_apart(self._database, contact_id)

    def rejects(self, limit: int = 100) -> list[Reject]:
        """Rows that were set aside, the latest first."""
        rows = self._database.rows(
            "SELECT place, reason, row_id FROM rejects ORDER BY pulled_at DESC, rowid DESC LIMIT ?", [limit]
        )
        return [Reject(place or "", reason, row_id) for place, reason, row_id in rows]

    def version(self) -> str:
        """Changes whenever a stored fact does; what a plan is checked against."""
        return self._database.version()

    def source_stats(self) -> list[SourceStat]:
        """What every stream has brought so far."""
        return measures.source_stats(self._database)

    # --- what follows from them ----------------------------------------------------------------------------

    def refresh(self, *, counts: str | None = None) -> Refreshed:
        """Bring every contact's state up to date from new and late uses; the same as a rebuild, at a fraction of it.

        `counts` is SQL over `feature` and `events` (of a contact, day and feature): what counts as activity.
        """
        return activity.refresh(self._database, counts)

    def rebuild(self, *, counts: str | None = None) -> Refreshed:
        """Work every contact's state out from all uses."""
        return activity.rebuild(self._database, counts)

    def features(self, as_of: date) -> str:
        """The name of a temporary view: one row per contact that exists at the end of the day, all columns."""
        return features.view(self._database, as_of, self._made)

    def feature_batches(
        self, as_of: date, *, columns: Sequence[str] | None = None, contact_id: str | None = None
    ) -> tuple[list[str], Iterator[list[tuple[Any, ...]]]]:
        """Names of the asked columns, `contact_id` first, and the rows in batches, by contact id."""
        return features.batches(self._database, as_of, self._made, columns=columns, contact_id=contact_id)

    def contact_row(self, contact_id: str, as_of: date) -> dict[str, Any] | None:
        """All columns of one contact; None when it does not exist at that date."""
        return features.contact_row(self._database, contact_id, as_of, self._made)

    def resolve(self, text: str) -> str | None:
        """The contact id that an id, external id or mail address means; SettingError when it means several."""
        return people.resolve(self._database, text)

    def merged(self, system: str) -> dict[str, str]:
        """Contacts of this system that were merged away there, and whom each of them is now, there."""
        return self.once(f"merged {system}", lambda: people.merged(self._database, system))

    def identities(self, entered: Sequence[str], *, ours: str) -> Iterator[tuple[str, str, str]]:
        """(kind, value, contact_id): what everybody in a segment, and these contacts, are known by elsewhere."""
        return known.identities(self._database, entered, ours=ours)

    def addresses(self) -> Iterator[tuple[str, str]]:
        """(contact_id, address) of everybody; merged people as whom they are now."""
        return known.addresses(self._database)

    def flags(self, contact_ids: Sequence[str]) -> list[dict[str, Any]]:
        """What may keep these contacts off a list, as known now: opted out, bounced, deleted, merged.

        An opt-out, unsubscribe or spam report of the same person in any system is one here.
        """
        return self._evaluator.flags(contact_ids)

    def contacts(self) -> list[Contact]:
        """Everybody as now, as neutral rows, by id; for small companies (the demo)."""
        return people.contacts(self._database)

    def evaluate(self, segments: Sequence[Checked], as_of: date) -> Evaluation:
        """Who is in which segment; the relation `segment_members` holds them until the next evaluation."""
        return self._evaluator.evaluate(segments, as_of)

    def record_evaluation(self, as_of: date) -> None:
        """Keep the last evaluation as what the next one is compared with."""
        self._evaluator.record(as_of)

    def members(self, as_of: date) -> pa.Table:
        """contact_id, inactive_days, group_name, segment of the last evaluation, one row per contact and group."""
        return self._evaluator.members(as_of)

    def people(
        self,
        as_of: date,
        *,
        columns: Sequence[str] = (),
        episodes: Sequence[tuple[str, datetime, date]] | pa.Table | None = None,
        everybody_in: Sequence[str] = (),
        only: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Everybody a plan may have to do with, by id, with the `segments` they are in.

        That is whoever is in a segment now or when last recorded, may not be mailed, or has an episode. A row has what
        lists and properties are made of, SIGNALS and PERSON of `connector.program.columns` (dots as underscores), and
        `first_with_address`. `opted_out` and `bounced` are what any system has marked of the same person,
        `opted_out_here` is what the contact's own has. Evaluate nothing else before the last row is read.

        Args:
            as_of: The day that was evaluated last.
            columns: Further columns of the features relation, as in conditions or as there. `best_hour` is worked out
                only when named here.
            episodes: (contact_id, entered_at, spell_started_on), or a table of these; the newest of a contact counts.
            everybody_in: Systems (`hubspot`) all of whose contacts are wanted, or single contact ids.
            only: The one contact that is wanted, whether in a segment or not.
        """
        asked = Asked(columns=columns, episodes=episodes, everybody_in=everybody_in, only=only)
        return self._evaluator.people(as_of, asked)

    def shortlist(
        self,
        as_of: date,
        *,
        columns: Sequence[str] = (),
        episodes: Sequence[tuple[str, datetime, date]] | pa.Table | None = None,
        everybody_in: Sequence[str] = (),
    ) -> Shortlist:
        """The same people as `people`, to be asked which of them have to be looked at one by one."""
        return self._evaluator.shortlist(as_of, Asked(columns=columns, episodes=episodes, everybody_in=everybody_in))

    def mail_health(
        self,
        since: datetime,
        *,
        touches: Iterable[tuple[str, str, datetime]] | None = None,
        sent: Mapping[str, int] | None = None,
    ) -> Mapping[str, Mapping[str, int]]:
        """How mail was received: sent, delivered, bounce, spam and unsubscribe by campaign, or by program.

        Args:
            since: From when on.
            touches: (contact_id, program, when) of every mail the programs sent; then the answer is by program, and
                what a contact did or a CRM marked counts for the program that had touched it last.
            sent: How many mails each program sent; then touches of those who `answered` are enough.
        """
        return measures.mail_health(self._database, since, touches, sent)

    def answered(self, since: datetime) -> list[str]:
        """Contacts who bounced, complained or unsubscribed from this moment on: whose touches `mail_health` needs."""
        return measures.answered(self._database, since)

    def reachable(self, as_of: date, *, system: str | None = None) -> int:
        """How many contacts may be written at all; of those this CRM knows, where there are several."""
        return self._evaluator.reachable(as_of, system)

    def segment_sql(self, segments: Sequence[Checked], as_of: date) -> str:
        """The SQL that decides, with what each number stands for."""
        head = "\n".join(f"-- {number}: {s.segment.name}" for number, s in enumerate(segments, start=1))
        parts = [
            f"-- {sql_files.caption('contact_features')}\n{sql_files.text('contact_features').strip()}",
            f"-- {sql_files.caption('segments')}\n{head}\n{self._evaluator.sql(segments, as_of)}",
        ]
        return "\n\n".join(parts)

    def growth(self, by: str, as_of: date) -> pa.Table:
        """Growth accounting: period, new, retained, resurrected, dormant."""
        return measures.growth(self._database, self._made, by=by, as_of=as_of)

    def return_curve(self, as_of: date, *, horizon_days: int = 90, since_days: int | None = None) -> ReturnCurve:
        """How likely a contact silent for d days is to return within the horizon, and the thresholds that gives."""
        return measures.return_curve(
            self._database, self._made, as_of=as_of, horizon_days=horizon_days, since_days=since_days
        )

    def return_curve_aside(self, as_of: date, *, horizon_days: int = 90) -> Callable[[], ReturnCurve]:
        """The same, found when it is called, which another thread may do while this one goes on asking."""
        return measures.return_curve_aside(self._database, self._made, as_of=as_of, horizon_days=horizon_days)
