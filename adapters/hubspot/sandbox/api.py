"""How a resource is written down: rules of method, path, handler, meter and scopes; one call at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from adapters.hubspot.sandbox.answers import Answer, Refusal
from adapters.hubspot.sandbox.state import State

DATED = ("2026-03", "2026-09")


@dataclass(frozen=True)
class Call:
    """One request as a handler sees it. `shorten` makes a page shorter when a fault asks for that."""

    state: State
    now_ms: int
    version: str
    args: Any
    raw: bytes
    base_url: str
    shorten: Callable[[int], int]

    @cached_property
    def body(self) -> Any:
        """The JSON body; 400 when it is none."""
        try:
            return json.loads(self.raw)
        except ValueError:
            raise Refusal("Invalid input JSON: the body could not be parsed", category="VALIDATION_ERROR") from None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The JSON body when it must be an object."""
        body = self.body
        if not isinstance(body, dict):
            raise Refusal("Invalid input JSON: an object was expected")
        return body

    @property
    def rows(self) -> int:
        """How many records the body names, if it was read and names any."""
        body = self.__dict__.get("body")
        if isinstance(body, dict):
            lists = (body.get(key) for key in ("inputs", "recordIdsToAdd", "recordIdsToRemove"))
            return sum(len(rows) for rows in lists if isinstance(rows, list))
        return len(body) if isinstance(body, list) else 0

    def inputs(self, limit: int) -> list[dict[str, Any]]:
        """The `inputs` of a batch, at most `limit`."""
        inputs = self.fields.get("inputs")
        if not isinstance(inputs, list) or not all(isinstance(item, dict) for item in inputs):
            raise Refusal("Invalid input JSON: inputs must be a list of objects")
        if len(inputs) > limit:
            raise Refusal(f"Number of inputs {len(inputs)} is over the limit: at most {limit} are allowed in a batch")
        return inputs

    def flag(self, name: str) -> bool:
        """A query parameter that is true or absent."""
        return str(self.args.get(name, "false")).lower() == "true"

    def names(self, name: str) -> list[str]:
        """A query parameter given several times or with commas."""
        return [part for value in self.args.getlist(name) for part in value.split(",") if part]

    def number(self, name: str, *, default: int, most: int) -> int:
        """A positive number in the query, at most `most`; 400 otherwise."""
        text = self.args.get(name)
        if text in (None, ""):
            return default
        if not text.isdigit() or not 0 < int(text) <= most:
            raise Refusal(f"{name} must be a number from 1 to {most}, not '{text}'")
        return int(text)

    def cursor(self, name: str = "after") -> int:
        """Where a page starts: the cursor of the page before, 0 for the first; 400 for a foreign one."""
        text = self.args.get(name) or "0"
        if not text.isdigit():
            raise Refusal(f"Invalid cursor in {name}: '{text}'")
        return int(text)

    def paging(self, after: str | int | None) -> dict[str, Any]:
        """The `paging` part of a page, empty on the last one."""
        if after is None:
            return {}
        return {"paging": {"next": {"after": str(after), "link": f"{self.base_url}/?after={after}"}}}


Handler = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Rule:
    """One operation.

    family: The resource of the path; `Family` says what its prefixes are.
    kind: The class the request log counts it under.
    meter: "standard", "search", "daily" (outside the ten seconds) or "free".
    scopes: What the token must have, `{type}` standing for the kind of record.
    no_op: The 2xx with nothing in it that the fault `no_op` answers.
    """

    method: str
    family: str
    path: str
    handler: Handler
    kind: str
    scopes: tuple[str, ...] = ()
    meter: str = "standard"
    no_op: Callable[[int], Answer] | None = None


FAMILIES: Mapping[str, tuple[str, str]] = {
    "objects": ("/crm/v3/objects", "/crm/objects/{version}"),
    "lists": ("/crm/v3/lists", "/crm/lists/{version}"),
    "properties": ("/crm/v3/properties", "/crm/properties/{version}"),
    "exports": ("/crm/v3/exports", "/crm/exports/{version}"),
    "associations": ("/crm/v4/associations", "/crm/associations/{version}"),
    "limits": ("/crm/v3/limits", "/crm/limits/{version}"),
    "account": ("/account-info/v3", "/account-info/{version}"),
    "tokens": ("/oauth/v2/private-apps", ""),
    "flows": ("/automation/v4", "/automation/2026-09-beta"),
    "enrollments": ("/automation/v2/workflows", ""),
    "callbacks": ("/automation/v4/actions/callbacks", "/automation/actions/callbacks/{version}"),
    "preferences": ("/communication-preferences/v4", "/communication-preferences/{version}"),
}
"""Every resource's legacy prefix, which HubSpot's own client calls, and its dated one."""
