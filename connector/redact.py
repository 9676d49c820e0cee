"""What never reaches a log, an error, a fixture or a report: credentials and e-mail addresses."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import Final

EMAIL_MARK: Final = "<email>"
SECRET_MARK: Final = "<secret>"  # noqa: S105 - the mark left in its place

_SHORTEST_SECRET = 6  # shorter values would blank out ordinary words

# "@" also in its percent-encoded form, as addresses travel in paths and query strings. The parts are bounded so that
# a megabyte of text without an address costs one pass.
_EMAIL = re.compile(
    r"""(?:"[^"@\r\n]{1,64}"|[^\s@"'<>()\[\]{},;:=&/?%|\\]{1,64})  # local part
        (?:@|%40)
        (?:[^\W_](?:[\w-]{0,62})\.)+[^\W\d_][\w-]{1,62}          # domain with a letter-led top level
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_VENDOR_KEYS = re.compile(
    r"\b(?:pat-[a-z0-9]{2,6}-[0-9a-f-]{8,}|sk_(?:live|test)_\w{8,}|xox[abprs]-[\w-]{8,}|gh[pousr]_\w{16,})",
    re.IGNORECASE,
)
# Matches from the telling word on, not from the start of the name it stands in: looking for that start made long words
# without a telling word quadratic.
_NAMED_SECRET = re.compile(
    r"""(?P<name>(?:token|secret|password|passwd|api[_-]?key|hapikey|signature|credential|authorization|\bsig)
        [\w.-]{0,40}["']?\s{0,4}[=:]\s{0,4})
        (?P<quote>["']?)(?!<secret>|Bearer\b|Basic\b|\$\{\w+\})[^\s"'&,;}]{2,}""",
    re.VERBOSE | re.IGNORECASE,
)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """The text without e-mail addresses, tokens, passwords and signatures; `secrets` are blanked out by value."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, SECRET_MARK)
    text = _URL_LOGIN.sub(SECRET_MARK, text)
    text = _BEARER.sub(rf"\1 {SECRET_MARK}", text)
    text = _VENDOR_KEYS.sub(SECRET_MARK, text)
    text = _NAMED_SECRET.sub(lambda match: f"{match['name']}{match['quote']}{SECRET_MARK}", text)
    if "@" not in text and "%40" not in text:
        return text
    return _EMAIL.sub(EMAIL_MARK, text)


class RedactingFilter(logging.Filter):
    """Cleans every record that passes, message, arguments and traceback alike; put it on handlers.

    A filter on a logger does not see what child loggers send up, so it belongs on the handler.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; it always passes."""
        record.msg = redact(record.getMessage(), secrets=self._secrets)
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text, secrets=self._secrets)
            record.exc_info = None
        if record.stack_info:
            record.stack_info = redact(record.stack_info, secrets=self._secrets)
        return True
