"""The verbs of the command line as functions: pull, evaluate, plan, apply, run, undo.

Each takes an open workspace and returns what happened; nothing here prints results or picks exit codes. `run` is
the others in a row, so that what a scheduler does is what a person can do by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

from connector.errors import EmptySource, SettingError, WinbackError
from connector.heard import SOURCE as HEARD
from connector.holdings import adopt_lists, current, drop_what_is_gone, read_back, settle
from connector.permission import StillAllowed
from connector.writing import RUN_WAITS_SECONDS, writing

if TYPE_CHECKING:
    from connector.contracts import RateBudget
    from connector.plan.apply import ApplyContext, ApplyReport, Consent
    from connector.plan.build import Plan, PlanInputs
    from connector.pull import PullReport
    from connector.rules.conditions import CheckedSegment
    from connector.warehouse import Evaluation, IdentityReport, SourceStat, Warehouse
    from connector.workspace import Workspace

StillOurs = Callable[[], None]
"""Raises Locked when another process has taken the lock meanwhile."""

PARTIAL = 3
"""The exit code when some rows were refused or set aside and the others went through."""

PLAN_LIVES_FOR = timedelta(hours=24)
"""A plan older than this is made anew: consent and usage have moved on."""


def unlocked() -> None:
    """The check of work that needs no lock."""


# --- facts --------------------------------------------------------------------------------------------------


def pull_sources(
    workspace: Workspace, names: Sequence[str] | None = None, *, full: bool = False, still_ours: StillOurs = unlocked
) -> list[PullReport]:
    """Read every stream of these sources (all by default), then match people and bring features up to date."""
    from connector.pull import pull

    sources = workspace.playbook.sources
    for name in names or ():
        if name not in sources:
            raise SettingError(f"no source {name!r} in the playbook", hint=f"sources: {', '.join(sources)}")
    reports = []
    if names is None:
        _take_over_stops(workspace)
    for name in names or sources:
        source = workspace.source(name)
        for info in source.streams():
            still_ours()
            reports.append(
                pull(
                    source,
                    info.name,
                    name=name,
                    mapping=workspace.mapping(name, info.name),
                    warehouse=workspace.warehouse,
                    clock=workspace.clock,
                    reporter=workspace.reporter,
                    full=full,
                    on_cursor=_mirror_cursor(workspace, name, info.name),
                )
            )
    if names is None:
        from connector.live.facts_source import pull_facts

        reports += pull_facts(workspace, still_ours=still_ours)
    _say_what_was_set_aside(workspace, reports)
    _say_who_is_unknown(workspace, ready_people(workspace))
    return reports


def _take_over_stops(workspace: Workspace) -> None:
    """Forget stops from before the last complete reading began: the facts know by now, also those a CRM is late with.

    Whoever was stopped since is kept out for one reading more, though the facts may say so themselves.
    """
    journal = workspace.journal
    newest, last = journal.stops.newest(), journal.cursors.load(HEARD, _STOPS)
    if last is not None:
        journal.stops.clear(int(last["upto"]))
    if newest or last is not None:
        journal.cursors.save(HEARD, _STOPS, {"upto": newest}, workspace.clock.now())


_STOPS = "stops"
"""The cursor of what a reading took over."""


def _say_what_was_set_aside(workspace: Workspace, reports: Sequence[PullReport]) -> None:
    for report in reports:
        for reject in report.rejected_sample:
            workspace.reporter.line(f"set aside {reject.place}: {reject.reason}")
        if report.rejects > len(report.rejected_sample):
            more = report.rejects - len(report.rejected_sample)
            workspace.reporter.line(f"set aside {more:,} more rows of {report.source} {report.stream}: winback status")


def _say_who_is_unknown(workspace: Workspace, report: IdentityReport) -> None:
    if report.unmatched:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(report.unmatched_by_reason.items()))
        workspace.reporter.line(
            f"identity: {report.matched:,} of {report.users:,} product users are contacts; not the others: {reasons}"
        )


def match_people(workspace: Workspace) -> IdentityReport:
    """Find each product user's contact by the playbook's rules; never guessed."""
    return workspace.warehouse.match_identities(workspace.playbook.identity.match)


def _mirror_cursor(workspace: Workspace, source: str, stream: str) -> Callable[[Mapping[str, Any]], None]:
    def save(cursor: Mapping[str, Any]) -> None:
        workspace.journal.cursors.save(source, stream, cursor, workspace.clock.now())

    return save


def ready_warehouse(workspace: Workspace) -> Warehouse:
    """The warehouse with people matched and features up to date; cheap when nothing new came in."""
    ready_people(workspace)
    return workspace.warehouse


def ready_people(workspace: Workspace) -> IdentityReport:
    """Match people, then bring features up to date; says who is whom."""
    report = match_people(workspace)
    workspace.warehouse.refresh(counts=counts_sql(workspace))
    return report


def counts_sql(workspace: Workspace) -> str | None:
    """The playbook's `activity.counts` as checked SQL; None when every use counts."""
    from connector.rules.conditions import parse_usage

    counts = workspace.playbook.activity.counts
    return parse_usage(counts).sql if counts else None


