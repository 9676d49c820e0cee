"""JSON read strictly: what two readers could understand differently, or what is built to hurt, is refused."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from connector.errors import MalformedPayload

MAX_DEPTH: Final = 32
MAX_KEYS: Final = 1_000
"""Of one object; no vendor's record comes near it."""

_LONGEST_INTEGER: Final = 40
# A string that is never closed ends with the body, so that every byte is looked at once.
_STRING_OR_BRACKET: Final = re.compile(rb'"[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z)|[\[\]{}]', re.DOTALL)
_CLOSING: Final = frozenset((b"]", b"}"))
_OPENING: Final = frozenset((b"[", b"{"))


def looks_like_json(body: bytes) -> bool:
    """Whether a body begins as a JSON object or array does."""
    return body.lstrip(b" \t\r\n")[:1] in _OPENING


def loads(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        MalformedPayload: It is not UTF-8 or not JSON, nests deeper than 32, has an object with more than 1,000 keys or
            with one key twice, or a number that is none (NaN, Infinity, 1e999). Its message holds nothing of the body.
    """
    checked, _checked.pair = getattr(_checked, "pair", None), None
    if checked is not None and checked[0] is body:
        return checked[1]
    return _read(body)


def check(body: bytes) -> None:
    """Read it as `loads` does, which gives the value to whoever asks for that of these very bytes next, here.

    Raises:
        MalformedPayload: As `loads`.
    """
    _checked.pair = body, _read(body)


def forget() -> None:
    """Let go of what nobody asked for after `check`."""
    _checked.pair = None


def _read(body: bytes) -> Any:
    _check_depth(body)
    try:
        return _decode(body.decode())
    except MalformedPayload:
        raise
    except (ValueError, RecursionError):
        raise MalformedPayload("the body is not JSON") from None


def _check_depth(body: bytes) -> None:
    """Refuse deep nesting before anything recurses."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(body):
        token = found[0]
        if token in _OPENING:
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedPayload(f"the body nests deeper than {MAX_DEPTH}")
        elif token in _CLOSING:
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise MalformedPayload(f"an object of the body has more than {MAX_KEYS} keys")
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedPayload("an object of the body has one key twice")
    return found


def _no_number(_: str) -> NoReturn:
    raise MalformedPayload("the body has a number that is none")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise MalformedPayload("the body has a number that is none")
    return number


def _integer(text: str) -> int:
    # Longer ones take Python quadratic time, and no database keeps them.
    if len(text) > _LONGEST_INTEGER:
        raise MalformedPayload("the body has a number that is too long")
    return int(text)


_decode: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite, parse_int=_integer
).decode
_checked: Final = threading.local()
"""The value of the bytes that this thread has checked last, until it is taken."""


@contextmanager
def reading(body: bytes) -> Iterator[None]:
    """Refuse a body that is JSON built to hurt; inside, `loads` has what was read of it at hand."""
    if looks_like_json(body):
        check(body)
    try:
        yield
    finally:
        forget()
