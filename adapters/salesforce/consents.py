"""Opt-outs that Salesforce keeps apart from the person, as unsubscribe events of everybody who is that individual.

A Contact Point Type Consent says it of an individual, a Contact Point Consent of one address of theirs. Changing one
stamps no contact, so they are read as a stream of their own. Only a no is read, whatever its purpose and however long
it was meant to hold: a yes for one purpose is none for ours, and no event takes a no back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.client import SalesforceClient
from adapters.salesforce.mails import EVENT_COLUMNS, WHO
from adapters.salesforce.soql import Query, changed_since, id_batches, one_of
from adapters.salesforce.streams import Shaped
from adapters.salesforce.tables import PLACE, as_table, with_place
from adapters.salesforce.visible import Visible
from adapters.salesforce.walking import Walk

if TYPE_CHECKING:
    import pyarrow as pa

TYPE_CONSENT: Final = "ContactPointTypeConsent"
POINT_CONSENT: Final = "ContactPointConsent"
POINT: Final = "ContactPointEmail"
PEOPLE: Final = ("Contact", "Lead")
LOOKED_UP_BELOW: Final = 600
"""So many individuals are looked up by id; for more the whole list of who is whom takes fewer calls."""

_NO: Final = "PrivacyConsentStatus = 'OptOut'"
_BY_MAIL: Final = "ContactPointType = 'Email'"
_TYPE_FIELDS: Final = ("Id", "PartyId", "CaptureDate", "EffectiveFrom", "SystemModstamp")
_POINT_FIELDS: Final = ("Id", "ContactPointId", "CaptureDate", "EffectiveFrom", "SystemModstamp")
_PERSON_FIELDS: Final = ("Id", "IndividualId")
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    TYPE_CONSENT: ("PartyId", "ContactPointType", "PrivacyConsentStatus"),
    POINT_CONSENT: ("ContactPointId", "PrivacyConsentStatus"),
    POINT: ("ParentId",),
    "Contact": ("IndividualId",),
    "Lead": ("IndividualId",),
}


class Consents:
    """Opt-outs of individuals, where the org keeps them and our user may read them."""

    name = "consents"
    kind = TYPE_CONSENT
    into = "engagements"
    deleted = False
    origin: str | None = None

    def __init__(self, client: SalesforceClient, walk: Walk) -> None:
        self._client = client
        self._walk = walk
        self._everybody: dict[str, list[str]] | None = None

    def wanted(self, mapped: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - the mapping has nothing to add
        """The kinds of records that are needed, in place of fields."""
        return tuple(_NEEDED)

    def choose(self, visible: Visible, wanted: Sequence[str]) -> tuple[str, ...]:
        """The kinds that the org has and that our user sees enough of; none where nobody is an individual."""
        there = [kind for kind in wanted if all(visible.sees(kind, name) for name in _NEEDED[kind])]
        consents = [kind for kind in there if kind == TYPE_CONSENT or (kind == POINT_CONSENT and POINT in there)]
        people = [kind for kind in there if kind in PEOPLE]
        return (*consents, *people) if consents and people else ()

    def queries(self, known: Sequence[str], since: datetime | None) -> Sequence[Query]:
        """Every no; or every new one, and the people who have become an individual since."""
        changed = () if since is None else (changed_since(since),)
        parts = [Query(kind, _fields(kind), (*_where(kind), *changed)) for kind in known if kind not in PEOPLE]
        if since is not None:
            linked = ("IndividualId != null", *changed)
            parts += [Query(kind, _PERSON_FIELDS, linked) for kind in known if kind in PEOPLE]
        return parts

    def columns(self, known: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - always the same
        """Those of an event."""
        return (*EVENT_COLUMNS, PLACE)

    def shape(self, table: pa.Table, query: Query, known: Sequence[str], *, everything: bool) -> Iterator[Shaped]:
        """An event for each no and each person who is that individual."""
        rows = table.to_pylist()
        people = [kind for kind in known if kind in PEOPLE]
        if query.kind in PEOPLE:
            linked: Mapping[str, Sequence[str]] = _gathered(rows)
            said = [no for kind in known if kind not in PEOPLE for no in self._said_by(kind, list(linked))]
        else:
            said = list(self._with_party(query.kind, rows))
            linked = self._who_is([no["PartyId"] for no in said], people, everything=everything)
        events = [_event(no, who) for no in said for who in linked.get(no["PartyId"], ())]
        yield Shaped(with_place(as_table(events, EVENT_COLUMNS), self.name, key="event_id"))

    def _said_by(self, kind: str, parties: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Every no of these individuals."""
        for batch in id_batches(parties):
            if kind == TYPE_CONSENT:
                query = Query(kind, _TYPE_FIELDS, (*_where(kind), one_of("PartyId", batch)))
                yield from self._client.rows(query.in_order())
                continue
            points = self._client.rows(Query(POINT, ("Id", "ParentId"), (one_of("ParentId", batch),)).in_order())
            for some in id_batches(str(point["Id"]) for point in points):
                query = Query(kind, _POINT_FIELDS, (*_where(kind), one_of("ContactPointId", some)))
                yield from self._with_party(kind, self._client.rows(query.in_order()))

    def _with_party(self, kind: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Each no with the individual whose it is; one of a telephone number is none of ours."""
        if kind == TYPE_CONSENT:
            yield from (row for row in rows if row["PartyId"])
            return
        owners: dict[str, str] = {}
        for batch in id_batches(str(row["ContactPointId"]) for row in rows if row["ContactPointId"]):
            found = self._client.rows(Query(POINT, ("Id", "ParentId"), (one_of("Id", batch),)).in_order())
            owners |= {str(point["Id"]): str(point["ParentId"]) for point in found if point["ParentId"]}
        yield from (
            {**row, "PartyId": owners[row["ContactPointId"]]} for row in rows if row["ContactPointId"] in owners
        )

    def _who_is(self, parties: Sequence[str], kinds: Sequence[str], *, everything: bool) -> Mapping[str, Sequence[str]]:
        """The contacts and leads that are each of these individuals."""
        if everything and (self._everybody is not None or len(set(parties)) >= LOOKED_UP_BELOW):
            if self._everybody is None:
                self._everybody = {}
                for kind in kinds:
                    query = Query(kind, _PERSON_FIELDS, ("IndividualId != null",))
                    for table in self._walk.all_of(query, what=f"salesforce individuals of {kind}s"):
                        _gather(self._everybody, table.to_pylist())
            return self._everybody
        found: dict[str, list[str]] = {}
        for kind in kinds:
            for batch in id_batches(parties):
                query = Query(kind, _PERSON_FIELDS, (one_of("IndividualId", batch),))
                _gather(found, self._client.rows(query.in_order()))
        return found


def _fields(kind: str) -> tuple[str, ...]:
    return _TYPE_FIELDS if kind == TYPE_CONSENT else _POINT_FIELDS


def _where(kind: str) -> tuple[str, ...]:
    return (_NO, _BY_MAIL) if kind == TYPE_CONSENT else (_NO,)


def _gathered(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    _gather(found, rows)
    return found


def _gather(found: dict[str, list[str]], rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        found.setdefault(str(row["IndividualId"]), []).append(str(row["Id"]))


def _event(no: Mapping[str, Any], who: str) -> Mapping[str, Any]:
    """The unsubscribe; dated when the no was taken down, and never later than it was stored: it holds at once."""
    stored = str(no["SystemModstamp"])
    said = str(no.get("CaptureDate") or no.get("EffectiveFrom") or stored)
    at = min(said, stored, key=lambda text: text[:19])
    return {WHO: who, "at": at, "kind": "unsubscribe", "event_id": f"{no['Id']}-{who}"}
