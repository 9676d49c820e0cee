"""Our lists as campaigns: one of exactly the list's name, under a parent campaign, whose members are who is on it.

A campaign carries the list's name as its external id too, so that it is made once and found again when somebody has
renamed it. A member is on the list unless their status is Exited. The platform keeps one membership a campaign and
person, so joining can be repeated: the second time is refused as a duplicate, which is looked into.

Writing to members locks their campaign, so two requests about one campaign are never made at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from adapters.salesforce import soql
from adapters.salesforce.fields import KEY, PACKAGE
from adapters.salesforce.ids import kind_of, to_18
from adapters.salesforce.lookups import CONTACT, LEAD, Lookups, missing, person_id, refused
from adapters.salesforce.rows import (
    ALLOW,
    BARRED,
    DELETE,
    DUPLICATE,
    INSERT_MEMBERS,
    NO_ASSIGNMENT,
    SILENT,
    UNTRIED,
    UPDATE,
    Change,
    RowWriter,
    Said,
    Verb,
)
from adapters.salesforce.vendor_errors import MissingPermissionsError, SalesforceRejected
from connector.contracts import chunks
from connector.errors import OutcomeUnknown, ProviderError, RejectedError, WinbackError
from connector.model import Ensured, ListRef, Outcome, Receipt
from connector.rest import Effect

if TYPE_CHECKING:
    from adapters.salesforce.client import SalesforceClient

EXITED: Final = "Exited"
MEMBERS_PER_READ: Final = 2_000
CALLS_PER_NEW_LIST: Final = 2
"""One look for it and its parent, one that makes what is missing: both campaigns and the member statuses."""
NAMES_PER_QUERY: Final = 40

PREFIX: Final = "winback · "
"""What the names of lists begin with."""

_LONGEST_NAME: Final = 80
_LONGEST_STATUS: Final = 40
_FIRST_ORDER: Final = 3  # a new campaign has Sent and Responded, as 1 and 2
_BAD_STATUS: Final = "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
_LOST_LOCATOR: Final = "INVALID_QUERY_LOCATOR"
_CLOSED: Final = frozenset({"INSUFFICIENT_ACCESS_OR_READONLY", "INSUFFICIENT_ACCESS"})
_HALTED: Final = "PROCESSING_HALTED"
_NOT_FOUND: Final = 404
_BAD_REQUEST: Final = 400
_CAMPAIGN: Final = "Campaign"
_MEMBER: Final = "CampaignMember"
_STATUS: Final = "CampaignMemberStatus"


class Campaigns:
    """The campaigns of one org that are lists of ours.

    Args:
        client: Makes the calls.
        lookups: Asks about people.
        writer: Writes members.
        on_exit: What becomes of a member who leaves.
    """

    def __init__(
        self, client: SalesforceClient, lookups: Lookups, writer: RowWriter, *, on_exit: Literal["keep", "delete"]
    ) -> None:
        self._client = client
        self._lookups = lookups
        self._writer = writer
        self._keeps = on_exit == "keep"
        self._names: dict[str, str] = {}
        """The names of campaigns we have met, by id: the last part is the status of who is on them."""

    # --- the campaigns themselves -------------------------------------------------------------------------------

    def lists(self, names: Sequence[str]) -> dict[str, ListRef]:
        """The lists among `names` that exist, by name; 40 in one call."""
        found: dict[str, ListRef] = {}
        for part in chunks(list(dict.fromkeys(names)), NAMES_PER_QUERY):
            rows = self._named(part)
            for name in part:
                row = _best(rows, name)
                if row is not None:
                    list_id = to_18(str(row["Id"]))
                    self._names[list_id] = name
                    found[name] = ListRef(list_id, name)
        return found

    def ensure(self, name: str, *, folder: str) -> Ensured:
        """Find the campaign, or make it under its parent, with its member statuses, in one transaction.

        Raises:
            RejectedError: Salesforce makes no such campaign for us.
        """
        if len(name) > _LONGEST_NAME:
            raise RejectedError(
                f"salesforce campaign {name!r}: a campaign's name has at most {_LONGEST_NAME} characters",
                hint="shorten the name of the segment, the program or the step",
            )
        rows = self._named((name, folder))
        found = _best(rows, name)
        if found is not None:
            return self._ensured(found["Id"], name, created=False)
        parent = _best(rows, folder)
        try:
            list_id = self._make(name, folder, parent_id=None if parent is None else str(parent["Id"]))
            return self._ensured(list_id, name, created=True)
        except (OutcomeUnknown, SalesforceRejected) as doubt:
            # The key is unique: somebody else made it meanwhile, or we did and were not told.
            ours = isinstance(doubt, OutcomeUnknown)
            if isinstance(doubt, SalesforceRejected) and doubt.code != DUPLICATE:
                raise
            found = _best(self._named((name,)), name)
            if found is None:
                raise
            return self._ensured(found["Id"], name, created=ours)

    def remove(self, list_id: str) -> None:
        """Delete a campaign with its members; it stays in the recycle bin for 15 days. No error when it is gone."""
        self._names.pop(list_id, None)
        try:
            self._client.call("DELETE", self._client.path(f"/sobjects/{_CAMPAIGN}/{list_id}"), effect=Effect.REPEATABLE)
        except SalesforceRejected as refusal:
            if refusal.status != _NOT_FOUND and refusal.code != "ENTITY_IS_DELETED":
                raise

    def _named(self, names: Sequence[str]) -> list[Mapping[str, Any]]:
        """The campaigns with these names or keys, oldest first."""
        where = f"{soql.one_of('Name', names)} OR {soql.one_of(KEY, names)}"
        query = soql.Query(_CAMPAIGN, ("Id", "Name", KEY, "CreatedDate"), (f"({where})",))
        try:
            rows = self._client.rows(query.unordered())
        except SalesforceRejected as refusal:
            raise _explained(refusal) from refusal
        return sorted(rows, key=lambda row: (str(row.get("CreatedDate")), str(row["Id"])))

    def _ensured(self, list_id: str, name: str, *, created: bool) -> Ensured:
        full = to_18(str(list_id))
        self._names[full] = name
        return Ensured(full, created=created)

    def _make(self, name: str, folder: str, *, parent_id: str | None) -> str:
        """Both campaigns and the statuses, all or nothing; the id of the list's."""
        steps: list[tuple[str, str, dict[str, Any]]] = []
        if parent_id is None:
            steps.append(("parent", _CAMPAIGN, _campaign(folder)))
        steps.append(("list", _CAMPAIGN, {**_campaign(name), "ParentId": parent_id or "@{parent.id}"}))
        steps += [(f"status{number}", _STATUS, status) for number, status in enumerate(_statuses("@{list.id}", name))]
        body = {
            "allOrNone": True,
            "compositeRequest": [
                {
                    "method": "POST",
                    "url": self._client.path(f"/sobjects/{kind}"),
                    "referenceId": reference,
                    "body": values,
                }
                for reference, kind, values in steps
            ],
        }
        answer = self._client.call(
            "POST", self._client.path("/composite"), body=body, effect=Effect.ONCE, headers=NO_ASSIGNMENT
        ).data
        results = (answer or {}).get("compositeResponse") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(steps):
            raise OutcomeUnknown(f"salesforce campaign {name!r}: accepted, but no campaign was named")
        for result in results:
            status, said = int(result.get("httpStatusCode") or 0), result.get("body")
            if status >= _BAD_REQUEST and _code(said) != _HALTED:
                fault = refused(status, said, f"salesforce campaign {name!r}", effect=Effect.ONCE)
                raise _explained(fault) if isinstance(fault, SalesforceRejected) else fault
        made = next(result for result in results if result.get("referenceId") == "list")
        return str((made.get("body") or {})["id"])

    # --- their members ------------------------------------------------------------------------------------------

    def members(self, list_id: str) -> Iterator[Sequence[str]]:
        """Ids of who is on the list, in pages; a lead that was converted counts as the contact it became.

        Raises:
            RejectedError: nobody is on it, because the campaign is not there.
        """
        anybody = False
        conditions = (f"CampaignId = {soql.text(list_id)}", f"Status != {soql.text(EXITED)}")
        query = soql.Query(_MEMBER, ("Id", "ContactId", "LeadId"), conditions)
        while True:
            try:
                for rows, _ in self._client.pages(query.in_order()):
                    if rows:
                        anybody = True
                        yield [person for row in rows if (person := _person(row))]
                        query = query.going_on(str(rows[-1]["Id"]))
            except SalesforceRejected as refusal:
                if refusal.code != _LOST_LOCATOR:
                    raise
                continue  # the rest of the query is gone; a new one goes on behind the last member
            if not anybody and not self._exists(list_id):
                raise self._no_such(list_id)
            return

    def change(self, list_id: str, *, add: Sequence[str], remove: Sequence[str]) -> list[Receipt]:
        """Bring people onto the list and off it; one receipt each, `add` first. See `Destination.change_members`.

        Raises:
            OutcomeUnknown: nobody's change was confirmed.
            RejectedError: the campaign is not there.
        """
        label = self._label(list_id)
        full = {row_id: person_id(row_id) for row_id in (*add, *remove)}
        leaving = dict.fromkeys(found for row_id in remove if (found := full[row_id]))
        joining = dict.fromkeys(found for row_id in add if (found := full[row_id]))
        if leaving.keys() & joining.keys():
            raise ProviderError(f"salesforce campaign {list_id}: somebody is to be both added and removed")
        receipts = self._leave(list_id, list(leaving)) if leaving else {}
        if joining:
            try:
                receipts |= self._join(list_id, label, list(joining))
            except WinbackError as fault:
                if not any(receipt.outcome in _MAYBE_DONE for receipt in receipts.values()):
                    raise
                untried = replace(UNTRIED, message=str(fault))
                receipts |= {person: untried.receipt(person) for person in joining}
        return [_for(row_id, receipts.get(full[row_id] or "")) for row_id in (*add, *remove)]

    def _join(self, list_id: str, label: str, people: Sequence[str]) -> dict[str, Receipt]:
        """Make memberships; who has one already is looked at, and brought back when they had left."""
        changes = [_membership(list_id, person, label) for person in people]
        said = self._written(INSERT_MEMBERS, changes, list_id, label)
        if said and all(one.gone for one in said.values()) and not self._exists(list_id):
            raise self._no_such(list_id)
        receipts = {person: one.receipt(person) for person, one in said.items()}
        known = [person for person in people if said[person].code == DUPLICATE]
        if known:
            doubted = {person for person in known if said[person].doubted}
            try:
                receipts |= self._bring_back(list_id, label, known, doubted)
            except WinbackError as fault:
                if not any(one.done or one.silent or one.doubted for one in said.values()):
                    raise
                # What was written must not be forgotten over what could not be looked up.
                lost = replace(SILENT, message=str(fault))
                receipts |= {person: lost.receipt(person) for person in known}
        return receipts

    def _bring_back(
        self, list_id: str, label: str, people: Sequence[str], doubted: AbstractSet[str]
    ) -> dict[str, Receipt]:
        """Those of whom Salesforce says that they are members: still so, or again.

        doubted: Those whom an earlier request without an answer may have made members.
        """
        members = self._of(list_id, people)
        receipts: dict[str, Receipt] = {}
        back: list[Change] = []
        for person in people:
            held = members.get(person)
            if held is None:
                words = "Salesforce calls it a member of the campaign already, and shows no such member"
                receipts[person] = Receipt(person, Outcome.REJECTED, words, DUPLICATE)
            elif all(map(_is_out, held)):
                back.append(Change(person, _MEMBER, {"Id": held[0]["Id"], "Status": label}))
            else:
                receipts[person] = Receipt(person, Outcome.WRITTEN if person in doubted else Outcome.UNCHANGED)
        if back:
            said = self._written(UPDATE, back, list_id, label)
            receipts |= {person: one.receipt(person) for person, one in said.items()}
        return receipts

    def _leave(self, list_id: str, people: Sequence[str]) -> dict[str, Receipt]:
        """End memberships; who is not on the list is UNCHANGED."""
        members = self._of(list_id, people)
        receipts = {person: Receipt(person, Outcome.UNCHANGED) for person in people}
        # A converted lead's member is its contact's too, who may have had one before: then both end.
        ending = {str(row["Id"]): person for person in people for row in members.get(person, ()) if not _is_out(row)}
        verb, values = (UPDATE, {"Status": EXITED}) if self._keeps else (DELETE, {})
        changes = [Change(member, _MEMBER, {"Id": member, **values}) for member in ending]
        if not changes:
            return receipts
        said = self._written(verb, changes, list_id, self._label(list_id))
        for member, one in said.items():
            person = ending[member]
            if not one.gone:
                receipt = one.receipt(person)
            else:
                # The member is gone, so nobody is on the list: as wanted, and by us where an answer was lost.
                receipt = Receipt(person, Outcome.WRITTEN if one.doubted else Outcome.UNCHANGED)
            if receipts[person].outcome in _SO_FAR_GOOD:
                receipts[person] = receipt
        return receipts

    def _written(self, verb: Verb, changes: Sequence[Change], list_id: str, label: str) -> dict[str, Said]:
        """Write members; where the campaign lacks their status, once more after it was given it."""
        said = self._writer.write(verb, changes)
        strange = [change for change in changes if said[change.key].code == _BAD_STATUS]
        if strange:
            try:
                self._ensure_statuses(list_id, label)
                said.update(self._writer.write(verb, strange))
            except WinbackError:
                if len(strange) == len(changes):
                    raise
        return said

    def _of(self, list_id: str, people: Iterable[str]) -> dict[str, list[Mapping[str, Any]]]:
        """The members that these people are, by person; usually one each."""
        people = list(people)
        queries = [
            soql.Query(
                _MEMBER,
                ("Id", "Status", "ContactId", "LeadId"),
                (f"CampaignId = {soql.text(list_id)}", soql.one_of(column, part)),
            ).unordered()
            for kind, column in COLUMNS.items()
            for part in soql.id_batches(person for person in people if kind_of(person) == kind)
        ]
        rows = {str(row["Id"]): row for found in self._lookups.ask(queries) for row in found}
        members: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows.values():
            for column in COLUMNS.values():  # after a conversion one member carries both
                if row.get(column):
                    members.setdefault(to_18(str(row[column])), []).append(row)
        return members

    # --- statuses -----------------------------------------------------------------------------------------------

    def _label(self, list_id: str) -> str:
        """The status of who is on a list. The first time, every campaign of ours is looked up, in one call.

        Raises:
            RejectedError: there is no such campaign.
        """
        if list_id not in self._names:
            where = f"({soql.one_of('Id', (list_id,))} OR {KEY} LIKE {soql.text(PREFIX + '%')})"
            query = soql.Query(_CAMPAIGN, ("Id", "Name", KEY), (where,))
            try:
                rows = self._client.rows(query.unordered())
            except SalesforceRejected as refusal:
                if refusal.code in {"INVALID_QUERY_FILTER_OPERATOR", "MALFORMED_ID", "INVALID_ID_FIELD"}:
                    raise self._no_such(list_id) from refusal
                raise _explained(refusal) from refusal
            for row in rows:
                self._names.setdefault(to_18(str(row["Id"])), str(row.get(KEY) or row["Name"]))
        if list_id not in self._names:
            raise self._no_such(list_id)
        return status_of(self._names[list_id])

    def _exists(self, list_id: str) -> bool:
        query = soql.Query(_CAMPAIGN, ("Id",), (f"Id = {soql.text(list_id)}",))
        there = bool(self._client.rows(query.unordered()))
        if not there:
            self._names.pop(list_id, None)
        return there

    def _no_such(self, list_id: str) -> RejectedError:
        return RejectedError(
            f"salesforce campaign {list_id}: there is no such campaign",
            hint="it was deleted in Salesforce; `winback plan --refresh` makes it again",
            status=_NOT_FOUND,
        )

    def _ensure_statuses(self, list_id: str, label: str) -> None:
        """Give a campaign that is not of our making the statuses it lacks."""
        query = soql.Query(_STATUS, ("Id", "Label", "SortOrder"), (f"CampaignId = {soql.text(list_id)}",))
        rows = self._client.rows(query.unordered())
        there = {str(row.get("Label")).casefold() for row in rows}
        missing_ones = [name for name in (label, EXITED) if name.casefold() not in there]
        first = 1 + max((int(row.get("SortOrder") or 0) for row in rows), default=0)
        for number, name in enumerate(missing_ones):
            body = {"CampaignId": list_id, "Label": name, "SortOrder": first + number}
            with suppress(SalesforceRejected):  # if it could not be made, the members' rows say so
                self._client.call("POST", self._client.path(f"/sobjects/{_STATUS}"), body=body, effect=Effect.ONCE)


