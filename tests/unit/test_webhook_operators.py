"""The operators' pages: who may see and do what, for how long, and what strangers cannot make them show or do."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta
from urllib.parse import unquote

import argon2
import pytest

from connector.errors import StateError
from connector.explain import tell
from connector.program.model import Exit
from tests.fakes.browsing import fill
from tests.fakes.databases import on_both  # noqa: F401  # the fixture journal_url
from tests.fakes.hearing import ANN, HELD, KEYS, NOW, QUIET, address, external_id
from tests.fakes.incoming import BASE_URL
from tests.fakes.pages import PASSWORDS, PLAYBOOK, ROLES, pages_of, playbook_in
from webhooks import operators as desk
from webhooks import pages
from webhooks.app import create_app
from webhooks.operators import ACTING, OPEN

BY_BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def site(tmp_path):
    with pages_of(tmp_path) as site:
        fill(site)
        yield site


class Browser:
    """A browser of somebody, signed in or not."""

    def __init__(self, site, name: str | None = None) -> None:
        self.client = site.app.test_client()
        if name is not None:
            assert self.sign_in(name, PASSWORDS[name]).status_code == 303

    def get(self, path, **more):
        return self.client.get(path, base_url=BASE_URL, headers=BY_BROWSER, **more)

    def post(self, path, form="ours", **fields):
        data = {**fields, **({"form": self.form() if form == "ours" else form} if form is not None else {})}
        return self.client.post(path, base_url=BASE_URL, headers=BY_BROWSER, data=data)

    def form(self):
        return re.search(r'name="form" value="([^"]+)"', self.get("/login").text)[1]

    def sign_in(self, name, password, following=None):
        return self.post("/login" + (f"?next={following}" if following else ""), name=name, password=password)

    @property
    def cookie(self):
        return self.client.get_cookie("__Host-winback", domain="winback.example.com").value


# --- who may ------------------------------------------------------------------------------------------------------


def routes(site):
    """Every route of the operators' pages, from the map itself."""
    for rule in site.app.url_map.iter_rules():
        if rule.endpoint.startswith("operators."):
            path = rule.rule.replace("<int:number>", "1").replace("<path:contact_id>", ANN)
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                yield rule.endpoint, method, path


def test_every_route_lets_in_whom_it_should_and_nobody_else(site):
    seen = set()
    for endpoint, method, path in routes(site):
        for who in (None, "vic", "ada"):
            browser = Browser(site, who)
            answer = browser.get(path) if method == "GET" else browser.post(path, who=ANN, name="x", password="x")
            if endpoint in OPEN:
                assert answer.status_code in {200, 403}, (endpoint, who)
            elif who is None:
                assert answer.status_code == 303, (endpoint, who)
                assert answer.headers["Location"].startswith("/login")
            elif endpoint in ACTING and ROLES[who] != "operator":
                assert answer.status_code == 403, (endpoint, who)
            else:
                assert answer.status_code in {200, 303}, (endpoint, who)
                assert not answer.headers.get("Location", "").startswith("/login?")
            seen.add(endpoint)
    assert seen >= OPEN | ACTING | {"operators.home", "operators.contact", "operators.search"}


@pytest.mark.parametrize("form", [None, "", "x", "x.y", "é", "x" * 5_000])
def test_a_form_that_is_not_ours_does_nothing(site, form):
    browser, before = Browser(site, "ada"), site.journal.inbox.counts()
    for endpoint, method, path in routes(site):
        if method == "POST":
            assert browser.post(path, form=form, who=ANN, **PASSWORD_OF_ADA).status_code == 403, endpoint
    assert site.journal.inbox.counts() == before
    assert browser.get("/").status_code == 200


PASSWORD_OF_ADA = {"name": "ada", "password": PASSWORDS["ada"]}


def test_a_form_of_somebody_elses_session_is_not_ours(site):
    ada, other = Browser(site, "ada"), Browser(site, "vic")
    assert ada.post("/inbox/1/replay", form=other.form()).status_code == 403
    assert Browser(site).post("/login", form=other.form(), **PASSWORD_OF_ADA).status_code == 403


