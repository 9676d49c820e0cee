"""An install with a program in a small world: facts, a CRM that watches its writers, and the real pipeline between.

Only the warehouse is replaced, by `Facts`, and the destination by `WatchedCrm`; the playbook, the engine, the plan, the
journal and the verbs of the command line are the real ones. `ProgramWorld` keeps its own account of who may be written
to and of what was really written, and says at once when that account is broken.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

from connector import failpoints
from connector.contracts import Capabilities, StreamInfo
from connector.errors import GuardTripped, StalePlan, StateError, WinbackError
from connector.journal import Journal
from connector.model import Outcome, PropertyRow, Receipt
from connector.pipeline import applying, plan_files, planning, recording, running, undoing
from connector.pipeline.outcome import Applied
from connector.plan.document import Plan
from connector.plan.steps import Enroll
from connector.program.columns import PERSON, SIGNALS
from connector.program.model import ConsentEvent, Episode, Status
from connector.program.suppression import about_address
from connector.registry import installed_adapters
from connector.settings import Playbook, load_playbook
from connector.wanted import program_list_name
from connector.warehouse.answers import Evaluation, IdentityReport, Refreshed, SourceStat
from connector.workspace import Workspace
from tests.fakes.memory_destination import MemoryDestination

NOW = datetime(2026, 10, 19, 9, 0, tzinfo=UTC)
CREATED = datetime(2024, 1, 1, tzinfo=UTC)
CRM = "crm"
TINY = Capabilities(
    members_per_call=3,
    properties_per_call=2,
    members_per_read=3,
    properties_per_read=2,
    enrollments_per_batch=2,
    opt_outs_per_batch=2,
)
PREFIX = "memory:"

PLAYBOOK = """\
version: 1
account: acme
timezone: Europe/Amsterdam
sources:
  crm: {adapter: hubspot, auth: {token: "${TOKEN}"}}
segments:
  - {name: cold, group: dormancy, where: "inactive_days between 10 and 19"}
  - {name: lost, group: dormancy, where: "inactive_days >= 20"}
program:
  name: win-back
  enroll: [lost, cold]
DRIVER  steps:
    - {name: reminder, day: 1, workflow: "901"}
    - {name: offer, day: 4, workflow: "902", when: "engaged.clicks = 0"}
    - {name: last_chance, day: 8, workflow: "903"}
  ends_after: 3d
  outcome_window: 30d
  holdout: {share: 30%}
  caps: {per_contact: 2 in 12d, gap: 3d, per_day: 2, quiet_after: 20d}
  send: {window: "09:00-17:00", days: business}
  consent: {profile: gdpr_strict, max_age: 5d, assume_country: NL}
  sunset: {after_episodes: 1, lasts: 15d}
guards: {max_change: 100%, empty_source: refuse}
destinations:
  crm: {adapter: hubspot, lists: {segments: true, steps: true}, properties: true, enroll: ENROLL}
"""

WAYS = ("list", "workflow", "crm-list", "crm-workflow")
"""How people come into the CRM's workflows, and who waits between steps."""


def playbook_text(way: str, *changes: tuple[str, str]) -> str:
    """The playbook for a way of enrolling, with parts replaced."""
    driver = '  driver: crm\n  workflow: "904"\n' if way.startswith("crm-") else ""
    text = PLAYBOOK.replace("DRIVER", driver).replace("ENROLL", way.removeprefix("crm-"))
    if way != "workflow":
        text = "\n".join(line.partition(", workflow:")[0] + _rest(line) for line in text.splitlines()) + "\n"
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def _rest(line: str) -> str:
    """What follows a step's workflow on its line."""
    _, found, after = line.partition(', workflow: "')
    return after.partition('"')[2] if found else ""


@cache
def playbook(way: str, *changes: tuple[str, str]) -> Playbook:
    """The checked playbook, read from a file as a user's is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "winback.yaml"
        path.write_text(playbook_text(way, *changes), encoding="utf-8")
        return load_playbook(path, environ={"TOKEN": "pat-test"}, adapters=installed_adapters())


class Hands:
    """Time that tests move; waiting moves it too."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Said:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        assert total is None or done <= total, task


# --- facts ------------------------------------------------------------------------------------------------


@dataclass
class Known:
    """What the warehouse knows of one contact."""

    contact_id: str
    email: str
    timezone: str | None = None
    can_email: bool | None = True
    opted_out: bool = False
    bounced: bool = False
    deleted_at: datetime | None = None
    merged_into: str | None = None
    uses: list[datetime] = field(default_factory=list)
    clicks: list[datetime] = field(default_factory=list)
    replies: list[datetime] = field(default_factory=list)
    payments: list[datetime] = field(default_factory=list)
    complained_at: datetime | None = None
    unsubscribed_at: datetime | None = None

    @property
    def row_id(self) -> str:
        return self.contact_id.removeprefix(PREFIX)


_EMPTY: Mapping[str, Any] = {
    **{name: None for name, _ in PERSON},
    **{column.relation or column.name: None if column.nullable else 0 for column in SIGNALS},
    **dict.fromkeys(("account_id", "country", "last_feature", "lifecycle_stage", "owner", "value_365d", "language")),
    "first_with_address": True,
    "milestone_days": 0,
}


