"""What follows from what is heard: each kind of event, each reason's rule, for people in a program and held out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from connector.heard import Answered, Asked, Given, MailEvent, Paid, RecordChanged, RecordGone, ToFetch, Used, Who
from connector.program.model import Exit, ReasonRule, Status
from connector.reasons.classify import classify
from connector.receivers import ReceiverOptions
from tests.fakes.hearing import (
    ANN,
    ENTERED,
    HELD,
    KEYS,
    LINKS,
    NOW,
    QUIET,
    Ear,
    address,
    at,
    by_mail,
    by_user,
    entered,
    external_id,
    rules,
    token_of,
)
from tests.fakes.program_people import condition, program

LEFT_ALL = ("leave", {"reason": "reactivated", "of": "everything"})
STRANGER = "hubspot:404"


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as opened:
        yield opened


def hearing_with(**said) -> Ear:
    """Another program than the design's."""
    return Ear(rules=rules(program(**said)))


def used(who: Who | None = None, days: float = 2, **said) -> Used:
    return Used(**{"who": who or by_user(), "at": at(days), "feature": "deploy", "event_id": f"u{days}", **said})


def mail(kind: str, who: Who | None = None, days: float = 2, **said) -> MailEvent:
    return MailEvent(**{"who": who or by_mail(), "at": at(days), "kind": kind, "event_id": f"m{days}", **said})


def asked(action: str, who: Who | None = None, days: float = 2, **said) -> Asked:
    given = {"who": who or Who(record=ANN), "at": at(days), "action": action, "key": f"k{days}", "source": "links"}
    return Asked(**{**given, **said})


# --- use -----------------------------------------------------------------------------------------------------------


def test_a_use_that_counts_ends_the_sequence_and_takes_the_contact_off_everything(ear):
    settled = ear.hear(used())
    assert (settled.effect, settled.state, settled.contact_id) == ("left win-back: reactivated", "done", ANN)
    assert (ear.episode().exit_reason, ear.episode().exited_at, ear.episode().answered) == ("reactivated", at(2), True)
    assert ear.intents() == [LEFT_ALL]
    assert ear.journal.stops.of([ANN]) == {ANN: ("reactivated", at(2))}
    (fact,) = ear.journal.facts.of(ANN)
    assert (fact.kind, fact.who_kind, fact.who) == ("usage", "external_id", external_id(ANN))
    assert fact.values == {"feature": "deploy", "events": 1, "event_id": "u2"}


def test_whoever_is_back_and_goes_on_working_is_stopped_once(ear):
    for days in (2, 3, 4):
        ear.hear(used(days=days))
    assert ear.journal.stops.newest() == 1 and ear.intents() == [LEFT_ALL]
    assert len(ear.journal.facts.of(ANN)) == 3
    ear.hear(used(days=1))
    assert ear.episode().exited_at == at(1), "what is heard late and happened before still counts"


def test_a_use_that_does_not_count_is_kept_and_ends_nothing(ear):
    assert ear.hear(used(feature="status_page")).effect == "kept"
    assert ear.episode().open and ear.intents() == [] and len(ear.journal.facts.of(ANN)) == 1


@pytest.mark.parametrize("feature", ["winback_enrolled", "Winback · reminder"])
def test_what_we_wrote_into_an_analytics_tool_ourselves_is_nobodys_use(ear, feature):
    assert ear.hear(used(feature=feature)).state == "ignored"
    assert ear.episode().open and ear.journal.facts.newest() == 0


def test_a_use_from_before_the_entry_is_for_the_run_to_weigh(ear):
    assert ear.hear(used(days=-1)).effect == "kept"
    assert ear.episode().open and len(ear.journal.facts.of(ANN)) == 1


def test_a_use_of_somebody_in_no_program_is_kept(ear):
    assert ear.hear(used(by_user(QUIET))).effect == "kept"
    assert ear.intents(QUIET) == [] and ear.journal.stops.of([QUIET]) == {}


def test_a_use_by_nobody_we_know_waits_for_the_run_under_the_products_own_id(ear):
    settled = ear.hear(used(Who(external_id="new-one")))
    assert settled.effect == "kept for the next run: nobody we know"
    (fact,) = ear.journal.facts.after(0, 10)
    assert (fact.contact_id, fact.who_kind, fact.who) == (None, "external_id", "new-one")


