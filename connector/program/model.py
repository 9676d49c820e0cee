"""What a program is made of, and what it decides: settings, episodes, consent, decisions. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from connector.rules.conditions import Condition

# --- settings: a `program:` block, checked -----------------------------------------------------------------


class Driver(StrEnum):
    """Who does the waiting between steps: we move contacts from list to list, or one workflow of the CRM does."""

    WINBACK = "winback"
    CRM = "crm"


@dataclass(frozen=True, slots=True)
class Adjustment:
    """Another day for a step, when its condition holds: sooner after a strong signal, later after none."""

    when: Condition
    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """One step of a cadence.

    day: Calendar days since entry, in the contact's time zone; 0 is the day of entry.
    when: Without it holding, the step is skipped.
    adjust: The first whose condition holds replaces `day`.
    branches: Name → condition; the first that holds is the contact's branch, None when none does.
    variants: Name → share; shares add up to 1. Empty: no test.
    offer: Name of an offer, `ladder` for the next rung, None for no offer.
    workflow: The CRM's workflow for this step, where enrollment is direct.
    """

    name: str
    day: int
    when: Condition | None = None
    adjust: tuple[Adjustment, ...] = ()
    branches: Mapping[str, Condition] = field(default_factory=dict)
    variants: Mapping[str, float] = field(default_factory=dict)
    offer: str | None = None
    workflow: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldoutSettings:
    """How many are left alone. `share` None: by the number of eligible contacts (50, 30, 20, 10 %).

    by: Strata: `segment`, or names of contact columns.
    unit: contact, account, or auto (account when accounts hold more than 1.3 eligible contacts on average).
    salt: None: the account's and the program's name.
    """

    share: float | None = None
    by: tuple[str, ...] = ("segment",)
    unit: str = "auto"
    salt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapSettings:
    """How often one person may be touched, over all programs of the install.

    per_contact: At most so many touches in so many days, rolling.
    gap: Least time between two touches of a contact.
    per_day: Touches, and entries, a day; None: no limit.
    quiet_after: No new episode for so long after the last one ended.
    """

    per_contact: tuple[int, timedelta] = (4, timedelta(days=30))
    gap: timedelta = timedelta(days=3)
    per_day: int | None = None
    quiet_after: timedelta = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSettings:
    """When mail may go out, in the contact's time zone.

    window: First and last moment of the day; None: any time.
    days: Weekdays, Monday is 0.
    blackout: First and last date of each pause, inclusive.
    best_hour: Aim at the contact's own hour of use inside the window.
    hold: crm (default): the step is taken on its day and `winback_send_at` tells the CRM when to send; winback: the
        step is taken only by a run inside the window.
    """

    window: tuple[time, time] | None = None
    days: frozenset[int] = frozenset(range(7))
    blackout: tuple[tuple[date, date], ...] = ()
    best_hour: bool = False
    hold: str = "crm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentSettings:
    """Which rules on permission apply.

    profile: gdpr_strict, gdpr_soft_opt_in, can_spam, casl, ccpa or custom.
    countries: ISO country code → profile, in place of `profile` for people there.
    assume_country: What an unknown country is taken for; None: unknown stays unknown.
    max_age: How old the CRM's word on consent may be.
    custom: For profile custom: allowed basis → how long it holds (None: no end).
    retention: How long somebody who does not answer is kept; None: the profile's.
    hygiene: Leave out role and disposable addresses and all but one of those who share one.
    """

    profile: str = "gdpr_strict"
    countries: Mapping[str, str] = field(default_factory=dict)
    assume_country: str | None = None
    max_age: timedelta = timedelta(hours=48)
    custom: Mapping[str, timedelta | None] = field(default_factory=dict)
    retention: timedelta | None = None
    hygiene: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One thing that can be offered.

    cost: What it costs us when taken, in the account's currency.
    discount: A price cut: never the first rung anybody gets.
    codes: `generate`, a file with one code a line (relative to the playbook), or None when it needs no code.
    expires: How long a code is good for.
    redeemed_by: A condition over a contact's columns that shows it was taken; None: only a reconciliation file.
    """

    name: str
    cost: float = 0.0
    discount: bool = False
    codes: str | None = None
    expires: timedelta | None = None
    redeemed_by: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSettings:
    """The ladder and its rails.

    ladder: Rungs by name, cheapest first; `none` is no offer.
    ladders: Segment → ladder, in place of `ladder`.
    budget: Most that outstanding and redeemed offers may cost, and per how long; None: no limit.
    per_contact: Most one contact may be offered, and per how long.
    skip_above: No offer to somebody whose chance to return anyway is at least this.
    minimum_value: No discount to somebody whose value_365d is below this.
    """

    offers: Mapping[str, Offer] = field(default_factory=dict)
    ladder: tuple[str, ...] = ("none",)
    ladders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    budget: tuple[float, timedelta] | None = None
    per_contact: tuple[float, timedelta] | None = None
    skip_above: float = 0.5
    minimum_value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SunsetSettings:
    """When to stop for good.

    after_episodes: So many unanswered episodes in a row; None: never.
    segment: The name of the list.
    lasts: No new episode for so long (a return ends it at once).
    """

    after_episodes: int | None = None
    segment: str = "sunset"
    lasts: timedelta = timedelta(days=180)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """When a program pauses: shares of the touches of the last 30 days, once there are `sample` of them."""

    sample: int = 200
    spam: float = 0.001
    bounce_warn: float = 0.02
    bounce: float = 0.05
    unsubscribe: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalSettings:
    """What the mail can merge. `whats_new` is the checked content of whats_new.yaml, newest first."""

    whats_new: tuple[Mapping[str, Any], ...] = ()
    next_steps: Mapping[str, str] = field(default_factory=dict)
    """Feature → what to try next."""
    links: bool = False
    """Write one-click links (needs `links:` in the playbook)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonRule:
    """What follows when somebody says why they left, while they are in the program.

    exit: It ends for them. snooze: They are left alone for so long.
    step: Their next step is this one, if it is still ahead; those between are skipped.
    offer: The rung of their ladder they are offered next; what they said themselves outranks the ladder's order.
    route: Who is told: `task`, `slack`, `teams`.
    """

    exit: bool = False
    snooze: timedelta | None = None
    step: str | None = None
    offer: str | None = None
    route: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program, checked.

    enroll: Names of segments, in order of priority.
    exit: Exits that apply besides those that always do; None: all.
    reactivated, converted: Conditions over the program columns; `converted` None: any transaction since entry.
    ends_after: How long after the last step the episode ends as completed.
    outcome_window: How long after entry a return still counts, and a holdout is left alone.
    reasons: Reason → what follows when somebody gives it after they entered.
    workflow: The CRM's workflow of the whole program (driver crm with direct enrollment).
    """

    name: str
    enroll: tuple[str, ...]
    steps: tuple[StepSettings, ...]
    reactivated: Condition
    converted: Condition | None = None
    driver: Driver = Driver.WINBACK
    workflow: str | None = None
    exit: frozenset[str] | None = None
    ends_after: timedelta = timedelta(days=14)
    outcome_window: timedelta = timedelta(days=90)
    holdout: HoldoutSettings = field(default_factory=HoldoutSettings)
    caps: CapSettings = field(default_factory=CapSettings)
    send: SendSettings = field(default_factory=SendSettings)
    consent: ConsentSettings = field(default_factory=ConsentSettings)
    offers: OfferSettings = field(default_factory=OfferSettings)
    sunset: SunsetSettings = field(default_factory=SunsetSettings)
    health: HealthSettings = field(default_factory=HealthSettings)
    personal: PersonalSettings = field(default_factory=PersonalSettings)
    reasons: Mapping[str, ReasonRule] = field(default_factory=dict)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of the program: what it needs columns for."""
        found: list[Condition] = [self.reactivated]
        if self.converted is not None:
            found.append(self.converted)
        for step in self.steps:
            found += [step.when] if step.when is not None else []
            found += [adjustment.when for adjustment in step.adjust]
            found += step.branches.values()
        found += [offer.redeemed_by for offer in self.offers.offers.values() if offer.redeemed_by is not None]
        return tuple(found)

    def number(self, step: str) -> int | None:
        """The place of a step, from 0; None when the playbook has it no more."""
        return next((n for n, settings in enumerate(self.steps) if settings.name == step), None)


# --- state: what the journal remembers ---------------------------------------------------------------------

HOLDOUT = "holdout"
TREATED = "treated"

REQUESTED = "requested"
"""In place of a segment: somebody a workflow of the CRM asked for. Being in no segment does not end their episode."""

NOBODY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Episode:
    """One dormant spell of one contact in one program: the key of everything written about it.

    episode_id: `<program>/<contact_id>/<spell_started_on>`; the id as at entry (a merge changes contact_id only).
    spell_started_on: First silent day.
    entered_as: The segment, or REQUESTED.
    arm: `holdout` or `treated`.
    unit, stratum, share: What the draw was made with, as it was then.
    step, step_state: The newest step taken or skipped, and `decided` (not confirmed in the CRM yet), `written`,
        `skipped`, or `undone` (taken back by an undo: on no list, never taken again). None before the first.
    step_at: When it was decided. send_at: when it may be sent (= the touch), None where skipped.
    written_at: When the CRM confirmed it.
    values: Properties written with the step, as they were then.
    touches: Steps taken so far that touch the contact (skipped ones do not count).
    answered: A human click, reply, visit, conversion or return was seen.
    consent: The permission relied on at entry.
    """

    episode_id: str
    contact_id: str
    program: str
    spell_started_on: date
    entered_at: datetime
    entered_as: str
    arm: str = TREATED
    unit: str = ""
    stratum: str = ""
    share: float = 0.0
    step: str | None = None
    step_state: str | None = None
    step_at: datetime | None = None
    send_at: datetime | None = None
    written_at: datetime | None = None
    variant: str | None = None
    branch: str | None = None
    offer: str | None = None
    code: str | None = None
    values: Mapping[str, str | None] = field(default_factory=dict)
    touches: int = 0
    answered: bool = False
    exited_at: datetime | None = None
    exit_reason: str | None = None
    outcome_until: datetime | None = None
    account_id: str | None = None
    return_probability: float | None = None
    consent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Not ended."""
        return self.exited_at is None

    @property
    def held_out(self) -> bool:
        """In the holdout: appears in nothing that is written."""
        return self.arm == HOLDOUT


