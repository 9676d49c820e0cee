"""The page: an org at a glance, in Salesforce's words, for readers and for those who cannot see it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.page_parts import without_addresses
from tests.fakes.salesforce_org import contacts, running

VOID = {"meta", "link", "br", "img", "hr", "input"}
LIST = "winback · win-back · reminder"


class Outline(HTMLParser):
    """What a reader of the page meets: tags that close, headings, tables with captions, targets, text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.tables = self.captions = 0
        self.ids: set[str] = set()
        self.anchors: set[str] = set()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in {"h1", "h2", "h3"}:
            self.headings.append(tag)
        self.tables += tag == "table"
        self.captions += tag == "caption"
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.add(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if given.get("href", "").startswith("#"):
            self.anchors.add(given["href"][1:])
        self.loads += [given[name] for name in ("src", "href") if given.get(name, "").startswith("http")]
        assert tag != "script"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(html):
    outline = Outline()
    outline.feed(html)
    assert outline.open == []
    return outline


def served(org, query=""):
    answer = org.session.get(f"{org.sandbox.base_url}/{query}", timeout=10)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return read(answer.text)


@pytest.fixture
def org():
    with running(60, leads=2) as held:
        yield held


def fill(org):
    """A campaign with members, a flow, mails and what came of them, jobs, refusals."""
    parent, child = (
        org.control("records", {"object": "Campaign", "records": [{"Name": name}]})["ids"][0]
        for name in ("winback", LIST)
    )
    org.control("records/edit", {"id": child, "values": {"ParentId": parent, "Type": "Other", "IsActive": True}})
    org.control("flows", {"name": "Reminder", "campaign": LIST, "steps": [{"wait_days": 1}, {"mail": "Come back"}]})
    org.control("members", {"campaign": LIST, "add": contacts(*range(1, 31)), "status": "reminder"})
    org.control("members", {"campaign": LIST, "remove": contacts(1, 2)})
    for number in range(3, 9):
        values = {"Winback_Segment__c": "dormant_30;cold", "Winback_Send_At__c": "2026-11-22T09:00:00Z"}
        org.control("records/edit", {"id": contacts(number)[0], "values": values})
    org.sandbox.advance(2 * 86_400)
    org.sandbox.happen(contacts(20)[0], "open")
    org.sandbox.happen(contacts(21)[0], "bounce")
    org.sandbox.happen(contacts(5)[0], "contacted")
    again = type(org)(org.sandbox)
    again.query("SELECT Id FROM Contact WHERE Email = 'person7@example.com'")
    again.finished("ingest", again.ingest("update", f"Id,Title\n{contacts(1)[0]},x\n{record_id('Contact', 999)},y\n"))
    again.control(
        "outbound", {"name": "Notify", "object": "Contact", "url": "http://127.0.0.1:9/", "fields": ["Title"]}
    )
    again.control("records/edit", {"id": contacts(6)[0], "values": {"Title": "Chief"}})
    again.sandbox.sending.send_due()
    return again


def test_an_empty_org_says_what_there_will_be():
    with running(0) as org:
        page = read(org.sandbox.page())
    for words in ("There are no campaigns yet", "There are no flows yet", "No Bulk job was made yet"):
        assert words in page.text
    assert page.headings[0] == "h1" and page.headings.count("h1") == 1


def test_it_is_whole_self_contained_and_leads_only_where_something_is(org):
    org = fill(org)
    page = served(org)
    assert page.loads == [] and page.anchors <= page.ids | {"main"}
    assert page.tables == page.captions > 5
    assert {"campaigns", "flows", "mails", "tasks", "people", "fields", "jobs", "messages", "calls"} <= page.anchors


def test_campaigns_show_their_members_and_statuses(org):
    text = served(fill(org)).text
    assert LIST in text and "part of “winback”" in text and "2 left it" in text
    assert "28" in text and "25 of 30 campaign members" in text and "Exited" in text and "reminder" in text


def test_members_and_people_can_be_leafed_through(org):
    org = fill(org)
    page = served(org)
    (following,) = [link for link in page.links if "from=25" in link and "campaign=" in link]
    assert "5 of 30 campaign members" in served(org, following.lstrip("/")).text
    with org.state.lock:
        for person in contacts(*range(10, 50)):
            org.state.update(person, {"Winback_Step__c": "offer"})
    assert "25 from number 1" in served(org).text
    assert "from number 26" in served(org, "?people_from=25").text


def test_flows_mails_and_tasks_tell_what_happened(org):
    text = served(fill(org)).text
    assert "Record-triggered: a Campaign Member is made or changed" in text and f"CampaignId is “{LIST}”" in text
    assert "25 sent" in text and "3 not sent: opted out" in text and "2 left: the conditions held no more" in text
    assert "opened" in text and "bounced" in text and "send “Come back”" in text and "wait 1 d" in text
    assert "Call" in text


def test_fields_jobs_and_limits_are_counted(org):
    text = served(fill(org)).text
    assert "Winback_Segment__c" in text and "dormant_30" in text and "Winback_Link_Return__c" in text
    assert "update Contact" in text and "JobComplete" in text and "API requests, 24 h" in text
    assert "Notify · Contact" in text and "none" in text


def test_no_address_of_anybody_is_on_it(org):
    org = fill(org)
    values = {"LastName": "who@example.com", "Winback_Next_Step__c": "write to person8@example.com"}
    org.control("records/edit", {"id": contacts(8)[0], "values": values})
    html = org.session.get(f"{org.sandbox.base_url}/", timeout=10).text + org.sandbox.page()
    assert "example.com" not in html and "(address)" in html
    assert without_addresses("a b@c.d, e%40f.g!") == "a (address) (address)"


def test_names_are_escaped(org):
    org.control("records", {"object": "Campaign", "records": [{"Name": "<script>alert(1)</script>"}]})
    assert "<script>alert" not in org.sandbox.page()


def test_an_org_without_the_package_says_so(org):
    org.control("access", {"package": False})
    assert "deploy/salesforce is not installed" in served(org).text