def test_a_stranger_sees_nothing_and_is_sent_back_after_signing_in(site):
    browser = Browser(site)
    answer = browser.get("/contacts/hubspot:1")
    assert answer.headers["Location"] == "/login?next=/contacts/hubspot:1"
    assert ANN not in browser.get("/").text
    signed = browser.sign_in("ada", PASSWORDS["ada"], "/contacts/hubspot:1")
    assert signed.headers["Location"] == "/contacts/hubspot:1"


@pytest.mark.parametrize(
    "following",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/contacts//../x\r\nA: b", "javascript:x", ""],
)
def test_signing_in_leads_nowhere_else(site, following):
    browser = Browser(site)
    answer = browser.client.post(
        "/login",
        query_string={"next": following},
        base_url=BASE_URL,
        data={"form": browser.form(), **PASSWORD_OF_ADA},
    )
    assert answer.headers["Location"] == "/"


def test_without_operators_nobody_may_sign_in(tmp_path):
    bare = PLAYBOOK[: PLAYBOOK.index("  operators:")]
    with pages_of(tmp_path, playbook=playbook_in(tmp_path, text=bare)) as site:
        browser = Browser(site)
        assert "Nobody may sign in yet" in browser.get("/login").text
        assert browser.sign_in("ada", PASSWORDS["ada"]).status_code == 403
        assert browser.get("/").status_code == 303


# --- sessions -----------------------------------------------------------------------------------------------------


def test_the_cookie_is_for_us_alone_and_new_after_signing_in(site):
    browser = Browser(site)
    before = browser.get("/login").headers["Set-Cookie"]
    answer = browser.sign_in("ada", PASSWORDS["ada"])
    given = answer.headers["Set-Cookie"]
    for cookie in (before, given):
        assert cookie.startswith("__Host-winback=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
    assert given.split(";")[0] != before.split(";")[0]
    assert browser.get("/").status_code == 200


def test_on_this_machine_the_cookie_has_a_plain_name(tmp_path):
    playbook = playbook_in(tmp_path, base="http://127.0.0.1:8080")
    with pages_of(tmp_path, playbook=playbook) as site:
        cookie = site.client().get("/login").headers["Set-Cookie"]
        assert cookie.startswith("winback=")
        assert "Secure" not in cookie
        assert {"HttpOnly", "SameSite=Lax"} <= set(cookie.split("; "))


def test_a_session_ends_after_half_an_hour_of_nothing_and_after_twelve_hours_of_anything(site):
    browser = Browser(site, "ada")
    for _ in range(23):
        site.clock.advance(29 * 60)
        assert browser.get("/").status_code == 200
    site.clock.advance(30 * 60)
    assert browser.get("/").status_code == 303
    busy = Browser(site, "ada")
    began = site.clock.now()
    while busy.get("/").status_code == 200:
        site.clock.advance(20 * 60)
    assert site.clock.now() - began == timedelta(hours=12)


def test_signing_out_ends_every_copy_of_the_session_and_every_other_one(site):
    browser, elsewhere = Browser(site, "ada"), Browser(site, "ada")
    vic, stolen = Browser(site, "vic"), browser.cookie
    site.clock.advance(1)
    assert browser.post("/logout").headers["Location"] == "/login"
    assert browser.get("/").status_code == 303
    assert elsewhere.get("/").status_code == 303
    thief = Browser(site)
    thief.client.set_cookie("__Host-winback", stolen, domain="winback.example.com", secure=True)
    assert thief.get("/").status_code == 303
    assert vic.get("/").status_code == 200
    assert Browser(site, "ada").get("/").status_code == 200


def test_a_new_password_or_a_lost_role_holds_from_the_next_request_on(site, tmp_path):
    browser = Browser(site, "ada")
    cookie = browser.cookie
    settings = site.service.playbook.webhooks
    for operators, allowed in (
        ({"ada": settings.operators["ada"].model_copy(update={"role": "viewer"})}, 403),
        ({"ada": settings.operators["ada"].model_copy(update={"password": settings.operators["vic"].password})}, 303),
        ({}, 303),
    ):
        changed = site.service.playbook.model_copy(
            update={"webhooks": settings.model_copy(update={"operators": operators})}
        )
        service = replace(site.service, playbook=changed)
        app = create_app(service, blueprints=(pages.blueprint, lambda s: desk.blueprint(s, keys=KEYS)))
        later = Browser(replace(site, app=app))
        later.client.set_cookie("__Host-winback", cookie, domain="winback.example.com", secure=True)
        if allowed == 403:
            form = re.search(r'name="form" value="([^"]+)"', later.get("/inbox").text)[1]
            assert later.post("/inbox/1/replay", form=form).status_code == 403
        else:
            assert later.get("/").status_code == 303


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "é", "x" * 3_000])
def test_a_cookie_that_is_not_ours_is_nobody(site, cookie):
    answer = site.client().get("/", base_url=BASE_URL, headers={**BY_BROWSER, "Cookie": f"__Host-winback={cookie}"})
    assert answer.status_code == 303


