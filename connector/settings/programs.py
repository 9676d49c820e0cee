"""Makes programs of `program:` and `programs:`, and gathers everything that is wrong with them."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from connector.location import PlaybookError, Problem
from connector.program.model import (
    Adjustment,
    CapSettings,
    ConsentSettings,
    HealthSettings,
    HoldoutSettings,
    Offer,
    OfferSettings,
    PersonalSettings,
    Program,
    ReasonRule,
    SendSettings,
    StepSettings,
    SunsetSettings,
)
from connector.program.whats_new import check
from connector.rules.conditions import Condition, parse
from connector.settings.program_blocks import LinksBlock, ProgramBlock, StepBlock
from connector.settings.program_checks import (
    NO_OFFER,
    Checked,
    Checks,
    Setup,
    check_links,
    check_together,
    with_shared,
)
from connector.settings.program_conditions import PROGRAM_COLUMNS, Path, read_conditions
from connector.settings.validation import dotted, find, shown
from connector.yaml_loader import Items, Table, load_file, plain


@dataclass(slots=True)
class Built:
    """The programs of a file in order of priority, and what is wrong with them; one in doubt and there is none."""

    programs: tuple[Program, ...] = ()
    checked: tuple[Checked, ...] = ()
    problems: list[Problem] = field(default_factory=list)


def build_programs(setup: Setup, *, links: LinksBlock | None, timezone: str, base_dir: pathlib.Path) -> Built:
    """Every program of the file.

    Args:
        setup: The file, and what programs are checked against.
        links: The checked `links:` block.
        timezone: The account's.
        base_dir: Where relative paths begin.
    """
    problems = list(_both_ways(setup.root))
    checked: list[Checked] = []
    conditions: list[Mapping[Path, Condition]] = []
    news: list[tuple[Mapping[str, Any], ...]] = []
    for path in _places(setup.root):
        table = find(setup.root, path).node
        read = read_conditions(table, path, timezone=timezone, problems=problems)
        block = _block(plain(table))
        if block is not None:
            Checks(setup, path, block, problems).run()
            checked.append(Checked(path, block))
            conditions.append(read)
            news.append(_whats_new(setup, path, block, base_dir=base_dir, problems=problems))
    problems += check_together(setup, checked, links)
    problems += check_links(setup.root, links) if links else []
    if problems:
        return Built(checked=tuple(checked), problems=problems)
    together = with_shared(checked)
    programs = [
        _Maker(item.block, read, timezone, new).program()
        for item, read, new in zip(together, conditions, news, strict=True)
    ]
    return Built(tuple(programs), together, problems)


def _places(root: Table) -> Iterator[Path]:
    """The path of each program."""
    one, several = root.entries.get("program"), root.entries.get("programs")
    if one is not None and isinstance(one.node, Table):
        yield ("program",)
    if several is not None and isinstance(several.node, Items):
        yield from (("programs", number) for number, item in enumerate(several.node.items) if isinstance(item, Table))


def _both_ways(root: Table) -> Iterator[Problem]:
    one, several = root.entries.get("program"), root.entries.get("programs")
    if one is not None and several is not None:
        message = "there is `program` and there is `programs`: only one of them may be written"
        hint = "move the program into the list; its place there is its priority"
        yield Problem(message, several.key_location, "programs", hint=hint)


def _block(values: Any) -> ProgramBlock | None:
    """The program as pydantic reads it; what is wrong with its shape is told where the whole file is checked."""
    try:
        return ProgramBlock.model_validate(values)
    except ValidationError:
        return None


def _whats_new(
    setup: Setup, path: Path, block: ProgramBlock, *, base_dir: pathlib.Path, problems: list[Problem]
) -> tuple[Mapping[str, Any], ...]:
    """What is new, from the file that `personalize.whats_new` names; what is wrong in there is told with its line."""
    written = block.personalize.whats_new
    if written is None:
        return ()
    file, key = base_dir / written, (*path, "personalize", "whats_new")
    label = shown(find(setup.root, key).node, dotted(key), hidden=setup.hidden).strip("'")
    if not file.is_file():
        place = find(setup.root, key).node.location
        hint = "a list of entries: - {date: 2026-09-14, text: What is new}"
        problems.append(Problem(f"there is no file {label}", place, dotted(key), hint=hint))
        return ()
    try:
        root = load_file(file, label=label)
        return check(plain(root), place=lambda where: find(root, where).node.location)
    except PlaybookError as error:
        problems += error.problems
        return ()


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes one program of its block and its parsed conditions."""

    block: ProgramBlock
    conditions: Mapping[Path, Condition]
    timezone: str
    whats_new: tuple[Mapping[str, Any], ...]

    def program(self) -> Program:
        """The program."""
        block = self.block
        return Program(
            name=block.name,
            enroll=block.enroll,
            steps=tuple(self._step(number, step) for number, step in enumerate(block.steps)),
            reactivated=self._reactivated(),
            converted=self.conditions.get(("converted",)),
            driver=block.driver,
            workflow=block.workflow,
            exit=None if block.exit is None else frozenset(block.exit),
            ends_after=block.ends_after,
            outcome_window=block.outcome_window,
            holdout=self._holdout(),
            caps=CapSettings(**_fields(block.caps)),
            send=SendSettings(**_fields(block.send)),
            consent=ConsentSettings(**self._consent()),
            offers=self._offers(),
            sunset=SunsetSettings(**_fields(block.sunset)) if block.sunset else SunsetSettings(),
            health=HealthSettings(**_fields(block.health)),
            personal=self._personal(),
            reasons={name: ReasonRule(**_fields(rule)) for name, rule in block.reasons.items()},
        )

    def _reactivated(self) -> Condition:
        written = self.conditions.get(("reactivated",))
        return written or parse(str(self.block.reactivated), timezone=self.timezone, columns=PROGRAM_COLUMNS)

    def _step(self, number: int, step: StepBlock) -> StepSettings:
        path: Path = ("steps", number)
        return StepSettings(
            name=step.name,
            day=step.day,
            when=self.conditions.get((*path, "when")),
            adjust=tuple(
                Adjustment(self.conditions[(*path, "adjust", place, "when")], adjustment.day)
                for place, adjustment in enumerate(step.adjust)
            ),
            branches={name: self.conditions[(*path, "branches", name)] for name in step.branches},
            variants=dict(step.variants or self.block.variants.get(step.name, {})),
            offer=None if step.offer == NO_OFFER else step.offer,
            workflow=step.workflow,
        )

    def _holdout(self) -> HoldoutSettings:
        holdout = self.block.holdout
        return HoldoutSettings(share=holdout.share, by=holdout.by, unit=holdout.unit, salt=holdout.salt)

    def _consent(self) -> dict[str, Any]:
        values = _fields(self.block.consent)
        return {**values, "custom": {basis.value: span for basis, span in values["custom"].items()}}

    def _offers(self) -> OfferSettings:
        block = self.block.offers
        offers = {
            name: Offer(
                name=name,
                cost=item.cost,
                discount=item.discount,
                codes=item.codes,
                expires=item.expires,
                redeemed_by=self.conditions.get(("offers", "items", name, "redeemed_by")),
            )
            for name, item in block.items.items()
        }
        return OfferSettings(
            offers=offers,
            ladder=block.ladder,
            ladders=dict(block.ladders),
            budget=block.budget,
            per_contact=block.per_contact,
            skip_above=block.skip_above,
            minimum_value=block.minimum_value,
        )

    def _personal(self) -> PersonalSettings:
        block = self.block.personalize
        return PersonalSettings(whats_new=self.whats_new, next_steps=dict(block.next_steps), links=block.links)


def _fields(block: Any) -> dict[str, Any]:
    """A block's values by key, as they are."""
    return {name: getattr(block, name) for name in type(block).model_fields}
