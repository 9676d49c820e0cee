"""The suppression list: addresses never to be mailed, kept as keyed hashes, and the files it comes and goes in."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time

from connector.errors import SettingError
from connector.model import Reject
from connector.program.hygiene import address_problem, normalised
from connector.program.model import ConsentEvent, ConsentState, Status

PREFIX = "email:"
_KEY = re.compile(r"email:[0-9a-f]{64}").fullmatch


def address_key(email: str, pepper: bytes) -> str:
    """What an address is known by once the address itself is gone: nobody without the pepper can turn it back."""
    return PREFIX + hmac.digest(pepper, normalised(email).encode(), "sha256").hex()


def pepper_mark(pepper: bytes) -> str:
    """Tells keys made with another pepper from ours; says nothing about the pepper."""
    return hmac.digest(pepper, b"winback suppression keys", "sha256").hex()[:12]


def about_address(event: ConsentEvent, email: str, pepper: bytes) -> ConsentEvent:
    """The same word about the address, beside that about the contact.

    So an opt-out outlives the contact it came from (deleted in the CRM and made anew, it has another id), and a return
    lifts what an imported list says.
    """
    return replace(event, subject=address_key(email, pepper), event_key=f"{event.event_key}:address")


def about_key(event: ConsentEvent, key: str) -> ConsentEvent:
    """The same word about an address of which only its key is known; a person may have several."""
    return replace(event, subject=key, event_key=f"{event.event_key}:{key}")


class Suppressions:
    """Answers whether an address is on the list; costs next to nothing where the list is empty."""

    def __init__(self, keys: Iterable[str], pepper: bytes) -> None:
        self._keys = frozenset(keys)
        self._pepper = pepper

    @classmethod
    def of(cls, states: Mapping[str, ConsentState], pepper: bytes) -> Suppressions:
        """Those of the folded ledger that are on the list: an address whose person came back is not."""
        return cls((entry.key for entry in entries(states)), pepper)

    def __call__(self, email: str) -> bool:
        """Whether the address is suppressed."""
        return bool(self._keys) and address_key(email, self._pepper) in self._keys

    def __len__(self) -> int:
        return len(self._keys)


# --- what is on it ---------------------------------------------------------------------------------------------

REASONS: Mapping[str, Status] = {
    "erased": Status.ERASED,
    "complained": Status.COMPLAINED,
    "opted_out": Status.WITHDRAWN,
    "bounced": Status.BOUNCED,
    "legal_hold": Status.LEGAL_HOLD,
}
"""Reasons a file may give, gravest first; each is the exclusion of that name."""

_ALSO_CALLED = {
    "unsubscribe": "opted_out", "unsubscribed": "opted_out", "unsub": "opted_out", "opt-out": "opted_out",
    "optout": "opted_out", "manual": "opted_out", "global": "opted_out",
    "spam": "complained", "complaint": "complained", "abuse": "complained", "spamreport": "complained",
    "bounce": "bounced", "hard_bounce": "bounced", "hard bounce": "bounced", "cleaned": "bounced",
    "invalid": "bounced", "erasure": "erased", "gdpr": "erased", "deleted": "erased",
}  # fmt: skip
"""Words of other tools' exports."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """One entry.

    at: When it was said; None where the ledger keeps no date (a legal hold), which an import takes as now.
    email: Set only where the contact is still known and the file is for a tool that needs it.
    """

    key: str
    reason: str
    at: datetime | None
    email: str | None = None


def entries(states: Mapping[str, ConsentState]) -> Iterator[Suppressed]:
    """Everything in the folded ledger that is on the list by its address, in the order of the keys."""
    for subject in sorted(states):
        entry = entry_of(subject, states[subject]) if subject.startswith(PREFIX) else None
        if entry is not None:
            yield entry


def entry_of(key: str, state: ConsentState) -> Suppressed | None:
    """The gravest reason to suppress and its time; None where nothing in the state suppresses."""
    times = (
        ("erased", state.erased_at),
        ("complained", state.complained_at),
        ("opted_out", state.opted_out_at),
        ("bounced", state.bounced_at),
    )
    held = Suppressed(key, "legal_hold", None) if state.legal_hold else None
    return next((Suppressed(key, reason, at) for reason, at in times if at is not None), held)


# --- files -----------------------------------------------------------------------------------------------------

COLUMNS = ("email", "key", "reason", "date", "made_with")
_ADDRESS_COLUMNS = frozenset({"email", "e-mail", "email address", "email_address", "address", "mail"})
_DATE_COLUMNS = frozenset({"date", "at", "timestamp", "unsub_time", "opt_out_date", "unsubscribed_at", "created"})
_REASON_COLUMNS = frozenset({"reason", "unsub_reason", "type", "status"})
_LONGEST_STATEMENT = 200
_FORMULA = ("=", "+", "-", "@", "'", "\t", "\r")
"""What a spreadsheet takes for the start of a formula, and the mark put before it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file came to. `doubts` are entries that hold although part of the row was not understood."""

    events: tuple[ConsentEvent, ...]
    rejects: tuple[Reject, ...]
    doubts: tuple[Reject, ...]


def format_file(listed: Iterable[Suppressed], pepper: bytes) -> str:
    """A suppression file: a row an entry, addresses only where the entry has one."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    mark = pepper_mark(pepper)
    for entry in listed:
        at = "" if entry.at is None else entry.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        writer.writerow((_cell(entry.email or ""), entry.key, entry.reason, at, mark))
    return out.getvalue()


