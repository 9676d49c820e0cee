"""Which offer a step makes, and what keeps that from getting expensive. One book serves one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connector.program import coupons
from connector.program.model import Episode, Offer, OfferSettings, Program, StepSettings

LADDER = "ladder"
"""As a step's offer: the next rung."""

NONE = "none"
"""The rung that offers nothing; remembered under this name, so that the next rung is known."""

GENERATED = "generate"
"""As an offer's codes: made here, from the secret key of the journal."""

VALUE = "value_365d"
"""The column that `propose` looks at."""

PRICE = "price"
"""The reason that may be answered with a discount at once.

Nobody is offered one first, so that nobody learns to wait for it. Who says that the price is why they left has said so
before any offer: that is an answer to them, and teaches nothing.
"""

BUDGET = "offer_budget"
NO_CODE = "no_code_left"

_ROUNDING = 1e-6
"""Sums of money in floating point may be off by less than this."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a step offers one contact, before budget and codes.

    name: What the episode remembers: the offer's name, or `none` where that is the rung; None where nothing is
        offered otherwise (the step makes no offer, or a rail forbids it), so that the contact stays at its rung.
    offer: None: nothing is offered.
    why: For `explain`, in words.
    """

    name: str | None
    offer: Offer | None
    why: str


@dataclass(frozen=True, slots=True)
class Preference:
    """What somebody is to be offered for the reason they gave.

    name: The offer. step: The step the reason asks for, which then makes an offer even if it makes none otherwise.
    """

    name: str
    reason: str
    step: str | None = None


NOTHING = Proposal(None, None, "the step makes no offer")


@dataclass(frozen=True, slots=True)
class Reserved:
    """An offer that was set aside for a step: what Move.offer, .code and .cost and the properties say.

    name: As Proposal.name.
    until: When the offer ends; None: never.
    """

    name: str | None = None
    code: str | None = None
    cost: float = 0.0
    until: datetime | None = None


@dataclass(slots=True, kw_only=True)
class OfferBook:
    """What can be offered in one run, and what of it is still there.

    key: Secret of the generated codes (the journal's key `coupons`); needed only where offers generate codes.
    free: Offer → codes nobody has, in the order they are given out.
    spent: Program → what its outstanding and redeemed offers cost, within the period of its budget.
    spent_on: Program → contact_id → what was offered this contact (in any program), within the period of the
        program's per-contact ceiling. Contacts without an offer may be missing.
    """

    key: bytes = field(default=b"", repr=False)
    free: Mapping[str, Sequence[str]] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)
    spent_on: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _cost: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _cost_on: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _reserved: dict[tuple[str, str], Reserved] = field(default_factory=dict, init=False, repr=False)

    def propose(
        self,
        program: Program,
        step: StepSettings,
        *,
        contact_id: str,
        segment: str,
        episodes: Sequence[Episode],
        row: Mapping[str, Any],
        return_probability: float | None,
        variant: str | None = None,
        preferred: Preference | None = None,
    ) -> Proposal:
        """What this step offers this contact. Changes nothing, so `explain` may ask as well.

        Args:
            program: The program.
            step: The step that is due.
            contact_id: The contact.
            segment: The segment the contact entered by: it may have a ladder of its own.
            episodes: The contact's, newest first, the open one first; those of other programs do not matter.
            row: The contact's columns; VALUE is looked at.
            return_probability: Of coming back without being asked; None: unknown.
            variant: The step's variant for this contact; one that is called like an offer makes that offer.
            preferred: What the reason they gave asks for: made in place of the step's own, where the rails allow it. A
                variant that makes an offer goes first, so that a test stays one.
        """
        settings = program.offers
        tested = variant is not None and variant in settings.offers
        asked = variant if tested else step.offer
        makes_one = asked is not None and (asked == LADDER or asked in settings.offers)
        wish = (
            preferred if not tested and preferred is not None and (makes_one or step.name == preferred.step) else None
        )
        if asked is None or not makes_one:
            if wish is None:
                return NOTHING
            asked = NONE
        if return_probability is not None and return_probability >= settings.skip_above:
            return Proposal(
                None,
                None,
                f"thought to return anyway: chance {return_probability:.2f}, limit {settings.skip_above:.2f}",
            )
        before = _unanswered(program, episodes)
        room = self._room(program, contact_id) + self._set_aside(episodes, step)
        value = row.get(VALUE)
        if wish is not None:
            answer = _answer(wish, ladder_of(settings, segment), before, settings, value=value, room=room)
            if answer is not None:
                return answer
        if asked == NONE:
            return NOTHING
        if asked != LADDER:
            offer = settings.offers[asked]
            refused = _refusal(offer, settings, value=value, room=room, first=not any(e.touches for e in before))
            return Proposal(None, None, f"no {asked}: {refused}") if refused else Proposal(asked, offer, asked)
        return _climb(ladder_of(settings, segment), before, settings, value=value, room=room)

    def reserve(
        self, program: Program, proposal: Proposal, *, contact_id: str, episode_id: str, step: str, at: datetime
    ) -> Reserved | str:
        """Set money and a code aside for a step, or say why not: `offer_budget` or `no_code_left`, and it waits.

        Asked again for the same step of the same episode, the answer is the same and nothing more is spent.

        Args:
            program: The program.
            proposal: What `propose` said.
            contact_id: The contact.
            episode_id: The episode.
            step: The step's name.
            at: When the mail may go out: the offer's time runs from there.
        """
        offer = proposal.offer
        if offer is None:
            return Reserved(proposal.name)
        known = self._reserved.get((episode_id, step))
        if known is not None:
            return known
        if not self._affordable(program, offer):
            return BUDGET
        code: str | None = None
        if offer.codes == GENERATED:
            code = coupons.generate(self.key, episode_id, step)
        elif offer.codes is not None:
            free = self.free.get(offer.name, ())
            place = self._taken.get(offer.name, 0)
            if place >= len(free):
                return NO_CODE
            code = free[place]
            self._taken[offer.name] = place + 1
        self._cost[program.name] = self._cost.get(program.name, 0.0) + offer.cost
        self._cost_on[contact_id] = self._cost_on.get(contact_id, 0.0) + offer.cost
        until = at + offer.expires if offer.expires is not None else None
        made = Reserved(proposal.name, code, offer.cost, until)
        self._reserved[episode_id, step] = made
        return made

    def _affordable(self, program: Program, offer: Offer) -> bool:
        budget = program.offers.budget
        if budget is None or offer.cost <= 0:
            return True
        spent = self.spent.get(program.name, 0.0) + self._cost.get(program.name, 0.0)
        return spent + offer.cost <= budget[0] + _ROUNDING

    def _set_aside(self, episodes: Sequence[Episode], step: StepSettings) -> float:
        """What was reserved for this very step: asked again, it must not stand in its own way."""
        own = self._reserved.get((episodes[0].episode_id, step.name)) if episodes else None
        return own.cost if own is not None else 0.0

    def _room(self, program: Program, contact_id: str) -> float:
        """What may still be offered this contact."""
        ceiling = program.offers.per_contact
        if ceiling is None:
            return float("inf")
        spent = self.spent_on.get(program.name, {}).get(contact_id, 0.0)
        return ceiling[0] - spent - self._cost_on.get(contact_id, 0.0)


