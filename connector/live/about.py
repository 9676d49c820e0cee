"""What judging is given besides the event: the playbook's part, who it is about, and where they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

from connector.journal.facts import Fact
from connector.program.model import Episode, Program
from connector.receivers import ReceiverOptions
from connector.rules.conditions import Condition

OPTED_OUT, BOUNCED = "opted_out", "bounced"
"""The neutral columns whose properties a CRM may change in mid-sequence."""

SNOOZE = timedelta(days=30)
"""How long somebody is left alone where nobody says how long."""

Reading = tuple[str | None, float]
"""What a text says: a reason or None, and how sure that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the playbook says about hearing.

    programs: In order of priority.
    counts: `activity.counts`; None: every use counts.
    zone: The account's time zone: its days are active days.
    system: Of the CRM we write to; of several, of the first.
    destinations: Where there are several: name → the system of its ids, in order.
    surveys: Source → its options, with what its questions and choices mean.
    flags: System → a record's property → the neutral column it fills, OPTED_OUT or BOUNCED.
    keep_text: Whether people's own words are kept.
    reason_property: The property a reason is written to.
    snooze: How long somebody is left alone who does not say how long.
    classify: Reads a reason out of a text, given the language it was asked in.
    """

    programs: tuple[Program, ...] = ()
    counts: Condition | None = None
    zone: tzinfo
    system: str | None = None
    destinations: Mapping[str, str] = field(default_factory=dict)
    surveys: Mapping[str, ReceiverOptions] = field(default_factory=dict)
    flags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    keep_text: bool = True
    reason_property: str = "winback_reason"
    snooze: timedelta = SNOOZE
    classify: Callable[[str, str | None], Reading] = lambda _text, _language: (None, 0.0)

    def program(self, name: str | None) -> Program | None:
        """The program of this name; None when the playbook has it no more."""
        return next((program for program in self.programs if program.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How we came to hear of something: the source, its own key of the event, and when it arrived."""

    source: str
    key: str
    received_at: datetime
    number: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the last run published of somebody in a program: what its conditions read, as it was then.

    columns: By the relation's names. upto: Facts up to this number were counted. last_active_on: The last active day.
    """

    episode_id: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    upto: int = 0
    last_active_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Whom an event is about, and where they stand.

    contact_id: None: nobody we know. why: What decided that.
    addresses: Of the person, as the consent ledger knows them.
    episodes: All of the contact, newest first.
    stopped: The contact has been stopped and no run has taken that over yet: an episode that ended may have been ended
        by what was heard since, and what is heard now may have happened before.
    held_out: In a holdout, or still measured as part of one: nothing is written about this contact that is not true
        of everybody.
    erased: Asked for their data to be erased: nothing more is kept.
    refused: Said no before: every CRM has been told, or said so itself.
    weigh: Whether what happened may still end an episode; not once the contact is known to have come back before.
    facts: Heard of the contact since the oldest episode that matters began.
    answered: (when, key) of the newest complete answer that named a reason.
    """

    contact_id: str | None
    why: str = ""
    who: tuple[str, str] = ("nobody", "")
    addresses: tuple[str, ...] = ()
    episodes: Sequence[Episode] = ()
    stopped: bool = False
    held_out: bool = False
    erased: bool = False
    refused: bool = False
    published: Published = field(default_factory=Published)
    weigh: bool = True
    facts: Sequence[Fact] = ()
    answered: tuple[datetime, str] | None = None

    @property
    def current(self) -> Sequence[Episode]:
        """Episodes that what is heard may still end, or have ended earlier: open ones, and since the last run ended."""
        newest: dict[str, Episode] = {}
        for episode in self.episodes:
            newest.setdefault(episode.program, episode)
        return [episode for episode in newest.values() if episode.open or self.stopped]
