"""How the vendor answers: its error bodies, its times, and what a handler hands back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

EPOCH = date(1970, 1, 1).toordinal()
DAY_MS = 86_400_000
OK = 200
CREATED = 201
NO_CONTENT = 204
MULTIPLE_CHOICES = 300
BAD_REQUEST = 400
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
METHOD_NOT_ALLOWED = 405
CONFLICT = 409
GONE = 410
URI_TOO_LONG = 414


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer before it is written: `payload` is JSON, `raw` any other body; neither means an empty one."""

    status: int = OK
    payload: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    content_type: str | None = None


class Refusal(Exception):
    """The vendor says no to a whole request: an HTTP status and its array of errors."""

    def __init__(
        self, code: str, message: str, *, status: int = BAD_REQUEST, fields: Sequence[str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields

    def body(self) -> Any:
        """The error as the vendor writes it: an array of one."""
        error: dict[str, Any] = {"message": self.message, "errorCode": self.code}
        if self.fields is not None:
            error["fields"] = list(self.fields)
        return [error]

    def answer(self) -> Answer:
        """The refusal as an HTTP answer."""
        return Answer(self.status, self.body())


class OAuthRefusal(Refusal):
    """The token endpoint says no: an object with the words of OAuth, no array."""

    def body(self) -> Any:
        """The error in OAuth's own shape."""
        return {"error": self.code, "error_description": self.message}


class RowError(Exception):
    """One record is refused. In a batch it is the row's `errors`, alone it is a 400."""

    def __init__(self, code: str, message: str, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fields = tuple(fields)

    def body(self) -> dict[str, Any]:
        """The error inside a row's result; here the code is called `statusCode`."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}

    def refusal(self) -> Refusal:
        """The same error as the answer to a request about this record alone."""
        # It is a 404 when the record itself is gone, not one that a field of it leads to.
        gone = self.code in {"NOT_FOUND", "ENTITY_IS_DELETED"} and not self.fields
        status = NOT_FOUND if gone else BAD_REQUEST
        return Refusal(self.code, self.message, status=status, fields=self.fields)

    def text(self) -> str:
        """The error as a Bulk job writes it into `sf__Error`."""
        return f"{self.code}:{self.message}:{' '.join(self.fields)} --"


def stamp(at_ms: int) -> str:
    """A moment as REST writes it; the vendor shows whole seconds only (2026-11-21T10:00:00.000+0000)."""
    return f"{_seconds(at_ms // 1000)}.000+0000"


def stamp_csv(at_ms: int) -> str:
    """A moment as Bulk writes it into a file (2026-11-21T10:00:00.000Z)."""
    return f"{_seconds(at_ms // 1000)}.000Z"


def parse_time(text: str) -> int | None:
    """Milliseconds since 1970 of a moment in ISO 8601 with a zone; None when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None or "T" not in text:
        return None
    return round(moment.timestamp() * 1000)


def day_text(at_ms: int) -> str:
    """The day of a moment in UTC."""
    return _day(at_ms // DAY_MS)


def moment(at_ms: int) -> datetime:
    """A moment as the rest of winback holds it."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _seconds(seconds: int) -> str:
    day, second = divmod(seconds, 86_400)
    return f"{_day(day)}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    return date.fromordinal(EPOCH + number).isoformat()
