"""The workflow engine: who comes in, who leaves, by the vendor's rules and on the sandbox's clock.

Everything happens at a moment in a queue: looking at a contact that changed, letting somebody in (about twenty a
second), going on after a delay. Moving the clock works the queue off in order. Looking comes a while after the change
(`workflow_lag_seconds`) and sees only what holds by then: somebody taken off a list and put back meanwhile never left.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final

from adapters.hubspot.sandbox.action_calls import OWN_TYPE
from adapters.hubspot.sandbox.actions import Actions
from adapters.hubspot.sandbox.answers import Refusal
from adapters.hubspot.sandbox.filters import depends_on_time
from adapters.hubspot.sandbox.flows import Flow, FlowStore
from adapters.hubspot.sandbox.lists import ContactList
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.standing import Enrollment, Standing
from adapters.hubspot.sandbox.windows import next_allowed

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.state import State

SECOND_MS: Final = 1_000
MOST_ACTIONS: Final = 1_000
"""Actions in one go after which a workflow that leads back to itself is taken for endless."""

LIST_TRIGGER, SWITCHED_ON, APP, BY_HAND, OTHER_FLOW = "trigger", "switched on", "app", "hand", "other workflow"


class WorkflowEngine:
    """Runs every workflow and fills every dynamic list of one account."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.flows = FlowStore()
        self.standings: dict[str, Standing] = {}
        self.enrollments = 0
        self._queue: list[tuple[int, int, str, str, Any]] = []
        self._arrivals = 0
        self._now_ms: int | None = None
        self._quiet: set[str] = set()
        self._second_ms = 0
        self._let_in = 0
        self._swept_until_ms: int | None = None
        self._dynamic: dict[str, ContactList] = {}
        self._actions = Actions(state, enroll=self._enroll_from_action)

    # --- what filters ask ---------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """The moment being worked on, else the clock's."""
        return self._state.clock.now_ms() if self._now_ms is None else self._now_ms

    def zone(self) -> tzinfo:
        """The account's time zone."""
        return self._state.zone()

    def on_list(self, list_id: str, record_id: str) -> bool:
        """Whether a record is on a list that exists."""
        held = self._state.lists.lists.get(list_id)
        return held is not None and record_id in held.members

    def on_roster(self, roster: str, flow_id: str, record_id: str) -> bool:
        """Whether a record is on a workflow's roster; both of a workflow's ids lead to it."""
        flow = self.flows.flows.get(flow_id) or self.flows.by_workflow_id(flow_id)
        return flow is not None and record_id in self.standing(flow.id).roster(roster)

    # --- what changes ------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing that a change could concern."""
        return not self.flows.flows and not self._dynamic

    def touched(self, record_id: str) -> None:
        """Somebody changed: a property, a membership, an enrollment."""
        if not self.is_idle:
            lag_ms = round(self._state.behaviour.workflow_lag_seconds * SECOND_MS)
            self._later(self.now_ms() + lag_ms, "look", "", record_id)

    def standing(self, flow_id: str) -> Standing:
        """What a workflow knows about contacts."""
        return self.standings.setdefault(flow_id, Standing())

    def saved(self, flow: Flow, *, was_enabled: bool) -> None:
        """A workflow was made or changed; switching it on lets in who meets the trigger already."""
        standing = self.standing(flow.id)
        everybody = list(self._state.contacts.live.values())
        matching = {r.id for r in everybody if flow.trigger is not None and flow.trigger(r, self)}
        if flow.enabled and not was_enabled and self._state.behaviour.switching_on_enrolls:
            for record_id in sorted(matching - set(standing.active), key=int):
                if flow.again or record_id not in standing.ever:
                    self._line_up(flow, record_id, SWITCHED_ON)
        standing.matching = matching
        standing.again = {r.id: self._seen(flow, r) for r in everybody} if flow.re_enroll else {}

    def deleted(self, flow: Flow) -> None:
        """A workflow is gone, and nobody is in it any more."""
        for enrollment in list(self.standing(flow.id).active.values()):
            self._end(flow, enrollment, "workflow deleted")
        self.standings.pop(flow.id, None)

    def watch(self, held: ContactList) -> None:
        """A dynamic list was made, changed or brought back: look at everybody."""
        if held.processing_type != "DYNAMIC" or held.test is None:
            return
        self._dynamic[held.id] = held
        test, now_ms = held.test, self.now_ms()
        wanted = {r.id for r in self._state.contacts.live.values() if test(r, self)}
        leaving = [record_id for record_id in held.members if record_id not in wanted]
        self._state.lists.change(held, add=sorted(wanted, key=int), remove=leaving, now_ms=now_ms)

    def forget_list(self, list_id: str) -> None:
        """A list was deleted: its members are on it no more."""
        self._dynamic.pop(list_id, None)

    def merged(self, primary_id: str, loser_id: str, survivor_id: str) -> None:
        """Two contacts became one: nobody is enrolled because of that, and only the primary's passages go on."""
        for flow in self.flows:
            standing = self.standing(flow.id)
            ended = standing.active.get(loser_id)
            if ended is not None:
                self._end(flow, ended, "merged")
            going_on = standing.active.pop(primary_id, None)
            if going_on is not None:
                going_on.contact_id = survivor_id
                standing.active[survivor_id] = going_on
            standing.move(loser_id, survivor_id)
            if primary_id != survivor_id:
                standing.move(primary_id, survivor_id)
        if not self.is_idle:
            self._quiet.add(survivor_id)

    # --- coming in and leaving ---------------------------------------------------------------------------------

    def enroll(self, flow: Flow, record_id: str, *, by: str) -> bool:
        """Put one contact in without asking the trigger; False where the rules say it has no effect.

        Nobody comes in twice at once, and only a workflow with re-enrollment takes somebody a second time.
        """
        standing = self.standing(flow.id)
        if record_id in standing.active or record_id in standing.waiting:
            return False
        if record_id in standing.ever and not flow.again:
            return False
        self._line_up(flow, record_id, by)
        return True

    def unenroll(self, flow: Flow, record_id: str, *, why: str) -> bool:
        """Take one contact out; False when it is not in."""
        standing = self.standing(flow.id)
        enrollment = standing.active.get(record_id)
        waiting = record_id in standing.waiting
        standing.waiting.discard(record_id)
        if enrollment is not None:
            self._end(flow, enrollment, why)
        return waiting or enrollment is not None

    def run(self, now_ms: int) -> None:
        """Let everything happen that is due by now, in order."""
        if self._now_ms is not None:
            return
        if not self._queue and self.is_idle:
            return
        self._sweep(now_ms)
        try:
            while self._queue and self._queue[0][0] <= now_ms:
                due_ms, _, what, flow_id, subject = heapq.heappop(self._queue)
                self._now_ms = due_ms
                self._handle(what, flow_id, subject)
        finally:
            self._now_ms = None

    def waiting(self) -> int:
        """How many contacts wait to be let in."""
        return sum(len(standing.waiting) for standing in self.standings.values())

    # --- inside ------------------------------------------------------------------------------------------------

    def _handle(self, what: str, flow_id: str, subject: Any) -> None:
        if what == "look":
            self._look(str(subject))
            return
        flow = self.flows.flows.get(flow_id)
        if flow is None:
            return
        if what == "enter":
            record_id, by = subject
            self._enter(flow, record_id, by)
        elif subject.ended_ms is None and subject.due_ms is not None and subject.due_ms <= self.now_ms():
            self._go_on(flow, subject)

    def _look(self, record_id: str) -> None:
        """See what became of one contact: its dynamic lists first, then every workflow."""
        record = self._state.contacts.live.get(record_id)
        quiet = record_id in self._quiet
        self._quiet.discard(record_id)
        if record is not None:
            for held in list(self._dynamic.values()):
                self._place(held, record)
        for flow in list(self.flows):
            if record is None:
                self._forget(flow, record_id)
            else:
                self._look_at(flow, record, quiet=quiet)

    def _place(self, held: ContactList, record: Record) -> None:
        wanted = held.test is not None and held.test(record, self)
        if wanted is not (record.id in held.members):
            add, remove = ([record.id], []) if wanted else ([], [record.id])
            self._state.lists.change(held, add=add, remove=remove, now_ms=self.now_ms())

    def _forget(self, flow: Flow, record_id: str) -> None:
        standing = self.standing(flow.id)
        standing.matching.discard(record_id)
        standing.waiting.discard(record_id)
        standing.again.pop(record_id, None)
        enrollment = standing.active.get(record_id)
        if enrollment is not None:
            self._end(flow, enrollment, "deleted")

    def _look_at(self, flow: Flow, record: Record, *, quiet: bool) -> None:
        standing = self.standing(flow.id)
        self._ask_to_leave(flow, record)
        if flow.trigger is None:
            return
        was, now = record.id in standing.matching, flow.trigger(record, self)
        (standing.matching.add if now else standing.matching.discard)(record.id)
        seen_before, seen = standing.again.get(record.id), self._seen(flow, record)
        if flow.re_enroll:
            standing.again[record.id] = seen
        if was and not now:
            self._left_the_trigger(flow, record.id)
        if not now or quiet or not flow.enabled or record.id in standing.active:
            return
        if record.id not in standing.ever:
            if not was:
                self._line_up(flow, record.id, LIST_TRIGGER)
        elif flow.again and _fires(seen_before, seen):
            self._line_up(flow, record.id, LIST_TRIGGER)

    def _ask_to_leave(self, flow: Flow, record: Record) -> None:
        """Suppression lists and the goal end a passage."""
        standing = self.standing(flow.id)
        enrollment = standing.active.get(record.id)
        if enrollment is None:
            return
        if self._suppressed(flow, record.id):
            self._end(flow, enrollment, "suppressed")
        elif flow.goal is not None and flow.goal(record, self):
            standing.goal.setdefault(record.id, self.now_ms())
            self._end(flow, enrollment, "goal")

    def _left_the_trigger(self, flow: Flow, record_id: str) -> None:
        enrollment = self.standing(flow.id).active.get(record_id)
        if enrollment is not None and flow.leaving_ends_it:
            self._end(flow, enrollment, "left")

    def _seen(self, flow: Flow, record: Record) -> tuple[Any, ...]:
        """For each branch that lets somebody in again: whether it holds, and the values it watches."""
        return tuple(
            (trigger.holds(record, self), tuple(record.value(name) for name in trigger.watched))
            for trigger in flow.re_enroll
        )

    def _line_up(self, flow: Flow, record_id: str, by: str) -> None:
        """Put somebody into the queue in front of a workflow: so many a second are let in."""
        standing = self.standing(flow.id)
        if record_id in standing.waiting:
            return
        standing.waiting.add(record_id)
        self._later(self._slot(), "enter", flow.id, (record_id, by))

    def _slot(self) -> int:
        now_ms = self.now_ms()
        if now_ms >= self._second_ms + SECOND_MS:
            self._second_ms, self._let_in = now_ms, 0
        elif self._let_in >= self._state.behaviour.enrollments_per_second:
            self._second_ms, self._let_in = self._second_ms + SECOND_MS, 0
        self._let_in += 1
        return max(now_ms, self._second_ms)

    def _enter(self, flow: Flow, record_id: str, by: str) -> None:
        standing = self.standing(flow.id)
        if record_id not in standing.waiting:
            return
        standing.waiting.discard(record_id)
        record = self._state.contacts.live.get(record_id)
        if record is None or not flow.enabled or record_id in standing.active:
            return
        asked = by in {LIST_TRIGGER, SWITCHED_ON}
        if asked and flow.trigger is not None and not flow.trigger(record, self):
            return
        bypasses = by == APP and self._state.behaviour.v2_ignores_suppression
        if self._suppressed(flow, record_id) and not bypasses:
            return
        # Whether somebody who meets the goal already is let in is not documented; here not.
        if flow.goal is not None and flow.goal(record, self):
            return
        self._start(flow, record_id, by)

    def _start(self, flow: Flow, record_id: str, by: str) -> None:
        standing, now_ms = self.standing(flow.id), self.now_ms()
        self.enrollments += 1
        enrollment = Enrollment(self.enrollments, flow.id, record_id, by, now_ms, step=flow.start())
        standing.active[record_id] = enrollment
        standing.ever.setdefault(record_id, now_ms)
        standing.history.append(enrollment)
        self.touched(record_id)
        for other in self._ended_by(flow):
            passing = self.standing(other.id).active.get(record_id)
            if passing is not None:
                self._end(other, passing, "other workflow")
        self._go_on(flow, enrollment)

    def _ended_by(self, flow: Flow) -> Iterator[Flow]:
        setting = flow.body.get("unEnrollmentSetting") or {}
        chosen = {str(flow_id) for flow_id in setting.get("flowIds") or ()}
        for other in list(self.flows):
            if other.id != flow.id and (setting.get("type") == "ALL" or other.id in chosen):
                yield other

    def _go_on(self, flow: Flow, enrollment: Enrollment) -> None:
        """Do one action after the other until one waits or there is none left."""
        if enrollment.contact_id not in self._state.contacts.live:
            self._end(flow, enrollment, "deleted")
            return
        for _ in range(MOST_ACTIONS):
            action = flow.actions.get(enrollment.step or "")
            if action is None:
                self.standing(flow.id).completed.setdefault(enrollment.contact_id, self.now_ms())
                self._end(flow, enrollment, "completed")
                return
            if enrollment.waiting:
                enrollment.waiting = False
            else:
                due_ms = self._actions.delay_until(action, enrollment.contact_id, now_ms=self.now_ms())
                if due_ms is None and flow.enabled:
                    allowed = next_allowed(self.now_ms(), flow.body, self.zone())
                    if allowed > self.now_ms():
                        self._wait(flow, enrollment, allowed, begun=False)
                        return
                if due_ms is not None:
                    self._note(enrollment, "waits")
                    self._wait(flow, enrollment, due_ms, begun=True)
                    return
                if flow.enabled and str(action.get("actionTypeId")).startswith(OWN_TYPE):
                    self._ask(flow, action, enrollment)
                    return
                # Switched off, a workflow lets people pass through its delays, and does nothing.
                self._note(enrollment, self._actions.do(flow, action, enrollment) if flow.enabled else "skipped")
                if enrollment.ended_ms is not None:
                    return
            enrollment.due_ms = None
            enrollment.step = self._actions.following(action, enrollment, self)
        raise Refusal(f"workflow {flow.id} leads back to itself without a delay")

    def resume(self, flow_id: str, enrollment: Enrollment) -> None:
        """An app has answered about somebody, or nobody waits for it any more: the contact goes on."""
        if enrollment.ended_ms is None:
            enrollment.due_ms = self.now_ms()
            self._later(enrollment.due_ms, "go on", flow_id, enrollment)

    def _ask(self, flow: Flow, action: Mapping[str, Any], enrollment: Enrollment) -> None:
        """Let an app be asked; the contact waits meanwhile."""
        record = self._state.contacts.live[enrollment.contact_id]
        self._state.calls.begin(flow.id, enrollment, action, record, now_ms=self.now_ms())
        self._note(enrollment, "asks an app")
        enrollment.waiting, enrollment.due_ms = True, None

    def _wait(self, flow: Flow, enrollment: Enrollment, due_ms: int, *, begun: bool) -> None:
        enrollment.waiting, enrollment.due_ms = begun, due_ms
        self._later(due_ms, "go on", flow.id, enrollment)

    def _note(self, enrollment: Enrollment, what: str) -> None:
        enrollment.path.append((self.now_ms(), enrollment.step or "", what))

    def _end(self, flow: Flow, enrollment: Enrollment, why: str) -> None:
        enrollment.ended_ms, enrollment.ended_as, enrollment.due_ms = self.now_ms(), why, None
        self.standing(flow.id).active.pop(enrollment.contact_id, None)
        self.touched(enrollment.contact_id)

    def _suppressed(self, flow: Flow, record_id: str) -> bool:
        return any(self.on_list(list_id, record_id) for list_id in flow.suppression)

    def _enroll_from_action(self, flow_id: str, record_id: str) -> None:
        flow = self.flows.flows.get(flow_id)
        if flow is not None and flow.enabled:
            self.enroll(flow, record_id, by=OTHER_FLOW)

    def _later(self, due_ms: int, what: str, flow_id: str, subject: Any) -> None:
        self._arrivals += 1
        heapq.heappush(self._queue, (due_ms, self._arrivals, what, flow_id, subject))

    def _sweep(self, now_ms: int) -> None:
        """At each midnight of the account, look at everybody where the clock alone can change an answer."""
        branches = [held.filter_branch or {} for held in self._dynamic.values()]
        branches += [flow.criteria.get("listFilterBranch") or {} for flow in self.flows]
        branches += [flow.body.get("goalFilterBranch") or {} for flow in self.flows]
        start = self._swept_until_ms
        self._swept_until_ms = now_ms
        if start is None or not any(map(depends_on_time, branches)):
            return
        for midnight in _midnights(start, now_ms, self.zone()):
            for record_id in self._state.contacts.live:
                self._later(midnight, "look", "", record_id)


def _fires(before: tuple[Any, ...] | None, now: tuple[Any, ...]) -> bool:
    """Whether a branch that did not hold holds now, or a watched value is another one."""
    if before is None:
        return any(holds for holds, _ in now)
    return any(
        holds and (not held or values != seen) for (held, seen), (holds, values) in zip(before, now, strict=True)
    )


def _midnights(start_ms: int, end_ms: int, zone: tzinfo) -> Iterator[int]:
    moment = datetime.fromtimestamp(start_ms / 1000, zone)
    day = moment.date() + timedelta(days=1)
    while (at := round(datetime.combine(day, time(), zone).timestamp() * 1000)) <= end_ms:
        yield at
        day += timedelta(days=1)
