"""Values that follow from others: names, copies of the person's values on a membership, a campaign's counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State


def full_name(state: State, row: Row) -> Any:  # noqa: ARG001 - every derived value is asked for alike
    """First and last name, as far as they are known."""
    return " ".join(filter(None, (row.values.get("FirstName"), row.values.get("LastName")))) or None


def has_bounced(state: State, row: Row) -> Any:  # noqa: ARG001
    """Whether the last mail came back."""
    return row.values.get("EmailBouncedDate") is not None


def person_of(state: State, row: Row) -> Any:  # noqa: ARG001
    """Who a membership is of: the contact, as soon as there is one."""
    return row.values.get("ContactId") or row.values.get("LeadId")


def has_responded(state: State, row: Row) -> Any:
    """Whether the membership's status counts as a response."""
    return state.status_responds(row.values.get("CampaignId"), row.values.get("Status"))


def of_person(name: str) -> Callable[[State, Row], Any]:
    """A copy of a value of the contact or lead a membership is of."""

    def read(state: State, row: Row) -> Any:
        person = state.row(row.values.get("ContactId") or row.values.get("LeadId") or "")
        return None if person is None else state.value(person, name)

    return read


def kind_of_member(state: State, row: Row) -> Any:  # noqa: ARG001
    """Contact or Lead."""
    return "Contact" if row.values.get("ContactId") else "Lead"


def members(field: str | None, *, responded: bool = False) -> Callable[[State, Row], Any]:
    """How many memberships a campaign has, of contacts or of leads."""

    def read(state: State, row: Row) -> Any:
        held = state.stores["CampaignMember"].matching("CampaignId", row.id)
        return sum(
            member.deleted_ms is None
            and (field is None or bool(member.values.get(field)))
            and (not responded or bool(has_responded(state, member)))
            for member in held
        )

    return read


def is_marketing_user(state: State, row: Row) -> Any:
    """Whether a user may write campaigns."""
    return row.id != state.integration_user or "MarketingUser" in state.access.permissions


def is_closed(state: State, row: Row) -> Any:  # noqa: ARG001
    """Whether an opportunity is decided."""
    return str(row.values.get("StageName", "")).startswith("Closed")


def is_won(state: State, row: Row) -> Any:  # noqa: ARG001
    """Whether an opportunity is decided for us."""
    return row.values.get("StageName") == "Closed Won"


def task_is_closed(state: State, row: Row) -> Any:  # noqa: ARG001
    """Whether a task is done."""
    return row.values.get("Status") == "Completed"


def account_of_person(state: State, row: Row) -> Any:
    """The account of the contact a task is about."""
    who = state.row(row.values.get("WhoId") or "")
    return None if who is None else who.values.get("AccountId")
