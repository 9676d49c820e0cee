"""The worker: wakes at once, survives what goes away, stops when told, and leaves nothing half done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connector.errors import StateError
from connector.heard import Used, Who
from connector.journal.inbox import Kept
from connector.live.worker import KIND, Worker, receivers_of, work
from connector.receivers import Receiver, ReceiverOptions
from connector.workspace import Workspace
from tests.fakes.clocks import VirtualClock
from tests.fakes.episodes import enter, episode_of
from tests.fakes.installation import NOON, Installation
from tests.fakes.journals import Silence


def vendor() -> Receiver:
    nothing: Any = lambda *_: None  # noqa: E731
    return Receiver(
        name="vendor",
        title="Vendor",
        options=ReceiverOptions,
        verify=nothing,
        parse=nothing,
        understand=lambda _, event: [
            Used(who=Who(record=event.payload), at=NOON, feature="editor", event_id=event.key)
        ],
        sign=nothing,
        sample=nothing,
    )


RECEIVERS = {"vendor": (vendor(), ReceiverOptions())}


@pytest.fixture
def workspace(acme: Installation) -> Iterator[Workspace]:
    text = acme.config.read_text()
    block = "program:\n  enroll: [dormant_90]\n  steps: [{name: reminder, day: 1}]\n  name: win-back\n\n"
    acme.config.write_text(text.replace("guards:", f"{block}guards:"))
    clock = VirtualClock(NOON + timedelta(minutes=1))
    with Workspace.load(acme.config, clock=clock, reporter=Silence(), environ=acme.environment) as opened:
        enter(opened.journal, episode_of("hubspot:1045", at=NOON - timedelta(days=3)))
        yield opened


def deliver(workspace: Workspace, key: str = "e1", record: str = "hubspot:1045") -> None:
    now = workspace.clock.now()
    kept = Kept(source="vendor", key=key, kind="use", payload=json.dumps(record), received_at=now, request_id="r")
    assert workspace.journal.inbox.keep([kept]) == [True]


def soon(holds: Any) -> None:
    """Wait for another thread."""
    deadline = datetime.now(UTC) + timedelta(seconds=30)
    while not holds():
        assert datetime.now(UTC) < deadline, "it did not happen"
        threading.Event().wait(0.01)


def test_it_works_at_once_when_woken_and_ends_when_told(workspace):
    worker = Worker(workspace, receivers=RECEIVERS, poll_seconds=3600)
    stop, woken = threading.Event(), threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop, woken))
    thread.start()
    try:
        deliver(workspace)
        woken.set()
        soon(lambda: workspace.journal.inbox.depth() == 0)
        soon(lambda: workspace.journal.outbox.depth() == 0)
    finally:
        stop.set()
        woken.set()
        thread.join(30)
    assert not thread.is_alive()
    assert workspace.journal.episodes.of("hubspot:1045")[0].exit_reason == "reactivated"
    (run,) = [run for run in workspace.journal.runs.recent() if run.kind == KIND]
    assert run.state == "done" and run.summary["relayed"] == 1


def test_it_looks_by_itself_when_nobody_wakes_it(workspace):
    worker = Worker(workspace, receivers=RECEIVERS, poll_seconds=0.01)
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        deliver(workspace)
        soon(lambda: workspace.journal.inbox.depth() == 0)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()


def test_the_journal_going_away_is_said_once_and_its_return_once(workspace):
    worker = Worker(workspace, receivers=RECEIVERS)
    drain, failing = worker._drain, [True, True, False, False]

    def sometimes(*_: Any) -> Any:
        if failing.pop(0):
            raise StateError("journal: disk I/O error")
        return drain()

    worker._drain = sometimes
    deliver(workspace)
    assert [worker._round() for _ in range(4)] == [False, False, True, False]
    said = workspace.reporter.lines
    assert said == [
        "the journal cannot be used, everything waits: journal: disk I/O error",
        "the journal can be used again",
    ]
    worker.close()


def test_it_notes_no_run_where_nothing_was_to_be_written(workspace):
    worker = Worker(workspace, receivers=RECEIVERS)
    deliver(workspace, record="hubspot:7")
    assert worker.once().drained.done == 1
    assert not worker.once().anything
    worker.close()
    assert [run.kind for run in workspace.journal.runs.recent()] == []


def test_a_batch_that_is_larger_than_one_round_is_worked_off(workspace):
    for number in range(250):
        deliver(workspace, f"e{number}", "hubspot:7")
    worker = Worker(workspace, receivers=RECEIVERS)
    worker.until_done()
    worker.close()
    assert workspace.journal.inbox.counts() == {"vendor": {"done": 250}}
    assert workspace.journal.facts.newest() == 250


def test_without_webhooks_there_are_no_sources_and_links_are_still_heard(workspace):
    assert receivers_of(workspace) == {}
    assert callable(work(workspace))
