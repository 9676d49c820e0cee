"""Every source read into the warehouse, and what could not be stored or matched told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from connector.errors import SettingError, WinbackError
from connector.heard import SOURCE as HEARD
from connector.pipeline.away import AWAY
from connector.pipeline.lock import StillOurs, unlocked
from connector.pipeline.readying import ready_people

if TYPE_CHECKING:
    from connector.pull import PullReport
    from connector.warehouse import IdentityReport
    from connector.workspace import Workspace


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


def _mirror_cursor(workspace: Workspace, source: str, stream: str) -> Callable[[Mapping[str, Any]], None]:
    def save(cursor: Mapping[str, Any]) -> None:
        workspace.journal.cursors.save(source, stream, cursor, workspace.clock.now())

    return save
