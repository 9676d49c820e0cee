"""What the engine is told besides the contact: the moment, the programs, and what all programs did so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, tzinfo
from typing import Any

from connector.program import personal
from connector.program.model import Program, Request, Split
from connector.program.offers import OfferBook

Feedback = tuple[str | None, float | None, datetime]
"""The last answer of a contact: its reason, its score, and when it came."""

Said = tuple[str, datetime]
"""The reason a contact gave last, and when."""


@dataclass(frozen=True, kw_only=True)
class World:
    """One run, as every contact finds it.

    now: The moment decisions are made for, aware.
    as_of: The day the features are for.
    zone: The account's time zone: its day is what daily caps count in, and contacts without a zone live in it.
    programs: In order of priority.
    account: The account's name: what a program's default salt is made of.
    splits: How programs are split, where that is known; `decide` chooses the others and gives them back.
    touches_today, entered_today: Touches decided, and treated contacts entered, on the account's day so far.
    paused: Program → why its health gate is shut.
    return_probability: Of coming back within 90 days without being asked, by silent days; None: not known.
    offers: What can be offered; `decide` reserves in it.
    feedback: contact_id → the last answer.
    said: contact_id → the reason given last; it is what a program's `reasons` follow.
    asked: contact_id → requests of the CRM's workflows that they be entered, in the order in which they came.
    ordered: contact_id → the code of EXITS somebody outside asks for: `manual` (taken out by hand), or what an
        integration reports.
    links: What signs one-click links; None: no links.
    values: What makes the properties of a step.
    """

    now: datetime
    as_of: date
    zone: tzinfo
    programs: tuple[Program, ...]
    account: str = ""
    splits: Mapping[str, Split] = field(default_factory=dict)
    touches_today: int = 0
    entered_today: int = 0
    paused: Mapping[str, str] = field(default_factory=dict)
    return_probability: Callable[[int], float] | None = None
    offers: OfferBook = field(default_factory=OfferBook)
    feedback: Mapping[str, Feedback] = field(default_factory=dict)
    said: Mapping[str, Said] = field(default_factory=dict)
    asked: Mapping[str, Sequence[Request]] = field(default_factory=dict)
    ordered: Mapping[str, str] = field(default_factory=dict)
    links: personal.Links | None = None
    values: Callable[..., Mapping[str, str | None]] = personal.values

    def knowing(self, splits: Mapping[str, Split]) -> World:
        """The same with these splits known as well."""
        return replace(self, splits={**splits, **self.splits})

    def default_salt(self, program: Program) -> str:
        """What a program is drawn with where the playbook names no salt."""
        return f"{self.account}/{program.name}"


Row = Mapping[str, Any]
"""One contact's columns of the features relation and of the program columns."""
