from __future__ import annotations

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox import querying
from adapters.salesforce.sandbox.answers import Refusal
from adapters.salesforce.sandbox.soql import parse
from tests.fakes.salesforce_sandbox import contact, running


@pytest.fixture(scope="module")
def org():
    """Twelve contacts of three accounts; only read by the tests that use it."""
    with running() as (sandbox, api):
        sandbox.state.insert("Campaign", {"Name": "O'Brien \\ Sons", "IsActive": True})
        yield sandbox, api


@pytest.fixture
def world():
    with running() as held:
        yield held


def numbers(api, text, **kwargs):
    return [int(one["Product_User_Id__c"].removeprefix("u-")) for one in api.records(text, **kwargs)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("Email = 'PERSON3@acme.example'", {3}),
        ("Email != 'person3@acme.example' AND Id <= '{c4}'", {1, 2, 4}),
        ("Id IN ('{c1}', '{c9}')", {1, 9}),
        ("Id IN ('{short1}')", {1}),
        ("Email IN ('PERSON3@acme.example', 'person3@ACME.example')", {3}),
        ("Id NOT IN ('{c1}', '{c2}') AND Id < '{c5}'", {3, 4}),
        ("Email LIKE 'person1%'", {1, 10, 11, 12}),
        ("Email LIKE 'person1_@%'", {10, 11, 12}),
        ("LastName LIKE 'last_'", set(range(1, 10))),
        ("Title = 'cto' AND (Email = 'person1@acme.example' OR Email = 'person2@acme.example')", {1}),
        ("NOT Title = 'cto'", {2, 4, 6, 8, 10, 12}),
        ("HasOptedOutOfEmail = true", {10}),
        ("Phone = null AND Email = 'person2@acme.example'", {2}),
        ("Phone != null", set()),
        ("Account.Name = 'company 2'", {1, 4, 7, 10}),
        ("Account.Owner.LastName = 'Admin' AND AccountId = '{a2}'", {1, 4, 7, 10}),
        ("Contact.Email = 'person4@acme.example'", {4}),
        ("CreatedDate < 2025-01-04T00:00:00Z", {1, 2}),
        ("CreatedDate <= 2025-01-04T01:00:00+01:00", {1, 2, 3}),
        ("CreatedDate >= 2025-01-12T00:00:00.000Z", {11, 12}),
        ("CreatedDate = LAST_N_DAYS:3", set()),
        ("CreatedDate < TODAY", set(range(1, 13))),
        ("Winback_Milestone__c > -1.5", set()),
        ("Email > 'person8@acme.example' AND Email <= 'Person9@acme.example'", {9}),
    ],
)
def test_a_condition_finds_whom_it_should(org, where, expected):
    _, api = org
    ids = {f"c{number}": contact(number) for number in range(1, 13)}
    text = where.format(**ids, short1=contact(1)[:15], a2=record_id("Account", 2))
    found = numbers(api, f"SELECT Product_User_Id__c FROM Contact WHERE {text}")
    assert (set(found), len(found)) == (expected, len(expected))


def test_literals_are_read_with_their_escapes(org):
    _, api = org
    assert len(api.ids("SELECT Id FROM Campaign WHERE Name = 'O\\'Brien \\\\ Sons'")) == 1
    assert len(api.ids("SELECT Id FROM Campaign WHERE Name LIKE 'o\\'brien%'")) == 1
    assert api.ids("SELECT Id FROM Campaign WHERE Name LIKE 'o\\'brien\\%'") == []


def test_names_and_keywords_are_read_without_regard_to_case(org):
    answer = org[1].query("select id, ACCOUNT.name from CONTACT where email='person1@acme.example' limit 1").json()
    (record,) = answer["records"]
    assert record["Id"] == contact(1)
    assert record["Account"]["Name"] == "Company 2"
    assert record["Account"]["attributes"]["type"] == "Account"


def test_a_key_that_minds_its_case_is_compared_with_it(world):
    sandbox, api = world
    for key in ("dormant:00A", "dormant:00a"):
        sandbox.state.insert("Campaign", {"Name": key, "Winback_Key__c": key})
    text = "SELECT Name FROM Campaign WHERE Winback_Key__c"
    assert api.records(f"{text} = 'dormant:00a'") == [{"Name": "dormant:00a"}]
    assert api.records(f"{text} IN ('dormant:00A', 'DORMANT:00a')") == [{"Name": "dormant:00A"}]
    assert api.records(f"{text} > 'dormant:00A'") == [{"Name": "dormant:00a"}]


