"""Direct enrollment: the legacy v2 call, one contact at a time, by address.

HubSpot has no other. Its answer is the same empty success whether or not it had an effect, and whether it looks at the
workflow's filters and suppression lists is not documented, so what forbids a contact is looked at here first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters.hubspot.client import HubSpotClient, HubSpotRejected
from adapters.hubspot.people import ROWS_PER_CALL, STOPPERS, OneByOne, Person, missing, read_people
from adapters.hubspot.workflows import Workflow, Workflows
from connector.contracts import Clock, Reporter
from connector.errors import OutcomeUnknown, RejectedError, RetriableError, WinbackError
from connector.model import Outcome, Receipt
from connector.rest import Effect

BATCH: Final = ROWS_PER_CALL
READS_PER_BATCH: Final = 2
"""The contacts, and the lists they are on."""
NO_ADDRESS: Final = ("the contact has no address, and HubSpot enrolls by address", "NO_EMAIL")
_NOT_FOUND, _PRECONDITION = 404, 412


class Enrollments:
    """Puts contacts into workflows and takes them out.

    Args:
        client: Makes the calls.
        workflows: Knows the workflows.
        settles: How long after an enrollment HubSpot's lists may not show it yet.
        clock: Tells the time.
        reporter: Is told what could not be found out.
    """

    def __init__(
        self, client: HubSpotClient, workflows: Workflows, *, settles: timedelta, clock: Clock, reporter: Reporter
    ) -> None:
        self._client = client
        self._workflows = workflows
        self._settles = settles
        self._clock = clock
        self._reporter = reporter
        self._doubtful: dict[tuple[str, str], datetime] = {}
        """Enrollments without an answer, and when they were tried."""

    def enroll(self, ref: str, row_ids: Sequence[str]) -> list[Receipt]:
        """Enroll contacts that nothing forbids; see `Destination.enroll`."""
        if not row_ids:
            return []
        flow = self._workflows.usable(ref)
        roster = self._workflows.roster(flow)
        people = read_people(self._client, row_ids)
        lists = self._workflows.lists_of([row_id for row_id in dict.fromkeys(row_ids) if row_id in people])
        batch = OneByOne(row_ids)
        for row_id in batch:
            person = people.get(row_id)
            if person is None:
                batch.settle(missing(row_id))
                continue
            joined = lists.get(row_id, {})
            try:
                settled = self._without_calling(flow, row_id, person, joined, been_in=roster in joined)
                if settled is not None:
                    batch.settle(settled)
                    continue
                batch.settle(self._enroll(ref, flow, row_id, person.address), tried=True)
            except OutcomeUnknown as doubt:
                self._doubtful[flow.flow_id, row_id] = self._clock.now()
                batch.unknown(row_id, doubt)
            except STOPPERS as fault:
                batch.stop(fault)
        return batch.receipts()

    def unenroll(self, ref: str, row_ids: Sequence[str]) -> list[Receipt]:
        """Take contacts out; of a workflow that is gone everybody is out."""
        if not row_ids:
            return []
        try:
            flow = self._workflows.find(ref)
        except RejectedError as refusal:
            if refusal.status != _NOT_FOUND:
                raise
            return [Receipt(row_id, Outcome.UNCHANGED, str(refusal)) for row_id in row_ids]
        people = read_people(self._client, row_ids)
        batch = OneByOne(row_ids)
        for row_id in batch:
            person = people.get(row_id)
            if person is None:
                batch.settle(missing(row_id))  # HubSpot takes deleted contacts out itself
                continue
            if not person.address:
                batch.settle(Receipt(row_id, Outcome.REJECTED, *NO_ADDRESS))
                continue
            try:
                batch.settle(self._unenroll(flow, row_id, person.address), tried=True)
            except OutcomeUnknown as doubt:
                batch.unknown(row_id, doubt)
            except STOPPERS as fault:
                batch.stop(fault)
        return batch.receipts()

    def enrolled(self, ref: str, row_ids: Sequence[str], *, since: datetime | None) -> dict[str, bool]:
        """Whether contacts are in the workflow or have been; see `Destination.enrolled`."""
        if not row_ids:
            return {}
        flow = self._workflows.find(ref)
        roster = self._workflows.roster(flow)
        there = list(read_people(self._client, row_ids))
        lists = self._workflows.lists_of(there)
        found: dict[str, bool] = {}
        earlier = 0
        for row_id in there:
            joined = _moment(lists.get(row_id, {}).get(roster))
            recently = joined is not None and (since is None or joined >= since)
            found[row_id] = recently or self._workflows.is_inside(flow, row_id)
            if not found[row_id] and joined is not None and flow.again:
                # Been in before then, and may have come in again: that cannot be seen.
                found[row_id] = True
                earlier += 1
        if earlier:
            self._reporter.line(
                f"workflow {ref}: {earlier} contacts were in it before; that they came in again cannot be seen, "
                "so it is taken for granted: nobody is enrolled twice"
            )
        self._refuse_to_guess(ref, flow, [row_id for row_id, inside in found.items() if not inside], since)
        return found

    def inside(self, ref: str, row_ids: Sequence[str]) -> dict[str, bool]:
        """Whether contacts are in the workflow now; one call each. In one that is gone nobody is."""
        if not row_ids:
            return {}
        there = list(read_people(self._client, row_ids))
        try:
            flow = self._workflows.find(ref)
        except RejectedError as refusal:
            if refusal.status != _NOT_FOUND:
                raise
            return dict.fromkeys(there, False)
        return {row_id: self._workflows.is_inside(flow, row_id) for row_id in there}

    def _refuse_to_guess(self, ref: str, flow: Workflow, unseen: Sequence[str], since: datetime | None) -> None:
        """Not being seen says nothing while HubSpot's lists may still be behind.

        Raises:
            RetriableError: they may be.
        """
        tried = [since or self._doubtful.get((flow.flow_id, row_id)) for row_id in unseen]
        young = [at for at in tried if at is not None and self._clock.now() - at < self._settles]
        if young:
            left = self._settles - (self._clock.now() - max(young))
            raise RetriableError(
                f"hubspot workflow {ref}: {len(young)} contacts are not seen in it yet, and what HubSpot shows can be "
                "late",
                hint=f"run again in {left.total_seconds() / 60:.0f} minutes, or lower `enrollment_settles`",
                retry_after_seconds=left.total_seconds(),
            )
        for row_id in unseen:
            self._doubtful.pop((flow.flow_id, row_id), None)  # it was not done after all, and may be tried again

    def _without_calling(
        self, flow: Workflow, row_id: str, person: Person, joined: Mapping[str, str], *, been_in: bool
    ) -> Receipt | None:
        """The receipt of a contact that is not to be enrolled now; None when nothing speaks against it."""
        if (flow.flow_id, row_id) in self._doubtful:
            return self._settle_doubt(flow, row_id)
        forbidden = _forbidden(flow, person, joined)
        if forbidden is not None:
            return Receipt(row_id, Outcome.REJECTED, *forbidden)
        if been_in and self._workflows.is_inside(flow, row_id):
            return Receipt(row_id, Outcome.UNCHANGED)
        if been_in and not flow.again:
            words = f"the contact was in {flow.name!r} before, and it takes nobody twice; allow re-enrollment there"
            return Receipt(row_id, Outcome.REJECTED, words, "NO_REENROLLMENT")
        return None

    def _settle_doubt(self, flow: Workflow, row_id: str) -> Receipt:
        """An earlier call got no answer: look, and never call again."""
        if self._workflows.is_inside(flow, row_id):
            self._doubtful.pop((flow.flow_id, row_id))
            return Receipt(row_id, Outcome.WRITTEN)
        return Receipt(row_id, Outcome.UNKNOWN, "the enrollment got no answer, and the contact is not seen in it")

    def _enroll(self, ref: str, flow: Workflow, row_id: str, address: str) -> Receipt:
        """One enrollment; a lost answer is looked into at once."""
        try:
            self._call("POST", flow, address, effect=Effect.ONCE)
        except HubSpotRejected as refusal:
            if refusal.status == _PRECONDITION:
                self._workflows.forget(ref)
            return _refused(row_id, refusal)
        except OutcomeUnknown:
            with suppress(WinbackError):
                if self._workflows.is_inside(flow, row_id):
                    return Receipt(row_id, Outcome.WRITTEN)
            raise
        return Receipt(row_id, Outcome.WRITTEN)

    def _unenroll(self, flow: Workflow, row_id: str, address: str) -> Receipt:
        try:
            self._call("DELETE", flow, address, effect=Effect.REPEATABLE)
        except HubSpotRejected as refusal:
            if refusal.status == _NOT_FOUND:
                return Receipt(row_id, Outcome.UNCHANGED)
            return _refused(row_id, refusal)
        return Receipt(row_id, Outcome.WRITTEN)

    def _call(self, method: str, flow: Workflow, address: str, *, effect: Effect) -> None:
        path = self._client.path("enrollments", "/{workflowId}/enrollments/contacts/{email}")
        self._client.call(method, path, place={"workflowId": flow.workflow_id, "email": address}, effect=effect)


def _forbidden(flow: Workflow, person: Person, joined: Mapping[str, str]) -> tuple[str, str] | None:
    """Why a contact must not be enrolled, in words and as a code."""
    if not person.address:
        return NO_ADDRESS
    if person.opted_out:
        return "the contact unsubscribed from all mail in HubSpot", "OPTED_OUT"
    if person.bounced:
        return "the contact has an address that mail cannot reach", "BOUNCED"
    if any(list_id in joined for list_id in flow.suppression):
        return f"the contact is on a suppression list of {flow.name!r}", "SUPPRESSED"
    return None


def _refused(row_id: str, refusal: HubSpotRejected) -> Receipt:
    return Receipt(row_id, Outcome.REJECTED, refusal.vendor.words(), refusal.vendor.category or str(refusal.status))


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
