"""The JSON Schema of winback.yaml, for completion and checks in an editor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from connector.contracts import Adapter, AdapterOptions
from connector.reasons.codes import REASONS
from connector.receivers import Receiver
from connector.settings.models import DestinationBlock, PlaybookFile
from connector.settings.values import SECRET_SCHEMA, SEVERAL_SECRETS_SCHEMA, SHARE_SCHEMA
from connector.settings.webhooks import MEANINGS, secret_fields

DIALECT = "http://json-schema.org/draft-07/schema#"
"""The dialect that editors' YAML servers know best."""

REFERENCE = {"type": "string", "pattern": r"\$\{[^}]+\}"}
Schema = dict[str, Any]


def json_schema(adapters: Mapping[str, Adapter], receivers: Mapping[str, Receiver] | None = None) -> Schema:
    """The schema with the keys of every installed adapter and receiver.

    Args:
        adapters: The installed adapters by name.
        receivers: The installed receivers by name; None: there are none.
    """
    definitions: Schema = {}
    schema = _model_schema(PlaybookFile, "", definitions)
    sources = [_block(adapter, definitions) for adapter in adapters.values() if adapter.source]
    destinations = [
        _block(adapter, definitions, also=_model_schema(DestinationBlock, "", definitions))
        for adapter in adapters.values()
        if adapter.destination
    ]
    names = {"pattern": schema["properties"]["segments"]["items"]["properties"]["name"]["pattern"]}
    for section, blocks in (("sources", sources), ("destinations", destinations)):
        schema["properties"][section].update(
            {"type": "object", "propertyNames": names, "additionalProperties": {"anyOf": blocks} if blocks else True}
        )
    schema["properties"]["webhooks"] = _with_sources(schema["properties"]["webhooks"], receivers or {}, definitions)
    schema = _with_references(schema)
    return {
        "$schema": DIALECT,
        "title": "winback.yaml",
        **{key: value for key, value in schema.items() if key != "title"},
        "definitions": {name: _with_references(part) for name, part in sorted(definitions.items())},
    }


def _model_schema(model: type[BaseModel], prefix: str, definitions: Schema) -> Schema:
    """A model's schema; what it refers to is put among the definitions, models that occur once are put in place."""
    schema = model.model_json_schema(ref_template=f"#/definitions/{prefix}{{model}}")
    parts = schema.pop("$defs", {})
    schema.pop("title", None)
    if prefix:
        definitions.update({f"{prefix}{name}": part for name, part in parts.items()})
        return schema
    inlined = _inline(schema, {f"#/definitions/{name}": part for name, part in parts.items()})
    assert isinstance(inlined, dict)
    return inlined


