"""Mails on people's timelines as engagements: sent by a colleague from Salesforce, or received there.

An org with Enhanced Email keeps each mail as an EmailMessage, with a relation to everybody it went to. Others keep a
closed task of the kind Email, which says no more than that a mail went out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.ids import PREFIXES
from adapters.salesforce.soql import Query, changed_since
from adapters.salesforce.streams import Shaped
from adapters.salesforce.tables import PLACE, as_table, with_place
from adapters.salesforce.visible import Visible

if TYPE_CHECKING:
    import pyarrow as pa

WHO: Final = "PersonId"
EVENT_COLUMNS: Final = (WHO, "at", "kind", "event_id")
"""The raw columns we make of a mail."""

_RELATION: Final = "EmailMessageRelation"
_MESSAGE: Final = "EmailMessage"
_TASK: Final = "Task"
_PERSON: Final = (PREFIXES["Contact"], PREFIXES["Lead"])
_RELATION_FIELDS: Final = ("Id", "SystemModstamp", "EmailMessageId", "RelationId", "RelationType")
_MESSAGE_FIELDS: Final = tuple(
    f"{_MESSAGE}.{name}" for name in ("MessageDate", "Incoming", "IsBounced", "FirstOpenedDate", "SystemModstamp")
)
_TASK_FIELDS: Final = ("Id", "SystemModstamp", "WhoId", "CompletedDateTime", "ActivityDate")
_SENT_TO: Final = frozenset({"ToAddress", "CcAddress", "BccAddress"})


class Mails:
    """Mails with who sent and got them; what a mail's record does not say is not made up: no clicks, no opt-outs."""

    name = "engagements"
    kind = _RELATION
    into = "engagements"
    deleted = False
    origin: str | None = None

    def wanted(self, mapped: Sequence[str]) -> tuple[str, ...]:
        """What both ways of keeping mails have, and what the mapping adds."""
        further = [name for name in mapped if name not in EVENT_COLUMNS]
        return tuple(dict.fromkeys((*_RELATION_FIELDS, *_MESSAGE_FIELDS, *_TASK_FIELDS, *further)))

    def choose(self, visible: Visible, wanted: Sequence[str]) -> tuple[str, ...]:
        """The fields of the kind that the org keeps mails as; none where it keeps none."""
        for kind, needed in ((_RELATION, "RelationId"), (_TASK, "WhoId")):
            if visible.sees(kind, needed):
                return visible.choose(kind, wanted)
        return ()

    def queries(self, known: Sequence[str], since: datetime | None) -> Sequence[Query]:
        """All mails; or new ones, and those opened or bounced since."""
        if not known:
            return []
        if _kind(known) == _TASK:
            where = ("TaskSubtype IN ('Email', 'ListEmail')", "IsClosed = true", "WhoId != null")
            return [Query(_TASK, tuple(known), where if since is None else (*where, changed_since(since)))]
        there = ("RelationId != null",)
        if since is None:
            return [Query(_RELATION, tuple(known), there)]
        stamps = (changed_since(since), changed_since(since, of=_MESSAGE))
        return [Query(_RELATION, tuple(known), (*there, stamp)) for stamp in stamps]

    def columns(self, known: Sequence[str]) -> tuple[str, ...]:
        """Those of an event, and what the mapping adds."""
        return (*EVENT_COLUMNS, *_further(known), PLACE)

    def shape(
        self,
        table: pa.Table,
        query: Query,
        known: Sequence[str],
        *,
        everything: bool,  # noqa: ARG002
    ) -> Iterator[Shaped]:
        """As many events of a mail and a person as there are."""
        make = _of_task if query.kind == _TASK else _of_message
        also = _further(known)
        rows = [{**event, **{name: row[name] for name in also}} for row in table.to_pylist() for event in make(row)]
        yield Shaped(with_place(_flat(rows, (*EVENT_COLUMNS, *also)), self.name, key="event_id"))


def _of_message(row: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """What one person did, or had done to them, with one mail."""
    who = str(row["RelationId"] or "")
    if not who.startswith(_PERSON):
        return
    sent = row.get(f"{_MESSAGE}.MessageDate") or row["SystemModstamp"]
    incoming = row.get(f"{_MESSAGE}.Incoming") == "true"
    if incoming and row["RelationType"] == "FromAddress":
        yield _event(row["EmailMessageId"], who, "reply", sent)
    if incoming or row["RelationType"] not in _SENT_TO:
        return
    bounced = row.get(f"{_MESSAGE}.IsBounced") == "true"
    yield _event(row["EmailMessageId"], who, "bounce" if bounced else "delivered", sent)
    opened = row.get(f"{_MESSAGE}.FirstOpenedDate")
    if opened:
        yield _event(row["EmailMessageId"], who, "open", opened)


def _of_task(row: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """That a mail went out."""
    who = str(row["WhoId"] or "")
    if who.startswith(_PERSON):
        at = row.get("CompletedDateTime") or row.get("ActivityDate") or row["SystemModstamp"]
        yield _event(row["Id"], who, "delivered", at)


def _event(mail: Any, who: str, kind: str, at: Any) -> Mapping[str, Any]:
    return {WHO: who, "at": at, "kind": kind, "event_id": f"{mail}-{who}-{kind}"}


def _kind(known: Sequence[str]) -> str:
    return _TASK if "WhoId" in known else _RELATION


def _further(known: Sequence[str]) -> tuple[str, ...]:
    """The fields that only the mapping asked for."""
    own = {*_RELATION_FIELDS, *_MESSAGE_FIELDS, *_TASK_FIELDS}
    return tuple(name for name in known if name not in own)


def _flat(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pa.Table:
    """Rows whose names are taken as they are, dots and all."""
    import pyarrow as pa

    if not rows:
        return as_table((), columns)
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in columns})