def test_a_use_known_by_its_address_alone_is_kept_without_it(ear):
    ear.hear(used(Who(email="New.One@Example.com")))
    (fact,) = ear.journal.facts.after(0, 10)
    assert (fact.who_kind, fact.who) == ("email", KEYS.email("new.one@example.com"))
    assert "@" not in repr(fact)


def test_days_are_counted_as_the_account_counts_them():
    with hearing_with(reactivated=condition("active_days_since_enrollment >= 2")) as ear:
        # 23:30 and 00:30 in Amsterdam: one evening for a person, two days for the calendar.
        evening = ENTERED.replace(hour=22, minute=30)
        ear.hear(replace(used(), at=evening, event_id="a"))
        ear.hear(replace(used(), at=evening + timedelta(minutes=10), event_id="b"))
        assert ear.episode().open
        ear.hear(replace(used(), at=evening + timedelta(hours=1), event_id="c"))
        assert ear.episode().exited_at == evening + timedelta(hours=1)


def test_days_the_last_run_had_counted_are_not_counted_again():
    with hearing_with(reactivated=condition("active_days_since_enrollment >= 2")) as ear:
        ear.hear(used(days=1))
        live = {
            "episode_id": ear.episode().episode_id,
            "columns": {"active_days_since_enrollment": 1},
            "upto": ear.journal.facts.newest(),
            "last_active_on": at(1).date().isoformat(),
        }
        ear.journal.decisions.publish(NOW.date(), {ANN: {"live": live}})
        ear.hear(used(days=1.1))
        assert ear.episode().open, "the same day again"
        ear.hear(used(days=3))
        assert ear.episode().exited_at == at(3)


def test_events_of_a_day_are_added_up_before_they_are_weighed():
    with Ear(rules=rules(program(), counts=None)) as ear:
        assert ear.hear(used()).effect == "left win-back: reactivated"
    from connector.rules.conditions import parse_usage

    with Ear(rules=rules(counts=parse_usage("events >= 3"))) as ear:
        ear.hear(used(days=2, events=2))
        assert ear.episode().open
        ear.hear(used(days=2.1, events=1))
        assert not ear.episode().open


def test_a_condition_nobody_can_judge_now_is_left_to_the_run():
    with hearing_with(reactivated=condition("active_days_28 >= 3 and active_days_since_enrollment >= 1")) as ear:
        assert ear.hear(used()).effect == "left to the next run: win-back asks for active_days_28"
        assert ear.episode().open and ear.intents() == []


def test_a_condition_over_silence_is_judged_by_the_use_itself():
    with hearing_with(reactivated=condition("inactive_days < 7")) as ear:
        ear.hear(used())
        assert ear.episode().exit_reason == "reactivated"


# --- money ---------------------------------------------------------------------------------------------------------


def paid(kind: str, **said) -> Paid:
    return Paid(**{"who": by_user(), "at": at(3), "kind": kind, "transaction_id": "t1", "amount": 9.0, **said})


@pytest.mark.parametrize("kind", ["payment", "upgrade", "reactivation"])
def test_a_payment_converts_where_the_program_lists_it(kind):
    with hearing_with(exit=frozenset({"converted"})) as ear:
        assert ear.hear(paid(kind)).effect == "left win-back: converted"
        assert ear.intents() == [("leave", {"reason": "converted", "of": "program"})]
    with hearing_with(exit=frozenset({"replied"})) as ear:
        assert ear.hear(paid(kind)).effect == "kept"
        assert ear.episode().open and len(ear.journal.facts.of(ANN)) == 1


@pytest.mark.parametrize(("kind", "amount"), [("cancellation", 0.0), ("payment", -9.0)])
def test_a_cancellation_and_money_given_back_are_facts_only(ear, kind, amount):
    ear.hear(paid(kind, amount=amount))
    assert ear.episode().open
    (fact,) = ear.journal.facts.of(ANN)
    assert fact.values["kind"] == kind


def test_a_programs_own_condition_says_what_converts():
    with hearing_with(converted=condition("transactions_since_enrollment >= 2"), exit=None) as ear:
        ear.hear(paid("payment"))
        assert ear.episode().open
        ear.hear(paid("payment", transaction_id="t2", at=at(4)))
        assert (ear.episode().exit_reason, ear.episode().exited_at) == ("converted", at(4))


