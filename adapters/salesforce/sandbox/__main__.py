"""`python -m adapters.salesforce.sandbox`: the look-alike as a process of its own, until it is interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any

from adapters.salesforce.sandbox import CLIENT_ID, CLIENT_SECRET, start
from connector.contracts import SandboxOptions
from connector.errors import WinbackError


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; the address goes to stdout as its first line."""
    parser = argparse.ArgumentParser(prog="python -m adapters.salesforce.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--faults", default="", help="switches, comma separated: timeouts,resets,locks,… or all")
    parser.add_argument("--seed", type=int, default=0, help="for the faults' dice")
    parser.add_argument("--no-limits", action="store_true", help="never refuse for the daily limit")
    parser.add_argument("--print-url", action="store_true", help="print nothing but the address")
    given = parser.parse_args(arguments)
    faults = tuple(name for name in given.faults.split(",") if name)
    options = SandboxOptions(given.host, given.port, faults, given.seed, limits=not given.no_limits)
    try:
        sandbox = start(options)
    except WinbackError as error:
        sys.stderr.write(f"{error}\n" + (f"  {error.hint}\n" if error.hint else ""))
        return error.exit_code
    sys.stdout.write(f"{sandbox.base_url}\n")
    if not given.print_url:
        sys.stdout.write(
            f"Salesforce sandbox; client_id '{CLIENT_ID}', client_secret '{CLIENT_SECRET}'; "
            "the page is at this address. Ctrl-C ends it.\n"
        )
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sandbox.wait()
    except KeyboardInterrupt:
        sandbox.stop()
    return 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
