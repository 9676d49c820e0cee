"""How things stand: runs, how far the sources were read, refused rows, the lock, the quota."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from connector.errors import StateError
from connector.plain import plain
from connector.program.model import HOLDOUT

if TYPE_CHECKING:
    from connector.journal.locks import Holder
    from connector.journal.runs import Run
    from connector.warehouse import IdentityReport
    from connector.workspace import Workspace

RUNS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run on one line."""

    run_id: str
    kind: str
    started: str
    state: str
    outcome: str


@dataclass(frozen=True, slots=True)
class SourceLine:
    """How far one stream was read."""

    source: str
    stream: str
    rows: int
    newest: str | None
    read: str | None


@dataclass(frozen=True, slots=True)
class RejectionLine:
    """One row the CRM refused."""

    row_id: str
    target: str
    reason: str
    attempts: int
    quarantined: bool


@dataclass(frozen=True, slots=True)
class SetAsideLine:
    """One row of a source that could not be read."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProgramLine:
    """How one program stands: open episodes by step, held out, waiting for the CRM's word, and why others ended."""

    program: str
    steps: Mapping[str, int]
    held_out: int
    unwritten: int
    exits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Status:
    """Everything `winback status` says."""

    runs: Sequence[RunLine]
    sources: Sequence[SourceLine]
    rejections: Sequence[RejectionLine]
    set_aside: Sequence[SetAsideLine]
    unmatched: int
    unmatched_sample: Sequence[SetAsideLine]
    unresolved: int
    lock: str | None
    quota: Mapping[str, int | None]
    programs: Sequence[ProgramLine] = ()

    def document(self) -> dict[str, Any]:
        """The `--json` document."""
        return asdict(self)


def look(workspace: Workspace) -> Status:
    """How things stand now; reads the journal, and the warehouse when no run is using it."""
    journal = workspace.journal
    names = list(workspace.playbook.destinations)
    sources, set_aside, people = _facts(workspace)
    at_work = workspace.at_work()
    return Status(
        runs=[
            RunLine(r.run_id, r.kind, str(plain(r.started_at)), _state(r, at_work), _outcome(r.summary))
            for r in journal.runs.recent(RUNS_SHOWN)
        ],
        sources=sources,
        rejections=[
            RejectionLine(row_id, target or "properties", r.reason, r.attempts, r.quarantined)
            for name in names
            for (_, target, row_id), r in journal.rejections.active(name).items()
        ],
        set_aside=set_aside,
        unmatched=people.unmatched if people else 0,
        unmatched_sample=[SetAsideLine(user, reason) for user, reason in people.sample] if people else [],
        unresolved=len(journal.ledger.unresolved()),
        lock=str(at_work) if at_work is not None else None,
        quota={name: _remaining(workspace, name) for name in dict.fromkeys([*workspace.playbook.sources, *names])},
        programs=_programs(workspace),
    )


def _programs(workspace: Workspace) -> list[ProgramLine]:
    """The playbook's programs, then those that are in it no more and still have episodes."""
    counts = workspace.journal.episodes.counts()
    names = dict.fromkeys([program.name for program in workspace.playbook.programs])
    lines = []
    for name in [*names, *(other for other in counts if other not in names)]:
        count = counts.get(name)
        if count is None:
            lines.append(ProgramLine(name, {}, 0, 0, {}))
        else:
            held_out = count.by_arm.get(HOLDOUT, 0)
            unwritten = count.by_state.get("decided", 0)
            lines.append(ProgramLine(name, dict(count.by_step), held_out, unwritten, dict(count.exits)))
    return lines


def _state(run: Run, at_work: Holder | None) -> str:
    """How the run stands; one that was killed did not live to note it."""
    from connector.journal.runs import RunState

    return str(RunState.INTERRUPTED if run.state is RunState.RUNNING and at_work is None else run.state)


def _facts(workspace: Workspace) -> tuple[list[SourceLine], list[SetAsideLine], IdentityReport | None]:
    from connector.pipeline.readying import match_people

    try:
        warehouse = workspace.warehouse
    except StateError:
        workspace.reporter.line("a run is using the warehouse; how far the sources were read is shown when it ends")
        return [], [], None
    lines = [
        SourceLine(
            s.source,
            s.stream,
            s.rows,
            str(plain(s.newest_at)) if s.newest_at else None,
            str(plain(s.pulled_at)) if s.pulled_at else None,
        )
        for s in warehouse.source_stats()
    ]
    set_aside = [SetAsideLine(reject.place, reject.reason) for reject in warehouse.rejects(limit=20)]
    return lines, set_aside, match_people(workspace)


def _remaining(workspace: Workspace, name: str) -> int | None:
    options = (
        workspace.playbook.sources[name]
        if name in workspace.playbook.sources
        else workspace.playbook.destinations[name].options
    )
    return workspace.journal.budget(name, options.rate, reporter=workspace.reporter).remaining_today()


def _outcome(summary: Mapping[str, Any]) -> str:
    keys = ("written", "unchanged", "rejected", "unknown", "error")
    said = {key: summary[key] for key in keys if summary.get(key)}
    return ", ".join(str(value) if key == "error" else f"{value} {key}" for key, value in said.items())
