"""Flows that ask winback: one for each question, to be used in any other flow, and one that listens to a field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from adapters.salesforce.fields import PEOPLE
from deploy.salesforce.making import service
from deploy.salesforce.making.flows import (
    Element,
    Flow,
    act,
    after_commit,
    assign,
    became,
    call,
    change_record,
    condition,
    decide,
    field_is,
    formula,
    literal,
    on_record,
    reference,
    variable,
    when_asked,
)
from webhooks.salesforce import ACTIONS
from webhooks.triggers import FIELDS

_TELLS: Final = (*FIELDS, "state")
_WHAT: Final = {
    "evaluate": "Asks winback what it decided about a contact or lead, to branch on.",
    "enroll": "Asks winback to take a contact or lead into a program at its next run; every rule of winback holds.",
    "exit": "Tells winback that a contact or lead is to leave its program: at once, not at the next run.",
    "snooze": "Tells winback to leave a contact or lead alone for some days.",
}
_NO_ANSWER: Final = "no answer"


def asking(action: str) -> Flow:
    """Asks one question; other flows use it as a subflow, on a path that runs after the change is saved."""
    said = [(f"question.{name}", reference(ours)) for name, ours in _question(action).items()]
    return Flow(
        f"Winback_{action.capitalize()}",
        f"Winback {action.capitalize()}",
        f"{_WHAT[action]} Give recordId; use it on an asynchronous or scheduled path, where flows may call out. "
        "When winback cannot be reached, decision is 'no answer' and fault says why.",
        when_asked("Write_the_Question"),
        (
            assign("Write_the_Question", "Write the question", said, then="Ask_Winback"),
            act(
                "Ask_Winback",
                "Ask winback",
                ("externalService", f"{service.NAME}.{service.operation(action)}"),
                {"body": reference("question")},
                then="Keep_the_Answer",
                failed="Say_Why_Not",
            ),
            assign(
                "Keep_the_Answer",
                "Keep the answer",
                [(name, reference(f"Ask_Winback.{service.ANSWERED}.{name}")) for name in _TELLS],
            ),
            assign(
                "Say_Why_Not",
                "Say why not",
                [("decision", literal(_NO_ANSWER)), ("fault", reference("$Flow.FaultMessage"))],
            ),
            *_variables(action),
        ),
    )


def request(person: str) -> Flow:
    """Asks what somebody chose in the field Winback request, and writes the answer beside it."""
    return Flow(
        f"Winback_Request_{person}",
        f"Winback Request ({person})",
        f"When somebody chooses a Winback request on a {person.lower()}: asks winback and writes the answer into "
        "Winback request: answer. Activate the four flows Winback Evaluate, Enroll, Exit and Snooze first.",
        on_record(
            person,
            only=became(field_is("Winback_Request__c", "IsNull", False)),
            later=after_commit("What_Was_Chosen"),
        ),
        (
            decide(
                "What_Was_Chosen",
                "What was chosen?",
                [
                    (
                        f"Chose_{_title(action)}",
                        _title(action),
                        [condition("$Record.Winback_Request__c", "EqualTo", _title(action))],
                        f"Ask_to_{_title(action)}",
                    )
                    for action in ACTIONS
                ],
                otherwise="Write_the_Answer",
            ),
            *(_asked(action) for action in ACTIONS),
            change_record(
                "Write_the_Answer",
                "Write the answer",
                {
                    "Winback_Request__c": reference("$GlobalConstant.EmptyString"),
                    "Winback_Request_Answer__c": reference("answer"),
                },
            ),
            formula(
                "answer",
                "String",
                'LEFT({!decision} & IF(ISBLANK({!segment}), "", " · " & {!segment})'
                ' & IF(ISBLANK({!step}), "", " · " & {!step}) & IF(ISBLANK({!fault}), "", ": " & {!fault}), 255)',
            ),
            *(variable(name) for name in ("decision", "segment", "step", "fault")),
        ),
    )


def files() -> Iterator[tuple[str, str]]:
    """The flows that ask."""
    yield from (asking(action).file() for action in ACTIONS)
    yield from (request(person).file() for person in PEOPLE)


def _title(action: str) -> str:
    return action.capitalize()


def _question(action: str) -> dict[str, str]:
    """The question's fields, and where the flow has each from."""
    question = {
        "org_id": "$Organization.Id",
        "record_id": "recordId",
        # The same in every try of one interview, another in the next: what makes a question count once.
        "idempotency_key": "$Flow.InterviewGuid",
        "email": "email",
    }
    extra = {"enroll": "program", "exit": "program", "snooze": "days"}.get(action)
    return question | ({extra: extra} if extra else {})


def _asked(action: str) -> Element:
    inputs = {"recordId": reference("$Record.Id"), "email": reference("$Record.Email")}
    if action == "snooze":
        inputs["days"] = reference("$Record.Winback_Request_Days__c")
    told = {name: name for name in ("decision", "segment", "step", "fault")}
    return call(
        f"Ask_to_{_title(action)}",
        f"Ask to {action}",
        f"Winback_{_title(action)}",
        inputs,
        told,
        then="Write_the_Answer",
    )


def _variables(action: str) -> Iterator[Element]:
    yield variable("recordId", given=True, description="The id of the contact or lead.")
    yield variable("email", given=True, description="Its mail address; a hint only, may stay empty.")
    if action in {"enroll", "exit"}:
        yield variable("program", given=True, description="Which program; may stay empty where there is one.")
    if action == "snooze":
        yield variable("days", given=True, kind="Number", description="For how many days.")
    yield variable("question", kind="Apex", apex_class=service.QUESTION)
    yield from (variable(name, told=True) for name in (*_TELLS, "fault"))
