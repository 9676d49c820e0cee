"""Our pages served on a thread, with something on each of them, and a headless browser that looks at them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from connector.journal.feedback import Answer
from connector.journal.inbox import Kept
from connector.journal.outbox import Intent
from connector.journal.settlement import Settlement
from connector.program.model import Basis, ConsentEvent, Move, Status
from tests.fakes.hearing import ANN, HELD, NOW
from tests.fakes.pages import PLAYBOOK, pages_of, playbook_in
from tests.fakes.web import Web

CHROMIUM = Path("/usr/bin/chromium")


@dataclass
class Served:
    """A site that really listens."""

    site: Web
    url: str


@contextmanager
def served(folder: Path, *, text: str = "", account: str = "Acme Instruments") -> Iterator[Served]:
    """The whole application on a port of this machine; `text` stands in every field that a stranger can fill."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    words = PLAYBOOK.replace("https://acme.example/pricing", f"http://localhost:{port}/healthz")
    playbook = playbook_in(folder, base=url, account=account, text=words)
    with pages_of(folder, playbook=playbook) as site:
        fill(site, text)
        server = make_server("127.0.0.1", port, site.app, threaded=True, request_handler=_Quiet)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield Served(site, url)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


def fill(site: Web, text: str = "") -> None:
    """Events in every state, a decision, answers, consent and changes about Ann; `text` in every text there is."""
    journal, at = site.journal, NOW - timedelta(hours=3)
    journal.inbox.keep(
        [
            Kept(
                source="tiny",
                key=f"{number}{text}",
                kind=f"used{text}",
                payload=json.dumps({"id": number, "said": text}),
                received_at=at + timedelta(minutes=number),
                request_id=f"r{number}",
            )
            for number in range(1, 9)
        ]
    )
    for row, (state, effect) in zip(
        journal.inbox.claim(4, lease_seconds=1, owner="test"),
        [
            ("done", "left win-back: reactivated"),
            ("done", "answered: price"),
            ("ignored", "a machine's"),
            ("done", "kept"),
        ],
        strict=True,
    ):
        settlement = Settlement(number=row.number, state=state, effect=effect + text, contact_id=ANN)  # type: ignore[arg-type]
        journal.settlement.settle(settlement)
    for row in journal.inbox.claim(1, lease_seconds=1, owner="test"):
        journal.inbox.set_aside(row.number, f"cannot be understood: no `at`{text}")
    columns = {"lifetime_value": 129.5, "role": f"team_lead{text}", "last_active_at": "2026-10-08T09:00:00Z"}
    decision = {"segments": ["dormant_30"], "inactive_days": 43, "blocked": None, "columns": columns}
    journal.decisions.publish(date(2026, 11, 20), {ANN: decision, HELD: {**decision, "blocked": "no_consent"}})
    episode = journal.episodes.of(ANN)[0]
    journal.episodes.move(
        [Move(episode.episode_id, ANN, "hello", "decided", date(2026, 11, 11), NOW - timedelta(days=9))], run_id="run-2"
    )
    said = {"subject": ANN, "source": f"form{text}", "captured_at": datetime(2025, 3, 1, tzinfo=UTC)}
    evidence = {"form": f"signup{text}", "wording": "v3"}
    journal.consent.record(
        [
            ConsentEvent(
                status=Status.GRANTED,
                event_key="g",
                basis=Basis.CONSENT_EXPRESS,
                evidence=evidence,
                **said,  # type: ignore[arg-type]
            )
        ]
    )
    journal.feedback.record(
        [
            Answer(
                answer_key="a1",
                contact_id=ANN,
                at=NOW - timedelta(days=1),
                source="typeform",
                reason="price",
                score=4,
                survey=f"Why did you stop?{text}",
                response="r1",
                text=f"Too expensive for what we use of it, honestly.{text}",
                confidence=0.82,
            )
        ]
    )
    journal.outbox.add(
        [
            Intent(key="i1", kind="set", payload={"values": {"winback_reason": "price"}}, contact_id=ANN),
            Intent(key="i2", kind="leave", payload={"reason": f"replied{text}", "of": "program"}, contact_id=ANN),
            Intent(key="i3", kind="opt_out", payload={}, contact_id=HELD, urgent=True),
        ]
    )
    [urgent] = journal.outbox.claim(1, owner="test", lease_seconds=1)
    journal.outbox.done([urgent.number], run_id="run-3")
    [first, *_] = journal.outbox.claim(1, owner="test", lease_seconds=1)
    journal.outbox.later(first.number, f"the CRM answers 503{text}", NOW + timedelta(minutes=2), owner="test")
    site.service.counting.count("tiny", "bad_signature")


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip("there is no Chromium at /usr/bin/chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def looking(browser: Any, *, width: int = 1280, scheme: str = "light", **options: Any) -> Iterator[Watched]:
    """A page in a browser of its own, and what went wrong in it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
    try:
        context.set_default_timeout(10_000)
        page = context.new_page()
        seen = Watched(page)
        page.on("console", lambda message: message.type == "error" and seen.errors.append(message.text))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("dialog", lambda dialog: seen.dialogs.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: seen.requests.append(request.url))
        yield seen
    finally:
        context.close()


class Watched:
    """A page, and all that a browser says about it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        self.requests: list[str] = []

    def elsewhere(self, *ours: str) -> Sequence[str]:
        """What was asked of others."""
        return [url for url in self.requests if not url.startswith(ours)]


def sign_in(page: Any, url: str, name: str = "ada") -> None:
    """As a person does."""
    from tests.fakes.pages import PASSWORDS

    page.goto(f"{url}/login")
    page.fill("#name", name)
    page.fill("#password", PASSWORDS[name])
    page.press("#password", "Enter")
    page.wait_for_url(f"{url}/")
