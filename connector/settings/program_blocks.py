"""The keys of a `program:` block, and of what programs share: `links:` and `keys:`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema, field_validator

from connector.durations import Duration
from connector.program.codes import EXITS
from connector.program.model import Basis, Driver
from connector.reasons.codes import REASONS
from connector.settings.block import Block, Name, ProgramName
from connector.settings.program_values import Count, Country, Days, Money, Pause, ShareOrAuto, Whole, Window, Workflow
from connector.settings.values import SECRET_SCHEMA, SEVERAL_SECRETS_SCHEMA, Share

SHORTEST_KEY = 32
"""Characters of a key: fewer could be guessed."""

Condition = str | bool
Profile = Literal["gdpr_strict", "gdpr_soft_opt_in", "can_spam", "casl", "ccpa", "custom"]
ExitName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(EXITS)})]
ReasonName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(REASONS)})]


class AdjustmentBlock(Block):
    """Another day for a step."""

    when: Condition = Field(description="a condition; the first of the list that holds sets the day")
    day: Whole = Field(ge=0, le=3650, description="the day in place of the step's own")


class StepBlock(Block):
    """One step of a program."""

    name: Name = Field(description="what its list and winback_step are called after")
    day: Whole = Field(ge=0, le=3650, description="calendar days since entry, in the contact's time zone; 0: that day")
    when: Condition | None = Field(default=None, description="a condition; where it does not hold the step is skipped")
    adjust: tuple[AdjustmentBlock, ...] = Field(
        default=(), description="other days: sooner after a strong signal, later after none"
    )
    branches: Mapping[Name, Condition] = Field(
        default_factory=dict, description="name: condition; the first that holds is written as winback_branch"
    )
    variants: Mapping[Name, Share] = Field(
        default_factory=dict, description="name: share; who gets which is drawn and written as winback_variant"
    )
    offer: str | None = Field(default=None, description="an offer by name, or ladder: the contact's next rung")
    workflow: Workflow | None = Field(default=None, description="the CRM's workflow, for enroll: workflow")


class HoldoutBlock(Block):
    """Who is left alone on purpose, to measure what the program is worth."""

    share: ShareOrAuto = Field(
        default=None, description="how many; auto: 50% up to 2,000 people, 30% to 5,000, 20% to 20,000, 10% above"
    )
    by: tuple[str, ...] = Field(
        default=("segment",), description="drawn apart in each: segment, or columns with few values"
    )
    unit: Literal["auto", "contact", "account"] = Field(
        default="auto", description="what is drawn; auto: the account where accounts hold several people"
    )
    salt: str | None = Field(
        default=None, min_length=1, max_length=100, description="changes the draw; without it account and program name"
    )


class CapsBlock(Block):
    """How often anybody may be touched."""

    per_contact: Count = Field(default=(4, timedelta(days=30)), description="most touches of one contact in a time")
    gap: Duration = Field(default=timedelta(days=3), description="least time between two touches of a contact")
    per_day: Whole | None = Field(
        default=None, ge=0, description="most touches, and most entries, a day; null: any; 0: a pause"
    )
    quiet_after: Duration = Field(default=timedelta(days=90), description="no new sequence for so long after one ended")


class SendBlock(Block):
    """When mail may go out, in the contact's time zone."""

    window: Window | None = Field(default=None, description="the part of the day; null: any time")
    days: Days = Field(
        default=frozenset(range(7)), min_length=1, description="business, all, or a list such as [mon, tue]"
    )
    blackout: tuple[Pause, ...] = Field(default=(), description="pauses, first and last date: 2026-12-24..2027-01-01")
    best_hour: bool = Field(default=False, description="aim at the hour of the contact's own use, inside the window")
    hold: Literal["crm", "winback"] = Field(
        default="crm",
        description="who waits for the window: the CRM, until winback_send_at, or winback's own runs",
    )


