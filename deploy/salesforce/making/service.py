"""How flows reach winback: its address, the secret they send along, and the questions it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deploy.salesforce.making import access, fields
from deploy.salesforce.making.documents import Tree, document, tidy
from webhooks.salesforce import ACTIONS, CallOut
from webhooks.signatures import SHARED_SECRET_HEADER
from webhooks.triggers import FIELDS

NAME: Final = "Winback"
PRINCIPAL: Final = "Winback"
PARAMETER: Final = "Secret"
URL: Final = "WINBACK_URL"
"""Stands in the file for winback's address; `sf` puts the variable of that name in its place when it deploys."""

QUESTION: Final = f"ExternalService__{NAME}_Question"
"""What Salesforce calls the Apex class it makes of the question's schema."""

INPUTS: Final[Mapping[str, str]] = {"program": "string", "days": "integer"}
"""What a question can have besides whom it is about; a number with decimals would be sent as 30.0."""

ANSWERED: Final = "2XX"
"""What Salesforce's own call-outs call an answer; a flow reads its fields as `<action>.2XX.<field>`."""

_BINDING: Final = {
    "host": "",
    "basePath": "/",
    "allowedSchemes": [],
    "requestMediaTypes": [],
    "responseMediaTypes": [],
    "compatibleMediaTypes": {},
}


def operation(action: str) -> str:
    """What an action is called in Salesforce: small letters only, and never a word Apex keeps to itself (exit)."""
    return f"ask{action}"


def credential() -> Tree:
    """The header that says it is us; its value is typed into Setup and stands in no file."""
    return tidy(
        label=NAME,
        description="The secret that flows send to winback. Set the parameter Secret of the principal in Setup.",
        authenticationProtocol="Custom",
        externalCredentialParameters=[
            tidy(parameterName=PRINCIPAL, parameterType="NamedPrincipal", sequenceNumber=1),
            tidy(
                parameterName=_header(),
                parameterType="AuthHeader",
                parameterValue=f"{{!$Credential.{NAME}.{PARAMETER}}}",
                sequenceNumber=1,
            ),
        ],
    )


def address() -> Tree:
    """Where winback listens."""
    return tidy(
        label=NAME,
        allowMergeFieldsInBody=False,
        # The credential's header is a formula, and formulas in headers are off unless this says otherwise.
        allowMergeFieldsInHeader=True,
        calloutStatus="Enabled",
        generateAuthorizationHeader=False,
        namedCredentialParameters=[
            tidy(parameterName="Url", parameterType="Url", parameterValue=URL),
            tidy(parameterName="ExternalCredential", parameterType="Authentication", externalCredential=NAME),
        ],
        namedCredentialType="SecuredEndpoint",
    )


def schema() -> dict[str, Any]:
    """The four questions as OpenAPI, which is how Salesforce makes actions of them."""
    of_people = {name: {"type": "string"} for name in CallOut.model_fields}
    inputs = {name: {"type": kind} for name, kind in INPUTS.items()}
    return {
        "openapi": "3.0.1",
        "info": {"title": NAME, "version": "1", "description": "What a flow can ask winback."},
        "paths": {f"/triggers/salesforce/{action}": {"post": _asking(action)} for action in ACTIONS},
        "components": {
            "schemas": {
                "Question": {
                    "type": "object",
                    "required": [name for name, field in CallOut.model_fields.items() if field.is_required()],
                    "properties": of_people | inputs,
                },
                "Answer": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in (*FIELDS, "state")},
                },
            }
        },
    }


def service() -> Tree:
    """The questions as actions of flows."""
    return tidy(
        label=NAME,
        description="What a flow can ask winback: evaluate, enroll, exit, snooze.",
        namedCredentialReference=NAME,
        operations=[tidy(active=True, name=operation(action)) for action in sorted(ACTIONS)],
        registrationProviderType="Custom",
        schema=json.dumps(schema(), separators=(",", ":")),
        schemaType="OpenApi3",
        serviceBinding=json.dumps(_BINDING, separators=(",", ":")),
        status="Complete",
    )


def files() -> Iterator[tuple[str, str]]:
    """The credentials, the service, who may use them, and the fields requests are made with."""
    yield f"externalCredentials/{NAME}.externalCredential-meta.xml", document("ExternalCredential", credential())
    yield f"namedCredentials/{NAME}.namedCredential-meta.xml", document("NamedCredential", address())
    yield (
        f"externalServiceRegistrations/{NAME}.externalServiceRegistration-meta.xml",
        document("ExternalServiceRegistration", service()),
    )
    yield access.file(access.CALL_OUT, access.call_out(NAME, PRINCIPAL))
    yield from fields.request_files()


def _header() -> str:
    return "-".join(part.capitalize() for part in SHARED_SECRET_HEADER.split("-"))


def _asking(action: str) -> dict[str, Any]:
    def body(name: str) -> dict[str, Any]:
        return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}

    return {
        "operationId": operation(action),
        "summary": f"Ask winback to {action}" if action != "evaluate" else "Ask what winback decided",
        "requestBody": {"required": True, "content": body("Question")},
        "responses": {ANSWERED: {"description": "What winback says", "content": body("Answer")}},
    }
