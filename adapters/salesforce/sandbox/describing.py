"""What the org says of its kinds of records and their fields: as far as we may see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.conditions import filterable
from adapters.salesforce.sandbox.fields import Field, SObject

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.state import State

BYTES = 3
SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
}


def brief(state: State, kind: SObject, *, path: str) -> dict[str, Any]:
    """A kind of record in a few words, as the list of all kinds gives it."""
    may = state.viewer.may
    address = f"{path}/sobjects/{kind.name}"
    return {
        "activateable": False,
        "createable": may(kind, "create"),
        "custom": kind.custom,
        "customSetting": False,
        "deletable": may(kind, "delete"),
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isSubtype": False,
        "keyPrefix": kind.prefix,
        "label": kind.label,
        "labelPlural": kind.plural,
        "layoutable": True,
        "mergeable": kind.mergeable and may(kind, "delete"),
        "mruEnabled": True,
        "name": kind.name,
        "queryable": may(kind, "read"),
        "replicateable": True,
        "retrieveable": may(kind, "read"),
        "searchable": True,
        "triggerable": True,
        "undeletable": kind.deletable,
        "updateable": may(kind, "edit"),
        "urls": {
            "rowTemplate": f"{address}/{{ID}}",
            "describe": f"{address}/describe",
            "sobject": address,
        },
    }


def full(state: State, kind: SObject, *, path: str) -> dict[str, Any]:
    """A kind of record with its fields and the records that hang on it."""
    return brief(state, kind, path=path) | {
        "childRelationships": _children(state, kind),
        "fields": [field_body(state, kind, one) for one in state.viewer.fields(kind) if _is_known(state, kind, one)],
        "recordTypeInfos": [],
        "supportedScopes": [{"label": f"All {kind.plural}", "name": "everything"}],
    }


def field_body(state: State, kind: SObject, one: Field) -> dict[str, Any]:
    """One field, with what we may do with it."""
    writes = state.viewer.writes
    is_plain = filterable(one)
    return {
        "aggregatable": is_plain,
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": one.length * BYTES if one.kind not in {"id", "reference"} else 18,
        "calculated": one.derived is not None and one.name != "Name",
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": one.case_sensitive,
        "createable": writes(kind, one, "create"),
        "custom": one.custom,
        "defaultValue": False if one.kind == "boolean" and not one.default else one.default,
        "defaultedOnCreate": one.kind == "boolean" or one.default is not None or one.name == "OwnerId",
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": one.precision if one.kind == "int" else 0,
        "encrypted": False,
        "externalId": one.external_id,
        "extraTypeInfo": "plaintextarea" if one.kind == "textarea" else None,
        "filterable": is_plain,
        "groupable": is_plain and one.kind not in {"datetime", "double", "currency"},
        "htmlFormatted": False,
        "idLookup": one.name == "Id" or one.external_id or (one.name == "Email" and one.derived is None),
        "inlineHelpText": None,
        "label": one.label,
        "length": one.length,
        "name": one.name,
        "nameField": one.name == "Name",
        "nillable": not one.required and one.kind not in {"id", "boolean"},
        "permissionable": one.custom or (not one.required and (one.createable or one.updateable)),
        "picklistValues": [
            {"active": True, "defaultValue": value == one.default, "label": value, "validFor": None, "value": value}
            for value in one.choices
        ],
        "polymorphicForeignKey": len(one.refers) > 1,
        "precision": one.precision if one.kind != "int" else 0,
        "queryByDistance": False,
        "referenceTo": list(one.refers),
        "relationshipName": one.relationship,
        "relationshipOrder": None,
        "restrictedPicklist": one.restricted or (state.behaviour.picklists_strict and one.kind == "picklist"),
        "scale": one.scale,
        "searchPrefilterable": one.kind == "reference",
        "soapType": SOAP_TYPES.get(one.kind, "xsd:string"),
        "sortable": is_plain,
        "type": one.kind,
        "unique": one.unique,
        "updateable": writes(kind, one, "update"),
        "writeRequiresMasterRead": False,
    }


def _is_known(state: State, kind: SObject, one: Field) -> bool:
    """Whether the description has heard of a new field by now."""
    since_ms = state.added_ms.get(f"{kind.name}.{one.name}")
    late_ms = round(state.behaviour.describe_lag_seconds * 1000)
    return not late_ms or since_ms is None or since_ms + late_ms <= state.clock.now_ms()


def _children(state: State, kind: SObject) -> list[dict[str, Any]]:
    return [
        {
            "cascadeDelete": False,
            "childSObject": other.name,
            "deprecatedAndHidden": False,
            "field": one.name,
            "junctionIdListNames": [],
            "junctionReferenceTo": [],
            "relationshipName": other.plural.replace(" ", "") if one.relationship else None,
            "restrictedDelete": False,
        }
        for other in state.kinds()
        for one in state.viewer.fields(other)
        if kind.name in one.refers and one.derived is None
    ]
