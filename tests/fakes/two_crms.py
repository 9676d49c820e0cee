"""Two CRMs in memory with people in both, and an install that reads and writes them; the product is a CSV file.

A CRM is found again by its folder, so that a process that was killed leaves behind what it wrote.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from connector.cli.main import main
from connector.clock import FixedClock
from connector.contracts import Adapter, AdapterOptions, Clock, Connection, StreamInfo
from connector.errors import RetriableError
from connector.model import Cursor, Finding, Page
from connector.pipeline.outcome import Applied
from connector.pipeline.running import run
from connector.registry import Adapters, installed_adapters
from connector.settings import load_playbook
from connector.workspace import Workspace
from tests.fakes.installation import Outcome
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.people import NOON, TODAY

FIRST, SECOND = "alpha", "beta"
"""The systems: alpha comes first in the playbook."""

COLUMNS = (
    *("contact_id", "external_id", "email", "first_name", "last_name", "role", "plan_tier", "owner", "created_at"),
    *("can_email", "opted_out", "merged_ids"),
)

PLAYBOOK = """\
version: 1
account: acme
timezone: UTC
warehouse: "duckdb:///state/warehouse.duckdb"
journal: "sqlite:///state/journal.db"
sources:
  a: {adapter: alpha, place: "FOLDER"}
  b: {adapter: beta, place: "FOLDER"}
  product:
    adapter: files
    streams:
      usage:
        path: data/usage*.csv
        mapping: {contact_id: user_id, email: user_email, occurred_at: ts, feature: event, event_id: id}
identity: {match: [external_id, email]}
segments:
  - {name: dormant_30, group: dormancy, where: "inactive_days between 30 and 59"}
  - {name: dormant_60, group: dormancy, where: "inactive_days >= 60"}
program:
  name: win-back
  enroll: [dormant_60, dormant_30]
  steps:
    - {name: reminder, day: 0}
    - {name: offer, day: 7}
  ends_after: 7d
  holdout: {share: 0%}
  caps: {per_contact: 4 in 30d, gap: 3d, per_day: 5000, quiet_after: 90d}
  consent: {profile: gdpr_strict, max_age: 48h, assume_country: NL}
  sunset: {after_episodes: 1, segment: sunset}
guards: {max_change: 100%, empty_source: allow, stale_source: 3000d}
webhooks: {public_base_url: "https://winback.acme.example"}
destinations:
  a: {adapter: alpha, place: "FOLDER"}
  b: {adapter: beta, place: "FOLDER"}
"""

STEP_LISTS = tuple(f"winback · win-back · {step}" for step in ("reminder", "offer"))


class Store(MemoryDestination):
    """A CRM: a destination, and the people it lists. `away`: it answers nothing."""

    def __init__(self, system: str, folder: Path | None = None) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self._file = folder / f"{system}-people.json" if folder is not None else None
        super().__init__(path=folder / f"{system}.json" if folder is not None else None)
        self.system = system
        self.away = False
        self.before_request = lambda _name: self.answer()
        if self._file is not None and self._file.exists():
            self.people = json.loads(self._file.read_text())
            self.contacts = set(self.people)

    def answer(self) -> None:
        if self.away:
            raise RetriableError(f"{self.system} is away")

    def add(self, row_id: str, **fields: Any) -> None:
        """A person, or what is new about one."""
        there = self.people.setdefault(row_id, {"contact_id": row_id, "created_at": "2024-01-01T00:00:00Z"})
        there.update({"can_email": True, "opted_out": False} | there | fields)
        self.contacts.add(row_id)
        self.keep()

    def drop(self, row_id: str) -> None:
        """The person is deleted."""
        del self.people[row_id]
        self.contacts.discard(row_id)
        for members in self.members_of.values():
            members.discard(row_id)
        self.keep()

    def opt_out_by_hand(self, row_id: str) -> None:
        """The person says so in the CRM itself."""
        self.add(row_id, opted_out=True)

    def records(self) -> list[dict[str, Any]]:
        """As the source reads them: what was written to the CRM is its own word by then."""
        self.answer()
        return [
            dict.fromkeys(COLUMNS) | person | {"opted_out": person["opted_out"] or row_id in self.unsubscribed}
            for row_id, person in sorted(self.people.items())
        ]

    def keep(self) -> None:
        if self._file is not None:
            self._file.write_text(json.dumps(self.people))
        self.save()

    def on(self, *names: str) -> set[str]:
        """Who is on any of these lists; of none named: on any list of ours."""
        return set().union(*(rows for name, rows in self.holdings().items() if not names or name in names))


class StoreOptions(AdapterOptions):
    place: str

    def mapping_for(self, stream: str) -> Mapping[str, str]:
        return {name: name for name in COLUMNS} if stream == "contacts" else {}


@dataclass
class StoreSource:
    store: Store

    def __post_init__(self) -> None:
        self.system = self.store.system

    def check(self) -> Iterator[Finding]:
        return iter(())

    def streams(self) -> Sequence[StreamInfo]:
        return [StreamInfo("contacts", "contacts", None)]

    def read(self, _stream: str, cursor: Cursor | None) -> Iterator[Page]:
        number = int(cursor["number"]) + 1 if cursor else 1
        yield Page(
            records=self.store.records(), cursor={"number": number}, snapshot=str(number), snapshot_complete=True
        )

    def close(self) -> None:
        return


STORES: dict[tuple[str, str], Store] = {}


def store(system: str, place: str) -> Store:
    """The CRM of this system in this folder."""
    if (system, place) not in STORES:
        STORES[system, place] = Store(system, Path(place))
    return STORES[system, place]


def _adapter(system: str) -> Adapter:
    def there(connection: Connection) -> Any:
        return store(system, connection.options.place)

    return Adapter(
        system, system.title(), StoreOptions, Path(), source=lambda c: StoreSource(there(c)), destination=there
    )


class WithStores(Adapters):
    """What is installed, and the two CRMs."""

    def __init__(self) -> None:
        super().__init__(installed_adapters()._points)
        for system in (FIRST, SECOND):
            self._points[system] = None  # type: ignore[assignment]
            self._loaded[system] = _adapter(system)


class Said:
    """Hears what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        return