def parse_file(
    text: str, *, name: str, source: str, basis: str, pepper: bytes, now: datetime, actor: str | None = None
) -> Imported:
    """The consent events of a suppression file.

    name: Of the file, for messages and as evidence. source, basis: Where the list comes from and why it may be held;
        required, and kept with every entry. A row whose reason or date is not understood suppresses all the same, as
        `opted_out` and as of now; only a row without an address or key of ours is set aside.
    """
    source, basis = _stated("source", source, name), _stated("basis", basis, name)
    digest = hashlib.sha256(text.encode()).hexdigest()
    events: list[ConsentEvent] = []
    rejects: list[Reject] = []
    doubts: list[Reject] = []
    for line, row in _rows(text, name):
        place = f"{name}:{line}"
        key, problem = _key_of(row, pepper)
        if key is None:
            rejects.append(Reject(place, problem))
            continue
        reason, unknown = _reason(row.get("reason", ""))
        at, undated = _at(row.get("date", ""))
        doubts += [Reject(place, said) for said in (unknown, undated) if said]
        # A file taken in twice is the same events; an undated entry of another file is said anew.
        stamp = f"undated:{digest[:16]}" if at is None else at.isoformat()
        events.append(
            ConsentEvent(
                subject=key,
                status=REASONS[reason],
                captured_at=now if at is None else min(at, now),
                source=source,
                event_key=f"suppression:{key}:{reason}:{stamp}",
                evidence={"file": name, "sha256": digest, "line": line, "basis": basis},
                actor=actor,
                recorded_at=now,
            )
        )
    return Imported(tuple(events), tuple(rejects), tuple(doubts))


def _stated(what: str, text: str, name: str) -> str:
    """A list nobody can account for is not taken in (C-17)."""
    said = " ".join(text.split())
    if not said:
        raise SettingError(
            f"{name}: no {what} is stated for this list",
            hint=f"say it with --{what}: where the list is from, or why you may hold it. Bought lists are not taken.",
        )
    if len(said) > _LONGEST_STATEMENT or "@" in said:
        raise SettingError(
            f"{name}: the {what} must be a few words without an address",
            hint=f'for example --source "old newsletter tool" --basis "objections, art. 21 GDPR" (at most '
            f"{_LONGEST_STATEMENT} letters).",
        )
    return said


def _rows(text: str, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and named cells of each row; a file without a header is addresses or keys, then reason, then date."""
    text = text.removeprefix("\ufeff")
    # strict: a quote that is never closed would swallow the rest of the list, and leave those people unprotected.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    header: Sequence[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells)
                if header is not None:
                    continue
                header = ("email", "reason", "date")
            yield reader.line_num, {word: _plain(cell) for word, cell in zip(header, cells, strict=False) if word}
    except csv.Error as error:
        hint = "nothing was taken in; mend the line, or save the list as CSV in UTF-8."
        raise SettingError(f"{name}:{reader.line_num}: not a CSV row ({error})", hint=hint) from None


def _delimiter(text: str) -> str:
    """Spreadsheets in many countries write semicolons."""
    first = text.lstrip().partition("\n")[0]
    return max(",;\t", key=first.count)


def _header(cells: Sequence[str]) -> tuple[str, ...] | None:
    """Our names for a header's columns, empty for one we have no use for; None: this is no header."""
    names = tuple(_column(cell) for cell in cells)
    return names if "email" in names or "key" in names else None


def _column(cell: str) -> str:
    word = cell.strip().lower()
    for name, others in (("email", _ADDRESS_COLUMNS), ("date", _DATE_COLUMNS), ("reason", _REASON_COLUMNS)):
        if word in others:
            return name
    return word if word in {"key", "made_with"} else ""


def _key_of(row: Mapping[str, str], pepper: bytes) -> tuple[str | None, str]:
    """The entry's key, from the address where there is one; else what is wrong.

    A key says nothing about the pepper it was made with; one of another installation would match nobody, and whoever
    put it in would think these people safe.
    """
    email, key = row.get("email", ""), row.get("key", "").lower()
    if not key and _KEY(email.lower()):
        email, key = "", email.lower()
    if email:
        if address_problem(email, hygiene=False) is None:
            return address_key(email, pepper), ""
        return None, "not a mail address"
    if not key:
        return None, "neither an address nor a key"
    if not _KEY(key):
        return None, "not a key: one reads email: and 64 signs"
    if row.get("made_with") and row["made_with"] != pepper_mark(pepper):
        return None, "a key of another installation: it matches nobody here; import the addresses"
    return key, ""


def _reason(text: str) -> tuple[str, str]:
    """Our word for a reason, and a doubt where there is one."""
    word = text.lower()
    reason = word if word in REASONS else _ALSO_CALLED.get(word)
    if reason is not None:
        return reason, ""
    return "opted_out", "no such reason; taken as opted_out" if word else ""


def _at(text: str) -> tuple[datetime | None, str]:
    """When it was said, and a doubt; of a bare day its last moment, lest a return on that day outrank it."""
    if not text:
        return None, ""
    try:
        return datetime.combine(date.fromisoformat(text), time.max, tzinfo=UTC), ""
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None, "no date as in 2026-11-22; taken as of now"
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)), ""


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _plain(cell: str) -> str:
    text = cell.strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text
