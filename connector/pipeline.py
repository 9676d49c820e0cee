"""The verbs of the command line as functions: pull, evaluate, plan, apply, run, undo.

Each takes an open workspace and returns what happened; nothing here prints results or picks exit codes. `run` is
the others in a row, so that what a scheduler does is what a person can do by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from zoneinfo import ZoneInfo

from connector.crms import (
    became,
    crms_of,
    destination_systems,
    destinations_in_order,
    records_of,
    still_known,
)
from connector.errors import CredentialsError, EmptySource, GuardTripped, ProviderError, SettingError, WinbackError
from connector.heard import SOURCE as HEARD
from connector.holdings import adopt_lists, current, drop_what_is_gone, read_back, settle
from connector.permission import StillAllowed
from connector.writing import RUN_WAITS_SECONDS, writing

if TYPE_CHECKING:
    from connector.contracts import RateBudget
    from connector.plan.apply import ApplyContext, ApplyReport, Consent
    from connector.plan.build import Current, Plan, PlanInputs
    from connector.pull import PullReport
    from connector.rules.conditions import CheckedSegment
    from connector.target import Target
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
    workspace: Workspace,
    names: Sequence[str] | None = None,
    *,
    full: bool = False,
    still_ours: StillOurs = unlocked,
    unread: dict[str, WinbackError] | None = None,
) -> list[PullReport]:
    """Read every stream of these sources (all by default), then match people and bring features up to date.

    unread: Where there are several CRMs: takes up those that could not be read, by their adapter, and why; without it
        the first fault ends the reading.
    """
    sources = workspace.playbook.sources
    for name in names or ():
        if name not in sources:
            raise SettingError(f"no source {name!r} in the playbook", hint=f"sources: {', '.join(sources)}")
    reports: list[PullReport] = []
    if names is None:
        _take_over_stops(workspace)
    written = {settings.options.adapter for settings in workspace.playbook.destinations.values()}
    for name in names or sources:
        try:
            reports += _pull_source(workspace, name, full=full, still_ours=still_ours)
        except AWAY as error:
            adapter = sources[name].adapter
            if unread is None or adapter not in written:
                raise
            unread[adapter] = error
    if names is None:
        from connector.live.facts_source import pull_facts

        reports += pull_facts(workspace, still_ours=still_ours)
    _say_what_was_set_aside(workspace, reports)
    _say_who_is_unknown(workspace, ready_people(workspace))
    return reports


def _pull_source(workspace: Workspace, name: str, *, full: bool, still_ours: StillOurs) -> Iterator[PullReport]:
    """Every stream of a source, one after the other."""
    from connector.pull import pull

    source = workspace.source(name)
    for info in source.streams():
        still_ours()
        yield pull(
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
    if report.apart:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(report.apart.items()))
        workspace.reporter.line(f"identity: {report.together:,} people are in several CRMs; kept apart: {reasons}")


def match_people(workspace: Workspace) -> IdentityReport:
    """Find each product user's contact by the playbook's rules, and people whom several CRMs know; never guessed."""
    match, crms = workspace.playbook.identity.match, crms_of(workspace)
    if crms is None:
        return workspace.warehouse.match_identities(match)
    return workspace.warehouse.match_identities(match, crms)


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


AWAY = (ProviderError, CredentialsError)
"""Why one CRM cannot be worked with; where there are several, the others can."""

T = TypeVar("T")


@dataclass(slots=True)
class Plans:
    """A plan for each destination that can be written to, in order, all from one pass over everybody.

    away: Of the others, why not.
    """

    made: list[Planned] = field(default_factory=list)
    away: dict[str, WinbackError] = field(default_factory=dict)

    def only(self) -> Planned:
        """The first; what keeps it away is raised."""
        for error in self.away.values():
            raise error
        return self.made[0]


class _Reached:
    """Destinations that are asked one after the other; one that does not answer is left out of what follows."""

    def __init__(self, names: Sequence[str], *, alone: bool) -> None:
        self.names = list(names)
        self.away: dict[str, WinbackError] = {}
        self._alone = alone

    def each(self, work: Callable[[str], T]) -> dict[str, T]:
        """What each says. The only one there is may fail."""
        said = {}
        for name in [*self.names]:
            try:
                said[name] = work(name)
            except AWAY as error:
                if self._alone:
                    raise
                self.names.remove(name)
                self.away[name] = error
        return said


def make_plan(workspace: Workspace, *, as_of: date | None = None, refresh: bool = False) -> Planned:
    """The plan of the first destination; of the only one, as a rule."""
    return make_plans(workspace, as_of=as_of, refresh=refresh).only()


def make_plans(
    workspace: Workspace, *, names: Sequence[str] | None = None, as_of: date | None = None, refresh: bool = False
) -> Plans:
    """Compare what should be with what each CRM holds because of us; unresolved writes are settled first.

    names: The destinations to write to, in order; people who are worked in others stand where they are. None: all.
    """
    from connector.target import targets

    everywhere = destinations_in_order(workspace)
    there = _Reached(everywhere if names is None else names, alone=len(everywhere) == 1)
    day = as_of or workspace.today()
    now = workspace.clock.now()
    with writing(workspace.journal, workspace.clock, wait_seconds=RUN_WAITS_SECONDS):
        there.each(lambda name: settle(workspace, name))
    _require_facts(workspace)
    drift = there.each(lambda name: _drift(workspace, name, refresh=refresh))
    for name, notes in drift.items():
        for note in notes:
            workspace.reporter.line(note if len(everywhere) == 1 else f"{name}: {note}")
    evaluation = evaluate(workspace, day)
    _follow_people(workspace)
    held = there.each(lambda name: current(workspace, name))
    aims = targets(workspace, held, evaluation) if held else {}
    for aim in aims.values():
        for note in aim.notes:
            workspace.reporter.line(note)
    held = there.each(lambda name: _merges_followed(workspace, name, held[name], aims[name]))
    made: list[Planned] = []
    for name in there.names:
        inputs = _inputs(
            workspace, name, aims[name], held[name], day=day, now=now, after=[one.plan.plan_id for one in made]
        )
        made.append(Planned(_built(inputs), inputs, drift[name]))
    return Plans(made, there.away)


def _drift(workspace: Workspace, name: str, *, refresh: bool) -> Sequence[str]:
    if refresh:
        return read_back(workspace, name)
    return drop_what_is_gone(workspace, name) + adopt_lists(workspace, name)


def _follow_people(workspace: Workspace) -> None:
    """Let what we remember follow people who were merged, or whom another CRM turns out to know."""
    systems = tuple(destination_systems(workspace).values())
    moved = became(workspace, systems)
    if crms_of(workspace) is not None:
        moved = still_known(workspace, moved, first=systems[0])
    workspace.journal.episodes.rekey(moved)


def _merges_followed(workspace: Workspace, name: str, there: Current, aim: Target) -> Current:
    from connector.merged import follow_merges, records_merged

    destination = workspace.destination(name)
    return follow_merges(
        there,
        merged=records_merged(workspace.warehouse.merged(destination.system), destination.system),
        wanted=aim.wanted,
        blocked=aim.blocked,
        held=workspace.journal.held,
        destination=destination,
        name=name,
    )


def _built(inputs: PlanInputs) -> Plan:
    from connector.plan.build import build_plan

    return build_plan(inputs)


def _inputs(
    workspace: Workspace, name: str, aim: Target, there: Current, *, day: date, now: datetime, after: Sequence[str]
) -> PlanInputs:
    """Everything the plan for this destination depends on."""
    from connector.plan.build import PlanInputs

    destination = workspace.destination(name)
    settings = workspace.playbook.destinations[name]
    return PlanInputs(
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
        shown=aim.records.shown,
        after=after,
    )


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


def fingerprints(workspace: Workspace, destination: str, *, after: Collection[str] = ()) -> dict[str, str]:
    """Of everything a plan depends on; apply compares them and refuses when one has moved.

    after: Plans made together with it: what carrying them out decided is no news.
    """
    episodes = workspace.journal.episodes.version()
    moved = workspace.journal.cursors.load(*_CARRIED_OUT) if after else None
    if moved is not None and moved["plan"] in after and moved["to"] == episodes:
        episodes = moved["from"]
    return {
        "facts": workspace.warehouse.version(),
        "held": f"{workspace.journal.held.version(destination)} {episodes}",
        "playbook": workspace.playbook.digest(),
    }


_CARRIED_OUT = ("winback", "carried_out")
"""What the last plan to be carried out made of the decisions it was made from, kept among the cursors."""


def _note_moved(workspace: Workspace, plan: Plan) -> None:
    """Remember how far carrying this plan out moved the decisions: those made together with it stay valid."""
    _, _, begun = plan.fingerprints.get("held", "").rpartition(" ")
    moved = {"plan": plan.plan_id, "from": begun, "to": workspace.journal.episodes.version()}
    workspace.journal.cursors.save(*_CARRIED_OUT, moved, workspace.clock.now())


def plan_path(workspace: Workspace, plan: Plan) -> Path:
    """Where a plan is kept unless the user says otherwise; of several CRMs, under the destination's name."""
    short = plan.plan_id.removeprefix("plan-")[:8]
    whose = f".{plan.destination}" if len(workspace.playbook.destinations) > 1 else ""
    return workspace.folder("plans") / f"plan-{plan.made_at:%Y%m%dT%H%M%SZ}-{short}{whose}.json"


