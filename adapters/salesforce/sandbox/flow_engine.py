"""The flow engine: what starts a flow, what ends it, and its steps on the sandbox's clock.

A record-triggered flow starts when a record is made that meets its conditions, or is changed so that it meets them; one
that goes on meeting them does not start it again. Before it goes on after a wait, the conditions are asked again: who
meets them no more has left. Flows that a write started write as whoever wrote, as the vendor's do.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.sandbox.answers import Refusal, RowError, day_text
from adapters.salesforce.sandbox.flow_steps import (
    BOTH,
    CREATE,
    UPDATE,
    Ask,
    Decide,
    MakeTask,
    Notify,
    Reader,
    SendMail,
    SetFields,
    SetStatus,
    Start,
    Step,
    Wait,
    WaitUntil,
    in_words,
)
from adapters.salesforce.sandbox.flow_views import FlowViews
from adapters.salesforce.sandbox.interviews import COMPLETED, DELETED, FAULTED, LEFT, STOPPED, Flow, Interview
from adapters.salesforce.sandbox.mails import MailRoom
from adapters.salesforce.sandbox.values import from_json

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.outbound import Outbound
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

PEOPLE: Final = ("Contact", "Lead")
WAITING: Final = "waiting"
"""What an answer says (`state`) when there is no word yet."""

ANSWER: Final = "answer."
LINKS: Final = ("ContactId", "LeadId", "WhoId")


class FlowEngine:
    """Runs the flows of one org."""

    def __init__(self, state: State, outbound: Outbound) -> None:
        self._state = state
        self._outbound = outbound
        self._views = FlowViews(state)
        self._begin_anew()
        state.listeners.append(self.changed)
        state.settlers.append(self.run)
        state.resetters.append(self.reset)

    def reset(self) -> None:
        """Forget every flow, interview and mail."""
        self._begin_anew()
        self._views.install()

    def _begin_anew(self) -> None:
        self.mails = MailRoom(self._state)
        self.flows: dict[str, Flow] = {}
        self.interviews: dict[str, list[Interview]] = {}
        self._inside: dict[str, list[Interview]] = {}
        self._listening: dict[str, list[Flow]] = {}
        self._asking: list[Interview] = []
        self._queue: list[tuple[int, int, str, Any]] = []
        self._arrivals = itertools.count()
        self._now_ms: int | None = None

    # --- the flows ---

    def save(
        self,
        api_name: str,
        steps: Iterable[Step],
        *,
        start: Start | None = None,
        label: str | None = None,
        active: bool = True,
        answers: Mapping[str, Any] | None = None,
    ) -> Flow:
        """Make a flow, or a new version of the one with this name; who is inside goes on with what they began."""
        there = self.flows.get(api_name)
        number = there.number if there is not None else len(self.flows) + 1
        flow = Flow(number, api_name, label or api_name, start, tuple(steps), active, dict(answers or {}))
        self.flows[api_name] = flow
        self.interviews.setdefault(api_name, [])
        self._listen()
        self._views.show(flow)
        return flow

    def switch(self, flow: Flow, *, active: bool) -> None:
        """Activate or deactivate a flow; who waits inside goes on all the same."""
        flow.active = active
        self._listen()
        self._views.show(flow)

    def remove(self, flow: Flow) -> None:
        """Delete a flow; whoever waits inside is out."""
        for interview in self.active(flow.api_name):
            self._end(interview, STOPPED)
        self.flows.pop(flow.api_name, None)
        self._listen()
        self._views.hide(flow)

    def active(self, api_name: str) -> list[Interview]:
        """The interviews of a flow that are not over, the oldest first."""
        return [interview for interview in self.interviews.get(api_name, ()) if not interview.over]

    # --- what starts and ends interviews ---

    def changed(self, kind: str, before: Row | None, after: Row | None) -> None:
        """A record came, changed or went."""
        if not self.flows and not self._inside:
            return
        lag_ms = round(self._state.behaviour.flow_lag_seconds * 1_000)
        if lag_ms:
            self._later(self.now_ms() + lag_ms, "look", (kind, before, after))
        else:
            self._look(kind, before, after)

    def run_for(self, flow: Flow, rows: Iterable[Row]) -> int:
        """Run a flow for records that were there before it, where they meet its conditions; how many."""
        found = [row for row in rows if flow.start is None or flow.start.meets(self._reader(row))]
        for row in found:
            self._begin(flow, row.id)
        return len(found)

    def launch(self, flow: Flow, record_id: str, inputs: Mapping[str, Any]) -> Interview:
        """Run an autolaunched flow once."""
        return self._begin(flow, record_id, inputs)

    def run(self, now_ms: int) -> None:
        """Let everything happen that is due by now, in order."""
        if self._now_ms is not None:
            return
        try:
            while self._queue and self._queue[0][0] <= now_ms:
                self._now_ms, _, what, subject = heapq.heappop(self._queue)
                with self._state.acting(self._state.admin_user):
                    if what == "look":
                        self._look(*subject)
                    elif not subject.over and subject.due_ms is not None and subject.due_ms <= self._now_ms:
                        self._resume(subject)
        finally:
            self._now_ms = None

    def now_ms(self) -> int:
        """The moment being worked on, else the clock's."""
        return self._state.clock.now_ms() if self._now_ms is None else self._now_ms

    # --- call-outs ---

    @property
    def asking(self) -> bool:
        """Whether any interview waits for an answer."""
        return bool(self._asking)

    def questions(self, now_ms: int) -> list[Interview]:
        """Interviews whose call-out is to be made now."""
        self._asking = [one for one in self._asking if one.asking is not None]
        return [one for one in self._asking if one.due_ms is not None and one.due_ms <= now_ms]

    def answered(self, interview: Interview, answer: Mapping[str, Any] | None, *, now_ms: int, fault: str = "") -> None:
        """What the other side said; None and a fault when it could not be asked."""
        step = interview.asking
        if step is None or interview.over:
            return
        interview.asked += 1
        with self._state.acting(self._state.admin_user):
            if answer is None:
                self._note(interview, step, fault)
                self._end(interview, FAULTED, fault=fault)
                return
            if answer.get("state") == WAITING and interview.asked < step.tries:
                interview.due_ms = now_ms + round(step.again_seconds * 1_000)
                self._note(interview, step, WAITING)
                return
            interview.answers.update(answer)
            interview.asking = interview.due_ms = None
            self._note(interview, step, str(answer.get("state", "answered")))
            try:
                self._keep(interview, step, answer)
            except (RowError, Refusal) as error:
                self._end(interview, FAULTED, fault=f"{error.code}: {error.message}")
                return
            self._go_on(interview)

    def _keep(self, interview: Interview, step: Ask, answer: Mapping[str, Any]) -> None:
        found = {field: answer[name] for name, field in step.store.items() if answer.get(name) is not None}
        if found:
            self._write_person(interview, {field: str(value) for field, value in found.items()})

    # --- inside ---

    def _listen(self) -> None:
        self._listening = {}
        for flow in self.flows.values():
            if flow.active and flow.start is not None:
                self._listening.setdefault(flow.start.sobject, []).append(flow)

    def _look(self, kind: str, before: Row | None, after: Row | None) -> None:
        gone = after is None or after.is_deleted
        record = after or before
        if record is None:
            return
        for interview in tuple(self._inside.get(record.id, ())):
            self._ask_to_leave(interview, record, gone=gone)
        if after is None or gone or (before is not None and before.is_deleted):
            return
        for flow in tuple(self._listening.get(kind, ())):
            if flow.start is not None and self._starts(flow.start, before, after):
                self._begin(flow, after.id)

    def _starts(self, start: Start, before: Row | None, after: Row) -> bool:
        if start.when not in {BOTH, CREATE if before is None else UPDATE} or not start.meets(self._reader(after)):
            return False
        return before is None or not start.conditions or not start.meets(self._reader(before))

    def _ask_to_leave(self, interview: Interview, record: Row, *, gone: bool) -> None:
        flow = self.flows.get(interview.flow)
        if gone:
            self._end(interview, DELETED)
        elif flow is not None and flow.start is not None and not flow.start.meets(self._reader(record)):
            self._end(interview, LEFT)

    def _begin(self, flow: Flow, record_id: str, inputs: Mapping[str, Any] | None = None) -> Interview:
        history = self.interviews[flow.api_name]
        interview = Interview(
            len(history) + 1,
            flow.api_name,
            record_id,
            self._person_of(record_id),
            self.now_ms(),
            list(flow.steps),
            dict(inputs or {}),
        )
        history.append(interview)
        self._inside.setdefault(record_id, []).append(interview)
        self._go_on(interview)
        return interview

    def _resume(self, interview: Interview) -> None:
        if interview.asking is not None:
            return
        row = self._state.row(interview.record_id)
        if row is not None:
            self._ask_to_leave(interview, row, gone=row.is_deleted)
        if not interview.over:
            self._go_on(interview)

    def _go_on(self, interview: Interview) -> None:
        """Take steps until one waits, or none is left."""
        interview.due_ms = None
        try:
            while interview.ahead and not interview.over:
                if not self._take(interview, interview.ahead[0]):
                    return
        except (RowError, Refusal) as error:
            self._end(interview, FAULTED, fault=f"{error.code}: {error.message}")
            return
        if not interview.over:
            self._end(interview, COMPLETED)

    def _take(self, interview: Interview, step: Step) -> bool:
        """Take one step; False when it waits."""
        now_ms = self.now_ms()
        if isinstance(step, Wait | WaitUntil) and not interview.waited:
            due_ms = self._due(interview, step, now_ms)
            if due_ms > now_ms:
                interview.waited, interview.due_ms = True, due_ms
                self._note(interview, step, WAITING)
                self._later(due_ms, "go on", interview)
                return False
        interview.waited = False
        interview.ahead.pop(0)
        if isinstance(step, Ask):
            interview.asking, interview.asked, interview.due_ms = step, 0, now_ms
            self._asking.append(interview)
            self._note(interview, step, "asking")
            return False
        if isinstance(step, Decide):
            holds = step.condition.holds(self._reader_of(interview))
            interview.take(step, holds=holds)
            self._note(interview, step, "yes" if holds else "no")
        else:
            self._note(interview, step, self._do(interview, step))
        return True

    def _due(self, interview: Interview, step: Wait | WaitUntil, now_ms: int) -> int:
        """When a wait is over.

        A scheduled path waits for a field of its own record; where the membership has nothing in it, nobody activated
        the flow that copies the person's moment there, and the person's own is taken.
        """
        if isinstance(step, Wait):
            return now_ms + round(step.seconds * 1_000)
        value = self._reader_of(interview)(step.field)
        if value is None:
            person = self._state.row(self._person_of(interview.record_id))
            value = None if person is None else person.values.get(step.field)
        return value if isinstance(value, int) and not isinstance(value, bool) else now_ms

    def _do(self, interview: Interview, step: Step) -> str:
        """Do a step that does not wait; what came of it, in words."""
        interview.person_id = self._person_of(interview.record_id) or interview.person_id
        match step:
            case SendMail(title):
                mail = self.mails.send(
                    interview.person_id,
                    title,
                    flow=interview.flow,
                    record_id=interview.record_id,
                    at_ms=self.now_ms(),
                )
                return mail.result
            case SetFields(values):
                self._write_person(interview, values)
                return "written"
            case SetStatus(status):
                self._state.update(interview.record_id, {"Status": status})
                return status
            case MakeTask(subject):
                self._make_task(interview, subject)
                return "made"
            case Notify(message):
                self._outbound.send(message, interview.record_id, now_ms=self.now_ms())
                return "queued"
            case _:
                return "waited"

    def _make_task(self, interview: Interview, subject: str) -> None:
        person = self._state.row(interview.person_id)
        owner = None if person is None else person.values.get("OwnerId")
        day = day_text(self.now_ms())
        values = {"WhoId": interview.person_id, "Subject": subject, "ActivityDate": day, "OwnerId": owner}
        self._state.insert("Task", values)

    def _write_person(self, interview: Interview, values: Mapping[str, Any]) -> None:
        person_id = self._person_of(interview.record_id) or interview.person_id
        kind = self._state.kind_of(person_id)
        if kind is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        typed: dict[str, Any] = {}
        for name, value in values.items():
            one = kind.find(name)
            if one is None:
                raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}", [name])
            typed[one.name] = from_json(one, value)
        self._state.update(person_id, typed)

    def _reader(self, row: Row) -> Reader:
        """Reads the record's fields and, of a membership or a task, those of the person it is about."""
        state, kind = self._state, self._state.kind_of(row.id)

        def read(name: str) -> Any:
            if kind is not None and kind.find(name) is not None:
                return state.value(row, name)
            person = state.row(self._person_of(row.id))
            return None if person is None else state.value(person, name)

        return read

    def _reader_of(self, interview: Interview) -> Reader:
        """The same for an interview, which has answers and inputs besides."""
        row = self._state.row(interview.record_id)
        of_record = self._reader(row) if row is not None else lambda _: None

        def read(name: str) -> Any:
            if name.startswith(ANSWER):
                return interview.answers.get(name.removeprefix(ANSWER))
            return interview.inputs[name] if name in interview.inputs else of_record(name)

        return read

    def _person_of(self, record_id: str) -> str:
        kind, row = self._state.kind_of(record_id), self._state.row(record_id)
        if kind is None or row is None:
            return ""
        if kind.name in PEOPLE:
            return record_id
        return next((str(row.values[link]) for link in LINKS if row.values.get(link)), "")

    def _end(self, interview: Interview, why: str, *, fault: str | None = None) -> None:
        interview.end(why, self.now_ms(), fault=fault)
        held = self._inside.get(interview.record_id, [])
        if interview in held:
            held.remove(interview)
        if not held:
            self._inside.pop(interview.record_id, None)

    def _note(self, interview: Interview, step: Step, what: str) -> None:
        interview.path.append((self.now_ms(), in_words(step), what))

    def _later(self, due_ms: int, what: str, subject: Any) -> None:
        heapq.heappush(self._queue, (due_ms, next(self._arrivals), what, subject))
