"""The Tooling API as far as a custom field is made, found and deleted with it."""

from __future__ import annotations

from typing import Any

from adapters.salesforce.sandbox.answers import CREATED, NO_CONTENT, NOT_FOUND, OK, Answer, Refusal
from adapters.salesforce.sandbox.api import Call, Rule, nothing_made, nothing_said
from adapters.salesforce.sandbox.fields import Field
from adapters.salesforce.sandbox.query_routes import tooling_query
from adapters.salesforce.sandbox.rendering import attributes
from adapters.salesforce.sandbox.writing import existing_id

KINDS = {
    "Checkbox": "boolean",
    "Date": "date",
    "DateTime": "datetime",
    "Email": "email",
    "LongTextArea": "textarea",
    "Number": "double",
    "Phone": "phone",
    "Picklist": "picklist",
    "Text": "string",
    "TextArea": "textarea",
    "Url": "url",
}
LENGTHS = {"Email": 80, "Phone": 40, "Picklist": 255, "TextArea": 255, "Url": 255}
NEEDED = {"Text": ("length",), "LongTextArea": ("length", "visibleLines"), "Number": ("precision", "scale")}
MOST_TEXT = 255


def create_field(call: Call) -> Answer:
    """Make a custom field; nobody sees it until field permissions open it."""
    call.state.viewer.need("CustomizeApplication")
    kind_name, _, name = str(call.fields.get("FullName", "")).partition(".")
    if not name.endswith("__c"):
        raise Refusal("INVALID_FIELD", "The full name must be of the form Object.Field__c", fields=["FullName"])
    if kind_name == "Activity":
        kind_name = "Task"
    kind = call.state.kind(kind_name)
    if kind is None:
        raise Refusal("INVALID_CROSS_REFERENCE_KEY", f"Entity of type {kind_name} does not exist")
    if kind.find(name) is not None:
        raise Refusal(
            "DUPLICATE_DEVELOPER_NAME", f"There is already a field named {name.removesuffix('__c')} on {kind.label}."
        )
    metadata = call.fields.get("Metadata")
    call.state.add_fields(kind.name, _field(name, metadata if isinstance(metadata, dict) else {}))
    return Answer(CREATED, {"id": call.state.field_id(kind.name, name), "success": True, "errors": []})


def read_field(call: Call, record_id: str) -> Answer:
    """What a custom field is."""
    row = call.state.row(existing_id(call.state.tooling_kind("CustomField"), record_id))
    if row is None or row.is_deleted:
        raise Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND)
    kind = call.state.tooling_kind("CustomField")
    assert kind is not None
    name = f"{row.values['DeveloperName']}__c"
    return Answer(
        OK,
        {
            "attributes": attributes(kind, row.id, path=f"{call.data_path}/tooling"),
            "Id": row.id,
            "DeveloperName": row.values["DeveloperName"],
            "TableEnumOrId": row.values["TableEnumOrId"],
            "FullName": f"{row.values['TableEnumOrId']}.{name}",
        },
    )


def delete_field(call: Call, record_id: str) -> Answer:
    """Delete a custom field and what it holds."""
    call.state.viewer.need("CustomizeApplication")
    row = call.state.row(existing_id(call.state.tooling_kind("CustomField"), record_id))
    if row is None or row.is_deleted:
        raise Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND)
    call.state.drop_field(str(row.values["TableEnumOrId"]), f"{row.values['DeveloperName']}__c")
    return Answer(NO_CONTENT)


def _field(name: str, metadata: dict[str, Any]) -> Field:
    given = str(metadata.get("type"))
    if given not in KINDS:
        raise Refusal("INVALID_FIELD", f"'{given}' is no type of a custom field the sandbox knows", fields=["type"])
    missing = [word for word in NEEDED.get(given, ()) if metadata.get(word) is None]
    if not metadata.get("label"):
        missing.append("label")
    if given == "Checkbox" and metadata.get("defaultValue") is None:
        missing.append("defaultValue")
    if missing:
        raise Refusal("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(missing)}]", fields=missing)
    length = int(metadata.get("length") or LENGTHS.get(given, 0))
    if given == "Text" and length > MOST_TEXT:
        message = f"Text fields hold at most {MOST_TEXT} characters"
        raise Refusal("FIELD_INTEGRITY_EXCEPTION", message, fields=["length"])
    return Field(
        name,
        KINDS[given],
        str(metadata["label"]),
        length=length,
        precision=int(metadata.get("precision") or 0),
        scale=int(metadata.get("scale") or 0),
        unique=bool(metadata.get("unique")),
        external_id=bool(metadata.get("externalId")),
        case_sensitive=bool(metadata.get("caseSensitive")),
        required=bool(metadata.get("required")) and given != "Checkbox",
        custom=True,
        choices=_choices(metadata),
        restricted=bool((metadata.get("valueSet") or {}).get("restricted")),
        default=str(metadata.get("defaultValue")).lower() == "true" if given == "Checkbox" else None,
    )


def _choices(metadata: dict[str, Any]) -> tuple[str, ...]:
    definition = (metadata.get("valueSet") or {}).get("valueSetDefinition") or {}
    return tuple(str(value.get("valueName") or value.get("fullName")) for value in definition.get("value", ()))


RULES = (
    Rule("GET", "/tooling/query", tooling_query, "queries"),
    Rule("POST", "/tooling/sobjects/CustomField", create_field, "field writes", no_op=nothing_made),
    Rule("GET", "/tooling/sobjects/CustomField/<record_id>", read_field, "describes"),
    Rule("DELETE", "/tooling/sobjects/CustomField/<record_id>", delete_field, "field writes", no_op=nothing_said),
)
