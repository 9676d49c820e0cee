from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import SettingError
from connector.program.consent import fold
from connector.program.model import Status
from connector.program.suppression import (
    REASONS,
    Suppressed,
    Suppressions,
    about_address,
    address_key,
    entries,
    format_file,
    parse_file,
    pepper_mark,
)
from tests.fakes.consent import NOW, days_ago, word

PEPPER = bytes(range(32))
OTHER = bytes(range(1, 33))
ADA = address_key("ada@acme.example", PEPPER)


def taken(text: str, **more):
    how = {"name": "old.csv", "source": "old tool", "basis": "objections", "pepper": PEPPER, "now": NOW} | more
    return parse_file(text, **how)


# --- keys ------------------------------------------------------------------------------------------------------


def test_a_key_is_the_same_for_every_spelling_and_other_with_another_pepper():
    assert re.fullmatch(r"email:[0-9a-f]{64}", ADA)
    assert address_key(" ADA@acme.example", PEPPER) == ADA
    assert address_key("ada@acme.example", OTHER) != ADA
    assert address_key("ada+x@acme.example", PEPPER) != ADA


def test_a_key_is_an_hmac_so_that_nobody_without_the_pepper_can_try_addresses():
    """Reckoned once by the definition of RFC 2104, not by the library the program uses."""
    import hashlib

    inner = hashlib.sha256(bytes(b ^ 0x36 for b in PEPPER.ljust(64, b"\0")) + b"ada@acme.example").digest()
    outer = hashlib.sha256(bytes(b ^ 0x5C for b in PEPPER.ljust(64, b"\0")) + inner).hexdigest()
    assert f"email:{outer}" == ADA


def test_the_list_knows_an_address_by_any_spelling_and_no_other():
    listed = Suppressions([ADA], PEPPER)
    assert listed("ada@acme.example") and listed("Ada@Acme.Example ")
    assert not listed("bob@acme.example")
    assert len(listed) == 1
    assert not Suppressions([], PEPPER)("ada@acme.example")


def test_an_address_whose_person_came_back_is_not_on_the_list():
    out, back = word(Status.WITHDRAWN, days_ago(9)), word(Status.RESUBSCRIBED, days_ago(2))
    assert Suppressions.of({ADA: fold([out])}, PEPPER)("ada@acme.example")
    assert not Suppressions.of({ADA: fold([out, back]), "crm:1": fold([out])}, PEPPER)("ada@acme.example")


def test_an_opt_out_said_of_the_address_too_outlives_the_contact():
    out = word(Status.WITHDRAWN, days_ago(9))
    also = about_address(out, " Ada@acme.example", PEPPER)
    assert (also.subject, also.captured_at, also.evidence) == (ADA, out.captured_at, out.evidence)
    assert also.event_key != out.event_key
    assert Suppressions.of({also.subject: fold([also])}, PEPPER)("ada@acme.example")


# --- import ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lacking", ["source", "basis"])
@pytest.mark.parametrize("said", ["", "  ", "\t", "x" * 201, "from bob@acme.example"])
def test_a_list_nobody_can_account_for_is_not_taken_in(lacking, said):
    with pytest.raises(SettingError, match=rf"old\.csv: .*{lacking}") as caught:
        taken("ada@acme.example\n", **{lacking: said})
    assert caught.value.exit_code == 2
    assert "@acme" not in f"{caught.value} {caught.value.hint}"


def test_a_statement_of_200_letters_is_short_enough():
    assert len(taken("ada@acme.example\n", source="s" * 200).events) == 1


@pytest.mark.parametrize("email", ["a-b@acme.example", "'ada@acme.example", "a+=@acme.example"])
def test_only_our_own_mark_before_a_formula_is_taken_off(email):
    assert taken(f"{email}\n").events[0].subject == address_key(email, PEPPER)


def test_source_and_basis_are_kept_as_evidence_with_file_and_line():
    event = taken("email,reason\n\nada@acme.example,unsubscribed\n", actor="dpo").events[0]
    assert (event.subject, event.status, event.source, event.actor) == (ADA, Status.WITHDRAWN, "old tool", "dpo")
    evidence = dict(event.evidence)
    assert re.fullmatch("[0-9a-f]{64}", evidence.pop("sha256"))
    assert evidence == {"file": "old.csv", "line": 3, "basis": "objections"}


@pytest.mark.parametrize(
    "text",
    [
        "ada@acme.example",
        "ada@acme.example,,\r\n",
        "\ufeffEmail Address,UNSUB_TIME,Name\nAda@acme.example,2026-01-02 03:04:05,Ada",
        'name;e-mail;reason\n"King; Ada";ada@acme.example;spam\n',
        "reason\tkey\n\t" + ADA.upper(),
        ADA,
        f"email,key,made_with\n,{ADA},{pepper_mark(PEPPER)}\n",
        f"key,email\n{address_key('ada@acme.example', OTHER)},ada@acme.example\n",  # the address speaks for itself
    ],
)
def test_lists_of_other_tools_are_understood(text):
    imported = taken(text)
    assert [event.subject for event in imported.events] == [ADA]
    assert not imported.rejects


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("", Status.WITHDRAWN),
        ("opted_out", Status.WITHDRAWN),
        ("Unsubscribed", Status.WITHDRAWN),
        ("spam", Status.COMPLAINED),
        ("hard bounce", Status.BOUNCED),
        ("erased", Status.ERASED),
        ("legal_hold", Status.LEGAL_HOLD),
        ("told us so at the fair", Status.WITHDRAWN),
    ],
)
def test_every_reason_suppresses_one_nobody_knows_as_an_opt_out(reason, status):
    imported = taken(f"ada@acme.example,{reason}\n")
    assert imported.events[0].status is status
    assert [doubt.place for doubt in imported.doubts] == (["old.csv:1"] if "fair" in reason else [])


