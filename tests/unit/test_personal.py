"""What a mail can merge: which properties there are, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from connector.program import personal
from connector.program.columns import PERSON
from connector.program.model import Episode, Offer, OfferSettings, PersonalSettings, Program, SendSettings, StepSettings
from connector.program.offers import Reserved
from connector.program.whats_new import check
from connector.rules.conditions import parse
from connector.wanted import property_specs

REACTIVATED = parse("inactive_days = 0")
STEP = StepSettings(name="offer", day=7)
OFFERS = {
    "trial": Offer(name="trial"),
    "discount": Offer(name="discount", codes="generate", expires=timedelta(days=7)),
}
ALWAYS = [
    "winback_program", "winback_step", "winback_days_away", "winback_days_away_count", "winback_milestone",
    "winback_teammates_active",
]  # fmt: skip
EPISODE = Episode(
    "win-back/x:1/2026-01-01", "x:1", "win-back", date(2026, 1, 1), datetime(2026, 3, 1, tzinfo=UTC), "dormant_60"
)
ROW = {
    "as_of": date(2026, 3, 1), "inactive_days": 61, "last_active_at": datetime(2025, 12, 30, 12, tzinfo=UTC),
    "last_active_on": date(2025, 12, 30), "milestone_days": 120, "active_teammates": 0, "last_feature": "export",
    "top_feature": "dashboards",
}  # fmt: skip


def program_of(*steps: StepSettings, **settings) -> Program:
    return Program(name="win-back", enroll=("dormant_60",), steps=steps or (STEP,), reactivated=REACTIVATED, **settings)


def names(*programs: Program) -> list[str]:
    return [spec.name for spec in personal.specs(programs)]


def said(
    program: Program | None = None, row=None, *, step=STEP, send_at=None, zone=UTC, **others
) -> Mapping[str, str | None]:
    return personal.values(
        program or program_of(), step, ROW | (row or {}), EPISODE, send_at=send_at, zone=zone, **others
    )


# --- which properties ---


def test_a_plain_program_needs_few_properties():
    assert names(program_of()) == ALWAYS


@pytest.mark.parametrize(
    ("program", "more"),
    [
        (program_of(send=SendSettings(window=(time(9), time(17)))), {"winback_send_at"}),
        (program_of(send=SendSettings(best_hour=True)), {"winback_send_at"}),
        (program_of(send=SendSettings(days=frozenset(range(5)))), {"winback_send_at"}),
        (program_of(send=SendSettings(blackout=((date(2026, 12, 24), date(2027, 1, 1)),))), {"winback_send_at"}),
        (program_of(StepSettings(name="a", day=1, variants={"x": 0.5, "y": 0.5})), {"winback_variant"}),
        (program_of(StepSettings(name="a", day=1, branches={"cto": REACTIVATED})), {"winback_branch"}),
        (program_of(offers=OfferSettings(offers=OFFERS)), set()),
        (program_of(StepSettings(name="a", day=1, offer="none"), offers=OfferSettings(offers=OFFERS)), set()),
        (
            program_of(StepSettings(name="a", day=1, offer="trial"), offers=OfferSettings(offers=OFFERS)),
            {"winback_offer"},
        ),
        (
            program_of(StepSettings(name="a", day=1, offer="discount"), offers=OfferSettings(offers=OFFERS)),
            {"winback_offer", "winback_offer_code", "winback_offer_until"},
        ),
        (
            program_of(
                StepSettings(name="a", day=1, offer="ladder"),
                offers=OfferSettings(offers=OFFERS, ladder=("none",), ladders={"vip": ("discount",)}),
            ),
            {"winback_offer", "winback_offer_code", "winback_offer_until"},
        ),
        (
            program_of(
                StepSettings(name="a", day=1, variants={"trial": 0.5, "plain": 0.5}),
                offers=OfferSettings(offers=OFFERS),
            ),
            {"winback_variant", "winback_offer"},
        ),
        (
            program_of(personal=PersonalSettings(whats_new=check([{"date": "2026-01-01", "text": "a"}]))),
            {"winback_whats_new"},
        ),
        (program_of(personal=PersonalSettings(next_steps={"*": "a"})), {"winback_next_step"}),
        (
            program_of(personal=PersonalSettings(links=True)),
            {f"winback_link_{action}" for action in ("return", "snooze", "unsubscribe", "preferences")}
            | {"winback_survey_token"},
        ),
    ],
)
def test_a_property_exists_where_the_playbook_gives_it_a_value(program, more):
    assert set(names(program)) == {*ALWAYS, *more}
    assert set(said(program)) == {*ALWAYS, *more}
    assert personal.cleared([program]) == dict.fromkeys(names(program))


def test_the_columns_that_are_read_are_told():
    read = set()

    class Row(dict):
        def get(self, key, default=None):
            read.add(key)
            return super().get(key, default)

    news = check(
        [{"date": "2026-01-10", "text": "a", "features": ["x"], "roles": ["y"], "tiers": ["z"], "language": "en"}]
    )
    program = program_of(personal=PersonalSettings(whats_new=news, next_steps={"x": "y"}))
    row = Row(dict.fromkeys(ROW) | {"created_at": datetime(2026, 1, 1, tzinfo=UTC)})
    personal.values(program, STEP, row, EPISODE, send_at=datetime(2026, 3, 1, tzinfo=UTC), zone=UTC)
    told = {name.replace("accounts.", "account_") for name in personal.columns([program])}
    assert read - {"as_of"} - {name for name, _ in PERSON} == told
    assert set(personal.columns([program_of()])) == {"inactive_days", "last_active_on", "language"}


def test_several_programs_share_their_properties():
    one, other = (
        program_of(send=SendSettings(best_hour=True)),
        program_of(personal=PersonalSettings(next_steps={"*": "a"})),
    )
    assert names(one, other) == [name for name in personal.SPECS if name in {*names(one), *names(other)}]
    assert names() == []


def test_every_property_is_named_once_says_what_it_is_and_is_not_one_of_the_segments():
    assert all(spec.label and spec.description and spec.name == name for name, spec in personal.SPECS.items())
    assert not set(personal.SPECS) & {spec.name for spec in property_specs(())}
    assert len({spec.label for spec in personal.SPECS.values()}) == len(personal.SPECS)


# --- what they say ---


def test_a_step_says_where_somebody_is_and_what_they_left_behind():
    assert said() == {
        "winback_program": "win-back", "winback_step": "offer", "winback_days_away": "about two months",
        "winback_days_away_count": "61", "winback_milestone": "100", "winback_teammates_active": "0",
    }  # fmt: skip


def test_what_is_not_known_is_left_empty():
    unknown = dict.fromkeys(ROW)
    program = program_of(
        personal=PersonalSettings(whats_new=check([{"date": "2026-01-01", "text": "a"}]), next_steps={"x": "y"})
    )
    values = said(program, unknown)
    assert {name for name, value in values.items() if value is not None} == {"winback_program", "winback_step"}


def test_days_away_are_those_of_the_day_the_mail_is_sent():
    sent = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)
    assert said(send_at=sent)["winback_days_away_count"] == "64"
    assert said(send_at=sent, zone=ZoneInfo("Asia/Tokyo"))["winback_days_away_count"] == "65"
    assert said(send_at=datetime(2026, 1, 1, tzinfo=UTC))["winback_days_away_count"] == "61"


@pytest.mark.parametrize(
    ("language", "words"), [(None, True), ("en", True), ("en-GB", True), ("de", False), ("pt_BR", False)]
)
def test_words_are_for_those_who_read_english_the_number_for_everybody(language, words):
    values = said(row={"language": language})
    assert values["winback_days_away"] == ("about two months" if words else None)
    assert values["winback_days_away_count"] == "61"


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, "a few days"), (5, "a few days"), (6, "about a week"), (10, "about a week"), (14, "about two weeks"),
        (21, "about three weeks"), (25, "about a month"), (30, "about a month"), (45, "about a month"),
        (46, "about two months"), (60, "about two months"), (75, "about two months"), (76, "about three months"),
        (90, "about three months"), (180, "about six months"), (335, "about eleven months"), (349, "about eleven months"),
        (350, "about a year"), (365, "about a year"), (456, "about a year"), (548, "about a year and a half"),
        (639, "about a year and a half"), (640, "about two years"), (730, "about two years"), (1_096, "about three years"),
        (3_652, "about ten years"), (4_000, "more than ten years"), (40_000, "more than ten years"),
    ],
)  # fmt: skip
def test_days_in_words(days, words):
    assert personal.in_words(days) == words


def test_words_never_grow_shorter_with_the_days():
    starts = [days for days, _ in personal._WORDS]
    assert starts == sorted(set(starts))
    assert len({words for _, words in personal._WORDS}) == len(starts)


@pytest.mark.parametrize(
    ("days", "reached"),
    [(None, None), (0, None), (9, None), (10, 10), (24, 10), (25, 25), (364, 200), (365, 365), (9**9, 3_000)],
)
def test_a_milestone_is_the_highest_round_number_reached(days, reached):
    assert personal.milestone(days) == reached


def test_the_mail_waits_until_a_moment_in_utc():
    program = program_of(send=SendSettings(best_hour=True))
    at = datetime(2026, 3, 4, 9, 30, 15, 123456, tzinfo=ZoneInfo("America/New_York"))
    assert said(program, send_at=at)["winback_send_at"] == "2026-03-04T14:30:15Z"
    assert said(program)["winback_send_at"] is None


def test_an_offer_its_code_and_its_last_day_where_the_contact_lives():
    step = StepSettings(name="offer", day=7, offer="discount")
    program = program_of(step, offers=OfferSettings(offers=OFFERS))
    made = Reserved("discount", "AAAA-BBBB-CCCC", 50.0, datetime(2026, 3, 10, 20, tzinfo=UTC))
    values = said(program, step=step, reserved=made, zone=ZoneInfo("Asia/Tokyo"))
    assert values["winback_offer"] == "discount"
    assert values["winback_offer_code"] == "AAAA-BBBB-CCCC"
    assert values["winback_offer_until"] == "2026-03-11"


@pytest.mark.parametrize("made", [None, Reserved(), Reserved("none")])
def test_no_offer_clears_the_one_before(made):
    step = StepSettings(name="offer", day=7, offer="discount")
    values = said(program_of(step, offers=OfferSettings(offers=OFFERS)), step=step, reserved=made)
    assert [values[f"winback_offer{part}"] for part in ("", "_code", "_until")] == [None, None, None]


def test_the_variant_and_the_branch_are_those_that_were_drawn_and_found():
    step = StepSettings(name="offer", day=7, variants={"a": 1.0}, branches={"cto": REACTIVATED})
    values = said(program_of(step), step=step, variant="a", branch="cto")
    assert (values["winback_variant"], values["winback_branch"]) == ("a", "cto")


@pytest.mark.parametrize(
    ("row", "tip"),
    [
        ({}, "Share an export"),
        ({"last_feature": "unknown"}, "Pin a dashboard"),
        ({"last_feature": None, "top_feature": None}, "Take the tour"),
    ],
)
def test_the_next_step_is_that_of_the_feature_used_last_then_most_then_of_anybody(row, tip):
    tips = {"export": "Share an export", "dashboards": "Pin a dashboard", "*": "Take the tour"}
    assert said(program_of(personal=PersonalSettings(next_steps=tips)), row)["winback_next_step"] == tip


def test_what_is_new_is_one_line_of_what_came_since_they_left():
    news = check([
        {"date": "2025-12-30", "text": "Seen on the last day."},
        {"date": "2026-01-10", "text": "Faster exports."},
        {"date": "2026-03-02", "text": "Passkeys"},
        {"date": "2026-03-05", "text": "Not there yet"},
    ])  # fmt: skip
    program = program_of(personal=PersonalSettings(whats_new=news))
    assert said(program, send_at=datetime(2026, 3, 3, tzinfo=UTC))["winback_whats_new"] == "Passkeys; Faster exports"


def test_for_somebody_who_was_never_there_all_is_new_since_they_are_known():
    news = check([{"date": "2026-01-10", "text": "Old"}, {"date": "2026-02-20", "text": "New"}])
    never = dict.fromkeys(ROW) | {"as_of": date(2026, 3, 1), "created_at": datetime(2026, 2, 1, tzinfo=UTC)}
    values = said(program_of(personal=PersonalSettings(whats_new=news)), never)
    assert values["winback_whats_new"] == "New"
    assert values["winback_days_away"] is values["winback_days_away_count"] is None


def test_links_are_the_contacts_own_for_this_step():
    asked = []

    def links(contact_id: str, campaign: str) -> Mapping[str, str]:
        asked.append((contact_id, campaign))
        return {"survey": "TOKEN", **{action: f"https://l.example.com/l/{action}" for action in personal.ACTIONS}}

    program = program_of(personal=PersonalSettings(links=True))
    values = said(program, links=links)
    assert asked == [("x:1", "win-back/offer")]
    assert values["winback_link_unsubscribe"] == "https://l.example.com/l/unsubscribe"
    assert values["winback_survey_token"] == "TOKEN"
    assert said(program)["winback_link_unsubscribe"] is said(program)["winback_survey_token"] is None


def test_a_program_without_links_signs_none():
    def links(contact_id: str, campaign: str) -> Mapping[str, str]:
        raise AssertionError

    assert set(said(links=links)) == set(ALWAYS)