# --- passwords ----------------------------------------------------------------------------------------------------


def test_wrong_passwords_make_one_wait_longer_each_time_whether_the_name_exists_or_not(site):
    answers = {}
    for name in ("vic", "nobody"):
        browser = Browser(site)
        answers[name] = [browser.sign_in(name, "wrong").status_code for _ in range(6)]
        blocked = browser.sign_in(name, PASSWORDS.get(name, "wrong"))
        assert blocked.status_code == 429
        assert int(blocked.headers["Retry-After"]) >= 1
        answers[f"{name}'s page"] = re.sub(r'value="[^"]*"', "", blocked.text)
    assert answers["vic"] == answers["nobody"] == [403] * 5 + [429]
    assert answers["vic's page"] == answers["nobody's page"]
    site.clock.advance(1)
    assert Browser(site).sign_in("vic", "wrong").status_code == 403
    site.clock.advance(1)
    assert Browser(site).sign_in("vic", PASSWORDS["vic"]).status_code == 429
    site.clock.advance(1)
    assert Browser(site).sign_in("vic", PASSWORDS["vic"]).status_code == 303
    assert Browser(site).sign_in("ada", PASSWORDS["ada"]).status_code == 303


def test_an_address_that_tries_many_names_has_to_wait(site):
    answers = [Browser(site).sign_in(f"name{number}", "wrong").status_code for number in range(21)]
    assert answers == [403] * 20 + [429]
    assert Browser(site).sign_in("ada", PASSWORDS["ada"]).status_code == 429
    site.clock.advance(3_700)
    assert Browser(site).sign_in("ada", PASSWORDS["ada"]).status_code == 303


def test_a_name_nobody_has_costs_the_same_check(site, monkeypatch):
    seen = []
    check = argon2.PasswordHasher.verify

    def verify(self, known, password):
        seen.append(argon2.extract_parameters(known))
        return check(self, known, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    for name in ("ada", "nobody", "", "é", "x" * 10_000):
        assert Browser(site).sign_in(name, "wrong").status_code == 403
    assert len(seen) == 5
    assert len({(one.time_cost, one.memory_cost, one.parallelism) for one in seen}) == 1


def test_no_password_and_no_name_gets_into_the_log_or_the_audit(site, caplog):
    Browser(site).sign_in(address(ANN), "a-wrong-password")
    Browser(site, "ada")
    told = caplog.text + repr(site.journal.audit.recent())
    for canary in (address(ANN), "a-wrong-password", PASSWORDS["ada"], "argon2"):
        assert canary not in told


# --- what is done -------------------------------------------------------------------------------------------------


def states(site):
    return {row.number: row.state for row in site.journal.inbox.recent(100)}


def test_an_operator_repeats_an_event_and_sets_one_aside_and_it_is_written_down(site):
    ada = Browser(site, "ada")
    assert states(site)[1] == "done"
    assert ada.post("/inbox/1/replay", source="tiny").headers["Location"] == "/inbox?source=tiny&did=replayed"
    assert states(site)[1] == "waiting"
    assert site.woken
    assert ada.post("/inbox/8/set-aside").headers["Location"] == "/inbox?did=set-aside"
    assert site.journal.inbox.get(8).reason == "set aside by ada"
    assert ada.post("/inbox/999/replay").headers["Location"] == "/inbox?did=unchanged"
    assert [(row.kind, row.detail) for row in site.journal.audit.recent()][::-1] == [
        ("login", {"operator": "ada", "role": "operator"}),
        ("replay", {"operator": "ada", "event": 1}),
        ("set_aside", {"operator": "ada", "event": 8}),
    ]
    assert site.journal.audit.verify() is None
    assert "waits again" in ada.get("/inbox?did=replayed").text


def test_viewers_are_not_offered_what_they_may_not_do(site):
    assert "Set aside" not in Browser(site, "vic").get("/inbox?state=waiting").text.replace("set aside", "")
    assert "/set-aside" in Browser(site, "ada").get("/inbox?state=waiting").text


# --- what is shown ------------------------------------------------------------------------------------------------


def visible(text):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))


