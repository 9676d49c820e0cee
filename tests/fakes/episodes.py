"""Episodes and steps for tests: the least that has to be said."""

from __future__ import annotations

from datetime import date, timedelta

from connector.program.model import Entry, Episode, Exit, Move
from tests.fakes.clocks import START

SPELL = date(2026, 9, 1)
STEP_LIST = "winback · win-back · reminder"


def episode_of(contact_id="hubspot:1", *, program="win-back", spell=SPELL, at=START, **said) -> Episode:
    """An episode as it begins."""
    return Episode(
        **{
            "episode_id": f"{program}/{contact_id}/{spell}",
            "contact_id": contact_id,
            "program": program,
            "spell_started_on": spell,
            "entered_at": at,
            "entered_as": "dormant_60",
            "unit": f"{contact_id}/{spell}",
            "stratum": "dormant_60",
            "share": 0.1,
            "outcome_until": at + timedelta(days=90),
            **said,
        }
    )


def enter(journal, *episodes, run="run-1") -> int:
    """Open these episodes."""
    return journal.episodes.enter([Entry(episode) for episode in episodes], run_id=run)


def step_of(episode, step="reminder", state="decided", *, at=START, **said) -> Move:
    """A step of this episode, due and sent at the moment it is decided, waiting for the reminder's list."""
    return Move(
        **{
            "episode_id": episode.episode_id,
            "contact_id": episode.contact_id,
            "step": step,
            "state": state,
            "due_on": at.date(),
            "at": at,
            "send_at": at if state == "decided" else None,
            "target": STEP_LIST if state == "decided" else None,
            "row_id": episode.contact_id.removeprefix("hubspot:") if state == "decided" else None,
            **said,
        }
    )


def take(journal, *moves, run="run-1") -> tuple[str, ...]:
    """Log these steps."""
    return journal.episodes.move(moves, run_id=run)


def leave(journal, episode, reason="reactivated", *, at=START, run="run-1", answered=False) -> int:
    """End this episode."""
    return journal.episodes.exit(
        [Exit(episode.episode_id, episode.contact_id, reason, at, answered=answered)], run_id=run
    )
