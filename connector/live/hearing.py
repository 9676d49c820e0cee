"""Hearing: what was told is understood as being about somebody, judged, and settled, all that follows in one commit.

The drain hears what the inbox holds, the web process what people ask by a link or a CRM by a call; both through here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from connector.contracts import Clock
from connector.heard import Answered, Heard, MailEvent, Paid, RecordGone, ToFetch, Used, Who
from connector.live.about import BOUNCED, OPTED_OUT, SNOOZE, About, Published, Rules, Told
from connector.live.judging import judge, together
from connector.live.people import Finder, Found, IdentityKeys
from connector.program import exits

if TYPE_CHECKING:
    from connector.journal import Journal
    from connector.journal.facts import Fact
    from connector.journal.replies import Stored
    from connector.journal.settlement import Settlement
    from connector.program.model import Episode
    from connector.workspace import Workspace

LIVE = "live"
"""The part of a published decision that judging reads; see `connector.live.publishing`."""


_TELLS_SOMETHING = frozenset({"set", "feedback", "task"})
"""Intents that would write something about somebody; the others take them off."""

_MOST_INTENTS = 10_000


class Hearing:
    """Judges and settles what is heard.

    Args:
        journal: Where everything is kept.
        finder: Says who somebody is.
        rules: The playbook's part.
        clock: The present.
    """

    def __init__(self, journal: Journal, finder: Finder, rules: Rules, clock: Clock) -> None:
        self.rules = rules
        self.finder = finder
        self._journal = journal
        self._clock = clock

    @classmethod
    def of(cls, workspace: Workspace) -> Hearing:
        """For this playbook."""
        from connector.programs import link_maker

        journal = workspace.journal
        rules = rules_of(workspace)
        links = link_maker(workspace)
        systems = tuple(rules.destinations.values()) or rules.system
        finder = Finder(journal.known, journal.links, IdentityKeys.of(workspace), links=links, system=systems)
        return cls(journal, finder, rules, workspace.clock)

    def hear(self, heard: Sequence[Heard], told: Told, *, reply: Stored | None = None) -> Settlement | None:
        """Settle everything that follows from one event, once; None when it was settled before.

        reply: The answer to the call that is settled, kept in the same commit.
        """
        judged, erased = self.judged(heard, told)
        settlement = replace(judged, reply=reply)
        # Before the commit, so that a crash between the two repeats both; after it, so that this one is forgotten too.
        self._forget(erased)
        settled = self._journal.settlement.settle(settlement)
        self._forget(erased)
        return settlement if settled else None

    def judged(self, heard: Sequence[Heard], told: Told) -> tuple[Settlement, set[str]]:
        """What follows from one event, and whose data is to be forgotten; nothing is settled yet."""
        settlements, erased = [], set()
        for one in heard:
            about = self.about(not_before_it_was_told(one, told), told)
            settlements.append(judge(not_before_it_was_told(one, told), told=told, about=about, rules=self.rules))
            if about.contact_id is not None and (about.erased or _erases(one)):
                erased.add(about.contact_id)
        return together(settlements, number=told.number), erased

    def about(self, heard: Heard, told: Told) -> About:
        """Whom an event is about, and where they stand."""
        found, who = self._who(heard, told)
        subjects = [found.contact_id] if found.contact_id is not None else list(found.addresses)
        states = self._journal.consent.states_of(subjects) if subjects else {}
        erased = any(state.erased_at is not None for state in states.values())
        refused = any(state.opted_out_at or state.complained_at for state in states.values())
        about = About(
            contact_id=found.contact_id,
            why=found.why,
            who=self.finder.fact_key(who, found),
            addresses=found.addresses,
            erased=erased,
            refused=refused,
        )
        return about if found.contact_id is None else self._standing(about, found.contact_id, heard)

    def _who(self, heard: Heard, told: Told) -> tuple[Found, Who]:
        if isinstance(heard, ToFetch):
            return Found(None, "answers to ask for"), Who()
        # A record that is gone is meant itself, not whom it has become.
        return self.finder.contact(heard.who, now=told.received_at, itself=isinstance(heard, RecordGone)), heard.who

    def _standing(self, about: About, contact_id: str, heard: Heard) -> About:
        journal = self._journal
        episodes = journal.episodes.of(contact_id)
        standing = replace(
            about,
            episodes=episodes,
            stopped=bool(episodes) and contact_id in journal.stops.of([contact_id]),
            held_out=is_held_out(episodes, self._clock.now()),
            answered=self._answered(contact_id) if isinstance(heard, Answered) else None,
        )
        if not standing.current or not _may_be_a_sign(heard, standing.current):
            return replace(standing, weigh=False)
        return replace(standing, published=self._published(contact_id), facts=self._facts(contact_id, standing.current))

    def _published(self, contact_id: str) -> Published:
        decision = self._journal.decisions.get(contact_id)
        return Published() if decision is None else published_from(decision.document)

    def _facts(self, contact_id: str, episodes: Sequence[Episode]) -> Sequence[Fact]:
        return self._journal.facts.of(contact_id, since=min(episode.entered_at for episode in episodes))

    def _answered(self, contact_id: str) -> tuple[datetime, str] | None:
        given = self._journal.feedback.of(contact_id)
        return max(((a.at, a.answer_key) for a in given if a.complete and a.reason is not None), default=None)

    def _forget(self, contact_ids: Iterable[str]) -> None:
        """What was told of people who asked for their data to be erased; the ledger's line stays, to keep it so."""
        journal = self._journal
        for contact_id in sorted(contact_ids):
            for waiting in journal.outbox.recent(_MOST_INTENTS, contact_id=contact_id, state="waiting"):
                if waiting.kind in _TELLS_SOMETHING:
                    journal.outbox.set_aside(waiting.number, "erased: not written any more")
            for book in (journal.inbox, journal.feedback, journal.facts, journal.outbox, journal.replies, journal.asks):
                book.forget(contact_id)


