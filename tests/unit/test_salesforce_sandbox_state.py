from __future__ import annotations

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.answers import RowError
from adapters.salesforce.sandbox.seeding import seed
from adapters.salesforce.sandbox.state import State
from connector.model import Account, Contact


@pytest.fixture
def state():
    made = State()
    people = [Contact(f"salesforce:{n}", email=f"p{n}@x.example", account_id="salesforce:1") for n in range(1, 5)]
    seed(
        made,
        [*people, Contact("salesforce:lead-9", email="l@x.example", country="DE", role="cto")],
        [Account("salesforce:1")],
    )
    return made


def contact(number):
    return record_id("Contact", number)


LEAD = record_id("Lead", 9)


def join(state, campaign, **who):
    return state.insert("CampaignMember", {"CampaignId": campaign, **who}).id


def members(state):
    return {
        (row.values.get("ContactId") or row.values.get("LeadId"), row.values["CampaignId"])
        for row in state.stores["CampaignMember"]
    }


def test_a_merge_leaves_a_pointer_and_brings_along_what_hung_on_the_loser(state):
    one, two = (state.insert("Campaign", {"Name": name}).id for name in ("one", "two"))
    join(state, one, ContactId=contact(1))
    join(state, one, ContactId=contact(2))
    join(state, two, ContactId=contact(2))
    task = state.insert("Task", {"WhoId": contact(2), "Subject": "call"}).id
    stamp = state.row(contact(1)).stamp_ms
    state.merge(contact(1), [contact(2)])
    loser = state.row(contact(2))
    assert loser.is_deleted
    assert loser.values["MasterRecordId"] == contact(1)
    assert members(state) == {(contact(1), one), (contact(1), two)}
    assert state.row(task).values["WhoId"] == contact(1)
    assert state.row(contact(1)).stamp_ms > stamp
    with pytest.raises(RowError, match="merged into another"):
        state.undelete(contact(2))


def test_a_merge_may_drop_the_losers_memberships_where_the_org_does(state):
    state.behave({"merge_moves_members": False})
    campaign = state.insert("Campaign", {"Name": "one"}).id
    join(state, campaign, ContactId=contact(2))
    state.merge(contact(1), [contact(2)])
    assert members(state) == set()


def test_only_records_of_one_kind_and_three_at_most_are_merged(state):
    for losers in ([], [contact(1)], [LEAD], [contact(2), contact(3), contact(4)]):
        with pytest.raises(RowError):
            state.merge(contact(1), losers)
    assert not any(state.row(contact(number)).is_deleted for number in (1, 2, 3, 4))


def test_merging_accounts_moves_their_people(state):
    other = state.insert("Account", {"Name": "B"}).id
    state.merge(other, [record_id("Account", 1)])
    assert {row.values["AccountId"] for row in state.stores["Contact"]} == {other}


def test_a_lead_becomes_a_contact_of_a_new_account(state):
    campaign = state.insert("Campaign", {"Name": "one"}).id
    member = join(state, campaign, LeadId=LEAD)
    made = state.convert(LEAD)
    person = state.row(made["Contact"])
    assert (person.values["Email"], person.values["MailingCountry"], person.values["Title"]) == (
        "l@x.example",
        "DE",
        "cto",
    )
    assert person.values["AccountId"] == made["Account"]
    lead = state.row(LEAD)
    assert (lead.values["IsConverted"], lead.values["ConvertedContactId"]) == (True, made["Contact"])
    assert not lead.is_deleted
    held = state.row(member)
    assert (held.values["LeadId"], held.values["ContactId"]) == (LEAD, made["Contact"])
    with pytest.raises(RowError, match="converted lead"):
        state.update(LEAD, {"Title": "x"})
    with pytest.raises(RowError, match="converted lead"):
        state.convert(LEAD)


