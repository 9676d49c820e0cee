"""The programs' side of a plan: what the warehouse and the journal know of everybody, put before the engine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from connector.beside import aside
from connector.crms import became
from connector.permission import plain_reason
from connector.program import health, personal
from connector.program.codes import NO_PROGRAM
from connector.program.consent import NOTHING_SAID
from connector.program.model import Decisions, Eligibility, Episode, Person, Request
from connector.program.offers import GENERATED
from connector.program.suppression import PREFIX, Suppressions
from connector.rules.columns import COLUMNS

if TYPE_CHECKING:
    from connector.links import LinkMaker
    from connector.program.engine import World
    from connector.program.model import ConsentSettings, ConsentState, Offer, Program
    from connector.program.offers import OfferBook
    from connector.warehouse import ReturnCurve
    from connector.warehouse.shortlist import Alike, Shortlist
    from connector.workspace import Workspace

Seen = Callable[[Person], bool]
"""Told of every person as they pass; False for somebody the programs have nothing to do with: no contact of the CRM."""

SeenTogether = Callable[["Alike", Eligibility], None]
"""Told of many at once who are alike, instead of each."""

LARGE = 20_000
"""From so many people on the shorter way is taken."""

LONGEST_CAP = timedelta(days=400)
"""Touches older than the longest cap of the playbook are not read; no cap is longer than this."""


class Crowd:
    """Everybody a plan may have to do with, as the engine sees them.

    Args:
        workspace: Where facts and journal are.
        as_of: The day; its segments have been evaluated.
        system: Of the CRM: contacts of others are shown, and nothing is decided about them.
        also: Further CRMs whose contacts are decided about: those that no CRM before them knows.
        shortlist: Whether a large crowd is decided about by the shorter way, which comes to the same.
        further: Columns that are wanted besides what deciding reads, where everybody is looked at one by one.
        named: Contacts to be looked at though they are in no segment and in no program.
    """

    def __init__(
        self,
        workspace: Workspace,
        as_of: date,
        *,
        system: str,
        also: Iterable[str] = (),
        shortlist: bool = True,
        further: Iterable[str] = (),
        named: Iterable[str] = (),
    ) -> None:
        self.workspace = workspace
        self.as_of = as_of
        self.systems = (system, *also)
        self.prefixes = tuple(f"{name}:" for name in self.systems)
        self.shortlist = shortlist
        self.further = tuple(sorted(further))
        self.named = frozenset(named)
        self.programs: tuple[Program, ...] = workspace.playbook.programs
        self.now = workspace.clock.now()
        self.notes: list[str] = []
        self.redeemed: list[str] = []
        """Codes whose contacts did what the offer is tied to."""
        self.subjects: dict[str, str] = {}
        """The opaque words of the links that were made, and whose they are."""
        self._curve: Callable[[], ReturnCurve] = lambda: workspace.warehouse.return_curve(as_of)
        self._sent: Callable[[], Mapping[str, int]] = self._count_sent

    def decide(self, seen: Seen, *, together: SeenTogether | None = None) -> Decisions:
        """What the programs decide at the end of this day; every person is shown on the way.

        Args:
            seen: Shown one by one.
            together: Shown those of a large crowd who are alike; None: they are shown to `seen` as well.
        """
        if not self.programs:
            for person in self.people():
                seen(person)
            requests = (request for mine in self.asked.values() for request in mine)
            return Decisions(answers={request.key: NO_PROGRAM for request in requests})
        with _without_collecting():
            decisions = self._decide(seen, together)
        decisions.notes += self.notes
        for code in self.redeemed:
            self.workspace.journal.coupons.redeem(code, self.now)
        self.workspace.journal.links.remember(self.subjects)
        return decisions

    def _decide(self, seen: Seen, together: SeenTogether | None) -> Decisions:
        """The decisions: the shorter way, where the crowd is large, or everybody before the engine."""
        from connector.program import engine
        from connector.shortlisting import decide

        if not self.shortlist:
            # The world is made first: nothing else may be asked of the warehouse while people are read.
            world, people = self.world, self.people()
            return engine.decide(world, (person for person in people if seen(person)))
        episodes = self.workspace.journal.episodes
        with aside() as other:
            # The journal is read while the warehouse gathers people; the curve is wanted last of all.
            self._sent = other.find(self._count_sent)
            left = other.find(lambda: episodes.touches(self.touches_since, episodes.touched_alone()))
            standing = other.read(episodes.standing())
            self._curve = other.find(self.workspace.warehouse.return_curve_aside(self.as_of))
            known = self._known()
            world = self.world
            if len(known) >= LARGE:
                return decide(self, known, standing, seen, together, left=left)
            return engine.decide(world, (person for person in self._all_of(known) if seen(person)))

    def _known(self) -> Shortlist:
        return self.workspace.warehouse.shortlist(self.as_of, **self._asked())

    def _all_of(self, known: Shortlist) -> Iterator[Person]:
        return self.with_episodes(known.all_rows(), self.workspace.journal.episodes.everybody())

    # --- people ---------------------------------------------------------------------------------------------

    def people(self, *, everybody: bool = False) -> Iterator[Person]:
        """One person after the other, by id; those a plan has to do with, or all contacts of the CRM."""
        warehouse, as_of = self.workspace.warehouse, self.as_of
        if not self.programs:
            for row in warehouse.people(as_of):
                yield Person(row, row["segments"], (), Eligibility(plain_reason(row)))
            return
        rows = warehouse.people(as_of, **self._asked(everybody=everybody))
        yield from self.with_episodes(rows, self.workspace.journal.episodes.everybody())

    def shown(self) -> Iterator[Person]:
        """Everybody of `people`, in no order, with what is told of them: segments, silence, permission, episodes."""
        if not self.programs or not self.shortlist:
            yield from self.people()
            return
        from connector.shortlisting import shown

        known = self._known()
        yield from shown(self, known) if len(known) >= LARGE else self._all_of(known)

    def _asked(self, *, everybody: bool = False) -> dict[str, Any]:
        """What the warehouse is asked for."""
        return {
            "columns": self._columns(),
            "episodes": self.workspace.journal.episodes.open_spells(),
            "everybody_in": [*self.systems] if everybody else sorted(self.told_elsewhere),
        }

    def one(self, contact_id: str) -> Person | None:
        """One contact, as everybody's pass would find it; None if there is nobody of this id on that day."""
        episodes = self.workspace.journal.episodes.of(contact_id) if self.programs else []
        given = [(e.contact_id, e.entered_at, e.spell_started_on) for e in episodes if e.open]
        rows = self.workspace.warehouse.people(self.as_of, columns=self._columns(), episodes=given, only=contact_id)
        row = next(iter(list(rows)), None)
        return None if row is None else self.person(row, tuple(episodes))

    def person(self, row: Mapping[str, Any], episodes: Sequence[Episode]) -> Person:
        """One contact as the engine sees it."""
        eligibility = self._eligibility(row)
        if episodes and self.redeemable:
            self._note_redeemed(row, episodes)
        segments: Sequence[str] = row["segments"]
        return Person(row, segments, episodes, eligibility, self.touches.get(row["contact_id"], ()))

    def with_episodes(self, rows: Iterable[dict[str, Any]], episodes: Iterable[Episode]) -> Iterator[Person]:
        """Rows and episodes, both by contact id, side by side; an episode whose contact is gone is somebody deleted."""
        grouped = groupby(episodes, key=attrgetter("contact_id"))
        pending = next(grouped, None)
        for row in rows:
            contact_id: str = row["contact_id"]
            while pending is not None and pending[0] < contact_id:
                yield from self._gone(*pending)
                pending = next(grouped, None)
            if pending is not None and pending[0] == contact_id:
                mine = tuple(pending[1])
                pending = next(grouped, None)
                yield self.person(row, mine)
            else:
                yield self.person(row, ())
        while pending is not None:
            yield from self._gone(*pending)
            pending = next(grouped, None)

    def _gone(self, contact_id: str, episodes: Iterable[Episode]) -> Iterator[Person]:
        mine = tuple(episodes)
        if any(episode.open for episode in mine):
            row = {**NO_ROW, "contact_id": contact_id, "deleted_at": self.now}
            yield Person(row, (), mine, Eligibility("deleted", rule="the CRM has no such contact any more"))

    def _columns(self) -> list[str]:
        """What the programs' conditions and strata read, besides what every row has."""
        from connector.program import engine

        decided = (*engine.columns(self.programs), *personal.columns(self.programs))
        return list(dict.fromkeys((*decided, *self.further)))

    # --- consent --------------------------------------------------------------------------------------------

    @property
    def consent(self) -> ConsentSettings:
        """The rules on permission: one set for the whole install."""
        return self.programs[0].consent

    @cached_property
    def states(self) -> Mapping[str, ConsentState]:
        """The consent ledger folded, by contact and by suppressed address."""
        return self.workspace.journal.consent.states(became(self.workspace, self.systems))

    @cached_property
    def told_elsewhere(self) -> set[str]:
        """Contacts the ledger says something about, a workflow asks for or we do: looked at even when in no segment."""
        told_of = (contact_id for told in (self.states, self.asked, self.named) for contact_id in told)
        return {contact_id for contact_id in told_of if contact_id.startswith(self.prefixes)}

    @cached_property
    def asked(self) -> Mapping[str, Sequence[Request]]:
        """Whom a workflow of the CRM asked to be entered, and nobody has answered yet, by contact."""
        found: dict[str, list[Request]] = {}
        for ask in self.workspace.journal.asks.open():
            found.setdefault(ask.contact_id, []).append(Request(ask.key, ask.program))
        return found

    @cached_property
    def suppressed(self) -> Callable[[str], bool]:
        """Whether an address is on the suppression list."""
        return Suppressions.of(self.states, self.workspace.suppression_key() if self.on_file else b"")

    @cached_property
    def on_file(self) -> bool:
        """Whether the ledger says anything about addresses."""
        return any(subject.startswith(PREFIX) for subject in self.states)

    def _eligibility(self, row: Mapping[str, Any]) -> Eligibility:
        from connector.program.eligibility import eligibility

        return eligibility(
            row,
            self.states.get(row["contact_id"], NOTHING_SAID),
            self.consent,
            now=self.now,
            suppressed=self.suppressed,
            first_with_address=row.get("first_with_address", True),
        )

    # --- the world ------------------------------------------------------------------------------------------

    @cached_property
    def touches(self) -> Mapping[str, list[datetime]]:
        """When each contact was touched within the longest cap, newest first."""
        return self.workspace.journal.episodes.touches(self.touches_since)

    @property
    def touches_since(self) -> datetime:
        """Older touches count under no cap of the playbook."""
        longest = max((max(p.caps.per_contact[1], p.caps.gap) for p in self.programs), default=timedelta())
        return self.now - min(longest, LONGEST_CAP)

    @cached_property
    def world(self) -> World:
        """Everything the engine is told besides the people."""
        from connector.program.engine import World

        journal, playbook = self.workspace.journal, self.workspace.playbook
        zone = ZoneInfo(playbook.timezone)
        midnight = datetime.combine(self.now.astimezone(zone).date(), time(), zone)
        tomorrow = datetime.combine(midnight.date() + timedelta(days=1), time(), zone)
        return World(
            now=self.now,
            as_of=self.as_of,
            zone=zone,
            programs=self.programs,
            account=playbook.account,
            splits=journal.episodes.splits(),
            touches_today=journal.episodes.touches_decided(midnight, tomorrow),
            entered_today=journal.episodes.entered(midnight, tomorrow),
            paused=self._paused(),
            return_probability=self._chance,
            offers=self._offers(),
            feedback={
                contact_id: (answer.reason, answer.score, answer.at)
                for contact_id, answer in journal.feedback.latest().items()
            },
            said=journal.feedback.said() if any(program.reasons for program in self.programs) else {},
            asked=self.asked,
            links=self._links(),
        )

    @cached_property
    def curve(self) -> Callable[[int], float]:
        """The chance to come back unasked within 90 days, by silent days; 0 where nobody was ever silent that long."""
        points = [point or 0.0 for point in self._curve().p_return]
        return lambda silent_days: points[min(silent_days, len(points) - 1)] if points else 0.0

    def _chance(self, silent_days: int) -> float:
        """The same; the curve is waited for when the first chance is asked for."""
        return self.curve(silent_days)

    def _links(self) -> Callable[[str, str], Mapping[str, str]] | None:
        """What makes a contact's links, and remembers whose the opaque word in them is."""
        maker = link_maker(self.workspace)
        if maker is None:
            return None

        def links(contact_id: str, campaign: str) -> Mapping[str, str]:
            self.subjects[maker.subject(contact_id)] = contact_id
            survey = maker.token(personal.SURVEY, contact_id, campaign, now=self.now)
            return {**maker.links(contact_id, campaign, now=self.now), personal.SURVEY: survey}

        return links

    def _paused(self) -> Mapping[str, str]:
        """Programs whose mail does harm: they wait, and it is said."""
        warehouse, episodes, since = self.workspace.warehouse, self.workspace.journal.episodes, self._watched_since
        touches = episodes.sent(since, warehouse.answered(since))
        counts = warehouse.mail_health(since, touches=touches, sent=self._sent())
        paused = {}
        for program in self.programs:
            found = health.judge(counts.get(program.name, {}), program.health)
            self.notes += [f"program {program.name}: {warning}" for warning in found.warnings]
            if found.paused:
                paused[program.name] = "; ".join(found.why)
        return paused

    @property
    def _watched_since(self) -> datetime:
        return self.now - timedelta(days=health.DAYS)

    def _count_sent(self) -> Mapping[str, int]:
        """How many touches of each program reached the CRM lately."""
        names = [program.name for program in self.programs]
        return self.workspace.journal.episodes.sent_counts(self._watched_since, names)

    def _offers(self) -> OfferBook:
        from connector.program.offers import OfferBook

        journal = self.workspace.journal
        names = self._codes()
        spent, spent_on = {}, {}
        for program in self.programs:
            if program.offers.budget is not None:
                spent[program.name] = journal.coupons.spent(self.now - program.offers.budget[1], program=program.name)
            if program.offers.per_contact is not None:
                spent_on[program.name] = journal.coupons.spent_on(None, self.now - program.offers.per_contact[1])
        return OfferBook(
            key=journal.keys.get_or_make("coupons") if names else b"",
            free={name: journal.coupons.free(name) for name in names},
            spent=spent,
            spent_on=spent_on,
        )

    def _codes(self) -> list[str]:
        """The offers that need a code, with new ones of their files brought in and lapsed ones voided."""
        from connector.by_hand import codes_of

        coupons = self.workspace.journal.coupons
        offers = {offer.name: offer for program in self.programs for offer in program.offers.offers.values()}
        coded = sorted(name for name, offer in offers.items() if offer.codes is not None)
        for name in coded:
            source = offers[name].codes
            if source is not None and source != GENERATED:
                coupons.add(name, codes_of(self.workspace.base_dir / source))
        if coded:
            coupons.void_expired(self.now)
        return coded

    def _note_redeemed(self, row: Mapping[str, Any], episodes: Sequence[Episode]) -> None:
        """An offer counts as taken once the contact did what it is tied to."""
        for episode in episodes:
            offer = self.redeemable.get(episode.offer or "")
            if episode.code and offer is not None and offer.redeemed_by is not None and offer.redeemed_by.holds(row):
                self.redeemed.append(episode.code)

    @cached_property
    def redeemable(self) -> Mapping[str, Offer]:
        """Offers that a contact's row shows to have been taken."""
        offers = (offer for program in self.programs for offer in program.offers.offers.values())
        return {offer.name: offer for offer in offers if offer.redeemed_by is not None}