# --- segments -----------------------------------------------------------------------------------------------


def checked_segments(workspace: Workspace) -> Sequence[CheckedSegment]:
    """The playbook's segments with their conditions parsed."""
    return workspace.playbook.checked_segments


def evaluate(workspace: Workspace, as_of: date) -> Evaluation:
    """Who is in which segment at the end of this day."""
    return ready_warehouse(workspace).evaluate(checked_segments(workspace), as_of)


def segment_sql(workspace: Workspace, as_of: date) -> str:
    """The SQL that decides, ready to paste into a console on the warehouse."""
    return ready_warehouse(workspace).segment_sql(checked_segments(workspace), as_of)


def member_rows(workspace: Workspace, evaluation: Evaluation) -> Iterator[tuple[str, int | None, str | None]]:
    """One row per contact and group: id as shown, silent days, segment or None."""
    prefix = bare_prefix(workspace)
    for batch in workspace.warehouse.members(evaluation.as_of).to_batches():
        columns = [batch.column(name).to_pylist() for name in ("contact_id", "inactive_days", "segment")]
        for contact_id, inactive_days, segment in zip(*columns, strict=True):
            yield contact_id.removeprefix(prefix), inactive_days, segment


def feature_rows(
    workspace: Workspace, as_of: date, *, contact: str | None, columns: Sequence[str] | None
) -> tuple[list[str], Iterable[list[tuple[Any, ...]]]]:
    """Column names and batches of rows of the features table; `contact_id` always comes first."""
    warehouse = ready_warehouse(workspace)
    contact_id = None
    if contact is not None:
        contact_id = warehouse.resolve(contact)
        if contact_id is None:
            raise SettingError(f"nobody here is called {contact!r}", hint="give a contact id or an e-mail address")
    names, batches = warehouse.feature_batches(as_of, columns=columns, contact_id=contact_id)
    prefix = bare_prefix(workspace)
    return names, ([(row[0].removeprefix(prefix), *row[1:]) for row in batch] for batch in batches)


def bare_prefix(workspace: Workspace) -> str:
    """What ids lose when they are shown: the name of the only source, where that is a file source; else nothing."""
    sources = workspace.playbook.sources
    if len(sources) != 1:
        return ""
    name, options = next(iter(sources.items()))
    return f"{name}:" if workspace.adapters.require(options.adapter).local_ids else ""


def shown_id(workspace: Workspace, contact_id: str) -> str:
    """A contact id as the command line shows it."""
    return contact_id.removeprefix(bare_prefix(workspace))


# --- plan ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, what it was made from, and what a look at the CRM found that others had changed."""

    plan: Plan
    inputs: PlanInputs
    drift: Sequence[str] = ()


