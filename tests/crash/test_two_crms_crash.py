"""kill -9 while two CRMs are written to, between the two or in either: the next run ends where an undisturbed one would."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from connector import failpoints
from tests.fakes import two_crms
from tests.fakes.two_crms import STEP_LISTS, TwoCrms

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.fakes.two_crms"])


def _main(folder: Path, failpoint: str) -> None:
    os.environ[failpoints.VARIABLE] = failpoint
    TwoCrms(folder).run()


def killed_at(both: TwoCrms, failpoint: str) -> None:
    """A run in a process of its own that dies there; what it left is on the disk."""
    process = _processes.Process(target=_main, args=(both.folder, failpoint))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    two_crms.STORES.clear()


def begin(folder: Path) -> TwoCrms:
    made = TwoCrms(folder)
    for number in range(1, 5):
        made.a.add(str(number), email=f"p{number}@acme.example", external_id=f"u{number}")
        made.b.add(f"B{number}", email=f"p{number + 2}@acme.example")
    made.b.opt_out_by_hand("B2")
    made.uses({f"p{number}@acme.example": 40 for number in range(1, 7)})
    return made


def left(both: TwoCrms) -> tuple[object, ...]:
    with both.opened() as workspace:
        episodes = [
            (episode.contact_id, episode.step, episode.step_state, episode.open)
            for episode in workspace.journal.episodes.everybody()
        ]
    return (both.a.state(), both.b.state(), both.a.unsubscribed, both.b.unsubscribed, episodes)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    both = begin(tmp_path_factory.mktemp("undisturbed"))
    both.run()
    both.run(0.1)
    return left(both)


BETWEEN = "apply.finished"
POINTS = [BETWEEN, "apply.sent:12"]
LATER = [
    *("apply.decided:2", "apply.finished:2"),
    *("apply.started:2", "apply.decided:4", "apply.recorded:14", "apply.undo_opened:2"),
    *(f"*:{hit}" for hit in range(5, 190, 7)),
]
SOAK = [pytest.param(point, marks=pytest.mark.soak) for point in LATER]


@pytest.mark.parametrize("failpoint", [*POINTS, *SOAK])
def test_a_run_that_died_anywhere_ends_as_if_it_had_not(tmp_path, undisturbed, failpoint):
    killed_at(begin(tmp_path), failpoint)
    both = TwoCrms(tmp_path)
    both.run()
    assert both.run(0.1).report.written == 0
    assert left(both) == undisturbed
    joined = Counter()
    for crm in (both.a, both.b):
        joined.update({row: count for (name, row), count in crm.joins.items() if name in STEP_LISTS})
    assert set(joined.values()) == {1}, "nobody was put on a step's list twice"
    assert not {"4"} & both.a.on()
