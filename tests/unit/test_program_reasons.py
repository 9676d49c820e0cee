"""What follows from a reason, and from a workflow's request, for one contact: each rule by an example."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connector.answering import answer_asks
from connector.journal import Answer, Ask, Journal, Settlement
from connector.program.codes import ANSWERS, DEFERRALS, EXCLUSIONS, TOLD_TO_WHO_ASKS
from connector.program.engine import decide, verdict
from connector.program.model import (
    REQUESTED,
    CapSettings,
    Decisions,
    Driver,
    Offer,
    OfferSettings,
    ReasonRule,
    Request,
    StepSettings,
)
from connector.program.offers import OfferBook
from tests.fakes.clocks import VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.program_people import (
    EVERYBODY_HELD_OUT,
    NOW,
    condition,
    episode,
    person,
    program,
    stepped,
    steps,
    world,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
LADDER = OfferSettings(
    offers={
        "longer": Offer(name="longer", cost=1),
        "access": Offer(name="access", cost=2),
        "cut": Offer(name="cut", cost=5, discount=True),
    },
    ladder=("longer", "access", "cut"),
)
PATH = (
    StepSettings(name="reminder", day=1),
    StepSettings(name="offer", day=7, offer="ladder"),
    StepSettings(name="last_chance", day=14, offer="ladder"),
    StepSettings(name="feedback", day=21),
)


def decided(
    reason: str | None, *, rules: Any = None, said_ago: Any = HOUR, inside: Any = None, **more: Any
) -> Decisions:
    values = {"steps": PATH, "offers": LADDER, **more.pop("program", {})}
    chosen = program(reasons=rules or {}, **values)
    told = world(chosen, said={} if reason is None else {"crm:1": (reason, NOW - said_ago)}, **more)
    opened = inside or stepped("reminder", days_ago=4)
    return decide(told, [person(episodes=(opened,), touches=[opened.send_at] if opened.send_at else ())])


def moves(decisions: Decisions) -> list[tuple[str, str]]:
    return [(move.step, move.state) for move in decisions.move]


# --- the step that is brought forward ---------------------------------------------------------------------------


def test_a_reason_makes_its_step_the_next_one_at_once():
    assert moves(decided("price", rules={"price": ReasonRule(step="offer")})) == [("offer", "decided")]
    assert moves(decided(None, rules={"price": ReasonRule(step="offer")})) == []


def test_the_steps_between_are_skipped_and_logged():
    found = decided("other", rules={"other": ReasonRule(step="feedback")})
    assert moves(found) == [("offer", "skipped"), ("last_chance", "skipped"), ("feedback", "decided")]
    assert found.placed["crm:1"].step == "feedback"


def test_a_reason_without_a_rule_or_a_rule_without_a_step_changes_nothing():
    assert moves(decided("quality", rules={"price": ReasonRule(step="offer")})) == []
    assert moves(decided("price", rules={"price": ReasonRule(route=("task",), snooze=DAY)})) == []


def test_what_was_said_before_entry_brings_nothing_forward():
    rules = {"price": ReasonRule(step="offer", offer="cut")}
    assert moves(decided("price", rules=rules, said_ago=5 * DAY)) == []
    assert moves(decided("price", rules=rules, said_ago=5 * DAY - HOUR)) == [("offer", "decided")]


def test_a_step_behind_the_contact_is_never_taken_again():
    rules = {"price": ReasonRule(step="reminder")}
    assert moves(decided("price", rules=rules, inside=stepped("offer", days_ago=1))) == []


def test_an_answer_counts_once():
    rules = {"price": ReasonRule(step="offer")}
    once = decided("price", rules=rules, said_ago=6 * HOUR, inside=stepped("offer", days_ago=0.1))
    assert moves(once) == []
    assert once.deferred == {}


def test_caps_hold_for_a_step_that_is_brought_forward():
    rules = {"price": ReasonRule(step="offer")}
    found = decided("price", rules=rules, inside=stepped("reminder", days_ago=1))
    assert moves(found) == []
    assert found.deferred == {"gap": ["crm:1"]}
    none_left = {"program": {"caps": CapSettings(per_day=1)}, "touches_today": 1}
    assert decided("price", rules=rules, **none_left).deferred == {"daily_cap": ["crm:1"]}


def test_a_pause_and_an_unwritten_step_hold_too():
    rules = {"price": ReasonRule(step="last_chance")}
    paused = decided("price", rules=rules, paused={"win-back": "complaints"})
    assert (moves(paused), paused.deferred) == ([], {"paused": ["crm:1"]})
    waiting = decided("price", rules=rules, inside=stepped("reminder", days_ago=4, state="decided"))
    assert (moves(waiting), waiting.deferred) == ([], {"not_written_yet": ["crm:1"]})


def test_the_condition_of_the_step_still_decides():
    path = (*PATH[:1], StepSettings(name="offer", day=7, when=condition("engaged.clicks >= 1")), *PATH[2:])
    assert moves(decided("price", rules={"price": ReasonRule(step="offer")}, program={"steps": path})) == [
        ("offer", "skipped")
    ]


def test_a_workflow_of_the_crm_is_not_overtaken():
    rules = {"price": ReasonRule(step="feedback")}
    found = decided("price", rules=rules, program={"driver": Driver.CRM})
    assert moves(found) == []


def test_a_holdout_takes_no_step_whatever_is_said():
    rules = {"price": ReasonRule(step="offer", offer="cut")}
    found = decided("price", rules=rules, inside=episode(days_ago=5, arm="holdout"))
    assert (moves(found), found.held_out, found.placed) == ([], {"crm:1"}, {})


def test_a_contact_that_returned_leaves_whatever_is_said():
    chosen = program(steps=PATH, reasons={"price": ReasonRule(step="offer")})
    told = world(chosen, said={"crm:1": ("price", NOW - HOUR)})
    back = person(episodes=(stepped("reminder", days_ago=4),), active_days_since_enrollment=1)
    found = decide(told, [back])
    assert (moves(found), [ending.reason for ending in found.exit]) == ([], ["reactivated"])


def test_explain_says_that_the_step_comes_now():
    chosen = program(steps=PATH, reasons={"other": ReasonRule(step="feedback")})
    told = world(chosen, said={"crm:1": ("other", NOW - HOUR)})
    opened = stepped("reminder", days_ago=1)
    said = verdict(told, person(episodes=(opened,), touches=[opened.send_at]))
    assert said.reason == "gap"
    assert [move.step for move in said.moves] == ["offer", "last_chance"]
    assert said.upcoming is not None and said.upcoming.what == "feedback"


# --- the offer that answers -------------------------------------------------------------------------------------


def offered(reason: str, rule: ReasonRule, **more: Any) -> str | None:
    found = decided(reason, rules={reason: rule}, **more)
    return next((move.offer for move in found.move if move.state == "decided"), None)


def test_who_says_price_may_be_offered_the_discount_at_once():
    assert offered("price", ReasonRule(step="offer", offer="cut")) == "cut"
    assert offered("price", ReasonRule(step="offer")) == "longer"


def test_no_other_reason_gets_a_discount_first_but_the_ladder():
    assert offered("competitor", ReasonRule(step="offer", offer="cut")) == "longer"
    assert offered("competitor", ReasonRule(step="offer", offer="access")) == "access"


def test_a_discount_after_another_offer_is_no_first_one():
    inside = stepped("offer", days_ago=4, offer="longer")
    assert offered("competitor", ReasonRule(step="last_chance", offer="cut"), inside=inside) == "cut"


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"skip_above": 0.4}, {"return_probability": lambda _days: 0.5}),
        ({"budget": (3.0, 30 * DAY)}, {}),
    ],
)
def test_the_rails_hold_for_an_answer_too(settings, more):
    from dataclasses import replace

    rails = {"program": {"offers": replace(LADDER, **settings)}}
    assert offered("price", ReasonRule(step="offer", offer="cut"), **rails, **more) is None


@pytest.mark.parametrize("settings", [{"minimum_value": 100.0}, {"per_contact": (3.0, 30 * DAY)}])
def test_an_answer_the_rails_forbid_leaves_what_the_ladder_says(settings):
    from dataclasses import replace

    rails = {"program": {"offers": replace(LADDER, **settings)}}
    assert offered("price", ReasonRule(step="offer", offer="cut"), **rails) == "longer"


def test_an_offer_that_is_on_no_rung_of_theirs_is_not_made():
    from dataclasses import replace

    without = {"program": {"offers": replace(LADDER, ladder=("longer", "access"))}}
    assert offered("price", ReasonRule(step="offer", offer="cut"), **without) == "longer"


def test_an_offer_answers_at_the_step_it_names_even_where_that_makes_none():
    assert offered("price", ReasonRule(step="feedback", offer="cut")) == "cut"
    plain = (*PATH[:1], StepSettings(name="offer", day=5), *PATH[2:])
    assert offered("price", ReasonRule(offer="cut"), program={"steps": plain}) is None


def test_an_offer_that_was_made_is_not_made_again_in_place_of_the_ladder():
    inside = stepped("offer", days_ago=14, offer="longer")
    rule = ReasonRule(offer="longer")
    assert offered("price", rule, inside=inside, said_ago=14 * DAY + HOUR) == "access"


def test_a_test_of_offers_stays_one():
    path = (*PATH[:1], StepSettings(name="offer", day=7, variants={"longer": 1.0}), *PATH[2:])
    assert offered("price", ReasonRule(step="offer", offer="cut"), program={"steps": path}) == "longer"


def test_the_book_says_why_it_answers():
    from connector.program.offers import Preference

    said = OfferBook().propose(
        program(steps=PATH, offers=LADDER),
        PATH[1],
        contact_id="crm:1",
        segment="dormant",
        episodes=(),
        row={"value_365d": None},
        return_probability=None,
        preferred=Preference("cut", "price"),
    )
    assert (said.name, said.why) == ("cut", "cut, because they said price")


# --- requests ---------------------------------------------------------------------------------------------------


def asked(*people: Any, ask: Any = None, **more: Any) -> Decisions:
    values = more.pop("program", {})
    programs = more.pop("programs", (program(**values),))
    requests = {"crm:1": (Request("k1", ask),)}
    return decide(world(*programs, asked=requests, **more), people or (person(segments=()),))


def test_somebody_asked_for_enters_without_any_segment():
    found = asked()
    (entry,) = found.enter
    assert (entry.episode.entered_as, entry.episode.stratum) == (REQUESTED, REQUESTED)
    assert found.answers == {"k1": "entered"}
    assert "crm:1" in found.placed


def test_somebody_asked_for_who_is_in_a_segment_too_enters_as_requested():
    assert [entry.episode.entered_as for entry in asked(person()).enter] == [REQUESTED]


def test_a_request_may_name_the_program():
    two = (program(), program(name="renewal"))
    assert [entry.episode.program for entry in asked(programs=two, ask="renewal").enter] == ["renewal"]
    assert [entry.episode.program for entry in asked(programs=two).enter] == ["win-back"]
    gone = asked(programs=two, ask="gone")
    assert (gone.enter, gone.answers) == ([], {"k1": "no_program"})


def test_whoever_was_asked_for_goes_before_others_in_whichever_program():
    two = (program(caps=CapSettings(per_day=1)), program(name="renewal", caps=CapSettings(per_day=1)))
    crowd = (person("crm:0", silent=400), person("crm:1", segments=()))
    found = asked(*crowd, programs=two, ask="renewal")
    assert [entry.episode.contact_id for entry in found.enter] == ["crm:1"]
    assert found.deferred == {"daily_cap": ["crm:0"]}


def test_a_holdout_is_drawn_and_answered_like_not_now():
    found = asked(splits={"win-back": EVERYBODY_HELD_OUT})
    (entry,) = found.enter
    assert entry.episode.held_out
    assert found.answers == {"k1": "not_now"}
    full = asked(entered_today=5, program={"caps": CapSettings(per_day=5)})
    assert full.answers == found.answers


@pytest.mark.parametrize("code", sorted(EXCLUSIONS))
def test_nobody_who_may_not_be_mailed_enters_by_request(code):
    found = asked(person(segments=(), reason=code))
    assert (found.enter, found.answers) == ([], {"k1": code})


@pytest.mark.parametrize(
    ("episodes", "said"),
    [
        ([stepped("reminder", days_ago=4)], "in_program"),
        ([episode(days_ago=4, arm="holdout")], "not_now"),
        ([episode(days_ago=40, spell_started_on=(NOW - 200 * DAY).date(), exited_at=NOW - 2 * DAY, exit_reason="reactivated")], "quiet_period"),
        ([episode(days_ago=9, exited_at=NOW - 2 * DAY, exit_reason="left_segment")], "same_spell"),
        ([episode(days_ago=30, arm="holdout", exited_at=NOW - 2 * DAY, exit_reason="completed")], "not_now"),
    ],
)  # fmt: skip
def test_a_request_is_answered_by_what_keeps_them_out(episodes, said):
    silent = 20 if said == "quiet_period" else 40
    found = asked(person(silent=silent, episodes=episodes))
    assert (found.enter, found.answers) == ([], {"k1": said})


def test_a_request_for_somebody_in_another_program_is_told_so():
    two = (program(), program(name="renewal"))
    found = asked(person(episodes=[stepped("reminder", days_ago=4)]), programs=two, ask="renewal")
    assert found.answers == {"k1": "other_program"}


def test_a_request_for_somebody_the_crm_does_not_have_is_answered():
    assert asked(person("crm:2")).answers == {"k1": "not_in_crm"}


def test_a_pause_is_answered_as_not_now():
    assert asked(paused={"win-back": "complaints"}).answers == {"k1": "not_now"}


def test_two_requests_for_one_contact_are_one_entry_and_two_answers():
    requests = {"crm:1": (Request("k1", "renewal"), Request("k2"), Request("k3", "win-back"))}
    told = world(program(), program(name="renewal"), asked=requests)
    found = decide(told, [person(segments=())])
    (entry,) = found.enter
    assert entry.episode.program == "win-back"
    assert found.answers == {"k1": "other_program", "k2": "entered", "k3": "entered"}


def test_being_in_no_segment_does_not_end_the_episode_of_somebody_asked_for():
    opened = stepped("reminder", days_ago=2, entered_as=REQUESTED)
    broken = {"spell_broken_on": NOW - 20 * DAY}
    stays = decide(world(), [person(segments=(), episodes=(opened,), touches=[opened.send_at], **broken)])
    assert (stays.exit, list(stays.placed)) == ([], ["crm:1"])
    ends = decide(world(), [person(segments=(), episodes=(stepped("reminder", days_ago=2),))])
    assert [ending.reason for ending in ends.exit] == ["left_segment"]


def test_every_other_exit_ends_it():
    opened = stepped("reminder", days_ago=2, entered_as=REQUESTED)
    back = person(segments=(), episodes=(opened,), active_days_since_enrollment=1)
    assert [ending.reason for ending in decide(world(), [back]).exit] == ["reactivated"]
    gone = person(segments=(), episodes=(opened,), reason="opted_out")
    assert [ending.reason for ending in decide(world(), [gone]).exit] == ["unsubscribed"]


def test_what_is_told_to_who_asks_says_nothing_about_the_arm():
    assert DEFERRALS.keys() >= TOLD_TO_WHO_ASKS
    assert not {"held_out_before", "daily_cap", "paused", "gap"} & TOLD_TO_WHO_ASKS
    assert not ANSWERS.keys() & EXCLUSIONS.keys()


def test_steps_of_somebody_asked_for_come_as_for_others():
    found = asked(program={"steps": steps(0, 7)})
    assert moves(found) == [("reminder", "decided")]


# --- told to who asked ------------------------------------------------------------------------------------------


@pytest.fixture
def journal(journal_url):
    with Journal.open(journal_url, clock=VirtualClock(NOW)) as opened:
        yield opened


def test_asks_are_answered_and_workflows_that_wait_go_on(journal: Journal):
    asks = [
        Ask(key="a", contact_id="crm:1", at=NOW, source="hubspot", callback="cb-1"),
        Ask(key="b", contact_id="crm:2", at=NOW, source="hubspot", callback="cb-2"),
        Ask(key="c", contact_id="crm:3", at=NOW, source="salesforce"),
        Ask(key="d", contact_id="crm:4", at=NOW, source="salesforce"),
    ]
    journal.settlement.settle(Settlement(number=None, effect="asked", state="done", asks=asks))
    assert answer_asks(journal, {"a": "opted_out", "b": "entered", "c": "quiet_period"}) == 3
    assert {key: journal.asks.decision(key) for key in "abcd"} == {
        "a": "opted_out",
        "b": "not_now",  # the plan's entry never came about
        "c": "quiet_period",
        "d": None,
    }
    told = {row.key: row.payload for row in journal.outbox.recent(10)}
    assert told == {
        "complete:a": {"callback": "cb-1", "fields": {"decision": "opted_out"}},
        "complete:b": {"callback": "cb-2", "fields": {"decision": "not_now"}},
    }
    assert answer_asks(journal, {"a": "entered"}) == 0


def test_the_journal_tells_the_last_reason_and_when_it_was_given(journal: Journal):
    journal.feedback.record(
        [
            Answer(answer_key="1", contact_id="crm:1", at=NOW - 3 * DAY, source="typeform", reason="quality"),
            Answer(answer_key="2", contact_id="crm:1", at=NOW - 2 * DAY, source="typeform", reason="price"),
            Answer(answer_key="3", contact_id="crm:1", at=NOW - DAY, source="typeform", score=3),
            Answer(answer_key="4", contact_id="crm:2", at=NOW, source="typeform", score=9),
        ]
    )
    assert journal.feedback.said() == {"crm:1": ("price", NOW - 2 * DAY)}
