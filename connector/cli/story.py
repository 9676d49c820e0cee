"""The demo, told as the commands a user would type: each is printed, then run, with its real output."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from connector.cli.terminal import out, say, table
from connector.clock import SystemClock
from connector.demo.crms import references, secret_file
from connector.errors import SettingError
from connector.pipeline.outcome import PARTIAL

if TYPE_CHECKING:
    from connector.contracts import Sandbox
    from connector.demo.outcome import Outcome
    from connector.model import Contact
    from connector.plan.document import Plan
    from connector.workspace import Workspace

MARK = ".winback-demo"
"""A file in the demo's folder: only a folder that has it is emptied."""

FIRST_ID = 1001
A_DAY = timedelta(days=1)
LIVE_AFTER = 10
"""Days after which the server is started for an hour: by then people have had a step, and few are through."""
MORNING = time(6)
"""When the demo's scheduler runs, in UTC."""

NOT_SOON = frozenset({"sunset", "held_out_before", "same_spell", "quiet_period"})
"""Who waits for one of these does so for months: not worth a word every day."""

SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Setting:
    """What the story needs to know about its company: when it begins, and how a day goes by.

    next_day: From the moment of one run to that of the next; how many mails went out meanwhile.
    """

    begins: datetime
    playbook: Callable[[Sandbox], str]
    people: Callable[[Sandbox], int]
    next_day: Callable[[datetime], int]
    answers_mails: bool
    port: int | None = None
    """Where `winback serve` will listen; None: nobody is listened to."""


def tell(*, folder: Path, crm: str, contacts: int, days: int, repo: Path | None, serve: bool) -> None:
    """Tell it from an empty folder to the page; raises what a command raises."""
    from connector.contracts import SandboxOptions
    from connector.registry import installed_adapters

    adapter = installed_adapters().require(crm)
    if adapter.sandbox is None:
        raise SettingError(f"the adapter {crm} has no sandbox to rehearse on")
    _empty(folder)
    now = SystemClock().now()
    sandbox = adapter.sandbox(SandboxOptions())
    try:
        if repo is not None:
            setting = _repository(repo, days, folder, crm, sandbox)
        else:
            setting = _company(contacts, folder, crm, sandbox, now)
        _step(f"A local look-alike of {adapter.title}, over real HTTP, on this machine only")
        for name, credential in sandbox.auth.items():
            (folder / secret_file(name)).write_text(credential, encoding="utf-8")
        sandbox.advance((setting.begins - now).total_seconds())
        known = setting.people(sandbox)
        out(f"  {known:,} contacts in it; look at it while this runs: {sandbox.base_url}/")
        config = folder / "winback.yaml"
        config.write_text(setting.playbook(sandbox), encoding="utf-8")
        out(f"  playbook: {config}")
        _first_day(config, setting.begins, sandbox)
        last = _days(config, setting, setting.begins, min(days, LIVE_AFTER))
        if setting.port is not None and days >= LIVE_AFTER:
            _live_hour(config, last, setting.port)
        last = _days(config, setting, last, days - min(days, LIVE_AFTER))
        _ending(config, last)
        page = folder / "crm.html"
        page.write_text(sandbox.page(), encoding="utf-8")
        _close(page, config)
        if serve:
            _keep_serving(sandbox)
    finally:
        sandbox.stop()


# --- the first day ------------------------------------------------------------------------------------------


def _first_day(config: Path, now: datetime, sandbox: Sandbox) -> None:
    from connector.cli import apply, check, explain, plan, pull, run, segments

    _run("check", check.command, config=config, now=now)
    _run("pull", pull.command, config=config, now=now)
    _run("segments", segments.command, config=config, now=now)
    _run("plan", plan.command, config=config, now=now)
    _run("apply --yes", apply.command, yes=True, config=config, now=now)
    who = _somebody(config, now)
    if who is not None:
        _run(f"explain {who}", explain.command, who, config=config, now=now)
    _step("Once more: everything is as it should be, so there is nothing to write")
    _run("run", run.command, config=config, now=now + timedelta(minutes=5))
    _make_workflows(config, now, sandbox)


