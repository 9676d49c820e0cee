"""What is kept for a while only is gone afterwards, and not a day before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from connector.journal.inbox import Kept
from connector.live.housekeeping import EVERY, Housekeeping, Swept
from connector.live.worker import Worker
from connector.receivers import ReceiverOptions
from connector.workspace import Workspace
from tests.fakes.clocks import VirtualClock
from tests.fakes.episodes import enter, episode_of
from tests.fakes.installation import NOON, Installation
from tests.fakes.journals import Silence
from tests.unit.test_live_worker import vendor

DAY = timedelta(days=1)
BLOCK = "webhooks:\n  public_base_url: https://winback.acme.example\n  inbox: {keep: 10d}\n  feedback: {keep: 20d}\n\n"
PROGRAM = "program:\n  enroll: [dormant_90]\n  steps: [{name: reminder, day: 1}]\n  name: win-back\n\n"
RECEIVERS = {"vendor": (replace(vendor(), dedupe_for=15 * DAY), ReceiverOptions())}


@pytest.fixture
def workspace(acme: Installation) -> Iterator[Workspace]:
    acme.config.write_text(acme.config.read_text().replace("guards:", f"{PROGRAM}{BLOCK}guards:"))
    clock = VirtualClock(NOON)
    with Workspace.load(acme.config, clock=clock, reporter=Silence(), environ=acme.environment) as opened:
        enter(opened.journal, episode_of("hubspot:1045", at=NOON - 3 * DAY))
        yield opened


def deliver(workspace: Workspace) -> bool:
    """Somebody used the product; whether that is new to us."""
    event = Kept(
        source="vendor",
        key="e1",
        kind="use",
        payload=json.dumps("hubspot:1045"),
        received_at=workspace.clock.now(),
        request_id="r",
    )
    return workspace.journal.inbox.keep([event]) == [True]


def payload(workspace: Workspace):
    (row,) = workspace.journal.inbox.recent(1)
    return row.payload


def test_payloads_go_when_their_time_is_over_and_keys_when_the_vendor_repeats_no_more(workspace):
    assert deliver(workspace)
    Worker(workspace, receivers=RECEIVERS).until_done()
    sweep = Housekeeping(workspace, RECEIVERS)
    workspace.clock.sleep(9 * 86_400)
    assert sweep() == Swept() and payload(workspace) == "hubspot:1045"
    workspace.clock.sleep(2 * 86_400)
    assert sweep().payloads == 1 and payload(workspace) is None
    assert not deliver(workspace), "its key is still known: sent once more, it counts once"
    workspace.clock.sleep(5 * 86_400)
    sweep()
    assert deliver(workspace), "fifteen days later nobody repeats it"


def test_what_still_waits_is_kept_however_old_it_is(workspace):
    assert deliver(workspace)
    workspace.clock.sleep(400 * 86_400)
    assert Housekeeping(workspace, RECEIVERS)() == Swept()
    assert payload(workspace) == "hubspot:1045"


def test_it_looks_every_few_hours_and_not_in_every_round(workspace):
    assert deliver(workspace)
    Worker(workspace, receivers=RECEIVERS).until_done()
    sweep = Housekeeping(workspace, RECEIVERS)
    workspace.clock.sleep(10 * 86_400 - 60)
    assert sweep() == Swept()
    workspace.clock.sleep(120)
    assert sweep() == Swept(), "it looked two minutes ago"
    workspace.clock.sleep(EVERY.total_seconds())
    assert sweep().payloads == 1


def test_the_worker_sweeps(workspace):
    assert deliver(workspace)
    worker = Worker(workspace, receivers=RECEIVERS)
    worker.until_done()
    workspace.clock.sleep(11 * 86_400)
    worker.once()
    assert payload(workspace) is None
    assert [row.kind for row in workspace.journal.audit.recent()].count("swept") == 1
