"""Looks at programs for what is allowed but cannot be meant: steps nobody reaches, caps no cadence can keep.

As with segments, "never" is a proof: it is said only when no row at all is possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from connector.location import Location, Problem, nearest
from connector.model import Finding, Severity
from connector.program.codes import ALWAYS_EXIT
from connector.program.model import REQUESTED, Driver, Program, StepSettings
from connector.rules.boxes import Box, Truth, both, boxes
from connector.rules.conditions import Condition, parse
from connector.rules.expressions import ColumnRef, Comparison, Constant, Expression, OneOfList, walk
from connector.rules.lint import Defect, faults
from connector.settings.models import DestinationBlock
from connector.settings.program_checks import NEXT_RUNG, NO_OFFER, Checked
from connector.settings.program_conditions import PROGRAM_COLUMNS
from connector.settings.program_conditions import Path as Key
from connector.settings.validation import dotted, find
from connector.yaml_loader import Scalar, Table

GENERATED = "generate"

_LONGEST_SNOOZE = timedelta(days=366)

_BEFORE_ANY_STEP = {"step.name", "step.number", "step.days", "step.variant", "step.offer"}
"""Columns that are empty until the first step was taken."""


@dataclass(frozen=True, slots=True)
class Oddity:
    """One thing that is odd about a program, with its key there; an error stops the playbook from loading."""

    program: str
    key: Key
    place: Location
    message: str
    fix: str
    severity: Severity = Severity.WARNING

    def finding(self) -> Finding:
        """As a line of `winback check`."""
        return Finding(f"program {self.program}", self.severity, f"{self.place}: {self.message}", self.fix)

    def problem(self) -> Problem:
        """As an error of the file."""
        return Problem(self.message, self.place, dotted(self.key), hint=self.fix)


def oddities(
    program: Program,
    checked: Checked,
    root: Table,
    *,
    destinations: Mapping[str, DestinationBlock],
    base_dir: Path,
) -> list[Oddity]:
    """What is odd about one program, in the order of its keys' places.

    Args:
        program: The program.
        checked: Where it stands in the file.
        root: The file.
        destinations: Where its lists are written.
        base_dir: Where the paths of its files begin.
    """
    lint = _Lint(program, checked, root)
    found = [
        *lint.conditions(),
        *lint.exits_win(),
        *lint.hidden(),
        *lint.names(),
        *lint.days(),
        *lint.caps(),
        *lint.offers(base_dir),
        *lint.reasons(),
        *lint.measured(),
        *lint.carried(destinations),
    ]
    return sorted(found, key=lambda oddity: (oddity.place.line, oddity.place.column))


@dataclass(frozen=True, slots=True)
class _Lint:
    """The looks at one program."""

    program: Program
    checked: Checked
    root: Table

    # --- conditions ---------------------------------------------------------------------------------------

    def conditions(self) -> Iterator[Oddity]:
        """Conditions that never or always hold."""
        for key, condition in self._every_condition():
            if key[-1] in ("reactivated", "converted") and not boxes(condition.tree, Truth.NOT_TRUE):
                message = f"`{key[-1]}` holds for everybody: nobody would stay in the program"
                yield self._odd(key, message, "ask for something since entry", severity=Severity.ERROR)
                continue
            for fault in faults(condition):
                whom = fault.message.replace("this", self._called(key), 1)
                yield self._odd(key, whom, fault.fix, severity=fault.severity)
        first = self.program.steps[0]
        for key, condition in _of_step(0, first):
            if _needs_a_step_before(condition) and not _never(condition):
                message = f"{self._called(key)} never holds: before the first step everything about steps is empty"
                yield self._odd(key, message, "ask step.entered_as or step.days_in_program, or drop it")

    def _every_condition(self) -> Iterator[tuple[Key, Condition]]:
        yield ("reactivated",), self.program.reactivated
        if self.program.converted is not None:
            yield ("converted",), self.program.converted
        for number, step in enumerate(self.program.steps):
            yield from _of_step(number, step)
        for name, offer in self.program.offers.offers.items():
            if offer.redeemed_by is not None:
                yield ("offers", "items", name, "redeemed_by"), offer.redeemed_by

    def exits_win(self) -> Iterator[Oddity]:
        """Conditions that can only hold for somebody who has left by then."""
        for name, ending in self._endings():
            going_on = boxes(ending.tree, Truth.NOT_TRUE)
            for number, step in enumerate(self.program.steps):
                for key, condition in _of_step(number, step):
                    if not _never(condition) and not both(boxes(condition.tree, Truth.TRUE), going_on):
                        message = f"{self._called(key)} never holds in time: whoever fits has left as '{name}'"
                        fix = "drop it" if name in ALWAYS_EXIT else f"drop it, or leave {name} out of `exit`"
                        yield self._odd(key, message, fix)

    def _endings(self) -> Iterator[tuple[str, Condition]]:
        listed = self.program.exit
        yield "reactivated", self.program.reactivated
        if listed is None or "converted" in listed:
            yield "converted", self.program.converted or _condition("transactions_since_enrollment >= 1")
        if listed is None or "replied" in listed:
            yield "replied", _condition("engaged.replies >= 1")

    def hidden(self) -> Iterator[Oddity]:
        """Branches and adjustments that an earlier one always takes first."""
        for number, step in enumerate(self.program.steps):
            for group in ("adjust", "branches"):
                mine = [(key, condition) for key, condition in _of_step(number, step) if key[2] == group]
                for place, (key, condition) in enumerate(mine):
                    if not _never(condition) and _taken(condition, [earlier for _, earlier in mine[:place]]):
                        yield self._odd(
                            key,
                            f"{self._called(key)} is never chosen: whoever fits is taken by one before it",
                            "put it first, or narrow those before it",
                        )

    def names(self) -> Iterator[Oddity]:
        """Written names that no step, variant, offer or segment of the program has."""
        steps = self.program.steps
        known: Mapping[str, Sequence[str]] = {
            "step.name": [step.name for step in steps],
            "step.variant": [name for step in steps for name in step.variants],
            "step.offer": [*self.program.offers.offers, *(name for step in steps for name in step.variants)],
            "step.entered_as": (*self.program.enroll, REQUESTED),
        }
        for key, condition in self._every_condition():
            for column, value in _compared(condition.tree):
                if column in known and value not in known[column]:
                    near = nearest(value, known[column])
                    meant = f"did you mean {near}?" if near else f"there are: {', '.join(known[column]) or 'none'}"
                    yield self._odd(key, f"{column} is never '{value}' in this program", meant)

    # --- cadence ------------------------------------------------------------------------------------------

    def days(self) -> Iterator[Oddity]:
        """Days that stand in each other's way."""
        steps = self.program.steps
        for number, step in enumerate(steps):
            before = steps[number - 1] if number else None
            after = steps[number + 1] if number + 1 < len(steps) else None
            for place, adjustment in enumerate(step.adjust):
                key: Key = ("steps", number, "adjust", place, "day")
                if before is not None and adjustment.day <= before.day:
                    message = f"day {adjustment.day} is not after day {before.day} of the step before, '{before.name}'"
                    yield self._odd(key, message, "the step before comes first all the same; take a later day")
                if after is not None and adjustment.day >= after.day:
                    message = f"day {adjustment.day} is not before day {after.day} of the next step, '{after.name}'"
                    yield self._odd(key, message, "both would be due at once; give the next step a later day, too")
        last = steps[-1]
        if timedelta(days=last.day) >= self.program.outcome_window:
            message = f"the step '{last.name}' on day {last.day} comes when returns count no more"
            yield self._odd(("outcome_window",), message, "make outcome_window longer than the last step's day")

    def caps(self) -> Iterator[Oddity]:
        """Caps that this cadence cannot keep: its steps would only wait."""
        steps, caps = self.program.steps, self.program.caps
        for before, step in pairwise(steps):
            days = [step.day, *(item.day for item in step.adjust if before.day < item.day < step.day)]
            if timedelta(days=min(days) - before.day) < caps.gap:
                message = (
                    f"caps.gap is longer than from '{before.name}', day {before.day},"
                    f" to '{step.name}', day {min(days)}: that step will wait"
                )
                yield self._odd(("caps", "gap"), message, "move the steps apart, or make the gap shorter")
        most, span = caps.per_contact
        crowded = next((at for at in range(len(steps) - most) if _within(steps[at], steps[at + most], span)), None)
        if crowded is not None:
            held = steps[crowded + most]
            message = f"caps.per_contact allows {most} touches, and '{held.name}' would be one more: it will wait"
            yield self._odd(("caps", "per_contact"), message, "spread the steps, or allow more touches")

    # --- the rest -----------------------------------------------------------------------------------------

    def offers(self, base_dir: Path) -> Iterator[Oddity]:
        """Offers nobody gets, and files of codes that are not there."""
        settings, steps = self.program.offers, self.program.steps
        asked = {step.offer for step in steps} | {name for step in steps for name in step.variants}
        if NEXT_RUNG in asked:
            asked |= {*settings.ladder, *(rung for ladder in settings.ladders.values() for rung in ladder)}
        asked |= {rule.offer for rule in self.program.reasons.values()}
        for name, offer in settings.offers.items():
            key: Key = ("offers", "items", name)
            if name not in asked:
                yield self._odd(key, f"nobody is offered '{name}'", "name it in a step, a variant, or the ladder")
            if offer.codes not in (None, GENERATED) and not (base_dir / str(offer.codes)).is_file():
                message = f"there is no file {offer.codes} with codes"
                yield self._odd((*key, "codes"), message, "put it there, one code a line; or codes: generate")
        if settings.ladder != (NO_OFFER,) and NEXT_RUNG not in asked:
            yield self._odd(("offers", "ladder"), "no step takes the ladder", "offer: ladder at a step")
        first = next(((at, step) for at, step in enumerate(steps) if step.offer is not None), None)
        made = settings.offers.get(first[1].offer or "") if first else None
        if first is not None and first[0] == 0 and made is not None and made.discount:
            message = f"'{made.name}' is a discount, and nobody is offered one first: few will get it"
            yield self._odd(("steps", 0, "offer"), message, "offer it at a later step, or take the ladder")

    def reasons(self) -> Iterator[Oddity]:
        """Answers to reasons that nobody would notice, or that undo each other."""
        program = self.program
        ladders = [program.offers.ladder, *(program.offers.ladders.get(name) or () for name in program.enroll)]
        for reason, rule in program.reasons.items():
            key: Key = ("reasons", reason)
            further = [name for name in ("step", "offer", "snooze") if getattr(rule, name) is not None]
            if not (rule.exit or rule.route or further):
                yield self._odd(key, f"nothing follows from '{reason}'", "exit, snooze, step, offer or route")
            if rule.exit and further:
                message = f"'{reason}' ends the program, so its {' and '.join(further)} never come"
                yield self._odd(key, message, "leave out one or the other")
            if rule.snooze is not None and rule.snooze > _LONGEST_SNOOZE:
                message = f"'{reason}' leaves people alone for more than a year"
                yield self._odd((*key, "snooze"), message, "that is a sunset: use exit, or a shorter time")
            snoozing = program.exit is None or "snoozed" in program.exit
            if rule.snooze is not None and rule.step is not None and snoozing and not rule.exit:
                message = f"'{reason}' snoozes them, which ends the program: the step '{rule.step}' never comes"
                yield self._odd(key, message, "leave out one or the other")
            if rule.step is not None and program.driver is Driver.CRM:
                message = f"the CRM's own workflow goes from step to step: '{rule.step}' is not brought forward"
                yield self._odd((*key, "step"), message, "driver: winback; or branch in the workflow")
            if rule.offer is not None and not any(rule.offer in ladder for ladder in ladders):
                message = f"'{rule.offer}' is on no ladder of this program: nobody is offered it"
                yield self._odd((*key, "offer"), message, "put it on offers.ladder")

    def measured(self) -> Iterator[Oddity]:
        """A program whose worth nobody can tell."""
        if self.program.holdout.share == 0:
            message = "without a holdout nobody can tell what this program is worth"
            yield self._odd(("holdout", "share"), message, "share: auto")

        by = self.program.holdout.by
        apart = [name for name in by if not name.startswith("accounts.")]
        if self.program.holdout.unit == "account" and apart and by != ("segment",):
            message = f"accounts are drawn whole: {', '.join(apart)} may differ between colleagues and is passed over"
            yield self._odd(("holdout", "by"), message, "use columns of accounts only, or unit: contact")

    def carried(self, destinations: Mapping[str, DestinationBlock]) -> Iterator[Oddity]:
        """What the CRM is never told."""
        program = self.program
        if program.workflow is not None and program.driver is Driver.WINBACK:
            message = "this workflow is not used: winback itself goes from step to step"
            yield self._odd(("workflow",), message, "driver: crm; or name workflows at the steps")
        if destinations and all(block.enroll == "list" and not block.lists.steps for block in destinations.values()):
            message = "no destination keeps lists of steps: nothing starts in the CRM"
            yield self._odd((), message, "lists: {steps: true}; enroll: workflow; or enroll: none if that is meant")
        waits = program.send.hold == "crm" and (program.send.window or program.send.blackout or program.send.best_hour)
        if waits and destinations and not any(block.properties for block in destinations.values()):
            message = "the CRM is not told when to send: properties are not written"
            yield self._odd(("send",), message, "properties: true at the destination; or hold: winback")

    # --- telling ------------------------------------------------------------------------------------------

    def _called(self, key: Key) -> str:
        """A condition's key in words: `when` of the step 'offer'."""
        if key[0] != "steps":
            return f"`{dotted(key)}`"
        step = self.program.steps[int(key[1])]
        match key[2:]:
            case ("branches", name):
                return f"the branch '{name}' of the step '{step.name}'"
            case ("adjust", int(place), _):
                return f"adjustment {place + 1} of the step '{step.name}'"
            case _:
                return f"`when` of the step '{step.name}'"

    def _odd(self, key: Key, message: str, fix: str, *, severity: Severity = Severity.WARNING) -> Oddity:
        full = (*self.checked.path, *key)
        found = find(self.root, full)
        place = found.node.location if isinstance(found.node, Scalar) else found.place
        return Oddity(self.program.name, full, place, message, fix, severity)


