"""One-click links: looking changes nothing, one press does; every bad one looks the same; nobody is sent astray."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from connector.errors import StateError
from connector.links import ACTIONS
from connector.program.model import ConsentEvent, Status
from tests.fakes.databases import on_both  # noqa: F401  # the fixture journal_url
from tests.fakes.hearing import ANN, KEYS, LINKS, NOW, QUIET, address
from tests.fakes.pages import link, pages_of, playbook_in
from webhooks.languages import languages
from webhooks.links import tagged

BY_BROWSER = {"Accept": "text/html,application/xhtml+xml"}
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def site(tmp_path):
    with pages_of(tmp_path) as site:
        yield site


def lines(site, contact_id=ANN):
    return [(line.status, line.source) for line in site.journal.consent.history(contact_id)]


def everything(site):
    """All that following a link could have left behind."""
    journal = site.journal
    return {
        "ledger": lines(site),
        "address": journal.consent.history(KEYS.email(address(ANN))),
        "outbox": journal.outbox.recent(100),
        "facts": journal.facts.after(0, 100),
        "stops": journal.stops.of([ANN]),
        "episodes": journal.episodes.of(ANN),
        "inbox": journal.inbox.recent(100),
        "audit": journal.audit.recent(100),
    }


# --- unsubscribing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["multipart/form-data", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize(("name", "value"), [("List-Unsubscribe", "One-Click"), ("LIST-UNSUBSCRIBE", "one-click")])
@pytest.mark.parametrize("action", ["unsubscribe", "preferences"])
def test_a_one_click_post_unsubscribes_at_once(site, encoding, name, value, action):
    client = site.app.test_client(use_cookies=False)
    answer = client.post(link(action), data={name: value}, content_type=encoding)
    assert answer.status_code == 200
    assert "Location" not in answer.headers
    assert "Set-Cookie" not in answer.headers
    assert len(answer.data) < 4_000
    assert site.journal.consent.state(ANN).opted_out_at == NOW
    assert site.journal.consent.state(KEYS.email(address(ANN))).opted_out_at == NOW
    assert site.journal.episodes.of(ANN)[0].exit_reason == "unsubscribed"
    assert {row.kind for row in site.journal.outbox.recent(10) if row.urgent} == {"opt_out", "leave"}
    assert site.woken
    [line] = site.journal.consent.history(ANN)
    assert line.evidence == {"link": action, "campaign": "win-back/offer", "how": "one-click"}


@pytest.mark.parametrize("body", [b"", b"anything", b"\xff\xfe", b"--x\r\nbroken", b"a=1&" * 60_000])
@pytest.mark.parametrize("content_type", ["", "text/plain", "application/json", "multipart/form-data; boundary=x"])
def test_an_unsubscribe_link_asks_nothing_of_the_body(site, body, content_type):
    assert site.client().post(link("unsubscribe"), data=body, content_type=content_type).status_code == 200
    assert lines(site) == [(Status.WITHDRAWN, "links")]


def test_twenty_presses_at_once_are_one_line_of_the_ledger(tmp_path, journal_url):
    with pages_of(tmp_path, journal_url=journal_url) as site:
        token = link("unsubscribe")
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: site.client().post(token, data=ONE_CLICK).status_code, range(20)))
        assert answers == [200] * 20
        assert len(lines(site)) == 1
        assert len(site.journal.outbox.recent(100)) == 2


def test_pressing_again_says_the_same_and_changes_nothing(site):
    first = site.client().post(link("unsubscribe"), data=ONE_CLICK)
    before = everything(site)
    site.clock.advance(86_400 * 40)
    again = site.client().post(link("unsubscribe"), data=ONE_CLICK)
    assert (again.status_code, again.data) == (200, first.data)
    assert everything(site) == before
    assert len(site.woken) == 1


def test_who_came_back_can_unsubscribe_again_by_the_same_link(site):
    token = link("unsubscribe")
    site.client().post(token, data=ONE_CLICK)
    site.clock.advance(86_400)
    came_back = {"status": Status.RESUBSCRIBED, "captured_at": site.clock.now(), "source": "form"}
    site.journal.consent.record([ConsentEvent(subject=ANN, event_key="back", evidence={"form": "f1"}, **came_back)])
    assert site.journal.consent.state(ANN).opted_out_at is None
    site.clock.advance(86_400)
    site.client().post(token, data=ONE_CLICK)
    assert site.journal.consent.state(ANN).opted_out_at == site.clock.now()


def test_unsubscribing_works_after_four_hundred_days_and_by_a_key_that_was_replaced(site):
    token = link("unsubscribe")
    site.clock.advance(86_400 * 400)
    assert site.client().get(token).status_code == 200
    assert site.client().post(token, data=ONE_CLICK).status_code == 200
    assert site.journal.consent.state(ANN).opted_out_at is not None


def everybody_presses(site, people):
    site.journal.links.remember({LINKS.subject(one): one for one in people})
    client = site.app.test_client(use_cookies=False)
    answers = {client.post(link("unsubscribe", one), data=ONE_CLICK).status_code for one in people}
    assert answers == {200}
    assert all(state.opted_out_at for state in site.journal.consent.states_of(people).values())


def test_however_many_press_from_one_address_all_are_heard(tmp_path, monkeypatch):
    monkeypatch.setattr("webhooks.links._AN_ADDRESS_A_MINUTE", 5)
    monkeypatch.setattr("webhooks.links._STRANGERS_A_MINUTE", 5)
    with pages_of(tmp_path) as site:
        everybody_presses(site, [f"hubspot:{1_000 + number}" for number in range(60)])
        assert [site.client().get(link("snooze", QUIET)).status_code for _ in range(6)] == [200] * 5 + [429]
        assert site.client().post(link("unsubscribe"), data=ONE_CLICK).status_code == 200


@pytest.mark.soak
def test_five_thousand_people_behind_one_address_are_all_heard(tmp_path):
    with pages_of(tmp_path, journal_url="sqlite:///:memory:") as site:
        everybody_presses(site, [f"hubspot:{1_000 + number}" for number in range(5_000)])


def test_a_press_is_never_too_many_while_looking_can_be(site):
    token = link("unsubscribe")
    looks = [site.client().get(token).status_code for _ in range(70)]
    assert looks[:60] == [200] * 60
    assert set(looks[60:]) == {429}
    assert site.client().get(token).headers["Retry-After"] == "60"
    assert site.client().post(token, data=ONE_CLICK).status_code == 200
    assert site.client().post(link("preferences"), data={"choice": "stop"}).status_code == 200
    site.clock.advance(60)
    assert site.client().get(token).status_code == 200


# --- looking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_following_a_link_a_hundred_times_changes_nothing(site, action):
    before = everything(site)
    for number in range(100):
        method = "HEAD" if number % 2 else "GET"
        answer = site.client().open(link(action), method=method)
        assert answer.status_code == 200
        assert bool(answer.data) is (method == "GET")
        site.clock.advance(2)
    assert everything(site) == before
    assert not site.woken
    assert site.counted("links", "looked") == 100


@pytest.mark.parametrize("action", ACTIONS)
def test_the_page_has_one_button_that_posts_to_itself(site, action):
    text = site.client().get(link(action)).text
    assert text.count("<form") == text.count('<form method="post">') == 1
    assert text.count("<button") == text.count('type="submit"') == 1
    assert "<script" not in text
    assert '<html lang="en">' in text


@pytest.mark.parametrize("action", ACTIONS)
def test_pages_load_nothing_from_others_and_are_kept_by_nobody(site, action):
    for answer in (site.client().get(link(action)), site.client().post(link(action)), site.client().get("/l/no")):
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Robots-Tag"] == "noindex"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers
        if answer.status_code != 303:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self'")
            assert "frame-ancestors 'none'" in policy


def test_the_stylesheet_is_ours_and_may_be_kept(site):
    text = site.client().get(link("snooze")).text
    [address_of_it] = re.findall(r'<link rel="stylesheet" href="\.\./(style\.css\?v=\w+)">', text)
    answer = site.client().get(f"/{address_of_it}")
    assert answer.status_code == 200
    assert answer.content_type == "text/css; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000"
    assert b"url(" not in answer.data
    assert b"@import" not in answer.data


# --- bad links -----------------------------------------------------------------------------------------------------


def bad_tokens(site):
    expired = link("return", site=site)
    foreign = LINKS.token("survey", ANN, "win-back/offer", now=NOW)
    unknown = link("unsubscribe", "hubspot:nobody")
    tampered = link("unsubscribe")[:-1] + ("A" if link("unsubscribe")[-1] != "A" else "B")
    site.clock.advance(86_400 * 91)
    return [expired, f"/l/{foreign}", unknown, tampered, "/l/x", f"/l/{'x' * 3_000}", "/l/a.b", "/l/%00", "/l/é"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_all_that_can_be_wrong_with_a_link_looks_the_same(site, method):
    answers = [site.client().open(path, method=method) for path in bad_tokens(site)]
    assert {(answer.status_code, answer.data) for answer in answers} == {(404, answers[0].data)}
    headers = [[pair for pair in answer.headers if pair[0] != "X-Request-Id"] for answer in answers]
    assert all(one == headers[0] for one in headers)
    assert "https://app.acme.example/start" in answers[0].text
    assert "never lapses" in answers[0].text
    assert lines(site) == []


def test_a_link_to_come_back_or_to_pause_lapses_and_one_to_unsubscribe_does_not(site):
    paths = {action: link(action) for action in ACTIONS}
    site.clock.advance(86_400 * 91)
    answers = {action: site.client().get(path).status_code for action, path in paths.items()}
    assert answers == {"return": 404, "snooze": 404, "unsubscribe": 200, "preferences": 200}


def test_who_tries_many_tokens_is_slowed_down_and_nobody_else(site):
    tried = [site.client().get(f"/l/guess{number}").status_code for number in range(80)]
    assert tried[:60] == [404] * 60
    assert set(tried[60:]) == {429}
    assert site.client().get(link("preferences")).status_code == 200


def test_a_token_says_nothing_in_the_log(site, caplog):
    token = link("unsubscribe")
    site.client().get(token)
    site.client().post(token)
    site.client().get(f"{token}x")
    assert token.removeprefix("/l/") not in caplog.text


# --- pausing and choosing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [30, 60, 90])
@pytest.mark.parametrize(("action", "field"), [("snooze", "for"), ("preferences", "choice")])
def test_a_pause_ends_when_it_was_chosen_to(site, days, action, field):
    answer = site.client().post(link(action), data={field: str(days)})
    assert answer.status_code == 200
    until = NOW + timedelta(days=days)
    assert site.journal.consent.state(ANN).snoozed_until == until
    assert f"{until.day} {until:%B} {until.year}" in answer.text
    assert site.journal.episodes.of(ANN)[0].exit_reason == "snoozed"
    again = site.client().post(link(action), data={field: str(days)})
    assert again.data == answer.data
    assert len(lines(site)) == 1


@pytest.mark.parametrize("chosen", ["7", "31", "-30", "30.0", " 30", "9" * 50, "", "forever", None])
def test_a_time_that_is_not_offered_is_not_taken(site, chosen):
    answer = site.client().post(link("snooze"), data={} if chosen is None else {"for": chosen})
    assert answer.status_code == 200
    assert 'name="for"' in answer.text
    assert lines(site) == []


def test_a_pause_lifts_no_unsubscribing(site):
    site.client().post(link("unsubscribe"), data=ONE_CLICK)
    answer = site.client().post(link("snooze"), data={"for": "30"})
    assert "unsubscribed already, and stay so" in answer.text
    assert "Mails are paused" not in answer.text
    site.clock.advance(86_400 * 31)
    assert site.journal.consent.state(ANN).opted_out_at is not None
    assert "unsubscribed already" in site.client().get(link("preferences")).text


def test_keeping_mails_changes_nothing(site):
    before = everything(site)
    assert "Nothing changes" in site.client().post(link("preferences"), data={"choice": "keep"}).text
    assert everything(site) == before


def test_stopping_everything_confirms_that_the_wish_is_kept(site):
    answer = site.client().post(link("preferences"), data={"choice": "stop"})
    assert "Your wish is kept" in answer.text
    assert lines(site) == [(Status.WITHDRAWN, "links")]
    [line] = site.journal.consent.history(ANN)
    assert line.evidence["how"] == "page"


# --- coming back ---------------------------------------------------------------------------------------------------


def test_coming_back_is_counted_once_a_day_and_leads_on(site):
    token = link("return")
    first = site.client().post(f"{token}?dest=pricing")
    assert first.status_code == 303
    where = urlsplit(first.headers["Location"])
    assert (where.scheme, where.netloc, where.path) == ("https", "acme.example", "/pricing")
    tags = parse_qs(where.query)
    assert tags["utm_campaign"] == ["win-back"] and tags["utm_content"] == ["offer"]
    assert site.client().post(f"{token}?dest=pricing").headers["Location"] == first.headers["Location"]
    [fact] = site.journal.facts.after(0, 100)
    assert tags["winback_id"][0] in fact.key
    assert fact.contact_id == ANN
    assert site.journal.episodes.of(ANN)[0].exit_reason == "reactivated"
    site.clock.advance(86_400)
    site.client().post(token)
    assert len(site.journal.facts.after(0, 100)) == 2


EVIL = [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "home\r\nSet-Cookie: a=b",
    "home\r\n\r\n<script>",
    "HOME",
    " home",
    "home/../../x",
    "https:evil.example",
    "http:///evil.example",
    "\tpricing",
    "pricing\x00",
    "..",
    "",
]


@pytest.mark.parametrize("dest", EVIL)
def test_nothing_but_a_name_of_the_playbook_leads_anywhere(site, dest):
    answer = site.client().post(link("return"), query_string={"dest": dest})
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("https://app.acme.example/start?")
    assert "Set-Cookie" not in answer.headers
    assert "evil" not in str(answer.headers)
    page = site.client().get(link("return"), query_string={"dest": dest})
    assert "evil" not in page.text
    assert "evil" not in str(page.headers)


def test_an_address_keeps_its_own_words():
    found = urlsplit(tagged("https://a.example/p?utm_source=ours&x=1&x=2#part", "win-back/offer", "abc"))
    assert found.fragment == "part"
    assert parse_qs(found.query) == {
        "utm_source": ["ours"], "x": ["1", "2"], "utm_medium": ["email"],
        "utm_campaign": ["win-back"], "utm_content": ["offer"], "winback_id": ["abc"],
    }  # fmt: skip


# --- languages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted(languages()))
@pytest.mark.parametrize("action", ACTIONS)
def test_pages_speak_the_language_of_the_browser(site, code, action):
    answer = site.client().get(link(action), headers={"Accept-Language": f"xx, {code}-XX;q=0.9, en;q=0.1"})
    assert f'<html lang="{code}">' in answer.text
    assert answer.headers["Content-Language"] == code
    assert languages()[code](f"{action}.button", account="acme") in answer.text.replace("&#39;", "'")


def test_the_contacts_own_language_comes_first(site):
    site.journal.decisions.publish(NOW.date(), {ANN: {"columns": {"language": "de-AT"}}})
    assert '<html lang="de">' in site.client().get(link("snooze"), headers={"Accept-Language": "fr"}).text
    assert '<html lang="fr">' in site.client().get(link("snooze", QUIET), headers={"Accept-Language": "fr"}).text


def test_every_language_says_everything_and_names_the_same_things():
    def told(words, path=()):
        for name, value in words.items():
            if isinstance(value, dict):
                yield from told(value, (*path, name))
            else:
                yield ".".join((*path, name)), set(re.findall(r"\{(\w+)\}", str(value)))

    english = dict(told(languages()["en"].words))
    assert sorted(languages()) == ["de", "en", "es", "fr", "nl"]
    for texts in languages().values():
        assert dict(told(texts.words)) == english
        assert len(texts.words["months"]) == 12


# --- when something breaks -----------------------------------------------------------------------------------------


def test_a_journal_that_does_not_answer_is_said_in_plain_words(site, monkeypatch):
    def broken(*_, **__):
        raise StateError(f"the disk is full of {address(ANN)}")

    monkeypatch.setattr(site.journal.settlement, "settle", broken)
    person = site.client().post(link("unsubscribe"), headers=BY_BROWSER)
    assert person.status_code == 503
    assert "Nothing was changed" in person.text
    assert int(person.headers["Retry-After"]) > 0
    machine = site.client().post(link("unsubscribe"), data=ONE_CLICK)
    assert machine.status_code == 503
    assert machine.json["error"] == "the journal does not answer"
    for answer in (person, machine):
        assert "disk" not in answer.text


def test_an_error_of_our_own_tells_nobody_anything(site, monkeypatch, caplog):
    def broken(*_, **__):
        raise RuntimeError(f"secret of {address(ANN)}")

    monkeypatch.setattr(site.journal.decisions, "get", broken)
    for headers in ({}, BY_BROWSER):
        answer = site.client().get(link("snooze"), headers=headers)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
    assert address(ANN) not in caplog.text


def test_without_destinations_coming_back_still_counts(tmp_path):
    from tests.fakes.pages import PLAYBOOK

    bare = "\n".join(line for line in PLAYBOOK.splitlines() if "destinations:" not in line and "default:" not in line)
    with pages_of(tmp_path, playbook=playbook_in(tmp_path, text=bare)) as site:
        answer = site.client().post(link("return"))
        assert answer.status_code == 200
        assert "Welcome back" in answer.text
        assert len(site.journal.facts.after(0, 10)) == 1
        assert "Go to" not in site.client().get("/l/no").text