# --- mail ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "reason", "urgent"),
    [
        ("unsubscribe", Status.WITHDRAWN, "unsubscribed", True),
        ("spam", Status.COMPLAINED, "complained", True),
        ("bounce", Status.BOUNCED, "bounced", False),
    ],
)
def test_a_no_is_written_down_about_contact_and_address_and_ends_everything(ear, kind, status, reason, urgent):
    settled = ear.hear(mail(kind))
    assert settled.effect == f"{reason}: the contact and the address"
    assert [event.status for event in ear.journal.consent.history(ANN)] == [status]
    assert [event.status for event in ear.journal.consent.history(KEYS.email(address(ANN)))] == [status]
    assert ear.episode().exit_reason == reason
    leave = ("leave", {"reason": reason, "of": "everything"})
    assert ear.intents() == ([("opt_out", {}), leave] if urgent else [leave])
    assert all(row.urgent is urgent for row in ear.journal.outbox.recent(10))
    (fact,) = ear.journal.facts.of(ANN)
    assert (fact.kind, fact.values["kind"]) == ("engagement", kind)


def test_a_no_from_a_record_whose_address_we_know_holds_for_the_address_too(ear):
    ear.hear(mail("unsubscribe", Who(record=ANN)))
    assert ear.journal.consent.state(KEYS.email(address(ANN))).opted_out_at == at(2)


def test_a_no_from_nobody_we_know_holds_for_the_address_alone(ear):
    settled = ear.hear(mail("unsubscribe", Who(email="stranger@example.com")))
    assert settled.effect == "unsubscribed: the address alone"
    assert ear.journal.consent.state(KEYS.email("stranger@example.com")).opted_out_at == at(2)
    assert ear.intents(None) == []


def test_a_contact_in_nothing_is_opted_out_all_the_same(ear):
    ear.hear(mail("unsubscribe", Who(record=STRANGER)))
    assert ear.journal.consent.state(STRANGER).opted_out_at == at(2)
    assert [kind for kind, _ in ear.intents(STRANGER)] == ["opt_out", "leave"]


def test_an_opt_out_from_before_the_entry_ends_what_should_not_have_begun(ear):
    ear.hear(mail("unsubscribe", days=-3))
    assert (ear.episode().exit_reason, ear.episode().exited_at) == ("unsubscribed", ENTERED)
    assert ear.journal.consent.state(ANN).opted_out_at == at(-3)


def test_a_reply_ends_the_sequence_where_it_is_listed():
    with hearing_with(exit=frozenset({"replied"})) as ear:
        ear.hear(mail("reply"))
        assert ear.episode().exit_reason == "replied"
        assert ear.intents() == [("leave", {"reason": "replied", "of": "program"})]
    with hearing_with(exit=frozenset()) as ear:
        assert ear.hear(mail("reply")).effect == "kept"
        assert ear.episode().open


@pytest.mark.parametrize(("machine", "ended"), [(False, True), (None, False), (True, False)])
def test_only_a_persons_click_is_a_sign(machine, ended):
    with hearing_with(reactivated=condition("engaged.clicks >= 1")) as ear:
        settled = ear.hear(mail("click", machine=machine))
        assert ear.episode().open is not ended
        assert settled.state == ("ignored" if machine else "done")
        assert len(ear.journal.facts.of(ANN)) == (0 if machine else 1)


def test_an_open_says_nothing(ear):
    assert ear.hear(mail("open")).state == "ignored"
    assert ear.journal.facts.newest() == 0


# --- records -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "reason"), [("optout", "true", "unsubscribed"), ("hard_bounce", "MAILBOX_FULL", "bounced")]
)
def test_a_flag_of_the_crm_is_believed_and_not_written_back(ear, name, value, reason):
    ear.hear(RecordChanged(who=Who(record=ANN), at=at(2), name=name, value=value))
    assert ear.episode().exit_reason == reason
    assert ear.intents() == [("leave", {"reason": reason, "of": "everything"})]


def test_a_flag_of_another_system_is_written_to_the_crm():
    flags = {"hubspot": {}, "salesforce": {"HasOptedOutOfEmail": "opted_out"}}
    with Ear(rules=rules(flags=flags)) as ear:
        ear.journal.known.publish([("record", "salesforce:7", ANN)])
        ear.hear(RecordChanged(who=Who(record="salesforce:7"), at=at(2), name="HasOptedOutOfEmail", value="1"))
        assert [kind for kind, _ in ear.intents()] == ["opt_out", "leave"]


