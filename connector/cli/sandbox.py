"""`winback sandbox`: a local look-alike of a system, to rehearse on."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer


def command(
    system: Annotated[str, typer.Argument(help="Which system; see `winback adapters`.")] = "hubspot",
    *,
    host: Annotated[str, typer.Option("--host", help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to serve on; 0 takes a free one.")] = 8089,
    contacts: Annotated[int, typer.Option("--contacts", help="Fill it with a generated company of this size.")] = 500,
    faults: Annotated[
        str, typer.Option("--faults", help="What should go wrong: timeouts,resets,errors,duplicates,lag.")
    ] = "",
    limits: Annotated[bool, typer.Option("--limits/--no-limits", help="Keep the vendor's rate limits.")] = True,
) -> None:
    """Serve a local look-alike of a system until Ctrl-C: same paths, limits and odd shapes, a page to look at."""
    from connector.cli.terminal import out
    from connector.clock import SystemClock
    from connector.contracts import SandboxOptions
    from connector.demo.company import generate
    from connector.errors import SettingError
    from connector.registry import installed_adapters

    adapter = installed_adapters().require(system)
    if adapter.sandbox is None:
        raise SettingError(f"the adapter {system} has no sandbox")
    names = tuple(name.strip() for name in faults.split(",") if name.strip())
    running = adapter.sandbox(SandboxOptions(host=host, port=port, faults=names, limits=limits))
    try:
        if contacts:
            company = generate(contacts=contacts, ends=SystemClock().now().date(), system=system)
            running.seed(company.contacts, company.accounts)
        out(f"{adapter.title} sandbox with {contacts:,} contacts")
        out(f"  look at it:    {running.base_url}/")
        out(f"  in a playbook: base_url: {running.base_url}")
        for name, value in running.auth.items():
            out(f"                 {name}: {value}")
        out("Ctrl-C stops it and forgets everything.")
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        stop.wait()
    finally:
        running.stop()
