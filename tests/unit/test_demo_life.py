"""The made-up company going on from day to day, with a sandbox that only remembers what it is told."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from connector.contracts import SentMail
from connector.demo import answers
from connector.demo.company import generate
from connector.demo.life import Life

ENDS = date(2026, 11, 21)
BEGINS = datetime(2026, 11, 22, 6, tzinfo=UTC)
A_DAY = timedelta(days=1)


class Sandbox:
    """Sends every contact it is told of one mail a day, in two lots; keeps what happens."""

    base_url = "http://127.0.0.1:1"
    auth: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, mailed=()):
        self.now = BEGINS
        self.mailed = list(mailed)
        self.sent: list[SentMail] = []
        self.happened: list[tuple[str, str]] = []
        self.seeded: list = []

    def seed(self, contacts, accounts):
        self.seeded.append((self.now, list(contacts)))

    def advance(self, seconds):
        self.now += timedelta(seconds=seconds)
        if self.now.hour in {18, 5}:
            for contact_id in self.mailed[self.now.hour == 18 :: 2]:
                title = f"mail of {self.now:%d.%m.}"
                self.sent.append(SentMail(len(self.sent) + 1, contact_id, title, self.now, sent=contact_id != "0"))

    def page(self):
        return ""

    def stop(self):
        pass

    def workflow(self, list_name, mail, *, wait_until=None):
        return "1"

    def mails(self, after=0):
        return self.sent[after:]

    def happen(self, contact_id, what, *, mail=None):
        self.happened.append((contact_id, what))


class Mute:
    """A look-alike without workflows."""

    base_url, auth = "http://127.0.0.1:1", {}

    def __init__(self):
        self.seconds = 0.0

    def seed(self, contacts, accounts):
        list(contacts)

    def advance(self, seconds):
        self.seconds += seconds

    def page(self):
        return ""

    def stop(self):
        pass


@pytest.fixture(scope="module")
def company():
    return generate(ends=ENDS, contacts=400, history_days=400)


def lived(company, sandbox, folder, *, days: int, seed: int = 20) -> Life:
    folder.mkdir(exist_ok=True)
    life = Life(company, sandbox, folder, begins=BEGINS, seed=seed)
    for day in range(days):
        life.next_day()
        life.until(BEGINS + (day + 1) * A_DAY)
    return life


def numbers(company) -> list[str]:
    return [contact.contact_id.partition(":")[2] for contact in company.contacts]


def after_mail(folder) -> list[dict]:
    """The uses that a mail led to."""
    return [row for row in rows(folder, "events-*.parquet") if not row["event_id"].removeprefix("evt-").isdecimal()]


def rows(folder, pattern: str) -> list[dict]:
    return [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def test_every_answer_is_the_one_that_was_drawn_and_each_mail_is_answered_once(company, tmp_path):
    sandbox = Sandbox(numbers(company))
    lived(company, sandbox, tmp_path / "data", days=4)
    gone = {c.contact_id.partition(":")[2] for _, seeded in sandbox.seeded for c in seeded if c.deleted_at}
    drawn = Counter(
        (mail.contact_id, deed)
        for mail in sandbox.sent
        for deed in answers.answer(20, mail.contact_id, mail.name).deeds
        if mail.contact_id not in gone
    )
    happened = Counter(one for one in sandbox.happened if one[0] not in gone)
    assert happened == drawn
    assert len(happened) > 100


def test_who_is_brought_back_uses_the_product_that_day_and_is_known_to_it(company, tmp_path):
    sandbox = Sandbox(numbers(company))
    lived(company, sandbox, tmp_path / "data", days=6)
    users = {user.user_id: user for user in company.users}
    back = after_mail(tmp_path / "data")
    assert len(back) > 10
    assert {row["user_id"] for row in back} <= set(users)
    assert len({row["event_id"] for row in back}) == len(back)
    assert all(BEGINS < row["ts"] < BEGINS + 6 * A_DAY for row in back)
    returning = {mail.contact_id for mail in sandbox.sent if answers.answer(20, mail.contact_id, mail.name).returns} & {
        user.contact_id.partition(":")[2] for user in company.users if user.contact_id
    }
    assert {users[row["user_id"]].contact_id.partition(":")[2] for row in back} == returning


def test_facts_are_written_before_the_next_run_and_never_from_the_future(company, tmp_path):
    sandbox = Sandbox()
    life = Life(company, sandbox, tmp_path, begins=BEGINS, seed=20)
    for day in range(3):
        life.next_day()
        due = BEGINS + (day + 1) * A_DAY
        assert sandbox.now < due
        life.until(due)
        assert sandbox.now == due
        assert all(row["ingested_at"] < due for row in rows(tmp_path, "events-*.parquet"))
    days = ("2026-11-22", "2026-11-23", "2026-11-24")
    assert [path.name for path in sorted(tmp_path.glob("events-*"))] == [f"events-{day}.parquet" for day in days]
    assert [path.name for path in sorted(tmp_path.glob("payments-*"))] == [f"payments-{day}.parquet" for day in days]
    assert len(rows(tmp_path, "events-*")) == len(company.more_days(3))


def test_the_crm_hears_of_changes_wishes_and_deletions_once(company, tmp_path):
    sandbox = Sandbox(numbers(company))
    lived(company, sandbox, tmp_path / "data", days=25)
    seeded = [contact for _, contacts in sandbox.seeded for contact in contacts]
    deleted = [contact.contact_id for contact in seeded if contact.deleted_at]
    assert deleted and len(set(deleted)) == len(deleted)
    last = {contact.contact_id: number for number, contact in enumerate(seeded)}
    assert all(seeded[last[contact_id]].deleted_at for contact_id in deleted)
    wishes = {mail.contact_id for mail in sandbox.sent if answers.answer(20, mail.contact_id, mail.name).snoozes} - {
        contact_id.partition(":")[2] for contact_id in deleted
    }
    asked = {c.contact_id.partition(":")[2] for c in seeded if (c.attributes.get("snoozed_until") or "") > "2027-02-01"}
    assert wishes <= asked and wishes
    assert {c.contact_id for c in company.after(25).contacts} - {c.contact_id for c in company.contacts} <= set(last)


def test_the_same_company_lives_the_same_days(company, tmp_path):
    one, other = Sandbox(numbers(company)), Sandbox(numbers(company))
    lived(company, one, tmp_path / "one", days=3)
    lived(company, other, tmp_path / "other", days=3)
    assert one.happened == other.happened
    assert one.seeded == other.seeded
    assert rows(tmp_path / "one", "*.parquet") == rows(tmp_path / "other", "*.parquet")
    third = Sandbox(numbers(company))
    lived(company, third, tmp_path / "third", days=3, seed=21)
    assert third.happened != one.happened


def test_mails_that_were_not_sent_are_neither_counted_nor_answered(company, tmp_path):
    sandbox = Sandbox(["0", "0", *numbers(company)[:10]])
    life = Life(company, sandbox, tmp_path, begins=BEGINS, seed=20)
    assert life.next_day() == 10
    assert len(sandbox.sent) == 12
    assert "0" not in {contact_id for contact_id, _ in sandbox.happened}


def test_a_look_alike_without_workflows_is_lived_with_in_silence(company, tmp_path):
    sandbox = Mute()
    life = lived(company, sandbox, tmp_path / "data", days=2)
    assert sandbox.seconds == 2 * A_DAY.total_seconds()
    assert life.next_day() == 0
    assert not after_mail(tmp_path / "data")