@pytest.mark.parametrize(("name", "value"), [("optout", "false"), ("optout", None), ("firstname", "true")])
def test_any_other_change_is_a_hint_for_the_run(ear, name, value):
    settled = ear.hear(RecordChanged(who=Who(record=ANN), at=at(2), name=name, value=value))
    assert (settled.state, settled.effect) == ("ignored", "read at the next run")
    assert ear.episode().open


def gone(how: str, record: str = ANN, days: float = 2) -> RecordGone:
    return RecordGone(who=Who(record=record), at=at(days), how=how, into="hubspot:9" if how == "merged" else None)


def test_a_deleted_record_ends_the_sequence_and_leaves_nothing_to_write(ear):
    ear.hear(gone("deleted"))
    assert ear.episode().exit_reason == "deleted" and ear.intents() == []
    assert ANN in ear.journal.stops.of([ANN])


def test_a_record_another_system_deleted_deletes_nobody(ear):
    ear.journal.known.publish([("record", "salesforce:7", ANN)])
    assert ear.hear(gone("deleted", "salesforce:7")).state == "ignored"
    assert ear.episode().open


def test_a_merged_record_is_left_alone_until_the_run_follows_it(ear):
    assert ear.hear(gone("merged")).effect == "merged: left alone, the next run follows it"
    assert ear.journal.stops.of([ANN]) == {ANN: ("merged", at(2))}
    assert ear.episode().open and ear.intents() == []


def test_a_record_that_was_merged_long_ago_is_not_the_one_it_became(ear):
    ear.journal.known.publish([("record", "hubspot:8", ANN)])
    ear.hear(gone("deleted", "hubspot:8"))
    ear.hear(gone("merged", "hubspot:8"))
    assert ear.episode().open and ear.journal.stops.of([ANN]) == {}
    ear.hear(used(Who(record="hubspot:8")))
    assert not ear.episode().open, "anything else that is heard of the old record is about the one it became"


def test_an_erased_person_is_forgotten_and_stays_so(ear):
    ear.hear(used())
    ear.hear(survey_answer("r1", Given(question="q", kind="choice", choice=("price",))))
    ear.hear(gone("erased", days=3))
    assert ear.journal.consent.state(ANN).erased_at == at(3)
    assert ear.journal.consent.state(KEYS.email(address(ANN))).erased_at == at(3)
    assert ear.journal.facts.of(ANN) == [] and ear.journal.feedback.of(ANN) == []
    assert {kind for kind, _ in ear.intents()} == {"leave"}, "nothing that says something about them is written"
    for late in (used(days=5), survey_answer("r2", Given(question="q", kind="choice", choice=("price",)), days=5)):
        assert ear.hear(late).state == "ignored"
    assert ear.journal.facts.of(ANN) == [] and ear.journal.feedback.of(ANN) == []


# --- answers -------------------------------------------------------------------------------------------------------


def survey_answer(response: str, *given: Given, who: Who | None = None, days: float = 4, **said) -> Answered:
    return Answered(
        **{
            "who": who or Who(token=token_of(ANN)),
            "at": at(days),
            "source": "survey",
            "survey": "exit",
            "response": response,
            "answers": given,
            **said,
        }
    )


def choice(name: str, question: str = "why", text: str = "") -> Given:
    return Given(question=question, kind="choice", choice=(name,), text=text or name)


def words(text: str, question: str = "more") -> Given:
    return Given(question=question, kind="text", text=text)


SURVEY = ReceiverOptions(
    questions={"why": "reason", "more": "comment", "nps": "score", "secret": "ignore"},
    choices={"c_price": "price", "Too hard to use": "too_complex", "c_else": "other"},
)


def read(text: str, language: str | None) -> tuple[str | None, float]:
    guess = classify(text, language)
    return guess.reason, guess.confidence


def surveying(**said) -> Ear:
    programs = (program(reasons=said.pop("reasons", {})),)
    return Ear(rules=rules(*programs, surveys={"survey": SURVEY}, classify=read, **said))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (choice("c_price"), "price"),
        (choice("x1", text="too hard to USE"), "too_complex"),
        (choice("changed_job"), "changed_job"),
        (choice("c_else"), "other"),
        (choice("c_blue", text="qwertz"), None),
        (choice("c_price", question="secret"), None),
        (choice("c_price", question="another"), None),
    ],
)
def test_a_choice_is_a_reason_by_the_playbooks_mapping(given, reason):
    with surveying() as ear:
        ear.hear(survey_answer("r", given))
        (answer,) = ear.journal.feedback.of(ANN)
        assert (answer.reason, answer.confidence) == (reason, None)