class SmallCrowd:
    """A shortlist as the pipeline asks it."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def all_rows(self) -> Iterator[dict[str, Any]]:
        return iter(self._rows)


class Facts:
    """The warehouse as the pipeline asks it: rows as `Warehouse.people` gives them, out of memory."""

    def __init__(self, people: Sequence[Known], *, timezone: str, clock: Hands) -> None:
        self.everybody = {known.contact_id: known for known in people}
        self.zone = ZoneInfo(timezone)
        self.clock = clock
        self.number = 0
        self.confirmed_at = clock.now()
        self.cut_short = False
        self.recorded: set[str] = set()
        self.members_of: dict[str, list[str]] = {}
        self.days: dict[str, int | None] = {}

    def changed(self) -> None:
        """A fact was stored."""
        self.number += 1

    def version(self) -> str:
        return str(self.number)

    def match_identities(self, _match: Sequence[str]) -> IdentityReport:
        count = len(self.everybody)
        return IdentityReport(count, count, {}, 0, {}, ())

    def refresh(self, *, counts: str | None = None) -> Refreshed:
        assert counts is None
        return Refreshed(0, full=False)

    def source_stats(self) -> list[SourceStat]:
        rows = len(self.everybody) or 1
        now = 0 if self.cut_short else rows
        return [SourceStat(CRM, "contacts", now, self.clock.now(), rows, self.clock.now())]

    def evaluate(self, segments: Sequence[Any], as_of: date) -> Evaluation:
        self.members_of, self.days = {}, {}
        counts: Counter[str] = Counter()
        for known in self.everybody.values():
            if known.merged_into is not None:
                continue
            last = self.last_active_on(known, as_of)
            self.days[known.contact_id] = silent = None if last is None else (as_of - last).days
            row = {"inactive_days": silent}
            names = [s.segment.name for s in segments if known.deleted_at is None and s.condition.holds(row)]
            self.members_of[known.contact_id] = names
            counts.update(names)
        return Evaluation(as_of, len(self.days), counts, {}, {}, ())

    def record_evaluation(self, _as_of: date) -> None:
        self.recorded = {contact_id for contact_id, names in self.members_of.items() if names}

    def reachable(self, _as_of: date) -> int:
        return sum(not (k.deleted_at or k.opted_out or k.bounced or k.merged_into) for k in self.everybody.values())

    def merged(self, system: str) -> dict[str, str]:
        assert system == "memory"
        return {k.contact_id: self.survivor(k.contact_id) for k in self.everybody.values() if k.merged_into is not None}

    def survivor(self, contact_id: str) -> str:
        while (into := self.everybody[contact_id].merged_into) is not None:
            contact_id = into
        return contact_id

    def return_curve(self, _as_of: date) -> Any:
        return SimpleNamespace(p_return=(0.4, 0.3, 0.2, 0.1))

    def return_curve_aside(self, as_of: date) -> Any:
        """The same, found when it is called."""
        return lambda: self.return_curve(as_of)

    def mail_health(
        self, _since: datetime, *, touches: Any = None, sent: Mapping[str, int] | None = None
    ) -> Mapping[str, Mapping[str, int]]:
        assert sent is not None
        assert not list(touches or ())
        return {}

    def answered(self, _since: datetime) -> list[str]:
        """Nobody, as `mail_health` says."""
        return []

    def resolve(self, text: str) -> str | None:
        found = [k.contact_id for k in self.everybody.values() if text in (k.contact_id, k.email)]
        return self.survivor(found[0]) if found else None

    def contact_row(self, contact_id: str, as_of: date) -> dict[str, Any] | None:
        known = self.everybody.get(contact_id)
        return None if known is None or known.merged_into else self.row(known, as_of, None)

    def flags(self, contact_ids: Sequence[str]) -> list[dict[str, Any]]:
        rows = []
        for contact_id in contact_ids:
            known = self.everybody.get(contact_id)
            if known is not None:
                no = self.everybody[self.survivor(contact_id)]
                heard = no.unsubscribed_at is not None or no.complained_at is not None
                rows.append(
                    {
                        "contact_id": contact_id,
                        "email": known.email,
                        "deleted_at": known.deleted_at,
                        "merged_into": known.merged_into,
                        "opted_out": no.opted_out or heard,
                        "opted_out_anywhere": no.opted_out,
                        "opted_out_here": known.opted_out,
                        "bounced": no.bounced,
                        "engaged_unsubscribed_at": no.unsubscribed_at,
                        "engaged_complained_at": no.complained_at,
                    }
                )
        return rows

    def people(
        self,
        as_of: date,
        *,
        columns: Sequence[str] = (),
        episodes: Any = None,
        everybody_in: Sequence[str] = (),
        only: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        inside: dict[str, tuple[datetime, date]] = {}
        for contact_id, entered_at, started in _spells(episodes):
            if contact_id not in inside or inside[contact_id][0] < entered_at:
                inside[contact_id] = (entered_at, started)
        rows = []
        for contact_id in sorted(self.everybody):
            known = self.everybody[contact_id]
            if known.merged_into is not None and contact_id not in inside:
                continue
            concerned = (
                self.members_of.get(contact_id)
                or known.deleted_at
                or known.opted_out
                or known.bounced
                or known.complained_at
                or known.unsubscribed_at
                or contact_id in self.recorded
                or contact_id in inside
                or contact_id in everybody_in
            )
            if contact_id == only if only is not None else concerned:
                rows.append(dict.fromkeys(columns) | self.row(known, as_of, inside.get(contact_id)))
        return iter(rows)

    def shortlist(self, as_of: date, **asked: Any) -> SmallCrowd:
        """The same people: so few that all are looked at one by one."""
        return SmallCrowd(list(self.people(as_of, **asked)))

    def row(self, known: Known, as_of: date, entry: tuple[datetime, date] | None) -> dict[str, Any]:
        uses = self.uses(known, as_of)
        last = self.day(uses[-1]) if uses else None
        row = {
            **_EMPTY,
            "contact_id": known.contact_id,
            "email": known.email,
            "timezone": known.timezone,
            "can_email": known.can_email,
            "opted_out": known.opted_out,
            "opted_out_here": known.opted_out,
            "bounced": known.bounced,
            "deleted_at": known.deleted_at,
            "merged_into": known.merged_into,
            "created_at": CREATED,
            "last_active_at": uses[-1] if uses else None,
            "last_active_on": last,
            "inactive_days": None if last is None else (as_of - last).days,
            "segments": list(self.members_of.get(known.contact_id, ())),
            "engaged_complained_at": known.complained_at,
            "engaged_unsubscribed_at": known.unsubscribed_at,
            "confirmed_at": self.confirmed_at,
            "as_of": as_of,
        }
        return row | (self._signals(known, uses, *entry) if entry is not None else {})

    def _signals(self, known: Known, uses: Sequence[datetime], entered_at: datetime, started: date) -> dict[str, Any]:
        counted = [use for use in uses if self.day(use) >= started]
        since = [use for use in counted if use > entered_at]
        clicks, replies = ([at for at in found if at > entered_at] for found in (known.clicks, known.replies))
        return {
            "active_days_since_enrollment": len({self.day(use) for use in since}),
            "active_since_at": min(since, default=None),
            "spell_broken_on": min((use for use in counted if use <= entered_at), default=None),
            "engaged_clicks": len(clicks),
            "engaged_replies": len(replies),
            "engaged_last_at": max((*clicks, *replies), default=None),
            "engaged_replied_at": min(replies, default=None),
            "transactions_since_enrollment": sum(at > entered_at for at in known.payments),
        }

    def uses(self, known: Known, as_of: date) -> list[datetime]:
        """In order, up to the end of the day; what those did who were merged into the contact, it did."""
        mine = [known, *(k for k in self.everybody.values() if k.merged_into and self._goes_to(k, known.contact_id))]
        return sorted(use for k in mine for use in k.uses if self.day(use) <= as_of)

    def _goes_to(self, known: Known, contact_id: str) -> bool:
        return self.survivor(known.contact_id) == contact_id

    def last_active_on(self, known: Known, as_of: date) -> date | None:
        uses = self.uses(known, as_of)
        return self.day(uses[-1]) if uses else None

    def day(self, at: datetime) -> date:
        """The account's day."""
        return at.astimezone(self.zone).date()


