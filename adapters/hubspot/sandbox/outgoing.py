"""What the sandbox sends: signed as the vendor signs, in a thread of its own, never while the account is held."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from adapters.hubspot.sandbox.answers import iso

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.state import State

ANSWER_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.05
KEPT: Final = 500
_SUCCESS, _NO_ANSWER = range(200, 300), 0
_DECODED: Final = ("%3A", "%2F", "%3F", "%40", "%21", "%24", "%27", "%28", "%29", "%2A", "%2C", "%3B")
"""The only escapes that are undone before an address is signed."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that was made, and what came back; status 0: no answer."""

    at_ms: int
    url: str
    kind: str
    events: int
    attempt: int
    status: int

    def body(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "at": iso(self.at_ms),
            "url": self.url,
            "kind": self.kind,
            "events": self.events,
            "attempt": self.attempt,
            "status": self.status,
        }


def signed(url: str, body: bytes, *, secret: str, at_ms: int, version: str) -> Mapping[str, str]:
    """The headers of a POST; `version` is v1 (webhooks) or v2 (workflow actions), and v3 comes along."""
    key = secret.encode()
    address = url
    for escape in _DECODED:
        address = address.replace(escape, unquote(escape)).replace(escape.lower(), unquote(escape))
    timestamp = str(at_ms)
    old = key + body if version == "v1" else key + b"POST" + url.encode() + body
    mac = hmac.digest(key, b"POST" + address.encode() + body + timestamp.encode(), "sha256")
    return {
        "Content-Type": "application/json",
        "X-HubSpot-Signature-v3": base64.b64encode(mac).decode(),
        "X-HubSpot-Request-Timestamp": timestamp,
        "X-HubSpot-Signature": hashlib.sha256(old).hexdigest(),
        "X-HubSpot-Signature-Version": version,
    }


class Outgoing:
    """Sends what is due on the sandbox's clock: deliveries to an app, and calls of its actions."""

    def __init__(self, state: State, *, stopping: threading.Event) -> None:
        self._state = state
        self._stopping = stopping
        self._sending = threading.Lock()
        self.deliveries: list[Delivery] = []
        self._thread = threading.Thread(target=self._run, name="hubspot-sandbox-outgoing", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread after `stopping` was set."""
        if self._thread.ident is not None:
            self._thread.join()

    def send_due(self) -> int:
        """Send everything that is due now, and what follows from it at once; how many requests were made."""
        made = 0
        with self._sending:
            while not self._stopping.is_set() and (number := self._deliver() + self._call()):
                made += number
        return made

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            if self._state.news.waiting or self._state.calls.waiting():
                self.send_due()

    def _deliver(self) -> int:
        with self._state.lock:
            now_ms, app = self._state.settle(), self._state.news.app
            batch = self._state.news.due(now_ms) if app.target_url else []
        if not batch:
            return 0
        status, _, _ = self._post(app.target_url, [pending.body() for pending in batch], now_ms, version="v1")
        with self._state.lock:
            if status in _SUCCESS:
                self._state.news.taken(batch)
            else:
                self._state.news.again(batch, now_ms=now_ms)
            self._note(Delivery(now_ms, app.target_url, "webhook", len(batch), batch[0].attempt, status))
        return 1

    def _call(self) -> int:
        with self._state.lock:
            now_ms = self._state.settle()
            due = self._state.calls.due(now_ms)
        for call in due:
            status, answer, pause_ms = self._post(call.definition.url, call.body, now_ms, version="v2")
            with self._state.lock:
                self._note(Delivery(now_ms, call.definition.url, "action", 1, call.attempt, status))
                if self._state.calls.answered(call, status, answer, pause_ms=pause_ms, now_ms=now_ms):
                    self._state.workflows.resume(call.flow_id, call.enrollment)
                self._state.settle()
        return len(due)

    def _post(self, url: str, body: Any, now_ms: int, *, version: str) -> tuple[int, Any, int | None]:
        """Status, JSON and the pause that was asked for: workflow actions read Retry-After in milliseconds."""
        import requests

        raw = json.dumps(body, separators=(",", ":")).encode()
        headers = signed(url, raw, secret=self._state.news.app.client_secret, at_ms=now_ms, version=version)
        try:
            response = requests.post(url, data=raw, headers=headers, timeout=ANSWER_SECONDS, allow_redirects=False)
        except requests.exceptions.RequestException:
            return _NO_ANSWER, None, None
        try:
            answer = response.json() if response.content else None
        except ValueError:
            answer = None
        asked = response.headers.get("Retry-After", "")
        return response.status_code, answer, int(asked) if asked.isdigit() else None

    def _note(self, delivery: Delivery) -> None:
        self.deliveries = [*self.deliveries[-KEPT:], delivery]
