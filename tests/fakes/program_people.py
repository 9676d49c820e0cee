"""Persons, programs and worlds for tests of the engine, and books that carry its decisions out as a journal would."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from connector.program.columns import FEEDBACK, PERSON, SIGNALS, STEP
from connector.program.engine import World
from connector.program.model import (
    TREATED,
    CapSettings,
    Decisions,
    Driver,
    Eligibility,
    Episode,
    HoldoutSettings,
    Move,
    Person,
    Program,
    Split,
    StepSettings,
)
from connector.rules.columns import COLUMNS, RELATION_COLUMNS
from connector.rules.conditions import Condition, parse

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
TODAY = NOW.date()
UTC_ZONE = ZoneInfo("UTC")
DORMANT = "dormant"

ZONES = (
    "Pacific/Pago_Pago", "Pacific/Honolulu", "Pacific/Marquesas", "America/Anchorage", "America/Los_Angeles",
    "America/Denver", "America/Chicago", "America/New_York", "America/Halifax", "America/St_Johns", "America/Sao_Paulo",
    "America/Noronha", "Atlantic/Azores", "UTC", "Europe/London", "Europe/Amsterdam", "Africa/Cairo", "Europe/Moscow",
    "Asia/Tehran", "Asia/Dubai", "Asia/Kabul", "Asia/Karachi", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Dhaka",
    "Asia/Yangon", "Asia/Bangkok", "Asia/Shanghai", "Australia/Eucla", "Asia/Tokyo", "Australia/Darwin",
    "Australia/Lord_Howe", "Pacific/Noumea", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Tongatapu",
    "Pacific/Kiritimati",
)  # fmt: skip
"""Zones with more than thirty offsets between them, and every kind of clock change."""

ELIGIBLE = Eligibility(None, "consent_express", None, "gdpr_strict: express consent")
EVERYBODY_TREATED = Split(share=0.0, unit="contact", salt="acme/win-back", eligible=1000)
EVERYBODY_HELD_OUT = Split(share=1.0, unit="contact", salt="acme/win-back", eligible=1000)

QUIET_ROW: Mapping[str, Any] = {
    **dict.fromkeys(RELATION_COLUMNS),
    **{column.relation or column.name: None if column.nullable else 0 for column in SIGNALS},
    **{name: None for name, _ in PERSON},
    "last_active_on": None,
}
"""A row with every column a run has, of somebody who did nothing."""


@cache
def condition(text: str) -> Condition:
    """A checked condition over everything a step may look at."""
    return parse(text, columns={**COLUMNS, **{column.name: column for column in (*SIGNALS, *STEP, *FEEDBACK)}})


def steps(*days: int) -> tuple[StepSettings, ...]:
    """Steps without anything special on these days: reminder, offer, last_chance, feedback, then step_5 …"""
    names = ["reminder", "offer", "last_chance", "feedback", *(f"step_{n}" for n in range(5, 20))]
    return tuple(StepSettings(name=name, day=day) for name, day in zip(names, days, strict=False))


def program(**settings: Any) -> Program:
    """The program of the design, without a holdout of its own choosing."""
    return Program(
        **{
            "name": "win-back",
            "enroll": (DORMANT,),
            "steps": steps(1, 7, 14, 21),
            "reactivated": condition("active_days_since_enrollment >= 1"),
            **settings,
        }
    )


def row(contact_id: str = "crm:1", silent: int | None = 40, *, today: date = TODAY, **values: Any) -> dict[str, Any]:
    """The row of somebody last active so many days ago; None: never."""
    last = None if silent is None else today - timedelta(days=silent)
    return {
        **QUIET_ROW,
        "contact_id": contact_id,
        "inactive_days": silent,
        "last_active_on": last,
        "last_active_at": last and datetime(last.year, last.month, last.day, 9, tzinfo=UTC),
        "created_at": datetime(2024, 1, 1, tzinfo=UTC),
        "as_of": today,
        "email": f"{contact_id.replace(':', '')}@example.com",
        **values,
    }


def person(
    contact_id: str = "crm:1",
    *,
    silent: int | None = 40,
    segments: Sequence[str] = (DORMANT,),
    episodes: Sequence[Episode] = (),
    reason: str | None = None,
    touches: Sequence[datetime] = (),
    today: date = TODAY,
    **values: Any,
) -> Person:
    """A contact, eligible unless a reason is given; further columns by name."""
    return Person(
        row=row(contact_id, silent, today=today, **values),
        segments=segments,
        episodes=episodes,
        eligibility=ELIGIBLE if reason is None else Eligibility(reason),
        touches=touches,
    )


def episode(contact_id: str = "crm:1", *, days_ago: float = 0, now: datetime = NOW, **values: Any) -> Episode:
    """An episode that opened so many days ago, thirty silent days after its spell began."""
    entered = values.pop("entered_at", now - timedelta(days=days_ago))
    started = values.pop("spell_started_on", entered.date() - timedelta(days=30))
    name = values.get("program", "win-back")
    return Episode(
        **{
            "episode_id": f"{name}/{contact_id}/{started}",
            "contact_id": contact_id,
            "program": name,
            "spell_started_on": started,
            "entered_at": entered,
            "entered_as": DORMANT,
            "unit": f"{contact_id}/{started}",
            "stratum": DORMANT,
            "outcome_until": entered + timedelta(days=90),
            **values,
        }
    )


def stepped(step: str = "reminder", *, days_ago: float, state: str = "written", **values: Any) -> Episode:
    """An episode whose newest step was taken so many days ago."""
    now = values.get("now", NOW)
    at = now - timedelta(days=days_ago)
    sent = None if state == "skipped" else at
    taken = {"step": step, "step_state": state, "step_at": at, "send_at": sent, "touches": int(sent is not None)}
    return episode(**{"days_ago": days_ago + 1, **taken, **values})


def world(*programs: Program, now: datetime = NOW, **values: Any) -> World:
    """A run at `now`; programs are split, everybody treated, unless `splits` says otherwise."""
    chosen = programs or (program(),)
    return World(
        **{
            "now": now,
            "as_of": now.date(),
            "zone": UTC_ZONE,
            "programs": chosen,
            "account": "acme",
            "splits": {one.name: EVERYBODY_TREATED for one in chosen},
            "values": named_values,
            **values,
        }
    )


def named_values(program: Program, step: StepSettings, *_: Any, **__: Any) -> Mapping[str, str | None]:
    """The least a step writes: enough to see whose step it was."""
    return {"winback_program": program.name, "winback_step": step.name}


NO_CAPS = CapSettings(per_contact=(1000, timedelta(days=30)), gap=timedelta(0), quiet_after=timedelta(0))
NO_HOLDOUT = HoldoutSettings(share=0.0)


@dataclass
class Books:
    """What a journal and a CRM would remember: decisions carried out, steps confirmed when they are written."""

    episodes: dict[str, Episode] = field(default_factory=dict)
    touched: dict[str, list[datetime]] = field(default_factory=dict)
    decided: list[tuple[datetime, Move]] = field(default_factory=list)
    entered: list[tuple[datetime, Episode]] = field(default_factory=list)
    splits: dict[str, Split] = field(default_factory=dict)

    def carry_out(self, decisions: Decisions, now: datetime) -> None:
        """Remember everything, as `journal.episodes` would; what is there already is not there twice."""
        self.splits = {**decisions.splits, **self.splits}
        for entry in decisions.enter:
            assert entry.episode.episode_id not in self.episodes, "an episode was opened twice"
            self.episodes[entry.episode.episode_id] = entry.episode
            self.entered.append((now, entry.episode))
        for move in decisions.move:
            self._move(move, now)
        for exit_ in decisions.exit:
            old = self.episodes[exit_.episode_id]
            assert old.open, "an episode ended twice"
            self.episodes[exit_.episode_id] = replace(
                old, exited_at=exit_.at, exit_reason=exit_.reason, answered=exit_.answered
            )

    def _move(self, move: Move, now: datetime) -> None:
        old = self.episodes[move.episode_id]
        assert old.open and not old.held_out
        assert old.step_state != "decided", "a step was decided before the one before was written"
        touch = move.state == "decided"
        self.episodes[move.episode_id] = replace(
            old,
            step=move.step,
            step_state=move.state,
            step_at=move.at,
            send_at=move.send_at,
            written_at=None,
            variant=move.variant,
            branch=move.branch,
            offer=move.offer or old.offer,
            code=move.code if move.offer else old.code,
            values=move.values if touch else old.values,
            touches=old.touches + touch,
        )
        self.decided.append((now, move))
        if touch:
            assert move.send_at is not None
            self.touched.setdefault(move.contact_id, []).append(move.send_at)

    def written(self, now: datetime) -> None:
        """The CRM confirmed whatever was decided."""
        for key, one in self.episodes.items():
            if one.step_state == "decided":
                self.episodes[key] = replace(one, step_state="written", written_at=now)

    def of(self, contact_id: str) -> list[Episode]:
        """A contact's episodes, newest first."""
        found = [one for one in self.episodes.values() if one.contact_id == contact_id]
        return sorted(found, key=lambda one: (one.entered_at, one.episode_id), reverse=True)

    def touches(self, contact_id: str) -> list[datetime]:
        """A contact's touches, newest first."""
        return sorted(self.touched.get(contact_id, ()), reverse=True)

    def today(self, start: datetime, end: datetime) -> Mapping[str, int]:
        """Touches decided and treated contacts entered in a time, as the world is told them."""
        touches = sum(start <= at < end and move.state == "decided" for at, move in self.decided)
        entered = sum(start <= at < end and one.arm == TREATED for at, one in self.entered)
        return {"touches_today": touches, "entered_today": entered}


