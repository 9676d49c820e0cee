"""The ledger: each batch from intention to certainty, with what the destination holds and refuses kept in step."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event

from connector.errors import StateError
from connector.journal import BatchState, Journal
from connector.journal.rejections import QUARANTINE_AFTER
from connector.model import Outcome, Receipt
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`

LIST = "winback · dormant_30"


@pytest.fixture
def journal(journal_url):
    with Journal.open(journal_url, clock=VirtualClock()) as opened:
        yield opened


def intend(journal, kind="add_members", rows=("1", "2", "3"), *, target=LIST, run="run-1", number=1, payload=None):
    return journal.ledger.intend(
        run, "plan-1", destination="crm", step=4, number=number, kind=kind, target=target, rows=rows, payload=payload
    )


def receipts(**outcomes):
    return [Receipt(row.removeprefix("r"), Outcome(outcome)) for row, outcome in outcomes.items()]


def written(*rows):
    return [Receipt(row, Outcome.WRITTEN) for row in rows]


def hold(journal, *rows):
    batch = intend(journal, rows=rows)
    journal.ledger.sent(batch, written(*rows), START)
    journal.ledger.confirm(batch, START)


# --- states -------------------------------------------------------------------------------------------------------


def test_a_batch_goes_from_intended_to_confirmed(journal):
    batch_id = intend(journal)
    batch = journal.ledger.get(batch_id)
    assert (batch.state, batch.rows, batch.undecided, batch.done()) == (
        "intended",
        ("1", "2", "3"),
        ("1", "2", "3"),
        (),
    )
    assert (batch.run_id, batch.plan_id, batch.step, batch.number, batch.target) == ("run-1", "plan-1", 4, 1, LIST)
    assert journal.held.members("crm") == {}

    assert journal.ledger.sent(batch_id, written("1", "2", "3"), START) is BatchState.SENT
    assert journal.held.members("crm") == {LIST: {"1", "2", "3"}}
    assert [batch.batch_id for batch in journal.ledger.unresolved()] == [batch_id]

    journal.ledger.confirm(batch_id, START + timedelta(seconds=3))
    batch = journal.ledger.get(batch_id)
    assert (batch.state, batch.sent_at, batch.settled_at) == ("confirmed", START, START + timedelta(seconds=3))
    assert journal.ledger.unresolved() == []


def test_batches_of_a_run_come_in_the_order_they_were_intended(journal):
    first, other, last = (intend(journal, run=run, number=n) for run, n in (("a", 2), ("b", 1), ("a", 1)))
    assert [batch.batch_id for batch in journal.ledger.batches("a")] == [first, last]
    assert [batch.batch_id for batch in journal.ledger.batches("b")] == [other]
    assert journal.ledger.batches("c") == []


def test_unresolved_can_be_asked_for_one_destination(journal):
    mine = intend(journal)
    journal.ledger.intend(
        "run-1", "p", destination="other", step=1, number=1, kind="add_members", target=LIST, rows=["9"]
    )
    assert [batch.batch_id for batch in journal.ledger.unresolved("crm")] == [mine]
    assert len(journal.ledger.unresolved()) == 2


def test_rows_without_a_receipt_leave_the_batch_unknown(journal):
    batch_id = intend(journal)
    assert journal.ledger.sent(batch_id, receipts(r1="written", r3="unknown"), START) is BatchState.UNKNOWN
    batch = journal.ledger.get(batch_id)
    assert batch.undecided == ("2", "3")
    assert "2" in batch.reason
    assert journal.held.members("crm") == {LIST: {"1"}}


def test_an_answer_with_nothing_in_it_is_unknown(journal):
    batch_id = intend(journal)
    assert journal.ledger.sent(batch_id, [], START) is BatchState.UNKNOWN
    assert journal.held.members("crm") == {}


def test_more_receipts_complete_an_unknown_batch_and_never_revise_what_was_decided(journal):
    batch_id = intend(journal)
    journal.ledger.sent(batch_id, receipts(r1="written", r2="unknown"), START)
    assert (
        journal.ledger.sent(batch_id, receipts(r1="rejected", r2="unchanged", r3="written"), START) is BatchState.SENT
    )
    assert journal.ledger.get(batch_id).outcomes == {"1": "written", "2": "unchanged", "3": "written"}
    assert journal.rejections.active("crm") == {}


def test_confirming_an_unknown_batch_means_it_was_seen_to_have_happened(journal):
    batch_id = intend(journal)
    journal.ledger.unknown(batch_id, "no answer within 30 s")
    assert journal.ledger.get(batch_id).state is BatchState.UNKNOWN
    journal.ledger.confirm(batch_id, START)
    assert journal.ledger.get(batch_id).done() == ("1", "2", "3")
    assert journal.held.members("crm") == {LIST: {"1", "2", "3"}}


def test_reading_back_settles_what_was_written_and_what_was_not(journal):
    batch_id = intend(journal)
    journal.ledger.unknown(batch_id, "no answer within 30 s")
    journal.ledger.settle(batch_id, {"2", "77"}, START)
    batch = journal.ledger.get(batch_id)
    assert (batch.state, batch.done(), batch.undecided) == ("confirmed", ("2",), ())
    assert "2 of its rows" in batch.reason
    assert journal.held.members("crm") == {LIST: {"2"}}
    assert journal.rejections.active("crm") == {}


def test_a_batch_refused_for_its_own_sake_blames_no_row(journal):
    batch_id = intend(journal)
    journal.ledger.rejected(batch_id, "the list is gone")
    batch = journal.ledger.get(batch_id)
    assert (batch.state, batch.reason, batch.undecided, batch.done()) == ("rejected", "the list is gone", (), ())
    assert journal.held.members("crm") == {}
    assert journal.rejections.active("crm") == {}


def test_confirming_twice_changes_nothing(journal):
    batch_id = intend(journal)
    journal.ledger.sent(batch_id, written("1", "2", "3"), START)
    journal.ledger.confirm(batch_id, START)
    version = journal.held.version("crm")
    journal.ledger.confirm(batch_id, START + timedelta(days=1))
    assert journal.ledger.get(batch_id).settled_at == START
    assert journal.held.version("crm") == version


@pytest.mark.parametrize("end", ["confirm", "rejected"])
def test_a_settled_batch_cannot_change(journal, end):
    batch_id = intend(journal)
    if end == "confirm":
        journal.ledger.confirm(batch_id, START)
    else:
        journal.ledger.rejected(batch_id, "gone")
    for change in (
        lambda: journal.ledger.sent(batch_id, written("1"), START),
        lambda: journal.ledger.unknown(batch_id, "x"),
        lambda: journal.ledger.rejected(batch_id, "x"),
        lambda: journal.ledger.settle(batch_id, {"1"}, START),
    ):
        with pytest.raises(StateError, match=f"batch {batch_id} of run run-1 is"):
            change()


def test_a_batch_that_was_never_intended_is_an_error(journal):
    with pytest.raises(StateError, match="no batch 99"):
        journal.ledger.sent(99, [], START)


def test_a_batch_names_each_record_once(journal):
    with pytest.raises(ValueError, match="twice"):
        intend(journal, rows=["1", "2", "1"])


def test_an_unknown_kind_is_refused(journal):
    with pytest.raises(ValueError, match="enrol"):
        intend(journal, kind="enrol")


# --- what it proves about the destination -------------------------------------------------------------------------


def test_removed_members_are_no_longer_held_and_gone_records_are_off_the_list(journal):
    hold(journal, "1", "2", "3", "4")
    batch_id = intend(journal, "remove_members", ["1", "2", "3"])
    journal.ledger.sent(batch_id, receipts(r1="written", r2="missing", r3="rejected"), START)
    assert journal.held.members("crm") == {LIST: {"3", "4"}}
    assert list(journal.rejections.active("crm")) == [("remove_members", LIST, "3")]
    assert journal.ledger.get(batch_id).done() == ("1",)


def test_a_record_the_destination_does_not_know_is_refused_and_not_held(journal):
    hold(journal, "1")
    journal.ledger.sent(intend(journal, rows=["1", "2"]), receipts(r1="missing", r2="unchanged"), START)
    assert journal.held.members("crm") == {LIST: {"2"}}
    assert journal.rejections.active("crm")["add_members", LIST, "1"].code == "missing"


def test_members_of_one_list_are_not_members_of_another(journal):
    hold(journal, "1", "2")
    journal.ledger.sent(intend(journal, rows=["1"], target="winback · cold"), written("1"), START)
    journal.ledger.sent(intend(journal, "remove_members", rows=["1"]), written("1"), START)
    assert journal.held.members("crm") == {LIST: {"2"}, "winback · cold": {"1"}}
    assert journal.held.members("other") == {}


def test_property_values_are_merged_row_by_row(journal):
    def write(values, **outcomes):
        payload = {"values": values, "before": {}}
        batch_id = intend(journal, "set_properties", list(values), target="", payload=payload)
        journal.ledger.sent(batch_id, receipts(**outcomes), START)
        return batch_id

    write({"1": {"a": "x", "b": "y"}, "2": {"a": "x"}, "3": {"a": "x"}}, r1="written", r2="unchanged", r3="rejected")
    assert journal.held.properties("crm") == {"1": {"a": "x", "b": "y"}, "2": {"a": "x"}}
    batch_id = write({"1": {"b": None}, "2": {"c": "z"}}, r1="written", r2="missing")
    assert journal.held.properties("crm") == {"1": {"a": "x", "b": None}}
    assert journal.ledger.get(batch_id).payload == {"values": {"1": {"b": None}, "2": {"c": "z"}}, "before": {}}


def test_a_list_that_was_made_is_held_with_its_id_and_known_as_ours(journal):
    batch_id = intend(journal, "ensure_list", ())
    assert journal.ledger.get(batch_id).created is None
    journal.ledger.sent(batch_id, [Receipt("4711", Outcome.WRITTEN)], START)
    batch = journal.ledger.get(batch_id)
    assert (batch.ref, batch.created, batch.state) == ("4711", True, "sent")
    assert journal.held.lists("crm") == {LIST: "4711"}
    assert journal.held.members("crm") == {LIST: set()}


def test_a_list_that_was_found_is_not_ours_to_remove(journal):
    batch_id = intend(journal, "ensure_list", ())
    journal.ledger.sent(batch_id, [Receipt("4711", Outcome.UNCHANGED)], START)
    assert journal.ledger.get(batch_id).created is False
    assert journal.held.lists("crm") == {LIST: "4711"}


def test_a_list_that_was_removed_takes_its_members_along(journal):
    hold(journal, "1")
    journal.ledger.sent(intend(journal, "ensure_list", ()), [Receipt("4711", Outcome.WRITTEN)], START)
    journal.ledger.sent(intend(journal, "remove_list", ()), [Receipt("4711", Outcome.WRITTEN)], START)
    assert journal.held.lists("crm") == {}
    assert journal.held.members("crm") == {}


def test_a_property_is_held_by_name_and_its_values_go_with_it(journal):
    for name in ("winback_segment", "winback_reason"):
        made = intend(journal, "ensure_property", (), target=name)
        journal.ledger.sent(made, [Receipt(name, Outcome.WRITTEN)], START)
    journal.held.replace_properties(
        "crm", {"1": {"winback_segment": "cold", "winback_reason": "x"}, "2": {"winback_segment": "cold"}}
    )
    assert journal.held.property_names("crm") == {"winback_segment", "winback_reason"}
    removed = intend(journal, "remove_property", (), target="winback_segment")
    journal.ledger.confirm(removed, START)
    assert journal.held.property_names("crm") == {"winback_reason"}
    assert journal.held.properties("crm") == {"1": {"winback_reason": "x"}}


def test_an_ensure_without_an_answer_holds_nothing_until_it_is_settled(journal):
    lost = intend(journal, "ensure_list", ())
    assert journal.ledger.sent(lost, [], START) is BatchState.UNKNOWN
    journal.ledger.settle(lost, (), START)
    assert journal.ledger.get(lost).created is None
    assert journal.held.lists("crm") == {}
    found = intend(journal, "ensure_property", (), target="winback_segment")
    journal.ledger.settle(found, {"winback_segment"}, START)
    assert journal.held.property_names("crm") == {"winback_segment"}


# --- held ---------------------------------------------------------------------------------------------------------


def test_the_version_changes_with_every_change_and_with_nothing_else(journal):
    seen = [journal.held.version("crm")]

    def moved():
        seen.append(journal.held.version("crm"))
        return seen[-1] != seen[-2]

    journal.ledger.confirm(intend(journal, "remove_members"), START)
    assert not moved()
    hold(journal, "1", "2")
    assert moved()
    hold(journal, "1", "2")
    assert not moved()
    journal.held.replace_members("crm", LIST, ["2", "1"])
    assert not moved()
    journal.held.replace_members("crm", LIST, ["2", "3"])
    assert moved()
    journal.held.replace_properties("crm", {"1": {"a": "x", "b": "y"}})
    assert moved()
    journal.held.replace_properties("crm", {"1": {"b": "y", "a": "x"}})
    assert not moved()
    journal.held.replace_properties("crm", {"1": {"a": "x"}})
    assert moved()
    journal.held.replace_properties("crm", {"1": {}, "9": {}})
    assert moved()
    journal.ledger.sent(intend(journal, "ensure_list", ()), [Receipt("7", Outcome.WRITTEN)], START)
    assert moved()
    journal.ledger.sent(intend(journal, "ensure_list", ()), [Receipt("7", Outcome.UNCHANGED)], START)
    assert not moved()
    journal.ledger.sent(intend(journal, "ensure_list", ()), [Receipt("8", Outcome.WRITTEN)], START)
    assert moved()
    intend(journal, rows=["5"])
    assert not moved()
    journal.held.replace_members("other", LIST, ["1"])
    assert not moved()


def test_the_same_history_gives_the_same_version_on_any_database(journal, tmp_path):
    def history(one):
        one.held.replace_members("crm", LIST, {"3", "1", "2"})
        one.held.replace_properties("crm", {"2": {"a": "x"}, "1": {"a": "y"}})
        return one.held.version("crm")

    with Journal.open(f"sqlite:///{tmp_path / 'other.db'}", clock=VirtualClock()) as other:
        assert history(journal) == history(other)


def test_reading_back_replaces_members_and_properties(journal):
    hold(journal, "1", "2")
    journal.held.replace_members("crm", LIST, {"2", "5"})
    assert journal.held.members("crm") == {LIST: {"2", "5"}}
    journal.held.replace_properties("crm", {"1": {"a": "x"}, "2": {"a": "x"}})
    journal.held.replace_properties("crm", {"2": {"b": "y"}})
    assert journal.held.properties("crm") == {"1": {"a": "x"}, "2": {"b": "y"}}
    journal.held.replace_properties("crm", {"3": {"c": None}}, complete=True)
    assert journal.held.properties("crm") == {"3": {"c": None}}


def test_reading_back_replaces_lists_and_property_names(journal):
    hold(journal, "1")
    journal.held.replace_lists("crm", {LIST: "1", "winback · cold": "2"})
    journal.held.replace_lists("crm", {"winback · cold": "3"})
    assert journal.held.lists("crm") == {"winback · cold": "3"}
    assert journal.held.members("crm") == {"winback · cold": set()}
    journal.held.replace_property_names("crm", {"a", "b"})
    journal.held.replace_properties("crm", {"1": {"a": "x", "b": "y"}})
    journal.held.replace_property_names("crm", {"b", "c"})
    assert journal.held.property_names("crm") == {"b", "c"}
    assert journal.held.properties("crm") == {"1": {"b": "y"}}


def test_more_properties_than_one_fetch_come_back_whole(journal):
    rows = {str(number): {"a": str(number), "b": None} for number in range(25_000)}
    journal.held.replace_properties("crm", rows)
    assert journal.held.properties("crm") == rows


# --- rejections ---------------------------------------------------------------------------------------------------


def refuse(journal, row="1", *, words="Property values were not valid", at=START, kind="add_members"):
    batch_id = intend(journal, kind, [row])
    journal.ledger.sent(batch_id, [Receipt(row, Outcome.REJECTED, words, "VALIDATION_ERROR")], at)
    journal.ledger.confirm(batch_id, at)


def test_a_refused_row_keeps_the_vendors_words_and_counts_its_attempts(journal):
    refuse(journal, words="first words")
    refuse(journal, words="newest words", at=START + timedelta(days=1))
    rejection = journal.rejections.active("crm")["add_members", LIST, "1"]
    assert (rejection.reason, rejection.code, rejection.attempts) == ("newest words", "VALIDATION_ERROR", 2)
    assert (rejection.first_at, rejection.last_at) == (START, START + timedelta(days=1))
    assert not rejection.quarantined
    assert journal.rejections.active("other") == {}


def test_a_row_refused_too_often_is_quarantined_until_released(journal):
    for _ in range(QUARANTINE_AFTER - 1):
        refuse(journal)
    assert not journal.rejections.active("crm")["add_members", LIST, "1"].quarantined
    refuse(journal)
    refuse(journal, "2")
    assert journal.rejections.active("crm")["add_members", LIST, "1"].quarantined
    assert journal.rejections.release(["1", "99"]) == 1
    assert [row for _, _, row in journal.rejections.active("crm")] == ["2"]


def test_release_can_be_limited_to_one_destination(journal):
    refuse(journal)
    assert journal.rejections.release(["1"], destination="other") == 0
    assert journal.rejections.release(["1"], destination="crm") == 1


def test_success_clears_the_rejection_of_the_same_write_only(journal):
    refuse(journal)
    refuse(journal, kind="remove_members")
    hold(journal, "1")
    assert list(journal.rejections.active("crm")) == [("remove_members", LIST, "1")]


def test_the_same_receipt_noted_twice_counts_once(journal):
    batch_id = intend(journal, rows=["1", "2"])
    for _ in range(3):
        journal.ledger.sent(batch_id, receipts(r1="rejected"), START)
    assert journal.rejections.active("crm")["add_members", LIST, "1"].attempts == 1


@pytest.mark.parametrize("kind", ["add_members", "remove_members", "set_properties"])
def test_a_batch_costs_the_same_few_statements_however_many_rows_it_has(journal, kind):
    def statements_of(prefix, size):
        rows = [f"{prefix}{number}" for number in range(size)]
        values = {row: {"a": "x"} for row in rows}
        seen = []
        event.listen(journal._database.engine, "before_cursor_execute", lambda *call: seen.append(call[2]))
        payload = {"values": values, "before": {}} if kind == "set_properties" else None
        batch_id = intend(journal, kind, rows, target="" if payload else LIST, payload=payload)
        journal.ledger.sent(batch_id, written(*rows), START)
        journal.ledger.confirm(batch_id, START)
        return len(seen)

    hold(journal, *(f"many-{number}" for number in range(2000)))
    one = statements_of("one-", 1)
    assert statements_of("many-", 2000) <= one + 2
    assert one <= 16