def test_order_puts_nulls_where_it_is_told(world):
    sandbox, api = world
    for number, title in ((1, "b"), (2, "A"), (3, None)):
        sandbox.state.update(contact(number), {"Title": title})
    base = f"SELECT Product_User_Id__c FROM Contact WHERE Id <= '{contact(3)}' ORDER BY Title"
    assert numbers(api, base) == [3, 2, 1]
    assert numbers(api, f"{base} NULLS LAST") == [2, 1, 3]
    assert numbers(api, f"{base} DESC") == [1, 2, 3]
    assert numbers(api, f"{base} DESC NULLS FIRST") == [3, 1, 2]
    assert numbers(api, f"{base} DESC, Id DESC LIMIT 1 OFFSET 1") == [2]


def test_several_orders_apply_one_after_the_other(org):
    found = numbers(org[1], "SELECT Product_User_Id__c FROM Contact ORDER BY Title DESC, Id DESC")
    assert found == [12, 10, 8, 6, 4, 2, 11, 9, 7, 5, 3, 1]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "MALFORMED_QUERY", "empty"),
        ("SELECT Id FRM Contact", "MALFORMED_QUERY", "unexpected token: 'Contact'"),
        ("SELECT Id FROM", "MALFORMED_QUERY", "unexpected token: '<EOF>'"),
        ("SELECT Id FROM Contact WHERE Id = 'x", "MALFORMED_QUERY", "unexpected token"),
        ("SELECT Id FROM Contact WHERE Title='a' AND Title='b' OR Title='c'", "MALFORMED_QUERY", "token: 'OR'"),
        ("SELECT Id FROM Contact LIMIT 1 WHERE Title = 'a'", "MALFORMED_QUERY", "token: 'WHERE'"),
        ("SELECT Id, Id FROM Contact", "MALFORMED_QUERY", "duplicate field selected: Id"),
        ("SELECT Id FROM Contact OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
        ("SELECT Id FROM Contakt", "INVALID_TYPE", "sObject type 'Contakt' is not supported"),
        ("SELECT Nope__c FROM Contact", "INVALID_FIELD", "No such column 'Nope__c' on entity 'Contact'"),
        ("SELECT Id FROM Contact WHERE Nope__c = 1", "INVALID_FIELD", "No such column 'Nope__c'"),
        ("SELECT Id FROM Contact ORDER BY Nope__c", "INVALID_FIELD", "No such column 'Nope__c'"),
        ("SELECT Nope__r.Name FROM Contact", "INVALID_FIELD", "Didn't understand relationship 'Nope__r'"),
        ("SELECT Id FROM Contact WHERE DoNotCall = 'true'", "INVALID_FIELD", "must be of type boolean"),
        ("SELECT Id FROM Contact WHERE CreatedDate > '2026-01-01'", "INVALID_FIELD", "must be of type dateTime"),
        ("SELECT Id FROM Contact WHERE CreatedDate > 2026-01-01", "INVALID_FIELD", "must be of type dateTime"),
        ("SELECT Id FROM Contact WHERE Birthdate > 2026-01-01T00:00:00Z", "INVALID_FIELD", "must be of type date "),
        ("SELECT Id FROM Contact WHERE Email = 5", "INVALID_FIELD", "of type string and should be enclosed in quotes"),
        ("SELECT Id FROM Contact WHERE Winback_Milestone__c = '5'", "INVALID_FIELD", "must be of type double"),
        ("SELECT Id FROM Contact WHERE Description = 'x'", "INVALID_FIELD", "can not be filtered in a query call"),
        ("SELECT Id FROM Contact ORDER BY Description", "INVALID_FIELD", "can not be sorted in a query call"),
        ("SELECT Id FROM Contact WHERE Id = 'x'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: x"),
        (
            "SELECT Id FROM Contact WHERE Id LIKE '003%'",
            "INVALID_QUERY_FILTER_OPERATOR",
            "invalid operator on id field",
        ),
        ("SELECT Id FROM Contact WHERE DoNotCall > true", "INVALID_QUERY_FILTER_OPERATOR", "boolean field"),
        ("SELECT Id FROM Contact WHERE Title INCLUDES ('a')", "INVALID_QUERY_FILTER_OPERATOR", "string field"),
        ("SELECT FIELDS(ALL) FROM Contact LIMIT 200", "MALFORMED_QUERY", "does not answer FIELDS()"),
        ("SELECT Id, (SELECT Id FROM Contacts) FROM Account", "MALFORMED_QUERY", "a query inside of SELECT"),
        ("SELECT Id FROM Contact WHERE AccountId IN (SELECT Id FROM Account)", "MALFORMED_QUERY", "inside of IN"),
        ("SELECT Title, COUNT(Id) FROM Contact", "MALFORMED_QUERY", "must be grouped or aggregated: Title"),
        ("SELECT COUNT(Id) FROM Contact GROUP BY CreatedDate", "MALFORMED_QUERY", "can not be grouped"),
        ("SELECT SUM(Title) FROM Contact", "MALFORMED_QUERY", "does not support aggregate operator SUM"),
        ("SELECT COUNT(Id) FROM Contact GROUP BY Title ORDER BY Email", "MALFORMED_QUERY", "must be grouped"),
        ("SELECT COUNT(Id) FROM Contact GROUP BY Title HAVING Title = 'a'", "MALFORMED_QUERY", "HAVING"),
        ("SELECT COUNT(Id) FROM Contact GROUP BY DAY_ONLY(CreatedDate)", "MALFORMED_QUERY", "a function in GROUP BY"),
        ("SELECT FORMAT(CreatedDate) FROM Contact", "MALFORMED_QUERY", "the function FORMAT"),
        ("SELECT Id FROM Contact WHERE CALENDAR_YEAR(CreatedDate) = 2026", "MALFORMED_QUERY", "CALENDAR_YEAR"),
        ("SELECT Account.Parent.Parent.Parent.Parent.Parent.Name FROM Contact", "MALFORMED_QUERY", "deeper than 5"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_in_the_vendors_words(org, text, code, said):
    answer = org[1].query(text)
    assert answer.status_code == 400
    (body,) = answer.json()
    assert body["errorCode"] == code
    assert said in body["message"]


def test_an_error_points_at_its_place(org):
    message = org[1].query("SELECT Id, Foo FROM Contact").json()[0]["message"]
    assert message.startswith("\nSELECT Id, Foo FROM Contact\n           ^\nERROR at Row:1:Column:12\n")


def test_a_query_longer_than_the_vendor_takes_is_refused():
    with pytest.raises(Refusal, match="cannot be longer than 100000 characters"):
        parse(f"SELECT Id FROM Contact WHERE Title = '{'x' * 100_000}'")


def test_counting_answers_a_number_alone(org):
    _, api = org
    assert api.query("SELECT COUNT() FROM Contact WHERE Title = 'cto'").json() == {
        "totalSize": 6,
        "done": True,
        "records": [],
    }
    assert api.query("SELECT COUNT() FROM Contact").json()["totalSize"] == 12
    assert api.query("SELECT COUNT() FROM Contact LIMIT 5").json()["totalSize"] == 5


def test_groups_are_counted_and_summed_up(world):
    sandbox, api = world
    for number in range(1, 13):
        values = {"Winback_Milestone__c": float(number), "Department": None if number < 4 else "R&D"}
        sandbox.state.update(contact(number), values)
    sandbox.state.update(contact(12), {"Title": "CTO"})
    text = "SELECT Title, COUNT(Id) n, MAX(Winback_Milestone__c), AVG(Winback_Milestone__c) FROM Contact"
    answer = api.query(f"{text} GROUP BY Title ORDER BY Title").json()
    assert (answer["totalSize"], answer["done"]) == (2, True)
    assert answer["records"] == [
        {"attributes": {"type": "AggregateResult"}, "Title": "cto", "n": 7, "expr1": 12.0, "expr2": 48 / 7},
        {"attributes": {"type": "AggregateResult"}, "Title": "developer", "n": 5, "expr1": 10.0, "expr2": 6.0},
    ]
    assert api.records("SELECT COUNT(Department), COUNT_DISTINCT(Title) FROM Contact") == [{"expr0": 9, "expr1": 2}]
    where = "WHERE Title = 'nobody'"
    assert api.records(f"SELECT COUNT(Id), SUM(Winback_Milestone__c) FROM Contact {where}") == [
        {"expr0": 0, "expr1": None}
    ]
    assert api.records(f"SELECT Title FROM Contact {where} GROUP BY Title") == []
    named = "SELECT Account.Name, COUNT(Id) FROM Contact GROUP BY Account.Name ORDER BY Account.Name DESC LIMIT 1"
    assert api.records(named) == [{"Name": "Company 3", "expr0": 4}]


def test_derived_values_can_be_read_and_asked_for(world):
    _, api = world
    campaign = api.make("Campaign", Name="winback", ParentId=api.make("Campaign", Name="folder"))
    api.make("CampaignMember", CampaignId=campaign, ContactId=contact(1), Status="Responded")
    api.make("CampaignMember", CampaignId=campaign, ContactId=contact(2))
    fields = (
        "Status, HasResponded, Email, Type, LeadOrContactId, Contact.Email, Campaign.Parent.Name, LeadId, Lead.Name"
    )
    first, second = api.records(f"SELECT {fields} FROM CampaignMember ORDER BY Id")
    assert (first["HasResponded"], first["Status"], second["HasResponded"]) == (True, "Responded", False)
    assert first["Email"] == first["Contact"]["Email"] == "person1@acme.example"
    assert (first["Type"], first["LeadOrContactId"], first["LeadId"], first["Lead"]) == (
        "Contact",
        contact(1),
        None,
        None,
    )
    assert first["Campaign"]["Parent"]["Name"] == "folder"
    assert second["Status"] == "Sent"
    counts = "NumberOfContacts, NumberOfLeads, NumberOfResponses"
    (held,) = api.records(f"SELECT {counts} FROM Campaign WHERE NumberOfContacts > 0")
    assert held == {"NumberOfContacts": 2, "NumberOfLeads": 0, "NumberOfResponses": 1}


def test_pages_follow_each_other_and_keep_what_the_query_saw(world):
    sandbox, api = world
    sandbox.state.behave({"page_rows": 5})
    first = api.query("SELECT Id FROM Contact ORDER BY Id").json()
    assert (first["totalSize"], first["done"], len(first["records"])) == (12, False, 5)
    assert first["nextRecordsUrl"].endswith("-5")
    api.delete(f"/sobjects/Contact/{contact(6)}")
    second = api.get(first["nextRecordsUrl"]).json()
    assert [one["Id"] for one in second["records"]] == [contact(number) for number in range(6, 11)]
    again = api.get(first["nextRecordsUrl"]).json()
    assert again == second
    third = api.get(second["nextRecordsUrl"]).json()
    assert (third["done"], len(third["records"]), "nextRecordsUrl" in third) == (True, 2, False)


def test_the_page_size_is_a_hint_within_its_bounds(world):
    sandbox, api = world
    sandbox.seed([], [])
    state = sandbox.state
    for number in range(700):
        state.insert("Account", {"Name": f"A{number}"})

    def size(option):
        return len(api.query("SELECT Id FROM Account", headers={"Sforce-Query-Options": option}).json()["records"])

    assert [size(option) for option in ("batchSize=300", "batchSize=1", "batchSize=9999", "x")] == [300, 200, 703, 703]


def test_a_locator_that_is_too_old_or_unknown_is_refused(world):
    sandbox, api = world
    sandbox.state.behave({"page_rows": 5})
    url = api.query("SELECT Id FROM Contact").json()["nextRecordsUrl"]
    sandbox.advance(2 * 86_400)
    api.login()
    for address in (url, "/query/01g000000000009AAA-5", "/query/nonsense"):
        answer = api.get(address)
        assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "INVALID_QUERY_LOCATOR")


def test_under_pressure_the_oldest_query_is_over_first(world):
    sandbox, api = world
    sandbox.state.behave({"page_rows": 5})
    urls = [api.query("SELECT Id FROM Contact").json()["nextRecordsUrl"] for _ in range(querying.KEPT + 1)]
    assert api.get(urls[0]).status_code == 400
    assert api.get(urls[1]).status_code == 200


def test_a_query_that_finds_too_much_may_take_too_long(world):
    sandbox, api = world
    sandbox.state.behave({"query_rows_in_time": 5})
    answer = api.query("SELECT Id FROM Contact")
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, "QUERY_TIMEOUT")
    assert api.query("SELECT Id FROM Contact LIMIT 5").status_code == 200