def make_plan(workspace: Workspace, *, as_of: date | None = None, refresh: bool = False) -> Planned:
    """Compare what should be with what the CRM holds because of us; unresolved writes are settled first."""
    from connector.merged import follow_merges, records_merged
    from connector.plan.build import PlanInputs, build_plan
    from connector.target import target

    name = only_destination(workspace)
    destination = workspace.destination(name)
    settings = workspace.playbook.destinations[name]
    day = as_of or workspace.today()
    now = workspace.clock.now()
    with writing(workspace.journal, workspace.clock, wait_seconds=RUN_WAITS_SECONDS):
        settle(workspace, name)
    _require_facts(workspace)
    drift = read_back(workspace, name) if refresh else drop_what_is_gone(workspace, name) + adopt_lists(workspace, name)
    for note in drift:
        workspace.reporter.line(note)
    evaluation = evaluate(workspace, day)
    merged = workspace.warehouse.merged(destination.system)
    workspace.journal.episodes.rekey(merged)
    there = current(workspace, name)
    aim = target(workspace, name, evaluation, there)
    for note in aim.notes:
        workspace.reporter.line(note)
    there = follow_merges(
        there,
        merged=records_merged(merged, destination.system),
        wanted=aim.wanted,
        blocked=aim.blocked,
        held=workspace.journal.held,
        destination=destination,
        name=name,
    )
    inputs = PlanInputs(
        account=workspace.playbook.account,
        as_of=day,
        now=now,
        expires=now + PLAN_LIVES_FOR,
        destination=name,
        system=destination.system,
        capabilities=destination.capabilities,
        forecast=destination.forecast,
        wanted=aim.wanted,
        current=there,
        fingerprints=fingerprints(workspace, name),
        excluded=aim.excluded,
        blocked=aim.blocked,
        frozen=aim.frozen,
        paced=aim.paced,
        capped=aim.capped,
        decided=aim.decided,
        deferred=aim.deferred,
        programs=aim.programs,
        rejected=workspace.journal.rejections.active(name),
        reachable=aim.reachable,
        # What was heard between runs is no source that could fall silent.
        sources=_stats(workspace),
        guards=workspace.playbook.guards,
        allowance=_allowance(settings.options.rate),
        folder=destination.folder,
        reason=aim.reason,
    )
    return Planned(build_plan(inputs), inputs, drift)


def _stats(workspace: Workspace) -> list[SourceStat]:
    """What each stream has brought; of one that may be quiet for long no newest event, which would look stale."""
    sources = workspace.playbook.sources
    quiet = {(name, info.name) for name in sources for info in workspace.source(name).streams() if info.quiet}
    return [
        replace(stat, newest_at=None) if (stat.source, stat.stream) in quiet else stat
        for stat in workspace.warehouse.source_stats()
        if stat.source != HEARD
    ]


def _require_facts(workspace: Workspace) -> None:
    """Without a source everybody may look dormant, or nobody: refuse until each has been read to its end once."""
    read = {(stat.source, stat.stream) for stat in workspace.warehouse.source_stats() if stat.pulled_at is not None}
    for name in workspace.playbook.sources:
        for info in workspace.source(name).streams():
            if (name, info.name) not in read:
                raise EmptySource(
                    f"source {name} ({info.name}) has not been read yet", hint="read it first: `winback pull`"
                )


def _allowance(rate: Any) -> Any:
    from connector.plan.document import Allowance

    return Allowance(
        per_10s=rate.per_10s * rate.share if rate.per_10s else None,
        per_day=rate.per_day * rate.share if rate.per_day else None,
    )


def only_destination(workspace: Workspace) -> str:
    """The playbook's destination; SettingError when there is none or more than one."""
    names = list(workspace.playbook.destinations)
    if not names:
        raise SettingError(
            "the playbook has no destination, so there is nowhere to write",
            hint="add `destinations: {crm: {adapter: hubspot}}` to winback.yaml",
        )
    if len(names) > 1:
        raise SettingError(
            f"the playbook has {len(names)} destinations ({', '.join(names)}); one is supported",
            hint="keep one of them",
        )
    return names[0]