def test_the_overview_says_how_much_waits_where(site):
    site.clock.advance(3_600)
    told = visible(Browser(site, "vic").get("/").text)
    assert "Tiny 3 3 1 1 2026-11-20 09:08" in told
    assert "oldest event has waited 4 h" in told
    assert "leave 1 0 0" in told
    assert "the CRM answers 503" in told
    assert "the CRM was told of 1" in told
    assert "tiny nobody vouches for it" in told
    assert "Nothing drains the inbox" not in told


def test_a_worker_that_is_gone_is_said(tmp_path):
    with pages_of(tmp_path, worker_alive=lambda: False) as site:
        assert "Nothing drains the inbox" in Browser(site, "vic").get("/").text


def test_the_inbox_is_shown_by_source_and_state(site):
    vic = Browser(site, "vic")
    assert vic.get("/inbox").text.count('<th scope="row" class="num">') == 8
    aside = vic.get("/inbox?state=set_aside")
    assert aside.text.count('<th scope="row" class="num">') == 1
    assert "cannot be understood" in aside.text
    assert vic.get("/inbox?source=tiny&state=done").text.count('<th scope="row" class="num">') == 3
    for odd in ("?source=nobody", "?state=gone", "?show=-1", "?show=99999", "?show=²", "?did=<script>"):
        assert vic.get(f"/inbox{odd}").status_code == 200
    assert "Show the last 4" in vic.get("/inbox?show=2").text


def test_a_contact_is_explained_clause_by_clause(site):
    told = visible(Browser(site, "ada").get(f"/contacts/{ANN}").text)
    assert "In dormant_30" in told
    assert "inactive_days between 30 and 59 43 holds" in told
    assert "lifetime_value > 900 129.5 does not hold" in told
    assert "dormant_60 not in" in told
    assert "hello day 1 written" in told
    assert "offer day 7 not taken" in told
    assert "permission consent express, from form" in told
    assert "Price 82 % sure" in told
    assert "left win-back: reactivated" in told
    assert "the CRM answers 503" in told
    assert "2026-12-07: enters dormant_60 and leaves dormant_30" in told


def test_the_page_says_what_explain_says(site):
    row = {"inactive_days": 43, "lifetime_value": 129.5, "role": "team_lead"}
    told = visible(Browser(site, "ada").get(f"/contacts/{ANN}").text)
    for segment in tell(site.service.playbook.checked_segments, row):
        for clause in segment.clauses:
            assert clause.text in told
            assert (clause.would_change or "") in told


def test_who_is_measured_is_shown_to_operators_alone(site):
    assert "held out" in Browser(site, "ada").get(f"/contacts/{HELD}").text
    told = Browser(site, "vic").get(f"/contacts/{HELD}").text
    for word in ("held out", "holdout", "on purpose"):
        assert word not in told
    assert "not taken" in told
    ended = site.journal.episodes.of(HELD)[0]
    site.journal.episodes.exit([Exit(ended.episode_id, HELD, "reactivated", NOW)], run_id="run-9")
    assert "held out" in Browser(site, "ada").get(f"/contacts/{HELD}").text
    assert "held out" not in Browser(site, "vic").get(f"/contacts/{HELD}").text


