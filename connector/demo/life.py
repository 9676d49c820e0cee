"""The made-up company from day to day: the CRM sends its mails, people answer them, work, leave, are deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from connector.contracts import Rehearsal, Sandbox, SentMail
from connector.demo import answers
from connector.demo.answers import Answer
from connector.demo.company import Company, ProductUser
from connector.demo.events import COLUMNS, payment_table, write_table
from connector.demo.population import Ints
from connector.model import Contact

EVENING = time(18)
"""By then the mails of the day have gone out in most of the world, and people answer them (UTC)."""

NIGHT = time(5)
"""By then those of the other half have, too; facts are written, and the next run can come."""

MINUTES_TO_USE = 20
"""How long after reading a mail somebody is back in the product."""

BROUGHT_BACK_TO = "dashboard"
"""The feature they look at."""


@dataclass(frozen=True, slots=True)
class _Use:
    user: ProductUser
    at: datetime
    key: str


class Life:
    """A company and its CRM, moved forward together.

    company: As known when the first run is made, the evening before it.
    folder: Where its usage and payment files are.
    seed: Of everything people do with mails.
    """

    def __init__(self, company: Company, sandbox: Sandbox, folder: Path, *, begins: datetime, seed: int) -> None:
        self._company = company
        self._sandbox = sandbox
        self._folder = folder
        self._seed = seed
        self._now = begins
        self._read = 0
        self._sent = 0
        self._gone: set[str] = set()
        self._later: dict[date, list[_Use]] = {}
        self._asked: dict[str, str] = {}
        self._users = {user.contact_id: user for user in company.users if user.contact_id is not None}

    def next_day(self) -> int:
        """From one morning's run to the next; how many mails went out."""
        today, sent = self._now.date(), self._sent
        uses: list[_Use] = self._later.pop(today, [])
        payments: list[_Use] = []
        for hour in (EVENING, NIGHT):
            day = today if hour > self._now.time() else today + timedelta(days=1)
            self._until(datetime.combine(day, hour, self._now.tzinfo))
            for mail, what in self._answers():
                self._happen(mail, what)
                self._follow(mail, what, uses, payments)
        later = self._company.after(1)
        self._turn_the_crm(later)
        self._write(today, uses, payments)
        self._company = later
        return self._sent - sent

    def until(self, moment: datetime) -> None:
        """Let the sandbox's clock run on to a moment."""
        self._until(moment)

    # --- what people do -------------------------------------------------------------------------------------

    def _until(self, moment: datetime) -> None:
        self._sandbox.advance((moment - self._now).total_seconds())
        self._now = moment

    def _answers(self) -> Iterator[tuple[SentMail, Answer]]:
        """The mails sent since last asked that somebody does something with."""
        if not isinstance(self._sandbox, Rehearsal):
            return
        fresh = self._sandbox.mails(self._read)
        self._read += len(fresh)
        self._sent += sum(mail.sent for mail in fresh)
        for mail in fresh:
            if mail.sent and mail.contact_id not in self._gone:
                yield mail, answers.answer(self._seed, mail.contact_id, mail.name)

    def _happen(self, mail: SentMail, what: Answer) -> None:
        assert isinstance(self._sandbox, Rehearsal)
        for deed in what.deeds:
            self._sandbox.happen(mail.contact_id, deed, mail=mail.number)
        if what.snoozes:
            until = self._now.date() + timedelta(days=what.snoozes)
            self._asked[self._contact_id(mail.contact_id)] = until.isoformat()

    def _follow(self, mail: SentMail, what: Answer, uses: list[_Use], payments: list[_Use]) -> None:
        """What the mail leads to outside of the CRM."""
        user = self._users.get(self._contact_id(mail.contact_id))
        if user is None:
            return
        key = f"{mail.contact_id}-{mail.name}"
        at = self._now + timedelta(minutes=MINUTES_TO_USE)
        if what.returns:
            uses.append(_Use(user, at, key))
            if answers.draw(self._seed, "again", key) < answers.AGAIN:
                again = at + timedelta(days=1 + int(answers.draw(self._seed, "after", key) * 6))
                self._later.setdefault(again.date(), []).append(_Use(user, again, f"{key}-again"))
        if what.buys:
            payments.append(_Use(user, at, key))

    def _contact_id(self, record_id: str) -> str:
        return f"{self._company.system}:{record_id}"

    # --- what the CRM and the product write down ---------------------------------------------------------------

    def _turn_the_crm(self, later: Company) -> None:
        """Contacts that are new, changed, or asked for something; and some that somebody deletes."""
        known = {contact.contact_id: contact for contact in self._company.contacts}
        changed = [
            self._as_asked(contact)
            for contact in later.contacts
            if contact.contact_id not in self._gone
            and (known.get(contact.contact_id) != contact or contact.contact_id in self._asked)
        ]
        self._asked.clear()
        deleted = [
            replace(contact, deleted_at=self._now)
            for contact in known.values()
            if contact.contact_id not in self._gone
            and answers.draw(self._seed, "deleted", contact.contact_id, later.ends) < answers.DELETED_A_DAY
        ]
        self._gone |= {contact.contact_id for contact in deleted}
        self._sandbox.seed([*changed, *deleted], ())

    def _as_asked(self, contact: Contact) -> Contact:
        until = self._asked.get(contact.contact_id)
        if until is None:
            return contact
        return replace(contact, attributes={**contact.attributes, "snoozed_until": until})

    def _write(self, today: date, uses: Sequence[_Use], payments: Sequence[_Use]) -> None:
        """One file of uses and one of payments for what arrived since the last run."""
        arrived = self._company.more_days(1)
        for name, tables in (
            ("events", (arrived.table(), _use_table(uses))),
            ("payments", (arrived.payments(), _payment_table(payments))),
        ):
            told = pa.concat_tables(tables)
            if told.num_rows:
                write_table(told, self._folder / f"{name}-{today}.parquet")


def _seconds(uses: Sequence[_Use]) -> Ints:
    return np.array([round(use.at.timestamp()) for use in uses], dtype=np.int64)


def _use_table(uses: Sequence[_Use]) -> pa.Table:
    """Uses as a table with the columns of the usage files."""
    at = pa.array(_seconds(uses)).cast(pa.timestamp("s", tz="UTC"))
    columns = (
        pa.array([f"evt-{use.key}" for use in uses], pa.string()),
        pa.array([use.user.user_id for use in uses], pa.string()),
        pa.array([use.user.email for use in uses], pa.string()),
        at,
        pa.array([BROUGHT_BACK_TO] * len(uses), pa.string()),
        pa.array([1] * len(uses), pa.int32()),
        at,
    )
    return pa.table(dict(zip(COLUMNS, columns, strict=True)))


def _payment_table(payments: Sequence[_Use]) -> pa.Table:
    return payment_table(
        ids=[f"pay-{use.key}" for use in payments],
        user_ids=pa.array([use.user.user_id for use in payments], pa.string()),
        emails=pa.array([use.user.email for use in payments], pa.string()),
        at=_seconds(payments),
        amounts=[290.0] * len(payments),
        kind="upgrade",
    )
