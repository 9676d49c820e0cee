"""The web application over a real journal, for tests; and a receiver as small as one can be."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any

from flask import Flask
from flask.testing import FlaskClient
from pydantic import BeforeValidator

from connector.errors import MalformedPayload
from connector.heard import Used, Who
from connector.journal import Journal
from connector.journal.intake import Intake
from connector.receivers import (
    Call,
    Event,
    Incoming,
    Parsed,
    Receiver,
    ReceiverOptions,
    Reply,
    Secrets,
    Triggers,
    Verdict,
    secrets,
)
from tests.fakes.clocks import VirtualClock
from tests.fakes.incoming import BASE_URL, NOW
from webhooks.app import create_app
from webhooks.payloads import Count, Id, Payload, Text, checked, from_seconds, inputs_of, read_json
from webhooks.service import Listening, Service
from webhooks.signatures import NO_SECRET

SECRET = "a-secret-of-the-tiny-receiver"


class TinyOptions(ReceiverOptions):
    """The block of the tiny receiver."""

    secret: Annotated[Secrets, BeforeValidator(secrets)] = ()


def signature(secret: str, method: str, url: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{method}\n{url}\n".encode() + body, hashlib.sha256).hexdigest()


def _verify(options: TinyOptions, asked: Incoming) -> Verdict:
    keys = [secret.get_secret_value() for secret in options.secret if secret.get_secret_value()]
    if not keys:
        return Verdict(False, NO_SECRET, "tiny")
    given = (asked.header("x-tiny") or "").encode("utf-8", "surrogatepass")
    good = [hmac.compare_digest(signature(key, asked.method, asked.url, asked.body).encode(), given) for key in keys]
    return Verdict(any(good), "" if any(good) else "the signature is wrong", "tiny")


class _TinyEvent(Payload):
    id: Id
    type: Text
    user: Text | None = None
    at: Count = 1_793_527_200


def _parse(_options: TinyOptions, asked: Incoming) -> Parsed:
    data = read_json(asked.body, "tiny")
    if not isinstance(data, list):
        raise MalformedPayload("tiny: the body is not a list of events")
    sent = [checked(_TinyEvent, one, "tiny") for one in data]
    wanted = [one for one in sent if one.type == "used"]
    events = [Event(key=one.id, kind=one.type, payload=one.kept(), at=from_seconds(one.at, "tiny")) for one in wanted]
    return Parsed(events, {"unknown type": len(sent) - len(wanted)} if len(wanted) < len(sent) else {})


def _understand(_options: TinyOptions, event: Event) -> tuple[Used, ...]:
    who = Who(external_id=event.payload.get("user"))
    return (Used(who=who, at=event.at or NOW, feature=None, event_id=event.key),)


def _sign(options: TinyOptions, method: str, url: str, body: bytes, _now: datetime) -> Mapping[str, str]:
    return {"X-Tiny": signature(options.secret[0].get_secret_value(), method, url, body)}


def _sample(_options: TinyOptions, token: str, now: datetime) -> bytes:
    return json.dumps([{"id": f"sample-{token}", "type": "used", "user": "u1", "at": int(now.timestamp())}]).encode()


class _TinyCall(Payload):
    id: Id
    record: Text | None = None
    inputs: Mapping[str, Any] = {}
    callback: Text | None = None


def _parse_call(_options: TinyOptions, action: str, asked: Incoming) -> Call:
    call = checked(_TinyCall, read_json(asked.body, "tiny"), "tiny")
    inputs = inputs_of(call.inputs, "tiny")
    return Call(key=call.id, action=action, who=Who(record=call.record), inputs=inputs, callback=call.callback)


def _answer(fields: Mapping[str, str], waits: timedelta | None) -> Reply:
    told = {"fields": dict(fields), "waits": None if waits is None else waits.total_seconds()}
    return Reply(200, json.dumps(told).encode(), "application/json")


def _sample_call(_options: TinyOptions, action: str, _now: datetime) -> bytes:
    return json.dumps({"id": f"call-{action}", "record": "tiny:1"}).encode()


TINY = Receiver(
    name="tiny",
    title="Tiny",
    options=TinyOptions,
    verify=_verify,
    parse=_parse,
    understand=_understand,
    sign=_sign,
    sample=_sample,
    triggers=Triggers(verify=_verify, parse=_parse_call, answer=_answer, sign=_sign, sample=_sample_call),
)


@dataclass
class Web:
    """An application, its journal, and how to call it."""

    app: Flask
    service: Service
    journal: Journal
    clock: VirtualClock
    woken: list[int] = field(default_factory=list)

    def client(self) -> FlaskClient:
        """A caller."""
        return self.app.test_client()

    def post(self, path: str, body: bytes, *, signed_as: str = SECRET, headers: Mapping[str, str] | None = None) -> Any:
        """A POST that the tiny receiver's vendor signed."""
        given = {"X-Tiny": signature(signed_as, "POST", f"{BASE_URL}{path}", body), **(headers or {})}
        return self.client().post(path, data=body, headers=given)

    def counted(self, source: str, verdict: str) -> float:
        """How many requests of a source had this verdict."""
        found = self.service.counting.requests.labels(source, verdict)
        return float(found._value.get())


def tiny_events(*ids: str, kind: str = "used") -> bytes:
    """A delivery of the tiny receiver."""
    return json.dumps([{"id": one, "type": kind, "user": "u1", "at": 1_793_527_200} for one in ids]).encode()


@contextmanager
def web(journal_url: str, sources: Mapping[str, Listening] | None = None, **changes: Any) -> Iterator[Web]:
    """The application on a journal of its own; `changes` go to the service, `intake_` ones to the intake."""
    clock = changes.pop("clock", None) or VirtualClock(NOW)
    intake_options = {name.removeprefix("intake_"): changes.pop(name) for name in list(changes) if "intake_" in name}
    blueprints = changes.pop("blueprints", ())
    woken: list[int] = []
    with Journal.open(journal_url, clock=clock) as journal:
        intake = changes.pop("intake", None) or Intake(journal.inbox, clock, **intake_options)
        given: dict[str, Any] = {
            "sources": sources if sources is not None else {"tiny": Listening(TINY, TinyOptions(secret=SECRET))},
            "public_base_url": BASE_URL,
            "wake": lambda: woken.append(1),
            "version": "0.1.0",
            **changes,
        }
        service = Service(journal=journal, intake=intake, clock=clock, **given)
        try:
            yield Web(create_app(service, blueprints=blueprints), service, journal, clock, woken)
        finally:
            if isinstance(intake, Intake):
                intake.close()