def _spells(episodes: Any) -> Iterable[tuple[str, datetime, date]]:
    """Open episodes, as rows or as a table."""
    if hasattr(episodes, "to_pylist"):
        return [(row["contact_id"], row["entered_at"], row["spell_started_on"]) for row in episodes.to_pylist()]
    return episodes or ()


# --- the CRM ----------------------------------------------------------------------------------------------


class WatchedCrm(MemoryDestination):
    """A CRM that tells of every change as it happens, to whoever watches."""

    watcher: ProgramWorld

    def _join(self, list_id: str, members: set[str], row: str) -> Receipt:
        self.watcher.told("join", self.list_names[list_id], row)
        receipt = super()._join(list_id, members, row)
        if receipt.outcome is Outcome.WRITTEN:
            self.watcher.joined(self.list_names[list_id], row)
        return receipt

    def _leave(self, list_id: str, members: set[str], row: str) -> Receipt:
        self.watcher.left()
        return super()._leave(list_id, members, row)

    def _write(self, row: PropertyRow) -> Receipt:
        if any(row.values.values()):
            self.watcher.told("set", "", row.row_id)
        return super()._write(row)

    def _enter(self, workflow: str, row: str) -> Receipt:
        self.watcher.told("enroll", f"workflow:{workflow}", row)
        receipt = super()._enter(workflow, row)
        if receipt.outcome is Outcome.WRITTEN:
            self.watcher.joined(f"workflow:{workflow}", row)
        return receipt

    def _exit(self, workflow: str, row: str) -> Receipt:
        self.watcher.left()
        return super()._exit(workflow, row)


class _Source:
    system = "memory"

    def streams(self) -> list[StreamInfo]:
        return [StreamInfo("contacts", "contacts", None)]


class Install(Workspace):
    """A workspace whose systems are in memory."""

    def __init__(self, playbook: Playbook, folder: Path, *, facts: Facts, crm: MemoryDestination, clock: Hands) -> None:
        super().__init__(playbook, base_dir=folder, clock=clock, reporter=Said(), adapters=installed_adapters())
        self._warehouse = facts  # type: ignore[assignment]
        self._destinations = {CRM: crm}  # type: ignore[dict-item]

    def source(self, name: str) -> Any:
        assert name == CRM
        return _Source()

    def budget(self, name: str) -> None:
        assert name == CRM


# --- the world --------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The process died."""


