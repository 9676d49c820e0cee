"""The quick way past everybody in a program of whom there is nothing new: most people, on most days.

It only says yes where the verdict would be "stays, and takes no step"; whoever it says no to is judged in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connector.program import cadence
from connector.program.model import HOLDOUT, Episode, Person
from connector.program.signals import SILENCE, Quiet, flags_of, signals_of
from connector.program.verdicts import Judge
from connector.program.world import Row

MARGIN = timedelta(days=2)
"""More than any two clocks of the world can differ: a step this far off is not due anywhere."""


@dataclass(slots=True)
class Stillness:
    """Tells who has nothing new, for one run."""

    judge: Judge
    _bars: dict[str, list[timedelta]] = field(init=False)
    _numbers: dict[str, dict[str | None, int]] = field(init=False)
    _known: dict[tuple[str, int, datetime, str | None], bool] = field(default_factory=dict, init=False)
    """By program, step, entry and time zone: thousands enter in the same run."""

    def __post_init__(self) -> None:
        self._bars = {
            name: [timedelta(days=day) - MARGIN for day in quiet.earliest] for name, quiet in self.judge.quiet.items()
        }
        self._numbers = {
            name: {None: -1, **{step.name: number for number, step in enumerate(program.steps)}}
            for name, program in self.judge.programs.items()
        }

    def nothing_new(self, person: Person) -> bool:
        """Whether the newest episode stays as it is, surely."""
        quiet = self.judge.quiet.get(person.episodes[0].program)
        return (
            quiet is not None
            and quiet.stays
            and person.eligibility.reason is None
            and self._silent(person.row)
            and not (quiet.unless and any(condition.holds(person.row) for condition in quiet.unless))
            and self._stays(person.episodes, person.segments, person.row, quiet)
        )

    def nothing_new_about(self, episodes: Sequence[Episode], segments: Sequence[str], row: Row) -> bool:
        """The same about somebody known to be eligible and silent; of `row` only id and time zone are read."""
        quiet = self.judge.quiet.get(episodes[0].program)
        return (
            quiet is not None
            and not quiet.unless
            and row["contact_id"] not in self.judge.world.ordered
            and self._stays(episodes, segments, row, quiet)
        )

    def _stays(self, episodes: Sequence[Episode], segments: Sequence[str], row: Row, quiet: Quiet) -> bool:
        """Whether the newest episode of an eligible, silent contact goes on, and rests."""
        episode = episodes[0]
        return (
            quiet.stays
            and episode.exited_at is None
            and row["contact_id"] not in self.judge.world.said
            and not quiet.enrolling.isdisjoint(segments)
            and self._rests(episode, row, quiet)
            and (len(episodes) == 1 or not any(other.open or other.held_out for other in episodes[1:]))
        )

    def _silent(self, row: Row) -> bool:
        """Nothing happened since entry, as far as the row tells; one that lacks a column does not tell."""
        try:
            silent = signals_of(row) == SILENCE and not any(flags_of(row))
        except KeyError:
            return False
        return silent and not (self.judge.world.ordered and row["contact_id"] in self.judge.world.ordered)

    def _rests(self, episode: Episode, row: Row, quiet: Quiet) -> bool:
        """Neither the next step nor the end is due."""
        if episode.arm == HOLDOUT:
            return self._once(episode, row, _END, self._not_over)
        if episode.step_state == cadence.DECIDED:
            return False
        newest = self._numbers[episode.program].get(episode.step)
        if newest is None:
            return False
        if newest + 1 >= len(quiet.earliest):
            return self._not_over(episode, row, _END)
        return self._once(episode, row, newest + 1, self._not_due)

    def _once(self, episode: Episode, row: Row, number: int, tell: Callable[[Episode, Row, int], bool]) -> bool:
        """What is told about everybody of one program, entry and time zone."""
        key = (episode.program, number, episode.entered_at, row.get("timezone"))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = tell(episode, row, number)
        return known

    def _not_due(self, episode: Episode, row: Row, number: int) -> bool:
        if self.judge.world.now - episode.entered_at < self._bars[episode.program][number]:
            return True
        zone, today = self.judge.here(row.get("timezone"))
        earliest = self.judge.quiet[episode.program].earliest[number]
        return (today - episode.entered_at.astimezone(zone).date()).days < earliest

    def _not_over(self, episode: Episode, row: Row, _: int) -> bool:
        zone, today = self.judge.here(row.get("timezone"))
        return today < cadence.ends_on(self.judge.programs[episode.program], episode, zone)


_END = -1
"""In place of the number of a step: the end."""