@dataclass
class Somebody:
    """A contact over time: when it was active, and what else became of it; what a warehouse would know on a day."""

    contact_id: str
    active_on: list[date]
    timezone: str | None = None
    account_id: str | None = None
    excluded_from: dict[date, str] = field(default_factory=dict)
    reported: dict[date, date] = field(default_factory=dict)
    """Active day → the day it was heard of, where that was later."""

    def as_of(self, now: datetime, books: Books, *, dormant_from: int = 30) -> Person:
        """The contact at a moment: activity of that day counts, and nothing that was not yet reported."""
        day = now.date()
        known = [on for on in self.active_on if on <= day and self.reported.get(on, on) <= day]
        last = max(known, default=None)
        silent = None if last is None else (day - last).days
        episodes = books.of(self.contact_id)
        signals: dict[str, Any] = {}
        if episodes and episodes[0].open:
            entered = episodes[0].entered_at.date()
            since = [on for on in known if on >= entered]
            inside = [on for on in known if episodes[0].spell_started_on <= on < entered]
            signals["active_days_since_enrollment"] = len(since)
            if inside:
                signals["spell_broken_on"] = datetime(inside[0].year, inside[0].month, inside[0].day, tzinfo=UTC)
        reason = next((code for on, code in sorted(self.excluded_from.items()) if on <= day), None)
        return person(
            self.contact_id,
            silent=silent,
            today=day,
            segments=(DORMANT,) if silent is not None and silent >= dormant_from else (),
            episodes=episodes,
            reason=reason,
            touches=books.touches(self.contact_id),
            timezone=self.timezone,
            account_id=self.account_id,
            **signals,
        )


def hours(start: datetime, count: int, every: timedelta) -> Iterator[datetime]:
    """Moments at which a scheduler runs."""
    return (start + every * n for n in range(count))


CRM_DRIVEN = Driver.CRM


def caps_were_kept(settings: Program, books: Books) -> None:
    """Nobody was touched too often or too soon, and no day had more touches or entries than it may."""
    most, period = settings.caps.per_contact
    for contact_id in books.touched:
        sent = sorted(books.touched[contact_id])
        assert all(later - earlier >= settings.caps.gap for earlier, later in pairwise(sent))
        assert all(sent[n + most] - sent[n] >= period for n in range(len(sent) - most))
    if settings.caps.per_day is not None:
        touches, entries = defaultdict(int), defaultdict(int)
        for at, move in books.decided:
            touches[at.date()] += move.state == "decided"
        for at, one in books.entered:
            entries[at.date()] += one.arm == TREATED
        assert max([0, *touches.values(), *entries.values()]) <= settings.caps.per_day