def not_before_it_was_told(heard: Heard, told: Told) -> Heard:
    """The event, not later than we heard of it: a clock that runs ahead outranks nothing."""
    return replace(heard, at=told.received_at) if heard.at > told.received_at else heard


def is_held_out(episodes: Iterable[Episode], now: datetime) -> bool:
    """Whether somebody is in a holdout, or still measured as part of one."""
    return any(
        episode.held_out and (episode.open or (episode.outcome_until is not None and now < episode.outcome_until))
        for episode in episodes
    )


def published_from(document: Mapping[str, Any]) -> Published:
    """The part of a published decision that judging reads."""
    live = document.get(LIVE) or {}
    last = live.get("last_active_on")
    return Published(
        episode_id=live.get("episode_id"),
        columns={name: _typed(name, value) for name, value in live.get("columns", {}).items()},
        upto=int(live.get("upto", 0)),
        last_active_on=None if last is None else date.fromisoformat(last),
    )


def _typed(name: str, value: Any) -> Any:
    """A time is a time again; all other values are what JSON says they are."""
    return datetime.fromisoformat(value) if isinstance(value, str) and name.endswith(("_at", "_on")) else value


def _erases(heard: Heard) -> bool:
    return isinstance(heard, RecordGone) and heard.how == "erased"


def _may_be_a_sign(heard: Heard, episodes: Sequence[Episode]) -> bool:
    """Whether facts have to be looked at; of a use, not once the contact is known to have come back before it."""
    if isinstance(heard, MailEvent):
        return heard.kind in {"reply", "click"}
    if not isinstance(heard, Used | Paid):
        return False
    return not isinstance(heard, Used) or not all(
        episode.exit_reason == exits.REACTIVATED and episode.exited_at is not None and episode.exited_at <= heard.at
        for episode in episodes
    )


# --- the playbook's part -------------------------------------------------------------------------------------------


def rules_of(workspace: Workspace) -> Rules:
    """What this playbook says about hearing."""
    from zoneinfo import ZoneInfo

    from connector.crms import destination_systems
    from connector.reasons.classify import classify
    from connector.rules.conditions import parse_usage

    playbook = workspace.playbook
    settings = playbook.webhooks
    systems = destination_systems(workspace) if playbook.destinations else {}
    counts = playbook.activity.counts
    return Rules(
        programs=playbook.programs,
        counts=parse_usage(counts) if counts else None,
        zone=ZoneInfo(playbook.timezone),
        system=next(iter(systems.values()), None),
        destinations=systems if len(systems) > 1 else {},
        surveys=dict(settings.sources) if settings is not None else {},
        flags=flags_of(workspace),
        keep_text=settings is None or settings.feedback.text == "keep",
        reason_property=settings.feedback.property if settings is not None else "winback_reason",
        snooze=playbook.links.snooze[0] if playbook.links is not None else SNOOZE,
        classify=lambda text, language: _read(classify(text, language, rules=playbook.reasons)),
    )


def flags_of(workspace: Workspace) -> Mapping[str, Mapping[str, str]]:
    """System → its records' properties that say somebody opted out or bounced, as the mappings have it."""
    flags: dict[str, dict[str, str]] = {}
    for name in workspace.playbook.sources:
        source = workspace.source(name)
        for info in source.streams():
            if info.into != "contacts":
                continue
            fields = workspace.mapping(name, info.name).fields
            for column in (OPTED_OUT, BOUNCED):
                for field in fields[column].from_ if column in fields else ():
                    flags.setdefault(source.system, {})[field] = column
    return flags


def _read(guess: Any) -> tuple[str | None, float]:
    return guess.reason, guess.confidence


__all__ = ["Hearing", "flags_of", "is_held_out", "published_from", "rules_of"]
