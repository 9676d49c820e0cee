"""`/webhooks/<system>[/<token>]`: verified, read, kept, answered; in this order, and nothing else.

It is plain WSGI, mounted beside Flask: a vendor's event passes through no more than it needs, and whatever its address
is, nobody but us answers it. Typeform, for one, switches a webhook off for good when it hears 404 or 410.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wsgi import get_input_stream

from connector.errors import BadSignature, MalformedPayload, TooBusy, TooLarge
from connector.journal.inbox import Kept
from connector.receivers import MAX_BODY_BYTES, Event, Incoming, Parsed, Reply, Verdict
from webhooks import counting, limits, strict_json
from webhooks.answers import Answer, Held, problem
from webhooks.failing import failed
from webhooks.gate import REQUEST_ID
from webhooks.incoming import BODY, incoming
from webhooks.service import Listening, Service
from webhooks.signatures import NO_SECRET

if TYPE_CHECKING:
    from concurrent.futures import Future

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("webhooks")

MOUNT: Final = "/webhooks"
RULES: Final = ("/webhooks/<system>", "/webhooks/<system>/<token>")
METHODS: Final = ("GET", "HEAD", "POST")

_LINES_A_MINUTE = 60
"""Lines of the log about refused requests, for each source; a flood of bad signatures must not fill the disk."""

_encode = json.JSONEncoder(separators=(",", ":")).encode

_STATUS: Final = {
    counting.UNLISTED: HTTPStatus.FORBIDDEN,
    counting.NOT_CONFIGURED: HTTPStatus.FORBIDDEN,
    counting.BAD_SIGNATURE: HTTPStatus(BadSignature.status),
    counting.MALFORMED: HTTPStatus(MalformedPayload.status),
}


class Receiving:
    """What happens to a delivery."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._log_lines = limits.Rate(_LINES_A_MINUTE)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Keep what a vendor sent; answered when it is on disk."""
        called: str = environ[REQUEST_ID]
        try:
            answer = self._answer(environ, start_response, called)
        except Exception as error:  # noqa: BLE001 - the last resort
            answer = failed(error, called=called)
        return answer if isinstance(answer, Held) else answer.start(start_response)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse, called: str) -> Answer | Held:
        method = environ["REQUEST_METHOD"]
        system, token = _asked_for(environ)
        if method not in METHODS:
            return _not_allowed(called)
        listening = self._service.sources.get(system) if system is not None else None
        if system is None or listening is None:
            return self._refuse(counting.NOBODY, counting.UNLISTED, "the playbook lists no such source", called)
        if method != "POST":
            looks = listening.receiver.head_ok if method == "HEAD" else listening.receiver.get_ok
            return Answer(HTTPStatus.OK) if looks else _not_allowed(called)
        asked = asked_of(self._service, environ, token)
        verdict = believed(self._service, listening, asked, listening.receiver.verify)
        if not verdict.ok:
            what = counting.NOT_CONFIGURED if verdict.reason == NO_SECRET else counting.BAD_SIGNATURE
            return self._refuse(system, what, f"{verdict.scheme or system}: {verdict.reason}", called)
        try:
            parsed = read(listening, asked)
        except MalformedPayload as error:
            return self._refuse(system, counting.MALFORMED, str(error), called)
        return self._keep(system, parsed, listening.receiver.reply(listening.options, parsed), start_response, called)

    def _keep(
        self, system: str, parsed: Parsed, reply: Reply, start_response: StartResponse, called: str
    ) -> Answer | Held:
        count = self._service.counting
        for number in parsed.ignored.values():
            count.ignored.labels(system).inc(number)
        answer = Answer(reply.status, reply.body, reply.content_type)
        if not parsed.events:
            count.count(system, counting.IGNORED)
            return answer
        events = to_keep(system, parsed.events, now=self._service.clock.now(), called=called)
        try:
            kept = self._service.intake.submit(events)
        except TooBusy:
            count.count(system, counting.BUSY)
            raise
        return Held(kept, partial(self._kept, system, answer, called), start_response)

    def _kept(self, system: str, answer: Answer, called: str, kept: Future[list[bool]]) -> Answer:
        """The answer once the commit is done, well or not."""
        error = kept.exception()
        if isinstance(error, Exception):
            busy = isinstance(error, TooBusy)
            self._service.counting.count(system, counting.BUSY if busy else counting.FAILED)
            return failed(error, called=called)
        new = any(kept.result())
        self._service.counting.count(system, counting.ACCEPTED if new else counting.DUPLICATE)
        if new:
            self._service.wake()
        return answer

    def _refuse(self, source: str, verdict: str, reason: str, called: str) -> Answer:
        """Not taken; the log hears why, the caller does not."""
        self._service.counting.count(source, verdict)
        if self._log_lines.allows(source, self._service.clock.monotonic()):
            log.warning("%s: a request for %s was refused: %s", called, source, reason)
        status = _STATUS[verdict]
        return problem(status, status.phrase.lower(), called=called)


def _asked_for(environ: WSGIEnvironment) -> tuple[str | None, str | None]:
    """System and token of the address, where it is made as ours are."""
    match str(environ["PATH_INFO"]).removeprefix(MOUNT + "/").split("/"):
        case [system]:
            return system, None
        case [system, token] if token:
            return system, token
        case _:
            return None, None


def _not_allowed(called: str) -> Answer:
    status = HTTPStatus.METHOD_NOT_ALLOWED
    told = problem(status, status.phrase.lower(), called=called)
    return Answer(told.status, told.body, told.content_type, (("Allow", "HEAD, POST"),))


def asked_of(service: Service, environ: WSGIEnvironment, token: str | None) -> Incoming:
    """The request for a receiver, its body read once; TooLarge when it does not end before the limit."""
    return incoming(environ, body_of(environ), base_url=service.public_base_url, token=token, now=service.clock.now())


def body_of(environ: WSGIEnvironment) -> bytes:
    """The body, of which the gate has seen the length if it says one."""
    if environ.get(BODY) is not None:
        whole: bytes = environ[BODY]
        return whole
    try:
        body: bytes = get_input_stream(environ, max_content_length=MAX_BODY_BYTES).read()
    except RequestEntityTooLarge:
        raise TooLarge(f"a body without a length goes on after {MAX_BODY_BYTES} bytes") from None
    return body


def believed(
    service: Service, listening: Listening, asked: Incoming, verify: Callable[[Any, Incoming], Verdict]
) -> Verdict:
    """Whether somebody we know vouches for the request; whatever a verifier raises is a no (W-4)."""
    if listening.options.insecure_dev and service.bound_to_loopback:
        return Verdict(True, scheme="insecure_dev")
    try:
        verdict: object = verify(listening.options, asked)
    except Exception as error:  # noqa: BLE001 - neither a 500 nor a yes may come of it
        return Verdict(False, f"the verifier raised {type(error).__name__}")
    return verdict if isinstance(verdict, Verdict) else Verdict(False, "the verifier gave no verdict")


def read(listening: Listening, asked: Incoming) -> Parsed:
    """The events of a body that is believed; MalformedPayload when it cannot be read."""
    with strict_json.reading(asked.body):
        return listening.receiver.parse(listening.options, asked)


def to_keep(source: str, events: Sequence[Event], *, now: datetime, called: str) -> list[Kept]:
    """The events as the inbox keeps them."""
    return [
        Kept(
            source=source,
            key=event.key,
            kind=event.kind,
            payload=_encode(event.payload),
            at=event.at,
            received_at=now,
            request_id=called,
        )
        for event in events
    ]