class ConsentBlock(Block):
    """Which rules on permission apply. Not legal advice."""

    profile: Profile = Field(default="gdpr_strict", description="the rules for everybody")
    countries: Mapping[Country, Profile] = Field(
        default_factory=dict, description="country code: profile, in place of it for people there"
    )
    assume_country: Country | None = Field(default=None, description="what an unknown country is taken for")
    max_age: Duration = Field(default=timedelta(hours=48), description="how old the CRM's word on consent may be")
    custom: Mapping[Basis, Duration | None] = Field(
        default_factory=dict, description="for profile custom: basis: how long it holds; null: without end"
    )
    retention: Duration | None = Field(
        default=None, description="how long who does not answer is kept; null: as the profile says"
    )
    hygiene: bool = Field(default=True, description="leave out role, throw-away and repeated addresses")


class OfferBlock(Block):
    """One thing that can be offered."""

    cost: float = Field(default=0.0, ge=0, le=1e9, description="what it costs us when taken, in the account's currency")
    discount: bool = Field(default=False, description="a price cut: never the first thing anybody is offered")
    codes: str | None = Field(
        default=None, min_length=1, description="generate, or a file with one code a line; null: it needs no code"
    )
    expires: Duration | None = Field(default=None, description="how long a code is good for; null: no end")
    redeemed_by: Condition | None = Field(default=None, description="a condition that shows it was taken")


class OffersBlock(Block):
    """What can be offered, in which order, and how much of it."""

    items: Mapping[Name, OfferBlock] = Field(default_factory=dict, description="the offers by name")
    ladder: tuple[str, ...] = Field(default=("none",), min_length=1, description="rungs, cheapest first; none: nothing")
    ladders: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, description="segment: ladder, in place of it for those who entered as that"
    )
    budget: Money | None = Field(default=None, description="most that open and taken offers may cost in a time")
    per_contact: Money | None = Field(default=None, description="most that one contact may be offered in a time")
    skip_above: Share = Field(default=0.5, description="no offer to who returns anyway with at least this chance")
    minimum_value: float | None = Field(default=None, ge=0, description="no discount to who paid less in 365 days")


class SunsetBlock(Block):
    """When to stop for good."""

    after_episodes: Whole | None = Field(
        default=1, ge=1, le=100, description="so many unanswered sequences in a row; null: never"
    )
    segment: Name = Field(default="sunset", description="what the list is called after")
    lasts: Duration = Field(default=timedelta(days=180), description="no new sequence for so long; a return ends it")


class HealthBlock(Block):
    """When the program pauses by itself: shares of the touches of the last 30 days."""

    sample: Whole = Field(default=200, ge=1, description="not judged before so many touches")
    spam: Share = Field(default=0.001, description="pause at this share of spam reports")
    bounce_warn: Share = Field(default=0.02, description="warn at this share of hard bounces")
    bounce: Share = Field(default=0.05, description="pause at this share of hard bounces")
    unsubscribe: Share = Field(default=0.05, description="pause at this share of unsubscribes")


class PersonalizeBlock(Block):
    """What the mail can merge besides the step."""

    whats_new: str | None = Field(default=None, min_length=1, description="a file: what is new, by feature, role, tier")
    next_steps: Mapping[str, str] = Field(default_factory=dict, description="feature used last: what to try next")
    links: bool = Field(default=False, description="write one-click links; needs `links` at the top of the file")


class ReasonBlock(Block):
    """What follows when somebody says why they left, while they are in the program."""

    exit: bool = Field(default=False, description="it ends for them")
    snooze: Duration | None = Field(default=None, description="they are left alone for so long")
    step: Name | None = Field(default=None, description="the next step is this one; those between are skipped")
    offer: str | None = Field(
        default=None, description="the rung of the ladder they are offered next, if the rails allow it"
    )
    route: tuple[Literal["task", "slack", "teams"], ...] = Field(
        default=(), description="who is told: task: the owner in the CRM; slack, teams: a channel, without names"
    )


