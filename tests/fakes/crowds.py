"""Small companies with all kinds of people in a real warehouse and journal, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from connector import programs
from connector.holdings import current
from connector.program.model import HOLDOUT, TREATED, Basis, ConsentEvent, Entry, Episode, Exit, Move, Split, Status
from connector.program.suppression import about_address
from connector.target import Target, target
from connector.workspace import Workspace
from mappings.schema import StreamMapping
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.warehouse_feed import Feed, mapping

NOW = datetime(2026, 11, 19, 10, 30, tzinfo=UTC)
TODAY = date(2026, 11, 18)
STEPS = ("reminder", "offer", "last_chance")

PLAYBOOK = """\
version: 1
account: acme
timezone: {timezone}
warehouse: "duckdb:///:memory:"
journal: sqlite:///state/journal.db
sources:
  crm: {{adapter: hubspot, auth: {{token: "${{TOKEN}}"}}}}
segments:
  - {{name: cold, group: dormancy, where: "inactive_days between 10 and 29"}}
  - {{name: lost, group: dormancy, where: "inactive_days >= 30"}}
  - {{name: chiefs, where: "role = 'cto'"}}
  - {{name: shown, where: "inactive_days >= 20 and country = 'NL'"}}
programs:
  - name: win-back
    enroll: [{enroll}]
    steps:
      - {{name: reminder, day: 1}}
      - {{name: offer, day: 4, when: "engaged.clicks = 0", offer: ladder}}
      - {{name: last_chance, day: 8, adjust: [{{when: "engaged.clicks >= 1", day: 6}}]}}
    ends_after: 3d
    outcome_window: 30d
    holdout: {{share: 30%, unit: {unit}}}
    caps: {{per_contact: 2 in 12d, gap: 3d, {per_day}quiet_after: 10d}}
    send: {{window: "09:00-17:00", days: business}}
    consent: {consent}
    offers: {{ladder: [none, credit], items: {{credit: {{cost: 5, redeemed_by: "active_days_28 >= 1"}}}}}}
    sunset: {{after_episodes: 1, lasts: 15d}}
    reasons: {{price: {{step: offer, offer: credit}}, quality: {{step: last_chance}}}}
{second}guards: {{max_change: 100%, empty_source: refuse}}
destinations:
  crm: {{adapter: hubspot, lists: {{segments: true, steps: true}}, properties: true, enroll: list}}
"""

SECOND = """\
  - name: chiefs-back
    enroll: [chiefs]
    driver: crm
    steps:
      - {{name: call, day: 0}}
    caps: {{per_contact: 2 in 12d, gap: 3d, {per_day}quiet_after: 10d}}
    reactivated: "{reactivated}"
    consent: {consent}
