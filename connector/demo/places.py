"""The countries of the made-up company's customers: time zones, languages, weekends, holidays, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Season(IntEnum):
    """Whose holidays a country keeps; decides how deep its August and its turn of the year are."""

    EUROPE = 0
    AMERICA = 1
    SOUTH = 2
    ASIA = 3


@dataclass(frozen=True, slots=True)
class Country:
    """Where people sit. `zones` are (IANA name, share) pairs; `weekend` are weekday numbers, Monday is 0."""

    code: str
    share: float
    language: str
    season: Season
    zones: tuple[tuple[str, float], ...]
    weekend: tuple[int, int] = (5, 6)


COUNTRIES: tuple[Country, ...] = (
    Country(
        "US",
        26,
        "en",
        Season.AMERICA,
        (
            ("America/New_York", 46),
            ("America/Chicago", 24),
            ("America/Denver", 8),
            ("America/Los_Angeles", 22),
        ),
    ),
    Country("DE", 13, "de", Season.EUROPE, (("Europe/Berlin", 1),)),
    Country("GB", 10, "en", Season.EUROPE, (("Europe/London", 1),)),
    Country("NL", 9, "nl", Season.EUROPE, (("Europe/Amsterdam", 1),)),
    Country("FR", 7, "fr", Season.EUROPE, (("Europe/Paris", 1),)),
    Country("IN", 6, "en", Season.ASIA, (("Asia/Kolkata", 1),)),
    Country("CA", 5, "en", Season.AMERICA, (("America/Toronto", 7), ("America/Vancouver", 3))),
    Country("ES", 4, "es", Season.EUROPE, (("Europe/Madrid", 1),)),
    Country("PL", 3, "pl", Season.EUROPE, (("Europe/Warsaw", 1),)),
    Country("SE", 3, "sv", Season.EUROPE, (("Europe/Stockholm", 1),)),
    Country("BR", 3, "pt", Season.SOUTH, (("America/Sao_Paulo", 1),)),
    Country("AU", 3, "en", Season.SOUTH, (("Australia/Sydney", 6), ("Australia/Perth", 2))),
    Country("JP", 3, "ja", Season.ASIA, (("Asia/Tokyo", 1),)),
    Country("SG", 2, "en", Season.ASIA, (("Asia/Singapore", 1),)),
    Country("IL", 2, "he", Season.EUROPE, (("Asia/Jerusalem", 1),), weekend=(4, 5)),
    Country("ZA", 1, "en", Season.SOUTH, (("Africa/Johannesburg", 1),)),
)
