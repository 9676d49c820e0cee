"""Between two runs of an installation: what is heard takes effect in the CRM at once, and the next run knows of it."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from unittest import mock

import pytest

from connector.clock import FixedClock
from connector.heard import Answered, Asked, Given, Heard, MailEvent, Paid, Used, Who
from connector.live.about import Told
from connector.live.hearing import Hearing, published_from
from connector.live.people import IdentityKeys
from connector.live.worker import Worker
from connector.program.suppression import address_key
from connector.workspace import Workspace
from tests.cli.test_program import DORMANT, day, run, step_lists, with_program
from tests.fakes.installation import Installation
from tests.fakes.journals import Silence

WEBHOOKS = """\
links: {public_base_url: "https://links.example.com", destinations: {home: "https://app.example.com"}}

webhooks:
  public_base_url: https://winback.example.com
  sources:
    segment: {secret: "${SEGMENT_SECRET}"}

"""


def listening(acme: Installation, **words: str) -> Installation:
    """The program, and ears."""
    with_program(acme, **words)
    text = acme.config.read_text()
    acme.config.write_text(text.replace("guards:", f"{WEBHOOKS}guards:"))
    acme.environment["SEGMENT_SECRET"] = "0123456789abcdef0123456789abcdef"
    return acme


@contextmanager
def opened(acme: Installation, at: datetime):
    """The installation as the worker opens it: the warehouse is not touched."""
    clock = FixedClock(at)
    with (
        Workspace.load(acme.config, clock=clock, reporter=Silence(), environ=acme.environment) as workspace,
        mock.patch.object(Workspace, "warehouse", property(_no_warehouse)),
    ):
        yield workspace


def _no_warehouse(_: Workspace) -> None:
    raise AssertionError("the worker opened the warehouse")


def hear(acme: Installation, *events: Heard, at: datetime) -> None:
    """These things are heard, and the worker does what follows."""
    with opened(acme, at) as workspace:
        hearing = Hearing.of(workspace)
        for event in events:
            hearing.hear([event], Told(source="segment", key=repr(event), received_at=at))
        worker = Worker(workspace)
        worker.until_done()
        worker.close()


def used(user: str, at: datetime, **said: object) -> Used:
    return Used(**{"who": Who(external_id=user), "at": at, "feature": "editor", "event_id": f"{user} {at}", **said})


def test_somebody_who_comes_back_is_out_of_the_sequence_before_the_next_run(acme, sandbox):
    listening(acme)
    run(acme, 0)
    run(acme, 1)
    assert step_lists(sandbox)["reminder"] == DORMANT
    hear(acme, used("u45", day(1)), at=day(1) + timedelta(seconds=10))
    assert step_lists(sandbox)["reminder"] == DORMANT - {"1045"}
    assert "1045" not in set().union(*map(set, sandbox.members_by_list().values()))
    assert not sandbox.properties_of("1045").get("winback_step")
    run(acme, 2)
    assert step_lists(sandbox)["reminder"] == DORMANT - {"1045"}
    told = acme.run("explain", "u45", "--json", now=day(2)).json
    assert told["program"]["state"] == "none" and told["program"]["before"]["reason"] == "reactivated"


def test_the_run_reads_what_was_heard_and_counts_it_once(acme):
    listening(acme)
    run(acme, 0)
    run(acme, 1)
    hear(acme, used("u45", day(1)), used("u46", day(1)), at=day(1) + timedelta(minutes=1))
    paid = Paid(who=Who(email="person47@example.com"), at=day(1), kind="payment", transaction_id="t1", amount=50.0)
    gone = Paid(who=Who(email="person47@example.com"), at=day(1), kind="cancellation", transaction_id="t2")
    hear(acme, paid, gone, at=day(1) + timedelta(minutes=2))
    for number in (2, 3):
        run(acme, number)
        row = acme.run("features", "u45", "--json", "--columns", "inactive_days,value_365d", now=day(number)).json
        assert row["features"][0]["inactive_days"] == number - 1
        row = acme.run("features", "u47", "--json", "--columns", "inactive_days,value_365d", now=day(number)).json
        assert (row["features"][0]["inactive_days"], row["features"][0]["value_365d"]) == (67 + number, 50.0)


def test_a_run_publishes_who_is_known_by_what_and_what_conditions_read(acme):
    listening(acme)
    run(acme, 0)
    run(acme, 1)
    with opened(acme, day(1)) as workspace:
        known, keys = workspace.journal.known, IdentityKeys.of(workspace)
        assert known.contact("external_id", keys.external_id("u45")) == "hubspot:1045"
        assert known.contact("email", keys.email("Person45@Example.com ")) == "hubspot:1045"
        assert keys.email("person45@example.com") == address_key("person45@example.com", workspace.suppression_key())
        assert known.contact("external_id", keys.external_id("u5")) is None, "in nothing, so nobody's business"
        document = workspace.journal.decisions.get("hubspot:1045").document
        assert document["columns"]["inactive_days"] == 66
        published = published_from(document)
        assert published.episode_id == document["program"]["episode_id"]
        assert str(published.last_active_on) == "2026-04-11"


@pytest.mark.soak
def test_an_opt_out_heard_by_address_is_written_and_survives_the_run(acme, sandbox):
    listening(acme)
    run(acme, 0)
    run(acme, 1)
    said = MailEvent(who=Who(email="person45@example.com"), at=day(1), kind="unsubscribe", event_id="m1")
    hear(acme, said, at=day(1) + timedelta(seconds=5))
    assert "1045" not in set().union(*map(set, sandbox.members_by_list().values()))
    for number in (2, 3):
        run(acme, number)
        assert "1045" not in set().union(*map(set, sandbox.members_by_list().values()))
    assert acme.run("explain", "u45", "--json", now=day(3)).json["program"]["eligible"] is False


def test_a_use_heard_by_an_address_nobody_knew_is_matched_by_the_run(acme):
    listening(acme)
    run(acme, 0)
    active = Used(who=Who(email="person5@example.com"), at=day(0), feature="editor", event_id="1")
    hear(acme, active, at=day(0) + timedelta(minutes=1))
    with opened(acme, day(0)) as workspace:
        (fact,) = workspace.journal.facts.after(0, 10)
        assert fact.contact_id is None and "@" not in repr(fact)
    run(acme, 1)
    row = acme.run("features", "u5", "--json", "--columns", "inactive_days", now=day(1)).json
    assert row["features"][0]["inactive_days"] == 1


def test_an_answer_reaches_the_crm_through_its_token(acme, sandbox):
    listening(acme)
    run(acme, 0)
    run(acme, 1)
    with opened(acme, day(1)) as workspace:
        from connector.programs import link_maker

        maker = link_maker(workspace)
        token = maker.token("survey", "hubspot:1045", "win-back/reminder", now=day(1))
        workspace.journal.links.remember({maker.subject("hubspot:1045"): "hubspot:1045"})
    answer = Answered(
        who=Who(token=token),
        at=day(1),
        source="typeform",
        survey="exit",
        response="r1",
        answers=(Given(question="q", kind="choice", choice=("price",), text="Price"),),
    )
    hear(acme, answer, at=day(1) + timedelta(seconds=5))
    assert sandbox.properties_of("1045")["winback_reason"] == "price"


def test_who_a_workflow_asks_for_enters_at_the_next_run_and_the_workflow_is_answered(acme):
    listening(acme)
    run(acme, 0)
    at = day(0) + timedelta(minutes=5)
    for row, key in (("1005", "callback-1"), ("9999", "callback-2")):
        asked = Asked(who=Who(record=f"hubspot:{row}"), at=at, action="enroll", key=key, source="hubspot", callback=key)
        hear(acme, asked, at=at)
    run(acme, 1)
    with opened(acme, day(1)) as workspace:
        (episode,) = workspace.journal.episodes.of("hubspot:1005")
        completed = {
            row.payload["callback"]: row.payload["fields"]["decision"]
            for row in workspace.journal.outbox.recent(20)
            if row.kind == "complete"
        }
        assert not workspace.journal.asks.open()
    assert episode.entered_as == "requested"
    assert completed["callback-1"] == "entered"
    assert completed.get("callback-2", "nobody") != "entered"
