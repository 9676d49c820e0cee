"""Writes lists, contact properties, enrollments and opt-outs: in the fewest calls, with a receipt for every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Any, Final

from adapters.hubspot import callbacks, enrollments, feedback, opt_outs
from adapters.hubspot.batches import BatchWriter
from adapters.hubspot.checks import check_connection, check_feedback, check_opt_outs, check_writing
from adapters.hubspot.client import HubSpotClient, HubSpotRejected, text_ids
from adapters.hubspot.lists import CONTACT_TYPE, list_named
from adapters.hubspot.options import HubSpotOptions
from adapters.hubspot.properties import PropertyDefinitions
from adapters.hubspot.workflows import CALLS_PER_WORKFLOW, Workflows
from connector.contracts import Capabilities, Connection, Work
from connector.errors import OutcomeUnknown, ProviderError, RejectedError
from connector.model import (
    Callback,
    Ensured,
    FeedbackRow,
    Finding,
    ListRef,
    Outcome,
    PropertyRow,
    PropertySpec,
    Receipt,
)
from connector.paging import walk_cursor
from connector.rest import Effect

MANUAL: Final = "MANUAL"
ROOT_FOLDER: Final = "0"
PROPERTIES_PER_CALL: Final = 100
MEMBERS_PER_READ: Final = 250
CALLS_PER_NEW_LIST: Final = 2
_NOT_FOUND, _BAD_REQUEST, _CONFLICT, _TOO_LARGE = 404, 400, 409, 413


class HubSpotDestination:
    """Lists, contact properties, workflows and opt-outs of one HubSpot account."""

    system = "hubspot"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options: HubSpotOptions = connection.options
        self._client = HubSpotClient(connection)
        self._definitions = PropertyDefinitions(self._client)
        self._writer = BatchWriter(self._client)
        self._folders: dict[str, str] | None = None
        self.folder = self._options.list_folder
        self._workflows = Workflows(self._client, folder_id=lambda: self._folder_id(self.folder))
        self._enrollments = enrollments.Enrollments(
            self._client,
            self._workflows,
            settles=self._options.enrollment_settles,
            clock=connection.clock,
            reporter=connection.reporter,
        )
        self._opt_outs = opt_outs.OptOuts(self._client)
        self._feedback = feedback.Feedback(self._client)
        self._callbacks = callbacks.Callbacks(self._client)
        self.capabilities = Capabilities(
            members_per_call=self._options.members_per_call,
            properties_per_call=PROPERTIES_PER_CALL,
            members_per_read=MEMBERS_PER_READ,
            properties_per_read=PROPERTIES_PER_CALL,
            enrollments_per_batch=enrollments.BATCH,
            opt_outs_per_batch=opt_outs.BATCH,
            feedback_per_batch=feedback.BATCH,
            callbacks_per_call=callbacks.BATCH,
        )

    def check(self) -> Iterator[Finding]:
        """Token, write scopes, quota, API versions, room for properties."""
        yield from check_connection(self._client, self._connection)
        yield from check_writing(self._client)
        yield from check_opt_outs(self._client)
        yield from check_feedback(self._client)
        yield from self._definitions.check_room()

    # --- lists --------------------------------------------------------------------------------------------------

    def lists(self, names: Sequence[str]) -> Mapping[str, ListRef]:
        """The lists among `names` that exist; one call each, because the list search lags and the lookup does not."""
        found = {name: self._list_by_name(name) for name in names}
        return {name: ref for name, ref in found.items() if ref is not None}

    def ensure_list(self, name: str, *, folder: str) -> Ensured:
        """Find the list, or make it: MANUAL, in the folder.

        Raises:
            RejectedError: a list of this name exists that HubSpot fills by itself, or that holds no contacts.
        """
        found = self._list_by_name(name)
        if found is not None:
            return Ensured(found.list_id, created=False)
        body = {
            "name": name,
            "objectTypeId": CONTACT_TYPE,
            "processingType": MANUAL,
            "listFolderId": int(self._folder_id(folder)),
        }
        try:
            answer = self._client.call("POST", self._client.path("lists"), body=body, effect=Effect.ONCE).data
            list_id = ((answer or {}).get("list") or {}).get("listId")
            if list_id:
                return Ensured(str(list_id), created=True)
            doubt: ProviderError = OutcomeUnknown(f"hubspot list {name!r}: accepted, but no list was named")
        except OutcomeUnknown as unknown:
            doubt = unknown
        except HubSpotRejected:
            # Names are unique in an account: somebody else made it between our look and our attempt.
            found = self._list_by_name(name)
            if found is None:
                raise
            return Ensured(found.list_id, created=False)
        found = self._list_by_name(name)
        if found is None:
            raise doubt
        return Ensured(found.list_id, created=True)

    def remove_list(self, list_id: str) -> None:
        """Delete a list; HubSpot can restore it for 90 days. No error when it is gone."""
        path = self._client.path("lists", "/{listId}")
        try:
            self._client.call("DELETE", path, place={"listId": list_id}, effect=Effect.REPEATABLE)
        except HubSpotRejected as refusal:
            if refusal.status != _NOT_FOUND:
                raise

    def members(self, list_id: str) -> Iterator[Sequence[str]]:
        """Record ids on the list, in pages of 250."""
        path = self._client.path("lists", "/{listId}/memberships")

        def fetch(after: str | None) -> tuple[Sequence[str], str | None]:
            query = [("limit", MEMBERS_PER_READ), *([("after", after)] if after is not None else [])]
            answer = self._client.read(path, place={"listId": list_id}, query=query) or {}
            following = ((answer.get("paging") or {}).get("next") or {}).get("after")
            ids = text_ids(row["recordId"] for row in answer.get("results") or ())
            return ids, None if following is None else str(following)

        for page in walk_cursor(fetch, what=f"hubspot list {list_id} memberships"):
            yield page.items

    def change_members(self, list_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Sequence[Receipt]:
        """Add and remove records in one call; adding a member or removing a stranger is UNCHANGED.

        Receipts come for `add` first, then for `remove`. A record HubSpot does not know is MISSING; a call refused
        because of its records is halved until the bad ones are alone.

        Raises:
            OutcomeUnknown: no answer, or a success with nothing in it; read the members before repeating.
            RejectedError: the list itself cannot be changed.
        """
        both = set(add) & set(remove)
        if both:
            raise ProviderError(f"hubspot list {list_id}: {len(both)} records to be both added and removed")
        changes = [(record_id, True) for record_id in dict.fromkeys(add)]
        changes += [(record_id, False) for record_id in dict.fromkeys(remove)]
        if not changes:
            return []
        receipts = self._writer.isolate(
            changes, lambda part: self._change(list_id, part), row_id=lambda change: change[0], whole=_is_about_the_list
        )
        by_id = {receipt.row_id: receipt for receipt in receipts}
        return [by_id[record_id] for record_id in (*add, *remove)]

    def _change(self, list_id: str, changes: Sequence[tuple[str, bool]]) -> list[Receipt]:
        """One add-and-remove call and what it says about each record."""
        body = {
            "recordIdsToAdd": [record_id for record_id, adds in changes if adds],
            "recordIdsToRemove": [record_id for record_id, adds in changes if not adds],
        }
        path = self._client.path("lists", "/{listId}/memberships/add-and-remove")
        answer = self._client.call("PUT", path, place={"listId": list_id}, body=body, effect=Effect.REPEATABLE).data
        # Their own description misspells `recordsIdsAdded` (2026-09); both spellings are read.
        keys = ("recordsIdsAdded", "recordIdsAdded", "recordIdsRemoved", "recordsIdsRemoved", "recordIdsMissing")
        if not isinstance(answer, dict) or not any(key in answer for key in (*keys, "recordsIdsMissing")):
            raise OutcomeUnknown(
                f"hubspot list {list_id}: a change of {len(changes)} members was accepted without a word"
            )
        added = _ids(answer, "recordsIdsAdded", "recordIdsAdded")
        removed = _ids(answer, "recordIdsRemoved", "recordsIdsRemoved")
        missing = _ids(answer, "recordIdsMissing", "recordsIdsMissing")
        if not added and not removed and not missing:
            self._confirm_nothing_to_do(list_id, changes)
        return [_member_receipt(record_id, added if adds else removed, missing) for record_id, adds in changes]

    def _confirm_nothing_to_do(self, list_id: str, changes: Sequence[tuple[str, bool]]) -> None:
        """Tell a call that found everything as wanted from one that silently did nothing: the answers are the same.

        One record of each kind is looked up; `size` would be cheaper and lags.

        Raises:
            OutcomeUnknown: it did nothing.
        """
        path = self._client.path("lists", "/records/{objectTypeId}/{recordId}/memberships")
        samples = {adds: record_id for record_id, adds in reversed(changes)}
        for adds, record_id in samples.items():
            answer = self._client.read(path, place={"objectTypeId": CONTACT_TYPE, "recordId": record_id}) or {}
            is_member = list_id in {str(entry.get("listId")) for entry in answer.get("results") or ()}
            if is_member is not adds:
                raise OutcomeUnknown(f"hubspot list {list_id}: a change of {len(changes)} members changed nothing")

    def _list_by_name(self, name: str) -> ListRef | None:
        """The list of exactly this name.

        Raises:
            RejectedError: it is not a list we could change.
        """
        found = list_named(self._client, name)
        # The lookup ignores case, and names are unique without regard to case: another case is the same list.
        if str(found.get("name", "")).casefold() != name.casefold() or not found.get("listId"):
            return None
        if found.get("processingType") not in {MANUAL, "SNAPSHOT"}:
            raise RejectedError(
                f"hubspot list {name!r}: it is {found.get('processingType')}, filled by HubSpot's own filters",
                hint="rename or delete that list in HubSpot; winback makes its own",
            )
        return ListRef(str(found["listId"]), str(found["name"]))

    def _folder_id(self, folder: str) -> str:
        """The folder's id, looked up once and made if missing."""
        if self._folders is None:
            self._folders = self._read_folders()
        if folder not in self._folders:
            body = {"name": folder, "parentFolderId": ROOT_FOLDER}
            path = self._client.path("lists", "/folders")
            try:
                answer = self._client.call("POST", path, body=body, effect=Effect.ONCE).data or {}
                self._folders[folder] = str((answer.get("folder") or {})["id"])
            except (OutcomeUnknown, HubSpotRejected, KeyError):
                self._folders = self._read_folders()
                if folder not in self._folders:
                    raise
        return self._folders[folder]

    def _read_folders(self) -> dict[str, str]:
        """The folders at the top, name to id; of two with one name the older."""
        path = self._client.path("lists", "/folders")
        answer = self._client.read(path, query=[("folderId", ROOT_FOLDER)]) or {}
        found: dict[str, str] = {}
        for node in (answer.get("folder") or {}).get("childNodes") or ():
            found.setdefault(str(node.get("name")), str(node["id"]))
        return found

    # --- properties ---------------------------------------------------------------------------------------------

    def existing_properties(self, names: Sequence[str | PropertySpec]) -> Sequence[str]:
        """Those of `names` that are there; one call for all. Given a spec, it must also have its kind and choices."""
        return self._definitions.existing(names)

    def ensure_properties(self, specs: Sequence[PropertySpec]) -> Sequence[Ensured]:
        """Make what is missing and widen choices; see `properties.py`."""
        return self._definitions.ensure(specs)

    def remove_property(self, name: str) -> None:
        """Archive a property we made; no error when it is gone."""
        self._definitions.remove(name)

    def read_properties(self, row_ids: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, str | None]]:
        """Present values by record id; records that do not exist, or were merged away, are left out."""
        if not row_ids:
            return {}
        body = {"properties": list(names), "inputs": [{"id": row_id} for row_id in dict.fromkeys(row_ids)]}
        path = self._client.path("objects", "/contacts/batch/read")
        answer = self._client.call("POST", path, body=body, effect=Effect.READ).data or {}
        asked = set(row_ids)
        found = {str(item["id"]): item.get("properties") or {} for item in answer.get("results") or ()}
        return {
            row_id: {name: values.get(name) or None for name in names}
            for row_id, values in found.items()
            if row_id in asked
        }

    def set_properties(self, rows: Sequence[PropertyRow]) -> Sequence[Receipt]:
        """Write rows by record id; see `batches.py`."""
        return self._writer.set_properties(rows)

    # --- workflows and opt-outs ---------------------------------------------------------------------------------

    def check_workflow(self, workflow: str) -> Finding:
        """Whether contacts can be enrolled in a workflow, by the number in its page's address or by its name."""
        return self._workflows.check(workflow)

    def enroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Put contacts into a workflow one at a time; see `enrollments.py`."""
        return self._enrollments.enroll(workflow, row_ids)

    def unenroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Take contacts out of a workflow one at a time."""
        return self._enrollments.unenroll(workflow, row_ids)

    def enrolled(
        self, workflow: str, row_ids: Sequence[str], *, since: datetime | None = None, still: bool = False
    ) -> Mapping[str, bool]:
        """Whether contacts are in a workflow, or have been, by the list that shows it."""
        if still:
            return self._enrollments.inside(workflow, row_ids)
        return self._enrollments.enrolled(workflow, row_ids, since=since)

    def opt_out(self, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Take every address of these contacts off all marketing mail; see `opt_outs.py`."""
        return self._opt_outs.write(row_ids)

    def opted_out(self, row_ids: Sequence[str]) -> Mapping[str, bool]:
        """Whether contacts are opted out of all marketing mail."""
        return self._opt_outs.read(row_ids)

    # --- what people told us ------------------------------------------------------------------------------------

    def record_feedback(self, rows: Sequence[FeedbackRow]) -> Sequence[Receipt]:
        """Write notes on contacts and tasks for their owners; see `feedback.py`."""
        return self._feedback.record(rows)

    def recorded_feedback(self, rows: Sequence[FeedbackRow]) -> Mapping[str, bool]:
        """Whether each note or task is there."""
        return self._feedback.recorded(rows)

    def complete(self, waiting: Sequence[Callback]) -> Sequence[Receipt]:
        """Let workflows that wait for us go on; see `callbacks.py`."""
        return self._callbacks.complete(waiting)

    # --- forecast -----------------------------------------------------------------------------------------------

    def forecast(self, work: Work) -> int:
        """Calls that applying this work takes if nothing goes wrong.

        A new list is looked up and made; before the first one the folder is looked up, and made if missing. Properties
        cost one look at the definitions, one call for their group, one each. Enrolling is one call a contact, after two
        for a hundred; the first time in a workflow its list of who has been in it is made.
        """
        calls = work.lists_to_look_up + work.member_batches + work.property_batches
        if work.properties_to_ensure:
            calls += 2 + work.properties_to_ensure
        made = work.lists_to_create
        calls += CALLS_PER_NEW_LIST * made
        if work.enrollments:
            workflows = max(1, work.workflows)
            batches = max(ceil(work.enrollments / enrollments.BATCH), workflows)
            calls += work.enrollments + enrollments.READS_PER_BATCH * batches + CALLS_PER_WORKFLOW * workflows
            rosters = max(0, workflows - self._workflows.rosters_made())
            calls, made = calls + rosters, made + rosters
        if work.opt_outs:
            calls += work.opt_outs + ceil(work.opt_outs / opt_outs.BATCH)
        calls += feedback.CALLS_PER_BATCH * ceil(work.feedback / feedback.BATCH)
        if made:
            calls += 1 if self.folder in self._read_folders_or_none() else 2
        return calls

    def _read_folders_or_none(self) -> Iterable[str]:
        """The folders' names; none when they cannot be read, which the forecast then counts as missing."""
        try:
            return self._read_folders()
        except ProviderError:
            return ()

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def _ids(answer: Mapping[str, Any], *spellings: str) -> frozenset[str]:
    """Ids under any of the key's spellings."""
    return frozenset(text_ids(value for key in spellings for value in answer.get(key) or ()))


def _member_receipt(record_id: str, changed: frozenset[str], missing: frozenset[str]) -> Receipt:
    """What the answer says about one record."""
    if record_id in changed:
        return Receipt(record_id, Outcome.WRITTEN)
    if record_id in missing:
        return Receipt(record_id, Outcome.MISSING, "HubSpot has no such contact (deleted or merged)", "MISSING")
    return Receipt(record_id, Outcome.UNCHANGED)


def _is_about_the_list(refusal: RejectedError) -> bool:
    """Whether a refused change is the list's fault, so that halving it would find nothing.

    `ListError.INVALID_OBJECT_TYPE_FOR_LIST` is about the list, others of that family about a record.
    """
    if isinstance(refusal, HubSpotRejected):
        family, _, reason = refusal.vendor.sub_category.partition(".")
        if family == "ListError" and "LIST" in reason:
            return True
    return refusal.status not in {_BAD_REQUEST, _CONFLICT, _TOO_LARGE}
