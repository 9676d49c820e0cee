"""One contact's properties into mail events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hubspot.mail_moments import COLUMNS, mail_events

SENT = "2026-06-16T09:00:00.250Z"
AFTER = "2026-06-16T10:30:00Z"
BEFORE = "2026-06-10T10:30:00Z"


def contact(**values: str | None) -> dict[str, str | None]:
    named = {f"hs_email_{name}": value for name, value in values.items()}
    return {"hs_object_id": "7", "__place": "hubspot email_events 7", **named}


def told(*contacts: dict[str, str | None], **more) -> list[dict]:
    return mail_events(contacts, **more).to_pylist()


def test_every_moment_is_an_event_of_its_own():
    events = told(
        contact(
            last_send_date=SENT, last_open_date=AFTER, last_click_date=AFTER, last_reply_date=AFTER,
            last_email_name="Offer",
        )
    )  # fmt: skip
    assert [event["kind"] for event in events] == ["delivered", "open", "click", "reply"]
    assert {event["campaign"] for event in events} == {"Offer"}
    assert [event["at"] for event in events] == [SENT, *["2026-06-16T10:30:00.000Z"] * 3]
    assert [event["event_id"] for event in events] == [
        "7:delivered:2026-06-16T09:00", "7:open:2026-06-16T10:30", "7:click:2026-06-16T10:30",
        "7:reply:2026-06-16T10:30",
    ]  # fmt: skip
    assert {event["__place"] for event in events} == {"hubspot email_events 7"}


@pytest.mark.parametrize(
    "value", ["2026-06-16T10:30:00Z", "2026-06-16 10:30", "2026-06-16 12:30:00+02:00", "1781605800000", "1781605800999"]
)
def test_a_moment_is_the_same_event_however_it_is_written(value):
    (event,) = told(contact(last_click_date=value))
    assert event["event_id"] == "7:click:2026-06-16T10:30"
    assert event["at"].startswith("2026-06-16T10:30:00.")


def test_a_moment_before_the_last_mail_belongs_to_no_campaign_that_is_known():
    _, click = told(contact(last_send_date=SENT, last_click_date=BEFORE, last_email_name="Offer"))
    assert (click["kind"], click["campaign"]) == ("click", None)


def test_a_bounce_and_an_unsubscribing_are_of_the_last_delivery_and_none_without_one():
    marks = {"hard_bounce_reason_enum": "UNKNOWN_USER", "optout": "true"}
    assert told(contact(**marks)) == []
    events = told(contact(**marks, last_send_date=SENT, last_email_name="Offer"))
    assert [(event["kind"], event["at"], event["campaign"]) for event in events] == [
        ("delivered", SENT, "Offer"), ("bounce", SENT, "Offer"), ("unsubscribe", SENT, "Offer"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["false", "", None, "False"])
def test_who_has_not_unsubscribed_is_not_told_as_if(value):
    assert [event["kind"] for event in told(contact(last_send_date=SENT, optout=value))] == ["delivered"]


def test_a_value_that_is_no_time_is_left_to_the_mapping():
    (event,) = told(contact(last_reply_date="yesterday"))
    assert (event["at"], event["event_id"], event["campaign"]) == ("yesterday", "7:reply:yesterday", None)


def test_a_contact_without_mail_is_no_event_but_has_every_column():
    table = mail_events([contact(last_email_name="Offer")], also=("winback_step",))
    assert table.num_rows == 0
    assert table.column_names == [*COLUMNS, "winback_step"]
    assert set(table.schema.types) == {pa.string()}


def test_what_was_told_before_the_last_mail_is_not_told_again_but_what_came_late_is():
    read_until = datetime(2026, 6, 16, tzinfo=UTC)
    late = "2026-06-15T10:00:00Z"
    old = told(contact(last_send_date=SENT, last_click_date=BEFORE), read_until=read_until)
    new = told(contact(last_send_date=SENT, last_click_date=late), read_until=read_until)
    only = told(contact(last_send_date=BEFORE, last_click_date=BEFORE), read_until=read_until)
    assert [[event["kind"] for event in events] for events in (old, new, only)] == [
        ["delivered"], ["delivered", "click"], ["delivered", "click"],
    ]  # fmt: skip


def test_an_arrow_table_and_records_give_the_same():
    rows = [contact(last_send_date=SENT, last_open_date=AFTER), {**contact(last_click_date=AFTER), "hs_object_id": "8"}]
    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
    assert len(told(*rows)) == 3
    assert mail_events(table).to_pylist() == told(*rows)


YEAR_MS = 365 * 86_400_000
moments = st.none() | st.integers(50 * YEAR_MS, 56 * YEAR_MS).map(
    lambda ms: datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
)
KINDS = {"open": "last_open_date", "click": "last_click_date", "reply": "last_reply_date"}


@settings(max_examples=60, deadline=None)
@given(
    sent=moments,
    answers=st.fixed_dictionaries(dict.fromkeys(KINDS.values(), moments)),
    read_until=st.none() | st.just(datetime(2023, 1, 1, tzinfo=UTC)),
)
def test_nothing_new_is_ever_left_out_and_an_answer_s_title_means_it_follows_the_mail(sent, answers, read_until):
    events = told(contact(last_send_date=sent, last_email_name="Offer", **answers), read_until=read_until)
    assert len({event["event_id"] for event in events}) == len(events)
    seen = {event["kind"]: event for event in events}
    assert ("delivered" in seen) == (sent is not None)
    for kind, name in KINDS.items():
        if kind not in seen:
            assert answers[name] is None or (
                read_until and answers[name] < sent and _at(answers[name]) < read_until - timedelta(days=1)
            )
        elif seen[kind]["campaign"]:
            assert sent is not None and _at(answers[name]) >= _at(sent)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)
