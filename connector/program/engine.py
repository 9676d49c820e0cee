"""The engine: one contact's verdict, and everybody's decisions. Pure: the same world and people, the same answer."""

from __future__ import annotations

from collections.abc import Iterable

from connector.program.deciding import Deciding
from connector.program.model import Decisions, Person, Verdict
from connector.program.signals import columns
from connector.program.verdicts import Judge
from connector.program.world import World

__all__ = ["World", "columns", "decide", "verdict"]


def verdict(world: World, person: Person) -> Verdict:
    """What is to be done about one contact now, before what only the whole crowd decides (daily caps, budgets).

    Its moves carry neither coupon codes nor property values. Where a program's split is not known yet
    (`world.splits`), a contact who could enter is a candidate without an entry: `decide` chooses the split.
    """
    return Judge(world).verdict(person)


def decide(world: World, people: Iterable[Person]) -> Decisions:
    """What the programs do with everybody in one run.

    Reads `people` once, in any order, and keeps only what is decided. Reserves offers in `world.offers`, so a book
    serves one run.
    """
    deciding = Deciding(Judge(world))
    deciding.take_all(people)
    return deciding.settle()