def test_converting_into_somebody_who_is_a_member_leaves_one_membership(state):
    campaign = state.insert("Campaign", {"Name": "one"}).id
    join(state, campaign, LeadId=LEAD)
    join(state, campaign, ContactId=contact(1))
    state.convert(LEAD, contact_id=contact(1))
    assert members(state) == {(contact(1), campaign)}


def test_a_deletion_takes_along_what_belongs_to_the_record_and_comes_back_with_it(state):
    state.clock.freeze()
    campaign = state.insert("Campaign", {"Name": "one"}).id
    state.delete(join(state, state.insert("Campaign", {"Name": "left before"}).id, ContactId=contact(1)))
    state.clock.advance(1)
    join(state, campaign, ContactId=contact(1))
    state.delete(contact(1))
    assert members(state) == set()
    before = state.row(contact(1)).stamp_ms
    state.undelete(contact(1))
    assert members(state) == {(contact(1), campaign)}
    assert state.row(contact(1)).stamp_ms > before
    state.delete(campaign)
    assert members(state) == set()
    assert not [row for row in state.stores["CampaignMemberStatus"] if row.values["CampaignId"] == campaign]


def test_deleting_an_account_deletes_its_people(state):
    state.delete(record_id("Account", 1))
    assert not list(state.stores["Contact"])
    state.undelete(record_id("Account", 1))
    assert len(state.stores["Contact"]) == 4


def test_listeners_hear_of_every_change_once_it_is_done(state):
    heard = []

    def listen(kind, before, after):
        heard.append((kind, before and before.is_deleted, after and after.is_deleted))
        if kind == "Contact" and before is None:
            state.update(after.id, {"Title": "welcome"})

    state.listeners.append(listen)
    made = state.insert("Contact", {"LastName": "New"}).id
    state.delete(made)
    state.purge(made)
    assert heard == [
        ("Contact", None, False),
        ("Contact", False, False),
        ("Contact", False, True),
        ("Contact", True, None),
    ]


def test_a_transaction_that_fails_never_was(state):
    heard = []
    state.listeners.append(lambda *change: heard.append(change))
    rows = {kind: dict(store.rows) for kind, store in state.stores.items()}

    def fail():
        with state.transaction():
            state.convert(LEAD)
            state.delete(contact(1))
            state.merge(contact(2), [contact(3)])
            state.convert(LEAD)

    with pytest.raises(RowError, match="converted lead"):
        fail()
    assert {kind: dict(store.rows) for kind, store in state.stores.items()} == rows
    assert heard == []
    assert [row.id for row in state.stores["Contact"].matching("Email", "p1@x.example")] == [contact(1)]
    assert {row.id for row in state.stores["Contact"].changed_from(0)} == set(rows["Contact"])
    assert [row.id for row in state.stores["Contact"].ids_from(contact(2))] == [contact(2), contact(3), contact(4)]


def test_what_is_written_bears_the_hand_that_wrote_it(state):
    state.update(contact(1), {"Title": "x"})
    assert state.row(contact(1)).modified_by == state.admin_user
    with state.acting(state.integration_user):
        state.update(contact(1), {"Title": "y"})
    assert state.row(contact(1)).modified_by == state.integration_user
    assert state.user == state.admin_user


def test_a_reset_leaves_an_empty_org_with_the_package(state):
    called = []
    state.resetters.append(lambda: called.append(True))
    state.rules.poison[contact(1)] = None
    state.access.hidden.add("Contact.Email")
    state.reset()
    assert called == [True]
    assert len(state.stores["Contact"]) == 0
    assert state.rules.poison == {}
    assert state.access.hidden == set()
    assert state.viewer.granted("Contact.Winback_Segment__c") is True
    state.behave({"package_installed": False})
    state.reset()
    assert state.kind("Contact").find("Winback_Segment__c") is None


def test_a_behaviour_nobody_knows_is_refused(state):
    with pytest.raises(KeyError):
        state.behave({"nonsense": 1})