def _somebody(config: Path, now: datetime) -> str | None:
    """Somebody who has just entered."""
    from connector.cli.session import open_workspace

    with open_workspace(config, now=now, quiet=True) as workspace:
        inside = (e.contact_id for e in workspace.journal.episodes.everybody() if e.open and not e.held_out)
        return next(inside, None)


def _make_workflows(config: Path, now: datetime, sandbox: Sandbox) -> None:
    """What a CRM team does once: a workflow on each step's list that sends that step's mail."""
    from connector.cli.session import open_workspace
    from connector.contracts import Rehearsal
    from connector.program.personal import SEND_AT
    from connector.wanted import owned_properties, program_list_name

    _step("In the CRM: one workflow for each step's list, which sends that step's mail when its hour has come")
    if not isinstance(sandbox, Rehearsal):
        out("  this look-alike has no workflows: nobody gets mail, everything else goes on")
        return
    with open_workspace(config, now=now, quiet=True) as workspace:
        programs = workspace.playbook.programs
        waits = any(spec.name == SEND_AT for spec in owned_properties(workspace.playbook))
    for program in programs:
        for step in program.steps:
            listed, mail = program_list_name(program.name, step.name), f"{program.name}: {step.name}"
            sandbox.workflow(listed, mail, wait_until=SEND_AT if waits else None)
            out(f"  {listed}  →  mail “{mail}”")


# --- the days that follow -----------------------------------------------------------------------------------


def _days(config: Path, setting: _Setting, now: datetime, days: int) -> datetime:
    """One run a morning, a line each; the moment of the last one."""
    from connector.cli.session import open_workspace

    if not days:
        return now
    whose = "people read, click, answer, come back" if setting.answers_mails else "people come back or do not"
    more = "" if now == setting.begins else "more "
    _step(f"{days} {more}days go by: the CRM sends its mails, {whose}; `winback run` every morning")
    with open_workspace(config, now=now, quiet=True) as workspace:
        clock = Mornings(now)
        workspace.clock = clock
        for _ in range(days):
            mails = setting.next_day(now)
            now += A_DAY
            clock.at = now
            plan = one_run(workspace)
            out(f"  {now:%a %d %b}  {mails:>5,} mails  {_in_short(plan)}")
    return now


@dataclass(slots=True)
class Mornings:
    """A clock that is set anew for every run; waiting is still real."""

    at: datetime

    def now(self) -> datetime:
        """The morning it is."""
        return self.at

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return SystemClock().monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for real."""
        SystemClock().sleep(seconds)


def one_run(workspace: Workspace) -> Plan:
    """What a scheduler's run does; the plan it carried out."""
    from connector.pipeline.plan_files import newest_plan
    from connector.pipeline.running import run
    from connector.plan.document import Plan as PlanFile

    with workspace.locked() as still_ours:
        applied = run(workspace, still_ours=still_ours)
    if applied.report.stopped is not None:
        raise applied.report.stopped
    return PlanFile.read(newest_plan(workspace))


def _in_short(plan: Plan) -> str:
    """Who enters, which steps are taken, who leaves and who waits for tomorrow, over all programs."""
    said = list(plan.programs.values())
    entered, held = sum(sum(one["enter"].values()) for one in said), sum(one["held_out"] for one in said)
    steps, left = _added(one["steps"] for one in said), _added(one["exit"] for one in said)
    parts = [f"{entered} enter, {held:,} held out"] if entered or held else []
    parts += [_named(steps)] if steps else []
    parts += [f"left: {_named(left)}"] if left else []
    soon = {reason: count for reason, count in plan.deferred.items() if reason not in NOT_SOON}
    parts += [f"wait: {_named(soon)}"] if soon else []
    return " · ".join(parts) or "nothing to do"


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


# --- one hour of it, live ------------------------------------------------------------------------------------


