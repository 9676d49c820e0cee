"""What the demo asks of the sandbox: a workflow for a list, the mails it sent, people who do something with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from adapters.hubspot.sandbox.authoring import workflow
from connector.contracts import SentMail
from connector.errors import SettingError

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.state import State

FIRST_CONTENT_ID = 7_001


def make_workflow(state: State, list_name: str, mail: str, *, wait_until: str | None) -> str:
    """Make a workflow, called after its mail, that mails whoever joins the list; asked again, it is the one there."""
    now_ms = state.settle()
    there = next((flow for flow in state.workflows.flows if flow.name == mail), None)
    if there is not None:
        return there.id
    lists = state.lists.lists.values()
    list_id = next((held.id for held in lists if held.name.casefold() == list_name.casefold()), None)
    if list_id is None:
        raise SettingError(f"the HubSpot sandbox has no list '{list_name}' to hang a workflow on")
    steps = [{"wait_until": wait_until}] if wait_until else []
    body = workflow(mail, [*steps, {"mail": _content_id(state, mail)}], list_id=list_id)
    flow = state.workflows.flows.create(body, now_ms=now_ms)
    state.workflows.saved(flow, was_enabled=False)
    state.settle()
    return flow.id


def mails_after(state: State, number: int) -> Sequence[SentMail]:
    """The mails numbered above this one, in order."""
    state.settle()
    return [
        SentMail(mail.number, mail.contact_id, mail.name, datetime.fromtimestamp(mail.at_ms / 1000, UTC), mail.sent)
        for mail in state.mails.mails[number:]
    ]


def let_happen(state: State, contact_id: str, what: str, *, mail: int | None) -> None:
    """Let somebody do something now."""
    now_ms = state.settle()
    state.mails.happen(contact_id, what, at_ms=now_ms, mail=mail)
    state.settle()


def _content_id(state: State, title: str) -> str:
    """The number of the mail with this title; a new title gets the next one."""
    names = state.mails.names
    known = next((number for number, name in names.items() if name == title), None)
    number = known or str(FIRST_CONTENT_ID + len(names))
    names[number] = title
    return number