def _inline(value: Any, parts: Mapping[str, Any]) -> Any:
    """The value with references to these parts replaced by them; our own models never refer to themselves."""
    if isinstance(value, list):
        return [_inline(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$ref") in parts:
        beside = {key: inner for key, inner in value.items() if key != "$ref"}
        return {**_inline(parts[value["$ref"]], parts), **beside}
    return {key: _inline(inner, parts) for key, inner in value.items()}


def _block(adapter: Adapter, definitions: Schema, *, also: Schema | None = None) -> Schema:
    """A source's block; with `also`, a destination's, which may leave out what it shares with a source."""
    schema = _model_schema(adapter.options, f"{adapter.name}.", definitions)
    properties = {**schema.get("properties", {}), **(also or {}).get("properties", {})}
    properties["adapter"] = {
        "const": adapter.name,
        "description": AdapterOptions.model_fields["adapter"].description,
    }
    properties["auth"] = {
        "type": "object",
        "additionalProperties": SECRET_SCHEMA,
        "description": AdapterOptions.model_fields["auth"].description,
    }
    required = [key for key in schema.get("required", ()) if also is None or key not in adapter.options.connection_keys]
    _allow_percent(definitions)
    return {
        "type": "object",
        "title": adapter.title,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _with_sources(webhooks: Schema, receivers: Mapping[str, Receiver], definitions: Schema) -> Schema:
    """The `webhooks:` block with the keys of each receiver's source."""
    sources = {
        "type": "object",
        "properties": {name: _source(receiver, definitions) for name, receiver in receivers.items()},
        "additionalProperties": False,
    }
    _allow_percent(definitions)

    def within(part: Any) -> Any:
        if isinstance(part, list):
            return [within(item) for item in part]
        if not isinstance(part, dict):
            return part
        properties = part.get("properties")
        if properties is None or "sources" not in properties:
            return {key: within(inner) for key, inner in part.items()}
        kept = {key: properties["sources"][key] for key in ("description", "default") if key in properties["sources"]}
        return {**part, "properties": {**properties, "sources": {**sources, **kept}}}

    return {key: within(inner) for key, inner in webhooks.items()}


def _source(receiver: Receiver, definitions: Schema) -> Schema:
    """A receiver's keys, secrets by reference, and what questions and choices may mean."""
    schema = _model_schema(receiver.options, f"webhooks.{receiver.name}.", definitions)
    properties = schema.get("properties", {})
    for name in secret_fields(receiver.options):
        several = _is_list(properties[name])
        kept = {key: properties[name][key] for key in ("description",) if key in properties[name]}
        properties[name] = {**(SEVERAL_SECRETS_SCHEMA if several else SECRET_SCHEMA), **kept}
    for name, known in (("questions", MEANINGS), ("choices", tuple(REASONS))):
        properties[name] = {**properties[name], "additionalProperties": {"type": "string", "enum": list(known)}}
    return {**schema, "title": receiver.title, "properties": properties, "additionalProperties": False}


def _is_list(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "array" or any(part.get("type") == "array" for part in schema.get("anyOf", ()))


def _allow_percent(definitions: Schema) -> None:
    """`rate.share` may be written `80%`."""
    for name, part in definitions.items():
        share = part.get("properties", {}).get("share")
        if name.endswith(".Limits") and isinstance(share, dict) and "anyOf" not in share:
            kept = {key: share[key] for key in ("description", "default") if key in share}
            part["properties"]["share"] = {**SHARE_SCHEMA, **kept}


def _with_references(schema: Any) -> Any:
    """The schema with `${…}` allowed wherever a number, a yes/no or one of a few words is expected."""
    if isinstance(schema, list):
        return [_with_references(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "const" in schema or schema.get("pattern") == SECRET_SCHEMA["pattern"]:
        return schema
    schema = _with_closed_names(schema)
    inner = {key: _inside(key, value) for key, value in schema.items()}
    if schema.get("type") in {"number", "integer", "boolean"} or "enum" in schema or _patterned(schema):
        kept = {key: inner.pop(key) for key in ("description", "default", "title", "examples") if key in inner}
        return {"anyOf": [inner, REFERENCE], **kept}
    return inner


def _with_closed_names(schema: Mapping[str, Any]) -> Schema:
    """A mapping whose keys have a pattern: pydantic lets every other key pass, loading does not."""
    patterns = schema.get("patternProperties", {})
    if len(patterns) != 1:
        return dict(schema)
    ((pattern, values),) = patterns.items()
    kept = {key: value for key, value in schema.items() if key != "patternProperties"}
    return {**kept, "propertyNames": {"pattern": pattern}, "additionalProperties": values}


def _patterned(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string" and "pattern" in schema and schema != REFERENCE


_HOLD_SCHEMAS = {"items", "additionalProperties", "anyOf", "oneOf", "allOf", "prefixItems"}


def _inside(key: str, value: Any) -> Any:
    """What stands under one keyword of a schema."""
    if key == "properties":
        return {name: _with_references(part) for name, part in value.items()}
    return _with_references(value) if key in _HOLD_SCHEMAS else value


def every_key(schema: Schema) -> Iterator[str]:
    """Each dotted key the schema describes; documentation is checked against it."""
    for key, part in schema.get("properties", {}).items():
        yield key
        yield from (f"{key}.{inner}" for inner in every_key(part))
