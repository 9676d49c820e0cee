"""Versions, resources and limits of the org."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.salesforce.sandbox.answers import Answer
from adapters.salesforce.sandbox.api import Call, Rule
from adapters.salesforce.sandbox.gate import FIRST_KEPT, NEWEST

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox

RESOURCES = ("sobjects", "query", "queryAll", "limits", "composite", "jobs", "tooling", "actions")
SEASONS = ("Winter", "Spring", "Summer")
WINTER_27 = 68


def release(version: int) -> str:
    """The release an API version came with: 68 is Winter '27."""
    year, season = divmod(version - WINTER_27, len(SEASONS))
    return f"{SEASONS[season]} '{27 + year:02d}"


def versions(call: Call) -> Answer:  # noqa: ARG001 - every handler is called alike
    """The versions that are in service; anybody may ask."""
    return Answer(
        200,
        [
            {"label": release(number), "url": f"/services/data/v{number}.0", "version": f"{number}.0"}
            for number in range(FIRST_KEPT, NEWEST + 1)
        ],
    )


def resources(call: Call) -> Answer:
    """What a version offers."""
    return Answer(200, {name: f"{call.data_path}/{name}" for name in RESOURCES})


def rules(sandbox: SalesforceSandbox) -> tuple[Rule, ...]:
    """The operations about the org as a whole."""

    def limits(call: Call) -> Answer:
        call.state.viewer.need("ViewSetup")
        return Answer(200, sandbox.meter.body(now_ms=call.now_ms))

    return (
        Rule("GET", "/services/data", versions, "versions", versioned=False, free=True),
        Rule("GET", "", resources, "versions"),
        Rule("GET", "/limits", limits, "limits"),
    )