def ladder_of(settings: OfferSettings, segment: str) -> tuple[str, ...]:
    """The rungs of this segment, lowest first. One that begins with a discount has `none` put below it."""
    ladder = settings.ladders.get(segment, settings.ladder)
    lowest = settings.offers.get(ladder[0]) if ladder else None
    return (NONE, *ladder) if not ladder or (lowest is not None and lowest.discount) else tuple(ladder)


def _climb(
    ladder: tuple[str, ...], before: Sequence[Episode], settings: OfferSettings, *, value: Any, room: float
) -> Proposal:
    """The rung above the highest one that was not answered, or the next lower one that the rails allow."""
    made = [ladder.index(episode.offer) for episode in before if episode.offer in ladder]
    wanted = min(max(made) + 1, len(ladder) - 1) if made else 0
    refused: list[str] = []
    for place in range(wanted, -1, -1):
        offer = settings.offers.get(ladder[place])
        # The lowest rung is no discount, so whoever is offered one was offered something before.
        problem = _refusal(offer, settings, value=value, room=room, first=False) if offer is not None else None
        if problem is None:
            skipped = f"; {'; '.join(refused)}" if refused else ""
            # Nothing in place of a rung that is refused is no rung: what was made last must not be forgotten.
            name = None if offer is None and place < wanted else ladder[place]
            return Proposal(name, offer, f"rung {place + 1} of {len(ladder)}: {ladder[place]}{skipped}")
        refused.append(f"no {ladder[place]}: {problem}")
    return Proposal(None, None, "; ".join(refused))


def _answer(
    wish: Preference,
    ladder: tuple[str, ...],
    before: Sequence[Episode],
    settings: OfferSettings,
    *,
    value: Any,
    room: float,
) -> Proposal | None:
    """The rung that answers a reason; None where it is not on the ladder, or the rails do not allow it."""
    offer = settings.offers.get(wish.name)
    if offer is None or wish.name not in ladder:
        return None
    first = wish.reason != PRICE and not any(episode.offer in settings.offers for episode in before)
    if _refusal(offer, settings, value=value, room=room, first=first) is not None:
        return None
    return Proposal(wish.name, offer, f"{wish.name}, because they said {wish.reason}")


def _unanswered(program: Program, episodes: Sequence[Episode]) -> list[Episode]:
    """The open episode and the ones before it, back to the last that was answered; holdouts were offered nothing."""
    found: list[Episode] = []
    for episode in episodes:
        if episode.program != program.name or episode.held_out:
            continue
        if episode.answered and not episode.open:
            break
        found.append(episode)
    return found


def _refusal(offer: Offer, settings: OfferSettings, *, value: Any, room: float, first: bool) -> str | None:
    """Why the rails do not allow this offer; None when they do."""
    if offer.discount and first:
        return "a discount is never the first thing somebody gets"
    if offer.discount and settings.minimum_value is not None and (value is None or value < settings.minimum_value):
        paid = "unknown" if value is None else f"{value:.2f}"
        return f"paid {paid} in the last 365 days, a discount needs {settings.minimum_value:.2f}"
    if offer.cost > max(room, 0.0) + _ROUNDING:
        return f"costs {offer.cost:.2f}, and {max(room, 0.0):.2f} may still be offered this contact"
    return None
