"""`winback program …`: take somebody out by hand; give coupon codes in, and say which were used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, AsJson, Config, Now

app = typer.Typer(no_args_is_help=True, help="Take somebody out of a program; bring coupon codes in and their use.")


@app.command("exit")
def take_out(
    contact: Annotated[str, typer.Argument(help="A contact id, the product's user id or a mail address.")],
    *,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """End a contact's episode by hand; the next run takes them off the lists. The same silence never enters again."""
    from connector.by_hand import take_out as end
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out
    from connector.consent import known_contact

    with open_workspace(config, now=now) as workspace, workspace.locked():
        ended = end(workspace, known_contact(workspace, contact))
        for episode in ended:
            out(f"{episode.contact_id} is out of {episode.program}; the next run takes it off the lists")
        if not ended:
            out("this contact is in no program")


@app.command("codes")
def codes(
    offer: Annotated[str, typer.Argument(help="The offer in the playbook.")],
    file: Annotated[Path, typer.Argument(help="One code a line.", exists=True, dir_okay=False)],
    *,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Bring coupon codes in; each is given out once. Codes that are known already change nothing."""
    from connector.by_hand import bring_codes
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out

    with open_workspace(config, now=now) as workspace:
        new, free = bring_codes(workspace, offer, file)
        out(f"{offer}: {new:,} new codes, {free:,} free")


@app.command("redeem")
def redeem(
    file: Annotated[
        Path, typer.Argument(help="A CSV of the shop or billing: code, date, amount.", exists=True, dir_okay=False)
    ],
    *,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Say which codes were used: the budget and the report follow. Codes that are not ours are named."""
    from connector.by_hand import reconcile
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out, out_json, say

    with open_workspace(config, now=now) as workspace:
        found = reconcile(workspace, file)
        for reject in found.rejects[:20]:
            say(f"{reject.place}: {reject.reason}")
        if as_json:
            out_json(
                {
                    "schema_version": 1,
                    "redeemed": found.redeemed,
                    "known": found.known,
                    "set_aside": len(found.rejects),
                }
            )
        else:
            out(f"{found.redeemed:,} redeemed, {found.known:,} known already, {len(found.rejects):,} set aside")
    if found.rejects:
        raise typer.Exit(code=3)
