"""Direct enrollment: a field of a person names the flow they were put into; a record-triggered flow listens to it.

The field holds the flow's API name while somebody is in it, and the name with a mark behind it once they left: so a
flow that starts at its name does not start again, and who has been in one is not put into it twice over a lost answer.
The platform shows what it has written at once, so what is read back is never behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce import soql
from adapters.salesforce.fields import ENROLLMENT, PACKAGE, PERMISSION_SET
from adapters.salesforce.ids import kind_of
from adapters.salesforce.lookups import Lookups, missing, person_id
from adapters.salesforce.opt_outs import OptOuts, opted_out
from adapters.salesforce.rows import PER_CALL, UPDATE, Change, RowWriter
from adapters.salesforce.vendor_errors import SalesforceRejected
from connector.errors import OutcomeUnknown, RejectedError, WinbackError
from connector.model import Finding, Outcome, Receipt, Severity

if TYPE_CHECKING:
    from adapters.salesforce.client import SalesforceClient

BATCH: Final = PER_CALL
CALLS_PER_BATCH: Final = 2
"""The people as they are, and those who are to change."""
CALLS_PER_WORKFLOW: Final = 1

LEFT: Final = " · left"
"""Behind the name of a flow that somebody was taken out of."""

_NOT_FOUND: Final = 404
_FIELDS: Final = (ENROLLMENT, "Email", "EmailBouncedDate")


class Enrollments:
    """Puts people into flows of one org and takes them out."""

    def __init__(self, client: SalesforceClient, lookups: Lookups, opt_outs: OptOuts, writer: RowWriter) -> None:
        self._client = client
        self._lookups = lookups
        self._opt_outs = opt_outs
        self._writer = writer
        self._usable: set[str] = set()

    def check(self, workflow: str) -> Finding:
        """Whether there is an active flow of this API name."""
        subject = f"salesforce flow {workflow}"
        try:
            flow = self._flow(workflow)
        except WinbackError as fault:
            return Finding(subject, Severity.ERROR, str(fault), fault.hint or "look at Setup → Flows")
        if flow is None:
            return Finding(
                subject,
                Severity.ERROR,
                "there is no flow of this API name",
                "write the flow's API name as Setup → Flows shows it, not its label",
            )
        if not flow.get("IsActive"):
            return Finding(subject, Severity.ERROR, "the flow is not active", "activate it in Setup → Flows")
        return Finding(subject, Severity.OK, f"active; it has to start when {ENROLLMENT} becomes {workflow!r}")

    def enroll(self, workflow: str, row_ids: Sequence[str]) -> list[Receipt]:
        """Put people into a flow that nothing keeps out of it; see `Destination.enroll`.

        Raises:
            RejectedError: there is no such flow, or it is not active.
        """
        if not row_ids:
            return []
        self._refuse_unusable(workflow)
        people = self._people(row_ids)
        settled: dict[str, Receipt] = {}
        for person, held in people.items():
            forbidden = _forbidden(held)
            if held.get(ENROLLMENT) == workflow:
                settled[person] = Receipt(person, Outcome.UNCHANGED)
            elif forbidden is not None:
                settled[person] = Receipt(person, Outcome.REJECTED, *forbidden)
        return self._write(row_ids, people, settled, workflow)

    def unenroll(self, workflow: str, row_ids: Sequence[str]) -> list[Receipt]:
        """Take people out of a flow; whether it still exists does not matter."""
        if not row_ids:
            return []
        people = self._people(row_ids)
        settled = {
            person: Receipt(person, Outcome.UNCHANGED)
            for person, held in people.items()
            if held.get(ENROLLMENT) != workflow
        }
        return self._write(row_ids, people, settled, workflow + LEFT)

    def enrolled(
        self, workflow: str, row_ids: Sequence[str], *, since: datetime | None, still: bool
    ) -> dict[str, bool]:
        """Whether people are in the flow, or were; see `Destination.enrolled`."""
        if not row_ids:
            return {}
        people = self._people(row_ids)
        found: dict[str, bool] = {}
        for row_id in row_ids:
            held = people.get(person_id(row_id) or "")
            if held is None:
                continue
            said = held.get(ENROLLMENT)
            has_been = said == workflow + LEFT and (since is None or _changed_since(held, since))
            found[row_id] = said == workflow or (has_been and not still)
        return found

    def _people(self, row_ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        try:
            return self._opt_outs.people(row_ids, (*_FIELDS, "LastModifiedDate"))
        except SalesforceRejected as refusal:
            if refusal.code != "INVALID_FIELD":
                raise
            raise RejectedError(
                f"salesforce enrollment: {refusal.vendor.message}",
                hint=f"deploy the package in {PACKAGE} and assign its permission set {PERMISSION_SET}",
                status=_NOT_FOUND,
            ) from refusal

    def _write(
        self, row_ids: Sequence[str], people: Mapping[str, Any], settled: Mapping[str, Receipt], value: str
    ) -> list[Receipt]:
        """Set the field of everybody who is there and not settled yet."""
        changes = [
            Change(person, str(kind_of(person)), {"Id": person, ENROLLMENT: value})
            for person in people
            if person not in settled
        ]
        receipts = dict(settled)
        if changes:
            try:
                said = self._writer.write(UPDATE, changes)
            except OutcomeUnknown as doubt:
                receipts |= {change.key: Receipt(change.key, Outcome.UNKNOWN, str(doubt)) for change in changes}
            else:
                receipts |= {person: one.receipt(person) for person, one in said.items()}
        given: list[Receipt] = []
        for row_id in row_ids:
            receipt = receipts.get(person_id(row_id) or "")
            given.append(
                missing(row_id) if receipt is None else Receipt(row_id, receipt.outcome, receipt.message, receipt.code)
            )
        return given

    def _refuse_unusable(self, workflow: str) -> None:
        """Look the flow up once."""
        if workflow in self._usable:
            return
        flow = self._flow(workflow)
        if flow is None or not flow.get("IsActive"):
            state = "there is no flow of this API name" if flow is None else "the flow is not active"
            raise RejectedError(
                f"salesforce flow {workflow}: {state}",
                hint="write the API name that Setup → Flows shows, and activate the flow",
                status=_NOT_FOUND,
            )
        self._usable.add(workflow)

    def _flow(self, workflow: str) -> Mapping[str, Any] | None:
        """The flow of this API name; where the user may not see flows, those that can be called stand in."""
        where = (f"ApiName = {soql.text(workflow)}",)
        query = soql.Query("FlowDefinitionView", ("ApiName", "Label", "IsActive"), where)
        try:
            return next(iter(self._client.rows(query.unordered())), None)
        except SalesforceRejected as refusal:
            if refusal.code not in {"INVALID_TYPE", "INSUFFICIENT_ACCESS"}:
                raise
        answer = self._client.read(self._client.path("/actions/custom/flow")) or {}
        names = {str(action.get("name")) for action in answer.get("actions") or ()}
        return {"ApiName": workflow, "IsActive": True} if workflow in names else None


def _forbidden(held: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why somebody must not be enrolled, in words and as a code."""
    if not held.get("Email"):
        return "the person has no address, and no mail can reach them", "NO_EMAIL"
    if opted_out(held):
        return "the person opted out of mail in Salesforce", "OPTED_OUT"
    if held.get("EmailBouncedDate"):
        return "mail to the person's address has bounced", "BOUNCED"
    return None


def _changed_since(held: Mapping[str, Any], since: datetime) -> bool:
    """Whether a record was changed then or later; in doubt it was. Moments are shown in whole seconds."""
    text = str(held.get("LastModifiedDate") or "")
    try:
        changed = datetime.fromisoformat(text)
    except ValueError:
        return True
    return changed >= since.replace(microsecond=0)
