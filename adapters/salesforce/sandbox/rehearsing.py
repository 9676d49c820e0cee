"""What the demo asks of the sandbox: a flow for a campaign, the mails it sent, people who do something with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from adapters.salesforce.fields import field_name
from adapters.salesforce.ids import record_id, to_18
from adapters.salesforce.sandbox.answers import moment
from adapters.salesforce.sandbox.flow_steps import Condition, SendMail, Start, Step, WaitUntil
from connector.contracts import SentMail
from connector.errors import SettingError

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.flow_engine import FlowEngine
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

EXITED: Final = "Exited"
"""The status of a membership whose person has left the list."""

_NAME: Final = re.compile(r"[^0-9A-Za-z]+")


def make_flow(state: State, engine: FlowEngine, list_name: str, mail: str, *, wait_until: str | None) -> str:
    """Make a flow, called after its mail, that mails the members of a campaign; asked again, it is the one there.

    It is run once for those who are members already, as an administrator does who comes late: a record-triggered flow
    by itself sees changes only.
    """
    state.settle()
    name = api_name(mail)
    there = engine.flows.get(name)
    if there is not None:
        return there.id
    campaign = campaign_named(state, list_name)
    if campaign is None:
        raise SettingError(f"the Salesforce sandbox has no campaign '{list_name}' to hang a flow on")
    waits: list[Step] = [WaitUntil(field_name(wait_until))] if wait_until else []
    flow = engine.save(name, [*waits, SendMail(mail)], start=joining(campaign.id), label=mail)
    with state.acting(state.admin_user):
        engine.run_for(flow, members_of(state, campaign.id))
    state.settle()
    return flow.id


def joining(campaign_id: str, *, status: str | None = None) -> Start:
    """What starts a flow for whoever joins a campaign: any status but the one of those who left, or a certain one."""
    wanted = Condition("Status", "NotEqualTo", EXITED) if status is None else Condition("Status", "EqualTo", status)
    return Start("CampaignMember", conditions=(Condition("CampaignId", "EqualTo", campaign_id), wanted))


def campaign_named(state: State, name: str) -> Row | None:
    """The live campaign with this name, however it is written."""
    wanted = name.casefold()
    return next((row for row in state.stores["Campaign"] if str(row.values["Name"]).casefold() == wanted), None)


def members_of(state: State, campaign_id: str) -> list[Row]:
    """The live memberships of a campaign, those who left too."""
    return [row for row in state.stores["CampaignMember"].matching("CampaignId", campaign_id) if not row.is_deleted]


def mails_after(state: State, engine: FlowEngine, number: int) -> Sequence[SentMail]:
    """The mails numbered above this one, in order."""
    state.settle()
    return [
        SentMail(mail.number, mail.person_id, mail.title, moment(mail.at_ms), mail.sent)
        for mail in engine.mails.mails[number:]
    ]


def let_happen(state: State, engine: FlowEngine, person: str, what: str, *, mail: int | None) -> None:
    """Let somebody do something now; a number stands for the contact that was seeded with it."""
    now_ms = state.settle()
    engine.mails.happen(person_id(person), what, at_ms=now_ms, mail=mail)
    state.settle()


def person_id(given: str) -> str:
    """The 18-character id of a contact or lead; ValueError for what is none."""
    return record_id("Contact", int(given)) if given.isdigit() and len(given) < len("003000000000000") else to_18(given)


def api_name(title: str) -> str:
    """The API name of something with this title: letters, digits and single underscores."""
    return _NAME.sub("_", title).strip("_") or "Flow"
