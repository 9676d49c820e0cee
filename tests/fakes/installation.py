"""A winback installation beside a CRM's sandbox: a folder with a playbook, data, and the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock

from tests.fakes.people import NOON

ROOT = Path(__file__).parents[2]

PLAYBOOK = """\
version: 1
account: acme
timezone: UTC
warehouse: duckdb:///state/warehouse.duckdb
journal: {journal}

sources:
  crm: {{adapter: {adapter}, base_url: "{base_url}", auth: {auth}, streams: {streams}}}
  product:
    adapter: files
    streams:
      usage:
        path: data/usage*.csv
        mapping: {{contact_id: user_id, email: user_email, occurred_at: ts, feature: event, event_id: id}}

identity: {{match: [external_id, email]}}

segments:
  - {{name: dormant_30, group: dormancy, where: "inactive_days between 30 and 59"}}
  - {{name: dormant_60, group: dormancy, where: "inactive_days between 60 and 89"}}
  - {{name: dormant_90, group: dormancy, where: "inactive_days >= 90"}}
  - {{name: leads, where: "inactive_days >= 30 and role = 'team_lead'"}}

guards: {{max_change: 20%, empty_source: refuse, stale_source: {stale}}}

destinations:
  crm: {{adapter: {adapter}, lists: {{segments: true}}, properties: true}}
"""

AUTH = {
    "hubspot": '{token: "${HUBSPOT_TOKEN}"}',
    "salesforce": '{client_id: "${SF_CLIENT_ID}", client_secret: "${SF_CLIENT_SECRET}"}',
}
STREAMS = {"hubspot": "[contacts, companies]", "salesforce": "[contacts, leads, accounts, consents]"}


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document = json.loads(self.out)
        assert document["schema_version"] == 1
        return document


@dataclass
class Installation:
    """A playbook's folder. `run` calls the command line in this process, `spawn` in one of its own."""

    folder: Path
    base_url: str
    token: str
    journal: str = "sqlite:///state/journal.db"
    stale: str = "3000d"
    adapter: str = "hubspot"
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "data").mkdir(exist_ok=True)
        self.write_playbook()
        self.environment = {**self.environment, "HUBSPOT_TOKEN": self.token}

    @property
    def config(self) -> Path:
        return self.folder / "winback.yaml"

    def write_playbook(self, *replacements: tuple[str, str]) -> None:
        text = PLAYBOOK.format(
            journal=self.journal,
            base_url=self.base_url,
            stale=self.stale,
            adapter=self.adapter,
            auth=AUTH[self.adapter],
            streams=STREAMS[self.adapter],
        )
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text)

    def write_usage(self, rows: list[tuple[str, str, str]], *, name: str = "usage.csv") -> None:
        """Usage rows (user id, day or time, feature); ids are given by position and name."""
        lines = ["id,user_id,user_email,ts,event"]
        for number, (user, at, feature) in enumerate(rows):
            moment = at if "T" in at else f"{at}T12:00:00Z"
            lines.append(f"{name}-{number},{user},,{moment},{feature}")
        (self.folder / "data" / name).write_text("\n".join(lines) + "\n")

    def run(self, *arguments: str, now: datetime | None = NOON) -> Outcome:
        from connector.cli.main import main

        argv = ["winback", *arguments, *self._common(arguments, now)]
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "argv", argv),
            mock.patch.dict(os.environ, self.environment),
            mock.patch.object(sys, "stdin", io.StringIO()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        return Outcome(code, out.getvalue(), err.getvalue())

    def spawn(self, *arguments: str, now: datetime | None = NOON, **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "connector.cli.main", *arguments, *self._common(arguments, now)],
            cwd=ROOT, env={**os.environ, **self.environment, **environment}, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, check=False, timeout=240,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _common(self, arguments: tuple[str, ...], now: datetime | None) -> list[str]:
        common: list[str] = (
            []
            if {"-c", "--config", "adapters", "init", "schema", "demo"} & set(arguments)
            else ["--config", str(self.config)]
        )
        return [*common, "--now", now.isoformat()] if now is not None else common
