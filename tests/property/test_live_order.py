"""Whatever order events are heard in, and however often: in the end the journal says the same (W-9)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.heard import Answered, Asked, Given, Heard, MailEvent, Paid, RecordChanged, RecordGone, Used, Who
from connector.program.model import ReasonRule, StepSettings
from connector.receivers import ReceiverOptions
from tests.fakes.hearing import ANN, HELD, QUIET, Ear, address, at, external_id, rules, token_of
from tests.fakes.program_people import condition, program

STRANGER = "hubspot:99"
REASONS = {
    "price": ReasonRule(step="offer", offer="discount"),
    "not_now": ReasonRule(snooze=timedelta(days=60)),
    "changed_job": ReasonRule(exit=True),
    "missing_feature": ReasonRule(route=("task", "slack")),
}


def playbook():
    """Two active days or clicks bring somebody back, so that one alone does not."""
    chosen = program(
        reactivated=condition("active_days_since_enrollment >= 2 or engaged.clicks >= 2"),
        steps=(StepSettings(name="reminder", day=1),),
        reasons=REASONS,
    )
    return rules(chosen, surveys={"survey": ReceiverOptions(questions={"why": "reason"})})


MOMENTS = st.integers(-2, 9).map(lambda day: at(day + 0.25))
"""Before entry and after, several at one moment."""
PEOPLE = st.sampled_from([ANN, ANN, ANN, HELD, QUIET, STRANGER])


@st.composite
def whom(draw: st.DrawFn, *, token: bool = False) -> Who:
    contact_id = draw(PEOPLE)
    ways = [
        Who(record=contact_id),
        Who(email=address(contact_id)),
        Who(external_id=external_id(contact_id), email=address(contact_id)),
    ]
    return Who(token=token_of(contact_id)) if token else draw(st.sampled_from(ways))


IDS = st.integers(0, 10**6).map(str)
SNOOZES = st.sampled_from([None, timedelta(days=7), timedelta(days=30)])


@st.composite
def answers(draw: st.DrawFn) -> Answered:
    chosen = draw(st.sampled_from(["price", "not_now", "changed_job", "missing_feature", "other", "blue"]))
    return Answered(
        who=draw(whom(token=True)),
        at=draw(MOMENTS),
        source="survey",
        survey="exit",
        response=draw(st.sampled_from(["r1", "r2", "r3"])),
        answers=(Given(question="why", kind="choice", choice=(chosen,), text=chosen),),
        complete=draw(st.booleans()),
    )


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    return Asked(
        who=draw(whom()),
        at=draw(MOMENTS),
        action=draw(st.sampled_from(["enroll", "exit", "snooze", "return", "unsubscribe"])),
        key=draw(IDS),
        source="links",
        lasts=draw(SNOOZES),
        callback=draw(st.none() | IDS),
    )


EVENTS: st.SearchStrategy[Heard] = st.one_of(
    st.builds(Used, who=whom(), at=MOMENTS, feature=st.sampled_from(["deploy", "status_page"]), event_id=IDS),
    st.builds(Paid, who=whom(), at=MOMENTS, kind=st.sampled_from(["payment", "cancellation"]), transaction_id=IDS),
    st.builds(
        MailEvent,
        who=whom(),
        at=MOMENTS,
        kind=st.sampled_from(["unsubscribe", "bounce", "spam", "reply", "click", "open"]),
        event_id=IDS,
        machine=st.sampled_from([None, True, False]),
    ),
    st.builds(
        RecordChanged,
        who=PEOPLE.map(lambda contact_id: Who(record=contact_id)),
        at=MOMENTS,
        name=st.sampled_from(["optout", "firstname"]),
        value=st.sampled_from(["true", "false", None]),
    ),
    st.builds(
        RecordGone,
        who=PEOPLE.map(lambda contact_id: Who(record=contact_id)),
        at=MOMENTS,
        how=st.sampled_from(["deleted", "erased", "merged"]),
    ),
    answers(),
    asked(),
)


def numbered(events: list[Heard]) -> list[Heard]:
    """Every event with an id of its own, as vendors give them."""
    ids = ("event_id", "transaction_id", "key")
    return [
        replace(event, **{name: str(number) for name in ids if hasattr(event, name)})
        for number, event in enumerate(events)
    ]


HISTORIES = st.lists(EVENTS, min_size=1, max_size=6).map(numbered)


def state(ear: Ear) -> dict[str, Any]:
    """All that the journal says in the end: what is known, and what it will have done to the CRM.

    Of who asked for erasure nothing more is to be known than that, that they are off everything, and what they forbade.
    """
    journal, people = ear.journal, [ANN, HELD, QUIET, STRANGER]
    erased = {person for person in people if journal.consent.state(person).erased_at is not None}
    kept = [person for person in people if person not in erased]
    assert not any(journal.facts.of(person) or journal.feedback.of(person) for person in erased)
    assert not any(ask.contact_id in erased for ask in journal.asks.open())
    forbidden = {
        subject: (state.erased_at, state.opted_out_at, state.complained_at, state.bounced_at)
        for subject, state in journal.consent.states().items()
    }
    done = written(ear)
    return {
        "consent": forbidden,
        "snoozed": {person: journal.consent.state(person).snoozed_until for person in kept},
        "lines": {event.event_key for person in kept for event in journal.consent.history(person)},
        "episodes": {
            one.episode_id: (one.exited_at, one.exit_reason, one.answered and one.contact_id not in erased)
            for one in journal.episodes.everybody()
        },
        "answers": {person: journal.feedback.of(person) for person in kept},
        "facts": {(fact.key, fact.contact_id, fact.at) for fact in journal.facts.after(0, 1000)},
        "stops": set(journal.stops.of(people)),
        "asks": {(ask.key, ask.contact_id) for ask in journal.asks.open()},
        "written": {person: done.get(person) for person in kept},
        "taken off": {person: about.get("off") for person, about in done.items() if person is not None},
        "opted out": {person for person, about in done.items() if about.get("opted_out")},
        "said": None if erased else done.get(None),
    }


def written(ear: Ear) -> dict[str | None, dict[str, Any]]:
    """What the intents come to for each contact, carried out in their order."""
    rows = sorted(ear.journal.outbox.recent(1000, state="waiting"), key=lambda row: (not row.urgent, row.number))
    found: dict[str | None, dict[str, Any]] = defaultdict(dict)
    for row in rows:
        about = found[row.contact_id]
        match row.kind:
            case "leave":
                about["off"] = "everything" if "everything" in (about.get("off"), row.payload["of"]) else "program"
            case "set":
                about |= row.payload["values"]
            case "opt_out":
                about["opted_out"] = True
            case _:
                about.setdefault(row.kind, set()).add(row.key)
    return {contact_id: about for contact_id, about in found.items() if about}


def told(events: list[Heard]) -> dict[str, Any]:
    """The state after these deliveries; the same delivery twice has the same key."""
    with Ear(rules=playbook()) as ear:
        for event in events:
            ear.hear(event)
        return state(ear)


@settings(deadline=None, max_examples=20)
@given(data=st.data(), events=HISTORIES)
def test_any_order_and_repetition_comes_to_the_same(data, events):
    again = data.draw(st.lists(st.sampled_from(events), max_size=3))
    other = data.draw(st.permutations([*events, *again]))
    assert told(other) == told(events)


@settings(deadline=None, max_examples=15)
@given(before=HISTORIES, after=HISTORIES)
def test_an_opt_out_is_never_undone(before, after):
    """Nothing that is heard lifts it: only a return with evidence would, and no event is one."""
    with Ear(rules=playbook()) as ear:
        for event in [*before, MailEvent(who=Who(record=ANN), at=at(3), kind="unsubscribe", event_id="no")]:
            ear.hear(event)
        for event in after:
            ear.hear(event)
        state = ear.journal.consent.state(ANN)
        assert state.opted_out_at is not None and state.opted_out_at >= at(3)
        assert not state.grants
        assert not ear.episode(ANN).open
        assert ("opt_out", {}) in ear.intents(ANN)


WRITES = {"leave", "set", "feedback", "task", "tell"}


@settings(deadline=None, max_examples=20)
@given(events=HISTORIES)
def test_a_holdout_is_never_written_about(events):
    """What is true of everybody, an opt-out, is written; nothing that tells that they are part of a program."""
    with Ear(rules=playbook()) as ear:
        for event in events:
            ear.hear(event)
        kinds = {kind for kind, _ in ear.intents(HELD)}
        assert kinds <= {"opt_out"}
        refused = ear.journal.consent.state(HELD)
        if "opt_out" in kinds:
            assert refused.opted_out_at is not None or refused.complained_at is not None


def test_what_was_stopped_is_stopped_once():
    with Ear(rules=playbook()) as ear:
        for event in (
            Used(who=Who(record=ANN), at=at(1), feature="deploy", event_id="1"),
            Used(who=Who(record=ANN), at=at(2), feature="deploy", event_id="2"),
        ):
            ear.hear(event)
            ear.hear(event)
        assert ear.journal.stops.of([ANN]) == {ANN: ("reactivated", at(2))}
        assert ear.intents(ANN) == [("leave", {"reason": "reactivated", "of": "everything"})]
