"""Whose next step is due and who did nothing else: what becomes of that step is asked once for all who are alike.

Nothing is decided here: whoever is among the first of the day is judged in full, and so is whoever no answer covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from connector.program.columns import FEEDBACK, SIGNALS, STEP
from connector.program.model import HOLDOUT, Driver, Eligibility, Episode, Person, Program, StepSettings
from connector.program.verdicts import Judge
from connector.program.world import Row

_KNOWN = frozenset(column.name for column in (*SIGNALS, *STEP, *FEEDBACK))
_ELIGIBLE = Eligibility(None)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a due step.

    due_on: The day it is due on, where it would be taken. waits: Else the code of DEFERRALS, if it waits for anything.
    """

    due_on: date | None
    waits: str | None


@dataclass(slots=True)
class Dues:
    """Tells what becomes of due steps, for one run."""

    judge: Judge
    _alike: dict[str, list[bool]] = field(init=False)
    _fates: dict[tuple[object, ...], Fate | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._alike = {
            program.name: [_says_the_same(program, step) for step in program.steps]
            for program in self.judge.world.programs
        }

    def covers(self, episodes: Sequence[Episode], segments: Sequence[str], row: Row) -> bool:
        """Whether somebody eligible and silent stays, and is like others in all that their next step depends on.

        Of `row` only the id is read.
        """
        episode, world, contact_id = episodes[0], self.judge.world, row["contact_id"]
        quiet = self.judge.quiet.get(episode.program)
        if quiet is None or quiet.unless or not quiet.stays or quiet.enrolling.isdisjoint(segments):
            return False
        if len(episodes) > 1 or episode.exited_at is not None or episode.arm == HOLDOUT:
            return False
        if contact_id in world.ordered or contact_id in world.feedback or contact_id in world.said:
            return False
        number = self._following(episode)
        return number is not None and number < len(quiet.earliest) and self._alike[episode.program][number]

    def _following(self, episode: Episode) -> int | None:
        """The place of the next step; None: the playbook has the newest one no more."""
        if episode.step is None:
            return 0
        number = self.judge.programs[episode.program].number(episode.step)
        return None if number is None else number + 1

    def fate(self, episode: Episode, zone_name: str | None, touches: Sequence[datetime]) -> Fate | None:
        """What becomes of the next step of somebody covered; None: they have to be looked at."""
        kind = (
            episode.program, episode.step, episode.step_state, episode.entered_at, episode.step_at, episode.send_at,
            episode.answered, episode.variant, episode.offer, episode.entered_as, zone_name, tuple(touches),
        )  # fmt: skip
        if kind not in self._fates:
            self._fates[kind] = self._ask(episode, zone_name, touches)
        return self._fates[kind]

    def _ask(self, episode: Episode, zone_name: str | None, touches: Sequence[datetime]) -> Fate | None:
        """The walk of one of a kind; one that passes steps over says nothing about the others."""
        row = {**self.judge.quiet[episode.program].row, "contact_id": episode.contact_id, "timezone": zone_name}
        try:
            walk = self.judge.walk(Person(row, (), (episode,), _ELIGIBLE, touches), episode)
        except KeyError:  # past a step that is skipped, the next one asks for more than all of them have in common
            return None
        if walk.skips:
            return None
        return Fate(None if walk.touch is None else walk.touch.move.due_on, walk.waits)


def _says_the_same(program: Program, step: StepSettings) -> bool:
    """Whether all that decides about a step is the episode, the touches, the time zone, and that nothing happened."""
    conditions = [*(change.when for change in step.adjust), *step.branches.values()]
    conditions += [] if step.when is None else [step.when]
    return (
        program.driver is Driver.WINBACK
        and not program.send.best_hour
        and step.offer is None
        and program.offers.offers.keys().isdisjoint(step.variants)
        and all(_KNOWN.issuperset(condition.columns) for condition in conditions)
    )
