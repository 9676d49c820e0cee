"""The parts of a simulation: copies, draws, the hazard, the chart."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.clock import FixedClock
from connector.errors import Locked, SettingError
from connector.journal import Journal
from connector.simulation.chart import page
from connector.simulation.copies import copy_journal, copy_warehouse, file_of
from connector.simulation.forward import Day, Simulated, added
from connector.simulation.returning import draw
from connector.warehouse import Warehouse

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
CLOCK = FixedClock(NOW)

counts = st.dictionaries(st.sampled_from(["a", "b<c", "reactivated", "daily_cap"]), st.integers(0, 5000), max_size=4)
days = st.builds(
    Day,
    on=st.just(date(2026, 6, 16)),
    entered=st.integers(0, 100_000),
    held_out=st.integers(0, 100_000),
    steps=counts,
    exits=counts,
    deferred=counts,
    inside=st.integers(0, 100_000),
)


def test_draws_are_even_and_belong_to_a_contact_on_a_day():
    values = [draw(1, f"crm:{number}", date(2026, 6, 16)) for number in range(20_000)]
    assert min(values) >= 0 and max(values) < 1
    tenths = Counter(int(value * 10) for value in values)
    assert all(1_850 < tenths[tenth] < 2_150 for tenth in range(10))
    one = draw(1, "crm:1", date(2026, 6, 16))
    assert one == draw(1, "crm:1", date(2026, 6, 16))
    assert len({one, draw(2, "crm:1", date(2026, 6, 16)), draw(1, "crm:1", date(2026, 6, 17))}) == 3


def test_a_warehouse_in_use_is_not_copied(tmp_path):
    path = tmp_path / "warehouse.duckdb"
    with Warehouse.open(f"duckdb:///{path}"):
        pass
    code = f"import duckdb, time; c = duckdb.connect({str(path)!r}); print('open', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline().strip() == "open"
        with pytest.raises(Locked, match="in use"):
            copy_warehouse(f"duckdb:///{path}", tmp_path, tmp_path)
    finally:
        other.kill()
        other.communicate()


def test_what_a_crash_left_in_the_warehouse_s_log_is_copied_too(tmp_path):
    path, folder = tmp_path / "warehouse.duckdb", tmp_path / "copy"
    folder.mkdir()
    with Warehouse.open(f"duckdb:///{path}"):
        pass
    connection = duckdb.connect(str(path))
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    connection.execute("INSERT INTO meta VALUES ('left', 'behind')")
    connection.close()
    assert path.with_name("warehouse.duckdb.wal").exists()
    url, _ = copy_warehouse(f"duckdb:///{path}", tmp_path, folder)
    copied = duckdb.connect(url.removeprefix("duckdb:///"))
    assert copied.execute("SELECT value FROM meta WHERE key = 'left'").fetchone() == ("behind",)
    copied.close()


def test_without_facts_there_is_nothing_to_copy(tmp_path):
    with pytest.raises(SettingError, match="no facts"):
        copy_warehouse("duckdb:///none.duckdb", tmp_path, tmp_path)


def test_a_journal_is_copied_while_it_is_open_and_a_missing_one_is_not_made(tmp_path):
    folder = tmp_path / "copy"
    folder.mkdir()
    assert copy_journal("sqlite:///none.db", tmp_path, folder, clock=CLOCK) == f"sqlite:///{folder}/journal.db"
    assert not (tmp_path / "none.db").exists() and not (folder / "journal.db").exists()
    with Journal.open(f"sqlite:///{tmp_path}/journal.db", clock=CLOCK) as journal:
        run_id = journal.runs.start("run", playbook_digest="x")
        url = copy_journal("sqlite:///journal.db", tmp_path, folder, clock=CLOCK)
        with Journal.open(url, clock=CLOCK) as copied:
            assert copied.runs.get(run_id) is not None
            copied.runs.start("run", playbook_digest="y")
        assert len(journal.runs.recent()) == 1


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("duckdb:///state/w.duckdb", "/base/state/w.duckdb"),
        ("sqlite:////abs/j.db", "/abs/j.db"),
        ("duckdb:///:memory:", None),
        ("postgresql://host/db", None),
    ],
)
def test_files_behind_urls(url, path):
    assert file_of(url, Path("/base")) == (Path(path) if path else None)


@settings(max_examples=60, deadline=None)
@given(made=st.lists(days, max_size=40))
def test_a_page_is_made_of_any_days_and_nothing_in_it_is_left_unescaped(made):
    told = [Day(**{**_fields(day), "on": date(2026, 6, 16) + timedelta(days=n)}) for n, day in enumerate(made)]
    text = page(Simulated("a<b", ("a", "b<c"), tuple(told)))
    assert "b<c" not in text and "a<b" not in text
    assert text.count("<svg") == text.count("</svg>") == 5
    assert text.count("<tr>") == len(told) + 2
    assert "nan" not in text and "-0.0" not in text


@settings(max_examples=60, deadline=None)
@given(made=st.lists(days, max_size=20))
def test_totals_are_sums(made):
    simulated = Simulated("acme", ("a",), tuple(made))
    document = simulated.document()["totals"]
    assert document["entered"] == sum(day.entered for day in made)
    assert document["held_out"] == sum(day.held_out for day in made)
    assert document["inside"] == (made[-1].inside if made else 0)
    assert sum(document["exits"].values()) == sum(sum(day.exits.values()) for day in made)
    assert document["steps"]["a"] == sum(day.steps.get("a", 0) for day in made)


def test_bars_are_as_high_as_their_numbers():
    text = page(Simulated("acme", ("one",), (Day(on=date(2026, 6, 16), steps={"one": 30}),
                                             Day(on=date(2026, 6, 17), steps={"one": 60}))))  # fmt: skip
    heights = [
        float(height)
        for height, title in re.findall(r'height="([\d.]+)"><title>([^<]+)</title>', text)
        if "one" in title
    ]
    assert len(heights) == 2
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)


def test_more_reasons_than_colours_are_told_together():
    reasons = {f"reason_{number:02}": 100 - number for number in range(12)}
    text = page(Simulated("acme", (), (Day(on=date(2026, 6, 16), exits=reasons),)))
    leaving = text.partition("Leaving each day")[2].partition("</section>")[0]
    assert leaving.count("<li>") == 8
    assert "other 455" in leaving
    assert text.count("left: reason_") == 12


def test_sums_keep_the_order_of_first_appearance():
    assert list(added([{"b": 1}, {"a": 2, "b": 3}])) == ["b", "a"]
    assert added([]) == {}


def _fields(day: Day) -> dict:
    return {name: getattr(day, name) for name in Day.__dataclass_fields__}
