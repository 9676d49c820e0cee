"""Invented words for people, companies and mail domains: syllables in a seeded order, never a real person's name.

Every address ends in a name reserved for documentation (RFC 2606), so no mail can ever reach anyone.
"""

from __future__ import annotations

import unicodedata

import numpy as np

RESERVED_DOMAINS = ("example.com", "example.org", "example.net")
"""The only names that addresses and company domains of the demo may end in."""

_FIRST_STARTS = ("Ta", "Ve", "Mi", "Jo", "Ka", "Lo", "Ni", "Sa", "Ru", "Fe", "Bri", "El", "Or", "Za", "Pe", "Dú", "Yø")
_FIRST_ENDS = ("lo", "ran", "mi", "sha", "rin", "vek", "na", "dor", "lia", "ko", "thé", "bo", "wen", "ri", "sti", "ña")
_LAST_STARTS = ("Bar", "Cor", "Dun", "Fal", "Gren", "Hol", "Kes", "Lun", "Mor", "Nor", "Ost", "Quil", "Rav", "Ves")
_LAST_MIDDLES = ("a", "e", "i", "o", "en", "ar", "il", "ö", "und", "es")
_LAST_ENDS = ("bruk", "dane", "fitch", "gard", "lind", "mont", "nak", "rell", "stow", "vane", "wick", "zen")
_FIRM_STARTS = ("Al", "Bre", "Cin", "Dor", "Eph", "Fin", "Gal", "Hex", "Ion", "Jas", "Kol", "Lum", "Myr", "Neb", "Oph")
_FIRM_MIDDLES = ("a", "o", "i", "u", "el", "or", "an", "ex")
_FIRM_ENDS = ("vane", "tek", "dris", "lume", "mara", "quist", "rix", "sol", "tara", "wend", "zor", "phane")
_FIRM_KINDS = ("Works", "Labs", "Systems", "Foods", "Logistics", "Health", "Media", "Energy", "Studio", "Group")


def _mixed_radix(order: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Split each number into one digit per word list, so that equal numbers give equal words."""
    digits = []
    rest = order
    for size in sizes:
        digits.append(rest % size)
        rest = rest // size
    return digits


def ascii_slug(text: str) -> str:
    """The text as it may stand in an address: no accents, lower case, no spaces."""
    plain = text.replace("ø", "o").replace("Ø", "O")
    folded = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode("ascii")
    return folded.lower().replace(" ", "-")


def people_names(count: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """First and last names for `count` people; pairs may repeat, as they do in life."""
    first_sizes = (len(_FIRST_STARTS), len(_FIRST_ENDS))
    last_sizes = (len(_LAST_STARTS), len(_LAST_MIDDLES), len(_LAST_ENDS))
    first_draw = rng.integers(0, int(np.prod(first_sizes)), count)
    last_draw = rng.integers(0, int(np.prod(last_sizes)), count)
    starts, ends = (d.tolist() for d in _mixed_radix(first_draw, first_sizes))
    heads, middles, tails = (d.tolist() for d in _mixed_radix(last_draw, last_sizes))
    first = [_FIRST_STARTS[s] + _FIRST_ENDS[e] for s, e in zip(starts, ends, strict=True)]
    last = [_LAST_STARTS[h] + _LAST_MIDDLES[m] + _LAST_ENDS[t] for h, m, t in zip(heads, middles, tails, strict=True)]
    return first, last


def firm_names(count: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Names and domains for `count` companies; every domain is used once and is reserved."""
    sizes = (len(_FIRM_STARTS), len(_FIRM_MIDDLES), len(_FIRM_ENDS), len(_FIRM_KINDS))
    combinations = int(np.prod(sizes))
    order = rng.permutation(combinations)
    rounds, places = np.divmod(np.arange(count), combinations)
    starts, middles, ends, kinds = (d.tolist() for d in _mixed_radix(order[places], sizes))
    tails = rng.integers(0, len(RESERVED_DOMAINS), count).tolist()
    names: list[str] = []
    domains: list[str] = []
    for s, m, e, k, again, tail in zip(starts, middles, ends, kinds, rounds.tolist(), tails, strict=True):
        word, kind = _FIRM_STARTS[s] + _FIRM_MIDDLES[m] + _FIRM_ENDS[e], _FIRM_KINDS[k]
        number = f" {again + 1}" if again else ""
        names.append(f"{word} {kind}{number}")
        domains.append(f"{ascii_slug(f'{word} {kind}{number}')}.{RESERVED_DOMAINS[tail]}")
    return names, domains


class Addresses:
    """Hands out e-mail addresses, each at most once."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def new(self, first: str, last: str, domain: str) -> str:
        """first.last@domain, with a number behind the name where that address is taken."""
        wish = f"{ascii_slug(first)}.{ascii_slug(last)}@{domain}"
        taken = self._given.get(wish, 0)
        self._given[wish] = taken + 1
        if not taken:
            return wish
        name, _, at = wish.partition("@")
        return f"{name}{taken + 1}@{at}"