def _live_hour(config: Path, now: datetime, port: int) -> None:
    """The server runs; four people do something, and what the CRM holds of them is shown before and after."""
    from connector.cli import webhooks
    from connector.cli.session import open_workspace
    from connector.demo.live import hour, served

    _step("Live: people answer, log in and unsubscribe; `winback serve` hears it and acts at once")
    out(f"\n$ winback serve --port {port} &")
    with served(config, now, port=port) as address:
        with open_workspace(config, now=now, quiet=True) as workspace:
            found = hour(workspace, address)
        if not found.moments:
            out("  nobody is in the program yet: nothing to see")
            return
        _run("webhooks list", webhooks.list_, limit=5, config=config, now=now)
    _step(f"{found.seconds:.1f} seconds after the last of it, in the CRM")
    rows: list[list[object]] = [
        [
            moment.did,
            _before_after(moment.lists),
            _before_after(moment.step),
            moment.reason or "",
            moment.left or "stays",
        ]
        for moment in found.moments
    ]
    table(["somebody …", "our lists", "winback_step", "winback_reason", "left as"], rows)


def _before_after(pair: tuple[object, object]) -> str:
    was, held = ("–" if value is None else str(value) for value in pair)
    return was if was == held else f"{was} → {held}"


# --- the end ------------------------------------------------------------------------------------------------


def _ending(config: Path, now: datetime) -> None:
    """Who came back, who left and why, both arms side by side; then two people."""
    from connector.cli import explain
    from connector.cli.session import open_workspace
    from connector.demo.outcome import outcome

    with open_workspace(config, now=now, quiet=True) as workspace:
        found = outcome(workspace, workspace.today())
        _arms(found)
        _reasons(found)
        _people(found, workspace)
    for who in [found.came_back[0].contact_id if found.came_back else None, found.left_alone]:
        if who is not None:
            _run(f"explain {who}", explain.command, who, config=config, now=now)


def _arms(found: Outcome) -> None:
    _step("Who came back")
    arms = (found.treated, found.held_out)
    rows: list[list[object]] = [
        ["entered", *(arm.entered for arm in arms)],
        ["used the product again", *(arm.returned for arm in arms)],
        ["that is", *(f"{arm.share:.1%}" for arm in arms)],
        ["still inside", *(arm.inside for arm in arms)],
    ]
    table(["", "treated", "held out"], rows)
    out("  Counts only, and early ones. What the difference is worth, with its interval, is not the demo's to say:")
    out("  people come back by themselves, too, and the outcome of an episode is known 90 days after entry.")


def _reasons(found: Outcome) -> None:
    from connector.program.codes import EXITS

    _step("Who left the program, and why")
    reasons = [reason for reason in EXITS if found.treated.left[reason] or found.held_out.left[reason]]
    rows = [[EXITS[reason], found.treated.left[reason], found.held_out.left[reason]] for reason in reasons]
    table(["", "treated", "held out"], rows)
    out(f"  on the sunset list, left alone from now on: {found.sunset:,}")


def _people(found: Outcome, workspace: Workspace) -> None:
    """Some who came back: when, and after which step."""
    from connector.pipeline.segmenting import shown_id

    if not found.came_back:
        return
    _step("Some of them, and one who is being left alone")
    for episode in found.came_back[:SHOWN]:
        days = ((episode.exited_at or episode.entered_at) - episode.entered_at).days
        after = f"after “{episode.step}”" if episode.step else "before the first mail"
        who = shown_id(workspace, episode.contact_id)
        out(f"  {who}: entered as {episode.entered_as}, back within {days} days, {after}")


def _close(page: Path, config: Path) -> None:
    _step("Done")
    out(f"  what the CRM now holds:   {page}")
    out(f"  the playbook:             {config}")
    out("  try next, in that folder: change a number in winback.yaml, then")
    out("                            winback segments · winback explain ID · winback growth · winback thresholds")
    out("                            winback simulate --days 60 --chart days.html")
    out("  with your own CRM:        winback init")


# --- telling ------------------------------------------------------------------------------------------------


