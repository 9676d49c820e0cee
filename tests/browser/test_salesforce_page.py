"""The Salesforce sandbox's page in a real browser: readable by everybody, in both schemes and sizes."""

from __future__ import annotations

import pytest

from tests.browser.test_pages import accessible, fits
from tests.fakes.browsing import chromium, looking
from tests.fakes.salesforce_org import contacts, running

LIST = "winback · win-back · reminder"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def org():
    with running(60) as held:
        held.control("records", {"object": "Campaign", "records": [{"Name": LIST}]})
        held.control("flows", {"name": "Reminder", "campaign": LIST, "steps": [{"wait_days": 1}, {"mail": "Hello"}]})
        held.control("members", {"campaign": LIST, "add": contacts(*range(1, 41)), "status": "reminder"})
        held.sandbox.advance(2 * 3_600)
        held.control("members", {"campaign": LIST, "remove": contacts(1, 2)})
        held.control("records/edit", {"id": contacts(3)[0], "values": {"Winback_Segment__c": "dormant_30"}})
        held.control("records", {"object": "Task", "records": [{"WhoId": contacts(3)[0], "Subject": "Call"}]})
        held.control(
            "outbound", {"name": "Tell", "object": "Contact", "url": "http://127.0.0.1:9/", "fields": ["Title"]}
        )
        held.control("records/edit", {"id": contacts(3)[0], "values": {"Title": "Chief"}})
        held.sandbox.sending.send_due()
        yield held


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_accessible_in_both_schemes_and_sizes(browser, org, width, scheme):
    with looking(browser, width=width, scheme=scheme) as seen:
        page = seen.page
        page.goto(f"{org.sandbox.base_url}/")
        accessible(page)
        fits(page)
        for place in page.query_selector_all("details.list > summary"):
            place.click()
        accessible(page)
        fits(page)
        assert seen.errors == [] and seen.elsewhere(org.sandbox.base_url) == []


def test_members_are_turned_by_links_and_keyboard(browser, org):
    with looking(browser, width=1280, scheme="light") as seen:
        page = seen.page
        page.goto(f"{org.sandbox.base_url}/")
        page.focus("#campaigns details summary")
        page.keyboard.press("Enter")
        page.click("text=Next 25 members")
        assert "15 of 40 campaign members" in page.inner_text("#campaigns")
