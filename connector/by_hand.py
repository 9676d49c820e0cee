"""What a person does to a program by hand: takes somebody out, brings coupon codes in, says which were used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from connector.errors import SettingError
from connector.model import Reject
from connector.program.coupons import parse_codes, parse_redemptions
from connector.program.model import Episode, Exit

if TYPE_CHECKING:
    from connector.workspace import Workspace


def take_out(workspace: Workspace, contact_id: str) -> list[Episode]:
    """End the contact's open episodes in the journal; what is written about them goes with the next run."""
    now = workspace.clock.now()
    open_ones = [episode for episode in workspace.journal.episodes.of(contact_id) if episode.open]
    exits = [Exit(e.episode_id, contact_id, "manual", now, answered=e.answered) for e in open_ones]
    if exits:
        run_id = workspace.journal.runs.start("by hand", playbook_digest=workspace.playbook.digest())
        workspace.journal.episodes.exit(exits, run_id=run_id)
        workspace.journal.runs.finish(run_id, state="done", summary={"taken_out": len(exits)})
    return open_ones


def bring_codes(workspace: Workspace, offer: str, file: Path) -> tuple[int, int]:
    """Keep the codes of a file for an offer: how many are new, and how many are free now."""
    known = {name: o for program in workspace.playbook.programs for name, o in program.offers.offers.items()}
    if offer not in known:
        raise SettingError(f"no offer {offer!r} in the playbook", hint=f"offers: {', '.join(known) or 'none'}")
    new = workspace.journal.coupons.add(offer, codes_of(file))
    return new, len(workspace.journal.coupons.free(offer))


def codes_of(file: Path) -> list[str]:
    """The codes of a file, one a line; every line that is not one code is named."""
    return parse_codes(_text(file), file=file.name)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingError(f"{file}: there is no such file", hint="give its path, seen from winback.yaml") from None
    except UnicodeDecodeError:
        raise SettingError(f"{file}: not text in UTF-8", hint="save it as plain text in UTF-8") from None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a file of used codes came to."""

    redeemed: int
    known: int
    rejects: Sequence[Reject]


def reconcile(workspace: Workspace, file: Path) -> Reconciled:
    """Note every code of the file as used; a row that cannot be read, or whose code nobody has, is set aside."""
    coupons = workspace.journal.coupons
    read = parse_redemptions(_text(file), file=file.name)
    redeemed = known = 0
    rejects = list(read.rejects)
    for redemption in read.found:
        if coupons.redeem(redemption.code, redemption.at, redemption.amount):
            redeemed += 1
        elif coupons.issued(redemption.code) is not None:
            known += 1
        else:
            rejects.append(Reject(f"{file.name}: {redemption.code}", "a code that was given to nobody here"))
    return Reconciled(redeemed, known, rejects)
