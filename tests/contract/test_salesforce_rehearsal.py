"""What the sandbox's flows send and people do with it is what the adapter reads of an org."""

from __future__ import annotations

import pytest

from adapters.salesforce.sandbox.rehearsing import EXITED
from connector.contracts import Rehearsal
from tests.contract.source_suite import read_all, rows_of
from tests.fakes.salesforce_worlds import SalesforceWorld, contact

LIST = "winback · win-back · reminder"


@pytest.fixture
def mails(tmp_path):
    world = SalesforceWorld(tmp_path, contacts=8, stream="engagements")
    yield world
    world.stop()


def join(world, *people):
    state = world.state
    with state.lock:
        campaign = state.insert("Campaign", {"Name": LIST})
        world.sandbox.workflow(LIST, "win-back: reminder", wait_until="winback_send_at")
        return [state.insert("CampaignMember", {"CampaignId": campaign.id, "ContactId": one}).id for one in people]


def kinds(world, since=None):
    pages = read_all(world, since)
    found = {(row["PersonId"], row["kind"]) for page in pages for row in rows_of(page)}
    return found, pages[-1].cursor


def test_mails_and_what_became_of_them_are_read_as_engagements(mails):
    sandbox = mails.sandbox
    assert isinstance(sandbox, Rehearsal)
    people = [contact(number) for number in range(1, 6)]
    join(mails, *people)
    mails.pass_time(600)
    first, cursor = kinds(mails)
    assert first == {(person, "delivered") for person in people}
    for person, deed in zip(people, ("open", "reply", "bounce", "visit", "contacted"), strict=True):
        sandbox.happen(person, deed)
    mails.pass_time(600)
    later, _ = kinds(mails, cursor)
    assert later >= {(people[0], "open"), (people[1], "reply"), (people[2], "bounce")}
    everything, _ = kinds(mails)
    assert {kind for person, kind in everything if person in people[3:]} == {"delivered"}


def test_who_left_before_the_moment_is_read_as_nobody_who_got_a_mail(mails):
    with mails.state.lock:
        mails.state.update(contact(1), {"Winback_Send_At__c": mails.state.clock.now_ms() + 7_200_000})
    (member,) = join(mails, contact(1))
    with mails.state.lock:
        mails.state.update(member, {"Status": EXITED})
    mails.pass_time(86_400)
    assert kinds(mails)[0] == set()
