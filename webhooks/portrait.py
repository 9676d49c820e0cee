"""One contact, from the journal alone: what was decided, by which rules, what was done, said and heard since.

The words are those of `winback explain`. Only what the last run published is known here: the warehouse stays closed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from connector.explain import SegmentStory, known_facts, next_change, tell, told_of
from connector.identity import normal_email
from connector.journal.known import EMAIL, EXTERNAL_ID, RECORD
from connector.program.codes import DEFERRALS, EXCLUSIONS, EXITS
from connector.program.model import TREATED, ConsentEvent, ConsentState, Episode
from connector.rules.columns import COLUMNS, RELATION_COLUMNS

if TYPE_CHECKING:
    from connector.journal import Journal
    from connector.journal.episodes import StepTaken
    from connector.journal.feedback import Answer
    from connector.journal.inbox import InboxRow
    from connector.journal.outbox import OutboxRow
    from connector.live.people import IdentityKeys
    from connector.rules.conditions import CheckedSegment
    from connector.settings import Playbook

WORDS = {**EXCLUSIONS, **DEFERRALS, **EXITS}
_LINES = 50


@dataclass(frozen=True, slots=True)
class StepLine:
    """A step of an episode's program: taken (and when), or still to come."""

    name: str
    day: int | None
    taken: StepTaken | None


@dataclass(frozen=True, slots=True)
class EpisodeStory:
    """An open episode with its steps, those of the playbook first, then those it has no more."""

    episode: Episode
    steps: Sequence[StepLine]


@dataclass(frozen=True, slots=True)
class Portrait:
    """Everything the page of a contact shows.

    listed: Whether the last run published any id or address of theirs.
    as_of: The day the decision is about; None: the last run published nothing about them.
    unpublished: Columns, as written in conditions, of which nothing is known here.
    """

    contact_id: str
    listed: bool
    as_of: date | None
    inside: Sequence[str]
    blocked: str | None
    stopped: tuple[str, datetime] | None
    facts: Sequence[tuple[str, Any]]
    segments: Sequence[SegmentStory]
    unpublished: frozenset[str]
    upcoming: str | None
    open: Sequence[EpisodeStory]
    before: Sequence[str]
    standing: ConsentState
    ledger: Sequence[ConsentEvent]
    answers: Sequence[Answer]
    heard: Sequence[InboxRow]
    outbox: Sequence[OutboxRow]

    @property
    def is_known(self) -> bool:
        """Whether this is somebody: known by any id or address, or there is something to show."""
        return bool(
            self.as_of
            or self.listed
            or self.open
            or self.before
            or self.ledger
            or self.answers
            or self.heard
            or self.outbox
        )


def portrait(journal: Journal, playbook: Playbook | None, contact_id: str, *, sees_arms: bool) -> Portrait:
    """The portrait of one contact.

    sees_arms: Whether whoever looks may know who is in a holdout. Otherwise somebody held out looks like somebody
        before their first step, so that nobody acts on it.
    """
    decision = journal.decisions.get(contact_id)
    document: Mapping[str, Any] = decision.document if decision is not None else {}
    as_of = decision.as_of if decision is not None else None
    values = _values(document)
    row = {**dict.fromkeys(RELATION_COLUMNS), "as_of": as_of, **values}
    segments = playbook.checked_segments if playbook is not None and values else ()
    episodes = [episode if sees_arms else _veiled(episode) for episode in journal.episodes.of(contact_id)]
    addresses = journal.known.keys(contact_id, EMAIL)
    ledger = [line for subject in (contact_id, *addresses) for line in journal.consent.history(subject)]
    return Portrait(
        contact_id=contact_id,
        listed=bool(addresses) or any(journal.known.keys(contact_id, kind) for kind in (RECORD, EXTERNAL_ID)),
        as_of=as_of,
        inside=document.get("segments") or (),
        blocked=WORDS.get(document.get("blocked") or "", document.get("blocked")),
        stopped=journal.stops.of([contact_id]).get(contact_id),
        facts=known_facts(row) if values else (),
        segments=tell(segments, row),
        unpublished=_unpublished(segments, values),
        upcoming=next_change(segments, row, as_of) if as_of is not None and segments else None,
        open=[_story(journal, playbook, episode) for episode in episodes if episode.open],
        before=[told_of(episode) for episode in episodes if not episode.open],
        standing=journal.consent.state(contact_id),
        ledger=sorted(ledger, key=lambda line: line.captured_at, reverse=True)[:_LINES],
        answers=journal.feedback.of(contact_id)[::-1][:_LINES],
        heard=journal.inbox.of(contact_id)[:_LINES],
        outbox=journal.outbox.recent(_LINES, contact_id=contact_id),
    )


def who_is(journal: Journal, keys: IdentityKeys, asked: str) -> str | None:
    """The contact somebody looks for by an id, the product's id or an address; hashed before it is looked up."""
    asked = asked.strip()
    if not may_be_an_id(asked):
        return None
    ways = [(RECORD, asked), (EXTERNAL_ID, keys.external_id(asked))]
    if normal_email(asked) is not None:
        ways.append((EMAIL, keys.email(asked)))
    for kind, key in ways:
        found = journal.known.contact(kind, key)
        if found is not None:
            return found
    return asked if portrait(journal, None, asked, sees_arms=False).is_known else None


def may_be_an_id(text: str) -> bool:
    """Whether a database can be asked for it: PostgreSQL knows no text with a NUL in it."""
    return bool(text) and "\0" not in text


def _values(document: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that were published, by the relation's names, times as times again."""
    from connector.live.hearing import published_from

    everybodys = published_from({"live": {"columns": document.get("columns") or {}}}).columns
    found = {**published_from(document).columns, **everybodys}
    if "inactive_days" in document:
        found["inactive_days"] = document["inactive_days"]
    return {name: value for name, value in found.items() if name in RELATION_COLUMNS}


def _unpublished(segments: Sequence[CheckedSegment], values: Mapping[str, Any]) -> frozenset[str]:
    """What these conditions read and is not known here: it is empty, or not for pages (names, addresses)."""
    read = {name for checked in segments for name in checked.condition.columns}
    return frozenset(name for name in read if _relation(name) not in values)


def _relation(name: str) -> str:
    return (COLUMNS[name].relation or name) if name in COLUMNS else name


def _veiled(episode: Episode) -> Episode:
    """As it looks to somebody who must not know the arms."""
    if not episode.held_out:
        return episode
    return replace(
        episode, arm=TREATED, step=None, step_state=None, step_at=None, send_at=None, offer=None, code=None, values={}
    )


def _story(journal: Journal, playbook: Playbook | None, episode: Episode) -> EpisodeStory:
    programs = playbook.programs if playbook is not None else ()
    program = next((one for one in programs if one.name == episode.program), None)
    # Before the first step nothing is taken, whatever the log of somebody veiled says.
    log = journal.episodes.steps(episode.episode_id) if episode.step is not None else []
    taken = {line.step: line for line in log}
    planned = program.steps if program is not None else ()
    steps = [StepLine(step.name, step.day, taken.get(step.name)) for step in planned]
    dropped = taken.keys() - {step.name for step in planned}
    return EpisodeStory(episode, [*steps, *(StepLine(name, None, taken[name]) for name in sorted(dropped))])
