"""The decision table: for every code a program can give, a contact who gets it, and what else is decided for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from functools import reduce
from typing import Any

import pytest

from connector.program import cadence, personal
from connector.program.codes import ALWAYS_EXIT, DEFERRALS, EXCLUSIONS, EXITS
from connector.program.columns import PERSON, SIGNALS
from connector.program.engine import World, columns, decide, verdict
from connector.program.exits import HOLDS
from connector.program.model import (
    Adjustment,
    CapSettings,
    Decisions,
    Driver,
    Episode,
    HoldoutSettings,
    Offer,
    OfferSettings,
    Person,
    Placed,
    SendSettings,
    StepSettings,
    SunsetSettings,
)
from connector.program.offers import OfferBook
from tests.fakes.program_people import (
    EVERYBODY_HELD_OUT,
    EVERYBODY_TREATED,
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
YESTERDAY = NOW - DAY

Case = tuple[World, Person]


def offering(**offer: Any) -> OfferSettings:
    return OfferSettings(offers={"trial": Offer(name="trial", **offer)}, budget=(100.0, timedelta(days=30)))


OFFER_STEP = (StepSettings(name="offer", day=1, offer="trial"),)
LAST_ANSWERED_NOTHING = {"step": "feedback", "step_state": "written", "touches": 4, "exit_reason": "completed"}


def ended(days_ago: float, reason: str, **values: Any) -> Any:
    """An episode that ended so many days ago, after thirty days."""
    return episode(days_ago=days_ago + 30, exited_at=NOW - days_ago * DAY, exit_reason=reason, **values)


DEFERRED: dict[str, Case] = {
    "other_program": (
        world(program(), program(name="rescue", enroll=("stuck",))),
        person(segments=("dormant", "stuck"), episodes=[stepped(days_ago=1)]),
    ),
    "quiet_period": (world(), person(silent=35, episodes=[ended(60, "reactivated")])),
    "same_spell": (world(), person(silent=160, episodes=[ended(100, "owner_took_over")])),
    "sunset": (
        world(program(sunset=SunsetSettings(after_episodes=1))),
        person(silent=260, episodes=[ended(100, "completed", step="feedback", touches=4)]),
    ),
    "held_out_before": (world(), person(silent=80, episodes=[ended(20, "completed", arm="holdout")])),
    "per_contact_cap": (
        world(program(caps=CapSettings(per_contact=(2, 30 * DAY), gap=DAY))),
        person(episodes=[episode(days_ago=1)], touches=[NOW - 5 * DAY, NOW - 9 * DAY]),
    ),
    "gap": (world(), person(episodes=[episode(days_ago=1)], touches=[NOW - 2 * DAY])),
    "daily_cap": (
        world(program(caps=CapSettings(per_day=10)), touches_today=10),
        person(episodes=[episode(days_ago=1)]),
    ),
    "not_written_yet": (world(), person(episodes=[stepped(days_ago=8, state="decided")])),
    "send_window": (
        world(program(send=SendSettings(window=(time(14), time(16)), hold="winback"))),
        person(episodes=[episode(days_ago=1)]),
    ),
    "blackout": (
        world(program(send=SendSettings(blackout=((NOW.date(), NOW.date() + 7 * DAY),)))),
        person(episodes=[episode(days_ago=1)]),
    ),
    "paused": (world(paused={"win-back": "spam 0.2 %"}), person(episodes=[episode(days_ago=1)])),
    "offer_budget": (
        world(
            program(steps=OFFER_STEP, offers=offering(cost=30.0)),
            offers=OfferBook(spent={"win-back": 80.0}),
        ),
        person(episodes=[episode(days_ago=1)]),
    ),
    "no_code_left": (
        world(program(steps=OFFER_STEP, offers=offering(codes="codes.txt"))),
        person(episodes=[episode(days_ago=1)]),
    ),
}


@pytest.mark.parametrize("code", DEFERRALS)
def test_every_deferral_is_given_to_somebody_who_then_takes_no_step(code: str) -> None:
    told, contact = DEFERRED[code]
    decisions = decide(told, [contact])
    assert decisions.deferred == {code: ["crm:1"]}
    assert verdict(told, contact).reason == code
    assert not decisions.move and not decisions.enter and not decisions.exit


def inside(**values: Any) -> Person:
    """Somebody who got the reminder two days ago, and of whom this is new."""
    return person(episodes=[stepped(days_ago=2)], **values)


LEAVING: dict[str, Case] = {
    "deleted": (world(), inside(deleted_at=YESTERDAY, reason="deleted")),
    "erased": (world(), inside(erased=True, reason="erased")),
    "merged": (world(), inside(merged_into="crm:2", reason="merged")),
    "unsubscribed": (world(), inside(opted_out=True, reason="opted_out")),
    "complained": (world(), inside(engaged_complained_at=YESTERDAY)),
    "bounced": (world(), inside(engaged_bounced_at=YESTERDAY)),
    "lost_consent": (world(), inside(reason="consent_expired")),
    "reactivated": (world(), inside(active_days_since_enrollment=1)),
    "never_dormant": (world(), inside(spell_broken_on=NOW - 12 * DAY, segments=())),
    "converted": (world(), inside(transactions_since_enrollment=1)),
    "replied": (world(), inside(engaged_replies=1, engaged_replied_at=YESTERDAY)),
    "lead_converted": (world(), inside(lead_converted_at=YESTERDAY)),
    "owner_took_over": (world(), inside(owner_contacted_at=YESTERDAY)),
    "snoozed": (world(), inside(reason="snoozed")),
    "left_segment": (world(), inside(segments=("active",))),
    "manual": (world(ordered={"crm:1": "manual"}), inside()),
    "undone": (world(ordered={"crm:1": "undone"}), inside()),
    "completed": (world(), person(episodes=[stepped("feedback", days_ago=14)])),
}


LEAVING_PEOPLE = [
    replace(contact, row={**contact.row, "contact_id": f"crm:{code}"}) for code, (_, contact) in LEAVING.items()
]


@pytest.mark.parametrize("code", EXITS)
def test_every_exit_ends_the_episode_of_somebody_who_is_then_nowhere(code: str) -> None:
    told, contact = LEAVING[code]
    decisions = decide(told, [contact])
    assert [(one.reason, one.episode_id) for one in decisions.exit] == [(code, contact.episodes[0].episode_id)]
    said = verdict(told, contact)
    assert (said.state, said.reason) == ("leaving", code)
    assert not decisions.placed and not decisions.move and not decisions.enter


@pytest.mark.parametrize("code", EXITS)
def test_a_holdout_episode_ends_by_the_same_signs(code: str) -> None:
    told, contact = LEAVING[code]
    held = replace(episode(days_ago=40), arm="holdout") if code == "completed" else None
    quiet = held or replace(contact.episodes[0], arm="holdout", step=None, step_state=None, step_at=None, send_at=None)
    row = {**contact.row, "last_active_on": NOW.date() - 71 * DAY}
    decisions = decide(told, [replace(contact, row=row, episodes=[quiet])])
    assert [one.reason for one in decisions.exit] == [code]
    assert not decisions.placed and not decisions.move
    assert decisions.held_out == (set() if code in ("reactivated", "never_dormant", "merged") else {"crm:1"})


@pytest.mark.parametrize("code", EXITS)
def test_an_exit_the_playbook_does_not_list_ends_nothing_unless_it_always_does(code: str) -> None:
    told, contact = LEAVING[code]
    listing_none = replace(told, programs=(replace(told.programs[0], exit=frozenset()),))
    found = [one.reason for one in decide(listing_none, [contact]).exit]
    if code in ALWAYS_EXIT:
        assert found == [code]
    else:
        assert found == (["lost_consent"] if contact.eligibility.reason is not None else [])


def test_an_old_reading_ends_nothing_and_moves_nobody() -> None:
    told = world()
    newcomer = person(reason="consent_stale")
    member = person("crm:2", reason="consent_stale", episodes=[stepped(days_ago=9)])
    decisions = decide(told, [newcomer, member])
    assert decisions.excluded == {"consent_stale": ["crm:1", "crm:2"]}
    assert not decisions.enter and not decisions.move and not decisions.exit
    assert list(decisions.placed) == ["crm:2"]
    assert verdict(told, member).state == "excluded"


@pytest.mark.parametrize("code", [code for code in EXCLUSIONS if code not in HOLDS])
def test_nobody_who_is_excluded_enters_or_stays(code: str) -> None:
    told = world()
    newcomer, member = person(reason=code), person("crm:2", reason=code, episodes=[stepped(days_ago=2)])
    decisions = decide(told, [newcomer, member])
    assert decisions.excluded == {code: ["crm:1", "crm:2"]}
    assert not decisions.enter and not decisions.move and not decisions.placed and not decisions.sunset
    assert [one.contact_id for one in decisions.exit] == ["crm:2"]
    assert verdict(told, newcomer).state == "excluded"


EVERY_SIGN: dict[str, Any] = {
    "deleted_at": YESTERDAY, "erased": True, "merged_into": "crm:2", "opted_out": True,
    "engaged_complained_at": YESTERDAY, "bounced": True, "active_days_since_enrollment": 1,
    "spell_broken_on": NOW - 12 * DAY, "transactions_since_enrollment": 1, "engaged_replies": 1,
    "lead_converted_at": YESTERDAY, "owner_contacted_at": YESTERDAY,
}  # fmt: skip
IN_ORDER = [
    ("deleted", "deleted_at"), ("erased", "erased"), ("merged", "merged_into"), ("unsubscribed", "opted_out"),
    ("complained", "engaged_complained_at"), ("bounced", "bounced"), ("reactivated", "active_days_since_enrollment"),
    ("never_dormant", "spell_broken_on"), ("converted", "transactions_since_enrollment"),
    ("replied", "engaged_replies"), ("lead_converted", "lead_converted_at"), ("owner_took_over", "owner_contacted_at"),
]  # fmt: skip


def test_where_several_exits_apply_the_first_in_order_is_recorded() -> None:
    signs = dict(EVERY_SIGN)
    for code, column in IN_ORDER:
        ending = verdict(world(), person(segments=(), episodes=[stepped("feedback", days_ago=20)], **signs)).exit
        assert ending is not None and ending.reason == code
        del signs[column]
    ending = verdict(world(), person(segments=(), episodes=[stepped("feedback", days_ago=20)])).exit
    assert ending is not None and ending.reason == "left_segment"


def test_an_exit_wins_over_a_step_due_the_same_moment() -> None:
    due = person(episodes=[episode(days_ago=7)])
    assert [move.step for move in decide(world(), [due]).move] == ["reminder"]
    back = person(episodes=[episode(days_ago=7)], active_days_since_enrollment=1)
    decisions = decide(world(), [back])
    assert not decisions.move and [one.reason for one in decisions.exit] == ["reactivated"]


def test_machine_made_opens_and_old_signs_end_nothing() -> None:
    before = stepped(days_ago=2).entered_at - DAY
    contact = inside(
        engaged_complained_at=before,
        engaged_unsubscribed_at=before,
        lead_converted_at=before,
        owner_contacted_at=before,
    )
    decisions = decide(world(), [contact])
    assert not decisions.exit and set(decisions.placed) == {"crm:1"}


@pytest.mark.parametrize(
    ("reason", "signs", "answered"),
    [
        ("reactivated", {"active_days_since_enrollment": 1}, True),
        ("owner_took_over", {"owner_contacted_at": YESTERDAY}, False),
        ("owner_took_over", {"owner_contacted_at": YESTERDAY, "engaged_clicks": 1}, True),
        ("lead_converted", {"lead_converted_at": YESTERDAY}, True),
        ("left_segment", {"segments": ()}, False),
    ],
)
def test_an_exit_says_whether_the_contact_answered(reason: str, signs: dict[str, Any], answered: bool) -> None:
    [ending] = decide(world(), [inside(**signs)]).exit
    assert (ending.reason, ending.answered) == (reason, answered)


# --- entering ------------------------------------------------------------------------------------------------


def test_somebody_dormant_enters_with_the_draw_and_the_permission_remembered() -> None:
    contact = person(silent=40, account_id="acc:9")
    told = world(return_probability=lambda days: days / 100)
    decisions = decide(told, [contact])
    [entry] = decisions.enter
    one = entry.episode
    assert one.episode_id == f"win-back/crm:1/{NOW.date() - 39 * DAY}"
    assert (one.entered_at, one.entered_as, one.arm, one.unit) == (NOW, "dormant", "treated", one.episode_id[9:])
    assert one.outcome_until == NOW + 90 * DAY
    assert one.consent == {"basis": "consent_express", "until": None, "rule": "gdpr_strict: express consent"}
    assert (one.account_id, one.return_probability) == ("acc:9", 0.4)
    assert decisions.placed == {"crm:1": Placed.by(one)}
    assert verdict(told, contact).entry == entry


@pytest.mark.parametrize(
    ("row", "started"),
    [
        ({"silent": 40}, NOW.date() - 39 * DAY),
        ({"silent": None, "created_at": datetime(2026, 2, 28, 23, 30, tzinfo=UTC)}, datetime(2026, 3, 1).date()),  # noqa: DTZ001
        ({"silent": None, "created_at": None}, NOW.date()),
        ({"silent": 40, "last_active_on": None}, NOW.date() - 39 * DAY),
    ],
)
def test_a_spell_starts_after_the_last_active_day_else_with_the_contact(row: dict[str, Any], started: Any) -> None:
    from zoneinfo import ZoneInfo

    [entry] = decide(world(zone=ZoneInfo("Europe/Amsterdam")), [person(**row)]).enter
    assert entry.episode.spell_started_on == started


def test_a_contact_enters_the_first_program_by_its_first_segment() -> None:
    first = program(name="rescue", enroll=("stuck",))
    second = program(enroll=("valuable", "dormant"))
    told = world(first, second)
    chosen = {
        segments: decide(told, [person(segments=segments)]).enter[0].episode
        for segments in (("dormant", "valuable"), ("dormant",), ("dormant", "valuable", "stuck"))
    }
    assert [(one.program, one.entered_as) for one in chosen.values()] == [
        ("win-back", "valuable"),
        ("win-back", "dormant"),
        ("rescue", "stuck"),
    ]


def test_whoever_is_in_one_program_waits_for_the_others_be_there_something_new_or_not() -> None:
    told = world(program(), program(name="renewal", enroll=("dormant",)))
    people = [
        person("crm:1", episodes=[stepped(days_ago=2, contact_id="crm:1")]),
        person("crm:2", episodes=[stepped(days_ago=2, contact_id="crm:2")], engaged_clicks=1),
        person("crm:3", episodes=[stepped(days_ago=2, contact_id="crm:3", arm="holdout")]),
    ]
    assert decide(told, people).deferred == {"other_program": ["crm:1", "crm:2"]}


def test_somebody_through_with_one_program_may_enter_another_after_the_quiet_period() -> None:
    told = world(program(), program(name="renewal", enroll=("dormant",)))
    over = ended(100, "completed", step="feedback", touches=4)
    [entry] = decide(told, [person(silent=200, episodes=[over])]).enter
    assert entry.episode.program == "renewal"
    soon = replace(over, exited_at=NOW - 20 * DAY)
    assert decide(told, [person(silent=200, episodes=[soon])]).deferred == {"quiet_period": ["crm:1"]}


def test_the_same_silence_is_known_again_when_late_facts_move_its_first_day() -> None:
    before = ended(100, "left_segment")
    moved = person(silent=132, episodes=[before])  # active once in the silence, before entry
    assert moved.row["last_active_on"] < before.entered_at.date()
    assert decide(world(), [moved]).deferred == {"same_spell": ["crm:1"]}
    returned = person(silent=129, episodes=[before])
    assert decide(world(), [returned]).enter


def test_an_episode_that_never_was_does_not_bar_the_silence_after_it() -> None:
    before = ended(100, "never_dormant")
    assert decide(world(), [person(silent=132, episodes=[before])]).enter


def test_a_contact_never_active_and_without_a_date_enters_once() -> None:
    [entry] = decide(world(), [person(silent=None, created_at=None)]).enter
    over = replace(entry.episode, exited_at=NOW + 40 * DAY, exit_reason="completed")
    later = world(now=NOW + 200 * DAY)
    again = person(silent=None, created_at=None, episodes=[over], today=later.as_of)
    assert decide(later, [again]).deferred == {"same_spell": ["crm:1"]}


# --- holdout -------------------------------------------------------------------------------------------------


HELD = {"win-back": EVERYBODY_HELD_OUT}


def test_a_holdout_gets_an_episode_and_nothing_else() -> None:
    told = world(program(steps=steps(0, 7)), splits=HELD)
    decisions = decide(told, [person()])
    assert [entry.episode.arm for entry in decisions.enter] == ["holdout"]
    assert decisions.held_out == {"crm:1"} and not decisions.placed and not decisions.move
    said = verdict(told, person())
    assert (said.state, said.entry) == ("held_out", decisions.enter[0])


def test_a_holdout_is_left_alone_on_every_day_of_the_cadence() -> None:
    for day in range(35):
        decisions = decide(world(splits=HELD), [person(episodes=[episode(days_ago=day, arm="holdout")])])
        assert decisions.held_out == {"crm:1"} and not decisions.placed and not decisions.move and not decisions.exit


@pytest.mark.parametrize(
    ("told", "contact"),
    [
        (world(program(caps=CapSettings(per_day=0)), splits=HELD), person()),
        (world(program(caps=CapSettings(per_day=5)), splits=HELD, entered_today=5), person()),
        (world(splits=HELD, paused={"win-back": "spam"}), person()),
        (world(splits=HELD), person(silent=35, episodes=[ended(60, "reactivated")])),
    ],
    ids=["no cap", "cap used up", "paused", "quiet period"],
)
def test_whoever_would_be_held_out_is_left_alone_while_waiting_to_enter(told: World, contact: Person) -> None:
    decisions = decide(told, [contact])
    assert decisions.held_out == {"crm:1"} and not decisions.enter and len(decisions.deferred) == 1
    assert verdict(told, contact).state == "held_out"


def test_a_holdout_stays_held_out_until_the_outcome_is_known() -> None:
    last = ended(20, "left_segment", arm="holdout", outcome_until=NOW + timedelta(minutes=1))
    assert decide(world(), [person(silent=60, episodes=[last])]).held_out == {"crm:1"}
    assert not decide(world(now=NOW + timedelta(minutes=1)), [person(silent=60, episodes=[last])]).held_out


def test_a_holdout_who_came_back_since_is_free() -> None:
    last = ended(20, "converted", arm="holdout")
    assert decide(world(), [person(silent=70, episodes=[last])]).held_out == {"crm:1"}
    assert not decide(world(), [person(silent=35, episodes=[last])]).held_out


# --- sunset --------------------------------------------------------------------------------------------------


def completed(days_ago: float, **values: Any) -> Any:
    return ended(days_ago, "completed", **{"step": "feedback", "touches": 4, **values})


SUNSET_2 = program(sunset=SunsetSettings(after_episodes=2, lasts=180 * DAY))


@pytest.mark.parametrize(
    ("episodes", "sunset"),
    [
        ([completed(100)], False),
        ([completed(100), completed(300)], True),
        ([completed(100), completed(300, answered=True)], False),
        ([completed(100), ended(200, "reactivated"), completed(300)], False),
        ([completed(100), ended(200, "undone"), completed(300)], True),
        ([completed(100), completed(300, arm="holdout")], False),
        ([completed(100), completed(300, touches=0)], False),
        ([completed(100), completed(300, program="other")], False),
        ([completed(181), completed(300)], False),
    ],
)
def test_sunset_is_so_many_unanswered_episodes_in_a_row(episodes: list[Any], sunset: bool) -> None:
    contact = person(silent=500, segments=(), episodes=episodes)
    assert decide(world(SUNSET_2), [contact]).sunset == ({"crm:1"} if sunset else set())


def test_sunset_begins_with_the_exit_and_ends_at_once_with_a_return() -> None:
    one = program(sunset=SunsetSettings(after_episodes=1))
    leaving = decide(world(one), [person(silent=70, episodes=[stepped("feedback", days_ago=14)])])
    assert [ending.reason for ending in leaving.exit] == ["completed"] and leaving.sunset == {"crm:1"}
    assert decide(world(one), [person(silent=200, segments=(), episodes=[completed(100)])]).sunset
    assert not decide(world(one), [person(silent=3, segments=(), episodes=[completed(100)])]).sunset


def test_a_sunset_contact_enters_nothing() -> None:
    decisions = decide(
        world(program(sunset=SunsetSettings(after_episodes=1), caps=CapSettings(quiet_after=timedelta(0)))),
        [person(silent=400, episodes=[completed(100)])],
    )
    assert decisions.sunset == {"crm:1"} and not decisions.enter and decisions.deferred == {"sunset": ["crm:1"]}


# --- steps ---------------------------------------------------------------------------------------------------


def taken(decisions: Decisions) -> list[tuple[str, str]]:
    return [(move.step, move.state) for move in decisions.move]


def carried_out(decisions: Decisions, episode: Episode) -> Episode:
    """The episode with its steps taken."""
    return reduce(cadence.after, decisions.move, episode)


def test_a_step_of_day_0_is_taken_on_entering() -> None:
    decisions = decide(world(program(steps=steps(0, 7))), [person()])
    assert taken(decisions) == [("reminder", "decided")]
    one = carried_out(decisions, decisions.enter[0].episode)
    assert (one.step, one.step_state, one.touches) == ("reminder", "decided", 1)
    assert decisions.placed == {"crm:1": Placed.by(one)}
    assert one.values == {"winback_program": "win-back", "winback_step": "reminder"} == decisions.move[0].values
    assert decisions.enter[0].episode.step is None


def test_a_step_whose_condition_does_not_hold_is_skipped_and_the_next_one_taken() -> None:
    path = (
        StepSettings(name="reminder", day=1, when=condition("engaged.clicks > 0")),
        StepSettings(name="unknown", day=1, when=condition("role = 'cto'")),
        StepSettings(name="offer", day=2, when=condition("step.name = 'unknown' and step.days_in_program = 3")),
    )
    before = episode(days_ago=3)
    decisions = decide(world(program(steps=path)), [person(episodes=[before])])
    assert taken(decisions) == [("reminder", "skipped"), ("unknown", "skipped"), ("offer", "decided")]
    one = carried_out(decisions, before)
    assert one.touches == 1
    assert decisions.placed == {"crm:1": Placed.by(one)}


@pytest.mark.parametrize(("clicks", "due"), [(0, 9), (1, 3)])
def test_a_signal_brings_a_step_forward_and_silence_puts_it_off(clicks: int, due: int) -> None:
    late = (
        Adjustment(condition("engaged.clicks > 0"), 3),
        Adjustment(condition("engaged.clicks = 0 and engaged.visits = 0"), 9),
    )
    told = world(program(steps=(StepSettings(name="reminder", day=7, adjust=late),)))
    for day in range(12):
        contact = person(episodes=[episode(days_ago=day)], engaged_clicks=clicks)
        assert bool(decide(told, [contact]).move) == (day >= due)
        upcoming = verdict(told, contact).upcoming
        assert upcoming is not None and upcoming.what == "reminder"
        assert upcoming.on == NOW.date() + max(due - day, 0) * DAY


def test_a_step_has_the_first_branch_that_fits_and_a_sticky_variant() -> None:
    step = StepSettings(
        name="reminder",
        day=1,
        branches={"boss": condition("role = 'cto'"), "tech": condition("role in ('cto', 'developer')")},
        variants={"a": 0.5, "b": 0.5},
    )
    told = world(program(steps=(step,)))
    people = [person(f"crm:{n}", role=role, episodes=[episode(f"crm:{n}", days_ago=1)]) for n, role in
              enumerate(["cto", "developer", "designer"] * 20)]  # fmt: skip
    decisions = decide(told, people)
    found = {move.contact_id: move for move in decisions.move}
    assert [found[f"crm:{n}"].branch for n in range(3)] == ["boss", "tech", None]
    assert {move.variant for move in decisions.move} == {"a", "b"}
    assert decisions.move == decide(told, reversed(people)).move


@pytest.mark.parametrize("column", ["engaged_clicks", "engaged_replies", "engaged_visits"])
def test_a_step_can_ask_whether_the_contact_answered(column: str) -> None:
    step = StepSettings(name="reminder", day=1, when=condition("step.answered"))
    told = world(program(steps=(step,), exit=frozenset()))
    for count, state in ((0, "skipped"), (1, "decided")):
        contact = person(episodes=[episode(days_ago=2)], **{column: count})
        assert taken(decide(told, [contact])) == [("reminder", state)]


def test_what_was_before_entry_is_no_answer_to_the_first_step() -> None:
    step = StepSettings(name="reminder", day=0, when=condition("engaged.clicks = 0 and not step.answered"))
    told = world(program(steps=(step,)))
    assert taken(decide(told, [person(engaged_clicks=3)])) == [("reminder", "decided")]


@pytest.mark.parametrize("text", ["inactive_days < 30", "feedback.score >= 9", "attributes.seats = 4"])
def test_coming_back_may_be_any_condition(text: str) -> None:
    told = world(
        program(reactivated=condition(text), exit=frozenset()),
        feedback={"crm:1": (None, 9.0, NOW - timedelta(hours=1))},
    )
    back = (
        inside(attributes='{"seats": 4}')
        if "inactive" not in text
        else person(silent=2, episodes=[stepped(days_ago=2)])
    )
    stays = person("crm:2", episodes=[stepped(days_ago=2, contact_id="crm:2")])
    decisions = decide(told, [back, stays])
    assert [(one.contact_id, one.reason) for one in decisions.exit] == [("crm:1", "reactivated")]
    assert set(decisions.placed) == {"crm:2"}


def test_deciding_reads_no_column_it_does_not_ask_for() -> None:
    path = (
        StepSettings(name="reminder", day=0, when=condition("accounts.seats > 3 and attributes.trial = 'yes'")),
        StepSettings(name="offer", day=1, branches={"b": condition("step.days > 0 and engaged.clicks = 0")}),
    )
    told = world(program(steps=path, holdout=HoldoutSettings(by=("segment", "accounts.plan_tier", "country"))))
    asked = columns(told.programs)
    assert {"account_seats", "attributes", "account_plan_tier", "country"} <= set(asked)
    assert not {"engaged.clicks", "engaged_clicks", "step.days", "step_days", "segment"} & set(asked)
    given = {*asked, *(column.relation or column.name for column in SIGNALS), *(name for name, _ in PERSON)}
    people = [
        person("crm:1", account_seats=5, attributes='{"trial": "yes"}', account_plan_tier="pro", country="NL"),
        person("crm:2", episodes=[episode("crm:2", days_ago=3)], timezone="Asia/Tokyo", best_hour=3),
        *LEAVING_PEOPLE,
    ]
    sparse = [replace(one, row={name: value for name, value in one.row.items() if name in given}) for one in people]
    assert decide(told, sparse) == decide(told, people)


def test_feedback_given_before_entry_is_not_about_this_episode() -> None:
    step = StepSettings(name="reminder", day=1, when=condition("feedback.reason = 'price'"))
    contact = person(episodes=[episode(days_ago=2)])
    for when, state in ((NOW - 3 * DAY, "skipped"), (NOW - DAY, "decided")):
        told = world(program(steps=(step,)), feedback={"crm:1": ("price", 4.0, when)})
        assert taken(decide(told, [contact])) == [("reminder", state)]


def test_a_step_the_playbook_dropped_is_followed_by_the_next_later_one() -> None:
    contact = person(episodes=[stepped("gone", days_ago=6, entered_at=NOW - 14 * DAY)])
    assert taken(decide(world(), [contact])) == [("last_chance", "decided")]


def test_an_undone_step_is_on_no_list_and_never_taken_again() -> None:
    undone = stepped(days_ago=2, state="undone")
    assert not decide(world(), [person(episodes=[undone])]).placed
    later = decide(world(), [person(episodes=[replace(undone, entered_at=NOW - 7 * DAY)])])
    assert not later.move and later.deferred == {"gap": ["crm:1"]}
    much_later = replace(undone, entered_at=NOW - 9 * DAY, step_at=NOW - 8 * DAY, send_at=NOW - 8 * DAY)
    assert taken(decide(world(), [person(episodes=[much_later])])) == [("offer", "decided")]


def test_after_a_long_pause_steps_are_made_up_for_one_by_one_with_the_gap_between() -> None:
    before = episode(days_ago=20)
    decisions = decide(world(), [person(episodes=[before])])
    assert taken(decisions) == [("reminder", "decided")]
    written = replace(carried_out(decisions, before), step_state="written")
    for hours in (1, 48, 59):
        soon = world(now=NOW + timedelta(hours=hours))
        assert decide(soon, [person(episodes=[written])]).deferred == {"gap": ["crm:1"]}
        upcoming = verdict(soon, person(episodes=[written])).upcoming
        assert upcoming is not None and (upcoming.what, upcoming.on) == ("offer", (NOW + 3 * DAY).date())


def test_a_run_that_is_early_on_the_day_slips_no_day_but_keeps_the_gap() -> None:
    written = stepped(entered_at=NOW - 20 * DAY, days_ago=3)
    for early in (timedelta(seconds=5), timedelta(hours=3)):
        [move] = decide(world(now=NOW - early), [person(episodes=[written])]).move
        assert (move.step, move.at, move.send_at) == ("offer", NOW - early, NOW)


def test_a_program_the_playbook_dropped_ends_its_episodes_and_says_so() -> None:
    told = world(program(name="other"))
    decisions = decide(told, [person(episodes=[stepped(days_ago=2)])])
    assert [one.reason for one in decisions.exit] == ["left_segment"] and "win-back" in decisions.notes[0]


def test_of_two_open_episodes_after_a_merge_the_first_program_keeps_its_own() -> None:
    told = world(program(), program(name="renewal", enroll=("dormant",)))
    mine, other = stepped(days_ago=2), stepped(days_ago=9, program="renewal")
    decisions = decide(told, [person(episodes=[mine, other]), person("crm:2", episodes=[stepped(days_ago=1)])])
    assert [(one.episode_id, one.reason) for one in decisions.exit] == [(other.episode_id, "merged")]
    assert decisions.placed["crm:1"] == Placed.by(mine)


def test_an_episode_of_a_merged_contact_goes_on_under_the_survivor() -> None:
    moved = replace(episode("crm:old", days_ago=1), contact_id="crm:1")
    [move] = decide(world(), [person(episodes=[moved])]).move
    assert move.episode_id.startswith("win-back/crm:old/") and move.contact_id == "crm:1"


def test_late_facts_keep_an_episode_whose_contact_is_still_dormant() -> None:
    told = world()
    stays = inside(spell_broken_on=NOW - 12 * DAY)
    gone = person("crm:2", episodes=[stepped(days_ago=2)], spell_broken_on=NOW - 12 * DAY, segments=())
    decisions = decide(told, [stays, gone])
    assert set(decisions.placed) == {"crm:1"} and [one.reason for one in decisions.exit] == ["never_dormant"]
    assert len(decisions.notes) == 2 and all("late facts" in note for note in decisions.notes)


# --- what only the crowd decides -----------------------------------------------------------------------------


def crowd(count: int, **values: Any) -> list[Person]:
    return [person(f"crm:{n:03d}", silent=40 + n % 5, **values) for n in range(count)]


def test_entries_are_walked_in_one_order_for_both_arms_until_the_treated_fill_the_cap() -> None:
    split = replace(EVERYBODY_TREATED, share=0.4)
    told = world(program(caps=CapSettings(per_day=10)), splits={"win-back": split}, entered_today=3)
    people = crowd(60)
    decisions = decide(told, people)
    entered = {entry.episode.contact_id: entry.episode for entry in decisions.enter}
    assert sum(one.arm == "treated" for one in entered.values()) == 7
    in_order = sorted(people, key=lambda one: (one.row["last_active_on"], one.row["contact_id"]))
    assert [one.row["contact_id"] for one in in_order[: len(entered)]] == sorted(
        entered, key=lambda key: (entered[key].spell_started_on, key)
    )
    assert entered[in_order[len(entered) - 1].row["contact_id"]].arm == "treated"
    assert set(decisions.deferred["daily_cap"]) == {one.row["contact_id"] for one in people} - set(entered)
    drawn = {one.row["contact_id"] for one in people if verdict(told, one).state == "held_out"}
    assert decisions.held_out == drawn and len(drawn) > len(entered) - 7


def test_running_sequences_come_before_entries_and_earliest_due_first() -> None:
    told = world(program(steps=steps(0, 7), caps=CapSettings(per_day=4)), touches_today=1)
    running = [
        person(f"crm:{n}", episodes=[stepped(days_ago=9 + n, contact_id=f"crm:{n}", episode_id=f"e{n}")])
        for n in range(2)
    ]
    decisions = decide(told, [*crowd(5), *running])
    assert [move.episode_id for move in decisions.move if move.step == "offer"] == ["e0", "e1"]
    assert sum(move.step == "reminder" for move in decisions.move) == 1
    assert len(decisions.enter) == 4, "entries have a cap of their own"
    assert len(decisions.deferred["daily_cap"]) == 4, "one may not enter, three enter and wait for their first step"
    only_one = decide(replace(told, touches_today=3), [*crowd(5), *running])
    assert [move.episode_id for move in only_one.move] == ["e1"], "due two days ago, the other one day ago"


def test_the_last_coupon_goes_to_whoever_is_due_first() -> None:
    told = world(
        program(steps=OFFER_STEP, offers=offering(codes="codes.txt", cost=1.0, expires=7 * DAY)),
        offers=OfferBook(free={"trial": ["C-1", "C-2"]}),
    )
    people = [person(f"crm:{n}", episodes=[episode(f"crm:{n}", days_ago=1 + n)]) for n in range(4)]
    decisions = decide(told, people)
    assert {move.contact_id: move.code for move in decisions.move} == {"crm:3": "C-1", "crm:2": "C-2"}
    assert decisions.deferred == {"no_code_left": ["crm:0", "crm:1"]}
    assert {(move.offer, move.cost, move.expires_at) for move in decisions.move} == {("trial", 1.0, NOW + 7 * DAY)}


def test_a_step_writes_its_properties_with_the_code_that_was_set_aside() -> None:
    step = StepSettings(name="offer", day=1, offer="trial", variants={"a": 1.0})
    told = world(
        program(steps=(step,), offers=offering(codes="codes.txt", cost=1.0, expires=7 * DAY)),
        offers=OfferBook(free={"trial": ["C-1"]}),
        values=personal.values,
    )
    decisions = decide(told, [person(episodes=[episode(days_ago=1)], timezone="Asia/Tokyo")])
    [move] = decisions.move
    assert decisions.placed["crm:1"].values == move.values
    written = {name: value for name, value in move.values.items() if value is not None}
    assert {"winback_program": "win-back", "winback_step": "offer", "winback_variant": "a"}.items() <= written.items()
    assert {"winback_offer": "trial", "winback_offer_code": "C-1", "winback_offer_until": "2026-06-22"}.items() <= (
        written.items()
    )


def test_somebody_an_offer_is_lacking_for_does_not_use_up_the_day() -> None:
    path = (StepSettings(name="offer", day=1, offer="trial"), *steps(5))
    told = world(
        program(steps=path, offers=offering(cost=30.0), caps=CapSettings(per_day=1)),
        offers=OfferBook(spent={"win-back": 100.0}),
    )
    waiting = person("crm:1", episodes=[episode("crm:1", days_ago=9)])
    next_one = person("crm:2", episodes=[stepped("offer", contact_id="crm:2", days_ago=5)])
    decisions = decide(told, [waiting, next_one])
    assert decisions.deferred == {"offer_budget": ["crm:1"]}
    assert [(move.contact_id, move.step) for move in decisions.move] == [("crm:2", "reminder")]


def test_a_program_is_split_by_whoever_could_enter_on_its_first_day() -> None:
    told = world(program(holdout=HoldoutSettings()), splits={})
    people = [person(f"crm:{n:03d}", account_id=f"acc:{n // 2}", silent=40 + n % 5) for n in range(300)]
    decisions = decide(told, people)
    split = decisions.splits["win-back"]
    assert (split.share, split.unit, split.eligible) == (0.5, "account", 300)
    arms = {entry.episode.contact_id: entry.episode.arm for entry in decisions.enter}
    assert all(arms[f"crm:{n:03d}"] == arms[f"crm:{n + 1:03d}"] for n in range(0, 300, 2)), "colleagues share an arm"
    assert decisions.held_out == {contact for contact, arm in arms.items() if arm == "holdout"}
    again = decide(told.knowing(decisions.splits), people)
    assert again.enter == decisions.enter and again.held_out == decisions.held_out and not again.splits


def test_a_cap_on_the_first_day_cuts_the_same_whether_or_not_the_split_is_known() -> None:
    told = world(program(holdout=HoldoutSettings(), caps=CapSettings(per_day=20)), splits={})
    people = [person(f"crm:{n:04d}", account_id=f"acc:{n // 3}", silent=31 + n % 25) for n in range(2500)]
    first = decide(told, people)
    again = decide(told.knowing(first.splits), people)
    assert first.splits["win-back"].eligible == 2500
    assert (first.enter, first.placed, first.held_out, first.deferred) == (
        again.enter, again.placed, again.held_out, again.deferred
    )  # fmt: skip
    assert len(first.placed) == 20


def test_nobody_to_enter_fixes_no_split() -> None:
    assert not decide(world(splits={}), [person(segments=()), person("crm:2", reason="no_consent")]).splits


def test_a_sequence_the_crm_drives_is_followed_but_not_held_back() -> None:
    told = world(
        program(
            driver=Driver.CRM,
            caps=CapSettings(per_contact=(1, 30 * DAY), gap=20 * DAY, per_day=1),
            send=SendSettings(window=(time(1), time(2)), hold="winback"),
        ),
        touches_today=5,
    )
    decisions = decide(told, [person(episodes=[stepped(days_ago=6)], touches=[NOW - 6 * DAY])])
    assert taken(decisions) == [("offer", "decided")] and decisions.move[0].send_at == NOW
    barred = decide(told, [person("crm:2", touches=[NOW - 2 * DAY])])
    assert not barred.enter and barred.deferred == {"per_contact_cap": ["crm:2"]}


def test_the_order_in_which_people_come_changes_nothing() -> None:
    told = world(program(steps=steps(0, 1, 7), caps=CapSettings(per_day=12, gap=DAY)))
    people = [
        *crowd(20),
        *(person(f"m:{n}", episodes=[stepped(days_ago=n % 4, contact_id=f"m:{n}", episode_id=f"e{n:02d}")])
          for n in range(20)),
        person("x:1", reason="no_consent"), person("x:2", episodes=[stepped(days_ago=3)], active_days_since_enrollment=1),
    ]  # fmt: skip
    assert decide(told, people) == decide(told, list(reversed(people)))