def test_a_reason_in_somebodys_own_words_is_read_by_the_rules():
    with surveying() as ear:
        ear.hear(survey_answer("r", choice("c_else"), words("Honestly it is just too expensive for us.")))
        (answer,) = ear.journal.feedback.of(ANN)
        assert answer.reason == "price" and 0.5 <= answer.confidence <= 1
        assert answer.text == "Honestly it is just too expensive for us."
        assert answer.choices == ("c_else",)


def test_words_that_say_no_reason_leave_it_unknown():
    with surveying() as ear:
        settled = ear.hear(survey_answer("r", words("zzz")))
        assert settled.effect == "answered: reason unknown"
        (answer,) = ear.journal.feedback.of(ANN)
        assert (answer.reason, answer.text) == (None, "zzz")
        assert [kind for kind, _ in ear.intents()] == []


def test_words_are_dropped_where_the_playbook_keeps_none():
    with surveying(keep_text=False) as ear:
        ear.hear(survey_answer("r", words("too expensive")))
        (answer,) = ear.journal.feedback.of(ANN)
        assert (answer.reason, answer.text) == ("price", None)


def test_a_reason_reaches_the_crm_as_a_property_and_a_note_without_words():
    with surveying() as ear:
        ear.hear(
            survey_answer("r", choice("c_price"), words("call me: 555"), Given(question="nps", kind="score", number=3))
        )
        assert ear.intents() == [
            ("set", {"values": {"winback_reason": "price"}}),
            ("feedback", {"reason": "price", "survey": "exit", "score": 3, "at": at(4).isoformat()}),
        ]
        assert "555" not in repr(ear.intents())


def test_an_unfinished_answer_is_kept_and_acted_on_when_it_is_complete():
    with surveying() as ear:
        assert ear.hear(survey_answer("r", choice("c_price"), complete=False)).effect == "answered so far: price"
        assert ear.intents() == []
        ear.hear(survey_answer("r", choice("changed_job"), days=5))
        (answer,) = ear.journal.feedback.of(ANN)
        assert (answer.reason, answer.complete) == ("changed_job", True)
        assert [kind for kind, _ in ear.intents()] == ["set", "feedback"]


def test_an_older_answer_that_comes_late_does_not_overwrite_the_newer_one():
    with surveying() as ear:
        ear.hear(survey_answer("r2", choice("changed_job"), days=5))
        ear.hear(survey_answer("r1", choice("c_price"), days=4))
        assert [payload for kind, payload in ear.intents() if kind == "set"] == [
            {"values": {"winback_reason": "changed_job"}}
        ]


@pytest.mark.parametrize("who", [Who(token="forged.token"), Who(token=token_of(ANN) + "x", email=address(ANN))])
def test_an_edited_token_names_nobody_and_nothing_else_is_believed(who):
    with surveying() as ear:
        settled = ear.hear(survey_answer("r", choice("c_price"), who=who))
        assert (settled.state, settled.effect, settled.contact_id) == ("ignored", "the token is not one of ours", None)
        assert ear.journal.feedback.of(ANN) == [] and ear.intents() == []


def test_a_links_token_in_a_hidden_field_names_its_person_too():
    with surveying() as ear:
        token = LINKS.token("unsubscribe", ANN, "win-back/offer", now=ENTERED)
        ear.hear(survey_answer("r", choice("c_price"), who=Who(token=token)))
        assert len(ear.journal.feedback.of(ANN)) == 1
        assert ear.journal.consent.history(ANN) == []


# --- what follows from a reason ------------------------------------------------------------------------------------

SNOOZE = timedelta(days=60)


@pytest.mark.parametrize(
    ("rule", "exit_reason", "more"),
    [
        (ReasonRule(), None, []),
        (ReasonRule(step="offer"), None, []),
        (ReasonRule(offer="discount"), None, []),
        (ReasonRule(exit=True), "replied", [("leave", {"reason": "replied", "of": "program"})]),
        (ReasonRule(snooze=SNOOZE), "snoozed", [("leave", {"reason": "snoozed", "of": "everything"})]),
        (
            ReasonRule(route=("task",)),
            None,
            [("task", {"reason": "price", "text": "Price: an answer in the survey exit, program win-back."})],
        ),
    ],
)
def test_a_reasons_rule_is_followed(rule, exit_reason, more):
    with surveying(reasons={"price": rule}) as ear:
        ear.hear(survey_answer("r", choice("c_price")))
        assert ear.intents()[2:] == more
        assert ear.episode().exit_reason == exit_reason
        assert ear.journal.feedback.of(ANN)[0].reason == "price"


