"""Mail events of HubSpot from end to end: what people do with a mail ends their episode, and an open never does.

The contacts' own properties tell most of it as well; here they are mapped away, so that only the events speak.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta

import duckdb
import pytest

from tests.cli.test_program import DORMANT, day, run, step_lists, with_program

STREAMS = "streams: [contacts, companies]"
EVENTS = "streams: [contacts, companies, email_events]"
ANSWERS = (
    "attributes.email_last_click_at: recent_conversion_date, attributes.email_last_reply_at: recent_conversion_date"
)
MARKS = "opted_out: hs_email_quarantined, bounced: hs_email_quarantined"
CLICKS = '  reactivated: "active_days_since_enrollment >= 1 or engaged.clicks >= 1"\n  ends_after:'
DAY = 86_400


@pytest.fixture
def listening(acme, sandbox):
    """The cadence with a click as a return; how people answer is read from mail events alone."""
    with_program(acme, **{"  ends_after:": CLICKS})
    read_as(acme, STREAMS, f"{EVENTS}, mapping: {{contacts: {{{ANSWERS}}}}}")
    return acme


def read_as(acme, old: str, new: str) -> None:
    text = acme.config.read_text()
    assert old in text
    acme.config.write_text(text.replace(old, new))


def reminded(acme, sandbox) -> None:
    """Everybody due has the reminder; it is the evening of day 1."""
    run(acme, 0)
    watched = "winback · win-back · reminder"
    sandbox.control("POST", "workflows", name="reminder", steps=[{"mail": "Reminder"}], list=watched)
    sandbox.advance(DAY)
    run(acme, 1)
    sandbox.advance(DAY / 4)


def people(sandbox, what: str, *ids: str) -> None:
    done = sandbox.control("POST", "people", contacts=list(ids), what=what)
    assert done["done"] == len(ids) == len(done["mails"])


def exits(acme, number: int) -> dict[str, int]:
    return acme.run("status", "--json", now=day(number)).json["programs"][0]["exits"]


def stored(acme) -> list[tuple[str, str, str | None]]:
    """The mail events in the warehouse: whose, what, of which mail."""
    with closing(duckdb.connect(str(acme.folder / "state" / "warehouse.duckdb"), read_only=True)) as warehouse:
        return warehouse.execute(
            "SELECT user_id, kind, campaign FROM engagements JOIN users USING (user_key) ORDER BY ALL"
        ).fetchall()


def test_a_click_and_a_reply_end_the_episode_at_the_next_run_and_an_open_never_does(listening, sandbox):
    reminded(listening, sandbox)
    people(sandbox, "click", "1041")
    people(sandbox, "reply", "1042")
    people(sandbox, "open", "1043", "1044")
    people(sandbox, "complain", "1045")
    sandbox.advance(DAY * 3 / 4)
    run(listening, 2)
    assert exits(listening, 2) == {"reactivated": 1, "replied": 1, "unsubscribed": 1}
    staying = DORMANT - {"1041", "1042", "1045"}
    assert step_lists(sandbox)["reminder"] == staying
    sandbox.advance(5 * DAY)
    run(listening, 7)
    assert step_lists(sandbox)["offer"] == staying
    assert not sandbox.properties_of("1041").get("winback_step")


@pytest.mark.soak
def test_without_the_stream_neither_would_have_been_heard(listening, sandbox):
    read_as(listening, EVENTS, STREAMS)
    reminded(listening, sandbox)
    people(sandbox, "click", "1041")
    people(sandbox, "reply", "1042")
    sandbox.advance(DAY * 3 / 4)
    run(listening, 2)
    assert exits(listening, 2) == {}


def test_a_bounce_and_an_unsubscribing_are_heard_from_the_events_alone(listening, sandbox):
    read_as(listening, ANSWERS, f"{ANSWERS}, {MARKS}")
    reminded(listening, sandbox)
    people(sandbox, "bounce", "1046")
    people(sandbox, "unsubscribe", "1047")
    sandbox.advance(DAY * 3 / 4)
    run(listening, 2)
    assert exits(listening, 2) == {"bounced": 1, "unsubscribed": 1}
    assert not {"1046", "1047"} & step_lists(sandbox)["reminder"]


@pytest.mark.soak
def test_a_scanners_click_counts_neither_at_once_nor_after_the_next_mail(listening, sandbox):
    reminded(listening, sandbox)
    sent = datetime.fromisoformat(sandbox.properties_of("1041")["hs_email_last_send_date"])
    scanned = (sent + timedelta(seconds=1)).isoformat()
    sandbox.control("POST", "contacts", contacts=[{"id": "1041", "properties": {"hs_email_last_click_date": scanned}}])
    watched = "winback · win-back · offer"
    sandbox.control("POST", "workflows", name="offer", steps=[{"mail": "Offer"}], list=watched)
    sandbox.advance(DAY * 3 / 4)
    run(listening, 2)
    for before, number in ((2, 7), (7, 8)):
        sandbox.advance((number - before) * DAY)
        run(listening, number)
    told = [row[1:] for row in stored(listening) if row[0] == "hubspot:1041"]
    assert told == [("click", "Reminder"), ("delivered", "Offer"), ("delivered", "Reminder")]
    assert exits(listening, 8) == {}
    assert "1041" in step_lists(sandbox)["offer"]


@pytest.mark.soak
def test_a_moment_counts_once_however_often_it_is_read(listening, sandbox):
    reminded(listening, sandbox)
    people(sandbox, "click", "1041", "1042")
    people(sandbox, "open", "1043")
    sandbox.advance(DAY * 3 / 4)
    run(listening, 2)
    told = stored(listening)
    assert {row[0] for row in told if row[1] == "delivered"} == {f"hubspot:{row_id}" for row_id in DORMANT}
    assert [row for row in told if row[1] != "delivered"] == [
        ("hubspot:1041", "click", "Reminder"), ("hubspot:1042", "click", "Reminder"),
        ("hubspot:1043", "open", "Reminder"),
    ]  # fmt: skip
    assert len(told) == len(DORMANT) + 3
    for arguments in (("pull",), ("pull", "crm", "--full"), ("pull",)):
        assert listening.run(*arguments, now=day(2)).code == 0
        assert stored(listening) == told


@pytest.mark.soak
def test_a_night_with_nothing_new_costs_one_call_more_than_without_the_stream(listening, sandbox):
    reminded(listening, sandbox)
    sandbox.advance(DAY * 3 / 4)
    run(listening, 2)
    sandbox.advance(DAY / 8)
    assert listening.run("pull", now=day(2) + timedelta(hours=3)).code == 0
    sandbox.advance(DAY / 8)
    before = sandbox.request_count()
    done = listening.run("run", "--json", now=day(2) + timedelta(hours=6))
    assert done.code == 0, done.err
    assert done.json["written"] == 0
    made = [entry["path"] for entry in sandbox.log()[before:]]
    assert len(made) <= 5
    assert sum(path.endswith("/contacts/search") for path in made) == 2
