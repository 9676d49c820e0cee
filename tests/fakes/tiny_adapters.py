"""Two adapters small enough to see through, for tests of the playbook."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from connector.contracts import Adapter, AdapterOptions


class CrmOptions(AdapterOptions):
    streams: tuple[Literal["contacts", "companies"], ...] = ("contacts",)
    folder: str = "winback"
    page_size: int = Field(default=100, ge=1, le=1000)


class TableOptions(AdapterOptions):
    path: str
    header: bool = True


def _never(_: Any) -> Any:
    raise AssertionError("loading a playbook opens nothing")


ADAPTERS = {
    "crm": Adapter("crm", "A CRM", CrmOptions, Path(), source=_never, destination=_never),
    "table": Adapter("table", "A table", TableOptions, Path(), source=_never),
}
