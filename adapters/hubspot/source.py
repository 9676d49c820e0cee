"""Reads contacts, companies and mail events: everything once through an export, afterwards only what changed.

A cursor is in one of three modes. `export` and `list` are a first reading under way; `changes` is everything after it:

    {"mode": "export",  "since": ms, "job": id, "rows": n,   "fields": {…}}
    {"mode": "list",    "since": ms, "after": id,            "fields": {…}}
    {"mode": "changes", "since": ms, "until": ms|null, "place": {…}|null, "bin": {…}, "fields": {…}}

`since` is the watermark: what changed from then on has not been read. `fields` remembers which properties were asked
for, and which of them exist: a mapping that asks for more starts over, because old records would lack the new field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from adapters.hubspot.checks import check_connection, check_fields, check_reading
from adapters.hubspot.client import HubSpotClient
from adapters.hubspot.export import ExportFile, ExportUnavailableError, read_tables, start_export
from adapters.hubspot.mail_moments import COLUMNS, PLACE, PROPERTIES, mail_events
from adapters.hubspot.options import HubSpotOptions
from adapters.hubspot.search import RECORD_ID, ChangesWalk, Found, Place, to_ms
from connector.contracts import Connection, StreamInfo, chunks
from connector.errors import ConfigurationError
from connector.model import Cursor, Finding, Page, Record
from connector.paging import walk_cursor
from connector.rest import Effect

if TYPE_CHECKING:
    import pyarrow as pa

LIST_ROWS: Final = 100
BATCH_ROWS: Final = 100
ROWS_PER_PAGE: Final = 2_000
"""Rows that are gathered from the API's small pages before they are handed on: one transaction each."""