@dataclass(frozen=True)
class Touch:
    """A step that really reached somebody: whose it was then, when it was decided and may be sent."""

    key: tuple[str, str]
    contact_id: str
    decided_at: datetime
    send_at: datetime
    """When the CRM may send; at once, if it was told later than that."""


class ProgramWorld:
    """One install, and what is true in it whatever our books say.

    What it looks at can be made stricter:
    """

    late_writes_count = True
    """A step the CRM hears of after its moment counts from when it heard, not from that moment."""
    merges_on_the_way = True
    """A contact is merged while it is not known whether it is on a list."""
    undone_counts = True
    """What was taken back after it had gone out counts against the day's cap."""
    asked_again = True
    """Before a write of an older plan, or of an undo, all that is asked for a plan is asked again."""

    def __init__(
        self,
        way: str,
        people: Sequence[Known],
        folder: Path,
        *changes: tuple[str, str],
        now: datetime = NOW,
        capabilities: Capabilities = TINY,
        prepared: bool = False,
    ) -> None:
        self.way = way
        self.clock = Hands(now)
        self.playbook = playbook(way, *changes)
        (self.program,) = self.playbook.programs
        self.facts = Facts(people, timezone=self.playbook.timezone, clock=self.clock)
        self.crm = WatchedCrm([known.row_id for known in people], capabilities=capabilities, now=self.clock.now)
        self.crm.watcher = self
        self.crm.instant = {"901", "904"}
        self.folder = folder
        self.install = Install(self.playbook, folder, facts=self.facts, crm=self.crm, clock=self.clock)
        if prepared:
            _prepare(self, way, changes)
        else:
            shutil.copyfile(_empty_journal(), self.install.state_dir / "journal.db")
        # What really happened.
        self.joins: Counter[tuple[str, str]] = Counter()
        self.touches: list[Touch] = []
        self.writes: list[tuple[str, str, str, datetime]] = []
        self.not_counted: set[tuple[str, str]] = set()
        self.first_addition = False
        self.merges: list[tuple[datetime, str, str]] = []
        self.by_hand: set[tuple[str, str]] = set()
        self.seen: dict[str, Episode] = {}
        self.drawn_while: dict[str, set[date]] = defaultdict(set)
        self.broken: list[str] = []
        # What people said.
        self.said_no: dict[str, str] = {}
        self.snoozed: dict[str, datetime] = {}
        self.said_at: dict[str, datetime] = {}
        """When each was last heard to say no, or not now."""
        self.suppressed: set[str] = set()
        self.granted: dict[str, datetime] = {}
        self.in_flight: set[str] = set()
        self.of_an_older_plan = False
        self.undoing = False
        self.began: datetime | None = None
        self.last_run: str | None = None
        self.numbers = 0

    @property
    def journal(self) -> Journal:
        return self.install.journal

    def close(self) -> None:
        with self.install:
            pass

    # --- watching the CRM ---------------------------------------------------------------------------------

    def told(self, what: str, target: str, row_id: str) -> None:
        """The CRM was told something about a record: may it be, at this moment?"""
        self.first_addition = True
        contact_id = PREFIX + row_id
        why = self.refuses(contact_id)
        if why is not None and contact_id not in self.in_flight:
            self.broken.append(f"{what} {target}: {contact_id} was written to though {why}")
        if not self.undoing or self.asked_again:
            self.writes.append((what, target, contact_id, self.clock.now()))

    def left(self) -> None:
        if self.first_addition:
            self.broken.append("somebody was taken off after somebody else was added in the same run")

    def joined(self, target: str, row_id: str) -> None:
        """Somebody really came onto a list or into a workflow; was it a step, and of which episode?"""
        if target not in self.places:
            return
        contact_id = PREFIX + row_id
        of_theirs = [e for e in self.journal.episodes.of(contact_id) if e.open]
        mine = next((e for e in of_theirs if e.step in self.places[target]), None)
        if mine is None or mine.step_state not in {"decided", "written"} or mine.step is None:
            self.broken.append(f"{contact_id} joined {target} without a decision: {of_theirs}")
            return
        key = (mine.episode_id, "" if self.way.startswith("crm-") else mine.step)
        self.joins[key] += 1
        if self.joins[key] > 1:
            self.broken.append(f"{contact_id} was enrolled twice for {key}")
        assert mine.step_at is not None
        assert mine.send_at is not None
        sent = max(mine.send_at, self.clock.now()) if self.late_writes_count else mine.send_at
        self._touched(Touch(key, contact_id, mine.step_at, sent))
        if mine.send_at >= self.clock.now() and f"/{contact_id}/" in mine.episode_id:
            self._inside_hours(self.touches[-1])

    @property
    def places(self) -> Mapping[str, set[str]]:
        """Lists and workflows that start something, and the steps each is for."""
        steps = [step.name for step in self.program.steps]
        match self.way:
            case "list":
                return {program_list_name(self.program.name, step): {step} for step in steps}
            case "workflow":
                return {f"workflow:{step.workflow}": {step.name} for step in self.program.steps}
            case "crm-list":
                return {program_list_name(self.program.name): set(steps)}
            case _:
                return {f"workflow:{self.program.workflow}": set(steps)}

    def _touched(self, touch: Touch) -> None:
        most, period = self.program.caps.per_contact
        theirs = [t for t in self.touches if self.same_person(t.contact_id, touch.contact_id, at=touch.decided_at)]
        if not self.way.startswith("crm-"):
            near = [t for t in theirs if abs(t.send_at - touch.send_at) < self.program.caps.gap]
            if near:
                self.broken.append(f"{touch} within the gap of {near}")
            within = [t for t in theirs if timedelta() <= touch.send_at - t.send_at < period]
            if len(within) >= most:
                self.broken.append(f"{touch} is one too many within {period}: {within}")
        self.touches.append(touch)

    def _inside_hours(self, touch: Touch) -> None:
        known = self.facts.everybody[touch.contact_id]
        if self.way.startswith("crm-"):
            return
        local = touch.send_at.astimezone(ZoneInfo(known.timezone or self.playbook.timezone))
        send = self.program.send
        if local.weekday() not in send.days or (send.window and not send.window[0] <= local.time() <= send.window[1]):
            self.broken.append(f"{touch} is sent at {local}, outside the hours")

    def same_person(self, one: str, other: str, *, at: datetime) -> bool:
        """Whether two ids were one person at that moment."""
        return self._who(one, at) == self._who(other, at)

    def _who(self, contact_id: str, at: datetime) -> str:
        for moment, gone, into in self.merges:
            if moment <= at and gone == contact_id:
                contact_id = into
        return contact_id

    def refuses(self, contact_id: str) -> str | None:  # noqa: PLR0911  # one answer a reason
        """Why nothing may be written about this contact now; from what we were told, not from any code of ours."""
        known = self.facts.everybody[contact_id]
        formerly = self.formerly(contact_id)
        back = max((self.granted[who] for who in formerly if who in self.granted), default=None)
        for who in formerly:
            # The last word of one person counts, also where it was said before two records became theirs.
            lifted = back is not None and who in self.said_at and back > self.said_at[who]
            if who in self.said_no and not (lifted and self.said_no[who] != "erased"):
                return f"{who} {self.said_no[who]}"
            if self.snoozed.get(who, self.clock.now()) > self.clock.now() and not lifted:
                return "snoozed"
        if known.merged_into is not None:
            return "merged"
        if known.deleted_at is not None:
            return "deleted"
        if known.email in self.suppressed and not self.of_an_older_plan:
            return "suppressed"
        heard = [at for at in (known.complained_at, known.unsubscribed_at) if at is not None]
        if known.opted_out or known.bounced or (heard and (back is None or back <= max(heard))):
            return "the facts say no"
        granted = back is not None
        if self.of_an_older_plan:
            return None
        if known.can_email is False or (known.can_email is None and not granted):
            return "no consent"
        # Whether the CRM's word is too old is judged once, as a command begins: its retries may take a minute.
        stale = (self.began or self.clock.now()) - self.facts.confirmed_at > self.program.consent.max_age
        return "consent is stale" if stale and not granted else None

    def formerly(self, contact_id: str) -> list[str]:
        """All ids this person has had."""
        now = self.clock.now()
        return [contact_id, *(gone for _, gone, _ in self.merges if self._who(gone, now) == contact_id)]

    # --- what people do -----------------------------------------------------------------------------------

    def contact(self, contact_id: str) -> Known:
        """Who is there now for somebody who may have been merged."""
        return self.facts.everybody[self.facts.survivor(contact_id)]

    def use(self, contact_id: str, at: datetime | None = None) -> None:
        """The contact uses the product, maybe long ago: that is when we hear of it."""
        self.facts.everybody[contact_id].uses.append(at or self.clock.now())
        self.facts.changed()

    def ledger(self, contact_id: str, status: Status, *, until: datetime | None = None, address: bool = False) -> None:
        """A line in the consent ledger, of the contact or of its address alone."""
        known = self.contact(contact_id)
        self.numbers += 1
        event = ConsentEvent(
            subject=known.contact_id,
            status=status,
            captured_at=self.clock.now(),
            source="test",
            event_key=f"test:{self.numbers}",
            expires_at=until,
            evidence={"said": "so"},
        )
        if address:
            event = about_address(event, known.email, self.install.suppression_key())
        self.journal.consent.record([event])
        if address:
            self.suppressed.add(known.email)
        elif status is Status.SNOOZED and until is not None:
            self.said_at[known.contact_id] = self.clock.now()
            self.snoozed[known.contact_id] = max(until, self.snoozed.get(known.contact_id, until))
        elif status is Status.RESUBSCRIBED:
            self.granted[known.contact_id] = self.clock.now()
            for who in self.formerly(known.contact_id):
                self.snoozed.pop(who, None)
                if self.said_no.get(who) != "erased":
                    self.said_no.pop(who, None)
        else:
            for who in self.formerly(known.contact_id):
                self.granted.pop(who, None)
            self.said_at[known.contact_id] = self.clock.now()
            if self.said_no.get(known.contact_id) != "erased":
                self.said_no[known.contact_id] = str(status)

    def delete(self, contact_id: str) -> None:
        """The CRM loses the contact, and we hear of it."""
        known = self.contact(contact_id)
        known.deleted_at = self.clock.now()
        self._forget(known.row_id)
        self.facts.changed()

    def merge(self, gone_id: str, into_id: str) -> None:
        """The CRM makes two contacts one: the one left is on the lists of both, and so is what was said."""
        gone, into = self.contact(gone_id), self.contact(into_id)
        if gone is into or gone.deleted_at or into.deleted_at:
            return
        if not self.merges_on_the_way and self.journal.ledger.unresolved(CRM):
            return
        gone.merged_into = into.contact_id
        into.opted_out = into.opted_out or gone.opted_out
        into.bounced = into.bounced or gone.bounced
        into.complained_at = into.complained_at or gone.complained_at
        into.unsubscribed_at = into.unsubscribed_at or gone.unsubscribed_at
        for members in (*self.crm.members_of.values(), *self.crm.enrolled_in.values()):
            if gone.row_id in members:
                members.add(into.row_id)
        self.crm.values[into.row_id] = {**self.crm.values.get(gone.row_id, {}), **self.crm.values.get(into.row_id, {})}
        self.by_hand |= {(target, into.row_id) for target, row_id in self.by_hand if row_id == gone.row_id}
        self.merges.append((self.clock.now(), gone.contact_id, into.contact_id))
        self._forget(gone.row_id)
        self.facts.changed()

    def _forget(self, row_id: str) -> None:
        self.crm.contacts.discard(row_id)
        self.crm.values.pop(row_id, None)
        for members in (*self.crm.members_of.values(), *self.crm.enrolled_in.values()):
            members.discard(row_id)

    def edit_by_hand(self, listed: str, row_id: str) -> None:
        """A person puts somebody on a list of ours, or takes them off."""
        for list_id, name in self.crm.list_names.items():
            if name == listed and row_id in self.crm.contacts:
                members = self.crm.members_of[list_id]
                if row_id in members:
                    members.discard(row_id)
                else:
                    members.add(row_id)
                    self.by_hand.add((listed, row_id))

    # --- what winback does --------------------------------------------------------------------------------

    def pull(self) -> None:
        """The CRM is read: what it was told about opt-outs comes back as its own word."""
        for known in self.facts.everybody.values():
            if known.row_id in self.crm.unsubscribed and not known.opted_out and known.deleted_at is None:
                known.opted_out = True
                self.facts.changed()
        self.facts.confirmed_at = self.clock.now()

    def run(self, *, pull: bool = True, publish: bool = True, **trouble: Any) -> Applied | None:
        """`winback run`; None when it did not come to its end. Telling readers outside may be left out: it takes long."""
        if pull:
            self.pull()
        if not publish:
            with mock.patch.object(running, "publish", return_value={}):
                return self._try(lambda: running.run(self.install), **trouble)
        return self._try(lambda: running.run(self.install), **trouble)

    def plan(self, *, refresh: bool = False) -> Plan:
        """`winback plan`, written and read back as the file it is."""
        self.pull()
        planned = planning.make_plan(self.install, refresh=refresh)
        if refresh:
            self.by_hand.clear()
        path = plan_files.plan_path(self.install, planned.plan)
        planned.plan.write(path)
        return Plan.read(path)

    def apply(self, plan: Plan, **trouble: Any) -> Applied | None:
        """`winback apply` of this plan."""
        self.of_an_older_plan = not self.asked_again
        return self._try(lambda: applying.apply_file(self.install, plan), **trouble)

    def undo(self, **trouble: Any) -> Applied | None:
        """`winback undo` of the newest run that wrote; None when there is nothing to take back."""
        undone = self.last_run
        if undone is None:
            return None
        self.of_an_older_plan = not self.asked_again
        applied = self._try(lambda: undoing.undo(self.install, undone), undoing=True, **trouble)
        self.take_back()
        return applied

    def _try(
        self,
        work: Callable[[], Applied],
        *,
        faults: Sequence[str | None] = (),
        at: int | str | None = None,
        meanwhile: Callable[[], str] | None = None,
        undoing: bool = False,
    ) -> Applied | None:
        """Work in a world where things break: the process dies at the so-many-th failpoint, or something happens."""
        self.crm.faults.clear()
        self.crm._unanswered.clear()  # a command is a process of its own: what it remembered is gone
        self.crm.faults.extend(faults)
        self.first_addition = False
        self.in_flight = set()
        self.undoing = undoing
        self.began = self.clock.now()
        failpoints.reset()
        before = {run.run_id for run in self.journal.runs.recent()}
        applied: Applied | None = None
        with _breaking(at, None if meanwhile is None else lambda name: self._meanwhile(meanwhile, name)):
            try:
                applied = work()
            except (Crash, StalePlan, GuardTripped):
                applied = None
            except StateError:
                if not undoing:
                    raise
            except WinbackError:
                if not faults:
                    raise
        self.crm.faults.clear()
        self.of_an_older_plan = False
        self.began = None
        new = [run.run_id for run in self.journal.runs.recent() if run.run_id not in before]
        self.last_run = None if undoing else (new[0] if new else self.last_run)
        self.look()
        return applied

    def _meanwhile(self, happen: Callable[[], str], name: str) -> None:
        """Something happens while the run is at work; a write that is on its way already may still arrive."""
        contact_id = happen()
        if name not in SETTLED:
            self.in_flight.add(contact_id)

    # --- what must hold -----------------------------------------------------------------------------------

    def look(self) -> None:
        """Compare what was written with what may be; AssertionError tells everything that is wrong."""
        everybody = list(self.journal.episodes.everybody())
        self._look_at_episodes(everybody)
        self._look_at_holdout(everybody)
        self._look_at_days(everybody)
        self.seen = {episode.episode_id: episode for episode in everybody}
        self.writes.clear()
        assert not self.broken, "\n".join(self.broken)

    def _look_at_episodes(self, everybody: Sequence[Episode]) -> None:
        """One open episode a contact; a new one only for another silence, after the quiet period."""
        by_person: dict[str, list[Episode]] = defaultdict(list)
        for episode in everybody:
            by_person[episode.contact_id].append(episode)
        for episode in everybody:
            before = self.seen.get(episode.episode_id)
            lost = before is not None and before.open and episode.exit_reason == "lost_consent"
            if lost and not self.in_flight and self.refuses(episode.contact_id) in {None, "consent is stale"}:
                self.broken.append(f"{episode.episode_id} ended though nobody refused anything")
        for contact_id, episodes in by_person.items():
            if sum(episode.open for episode in episodes) > 1:
                self.broken.append(f"{contact_id} has several open episodes")
            for new in (e for e in episodes if e.episode_id not in self.seen):
                for old in (e for e in episodes if e.episode_id in self.seen and e.entered_at < new.entered_at):
                    self._look_at_pair(contact_id, old, new)

    def _look_at_pair(self, contact_id: str, old: Episode, new: Episode) -> None:
        if old.exited_at is None or old.exited_at > new.entered_at:
            self.broken.append(f"{new.episode_id} was opened while {old.episode_id} was")
            return
        if new.entered_at - old.exited_at < self.program.caps.quiet_after:
            self.broken.append(f"{new.episode_id} was opened within the quiet period after {old.episode_id}")
        uses = self.facts.uses(self.facts.everybody[contact_id], self.facts.day(new.entered_at))
        back = any(self.facts.day(use) >= self.facts.day(old.entered_at) for use in uses)
        if not back and old.exit_reason != "never_dormant":
            self.broken.append(f"{new.episode_id} is for the same silence as {old.episode_id}")

    def _look_at_holdout(self, everybody: Sequence[Episode]) -> None:
        """Whoever is held out was told nothing since entry, nor in that silence before."""
        for _, _, contact_id, at in self.writes:
            known = self.facts.everybody[contact_id]
            last = self.facts.last_active_on(known, self.facts.day(at))
            if last is not None:
                self.drawn_while[contact_id].add(last + timedelta(days=1))
        for episode in everybody:
            contact_id = episode.contact_id
            if not episode.held_out or f"/{contact_id}/" not in episode.episode_id:
                continue
            if episode.episode_id not in self.seen and episode.spell_started_on in self.drawn_while[contact_id]:
                self.broken.append(f"{contact_id} was written to before it was held out in {episode.episode_id}")
            for what, target, who, at in self.writes:
                if who == contact_id and self.leaves_alone(episode, at):
                    self.broken.append(f"{what} {target}: {contact_id} is held out in {episode.episode_id}")

    def leaves_alone(self, episode: Episode, at: datetime) -> bool:
        """Whether a holdout's contact is left alone at that moment."""
        if episode.exited_at is None:
            return True
        assert episode.outcome_until is not None
        uses = self.facts.uses(self.facts.everybody[episode.contact_id], self.facts.day(at))
        back = any(self.facts.day(use) >= self.facts.day(episode.entered_at) for use in uses)
        over = episode.exit_reason in {"reactivated", "never_dormant", "merged"}
        return not over and not back and at < episode.outcome_until

    def _look_at_days(self, everybody: Sequence[Episode]) -> None:
        """Entries, and touches that were really written, by the account's day of their decision."""
        limit = self.program.caps.per_day
        if limit is None:
            return
        entries = Counter(self.facts.day(e.entered_at) for e in everybody if not e.held_out)
        touched = Counter(self.facts.day(t.decided_at) for t in self.touches if t.key not in self.not_counted)
        counted = {"entered": entries} if self.way.startswith("crm-") else {"entered": entries, "touched": touched}
        for what, by_day in counted.items():
            for day, number in by_day.items():
                if number > limit:
                    self.broken.append(f"{number} were {what} on {day}, {limit} may be")

    def take_back(self) -> None:
        """Of what an undo took back, whatever had not gone out never was."""
        episodes, now = self.journal.episodes, self.clock.now()
        for touch in self.touches:
            taken = (s for s in episodes.steps(touch.key[0]) if s.step == touch.key[1])
            if not self.undone_counts and any(s.undone_at is not None for s in taken):
                self.not_counted.add(touch.key)
        self.touches = [
            touch
            for touch in self.touches
            if touch.send_at <= now
            or any(s.step == touch.key[1] and s.undone_at is None for s in episodes.steps(touch.key[0]))
            or (self.way.startswith("crm-") and episodes.get(touch.key[0]) is not None)
        ]

    def look_at_lists(self) -> None:
        """After a run that came to its end: whoever came back, said no or is held out is on nothing of ours."""
        episodes = {e.contact_id: e for e in self.journal.episodes.everybody() if e.open}
        here = {f"workflow:{name}": rows for name, rows in self.crm.enrolled_in.items()} | self.crm.holdings()
        for target, rows in here.items():
            for row_id in rows:
                if (target, row_id) in self.by_hand:
                    continue
                contact_id = PREFIX + row_id
                why = self.refuses(contact_id)
                if why is not None and why != "consent is stale":
                    self.broken.append(f"{contact_id} is still in {target} though {why}")
                episode = episodes.get(contact_id)
                if episode is not None and episode.held_out:
                    self.broken.append(f"{contact_id} is in {target} though held out")
                if target in self.places and episode is None and why != "consent is stale":
                    self.broken.append(f"{contact_id} is still in {target} without an episode")
                if target in self.places and episode is not None and self._is_back(episode):
                    self.broken.append(f"{contact_id} is still in {target} though back")
        assert not self.broken, "\n".join(self.broken)

    def _is_back(self, episode: Episode) -> bool:
        uses = self.facts.uses(self.facts.everybody[episode.contact_id], self.facts.day(self.clock.now()))
        return any(use > episode.entered_at for use in uses)

    def nothing_changes(self, *, run: bool = True) -> None:
        """A run that is repeated at once writes nothing and decides nothing."""
        before = (self.crm.state(), list(self.journal.episodes.everybody()))
        plan = self.plan()
        for _ in range(len(self.program.steps)):
            # A workflow of the CRM walks by itself, and we note one of its steps a run. And a step that was confirmed
            # late may be followed at once by one that is passed over: somebody comes off, and nobody joins anything.
            joining = plan.added or any(isinstance(step, Enroll) for step in plan.steps)
            if not plan.empty and (self.way.startswith("crm-") or not joining):
                assert self.run() is not None
                before = (self.crm.state(), list(self.journal.episodes.everybody()))
                plan = self.plan()
        assert plan.empty, plan.steps
        if not run:
            return
        applied = self.run()
        assert applied is not None
        assert applied.report.written == 0
        assert (self.crm.state(), list(self.journal.episodes.everybody())) == before


