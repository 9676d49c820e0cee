"""The `winback` command: its verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import functools
import os
import signal
import sys
from typing import Any

import typer

from connector.cli import (
    adapters,
    apply,
    check,
    config,
    consent,
    demo,
    explain,
    features,
    growth,
    init,
    links,
    plan,
    program,
    pull,
    run,
    sandbox,
    segments,
    serve,
    simulate,
    status,
    thresholds,
    undo,
    webhooks,
    work,
)
from connector.cli.terminal import out_json, say
from connector.errors import StateError, WinbackError

INTERRUPTED = 130
GO_ON = "everything finished so far is kept, run the same command again to go on"

app = typer.Typer(
    name="winback",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Find the people who have gone quiet in your product and put the right ones on the right lists "
        "in your CRM.\n\nStart with `winback demo`, then `winback init`. Nothing is written outside your "
        "machine except by apply, run, undo, serve and work."
    ),
)

LOOK, WRITE, LISTEN, HOUSE = "Look", "Write to the CRM", "Listen", "Set up"

app.command("demo", rich_help_panel=HOUSE)(demo.command)
app.command("init", rich_help_panel=HOUSE)(init.command)
app.command("check", rich_help_panel=HOUSE)(check.command)
app.command("sandbox", rich_help_panel=HOUSE)(sandbox.command)
app.command("adapters", rich_help_panel=HOUSE)(adapters.command)
app.add_typer(config.app, name="config", rich_help_panel=HOUSE)
app.command("pull", rich_help_panel=LOOK)(pull.command)
app.command("segments", rich_help_panel=LOOK)(segments.command)
app.command("features", rich_help_panel=LOOK)(features.command)
app.command("explain", rich_help_panel=LOOK)(explain.command)
app.command("growth", rich_help_panel=LOOK)(growth.command)
app.command("thresholds", rich_help_panel=LOOK)(thresholds.command)
app.command("plan", rich_help_panel=LOOK)(plan.command)
app.command("simulate", rich_help_panel=LOOK)(simulate.command)
app.add_typer(consent.app, name="consent", rich_help_panel=LOOK)
app.add_typer(program.app, name="program", rich_help_panel=LOOK)
app.add_typer(links.app, name="links", rich_help_panel=LOOK)
app.command("status", rich_help_panel=LOOK)(status.command)
app.command("apply", rich_help_panel=WRITE)(apply.command)
app.command("run", rich_help_panel=WRITE)(run.command)
app.command("undo", rich_help_panel=WRITE)(undo.command)
app.command("work", rich_help_panel=WRITE)(work.command)
app.command("serve", rich_help_panel=LISTEN)(serve.command)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=LISTEN)


@app.callback(invoke_without_command=True)
def _root(
    *,
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True),
) -> None:
    if version:
        from importlib.metadata import version as installed

        from connector.cli.terminal import out

        out(f"winback {installed('winback')}")
        raise typer.Exit


@functools.cache
def _command() -> Any:
    """The commands as they are read off their functions: once, however often `main` is called in one process."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line; every outcome becomes one of the documented exit codes."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _command()(standalone_mode=False)
    except WinbackError as error:
        code = _failed(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.Abort:
        say("nothing was done")
        _error_as_json("Aborted", "nothing was done", None)
        code = 1
    except Exception as error:  # noqa: BLE001  # the last resort: a message instead of a trace
        code = _usage_or_raise(error)
    if code == INTERRUPTED:
        say(f"interrupted; {GO_ON}")
        _error_as_json("Interrupted", "interrupted", GO_ON)
    sys.exit(code if isinstance(code, int) else 0)


_CTRL_C_IN_DUCKDB = "Query interrupted"
"""What DuckDB raises, as a RuntimeError, where Ctrl-C comes in the middle of a query."""


def _interrupt(_number: int, _frame: object) -> None:
    """A scheduler that stops a run is a Ctrl-C: what is under way is noted, the lock is given back."""
    raise KeyboardInterrupt


def _failed(error: WinbackError) -> int:
    """Say what went wrong and what to do next; as JSON on stdout too when that was asked for."""
    from connector.redact import redact

    message = redact(str(error))
    hint = redact(error.hint) if error.hint else None
    say(f"error: {message}")
    if hint:
        say(f"  → {hint}")
    _error_as_json(type(error).__name__, message, hint)
    return error.exit_code


def _error_as_json(code: str, message: str, hint: str | None) -> None:
    """What went wrong, as the one object on stdout, when that was asked for."""
    if "--json" in sys.argv[1:]:
        body: dict[str, Any] = {"code": code, "message": message, "hint": hint}
        out_json({"schema_version": 1, "error": body})


def _usage_or_raise(error: Exception) -> int:
    """A usage error shows itself and exits 2; a file we may not touch is named; anything else is a bug."""
    show = getattr(error, "show", None)
    if callable(show):
        show()
        said = getattr(error, "format_message", lambda: str(error))()
        _error_as_json("UsageError", said, "`winback --help` lists the commands, `winback COMMAND --help` its options")
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, RuntimeError) and str(error) == _CTRL_C_IN_DUCKDB:
        return INTERRUPTED
    if os.environ.get("WINBACK_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        hint = "look at who owns that file or folder, and at the room on the disk"
        return _failed(StateError(f"{error.filename}: {error.strerror}", hint=hint))
    from connector.redact import redact

    say(f"unexpected {type(error).__name__}: {redact(str(error))}")
    say("  → this is a fault of winback; run again with WINBACK_DEBUG=1 to see where, and please report it")
    _error_as_json("Unexpected", type(error).__name__, None)
    return 1


if __name__ == "__main__":
    main()