ARCHIVED_AT: Final = "archivedAt"
SEARCH_BODY_CHARACTERS: Final = 3_000
LIST_URL_CHARACTERS: Final = 6_000
FIELDS_KNOWN_FOR: Final = timedelta(hours=24)
BIN_PAUSE_PER_CALL: Final = timedelta(minutes=6)
BIN_LONGEST_PAUSE: Final = timedelta(hours=24)
BIN_CALLS_ALWAYS: Final = 3
BIN_SLACK: Final = timedelta(days=1)
"""How much earlier than the last look a deletion is still passed on: clocks differ, twice does no harm."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """What differs between the streams; `records` is the kind of record that is read for it."""

    into: str
    records: str
    modified: str
    deletable: bool


_STREAMS: Final[Mapping[str, _Stream]] = {
    "contacts": _Stream("contacts", "contacts", "lastmodifieddate", deletable=True),
    "companies": _Stream("accounts", "companies", "hs_lastmodifieddate", deletable=False),
    "email_events": _Stream("engagements", "contacts", "lastmodifieddate", deletable=False),
}
MAIL_EVENTS: Final = "email_events"
"""The stream whose records are contacts, each of which becomes as many events as it has moments."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The properties the mappings want of a stream, and those that the account has."""

    asked: tuple[str, ...]
    known: tuple[str, ...]
    known_at_ms: int

    def as_json(self) -> dict[str, Any]:
        """For the cursor."""
        return {"asked": list(self.asked), "known": list(self.known), "at": self.known_at_ms}

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns of every record: what exists, and when it was deleted (empty while it lives)."""
        return (*self.known, ARCHIVED_AT)


class HubSpotSource:
    """Contacts, companies and mail events of one HubSpot account."""

    system = "hubspot"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options: HubSpotOptions = connection.options
        self._clock = connection.clock
        self._reporter = connection.reporter
        self._client = HubSpotClient(connection)

    def check(self) -> Iterator[Finding]:
        """Token, scopes, quota, API versions, clock, mapped fields."""
        yield from check_connection(self._client, self._connection)
        wanted: dict[str, dict[str, None]] = {}
        for stream in self._options.streams:
            wanted.setdefault(_STREAMS[stream].records, {}).update(dict.fromkeys(self._wanted(stream)))
        for records, names in wanted.items():
            yield from check_reading(self._client, records)
            yield from check_fields(self._client, records, tuple(names))

    def streams(self) -> Sequence[StreamInfo]:
        """The configured streams."""
        return [StreamInfo(name, _STREAMS[name].into, name) for name in self._options.streams]

    def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
        """Pages from the cursor on.

        A first reading is one complete listing; changes since it began come with the next call. Safe to abandon after
        any page. What winback itself wrote comes back as a change of the record; storing it again alters nothing,
        because only mapped fields are read and ours are not among them.
        """
        if stream not in _STREAMS:
            raise ConfigurationError(f"hubspot: no stream {stream!r}; there are {', '.join(_STREAMS)}")
        fields, changed = self._fields(stream, cursor)
        if changed:
            self._reporter.line(f"hubspot {stream}: the mapping asks for new fields; reading everything again")
            cursor = None
        for page in self._pages(stream, fields, cursor):
            yield page if stream != MAIL_EVENTS else self._of_mail(page, fields, cursor)

    def _pages(self, stream: str, fields: Fields, cursor: Cursor | None) -> Iterator[Page]:
        """The records, in the way that the cursor's mode says."""
        mode = cursor["mode"] if cursor else None
        if cursor is None or mode == "export":
            yield from self._export(stream, fields, cursor)
        elif mode == "list":
            yield from self._list(stream, fields, cursor)
        else:
            yield from self._changes(stream, fields, cursor)

    def _of_mail(self, page: Page, fields: Fields, cursor: Cursor | None) -> Page:
        """A page of contacts as one of mail events; the cursor goes on counting contacts."""
        changes = cursor is not None and cursor["mode"] == "changes"
        read_until = datetime.fromtimestamp(int(cursor["since"]) / 1_000, UTC) if cursor and changes else None
        also = [name for name in self._carried() if name in fields.known]
        return replace(page, records=mail_events(page.records, also=also, read_until=read_until))

    def _carried(self) -> tuple[str, ...]:
        """The contact properties that the mapping of mail events wants besides."""
        return tuple(name for name in self._connection.fields.get(MAIL_EVENTS, ()) if name not in COLUMNS)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    # --- fields -------------------------------------------------------------------------------------------------

    def _wanted(self, stream: str) -> tuple[str, ...]:
        """The properties the mappings want, plus the two this adapter cannot do without."""
        always = (RECORD_ID, _STREAMS[stream].modified)
        mapped = self._connection.fields.get(stream, ())
        names = dict.fromkeys((*always, *((*PROPERTIES, *self._carried()) if stream == MAIL_EVENTS else mapped)))
        names.pop(ARCHIVED_AT, None)
        return tuple(names)

    def _fields(self, stream: str, cursor: Cursor | None) -> tuple[Fields, bool]:
        """Which properties to ask for, and whether there are more than the reading under way asked for.

        A property the account does not have is left out of the records, so that the mapping can say so; which
        ones exist is asked again after a day.
        """
        wanted = self._wanted(stream)
        before = (cursor or {}).get("fields") or {}
        asked = set(before.get("asked", ()))
        more = cursor is not None and not set(wanted) <= asked
        now_ms = self._now_ms()
        fresh = now_ms - int(before.get("at", 0)) < FIELDS_KNOWN_FOR.total_seconds() * 1_000
        if before and not more and fresh:
            kept = set(before["known"])
            known = tuple(name for name in wanted if name in kept)
            return Fields(wanted, known, int(before["at"])), False
        answer = self._client.read(
            self._client.path("properties", "/{objectType}"), place={"objectType": _STREAMS[stream].records}
        )
        existing = {str(item["name"]) for item in (answer or {}).get("results") or ()}
        known = tuple(name for name in wanted if name in existing or name == RECORD_ID)
        return Fields(wanted, known, now_ms), more

    # --- everything, by export ----------------------------------------------------------------------------------

    def _export(self, stream: str, fields: Fields, cursor: Cursor | None) -> Iterator[Page]:
        """One export job, from its start or where an interrupted run left it; page by page where there is none."""
        if cursor is None and self._options.backfill == "list":
            yield from self._list(stream, fields, None)
            return
        job = str(cursor["job"]) if cursor else None
        since = int(cursor["since"]) if cursor else self._now_ms()
        done = int(cursor["rows"]) if cursor else 0
        try:
            if job is None:
                stamp = datetime.fromtimestamp(since / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
                job = start_export(
                    self._client, _STREAMS[stream].records, fields.known, name=f"winback {stream} {stamp}"
                )
                self._reporter.line(f"hubspot {stream}: export {job} started")
                # Stored at once: a run that dies while HubSpot works finds the job again instead of starting another.
                yield Page(_empty(fields.columns), _export_cursor(since, job, 0, fields))
            file = ExportFile(self._client, self._clock, job, self._connection.work_dir)
            path = file.fetch(wait=self._options.export_wait)
        except ExportUnavailableError as reason:
            self._reporter.line(f"hubspot {stream}: no export, reading pages of {LIST_ROWS} instead: {reason}")
            yield from self._list(stream, fields, None)
            return
        snapshot = f"export {job}" if _STREAMS[stream].deletable else None
        waiting: pa.Table | None = None
        for table in read_tables(path, fields.columns, skip_rows=done):
            if waiting is not None:
                done += waiting.num_rows
                self._reporter.progress(f"hubspot {stream}", done)
                yield Page(
                    _with_place(waiting, stream),
                    _export_cursor(since, job, done, fields),
                    origin=f"hubspot {stream} export {job}",
                    snapshot=snapshot,
                )
            waiting = table
        last = waiting if waiting is not None else _empty(fields.columns)
        self._reporter.progress(f"hubspot {stream}", done + last.num_rows, done + last.num_rows)
        yield Page(
            _with_place(last, stream),
            self._changes_cursor(since, fields),
            origin=f"hubspot {stream} export {job}",
            snapshot=snapshot,
            snapshot_complete=snapshot is not None,
        )
        file.remove()

    # --- everything, by pages of 100 ----------------------------------------------------------------------------

    def _list(self, stream: str, fields: Fields, cursor: Cursor | None) -> Iterator[Page]:
        """The list endpoint: one call per 100 records, in order of id, so it can be resumed anywhere."""
        since = int(cursor["since"]) if cursor else self._now_ms()
        start = str(cursor["after"]) if cursor else None
        snapshot = f"list {since}" if _STREAMS[stream].deletable else None
        done = 0
        for rows, after in _gathered(self._list_pages(stream, fields, start=start)):
            done += len(rows)
            self._reporter.progress(f"hubspot {stream}", done)
            resume: Cursor = {"mode": "list", "since": since, "after": after, "fields": fields.as_json()}
            yield Page(
                rows or _empty(fields.columns),
                resume if after is not None else self._changes_cursor(since, fields),
                snapshot=snapshot,
                snapshot_complete=snapshot is not None and after is None,
            )

    def _list_pages(self, stream: str, fields: Fields, *, start: str | None) -> Iterator[tuple[list[Record], Any]]:
        """The pages of the list endpoint; with very many fields only ids, the rest by batch read."""
        by_batch = sum(len(name) + 3 for name in fields.known) > LIST_URL_CHARACTERS
        names = (RECORD_ID,) if by_batch else fields.known
        for items, after in self._listing(stream, [("properties", ",".join(names))], start=start):
            found = self._batch(stream, [str(item["id"]) for item in items], fields) if by_batch else items
            yield [_record(item, stream, fields.columns) for item in found], after

    def _listing(
        self, stream: str, query: Sequence[tuple[str, Any]], *, start: str | None = None
    ) -> Iterator[tuple[Sequence[Mapping[str, Any]], str | None]]:
        """Raw pages of the list endpoint with the cursor after each."""
        path, place = self._client.path("objects", "/{objectType}"), {"objectType": _STREAMS[stream].records}

        def fetch(after: str | None) -> tuple[Sequence[Any], str | None]:
            more = [("after", after)] if after is not None else []
            answer = self._client.read(path, place=place, query=[("limit", LIST_ROWS), *query, *more])
            following = ((answer.get("paging") or {}).get("next") or {}).get("after")
            return answer.get("results") or (), None if following is None else str(following)

        for page in walk_cursor(fetch, what=f"hubspot {stream} list", start=start):
            yield page.items, page.next

    def _batch(self, stream: str, ids: Sequence[str], fields: Fields) -> list[Mapping[str, Any]]:
        """Records by id, for field lists too long for a query string or a search."""
        found: list[Mapping[str, Any]] = []
        path = self._client.path("objects", "/{objectType}/batch/read")
        place = {"objectType": _STREAMS[stream].records}
        for part in chunks(ids, BATCH_ROWS):
            body = {"properties": list(fields.known), "inputs": [{"id": record_id} for record_id in part]}
            answer = self._client.call("POST", path, place=place, body=body, effect=Effect.READ)
            found.extend((answer.data or {}).get("results") or ())
        return found

    # --- what changed -------------------------------------------------------------------------------------------

    def _changes(self, stream: str, fields: Fields, cursor: Cursor) -> Iterator[Page]:
        """What was modified since the watermark, then what was deleted.

        The last page carries the new watermark; before it, a page's cursor says how far inside the span it got.
        """
        since, until, place = self._span(cursor)
        bin_state: Mapping[str, Any] = cursor.get("bin") or {}
        done = 0
        for rows, found in _gathered_found(self._changed(stream, fields, place, until)):
            done += len(rows)
            self._reporter.progress(f"hubspot {stream}", done, max(done, found.total))
            if found.place is not None:
                under_way = asdict(found.place)
                yield Page(
                    rows or _empty(fields.columns),
                    self._changes_cursor(since, fields, bin_state, until=until, place=under_way),
                )
            elif rows:
                # The span is read, but the deletions are not: a crash here reads the last millisecond again.
                yield Page(
                    rows,
                    self._changes_cursor(since, fields, bin_state, until=until, place=asdict(Place(until))),
                )
        if _STREAMS[stream].deletable and self._bin_is_due(bin_state):
            bin_calls = 0
            known_until = int(bin_state.get("at", since)) - _milliseconds(BIN_SLACK)
            for rows, calls in self._deleted(stream, known_until):
                bin_calls = calls
                if rows:
                    here = self._changes_cursor(since, fields, bin_state, until=until, place=asdict(Place(until)))
                    yield Page(rows, here, partial=True)
            bin_state = {"at": self._now_ms(), "calls": bin_calls}
        yield Page(_empty(fields.columns), self._changes_cursor(max(since, until), fields, bin_state))

    def _span(self, cursor: Cursor) -> tuple[int, int, Place]:
        """The watermark, the end of the span to read, and where to begin in it."""
        since = int(cursor["since"])
        if cursor.get("place") and cursor.get("until") is not None:
            return since, int(cursor["until"]), Place(**cursor["place"])
        until = self._now_ms() - _milliseconds(self._options.safety_lag)
        start = max(0, since - _milliseconds(self._options.overlap))
        return since, until, Place(start)

    def _changed(self, stream: str, fields: Fields, place: Place, until: int) -> Iterator[tuple[list[Record], Found]]:
        """Changed records with where the walk stands after them."""
        names = fields.known
        by_batch = sum(len(name) + 4 for name in names) + 500 > SEARCH_BODY_CHARACTERS
        walk = ChangesWalk(
            lambda body: self._client.search(_STREAMS[stream].records, body),
            modified=_STREAMS[stream].modified,
            properties=(RECORD_ID,) if by_batch else names,
            what=f"hubspot {stream} search",
        )
        for found in walk.walk(place, until):
            items = found.records
            if by_batch:
                items = self._batch(stream, [str(item["id"]) for item in items], fields)
            yield [_record(item, stream, fields.columns) for item in items], found

    def _bin_is_due(self, state: Mapping[str, Any]) -> bool:
        """Whether to list the recycle bin now: always when that is cheap, else the seldomer the fuller it is.

        It holds 90 days of deletions, cannot be read from a point on, and costs a call per 100.
        """
        calls = int(state.get("calls", 0))
        if calls <= BIN_CALLS_ALWAYS:
            return True
        pause = min(BIN_PAUSE_PER_CALL * calls, BIN_LONGEST_PAUSE)
        return self._now_ms() - int(state["at"]) >= _milliseconds(pause)

    def _deleted(self, stream: str, after_ms: int) -> Iterator[tuple[list[Record], int]]:
        """Records deleted since a moment, id and time only, with the calls made so far.

        What was deleted before that is known already, or was never read.
        """
        calls = 0
        gathered: list[Record] = []
        for items, after in self._listing(stream, [("properties", RECORD_ID), ("archived", "true")]):
            calls += 1
            for item in items:
                at = item.get(ARCHIVED_AT) or item.get("updatedAt")
                if at is None or to_ms(str(at)) >= after_ms:
                    place = f"hubspot {stream} {item['id']}"
                    gathered.append({RECORD_ID: str(item["id"]), ARCHIVED_AT: at, PLACE: place})
            if after is None or len(gathered) >= ROWS_PER_PAGE:
                yield gathered, calls
                gathered = []
        if calls > BIN_CALLS_ALWAYS:
            self._reporter.line(f"hubspot {stream}: {calls} calls to list what was deleted; next time in a while")

    def _changes_cursor(
        self,
        since: int,
        fields: Fields,
        bin_state: Mapping[str, Any] | None = None,
        *,
        until: int | None = None,
        place: Mapping[str, Any] | None = None,
    ) -> Cursor:
        """A cursor of mode `changes`; with a place, of a reading under way."""
        state = dict(bin_state or {})
        shown = None if place is None else dict(place)
        return {
            "mode": "changes",
            "since": since,
            "until": until,
            "place": shown,
            "bin": state,
            "fields": fields.as_json(),
        }

    def _now_ms(self) -> int:
        """The present moment in ms since 1970."""
        return int(self._clock.now().timestamp() * 1_000)


def _export_cursor(since: int, job: str, rows: int, fields: Fields) -> Cursor:
    """A cursor of mode `export`."""
    return {"mode": "export", "since": since, "job": job, "rows": rows, "fields": fields.as_json()}


def _record(item: Mapping[str, Any], stream: str, columns: Sequence[str]) -> Record:
    """One API record, flat; every column present, empty text as None."""
    properties = item.get("properties") or {}
    flat = {name: properties.get(name) or None for name in columns}
    flat[RECORD_ID] = str(item["id"])
    flat[ARCHIVED_AT] = item.get(ARCHIVED_AT) or None
    flat[PLACE] = f"hubspot {stream} {item['id']}"
    return flat


def _empty(columns: Sequence[str]) -> pa.Table:
    """No rows, but every column: the mapping sees the same shape as always."""
    import pyarrow as pa

    return pa.table({name: pa.array([], pa.string()) for name in (*columns, PLACE)})


def _with_place(table: pa.Table, stream: str) -> pa.Table:
    """The table with the column that says where each record stands."""
    import pyarrow as pa
    from pyarrow import compute

    if PLACE in table.column_names:
        return table
    place = compute.binary_join_element_wise(
        pa.scalar(f"hubspot {stream}"), compute.fill_null(table.column(RECORD_ID), "?"), " "
    )
    return table.append_column(PLACE, place)


def _gathered(pages: Iterator[tuple[list[Record], Any]]) -> Iterator[tuple[list[Record], Any]]:
    """Small pages put together, each with the cursor after its last part; the last one always comes."""
    rows: list[Record] = []
    for part, after in pages:
        rows.extend(part)
        if after is None or len(rows) >= ROWS_PER_PAGE:
            yield rows, after
            rows = []


def _gathered_found(pages: Iterator[tuple[list[Record], Found]]) -> Iterator[tuple[list[Record], Found]]:
    """The same for a walk over changes."""
    rows: list[Record] = []
    for part, found in pages:
        rows.extend(part)
        if found.place is None or len(rows) >= ROWS_PER_PAGE:
            yield rows, found
            rows = []


def _milliseconds(span: timedelta) -> int:
    """A span of time in whole ms."""
    return int(span.total_seconds() * 1_000)
