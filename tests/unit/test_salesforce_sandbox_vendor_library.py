"""The vendor's library for Python, as it is, against the sandbox."""

from __future__ import annotations

from datetime import timedelta

import pytest
from simple_salesforce import Salesforce, format_soql
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)

from adapters.salesforce.sandbox import CLIENT_ID, CLIENT_SECRET, USERNAME
from tests.fakes.salesforce_sandbox import VERSION, contact, loopback_session, running


@pytest.fixture
def world():
    with running() as (sandbox, api):
        session = loopback_session(sandbox.base_url)
        library = Salesforce(
            instance=sandbox.base_url.removeprefix("http://"), session_id=api.login(), version=VERSION, session=session
        )
        yield sandbox, library
        session.close()


def test_it_logs_in_by_itself_with_a_secret_and_with_a_signed_assertion():
    with running() as (sandbox, _):
        session = loopback_session(sandbox.base_url)
        secret = Salesforce(
            consumer_key=CLIENT_ID, consumer_secret=CLIENT_SECRET, domain="acme.my", version=VERSION, session=session
        )
        assert secret.query("SELECT Id FROM Contact")["totalSize"] == 12
        signed = Salesforce(
            username=USERNAME,
            consumer_key=CLIENT_ID,
            privatekey=sandbox.sessions.private_key,
            domain="login",
            version=VERSION,
            session=session,
        )
        assert signed.query("SELECT Id FROM Contact")["totalSize"] == 12
        with pytest.raises(SalesforceAuthenticationFailed, match="invalid client credentials"):
            Salesforce(consumer_key=CLIENT_ID, consumer_secret="wrong", domain="acme.my", session=session)
        session.close()


def test_queries_page_by_page_and_all_at_once(world):
    sandbox, library = world
    sandbox.state.behave({"page_rows": 5})
    first = library.query("SELECT Id, Account.Name FROM Contact ORDER BY Id")
    assert (first["totalSize"], len(first["records"])) == (12, 5)
    second = library.query_more(first["nextRecordsUrl"], identifier_is_url=True)
    assert len(second["records"]) == 5
    assert library.query_more(first["nextRecordsUrl"].rpartition("/")[2])["records"] == second["records"]
    assert len(library.query_all("SELECT Id FROM Contact")["records"]) == 12
    assert [one["Id"] for one in library.query_all_iter("SELECT Id FROM Contact ORDER BY Id")] == [
        contact(number) for number in range(1, 13)
    ]


def test_literals_it_formats_are_understood(world):
    sandbox, library = world
    library.Contact.update(contact(1), {"Title": 'It\'s "100%"\\ _done_\n'})
    at = sandbox.state.clock.now() - timedelta(hours=1)
    text = format_soql("SELECT Id FROM Contact WHERE Title = {} AND SystemModstamp > {}", 'It\'s "100%"\\ _done_', at)
    assert [one["Id"] for one in library.query(text)["records"]] == [contact(1)]
    like = format_soql("SELECT Id FROM Contact WHERE Title LIKE 'it%{:like}%'", "100%")
    assert library.query(like)["totalSize"] == 1
    assert (
        library.query(format_soql("SELECT Id FROM Contact WHERE Id IN {}", [contact(1), contact(2)]))["totalSize"] == 2
    )


def test_records_are_made_read_changed_upserted_and_deleted(world):
    _, library = world
    made = library.Contact.create({"LastName": "New", "Product_User_Id__c": "u/9 9"})
    assert made["success"] is True
    assert library.Contact.update(made["id"], {"FirstName": "Ann"}) == 204
    assert library.Contact.get(made["id"])["Name"] == "Ann New"
    assert library.Contact.upsert("Product_User_Id__c/u%2F9%209", {"FirstName": "Bo"}) == 200
    assert library.Contact.upsert("Product_User_Id__c/fresh", {"LastName": "Fresh"}) == 201
    assert library.Contact.get_by_custom_id("Product_User_Id__c", "fresh")["LastName"] == "Fresh"
    assert library.Contact.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound):
        library.Contact.get(made["id"])
    assert len(library.query_all("SELECT Id FROM Contact", include_deleted=True)["records"]) == 14


def test_errors_become_its_own(world):
    _, library = world
    with pytest.raises(SalesforceMalformedRequest) as caught:
        library.query("SELECT Nope FROM Contact")
    assert caught.value.content[0]["errorCode"] == "INVALID_FIELD"
    for _ in range(2):
        library.Contact.create({"LastName": "Twin", "Product_User_Id__c": "twin"})
    with pytest.raises(SalesforceMoreThanOneRecord) as several:
        library.Contact.upsert("Product_User_Id__c/twin", {"LastName": "x"})
    assert len(several.value.content) == 2


def test_it_describes_and_knows_the_limits(world):
    _, library = world
    assert {"Contact", "Lead"} <= {one["name"] for one in library.describe()["sobjects"]}
    assert library.Contact.metadata()["objectDescribe"]["keyPrefix"] == "003"
    assert "Winback_Segment__c" in {one["name"] for one in library.Contact.describe()["fields"]}
    assert library.limits()["DailyApiRequests"]["Max"] == 100_000
    assert library.api_usage["api-usage"].total == 100_000
    assert library.restful("sobjects/Contact/describe", method="GET")["name"] == "Contact"


def test_collections_and_custom_fields_through_its_generic_calls(world):
    _, library = world
    body = {"records": [{"attributes": {"type": "Contact"}, "id": contact(1), "Winback_Segment__c": "dormant_30"}]}
    assert library.restful("composite/sobjects", method="PATCH", json=body)[0]["success"] is True
    metadata = {"label": "X", "type": "Text", "length": 20}
    made = library.toolingexecute(
        "sobjects/CustomField", method="POST", data={"FullName": "Contact.X__c", "Metadata": metadata}
    )
    assert made["success"] is True


def test_it_hears_what_changed_and_what_a_merge_left(world):
    sandbox, library = world
    now = sandbox.state.clock.now()
    library.Contact.update(contact(1), {"Title": "x"})
    with sandbox.state.lock:
        sandbox.state.merge(contact(2), [contact(3)])
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    assert contact(1) in library.Contact.updated(start, end)["ids"]
    assert [one["id"] for one in library.Contact.deleted(start, end)["deletedRecords"]] == [contact(3)]
    text = "SELECT Id, MasterRecordId FROM Contact WHERE IsDeleted = true AND MasterRecordId != null"
    (lost,) = library.query(text, include_deleted=True)["records"]
    assert (lost["Id"], lost["MasterRecordId"]) == (contact(3), contact(2))