class ProgramBlock(Block):
    """Who enters, what happens to them on which day, and when it stops."""

    name: ProgramName = Field(description="what its lists are called after; episodes are kept under it")
    enroll: tuple[str, ...] = Field(min_length=1, description="segments, in order of priority")
    driver: Driver = Field(default=Driver.WINBACK, description="who waits between steps: winback, or one workflow: crm")
    workflow: Workflow | None = Field(default=None, description="the CRM's workflow of the program, for driver: crm")
    steps: tuple[StepBlock, ...] = Field(min_length=1, description="what happens on which day")
    variants: Mapping[str, Mapping[Name, Share]] = Field(
        default_factory=dict, description="step: variants, as `variants` of the step itself"
    )
    exit: tuple[ExitName, ...] | None = Field(
        default=None, description="what else ends it besides return and opt-out; without it everything does"
    )
    reactivated: Condition = Field(
        default="active_days_since_enrollment >= 1", description="a condition: they are back"
    )
    converted: Condition | None = Field(
        default=None, description="a condition: bought or upgraded; without it any transaction since entry"
    )
    ends_after: Duration = Field(default=timedelta(days=14), description="it ends so long after the last step")
    outcome_window: Duration = Field(default=timedelta(days=90), description="so long after entry a return counts")
    holdout: HoldoutBlock = Field(default_factory=HoldoutBlock, description="who is left alone, to measure")
    caps: CapsBlock = Field(default_factory=CapsBlock, description="how often anybody may be touched")
    send: SendBlock = Field(default_factory=SendBlock, description="when mail may go out")
    consent: ConsentBlock = Field(default_factory=ConsentBlock, description="which rules on permission apply")
    offers: OffersBlock = Field(default_factory=OffersBlock, description="what can be offered")
    reasons: Mapping[ReasonName, ReasonBlock] = Field(
        default_factory=dict, description="reason: what follows when somebody gives it"
    )
    sunset: SunsetBlock | None = Field(default=None, description="when to stop for good; without it never")
    health: HealthBlock = Field(default_factory=HealthBlock, description="when the program pauses by itself")
    personalize: PersonalizeBlock = Field(default_factory=PersonalizeBlock, description="what the mail can merge")


# --- what programs share --------------------------------------------------------------------------------------


def is_web_address(url: str) -> str:
    """An https address with a host and nothing behind it that a link could trip over; http only on this machine."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    strange = any(not character.isprintable() or character in ' "<>\\' for character in url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or strange:
        message = "is not a web address; write it like https://links.example.com"
        raise ValueError(message)
    if parts.scheme == "http" and not _is_local(parts.hostname):
        message = "must begin with https://"
        raise ValueError(message)
    return url


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


WebAddress = Annotated[
    str,
    AfterValidator(is_web_address),
    WithJsonSchema({"type": "string", "pattern": "^https?://", "examples": ["https://links.example.com"]}),
]


def _is_base(url: str) -> str:
    """An address that paths can be put behind."""
    if "?" in url or "#" in url:
        message = "must end before any ? or #: a path is put behind it"
        raise ValueError(message)
    return url


BaseAddress = Annotated[WebAddress, AfterValidator(_is_base)]


class LinksBlock(Block):
    """One-click links: where they lead."""

    public_base_url: BaseAddress = Field(description="where winback answers; every link begins with it")
    destinations: Mapping[Name, WebAddress] = Field(
        default_factory=dict, description="name: address; the only places a link can lead to"
    )
    default: Name | None = Field(default=None, description="the destination of a link that names none; else the first")
    expires: Duration = Field(
        default=timedelta(days=90), description="how long links to come back or snooze work; unsubscribing never ends"
    )
    snooze: tuple[Duration, ...] = Field(
        default=(timedelta(days=30), timedelta(days=60), timedelta(days=90)),
        min_length=1,
        description="how long one may ask to be left alone",
    )

    @property
    def default_destination(self) -> str | None:
        """The name of the destination where none is named."""
        return self.default or next(iter(self.destinations), None)


def _is_long_enough(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < SHORTEST_KEY:
        message = f"is shorter than {SHORTEST_KEY} characters; make one with: openssl rand -base64 32"
        raise ValueError(message)
    return key


Key = Annotated[SecretStr, AfterValidator(_is_long_enough), WithJsonSchema(SECRET_SCHEMA)]


class KeysBlock(Block):
    """Secrets of our own; without them the journal makes and keeps them."""

    links: Annotated[tuple[Key, ...], WithJsonSchema(SEVERAL_SECRETS_SCHEMA)] = Field(
        default=(), description="what signs links; newest first, old ones still read"
    )
    suppression: Key | None = Field(
        default=None, description="what addresses on the suppression list are hidden with; a new one forgets the list"
    )

    @field_validator("links", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value
