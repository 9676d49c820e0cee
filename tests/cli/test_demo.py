"""`winback demo` tells the whole story by itself and ends well."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from connector.cli.session import open_workspace
from connector.explain import explain
from connector.program import engine
from connector.programs import Crowd
from connector.wanted import program_list_name
from tests.fakes.installation import Installation

DAYS = 34
STEPS = ("reminder", "offer", "last_chance", "feedback")
SAMPLE_EVERY = 80


@pytest.fixture
def shell(tmp_path) -> Installation:
    return a_shell(tmp_path)


def a_shell(folder: Path) -> Installation:
    return Installation(folder / "unused", "http://127.0.0.1:9", "unused")


class Told:
    """One demo with three hundred contacts, told to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "demo"
        self.began = datetime.now(UTC).date()
        done = a_shell(folder).spawn(
            "demo", "--contacts", "300", "--days", str(DAYS), "--folder", str(self.folder), now=None
        )
        self.done, self.out = done, done.out

    @property
    def last_run(self) -> datetime:
        """The moment of the last run, from the last line of a day (a demo may begin before midnight and end after)."""
        first = next(iter(re.findall(r"as of (\d{4}-\d\d-\d\d)", self.out)))
        return datetime.fromisoformat(f"{first}T06:00:00+00:00") + timedelta(days=DAYS)

    def workspace(self):
        return open_workspace(self.folder / "winback.yaml", now=self.last_run, quiet=True)

    def table(self, title: str) -> dict[str, list[str]]:
        """The rows of the table under a heading: the first cell, and the others."""
        _, _, rest = self.out.partition(f"━━ {title}")
        lines = rest.splitlines()[2:]
        rows = [re.split(r"\s{2,}", line.strip()) for line in lines[: lines.index("") if "" in lines else None]]
        return {row[0]: row[1:] for row in rows if len(row) == 3}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Told:
    return Told(tmp_path_factory.mktemp("told"))


def test_the_demo_does_the_main_job_and_writes_a_page(told):
    assert told.done.code == 0, told.done.err
    for command in ("check", "pull", "segments", "plan", "apply --yes", "run", "explain"):
        assert f"$ winback {command}" in told.out
    assert "0 written" in told.out
    page = (told.folder / "crm.html").read_text()
    assert "winback · dormant_30" in page
    for step in STEPS:
        assert program_list_name("win-back", step) in page
    assert str(told.folder / "crm.html") in told.out


def test_the_first_plan_says_who_enters_who_is_left_out_and_what_can_be_detected(told):
    plan = told.out.partition("$ winback plan")[2].partition("$ winback apply")[0]
    assert re.search(r"enter +[1-9]\d* ", plan)
    assert re.search(r"holdout 30\.0 % of \d+ eligible", plan)
    assert re.search(r"detects \+[\d.]+ points", plan)
    for words in ("nobody knows of a permission to mail", "has unsubscribed", "mail to the address fails for good"):
        assert words in plan
    assert "today's touches are used up" in plan


def test_every_day_has_a_line_and_every_step_sends_mail(told):
    lines = re.findall(r"^  (?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) .*$", told.out, flags=re.MULTILINE)
    assert len(lines) == DAYS
    mails = [int(re.search(r"([\d,]+) mails", line)[1].replace(",", "")) for line in lines]
    assert sum(mails) > 20
    days = "\n".join(lines)
    for step in STEPS:
        assert re.search(rf"\b{step} \d+", days), step
    assert "reactivated" in days and "completed" in days


def test_in_the_live_hour_people_leave_within_seconds_and_their_reasons_are_in_the_crm(told):
    live = told.out.partition("━━ Live")[2]
    seconds, table = re.search(
        r"━━ ([\d.]+) seconds after the last of it, in the CRM\n(.*?)\n\n", live, flags=re.DOTALL
    ).groups()
    assert float(seconds) < 60
    rows = {row.split("  ")[1].strip(): row for row in table.splitlines()[1:]}
    assert len(rows) == 4
    for did, left in (("logs in", "reactivated"), ("clicks unsubscribe", "unsubscribed"), ("Not right now", "snoozed")):
        (row,) = [row for name, row in rows.items() if did in name]
        assert re.search(r"\d+ → 0 ", row) and row.endswith(left), row
    (price,) = [row for name, row in rows.items() if "too expensive" in name]
    assert " price " in price and price.endswith("stays")
    for effect in ("answered: price", "left win-back: reactivated"):
        assert effect in live


def test_the_end_tells_what_the_journal_knows(told):
    with told.workspace() as workspace:
        episodes = list(workspace.journal.episodes.everybody())
        sunset = workspace.journal.held.members("crm").get("winback · sunset", set())
    arms = Counter(episode.arm for episode in episodes)
    entered = told.table("Who came back")["entered"]
    assert entered == [str(arms["treated"]), str(arms["holdout"])]
    left = {row: [int(cell) for cell in cells] for row, cells in told.table("Who left the program").items()}
    gone = Counter(episode.arm for episode in episodes if not episode.open)
    assert [sum(column) for column in zip(*left.values(), strict=True)] == [gone["treated"], gone["holdout"]]
    assert left["went through every step"][0] > 0
    assert f"on the sunset list, left alone from now on: {len(sunset)}" in told.out
    assert len(sunset) > 0