def newest_plans(workspace: Workspace) -> list[Path]:
    """The plan made last for each destination, in order; SettingError when there is none."""
    names = destinations_in_order(workspace)
    if len(names) == 1:
        return [newest_plan(workspace)]
    found = [sorted(workspace.folder("plans").glob(f"plan-*.{name}.json"))[-1:] for name in names]
    if not any(found):
        raise SettingError("there is no plan to apply", hint="make one: `winback plan`")
    return [path for paths in found for path in paths]


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
    return apply_files(workspace, [plan], still_ours=still_ours)


def apply_files(workspace: Workspace, plans: Sequence[Plan], *, still_ours: StillOurs = unlocked) -> Applied:
    """Carry out plans that were made together; one that cannot be does not stop the others."""
    from connector.plan.outcome import together

    for plan in plans:
        if plan.account != workspace.playbook.account:
            raise SettingError(
                f"this plan is for the account {plan.account!r}, the playbook is for {workspace.playbook.account!r}",
                hint="name the playbook the plan was made with: --config",
            )
    with _Recorded(workspace, "apply") as run:
        alone = len(plans) == 1
        reports = [_tried(workspace, plan, run.run_id, still_ours=still_ours, alone=alone) for plan in plans]
        run.report = together(reports)
    return Applied(run.report)


