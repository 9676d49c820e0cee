"""Queries over REST: the first page, the next ones, with and without what is in the recycle bin."""

from __future__ import annotations

from typing import Any

from adapters.salesforce.sandbox.answers import OK, Answer, Refusal
from adapters.salesforce.sandbox.api import Call, Rule
from adapters.salesforce.sandbox.querying import Found, count, prepare, run, run_groups, writer

LEAST_PAGE, MOST_PAGE = 200, 2_000
WIDE = 100
"""From this many fields on, the vendor sends shorter pages."""


def query(call: Call) -> Answer:
    """The first page of the records that are not deleted."""
    return _first(call, all_rows=False)


def query_all(call: Call) -> Answer:
    """The first page of the records, those in the recycle bin too."""
    return _first(call, all_rows=True)


def tooling_query(call: Call) -> Answer:
    """The first page of a query that may ask for what only the Tooling API has."""
    return _first(call, all_rows=False, tooling=True)


def more(call: Call, place: str) -> Answer:
    """The next page; `place` is the locator and where to go on (`01g…-2000`)."""
    locator, _, start = place.partition("-")
    behaviour = call.state.behaviour
    life_ms = round(behaviour.locator_seconds * 1000)
    found = call.state.queries.get(locator, now_ms=call.now_ms, life_ms=life_ms)
    if not start.isdigit() or int(start) > len(found.rows):
        raise Refusal("INVALID_QUERY_LOCATOR", "invalid query locator")
    return _page(call, found, int(start), locator)


def _first(call: Call, *, all_rows: bool, tooling: bool = False) -> Answer:
    prepared = prepare(call.state, str(call.args.get("q") or ""), tooling=tooling)
    if prepared.query.counts:
        total = count(call.state, prepared, all_rows=all_rows, now_ms=call.now_ms)
        return Answer(OK, {"totalSize": total, "done": True, "records": []})
    if prepared.query.groups:
        groups = run_groups(call.state, prepared, all_rows=all_rows, now_ms=call.now_ms)
        return Answer(OK, {"totalSize": len(groups), "done": True, "records": groups})
    rows = run(call.state, prepared, all_rows=all_rows, now_ms=call.now_ms)
    most = call.state.behaviour.query_rows_in_time
    if most and len(rows) > most:
        raise Refusal("QUERY_TIMEOUT", "Your query request was running for too long.")
    found = Found(prepared, rows, len(rows), call.now_ms, writer(call.state, prepared))
    return _page(call, found, 0, None)


def _page(call: Call, found: Found, start: int, locator: str | None) -> Answer:
    end = start + call.shorten(_size(call, found))
    rows = found.rows[start:end]
    call.count(len(rows))
    body: dict[str, Any] = {"totalSize": found.total, "done": end >= len(found.rows)}
    if end < len(found.rows):
        locator = locator or call.state.queries.keep(found)
        body["nextRecordsUrl"] = f"{call.data_path}/query/{locator}-{end}"
    body["records"] = [found.write(row, call.data_path) for row in rows]
    return Answer(OK, body)


def _size(call: Call, found: Found) -> int:
    """The page size: a hint of the caller's in its bounds, less for wide records."""
    behaviour = call.state.behaviour
    most = behaviour.wide_page_rows if len(found.prepared.columns) > WIDE else behaviour.page_rows
    for option in str(call.headers.get("sforce-query-options") or "").split(","):
        name, _, value = option.partition("=")
        if name.strip().lower() == "batchsize" and value.strip().isdigit():
            return min(most, max(LEAST_PAGE, min(MOST_PAGE, int(value))))
    return most


RULES = (
    Rule("GET", "/query", query, "queries"),
    Rule("GET", "/queryAll", query_all, "queries"),
    Rule("GET", "/query/<place>", more, "query pages"),
    Rule("GET", "/queryAll/<place>", more, "query pages"),
    Rule("GET", "/tooling/query/<place>", more, "query pages"),
)
