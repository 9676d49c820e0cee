"""Whatever is intended, answered, lost, read back or confirmed, the journal believes what the answers prove."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.errors import StateError
from connector.journal import Journal
from connector.model import Outcome, Receipt
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import ON_BOTH, fresh_url

ROWS = ("1", "2", "3", "4")
LISTS = ("dormant_30", "cold")
_DESTINATIONS = count()

outcomes = st.sampled_from(list(Outcome))
answers = st.dictionaries(st.sampled_from(ROWS), outcomes)
values = st.dictionaries(st.sampled_from(("a", "b")), st.none() | st.sampled_from(("x", "y")), min_size=1)
intentions = st.tuples(
    st.sampled_from(("add_members", "remove_members", "set_properties")),
    st.sampled_from(LISTS),
    st.dictionaries(st.sampled_from(ROWS), values, min_size=1),
)
happenings = st.one_of(
    st.tuples(st.just("intend"), intentions),
    st.tuples(st.just("sent"), answers),
    st.tuples(st.just("unknown"), st.none()),
    st.tuples(st.just("settle"), st.sets(st.sampled_from(ROWS))),
    st.tuples(st.just("confirm"), st.none()),
    st.tuples(st.just("rejected"), st.none()),
)


class Model:
    """The same beliefs, kept in plain dictionaries."""

    def __init__(self) -> None:
        self.members = {}
        self.properties = {}
        self.refused = Counter()

    def decide(self, batch, row, outcome):
        """What one decided row means."""
        batch["rows"][row] = outcome
        kind, target, key = batch["kind"], batch["target"], (batch["kind"], batch["target"], row)
        fine = outcome in {"written", "unchanged"} or (outcome == "missing" and kind == "remove_members")
        if fine:
            self.refused.pop(key, None)
        elif outcome in {"rejected", "missing"}:
            self.refused[key] += 1
        on_list = self.members.setdefault(target, set())
        if kind == "add_members" and fine:
            on_list.add(row)
        elif (kind == "remove_members" and fine) or (kind == "add_members" and outcome == "missing"):
            on_list.discard(row)
        elif kind == "set_properties" and fine:
            self.properties.setdefault(row, {}).update(batch["values"][row])
        elif kind == "set_properties" and outcome == "missing":
            self.properties.pop(row, None)


@pytest.fixture(scope="module", params=ON_BOTH)
def journal(request, tmp_path_factory):
    with ExitStack() as opened:
        url = opened.enter_context(fresh_url(request.param, tmp_path_factory.mktemp("journal")))
        yield opened.enter_context(Journal.open(url, clock=VirtualClock()))


def intend(journal, destination, intention):
    kind, target, new = intention
    target = "" if kind == "set_properties" else target
    batch_id = journal.ledger.intend(
        "run", "plan", destination=destination, step=1, number=1, kind=kind, target=target, rows=list(new),
        payload={"values": new, "before": {}} if kind == "set_properties" else None,
    )  # fmt: skip
    return {"id": batch_id, "kind": kind, "target": target, "values": new, "rows": dict.fromkeys(new), "open": True}


def happen(journal, model, batch, what, given_data):
    """Let one thing happen to the newest batch, in the journal and in the model."""
    ledger = journal.ledger
    undecided = [row for row, outcome in batch["rows"].items() if outcome in {None, "unknown"}]
    if what == "sent":
        ledger.sent(batch["id"], [Receipt(row, outcome) for row, outcome in given_data.items()], START)
        for row in undecided:
            if row in given_data:
                model.decide(batch, row, given_data[row].value)
    elif what == "unknown":
        ledger.unknown(batch["id"], "no answer")
    elif what in {"settle", "confirm"}:
        seen = given_data if what == "settle" else set(ROWS)
        if what == "settle":
            ledger.settle(batch["id"], seen, START)
        else:
            ledger.confirm(batch["id"], START)
        for row in undecided:
            if row in seen:
                model.decide(batch, row, "written")
        batch["open"] = False
    else:
        ledger.rejected(batch["id"], "the list is gone")
        batch["open"] = False


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(happenings, max_size=12))
def test_the_journal_believes_what_the_answers_prove(journal, story):
    destination = f"crm-{next(_DESTINATIONS)}"
    model, batch = Model(), None
    before = (
        journal.held.version(destination),
        journal.held.members(destination),
        journal.held.properties(destination),
    )
    for what, given_data in story:
        if what == "intend":
            batch = intend(journal, destination, given_data)
        elif batch is not None and batch["open"]:
            happen(journal, model, batch, what, given_data)
        elif batch is not None and what != "confirm":
            with pytest.raises(StateError):
                journal.ledger.unknown(batch["id"], "settled batches do not change")
        held = (
            journal.held.version(destination),
            journal.held.members(destination),
            journal.held.properties(destination),
        )
        assert held[1] == {name: rows for name, rows in model.members.items() if rows}
        assert held[2] == {row: new for row, new in model.properties.items() if new}
        assert (held[0] != before[0]) == (held[1:] != before[1:])
        before = held
        refused = journal.rejections.active(destination)
        assert {key: rejection.attempts for key, rejection in refused.items()} == dict(model.refused)
        if batch is not None:
            stored = journal.ledger.get(batch["id"])
            decided = {row: outcome for row, outcome in batch["rows"].items() if outcome is not None}
            assert {row: outcome for row, outcome in stored.outcomes.items() if outcome != "unknown"} == {
                row: outcome for row, outcome in decided.items() if outcome != "unknown"
            }
            assert (stored in journal.ledger.unresolved(destination)) == batch["open"]
