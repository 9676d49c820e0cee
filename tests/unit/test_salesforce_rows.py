"""Rows on their way and what is said about them, without an org."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce import bulk_ingest
from adapters.salesforce.bulk_ingest import read_error
from adapters.salesforce.campaigns import status_of
from adapters.salesforce.ids import record_id
from adapters.salesforce.lookups import person_id
from adapters.salesforce.rows import INSERT_MEMBERS, UPDATE, Change, RowWriter, Said, read_result
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RejectedError, RetriableError
from connector.model import Outcome
from connector.rest import Answer
from tests.fakes.connections import HandClock, KeptLines


class Org:
    """Answers collections calls as told: by record, by call, or with a fault. Nothing else of a client is needed."""

    def __init__(self, *answers, refuse=None):
        self.answers = list(answers)
        self.refuse = refuse or {}
        self.bodies = []
        self.headers = []

    def path(self, tail=""):
        return tail

    def call(self, method, path, *, effect, query=None, body=None, headers=None):
        del method, path, effect, query
        self.headers.append(headers)
        self.bodies.append([record.get("id") or record.get("ContactId") for record in body["records"]])
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return Answer(200, answer)
        return Answer(200, [self._row(one) for one in self.bodies[-1]])

    def _row(self, row_id):
        errors = self.refuse.get(row_id)
        code = errors.pop(0) if isinstance(errors, list) and errors else errors
        if not code:
            return {"id": row_id, "success": True, "errors": []}
        return {"success": False, "errors": [{"statusCode": code, "message": f"{code} said"}]}


class NoBulk:
    """Nothing is ever so much."""

    def write(self, verb, sobject, changes):
        raise AssertionError((verb, sobject, len(changes)))


def writer(org, clock=None):
    return RowWriter(org, NoBulk(), clock=clock or HandClock(), bulk_from=10_000)


def changes(count, *, verb=UPDATE):
    name = "Id" if verb is UPDATE else "ContactId"
    return [Change(str(number), "Contact", {name: str(number), "X__c": "x"}) for number in range(count)]


def test_a_locked_row_is_written_again_in_smaller_batches_until_it_passes():
    clock, org = HandClock(), Org(refuse={str(n): ["UNABLE_TO_LOCK_ROW"] * 2 for n in range(150)})
    said = writer(org, clock).write(UPDATE, changes(300))
    assert all(one.done for one in said.values())
    assert [len(body) for body in org.bodies] == [200, 100, 100, 50, 50, 50, 50]
    assert clock.slept == 3


def test_a_row_that_stays_locked_is_refused_with_the_vendors_words_and_holds_up_nobody():
    org = Org(refuse={"7": "UNABLE_TO_LOCK_ROW"})
    said = writer(org).write(UPDATE, changes(20))
    assert said["7"].receipt("7").outcome is Outcome.REJECTED
    assert said["7"].code == "UNABLE_TO_LOCK_ROW" and "said" in said["7"].message
    assert Counter(one.done for one in said.values()) == {True: 19, False: 1}
    assert len(org.bodies) == 6


def test_no_write_lets_the_org_hand_a_lead_to_somebody_else():
    org = Org(refuse={"7": ["UNABLE_TO_LOCK_ROW"]})
    writer(org).write(UPDATE, changes(300))
    assert org.headers == [{"Sforce-Auto-Assign": "FALSE"}] * 3


def test_locked_rows_are_sorted_by_what_they_hang_on_before_they_are_sent_again():
    org = Org(refuse={str(n): ["UNABLE_TO_LOCK_ROW"] for n in range(9)})
    writer(org).write(UPDATE, changes(9), by_parent=lambda rows: sorted(rows, key=lambda row: row.key, reverse=True))
    assert org.bodies[1] == [str(n) for n in reversed(range(9))]


def test_a_lock_inside_a_triggers_error_is_a_lock():
    said = read_result(
        {
            "success": False,
            "errors": [
                {"statusCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no"},
                {
                    "statusCode": "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                    "message": "Roll: first error: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access: []",
                },
            ],
        }
    )
    assert said.locked


def test_what_was_written_before_the_quota_ended_is_told_and_the_rest_is_unknown():
    org = Org(None, QuotaExhausted("no calls left"))
    said = writer(org).write(UPDATE, changes(500))
    outcomes = Counter(one.receipt(key).outcome for key, one in said.items())
    assert outcomes == {Outcome.WRITTEN: 200, Outcome.UNKNOWN: 300}
    assert len(org.bodies) == 2


@pytest.mark.parametrize("fault", [QuotaExhausted("x"), CredentialsError("x"), RetriableError("x")])
def test_what_stops_everything_is_raised_when_nothing_was_written(fault):
    with pytest.raises(type(fault)):
        writer(Org(fault)).write(UPDATE, changes(500))


def test_a_call_without_an_answer_leaves_its_rows_unknown_and_the_others_written():
    org = Org(None, OutcomeUnknown("lost"), None)
    said = writer(org).write(UPDATE, changes(600))
    assert Counter(one.silent for one in said.values()) == {False: 400, True: 200}
    assert said["250"].receipt("250").outcome is Outcome.UNKNOWN


def test_when_nothing_is_answered_everything_is_unknown():
    with pytest.raises(OutcomeUnknown):
        writer(Org([], [])).write(UPDATE, changes(300))


def test_an_insert_without_an_answer_is_sent_again_and_remembers_its_doubt():
    org = Org(OutcomeUnknown("lost"), refuse={"1": "DUPLICATE_VALUE"})
    said = writer(org).write(INSERT_MEMBERS, changes(3, verb=INSERT_MEMBERS))
    assert said["1"].doubted and said["1"].code == "DUPLICATE_VALUE"
    assert said["0"].done and len(org.bodies) == 2


@pytest.mark.parametrize("then", [RejectedError("no", status=400), RetriableError("down"), QuotaExhausted("spent")])
def test_what_may_have_been_written_is_never_called_refused(then):
    with pytest.raises(OutcomeUnknown):
        writer(Org(OutcomeUnknown("lost"), then)).write(INSERT_MEMBERS, changes(3, verb=INSERT_MEMBERS))


def test_a_refused_call_is_halved_down_to_the_row_that_is_to_blame():
    class Picky(Org):
        def call(self, method, path, **more):
            if any(record["id"] == "5" for record in more["body"]["records"]):
                self.bodies.append(None)
                raise RejectedError("no good", status=400)
            return super().call(method, path, **more)

    org = Picky()
    said = writer(org).write(UPDATE, changes(64))
    assert [key for key, one in said.items() if not one.done] == ["5"]
    assert len(org.bodies) <= 14


def test_a_refusal_of_the_request_itself_is_not_halved():
    with pytest.raises(RejectedError):
        writer(Org(RejectedError("gone", status=404))).write(UPDATE, changes(64))


@pytest.mark.parametrize("code", ["ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"])
def test_a_record_that_is_gone_is_missing(code):
    assert Said(code=code, message="x").receipt("7").outcome is Outcome.MISSING


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("DUPLICATE_VALUE:Already a campaign member.:--", "DUPLICATE_VALUE", "Already a campaign member."),
        (
            "REQUIRED_FIELD_MISSING:Required fields are missing: [X]:X --",
            "REQUIRED_FIELD_MISSING",
            "Required fields are missing: [X]",
        ),
        (
            "UNABLE_TO_LOCK_ROW:unable to obtain exclusive access: 001:--",
            "UNABLE_TO_LOCK_ROW",
            "unable to obtain exclusive access: 001",
        ),
        (
            "FIELD_CUSTOM_VALIDATION_EXCEPTION:Ask jo@example.com first:A__c B__c --",
            "FIELD_CUSTOM_VALIDATION_EXCEPTION",
            "Ask <email> first",
        ),
        ("SOMETHING", "SOMETHING", "SOMETHING"),
        ("", "REJECTED", ""),
    ],
)
def test_an_error_of_a_job_is_read_in_its_parts(text, code, message):
    said = read_error(text)
    assert (said.code, said.message) == (code, message)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["A__c", "B__c", "C__c"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
        ),
        min_size=1,
        max_size=20,
    ),
    st.integers(40, 400),
)
def test_a_file_says_of_every_row_what_to_write_what_to_empty_and_what_to_leave(values, largest):
    rows = [Change(str(number), "Contact", {"Id": f"003{number}", **one}) for number, one in enumerate(values)]
    kept, bulk_ingest.LARGEST_BYTES = bulk_ingest.LARGEST_BYTES, largest
    try:
        files = list(bulk_ingest._files(UPDATE, rows))
    finally:
        bulk_ingest.LARGEST_BYTES = kept
    assert [change for part, _ in files for change in part] == rows
    for part, content in files:
        assert len(content) <= largest or len(part) == 1
        read = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        assert len(read) == len(part)
        for change, row in zip(part, read, strict=True):
            for name in ("Id", "A__c", "B__c", "C__c"):
                cell = row.get(name, "")
                if name not in change.values:
                    assert cell == ""
                elif change.values[name] is None:
                    assert cell == "#N/A"
                elif isinstance(change.values[name], bool):
                    assert cell == str(change.values[name]).lower()
                else:
                    assert cell == str(change.values[name])


def test_a_file_for_deleting_has_the_ids_and_nothing_else():
    rows = [Change("1", "CampaignMember", {"Id": "00v1", "Status": "x"})]
    ((_, content),) = bulk_ingest._files(bulk_ingest.Verb("delete", "DELETE", ("Id",)), rows)
    assert content == b"Id\n00v1\n"


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("winback · dormant_30", "dormant_30"),
        ("winback · win-back · reminder", "reminder"),
        ("winback · " + "x" * 60, "x" * 40),
        ("winback · Exited", "Exited (on it)"),
    ],
)
def test_the_status_of_who_is_on_a_list_is_the_last_part_of_its_name(name, status):
    assert status_of(name) == status


def test_people_are_contacts_and_leads_by_their_long_or_short_id():
    contact, lead = record_id("Contact", 42), record_id("Lead", 42)
    assert person_id(contact) == person_id(contact[:15]) == contact
    assert person_id(lead[:15]) == lead
    assert person_id(record_id("Account", 42)) is person_id("42") is person_id("") is None


def test_a_job_that_never_ends_is_unknown_and_asked_for_less_and_less():
    class Busy:
        asked = 0

        def path(self, tail=""):
            return tail

        def read(self, path, *, query=None, accept=None):
            del accept
            if query is not None or path == "/jobs/ingest":
                return {"done": True, "records": []}
            self.asked += 1
            return {"id": "750", "state": "InProgress"}

        def call(self, method, path, *, effect, body=None, content=None, headers=None, attempts=None):
            del effect, content, headers, attempts, path
            state = (body or {}).get("state", "Open")
            return Answer(200, {"id": "750", "state": state}) if method != "PUT" else Answer(201, None)

    org, clock = Busy(), HandClock()
    jobs = bulk_ingest.BulkIngest(org, clock=clock, reporter=KeptLines(), wait=timedelta(hours=1))
    with pytest.raises(OutcomeUnknown, match=r"750.*InProgress"):
        jobs.write(UPDATE, "Contact", changes(3))
    assert clock.slept > 3_600 and org.asked < 70