@contextmanager
def _without_collecting() -> Iterator[None]:
    """No cyclic garbage is made here, and looking for it among a million small objects costs a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def link_maker(workspace: Workspace) -> LinkMaker | None:
    """What signs one-click links; None where the playbook has no `links:`."""
    from connector.links import LinkMaker

    settings, secrets, keys = workspace.playbook.links, workspace.playbook.keys, workspace.journal.keys
    if settings is None:
        return None
    given = [key.get_secret_value().encode() for key in secrets.links] if secrets is not None else []
    return LinkMaker(
        settings.public_base_url,
        keys=given or [keys.get_or_make("links")],
        subject_key=keys.get_or_make("link_subjects"),
        lifetime=settings.expires,
    )


def published(
    workspace: Workspace, as_of: date, *, system: str, also: Iterable[str] = ()
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is to be known of everybody who is in a segment or a program, for readers that never open the warehouse."""
    from connector.live.publishing import Beyond, shown_columns

    beyond = Beyond(workspace)
    further = {name for name in shown_columns(workspace) if name in COLUMNS}
    for person in Crowd(workspace, as_of, system=system, also=also, further=further).shown():
        episode = next((episode for episode in person.episodes if episode.open), None)
        if person.segments or episode is not None:
            yield (
                person.row["contact_id"],
                {
                    "segments": list(person.segments),
                    "inactive_days": person.row["inactive_days"],
                    "blocked": person.eligibility.reason,
                    "program": None if episode is None else _told(episode),
                    **beyond.of(person, episode),
                },
            )


def _told(episode: Episode) -> dict[str, Any]:
    """An open episode for readers outside; a holdout's arm is not told, so that nobody acts on it."""
    return {
        "name": episode.program,
        "episode_id": episode.episode_id,
        "entered_at": episode.entered_at.isoformat(),
        "entered_as": episode.entered_as,
        "step": None if episode.held_out else episode.step,
        "offer": episode.offer,
    }


def _no_row() -> dict[str, Any]:
    from connector.program.columns import PERSON, SIGNALS

    row: dict[str, Any] = {name: None for name, _ in PERSON}
    row |= {column.relation or column.name: None if column.nullable else 0 for column in SIGNALS}
    return row | {"segments": [], "email": None, "inactive_days": None, "last_active_on": None, "timezone": None}


NO_ROW: Mapping[str, Any] = _no_row()
"""The row of somebody of whom the warehouse knows nothing any more."""
