"""E-mail the org sent: kept as EmailMessage, its relation and a closed task, as the vendor does; and what came of it.

The vendor keeps openings, bounces, replies and opt-outs; it keeps neither clicks nor visits to a site.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce.sandbox.answers import NOT_FOUND, Refusal, day_text, stamp

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.state import State

SENT: Final = "sent"
OWNED: Final = "Winback_"
EVENTS: Final = ("open", "click", "reply", "bounce", "unsubscribe", "complain", "visit", "contacted")
"""What somebody can do: with a mail, on the site, and what a colleague of ours does ("contacted")."""

WITHOUT_MAIL: Final = frozenset({"visit", "contacted", "unsubscribe"})
NEW, SENT_STATUS = "0", "3"
"""What EmailMessage.Status says of a mail that came in, and of one that went out."""

UNKNOWN_USER: Final = "550 5.1.1 The email account that you tried to reach does not exist"
_STOPS: Final = ("HasOptedOutSolicit", "HasOptedOutProcessing", "ShouldForget")


@dataclass(slots=True)
class Mail:
    """One mail: sent, or not and why (`result`).

    values: The winback fields the person had then, which is what the mail merged.
    events: (moment, what) of everything the recipient did with it.
    """

    number: int
    at_ms: int
    person_id: str
    title: str
    result: str
    flow: str
    record_id: str
    message_id: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)

    @property
    def sent(self) -> bool:
        """Whether it went out."""
        return self.result == SENT

    def body(self) -> dict[str, Any]:
        """The mail for the control API; no address in it."""
        return {
            "number": self.number,
            "at": stamp(self.at_ms),
            "person": self.person_id,
            "title": self.title,
            "result": self.result,
            "flow": self.flow,
            "record": self.record_id,
            "message": self.message_id,
            "values": dict(self.values),
            "events": [{"at": stamp(at), "what": what} for at, what in self.events],
        }


class MailRoom:
    """Sends and remembers."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.mails: list[Mail] = []
        self._by_person: dict[str, list[Mail]] = {}
        self._do: Mapping[str, Callable[[Row, Mail | None, int], None]] = {
            "open": self._open,
            "click": self._open,
            "reply": self._reply,
            "bounce": self._bounce,
            "unsubscribe": self._opt_out,
            "complain": self._opt_out,
            "contacted": self._contacted,
        }

    def send(self, person_id: str, title: str, *, flow: str, record_id: str, at_ms: int) -> Mail:
        """Send one mail, or say why the org would not."""
        person = self._state.row(person_id)
        mail = Mail(len(self.mails) + 1, at_ms, person_id, title, self._obstacle(person) or SENT, flow, record_id)
        self.mails.append(mail)
        self._by_person.setdefault(person_id, []).append(mail)
        if person is not None:
            mail.values = {name: value for name, value in person.values.items() if name.startswith(OWNED)}
        if person is not None and mail.sent:
            task = self._task(person, "Email", f"Email: {title}", at_ms=at_ms)
            mail.message_id = self._message(
                person, title, at_ms, {"Status": SENT_STATUS, "IsTracked": True, "ActivityId": task, "Incoming": False}
            )
        return mail

    def happen(self, person_id: str, what: str, *, at_ms: int, mail: int | None = None) -> Mail | None:
        """Let somebody do something, by default with the last mail they got; the mail, where there was one."""
        if what not in EVENTS:
            raise Refusal("INVALID_INPUT", f"people of the sandbox can {', '.join(EVENTS)}, not '{what}'")
        person = self._survivor(person_id)
        chosen = self._mail_of(person_id, mail) or self._mail_of(person.id, mail)
        if chosen is None and what not in WITHOUT_MAIL:
            raise Refusal("INVALID_INPUT", f"{person_id} got no mail to {what}")
        if chosen is not None and what not in {"visit", "contacted"}:
            chosen.events.append((at_ms, what))
        act = self._do.get(what)
        if act is not None:
            with self._state.acting(self._state.admin_user), self._state.transaction():
                act(person, chosen, at_ms)
        return chosen

    def of(self, person_id: str) -> list[Mail]:
        """Everything sent, or not sent, to one person."""
        return self._by_person.get(person_id, [])

    # --- what is kept of it ---

    def _open(self, _: Row, mail: Mail | None, at_ms: int) -> None:
        message = self._kept(mail)
        if message is not None:
            first = message.values.get("FirstOpenedDate", at_ms)
            self._note(message, {"IsOpened": True, "FirstOpenedDate": first, "LastOpenedDate": at_ms})

    def _reply(self, person: Row, mail: Mail | None, at_ms: int) -> None:
        title = f"Re: {mail.title}" if mail is not None else "Re:"
        task = self._task(person, "Email", f"Email: {title}", at_ms=at_ms)
        values = {"Status": NEW, "Incoming": True, "ActivityId": task, "TextBody": "(the reply)"}
        self._message(person, title, at_ms, values, relation="FromAddress")

    def _bounce(self, person: Row, mail: Mail | None, at_ms: int) -> None:
        message = self._kept(mail)
        if message is not None:
            self._note(message, {"IsBounced": True})
        self._note(person, {"EmailBouncedDate": at_ms, "EmailBouncedReason": UNKNOWN_USER})

    def _opt_out(self, person: Row, _: Mail | None, __: int) -> None:
        self._note(person, {"HasOptedOutOfEmail": True})

    def _contacted(self, person: Row, _: Mail | None, at_ms: int) -> None:
        self._task(person, "Call", "Call", at_ms=at_ms)

    def _message(
        self, person: Row, title: str, at_ms: int, values: Mapping[str, Any], *, relation: str = "ToAddress"
    ) -> str:
        state = self._state
        address = person.values.get("Email")
        side = {"FromAddress": address} if relation == "FromAddress" else {"ToAddress": address}
        held = state.insert("EmailMessage", {"Subject": title, "MessageDate": at_ms, **side, **values})
        state.insert(
            "EmailMessageRelation",
            {
                "EmailMessageId": held.id,
                "RelationId": person.id,
                "RelationType": relation,
                "RelationAddress": address,
            },
        )
        return held.id

    def _task(self, person: Row, subtype: str, subject: str, *, at_ms: int) -> str:
        """A closed task, which the vendor counts as activity of the person."""
        state, day = self._state, day_text(at_ms)
        values = {
            "WhoId": person.id,
            "Subject": subject,
            "TaskSubtype": subtype,
            "Status": "Completed",
            "ActivityDate": day,
            "OwnerId": person.values.get("OwnerId"),
        }
        task = state.insert("Task", values)
        self._note(task, {"CompletedDateTime": at_ms})
        latest = state.row(person.id) or person
        if str(latest.values.get("LastActivityDate", "")) < day:
            self._note(latest, {"LastActivityDate": day})
        return task.id

    def _note(self, row: Row, changes: Mapping[str, Any]) -> None:
        """Write what no API can write."""
        latest = self._state.row(row.id) or row
        self._state.rewrite(latest, {**latest.values, **changes})

    def _kept(self, mail: Mail | None) -> Row | None:
        message = self._state.row(mail.message_id) if mail is not None and mail.message_id else None
        return None if message is None or message.is_deleted else message

    def _mail_of(self, person_id: str, number: int | None) -> Mail | None:
        sent = [mail for mail in self.of(person_id) if mail.sent and number in {None, mail.number}]
        return sent[-1] if sent else None

    def _survivor(self, person_id: str) -> Row:
        """The person, or who they were merged into or converted to; 404 when there is nobody."""
        row = self._state.row(person_id)
        while row is not None and (row.is_deleted or row.values.get("IsConverted")):
            row = self._state.row(row.values.get("MasterRecordId") or row.values.get("ConvertedContactId") or "")
        if row is None:
            raise Refusal("NOT_FOUND", f"there is nobody with the id {person_id}", status=NOT_FOUND)
        return row

    def _obstacle(self, person: Row | None) -> str | None:
        if person is None or person.is_deleted:
            return "deleted"
        if not person.values.get("Email"):
            return "no address"
        if person.values.get("HasOptedOutOfEmail"):
            return "opted out"
        if person.values.get("EmailBouncedDate"):
            return "bounced"
        individual = self._state.row(person.values.get("IndividualId") or "")
        if individual is not None and any(individual.values.get(name) for name in _STOPS):
            return "opted out as an individual"
        return None