def run(workspace: Workspace, *, still_ours: StillOurs = unlocked) -> Applied:
    """Pull, evaluate, plan, guard, apply, publish: what a scheduler calls."""
    from connector.plan.outcome import together

    names = destinations_in_order(workspace)
    alone = len(names) == 1
    with _Recorded(workspace, "run") as recorded:
        unread: dict[str, WinbackError] = {}
        pulled = pull_sources(workspace, still_ours=still_ours, unread=None if alone else unread)
        still_ours()
        day = workspace.today()
        reports = _run_plans(workspace, recorded.run_id, day, unread, still_ours=still_ours)
        recorded.report = together([reports[name] for name in names])
        if alone or any(report.stopped is None for report in reports.values()):
            recorded.notes = publish(workspace, day)
    return Applied(recorded.report, set_aside=sum(report.rejects for report in pulled))


def _run_plans(
    workspace: Workspace, run_id: str, day: date, unread: Mapping[str, WinbackError], *, still_ours: StillOurs
) -> dict[str, ApplyReport]:
    """Plan for every destination whose CRM was read, and carry it out; what became of each."""
    names = destinations_in_order(workspace)
    alone = len(names) == 1
    adapters = {name: workspace.playbook.destinations[name].options.adapter for name in names}
    away = {name: unread[adapter] for name, adapter in adapters.items() if adapter in unread}
    reports: dict[str, ApplyReport] = {}
    waiting = [name for name in names if name not in away]
    while waiting or away:
        plans = make_plans(workspace, names=waiting, as_of=day) if waiting else Plans()
        for name, error in {**away, **plans.away}.items():
            reports[name] = _not_carried_out(workspace, error, run_id, name)
        away, waiting = {}, []
        for planned in plans.made:
            planned.plan.write(plan_path(workspace, planned.plan))
        keep_newest(workspace.folder("plans"), "plan-*")
        for number, planned in enumerate(plans.made, start=1):
            name = planned.plan.destination
            reports[name] = _tried(workspace, planned.plan, run_id, still_ours=still_ours, alone=alone, planned=planned)
            if reports[name].stopped is not None:
                # What it was to decide has not happened: the others show people as they stand.
                waiting = [later.plan.destination for later in plans.made[number:]]
                break
    return reports


