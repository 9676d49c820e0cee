"""Reasons people give and requests of the CRM's workflows change who enters and which step is next, and no promise."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.program import cadence
from connector.program.codes import ANSWERS, EXCLUSIONS, TOLD_TO_WHO_ASKS
from connector.program.engine import World, decide, verdict
from connector.program.model import (
    REQUESTED,
    Decisions,
    Offer,
    OfferSettings,
    Person,
    Program,
    ReasonRule,
    Request,
)
from connector.program.stillness import Stillness
from connector.program.verdicts import Judge
from connector.program.windows import allowed, day_in, zone_of
from tests.fakes.crowds import NOW as TODAY
from tests.fakes.crowds import company
from tests.fakes.program_people import UTC_ZONE, Books, Somebody, caps_were_kept, world
from tests.property.test_program_engine import DAY, START, agree, crowds, programs

SLOW = settings(deadline=None, max_examples=30)
REASONS = ("price", "not_now", "quality", "other")


@st.composite
def answering(draw: st.DrawFn) -> Program:
    """A random program with rules for some reasons, and offers on some of its steps."""
    made = draw(programs())
    names = [step.name for step in made.steps]
    offers = ("longer", "cut")
    rules = {
        reason: ReasonRule(
            step=draw(st.sampled_from([None, *names])), offer=draw(st.sampled_from([None, *offers, "unknown"]))
        )
        for reason in REASONS[:3]
        if draw(st.booleans())
    }
    path = tuple(replace(step, offer=draw(st.sampled_from([None, "ladder", "longer"]))) for step in made.steps)
    ladder = OfferSettings(
        offers={"longer": Offer(name="longer", cost=1), "cut": Offer(name="cut", cost=5, discount=True)},
        ladder=draw(st.sampled_from([("longer", "cut"), ("none", "cut"), ("longer",)])),
        budget=draw(st.sampled_from([None, (12.0, 30 * DAY)])),
        per_contact=draw(st.sampled_from([None, (5.0, 30 * DAY)])),
    )
    return replace(made, steps=path, reasons=rules, offers=ladder)


@dataclass
class Run:
    now: datetime
    told: World
    people: list[Person]
    decisions: Decisions


@dataclass
class Lives:
    """Runs over people who answer surveys, and whom workflows ask for."""

    books: Books = field(default_factory=Books)
    runs: list[Run] = field(default_factory=list)
    said: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    heard: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))


def live(chosen: Program, crowd: Sequence[Somebody], *, runs: int, seed: int, also: Sequence[Program] = ()) -> Lives:
    """A scheduler that drifts; between its runs some people answer, and some are asked for, once or twice."""
    chance, lives, now = random.Random(seed), Lives(), START
    number = 0
    for _ in range(runs):
        asked: dict[str, list[Request]] = defaultdict(list)
        for one in crowd:
            if chance.random() < 0.15:
                lives.said[one.contact_id] = (chance.choice(REASONS), now - timedelta(hours=chance.randint(0, 20)))
                lives.heard[one.contact_id].append(lives.said[one.contact_id][1])
            for _ in range(chance.choice([0, 0, 0, 0, 0, 1, 2])):
                number += 1
                program = chance.choice([None, None, chosen.name, "renewal", "gone"])
                asked[one.contact_id].append(Request(f"ask-{number}", program))
        midnight = now.replace(hour=0, minute=0, second=0)
        told = world(
            chosen, *also, now=now, splits=dict(lives.books.splits), said=dict(lives.said), asked=dict(asked),
            **lives.books.today(midnight, midnight + DAY),
        )  # fmt: skip
        people = [one.as_of(now, lives.books) for one in crowd]
        decisions = decide(told, people)
        lives.books.carry_out(decisions, now)
        lives.runs.append(Run(now, told, people, decisions))
        if chance.random() < 0.8:
            lives.books.written(now)
        now += chance.choice([DAY, DAY, DAY - timedelta(seconds=40), timedelta(hours=5), 4 * DAY])
    return lives


LIVES = given(answering(), crowds(), st.integers(0, 10_000))


@SLOW
@LIVES
def test_no_schedule_breaks_a_cap_whatever_people_say(chosen, crowd, seed):
    books = live(chosen, crowd, runs=40, seed=seed).books
    caps_were_kept(chosen, books)


@SLOW
@LIVES
def test_a_reason_only_ever_goes_forward_and_leaves_no_step_out_of_the_log(chosen, crowd, seed):
    lives = live(chosen, crowd, runs=30, seed=seed)
    zones = {one.contact_id: zone_of(one.timezone, UTC_ZONE) for one in crowd}
    taken = defaultdict(list)
    for at, move in lives.books.decided:
        zone = zones[move.contact_id]
        taken[move.episode_id].append((at, move))
        assert day_in(at, zone) >= move.due_on
        if move.send_at is not None:
            assert move.send_at >= at and allowed(move.send_at, zone, chosen.send)
            assert chosen.send.hold == "crm" or move.send_at - at <= cadence.DRIFT
    for episode_id, moves in taken.items():
        assert [chosen.number(move.step) for _, move in moves] == list(range(len(moves)))
        one = lives.books.episodes[episode_id]
        entered_on = day_in(one.entered_at, zones[one.contact_id])
        days = {step.name: [step.day, *(change.day for change in step.adjust)] for step in chosen.steps}
        early = [(at, move) for at, move in moves if move.due_on < entered_on + min(days[move.step]) * DAY]
        for at, _ in early:
            assert any(one.entered_at < said <= at for said in lives.heard[one.contact_id]), "nobody asked for it"


@SLOW
@LIVES
def test_whoever_is_held_out_or_excluded_is_in_nothing_whoever_asks(chosen, crowd, seed):
    for run in live(chosen, crowd, runs=25, seed=seed).runs:
        decided = run.decisions
        refused = {one.row["contact_id"] for one in run.people if one.eligibility.reason is not None}
        assert not refused & {entry.episode.contact_id for entry in decided.enter}
        assert not {move.contact_id for move in decided.move} & (refused | decided.held_out)
        assert not decided.held_out & decided.placed.keys()


@SLOW
@LIVES
def test_every_request_is_answered_in_the_plan_and_a_holdout_like_any_not_now(chosen, crowd, seed):
    for run in live(chosen, crowd, runs=20, seed=seed, also=(replace(chosen, name="renewal"),)).runs:
        requests = {request.key: (who, request) for who, mine in run.told.asked.items() for request in mine}
        answers = run.decisions.answers
        assert answers.keys() == requests.keys()
        excluded = {one.row["contact_id"] for one in run.people if one.eligibility.reason is not None}
        treated = {e.episode.contact_id: e.episode for e in run.decisions.enter if not e.episode.held_out}
        for key, (contact_id, request) in requests.items():
            said = answers[key]
            assert said in ANSWERS or said in EXCLUSIONS or said in TOLD_TO_WHO_ASKS
            entered = treated.get(contact_id)
            if request.program == "gone":
                assert said == "no_program"
            elif entered is not None:
                assert said == ("entered" if request.program in (None, entered.program) else "other_program")
                assert entered.entered_as == REQUESTED or said == "other_program"
            else:
                assert said != "entered"
            if contact_id in run.decisions.held_out - excluded and request.program != "gone":
                assert said in ("not_now", *TOLD_TO_WHO_ASKS)


@SLOW
@LIVES
def test_whoever_was_asked_for_goes_first_and_stays_in_without_a_segment(chosen, crowd, seed):
    lives = live(chosen, crowd, runs=25, seed=seed)
    for run in lives.runs:
        entered_as = [entry.episode.entered_as for entry in run.decisions.enter if not entry.episode.held_out]
        late = set(run.decisions.deferred.get("daily_cap", ()))
        asked_too_late = {
            who
            for who, mine in run.told.asked.items()
            if who in late and not any(one.row["contact_id"] == who and one.episodes for one in run.people)
            and any(request.program in (None, chosen.name) for request in mine)
        }  # fmt: skip
        assert not asked_too_late or set(entered_as) <= {REQUESTED}
    requested = [one for one in lives.books.episodes.values() if one.entered_as == REQUESTED]
    assert not any(one.exit_reason in ("left_segment", "never_dormant") for one in requested)


@SLOW
@given(answering(), crowds(), st.integers(0, 10_000), st.booleans())
def test_decide_agrees_with_each_verdict_whatever_people_say(chosen, crowd, seed, two):
    also = (replace(chosen, name="renewal"),) if two else ()
    for run in live(replace(chosen, offers=OfferSettings()), crowd, runs=20, seed=seed, also=also).runs:
        told = run.told.knowing(run.decisions.splits)
        for one in run.people:
            agree(verdict(told, one), one, run.decisions)


@SLOW
@LIVES
def test_the_quick_way_never_overlooks_a_reason(chosen, crowd, seed):
    for run in live(chosen, crowd, runs=20, seed=seed).runs:
        still = Stillness(Judge(run.told))
        for one in run.people:
            if one.episodes and still.nothing_new(one):
                said = verdict(run.told, one)
                assert said.state in ("in_program", "held_out") and not said.moves and said.exit is None


@SLOW
@given(answering(), crowds(), st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_the_order_in_which_people_come_changes_nothing(chosen, crowd, seed, chance):
    run = live(chosen, crowd, runs=8, seed=seed).runs[-1]
    again = list(run.people)
    chance.shuffle(again)
    told = replace(run.told, offers=type(run.told.offers)())
    assert decide(told, again) == decide(replace(told, offers=type(told.offers)()), run.people)


@SLOW
@LIVES
def test_a_discount_comes_first_only_to_who_said_it_is_the_price(chosen, crowd, seed):
    lives = live(replace(chosen, offers=replace(chosen.offers, ladder=("longer", "cut"))), crowd, runs=30, seed=seed)
    for episode_id in lives.books.episodes:
        made = [(at, move) for at, move in lives.books.decided if move.episode_id == episode_id and move.offer]
        if made and made[0][1].offer == "cut":
            before = [e for e in lives.books.of(made[0][1].contact_id) if e.entered_at < made[0][0]]
            run = next(run for run in lives.runs if run.now == made[0][0])
            reason = run.told.said.get(made[0][1].contact_id, ("", START))[0]
            assert reason == "price" or any(e.offer for e in before if e.episode_id != episode_id)


def test_the_short_way_through_a_crowd_hears_of_requests_and_reasons_too():
    with company(6, calm=True) as drawn:
        chance = random.Random(6)
        journal = drawn.workspace.journal
        ask_for(journal, [f"memory:{chance.randrange(drawn.people + 3)}" for _ in range(8)])
        inside = [one.contact_id for one in journal.episodes.everybody() if one.open and not one.held_out]
        say(journal, [*inside, *(f"memory:{chance.randrange(drawn.people)}" for _ in range(12))])
        decisions, people, _ = drawn.decided(shortlist=True)
        expected, seen, _ = drawn.decided(shortlist=False)
    assert people == seen
    assert decisions == expected
    assert len(decisions.answers) == 8
    assert any(move.state == "skipped" for move in decisions.move), "nobody's reason brought a step forward"


def ask_for(journal, contacts):
    from connector.journal.asks import Ask
    from connector.journal.settlement import Settlement

    asks = [Ask(key=f"a{n}", contact_id=who, at=START, source="hubspot") for n, who in enumerate(contacts)]
    journal.settlement.settle(Settlement(number=None, effect="asked", state="done", asks=asks))


def say(journal, contacts):
    from connector.journal.feedback import Answer

    journal.feedback.record(
        [
            Answer(answer_key=f"f{n}", contact_id=who, at=TODAY - DAY / 9, source="typeform", reason=REASONS[2 - n % 3])
            for n, who in enumerate(contacts)
        ]
    )
