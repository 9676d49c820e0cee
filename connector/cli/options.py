"""The options that mean the same on every command."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer


def parse_now(text: str) -> datetime:
    """`--now`: an ISO date or time; a date means its midnight, no offset means UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time; write 2026-11-21 or 2026-11-21T08:00:00Z") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_day(text: str) -> date:
    """`--as-of`: a calendar date; the state at its end."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; write 2026-11-21") from None


Config = Annotated[
    Path, typer.Option("--config", "-c", help="The playbook.", envvar="WINBACK_CONFIG", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Now = Annotated[
    datetime | None,
    typer.Option("--now", help="Act as if it were this moment (tests, replays).", parser=parse_now, metavar="TIME"),
]
AsOf = Annotated[
    date | None,
    typer.Option("--as-of", help="The state at the end of this day.", parser=parse_day, metavar="DATE"),
]
DEFAULT_CONFIG = Path("winback.yaml")
