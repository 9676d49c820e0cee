"""How the vendor answers: bodies, batch envelopes, refusals and times in its own shapes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

EPOCH = date(1970, 1, 1).toordinal()
OK = 200
CREATED = 201
ACCEPTED = 202
NO_CONTENT = 204
MULTI_STATUS = 207
BAD_REQUEST = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
CONFLICT = 409
LOCKED = 423
TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer before it is written: `payload` is JSON, None for an empty body."""

    status: int
    payload: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """The vendor says no: an HTTP status and its standard error body."""

    def __init__(
        self,
        message: str,
        *,
        status: int = BAD_REQUEST,
        category: str = "VALIDATION_ERROR",
        sub_category: str | None = None,
        context: Mapping[str, Sequence[str]] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.category = category
        self.sub_category = sub_category
        self.context = dict(context or {})
        self.errors = tuple(errors)
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        """The standard error body, with a fresh correlation id."""
        body: dict[str, Any] = {
            "status": "error",
            "message": self.message,
            "correlationId": str(uuid.uuid4()),
            "category": self.category,
        }
        if self.sub_category:
            body["subCategory"] = self.sub_category
        if self.context:
            body["context"] = self.context
        if self.errors:
            body["errors"] = list(self.errors)
        return body | self.extra

    def answer(self) -> Answer:
        """The refusal as an HTTP answer."""
        return Answer(self.status, self.body())

    def batch_error(self, *, trace_id: str | None = None) -> dict[str, Any]:
        """The refusal of one row inside a 207, attributable by its trace id."""
        context = {**self.context, **({"objectWriteTraceId": [trace_id]} if trace_id is not None else {})}
        error: dict[str, Any] = {
            "status": "error",
            "id": str(uuid.uuid4()),
            "category": self.category,
            "message": self.message,
            "context": context,
            "errors": list(self.errors),
            "links": {},
        }
        if self.sub_category:
            error["subCategory"] = self.sub_category
        return error


def not_found(message: str, *, context: Mapping[str, Sequence[str]] | None = None) -> Refusal:
    """The refusal for something that does not exist."""
    return Refusal(message, status=NOT_FOUND, category="OBJECT_NOT_FOUND", context=context)


def batch(
    results: Sequence[Mapping[str, Any]],
    *,
    now_ms: int,
    errors: Sequence[Mapping[str, Any]] = (),
    status: int = OK,
) -> Answer:
    """A batch answer: the given status when all rows worked, 207 with `numErrors` when some did not."""
    at = iso(now_ms)
    body: dict[str, Any] = {"status": "COMPLETE", "results": list(results), "startedAt": at, "completedAt": at}
    if not errors:
        return Answer(status, body)
    return Answer(MULTI_STATUS, body | {"numErrors": len(errors), "errors": list(errors)})


def iso(at_ms: int) -> str:
    """A moment as the vendor writes it: 2026-03-01T09:30:00.125Z, and without the fraction when that is zero."""
    seconds, milliseconds = divmod(at_ms, 1000)
    day, second = divmod(seconds, 86_400)
    text = f"{_day(day)}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    return f"{text}.{milliseconds:03d}Z" if milliseconds else f"{text}Z"


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return date.fromordinal(EPOCH + number).isoformat()


def parse_time(text: str) -> int | None:
    """Milliseconds since 1970 of an ISO-8601 text or a number of milliseconds; None when it is neither."""
    digits = text.removeprefix("-")
    if digits.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)
