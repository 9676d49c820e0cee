"""kill -9 at every failpoint of apply and of recovery: the CRM ends as wanted, the ledger without unknowns."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.failpoints import DECIDING, FAILPOINTS
from tests.fakes.apply_driver import open_world, run_process
from tests.fakes.databases import ON_BOTH, fresh_url, sqlite_url
from tests.fakes.plan_world import CRM, A, B, World, ids

C = "winback · cold"
KILLED = -signal.SIGKILL
BEFORE = {
    "lists": {A: ids(1, 2, 3), B: ids(4)},
    "values": {str(n): {"winback_segment": "old", "winback_reason": f"r{n}"} for n in range(1, 5)},
}
WANTED = {
    "lists": {A: ids(3, 4, 5, 6), B: ids(1, 7), C: ids(8, 9)},
    "values": {str(n): {"winback_segment": "new", "winback_reason": f"r{n}"} for n in range(2, 10)},
}
APPLY = [name for name in FAILPOINTS if name.startswith("apply.") and name not in DECIDING]
RECOVER = [name for name in FAILPOINTS if name.startswith("recover.")]
REACHED_ONCE = {"apply.started", "apply.undo_opened", "apply.finished"}
CASES = [
    *((name, 1, True) for name in APPLY),
    *((name, 2, False) for name in APPLY if name not in REACHED_ONCE),
    *((name, 5, True) for name in APPLY if name not in REACHED_ONCE),
]


@pytest.fixture(params=ON_BOTH)
def place(request, fast_folder: Path) -> Iterator[tuple[Path, str]]:
    """An install that has applied BEFORE, its journal on either database."""
    with fresh_url(request.param, fast_folder) as url:
        begin(fast_folder, url)
        yield fast_folder, url


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is one: a killed process loses nothing that it has written, wherever it is."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def begin(folder: Path, url: str) -> None:
    w = open_world(folder, url)
    w.apply(w.plan(BEFORE["lists"], BEFORE["values"]))
    w.journal.close()


def all_is_well(place: tuple[Path, str]) -> None:
    w = open_world(*place)
    assert w.crm.holdings() == {name: set(rows) for name, rows in WANTED["lists"].items()}
    assert {row: values for row, values in w.crm.values.items() if values} == WANTED["values"]
    assert w.open_batches() == []
    assert w.journal.held.members(CRM) == w.crm.holdings()
    assert w.plan(WANTED["lists"], WANTED["values"]).empty
    assert max(w.crm.joins.values()) == 1, "somebody joined a list twice: the workflow would have started twice"
    w.journal.close()


def the_way_back_is_open(place: tuple[Path, str]) -> None:
    """Undoing the runs, newest first, brings back what was there before."""
    w: World = open_world(*place)
    first, *later = sorted(path.name.split(".")[0] for path in w.folder.iterdir())
    for run_id in reversed(later):
        w.undo(run_id)
    assert {name: set(rows) for name, rows in BEFORE["lists"].items()} == w.crm.holdings()
    assert {row: values for row, values in w.crm.values.items() if values} == BEFORE["values"]
    assert first
    w.journal.close()


@pytest.mark.parametrize(("name", "hit", "same_plan"), CASES)
def test_a_kill_while_applying_is_made_good(place, name: str, hit: int, same_plan: bool):
    assert run_process(*place, WANTED, resume=False, failpoint=f"{name}:{hit}") == KILLED
    assert run_process(*place, WANTED, resume=same_plan) == 0
    all_is_well(place)
    the_way_back_is_open(place)


@pytest.mark.parametrize("name", RECOVER)
@pytest.mark.parametrize("first", ["apply.intended:4", "apply.sent:3", "apply.recorded:3"])
def test_a_kill_while_recovering_is_made_good(place, name: str, first: str):
    assert run_process(*place, WANTED, resume=False, failpoint=first) == KILLED
    assert run_process(*place, WANTED, failpoint=name) == KILLED
    assert run_process(*place, WANTED) == 0
    all_is_well(place)
    the_way_back_is_open(place)


def test_killed_again_and_again_it_still_gets_there(place):
    deaths = 0
    for hit in range(3, 40, 6):
        deaths += run_process(*place, WANTED, resume=bool(hit % 2), failpoint=f"*:{hit}") == KILLED
    assert deaths >= 3
    assert run_process(*place, WANTED) == 0
    all_is_well(place)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_kill_between_any_two_statements_is_made_good(fast_folder: Path):
    for hit in range(1, 200):
        folder = fast_folder / str(hit)
        folder.mkdir()
        place = folder, sqlite_url(folder)
        begin(*place)
        ended = run_process(*place, WANTED, resume=False, failpoint=f"*:{hit}")
        if ended == 0:
            assert hit > 30, "the sweep never got going"
            return
        assert run_process(*place, WANTED) == 0
        all_is_well(place)
        the_way_back_is_open(place)
    pytest.fail("the run never ended by itself")