def test_a_snooze_by_reason_has_an_end():
    with surveying(reasons={"price": ReasonRule(snooze=SNOOZE)}) as ear:
        ear.hear(survey_answer("r", choice("c_price")))
        (line,) = ear.journal.consent.history(ANN)
        assert (line.status, line.expires_at, line.evidence) == (Status.SNOOZED, at(4) + SNOOZE, {"reason": "price"})


def test_a_channel_is_told_what_was_said_and_not_by_whom():
    with surveying(reasons={"price": ReasonRule(route=("slack", "teams"))}) as ear:
        ear.hear(survey_answer("r", choice("c_price"), words("I am Ann, ann@example.com")))
        told = ear.intents(None)
        rows = [(row.kind, row.payload) for row in ear.journal.outbox.recent(10) if row.kind == "tell"]
        assert sorted(payload["channel"] for _, payload in rows) == ["slack", "teams"]
        assert all(row.contact_id is None for row in ear.journal.outbox.recent(10) if row.kind == "tell")
        for _, payload in rows:
            assert payload["text"].startswith("Price: an answer in the survey exit, program win-back")
            assert "Ann" not in payload["text"] and "@" not in payload["text"] and "hubspot" not in payload["text"]
        assert told


def test_another_programs_rule_is_not_followed():
    with surveying(reasons={"not_now": ReasonRule(exit=True)}) as ear:
        ear.hear(survey_answer("r", choice("c_price")))
        assert ear.episode().open


def test_a_rule_holds_for_who_was_in_the_program_last():
    with surveying(reasons={"price": ReasonRule(snooze=SNOOZE)}) as ear:
        ear.hear(used())
        ear.hear(survey_answer("r", choice("c_price")))
        assert ear.journal.consent.state(ANN).snoozed_until == at(4) + SNOOZE
        assert ear.episode().exit_reason == "reactivated"


# --- what is asked -------------------------------------------------------------------------------------------------


def test_a_workflow_takes_somebody_out(ear):
    ear.hear(asked("exit"))
    assert ear.episode().exit_reason == "manual"
    assert ear.intents() == [("leave", {"reason": "manual", "of": "program"})]


def test_a_workflow_takes_nobody_out_of_another_program(ear):
    ear.hear(asked("exit", program="another"))
    assert ear.episode().open and ear.intents() == []


@pytest.mark.parametrize(("lasts", "days"), [(None, 30), (timedelta(days=7), 7)])
def test_a_snooze_lasts_as_long_as_asked(ear, lasts, days):
    ear.hear(asked("snooze", lasts=lasts))
    assert ear.journal.consent.state(ANN).snoozed_until == at(2) + timedelta(days=days)
    assert ear.episode().exit_reason == "snoozed"


def test_a_snooze_where_the_program_does_not_list_it_ends_it_all_the_same():
    with hearing_with(exit=frozenset()) as ear:
        ear.hear(asked("snooze"))
        assert ear.episode().exit_reason == "lost_consent"


def test_a_snooze_never_lifts_an_opt_out(ear):
    ear.hear(asked("unsubscribe", days=2))
    ear.hear(asked("snooze", days=3, lasts=timedelta(days=7)))
    assert ear.journal.consent.state(ANN).opted_out_at == at(2)


def test_a_confirmed_click_to_come_back_is_a_return(ear):
    ear.hear(asked("return", evidence={"campaign": "win-back/offer"}))
    assert (ear.episode().exit_reason, ear.episode().answered) == ("reactivated", True)
    assert ear.intents() == [LEFT_ALL]
    (fact,) = ear.journal.facts.of(ANN)
    assert (fact.kind, fact.values["kind"], fact.values["machine"]) == ("engagement", "click", False)


def test_unsubscribing_by_a_link_is_immediate_and_counts_once(ear):
    clicked = asked("unsubscribe", evidence={"campaign": "win-back/offer"})
    assert ear.hear(clicked, inbox=False) is not None
    assert ear.hear(clicked, inbox=False) is None
    (line,) = ear.journal.consent.history(ANN)
    assert (line.status, line.evidence) == (Status.WITHDRAWN, {"campaign": "win-back/offer"})
    assert [kind for kind, _ in ear.intents()] == ["opt_out", "leave"]


