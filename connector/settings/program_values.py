"""Values of a program as a person writes them: `4 in 30d`, `09:00-17:00`, `business`, `2026-12-24..2027-01-01`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, time, timedelta
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from connector.durations import read_duration, show_duration
from connector.program.countries import country_code
from connector.settings.values import read_share

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL_NAMES = {
    **{day: day for day in WEEKDAYS},
    **dict(zip(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"), WEEKDAYS, strict=True)),
}
WEEKS = {"business": frozenset(range(5)), "all": frozenset(range(7))}

_RATE = re.compile(r"(?P<amount>[0-9]+(?:[.][0-9]{1,2})?)\s+in\s+(?P<span>.+)")
_WINDOW = re.compile(r"(?P<start>[0-2][0-9]:[0-5][0-9])\s*-\s*(?P<end>[0-2][0-9]:[0-5][0-9])")
_RATE_PATTERN = r"^[0-9]+([.][0-9]+)?\s+in\s+([0-9]+([.][0-9]+)?\s*[smhd]\s*)+$"


def read_whole(value: Any) -> Any:
    """A whole number; yes and no are none."""
    if isinstance(value, bool):
        message = "is not a whole number"
        raise ValueError(message)  # noqa: TRY004 pydantic tells a ValueError
    return value


def read_count(value: Any) -> Any:
    """`4 in 30d` as how many, and in how long."""
    amount, span = _rate(value, like="4 in 30d")
    if not amount.is_integer() or amount < 1:
        message = "is not a number of touches in a time; write it like 4 in 30d"
        raise ValueError(message)
    return int(amount), span


def read_money(value: Any) -> Any:
    """`5000 in 30d` as how much, and in how long."""
    return _rate(value, like="5000 in 30d")


def _rate(value: Any, *, like: str) -> tuple[float, timedelta]:
    found = _RATE.fullmatch(str(value).strip())
    if found is None:
        message = f"is not so much in a time; write it like {like}"
        raise ValueError(message)
    span = read_duration(found["span"])
    if not span:
        message = f"needs a time; write it like {like}"
        raise ValueError(message)
    return float(found["amount"]), span


def _show_rate(rate: tuple[float, timedelta]) -> str:
    return f"{rate[0]:.15g} in {show_duration(rate[1])}"


def read_share_or_auto(value: Any) -> Any:
    """`auto` as nothing: by the number of people."""
    if value is None or (isinstance(value, str) and value.strip() == "auto"):
        return None
    try:
        return read_share(value)
    except ValueError:
        message = "is not a share; write it like 20% or 0.2, or auto"
        raise ValueError(message) from None


def _show_share_or_auto(share: float | None) -> float | str:
    return "auto" if share is None else share


def read_window(value: Any) -> Any:
    """`09:00-17:00` as its first and last moment."""
    found = _WINDOW.fullmatch(str(value).strip())
    try:
        window = (time.fromisoformat(found["start"]), time.fromisoformat(found["end"])) if found else None
    except ValueError:
        window = None
    if window is None:
        message = "is not a part of a day; write it like 09:00-17:00"
        raise ValueError(message)
    if window[0] >= window[1]:
        message = "ends before it begins; a window lies within one day"
        raise ValueError(message)
    return window


def _show_window(window: tuple[time, time]) -> str:
    return "-".join(moment.strftime("%H:%M") for moment in window)


def read_days(value: Any) -> Any:
    """`business`, `all`, or one day, as a list of days."""
    if not isinstance(value, str):
        return value
    written = value.strip().lower()
    return [WEEKDAYS[day] for day in sorted(WEEKS[written])] if written in WEEKS else [value]


def read_day(value: Any) -> Any:
    """`mon` as 0."""
    written = str(value).strip().lower()
    if written not in WEEKDAYS:
        near = get_close_matches(written, [*WEEKS, *_FULL_NAMES], n=1)
        meant = f"did you mean {_FULL_NAMES.get(near[0], near[0])}?" if near else f"write {', '.join(WEEKDAYS)}"
        message = f"is not a day of the week; {meant}"
        raise ValueError(message)
    return WEEKDAYS.index(written)


def _show_days(days: Iterable[int]) -> str | list[str]:
    chosen = frozenset(days)
    known = next((name for name, week in WEEKS.items() if week == chosen), None)
    return known or [WEEKDAYS[day] for day in sorted(chosen)]


def read_pause(value: Any) -> Any:
    """`2026-12-24..2027-01-01`, or one date, as first and last date."""
    first, dots, last = str(value).strip().partition("..")
    try:
        pause = date.fromisoformat(first.strip()), date.fromisoformat((last if dots else first).strip())
    except ValueError:
        message = "is not a pause; write it like 2026-12-24..2027-01-01"
        raise ValueError(message) from None
    if pause[0] > pause[1]:
        message = "ends before it begins"
        raise ValueError(message)
    return pause


def _show_pause(pause: tuple[date, date]) -> str:
    return "..".join(day.isoformat() for day in pause)


def read_workflow(value: Any) -> Any:
    """A workflow's id, which people write as the number it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def read_country(value: Any) -> Any:
    """A country's code in capitals."""
    written = str(value).strip()
    code = country_code(written)
    if code != written.upper():
        meant = f"did you mean {code}?" if code else "write its two letters: DE, FR, US"
        message = f"is not a country's code; {meant}"
        raise ValueError(message)
    return code


def _written_as(pattern: str, example: str) -> WithJsonSchema:
    """What an editor is told of a value that is written as text."""
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


Whole = Annotated[int, BeforeValidator(read_whole)]
Count = Annotated[
    tuple[int, timedelta],
    BeforeValidator(read_count),
    PlainSerializer(_show_rate, return_type=str),
    _written_as(_RATE_PATTERN, "4 in 30d"),
]
Money = Annotated[
    tuple[float, timedelta],
    BeforeValidator(read_money),
    PlainSerializer(_show_rate, return_type=str),
    _written_as(_RATE_PATTERN, "5000 in 30d"),
]
ShareOrAuto = Annotated[
    float | None,
    BeforeValidator(read_share_or_auto),
    PlainSerializer(_show_share_or_auto),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^([0-9]+([.][0-9]+)?\s*%|auto)$"},
            ],
            "examples": ["10%", "auto"],
        }
    ),
]
Window = Annotated[
    tuple[time, time],
    BeforeValidator(read_window),
    PlainSerializer(_show_window, return_type=str),
    _written_as(r"^[0-2][0-9]:[0-5][0-9]\s*-\s*[0-2][0-9]:[0-5][0-9]$", "09:00-17:00"),
]
Days = Annotated[
    frozenset[Annotated[int, BeforeValidator(read_day)]],
    BeforeValidator(read_days),
    PlainSerializer(_show_days),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*WEEKS, *WEEKDAYS]},
                {"type": "array", "items": {"enum": list(WEEKDAYS)}, "minItems": 1},
            ],
            "examples": ["business"],
        }
    ),
]
Pause = Annotated[
    tuple[date, date],
    BeforeValidator(read_pause),
    PlainSerializer(_show_pause, return_type=str),
    _written_as(r"^\d{4}-\d{2}-\d{2}(\s*\.\.\s*\d{4}-\d{2}-\d{2})?$", "2026-12-24..2027-01-01"),
]
Workflow = Annotated[
    str,
    BeforeValidator(read_workflow),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}], "examples": ["123456789"]}),
]
Country = Annotated[
    str,
    BeforeValidator(read_country),
    _written_as("^[A-Za-z]{2}$", "DE"),
]