def test_somebody_nobody_knows_is_not_made_up(site):
    for path in ("/contacts/hubspot:nobody", "/contacts/", "/contacts/%3Cscript%3E", "/contacts/a/b/c"):
        answer = Browser(site, "ada").get(path)
        assert answer.status_code == 404
        assert "<script>" not in answer.text


@pytest.mark.parametrize("asked", [ANN, f"  {ANN} ", external_id(ANN), address(ANN), address(ANN).upper()])
def test_somebody_is_found_by_what_one_knows_of_them(site, asked):
    answer = Browser(site, "vic").post("/search", who=asked)
    assert answer.headers["Location"] == f"/contacts/{ANN}"


def test_looking_for_an_address_leaves_no_trace_of_it(site, caplog, tmp_path):
    caplog.set_level("DEBUG")
    for asked in (address(ANN), "somebody.else@example.com"):
        answer = Browser(site, "vic").post("/search", who=asked)
        assert asked not in answer.text
        assert asked not in str(answer.headers)
        assert asked not in caplog.text
        assert all(asked.encode() not in file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("asked", ["", " ", "x" * 5_000, "\x00", "é", "' or 1=1", "@", "a@"])
def test_looking_for_nobody_finds_nobody(site, asked):
    assert Browser(site, "vic").post("/search", who=asked).status_code == 404


def test_pages_work_on_both_databases(tmp_path, journal_url):
    with pages_of(tmp_path, journal_url=journal_url) as site:
        fill(site)
        ada = Browser(site, "ada")
        for path in ("/", "/inbox", f"/contacts/{ANN}", f"/contacts/{HELD}"):
            assert ada.get(path).status_code == 200
        assert ada.get(f"/contacts/{QUIET}").status_code == 200
        assert ada.post("/search", who=QUIET).status_code == 303
        for nobody in ("%00", "x%00y", "é" * 300):
            assert ada.get(f"/contacts/{nobody}").status_code == 404
            assert ada.post("/search", who=unquote(nobody)).status_code == 404
        assert ada.post("/logout").status_code == 303


# --- what strangers cannot do -------------------------------------------------------------------------------------


def test_every_page_carries_its_headers(site):
    browser = Browser(site, "ada")
    for path in ("/", "/inbox", f"/contacts/{ANN}", "/contacts/nobody", "/login", "/style.css"):
        answer = browser.get(path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        if path != "/style.css":
            assert answer.headers["Cache-Control"] == "no-store"
            assert "style-src 'self'; form-action 'self';" in policy


def test_an_error_in_any_view_tells_nobody_anything(site, monkeypatch, caplog):
    browsers = {name: Browser(site, name) for name in ("ada", "vic")}

    def broken(*_, **__):
        raise RuntimeError(f"a secret of {address(ANN)}")

    for part in ("inbox", "outbox", "decisions", "feedback", "known"):
        for name in ("recent", "counts", "get", "of", "contact", "replay", "set_aside"):
            if hasattr(getattr(site.journal, part), name):
                monkeypatch.setattr(getattr(site.journal, part), name, broken)
    form = browsers["ada"].form()
    for endpoint, method, path in routes(site):
        if endpoint in OPEN | {"operators.sign_out"}:
            continue
        answer = browsers["ada"].get(path) if method == "GET" else browsers["ada"].post(path, form=form, who=ANN)
        assert answer.status_code == 500, endpoint
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        machine = browsers["ada"].client.open(path, method=method, base_url=BASE_URL, data={"form": form, "who": ANN})
        assert machine.json["error"] == "internal error"
        assert machine.json["request_id"]
    assert address(ANN) not in caplog.text


def test_a_journal_that_does_not_answer_is_a_clean_no(site, monkeypatch):
    def broken(*_, **__):
        raise StateError("the disk is gone")

    ada = Browser(site, "ada")
    monkeypatch.setattr(site.journal.inbox, "recent", broken)
    answer = ada.get("/inbox")
    assert answer.status_code == 503
    assert "disk" not in answer.text
