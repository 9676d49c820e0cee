"""Storing one page of a stream, all or nothing: staged as it came, mapped, folded into its table, cursor saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from connector.model import Page
from connector.warehouse import contacts, uses
from connector.warehouse.answers import Stored
from connector.warehouse.arrival import MAPPED, Arrival, Folded
from connector.warehouse.database import Database, timestamp

if TYPE_CHECKING:
    import pyarrow as pa

    from mappings.schema import StreamMapping

SAMPLE = 5
STAGED = "staged_page"
_PAGE_TABLES = (
    MAPPED, "fresh_uses", "keyed_uses", "known_uses", "page_users", "page_emails", "removed_uses", "promoted_uses",
    "coming_rows", "coming_keyed", "unchanged_rows", "coming_contacts", "coming_emails", "coming_accounts",
    "contacts_before", "gone_contacts", "versions",
)  # fmt: skip


Fold = Callable[[Database, Arrival], Folded]

FOLDS: Mapping[str, Fold] = {
    "contacts": contacts.fold_contacts,
    "accounts": contacts.fold_accounts,
    "usage": uses.fold_usage,
    "transactions": uses.fold_transactions,
    "engagements": uses.fold_engagements,
}


def store_page(
    database: Database,
    page: Page,
    mapping: StreamMapping,
    *,
    source: str,
    system: str,
    stream: str,
    pulled_at: datetime,
) -> Stored:
    """Store a page and its cursor in one transaction. Raises MappingError when needed columns are missing."""
    with database.transaction():
        columns = _map(database, page, mapping)
        rejected = _rejected(database) if columns else 0
        arrival = Arrival(source, system, stream, mapping.into, pulled_at, frozenset(columns), page)
        folded = FOLDS[mapping.into](database, arrival)
        sample = _set_aside(database, arrival, rejected)
        _note(database, arrival, folded)
        database.execute(
            "INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", [source, stream, json.dumps(page.cursor, sort_keys=True)]
        )
        if folded.new or folded.changed:
            database.touch()
        database.drop(*_PAGE_TABLES)
    return Stored(
        rows=len(page.records) + len(page.rejects),
        new=folded.new,
        changed=folded.changed,
        unchanged=folded.unchanged,
        rejects=len(page.rejects) + rejected,
        reject_sample=tuple(sample[:SAMPLE]),
    )


def _map(database: Database, page: Page, mapping: StreamMapping) -> Sequence[str]:
    """Stage the raw records and run the mapping over them; the neutral columns there are now, none without records."""
    from mappings.apply import compile_mapping

    table = _as_arrow(page.records)
    if table is None:
        return ()
    with _staged(database, table):
        types = {row[0]: row[1] for row in database.rows(f"DESCRIBE SELECT * FROM {STAGED}")}
        compiled = compile_mapping(mapping, types, partial=page.partial, origin=page.origin, zone=database.timezone)
        if not table.num_rows:
            return ()
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE {MAPPED} AS "
            f"SELECT *, row_number() OVER () AS ordinal FROM ({compiled.sql(STAGED)})"
        )
    return compiled.columns


@contextmanager
def _staged(database: Database, table: pa.Table) -> Iterator[None]:
    database.connection.register(STAGED, table)
    try:
        yield
    finally:
        database.connection.unregister(STAGED)


def _as_arrow(records: Any) -> Any:
    """Records as an Arrow table; None when there are none and so no columns either."""
    import pyarrow as pa

    if isinstance(records, pa.Table):
        return records if records.num_columns else None
    if not records:
        return None
    names = list(dict.fromkeys(name for record in records for name in record))
    return pa.table({name: _column([record.get(name) for record in records]) for name in names})


def _column(values: list[Any]) -> Any:
    """One column; where a provider mixes types, everything becomes text and the mapping converts it."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict | list | bool):
        return json.dumps(value, default=str)
    return value.isoformat() if isinstance(value, date) else str(value)


def _rejected(database: Database) -> int:
    return database.count(f"SELECT count(*) FROM {MAPPED} WHERE reject_reason IS NOT NULL")


def _set_aside(database: Database, arrival: Arrival, rejected: int) -> list[str]:
    """Keep the rejects, of which the mapping made `rejected`; those of a replaced origin go with it. Shows some."""
    page = arrival.page
    sample: list[tuple[Any, ...]] = []
    if page.replaces_origin and page.origin is not None:
        database.execute(
            "DELETE FROM rejects WHERE source = ? AND stream = ? AND origin = ?",
            [arrival.source, arrival.stream, page.origin],
        )
    if rejected:
        bad = f"FROM {MAPPED} WHERE reject_reason IS NOT NULL ORDER BY ordinal"
        database.execute(
            f"INSERT INTO rejects SELECT ?, ?, row_place, reject_reason, NULL, {timestamp(arrival.pulled_at)}, ? {bad}",
            [arrival.source, arrival.stream, page.origin],
        )
        sample += database.rows(f"SELECT coalesce(row_place, ''), reject_reason {bad} LIMIT {SAMPLE}")
    for reject in page.rejects:
        database.execute(
            f"INSERT INTO rejects VALUES (?, ?, ?, ?, ?, {timestamp(arrival.pulled_at)}, ?)",
            [arrival.source, arrival.stream, reject.place, reject.reason, reject.row_id, page.origin],
        )
        sample.append((reject.place, reject.reason))
    return [f"{place}: {reason}" for place, reason in sample]


def _note(database: Database, arrival: Arrival, folded: Folded) -> None:
    """Bring the stream's statistics up to date."""
    at = timestamp(arrival.pulled_at)
    key = [arrival.source, arrival.stream]
    database.execute(
        "INSERT OR IGNORE INTO stream_stats VALUES (?, ?, ?, ?, 0, NULL, NULL, NULL)",
        [*key, arrival.system, arrival.into],
    )
    newest = folded.newest_at or "NULL"
    database.execute(
        f"UPDATE stream_stats SET rows = rows + ?, newest_at = greatest(newest_at, {newest}), pulled_at = {at} "
        "WHERE source = ? AND stream = ?",
        [folded.held, *key],
    )
