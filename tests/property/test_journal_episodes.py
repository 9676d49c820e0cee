"""Whatever is entered, taken, written, ended, merged and undone, repeated in any order: the journal remembers the same
as plain dictionaries do."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connector.journal import Journal
from connector.model import Outcome, Receipt
from connector.program.model import Exit
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import ON_BOTH, fresh_url
from tests.fakes.episodes import enter, episode_of, step_of

PEOPLE, PROGRAMS, STEPS, RUNS = ("1", "2"), ("win-back", "renewal"), ("reminder", "offer"), ("a", "b")
_WORLDS = count()

episodes = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(PROGRAMS), st.just(1))
runs = st.sampled_from(RUNS)
happenings = st.one_of(
    st.tuples(st.just("enter"), runs, st.lists(episodes, min_size=1, max_size=3)),
    st.tuples(
        st.just("move"),
        runs,
        st.lists(
            st.tuples(episodes, st.sampled_from(STEPS), st.sampled_from(("decided", "skipped", "at once"))),
            min_size=1,
            max_size=3,
        ),
    ),
    st.tuples(st.just("exit"), runs, episodes),
    st.tuples(st.just("confirm"), st.sampled_from(STEPS), st.sampled_from(PEOPLE)),
    st.tuples(st.just("undo"), runs, st.none()),
)


class Model:
    """The same memory in plain dictionaries: episodes by id, and their steps in order."""

    def __init__(self) -> None:
        self.episodes = {}
        self.entered_by, self.left_by = {}, {}
        self.steps = {}

    def enter(self, run, begun):
        if begun.episode_id not in self.episodes:
            self.episodes[begun.episode_id] = begun
            self.entered_by[begun.episode_id] = run
            self.steps[begun.episode_id] = {}

    def move(self, run, move):
        """True when the episode has ended."""
        episode = self.episodes[move.episode_id]
        if not episode.open:
            return True
        log = self.steps[move.episode_id]
        if move.step not in log:
            state = "written" if move.state == "decided" and move.target is None else move.state
            written_at = move.at if state == "written" else None
            log[move.step] = {"state": state, "run": run, "written_at": written_at, "code": move.code, "move": move}
            self.episodes[move.episode_id] = replace(
                episode,
                step=move.step,
                step_state=state,
                step_at=move.at,
                send_at=move.send_at,
                written_at=written_at,
                touches=episode.touches + (state != "skipped"),
                offer=move.offer or episode.offer,
                code=move.code if move.offer else episode.code,
            )
        return False

    def exit(self, run, episode_id, at):
        if (episode := self.episodes.get(episode_id)) is not None and episode.open:
            self.episodes[episode_id] = replace(episode, exited_at=at, exit_reason="replied", answered=True)
            self.left_by[episode_id] = run

    def confirm(self, step, row, at):
        for episode_id, episode in self.episodes.items():
            log = self.steps[episode_id].get(step)
            if log and episode.step == step and log["state"] == "decided" and log["move"].row_id == row:
                log.update(state="written", written_at=at)
                late = max(episode.send_at, at)
                self.episodes[episode_id] = replace(episode, step_state="written", written_at=at, send_at=late)

    def undo(self, run, at):
        mine = [episode_id for episode_id, by in self.entered_by.items() if by == run]
        for episode_id in mine:
            if not any(line["written_at"] for line in self.steps[episode_id].values()):
                for memory in (self.episodes, self.entered_by, self.steps, self.left_by):
                    memory.pop(episode_id, None)
            elif self.episodes[episode_id].open:
                self.episodes[episode_id] = replace(self.episodes[episode_id], exited_at=at, exit_reason="undone")
        for episode_id, log in self.steps.items():
            for step, line in log.items():
                kept = episode_id in mine and line["written_at"]
                if line["run"] == run and line["state"] in {"decided", "written"} and not kept:
                    self.undo_step(episode_id, step, line)
        self.reopen([one for one, by in self.left_by.items() if by == run and one not in mine])

    def undo_step(self, episode_id, step, line):
        """A code that was written stays given; and its moment has come in these stories: it stays a touch."""
        line["state"] = "undone"
        episode = self.episodes[episode_id]
        if line["written_at"] is None:
            line["code"] = None
            episode = replace(episode, touches=episode.touches - 1)
        self.episodes[episode_id] = replace(episode, step_state="undone") if episode.step == step else episode

    def reopen(self, left):
        busy = {episode.contact_id for episode in self.episodes.values() if episode.open}
        for episode in sorted((self.episodes[one] for one in left), key=lambda one: one.entered_at, reverse=True):
            if episode.contact_id not in busy:
                busy.add(episode.contact_id)
                self.episodes[episode.episode_id] = replace(episode, exited_at=None, exit_reason=None)
                del self.left_by[episode.episode_id]


@pytest.fixture(scope="module", params=ON_BOTH)
def journal(request, tmp_path_factory):
    with ExitStack() as opened:
        url = opened.enter_context(fresh_url(request.param, tmp_path_factory.mktemp("journal")))
        yield opened.enter_context(Journal.open(url, clock=VirtualClock()))


def begun_of(world, key):
    """The episode of a person of this world; the renewal of a spell begins an hour after its win-back."""
    person, program, spell = key
    at = START + timedelta(days=spell, hours=program == "renewal")
    return episode_of(f"{world}:{person}", program=program, spell=date(2026, spell, 1), at=at)


def moved(world, key, step, state):
    begun = begun_of(world, key)
    offer = {"offer": "gift", "code": f"{begun.episode_id}/{step}", "cost": 1.0} if state != "skipped" else {}
    waits = {} if state == "decided" else {"target": None, "row_id": None}
    return step_of(
        begun,
        step,
        "skipped" if state == "skipped" else "decided",
        **({"target": f"{world} {step}", "row_id": f"{world}:{key[0]}"} | waits | offer),
    )


SENT_LATE = [
    ("enter", "a", [("1", "win-back", 1)]),
    ("move", "a", [(("1", "win-back", 1), "offer", "decided")]),
    ("confirm", "offer", "1"),
]
"""The CRM hears of a step after the moment it was planned for: the mail goes out when it hears."""


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(happenings, min_size=4, max_size=20))
@example(story=SENT_LATE)
def test_the_journal_remembers_what_happened(journal, story):
    world, model = f"w{next(_WORLDS):04}", Model()
    now = START + timedelta(days=5)
    for what, how, about in story:
        if what == "enter":
            begun = [begun_of(world, key) for key in about]
            enter(journal, *begun, run=f"{world}{how}")
            for one in begun:
                model.enter(how, one)
        elif what == "move":
            moves = [moved(world, *one) for one in about]
            moves = [move for move in moves if move.episode_id in model.episodes]
            ended = {move.episode_id for move in moves if model.move(how, move)}
            assert set(journal.episodes.move(moves, run_id=f"{world}{how}")) == ended
        elif what == "exit":
            begun = begun_of(world, about)
            journal.episodes.exit(
                [Exit(begun.episode_id, begun.contact_id, "replied", now, answered=True)], run_id=f"{world}{how}"
            )
            model.exit(how, begun.episode_id, now)
        elif what == "confirm":
            batch_id = journal.ledger.intend(
                "run", "plan", destination="crm", step=1, number=1, kind="add_members", target=f"{world} {how}",
                rows=[f"{world}:{about}"],
            )  # fmt: skip
            journal.ledger.sent(batch_id, [Receipt(f"{world}:{about}", Outcome.WRITTEN)], now)
            model.confirm(how, f"{world}:{about}", now)
        else:
            journal.episodes.undo(f"{world}{how}", now)
            model.undo(how, now)
    check(journal, model, world)


def check(journal, model, world):
    """The journal says what the model says, of the people of this world."""
    found = {e.episode_id: e for person in PEOPLE for e in journal.episodes.of(f"{world}:{person}")}
    assert found == model.episodes
    touches = 0
    for episode_id, log in model.steps.items():
        lines = journal.episodes.steps(episode_id)
        said = [(line.step, line.state, line.written_at) for line in lines]
        assert said == [(step, line["state"], line["written_at"]) for step, line in log.items()]
        for line in log.values():
            touches += line["state"] in {"decided", "written"} or (
                line["state"] == "undone" and bool(line["written_at"])
            )
            if line["move"].code is not None:
                assert (journal.coupons.issued(line["move"].code) is not None) == (line["code"] is not None)
    times = journal.episodes.touches(START)
    assert sum(len(times.get(f"{world}:{person}", ())) for person in PEOPLE) == touches
    assert sum(episode.touches for episode in model.episodes.values()) == touches