"""

CONSENTS = (
    "{profile: gdpr_strict, max_age: 5d}",
    "{profile: gdpr_soft_opt_in, max_age: 5d, countries: {US: can_spam, CA: casl}, assume_country: NL}",
    "{profile: can_spam, max_age: 5d}",
    "{profile: casl, max_age: 1m}",
    "{profile: gdpr_strict, max_age: 5d, hygiene: false}",
)

CONTACTS = StreamMapping.model_validate(
    {
        "system": "x",
        "stream": "contacts",
        "into": "contacts",
        "fields": {
            name: {"from": name}
            for name in (
                "contact_id", "account_id", "external_id", "email", "timezone", "country", "role", "can_email",
                "opted_out", "bounced", "created_at", "deleted_at",
            )
        },
        "attributes": {
            name: {"from": name, "transform": "time"}
            for name in (
                "consent_at", "snoozed_until", "last_paid_at", "email_last_click_at", "email_bounced_at",
                "owner_contacted_at", "became_customer_at",
            )
        }
        | {name: {"from": name} for name in ("legal_hold", "erased", "consent_basis")},
    }
)  # fmt: skip
USAGE = mapping("usage", "contact_id", "occurred_at", "feature", "event_id")
MAILS = mapping("engagements", "contact_id", "kind", "event_id", "campaign", "step", "machine", at="sent_at")
ADDRESSES = (
    "sales{0}@x.org", "info@x{0}.org", "Upper{0}@x.org", "p{0}@mailinator.com", "no at sign", "", "  ", "q{0}+t@x.org",
    "jörg{0}@x.org", "r{0}@x.org.", "support+{0}@x.org", "a..b{0}@x.org", "s{0}@münchen.example", "two@x.org",
    "two@x.org", "o'hara{0}@x.co.uk", "u{0}@localhost", " v{0}@x.org", "w{0}@y.org\n",
)  # fmt: skip


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW

    def sleep(self, seconds: float) -> None:
        """Nobody waits."""


class Quiet:
    """Says nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Company:
    """One company, drawn.

    calm: Nearly everybody is in a program, may be mailed, and did nothing since.
    """

    def __init__(self, seed: int, folder: Path, *, people: int = 60, calm: bool = False) -> None:
        self.random = random.Random(seed)
        self.people = people
        self.calm = calm
        (folder / "state").mkdir()
        (folder / "winback.yaml").write_text(self._playbook(), encoding="utf-8")
        self.workspace = Workspace.load(
            folder / "winback.yaml", clock=Still(), reporter=Quiet(), environ={"TOKEN": "pat-test"}
        )
        self.workspace._destinations["crm"] = MemoryDestination()
        self.paused = {"win-back": "drawn"} if self.random.random() < 0.1 else {}

    def _playbook(self) -> str:
        draw = self.random
        per_day = draw.choice(["per_day: 0, ", "per_day: 1, ", "per_day: 3, ", "per_day: 8, ", ""])
        consent = draw.choice(CONSENTS)
        second = SECOND.format(
            per_day=per_day, consent=consent,
            reactivated=draw.choice(["active_days_since_enrollment >= 1", "inactive_days < 12"]),
        )  # fmt: skip
        return PLAYBOOK.format(
            timezone=draw.choice(["UTC", "Europe/Amsterdam", "America/Los_Angeles"]),
            enroll="lost, cold" if self.calm else draw.choice(["lost, cold", "cold, lost", "lost"]),
            unit=draw.choice(["contact", "account", "auto"]),
            per_day=per_day,
            consent=consent,
            second=second if draw.random() < 0.5 and not self.calm else "",
        )

    def fill(self) -> None:
        """Store everything, then evaluate the day."""
        feed = Feed(self.workspace.warehouse, pulled_at=NOW - timedelta(hours=self.random.choice([3, 3, 3, 3, 3, 200])))
        own = [self._contact(number) for number in range(self.people)]
        feed.page(own, CONTACTS, source="crm", system="memory")
        feed.page([self._contact(n) for n in range(0, self.people, 7)], CONTACTS, source="b", system="other")
        uses = []
        for number in range(self.people):
            for _ in range(self.random.choice([0, 1, 1, 1, 2])):
                at = NOW - timedelta(
                    days=self.random.choice([50, 70, 90] if self.calm else [5, 11, 15, 28, 31, 40, 70, 90]),
                    hours=number,
                )
                uses.append({"contact_id": f"u{number}", "occurred_at": at, "feature": "f", "event_id": None})
        feed.page(uses, USAGE)
        kinds = ("click", "reply", "visit", "bounce", "spam", "unsubscribe", "delivered")
        mails = [
            {
                "contact_id": str(self.random.randrange(self.people)), "kind": self.random.choice(kinds),
                "event_id": f"m{number}", "campaign": "c", "step": None, "machine": self.random.choice([None, False, True]),
                "sent_at": NOW - timedelta(days=self.random.randrange(30), minutes=number),
            }
            for number in range(0 if self.calm else self.people // 10)
        ]  # fmt: skip
        feed.page(mails, MAILS, source="crm", system="memory")
        feed.ready()
        self._episodes()
        self._ledger(own)
        warehouse = self.workspace.warehouse
        self.evaluation = warehouse.evaluate(self.workspace.playbook.checked_segments, TODAY)
        if self.random.random() < 0.3:
            warehouse.record_evaluation(TODAY)

    def _contact(self, number: int) -> dict[str, Any]:
        draw = self.random
        often = self.calm or draw.random() < 0.75
        plain = often or draw.random() < 0.4
        day = timedelta(days=1)

        def seldom(*values: Any) -> Any:
            return None if often or draw.random() < 0.8 else draw.choice(values)

        return {
            "contact_id": str(number),
            "external_id": f"u{number}" if draw.random() < 0.9 else None,
            "account_id": draw.choice([None, "", "a1", "a2", f"c{number}"]),
            "email": f"p.{number}@x.org"
            if plain
            else draw.choice((*ADDRESSES, None)) and draw.choice(ADDRESSES).format(number),
            "timezone": draw.choice([None, "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati", "nowhere"]),
            "country": draw.choice(["NL", "NL", "NL", "US", "CA", "Holland", None, "Atlantis"]),
            "role": draw.choice([None, None, "cto", "ops"]),
            "can_email": True if often else draw.choice([True, False, None]),
            "opted_out": seldom(True, False),
            "bounced": seldom(True, False),
            "created_at": draw.choice([None, NOW - 400 * day]),
            "deleted_at": seldom(NOW - 3 * day),
            "consent_at": seldom(NOW - 900 * day, NOW - 20 * day, NOW + day),
            "snoozed_until": seldom(NOW + 9 * day, NOW - 9 * day),
            "last_paid_at": seldom(NOW - 100 * day, NOW - 900 * day),
            "email_last_click_at": seldom(NOW - 2 * day, NOW - 60 * day),
            "email_bounced_at": seldom(NOW - 2 * day, NOW - 60 * day),
            "owner_contacted_at": seldom(NOW - 2 * day, NOW - 60 * day),
            "became_customer_at": seldom(NOW - 2 * day, NOW - 60 * day),
            "legal_hold": seldom("true", "false"),
            "erased": seldom("true", "false"),
            "consent_basis": "consent_express"
            if draw.random() < 0.7
            else draw.choice([None, "soft_opt_in", "contract", "legitimate_interest", "word"]),
        }

    def _episodes(self) -> None:
        draw, journal = self.random, self.workspace.journal.episodes
        names = [program.name for program in self.workspace.playbook.programs]
        for name in names:
            if draw.random() < 0.75:
                unit = draw.choice(["contact", "account"])
                journal.fix_splits({name: Split(share=0.3, unit=unit, salt=f"s/{name}", eligible=50)})
        for number in range(-2, self.people):
            for age in sorted(
                {
                    draw.choice([1, 2, 3, 4, 6, 8, 9, 20, 45])
                    for _ in range(draw.choice([1] if self.calm else [0, 0, 1, 1, 2]))
                },
                reverse=True,
            ):
                self._episode(
                    f"{'other' if draw.random() < 0.03 else 'memory'}:{number}",
                    draw.choice([*names, "gone"] if draw.random() < 0.1 else names),
                    age,
                )

    def _episode(self, contact_id: str, program: str, age: int) -> None:
        draw, journal = self.random, self.workspace.journal.episodes
        entered = NOW - timedelta(days=age, hours=draw.randrange(24))
        spell = entered.date() - timedelta(days=0 if self.calm else draw.choice([0, 10, 20, 40]))
        episode = Episode(
            episode_id=f"{program}/{contact_id}/{spell}", contact_id=contact_id, program=program,
            spell_started_on=spell, entered_at=entered, entered_as="lost", arm=draw.choice([TREATED, TREATED, HOLDOUT]),
            unit=f"{contact_id}/{spell}", stratum="lost", share=0.3, outcome_until=entered + timedelta(days=30),
        )  # fmt: skip
        journal.enter([Entry(episode)], run_id="before")
        steps = STEPS if program == "win-back" else ("call",)
        if not episode.held_out:
            for number, step in enumerate(steps[: draw.randrange(len(steps) + 1)]):
                at = min(entered + timedelta(days=(1, 4, 8)[number]), NOW - timedelta(hours=1))
                state = draw.choice(["decided", "decided", "skipped"])
                pending = state == "decided" and draw.random() < 0.2
                journal.move(
                    [
                        Move(
                            episode.episode_id, contact_id, step, state, at.date(), at,
                            send_at=at if state == "decided" else None, target="list" if pending else None,
                            row_id=contact_id.partition(":")[2] if pending else None,
                            offer="credit" if step == "offer" else None, code=f"C{age}-{contact_id}" if step == "offer" else None,
                        )
                    ],
                    run_id="before",
                )  # fmt: skip
        if draw.random() < (0.05 if self.calm else 0.4):
            reason = draw.choice(["completed", "completed", "reactivated", "left_segment", "never_dormant", "manual"])
            at = min(entered + timedelta(days=draw.randrange(1, 20)), NOW)
            journal.exit([Exit(episode.episode_id, contact_id, reason, at, answered=draw.random() < 0.2)], run_id="b")

    def _ledger(self, own: list[dict[str, Any]]) -> None:
        draw, events = self.random, []
        for contact in draw.sample(own, self.people // 8):
            status = draw.choice(
                [Status.GRANTED, Status.WITHDRAWN, Status.SNOOZED, Status.LEGAL_HOLD, Status.RESUBSCRIBED]
            )
            event = ConsentEvent(
                subject=f"memory:{contact['contact_id']}", status=status, captured_at=NOW - timedelta(days=4),
                source="test", event_key=f"k{contact['contact_id']}", evidence={"form": "f"},
                basis=Basis.CONSENT_EXPRESS if status is Status.GRANTED else None,
                expires_at=NOW + timedelta(days=3) if status is Status.SNOOZED else None,
            )  # fmt: skip
            events.append(event)
        if draw.random() < 0.5:
            pepper = self.workspace.suppression_key()
            for contact in draw.sample([c for c in own if (c["email"] or "").strip()], 5):
                said = ConsentEvent(
                    subject="memory:0", status=Status.WITHDRAWN, captured_at=NOW - timedelta(days=4), source="list",
                    event_key=f"s{contact['contact_id']}",
                )  # fmt: skip
                events.append(about_address(said, contact["email"], pepper))
        self.workspace.journal.consent.record(events)

    def target(self, *, shortlist: bool) -> Target:
        """What the destination should hold, by the short way or the long one."""
        with (
            mock.patch.object(programs, "LARGE", 0 if shortlist else 10**9),
            mock.patch.object(programs.Crowd, "_paused", return_value=self.paused),
        ):
            return target(self.workspace, "crm", self.evaluation, current(self.workspace, "crm"))

    def decided(self, *, shortlist: bool) -> tuple[Any, list[Any], list[str]]:
        """The decisions, what everybody was seen as, and the codes found redeemed."""
        people = []

        def seen(person: Any) -> bool:
            row = person.row
            shown = [row[name] for name in ("last_active_at", "last_active_on", "last_feature", "inactive_days")]
            if not row["contact_id"].startswith("memory:"):
                people.append((row["contact_id"], list(person.segments)))
                return False
            reason = person.eligibility.reason
            people.append(
                (row["contact_id"], list(person.segments), reason, shown, row["opted_out_here"], row["email"])
            )
            return True

        crowd = programs.Crowd(self.workspace, TODAY, system="memory", shortlist=shortlist)
        with (
            mock.patch.object(programs, "LARGE", 0),
            mock.patch.object(programs.Crowd, "_paused", return_value=self.paused),
        ):
            decisions = crowd.decide(seen)
        return decisions, sorted(people, key=lambda told: told[0]), sorted(crowd.redeemed)

    def published(self, *, shortlist: bool) -> dict[str, Any]:
        """What readers outside are told of everybody, by the short way or the long one."""
        with mock.patch.object(programs, "LARGE", 0 if shortlist else 10**9):
            told = list(programs.published(self.workspace, TODAY, system="memory"))
        assert len({contact_id for contact_id, _ in told}) == len(told)
        return dict(told)


@contextmanager
def company(seed: int, *, people: int = 60, calm: bool = False) -> Iterator[Company]:
    """A company of this seed, everything stored."""
    with TemporaryDirectory() as folder:
        drawn = Company(seed, Path(folder), people=people, calm=calm)
        with drawn.workspace:
            drawn.fill()
            yield drawn
