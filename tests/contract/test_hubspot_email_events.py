"""Mail events out of what HubSpot remembers of its contacts: the source suite, and what is its own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connector.model import Severity
from tests.contract.source_suite import SourceSuite, keys_of, read_all, rows_of
from tests.fakes.hubspot_mail import MailWorld, event_id, moment


def events_of(pages) -> dict[str, dict]:
    return {row["event_id"]: row for page in pages for row in rows_of(page)}


class TestEmailEventsByExport(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adapters.hubspot.export.ROWS_PER_PAGE", 60)
        monkeypatch.setattr("adapters.hubspot.source.ROWS_PER_PAGE", 40)
        world = MailWorld(tmp_path, contacts=260)
        world.state.behave({"export_rows_per_part": 90, "export_zip_above_bytes": 1000})
        yield world
        world.stop()


class TestEmailEventsByList(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adapters.hubspot.source.ROWS_PER_PAGE", 100)
        world = MailWorld(tmp_path, contacts=430, backfill="list")
        yield world
        world.stop()


@pytest.fixture
def world(tmp_path):
    world = MailWorld(tmp_path, contacts=60)
    yield world
    world.stop()


def test_an_export_a_list_and_a_search_tell_the_same(world):
    cursor = read_all(world)[-1].cursor
    exported = events_of(read_all(world))
    world.options["backfill"] = "list"
    assert events_of(read_all(world)) == exported
    for row_id in world.state.contacts.live:
        world.note(row_id, {"firstname": "Changed"})
    world.pass_time(600)
    assert events_of(read_all(world, cursor)) == exported


def test_a_night_with_nothing_new_takes_one_call(world):
    cursor = read_all(world)[-1].cursor
    world.pass_time(3600)
    before = world.calls()
    pages = read_all(world, cursor)
    assert keys_of(pages, world.key) == []
    assert world.calls() - before == 1


def test_a_first_reading_takes_as_many_calls_for_many_as_for_few(tmp_path):
    made = [MailWorld(tmp_path / str(count), contacts=count) for count in (20, 2000)]
    spent = []
    for each in made:
        before = each.calls()
        read_all(each)
        spent.append(each.calls() - before)
        each.stop()
    assert spent[0] == spent[1] <= 7


def test_a_click_with_the_last_mail_carries_its_title_and_an_earlier_one_none(world):
    cursor = read_all(world)[-1].cursor
    clicked, sent = world.clock.now(), world.clock.now() + timedelta(hours=5)
    world.note("2", {"hs_email_last_click_date": moment(clicked), "hs_email_last_send_date": moment(sent)})
    world.note("2", {"hs_email_last_email_name": "Offer"})
    world.note("4", {"hs_email_last_click_date": moment(clicked)})
    world.pass_time(6 * 3600)
    events = events_of(read_all(world, cursor))
    assert events[event_id("2", "click", clicked)]["campaign"] is None
    assert events[event_id("2", "delivered", sent)]["campaign"] == "Offer"
    assert events[event_id("4", "click", clicked)]["campaign"] == "Reminder"


def test_a_click_told_before_is_not_told_again_without_its_title(world):
    read_all(world)
    clicked = world.clock.now()
    world.note("4", {"hs_email_last_click_date": moment(clicked)})
    world.pass_time(7 * 86_400)
    cursor = read_all(world)[-1].cursor
    world.note("4", {"hs_email_last_send_date": moment(world.clock.now()), "hs_email_last_email_name": "Offer"})
    world.pass_time(600)
    told = events_of(read_all(world, cursor))
    assert event_id("4", "click", clicked) not in told
    assert [event["kind"] for event in told.values()] == ["delivered"]


def test_checking_looks_at_the_contacts_once_for_both_streams(world):
    findings = list(world.source().check())
    subjects = [finding.subject for finding in findings]
    assert subjects.count("hubspot contacts") == 1 and subjects.count("hubspot contacts fields") == 1
    assert not [finding for finding in findings if finding.severity is not Severity.OK]


def test_checking_says_which_moment_the_account_does_not_have(world):
    world.options["streams"] = ("email_events",)
    del world.state.contact_properties.live["hs_email_last_reply_date"]
    missing = [finding for finding in world.source().check() if finding.severity is Severity.WARNING]
    assert [finding.subject for finding in missing] == ["hubspot contacts.hs_email_last_reply_date"]
    kinds = {event["kind"] for event in events_of(read_all(world)).values()}
    assert kinds == {"delivered", "open", "click", "unsubscribe"}


def test_a_property_that_the_playbook_maps_comes_with_every_event(world):
    from adapters.hubspot.source import HubSpotSource

    connection = world.connection()
    connection.fields["email_events"] = [*connection.fields["email_events"], "firstname", "no_such_property"]
    rows = events_of(HubSpotSource(connection).read("email_events", None)).values()
    assert {row["firstname"] for row in rows} > {"Name 2"}
    assert not any("no_such_property" in row for row in rows)