_whole_digest = Playbook.digest
_digests: dict[int, str] = {}


def _digest(playbook: Playbook) -> str:
    """Playbooks of tests live for good, and theirs need not be worked out for every run."""
    if id(playbook) not in _digests:
        _digests[id(playbook)] = _whole_digest(playbook)
    return _digests[id(playbook)]


SETTLED = frozenset({"apply.step_done", "apply.confirmed", "apply.decided", "apply.undo_opened", "apply.started"})
"""Failpoints between two writes: nothing is on its way there."""


@contextmanager
def _breaking(at: int | str | None, happen: Callable[[str], None] | None) -> Iterator[None]:
    """Make the so-many-th failpoint kill the process, or let something happen there; nothing is pulled for real."""
    recorded: Any = recording.Recorded  # a dead process writes no end into its run
    ending = recorded.__exit__

    def die(name: str) -> None:
        if happen is None:
            raise Crash(name)
        happen(name)

    def exit_unless_dead(self: Any, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, Crash):
            ending(self, kind, error, trace)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(running, "pull_sources", return_value=[]))
        stack.enter_context(mock.patch.object(Playbook, "digest", _digest))
        if at is not None:
            stack.enter_context(mock.patch.object(failpoints, "die", die))
            stack.enter_context(mock.patch.object(recorded, "__exit__", exit_unless_dead))
            stack.enter_context(
                mock.patch.dict(os.environ, {failpoints.VARIABLE: at if isinstance(at, str) else f"*:{at}"})
            )
        yield