def _tried(
    workspace: Workspace,
    plan: Plan,
    run_id: str,
    *,
    still_ours: StillOurs,
    alone: bool,
    planned: Planned | None = None,
) -> ApplyReport:
    """What became of one plan; unless it is alone, a refusal and a CRM that is away are told in its report.

    planned: For a run: people who opted out come off the lists whatever a guard says.
    """
    try:
        if planned is not None:
            protect(workspace, planned, run_id, still_ours=still_ours)
        return _apply(workspace, plan, run_id, still_ours=still_ours)
    except (GuardTripped, *AWAY) as error:
        if alone:
            raise
        return _not_carried_out(workspace, error, run_id, plan.destination, plan_id=plan.plan_id)


def _not_carried_out(
    workspace: Workspace, error: WinbackError, run_id: str, name: str, *, plan_id: str = ""
) -> ApplyReport:
    from connector.plan.outcome import not_carried_out
    from connector.redact import redact

    workspace.reporter.line(f"{name} was not written to: {redact(str(error))}")
    return not_carried_out(error, run_id=run_id, destination=name, plan_id=plan_id)


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
    """Take back what a run wrote, in every CRM it wrote to; what it decided, with the last of them."""
    from connector.plan.outcome import together

    names = destinations_in_order(workspace)
    if workspace.journal.runs.get(run_id) is None:
        raise SettingError(f"no run {run_id!r} is known here", hint="`winback status` lists the runs")
    left = _to_undo(workspace, run_id, names)
    with _Recorded(workspace, "undo") as recorded:
        reports: list[ApplyReport] = []
        for name in left:
            last = len(reports) == len(left) - 1 and not any(report.exit_code for report in reports)
            reports.append(
                _undo_one(
                    workspace, run_id, name, recorded.run_id, last=last, still_ours=still_ours, alone=len(left) == 1
                )
            )
        recorded.report = together(reports)
    return Applied(recorded.report)


def _to_undo(workspace: Workspace, run_id: str, names: Sequence[str]) -> list[str]:
    """The destinations the run wrote to and that have not been undone yet; the first where there are none."""
    from connector.plan.undo import read_undo, undo_file

    if len(names) == 1:
        return list(names)
    folder = workspace.folder("undo")
    written = {name: path for name in names if (path := undo_file(folder, run_id, name)).exists()}
    left = [name for name, path in written.items() if read_undo(path).undone_by is None]
    return left or list(written)[:1] or list(names[:1])


def _undo_one(
    workspace: Workspace, run_id: str, name: str, by: str, *, last: bool, still_ours: StillOurs, alone: bool
) -> ApplyReport:
    from connector.plan.apply import undo_run

    try:
        context = _context(workspace, name, by, still_ours=still_ours, fresh=None)
        context = replace(context, consent=_also(context.consent, _must_be_in_nothing(workspace, name)))
        folder = workspace.folder("undo")
        with _writing(workspace, context) as locked:
            return undo_run(run_id, locked, folder=folder, destination_name=name, decisions=last)
    except AWAY as error:
        if alone:
            raise
        return _not_carried_out(workspace, error, by, name)


