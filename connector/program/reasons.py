"""What follows in a program when somebody says why they left: the step that is brought forward, the offer it makes.

Both follow from what was said last, after entry, and only forward: an answer that was acted on moves nobody again.
"""

from __future__ import annotations

from connector.program.model import Driver, Episode, Program, ReasonRule
from connector.program.offers import Preference
from connector.program.world import World

_NOTHING = ReasonRule()


def _given(program: Program, episode: Episode, contact_id: str, world: World) -> tuple[str, ReasonRule]:
    """The reason a contact gave last, and what the program says about it; nothing, where that was before entry."""
    said = world.said.get(contact_id)
    if said is None or said[1] <= episode.entered_at:
        return "", _NOTHING
    return said[0], program.reasons.get(said[0], _NOTHING)


def asked_step(program: Program, episode: Episode, contact_id: str, world: World) -> int:
    """The place of the step that a reason makes the next one; -1: none. It may be behind the contact already.

    Where a workflow of the CRM goes from step to step, nothing here can bring one forward.
    """
    if not program.reasons or program.driver is Driver.CRM:
        return -1
    _, rule = _given(program, episode, contact_id, world)
    number = None if rule.step is None else program.number(rule.step)
    return -1 if number is None else number


def preference(program: Program, episode: Episode, contact_id: str, world: World) -> Preference | None:
    """What the contact is to be offered for the reason given; None: nothing in particular, or it was made already."""
    if not program.reasons:
        return None
    reason, rule = _given(program, episode, contact_id, world)
    if rule.offer is None or rule.offer == episode.offer:
        return None
    return Preference(rule.offer, reason, rule.step)