_MAYBE_DONE: Final = frozenset({Outcome.WRITTEN, Outcome.UNKNOWN})
_SO_FAR_GOOD: Final = frozenset({Outcome.WRITTEN, Outcome.UNCHANGED})

COLUMNS: Final = {CONTACT: "ContactId", LEAD: "LeadId"}
"""The column of a member that names a person of each kind."""


def status_of(name: str) -> str:
    """The member status of who is on a list: the last part of its name."""
    label = name.rsplit(" · ", 1)[-1].strip()[:_LONGEST_STATUS]
    return label if label.casefold() != EXITED.casefold() else f"{label} (on it)"


def _campaign(name: str) -> dict[str, Any]:
    """A new campaign; an inactive one hides from people who look for it."""
    return {
        "Name": name,
        KEY: name,
        "Type": "Other",
        "Status": "In Progress",
        "IsActive": True,
        "Description": "Kept by winback: its members are who is on this list now.",
    }


def _statuses(campaign_id: str, name: str) -> list[dict[str, Any]]:
    """The statuses of a new campaign's members: the list's own, which is the default, and that of who left."""
    return [
        {"CampaignId": campaign_id, "Label": label, "SortOrder": _FIRST_ORDER + number, "IsDefault": not number}
        for number, label in enumerate((status_of(name), EXITED))
    ]


