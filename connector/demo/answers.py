"""What people do with a mail they get: one draw for each mail, from a hash, so that it is the same in every telling.

The shares are those of a decent win-back campaign: of a hundred mails about one and a half bring somebody back who
would not have come by themselves, and one makes somebody unsubscribe. Opens are many and mean nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

_RANGE = 2**64


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person does after a mail.

    deeds: What the CRM sees, in order: open, click, reply, bounce, unsubscribe, complain, visit, contacted.
    returns: Uses the product again. buys: Pays without using it. snoozes: Asks to be left alone for so many days.
    """

    deeds: tuple[str, ...] = ()
    returns: bool = False
    buys: bool = False
    snoozes: int = 0


NOTHING = Answer()

_ANSWERS: tuple[tuple[float, Answer], ...] = (
    (0.0060, Answer(("bounce",))),
    (0.0008, Answer(("open", "complain"))),
    (0.0090, Answer(("open", "unsubscribe"))),
    (0.0070, Answer(("open", "reply"))),
    (0.0030, Answer(("contacted",))),
    (0.0040, Answer(("open", "click"), snoozes=90)),
    (0.0040, Answer(("open", "click"), buys=True)),
    (0.0130, Answer(("open", "click"), returns=True)),
    (0.0030, Answer(("open",), returns=True)),
    (0.0250, Answer(("open", "click"))),
    (0.0120, Answer(("open", "visit"))),
    (0.2800, Answer(("open",))),
)
"""Chances for each mail; whatever is left does nothing."""

AGAIN = 0.4
"""The chance that somebody who was brought back comes once more some days later."""

DELETED_A_DAY = 0.0002
"""The chance that a contact is deleted in the CRM on a day."""


def draw(*key: object) -> float:
    """A number in [0, 1) that belongs to this key."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / _RANGE


def answer(seed: int, contact_id: str, mail: str) -> Answer:
    """What this person does with the mail of this title."""
    left = draw(seed, "answer", contact_id, mail)
    for chance, what in _ANSWERS:
        left -= chance
        if left < 0:
            return what
    return NOTHING
