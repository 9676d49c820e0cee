"""Why a contact is where it is: each clause with its value, what the plan does about it, and what comes next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from connector.errors import SettingError
from connector.permission import plain_reason
from connector.plain import plain
from connector.program.codes import DEFERRALS, EXCLUSIONS, EXITS
from connector.wanted import list_name, owned_lists, place_of

if TYPE_CHECKING:
    from connector.program.model import Episode, Verdict
    from connector.rules.conditions import CheckedSegment, Clause
    from connector.workspace import Workspace

LOOK_AHEAD_DAYS = 400
"""How far ahead the next change is looked for."""


@dataclass(frozen=True, slots=True)
class SegmentStory:
    """One segment for one contact; `matched` is None when unknown, `shadowed_by` the segment that came first."""

    name: str
    matched: bool | None
    clauses: Sequence[Clause]
    shadowed_by: str | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """Everything `winback explain` says about one contact."""

    contact_id: str
    as_of: date
    facts: Sequence[str]
    segments: Sequence[SegmentStory]
    reasons: Sequence[str]
    next_change: str | None
    outcome: Sequence[str]
    program: Mapping[str, Any] = field(default_factory=lambda: {"state": "none", "step": None})

    def document(self) -> dict[str, Any]:
        """The `--json` document; keys as in the command line's contract."""
        return {
            "schema_version": 1,
            "contact_id": self.contact_id,
            "as_of": self.as_of.isoformat(),
            "segments": [
                {
                    "name": segment.name,
                    "matched": segment.matched is True and segment.shadowed_by is None,
                    "unknown": segment.matched is None,
                    "shadowed_by": segment.shadowed_by,
                    "clauses": [
                        {
                            "text": clause.text,
                            "value": plain(clause.value),
                            "holds": clause.holds,
                            "would_change": clause.would_change,
                        }
                        for clause in segment.clauses
                    ],
                }
                for segment in self.segments
            ],
            "program": {**self.program, "next": self.next_change, "reasons": list(self.reasons)},
        }


def explain(workspace: Workspace, who: str, as_of: date) -> Story:
    """The story of one contact; SettingError when nobody or more than one person answers to `who`."""
    from connector.pipeline.readying import ready_warehouse
    from connector.pipeline.segmenting import checked_segments, shown_id

    warehouse = ready_warehouse(workspace)
    contact_id = warehouse.resolve(who)
    row = warehouse.contact_row(contact_id, as_of) if contact_id else None
    if contact_id is None or row is None:
        raise SettingError(
            f"nobody here is called {who!r} on {as_of}",
            hint="give a contact id, the product's user id or an e-mail address; `winback pull` reads new people",
        )
    segments = checked_segments(workspace)
    stories = tell(segments, row)
    change = next_change(segments, row, as_of)
    inside = [story.name for story in stories if story.matched is True and story.shadowed_by is None]
    facts, shown = _facts(row), shown_id(workspace, contact_id)
    if workspace.playbook.programs and workspace.playbook.destinations:
        told = _in_program(workspace, contact_id, as_of)
        return Story(
            contact_id=shown,
            as_of=as_of,
            facts=facts,
            segments=stories,
            reasons=told.reasons,
            next_change=told.upcoming or change,
            outcome=[*told.lines(inside, change), *_in_crms(workspace, contact_id)],
            program=told.document,
        )
    reason = plain_reason(row)
    outcome = _outcome(inside, reason, change) if workspace.playbook.destinations else _reading_only(inside, change)
    return Story(
        contact_id=shown,
        as_of=as_of,
        facts=facts,
        segments=stories,
        reasons=[EXCLUSIONS[reason]] if reason else [],
        next_change=change,
        outcome=[*outcome, *_in_crms(workspace, contact_id)],
    )


def _in_crms(workspace: Workspace, contact_id: str) -> list[str]:
    """Where there are several CRMs: where the contact is worked and shown, and why it is not one of another's."""
    from connector.crms import crms_of, destination_systems, records_of

    if not workspace.playbook.destinations or crms_of(workspace) is None:
        return []
    records = {name: records_of(workspace, system) for name, system in destination_systems(workspace).items()}
    worked = [name for name, there in records.items() if there.owns(contact_id)]
    shown = [
        f"{name} as {', '.join(found.record_id for found in there.all_of(contact_id))}"
        for name, there in records.items()
        if there.all_of(contact_id)
    ]
    apart = workspace.warehouse.why_apart(contact_id)
    lines = [f"worked in {worked[0]}, shown in {', '.join(shown)}"] if worked and shown else []
    return [*lines, *([f"not taken for a contact of another CRM: {apart}"] if apart else [])]


