"""Which version of the platform's API we speak, and until when Salesforce answers to it.

A version comes with each of the three releases of a year and is supported for at least three years. 66.0 (Spring '26)
is what everything here was written against; every org of November 2026 answers to it and to 68.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

DEFAULT: Final = "66.0"
NEWEST: Final = "68.0"

RELEASES: Final[dict[str, str]] = {
    "59.0": "Winter '24",
    "60.0": "Spring '24",
    "61.0": "Summer '24",
    "62.0": "Winter '25",
    "63.0": "Spring '25",
    "64.0": "Summer '25",
    "65.0": "Winter '26",
    "66.0": "Spring '26",
    "67.0": "Summer '26",
    "68.0": "Winter '27",
}
"""The releases of the last three years and the version each of them brought."""

OLDEST_USABLE: Final = 58
"""Since then the results of a Bulk query job can be fetched by several links at once."""

_RETIRED_BELOW: Final = 31
_NEXT_RETIRED_BELOW: Final = 41
_NEXT_RETIREMENT: Final = date(2027, 6, 1)  # announced for Summer '27: 31.0 to 40.0 lose support, and end a year later
_SUPPORT_YEARS: Final = 3
_MONTHS: Final = {"Spring": 2, "Summer": 6, "Winter": 10}
_RELEASE: Final = re.compile(r"(Spring|Summer|Winter) '(\d\d)")


def number(version: str) -> int:
    """`66.0` as 66."""
    return int(version.partition(".")[0])


def released(version: str) -> date | None:
    """The month a version's release reached every org; None for one we do not know."""
    match = _RELEASE.fullmatch(RELEASES.get(version, ""))
    if match is None:
        return None
    # Winter releases carry the number of the year they end in: Winter '27 comes in October 2026.
    year = 2000 + int(match[2]) - (match[1] == "Winter")
    return date(year, _MONTHS[match[1]], 1)


def supported_until(version: str) -> date:
    """The first day on which Salesforce need not support a version any more; it has always waited longer."""
    if number(version) < _RETIRED_BELOW:
        return date(2025, 6, 1)
    if number(version) < _NEXT_RETIRED_BELOW:
        return _NEXT_RETIREMENT
    start = released(version)
    if start is not None:
        return start.replace(year=start.year + _SUPPORT_YEARS)
    return _NEXT_RETIREMENT if number(version) < number(DEFAULT) else date.max


def newest_of(versions: Iterable[str]) -> str | None:
    """The newest of the versions an org says it has."""
    return max((one for one in versions if re.fullmatch(r"\d+\.0", one)), key=number, default=None)
