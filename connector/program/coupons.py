"""Coupon codes: made here, read from a file that the shop gave, and reconciled with what the shop says was redeemed."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from connector.errors import SettingError
from connector.location import Location, PlaybookError, Problem
from connector.model import Reject

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O or U, which are misread as digits or make words."""

GROUPS = 3
GROUP_LENGTH = 4
"""Twelve letters are 60 bits: with a million codes out, a guess hits one of them once in 10**12 tries, and the chance
that two are the same is one in two million."""

MIN_KEY_BYTES = 32

LONGEST_CODE = 64
MOST_PROBLEMS = 20

_CODE = re.compile(r"[!-~]+")
_CODE_COLUMN, _AT_COLUMN, _AMOUNT_COLUMN = "code", "redeemed_at", "amount"
_UTF8_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Redemption:
    """One line of a reconciliation file: this code was used. `amount` is what it cost, where the shop says so."""

    code: str
    at: datetime
    amount: float | None = None


def generate(key: bytes, episode_id: str, step: str) -> str:
    """The code of this step of this episode: always the same one, and nobody else's without the key."""
    if len(key) < MIN_KEY_BYTES:
        raise SettingError(
            f"offers: the key for coupon codes has {len(key)} bytes, {MIN_KEY_BYTES} are needed",
            hint="the journal keeps one: journal.keys.get_or_make('coupons')",
        )
    digest = hmac.digest(key, f"coupon\0{episode_id}\0{step}".encode(), hashlib.sha256)
    number = int.from_bytes(digest[:8])
    letters = [ALPHABET[number >> 5 * place & 31] for place in range(GROUPS * GROUP_LENGTH)]
    return "-".join("".join(letters[at : at + GROUP_LENGTH]) for at in range(0, len(letters), GROUP_LENGTH))


def parse_codes(text: str, *, file: str) -> list[str]:
    """The codes of a file, one a line, in order; blank lines and lines that begin with `#` are passed over.

    Raises PlaybookError naming every line that is not one code, or repeats one: two people would be given it.
    """
    found: dict[str, int] = {}
    problems: list[Problem] = []
    for number, line in enumerate(text.removeprefix(_UTF8_MARK).splitlines(), start=1):
        code = line.strip()
        if not code or code.startswith("#"):
            continue
        place = Location(file, number)
        if not _CODE.fullmatch(code) or len(code) > LONGEST_CODE:
            problems.append(
                Problem(f"not one code: up to {LONGEST_CODE} letters, digits and signs without a space", place)
            )
        elif code in found:
            problems.append(Problem(f"the same code as in line {found[code]}", place, hint="remove one of the two"))
        else:
            found[code] = number
    if problems:
        raise PlaybookError(problems[:MOST_PROBLEMS])
    return list(found)


@dataclass(frozen=True, slots=True)
class Redemptions:
    """What a file said was used, and the rows that could not be read."""

    found: tuple[Redemption, ...]
    rejects: tuple[Reject, ...]


def parse_redemptions(text: str, *, file: str) -> Redemptions:
    """What a shop says was redeemed: CSV with the columns `code`, `redeemed_at` and, if it has one, `amount`.

    Times without an offset are UTC, a date is its first moment. A row that cannot be read is set aside, the others
    count. Raises PlaybookError when a needed column is missing.
    """
    rows = csv.DictReader(io.StringIO(text.removeprefix(_UTF8_MARK), newline=""), restkey="", restval="")
    columns = [(name or "").strip().lower() for name in rows.fieldnames or ()]
    rows.fieldnames = columns
    missing = [name for name in (_CODE_COLUMN, _AT_COLUMN) if name not in columns]
    if missing:
        raise PlaybookError(
            [
                Problem(f"no column '{name}'", Location(file, 1), allowed=tuple(filter(None, columns)))
                for name in missing
            ]
        )
    found: list[Redemption] = []
    rejects: list[Reject] = []
    for row in rows:
        read = _redemption(row)
        if isinstance(read, str):
            rejects.append(Reject(f"{file}:{rows.line_num}", read))
        else:
            found.append(read)
    return Redemptions(tuple(found), tuple(rejects))


def _redemption(row: Mapping[str, str]) -> Redemption | str:
    """The row, or what is wrong with it."""
    code = row[_CODE_COLUMN].strip()
    if not code:
        return "no code"
    try:
        at = datetime.fromisoformat(row[_AT_COLUMN].strip())
    except ValueError:
        return f"{_AT_COLUMN} is not a date or time like 2026-03-01T14:30:00Z"
    written = row.get(_AMOUNT_COLUMN, "").strip()
    try:
        amount = float(written) if written else None
    except ValueError:
        amount = -1.0
    if amount is not None and not 0 <= amount < float("inf"):
        return f"{_AMOUNT_COLUMN} is not a number like 12.50"
    return Redemption(code, at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC), amount)