def test_an_address_longer_than_sixteen_kilobytes_is_a_414(org):
    answer = org[1].query(f"SELECT Id FROM Contact WHERE Title = '{'x' * 16_384}'")
    assert answer.status_code == 414
    assert "json" not in answer.headers["Content-Type"]


def test_a_keyset_walk_by_id_sees_everybody_once(world):
    sandbox, api = world
    made = {sandbox.state.insert("Account", {"Name": f"A{number}"}).id for number in range(700)}
    seen: list[str] = []
    last = "001000000000000"
    while page := api.ids(f"SELECT Id FROM Account WHERE Id > '{last}' ORDER BY Id LIMIT 250"):
        seen += page
        last = page[-1]
    assert made <= set(seen)
    assert seen == sorted(set(seen))


def test_stamps_are_shown_to_the_second_and_compared_in_milliseconds(world):
    sandbox, api = world
    sandbox.state.clock.freeze()
    shown = []
    for number in (1, 2):
        sandbox.advance(0.4)
        api.patch(f"/sobjects/Contact/{contact(number)}", {"FirstName": "x"})
        stamps = sandbox.state.row(contact(number)).stamp_ms
        shown.append((stamps, api.get(f"/sobjects/Contact/{contact(number)}").json()["SystemModstamp"]))
    at = shown[-1][1].replace("+0000", "Z")
    found = api.ids(f"SELECT Id FROM Contact WHERE SystemModstamp >= {at} ORDER BY SystemModstamp, Id")
    after = api.ids(f"SELECT Id FROM Contact WHERE SystemModstamp > {at} ORDER BY SystemModstamp, Id")
    assert contact(2) in found
    # A row whose stamp has milliseconds is later than the second it is shown at.
    assert (contact(2) in after) is (shown[-1][0] % 1000 > 0)
