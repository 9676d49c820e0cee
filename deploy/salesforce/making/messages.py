"""Outbound messages: the way out of Salesforce without a call-out, as SOAP, repeated for a day until it is heard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from adapters.salesforce.fields import PEOPLE
from deploy.salesforce.making.documents import API_VERSION, Tree, document, tidy
from deploy.salesforce.making.flows import Flow, act, formula_holds, on_record

NAME: Final = "Winback_Notify"
URL: Final = "WINBACK_OUTBOUND_URL"
USER: Final = "WINBACK_INTEGRATION_USER"
"""Stand in the files for the address with its secret and for the user's name; `sf` replaces them when it deploys."""

_TOLD: Final = ("Email", "EmailBouncedDate", "EmailBouncedReason", "HasOptedOutOfEmail", "Id", "LastModifiedById")
_WATCHED: Final = ("HasOptedOutOfEmail", "EmailBouncedDate", "Email")


def workflow(person: str) -> Tree:
    """The message about a kind of person: whom it is sent to, as whom, and what it tells."""
    return tidy(
        outboundMessages=tidy(
            fullName=NAME,
            apiVersion=API_VERSION,
            description=f"Tells winback of an opt-out, a bounce or a new address of a {person.lower()}.",
            endpointUrl=URL,
            fields=sorted((*_TOLD, "LastModifiedDate")),
            # Salesforce sends no session any more, whatever this says; winback never looks at one.
            includeSessionId=False,
            integrationUser=USER,
            name="Winback Notify",
            protected=False,
            useDeadLetterQueue=False,
        )
    )


def telling(person: str) -> Flow:
    """Sends the message when what winback must know at once has changed."""
    changed = ", ".join(f"ISCHANGED({{!$Record.{field}}})" for field in _WATCHED)
    return Flow(
        f"Winback_Notify_{person}",
        f"Winback Notify ({person})",
        f"Sends the outbound message Winback Notify when a {person.lower()} opts out, bounces or changes address.",
        on_record(person, when="Update", then="Tell_Winback", only=formula_holds(f"OR({changed})")),
        (act("Tell_Winback", "Tell winback", ("outboundMessage", f"{person}.{NAME}"), {}),),
    )


def files() -> Iterator[tuple[str, str]]:
    """The messages; they have to be there before the flows."""
    for person in PEOPLE:
        yield f"workflows/{person}.workflow-meta.xml", document("Workflow", workflow(person))


def flow_files() -> Iterator[tuple[str, str]]:
    """The flows that send them."""
    yield from (telling(person).file() for person in PEOPLE)