def _membership(list_id: str, person: str, label: str) -> Change:
    column = COLUMNS[str(kind_of(person))]
    return Change(person, _MEMBER, {"CampaignId": list_id, column: person, "Status": label})


def _best(rows: Iterable[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """The campaign that is this list: the one with its key, else the oldest of its name, in whatever case."""
    wanted = name.casefold()
    rows = list(rows)
    keyed = (row for row in rows if str(row.get(KEY) or "").casefold() == wanted)
    named = (row for row in rows if str(row.get("Name") or "").casefold() == wanted and not row.get(KEY))
    return next(keyed, None) or next(named, None)


def _person(row: Mapping[str, Any]) -> str | None:
    person = row.get("ContactId") or row.get("LeadId")
    return to_18(str(person)) if person else None


def _is_out(member: Mapping[str, Any]) -> bool:
    return str(member.get("Status") or "").casefold() == EXITED.casefold()


def _for(row_id: str, receipt: Receipt | None) -> Receipt:
    """The receipt by the id that was given, which may be the short one."""
    return missing(row_id) if receipt is None else replace(receipt, row_id=row_id)


def _code(body: Any) -> str:
    first = body[0] if isinstance(body, list) and body else body
    return str(first.get("errorCode") or "") if isinstance(first, dict) else ""


def _explained(refusal: SalesforceRejected) -> Exception:
    """The refusal with what an administrator should do about it."""
    if refusal.code in _CLOSED or BARRED in refusal.vendor.message:
        return MissingPermissionsError(str(refusal), hint=ALLOW)
    if refusal.code not in {"INVALID_FIELD", "INVALID_TYPE"}:
        return refusal
    hint = f"deploy the package in {PACKAGE} ({KEY} on Campaign) and assign its permission set"
    return SalesforceRejected(
        str(refusal), vendor=refusal.vendor, status=refusal.status or _BAD_REQUEST, body=refusal.body, hint=hint
    )
