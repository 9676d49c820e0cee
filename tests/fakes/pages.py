"""Our pages over a real journal, with people in a program, as a playbook would set them up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import argon2

from connector.journal import Journal
from connector.live.hearing import Hearing
from connector.live.people import Finder
from connector.program.model import Entry
from connector.settings import Playbook, load_playbook
from tests.fakes.clocks import VirtualClock
from tests.fakes.hearing import ANN, HELD, KEYS, LINKS, NOW, QUIET, SYSTEM, address, entered, external_id, rules
from tests.fakes.tiny_adapters import ADAPTERS
from tests.fakes.web import Web, web
from webhooks import links, operators, pages
from webhooks.service import Service

PASSWORDS = {"ada": "ada's own long password", "vic": "vic's own long password"}
ROLES = {"ada": "operator", "vic": "viewer"}

PLAYBOOK = """\
version: 1
account: {account}
sources:
  crm: {{adapter: crm, auth: {{token: "${{CRM_TOKEN}}"}}}}
segments:
  - {{name: dormant_60, where: "inactive_days between 60 and 89 and role = 'team_lead'"}}
  - {{name: dormant_30, where: "inactive_days between 30 and 59 or lifetime_value > 900"}}
program:
  name: win-back
  enroll: [dormant_60, dormant_30]
  steps:
    - {{name: hello, day: 1}}
    - {{name: offer, day: 7}}
    - {{name: last, day: 14}}
links:
  public_base_url: {base}
  destinations: {{home: "https://app.acme.example/start?utm_source=ours#top", pricing: "https://acme.example/pricing"}}
  default: home
webhooks:
  public_base_url: {base}
  operators:
    ada: {{password: "${{ADA}}", role: operator}}
    vic: {{password: "${{VIC}}", role: viewer}}
"""


@cache
def hashed(password: str) -> str:
    """A password's hash that is cheap to check."""
    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


@cache
def _migrated() -> bytes:
    """A journal that is migrated and empty; migrating one for every test takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal.sqlite"
        Journal.open(f"sqlite:///{file}", clock=VirtualClock(NOW)).close()
        return file.read_bytes()


@cache
def usual_playbook() -> Playbook:
    """The playbook above, read once."""
    with tempfile.TemporaryDirectory() as folder:
        return playbook_in(Path(folder))


def playbook_in(
    folder: Path, *, base: str = "https://winback.example.com", account: str = "acme", text: str = PLAYBOOK
) -> Playbook:
    """The playbook above, read from a file."""
    file = folder / "winback.yaml"
    file.write_text(text.format(base=base, account=account))
    environ = {
        "CRM_TOKEN": "token-token-token",
        "ADA": hashed(PASSWORDS["ada"]),
        "VIC": hashed(PASSWORDS["vic"]),
    }
    return load_playbook(file, environ=environ, adapters=ADAPTERS, receivers={})


def hearing_of(service: Service) -> Hearing:
    """The ear of these pages."""
    finder = Finder(service.journal.known, service.journal.links, KEYS, links=LINKS, system=SYSTEM)
    return Hearing(service.journal, finder, rules(), service.clock)


@contextmanager
def pages_of(folder: Path, *, journal_url: str | None = None, **changes: Any) -> Iterator[Web]:
    """The application with every page; Ann is in the program, Held in its holdout, Quiet in nothing."""
    given = {"playbook": changes.pop("playbook", None) or usual_playbook(), "links": LINKS, **changes}
    given.setdefault("public_base_url", given["playbook"].webhooks.public_base_url)
    made = (
        pages.blueprint,
        lambda service: links.blueprint(service, hearing=hearing_of(service)),
        lambda service: operators.blueprint(service, keys=KEYS),
    )
    if journal_url is None:
        (folder / "journal.sqlite").write_bytes(_migrated())
    with web(journal_url or f"sqlite:///{folder}/journal.sqlite", blueprints=made, **given) as site:
        site.clock.at = NOW
        people = {ANN: [entered(ANN)], HELD: [entered(HELD, arm="holdout")], QUIET: []}
        for contact_id, episodes in people.items():
            site.journal.episodes.enter([Entry(one) for one in episodes], run_id="run-1")
            site.journal.links.remember({LINKS.subject(contact_id): contact_id})
        site.journal.known.publish(
            row
            for contact_id in people
            for row in (
                ("email", KEYS.email(address(contact_id)), contact_id),
                ("external_id", KEYS.external_id(external_id(contact_id)), contact_id),
            )
        )
        yield site


def link(action: str, contact_id: str = ANN, *, site: Web | None = None) -> str:
    """The path of somebody's link."""
    made = site.clock.now() if site is not None else NOW
    return f"/l/{LINKS.token(action, contact_id, 'win-back/offer', now=made)}"
