"""How a resource is written down: rules of method, path and handler; one call at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from adapters.salesforce.sandbox.answers import Answer, Refusal
from adapters.salesforce.sandbox.state import State

DATA = "/services/data/v<version>"


@dataclass(frozen=True)
class Call:
    """One request as a handler sees it.

    version: The API version of the address (`66.0`); empty outside of it.
    headers: By their names in lower case.
    shorten: Makes a page shorter when a fault asks for that.
    """

    state: State
    now_ms: int
    version: str
    args: Any
    raw: bytes
    headers: Mapping[str, str]
    base_url: str
    shorten: Callable[[int], int]
    counted: dict[str, int] = field(default_factory=dict)

    @cached_property
    def body(self) -> Any:
        """The JSON body; 400 when it is none."""
        try:
            return json.loads(self.raw)
        except ValueError:
            raise Refusal("JSON_PARSER_ERROR", "Unexpected character in the body at [line:1, column:1]") from None

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON body when it must be an object."""
        body = self.body
        if not isinstance(body, dict):
            raise Refusal("JSON_PARSER_ERROR", "Unexpected token: an object was expected at [line:1, column:1]")
        return body

    @property
    def rows(self) -> int:
        """How many records the call was about, as far as its handler said."""
        return self.counted.get("rows", 0)

    def count(self, rows: int) -> None:
        """Say how many records the call is about, for the request log."""
        self.counted["rows"] = self.counted.get("rows", 0) + rows

    @property
    def data_path(self) -> str:
        """The path in front of every resource of this version."""
        return f"/services/data/v{self.version}"

    def flag(self, name: str) -> bool:
        """A query parameter that is true or absent."""
        return str(self.args.get(name, "false")).lower() == "true"

    def names(self, name: str) -> list[str]:
        """A query parameter with commas."""
        return [part.strip() for part in str(self.args.get(name) or "").split(",") if part.strip()]


Handler = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class Rule:
    """One operation.

    path: Below `/services/data/vXX.X`, or the whole path when `versioned` is off.
    kind: The class the request log counts it under.
    no_op: The 2xx with nothing in it that the fault `no_op` answers.
    free: Needs no token and is not counted as an API call.
    oldest: The first API version that has it.
    """

    method: str
    path: str
    handler: Handler
    kind: str
    no_op: Callable[[Call], Answer] | None = None
    versioned: bool = True
    free: bool = False
    oldest: float = 0.0


def nothing_done(call: Call) -> Answer:  # noqa: ARG001 - every `no_op` is called alike
    """An empty success of a call that answers with one result a row."""
    return Answer(200, [])


def nothing_made(call: Call) -> Answer:  # noqa: ARG001
    """An empty success of a call that answers with what it made."""
    return Answer(201, {})


def nothing_said(call: Call) -> Answer:  # noqa: ARG001
    """An empty success of a call that answers with no body."""
    return Answer(204)