def _of_step(number: int, step: StepSettings) -> Iterator[tuple[Key, Condition]]:
    """The conditions of a step with their keys."""
    if step.when is not None:
        yield ("steps", number, "when"), step.when
    for place, adjustment in enumerate(step.adjust):
        yield ("steps", number, "adjust", place, "when"), adjustment.when
    for name, condition in step.branches.items():
        yield ("steps", number, "branches", name), condition


def _condition(text: str) -> Condition:
    return parse(text, columns=PROGRAM_COLUMNS)


def _never(condition: Condition) -> bool:
    return any(fault.kind is Defect.CONTRADICTORY for fault in faults(condition))


def _needs_a_step_before(condition: Condition) -> bool:
    """Whether it can only hold where something about an earlier step is known."""

    def needs(box: Box) -> bool:
        return any(
            isinstance(cell.subject, ColumnRef) and cell.subject.name in _BEFORE_ANY_STEP and not cell.null
            for cell in box.values()
        )

    return all(map(needs, boxes(condition.tree, Truth.TRUE)))


def _taken(condition: Condition, earlier: Sequence[Condition]) -> bool:
    """Whether the earlier conditions together take everybody this one fits."""
    left = boxes(condition.tree, Truth.TRUE)
    for other in earlier:
        left = both(left, boxes(other.tree, Truth.NOT_TRUE))
    return bool(earlier) and not left


def _compared(tree: Expression) -> Iterator[tuple[str, str]]:
    """Columns and the written texts they are compared with for equality."""
    for node in walk(tree):
        match node:
            case Comparison(operator="=", left=ColumnRef() as column, right=Constant(value=str() as text)):
                yield column.name, text
            case Comparison(operator="=", left=Constant(value=str() as text), right=ColumnRef() as column):
                yield column.name, text
            case OneOfList(operand=ColumnRef() as column):
                for choice in node.choices:
                    if isinstance(choice, Constant) and isinstance(choice.value, str):
                        yield column.name, choice.value
            case _:
                pass


def _within(one: StepSettings, other: StepSettings, span: timedelta) -> bool:
    return timedelta(days=other.day - one.day) < span
