from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.program.consent import fold, said_at
from connector.program.model import ConsentEvent, Status
from tests.fakes.consent import lines


def returns(ledger: list[ConsentEvent], *purposes: str) -> list:
    return [
        said_at(line)
        for line in ledger
        if line.status is Status.RESUBSCRIBED
        and line.evidence
        and line.channel in {"email", "all"}
        and line.purpose in purposes
    ]


def opt_outs(ledger: list[ConsentEvent]) -> list[ConsentEvent]:
    return [line for line in ledger if line.status is Status.WITHDRAWN and line.channel in {"email", "all"}]


@settings(deadline=None, max_examples=300)
@given(data=st.data(), ledger=lines())
def test_any_order_and_repetition_gives_the_same_state(data, ledger):
    repeated = ledger + data.draw(st.lists(st.sampled_from(ledger), max_size=6) if ledger else st.just([]))
    shuffled = data.draw(st.permutations(repeated))
    assert fold(shuffled) == fold(ledger)


@settings(deadline=None, max_examples=300)
@given(ledger=lines())
def test_an_opt_out_stands_exactly_until_a_later_return(ledger):
    standing = [
        said_at(line)
        for line in opt_outs(ledger)
        if not any(at > said_at(line) for at in returns(ledger, "marketing", "all", line.purpose))
    ]
    standing += [
        said_at(line)
        for line in ledger
        if line.status is Status.SNOOZED
        and line.expires_at is None
        and not any(at > said_at(line) for at in returns(ledger, "marketing", "all", line.purpose))
    ]
    assert fold(ledger).opted_out_at == max(standing, default=None)


@settings(deadline=None, max_examples=200)
@given(ledger=lines(), more=lines(statuses=tuple(s for s in Status if s is not Status.RESUBSCRIBED)))
def test_nothing_but_a_return_lifts_an_opt_out_a_complaint_or_an_erasure(ledger, more):
    before, after = fold(ledger), fold(ledger + more)
    for name in ("opted_out_at", "complained_at", "bounced_at", "erased_at"):
        if getattr(before, name) is not None:
            assert getattr(after, name) >= getattr(before, name)


@settings(deadline=None, max_examples=200)
@given(ledger=lines())
def test_no_permission_outlives_an_objection_that_came_after_it(ledger):
    state = fold(ledger)
    objections = [said_at(line) for line in opt_outs(ledger)]
    assert all(said_at(grant) > at for grant in state.grants for at in objections)
    assert (state.granted is None) == (not state.grants)
