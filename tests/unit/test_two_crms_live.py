"""What is heard between runs, with two CRMs: a no of either reaches both at once, and nobody is told twice."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest

from connector.heard import Answered, Asked, Given, MailEvent, RecordChanged, RecordGone, Used, Who
from connector.live.about import Told
from connector.live.hearing import Hearing
from connector.live.relay import relays
from connector.receivers import ReceiverOptions
from tests.fakes.people import NOON
from tests.fakes.two_crms import STEP_LISTS, TwoCrms

LATER = NOON + timedelta(hours=3)


@pytest.fixture(scope="module")
def began(tmp_path_factory):
    """A person in both CRMs, one in each alone, all in the program; told once, copied by no one: the folder is shared."""
    made = TwoCrms(tmp_path_factory.mktemp("two"))
    made.a.add("1", email="both@acme.example", external_id="u1")
    made.a.add("2", email="first@acme.example", external_id="u2")
    made.b.add("A", email="both@acme.example")
    made.b.add("B", email="second@acme.example", external_id="u3")
    made.uses({"u1": 40, "u2": 70, "u3": 45})
    made.run()
    return made


@pytest.fixture
def both(began, tmp_path):
    """The same, as the run left it."""
    return began.copied(tmp_path)


@contextmanager
def live(both):
    with both.opened(LATER) as workspace:
        yield workspace


def hear(workspace, *heard, source: str, key: str = "e1"):
    hearing = Hearing.of(workspace)
    if source == "survey":
        hearing.rules.surveys[source] = ReceiverOptions(questions={"why": "reason"})  # type: ignore[index]
    return hearing.hear(heard, Told(source=source, key=key, received_at=LATER))


def relay(workspace):
    run_id = workspace.journal.runs.start("work", playbook_digest="1")
    return [one(run_id=run_id) for one in relays(workspace)]


def no(record: str):
    return RecordChanged(who=Who(record=record), at=LATER, name="opted_out", value="true")


@pytest.mark.parametrize(
    ("heard", "source", "told"),
    [
        (no("beta:A"), "beta", {"a"}),
        (no("alpha:1"), "alpha", {"b"}),
        (MailEvent(who=Who(email="both@acme.example"), at=LATER, kind="spam", event_id="m"), "alpha", {"b"}),
        (MailEvent(who=Who(email="both@acme.example"), at=LATER, kind="spam", event_id="m"), "mailer", {"a", "b"}),
        (
            Asked(who=Who(record="alpha:1"), at=LATER, action="unsubscribe", key="k", source="link"),
            "link",
            {"a", "b"},
        ),
    ],
)  # fmt: skip
def test_a_no_heard_from_anywhere_reaches_every_crm_that_does_not_say_so_itself(both, heard, source, told):
    with live(both) as workspace:
        hear(workspace, heard, source=source)
        relay(workspace)
        assert (both.a.unsubscribed == {"1"}) is ("a" in told)
        assert (both.b.unsubscribed == {"A"}) is ("b" in told)
        assert "1" not in both.a.on()
        assert "A" not in both.b.on()
        assert not both.b.values.get("A", {}).get("winback_step")
        assert not workspace.journal.outbox.depth()


def test_our_own_word_that_comes_back_is_no_news(both):
    with live(both) as workspace:
        hear(workspace, no("beta:A"), source="beta")
        relay(workspace)
        calls, version = (both.a.calls, both.b.calls), workspace.journal.episodes.version()
        again = hear(workspace, no("alpha:1"), source="alpha", key="echo")
        assert not [intent for intent in again.intents if intent.kind == "opt_out"]
        relay(workspace)
        assert (both.a.calls, both.b.calls) == calls
        assert not both.b.unsubscribed, "it said so itself"
        assert workspace.journal.episodes.version() == version


def test_who_comes_back_comes_off_in_every_crm(both):
    with live(both) as workspace:
        hear(workspace, Used(who=Who(external_id="u1"), at=LATER, feature="editor", event_id="x"), source="product")
        relay(workspace)
    assert both.a.on() == {"2"}
    assert both.b.on() == {"B"}


def test_one_crm_that_is_away_does_not_hold_the_other_up(both):
    with live(both) as workspace:
        both.a.away = True
        hear(workspace, no("beta:A"), source="beta")
        first, second = relay(workspace)
        assert first.away is not None
        assert second.away is None
        assert "A" not in both.b.on()
        assert "1" in both.a.on()
    both.a.away = False
    with both.opened(LATER + timedelta(hours=1)) as workspace:
        relay(workspace)
        assert both.a.unsubscribed == {"1"}
        assert "1" not in both.a.on()
        assert not workspace.journal.outbox.depth()


def test_a_record_that_goes_in_one_crm_says_nothing_about_the_person_in_another(both):
    with live(both) as workspace:
        gone = RecordGone(who=Who(record="beta:A"), at=LATER, how="deleted")
        assert hear(workspace, gone, source="beta") is None, "nothing follows from it"
        gone = RecordGone(who=Who(record="beta:B"), at=LATER, how="deleted")
        assert hear(workspace, gone, source="beta", key="e2").exits


def test_an_erasure_in_either_is_of_the_person(both):
    with live(both) as workspace:
        hear(workspace, RecordGone(who=Who(record="beta:A"), at=LATER, how="erased"), source="beta")
        relay(workspace)
        assert workspace.journal.consent.state("alpha:1").erased_at is not None
    assert "1" not in both.a.on()
    assert "A" not in both.b.on()


def test_an_answer_is_shown_in_both_and_is_one_persons_task(both):
    answer = Answered(
        who=Who(record="beta:A"), at=LATER, source="survey", survey="s", response="r",
        answers=(Given(question="why", kind="choice", choice=("price",)),),
    )  # fmt: skip
    with live(both) as workspace:
        hear(workspace, answer, source="survey")
        relay(workspace)
    assert both.a.values["1"]["winback_reason"] == both.b.values["A"]["winback_reason"]
    assert len(both.a.notes) == len(both.b.notes) == 1


def test_an_intent_about_somebody_who_was_found_in_the_first_crm_meanwhile_is_still_done(both):
    with live(both) as workspace:
        both.b.away = True
        hear(
            workspace, Asked(who=Who(record="beta:B"), at=LATER, action="unsubscribe", key="k", source="l"), source="l"
        )
        relay(workspace)
        assert "B" in both.b.on(*STEP_LISTS)
    both.b.away = False
    both.a.add("9", email="second@acme.example")
    both.run(0.5)
    assert both.a.unsubscribed == {"9"}
    assert both.b.unsubscribed == {"B"}
    assert "B" not in both.b.on()
