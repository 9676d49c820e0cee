"""A program in a clumsy world: crashes, retries, late facts, opt-outs, merges and undo in any order break no promise.

After every step the world's own account is compared with what was really written, see `tests.fakes.program_world`:
nobody is enrolled twice for a step, no silence makes two episodes, no cap is broken, nobody who refused or is held out
is told anything, removals come before additions, and a run that is repeated changes nothing.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from connector.program.model import Status
from tests.fakes.program_world import PREFIX, WAYS, Known, ProgramWorld, person, program_world

ZONES = (None, "Asia/Kathmandu", "Pacific/Kiritimati", "America/St_Johns", "Pacific/Pago_Pago", None, "Asia/Tokyo")
SILENT = (12, 15, 22, 35, 8, 60, None)
IDS = [f"{PREFIX}{number}" for number in range(1, 1 + len(SILENT))]
ROWS = [one.removeprefix(PREFIX) for one in IDS]

PEOPLE = st.sampled_from(IDS)
FAULTS = st.lists(
    st.sampled_from([None, None, "timeout_before", "timeout_after", "unreachable", "no_op", "mute", "short", "quota"]),
    max_size=6,
)
WHERE_IT_HURTS = [f"apply.{name}:{n}" for name in ("sent", "undo_settled", "recorded", "decided") for n in (1, 2, 3, 4)]
KILLED_AT = st.none() | st.integers(1, 60) | st.sampled_from(WHERE_IT_HURTS)
OBJECTIONS = st.sampled_from([Status.WITHDRAWN, Status.COMPLAINED, Status.BOUNCED, Status.SNOOZED, Status.ERASED])


def people() -> list[Known]:
    return [
        person(number, silent, timezone=zone)
        for number, (silent, zone) in enumerate(zip(SILENT, ZONES, strict=True), start=1)
    ]


class Clumsy(RuleBasedStateMachine):
    """Everybody does what people do, and the machine room is on fire; in the end everything is right."""

    way = "list"
    w: ProgramWorld

    def __init__(self) -> None:
        super().__init__()
        self.open = ExitStack()
        self.w = self.open.enter_context(program_world(self.way, people(), prepared=True))
        self.plan = None

    def teardown(self) -> None:
        try:
            if not self.w.broken:
                self.settle()
        finally:
            self.open.close()

    def settle(self) -> None:
        """The world behaves again: one more run, and everything is as wanted."""
        self.w.facts.cut_short = False
        applied = self.w.run()
        assert applied is not None
        assert applied.exit_code == 0, applied.report
        self.w.look_at_lists()
        self.w.nothing_changes(run=False)

    # --- winback at work ----------------------------------------------------------------------------------

    @rule(hours=st.sampled_from([1, 5, 24, 24, 48, 72, 168]))
    def wait(self, hours) -> None:
        self.w.clock.at += timedelta(hours=hours)

    @rule(days=st.integers(1, 3), faults=FAULTS)
    def run_daily(self, days, faults) -> None:
        """The scheduler's runs; the first meets some faults."""
        for number in range(days):
            self.w.clock.at += timedelta(days=1)
            applied = self.w.run(faults=[] if number else faults, publish=number == days - 1)
            if applied is not None and applied.exit_code == 0:
                self.w.look_at_lists()

    @rule(faults=FAULTS, at=KILLED_AT, hours=st.sampled_from([0, 24, 24]))
    def run_and_die(self, faults, at, hours) -> None:
        self.w.clock.at += timedelta(hours=hours)
        self.w.run(faults=faults, at=at)

    @rule(who=PEOPLE, what=OBJECTIONS, at=st.integers(1, 60))
    def run_while_somebody_objects(self, who, what, at) -> None:
        """The ledger hears of it in the middle of the run."""

        def happen() -> str:
            self.object(who, what)
            return self.w.contact(who).contact_id

        self.w.run(at=at, meanwhile=happen)

    @rule(who=PEOPLE, what=OBJECTIONS | st.none(), minutes=st.sampled_from([1, 60, 1500]), at=KILLED_AT, faults=FAULTS)
    def plan_and_apply(self, who, what, minutes, at, faults) -> None:
        """By hand, with time in between in which people go on living."""
        self.plan = self.w.plan()
        self.w.clock.at += timedelta(minutes=minutes)
        if what is not None:
            self.object(who, what)
        self.w.apply(self.plan, at=at, faults=faults)

    @precondition(lambda self: self.plan is not None)
    @rule(at=KILLED_AT)
    def apply_the_same_plan_again(self, at) -> None:
        self.w.apply(self.plan, at=at)

    @rule()
    def run_after_a_look_at_the_crm(self) -> None:
        """`plan --refresh`, then apply."""
        applied = self.w.apply(self.w.plan(refresh=True))
        if applied is not None and applied.exit_code == 0:
            self.w.look_at_lists()

    @rule()
    def run_twice(self) -> None:
        applied = self.w.run()
        if applied is not None and applied.exit_code == 0:
            self.w.look_at_lists()
            self.w.nothing_changes()

    @rule(at=KILLED_AT, faults=FAULTS)
    def undo(self, at, faults) -> None:
        self.w.undo(at=at, faults=faults)

    @rule()
    def run_with_half_an_export(self) -> None:
        """The guards refuse; whoever objected comes off all the same."""
        self.w.facts.cut_short = True
        self.w.facts.changed()
        self.w.run()
        self.w.facts.cut_short = False
        self.w.facts.changed()

    @rule(days=st.sampled_from([3, 6]))
    def run_without_reading_the_crm(self, days) -> None:
        self.w.clock.at += timedelta(days=days)
        self.w.run(pull=False)

    # --- people -------------------------------------------------------------------------------------------

    @rule(who=PEOPLE, hours_ago=st.sampled_from([0, 0, 0, 30, 24 * 6, 24 * 15, 24 * 90]))
    def use(self, who, hours_ago) -> None:
        """Somebody is at work, or was long ago and we hear of it now."""
        self.w.use(who, self.w.clock.at - timedelta(hours=hours_ago))

    @rule(who=PEOPLE, what=OBJECTIONS)
    def object(self, who, what) -> None:
        until = self.w.clock.at + timedelta(days=6) if what is Status.SNOOZED else None
        self.w.ledger(who, what, until=until)

    @rule(who=PEOPLE)
    def suppress_the_address(self, who) -> None:
        self.w.ledger(who, Status.WITHDRAWN, address=True)

    @rule(who=PEOPLE)
    def come_back_to_the_mail(self, who) -> None:
        self.w.ledger(who, Status.RESUBSCRIBED)

    @rule(who=PEOPLE, what=st.sampled_from(["opted_out", "bounced", "complained_at", "unsubscribed_at", "can_email"]))
    def the_crm_says(self, who, what) -> None:
        known = self.w.contact(who)
        if what == "can_email":
            known.can_email = {True: False, False: None, None: True}[known.can_email]
        else:
            setattr(known, what, self.w.clock.at if what.endswith("_at") else not getattr(known, what))
        self.w.facts.changed()

    @rule(who=PEOPLE, what=st.sampled_from(["clicks", "replies", "payments"]))
    def answer(self, who, what) -> None:
        getattr(self.w.contact(who), what).append(self.w.clock.at)
        self.w.facts.changed()

    @rule(who=PEOPLE)
    def delete(self, who) -> None:
        self.w.delete(who)

    @rule(who=PEOPLE, into=PEOPLE)
    def merge(self, who, into) -> None:
        self.w.merge(who, into)

    @rule(row=st.sampled_from(ROWS), number=st.integers(0, 5))
    def edit_by_hand(self, row, number) -> None:
        names = sorted(self.w.crm.list_names.values())
        if names:
            self.w.edit_by_hand(names[number % len(names)], row)


def machine(way: str) -> type[Clumsy]:
    return type(f"Clumsy_{way}", (Clumsy,), {"way": way})


def check(way: str, examples: int, *, steps: int) -> None:
    run_state_machine_as_test(
        machine(way),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("way", WAYS)
def test_no_promise_is_broken_whatever_happens(way):
    check(way, 75, steps=8)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("way", WAYS)
def test_no_promise_is_broken_in_ten_thousand_lives(way):
    check(way, 2500, steps=20)
