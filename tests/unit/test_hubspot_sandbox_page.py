from __future__ import annotations

from html.parser import HTMLParser

import pytest

from connector.model import Contact
from tests.fakes.hubspot_sandbox import running

VOID = {"meta", "link", "br", "img", "hr", "input"}


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


@pytest.fixture
def world():
    with running(60) as held:
        yield held


def fill(api):
    api.make_segment_property()
    list_id = api.make_list("winback · dormant_30")
    api.make_list("winback · cold")
    api.put(api.lists(f"/{list_id}/memberships/add"), [str(n) for n in range(1, 41)])
    api.update({str(n): {"winback_segment": "dormant_30"} for n in range(1, 41)})
    return list_id


def test_the_page_shows_lists_members_properties_and_calls(world):
    sandbox, api = world
    fill(api)
    outline = read(sandbox.page())
    for words in (
        "winback · dormant_30",
        "25 of 40 members",
        "Nobody is on this list",
        "First1 Last1",
        "Company 2",
        "Dormant 30",
    ):
        assert words in outline.text, words
    assert "winback_segment" in outline.text
    assert "/crm/objects/2026-03/contacts/batch/update" in outline.text


def walk(sandbox, api):
    """A workflow with people at each step, mails of every kind."""
    fill(api)
    api.make_list("winback · suppress")
    api.control(
        "workflows",
        {
            "name": "Winback <journey>",
            "list": "winback · dormant_30",
            "suppress": ["winback · suppress"],
            "steps": [{"wait_days": 1}, {"mail": "We miss you"}, {"wait_days": 6}, {"mail": "An offer"}],
        },
    )
    sandbox.advance(60)
    sandbox.advance(86_400)
    api.control("people", {"contacts": ["38", "39"], "what": "click"})
    api.control("people", {"contact": "3", "what": "unsubscribe"})
    api.control("members", {"list": "winback · dormant_30", "remove": ["1"], "add": ["50", "51"]})
    sandbox.advance(60)


def test_the_page_shows_workflows_their_steps_and_every_mail(world):
    sandbox, api = world
    walk(sandbox, api)
    outline = read(sandbox.page())
    words = " ".join(outline.text.split())
    for expected in (
        "Winback <journey>",
        "joining “winback · dormant_30”; again after leaving and rejoining; leaving ends it",
        "never members of “winback · suppress”",
        "41 in it now",
        "25 of 41 in it",
        "Wait 6 days",
        "Mail “An offer”",
        "1 no longer met the trigger",
        "The last 25 of 40 mails",
        "We miss you · not sent: unsubscribed 4",
        "sent, clicked",
    ):
        assert expected in words, expected
    assert "@acme.example" not in sandbox.page()
    assert outline.tables == outline.captions and outline.anchors <= outline.ids


def test_the_page_is_self_contained_and_readable_without_sight(world):
    sandbox, api = world
    fill(api)
    outline = read(sandbox.page())
    assert outline.loads == []
    assert outline.headings[0] == "h1"
    assert outline.headings.count("h1") == 1
    assert outline.tables == outline.captions == 4
    assert outline.anchors <= outline.ids


def test_nobodys_address_is_on_the_page(world):
    sandbox, api = world
    fill(api)
    api.get(api.contacts("/person1@acme.example?idProperty=email"))
    assert "@acme.example" not in sandbox.page()


def test_what_people_are_called_cannot_break_the_page(world):
    sandbox, api = world
    sandbox.seed([Contact("hubspot:1", first_name="<script>alert(1)</script>")], [])
    api.make_list("<b>bold</b> & co")
    fill(api)
    html = sandbox.page()
    read(html)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<b>bold</b>" not in html


def test_an_empty_account_says_what_to_do():
    with running(0) as (sandbox, api):
        api.control("reset")
        outline = read(sandbox.page())
        assert "There are no lists yet" in outline.text
        assert "Nothing has called yet" in outline.text
        assert "There are no workflows yet" in outline.text and "No workflow has sent a mail" in outline.text


def test_the_served_page_turns_to_further_members(world):
    _, api = world
    list_id = fill(api)
    first = api.get("/").text
    assert f"/?list={list_id}&amp;from=26" in first
    second = api.get(f"/?list={list_id}&from=26").text
    assert read(second)
    assert "First40 Last40" in second
    assert "First1 Last1<" not in second.split('id="contacts"')[0]


def test_the_saved_page_has_no_links_into_the_void(world):
    sandbox, api = world
    fill(api)
    assert "/?list=" not in sandbox.page()
