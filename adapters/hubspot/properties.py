"""The contact properties winback owns: made if missing, compared if there, never narrowed.

Calls of `ensure`: one look at all definitions, one for the group when anything has to be made or widened, one for each
property that has to be. The plan's forecast counts on that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, assert_never, cast, get_args

from adapters.hubspot.client import HubSpotClient, HubSpotRejected
from connector.errors import OutcomeUnknown, RejectedError, WinbackError
from connector.model import Ensured, Finding, PropertySpec, Severity
from connector.rest import Effect

GROUP: Final = "winback"
GROUP_LABEL: Final = "Winback"
_NOT_FOUND, _CONFLICT = 404, 409

Kind = Literal["text", "number", "date", "datetime", "choices", "yes_no"]


class PropertyDefinitions:
    """The contact property definitions of one account."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client
        self._known: dict[str, Mapping[str, Any]] | None = None
        self._group_ensured = False

    def existing(self, names: Sequence[str | PropertySpec]) -> Sequence[str]:
        """Those of `names` the account has; a spec counts only if it is there as we need it."""
        known = self._read()
        specs = [PropertySpec(entry, "", "") if isinstance(entry, str) else entry for entry in names]
        return [spec.name for spec in specs if spec.name in known and not _lacks(spec, known[spec.name])]

    def ensure(self, specs: Sequence[PropertySpec]) -> Sequence[Ensured]:
        """Make what is missing and add missing choices; order as given.

        Raises:
            RejectedError: a property of this name exists with another type.
        """
        if self._known is None:
            self._known = self._read()
        return [Ensured(spec.name, created=self._ensure_one(spec, self._known)) for spec in specs]

    def remove(self, name: str) -> None:
        """Archive a property; no error when it is gone."""
        path = self._client.path("properties", "/contacts/{propertyName}")
        try:
            self._client.call("DELETE", path, place={"propertyName": name}, effect=Effect.REPEATABLE)
        except HubSpotRejected as refusal:
            if refusal.status != _NOT_FOUND:
                raise
        if self._known is not None:
            self._known.pop(name, None)

    def check_room(self) -> Iterator[Finding]:
        """How many custom properties contacts may still get, where HubSpot tells."""
        try:
            answer = self._client.read(self._client.path("limits", "/custom-properties"), attempts=2) or {}
        except WinbackError:
            return
        for item in answer.get("byObjectType") or answer.get("results") or ():
            if str(item.get("objectTypeId")) != "0-1":
                continue
            used, limit = int(item.get("usage") or 0), int(item.get("limit") or 0)
            if limit and used >= limit:
                yield Finding(
                    "hubspot custom properties",
                    Severity.ERROR,
                    f"{used:,} of {limit:,} contact properties are used: winback cannot make its own",
                    "archive some, or set `properties: false`",
                )
            elif limit:
                yield Finding("hubspot custom properties", Severity.OK, f"{used:,} of {limit:,} used")

    def _ensure_one(self, spec: PropertySpec, known: dict[str, Mapping[str, Any]]) -> bool:
        """Bring one property into being or up to date; True when it was made."""
        found = known.get(spec.name)
        if found is None:
            self._ensure_group()
            known[spec.name], created = self._create(spec)
            found = known[spec.name]
        else:
            created = False
        _compare(spec, found)
        missing = _missing_choices(spec, found)
        if missing:
            self._ensure_group()
            known[spec.name] = self._widen(spec, found, missing)
        return created

    def _create(self, spec: PropertySpec) -> tuple[Mapping[str, Any], bool]:
        """Make a property; when it turns out to exist, give that one.

        A name that was archived comes back with its old definition, so the answer is compared, not trusted.
        """
        kind, field = vendor_kind(spec.kind)
        body: dict[str, Any] = {
            "name": spec.name,
            "label": spec.label,
            "type": kind,
            "fieldType": field,
            "groupName": GROUP,
            "description": spec.description,
            "formField": False,
        }
        options = _options(spec)
        if options:
            body["options"] = options
        path = self._client.path("properties", "/contacts")
        doubtful = False
        try:
            answer = self._client.call("POST", path, body=body, effect=Effect.ONCE).data
            if isinstance(answer, dict) and answer.get("name"):
                return answer, True
            doubtful = True
        except OutcomeUnknown:
            doubtful = True
        except HubSpotRejected as refusal:
            if refusal.status != _CONFLICT:
                raise
        return self._read_one(spec.name), doubtful

    def _widen(
        self, spec: PropertySpec, found: Mapping[str, Any], missing: Sequence[tuple[str, str]]
    ) -> Mapping[str, Any]:
        """Add choices to those that are there: the call replaces the whole list, so the list is read first."""
        kept = [dict(option) for option in found.get("options") or ()]
        added = [_option(value, label, len(kept) + place) for place, (value, label) in enumerate(missing)]
        path = self._client.path("properties", "/contacts/{propertyName}")
        body = {"options": [*map(_sendable, kept), *added]}
        self._client.call("PATCH", path, place={"propertyName": spec.name}, body=body, effect=Effect.REPEATABLE)
        return {**found, "options": body["options"]}

    def _ensure_group(self) -> None:
        """Make the property group; that it exists is as good."""
        if self._group_ensured:
            return
        body = {"name": GROUP, "label": GROUP_LABEL, "displayOrder": -1}
        path = self._client.path("properties", "/contacts/groups")
        try:
            self._client.call("POST", path, body=body, effect=Effect.REPEATABLE)
        except HubSpotRejected as refusal:
            if refusal.status != _CONFLICT:
                raise
        self._group_ensured = True

    def _read(self) -> dict[str, Mapping[str, Any]]:
        """All contact property definitions by name."""
        answer = self._client.read(self._client.path("properties", "/contacts")) or {}
        return {str(item["name"]): item for item in answer.get("results") or () if not item.get("archived")}

    def _read_one(self, name: str) -> Mapping[str, Any]:
        """One definition, as it is now."""
        path = self._client.path("properties", "/contacts/{propertyName}")
        return cast("Mapping[str, Any]", self._client.read(path, place={"propertyName": name}) or {})