@cache
def _empty_journal() -> Path:
    """A journal as it is when it is new: making one takes longer than copying one."""
    folder = Path(tempfile.mkdtemp(prefix="winback-tests-"))
    path = folder / "journal.db"
    with Journal.open(f"sqlite:///{path}", clock=Hands()):
        pass
    return path


@cache
def _made(way: str, changes: Sequence[tuple[str, str]]) -> tuple[Path, WatchedCrm]:
    """The journal and the CRM after a run in which nobody was there yet: making lists and properties takes long."""
    path = Path(tempfile.mkdtemp(prefix="winback-tests-")) / "journal.db"
    with program_world(way, [], *changes, now=NOW - timedelta(hours=1)) as world:
        assert world.run() is not None
        world.close()
        shutil.copyfile(world.folder / "state" / "journal.db", path)
    return path, world.crm


def _prepare(world: ProgramWorld, way: str, changes: Sequence[tuple[str, str]]) -> None:
    path, made = _made(way, tuple(changes))
    shutil.copyfile(path, world.install.state_dir / "journal.db")
    world.crm.list_names = dict(made.list_names)
    world.crm.members_of = {list_id: set() for list_id in made.members_of}
    world.crm.specs = dict(made.specs)


@contextmanager
def program_world(
    way: str,
    people: Sequence[Known],
    *changes: tuple[str, str],
    now: datetime = NOW,
    capabilities: Capabilities = TINY,
    prepared: bool = False,
) -> Iterator[ProgramWorld]:
    """A fresh install with these people; a prepared one has made its lists and properties before."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        world = ProgramWorld(way, people, Path(folder), *changes, now=now, capabilities=capabilities, prepared=prepared)
        try:
            yield world
        finally:
            world.close()


def person(number: int, silent: int | None, *, timezone: str | None = None, now: datetime = NOW, **more: Any) -> Known:
    """Somebody last active so many days ago, at noon."""
    uses = []
    if silent is not None:
        uses = [datetime.combine(now.date() - timedelta(days=silent), time(12), UTC)]
    return Known(f"{PREFIX}{number}", f"person{number}@example.com", timezone, uses=uses, **more)
