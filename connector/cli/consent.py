"""`winback consent …`: what people allowed and forbade, whoever told us."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

app = typer.Typer(no_args_is_help=True, help="What people allowed and forbade: look, import, export, write down.")

Contact = Annotated[str, typer.Argument(help="A contact id, the product's user id or a mail address.")]


@app.command("show")
def show(contact: Contact, *, as_json: AsJson = False, config: Config = DEFAULT_CONFIG, now: Now = None) -> None:
    """Whether a contact may be mailed, by which rule, and every line of the ledger about them."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json
    from connector.consent import standing

    with open_workspace(config, now=now) as workspace:
        told = standing(workspace, contact)
        if as_json:
            out_json({"schema_version": 1, **told.document()})
            return
        for line in told.lines():
            out(line)


@app.command("radar")
def radar(*, as_json: AsJson = False, config: Config = DEFAULT_CONFIG, now: Now = None) -> None:
    """Per segment: who may be mailed, whose permission lapses within 30 days, whose has lapsed."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out_json, table
    from connector.consent import expiry_radar

    with open_workspace(config, now=now) as workspace:
        rows = expiry_radar(workspace)
    counted = {
        row.segment: {
            "people": row.people,
            "reachable": row.reachable,
            "expiring": row.expiring,
            "expired": row.expired,
            "no_consent": row.no_consent,
            "other": row.others,
            "first_lapse": row.first_lapse.isoformat() if row.first_lapse else None,
        }
        for row in rows
    }
    if as_json:
        out_json({"schema_version": 1, "segments": counted})
        return
    heads = ["segment", "people", "reachable", "expiring in 30 days", "expired", "no consent", "other"]
    table(heads, [[name, *list(row.values())[:-1]] for name, row in counted.items()])


@app.command("retention")
def retention(
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Propose for deletion whoever gave no sign of their own for as long as the consent profile lets one keep them."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_csv, out_json, table
    from connector.consent import deletion_proposals

    heads = ["contact_id", "last_sign_on", "keep_until", "profile"]
    with open_workspace(config, now=now) as workspace:
        rows = [
            [p.contact_id, str(p.last_sign_on), str(p.keep_until), p.profile] for p in deletion_proposals(workspace)
        ]
    if as_csv:
        out_csv(heads, rows)
    elif as_json:
        out_json({"schema_version": 1, "proposed": [dict(zip(heads, row, strict=True)) for row in rows]})
    elif rows:
        table(heads, rows[:_SCREENFUL])
        out(f"  {len(rows):,} in all; nothing is deleted by this. --csv for all of them")
    else:
        out("nobody has reached the limit")


_SCREENFUL = 20


@app.command("opt-out")
def opt_out(
    contact: Contact,
    *,
    source: Annotated[str, typer.Option("--source", help="How you know: a call, a letter, a ticket.")] = "by hand",
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Write down that somebody wants no more mail: it wins at once, and the next run tells the CRM."""
    _said(contact, "withdrawn", source=source, until=None, config=config, now=now)


@app.command("resubscribe")
def resubscribe(
    contact: Contact,
    *,
    evidence: Annotated[str, typer.Option("--evidence", help="What proves that the person asked for it.")],
    source: Annotated[str, typer.Option("--source", help="Where it was said.")] = "by hand",
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Write down that somebody asked for mail again, and what proves it; an opt-out in the CRM is lifted there only."""
    _said(contact, "resubscribed", source=source, until=None, evidence=evidence, config=config, now=now)


@app.command("snooze")
def snooze(
    contact: Contact,
    *,
    until: Annotated[datetime, typer.Option("--until", help="The first day on which mail is welcome again.")],
    source: Annotated[str, typer.Option("--source", help="How you know: a call, a letter, a ticket.")] = "by hand",
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Leave somebody alone until a day."""
    _said(contact, "snoozed", source=source, until=until, config=config, now=now)


def _said(
    contact: str,
    status: str,
    *,
    source: str,
    until: datetime | None,
    config: Path,
    now: datetime | None,
    evidence: str = "",
) -> None:
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out
    from connector.consent import write_down

    with open_workspace(config, now=now) as workspace:
        contact_id, new = write_down(workspace, contact, status, source=source, until=until, evidence=evidence)
        out(f"{contact_id}: {'written down' if new else 'was known already'}; it holds from now on")


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="A CSV with email (or key), reason, date.", exists=True, dir_okay=False)],
    *,
    source: Annotated[str, typer.Option("--source", help="Where the list comes from.")],
    basis: Annotated[str, typer.Option("--basis", help="Why it may be held.")],
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Take in a suppression list: these addresses are never mailed again. Rows that cannot be read are named."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json, say
    from connector.consent import take_in

    with open_workspace(config, now=now) as workspace:
        taken = take_in(workspace, file, source=source, basis=basis)
        for reject in (*taken.rejects, *taken.doubts)[:20]:
            say(f"{reject.place}: {reject.reason}")
        if as_json:
            out_json({"schema_version": 1, "new": taken.new, "known": taken.known, "set_aside": len(taken.rejects)})
        else:
            out(f"{taken.new:,} new, {taken.known:,} known already, {len(taken.rejects):,} set aside")
    if taken.rejects:
        raise typer.Exit(code=3)


@app.command("export")
def export_file(
    file: Annotated[Path, typer.Argument(help="Where to write the list.", dir_okay=False)],
    *,
    addresses: Annotated[
        bool,
        typer.Option("--addresses", help="With the addresses of contacts that are known, for tools without our keys."),
    ] = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Write everybody who must not be mailed to a file that only you can read."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out
    from connector.consent import give_out

    with open_workspace(config, now=now) as workspace:
        out(f"{give_out(workspace, file, addresses=addresses):,} entries in {file}")