@dataclass
class TwoCrms:
    """An install beside both."""

    folder: Path
    playbook: str = PLAYBOOK
    said: Said = field(default_factory=Said)

    def __post_init__(self) -> None:
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self.config = self.folder / "winback.yaml"
        self.config.write_text(self.playbook.replace("FOLDER", str(self.folder)))
        self.a = store(FIRST, str(self.folder))
        self.b = store(SECOND, str(self.folder))
        if not (self.folder / "data" / "usage.csv").exists():
            self.uses({})

    def copied(self, folder: Path) -> TwoCrms:
        """An install of its own that begins where this one stands."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return TwoCrms(folder, self.playbook)

    def write_playbook(self, *replacements: tuple[str, str]) -> None:
        text = self.playbook
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text.replace("FOLDER", str(self.folder)))

    def uses(self, silent: Mapping[str, int], *, name: str = "usage") -> None:
        """Product users, by external id or address, and for how many days each has been silent."""
        lines = ["id,user_id,user_email,ts,event"]
        for who, days in silent.items():
            user, email = (who.partition("@")[0] + "-login", who) if "@" in who else (who, "")
            for back in range(5):
                at = TODAY - timedelta(days=days + 3 * back)
                lines.append(f"{name}-{who}-{back},{user},{email},{at}T12:00:00Z,editor")
        (self.folder / "data" / f"{name}.csv").write_text("\n".join(lines) + "\n")

    @contextmanager
    def opened(self, at: datetime = NOON, *, clock: Clock | None = None) -> Iterator[Workspace]:
        """The install, at this moment or by this clock."""
        adapters = WithStores()
        playbook = load_playbook(self.config, environ={}, adapters=adapters, receivers={})
        with Workspace(
            playbook, base_dir=self.folder, clock=clock or FixedClock(at), reporter=self.said, adapters=adapters
        ) as workspace:
            yield workspace

    def cli(self, *arguments: str, day: float = 0) -> Outcome:
        """`winback …` on that day."""
        argv = ["winback", *arguments, "--config", str(self.config), "--now", (NOON + timedelta(days=day)).isoformat()]
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "argv", argv),
            mock.patch.object(sys, "stdin", io.StringIO()),
            mock.patch("connector.workspace.installed_adapters", WithStores),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        return Outcome(code, out.getvalue(), err.getvalue())

    def run(self, day: float = 0) -> Applied:
        """`winback run` on that day."""
        with self.opened(NOON + timedelta(days=day)) as workspace:
            return run(workspace)
