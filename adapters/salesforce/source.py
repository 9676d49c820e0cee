"""Reads people, accounts, deals, mails and consent: everything once, afterwards only what changed.

A cursor is in one of three modes. `bulk` and `rest` are a first reading under way, `changes` is everything after it:

    {"mode": "bulk",    "until": ms, "part": n, "job": {"job", "version", "locator"}, "replacing": b, "fields": {…}}
    {"mode": "rest",    "until": ms, "part": n, "after": id, "replacing": b, "fields": {…}}
    {"mode": "changes", "since": ms, "until": ms|null, "part": n, "after": id|null, "job": {…}|null,
     "looked": ms, "fields": {…}}

`since` is the watermark: what changed from then on has not been read. `until` is the watermark that the reading under
way leaves behind: when it began. `part` is which of the stream's queries it is at. `fields` remembers which fields were
asked for, and which of them our user sees: a mapping that asks for more starts over, because old records would lack
the new field. `looked` is when we last asked who was deleted for good; `replacing` says that the next page replaces
what earlier readings brought.

A first reading of people is a snapshot of all ids of their kind. Deletions come from the recycle bin and from the list
of deleted ids, too.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.salesforce import deletions
from adapters.salesforce.checks import check_connection, check_fields
from adapters.salesforce.client import MissingPermissionsError, SalesforceClient
from adapters.salesforce.consents import Consents
from adapters.salesforce.deals import Deals
from adapters.salesforce.ids import PREFIXES
from adapters.salesforce.mails import Mails
from adapters.salesforce.options import STREAMS, SalesforceOptions
from adapters.salesforce.responses import Responses
from adapters.salesforce.streams import DELETED_AT, OPTED_OUT, PEOPLE, Accounts, Stream
from adapters.salesforce.tables import as_table, empty, with_place
from adapters.salesforce.visible import PERMISSION_SET, Visible, is_remarkable
from adapters.salesforce.walking import Part, Standing, Walk
from connector.contracts import Connection, StreamInfo
from connector.errors import ConfigurationError
from connector.model import Cursor, Finding, Page

FIELDS_KNOWN_FOR: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields a stream asks for, and those that our user sees."""

    asked: tuple[str, ...]
    known: tuple[str, ...]
    known_at_ms: int

    def as_json(self) -> dict[str, Any]:
        """For the cursor."""
        return {"asked": list(self.asked), "known": list(self.known), "at": self.known_at_ms}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reading has come; `since` and `looked` are None on a first one.

    replacing: The next page replaces what earlier readings brought.
    """

    since: int | None
    until: int
    looked: int | None = None
    part: int = 0
    standing: Standing | None = None
    replacing: bool = False

    def snapshot(self, stream: Stream) -> str | None:
        """The name of the complete listing that a first reading of people is."""
        return f"{stream.name} {self.until}" if self.since is None and stream.deleted else None

    def cursor(self, fields: Fields) -> Cursor:
        """The cursor of a reading under way."""
        here = (self.standing or Standing()).as_json()
        common = {"until": self.until, "part": self.part, "fields": fields.as_json()}
        if self.since is not None:
            return {"mode": "changes", "since": self.since, "looked": self.looked, **here, **common}
        common["replacing"] = self.replacing
        if here["job"] is not None:
            return {"mode": "bulk", "job": here["job"], **common}
        return {"mode": "rest", "after": here["after"], **common}


class SalesforceSource:
    """The streams of one Salesforce org."""

    system = "salesforce"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options: SalesforceOptions = connection.options
        self._clock = connection.clock
        self._reporter = connection.reporter
        self._client = SalesforceClient(connection)
        self._walk = Walk(self._client, connection)
        self._visible = Visible(self._client)

    def check(self) -> Iterator[Finding]:
        """Login, org, version, limits, clock, what may be read, mapped fields."""
        good = yield from check_connection(self._client, self._connection)
        if not good:
            return
        for name in self._options.streams:
            stream = self._stream(name)
            yield from check_fields(self._visible, stream, self._mapped(name), self._options.mapping_for(name))

    def streams(self) -> Sequence[StreamInfo]:
        """The configured streams."""
        return [
            StreamInfo(name, self._stream(name).into, name, quiet=name not in PEOPLE) for name in self._options.streams
        ]

    def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
        """Pages from the cursor on.

        A first reading is one complete listing; changes since it began come with the next call. Safe to abandon after
        any page. What winback itself wrote comes back as a change of the record; storing it again alters nothing,
        because only mapped fields are read and ours are not among them.
        """
        reading = self._stream(stream)
        fields, changed = self._fields(reading, cursor)
        if changed:
            self._reporter.line(
                f"salesforce {stream}: there are more fields to read than before; reading everything again"
            )
            cursor = None
        began = self._began(reading, cursor)
        replacing = yield from self._pages(reading, fields, began)
        looked = yield from self._deleted_for_good(reading, fields, began)
        snapshot = began.snapshot(reading)
        yield Page(
            empty(reading.columns(fields.known)),
            {
                "mode": "changes",
                "since": began.until,
                "until": None,
                "part": 0,
                "after": None,
                "job": None,
                "looked": looked,
                "fields": fields.as_json(),
            },
            origin=reading.origin,
            replaces_origin=replacing,
            snapshot=snapshot,
            snapshot_complete=snapshot is not None,
            snapshot_ids=PREFIXES[reading.kind] if snapshot else "",
        )

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    # --- where a reading stands ---------------------------------------------------------------------------------

    def _began(self, stream: Stream, cursor: Cursor | None) -> Progress:
        """The reading to go on with, or a new one.

        A new one leaves its beginning behind as the watermark; where our clock is before Salesforce's, by theirs.
        """
        if cursor is not None and cursor.get("until") is not None:
            since, looked = (cursor["since"], cursor["looked"]) if cursor["mode"] == "changes" else (None, None)
            standing, again = Standing.parse(cursor), bool(cursor.get("replacing"))
            return Progress(since, int(cursor["until"]), looked, int(cursor["part"]), standing, replacing=again)
        self._client.sign_in()
        ahead = max(timedelta(), self._client.clock_ahead or timedelta())
        until = self._now_ms() - int(ahead.total_seconds() * 1_000)
        if cursor is None:
            return Progress(None, until, replacing=stream.origin is not None)
        return Progress(int(cursor["since"]), until, int(cursor["looked"]))

    def _since(self, began: Progress) -> datetime | None:
        """From when on changes are read: a transaction that takes long shows its changes with an earlier stamp."""
        if began.since is None:
            return None
        return datetime.fromtimestamp(began.since / 1_000, UTC) - self._options.overlap

    # --- pages --------------------------------------------------------------------------------------------------

    def _pages(self, stream: Stream, fields: Fields, began: Progress) -> Generator[Page, None, bool]:
        """The records of all parts from the place on; answers whether what was there is still to be replaced."""
        queries = stream.queries(fields.known, self._since(began))
        what = f"salesforce {stream.name}"
        everything = began.since is None
        here, done = began, 0
        for number in range(began.part, len(queries)):
            query, standing = queries[number], here.standing
            for part in self._walk.read(
                query, what=what, deleted=stream.deleted, everything=everything, standing=standing
            ):
                after = _after(here, number, part)
                if part.table is None:
                    yield Page(empty(stream.columns(fields.known)), after.cursor(fields), origin=stream.origin)
                    here = after
                    continue
                done += part.table.num_rows
                self._reporter.progress(what, done, max(done, part.total) if everything else None)
                shaped = [
                    one for one in stream.shape(part.table, query, fields.known, everything=everything)
                    if one.table.num_rows or not one.partial
                ]  # fmt: skip
                for place, one in enumerate(shaped, start=1):
                    replacing, here = here.replacing, replace(here, replacing=False)
                    yield Page(
                        one.table,
                        (replace(after, replacing=False) if place == len(shaped) else here).cursor(fields),
                        partial=one.partial,
                        origin=stream.origin,
                        replaces_origin=replacing,
                        snapshot=None if one.partial else began.snapshot(stream),
                    )
                here = replace(after, replacing=False)
            here = replace(here, part=number + 1, standing=None)
        return here.replacing

    def _deleted_for_good(self, stream: Stream, fields: Fields, began: Progress) -> Generator[Page, None, int]:
        """Once a week those who were gone from the bin before it was read; answers when we last looked."""
        if not stream.deleted or began.looked is None:
            return began.until
        if not deletions.is_due(began.looked, began.until):
            return began.looked
        queries = stream.queries(fields.known, self._since(began))
        here = replace(began, part=len(queries), standing=None).cursor(fields)
        start, end = deletions.span(began.looked, began.until)
        for found in deletions.deleted_ids(self._client, stream.kind, start, end):
            if found:
                rows = [{"Id": one["id"], DELETED_AT: one["deletedDate"]} for one in found]
                yield Page(with_place(as_table(rows, ("Id", DELETED_AT)), stream.name), here, partial=True)
        return began.until

    # --- fields -------------------------------------------------------------------------------------------------

    def _stream(self, name: str) -> Stream:
        """What is read for a stream."""
        if name in PEOPLE:
            return PEOPLE[name]
        if name == Accounts().name:
            return Accounts()
        if name == Deals.name:
            return Deals(self._client, self._walk)
        if name == Mails.name:
            return Mails()
        if name == Responses.name:
            return Responses()
        if name == Consents.name:
            return Consents(self._client, self._walk)
        raise ConfigurationError(f"salesforce: no stream {name!r}; there are {', '.join(STREAMS)}")

    def _mapped(self, stream: str) -> tuple[str, ...]:
        """The fields the mapping reads."""
        return tuple(self._connection.fields.get(stream, ()))

    def _fields(self, stream: Stream, cursor: Cursor | None) -> tuple[Fields, bool]:
        """Which fields to ask for, and whether there are more than the reading under way asked for.

        A field that our user does not see is left out of the records, so that the mapping can say so; which ones those
        are is asked again after a day.
        """
        wanted = stream.wanted(self._mapped(stream.name))
        before: Mapping[str, Any] = (cursor or {}).get("fields") or {}
        more = cursor is not None and not set(wanted) <= set(before.get("asked", ()))
        now_ms = self._now_ms()
        fresh = now_ms - int(before.get("at", 0)) < FIELDS_KNOWN_FOR.total_seconds() * 1_000
        under_way = bool(before) and cursor is not None and cursor.get("until") is not None
        if before and not more and (fresh or under_way):
            # A reading under way keeps its fields to the end: a Bulk job's file has the columns it was asked for.
            return Fields(tuple(before["asked"]), tuple(before["known"]), int(before["at"])), False
        known = stream.choose(self._visible, wanted)
        self._refuse_blindness(stream, wanted, known)
        self._tell_hidden(stream, wanted, known)
        appeared = cursor is not None and not set(known) <= set(before.get("known", ()))
        return Fields(wanted, known, now_ms), more or appeared

    def _refuse_blindness(self, stream: Stream, wanted: Sequence[str], known: Sequence[str]) -> None:
        """People whose opt-out we cannot see are not read: nobody is mailed against their will for want of a right."""
        if stream.name not in PEOPLE:
            return
        if "Id" not in known:
            raise MissingPermissionsError(
                f"salesforce {stream.name}: our user may not read {stream.kind} records",
                hint=f"give it the permission set {PERMISSION_SET} (Setup → Permission Sets → Manage Assignments)",
            )
        if OPTED_OUT in wanted and OPTED_OUT not in known:
            raise MissingPermissionsError(
                f"salesforce {stream.name}: {stream.kind}.{OPTED_OUT} is hidden from our user, so that who opted out "
                "of mail cannot be known",
                hint=f"assign {PERMISSION_SET}, which may read {stream.kind}.{OPTED_OUT}, or map opted_out to a field "
                "of yours",
            )

    def _tell_hidden(self, stream: Stream, wanted: Sequence[str], known: Sequence[str]) -> None:
        """Say which fields are not read because our user does not see them, where that is somebody's doing."""
        asked_by_user = set(self._options.mapping_for(stream.name).values())
        hidden = [
            f"{stream.kind}.{name}"
            for name in wanted
            if name not in known
            and (name in asked_by_user or (stream.name in (*PEOPLE, "accounts") and is_remarkable(name)))
        ]
        if hidden:
            self._reporter.line(
                f"salesforce {stream.name}: not visible to our user and so not read: {', '.join(hidden)}; "
                f"give it read access: {PERMISSION_SET} has the standard fields, a permission set of yours your own"
            )

    def _now_ms(self) -> int:
        """The present moment in ms since 1970."""
        return int(self._clock.now().timestamp() * 1_000)


def _after(before: Progress, number: int, part: Part) -> Progress:
    """Where the reading stands once a part is stored: further in the same query, or at the next one."""
    if part.standing is not None:
        return replace(before, part=number, standing=part.standing)
    return replace(before, part=number + 1, standing=None)