def _run(shown: str, command: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Print a command as a user would type it, then run it; a partial outcome does not end the story."""
    out(f"\n$ winback {shown}")
    try:
        command(*arguments, **options)
    except typer.Exit as stop:
        if stop.exit_code not in (0, PARTIAL):
            raise
        say(f"(exit code {stop.exit_code}: some rows were set aside, the rest went through)")


def _step(title: str) -> None:
    out(f"\n━━ {title}")


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


def _company(contacts: int, folder: Path, crm: str, sandbox: Sandbox, now: datetime) -> _Setting:
    """A company whose facts are written down up to the evening before the first run."""
    from connector.demo.company import DEFAULT_SEED, generate
    from connector.demo.life import Life
    from connector.demo.live import free_port, write_secrets
    from connector.demo.playbook import playbook_text, whats_new_text

    _step(f"A made-up software company: {contacts:,} contacts, two years of usage, nothing real in it")
    begins = datetime.combine(now.date(), MORNING, now.tzinfo)
    company = generate(ends=begins.date() - A_DAY, contacts=contacts, system=crm)
    written = company.write_usage(folder / "data")
    company.write_payments(folder / "data")
    news = [(begins.date() - timedelta(days=days)).isoformat() for days in (75, 40)]
    (folder / "whats_new.yaml").write_text(whats_new_text(*news), encoding="utf-8")
    out(f"  {len(company.users):,} product users, {len(company.events):,} usage events in {len(written)} files")
    life = Life(company, sandbox, folder / "data", begins=begins, seed=DEFAULT_SEED)

    def people(sandbox: Sandbox) -> int:
        sandbox.seed((*company.contacts, *company.merged), company.accounts)
        return len(company.contacts)

    def next_day(now: datetime) -> int:
        mails = life.next_day()
        life.until(now + A_DAY)
        return mails

    write_secrets(folder)
    port = free_port()

    def playbook(sandbox: Sandbox) -> str:
        address = f"http://127.0.0.1:{port}"
        return playbook_text(
            base_url=sandbox.base_url, auth=references(sandbox.auth), crm=crm, contacts=contacts, address=address
        )

    return _Setting(begins=begins, playbook=playbook, people=people, next_day=next_day, answers_mails=True, port=port)


# --- a git repository ---------------------------------------------------------------------------------------


def _repository(repo: Path, days: int, folder: Path, crm: str, sandbox: Sandbox) -> _Setting:
    """The people of a repository, from some weeks before its newest commit on; nobody makes up answers for them."""
    from connector.contracts import Rehearsal
    from connector.demo.repository import repository_playbook_text

    _step(f"The contributors of {repo.resolve().name} as the users: a commit is usage, a top-level folder a feature")
    contributors, newest = _contributors(repo, folder)
    out(f"  {len(contributors):,} contributors, last commit {newest:%Y-%m-%d}")
    out("  nobody asked them whether they want mail: the playbook says under which rules they may be rehearsed with")

    def people(sandbox: Sandbox) -> int:
        numbered = enumerate(contributors, start=FIRST_ID)
        sandbox.seed((replace(person, contact_id=f"{crm}:{number}") for number, person in numbered), ())
        return len(contributors)

    read = 0

    def next_day(_now: datetime) -> int:
        nonlocal read
        sandbox.advance(A_DAY.total_seconds())
        fresh = sandbox.mails(read) if isinstance(sandbox, Rehearsal) else ()
        read += len(fresh)
        return sum(mail.sent for mail in fresh)

    return _Setting(
        begins=newest - days * A_DAY,
        playbook=lambda sandbox: repository_playbook_text(
            base_url=sandbox.base_url, auth=references(sandbox.auth), crm=crm, repository=repo.resolve()
        ),
        people=people,
        next_day=next_day,
        answers_mails=False,
    )


def _contributors(repo: Path, folder: Path) -> tuple[list[Contact], datetime]:
    """The people of a repository as the git adapter tells them, and the time of its newest commit."""
    from connector.cli.session import open_workspace
    from connector.demo.repository import people_playbook_text
    from connector.pipeline.pulling import pull_sources

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
