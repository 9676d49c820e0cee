"""Who needs no verdict of their own: what the rules say about many alike is asked once, for all of them.

No rule is written a second time here. Permission is judged by the real rules, on a row that knows only what everybody
of a kind has in common; where a rule asks it for more the kind is unsure, and everybody in it is judged one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.program import caps, entering
from connector.program.entering import Way
from connector.program.model import Eligibility, Person, Split
from connector.program.verdicts import Judge
from connector.program.world import Row

YES_OR_NO = ("can_email", "opted_out", "bounced", "erased", "legal_hold", "first_with_address")
SAME = (*YES_OR_NO, "consent_basis", "country", "confirmed_at")
"""Columns with few values: everybody of a kind has the same; those of YES_OR_NO may be unknown as well."""

THERE = (
    "merged_into", "deleted_at", "consent_at", "snoozed_until", "last_paid_at", "last_active_at", "engaged_last_at",
    "engaged_unsubscribed_at", "engaged_complained_at", "engaged_bounced_at",
)  # fmt: skip
"""Columns with many values: of a kind it is known only whether they are filled, as `there_<column>`."""

PLAIN = "plain"
"""Of a kind: whether their addresses are well-formed persons' ones; None: they have none, False: not known."""

_AN_ADDRESS = "a@example.org"


class Unsure(Exception):
    """A rule asked for more than everybody of a kind has in common."""


class _Something:
    """A value that is there: it can be told of, and no more. What would need to know it is unsure."""

    def date(self) -> _Something:
        return self

    def isoformat(self) -> str:
        return "some day"

    def _unsure(self, *_: object) -> Any:
        raise Unsure

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __str__ = __add__ = __sub__ = __rsub__ = _unsure
    __getattr__ = __hash__ = __format__ = __radd__ = __iter__ = __len__ = __contains__ = _unsure


_SOMETHING = _Something()


class KindRow(Mapping[str, Any]):
    """The row of everybody of a kind."""

    def __init__(self, kind: Mapping[str, Any]) -> None:
        self._known = {name: kind[name] for name in SAME}
        self._known |= {name: _SOMETHING if kind[f"there_{name}"] else None for name in THERE}
        self._known["email"] = {None: None, True: _AN_ADDRESS, False: _SOMETHING}[kind[PLAIN]]

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            raise Unsure
        return self._known[name]

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ARG002 - what is not known is not what is missing
        """The value, as by `[]`."""
        return self[name]

    def __iter__(self) -> Iterator[str]:
        raise Unsure

    def __len__(self) -> int:
        raise Unsure


def judged(kind: Mapping[str, Any], judge: Callable[[Row], Eligibility]) -> Eligibility | None:
    """What the rules say about everybody of a kind; None: not the same about each, as far as can be told."""
    try:
        return judge(KindRow(kind))
    except (Unsure, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Queue:
    """What is the same for everybody who could enter a program and was never in one.

    split: How the program is split. waits: Why none of them enters now. room: How many treated ones may.
    """

    split: Split
    waits: str | None
    room: int


def way_in(judge: Judge, segments: Sequence[str]) -> Way | None:
    """How somebody in these segments enters who was never in a program; None: they enroll nowhere."""
    return next(entering.ways(judge.world.programs, segments), None)


def queues(judge: Judge) -> dict[int, Queue]:
    """By the program's place. One is missing where everybody has to be looked at: no cap, or no split yet."""
    found = {}
    world = judge.world
    for place, program in enumerate(world.programs):
        split = world.splits.get(program.name)
        room = caps.room(program.caps.per_day, world.entered_today)
        if split is not None and room is not None:
            somebody = Person({}, (), (), Eligibility(None))
            way = Way(place, program, 0, "")
            found[place] = Queue(split, judge.candidacy(somebody, way, world.as_of).waits, room)
    return found
