"""Campaign members who responded, as replies: in any campaign, ours or not, for whoever answers has been heard.

What counts as a response is the org's own choice (the statuses of a campaign that are ticked Responded), and it is how
people note in Salesforce that somebody called back, came to the webinar, filled in the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.mails import EVENT_COLUMNS, WHO
from adapters.salesforce.soql import Query, changed_since
from adapters.salesforce.streams import Shaped
from adapters.salesforce.tables import PLACE, as_table, with_place
from adapters.salesforce.visible import Visible

if TYPE_CHECKING:
    import pyarrow as pa

CAMPAIGN: Final = "campaign"
_COLUMNS: Final = (*EVENT_COLUMNS, CAMPAIGN)
_NAME: Final = "Campaign.Name"
_NEEDED: Final = ("Id", "SystemModstamp", "ContactId", "LeadId", "HasResponded")
_RESPONDED: Final = "HasResponded = true"
_END_OF_DAY: Final = "T23:59:59.000Z"


class Responses:
    """Campaign members whose status says that they responded."""

    name = "responses"
    kind = "CampaignMember"
    into = "engagements"
    deleted = False
    origin: str | None = None

    def wanted(self, mapped: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the mapping has nothing to add
        """Who, whether, when, and to what."""
        return (*_NEEDED, "FirstRespondedDate", _NAME)

    def choose(self, visible: Visible, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of them that our user sees; none where campaigns are not seen."""
        known = visible.choose(self.kind, wanted)
        return known if set(_NEEDED) <= set(known) else ()

    def queries(self, known: Sequence[str], since: datetime | None) -> Sequence[Query]:
        """Everybody who responded; or those whose membership changed since."""
        if not known:
            return []
        where = (_RESPONDED,) if since is None else (_RESPONDED, changed_since(since))
        return [Query(self.kind, tuple(known), where)]

    def columns(self, known: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - always the same
        """Those of an event, and the campaign."""
        return (*_COLUMNS, PLACE)

    def shape(
        self,
        table: pa.Table,
        query: Query,  # noqa: ARG002 - there is one
        known: Sequence[str],  # noqa: ARG002
        *,
        everything: bool,  # noqa: ARG002
    ) -> Iterator[Shaped]:
        """A reply of each."""
        events = [_event(row) for row in table.to_pylist() if row["ContactId"] or row["LeadId"]]
        yield Shaped(with_place(as_table(events, _COLUMNS), self.name, key="event_id"))


def _event(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        WHO: row["ContactId"] or row["LeadId"],
        "at": responded_at(row.get("FirstRespondedDate"), str(row["SystemModstamp"])),
        "kind": "reply",
        "event_id": f"{row['Id']}-responded",
        CAMPAIGN: row.get(_NAME),
    }


def responded_at(day: str | None, stored: str) -> str:
    """When: Salesforce keeps the day alone, so the end of it, and never later than the record was last stored."""
    return stored if not day else min(f"{day[:10]}{_END_OF_DAY}", stored, key=lambda text: text[:19])
