"""The demo, told as the commands a user would type: each is printed, then run, with its real output."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from connector.cli.terminal import out, say
from connector.errors import SettingError

if TYPE_CHECKING:
    from connector.contracts import Sandbox
    from connector.model import Contact

MARK = ".winback-demo"
"""A file in the demo's folder: only a folder that has it is emptied."""

FIRST_ID = 1001
A_WEEK = timedelta(days=7)
TOKEN_FILE = "sandbox.token"  # noqa: S105  # the name of a file, not a token
TOKEN = "${file:" + TOKEN_FILE + "}"
PREFERRED_FOR_EXPLAIN = ("off_rhythm", "high_value_dormant", "dormant_60", "dormant_30", "cold")


@dataclass(frozen=True, slots=True)
class _Setting:
    """What the story needs to know about its company: when it begins, and how a week goes by."""

    begins: datetime
    playbook: Callable[[Sandbox], str]
    people: Callable[[Sandbox], int]
    a_week_later: Callable[[Sandbox], None]


def tell(*, folder: Path, crm: str, contacts: int, repo: Path | None, serve: bool) -> None:
    """Tell it from an empty folder to the page; raises what a command raises."""
    from connector.clock import SystemClock
    from connector.contracts import SandboxOptions
    from connector.registry import installed_adapters

    adapter = installed_adapters().require(crm)
    if adapter.sandbox is None:
        raise SettingError(f"the adapter {crm} has no sandbox to rehearse on")
    _empty(folder)
    now = SystemClock().now().replace(microsecond=0)
    setting = _repository(repo, folder, crm) if repo is not None else _company(contacts, folder, crm, now)
    _step(f"A local look-alike of {adapter.title}, over real HTTP, on this machine only")
    sandbox = adapter.sandbox(SandboxOptions())
    try:
        (folder / TOKEN_FILE).write_text(next(iter(sandbox.auth.values())), encoding="utf-8")
        known = setting.people(sandbox)
        out(f"  {known:,} contacts in it; look at it while this runs: {sandbox.base_url}/")
        config = folder / "winback.yaml"
        config.write_text(setting.playbook(sandbox), encoding="utf-8")
        out(f"  playbook: {config}")
        _first_day(config, setting.begins)
        setting.a_week_later(sandbox)
        _a_week_later(config, setting.begins + A_WEEK)
        page = folder / "crm.html"
        page.write_text(sandbox.page(), encoding="utf-8")
        _close(page, config, sandbox)
        if serve:
            _keep_serving(sandbox)
    finally:
        sandbox.stop()


def _first_day(config: Path, now: datetime) -> None:
    from connector.cli import apply, check, plan, pull, run, segments

    _run("check", check.command, config=config, now=now)
    _run("pull", pull.command, config=config, now=now)
    _run("segments", segments.command, config=config, now=now)
    _run("plan", plan.command, config=config, now=now)
    _run("apply --yes", apply.command, yes=True, config=config, now=now)
    _step("Once more: everything is as it should be, so there is nothing to write")
    _run("run", run.command, config=config, now=now + timedelta(minutes=5))


def _a_week_later(config: Path, now: datetime) -> None:
    from connector.cli import explain, pull, run, segments

    _step("A week goes by: some come back, some go quiet")
    _run("pull", pull.command, config=config, now=now)
    _run("segments", segments.command, config=config, now=now)
    _run("run", run.command, config=config, now=now + timedelta(minutes=5))
    who = _somebody(config, now)
    if who is not None:
        _run(f"explain {who}", explain.command, who, config=config, now=now)


def _somebody(config: Path, now: datetime) -> str | None:
    """A contact worth explaining: in the most telling segment that has anybody."""
    from connector.cli.session import open_workspace
    from connector.pipeline import evaluate, member_rows

    with open_workspace(config, now=now, quiet=True) as workspace:
        evaluation = evaluate(workspace, workspace.today())
        first: dict[str | None, str] = {}
        for contact_id, _, segment in member_rows(workspace, evaluation):
            first.setdefault(segment, contact_id)
    return next((first[name] for name in PREFERRED_FOR_EXPLAIN if name in first), None)