def test_nobody_held_out_was_ever_mailed_or_is_on_a_list(told):
    with told.workspace() as workspace:
        held_out = {e.contact_id.partition(":")[2] for e in workspace.journal.episodes.everybody() if e.held_out}
        treated = {e.contact_id.partition(":")[2] for e in workspace.journal.episodes.everybody() if not e.held_out}
        members = workspace.journal.held.members("crm")
        still = {
            e.contact_id.partition(":")[2]
            for e in workspace.journal.episodes.everybody()
            if e.held_out and (e.open or e.exit_reason not in {"reactivated", "never_dormant"})
        }
    steps = {program_list_name("win-back", step) for step in STEPS}
    on_steps = set().union(*(members.get(name, set()) for name in steps))
    assert held_out and len(treated) > 20
    assert not on_steps & (held_out - treated)
    assert not set().union(*members.values()) & (still - treated)


@pytest.mark.parametrize("every", [SAMPLE_EVERY, pytest.param(1, marks=[pytest.mark.soak, pytest.mark.timeout(0)])])
def test_explain_says_of_everybody_what_the_engine_decides(told, every):
    """Of every kind of verdict some people, and every so-manieth of all: all take minutes, and are for soak."""
    with told.workspace() as workspace:
        day = workspace.today()
        workspace.warehouse.evaluate(workspace.playbook.checked_segments, day)
        crowd = Crowd(workspace, day, system="hubspot")
        verdicts = {person.row["contact_id"]: engine.verdict(crowd.world, person) for person in crowd.people()}
        everybody = [contact.contact_id for contact in workspace.warehouse.contacts()]
        kinds: Counter[tuple] = Counter()
        asked = set(everybody[::every])
        for contact_id, verdict in verdicts.items():
            kind = (verdict.state, verdict.reason, verdict.step)
            kinds[kind] += 1
            asked |= {contact_id} if kinds[kind] <= 2 and contact_id in everybody else set()
        assert len(kinds) >= 8
        open_arms = {e.arm for e in workspace.journal.episodes.everybody() if e.open}
        wanted = {"in_program", "excluded", "deferred"} | ({"held_out"} if "holdout" in open_arms else set())
        assert wanted <= {state for state, _, _ in kinds}
        for contact_id in sorted(asked):
            program = explain(workspace, contact_id, day).document()["program"]
            verdict = verdicts.get(contact_id)
            if verdict is None:
                assert program["state"] == "none", contact_id
                continue
            said = (program["state"], program["reason"], program["step"], program["program"])
            assert said == (verdict.state, verdict.reason, verdict.step, verdict.program), contact_id
            expected = verdict.episode.episode_id if verdict.episode else None
            assert program["episode_id"] == expected


def test_the_command_line_says_the_same_of_one_person(told):
    with told.workspace() as workspace:
        (inside, *_) = [e for e in workspace.journal.episodes.everybody() if e.open and not e.held_out]
    done = a_shell(told.folder.parent).run(
        "explain", inside.contact_id, "--json", "-c", str(told.folder / "winback.yaml"), now=told.last_run
    )
    assert done.code == 0, done.err
    assert done.json["program"]["state"] == "in_program"
    assert done.json["program"]["episode_id"] == inside.episode_id


def test_the_demo_goes_on_from_its_folder_afterwards_and_can_be_told_anew(shell, tmp_path):
    folder = tmp_path / "demo"
    told = shell.spawn("demo", "--contacts", "20", "--days", "0", "--folder", str(folder), now=None)
    assert told.code == 0, told.err
    after = shell.spawn("segments", "--json", "-c", str(folder / "winback.yaml"), now=None)
    assert after.code == 0, after.err
    assert after.json["contacts"] > 0
    assert shell.spawn("demo", "--contacts", "20", "--days", "0", "--folder", str(folder), now=None).code == 0


def test_the_demo_leaves_a_folder_that_is_not_its_own_alone(shell, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear reader")
    done = shell.spawn("demo", "--folder", str(tmp_path / "mine"), now=None)
    assert done.code == 2
    assert (tmp_path / "mine" / "letter.txt").exists()


def commit(repo: Path, name: str, day: str, path: str) -> None:
    file = repo / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{name} {day}\n")
    who = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": f"{name}@example.com", "GIT_AUTHOR_DATE": f"{day}T12:00:00Z"}
    who |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in who.items()}
    subprocess.run(["git", "add", "."], cwd=repo, check=True)
    subprocess.run(["git", "commit", "-qm", "work"], cwd=repo, check=True, env={"PATH": "/usr/bin:/bin", **who})


@pytest.mark.soak
def test_the_demo_takes_a_repository_s_contributors_as_the_users(shell, tmp_path):
    repo = tmp_path / "repo"
    repo.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    people = {"ann": ["2026-01-05", "2026-06-01"], "bob": ["2026-02-01"], "cem": ["2026-04-20"]}
    people |= {f"dev{number}": [str(date(2026, 4, 1) + timedelta(days=number))] for number in range(12)}
    for name, days in people.items():
        for day in days:
            commit(repo, name, day, f"{name}/notes.txt")
    done = shell.spawn("demo", "--repo", str(repo), "--days", "9", "--folder", str(tmp_path / "demo"), now=None)
    assert done.code == 0, done.err
    assert "15 contributors" in done.out
    assert "@example.com" not in done.out
    assert "nobody asked them whether they want mail" in done.out
    assert re.search(r"enter +[1-9]\d* ", done.out)
    (sent,) = {int(number) for number in re.findall(r"(\d+) mails  nothing to do", done.out)} - {0}
    assert f"reminder {sent}" in done.out
    playbook = (tmp_path / "demo" / "winback.yaml").read_text()
    assert "can_spam" in playbook and "must not be switched on" in playbook
