"""`winback webhooks`: set sources up, try them, look into what came in, repeat it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.journal.inbox import InboxRow
    from connector.receivers import Receiver
    from connector.settings.webhook_blocks import WebhookSettings
    from connector.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="What other systems send us: set up, try, look into, repeat.")

_PATIENCE_SECONDS = 10
"""How long `test` watches for the worker; it acts within seconds."""


@app.command("urls")
def urls(*, as_json: AsJson = False, config: Config = DEFAULT_CONFIG, now: Now = None) -> None:
    """Print the address to paste into each system; some end with a secret."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out_json, table
    from connector.live.rehearsal import addresses

    with open_workspace(config, now=now, quiet=as_json) as workspace:
        settings, receivers = _set_up(workspace)
        found = addresses(settings, receivers)
    if as_json:
        out_json({"schema_version": 1, "urls": found})
        return
    table(["source", "address"], [[name, url] for name, url in found.items()])


@app.command("test")
def try_out(
    source: Annotated[str, typer.Argument(help="A source of the playbook's `webhooks:`.")],
    *,
    contact: Annotated[
        str | None, typer.Option("--contact", help="Whom the sample is about; nobody unless given.")
    ] = None,
    to: Annotated[str, typer.Option("--to", help="Where `winback serve` runs.")] = "http://127.0.0.1:8080",
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Sign a sample as the vendor would, send it to the running server, and watch what becomes of it."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json
    from connector.errors import SettingError
    from connector.live.rehearsal import deliver

    with open_workspace(config, now=now, quiet=as_json) as workspace:
        settings, receivers = _set_up(workspace)
        if source not in settings.sources:
            raise SettingError(
                f"no source {source!r} under `webhooks:`", hint=f"sources: {', '.join(settings.sources) or 'none'}"
            )
        before = _newest(workspace, source)
        answer = deliver(
            settings, receivers[source], about=_token(workspace, contact), to=to, now=workspace.clock.now()
        )
        arrived = _after(workspace, source, before) if answer.status < 300 else None  # noqa: PLR2004
    if as_json:
        delivery = _line(arrived) if arrived is not None else None
        out_json({"schema_version": 1, "status": answer.status, "delivery": delivery})
    elif arrived is None:
        out(f"{source}: answered {answer.status}; nothing new in the inbox")
    else:
        out(f"{source}: answered {answer.status}; {arrived.state}: {arrived.effect or arrived.reason or 'not yet'}")
    if answer.status >= 300:  # noqa: PLR2004
        raise SettingError(
            f"the server refused it with {answer.status}",
            hint="its log says why; a wrong secret, or a server that was started with another playbook",
        )


@app.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option("--limit", help="How many.", min=1, max=10_000)] = 20,
    source: Annotated[str | None, typer.Option("--source", help="Of one source only.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="waiting, done, ignored or set_aside.")] = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Show what came in, newest first, and what it did."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json, table

    with open_workspace(config, now=now, quiet=as_json) as workspace:
        rows = workspace.journal.inbox.recent(limit, source=source, state=state)
    if as_json:
        out_json({"schema_version": 1, "deliveries": [_line(row) for row in rows]})
    elif rows:
        cells = [
            [str(row.number), row.source, row.kind, f"{row.received_at:%Y-%m-%d %H:%M:%S}", row.state] for row in rows
        ]
        told = [[*line, row.effect or row.reason or ""] for line, row in zip(cells, rows, strict=True)]
        table(["id", "source", "event", "received (UTC)", "state", "what it did"], told)
    else:
        out("nothing has come in")


@app.command("replay")
def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="Which deliveries; see `winback webhooks list`.")] = None,
    *,
    since: Annotated[
        datetime | None, typer.Option("--since", help="Everything received from this moment on (UTC).")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Of one source only.")] = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Let stored events be worked on once more; what they did already is not done twice."""
    from datetime import UTC

    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json
    from connector.errors import SettingError

    if not ids and since is None:
        raise SettingError("say what to repeat", hint="winback webhooks replay 17 18, or --since 2026-11-01")
    start = since.replace(tzinfo=UTC) if since is not None and since.tzinfo is None else since
    with open_workspace(config, now=now, quiet=as_json) as workspace:
        number = workspace.journal.inbox.replay(since=start, source=source, numbers=ids or None)
    if as_json:
        out_json({"schema_version": 1, "replayed": number})
    else:
        out(f"{number:,} events wait to be worked on again; `winback work --once` does it now")


def _set_up(workspace: Workspace) -> tuple[WebhookSettings, Mapping[str, Receiver]]:
    from connector.errors import SettingError
    from connector.registry import installed_receivers

    settings = workspace.playbook.webhooks
    if settings is None:
        raise SettingError(
            "the playbook has no `webhooks:`, so nobody is listened to",
            hint="add `webhooks: {public_base_url: https://…, sources: {…}}`; docs/webhooks.md shows each system",
        )
    return settings, installed_receivers()


def _token(workspace: Workspace, contact: str | None) -> str:
    """What a survey's hidden field says of this contact; a word that means nobody when none is given."""
    from connector.consent import known_contact
    from connector.errors import SettingError
    from connector.links import SURVEY
    from connector.programs import link_maker

    if contact is None:
        return "nobody"
    maker = link_maker(workspace)
    if maker is None:
        raise SettingError("the playbook has no `links:`, so contacts have no token", hint="add `links:` to it")
    contact_id = known_contact(workspace, contact)
    workspace.journal.links.remember({maker.subject(contact_id): contact_id})
    return maker.token(SURVEY, contact_id, "test", now=workspace.clock.now())


def _newest(workspace: Workspace, source: str) -> int:
    rows = workspace.journal.inbox.recent(1, source=source)
    return rows[0].number if rows else 0


def _after(workspace: Workspace, source: str, before: int) -> InboxRow | None:
    """What arrived since, as soon as the worker is through with it, or as it is when patience ends."""
    found: InboxRow | None = None
    clock = workspace.clock
    ends = clock.monotonic() + _PATIENCE_SECONDS
    while clock.monotonic() < ends:
        found = next((row for row in workspace.journal.inbox.recent(5, source=source) if row.number > before), None)
        if found is None or found.state != "waiting":
            return found
        clock.sleep(0.2)
    return found


def _line(row: InboxRow) -> dict[str, object]:
    return {
        "id": row.number,
        "source": row.source,
        "key": row.key,
        "event": row.kind,
        "received_at": row.received_at.isoformat(),
        "state": row.state,
        "effect": row.effect,
        "reason": row.reason,
    }