@dataclass(frozen=True, slots=True)
class _Told:
    """What the engine says about one contact, in words and as JSON values."""

    document: Mapping[str, Any]
    reasons: Sequence[str]
    upcoming: str | None
    on_lists: bool
    head: str
    step_list: str | None = None
    before: str | None = None

    def lines(self, inside: Sequence[str], change: str | None) -> list[str]:
        """For a terminal."""
        named = [list_name(segment) for segment in inside] + ([self.step_list] if self.step_list else [])
        lists = ", ".join(named)
        where = f"on the list {lists}" if lists and self.on_lists else "on no list"
        told = [self.head, *(f"  because: {reason}" for reason in self.reasons), where]
        if self.before:
            told.append(self.before)
        if self.upcoming:
            told.append(f"next: {self.upcoming}")
        if change and change != self.upcoming:
            told.append(f"segments: {change}")
        if self.document["state"] == "in_program":
            told.append("leaves the sequence at the first run after being active again")
        return told


def _in_program(workspace: Workspace, contact_id: str, as_of: date) -> _Told:
    """What the engine would do about this contact now; the same code that decides for everybody."""
    from connector.crms import destination_systems
    from connector.program import engine
    from connector.programs import Crowd

    # Everybody's pass evaluates the segments first; so does this one.
    workspace.warehouse.evaluate(workspace.playbook.checked_segments, as_of)
    first, *also = destination_systems(workspace).values()
    crowd = Crowd(workspace, as_of, system=first, also=also)
    person = crowd.one(contact_id)
    if person is None or not contact_id.startswith(crowd.prefixes):
        nowhere = {"state": "none", "step": None, "program": None, "reason": "not_in_crm"}
        return _Told(nowhere, ["is not a contact of this CRM"], None, on_lists=False, head="in no program")
    verdict = engine.verdict(crowd.world, person)
    words = {**EXCLUSIONS, **DEFERRALS, **EXITS}
    reasons = [words.get(verdict.reason, verdict.reason)] if verdict.reason else []
    if person.eligibility.rule and verdict.state == "excluded":
        reasons.append(person.eligibility.rule)
    upcoming = f"{verdict.upcoming.on}: {verdict.upcoming.what}" if verdict.upcoming else None
    episode = verdict.episode
    document: dict[str, Any] = {
        "state": verdict.state,
        "step": verdict.step,
        "program": verdict.program,
        "reason": verdict.reason,
        "episode_id": episode.episode_id if episode else None,
        "entered_at": episode.entered_at.isoformat() if episode else None,
        "entered_as": episode.entered_as if episode else None,
        "eligible": person.eligibility.reason is None,
        "rule": person.eligibility.rule,
    }
    on_lists = person.eligibility.reason is None and verdict.state not in {"held_out", "sunset"}
    step_list = _step_list(workspace, verdict) if on_lists and verdict.state == "in_program" else None
    ended = next((one for one in person.episodes if not one.open), None)
    document["before"] = None if ended is None else _ended(ended)
    return _Told(
        document,
        reasons,
        upcoming,
        on_lists=on_lists,
        head=_head(verdict),
        step_list=step_list,
        before=None if ended is None else told_of(ended),
    )


def _ended(episode: Episode) -> dict[str, Any]:
    """The newest episode that is over, as JSON values."""
    return {
        "episode_id": episode.episode_id,
        "entered_at": plain(episode.entered_at),
        "exited_at": plain(episode.exited_at),
        "reason": episode.exit_reason,
        "step": episode.step,
        "held_out": episode.held_out,
    }


def told_of(episode: Episode) -> str:
    """The newest episode that is over, in a line."""
    days = f"{episode.entered_at:%Y-%m-%d} to {episode.exited_at:%Y-%m-%d}"
    how = "held out of" if episode.held_out else "in"
    why = EXITS.get(episode.exit_reason or "", episode.exit_reason)
    last = f", after the step {episode.step}" if episode.step and not episode.held_out else ""
    return f"before: {how} {episode.program} from {days}{last}: {why}"


