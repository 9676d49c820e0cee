"""Serving: the web processes (granian, through the bridge), and the worker process beside them.

Of granian, gunicorn and waitress granian took the most durable events a second (docs/benchmarks.md). It is driven
through its asynchronous side: see `webhooks.bridge`.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from connector.errors import SettingError, StateError
from webhooks import limits

if TYPE_CHECKING:
    from flask import Flask

    from connector.workspace import Workspace
    from webhooks.beside import Beside, Work
    from webhooks.service import Service

log = logging.getLogger("webhooks")

STOP_SECONDS: Final = 10
"""How long what is under way may take to finish after SIGTERM (R-15)."""

_BACKLOG: Final = 1_024
_MOST_CONNECTIONS: Final = 1_024
_HEADER_BUFFER_BYTES: Final = 2 * limits.MAX_HEADER_BYTES


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address of this name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    open_workspace: Callable[[], Workspace],
    *,
    host: str,
    port: int,
    workers: int,
    work: Work | None,
    listening: Callable[[], None] = lambda: None,
) -> None:
    """Serve a playbook until SIGTERM; the entry point `winback.web` of the command line.

    Args:
        open_workspace: Opens the playbook; called once here, and once in every process.
        host: The address to listen at.
        port: 0 for any that is free is not supported: vendors have to know it.
        workers: Web processes; more than one need a journal on PostgreSQL.
        work: What the worker process does; None: nobody works here, `winback work` runs elsewhere.
        listening: Called once nothing stands against it.
    """
    from webhooks.beside import Beside

    with open_workspace() as workspace:
        check(workspace, host=host, workers=workers)
    multiprocessing.set_start_method("fork", force=True)
    beside = Beside(work) if work is not None else None
    make = functools.partial(_made, open_workspace, beside=beside, loopback=is_loopback(host))
    run(make, host=host, port=port, workers=workers, beside=beside, listening=listening)


def check(workspace: Workspace, *, host: str, workers: int) -> None:
    """Refuse what must not be served; SettingError says why.

    Opening the journal here also migrates it, before several processes would.
    """
    if workers < 1:
        raise SettingError("--workers: at least one is needed")
    settings = workspace.playbook.webhooks
    if workers > 1 and workspace.playbook.journal.startswith("sqlite"):
        raise SettingError(
            "--workers: several processes cannot share a journal in SQLite, which has one writer at a time",
            hint="`journal: postgresql://…` in the playbook, or leave --workers out: one process takes a lot",
        )
    if settings is not None and settings.oidc is not None:
        from webhooks.oidc import require_library

        require_library()
    if not is_loopback(host):
        dev = [name for name, options in (settings.sources.items() if settings else ()) if options.insecure_dev]
        if dev:
            raise SettingError(
                f"webhooks.sources.{dev[0]}.insecure_dev: believes everybody, and {host} can be reached by anybody",
                hint="leave it out, or listen at 127.0.0.1",
            )
    _ = workspace.journal


def _made(open_workspace: Callable[[], Workspace], *, beside: Beside | None, loopback: bool) -> tuple[Flask, Service]:
    from webhooks.making import made

    return made(open_workspace(), beside=beside, loopback=loopback)


def run(
    make: Callable[[], tuple[Flask, Service]],
    *,
    host: str,
    port: int,
    workers: int = 1,
    beside: Beside | None = None,
    read_seconds: int = limits.READ_SECONDS,
    listening: Callable[[], None] = lambda: None,
) -> None:
    """Serve an application until SIGTERM or SIGINT; `make` is called in every web process.

    read_seconds: How long a request may take to arrive. listening: Called when the port is found to be free.
    """
    from granian.constants import HTTPModes, Interfaces, RuntimeModes
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server import Server

    _free(host, port)
    listening()
    with tempfile.TemporaryDirectory(prefix="winback-metrics-") as counters:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = counters
        server: Any = Server(
            "winback",
            address=host,
            port=port,
            interface=Interfaces.RSGI,
            workers=workers,
            runtime_mode=RuntimeModes.st,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=_MOST_CONNECTIONS,
            http1_settings=HTTP1Settings(
                header_read_timeout=read_seconds * 1_000, max_buffer_size=_HEADER_BUFFER_BYTES
            ),
            log_level=LogLevels.warning,
            respawn_failed_workers=True,
            workers_kill_timeout=STOP_SECONDS,
        )
        if beside is not None:
            server.on_startup(beside.start)
            server.on_shutdown(beside.stop)
        try:
            server.serve(target_loader=functools.partial(_bridge, make, read_seconds), wrap_loader=False)
        finally:
            if beside is not None:
                beside.stop()


def _bridge(make: Callable[[], tuple[Flask, Service]], read_seconds: int) -> Any:
    """In a web process: what granian calls."""
    from webhooks.bridge import Bridge

    app, service = make()

    def close() -> None:
        service.intake.close()
        service.journal.close()

    return Bridge(app, quick=("/webhooks/",), read_seconds=read_seconds, close=close)


def _free(host: str, port: int) -> None:
    """Say in our words that somebody else listens there: granian's processes would only end."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StateError(
                f"cannot listen at {host}:{port}: {error.strerror}", hint="another process may listen there; try --port"
            ) from None
