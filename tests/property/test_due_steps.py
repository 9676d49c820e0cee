"""What is told of due steps of many who are alike is what each of them would be told alone."""

from __future__ import annotations

from datetime import time, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.program.due import Dues, Fate
from connector.program.model import CapSettings, Driver, Offer, OfferSettings, SendSettings, StepSettings
from connector.program.verdicts import Judge
from tests.fakes.program_people import NOW, ZONES, condition, episode, person, program, world

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WHENS = st.sampled_from(
    [
        None, "engaged.clicks = 0", "engaged.clicks >= 1", "step.answered = true", "step.days >= 3",
        "step.variant = 'a'", "feedback.reason is null", "role = 'cto'", "inactive_days >= 40",
    ]
).map(lambda text: None if text is None else condition(text))  # fmt: skip
STEP_NAMES = ("reminder", "offer", "last_chance")
CADENCES = st.tuples(*(
    st.builds(
        StepSettings,
        name=st.just(name),
        day=st.just(day),
        when=WHENS,
        variants=st.sampled_from([{}, {"a": 0.5, "b": 0.5}, {"credit": 0.5, "none": 0.5}]),
        offer=st.sampled_from([None, None, None, "credit"]),
    )
    for name, day in zip(STEP_NAMES, (1, 5, 9), strict=True)
))  # fmt: skip
PROGRAMS = st.builds(
    program,
    steps=CADENCES,
    driver=st.sampled_from([Driver.WINBACK, Driver.WINBACK, Driver.WINBACK, Driver.CRM]),
    caps=st.sampled_from([CapSettings(), CapSettings(per_contact=(2, 12 * DAY), gap=5 * DAY)]),
    offers=st.just(OfferSettings(offers={"credit": Offer(name="credit")})),
    send=st.sampled_from(
        [
            SendSettings(), SendSettings(window=(time(9), time(17)), days=frozenset(range(5))),
            SendSettings(window=(time(9), time(10)), hold="winback"),
            SendSettings(blackout=((NOW.date(), NOW.date()),)), SendSettings(window=(time(9), time(17)), best_hour=True),
        ]
    ),
)  # fmt: skip
ENTRIES = st.sampled_from([HOUR, DAY, 3 * DAY, 6 * DAY, 9 * DAY, 12 * DAY])
TAKEN = st.sampled_from([(None, None), ("reminder", "written"), ("reminder", "skipped"), ("offer", "decided"),
                         ("offer", "undone"), ("last_chance", "written"), ("gone", "written")])  # fmt: skip


@st.composite
def somebody(draw):
    """A contact of whom there is nothing new, in the program since a while."""
    contact_id = f"crm:{draw(st.integers(1, 9999))}"
    entered = NOW - draw(ENTRIES)
    step, state = draw(TAKEN)
    at = None if step is None else min(entered + draw(ENTRIES), NOW)
    taken = {
        "step": step, "step_state": state, "step_at": at, "send_at": None if state == "skipped" else at,
        "answered": draw(st.booleans()), "variant": draw(st.sampled_from([None, "a"])),
        "arm": draw(st.sampled_from(["treated", "treated", "treated", "holdout"])),
    }  # fmt: skip
    touches = sorted(
        (NOW - days * DAY for days in draw(st.sets(st.sampled_from([1, 4, 8, 20]), max_size=3))), reverse=True
    )
    return person(
        contact_id,
        silent=draw(st.sampled_from([30, 40, 90])),
        episodes=(episode(contact_id, entered_at=entered, **taken),),
        touches=touches,
        timezone=draw(st.sampled_from([None, *ZONES])),
        role=draw(st.sampled_from(["cto", None])),
        best_hour=draw(st.sampled_from([None, 3])),
    )


@settings(deadline=None, max_examples=150)
@given(PROGRAMS, st.lists(somebody(), min_size=1, max_size=8), st.booleans())
def test_the_fate_of_a_due_step_is_that_of_the_contact_judged_alone(cadence, people, paused):
    judge = Judge(world(cadence, paused={cadence.name: "drawn"} if paused else {}))
    dues = Dues(judge)
    for one in people:
        inside = one.episodes[0]
        if not dues.covers(one.episodes, one.segments, one.row):
            continue
        assert judge.ending(one, inside) is None
        walk = judge.walk(one, inside)
        fate = dues.fate(inside, one.row["timezone"], one.touches)
        if walk.skips:
            assert fate is None
        else:
            assert fate == Fate(None if walk.touch is None else walk.touch.move.due_on, walk.waits)


def test_ordinary_people_are_covered_and_whoever_differs_in_more_than_their_episode_is_not():
    plain = world(program())
    waiting = person(episodes=(episode(days_ago=2),))
    covers = Dues(Judge(plain)).covers
    assert covers(waiting.episodes, waiting.segments, waiting.row)
    assert not covers(waiting.episodes, ("elsewhere",), waiting.row)
    assert not covers((episode(days_ago=2, arm="holdout"),), waiting.segments, waiting.row)
    assert not covers((episode(days_ago=2, exited_at=NOW),), waiting.segments, waiting.row)
    assert not covers((*waiting.episodes, episode(days_ago=200, exited_at=NOW)), waiting.segments, waiting.row)
    assert not covers((episode(days_ago=2, step="gone", step_state="written"),), waiting.segments, waiting.row)
    assert not covers((episode(days_ago=2, program="gone"),), waiting.segments, waiting.row)
    for world_of_more in (
        world(program(), ordered={"crm:1": "manual"}),
        world(program(), feedback={"crm:1": ("price", 3.0, NOW)}),
        world(program(send=SendSettings(best_hour=True))),
        world(program(driver=Driver.CRM)),
        world(program(reactivated=condition("inactive_days < 3"))),
        world(program(steps=(StepSettings(name="reminder", day=1, when=condition("role = 'cto'")),))),
    ):
        assert not Dues(Judge(world_of_more)).covers(waiting.episodes, waiting.segments, waiting.row)


def test_a_step_beyond_a_skipped_one_that_asks_for_more_than_is_alike_has_them_looked_at():
    steps = (
        StepSettings(name="reminder", day=1, when=condition("engaged.replies = 1")),
        StepSettings(name="offer", day=2, when=condition("role = 'cto'")),
    )
    waiting = person(episodes=(episode(days_ago=4),), role="cto")
    dues = Dues(Judge(world(program(steps=steps))))
    assert dues.covers(waiting.episodes, waiting.segments, waiting.row)
    assert dues.fate(waiting.episodes[0], None, ()) is None
