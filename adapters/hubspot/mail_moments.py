"""Mail events out of what HubSpot remembers of each contact: one per moment it knows.

HubSpot gives events of single recipients through an API of its first version only, which is not to be built on. What
stays is on the contact: when the last mail was delivered, opened, clicked and replied to, and whether the address
bounced or the person unsubscribed. So of several moments of a kind between two readings only the last is seen. Two
things have no moment of their own, the bounce and the unsubscribing: they are dated by the last delivery, the earliest
they can be, since nothing is sent afterwards. All of it belongs to the contact's present address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from adapters.hubspot.search import RECORD_ID

if TYPE_CHECKING:
    import pyarrow as pa

    from connector.model import Record

DELIVERED: Final = "hs_email_last_send_date"
MAIL: Final = "hs_email_last_email_name"
_ANSWERS: Final[Mapping[str, str]] = {
    "hs_email_last_open_date": "open",
    "hs_email_last_click_date": "click",
    "hs_email_last_reply_date": "reply",
}
_MARKS: Final[Mapping[str, str]] = {
    "hs_email_hard_bounce_reason_enum": "bounce",
    "hs_email_optout": "unsubscribe",
}
PROPERTIES: Final = (DELIVERED, *_ANSWERS, *_MARKS, MAIL)
"""What is read of a contact."""

PLACE: Final = "__place"
COLUMNS: Final = (RECORD_ID, "kind", "at", "event_id", "campaign", PLACE)
"""The raw columns of every event; a mapping may name further contact properties, which every event then carries."""

TOLD_BEFORE: Final = timedelta(days=1)
"""How long before the last reading a moment must lie to be surely known: HubSpot notes some of them late."""

_NO: Final = frozenset({"", "false", "no", "0"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TO_THE_MINUTE: Final = len("2026-01-01T00:00")


def mail_events(
    records: pa.Table | Iterable[Record], *, also: Sequence[str] = (), read_until: datetime | None = None
) -> pa.Table:
    """The mail events of contacts as raw columns, contact by contact.

    Args:
        records: Contacts with `PROPERTIES`; what the account does not have may be missing.
        also: Further contact properties that every event carries.
        read_until: How far an earlier reading came. What a contact did with a mail before its last one, and well before
            then, is left out: it was told when it could still be said which mail it was.
    """
    import pyarrow as pa

    contacts = records.to_pylist() if isinstance(records, pa.Table) else records
    known_until = _written(read_until - TOLD_BEFORE) if read_until else ""
    names = (*COLUMNS, *also)
    rows: list[tuple[str | None, ...]] = []
    for contact in contacts:
        carried = tuple(contact.get(name) for name in also)
        rows += [event + carried for event in _events(contact, known_until)]
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return pa.table({name: pa.array(values, pa.string()) for name, values in zip(names, columns, strict=True)})


def _events(contact: Record, known_until: str) -> Iterator[tuple[str | None, ...]]:
    """The values of `COLUMNS` for each moment of one contact; moments of one shape are compared as text."""
    number, place, mail = contact[RECORD_ID], contact.get(PLACE), contact.get(MAIL)
    sent = contact.get(DELIVERED)
    last = _moment(sent) if sent else None
    if sent:
        yield _event(number, "delivered", last or sent, mail, place)
    for name, kind in _ANSWERS.items():
        value = contact.get(name)
        if not value:
            continue
        at = _moment(value)
        to_the_last = last is not None and at is not None and at >= last
        if to_the_last or last is None or at is None or at >= known_until:
            yield _event(number, kind, at or value, mail if to_the_last else None, place)
    for name, kind in _MARKS.items():
        if sent and str(contact.get(name) or "").strip().lower() not in _NO:
            yield _event(number, kind, last or sent, mail, place)


def _event(number: str, kind: str, at: str, mail: str | None, place: str | None) -> tuple[str | None, ...]:
    """One event. Its id counts minutes: an export may write a moment less exactly than a search does."""
    return number, kind, at, f"{number}:{kind}:{at[:_TO_THE_MINUTE]}", mail, place


def _moment(value: str) -> str | None:
    """A HubSpot time, ISO 8601 or ms since 1970, as UTC in one shape; without a zone it is UTC. None if unreadable.

    What cannot be read is handed on as it is, for the mapping to set aside.
    """
    if value[10:11] == "T" and value.endswith("Z"):
        # As HubSpot writes nearly all of them: with milliseconds, or without.
        if len(value) == len("2026-01-01T00:00:00.000Z") and value[19] == ".":
            return value
        if len(value) == len("2026-01-01T00:00:00Z"):
            return f"{value[:19]}.000Z"
    text = value.strip()
    try:
        at = _EPOCH + timedelta(milliseconds=int(text)) if text.isdigit() else datetime.fromisoformat(text)
        return _written(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None


def _written(at: datetime) -> str:
    """A moment in the one shape: UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
