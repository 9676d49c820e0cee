"""What the CRM holds for a playbook by name: its lists, its properties, and what the properties say."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from connector.model import PropertySpec, Segment
from connector.program import personal
from connector.program.model import Driver, Placed, Program
from connector.targets import workflow_list


class FeedbackLike(Protocol):
    """Where answers go."""

    @property
    def property(self) -> str:
        """The property a reason is written to."""


class WebhooksLike(Protocol):
    """What other systems tell us."""

    @property
    def feedback(self) -> FeedbackLike:
        """What becomes of answers."""


class PlaybookLike(Protocol):
    """What is asked of a playbook."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in order."""

    @property
    def programs(self) -> tuple[Program, ...]:
        """The programs, in order of priority."""

    @property
    def webhooks(self) -> WebhooksLike | None:
        """What other systems tell us; None when nothing does."""


class ListsLike(Protocol):
    """Which lists are kept."""

    @property
    def segments(self) -> bool:
        """One per segment."""

    @property
    def steps(self) -> bool:
        """One per step of a program."""


LIST_PREFIX = "winback · "

SEGMENT_PROPERTY = "winback_segment"
"""The property that names the segments a contact is in; its choices are the playbook's segments."""


FEEDBACK_SCORE = "winback_feedback_score"
FEEDBACK_AT = "winback_feedback_at"


def list_name(segment: str) -> str:
    """The name of a segment's list in the CRM."""
    return f"{LIST_PREFIX}{segment}"


def program_list_name(program: str, step: str | None = None) -> str:
    """The name of a step's list in the CRM; without a step, of the one list a workflow of the CRM waits on."""
    return f"{LIST_PREFIX}{program}" + (f" · {step}" if step else "")


def segment_lists(playbook: PlaybookLike, lists: ListsLike) -> tuple[str, ...]:
    """The lists that say who is in which segment, in the playbook's order."""
    return tuple(list_name(segment.name) for segment in playbook.segments) if lists.segments else ()


def step_lists(programs: Iterable[Program], lists: ListsLike, enroll: str) -> tuple[str, ...]:
    """The lists that start something: one per step, or one per program where the CRM does the waiting."""
    if enroll != "list" or not lists.steps:
        return ()
    names: list[str] = []
    for program in programs:
        if program.driver is Driver.CRM:
            names.append(program_list_name(program.name))
        else:
            names += [program_list_name(program.name, step.name) for step in program.steps]
    return tuple(names)


def place_of(program: Program, at: Placed, *, enroll: str, owned: Container[str]) -> str | None:
    """What the step they are at writes to: a list, a workflow's target, "" for values alone; None: nothing.

    owned: The lists the playbook asks for.
    """
    if at.step is None or at.step_state not in {"decided", "written"}:
        return None
    by_crm = program.driver is Driver.CRM
    match enroll:
        case "list":
            listed = program_list_name(program.name, None if by_crm else at.step)
            return listed if listed in owned else ""
        case "workflow":
            number = program.number(at.step)
            own = program.steps[number].workflow if number is not None else None
            workflow = program.workflow if by_crm else own
            return workflow_list(workflow) if workflow else ""
        case _:
            return ""


def sunset_lists(programs: Iterable[Program]) -> tuple[str, ...]:
    """The lists of people who are left alone for good; programs may share one."""
    wanted = (list_name(p.sunset.segment) for p in programs if p.sunset.after_episodes is not None)
    return tuple(dict.fromkeys(wanted))


def owned_lists(playbook: PlaybookLike, lists: ListsLike, enroll: str) -> tuple[str, ...]:
    """Every list the playbook asks for, each once."""
    programs = playbook.programs
    sunset = sunset_lists(programs) if lists.segments or lists.steps else ()
    return tuple(dict.fromkeys((*segment_lists(playbook, lists), *step_lists(programs, lists, enroll), *sunset)))


def owned_properties(playbook: PlaybookLike) -> tuple[PropertySpec, ...]:
    """Every contact property the playbook asks for: the segments', the programs', then what people told us."""
    of_programs = personal.specs(playbook.programs) if playbook.programs else ()
    return (*property_specs(playbook.segments), *of_programs, *feedback_specs(playbook))


def feedback_specs(playbook: PlaybookLike) -> tuple[PropertySpec, ...]:
    """The properties that hold what a contact answered last; none where the playbook hears of no answers."""
    name = reason_property(playbook)
    if name is None:
        return ()
    return (
        PropertySpec(name, "Winback reason", "choices", "Why this person left, by their last answer.", _reasons()),
        PropertySpec(FEEDBACK_SCORE, "Winback feedback score", "number", "The score of this person's last answer."),
        PropertySpec(FEEDBACK_AT, "Winback feedback at", "datetime", "When this person last answered, in UTC."),
    )


def reason_property(playbook: PlaybookLike) -> str | None:
    """The property that says why somebody left; None where the playbook hears of no answers."""
    return None if playbook.webhooks is None else playbook.webhooks.feedback.property


def _reasons() -> tuple[tuple[str, str], ...]:
    from connector.reasons.codes import REASONS

    return tuple(REASONS.items())


def property_specs(segments: Iterable[Segment]) -> tuple[PropertySpec, ...]:
    """The contact properties winback owns; the choices of `winback_segment` are the playbook's segments."""
    choices = tuple((segment.name, segment.name.replace("_", " ")) for segment in segments)
    return (
        PropertySpec(
            SEGMENT_PROPERTY, "Winback segment", "choices", "Which dormancy segments this person is in.", choices
        ),
        PropertySpec(
            "winback_last_active_at", "Winback last active", "datetime", "Last use of the product that counts, in UTC."
        ),
        PropertySpec(
            "winback_dormant_since", "Winback dormant since", "date", "First day without any use of the product."
        ),
        PropertySpec("winback_last_feature", "Winback last feature", "text", "What this person used last."),
    )


def property_values(row: Mapping[str, Any], segments: Sequence[str]) -> dict[str, str | None]:
    """The values of one contact's properties as the CRM stores them: text, times in UTC, None for empty."""
    from datetime import UTC, timedelta

    last = row.get("last_active_at")
    since = row.get("last_active_on")
    return {
        SEGMENT_PROPERTY: ";".join(segments) or None,
        "winback_last_active_at": (
            last.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z") if last else None
        ),
        "winback_dormant_since": (since + timedelta(days=1)).isoformat() if since else None,
        "winback_last_feature": row.get("last_feature"),
    }