def fingerprints(workspace: Workspace, destination: str) -> dict[str, str]:
    """Of everything a plan depends on; apply compares them and refuses when one has moved."""
    return {
        "facts": workspace.warehouse.version(),
        "held": f"{workspace.journal.held.version(destination)} {workspace.journal.episodes.version()}",
        "playbook": workspace.playbook.digest(),
    }


def plan_path(workspace: Workspace, plan: Plan) -> Path:
    """Where a plan is kept unless the user says otherwise."""
    short = plan.plan_id.removeprefix("plan-")[:8]
    return workspace.folder("plans") / f"plan-{plan.made_at:%Y%m%dT%H%M%SZ}-{short}.json"


def newest_plan(workspace: Workspace) -> Path:
    """The plan made last; SettingError when there is none."""
    plans = sorted(workspace.folder("plans").glob("plan-*.json"))
    if not plans:
        raise SettingError("there is no plan to apply", hint="make one: `winback plan`")
    return plans[-1]


def refuse_other_day(workspace: Workspace, path: Path, plan: Plan) -> None:
    """A plan made for another day with `--as-of` is carried out only when its file is named: SettingError otherwise."""
    if plan.as_of != plan.made_at.astimezone(ZoneInfo(workspace.playbook.timezone)).date():
        raise SettingError(
            f"the newest plan shows {plan.as_of}, not the day it was made",
            hint=f"make a new one: `winback plan`; or, if that day is meant: winback apply {path}",
        )


# --- apply, undo, run ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Applied:
    """What a run wrote, and what ended it early if something did."""

    report: ApplyReport
    drift: Sequence[str] = ()
    set_aside: int = 0
    """Rows of the sources that could not be read."""

    @property
    def exit_code(self) -> int:
        """0, 3 or the code of what stopped it."""
        return self.report.exit_code or (PARTIAL if self.set_aside else 0)


def apply_file(workspace: Workspace, plan: Plan, *, still_ours: StillOurs = unlocked) -> Applied:
    """Carry out a plan that was made earlier; StalePlan when its inputs have moved."""
    if plan.account != workspace.playbook.account:
        raise SettingError(
            f"this plan is for the account {plan.account!r}, the playbook is for {workspace.playbook.account!r}",
            hint="name the playbook the plan was made with: --config",
        )
    with _Recorded(workspace, "apply") as run:
        run.report = _apply(workspace, plan, run.run_id, still_ours=still_ours)
    return Applied(run.report)


def run(workspace: Workspace, *, still_ours: StillOurs = unlocked) -> Applied:
    """Pull, evaluate, plan, guard, apply, publish: what a scheduler calls."""
    only_destination(workspace)
    with _Recorded(workspace, "run") as recorded:
        pulled = pull_sources(workspace, still_ours=still_ours)
        still_ours()
        planned = make_plan(workspace)
        planned.plan.write(plan_path(workspace, planned.plan))
        keep_newest(workspace.folder("plans"), "plan-*")
        protect(workspace, planned, recorded.run_id, still_ours=still_ours)
        recorded.report = _apply(workspace, planned.plan, recorded.run_id, still_ours=still_ours)
        recorded.notes = publish(workspace, planned.plan.as_of)
    return Applied(recorded.report, set_aside=sum(report.rejects for report in pulled))


def protect(workspace: Workspace, planned: Planned, run_id: str, *, still_ours: StillOurs) -> None:
    """When a guard refuses the plan, take those who opted out off the lists all the same; the refusal follows."""
    from connector.plan.build import WIN_AT_ONCE, protection

    refused = [guard for guard in planned.plan.guards if not guard.ok]
    urgent = {row_id: why for row_id, why in planned.inputs.blocked.items() if why in WIN_AT_ONCE}
    if not refused or not urgent:
        return
    shield = protection(replace(planned.inputs, blocked=urgent))
    if shield.empty:
        return
    workspace.reporter.line("a guard refuses the plan; people who opted out or bounced come off the lists all the same")
    _apply(workspace, shield, run_id, still_ours=still_ours)


