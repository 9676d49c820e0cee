"""Flows that act on what winback writes: a mail for a step, a task for somebody who was enrolled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from adapters.salesforce.fields import ENROLLMENT, KEY
from connector.wanted import program_list_name
from deploy.salesforce.making.documents import Tree
from deploy.salesforce.making.fields import SEND_AT
from deploy.salesforce.making.flows import (
    Element,
    Flow,
    act,
    after_commit,
    assign,
    at_time_of,
    became,
    condition,
    create,
    decide,
    field_is,
    formula,
    formula_holds,
    literal,
    on_record,
    reference,
    template,
    variable,
)

PROGRAM: Final = "win-back"
STEP: Final = "reminder"
CAMPAIGN: Final = program_list_name(PROGRAM, STEP)
ENROLLED: Final = "Winback_Enrollment"
"""What the enrollment's field holds for the example; a playbook says `workflow: Winback_Enrollment`."""

_SHORTLY: Final = "NOW() + 2/1440"
"""A scheduled path whose moment has gone by may never run: the soonest moment is two minutes away."""

_MAIL: Final = """Hello {!$Record.FirstName},

it has been a while. Your work is where you left it:
{!returnLink}

Not now? Tell us, or stop these mails, with one click:
{!unsubscribeLink}"""


def send_at() -> Flow:
    """Copies the moment a step's mail may be sent from the person to the campaign member."""
    person = f"IF(ISBLANK({{!$Record.ContactId}}), {{!$Record.Lead.{SEND_AT}}}, {{!$Record.Contact.{SEND_AT}}})"
    return Flow(
        "Winback_Member_Send_At",
        "Winback Member Send At",
        "When somebody joins a campaign of winback, or a new step: keeps on the campaign member when the step's mail "
        "may be sent, because a scheduled path can wait for a field of its own record only. Activate this one first.",
        on_record(
            "CampaignMember",
            before_save=True,
            then="Is_It_Ours",
            only=formula_holds("OR(ISNEW(), ISCHANGED({!$Record.Status}))"),
        ),
        (
            decide(
                "Is_It_Ours",
                "Is it ours?",
                [
                    (
                        "Ours",
                        "A campaign of winback",
                        [condition("ours", "EqualTo", True)],
                        "Keep_the_Moment",
                    )
                ],
            ),
            assign("Keep_the_Moment", "Keep the moment", [(f"$Record.{SEND_AT}", reference("sendAt"))]),
            formula("ours", "Boolean", _either('BEGINS({{!$Record.Campaign.{field}}}, "winback")')),
            formula("wanted", "DateTime", person),
            formula("soonest", "DateTime", _SHORTLY),
            formula(
                "sendAt",
                "DateTime",
                "IF(OR(ISBLANK({!wanted}), {!wanted} < {!soonest}), {!soonest}, {!wanted})",
            ),
        ),
    )


def step_mail() -> Flow:
    """Sends an example mail to whoever joins a step's campaign, at the time winback set, unless they left before."""
    return Flow(
        "Winback_Step_Mail",
        "Winback Step Mail",
        f"An example: mails whoever joins the campaign {CAMPAIGN}, when winback says. Leaving the campaign (status "
        "Exited) before that takes the mail back. Copy it for each step; change the campaign's name, the status and "
        "the words, or let a journey of yours start here instead.",
        on_record(
            "CampaignMember",
            only=became(field_is("Status", "EqualTo", STEP)),
            later=at_time_of(SEND_AT, "When_It_May_Be_Sent", "When it may be sent", "Still_Wanted"),
        ),
        (
            decide(
                "Still_Wanted",
                "Still wanted?",
                [
                    (
                        "Contact_to_Mail",
                        "A contact, still in this step",
                        [*_still_there(), *_reachable("Contact")],
                        "Links_of_the_Contact",
                    ),
                    (
                        "Lead_to_Mail",
                        "A lead, still in this step",
                        [*_still_there(), *_reachable("Lead")],
                        "Links_of_the_Lead",
                    ),
                ],
            ),
            _links("Contact"),
            _links("Lead"),
            act(
                "Send_the_Mail",
                "Send the mail",
                ("emailSimple", "emailSimple"),
                {
                    "emailBody": reference("mail"),
                    "emailSubject": literal("It has been a while"),
                    "logEmailOnSend": literal(True),
                    "recipientId": reference("$Record.LeadOrContactId"),
                },
            ),
            formula("thisStep", "Boolean", _either(f'{{{{!$Record.Campaign.{{field}}}}}} = "{CAMPAIGN}"')),
            template("mail", _MAIL),
            variable("returnLink"),
            variable("unsubscribeLink"),
        ),
    )


def enrollment(person: str) -> Flow:
    """Makes a task for the owner of whoever winback enrolls."""
    return Flow(
        ENROLLED if person == "Contact" else f"{ENROLLED}_{person}",
        f"Winback Enrollment ({person})",
        f"An example for `enroll: workflow`: winback writes {ENROLLED} into the field Winback enrollment of a "
        f"{person.lower()}, and the owner gets a task. Who left has the name there with a mark behind it.",
        # Once the change is saved: a task that a validation rule refuses would else undo the enrollment itself.
        on_record(
            person,
            only=became(field_is(ENROLLMENT, "EqualTo", ENROLLED)),
            later=after_commit("Who_Owns_It"),
        ),
        (
            # A queue can own a lead and no task: users' ids begin with 005.
            decide(
                "Who_Owns_It",
                "Who owns it?",
                [("A_User", "A user", [condition("$Record.OwnerId", "StartsWith", "005")], "A_Task_for_the_Owner")],
            ),
            create(
                "A_Task_for_the_Owner",
                "A task for the owner",
                "Task",
                {
                    "Description": reference("details"),
                    "OwnerId": reference("$Record.OwnerId"),
                    "Priority": literal("Normal"),
                    "Status": literal("Not Started"),
                    "Subject": literal("Win-back: get in touch"),
                    "WhoId": reference("$Record.Id"),
                },
            ),
            template(
                "details",
                "Last used: {!$Record.Winback_Last_Feature__c}\n"
                "Segment: {!$Record.Winback_Segment__c}\n"
                "Why they left: {!$Record.Winback_Reason__c}\n"
                "Offer: {!$Record.Winback_Offer__c}",
            ),
        ),
    )


def files() -> Iterator[tuple[str, str]]:
    """The flows of the main package."""
    for flow in (send_at(), step_mail(), enrollment("Contact"), enrollment("Lead")):
        yield flow.file()


def _either(test: str) -> str:
    """A test of the campaign by its name or by our key: people rename campaigns, and one made by hand has no key."""
    return f"OR({', '.join(test.format(field=field) for field in ('Name', KEY))})"


def _still_there() -> list[Tree]:
    return [
        condition("$Record.Status", "EqualTo", STEP),
        condition("thisStep", "EqualTo", True),
        condition("$Record.HasOptedOutOfEmail", "EqualTo", False),
    ]


def _reachable(person: str) -> list[Tree]:
    return [
        condition(f"$Record.{person}Id", "IsNull", False),
        condition(f"$Record.{person}.EmailBouncedDate", "IsNull", True),
    ]


def _links(person: str) -> Element:
    links = {"returnLink": "Winback_Link_Return__c", "unsubscribeLink": "Winback_Link_Unsubscribe__c"}
    return assign(
        f"Links_of_the_{person}",
        f"Links of the {person.lower()}",
        [(ours, reference(f"$Record.{person}.{field}")) for ours, field in links.items()],
        then="Send_the_Mail",
    )
