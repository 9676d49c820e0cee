"""Whatever happens in two CRMs, in whatever order: a no anywhere is a no everywhere, and nobody gets a mail twice."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.heard import RecordChanged, Who
from connector.live.about import Told
from connector.live.hearing import Hearing
from connector.live.relay import relays
from connector.pipeline.running import run
from tests.fakes.people import NOON
from tests.fakes.two_crms import PLAYBOOK, STEP_LISTS, TwoCrms

IN_MEMORY = PLAYBOOK.replace("state/warehouse.duckdb", ":memory:").replace("state/journal.db", ":memory:")
PEOPLE = ("ann", "bob", "cid", "dot")
SIDES = st.sampled_from("ab")
WHO = st.sampled_from(PEOPLE)

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("appears"), SIDES, WHO),
        st.tuples(st.just("goes"), SIDES, WHO),
        st.tuples(st.just("opts_out"), SIDES, WHO),
        st.tuples(st.just("is_heard"), SIDES, WHO),
        st.tuples(st.just("away"), SIDES, st.none()),
        st.tuples(st.just("run"), st.none(), st.none()),
        st.tuples(st.just("run"), st.none(), st.none()),
    ),
    min_size=3,
    max_size=7,
)
BEGINNING = st.fixed_dictionaries({who: st.sets(SIDES, min_size=1) for who in PEOPLE})


class _Clock:
    def __init__(self) -> None:
        self.at = NOON

    def now(self):
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class World:
    """Both CRMs, and whom each of them lists: the record of ann in the first is `ann-a`."""

    def __init__(self, folder: Path, there: dict[str, set[str]], stack: ExitStack) -> None:
        self.install = TwoCrms(folder, IN_MEMORY)
        self.clock = _Clock()
        self.workspace = stack.enter_context(self.install.opened(clock=self.clock))
        self.refused: set[str] = set()
        self.heard = 0
        for who in PEOPLE:
            for side in there[who]:
                self.appears(side, who)
        self.install.uses({f"{who}@acme.example": 40 for who in PEOPLE})

    def crm(self, side: str):
        return self.install.a if side == "a" else self.install.b

    def appears(self, side: str, who: str) -> None:
        self.crm(side).add(f"{who}-{side}", email=f"{who}@acme.example")

    def goes(self, side: str, who: str) -> None:
        if f"{who}-{side}" in self.crm(side).people:
            self.crm(side).drop(f"{who}-{side}")

    def opts_out(self, side: str, who: str) -> None:
        if f"{who}-{side}" in self.crm(side).people:
            self.crm(side).opt_out_by_hand(f"{who}-{side}")
            self.refused.add(who)

    def is_heard(self, side: str, who: str) -> None:
        """The CRM says so at once, and the relay gets to work."""
        if f"{who}-{side}" not in self.crm(side).people:
            return
        self.opts_out(side, who)
        self.heard += 1
        system = self.crm(side).system
        who_says = Who(record=f"{system}:{who}-{side}")
        event = RecordChanged(who=who_says, at=self.clock.at, name="opted_out", value="true")
        told = Told(source=system, key=str(self.heard), received_at=self.clock.at)
        Hearing.of(self.workspace).hear([event], told)
        run_id = self.workspace.journal.runs.start("work", playbook_digest="1")
        for relay in relays(self.workspace):
            relay(run_id=run_id)

    def run(self) -> None:
        self.clock.at += timedelta(hours=5)
        run(self.workspace)

    def writes(self) -> list[str]:
        """Every request that changed something, in both."""
        changing = {"change_members", "set_properties", "opt_out"}
        return [name for crm in (self.install.a, self.install.b) for name, _ in crm.requests if name in changing]

    def on(self, side: str, *names: str) -> set[str]:
        return {row.rpartition("-")[0] for row in self.crm(side).on(*names)}

    def nobody_is_mailed_twice(self) -> None:
        assert not self.on("a", *STEP_LISTS) & self.on("b", *STEP_LISTS)
        for who in PEOPLE:
            joined = [self.crm(side).joins[name, f"{who}-{side}"] for side in "ab" for name in STEP_LISTS]
            assert sum(joined) <= 1, who


QUICK = settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(there=BEGINNING, events=EVENTS)
def test_nobody_who_said_no_anywhere_is_on_a_list_and_nobody_is_mailed_twice(there, events):
    all_goes_well(there, events)


@pytest.mark.soak
@settings(QUICK, max_examples=30)
@given(there=BEGINNING, events=EVENTS)
def test_so_it_is_in_many_worlds(there, events):
    all_goes_well(there, events)


def all_goes_well(there: dict[str, set[str]], events: list[tuple[str, Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        world = World(Path(folder), there, stack)
        world.run()
        for what, side, who in events:
            if what == "run":
                world.run()
            elif what == "away":
                world.crm(side).away = True
                world.run()
                world.crm(side).away = False
            else:
                getattr(world, what)(side, who)
            world.nobody_is_mailed_twice()
        world.run()
        world.nobody_is_mailed_twice()
        for side in "ab":
            assert not world.on(side) & world.refused
            rows = {f"{who}-{side}" for who in world.refused} & world.crm(side).people.keys()
            told = {row for row in rows if world.crm(side).people[row]["opted_out"]} | world.crm(side).unsubscribed
            assert rows <= told, "every CRM that knows them says so"
        world.run()
        writes = world.writes()
        world.run()
        assert world.writes() == writes, "nothing is written once all is said"
