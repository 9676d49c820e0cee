"""What the sandbox sends: outbound messages and call-outs of flows, in its own thread, never while the org is held."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.sandbox.answers import OK, stamp

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.flow_engine import FlowEngine
    from adapters.salesforce.sandbox.interviews import Interview
    from adapters.salesforce.sandbox.outbound import Message, Notification, Outbound
    from adapters.salesforce.sandbox.state import State

ANSWER_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.05
KEPT: Final = 500
NO_ANSWER: Final = 0
SECRET_HEADER: Final = "X-Winback-Secret"  # noqa: S105 - the name of a header
ACK: Final = "{http://soap.sforce.com/2005/09/outbound}Ack"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request that was made, and what came back; status 0: no answer."""

    at_ms: int
    kind: str
    name: str
    url: str
    records: int
    attempt: int
    status: int
    taken: bool

    def body(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "at": stamp(self.at_ms),
            "kind": self.kind,
            "name": self.name,
            "url": self.url,
            "records": self.records,
            "attempt": self.attempt,
            "status": self.status,
            "taken": self.taken,
        }


@dataclass(slots=True)
class Credential:
    """What flows call out with: the address in front of `/triggers/salesforce/<action>`, and the secret."""

    base_url: str = ""
    secret: str = ""

    def body(self) -> dict[str, Any]:
        """For the control API; the secret stays here."""
        return {"base_url": self.base_url, "secret": "…" if self.secret else ""}


class Sending:
    """Sends what is due on the sandbox's clock."""

    def __init__(self, state: State, *, flows: FlowEngine, outbound: Outbound, stopping: threading.Event) -> None:
        self._state = state
        self._flows = flows
        self._outbound = outbound
        self._stopping = stopping
        self._sending = threading.Lock()
        self.base_url = ""
        self.credential = Credential()
        self.deliveries: list[Delivery] = []
        self._thread = threading.Thread(target=self._run, name="salesforce-sandbox-sending", daemon=True)

    def start(self, base_url: str) -> None:
        """Begin to send, as an org at this address."""
        self.base_url = base_url
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread after `stopping` was set."""
        if self._thread.ident is not None:
            self._thread.join()

    def send_due(self) -> int:
        """Send everything that is due now, and what follows from it at once; how many requests were made."""
        made = 0
        with self._sending:
            while not self._stopping.is_set() and (number := self._deliver() + self._ask()):
                made += number
        return made

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            if self._outbound.waiting or self._flows.asking:
                self.send_due()

    def _deliver(self) -> int:
        with self._state.lock:
            now_ms = self._state.settle()
            found = self._outbound.due(now_ms)
            if found is None:
                return 0
            message, batch = found
            raw = self._outbound.envelope(message, batch, self.base_url)
        if raw is None:
            return 1
        status, content = _post(message.url, raw, {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'})
        with self._state.lock:
            self._delivered(message, batch, now_ms, status, taken=status == OK and _acknowledged(content))
        return 1

    def _delivered(
        self, message: Message, batch: Sequence[Notification], now_ms: int, status: int, *, taken: bool
    ) -> None:
        if taken:
            self._outbound.taken(batch)
        else:
            self._outbound.again(batch, now_ms=now_ms)
        attempt = batch[0].attempt
        self._note(Delivery(now_ms, "message", message.name, message.url, len(batch), attempt, status, taken))

    def _ask(self) -> int:
        with self._state.lock:
            now_ms = self._state.settle()
            due = [(one, self._question(one)) for one in self._flows.questions(now_ms)]
        for interview, question in due:
            action = interview.asking.action if interview.asking is not None else ""
            url = f"{self.credential.base_url.rstrip('/')}/triggers/salesforce/{action}"
            headers = {"Content-Type": "application/json", SECRET_HEADER: self.credential.secret}
            status, content = _post(url, json.dumps(question, separators=(",", ":")).encode(), headers)
            answer = _object(content) if status == OK else None
            fault = "" if answer is not None else f"the call-out answered {status or 'nothing'}"
            with self._state.lock:
                self._note(Delivery(now_ms, "call-out", action, url, 1, interview.asked, status, answer is not None))
                self._flows.answered(interview, answer, now_ms=now_ms, fault=fault)
                self._state.settle()
        return len(due)

    def _question(self, interview: Interview) -> dict[str, Any]:
        """The body of a call-out: flat, as a flow's Apex-defined input is."""
        person = self._state.row(interview.person_id)
        kind = self._state.kind_of(interview.person_id)
        inputs = interview.asking.inputs if interview.asking is not None else {}
        address = None if person is None else person.values.get("Email")
        return {
            "org_id": self._state.org_id,
            "record_id": interview.person_id,
            "idempotency_key": interview.guid,
            **({"email": address} if address else {}),
            "object": kind.name if kind else "",
            "event": "asked",
            **inputs,
        }

    def _note(self, delivery: Delivery) -> None:
        self.deliveries = [*self.deliveries[-KEPT:], delivery]


def _post(url: str, raw: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    import requests

    try:
        answer = requests.post(url, data=raw, headers=dict(headers), timeout=ANSWER_SECONDS, allow_redirects=False)
    except requests.exceptions.RequestException:
        return NO_ANSWER, b""
    return answer.status_code, answer.content


def _acknowledged(content: bytes) -> bool:
    """Whether the answer is SOAP that says yes; anything else is a no."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]  # it publishes no types

    try:
        found = fromstring(content).find(f".//{ACK}")
    except (ParseError, ValueError):
        return False
    return found is not None and (found.text or "").strip() == "true"


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(content)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