def undo(workspace: Workspace, run_id: str, *, still_ours: StillOurs = unlocked) -> Applied:
    """Take back what a run wrote."""
    from connector.plan.apply import undo_run

    name = only_destination(workspace)
    if workspace.journal.runs.get(run_id) is None:
        raise SettingError(f"no run {run_id!r} is known here", hint="`winback status` lists the runs")
    with _Recorded(workspace, "undo") as recorded:
        context = _context(workspace, name, recorded.run_id, still_ours=still_ours, fresh=None)
        context = replace(context, consent=_also(context.consent, _must_be_in_nothing(workspace, name)))
        folder = workspace.folder("undo")
        with _writing(workspace, context, name) as locked:
            recorded.report = undo_run(run_id, locked, folder=folder, destination_name=name)
    return Applied(recorded.report)


def _must_be_in_nothing(workspace: Workspace, name: str) -> Mapping[str, str]:
    """Records a plan of today would keep out, or leave alone: without permission, held out. An undo does no less."""
    from connector.plan.build import Current
    from connector.target import target

    if not workspace.playbook.programs:
        return {}
    prefix = f"{workspace.destination(name).system}:"
    aim = target(workspace, name, evaluate(workspace, workspace.today()), Current())
    held_out = {
        episode.contact_id.removeprefix(prefix): "held_out"
        for episode in workspace.journal.episodes.everybody()
        if episode.open and episode.held_out
    }
    return {**held_out, **aim.frozen, **aim.blocked}


def _also(consent: Consent, blocked: Mapping[str, str]) -> Consent:
    """Whom either keeps out."""
    return lambda row_ids: {row: blocked[row] for row in row_ids if row in blocked} | dict(consent(row_ids))


def publish(workspace: Workspace, as_of: date) -> dict[str, str]:
    """Remember this evaluation for the next run's entered and left, and tell the journal who is in what and why.

    Returns what was published from; nothing is done when the last run published from the same.
    """
    warehouse, journal = workspace.warehouse, workspace.journal
    basis = {"facts": warehouse.version(), "as_of": as_of.isoformat()}
    last = journal.runs.last_successful("run")
    same_playbook = last is not None and last.playbook_digest == workspace.playbook.digest()
    if last is None or not same_playbook or {key: last.summary.get(key) for key in basis} != basis:
        warehouse.record_evaluation(as_of)
        journal.decisions.publish(as_of, _decisions(workspace, as_of))
        if workspace.playbook.webhooks is not None:
            from connector.live.publishing import identities

            journal.known.publish(identities(workspace))
    return basis


def _decisions(workspace: Workspace, as_of: date) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from connector.programs import published

    return published(workspace, as_of, system=workspace.destination(only_destination(workspace)).system)


def _apply(workspace: Workspace, plan: Plan, run_id: str, *, still_ours: StillOurs) -> ApplyReport:
    from connector.plan.apply import apply_plan
    from connector.plan.undo import undo_file

    name = plan.destination
    workspace.journal.plans.save(plan.plan_id, plan.summary(), workspace.clock.now())
    context = _context(workspace, name, run_id, still_ours=still_ours, fresh=lambda: fingerprints(workspace, name))
    undo_path = undo_file(workspace.folder("undo"), run_id, name)
    with _writing(workspace, context, name) as locked:
        return apply_plan(plan, locked, undo_path=undo_path)


RELAY_EVERY_SECONDS = 2.0
"""While a run writes, which can take an hour, it looks this often whether somebody is to come off at once."""


