"""`winback links make`: a signed one-click link, for tests and mail merges."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from connector.cli.options import DEFAULT_CONFIG, Config, Now

app = typer.Typer(no_args_is_help=True, help="Signed one-click links.")


class Action(StrEnum):
    """What a link does."""

    RETURN = "return"
    SNOOZE = "snooze"
    UNSUBSCRIBE = "unsubscribe"
    PREFERENCES = "preferences"


@app.command("make")
def make(
    contact: Annotated[str, typer.Argument(help="A contact id, the product's user id or a mail address.")],
    *,
    action: Annotated[Action, typer.Option("--action", help="What the link does.")],
    campaign: Annotated[
        str, typer.Option("--campaign", help="What it is counted under; anybody can read it.")
    ] = "by-hand",
    config: Config = DEFAULT_CONFIG,
    now: Now = None,
) -> None:
    """Print a link that does one thing for one contact; nothing personal is in it."""
    from connector.cli.session import open_workspace
    from connector.cli.terminal import out
    from connector.consent import known_contact
    from connector.errors import SettingError
    from connector.programs import link_maker

    with open_workspace(config, now=now) as workspace:
        maker = link_maker(workspace)
        if maker is None:
            raise SettingError(
                "the playbook has no `links:`, so nobody knows where a link would lead",
                hint="add `links: {public_base_url: https://…, destinations: {…}}` to winback.yaml",
            )
        contact_id = known_contact(workspace, contact)
        workspace.journal.links.remember({maker.subject(contact_id): contact_id})
        out(maker.url(action, contact_id, campaign, now=workspace.clock.now()))