def _step_list(workspace: Workspace, verdict: Verdict) -> str | None:
    """The step's list, where joining a list is what starts its mail and the step has been taken."""
    from connector.crms import destination_systems
    from connector.program.model import Placed

    playbook = workspace.playbook
    contact_id = verdict.episode.contact_id if verdict.episode is not None else ""
    worked = [name for name, system in destination_systems(workspace).items() if contact_id.startswith(f"{system}:")]
    settings = playbook.destinations[worked[0]] if worked else None
    program = next((p for p in playbook.programs if p.name == verdict.program), None)
    if program is None or verdict.episode is None or settings is None or settings.enroll != "list":
        return None
    owned = owned_lists(playbook, settings.lists, settings.enroll)
    return place_of(program, Placed.by(verdict.episode), enroll=settings.enroll, owned=owned) or None


def _head(verdict: Verdict) -> str:  # noqa: PLR0911  # one line per state
    """One line: where the contact stands."""
    program, step = verdict.program, verdict.step
    match verdict.state:
        case "in_program":
            return f"in the program {program}, " + (f"at the step {step}" if step else "before the first step")
        case "held_out":
            return f"held out of the program {program} on purpose, to measure what it is worth"
        case "leaving":
            return f"leaves the program {program}"
        case "candidate":
            return f"enters the program {program} as soon as the daily cap allows"
        case "deferred":
            return f"waits to enter the program {program}" if program else "waits"
        case "excluded":
            return "may not be contacted"
        case "sunset":
            return "is left alone: did not answer before"
        case _:
            return "in no program"


def tell(segments: Sequence[CheckedSegment], row: Mapping[str, Any]) -> list[SegmentStory]:
    """Each segment with its clauses; inside a group the first match wins and shadows the others."""
    first: dict[str, str] = {}
    stories = []
    for checked in segments:
        told = checked.condition.explain(row)
        group = checked.segment.group_name
        winner = first.get(group)
        if told.holds is True and winner is None:
            first[group] = checked.segment.name
        stories.append(
            SegmentStory(
                checked.segment.name,
                told.holds,
                told.clauses,
                shadowed_by=winner if told.holds is True else None,
            )
        )
    return stories


def matched_names(segments: Sequence[CheckedSegment], row: Mapping[str, Any]) -> list[str]:
    """The segments this row is in."""
    return [s.name for s in tell(segments, row) if s.matched is True and s.shadowed_by is None]


def next_change(segments: Sequence[CheckedSegment], row: Mapping[str, Any], as_of: date) -> str | None:
    """When silence alone would next move the contact, everything else as it is."""
    inactive = row.get("inactive_days")
    if inactive is None:
        return None
    now_in = matched_names(segments, row)
    for days in range(1, LOOK_AHEAD_DAYS):
        later = matched_names(segments, {**row, "inactive_days": inactive + days})
        if later != now_in:
            entered = [name for name in later if name not in now_in]
            left = [name for name in now_in if name not in later]
            moves = [f"enters {', '.join(entered)}"] if entered else []
            moves += [f"leaves {', '.join(left)}"] if left else []
            return f"{as_of + timedelta(days=days)}: {' and '.join(moves)}, if still silent then"
    return None


def known_facts(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What is known of a contact: a label and a value each."""
    labels = {
        "last_active_at": "last active",
        "inactive_days": "silent days",
        "active_days_90": "active days in 90",
        "gap_median_days": "usual gap (days)",
        "last_feature": "last used",
        "lifecycle": "state",
        "role": "role",
        "plan_tier": "plan",
    }
    return [(label, row[name]) for name, label in labels.items() if row.get(name) is not None]


def _facts(row: Mapping[str, Any]) -> list[str]:
    lines = [f"{label:18} {plain(value)}" for label, value in known_facts(row)]
    return lines or ["never active, and nothing else is known"]


def _reading_only(inside: Sequence[str], change: str | None) -> list[str]:
    """What the segments say, where nothing is written anywhere."""
    where = f"in the segment {', '.join(inside)}" if inside else "in no segment"
    return [where, *([f"next: {change}"] if change else [])]


def _outcome(inside: Sequence[str], reason: str | None, change: str | None) -> list[str]:
    lines = []
    lists = [list_name(segment) for segment in inside]
    if reason is not None:
        lines.append(f"on no list: {EXCLUSIONS[reason]}")
    elif lists:
        lines.append("on the list " + ", ".join(lists))
    else:
        lines.append("in no segment, so on no list")
    if change:
        lines.append(f"next: {change}")
    lines.append("comes off every list at the first run after being active again" if lists and not reason else "")
    return [line for line in lines if line]
