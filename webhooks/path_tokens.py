"""The secret last part of an address, for vendors that sign nothing: long enough that nobody guesses it (W-26)."""

from __future__ import annotations

import math
import re
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from connector.receivers import Secrets, secrets

LEAST_BITS: Final = 128
_LEAST_DIFFERENT: Final = 8
"""Fewer different signs in a token are a word or a row of zeros, not chance."""

_IN_A_PATH = re.compile(r"[A-Za-z0-9_-]+")
_ALPHABETS: Final = (
    (re.compile(r"[0-9]+"), 10),
    (re.compile(r"[0-9a-f]+|[0-9A-F]+"), 16),
    (re.compile(r"[^A-Z]+"), 36),
)
_ADVICE: Final = "`openssl rand -hex 16` makes one"


def bits(token: str) -> int:
    """How much chance a token of its length and kind of signs can hold."""
    size = next((size for pattern, size in _ALPHABETS if pattern.fullmatch(token)), 64)
    return math.floor(len(token) * math.log2(size))


def _strong(tokens: Secrets) -> Secrets:
    """The tokens; ValueError for one that could be guessed or does not fit into an address."""
    for token in tokens:
        text = token.get_secret_value()
        if not _IN_A_PATH.fullmatch(text):
            raise ValueError(f"goes into an address: only letters, digits, - and _; {_ADVICE}")
        if bits(text) < LEAST_BITS:
            raise ValueError(
                f"is too short to be secret: {len(text)} signs of its kind hold at most {bits(text)} bits, "
                f"{LEAST_BITS} are needed; {_ADVICE}"
            )
        if len(set(text)) < _LEAST_DIFFERENT:
            raise ValueError(f"repeats itself: it has {len(set(text))} different signs; {_ADVICE}")
    return tokens


PathTokens = Annotated[Secrets, BeforeValidator(secrets), AfterValidator(_strong)]
"""One token or several, newest first."""
