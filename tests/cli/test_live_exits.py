"""What is heard between plan and apply, and while a run writes: nobody who came back or said no is put on anything."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from unittest import mock

import pytest

from connector.clock import FixedClock
from connector.errors import Locked
from connector.journal import Intent, Settlement, Stop
from connector.live.relay import Relay
from connector.pipeline import context, running
from connector.program.model import ConsentEvent, Exit, Status
from connector.workspace import Workspace
from connector.writing import writing
from tests.cli.test_program import DORMANT, day, run, step_lists, with_program
from tests.fakes.databases import on_both  # noqa: F401  # the fixture journal_url
from tests.fakes.installation import Installation
from tests.fakes.people import people, usage

BACK, OUT = "1045", "1046"
ON_ONE = pytest.mark.parametrize("journal_url", ["sqlite"], indirect=True)


@pytest.fixture
def acme(tmp_path, sandbox, journal_url):
    """The installation with a program, its journal on either database, five records to a call."""
    sandbox.seed(people(), ())
    made = Installation(tmp_path / "acme", sandbox.base_url, sandbox.auth["token"], journal=journal_url)
    made.write_usage(usage())
    with_program(made)
    text = made.config.read_text()
    made.config.write_text(text.replace("properties: true}", "properties: true, members_per_call: 5}"))
    return made


class Listener:
    """A reporter that does something once, when the run writes its first rows."""

    def __init__(self, then=lambda: None) -> None:
        self.then = then
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        if task.startswith("writing") and self.then is not None:
            then, self.then = self.then, None
            then()


@contextmanager
def workspace(acme, number: int, reporter=None):
    with Workspace.load(
        acme.config, clock=FixedClock(day(number)), reporter=reporter or Listener(), environ=acme.environment
    ) as opened:
        yield opened


def comes_back(journal, row: str, number: int) -> None:
    """A login was heard: what the drain settles."""
    contact, at = f"hubspot:{row}", day(number)
    (episode,) = [one for one in journal.episodes.everybody() if one.contact_id == contact and one.open]
    leave = Intent(
        key=f"leave:{row}", kind="leave", payload={"reason": "reactivated", "of": "everything"}, contact_id=contact
    )
    settled = Settlement(
        effect="left",
        contact_id=contact,
        exits=[Exit(episode.episode_id, contact, "reactivated", at, answered=True)],
        stops=[Stop(contact, "reactivated", at)],
        intents=[leave],
    )
    assert journal.settlement.settle(settled)


def opts_out(journal, row: str, number: int) -> None:
    contact, at = f"hubspot:{row}", day(number)
    said = ConsentEvent(
        subject=contact, status=Status.WITHDRAWN, captured_at=at, source="link", event_key=f"u{row}", evidence={}
    )
    intent = Intent(key=f"opt_out:{row}", kind="opt_out", payload={}, contact_id=contact, urgent=True)
    stop = Stop(contact, "unsubscribed", at)
    assert journal.settlement.settle(Settlement(effect="out", consent=[said], stops=[stop], intents=[intent]))


def relay_now(opened) -> None:
    run_id = opened.journal.runs.start("work", playbook_digest="1")
    relayed = Relay(opened, "crm")(run_id=run_id)
    assert relayed.done
    assert not opened.journal.outbox.depth()


def test_a_plan_made_before_somebody_came_back_is_carried_out_without_them(acme, sandbox):
    run(acme, 0)
    assert acme.run("pull", now=day(1)).code == 0
    assert acme.run("plan", now=day(1)).code == 0
    with workspace(acme, 1) as opened:
        comes_back(opened.journal, BACK, 1)
        relay_now(opened)
    assert BACK not in {row for rows in sandbox.members_by_list().values() for row in rows}
    done = acme.run("apply", "--yes", "--json", now=day(1))
    assert done.code == 0, done.err
    assert done.json["skipped"]["reactivated"] >= 1
    assert step_lists(sandbox)["reminder"] == DORMANT - {BACK}
    assert not any(value for name, value in sandbox.properties_of(BACK).items() if name.startswith("winback_"))


def test_while_a_run_writes_it_sends_an_opt_out_on_at_once_and_adds_nobody_who_left(acme, sandbox):
    run(acme, 0)
    before = sandbox.request_count()

    def heard() -> None:
        with workspace(acme, 1) as other:
            comes_back(other.journal, BACK, 1)
            opts_out(other.journal, OUT, 1)
            with pytest.raises(Locked), writing(other.journal, other.clock):
                pass
            run_id = other.journal.runs.start("work", playbook_digest="1")
            assert Relay(other, "crm")(run_id=run_id).busy

    with mock.patch.object(context, "RELAY_EVERY_SECONDS", 0.0), workspace(acme, 1, Listener(heard)) as opened:
        applied = running.run(opened)
        assert applied.exit_code == 0
        assert not opened.journal.outbox.depth()
    assert step_lists(sandbox)["reminder"] == DORMANT - {BACK, OUT}
    assert {BACK, OUT}.isdisjoint({row for rows in sandbox.members_by_list().values() for row in rows})
    asked = [entry["path"] for entry in sandbox.log()[before:]]
    unsubscribed = next(place for place, path in enumerate(asked) if "unsubscribe-all" in path)
    last_change = max(place for place, path in enumerate(asked) if "add-and-remove" in path)
    assert unsubscribed < last_change, "the opt-out waited for the run to end"


@ON_ONE
def test_what_was_relayed_stands_between_nobody_and_the_undo_of_the_last_run(acme, sandbox):
    run(acme, 0)
    run_id = run(acme, 1)["run_id"]
    with workspace(acme, 1) as opened:
        comes_back(opened.journal, BACK, 1)
        relay_now(opened)
    done = acme.run("undo", run_id, "--yes", now=day(1) + timedelta(minutes=5))
    assert done.code == 0, done.err
    assert step_lists(sandbox)["reminder"] == set()
    assert BACK not in {row for rows in sandbox.members_by_list().values() for row in rows}


@ON_ONE
@pytest.mark.soak
def test_a_stop_is_forgotten_once_a_reading_that_began_after_it_is_behind_us(acme, sandbox):
    run(acme, 0)
    with workspace(acme, 1) as opened:
        comes_back(opened.journal, BACK, 1)
        relay_now(opened)
        assert opened.journal.stops.of([f"hubspot:{BACK}"])
    for number, there in ((1, True), (2, False)):
        run(acme, number)
        with workspace(acme, number) as opened:
            assert bool(opened.journal.stops.of([f"hubspot:{BACK}"])) is there
