"""Marketing mail of the account: what workflows sent, what people did with it, and the properties that tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from adapters.hubspot.sandbox.answers import Refusal, iso, not_found
from adapters.hubspot.sandbox.preferences import PreferenceStore
from adapters.hubspot.sandbox.records import ObjectStore, Record

SENT: Final = "SENT"
EVENTS: Final = ("open", "click", "reply", "bounce", "unsubscribe", "complain", "visit", "contacted")
"""What somebody can do: with a mail, on the site, and what a colleague of ours does ("contacted")."""
_COUNTERS: Final = {"open": "hs_email_open", "click": "hs_email_click", "reply": "hs_email_replied"}
_FIRST: Final = {"open": "hs_email_first_open_date", "click": "hs_email_first_click_date"} | {
    "reply": "hs_email_first_reply_date"
}
_LAST: Final = {
    "open": "hs_email_last_open_date",
    "click": "hs_email_last_click_date",
    "reply": "hs_email_last_reply_date",
    "visit": "hs_analytics_last_visit_timestamp",
    "contacted": "notes_last_contacted",
}
OWNED: Final = "winback_"


@dataclass(slots=True)
class Mail:
    """One mail: sent, or not and why (`result`, in the vendor's words).

    values: The winback properties the contact had then, which is what the mail merged.
    events: (moment, what) of everything the recipient did with it.
    """

    number: int
    at_ms: int
    contact_id: str
    content_id: str
    name: str
    result: str
    flow_id: str | None = None
    action_id: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)

    @property
    def sent(self) -> bool:
        """Whether it went out."""
        return self.result == SENT

    def body(self) -> dict[str, Any]:
        """The mail for the control API; no address in it."""
        return {
            "number": self.number,
            "at": iso(self.at_ms),
            "contact": self.contact_id,
            "content": self.content_id,
            "name": self.name,
            "result": self.result,
            "flow": self.flow_id,
            "action": self.action_id,
            "values": dict(self.values),
            "events": [{"at": iso(at), "what": what} for at, what in self.events],
        }


class MailRoom:
    """Sends and remembers. `names` are the titles of automated mails by their content id."""

    def __init__(self, contacts: Callable[[], ObjectStore], preferences: PreferenceStore) -> None:
        self._contacts = contacts
        self._preferences = preferences
        self.names: dict[str, str] = {}
        self.mails: list[Mail] = []
        self._by_contact: dict[str, list[Mail]] = {}

    def send(self, contact_id: str, content_id: str, *, flow_id: str, action_id: str, at_ms: int) -> Mail:
        """Send one automated mail, or say why the vendor would not."""
        record = self._contacts().live[contact_id]
        mail = Mail(
            len(self.mails) + 1,
            at_ms,
            contact_id,
            content_id,
            self.names.get(content_id, f"Mail {content_id}"),
            self._obstacle(record) or SENT,
            flow_id,
            action_id,
            {name: value for name, value in record.properties.items() if name.startswith(OWNED)},
        )
        self.mails.append(mail)
        self._by_contact.setdefault(contact_id, []).append(mail)
        if mail.sent:
            changes = {
                "hs_email_delivered": _plus_one(record, "hs_email_delivered"),
                "hs_email_last_send_date": iso(at_ms),
                "hs_email_first_send_date": record.properties.get("hs_email_first_send_date") or iso(at_ms),
                "hs_email_last_email_name": mail.name,
                "hs_email_sends_since_last_engagement": _plus_one(record, "hs_email_sends_since_last_engagement"),
            }
            self._write(record, changes, at_ms=at_ms)
        return mail

    def happen(self, contact_id: str, what: str, *, at_ms: int, mail: int | None = None) -> Mail | None:
        """Let somebody do something, by default with the last mail they got; the mail, where there was one."""
        if what not in EVENTS:
            raise Refusal(f"people of the sandbox can {', '.join(EVENTS)}, not '{what}'")
        record = self._contacts().find(contact_id)
        if record is None:
            raise not_found(f"there is no contact {contact_id}")
        chosen = self._mail_of(record.id, mail)
        if chosen is None and what not in {"visit", "contacted", "unsubscribe"}:
            raise Refusal(f"contact {contact_id} got no mail to {what}")
        if chosen is not None and what not in {"visit", "contacted"}:
            chosen.events.append((at_ms, what))
        self._write(record, _changes(record, what, at_ms), at_ms=at_ms)
        if what in {"unsubscribe", "complain"}:
            source = "SPAM_REPORT" if what == "complain" else "UNSUBSCRIBE_PAGE"
            self._preferences.unsubscribe_all(record.properties.get("email", ""), source=source, now_ms=at_ms)
        return chosen

    def of(self, contact_id: str) -> list[Mail]:
        """Everything sent, or not sent, to one contact."""
        return self._by_contact.get(contact_id, [])

    def _mail_of(self, contact_id: str, number: int | None) -> Mail | None:
        sent = [mail for mail in self.of(contact_id) if mail.sent and number in {None, mail.number}]
        return sent[-1] if sent else None

    def _obstacle(self, record: Record) -> str | None:
        held = record.properties
        if not held.get("email"):
            return "INVALID_TO_ADDRESS"
        if held.get("hs_email_optout") == "true":
            return "PREVIOUSLY_UNSUBSCRIBED_PORTAL"
        if held.get("hs_email_hard_bounce_reason_enum") or held.get("hs_email_bad_address") == "true":
            return "PREVIOUSLY_BOUNCED"
        if held.get("hs_email_quarantined") == "true":
            return "QUARANTINED_ADDRESS"
        return "NON_MARKETABLE_CONTACT" if held.get("hs_marketable_status") == "false" else None

    def _write(self, record: Record, changes: Mapping[str, str], *, at_ms: int) -> None:
        if changes:
            newer = replace(
                record, properties={**record.properties, **changes}, updated_ms=max(at_ms, record.updated_ms)
            )
            self._contacts().put(newer, now_ms=at_ms)


def _changes(record: Record, what: str, at_ms: int) -> dict[str, str]:
    """The properties one event changes."""
    changes: dict[str, str] = {}
    if what in _COUNTERS:
        changes[_COUNTERS[what]] = _plus_one(record, _COUNTERS[what])
        changes[_FIRST[what]] = record.properties.get(_FIRST[what]) or iso(at_ms)
        changes["hs_email_sends_since_last_engagement"] = "0"
    if what in _LAST:
        changes[_LAST[what]] = iso(at_ms)
    if what in {"reply", "visit"}:
        changes["hs_last_sales_activity_timestamp"] = iso(at_ms)
    if what == "bounce":
        changes |= {
            "hs_email_bounce": _plus_one(record, "hs_email_bounce"),
            "hs_email_hard_bounce_reason_enum": "UNKNOWN_USER",
        }
    return changes


def _plus_one(record: Record, name: str) -> str:
    return str(int(record.properties.get(name) or 0) + 1)
