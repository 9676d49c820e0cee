"""Whatever is asked in whatever order: the rails hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.program.model import Episode, Offer, OfferSettings, Program, StepSettings
from connector.program.offers import BUDGET, NO_CODE, OfferBook, Reserved, ladder_of
from connector.rules.conditions import parse

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
YEAR = timedelta(days=365)
NAMES = ("a", "b", "c", "d")
money = st.integers(0, 60).map(lambda cents: cents / 4)

offers = st.fixed_dictionaries(
    {
        name: st.builds(
            Offer, name=st.just(name), cost=money, discount=st.booleans(),
            codes=st.sampled_from([None, "generate", "file.txt"]),
        )
        for name in NAMES
    }
)  # fmt: skip
rungs = st.lists(st.sampled_from(("none", *NAMES)), min_size=1, max_size=5, unique=True).map(tuple)
blocks = st.builds(
    OfferSettings,
    offers=offers,
    ladder=rungs,
    budget=st.one_of(st.none(), st.tuples(money, st.just(YEAR))),
    per_contact=st.one_of(st.none(), st.tuples(money, st.just(YEAR))),
    skip_above=st.floats(0, 1),
    minimum_value=st.one_of(st.none(), money),
)
asks = st.lists(
    st.tuples(
        st.integers(0, 3),  # contact
        st.sampled_from(("ladder", *NAMES, "none", None)),
        st.lists(st.sampled_from((None, "none", *NAMES)), max_size=3),  # offers of earlier episodes
        st.one_of(st.none(), st.floats(0, 1)),
        st.one_of(st.none(), money),
    ),
    max_size=25,
)
REACTIVATED = parse("inactive_days = 0")


def episode(contact: str, offer: str | None) -> Episode:
    day = date(2026, 1, 1)
    return Episode(f"p/{contact}/{day}", contact, "p", day, NOW, "s", offer=offer, touches=1, exited_at=NOW)


@settings(deadline=None, max_examples=200)
@given(blocks, asks, money, st.dictionaries(st.sampled_from(("x:0", "x:1")), money), st.integers(0, 3))
def test_no_rail_is_ever_broken(block, asked, spent, spent_on, codes):
    program = Program(name="p", enroll=("s",), steps=(), reactivated=REACTIVATED, offers=block)
    free = {name: [f"{name}{number}" for number in range(codes)] for name in NAMES}
    book = OfferBook(key=bytes(range(32)), free=free, spent={"p": spent}, spent_on={"p": spent_on})
    total, on, given_codes, waited = spent, dict(spent_on), [], set()
    for number, (who, offer, made, chance, value) in enumerate(asked):
        contact, before = f"x:{who}", [episode(f"x:{who}", name) for name in made]
        proposal = book.propose(
            program, StepSettings(name="offer", day=1, offer=offer), contact_id=contact, segment="s", episodes=before,
            row={"value_365d": value}, return_probability=chance,
        )  # fmt: skip
        got = book.reserve(program, proposal, contact_id=contact, episode_id=f"e:{number}", step="offer", at=NOW)
        if proposal.offer is None:
            assert proposal.name is None or (proposal.name == "none" and offer == "ladder")
            assert got == Reserved(proposal.name)
            continue
        assert chance is None or chance < block.skip_above
        if proposal.offer.discount:
            assert before and (offer != "ladder" or any(name in ("none", *block.ladder) for name in made))
            assert block.minimum_value is None or (value is not None and value >= block.minimum_value)
        if isinstance(got, str):
            waited.add(got)
            continue
        total += got.cost
        on[contact] = on.get(contact, 0.0) + got.cost
        given_codes += [got.code] if got.code is not None else []
        assert (got.code is None) == (proposal.offer.codes is None)
        assert block.per_contact is None or got.cost == 0 or on[contact] <= block.per_contact[0] + 1e-6
        assert block.budget is None or got.cost == 0 or total <= block.budget[0] + 1e-6
    assert len(set(given_codes)) == len(given_codes)
    assert waited <= {BUDGET, NO_CODE}


@settings(deadline=None, max_examples=150)
@given(blocks, st.lists(st.sampled_from(("none", *NAMES)), max_size=4), st.one_of(st.none(), money))
def test_nobody_skips_a_rung_and_asking_changes_nothing(block, made, value):
    program = Program(name="p", enroll=("s",), steps=(), reactivated=REACTIVATED, offers=block)
    book = OfferBook()
    step = StepSettings(name="offer", day=1, offer="ladder")

    def ask():
        return book.propose(
            program, step, contact_id="x:1", segment="s", episodes=[episode("x:1", name) for name in made],
            row={"value_365d": value}, return_probability=0.0 if block.skip_above > 0 else None,
        )  # fmt: skip

    proposal = ask()
    assert ask() == proposal
    ladder = ladder_of(block, "s")
    reached = [ladder.index(name) for name in made if name in ladder]
    if proposal.name is not None:
        assert ladder.index(proposal.name) <= (max(reached) + 1 if reached else 0)