def vendor_kind(kind: str) -> tuple[str, str]:
    """HubSpot's type and field type of a neutral kind."""
    if kind not in get_args(Kind):
        raise ValueError(f"no property kind {kind!r}; there are {', '.join(get_args(Kind))}")
    known = cast("Kind", kind)
    match known:
        case "text":
            return "string", "text"
        case "number":
            return "number", "number"
        case "date":
            return "date", "date"
        case "datetime":
            return "datetime", "date"
        case "choices":
            return "enumeration", "checkbox"
        case "yes_no":
            return "bool", "booleancheckbox"
        case _:
            assert_never(known)


def _compare(spec: PropertySpec, found: Mapping[str, Any]) -> None:
    """Refuse a property that cannot hold our values."""
    wanted, _ = vendor_kind(spec.kind)
    if found.get("type") != wanted:
        raise RejectedError(
            f"hubspot property {spec.name!r}: it exists with type {found.get('type')!r}, winback needs {wanted!r}",
            hint="archive and delete that property in HubSpot (Settings > Properties), then run again",
        )
    if (found.get("modificationMetadata") or {}).get("readOnlyValue"):
        raise RejectedError(f"hubspot property {spec.name!r}: it is read-only")


def _lacks(spec: PropertySpec, found: Mapping[str, Any]) -> bool:
    """Whether a property is not as the spec wants it; without a kind, being there is enough."""
    return bool(spec.kind) and (found.get("type") != vendor_kind(spec.kind)[0] or bool(_missing_choices(spec, found)))


def _missing_choices(spec: PropertySpec, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The choices we need and the property lacks."""
    if spec.kind != "choices":
        return []
    there = {str(option.get("value")) for option in found.get("options") or () if not option.get("hidden")}
    return [choice for choice in spec.choices if choice[0] not in there]


def _options(spec: PropertySpec) -> list[dict[str, Any]]:
    """The options a new property is made with."""
    choices = (("true", "Yes"), ("false", "No")) if spec.kind == "yes_no" else spec.choices
    return [_option(value, label, place) for place, (value, label) in enumerate(choices)]


def _option(value: str, label: str, place: int) -> dict[str, Any]:
    """One option as HubSpot takes it."""
    return {"value": value, "label": label, "displayOrder": place, "hidden": False}


def _sendable(option: Mapping[str, Any]) -> dict[str, Any]:
    """An option as it was read, without what may not be sent back."""
    kept = {key: option[key] for key in ("value", "label", "description", "displayOrder", "hidden") if key in option}
    return {"displayOrder": -1, "hidden": False, **{key: value for key, value in kept.items() if value is not None}}
