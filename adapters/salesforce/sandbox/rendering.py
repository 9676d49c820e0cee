"""Records on their way out as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox.fields import Field, SObject
from adapters.salesforce.sandbox.values import to_json

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State


def attributes(kind: SObject, record_id: str, *, path: str) -> dict[str, str]:
    """The part of a record that says what it is."""
    return {"type": kind.name, "url": f"{path}/sobjects/{kind.name}/{record_id}"}


def record_body(state: State, kind: SObject, row: Row, fields: Sequence[Field], *, path: str) -> dict[str, Any]:
    """A record with these fields, null where one is empty."""
    body: dict[str, Any] = {"attributes": attributes(kind, row.id, path=path)}
    for one in fields:
        body[one.name] = to_json(one.kind, state.value(row, one.name))
    return body


def saved(row: Row) -> dict[str, Any]:
    """The result of a row that was written."""
    return {"id": row.id, "success": True, "errors": []}
