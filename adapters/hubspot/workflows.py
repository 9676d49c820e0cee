"""A workflow as direct enrollment needs it: both of its numbers, its rules, and the list that shows who has been in it.

HubSpot numbers a workflow twice: the flow id is what its pages and the flows API show, the workflow id is what the v2
enrollment calls take. Who has been in it is not told by any call; a DYNAMIC list that filters for it can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.hubspot import versions
from adapters.hubspot.client import HubSpotClient, HubSpotRejected
from adapters.hubspot.lists import CONTACT_TYPE, list_named
from connector.errors import OutcomeUnknown, ProviderError, RejectedError, WinbackError
from connector.model import Finding, Severity
from connector.paging import walk_cursor
from connector.rest import Effect

SCOPE: Final = "automation"
ROSTER: Final = "winback · enrolled in workflow {}"
FLOWS_PER_PAGE: Final = 100
CALLS_PER_WORKFLOW: Final = 3
"""The workflow, its other number, its roster's id."""
_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class Workflow:
    """One contact workflow.

    again: Whether it takes somebody a second time. suppression: Lists whose members it must leave alone.
    """

    flow_id: str
    workflow_id: str
    name: str
    enabled: bool
    again: bool
    suppression: tuple[str, ...]


class Workflows:
    """The workflows of one account, each looked up once.

    Args:
        client: Makes the calls.
        folder_id: The id of the folder our lists are kept in, made when missing.
    """

    def __init__(self, client: HubSpotClient, *, folder_id: Callable[[], str]) -> None:
        self._client = client
        self._folder_id = folder_id
        self._found: dict[str, Workflow] = {}
        self._rosters: dict[str, str] = {}

    def usable(self, ref: str) -> Workflow:
        """The workflow of this id or name.

        Raises:
            RejectedError: there is none, it is switched off, or it is not one for contacts.
        """
        found = self.find(ref)
        if not found.enabled:
            raise RejectedError(
                f"hubspot workflow {ref} ({found.name!r}) is switched off",
                hint="switch it on in HubSpot, or take it out of the playbook",
                status=_NOT_FOUND,
            )
        return found

    def find(self, ref: str) -> Workflow:
        """The workflow of this flow id, workflow id or name; RejectedError when there is none for contacts."""
        if ref not in self._found:
            body = self._by_number(ref) if ref.isdigit() else self._by_name(ref)
            if body is None:
                raise RejectedError(
                    f"hubspot has no workflow {ref!r}",
                    hint="take the number from the address of the workflow's page, behind /flow/",
                    status=_NOT_FOUND,
                )
            if body.get("type") != "CONTACT_FLOW" or body.get("objectTypeId") != CONTACT_TYPE:
                raise RejectedError(
                    f"hubspot workflow {ref} is not one for contacts",
                    hint="only contact workflows take contacts one at a time",
                    status=_NOT_FOUND,
                )
            criteria = body.get("enrollmentCriteria") or {}
            self._found[ref] = Workflow(
                flow_id=str(body["id"]),
                workflow_id=self._workflow_id(str(body["id"])),
                name=str(body.get("name") or f"workflow {body['id']}"),
                enabled=bool(body.get("isEnabled")),
                again=bool(criteria.get("shouldReEnroll")),
                suppression=tuple(str(list_id) for list_id in body.get("suppressionListIds") or ()),
            )
        return self._found[ref]

    def forget(self, ref: str) -> None:
        """Look a workflow up anew next time: it is not as it was."""
        self._found.pop(ref, None)

    def check(self, ref: str) -> Finding:
        """Whether contacts can be enrolled in a workflow; nothing is changed."""
        subject = f"hubspot workflow {ref}"
        try:
            found = self.usable(ref)
        except RejectedError as refusal:
            return Finding(subject, Severity.ERROR, str(refusal), refusal.hint)
        except WinbackError as fault:
            from connector.errors import CredentialsError

            credentials = isinstance(fault, CredentialsError)
            fix = f"add the scope {SCOPE} to the key in HubSpot" if credentials else fault.hint
            return Finding(subject, Severity.ERROR, str(fault), fix, credentials=credentials)
        if not found.again:
            return Finding(
                subject,
                Severity.WARNING,
                f"{found.name!r} takes each contact once ever: a second silence would start nothing",
                "allow re-enrollment in the workflow's enrollment settings",
            )
        if not found.suppression:
            return Finding(
                subject,
                Severity.WARNING,
                f"{found.name!r} has no suppression list: who opts out meanwhile leaves it at the next run only",
                "add a suppression list to the workflow's settings",
            )
        ends = versions.unsupported_from(versions.RESOURCES["enrollments"].version)
        return Finding(
            subject,
            Severity.OK,
            f"{found.name!r} takes contacts one at a time (HubSpot supports that call until {ends.isoformat()})",
        )

    # --- who has been in it -------------------------------------------------------------------------------------

    def roster(self, found: Workflow) -> str:
        """The id of the list that shows who has ever been in a workflow; made when missing."""
        if found.flow_id not in self._rosters:
            name = ROSTER.format(found.flow_id)
            self._rosters[found.flow_id] = self._list_id(name) or self._make_roster(name, found)
        return self._rosters[found.flow_id]

    def rosters_made(self) -> int:
        """How many such lists there are; 0 when that cannot be found out."""
        body = {
            "query": ROSTER.format("").strip(),
            "processingTypes": ["DYNAMIC"],
            "listIds": [],
            "offset": 0,
            "count": 500,
            "additionalProperties": [],
        }
        try:
            answer = self._client.call("POST", self._client.path("lists", "/search"), body=body, effect=Effect.READ)
        except ProviderError:
            return 0
        return len((answer.data or {}).get("lists") or ())

    def lists_of(self, row_ids: Sequence[str]) -> Mapping[str, Mapping[str, str]]:
        """For each contact, at most 100: list id → when it last joined."""
        if not row_ids:
            return {}
        body = {"inputs": [{"objectTypeId": CONTACT_TYPE, "recordId": row_id} for row_id in row_ids]}
        path = self._client.path("lists", "/records/memberships/batch/read")
        answer = self._client.call("POST", path, body=body, effect=Effect.READ).data or {}
        return {
            str(item["recordId"]): {
                str(entry["listId"]): str(entry.get("lastAddedTimestamp") or entry.get("firstAddedTimestamp") or "")
                for entry in item.get("recordListMemberships") or ()
            }
            for item in answer.get("results") or ()
        }

    def is_inside(self, found: Workflow, row_id: str) -> bool:
        """Whether one contact is in a workflow now."""
        path = self._client.path("enrollments", "/enrollments/contacts/{vid}")
        try:
            answer = self._client.read(path, place={"vid": row_id})
        except HubSpotRejected as refusal:
            if refusal.status == _NOT_FOUND:
                return False
            raise
        # A list of workflows; where it is wrapped, and which of its two numbers names one, is not described.
        entries = answer.get("results") or answer.get("workflows") or () if isinstance(answer, dict) else answer or ()
        numbers = {str(entry.get(key)) for entry in entries for key in ("id", "workflowId", "flowId")}
        return bool(numbers & {found.workflow_id, found.flow_id})

    # --- looking up ---------------------------------------------------------------------------------------------

    def _by_number(self, number: str) -> Mapping[str, Any] | None:
        body = self._read(number)
        if body is not None:
            return body
        flow_id = self._mapped({"workflowId": number, "type": "WORKFLOW_ID"}, "flowId")
        return self._read(flow_id) if flow_id else None

    def _by_name(self, name: str) -> Mapping[str, Any] | None:
        path = self._client.path("automation", "/flows")

        def fetch(after: str | None) -> tuple[Sequence[Any], str | None]:
            query = [("limit", FLOWS_PER_PAGE), *([("after", after)] if after is not None else [])]
            answer = self._client.read(path, query=query) or {}
            following = ((answer.get("paging") or {}).get("next") or {}).get("after")
            return answer.get("results") or (), None if following is None else str(following)

        pages = walk_cursor(fetch, what="hubspot workflows")
        named = [flow for page in pages for flow in page.items if flow.get("name") == name]
        if len(named) > 1:
            raise RejectedError(
                f"hubspot has {len(named)} workflows named {name!r}",
                hint="name the one you mean by the number in the address of its page",
                status=_NOT_FOUND,
            )
        return self._read(str(named[0]["id"])) if named else None

    def _read(self, flow_id: str) -> Mapping[str, Any] | None:
        path = self._client.path("automation", "/flows/{flowId}")
        try:
            body: Mapping[str, Any] = self._client.read(path, place={"flowId": flow_id})
        except HubSpotRejected as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise
        return body

    def _workflow_id(self, flow_id: str) -> str:
        found = self._mapped({"flowId": flow_id, "type": "FLOW_ID"}, "workflowId")
        if found is None:
            raise RejectedError(
                f"hubspot workflow {flow_id} has no number that the enrollment call takes",
                hint="use `enroll: list` for it",
                status=_NOT_FOUND,
            )
        return found

    def _mapped(self, asked: Mapping[str, str], wanted: str) -> str | None:
        path = self._client.path("automation", "/workflow-id-mappings/batch/read")
        try:
            answer = self._client.call("POST", path, body={"inputs": [asked]}, effect=Effect.READ).data or {}
        except HubSpotRejected as refusal:
            if refusal.status == _NOT_FOUND:
                return None
            raise
        return next((str(item[wanted]) for item in answer.get("results") or () if item.get(wanted)), None)

    def _list_id(self, name: str) -> str | None:
        found = list_named(self._client, name).get("listId")
        return str(found) if found else None

    def _make_roster(self, name: str, found: Workflow) -> str:
        body = {
            "name": name,
            "objectTypeId": CONTACT_TYPE,
            "processingType": "DYNAMIC",
            "listFolderId": int(self._folder_id()),
            "filterBranch": _has_been_in(found.flow_id),
        }
        try:
            answer = self._client.call("POST", self._client.path("lists"), body=body, effect=Effect.ONCE).data or {}
            made = (answer.get("list") or {}).get("listId")
        except (OutcomeUnknown, HubSpotRejected):
            made = self._list_id(name)  # made after all, or by somebody else just now
            if made is None:
                raise
        if not made:
            raise OutcomeUnknown(f"hubspot list {name!r}: accepted, but no list was named")
        return str(made)


def _has_been_in(flow_id: str) -> dict[str, Any]:
    """The filter for having ever been in a workflow."""
    entry = {
        "filterType": "IN_LIST",
        "listId": flow_id,
        "operator": "IN_LIST",
        "metadata": {"id": flow_id, "inListType": "WORKFLOWS_ENROLLMENT"},
    }
    inner = {"filterBranchType": "AND", "filterBranchOperator": "AND", "filterBranches": [], "filters": [entry]}
    return {"filterBranchType": "OR", "filterBranchOperator": "OR", "filterBranches": [inner], "filters": []}
