"""Who was deleted for good: out of the recycle bin before we looked into it, and so in no query any more.

Salesforce keeps a list of deleted ids for 15 days, emptied bin or not. Looking at it once a week finds everybody; the
bin itself is read with every reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from adapters.salesforce.client import SalesforceClient, SalesforceRejected
from adapters.salesforce.soql import moment
from adapters.salesforce.vendor_errors import TIMEOUTS

EVERY: Final = timedelta(days=7)
KEPT: Final = timedelta(days=15)
SLACK: Final = timedelta(days=1)
"""How much earlier than the last look the next one begins: twice does no harm."""

_MARGIN: Final = timedelta(hours=1)
_SHORTEST: Final = timedelta(minutes=2)


def is_due(looked_ms: int, now_ms: int) -> bool:
    """Whether it is time to look again."""
    return now_ms - looked_ms >= EVERY.total_seconds() * 1_000


def span(looked_ms: int, now_ms: int) -> tuple[datetime, datetime]:
    """What to look at: since the last look, as far back as the list goes."""
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    return max(datetime.fromtimestamp(looked_ms / 1_000, UTC) - SLACK, now - KEPT + _MARGIN), now


def deleted_ids(
    client: SalesforceClient, kind: str, start: datetime, end: datetime
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Deleted records as `{id, deletedDate}`; a span with more than Salesforce lists at once is halved."""
    query = {"start": moment(start), "end": moment(end)}
    try:
        said = client.read(client.path(f"/sobjects/{kind}/deleted/"), query=query) or {}
    except SalesforceRejected as refusal:
        if refusal.code not in TIMEOUTS or end - start < _SHORTEST:
            raise
        middle = start + (end - start) / 2
        yield from deleted_ids(client, kind, start, middle)
        yield from deleted_ids(client, kind, middle, end)
        return
    yield said.get("deletedRecords") or ()
