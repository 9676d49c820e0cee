"""The custom fields: one on Contact and one on Lead for every property winback owns, and the keys of what it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final, cast

from adapters.salesforce.fields import ENROLLMENT, KEY, PEOPLE, TEXT_LENGTH, definition, field_name
from connector.model import PropertySpec
from connector.program import personal
from connector.settings.webhook_blocks import FeedbackBlock
from connector.wanted import feedback_specs, property_specs
from deploy.salesforce.making.documents import Tree, document, tidy

SEND_AT: Final = field_name(personal.SEND_AT)

_KEYS: Final[Mapping[str, str]] = {
    "Activity": "What winback wrote this task for; it is written once.",
    "Campaign": "The list of winback this campaign is; it is made once.",
    "CampaignMember": "The place on a list of winback.",
}
"""The objects with an external id of ours; tasks get theirs from Activity."""

_ASKING: Final = ("Evaluate", "Enroll", "Exit", "Snooze")


def owned() -> tuple[PropertySpec, ...]:
    """Every property that a playbook can ask for, with the defaults of its settings, in no other order than theirs."""
    hears = cast("Any", SimpleNamespace(webhooks=SimpleNamespace(feedback=FeedbackBlock())))
    return (
        *property_specs(()),
        *personal.SPECS.values(),
        *feedback_specs(hears),
        PropertySpec(
            "winback_enrollment", "Winback enrollment", "text", "The flow this person was enrolled in; it listens here."
        ),
    )


def person_fields() -> Mapping[str, Tree]:
    """The fields on Contact and on Lead, by API name."""
    made = {field_name(spec.name): definition(spec) for spec in owned()}
    if ENROLLMENT not in made:
        raise AssertionError(f"{ENROLLMENT} is what enrollments are written to")
    return {name: tidy(fullName=name, **made[name]) for name in sorted(made)}


def key_fields() -> Mapping[str, Tree]:
    """The external id on each object that has one, by object."""
    return {
        where: tidy(
            fullName=KEY,
            label="Winback key",
            description=why,
            type="Text",
            length=TEXT_LENGTH,
            externalId=True,
            unique=True,
            caseSensitive=True,
            required=False,
        )
        for where, why in _KEYS.items()
    }


def member_fields() -> Mapping[str, Tree]:
    """What a campaign member knows besides its key, by API name."""
    return {
        SEND_AT: tidy(
            fullName=SEND_AT,
            label="Winback send at",
            description="When the step's mail may be sent: copied from the person by the flow Winback Member Send At.",
            type="DateTime",
            required=False,
        )
    }


def request_fields() -> Mapping[str, Tree]:
    """What somebody in Salesforce asks winback with, on Contact and on Lead, by API name."""
    values = [tidy(fullName=one, default=False, label=one) for one in _ASKING]
    fields = (
        tidy(
            fullName="Winback_Request__c",
            label="Winback request",
            description="Asks winback about this person, or to do something; empty again once it was asked.",
            type="Picklist",
            required=False,
            valueSet=tidy(restricted=True, valueSetDefinition=tidy(sorted=False, value=values)),
        ),
        tidy(
            fullName="Winback_Request_Days__c",
            label="Winback request: days",
            description="For how many days a snooze lasts.",
            type="Number",
            precision=4,
            scale=0,
            required=False,
        ),
        tidy(
            fullName="Winback_Request_Answer__c",
            label="Winback request: answer",
            description="What winback said to the last request.",
            type="Text",
            length=TEXT_LENGTH,
            required=False,
        ),
    )
    return {str(field["fullName"]): field for field in fields}


def files() -> Iterator[tuple[str, str]]:
    """Every field of the main package: where it is in the package, and its text."""
    for person in PEOPLE:
        yield from (_file(person, field) for field in person_fields().values())
    yield from (_file(where, field) for where, field in key_fields().items())
    yield from (_file("CampaignMember", field) for field in member_fields().values())


def request_files() -> Iterator[tuple[str, str]]:
    """Every field that requests are made with."""
    for person in PEOPLE:
        yield from (_file(person, field) for field in request_fields().values())


def _file(where: str, field: Tree) -> tuple[str, str]:
    return f"objects/{where}/fields/{field['fullName']}.field-meta.xml", document("CustomField", field)
