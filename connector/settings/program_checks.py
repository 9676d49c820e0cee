"""Looks up every name of a program and compares what must fit together; each error with its place and near name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from connector.location import Location, Problem, nearest
from connector.program.codes import EXITS
from connector.program.model import REQUESTED, Driver
from connector.reasons.codes import REASONS
from connector.rules.columns import ACCOUNTS, CONTACTS, FEATURES, Kind
from connector.settings.program_blocks import ConsentBlock, LinksBlock, OffersBlock, ProgramBlock, StepBlock
from connector.settings.program_conditions import Path
from connector.settings.validation import dotted, find, shown
from connector.yaml_loader import Scalar, Table

NO_OFFER = "none"
NEXT_RUNG = "ladder"

_TOO_MANY_VALUES = {
    "contact_id",
    "account_id",
    "external_id",
    "email",
    "first_name",
    "last_name",
    "merged_into",
    "last_feature",
    "accounts.name",
    "accounts.domain",
}

STRATA: tuple[str, ...] = (
    "segment",
    *(
        column.name
        for column in (*CONTACTS, *ACCOUNTS, *FEATURES)
        if column.name not in _TOO_MANY_VALUES
        and (column.kind in (Kind.TEXT, Kind.BOOLEAN) or column.name.endswith("_quintile"))
    ),
)
"""What a holdout can be drawn apart by: the segment, and columns with few values."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What programs are checked against.

    root: The whole file.
    segments: Names of the playbook's segments.
    enrolling: Destinations that enroll by one call a contact.
    hidden: Dotted keys whose values no message may repeat.
    """

    root: Table
    segments: Sequence[str] = ()
    enrolling: Sequence[str] = ()
    hidden: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Checked:
    """One program of the file.

    taken: Keys it does not say itself and takes from another program: its own dotted key and the other's.
    """

    path: Path
    block: ProgramBlock
    taken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checks:
    """Of one program; what is wrong is added to `problems`."""

    setup: Setup
    path: Path
    block: ProgramBlock
    problems: list[Problem]

    def run(self) -> None:
        """All checks."""
        self._enroll()
        self._steps()
        self._variants()
        self._exits()
        self._holdout()
        self._offers()
        self._consent()
        self._workflows()
        self._reasons()
        self._rest()

    def _enroll(self) -> None:
        seen: set[str] = set()
        for number, name in enumerate(self.block.enroll):
            self._known(("enroll", number), name, "segment", self.setup.segments)
            if name in seen:
                self.wrong(("enroll", number), f"{self._value(('enroll', number))} stands here twice")
            if name == REQUESTED:
                message = f"'{name}' is what those are called whom a workflow asks for: it cannot be a segment here"
                self.wrong(("enroll", number), message, hint="give the segment another name")
            seen.add(name)

    def _steps(self) -> None:
        lines: dict[str, int] = {}
        steps = self.block.steps
        for number, step in enumerate(steps):
            place = self.place(("steps", number, "name"))
            if step.name in lines:
                message = (
                    f"the name {self._value(('steps', number, 'name'))} is already taken in line {lines[step.name]}"
                )
                self.wrong(("steps", number, "name"), message)
            lines.setdefault(step.name, place.line)
            before = steps[number - 1] if number else None
            if before is not None and step.day <= before.day:
                message = f"day {step.day} is not after day {before.day} of the step before, '{before.name}'"
                self.wrong(("steps", number, "day"), message, hint="steps stand in the order of their days")

    def _variants(self) -> None:
        names = [step.name for step in self.block.steps]
        for number, step in enumerate(self.block.steps):
            self._adds_up(("steps", number, "variants"), step.variants)
            if step.variants and step.name in self.block.variants:
                message = f"the step '{step.name}' has variants of its own"
                self.wrong(("variants", step.name), message, hint="write them once: here or with the step")
        for name, shares in self.block.variants.items():
            self._known(("variants", name), name, "step", names)
            if not shares:
                self.wrong(("variants", name), "at least one is needed here")
            self._adds_up(("variants", name), shares)

    def _adds_up(self, path: Path, shares: Mapping[str, float]) -> None:
        total = sum(shares.values())
        if shares and abs(total - 1) > 1e-9:  # noqa: PLR2004 what adding floats may lose
            self.wrong(path, f"the shares add up to {total * 100:.6g}%, not to 100%")

    def _exits(self) -> None:
        for number, name in enumerate(self.block.exit or ()):
            self._known(("exit", number), name, "exit", tuple(EXITS))

    def _holdout(self) -> None:
        for number, name in enumerate(self.block.holdout.by):
            self._known(("holdout", "by", number), name, "stratum", STRATA)
        if self.block.holdout.share is not None and self.block.holdout.share >= 1:
            self.wrong(("holdout", "share"), "with a holdout of everybody nobody is in the program")

    def _offers(self) -> None:
        offers = self.block.offers
        for name in offers.items:
            if name in (NO_OFFER, NEXT_RUNG):
                self.wrong(
                    ("offers", "items", name), f"'{name}' has a meaning of its own and cannot be an offer's name"
                )
        self._rungs(("offers", "ladder"), offers.ladder)
        for segment, ladder in offers.ladders.items():
            self._known(("offers", "ladders", segment), segment, "segment in `enroll`", self.block.enroll)
            if not ladder:
                self.wrong(("offers", "ladders", segment), "at least one is needed here")
            self._rungs(("offers", "ladders", segment), ladder)
        for number, step in enumerate(self.block.steps):
            self._offer_of_step(number, step, offers)

    def _rungs(self, path: Path, ladder: Sequence[str]) -> None:
        items = self.block.offers.items
        for number, rung in enumerate(ladder):
            self._known((*path, number), rung, "offer", (NO_OFFER, *items))
        lowest = items.get(ladder[0]) if ladder else None
        if lowest is not None and lowest.discount:
            message = f"{self._value((*path, 0))} is a discount, which nobody is offered first"
            self.wrong((*path, 0), message, hint="put something that is not a price cut, or none, before it")

    def _offer_of_step(self, number: int, step: StepBlock, offers: OffersBlock) -> None:
        path = ("steps", number, "offer")
        if step.offer is None:
            return
        if step.offer != NEXT_RUNG:
            self._known(path, step.offer, "offer", (NEXT_RUNG, NO_OFFER, *offers.items))
        elif not any(rung != NO_OFFER for ladder in (offers.ladder, *offers.ladders.values()) for rung in ladder):
            self.wrong(path, "there is no ladder with an offer on it", hint="write offers.items and offers.ladder")

    def _consent(self) -> None:
        consent = self.block.consent
        uses_custom = "custom" in (consent.profile, *consent.countries.values())
        if uses_custom and not consent.custom:
            hint = "write what is allowed: custom: {consent_express: null, soft_opt_in: 730d}"
            self.wrong(("consent",), "the profile custom is used and `custom` says nothing", hint)
        if consent.custom and not uses_custom:
            self.wrong(("consent", "custom"), "only the profile custom looks at this", hint="profile: custom")
        if self.block.health.bounce_warn > self.block.health.bounce:
            self.wrong(("health",), "it would pause before it warns: bounce_warn is larger than bounce")

    def _workflows(self) -> None:
        for name in self.setup.enrolling:
            because = f"destinations.{name} says enroll: workflow, so"
            if self.block.driver is Driver.CRM and self.block.workflow is None:
                self.wrong((), f"{because} the program needs a `workflow`", hint="workflow: the id in the CRM")
            if self.block.driver is Driver.CRM:
                continue
            for number, step in enumerate(self.block.steps):
                if step.workflow is None:
                    message = f"{because} the step '{step.name}' needs a `workflow`"
                    self.wrong(("steps", number), message, hint="workflow: its id in the CRM; or driver: crm")

    def _reasons(self) -> None:
        steps = [step.name for step in self.block.steps]
        for reason, rule in self.block.reasons.items():
            self._known(("reasons", reason), reason, "reason", tuple(REASONS))
            if rule.step is not None:
                self._known(("reasons", reason, "step"), rule.step, "step", steps)
            if rule.offer is not None:
                self._known(("reasons", reason, "offer"), rule.offer, "offer", tuple(self.block.offers.items))
            if rule.snooze is not None and not rule.snooze:
                self.wrong(("reasons", reason, "snooze"), "a snooze of no time")

    def _rest(self) -> None:
        name = self.block.sunset.segment if self.block.sunset else ""
        if name in self.setup.segments:
            message = f"{self._value(('sunset', 'segment'))} is the name of a segment: their lists would be one"
            self.wrong(("sunset", "segment"), message, hint="give the sunset a name of its own")

    # --- telling ------------------------------------------------------------------------------------------

    def _known(self, path: Path, name: str, what: str, known: Sequence[str]) -> None:
        """Note a name that is none of those there are."""
        if name in known:
            return
        if dotted((*self.path, *path)) in self.setup.hidden:
            self.wrong(path, f"{self._value(path)} is no {what}", allowed=known)
        else:
            self.wrong(path, f"no {what} '{name}'", near=nearest(name, known), allowed=known)

    def wrong(
        self,
        path: Path,
        message: str,
        hint: str | None = None,
        *,
        near: str | None = None,
        allowed: Sequence[str] = (),
    ) -> None:
        """Note what is wrong at a key of the program."""
        full = (*self.path, *path)
        self.problems.append(
            Problem(message, self.place(path), dotted(full), near=near, allowed=tuple(allowed), hint=hint)
        )

    def place(self, path: Path) -> Location:
        """Where a key of the program stands: its value, or its name where the value is a table or list."""
        found = find(self.setup.root, (*self.path, *path))
        return found.node.location if isinstance(found.node, Scalar) else found.place

    def _value(self, path: Path) -> str:
        full = (*self.path, *path)
        return shown(find(self.setup.root, full).node, dotted(full), hidden=self.setup.hidden)


# --- several programs, and what they share --------------------------------------------------------------------

SHARED_KEYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("caps", ("per_contact", "gap", "per_day", "quiet_after")),
    ("consent", tuple(ConsentBlock.model_fields)),
)
"""What a program takes from the first that says it: these hold for the whole install."""

_MAY_DIFFER = {("caps", "quiet_after")}


def with_shared(programs: Sequence[Checked]) -> tuple[Checked, ...]:
    """The programs, each with the shared values it does not say itself taken from the first that does."""
    first: dict[tuple[str, str], Checked] = {}
    for checked in programs:
        for key in _said(checked.block):
            first.setdefault(key, checked)
    return tuple(_taking(checked, first) for checked in programs)


def _taking(checked: Checked, first: Mapping[tuple[str, str], Checked]) -> Checked:
    own = set(_said(checked.block))
    taken: dict[str, str] = {}
    sections: dict[str, dict[str, object]] = {}
    for (section, key), other in first.items():
        if (section, key) not in own:
            sections.setdefault(section, {})[key] = getattr(getattr(other.block, section), key)
            taken[dotted((*checked.path, section, key))] = dotted((*other.path, section, key))
    changed = {name: getattr(checked.block, name).model_copy(update=values) for name, values in sections.items()}
    return Checked(checked.path, checked.block.model_copy(update=changed), taken)


def _said(block: ProgramBlock) -> Iterator[tuple[str, str]]:
    """The shared keys that a program spells out."""
    for section, keys in SHARED_KEYS:
        if section in block.model_fields_set:
            said = getattr(block, section).model_fields_set
            yield from ((section, key) for key in keys if key in said)


def check_together(setup: Setup, programs: Sequence[Checked], links: LinksBlock | None) -> list[Problem]:
    """What is wrong between programs, and between them and what they share."""
    problems: list[Problem] = []
    first_name: dict[str, Checked] = {}
    first_value: dict[tuple[str, str], Checked] = {}
    first_offer: dict[str, Checked] = {}
    for checked in programs:
        checks = Checks(setup, checked.path, checked.block, problems)
        other = first_name.setdefault(checked.block.name, checked)
        if other is not checked:
            line = Checks(setup, other.path, other.block, problems).place(("name",)).line
            checks.wrong(("name",), f"the name '{checked.block.name}' is already taken in line {line}")
        for section, key in _said(checked.block):
            before = first_value.setdefault((section, key), checked)
            values = [getattr(getattr(item.block, section), key) for item in (before, checked)]
            if values[0] != values[1] and (section, key) not in _MAY_DIFFER:
                line = Checks(setup, before.path, before.block, problems).place((section, key)).line
                message = f"the program '{before.block.name}' says something else in line {line}"
                checks.wrong((section, key), message, hint=f"{section}.{key} holds for all programs: write it once")
        for name, offer in checked.block.offers.items.items():
            before = first_offer.setdefault(name, checked)
            if offer != before.block.offers.items[name]:
                line = Checks(setup, before.path, before.block, problems).place(("offers", "items", name)).line
                message = f"'{name}' is something else in line {line}: codes and budgets are kept by an offer's name"
                checks.wrong(("offers", "items", name), message, hint="give one of them another name")
        if checked.block.personalize.links and links is None:
            hint = "links: {public_base_url: https://…} at the top of the file"
            checks.wrong(("personalize", "links"), "links need an address to lead to", hint=hint)
    return problems


def check_links(root: Table, links: LinksBlock) -> list[Problem]:
    """What is wrong with `links:` besides its shape."""
    if links.default is None or links.default in links.destinations:
        return []
    known = tuple(links.destinations)
    place = find(root, ("links", "default")).node.location
    message = f"no destination '{links.default}'"
    return [Problem(message, place, "links.default", near=nearest(links.default, known), allowed=known)]
