"""The relay against the HubSpot sandbox over real HTTP: what people did and said is there, once."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from adapters.lookalike.faults import Fault
from connector.journal import Intent, Journal
from connector.live.relay import Relay
from connector.model import Outcome, PropertyRow, PropertySpec, Receipt
from tests.fakes.databases import on_both  # noqa: F401  # the fixture journal_url
from tests.fakes.hubspot_worlds import HubSpotTarget
from tests.fakes.plan_world import CRM, Quiet
from tests.fakes.relaying import SEGMENT_LIST, playbook

AT = datetime(2026, 11, 21, 11, 30, tzinfo=UTC)


class Office:
    """An install beside a sandbox: two people on a list, with a value."""

    def __init__(self, folder, url) -> None:
        self.world = HubSpotTarget(folder, contacts=30)
        self.clock = self.world.clock
        self.journal = Journal.open(url, clock=self.clock)
        self.playbook = playbook()
        self.reporter = Quiet()
        self.crm = self.world.destination()
        self.relay = Relay(SimpleNamespace(**self.given()), CRM)
        self.run_id = self.journal.runs.start("work", playbook_digest="1")
        self.people = list(self.world.ids(3))
        self._put(self.people)

    def given(self):
        return {
            "journal": self.journal,
            "clock": self.clock,
            "reporter": self.reporter,
            "playbook": self.playbook,
            "destination": lambda _name: self.crm,
        }

    def _put(self, rows) -> None:
        self.list_id = self.crm.ensure_list(SEGMENT_LIST, folder="winback").ref
        self.crm.ensure_properties([PropertySpec("winback_segment", "Winback segment", "text")])
        self.crm.change_members(self.list_id, add=rows)
        self.crm.set_properties([PropertyRow(row, {"winback_segment": "dormant_30"}) for row in rows])
        values = {row: {"winback_segment": "dormant_30"} for row in rows}
        self._wrote("ensure_list", SEGMENT_LIST, (), ref=self.list_id)
        self._wrote("add_members", SEGMENT_LIST, rows)
        self._wrote("set_properties", "", rows, payload={"values": values, "before": {}})

    def _wrote(self, kind, target, rows, *, ref="", payload=None) -> None:
        ledger = self.journal.ledger
        batch = ledger.intend(
            "r", "p", destination=CRM, step=0, number=0, kind=kind, target=target, rows=rows, payload=payload
        )
        said = [Receipt(row, Outcome.WRITTEN) for row in rows] or [Receipt(ref, Outcome.WRITTEN)]
        ledger.sent(batch, said, AT)
        ledger.confirm(batch, AT)

    def want(self, kind, row, **payload) -> None:
        key = f"{kind}:{row}:{len(self.journal.outbox.recent(1000))}"
        contact = None if row is None else f"hubspot:{row}"
        self.journal.outbox.add([Intent(key=key, kind=kind, payload=payload, contact_id=contact)])

    def go_on(self) -> None:
        for _ in range(60):
            if not self.journal.outbox.depth():
                return
            self.relay(run_id=self.run_id)
            self.clock.advance(61)
        raise AssertionError([(row.kind, row.reason) for row in self.journal.outbox.recent()])

    def members(self) -> set[str]:
        return {row for page in self.crm.members(self.list_id) for row in page}

    def notes(self, kind="notes"):
        return self.world.state.engagements.of(kind)

    def stop(self) -> None:
        self.journal.close()
        self.crm.close()
        self.world.stop()


@pytest.fixture
def office(tmp_path, journal_url):
    made = Office(tmp_path, journal_url)
    yield made
    made.stop()


def test_somebody_comes_back_another_opts_out_a_third_answers(office):
    back, out, told = office.people
    office.want("leave", back, reason="reactivated", of="everything")
    office.want("opt_out", out)
    office.want("set", told, values={"winback_reason": "price"})
    office.want("feedback", told, reason="price", survey="exit <1>", score=7.0, at=AT.isoformat())
    office.go_on()
    assert office.members() == {told}
    assert "winback_segment" not in office.world.stored(back)
    assert office.world.unsubscribed(out)
    stored = office.world.stored(told)
    assert (stored["winback_reason"], stored["winback_feedback_score"]) == ("price", "7")
    assert stored["winback_feedback_at"] == "2026-11-21T11:30:00Z"
    (note,) = office.notes()
    assert note.contacts == (told,)
    assert "Reason: Price" in note.properties["hs_note_body"]
    assert "exit &lt;1&gt;" in note.properties["hs_note_body"]


def test_a_task_belongs_to_the_contacts_owner(office):
    told = office.people[0]
    office.world.edit([told], hubspot_owner_id="77")
    office.want("task", told, reason="missing_feature", text="Call about the export.")
    office.go_on()
    (task,) = office.notes("tasks")
    assert task.properties["hubspot_owner_id"] == "77"
    assert task.properties["hs_task_subject"] == "Win-back: Something is missing"
    assert task.properties["hs_task_status"] == "NOT_STARTED"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("path", ["/notes/batch/create", "/memberships/", "/unsubscribe-all", "/batch/update"])
def test_a_lost_answer_is_found_out_and_nothing_is_there_twice(office, path, when):
    first, second, _ = office.people
    office.world.sandbox.faults.add(Fault("reset", path=path, when=when, times=3))
    office.want("feedback", first, reason="price", survey="exit", score=None, at=AT.isoformat())
    office.want("leave", first, reason="replied", of="everything")
    office.want("opt_out", second)
    office.go_on()
    assert len(office.notes()) == 1
    assert office.members().isdisjoint({first, second})
    assert office.world.unsubscribed(second)
    assert office.journal.ledger.unresolved(CRM) == []
    assert [row.state for row in office.journal.outbox.recent()] == ["done"] * 3


def test_without_the_permission_notes_are_set_aside_and_values_are_written(office):
    office.world.state.missing_scopes = {"crm.objects.notes.read"}
    told = office.people[0]
    office.want("set", told, values={"winback_reason": "price"})
    office.want("feedback", told, reason="price", survey="exit", score=3, at=AT.isoformat())
    office.go_on()
    assert office.world.stored(told)["winback_feedback_score"] == "3"
    (row,) = office.journal.outbox.recent(state="set_aside")
    assert "crm.objects.notes.read" in row.reason
    office.world.state.missing_scopes = set()
    office.journal.outbox.replay([row.number])
    office.go_on()
    assert len(office.notes()) == 1


def test_the_vendors_words_about_a_refused_row_are_kept(office):
    told = office.people[0]
    office.world.poison([told])
    office.want("set", told, values={"winback_reason": "price"})
    office.want("leave", office.people[1], reason="replied", of="everything")
    office.go_on()
    (row,) = office.journal.outbox.recent(state="set_aside")
    assert "Rule 7 says no" in row.reason
    assert office.people[1] not in office.members()


def test_an_account_that_is_down_hears_everything_once_it_is_back(office):
    back, out, _ = office.people
    office.world.sandbox.faults.add(Fault("error", status=503, times=400))
    office.want("leave", back, reason="reactivated", of="everything")
    office.want("opt_out", out)
    for _ in range(3):
        office.relay(run_id=office.run_id)
        office.clock.advance(400)
    assert office.journal.outbox.depth() == 2
    office.world.sandbox.faults.clear()
    office.go_on()
    assert back not in office.members()
    assert office.world.unsubscribed(out)
    assert len([line for line in office.reporter.lines if "cannot be written to" in line]) == 1
    assert len([line for line in office.reporter.lines if "can be written to again" in line]) == 1


def test_contacts_that_wait_at_an_action_go_on(office):
    waiting = office.world.let_wait(3)
    gone = "ap-gone"
    for number, callback in enumerate([*waiting, gone]):
        office.want("complete", None, callback=callback, fields={"decision": f"d{number}"})
    office.go_on()
    assert [office.world.went_on(callback)["decision"] for callback in waiting] == ["d0", "d1", "d2"]
    assert {row.state for row in office.journal.outbox.recent()} == {"done"}