@pytest.mark.parametrize(
    ("date", "at"),
    [
        ("2026-03-01T10:00:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01 10:00", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2026-11-22", NOW),  # a day that is not over yet
        ("2031-01-01", NOW),
        ("", NOW),
        ("03/04/2026", NOW),  # could be two days; nobody guesses
    ],
)
def test_a_day_counts_to_its_end_and_no_date_as_now(date, at):
    imported = taken(f"email,reason,date\nada@acme.example,,{date}\n")
    assert imported.events[0].captured_at == at
    assert bool(imported.doubts) == ("/" in date)


def test_a_return_on_the_day_of_the_opt_out_does_not_outrank_it():
    event = taken("ada@acme.example,,2026-03-01\n").events[0]
    back = word(Status.RESUBSCRIBED, datetime(2026, 3, 1, 12, tzinfo=UTC))
    assert fold([event, back]).opted_out_at is not None


def test_rows_without_an_address_are_set_aside_and_the_others_taken():
    text = f"email,key,made_with\nnot an address,,\n,,x\nada@acme.example,,\n,email:123,\n,{ADA},{pepper_mark(OTHER)}\n"
    imported = taken(text)
    assert [event.subject for event in imported.events] == [ADA]
    assert [reject.place for reject in imported.rejects] == [f"old.csv:{line}" for line in (2, 3, 5, 6)]
    assert not any("@" in reject.reason for reject in imported.rejects)
    assert "another installation" in imported.rejects[-1].reason


def test_a_quote_that_is_never_closed_takes_nothing_in_rather_than_half():
    with pytest.raises(SettingError, match=r"old\.csv:\d+: not a CSV row"):
        taken('email,reason\nada@acme.example,"bounced\nbob@acme.example,\neve@acme.example,\n')


def test_the_same_file_taken_in_again_says_nothing_new():
    text = "ada@acme.example\nbob@acme.example,spam,2026-01-01\neve@acme.example,,someday\n"
    first, again = taken(text), taken(text, now=NOW + timedelta(days=3))
    assert {e.event_key for e in first.events} == {e.event_key for e in again.events}


def test_another_file_that_names_somebody_again_is_said_anew():
    """Who returned after the first list is suppressed by the second: it is a later word, though it has no date."""
    first = taken("ada@acme.example\n", now=days_ago(30)).events
    back = word(Status.RESUBSCRIBED, days_ago(20))
    second = taken("ada@acme.example\nbob@acme.example\n").events
    assert fold([*first, back]).opted_out_at is None
    assert first[0].event_key != second[0].event_key
    assert fold([*first, back, second[0]]).opted_out_at == NOW


# --- export, and back --------------------------------------------------------------------------------------------

LEDGER = st.dictionaries(
    st.integers(0, 40).map(lambda n: f"person{n}@acme.example"),
    st.tuples(st.sampled_from(sorted(REASONS)), st.timedeltas(timedelta(0), timedelta(days=9000))),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(people=LEDGER, spelled_out=st.booleans())
def test_what_is_exported_comes_back_the_same(people, spelled_out):
    states = {
        address_key(email, PEPPER): fold([word(REASONS[reason], NOW - ago)]) for email, (reason, ago) in people.items()
    }
    emails = {address_key(email, PEPPER): email for email in people} if spelled_out else {}
    listed = [Suppressed(e.key, e.reason, e.at, emails.get(e.key)) for e in entries(states)]
    imported = taken(format_file(listed, PEPPER))
    assert not imported.rejects and not imported.doubts
    assert {event.subject: fold([event]) for event in imported.events} == states
    assert format_file(listed, PEPPER) == format_file(list(listed), PEPPER)


def test_another_installation_takes_the_addresses_and_refuses_the_keys():
    listed = [
        Suppressed(ADA, "opted_out", days_ago(3), "ada@acme.example"),
        Suppressed(address_key("bob@acme.example", PEPPER), "bounced", days_ago(3)),
    ]
    imported = taken(format_file(listed, PEPPER), pepper=OTHER)
    assert [event.subject for event in imported.events] == [address_key("ada@acme.example", OTHER)]
    assert len(imported.rejects) == 1


def test_only_addresses_that_may_not_be_mailed_are_exported_with_the_gravest_reason():
    out, complaint = word(Status.WITHDRAWN, days_ago(2)), word(Status.COMPLAINED, days_ago(9))
    states = {
        ADA: fold([out, complaint]),
        "crm:1": fold([out]),
        address_key("bob@acme.example", PEPPER): fold([word(Status.GRANTED, days_ago(2))]),
    }
    assert list(entries(states)) == [Suppressed(ADA, "complained", days_ago(9))]


def test_no_address_is_in_a_file_that_was_not_asked_for_them():
    states = {ADA: fold([word(Status.WITHDRAWN, days_ago(2))])}
    assert "@" not in format_file(entries(states), PEPPER)


@pytest.mark.parametrize(
    "email", ["=cmd@acme.example", "+ada@acme.example", "-ada@acme.example", "'=ada@acme.example", "''a@acme.example"]
)
def test_no_cell_is_a_formula_and_the_address_comes_back_whole(email):
    key = address_key(email, PEPPER)
    text = format_file([Suppressed(key, "opted_out", days_ago(2), email)], PEPPER)
    assert text.splitlines()[1].startswith("'")
    # By its address alone: the key would save a mangled one.
    without_key = text.replace(key, "")
    assert [event.subject for event in taken(without_key).events] == [key]