def test_an_entry_that_is_asked_for_waits_for_the_run(ear):
    for _ in range(2):
        ear.hear(asked("enroll", Who(record=QUIET), program="win-back", callback="c1"))
    (ask,) = ear.journal.asks.open()
    assert (ask.contact_id, ask.program, ask.callback, ask.source) == (QUIET, "win-back", "c1", "links")
    assert ear.intents(QUIET) == []


@pytest.mark.parametrize("action", ["enroll", "exit", "snooze"])
def test_a_workflow_that_waits_for_nobody_we_know_goes_on(ear, action):
    ear.hear(asked(action, Who(email="stranger@example.com"), callback="c1"))
    (row,) = ear.journal.outbox.recent(10)
    assert (row.kind, row.payload) == ("complete", {"callback": "c1", "fields": {"decision": "unknown_contact"}})


def test_a_workflow_that_waits_for_what_is_done_at_once_goes_on(ear):
    ear.hear(asked("exit", callback="c1"))
    completed = [row.payload for row in ear.journal.outbox.recent(10) if row.kind == "complete"]
    assert completed == [{"callback": "c1", "fields": {"decision": "done"}}]


def test_nobody_knows_how_to_do_anything_else(ear):
    assert ear.hear(asked("dance")).state == "ignored"


def test_answers_behind_ids_are_asked_for(ear):
    ear.hear(ToFetch(at=at(1), source="survey", survey="s1", responses=("a", "b")), source="survey")
    (row,) = ear.journal.outbox.recent(10)
    assert (row.kind, row.payload) == ("fetch", {"source": "survey", "survey": "s1", "responses": ["a", "b"]})


# --- holdouts ------------------------------------------------------------------------------------------------------


HEARD_OF_HELD = {
    "a use": used(by_user(HELD)),
    "a payment": Paid(who=by_user(HELD), at=at(2), kind="payment", transaction_id="t"),
    "a reply": mail("reply", by_mail(HELD)),
    "a bounce": mail("bounce", by_mail(HELD)),
    "an answer": survey_answer("r", choice("c_price"), who=Who(token=token_of(HELD))),
    "a snooze": asked("snooze", Who(record=HELD)),
    "a return": asked("return", Who(record=HELD)),
    "an exit": asked("exit", Who(record=HELD)),
}


@pytest.mark.parametrize("event", HEARD_OF_HELD.values(), ids=HEARD_OF_HELD)
def test_a_holdouts_episode_ends_by_the_same_signs_and_nothing_is_written(event):
    reasons = {"price": ReasonRule(exit=True, snooze=SNOOZE, route=("task", "slack"))}
    with surveying(reasons=reasons) as ear:
        ear.hear(event)
        assert not ear.episode(HELD).open
        assert ear.journal.outbox.depth() == 0


def test_a_holdout_who_opts_out_is_opted_out_like_everybody():
    with Ear() as ear:
        ear.hear(mail("unsubscribe", by_mail(HELD)))
        assert ear.intents(HELD) == [("opt_out", {})]
        assert ear.episode(HELD).exit_reason == "unsubscribed"


def test_a_holdout_is_left_alone_until_it_has_been_measured():
    ended = replace(entered(HELD, arm="holdout"), exited_at=at(1), exit_reason="completed")
    with Ear(rules=rules(program(), surveys={"survey": SURVEY})) as ear:
        ear.journal.episodes.exit(
            [Exit(ended.episode_id, HELD, "completed", at(1))],
            run_id="run-1",
        )
        ear.hear(survey_answer("r", choice("c_price"), who=Who(token=token_of(HELD))))
        assert ear.intents(HELD) == []
        ear.clock.at = ENTERED + timedelta(days=91)
        ear.hear(survey_answer("r2", choice("c_price"), who=Who(token=token_of(HELD)), at=ENTERED + timedelta(days=91)))
        assert [kind for kind, _ in ear.intents(HELD)] == ["set", "feedback"]


# --- clocks --------------------------------------------------------------------------------------------------------


def test_nothing_happens_after_it_was_told(ear):
    ear.hear(mail("unsubscribe", days=400))
    assert ear.journal.consent.state(ANN).opted_out_at == NOW
    assert ear.episode().exited_at == NOW
