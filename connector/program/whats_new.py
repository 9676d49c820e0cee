"""What is new since somebody left: the file whats_new.yaml, checked, and what of it is for one contact.

Each entry has a `date` and a `text`, and may say for whom it is:

    - date: 2026-09-14
      text: Dashboards load three times faster
      features: [dashboards, reports]     # people who used one of these last or most
      roles: [developer]
      tiers: [pro, team]                  # the person's plan, or the account's
      language: en                        # people whose language this is
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from connector.location import Location, PlaybookError, Problem, nearest

KEYS = ("date", "text", "features", "roles", "tiers", "language")
AUDIENCE = ("features", "roles", "tiers")
LONGEST_TEXT = 300
MOST = 3
"""So many at once: a mail is not a changelog."""

Path = tuple[str | int, ...]
Entry = Mapping[str, Any]
"""A checked entry: date, text, and for AUDIENCE a tuple in lower case (empty: everybody); language or None."""


def _nowhere(_path: Path) -> Location | None:
    return None


def check(document: Any, *, place: Callable[[Path], Location | None] = _nowhere) -> tuple[Entry, ...]:
    """The entries of whats_new.yaml, newest first. Raises PlaybookError with everything that is wrong.

    Args:
        document: The file as plain lists, mappings and values.
        place: Where a value stands, for messages: the path of keys and list positions to it → the location.
    """
    if not isinstance(document, Sequence) or isinstance(document, str):
        raise PlaybookError([Problem("must be a list of entries, each with a date and a text", place(()))])
    problems: list[Problem] = []
    found = [_entry(item, (number,), place, problems) for number, item in enumerate(document)]
    if problems:
        raise PlaybookError(problems)
    return tuple(sorted(found, key=lambda entry: entry["date"], reverse=True))


def _entry(item: Any, path: Path, place: Callable[[Path], Location | None], problems: list[Problem]) -> dict[str, Any]:
    def wrong(message: str, *keys: str | int, near: str | None = None, allowed: tuple[str, ...] = ()) -> None:
        where = (*path, *keys)
        problems.append(Problem(message, place(where), _dotted(where), near, allowed))

    if not isinstance(item, Mapping):
        wrong("must be an entry with a date and a text")
        return {}
    for key in item:
        if key not in KEYS:
            wrong(f"unknown key '{key}'", key, near=nearest(str(key), KEYS), allowed=KEYS)
    on, text, language = _date(item.get("date")), _text(item.get("text")), _text(item.get("language", ""), empty=True)
    if on is None:
        wrong("the date from which it is there is missing or not a date like 2026-09-14", "date")
    if text is None:
        wrong(f"must be one line of text of at most {LONGEST_TEXT} signs", "text")
    if language is None:
        wrong("must be a language like en", "language")
    audience = {key: _names(item.get(key, ())) for key in AUDIENCE}
    for key, names in audience.items():
        if names is None or (not names and key in item):
            wrong(f"must be a list of {key}; leave the key out for everybody", key)
    return {"date": on, "text": text, "language": main_language(language) if language else None, **audience}


def _text(value: Any, *, empty: bool = False) -> str | None:
    """One line of text, None when it is not."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not value.isprintable():
        return None
    return value.strip() if value.strip() or empty else None


def _names(value: Any) -> tuple[str, ...] | None:
    """A name or a list of names in lower case; None when it is neither."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or not all(isinstance(name, str) and name.strip() for name in listed):
        return None
    return tuple(name.strip().casefold() for name in listed)


def _dotted(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"whats_new{text}"


def _date(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def pick(entries: Sequence[Entry], row: Mapping[str, Any], *, since: date, until: date) -> tuple[str, ...]:
    """The texts for this contact: what came after `since`, up to `until`; what fits best first, then the newest.

    Args:
        entries: Of `check`.
        row: The contact's columns.
        since: The last day the contact was there.
        until: The day of the mail.
    """
    known = _Reader.of(row)
    fitting: list[tuple[int, int, str]] = []
    for entry in entries:
        if since < entry["date"] <= until:
            fits = known.fits(entry)
            if fits is not None:
                fitting.append((-fits, -entry["date"].toordinal(), entry["text"]))
    fitting.sort(key=lambda item: item[:2])
    return tuple(dict.fromkeys(text for _, _, text in fitting))[:MOST]


@dataclass(frozen=True, slots=True)
class _Reader:
    """What is known of a contact that news can be meant for, in lower case."""

    features: frozenset[str]
    roles: frozenset[str]
    tiers: frozenset[str]
    language: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Reader:
        def known(*columns: str) -> frozenset[str]:
            return frozenset(str(row[name]).strip().casefold() for name in columns if row.get(name) is not None)

        return cls(
            features=known("last_feature", "top_feature"),
            roles=known("role"),
            tiers=known("plan_tier", "account_plan_tier"),
            language=main_language(row.get("language")),
        )

    def fits(self, entry: Entry) -> int | None:
        """How closely an entry is meant for them: 4 for the feature, 2 the role, 1 the tier; None if it is not."""
        if entry["language"] is not None and entry["language"] != self.language:
            return None
        score = 0
        for weight, wanted, had in (
            (4, entry["features"], self.features),
            (2, entry["roles"], self.roles),
            (1, entry["tiers"], self.tiers),
        ):
            if wanted:
                if had.isdisjoint(wanted):
                    return None
                score += weight
        return score


def main_language(language: str | None) -> str:
    """`de` of `de-AT`; empty when unknown."""
    return (language or "").strip().casefold().replace("_", "-").split("-", maxsplit=1)[0]
