"""Whatever happens in whatever order, the sandbox's workflows keep to HubSpot's rules of enrollment."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hubspot.sandbox.authoring import workflow
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.state import CONTACT_TYPE, State
from adapters.hubspot.sandbox.workflows import APP, SECOND_MS

PEOPLE = [str(n) for n in range(1, 31)]
START = datetime(2027, 3, 2, 9, tzinfo=UTC)

somebody = st.sampled_from(PEOPLE[:6])
several = st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=30, unique=True)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["join", "leave", "suppress", "allow"]), several),
        st.tuples(st.sampled_from(["delete", "restore", "enroll", "take out"]), somebody),
        st.tuples(st.just("merge"), st.tuples(somebody, somebody)),
        st.tuples(st.just("wait"), st.sampled_from([1, 30, 3600, 86_400, 9 * 86_400])),
    ),
    max_size=25,
)


class World:
    """An account with one list, one suppression list and one workflow."""

    def __init__(self, *, again: bool, leaving_ends_it: bool, lag: float) -> None:
        self.state = State()
        self.state.clock.freeze(START)
        self.state.behave({"workflow_lag_seconds": lag})
        for number in PEOPLE:
            self.state.contacts.put(Record(number, {"email": f"p{number}@acme.example"}, 0, 0), now_ms=self.now)
        self.entry, self.never = self.make_list("entry"), self.make_list("never")
        body = workflow(
            "Winback",
            [{"wait_days": 1}, {"mail": "1"}, {"wait_days": 6}, {"mail": "2"}],
            list_id=self.entry.id,
            again=again,
            leaving_ends_it=leaving_ends_it,
            suppress=[self.never.id],
        )
        self.flow = self.state.workflows.flows.create(body, now_ms=self.now)
        self.state.workflows.saved(self.flow, was_enabled=False)
        self.starts: Counter[str] = Counter()
        self.prompt = not lag

    @property
    def now(self) -> int:
        return self.state.clock.now_ms()

    @property
    def standing(self):
        return self.state.workflows.standing(self.flow.id)

    def make_list(self, name):
        return self.state.lists.create(
            name=name, type_id=CONTACT_TYPE, processing_type="MANUAL", folder="0", filter_branch=None, now_ms=self.now
        )

    def do(self, what, value) -> None:
        state, kind = self.state, self.state.kind("contacts")
        match what:
            case "join" | "leave" | "suppress" | "allow":
                held = self.entry if what in {"join", "leave"} else self.never
                add, remove = (value, []) if what in {"join", "suppress"} else ([], value)
                joined, _, _ = state.change_members(held, add=list(add), remove=list(remove), now_ms=self.now)
                self.starts.update(joined if held is self.entry else ())
            case "delete":
                state.archive(kind, value, now_ms=self.now)
            case "restore":
                state.contacts.restore(value, now_ms=self.now)
            case "enroll" if value in state.contacts.live:
                self.starts[value] += state.workflows.enroll(self.flow, value, by=APP)
            case "take out":
                state.workflows.unenroll(self.flow, value, why="hand")
            case "merge" if value[0] != value[1] and set(value) <= set(state.contacts.live):
                state.merge(kind, *value, now_ms=self.now)
            case "wait":
                self.wait(value)
        state.settle()

    def wait(self, seconds) -> None:
        """Nobody may be mailed meanwhile who is suppressed, or who left the list that brought them in."""
        sent, by = len(self.state.mails.mails), {c: p.by for c, p in self.standing.active.items()}
        self.state.clock.advance(seconds)
        self.state.settle()
        for mail in self.state.mails.mails[sent:] if self.prompt else ():
            assert mail.contact_id not in self.never.members
            brought_in = by.get(mail.contact_id, "trigger")
            assert brought_in == APP or not self.flow.leaving_ends_it or mail.contact_id in self.entry.members


@given(steps=steps, again=st.booleans(), leaving=st.booleans(), lag=st.sampled_from([0.0, 60.0]))
@settings(max_examples=60, deadline=None)
def test_the_rules_hold(steps, again, leaving, lag):
    world = World(again=again, leaving_ends_it=leaving, lag=lag)
    for what, value in steps:
        world.do(what, value)
    world.do("wait", 30 * 86_400)
    history = world.standing.history
    per_second = Counter(passage.started_ms // SECOND_MS for passage in history)
    assert max(per_second.values(), default=0) <= 2 * world.state.behaviour.enrollments_per_second
    for contact in {passage.contact_id for passage in history}:
        passages = [passage for passage in history if passage.contact_id == contact]
        # One after the other, never two at once, and never more often than something started one.
        assert all(a.ended_ms <= b.started_ms for a, b in pairwise(passages))
        merged = [c for c in PEOPLE if world.state.contacts.survivor(c) == contact]
        assert len(passages) <= sum(world.starts[c] for c in {contact, *merged})
        assert again or len(passages) == 1
    assert not world.standing.active and not world.standing.waiting
    for passage in history:
        assert passage.ended_as and [at for at, _, _ in passage.path] == sorted(at for at, _, _ in passage.path)