def _run(shown: str, command: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Print a command as a user would type it, then run it; a partial outcome does not end the story."""
    out(f"\n$ winback {shown}")
    try:
        command(*arguments, **options)
    except typer.Exit as stop:
        if stop.exit_code not in (0, 3):
            raise
        say(f"(exit code {stop.exit_code}: some rows were set aside, the rest went through)")


def _step(title: str) -> None:
    out(f"\n━━ {title}")


def _close(page: Path, config: Path, sandbox: Sandbox) -> None:
    _step("Done")
    out(f"  what the CRM now holds:   {page}")
    out(f"  the playbook:             {config}")
    out("  try next, in that folder: change a number in winback.yaml, then")
    out("                            winback segments · winback explain ID · winback growth · winback thresholds")
    out("  with your own CRM:        winback init")
    _ = sandbox


def _keep_serving(sandbox: Sandbox) -> None:
    import threading

    out(f"  the sandbox stays up at {sandbox.base_url}/ until Ctrl-C")
    threading.Event().wait()


def _empty(folder: Path) -> None:
    """Make the folder, emptied of an earlier demo; a folder that is not a demo's is never touched."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise SettingError(
                f"{folder} holds other files, so the demo does not write there", hint="name another one: --folder demo2"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text("made by winback demo; it may be deleted\n", encoding="utf-8")


# --- a made-up company --------------------------------------------------------------------------------------


def _company(contacts: int, folder: Path, crm: str, now: datetime) -> _Setting:
    from connector.demo.company import generate
    from connector.demo.playbook import playbook_text

    _step(f"A made-up software company: {contacts:,} contacts, two years of usage, nothing real in it")
    company = generate(ends=now.date(), contacts=contacts, system=crm)
    written = company.write_usage(folder / "data")
    out(f"  {len(company.users):,} product users, {len(company.events):,} usage events in {len(written)} files")

    def people(sandbox: Sandbox) -> int:
        sandbox.seed((*company.contacts, *company.merged), company.accounts)
        return len(company.contacts)

    def a_week_later(sandbox: Sandbox) -> None:
        sandbox.advance(A_WEEK.total_seconds())
        sandbox.seed(company.changed_contacts(A_WEEK.days), ())
        company.write_more_days(folder / "data", A_WEEK.days)

    return _Setting(
        begins=now,
        playbook=lambda sandbox: playbook_text(base_url=sandbox.base_url, token=TOKEN),
        people=people,
        a_week_later=a_week_later,
    )


# --- a git repository ---------------------------------------------------------------------------------------


def _repository(repo: Path, folder: Path, crm: str) -> _Setting:
    from connector.demo.repository import repository_playbook_text

    _step(f"The contributors of {repo.resolve().name} as the users: a commit is usage, a top-level folder a feature")
    contributors, newest = _contributors(repo, folder)
    out(f"  {len(contributors):,} contributors, last commit {newest:%Y-%m-%d}")

    def people(sandbox: Sandbox) -> int:
        numbered = enumerate(contributors, start=FIRST_ID)
        sandbox.seed((replace(person, contact_id=f"{crm}:{number}") for number, person in numbered), ())
        return len(contributors)

    def a_week_later(sandbox: Sandbox) -> None:
        sandbox.advance(A_WEEK.total_seconds())

    return _Setting(
        begins=newest - A_WEEK,
        playbook=lambda sandbox: repository_playbook_text(
            base_url=sandbox.base_url, token=TOKEN, repository=repo.resolve()
        ),
        people=people,
        a_week_later=a_week_later,
    )


def _contributors(repo: Path, folder: Path) -> tuple[list[Contact], datetime]:
    """The people of a repository as the git adapter tells them, and the time of its newest commit."""
    from connector.cli.session import open_workspace
    from connector.demo.repository import people_playbook_text
    from connector.pipeline import pull_sources

    reading = folder / "people" / "winback.yaml"
    reading.parent.mkdir()
    reading.write_text(people_playbook_text(repository=repo.resolve()), encoding="utf-8")
    with open_workspace(reading, quiet=True) as workspace:
        pull_sources(workspace)
        contributors = list(workspace.warehouse.contacts())
        uses = [s for s in workspace.warehouse.source_stats() if s.stream == "usage"]
        newest = max((s.newest_at for s in uses if s.newest_at), default=None)
    if newest is None or not contributors:
        raise SettingError(f"{repo} has no commits by people", hint="name another repository")
    shutil.rmtree(reading.parent)
    return contributors, newest
