"""What is heard may end an episode in any order: the earliest of it did, and what a run ended stays ended."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from connector.journal import Journal
from connector.journal.settlement import Settlement
from connector.program.model import Exit
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.episodes import enter, episode_of, leave

DAY = timedelta(days=1)


@pytest.fixture
def journal(journal_url):
    with Journal.open(journal_url, clock=VirtualClock()) as opened:
        yield opened


def hear(journal, episode, reason, days, *, answered=False) -> bool:
    ended = Exit(episode.episode_id, episode.contact_id, reason, START + days * DAY, answered=answered)
    return journal.settlement.settle(Settlement(effect="left", exits=[ended]))


def standing(journal, episode):
    found = journal.episodes.get(episode.episode_id)
    return found.exit_reason, found.exited_at, found.answered


HEARD = (("reactivated", 5, True), ("replied", 3, True), ("unsubscribed", 3, False), ("converted", 9, True))


def test_the_earliest_that_was_heard_ended_it_whichever_came_first(journal):
    for number, order in enumerate(permutations(HEARD)):
        episode = episode_of(f"hubspot:{number}")
        enter(journal, episode)
        for reason, days, answered in order:
            hear(journal, episode, reason, days, answered=answered)
        assert standing(journal, episode) == ("unsubscribed", START + 3 * DAY, True), order


def test_heard_again_it_changes_nothing(journal):
    episode = episode_of()
    enter(journal, episode)
    assert hear(journal, episode, "replied", 3, answered=True) is True
    assert hear(journal, episode, "replied", 3, answered=True) is False


def test_what_a_run_ended_stays_as_it_is(journal):
    episode = episode_of()
    enter(journal, episode)
    leave(journal, episode, "completed", at=START + 7 * DAY)
    hear(journal, episode, "reactivated", 2, answered=True)
    assert standing(journal, episode) == ("completed", START + 7 * DAY, False)


def test_a_run_does_not_end_what_was_heard_to_have_ended(journal):
    episode = episode_of()
    enter(journal, episode)
    hear(journal, episode, "reactivated", 5)
    assert leave(journal, episode, "left_segment", at=START + 2 * DAY) == 0
    assert standing(journal, episode)[0] == "reactivated"


def test_what_became_one_with_another_stays_merged(journal):
    mine, theirs = episode_of("hubspot:1"), episode_of("hubspot:2", at=START + DAY)
    enter(journal, mine, theirs)
    journal.episodes.rekey({"hubspot:1": "hubspot:2"})
    hear(journal, mine, "reactivated", -400)
    assert journal.episodes.get(mine.episode_id).exit_reason == "merged"
