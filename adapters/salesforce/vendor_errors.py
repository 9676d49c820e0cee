"""What Salesforce says when it says no, read out of four shapes, without queries, addresses or secrets in it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from connector.errors import CredentialsError, RejectedError
from connector.redact import redact

EXPIRED: Final = "INVALID_SESSION_ID"
LOCKED: Final = "UNABLE_TO_LOCK_ROW"
LIMIT: Final = "REQUEST_LIMIT_EXCEEDED"
TIMEOUTS: Final = frozenset({"QUERY_TIMEOUT", "OPERATION_TOO_LARGE", "EXCEEDED_ID_LIMIT"})
"""A query that asks for too much at once; a smaller one, or a Bulk job, works."""

_MOST: Final = 1_000
_TAG: Final = re.compile(r"<[^>]*>")
_QUERY_ECHO: Final = re.compile(r".*?\bERROR at Row:\s*\d+:\s*Column:\s*\d+\s*", re.DOTALL)
"""A bad query comes back with the part around the mistake in front of the words about it."""
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'")
_QUOTING: Final = frozenset({"MALFORMED_QUERY", "INVALID_QUERY_FILTER_OPERATOR", "INVALID_QUERY_LOCATOR"})
"""Errors that repeat a value of the query in quotes."""


@dataclass(frozen=True, slots=True)
class VendorError:
    """An error body as far as it could be read; everything may be missing."""

    message: str
    code: str = ""
    fields: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> VendorError:
        """Read an error body: an array of errors, an object of REST or of OAuth, or a page of somebody in between."""
        body: Any = None
        with contextlib.suppress(ValueError):
            body = json.loads(text)
        if isinstance(body, list):
            body = next((item for item in body if isinstance(item, dict)), None)
        if not isinstance(body, dict):
            return cls(message=redact(" ".join(_TAG.sub(" ", text).split()))[:400])
        code = str(body.get("errorCode") or body.get("statusCode") or body.get("error") or body.get("code") or "")
        said = str(body.get("message") or body.get("error_description") or body.get("errorMessage") or "")
        fields = body.get("fields")
        names = tuple(map(str, fields)) if isinstance(fields, list) else ()
        return cls(message=plain(said, code=code), code=code, fields=names)

    def words(self) -> str:
        """The code and the message."""
        return ": ".join(part for part in (self.code, self.message) if part) or "no reason given"


class SalesforceRejected(RejectedError):
    """Salesforce refused a call; keeps its error in parts."""

    def __init__(
        self, message: str, *, vendor: VendorError, status: int, body: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, status=status, body=body)
        self.vendor = vendor

    @property
    def code(self) -> str:
        """Salesforce's own code for it (`INVALID_FIELD`)."""
        return self.vendor.code


class MissingPermissionsError(CredentialsError):
    """The login is good, but the user may not do this."""


def plain(text: str, *, code: str = "") -> str:
    """Salesforce's words without the query they repeat, addresses and secrets."""
    said = _QUERY_ECHO.sub("", text)
    if code in _QUOTING:
        said = _QUOTED.sub("'…'", said)
    return redact(" ".join(said.split()))[:_MOST]


def is_lock(code: str, message: str) -> bool:
    """Whether a row was refused because another write held it, also where an automation reported that."""
    return code == LOCKED or LOCKED in message


def usage(headers: Mapping[str, str]) -> tuple[int, int] | None:
    """Calls used and allowed in the last 24 hours, by `Sforce-Limit-Info: api-usage=18/5000`; None when not said."""
    value = next((text for name, text in headers.items() if name.lower() == "sforce-limit-info"), "")
    found = re.search(r"(?<![\w-])api-usage=(\d+)/(\d+)", value)
    return (int(found[1]), int(found[2])) if found else None