def _must_be_in_nothing(workspace: Workspace, name: str) -> Mapping[str, str]:
    """Records a plan of today would keep out, or leave alone: without permission, held out. An undo does no less."""
    from connector.plan.build import Current
    from connector.target import target

    if not workspace.playbook.programs:
        return {}
    aim = target(workspace, name, evaluate(workspace, workspace.today()), Current())
    held_out = {
        row_id: "held_out"
        for episode in workspace.journal.episodes.everybody()
        if episode.open and episode.held_out and (row_id := aim.records.row_id(episode.contact_id)) is not None
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

    first, *also = destination_systems(workspace).values()
    return published(workspace, as_of, system=first, also=also)


def _apply(workspace: Workspace, plan: Plan, run_id: str, *, still_ours: StillOurs) -> ApplyReport:
    from connector.plan.apply import apply_plan
    from connector.plan.undo import undo_file

    name = plan.destination
    workspace.journal.plans.save(plan.plan_id, plan.summary(), workspace.clock.now())
    fresh = partial(fingerprints, workspace, name, after=plan.after)
    context = _context(workspace, name, run_id, still_ours=still_ours, fresh=fresh)
    undo_path = undo_file(workspace.folder("undo"), run_id, name)
    with _writing(workspace, context) as locked:
        report = apply_plan(plan, locked, undo_path=undo_path)
    if len(workspace.playbook.destinations) > 1:
        _note_moved(workspace, plan)
    return report


RELAY_EVERY_SECONDS = 2.0
"""While a run writes, which can take an hour, it looks this often whether somebody is to come off at once."""


class _Between:
    """What a run does before each of its batches: it relays what is due, for it holds the lock."""

    def __init__(self, workspace: Workspace, run_id: str, check_lock: StillOurs) -> None:
        from connector.live.relay import relays

        self._clock = workspace.clock
        self._relays = relays(workspace)
        self._run_id = run_id
        self._check_lock = check_lock
        self._relayed_at: float | None = None

    def __call__(self) -> None:
        now = self._clock.monotonic()
        if self._relayed_at is None or now - self._relayed_at >= RELAY_EVERY_SECONDS:
            self._relayed_at = now
            for relay in self._relays:
                relay.within(run_id=self._run_id, check_lock=self._check_lock)


@contextmanager
def _writing(workspace: Workspace, context: ApplyContext) -> Iterator[ApplyContext]:
    """The context of a section that writes: with the lock, and with what is due done between its batches."""
    with writing(workspace.journal, workspace.clock, wait_seconds=RUN_WAITS_SECONDS) as lock:
        ours = context.check_lock

        def check_locks() -> None:
            ours()
            lock.check()

        between = _Between(workspace, context.run_id, check_locks)
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
        consent=StillAllowed(workspace, records_of(workspace, destination.system)),
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


def _numbers(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A report's summary without what it says of single rows."""
    said = {key: value for key, value in summary.items() if key not in {"rejections", "notices"}}
    if "destinations" in said:
        said["destinations"] = {name: _numbers(part) for name, part in said["destinations"].items()}
    return said


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
        from connector.errors import Locked
        from connector.redact import redact

        if error is None:
            report = self.report
            summary = {**_numbers(report.summary()), **self.notes}
            if report.stopped is not None:
                state = "stopped" if isinstance(report.stopped, GuardTripped) else "failed"
                return state, {**summary, "error": redact(str(report.stopped))}
            return ("partial" if report.rejected or report.unknown else "done"), summary
        if isinstance(error, KeyboardInterrupt):
            return "interrupted", {}
        stopped = isinstance(error, GuardTripped | Locked)
        message = redact(str(error)) if isinstance(error, WinbackError) else type(error).__name__
        return ("stopped" if stopped else "failed"), {"error": message}
