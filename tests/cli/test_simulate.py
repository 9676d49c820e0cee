"""`winback simulate` tells what the coming days would bring, and touches nothing."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections import Counter
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.test_program import PROGRAM, STEPS
from tests.fakes.crm import Crm
from tests.fakes.databases import postgres_url
from tests.fakes.installation import NOON, Installation
from tests.fakes.people import BOUNCED, OPTED_OUT, SILENT_DAYS, TODAY, people

DORMANT = {1000 + n for n in range(31, 61)} - {1000 + n for n in (*OPTED_OUT, *BOUNCED)}


def with_program(acme: Installation, *, holdout: str = "20%", per_day: int = 10, old: str = "", new: str = "") -> None:
    text = PROGRAM.replace("HOLDOUT", holdout).replace("PER_DAY", str(per_day))
    assert old in text
    acme.write_playbook(
        ("guards:", f"{text.replace(old, new) if old else text}guards:"),
        ("lists: {segments: true}", "lists: {segments: true, steps: true}"),
    )


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def simulated(acme: Installation, *arguments: str, days: int = 30) -> dict:
    done = acme.run("simulate", "--days", str(days), "--json", *arguments)
    assert done.code == 0, done.err
    return done.json


def irregular_usage() -> list[tuple[str, str, str]]:
    """As silent as `tests.fakes.people` says, after pauses of every length up to fifty days."""
    rows = []
    for number, silent in SILENT_DAYS.items():
        back = silent
        for pause in range(12):
            rows.append((f"u{number}", (TODAY - timedelta(days=back)).isoformat(), "editor"))
            back += 1 + (number * 7 + pause * 13) % 50
    return rows


class Story:
    """One simulation of 32 days, as JSON, as a table and as a page."""

    def __init__(self, folder: Path) -> None:
        crm = Crm()
        try:
            crm.seed(people(), ())
            acme = Installation(folder / "acme", crm.base_url, crm.auth["token"])
            acme.write_usage(irregular_usage())
            with_program(acme)
            acme.run("pull")
            self.page = folder / "days.html"
            self.document = simulated(acme, "--chart", str(self.page), days=32)
            self.shown = acme.run("simulate", "--days", "32")
        finally:
            crm.stop()


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    return Story(tmp_path_factory.mktemp("story"))


def test_nothing_of_the_install_changes_and_the_crm_is_not_called(acme, sandbox):
    with_program(acme)
    assert acme.run("run").code == 0
    before, calls = fingerprint(acme.folder), sandbox.running.log.total
    assert simulated(acme, days=3)["totals"]["entered"] > 0
    assert fingerprint(acme.folder) == before
    assert sandbox.running.log.total == calls


def test_the_document_has_a_day_for_each_day_and_sums_that_add_up(story):
    document = story.document
    assert set(document) == {"schema_version", "days", "totals"}
    days, totals = document["days"], document["totals"]
    assert [day["date"] for day in days] == [(TODAY + timedelta(days=n)).isoformat() for n in range(1, 33)]
    keys = {"date", "entered", "held_out", "steps", "exits", "deferred", "inside"}
    assert all(keys <= set(day) for day in days)
    assert keys - {"date"} <= set(totals)
    for key in ("entered", "held_out"):
        assert totals[key] == sum(day[key] for day in days)
    for key in ("steps", "exits", "deferred"):
        summed = sum((Counter(day[key]) for day in days), Counter())
        assert {name: count for name, count in totals[key].items() if count} == dict(summed)
    assert totals["inside"] == days[-1]["inside"]
    assert list(totals["steps"]) == list(STEPS)


def test_caps_hold_and_everybody_eligible_enters_or_is_held_out(story):
    document = story.document
    assert max(day["entered"] for day in document["days"]) <= 10
    assert max(sum(day["steps"].values()) for day in document["days"]) <= 10
    assert document["days"][0]["deferred"]["daily_cap"] > 0
    assert document["totals"]["held_out"] > 0
    # The first eight days bring in everybody who was silent at the beginning; others fall silent meanwhile.
    assert sum(day["entered"] + day["held_out"] for day in document["days"]) >= len(DORMANT) - 10
    assert document["totals"]["steps"]["reminder"] >= document["totals"]["steps"]["feedback"] > 0
    assert document["totals"]["exits"]["completed"] > 0
    assert document["totals"]["exits"]["reactivated"] > 0


def test_the_first_day_is_what_a_plan_of_tomorrow_says(acme):
    with_program(acme)
    acme.run("pull")
    (day,) = simulated(acme, days=1)["days"]
    acme.run("pull", now=NOON + timedelta(days=1))
    planned = acme.run("plan", "--json", now=NOON + timedelta(days=1)).json
    (program,) = planned["programs"].values()
    assert day["entered"] == sum(program["enter"].values()) == 10
    assert day["held_out"] == program["held_out"]
    assert day["deferred"] == planned["deferred"]
    assert day["inside"] == program["inside"]


@pytest.mark.soak
def test_it_goes_on_from_where_the_program_really_is(acme):
    with_program(acme, holdout="0%", per_day=5000)
    assert acme.run("run").code == 0
    document = simulated(acme, days=28)
    first = document["days"][0]
    assert first["entered"] == 0
    assert first["steps"] == {"reminder": len(DORMANT)}
    assert document["days"][6]["steps"]["offer"] <= len(DORMANT)
    left = Counter(document["totals"]["exits"])
    assert left["completed"] + left["reactivated"] >= len(DORMANT)


@pytest.mark.soak
def test_the_same_seed_is_the_same_story_and_another_one_is_not(acme):
    acme.write_usage(irregular_usage())
    with_program(acme)
    acme.run("pull")
    once = simulated(acme, "--seed", "3", days=6)
    assert simulated(acme, "--seed", "3", days=6) == once
    assert simulated(acme, "--seed", "4", days=6) != once


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.cells: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href", "data"}]
        self.links += [name for name, _ in attrs if name.startswith("on")]
        if tag == "tr":
            self.cells.append([])
        self._inside = tag in {"td", "th"}

    def handle_data(self, data):
        if self._inside and self.cells:
            self.cells[-1].append(data)
            self._inside = False


def test_the_chart_is_one_file_with_the_same_numbers_as_a_table(story):
    document, text = story.document, story.page.read_text()
    page = _Page()
    page.feed(text)
    assert page.tags["svg"] == 5 and page.tags["table"] == 1 and page.tags["caption"] == 1
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    assert not page.links
    assert not re.search(r"https?:|@import|url\(", text)
    assert text.count('role="img" aria-label="') == 5
    assert "prefers-color-scheme: dark" in text
    head, *rows, sums = page.cells
    assert head[:3] == ["day", "entered", "held out"] and head[3:7] == list(STEPS)
    assert [row[0] for row in rows] == [day["date"] for day in document["days"]]
    for row, day in zip(rows, document["days"], strict=True):
        assert [int(cell) for cell in row[1:7]] == [
            day["entered"], day["held_out"], *(day["steps"].get(step, 0) for step in STEPS)
        ]  # fmt: skip
        assert int(row[-1]) == day["inside"]
    assert sums[1] == str(document["totals"]["entered"])


def test_the_table_on_the_terminal_says_the_same(story):
    shown, document = story.shown, story.document
    assert shown.code == 0, shown.err
    for day in document["days"]:
        (line,) = [line for line in shown.out.splitlines() if line.strip().startswith(day["date"])]
        numbers = [int(part) for part in line.split()[1:]]
        assert numbers[:2] == [day["entered"], day["held_out"]]
        assert numbers[-1] == day["inside"]
    assert f"{document['totals']['entered']} enter" in shown.out
    assert "days simulated" not in shown.out


@pytest.mark.soak
def test_a_guard_that_would_refuse_is_said_and_the_days_go_on(acme):
    with_program(acme, holdout="0%", per_day=5000)
    assert acme.run("run").code == 0
    text = acme.config.read_text()
    acme.config.write_text(
        text.replace("inactive_days >= 90", "inactive_days >= 1").replace("max_change: 20%", "max_change: 1%")
    )
    document = simulated(acme, days=2)
    assert document["days"][0]["refused"]
    assert len(document["days"]) == 2
    told = acme.run("simulate", "--days", "2")
    assert "a guard would refuse" in told.err


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (lambda acme: acme.write_playbook(), "no program"),
        (with_program, "winback pull"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_copied(acme, arrange, words):
    arrange(acme)
    done = acme.run("simulate", "--days", "2")
    assert done.code == 2
    assert words in done.err


@pytest.mark.soak
def test_a_journal_on_a_server_is_copied_and_left_as_it_is(acme, sandbox):
    import psycopg

    with postgres_url() as url:
        acme.journal = url
        with_program(acme)
        assert acme.run("run").code == 0

        def everything() -> dict[str, int]:
            with psycopg.connect(url) as connection:
                tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
                return {
                    name: connection.execute(
                        f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t"
                    ).fetchone()
                    for (name,) in tables
                }

        before = everything()
        document = simulated(acme, days=3)
        assert document["days"][0]["steps"]["reminder"] == 10
        assert everything() == before


@pytest.mark.soak
def test_direct_enrollment_is_simulated_with_lists(acme):
    with_program(
        acme,
        holdout="0%",
        per_day=5000,
        old="{name: reminder, day: 1}",
        new="{name: reminder, day: 1, workflow: '123'}",
    )
    text = acme.config.read_text()
    for step in STEPS[1:]:
        text = text.replace(f"{{name: {step}, ", f"{{name: {step}, workflow: '123', ")
    acme.config.write_text(text.replace("properties: true}", "properties: true, enroll: workflow}"))
    done = acme.run("pull")
    assert done.code == 0, done.err
    document = simulated(acme, days=9)
    assert document["totals"]["steps"]["reminder"] == document["totals"]["entered"] > 0
    assert document["totals"]["steps"]["offer"] > 0


def test_the_program_asks_for_no_network_beyond_this_machine(acme, tmp_path):
    """Every address in the simulated playbook that could be called is the sandbox's; credentials are not the install's."""
    from connector.registry import installed_adapters
    from connector.settings import load_playbook
    from connector.simulation.standing_in import pointed_at

    standing_in = SimpleNamespace(base_url="http://127.0.0.1:1", auth={"token": "not-the-real-one"})
    with_program(acme)
    playbook = load_playbook(acme.config, environ={"HUBSPOT_TOKEN": "real-one"}, adapters=installed_adapters())
    there = pointed_at(playbook, standing_in, warehouse="duckdb:///x", journal="sqlite:///y")
    leaves = json.dumps([str(one.value) for one in there.resolved(mask=False)])
    assert "real-one" not in leaves.replace("not-the-real-one", "")
    assert acme.base_url not in leaves
    assert "127.0.0.1:1" in leaves


def test_the_page_can_be_looked_at_in_a_browser(story):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", story.page.as_uri()],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.count("<rect") > 30