@dataclass(frozen=True, slots=True)
class Request:
    """A workflow of the CRM asks for somebody to be entered. program: None: the first that takes them."""

    key: str
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """How a program is split, fixed the first time somebody enters and never re-drawn.

    share: Of the holdout. unit: contact or account. eligible: Contacts it was chosen for.
    """

    share: float
    unit: str
    salt: str
    eligible: int


class Basis(StrEnum):
    """On what a permission to mail rests."""

    CONSENT_EXPRESS = "consent_express"
    CONSENT_IMPLIED = "consent_implied"
    SOFT_OPT_IN = "soft_opt_in"
    LEGITIMATE_INTEREST = "legitimate_interest"
    CONTRACT = "contract"


class Status(StrEnum):
    """What an entry of the consent ledger says."""

    GRANTED = "granted"
    WITHDRAWN = "withdrawn"
    RESUBSCRIBED = "resubscribed"
    """A later, explicit, evidenced opt-in by the person: the only thing that lifts a withdrawal."""
    COMPLAINED = "complained"
    BOUNCED = "bounced"
    SNOOZED = "snoozed"
    """Until `expires_at`."""
    LEGAL_HOLD = "legal_hold"
    RELEASED = "released"
    """Ends a legal hold."""
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentEvent:
    """One line of the consent ledger: what was said, by whom, on what evidence. Never changed, never deleted.

    subject: A contact_id, or `email:<hmac>` for an address that is suppressed without its contact being known.
    event_key: Makes the same event count once however often it is heard.
    evidence: Form id or URL, wording version, CRM field and value, file name: what proves it; no address, no name.
    """

    subject: str
    status: Status
    captured_at: datetime
    source: str
    event_key: str
    basis: Basis | None = None
    channel: str = "email"
    purpose: str = "marketing"
    evidence: Mapping[str, Any] = field(default_factory=dict)
    expires_at: datetime | None = None
    actor: str | None = None
    recorded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ConsentState:
    """The ledger folded for one subject, the same in whatever order its lines arrived.

    granted: The best live permission (basis, when, until when it was said to hold, from where).
    grants: Every permission that still stands, best first: which of them serves is for the profile to say.
    """

    opted_out_at: datetime | None = None
    complained_at: datetime | None = None
    bounced_at: datetime | None = None
    erased_at: datetime | None = None
    legal_hold: bool = False
    snoozed_until: datetime | None = None
    granted: ConsentEvent | None = None
    grants: tuple[ConsentEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Whether somebody may be contacted, and why (not).

    reason: A code of EXCLUSIONS; None: may be contacted.
    basis, until: The permission relied on and when it lapses (None: no end known).
    rule: One line: the profile, what was looked at, and its date. No address in it.
    """

    reason: str | None
    basis: str | None = None
    until: datetime | None = None
    rule: str = ""


# --- decisions ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """An episode to open."""

    episode: Episode


@dataclass(frozen=True, slots=True)
class Move:
    """A step to take (`decided`) or to pass over (`skipped`).

    target, row_id: What confirms it in the CRM: a list's name, `workflow:<id>`, or "" for property values, and the
        record; None: nothing to wait for. Filled in by the plan, not by the engine.
    destination: Where that record is; None: whichever destination says so.
    expires_at: When the code lapses; None: never.
    """

    episode_id: str
    contact_id: str
    step: str
    state: str
    due_on: date
    at: datetime
    send_at: datetime | None = None
    variant: str | None = None
    branch: str | None = None
    offer: str | None = None
    code: str | None = None
    cost: float = 0.0
    values: Mapping[str, str | None] = field(default_factory=dict)
    target: str | None = None
    row_id: str | None = None
    destination: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """An episode to close."""

    episode_id: str
    contact_id: str
    reason: str
    at: datetime
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Upcoming:
    """What happens to a contact next, if nothing else does: a step, or the end."""

    on: date
    what: str


class Placed(NamedTuple):
    """Where somebody in a program is: of their open episode what says on which list they belong, with which values."""

    episode_id: str
    program: str
    step: str | None
    step_state: str | None
    values: Mapping[str, str | None]

    @classmethod
    def by(cls, episode: Episode) -> Placed:
        """Where this episode puts its contact."""
        return cls(episode.episode_id, episode.program, episode.step, episode.step_state, episode.values)


@dataclass(slots=True)
class Decisions:
    """What the programs decide for everybody in one run.

    placed: contact_id → where they will be once the decisions are carried out; everybody who belongs on a step list.
        Holdouts are never in it.
    held_out: Contacts in nothing that is written.
    excluded: Code of EXCLUSIONS → contacts in a segment, or in a program, who may not be touched.
    deferred: Code of DEFERRALS → contacts who wait.
    sunset: Contacts on the sunset list.
    answers: Key of a request → what was decided: a code of ANSWERS, EXCLUSIONS or DEFERRALS.
    notes: What must be said aloud (a paused program, a spell that never was).
    """

    enter: list[Entry] = field(default_factory=list)
    move: list[Move] = field(default_factory=list)
    exit: list[Exit] = field(default_factory=list)
    placed: dict[str, Placed] = field(default_factory=dict)
    held_out: set[str] = field(default_factory=set)
    excluded: dict[str, list[str]] = field(default_factory=dict)
    deferred: dict[str, list[str]] = field(default_factory=dict)
    sunset: set[str] = field(default_factory=set)
    splits: dict[str, Split] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Person:
    """One contact as the programs see it.

    row: Columns of the features relation and of PROGRAM_COLUMNS.
    segments: Those the contact is in now, in the playbook's order.
    episodes: Of this contact, in all programs: the open one and those that ended, newest first.
    eligibility: Whether the contact may be contacted at all, by the rules of the programs' consent.
    touches: Times of the contact's touches (send_at) in all programs, within the longest cap, newest first.
    """

    row: Mapping[str, Any]
    segments: Sequence[str]
    episodes: Sequence[Episode]
    eligibility: Eligibility
    touches: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine says about one contact, before what only the whole crowd decides (daily caps, budgets).

    state: none, excluded, deferred, candidate, held_out, in_program, leaving, sunset.
    reason: The code of an exclusion, deferral or exit.
    program, step: Where the contact is.
    exit, moves, entry: What would be done now.
    """

    state: str
    reason: str | None = None
    program: str | None = None
    step: str | None = None
    episode: Episode | None = None
    exit: Exit | None = None
    moves: tuple[Move, ...] = ()
    entry: Entry | None = None
    upcoming: Upcoming | None = None
