"""A CRM, a ledger and a clumsy world: crashes, lost answers, refusals, opt-outs, undo, in any order."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from functools import cache
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from connector import failpoints
from connector.contracts import Capabilities
from connector.errors import StalePlan
from connector.journal import Journal
from tests.fakes.plan_world import A, B, StillClock, World, world

TINY = Capabilities(members_per_call=3, properties_per_call=2, members_per_read=2, properties_per_read=2)
ROWS = [str(n) for n in range(1, 9)]
NUMBERS = itertools.count()

FAULTS = st.lists(
    st.sampled_from([None, None, "timeout_before", "timeout_after", "unreachable", "no_op", "mute", "short", "quota"]),
    max_size=6,
)
MEMBERS = st.fixed_dictionaries(
    {name: st.sets(st.sampled_from(ROWS)).map(lambda rows: {row: f"memory:{row}" for row in rows}) for name in (A, B)}
)
VALUES = st.dictionaries(
    st.sampled_from(ROWS), st.fixed_dictionaries({"winback_segment": st.sampled_from(["a", "b", None])})
)


class Crash(BaseException):
    """The process died."""


def die(name: str) -> None:
    raise Crash(name)


@cache
def shared_journal() -> Journal:
    """One journal for all examples; each has its own CRM in it."""
    return Journal.open("sqlite:///:memory:", clock=StillClock())


class Clumsy(RuleBasedStateMachine):
    """What is wanted changes, applies die, answers get lost; in the end the CRM is right."""

    w: World

    def __init__(self) -> None:
        super().__init__()
        self.open = world(ROWS, journal=shared_journal(), name=f"crm-{next(NUMBERS)}", capabilities=TINY)
        self.w = self.open.__enter__()
        self.w.crm.before_request = lambda _: None
        self.lists: dict[str, dict[str, str]] = {A: {}, B: {}}
        self.values: dict[str, dict[str, str | None]] = {}
        self.plan = None
        self.joins_before: Counter[tuple[str, str]] = Counter()
        self.joined_while_blocked: list[str] = []
        original = self.w.crm._join

        def watched(list_id, members, row):
            if row in self.w.blocked and row not in members:
                self.joined_while_blocked.append(row)
            return original(list_id, members, row)

        self.w.crm._join = watched

    def teardown(self) -> None:
        self.settle()
        self.open.__exit__(None, None, None)

    @initialize(lists=MEMBERS, values=VALUES)
    def begin(self, lists, values) -> None:
        self.want(lists, values)

    @rule(lists=MEMBERS, values=VALUES)
    def want(self, lists, values) -> None:
        """Segments are evaluated again."""
        self.lists, self.values = lists, values
        self.joins_before = self.w.crm.joins.copy()

    @rule(row=st.sampled_from(ROWS))
    def opt_out(self, row) -> None:
        self.w.blocked[row] = "opted_out"
        self.joins_before = self.w.crm.joins.copy()

    @precondition(lambda self: self.w.blocked)
    @rule()
    def opt_in(self) -> None:
        self.w.blocked.clear()
        self.joins_before = self.w.crm.joins.copy()

    @rule(row=st.sampled_from(ROWS), whole=st.booleans())
    def refuse(self, row, whole) -> None:
        (self.w.crm.poison if whole else self.w.crm.refused)[row] = "blocked by a rule of this portal"

    @rule(faults=FAULTS, crash=st.none() | st.integers(1, 40))
    def plan_and_apply(self, faults, crash) -> None:
        self.w.crm.faults.clear()
        self.w.recover()
        self.plan = self.w.plan(self.lists, self.values, reachable=1000)
        self.attempt(faults, crash)

    @precondition(lambda self: self.plan is not None)
    @rule(faults=FAULTS, crash=st.none() | st.integers(1, 40))
    def take_up_again(self, faults, crash) -> None:
        self.attempt(faults, crash)

    def attempt(self, faults, crash) -> None:
        """Apply the plan in a world where things break."""
        self.w.crm.faults.clear()
        if self.w.open_batches():
            self.w.recover()
        self.w.crm.faults.extend(faults)
        failpoints.reset()
        broken = {failpoints.VARIABLE: f"*:{crash}"} if crash else {}
        with mock.patch.object(failpoints, "die", die), mock.patch.dict(os.environ, broken):
            try:
                report = self.w.apply(self.plan)
            except (Crash, StalePlan):
                return
        counted = report.written + report.unchanged + report.rejected + report.unknown + sum(report.skipped.values())
        if report.stopped is None:
            assert counted == self.plan.added + self.plan.removed + self.plan.set
        else:
            assert counted <= self.plan.added + self.plan.removed + self.plan.set

    @rule(lists=MEMBERS, values=VALUES, faults=FAULTS)
    def apply_and_undo(self, lists, values, faults) -> None:
        """A run that ends, however bumpy, is undone without a trace."""
        self.settle()
        before = self.w.crm.state()
        self.want(lists, values)
        self.plan = self.w.plan(lists, values, reachable=1000)
        self.w.crm.faults.extend(faults)
        report = self.w.apply(self.plan)
        self.w.crm.faults.clear()
        if self.plan.empty:
            return
        # Whoever is refused by the CRM or opted out meanwhile is not put back: without them undo is exact.
        self.w.crm.poison.clear()
        self.w.crm.refused.clear()
        self.w.blocked.clear()
        undone = self.w.undo()
        assert undone.exit_code == 0
        after = self.w.crm.state()
        if undone.notices:
            after["properties"] = before["properties"]
        assert after == before, report
        self.joins_before = self.w.crm.joins.copy()

    def settle(self) -> None:
        """The world behaves again: one more run, and everything is as wanted."""
        self.w.crm.faults.clear()
        self.w.crm.poison.clear()
        self.w.crm.refused.clear()
        self.w.journal.rejections.release(ROWS, destination=self.w.name)
        self.w.recover()
        plan = self.w.plan(self.lists, self.values, reachable=1000)
        report = self.w.apply(plan)
        assert report.exit_code == 0
        for name, rows in self.lists.items():
            assert self.w.crm.holdings()[name] == rows.keys() - self.w.blocked.keys()
        told = {
            row: {k: v for k, v in given.items() if v}
            for row, given in self.values.items()
            if row not in self.w.blocked
        }
        assert {row: given for row, given in self.w.crm.values.items() if given} == {
            row: g for row, g in told.items() if g
        }
        assert self.w.plan(self.lists, self.values, reachable=1000).empty
        assert self.w.open_batches() == []

    @invariant()
    def nobody_joins_against_their_will(self) -> None:
        assert self.joined_while_blocked == []

    @invariant()
    def nobody_joins_a_list_twice_for_one_evaluation(self) -> None:
        assert max((self.w.crm.joins - self.joins_before).values(), default=0) <= 1


TestClumsy = Clumsy.TestCase
TestClumsy.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