class _Between:
    """What a run does before each of its batches: it relays what is due, for it holds the lock."""

    def __init__(self, workspace: Workspace, name: str, run_id: str, check_lock: StillOurs) -> None:
        from connector.live.relay import Relay

        self._clock = workspace.clock
        self._relay = Relay(workspace, name)
        self._run_id = run_id
        self._check_lock = check_lock
        self._relayed_at: float | None = None

    def __call__(self) -> None:
        now = self._clock.monotonic()
        if self._relayed_at is None or now - self._relayed_at >= RELAY_EVERY_SECONDS:
            self._relayed_at = now
            self._relay.within(run_id=self._run_id, check_lock=self._check_lock)


@contextmanager
def _writing(workspace: Workspace, context: ApplyContext, name: str) -> Iterator[ApplyContext]:
    """The context of a section that writes: with the lock, and with what is due done between its batches."""
    with writing(workspace.journal, workspace.clock, wait_seconds=RUN_WAITS_SECONDS) as lock:
        ours = context.check_lock

        def check_locks() -> None:
            ours()
            lock.check()

        between = _Between(workspace, name, context.run_id, check_locks)
        yield replace(context, check_lock=check_locks, between=between)


def _context(
    workspace: Workspace,
    name: str,
    run_id: str,
    *,
    still_ours: StillOurs,
    fresh: Callable[[], Mapping[str, str]] | None,
) -> ApplyContext:
    from connector.plan.apply import ApplyContext

    destination = workspace.destination(name)
    budget: RateBudget | None = workspace.budget(name)
    return ApplyContext(
        destination=destination,
        journal=workspace.journal,
        clock=workspace.clock,
        reporter=workspace.reporter,
        consent=StillAllowed(workspace, destination.system),
        run_id=run_id,
        fingerprints=fresh,
        check_lock=still_ours,
        calls=budget.calls if budget is not None else lambda: 0,
    )


# --- keeping a record ---------------------------------------------------------------------------------------

KEPT_PLANS = 50
"""Plan files older than the newest fifty are deleted; the journal keeps their heads."""


def keep_newest(folder: Path, pattern: str, count: int = KEPT_PLANS) -> None:
    """Delete all but the newest files of this pattern, together with what lies beside them."""
    for path in sorted(folder.glob(f"{pattern}.json"))[:-count]:
        for beside in (path, path.with_suffix(".parquet")):
            beside.unlink(missing_ok=True)


class _Recorded:
    """A run being recorded in the journal, whatever ends it."""

    report: ApplyReport

    def __init__(self, workspace: Workspace, kind: str) -> None:
        self._workspace = workspace
        self._kind = kind
        self.run_id = ""
        self.notes: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        journal = self._workspace.journal
        self.run_id = journal.runs.start(self._kind, playbook_digest=self._workspace.playbook.digest())
        for kind in ("run", "apply", "undo"):
            journal.runs.close_interrupted(kind=kind, but=self.run_id)
        journal.audit.append(f"{self._kind} started", {"run_id": self.run_id})
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        journal = self._workspace.journal
        state, summary = self._outcome(error)
        journal.runs.finish(self.run_id, state=state, summary=summary)
        journal.audit.append(f"{self._kind} {state}", {"run_id": self.run_id, **summary})

    def _outcome(self, error: BaseException | None) -> tuple[str, dict[str, Any]]:
        from connector.errors import GuardTripped, Locked
        from connector.redact import redact

        if error is None:
            report = self.report
            said = {key: value for key, value in report.summary().items() if key not in {"rejections", "notices"}}
            summary = {**said, **self.notes}
            if report.stopped is not None:
                return "failed", {**summary, "error": redact(str(report.stopped))}
            return ("partial" if report.rejected or report.unknown else "done"), summary
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", {}
        stopped = isinstance(error, GuardTripped | Locked)
        message = redact(str(error)) if isinstance(error, WinbackError) else type(error).__name__
        return ("stopped" if stopped else "failed"), {"error": message}
