"""`winback serve`: webhooks, links and pages over HTTP, and a worker beside them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli.options import DEFAULT_CONFIG, Config, Now

if TYPE_CHECKING:
    import threading

    from connector.workspace import Workspace

GROUP = "winback.web"
"""Where the web part is found: the core names no part that it does not need."""

LOCAL, PORT = "127.0.0.1", 8080


def command(
    *,
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 is every one of this machine.")] = LOCAL,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="The port to listen at.")] = PORT,
    workers: Annotated[int, typer.Option(min=1, help="Web processes; more than one need PostgreSQL.")] = 1,
    work: Annotated[
        bool,
        typer.Option("--work/--no-work", help="Also drain inbox and outbox; not if `winback work` runs elsewhere."),
    ] = True,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Serve webhooks, links, triggers, pages, /healthz, /readyz and /metrics until told to stop."""
    from connector.cli.terminal import say

    opened = functools.partial(_open, config, now)
    with opened() as workspace:
        lines = _told(workspace, host=host, port=port)

    def listening() -> None:
        for line in lines:
            say(line)

    working = functools.partial(_work, opened) if work else None
    web()(opened, host=host, port=port, workers=workers, work=working, listening=listening)


def web() -> Callable[..., None]:
    """What serves: given how to open the playbook; StateError when the web part is not installed."""
    from connector.errors import StateError

    point = next(iter(entry_points(group=GROUP)), None)
    if point is None:
        raise StateError(
            "the web part of winback is not installed", hint="install winback again: `pip install winback`"
        )
    found: Callable[..., Any] = point.load()
    return found


def _open(config: Path, now: datetime | None) -> Workspace:
    from connector.cli.session import open_workspace

    return open_workspace(config, now=now, quiet=True)


def _work(opened: Callable[[], Workspace], stop: threading.Event, woken: threading.Event) -> None:
    """In the worker's own process: a journal of its own."""
    from connector.live.worker import Worker

    with opened() as workspace:
        Worker(workspace).run(stop, woken)


def _told(workspace: Workspace, *, host: str, port: int) -> list[str]:
    """What whoever starts it should know."""
    shown = f"[{host}]" if ":" in host else host
    lines = [f"listening at http://{shown}:{port}"]
    settings = workspace.playbook.webhooks
    if settings is None:
        return [*lines, "the playbook has no `webhooks:`: no vendor is listened to"]
    heard = ", ".join(sorted(settings.sources)) or "nobody"
    lines.append(f"listening to {heard}; `winback webhooks urls` prints where each has to call")
    if not settings.operators and settings.oidc is None:
        lines.append("no operators in the playbook: the operators' pages are not served (webhooks.operators)")
    return lines
