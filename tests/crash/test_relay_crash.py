"""kill -9 of the relay at every failpoint it comes past: an exit is written once, an opt-out is never lost."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.failpoints import RELAYING
from tests.fakes.databases import ON_BOTH, fresh_url, sqlite_url
from tests.fakes.plan_world import CRM, NOW
from tests.fakes.relaying import REASON, SEGMENT_LIST, STEP_LIST, open_desk, relay_process

KILLED = -signal.SIGKILL
LEASED = 400.0
"""Seconds after which nothing that a killed process had leased is leased any more."""

WRITING = ("apply.intended", "apply.sent", "apply.recorded", "apply.confirmed")
CASES = [*((name, 1) for name in sorted(RELAYING)), *((name, hit) for name in WRITING for hit in (1, 4))]


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing that it has written, wherever it is."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(params=ON_BOTH)
def place(request, fast_folder: Path) -> Iterator[tuple[Path, str]]:
    """An install with somebody who came back, somebody who opted out, an answer, and a workflow that waits."""
    with fresh_url(request.param, fast_folder) as url:
        begin(fast_folder, url)
        yield fast_folder, url


def begin(folder: Path, url: str) -> None:
    desk = open_desk(folder, url)
    desk.put("1", "2", "3", "4")
    desk.crm.waiting = {"ap-1"}
    desk.want("leave", "1", of="everything", reason="reactivated")
    desk.want("opt_out", "2", urgent=True)
    desk.want("set", "3", values={REASON: "price"})
    desk.want("feedback", "3", reason="price", survey="exit", score=4, at=NOW.isoformat())
    desk.want("task", "3", reason="price", text="Call them.")
    desk.want("complete", None, callback="ap-1", fields={"decision": "enrolled"})
    desk.crm.save()
    desk.journal.close()


def all_is_well(place: tuple[Path, str]) -> None:
    desk = open_desk(*place)
    crm = desk.crm
    assert desk.waiting() == []
    assert desk.ended("set_aside") == []
    assert desk.journal.ledger.unresolved(CRM) == []
    assert desk.state_of("1") == desk.state_of("2") == (set(), set(), {})
    assert desk.state_of("4")[0] == {SEGMENT_LIST, STEP_LIST}
    assert crm.unsubscribed == {"2"}
    assert crm.opt_outs_written == {"2": 1}
    assert set(crm.leaves.values()) == {1}, "an exit was written twice"
    assert sorted(crm.notes_written.values()) == [1, 1], "a note was written twice"
    assert crm.completed == {"ap-1": {"decision": "enrolled"}}
    assert {name: rows for name, rows in desk.journal.held.members(CRM).items() if rows and "winback" in name} == {
        SEGMENT_LIST: {"3", "4"},
        STEP_LIST: {"3", "4"},
    }
    desk.journal.close()


@pytest.mark.parametrize(("name", "hit"), CASES)
def test_a_kill_of_the_relay_is_made_good(place, name: str, hit: int):
    assert relay_process(*place, failpoint=f"{name}:{hit}") == KILLED
    assert relay_process(*place, later=LEASED) == 0
    all_is_well(place)


@pytest.mark.parametrize("second", ["recover.read_back:1", "recover.settled:1", "relay.written:1"])
def test_a_relay_killed_again_while_it_makes_good_still_gets_there(place, second: str):
    assert relay_process(*place, failpoint="apply.sent:3") == KILLED
    assert relay_process(*place, failpoint=second, later=LEASED) == KILLED
    assert relay_process(*place, later=2 * LEASED) == 0
    all_is_well(place)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_kill_of_the_relay_between_any_two_statements_is_made_good(fast_folder: Path):
    for hit in range(1, 200):
        folder = fast_folder / str(hit)
        folder.mkdir()
        place = folder, sqlite_url(folder)
        begin(*place)
        ended = relay_process(*place, failpoint=f"*:{hit}")
        if ended == 0:
            assert hit > 20, "the sweep never got going"
            return
        assert relay_process(*place, later=LEASED) == 0
        all_is_well(place)
    pytest.fail("the relay never ended by itself")
