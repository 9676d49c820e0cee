"""`/triggers/<crm>/<action>`: a CRM's workflow asks something, and is answered at once and always the same (W-23).

`evaluate` says what was decided about the contact. `enroll`, `exit` and `snooze` are kept as events and answered; what
comes of them is the worker's to say. Nobody is told of a holdout: a workflow that branched on it would end it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, request

from connector.errors import MalformedPayload, TooBusy
from connector.journal.replies import Stored
from connector.live.called import event_of
from connector.receivers import Call, Incoming, Triggers
from webhooks import counting, limits, strict_json
from webhooks.app import problem, request_id
from webhooks.receiving import asked_of, believed, to_keep
from webhooks.service import Listening, Service
from webhooks.signatures import NO_SECRET

if TYPE_CHECKING:
    from connector.journal import Journal

log = logging.getLogger("webhooks")

EVALUATE, ENROLL, EXIT, SNOOZE = "evaluate", "enroll", "exit", "snooze"
ACTIONS: Final = (EVALUATE, ENROLL, EXIT, SNOOZE)
WAITS: Final = timedelta(days=7)
"""How long a workflow that asked to wait is parked at most; HubSpot's own default."""

FIELDS: Final = ("segment", "step", "reason", "offer", "decision")
"""What `evaluate` answers, each as text, empty where there is nothing to say."""

_YES: Final = frozenset({"true", "yes", "1"})
_LINES_A_MINUTE = 60


def blueprint(service: Service) -> Blueprint:
    """The route that workflows call."""
    triggers = Blueprint("triggers", __name__)
    triggers.add_url_rule("/triggers/<crm>/<action>", "call", _Calls(service), methods=["POST"])
    return triggers


class _Calls:
    """What happens to one call."""

    __name__ = "call"

    def __init__(self, service: Service) -> None:
        self._service = service
        self._log_lines = limits.Rate(_LINES_A_MINUTE)

    def __call__(self, crm: str, action: str) -> Response:
        """Answer a workflow; the second call with one key gets the first one's answer."""
        listening = self._service.sources.get(crm)
        triggers = listening.receiver.triggers if listening is not None else None
        if listening is None or triggers is None:
            return self._refuse(
                counting.NOBODY, counting.UNLISTED, HTTPStatus.FORBIDDEN, "no such workflows are listed"
            )
        asked = asked_of(self._service, request.environ, None)
        verdict = believed(self._service, listening, asked, triggers.verify)
        if verdict.reason == NO_SECRET and not verdict.ok:
            return self._refuse(crm, counting.NOT_CONFIGURED, HTTPStatus.FORBIDDEN, verdict.reason)
        if not verdict.ok:
            return self._refuse(crm, counting.BAD_SIGNATURE, HTTPStatus.UNAUTHORIZED, verdict.reason)
        try:
            call = _read(listening, triggers, action, asked)
            stored = self._service.journal.replies.get(crm, call.key)
            if stored is None:
                stored = self._first(crm, triggers, call, asked)
                verdict_word = counting.ACCEPTED
            else:
                verdict_word = counting.DUPLICATE
        except MalformedPayload as error:
            return self._refuse(crm, counting.MALFORMED, HTTPStatus.BAD_REQUEST, str(error))
        except TooBusy as error:
            self._service.counting.count(crm, counting.BUSY)
            # HubSpot honours Retry-After with 429 alone; a 4xx of any other kind ends the action for good.
            wait = round(timedelta(seconds=error.retry_after_seconds) / triggers.retry_after_unit)
            return problem(HTTPStatus.TOO_MANY_REQUESTS, "busy", called=request_id(), retry_after=wait)
        self._service.counting.count(crm, verdict_word)
        return Response(stored.body, status=stored.status, content_type=stored.content_type)

    def _first(self, crm: str, triggers: Triggers, call: Call, asked: Incoming) -> Stored:
        """Do what is asked and remember the answer; of two that come at once, one answer is kept for both."""
        contact_id = self._service.find(call.who)
        waits = None
        if call.action == EVALUATE:
            fields = evaluated(self._service.journal, contact_id)
        else:
            fields = {"decision": "accepted" if contact_id is not None else "unknown_contact"}
            waits = WAITS if _waits(call) and contact_id is not None else None
            event = event_of(call, asked.received_at, waits=waits is not None)
            if any(self._service.intake.keep(to_keep(crm, [event], now=asked.received_at, called=request_id()))):
                self._service.wake()
        reply = triggers.answer(fields, waits)
        answer = Stored(
            source=crm,
            key=call.key,
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            contact_id=contact_id,
        )
        return self._service.journal.replies.put(answer)

    def _refuse(self, source: str, verdict: str, status: HTTPStatus, reason: str) -> Response:
        self._service.counting.count(source, verdict)
        if self._log_lines.allows(source, self._service.clock.monotonic()):
            log.warning("%s: a call of %s was refused: %s", request_id(), source, reason)
        return problem(status, status.phrase.lower(), called=request_id())


def _read(listening: Listening, triggers: Triggers, action: str, asked: Incoming) -> Call:
    if action not in ACTIONS:
        raise MalformedPayload(f"there is no such action; there are {', '.join(ACTIONS)}")
    with strict_json.reading(asked.body):
        return triggers.parse(listening.options, action, asked)


def _waits(call: Call) -> bool:
    """Whether the workflow's author asked to wait for the outcome, and can be told it."""
    wanted = call.inputs.get("wait", "").strip().lower() in _YES
    return call.action == ENROLL and call.callback is not None and wanted


def evaluated(journal: Journal, contact_id: str | None) -> dict[str, str]:
    """What was decided about a contact, for a workflow to branch on; see FIELDS."""
    if contact_id is None:
        return {**dict.fromkeys(FIELDS, ""), "decision": "unknown_contact"}
    decision = journal.decisions.get(contact_id)
    document: Mapping[str, Any] = decision.document if decision is not None else {}
    answers = [answer for answer in journal.feedback.of(contact_id) if answer.reason is not None]
    last = max(answers, key=lambda answer: (answer.at, answer.answer_key), default=None)
    left = contact_id in journal.stops.of([contact_id])
    return {**_decided(document, left=left), "reason": (last.reason or "") if last is not None else ""}


def _decided(document: Mapping[str, Any], *, left: bool) -> dict[str, str]:
    """A published decision in four words. Somebody held out looks like somebody before their first step."""
    segments = document.get("segments") or []
    program = None if left else document.get("program")
    segment = (program or {}).get("entered_as") or (segments[0] if segments else "")
    if document.get("blocked"):
        word = "excluded"
    elif program is not None:
        word = "in_program"
    elif left and document.get("program") is not None:
        word = "left"
    else:
        word = "in_segment" if segments else "none"
    told = program if program is not None and word == "in_program" else {}
    return {"segment": segment, "step": told.get("step") or "", "offer": told.get("offer") or "", "decision": word}
