"""Signing in at an OpenID Connect provider: what is believed of whom, and that nobody else gets in."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from connector.errors import SettingError
from connector.location import PlaybookError
from connector.redact import redact
from connector.settings import load_playbook
from connector.settings.webhook_blocks import OidcBlock, OidcRoles
from tests.fakes.browsing import fill
from tests.fakes.hearing import KEYS
from tests.fakes.http_server import Said
from tests.fakes.incoming import BASE_URL
from tests.fakes.oidc_provider import ACCESS, CLIENT, CLIENT_SECRET, key, providing, unsigned
from tests.fakes.pages import PASSWORDS, PLAYBOOK, hashed, pages_of, usual_playbook
from tests.fakes.tiny_adapters import ADAPTERS
from webhooks import operators as desk
from webhooks import pages
from webhooks.app import create_app
from webhooks.oidc import SORRY, role_of

ADA = {"sub": "u-1", "name": "Ada Example", "email": "Ada@acme.example", "email_verified": True}
VIC = {"sub": "u-2", "name": "Vic Example", "email": "vic@acme.example", "email_verified": True}
EVE = {"sub": "u-3", "name": "Eve Canary", "email": "eve@canary.example", "email_verified": True}
ROLES = OidcRoles(viewer=("*@acme.example",), operator=("ada@acme.example",))


@pytest.fixture
def provider():
    with providing() as provider:
        provider.person = dict(ADA)
        yield provider


def block(provider, roles=ROLES):
    return OidcBlock(issuer=provider.issuer, client_id=CLIENT, client_secret=CLIENT_SECRET, roles=roles)


def with_block(playbook, oidc, **more):
    return playbook.model_copy(update={"webhooks": playbook.webhooks.model_copy(update={"oidc": oidc, **more})})


@pytest.fixture
def site(tmp_path, provider):
    with pages_of(tmp_path, playbook=with_block(usual_playbook(), block(provider))) as site:
        provider.clock = site.clock
        yield site


def changed(site, oidc, **more):
    """The same site with another block."""
    service = replace(site.service, playbook=with_block(site.service.playbook, oidc, **more))
    return replace(site, app=create_app(service, blueprints=(pages.blueprint, lambda s: desk.blueprint(s, keys=KEYS))))


class Browser:
    """A browser of somebody."""

    def __init__(self, site) -> None:
        self.client = site.app.test_client()

    def get(self, path, base_url=BASE_URL):
        return self.client.get(path, base_url=base_url, headers={"Accept": "text/html"})

    def post(self, path, **fields):
        form = re.search(r'name="form" value="([^"]+)"', self.get("/inbox").text or "")
        form = form or re.search(r'name="form" value="([^"]+)"', self.get("/login").text)
        return self.client.post(path, base_url=BASE_URL, data={**fields, "form": form[1]})

    def begin(self, path="/login/oidc"):
        """The address at the provider."""
        answer = self.get(path)
        assert answer.status_code == 303
        return answer.headers["Location"]

    def sign_in(self, provider, path="/login/oidc"):
        """Where signing in at the provider leads to."""
        return self.arrive(provider.sign_in(self.begin(path)))

    def arrive(self, url):
        answer = self.get(url.removeprefix(BASE_URL))
        assert answer.status_code == 303
        return answer.headers["Location"]

    @property
    def cookie(self):
        return self.client.get_cookie("__Host-winback", domain="winback.example.com").value


def logins(site):
    return [row.detail for row in site.journal.audit.recent() if row.kind == "login"]


def refused(site, provider, kind, caplog):
    """Whether signing in leads to the login page, which says why, and nowhere else."""
    browser = Browser(site)
    assert browser.sign_in(provider) == f"/login?sorry={kind}"
    assert SORRY[kind] in browser.get(f"/login?sorry={kind}").text
    assert browser.get("/").status_code == 303
    assert logins(site) == []
    told = caplog.text
    assert "could not sign in" in told
    for canary in ("canary", "@", "eyJ", ACCESS, CLIENT_SECRET, "code="):
        assert canary not in told
    return redact(told)


# --- who gets in --------------------------------------------------------------------------------------------------


def test_whoever_the_provider_vouches_for_is_signed_in_with_the_role_of_the_playbook(site, provider):
    fill(site)
    browser = Browser(site)
    page = browser.get("/login?next=/contacts/hubspot:1")
    link = re.search(r'<a class="button" href="([^"]+)">Sign in with ([^<]+)</a>', page.text)
    assert link[2] == provider.issuer.removeprefix("http://")
    form = re.search(r'name="form" value="([^"]+)"', page.text)[1]
    assert browser.sign_in(provider, link[1]) == "/contacts/hubspot:1"
    assert browser.client.post("/inbox/1/replay", base_url=BASE_URL, data={"form": form}).status_code == 403
    home = browser.get("/")
    assert home.status_code == 200
    assert "Ada Example, operator" in home.text
    assert browser.post("/inbox/1/replay").headers["Location"] == "/inbox?did=replayed"
    assert logins(site) == [{"operator": "oidc:u-1", "role": "operator", "by": provider.issuer[7:]}]
    assert next(row.detail for row in site.journal.audit.recent() if row.kind == "replay")["operator"] == "oidc:u-1"


def test_a_viewer_sees_and_does_what_viewers_do(site, provider):
    fill(site)
    provider.person = VIC
    browser = Browser(site)
    assert browser.sign_in(provider) == "/"
    assert "Vic Example, viewer" in browser.get("/").text
    assert browser.post("/inbox/1/replay").status_code == 403
    assert browser.post("/inbox/8/set-aside").status_code == 403
    assert "/set-aside" not in browser.get("/inbox?state=waiting").text


def test_what_is_asked_for_is_a_code_with_a_challenge_and_nothing_of_the_request(site, provider):
    browser = Browser(site)
    answer = browser.get("/login/oidc", base_url="https://localhost:8443")
    asked = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert asked["redirect_uri"] == ["https://winback.example.com/login/oidc/callback"]
    assert (asked["response_type"], asked["scope"]) == (["code"], ["openid email"])
    assert asked["code_challenge_method"] == ["S256"]
    again = parse_qs(urlsplit(browser.begin()).query)
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name][0]) >= 43
        assert asked[name] != again[name]


def test_nobody_without_a_role_gets_in(site, provider, caplog):
    provider.person = EVE
    assert "webhooks.oidc.roles" in refused(site, provider, "role", caplog)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        (ADA, "operator"),
        (VIC, "viewer"),
        (EVE, None),
        ({**ADA, "email_verified": False}, None),
        ({**ADA, "email_verified": "true"}, None),
        ({"sub": "u", "email": "ada@acme.example"}, None),
        ({**VIC, "email": "vic@acme.example.evil.example"}, None),
        ({**VIC, "email": "vic@evil.example@acme.example"}, None),
        ({**VIC, "email": "@acme.example"}, None),
        ({**VIC, "email": "*@acme.example"}, "viewer"),
        ({**ADA, "email": "ad\u0430@acme.example"}, None),  # a Cyrillic letter
        ({**VIC, "email": "vic@acme.exam\u212ale"}, None),
        ({**ADA, "email": None}, None),
        ({**ADA, "email": {"ada@acme.example": 1}}, None),
    ],
)
def test_an_address_counts_as_the_provider_has_verified_it(claims, role):
    assert role_of(ROLES, claims) == role


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("groups", {"groups": ["support", "other"]}, "viewer"),
        ("groups", {"groups": ["support", "revops"]}, "operator"),
        ("groups", {"groups": "revops"}, "operator"),
        ("groups", {"groups": ["RevOps", "revops "]}, None),
        ("groups", {"groups": [["revops"], 1, None]}, None),
        ("groups", {}, None),
        ("realm_access.roles", {"realm_access": {"roles": ["revops"]}}, "operator"),
        ("realm_access.roles", {"realm_access": "roles"}, None),
        ("https://acme.example/roles", {"https://acme.example/roles": ["support"]}, "viewer"),
    ],
)
def test_a_role_can_follow_from_any_claim(claim, claims, role):
    assert role_of(OidcRoles(claim=claim, viewer=("support",), operator=("revops",)), claims) == role


# --- what is not believed -----------------------------------------------------------------------------------------


def claiming(**other):
    return lambda provider: provider.person.update(other)


def forging(make):
    def lie(provider):
        provider.forge = lambda header, claims: make(provider, header, claims)

    return lie


def public(provider):
    return provider.key.as_pem(private=False)


LIES = {
    "wrong nonce": (claiming(nonce="another"), "InvalidClaimError (nonce)"),
    "no nonce": (claiming(nonce=None), "(nonce)"),
    "wrong issuer": (claiming(iss="https://canary.example"), "InvalidClaimError (iss)"),
    "wrong audience": (claiming(aud="canary"), "InvalidClaimError (aud)"),
    "for another one too": (claiming(aud=[CLIENT, "canary"], azp="canary"), "(azp)"),
    "expired": (claiming(exp=1), "ExpiredTokenError"),
    "without an end": (claiming(exp=None), "(exp)"),
    "of tomorrow": (claiming(iat=2_000_000_000, exp=2_000_000_300), "(iat)"),
    "nobody's": (claiming(sub=""), "is nobody's"),
    "no string": (claiming(sub=["u-1"]), "(sub)"),
    "wrong access token": (claiming(at_hash="canary"), "(at_hash)"),
    "alg none": (forging(lambda _, header, claims: unsigned({**header, "alg": "none"}, claims)), "Algorithm"),
    "HS256 with the public key": (
        forging(lambda at, header, claims: unsigned({**header, "alg": "HS256"}, claims, public(at))),
        "Algorithm",
    ),
    "no signature": (forging(lambda _, header, claims: unsigned(header, claims)), "BadSignatureError"),
    "another key of this name": (
        forging(lambda at, header, claims: at.signed(header, claims, by=key("other"))),
        "BadSignatureError",
    ),
    "rubbish": (forging(lambda *_: "canary"), "DecodeError"),
    "no text": (forging(lambda *_: 7), "no id token"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_id_token_that_is_not_for_us_now_signs_nobody_in(site, provider, caplog, lie):
    tell, why = LIES[lie]
    tell(provider)
    assert why in refused(site, provider, "untrue", caplog)


def test_a_secret_key_in_the_key_set_signs_nothing(site, provider, caplog):
    provider.instead["/keys"] = Said(body={"keys": [{"kty": "oct", "kid": "one", "k": "Y2FuYXJ5"}]})
    refused(site, provider, "untrue", caplog)


def test_elliptic_curves_are_believed_too(site, provider):
    provider.key, provider.algorithm = key("curve", "EC"), "ES256"
    assert Browser(site).sign_in(provider) == "/"


# --- that it is the same browser ----------------------------------------------------------------------------------


def test_only_the_browser_that_was_sent_there_can_come_back(site, provider):
    mine, other = Browser(site), Browser(site)
    back = provider.sign_in(mine.begin())
    other.get("/login")
    assert other.arrive(back) == "/login?sorry=late"
    for state in ("", "x", "x.y", "é", "x" * 3_000):
        assert mine.arrive(f"/login/oidc/callback?code=canary&state={state}") == "/login?sorry=late"
    assert provider.asked("/token") == []
    assert mine.arrive(back) == "/"
    assert other.get("/").status_code == 303


def test_who_comes_back_after_ten_minutes_has_to_begin_again(site, provider):
    browser = Browser(site)
    back = provider.sign_in(browser.begin())
    site.clock.advance(600)
    assert browser.arrive(back) == "/login?sorry=late"


def test_coming_back_a_second_time_signs_nobody_in_and_nobody_out(site, provider):
    browser = Browser(site)
    back = provider.sign_in(browser.begin())
    assert browser.arrive(back) == "/"
    assert browser.arrive(back) == "/login?sorry=late"
    assert browser.get("/").status_code == 200
    assert len(provider.asked("/token")) == 1


def test_who_was_sent_by_another_provider_or_without_a_code_is_not_signed_in(site, provider):
    for change in (("iss=", "iss=https://evil.example&was="), ("code=", "error=access_denied&was=")):
        browser = Browser(site)
        back = provider.sign_in(browser.begin())
        kind = "untrue" if "iss" in change[0] else "refused"
        assert browser.arrive(back.replace(*change)) == f"/login?sorry={kind}"
        assert browser.arrive(back) == "/login?sorry=late"
    assert provider.asked("/token") == []


def test_a_code_the_provider_does_not_take_signs_nobody_in(site, provider, caplog):
    browser = Browser(site)
    back = provider.sign_in(browser.begin("/login/oidc?next=/inbox"))
    provider.codes.clear()
    assert browser.arrive(back) == "/login?next=/inbox&sorry=refused"
    assert "invalid_grant" in caplog.text
    assert "canary" not in caplog.text


def test_who_fails_too_often_has_to_wait(site, provider):
    provider.person = EVE
    assert [Browser(site).sign_in(provider) for _ in range(21)] == ["/login?sorry=role"] * 20 + ["/login?sorry=busy"]
    assert len(provider.asked("/token")) == 20


@pytest.mark.parametrize("following", ["https://evil.example", "//evil.example", "/login", "javascript:x"])
def test_signing_in_leads_nowhere_else(site, provider, following):
    assert Browser(site).sign_in(provider, f"/login/oidc?next={following}") == "/"


# --- what is asked of the provider --------------------------------------------------------------------------------


def test_what_the_provider_says_of_itself_is_kept_for_an_hour(site, provider):
    for _ in range(3):
        assert Browser(site).sign_in(provider) == "/"
    asked = [len(provider.asked(path)) for path in ("/.well-known/openid-configuration", "/keys", "/token")]
    assert asked == [1, 1, 3]
    site.clock.advance(3_600)
    assert Browser(site).sign_in(provider) == "/"
    assert len(provider.asked("/.well-known/openid-configuration")) == len(provider.asked("/keys")) == 2


def test_a_key_nobody_has_heard_of_is_asked_for_once(site, provider):
    assert Browser(site).sign_in(provider) == "/"
    provider.key = key("two")
    assert Browser(site).sign_in(provider) == "/"
    assert len(provider.asked("/keys")) == 2
    provider.published = [key("one"), key("two")]
    provider.key = key("other")
    assert Browser(site).sign_in(provider) == "/login?sorry=untrue"
    assert len(provider.asked("/keys")) == 3


def test_what_the_id_token_leaves_out_is_asked_for_and_has_to_be_of_the_same_person(site, provider):
    provider.person, provider.told = {"sub": "u-1"}, dict(ADA)
    browser = Browser(site)
    assert browser.sign_in(provider) == "/"
    assert "Ada Example, operator" in browser.get("/").text
    provider.person["email"], provider.told["email"] = "ada@acme.example", EVE["email"]
    assert Browser(site).sign_in(provider) == "/login?sorry=role"
    provider.told["sub"] = "u-2"
    assert Browser(site).sign_in(provider) == "/login?sorry=untrue"
    provider.document["userinfo_endpoint"] = None
    site.clock.advance(3_600)
    assert Browser(site).sign_in(provider) == "/login?sorry=role"


AWAY = {
    "an error": Said(503, body={"issuer": "canary"}),
    "nothing": Said(silent=True),
    "no JSON": Said(body=b"<canary>"),
    "no object": Said(body=["canary"]),
    "elsewhere": Said(302, headers={"Location": "/userinfo"}),
}


@pytest.mark.parametrize("said", AWAY)
@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
def test_a_provider_that_is_away_is_said_to_be_and_comes_back(site, provider, caplog, said, path):
    provider.instead[path] = AWAY[said]
    browser = Browser(site)
    answer = browser.get("/login/oidc").headers["Location"]
    if path == "/keys":
        answer = browser.arrive(provider.sign_in(answer))
    assert answer == "/login?sorry=away"
    assert provider.asked("/userinfo") == []
    assert "canary" not in caplog.text
    provider.instead.clear()
    assert browser.sign_in(provider) == "/"


@pytest.mark.parametrize("said", AWAY)
def test_a_token_endpoint_that_answers_something_else_signs_nobody_in(site, provider, caplog, said):
    provider.instead["/token"] = AWAY[said]
    browser = Browser(site)
    assert browser.sign_in(provider) in {"/login?sorry=away", "/login?sorry=untrue", "/login?sorry=refused"}
    assert browser.get("/").status_code == 303
    assert provider.asked("/userinfo") == []
    assert "canary" not in caplog.text


def test_where_nobody_listens_the_password_still_works(site, provider):
    gone = changed(site, block(provider).model_copy(update={"issuer": "http://127.0.0.1:9"}))
    browser = Browser(gone)
    assert browser.get("/login/oidc").headers["Location"] == "/login?sorry=away"
    assert browser.post("/login", name="ada", password=PASSWORDS["ada"]).headers["Location"] == "/"
    assert "ada, operator" in browser.get("/").text


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://id.canary.example"},
        {"token_endpoint": "http://id.canary.example/token"},
        {"jwks_uri": "file:///canary"},
        {"authorization_endpoint": "javascript:canary"},
        {"authorization_endpoint": None},
    ],
)
def test_a_document_of_somebody_else_or_with_odd_addresses_is_not_believed(site, provider, document, caplog):
    provider.document = document
    assert Browser(site).get("/login/oidc").headers["Location"] == "/login?sorry=untrue"
    assert "canary" not in caplog.text


# --- sessions -----------------------------------------------------------------------------------------------------


def test_signing_out_ends_every_copy_of_the_session(site, provider):
    browser, elsewhere = Browser(site), Browser(site)
    assert browser.sign_in(provider) == elsewhere.sign_in(provider) == "/"
    thief = Browser(site)
    thief.client.set_cookie("__Host-winback", browser.cookie, domain="winback.example.com", secure=True)
    assert thief.get("/").status_code == 200
    site.clock.advance(1)
    assert browser.post("/logout").headers["Location"] == "/login"
    assert {one.get("/").status_code for one in (browser, elsewhere, thief)} == {303}
    assert Browser(site).sign_in(provider) == "/"


def test_what_the_playbook_says_of_the_provider_holds_from_the_next_request_on(site, provider):
    browser = Browser(site)
    assert browser.sign_in(provider) == "/"
    for oidc, status in (
        (block(provider), 200),
        (block(provider, OidcRoles(viewer=("*@acme.example",))), 303),
        (None, 303),
    ):
        later = Browser(changed(site, oidc))
        later.client.set_cookie("__Host-winback", browser.cookie, domain="winback.example.com", secure=True)
        assert later.get("/").status_code == status


def test_an_id_that_is_an_address_is_written_down_as_a_mark(site, provider):
    provider.person["sub"] = "ada@canary.example"
    browser = Browser(site)
    assert browser.sign_in(provider) == "/"
    (login,) = logins(site)
    assert re.fullmatch(r"oidc:[\w-]{16}", login["operator"])


def test_without_operators_of_its_own_a_playbook_asks_for_no_password(site, provider):
    browser = Browser(changed(site, block(provider), operators={}))
    page = browser.get("/login")
    assert 'type="password"' not in page.text
    assert "Nobody may sign in yet" not in page.text
    assert browser.sign_in(provider) == "/"
    both = Browser(site).get("/login").text
    assert 'type="password"' in both
    assert "Sign in with" in both


def test_the_login_page_stays_as_closed_as_before_and_needs_no_script(site):
    page = Browser(site).get("/login")
    assert "<script" not in page.text
    assert page.headers["Content-Security-Policy"] == pages.ONLY_OURS.format(forms="'self'")


def test_without_a_provider_there_is_no_way_to_one(site):
    browser = Browser(changed(site, None))
    assert "Sign in with" not in browser.get("/login").text
    assert browser.get("/login/oidc").status_code == 404


# --- the playbook -------------------------------------------------------------------------------------------------


def test_without_the_library_the_extra_is_named(site, provider, monkeypatch):
    monkeypatch.setitem(sys.modules, "authlib", None)
    with pytest.raises(SettingError, match=r"webhooks\.oidc") as raised:
        changed(site, block(provider))
    assert raised.value.hint == "install winback[oidc]"


GOOD = {
    "issuer": "https://id.acme.example",
    "client_id": "winback",
    "client_secret": '"${OIDC_SECRET}"',
    "roles": '{viewer: ["*@acme.example"], operator: [ada@acme.example]}',
}


def loaded(tmp_path, secret=CLIENT_SECRET, **keys):
    lines = "".join(f"    {name}: {value}\n" for name, value in {**GOOD, **keys}.items() if value is not None)
    file = tmp_path / "winback.yaml"
    file.write_text(PLAYBOOK.format(base=BASE_URL, account="acme") + "  oidc:\n" + lines)
    environ = {"CRM_TOKEN": "token-token-token", "ADA": hashed("a"), "VIC": hashed("b"), "OIDC_SECRET": secret}
    return load_playbook(file, environ=environ, adapters=ADAPTERS, receivers={})


def test_the_block_is_read_from_the_playbook(tmp_path):
    oidc = loaded(tmp_path).webhooks.oidc
    assert oidc.client_secret.get_secret_value() == CLIENT_SECRET
    assert CLIENT_SECRET not in repr(oidc)
    assert oidc.roles == ROLES


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"issuer": "http://id.acme.example"}, "https://"),
        ({"issuer": "https://id.acme.example?x=1"}, "before any"),
        ({"client_id": '""'}, "client_id"),
        ({"client_secret": None}, "client_secret"),
        ({"client_secret": "canary-in-the-open"}, "client_secret"),
        ({"secret": ""}, "empty"),
        ({"roles": None}, "roles"),
        ({"roles": "{}"}, "lets nobody in"),
        ({"roles": "{viewer: []}"}, "lets nobody in"),
        ({"roles": '{viewer: ["*"]}'}, "no address"),
        ({"roles": '{viewer: ["canary@*"]}'}, "no address"),
        ({"roles": "{viewer: [everybody]}"}, "no address"),
        ({"roles": '{claim: groups, viewer: ["*"]}'}, "name each value"),
        ({"roles": "{admin: [ada@acme.example]}"}, "admin"),
    ],
)
def test_a_block_that_would_let_in_nobody_or_everybody_is_refused(tmp_path, keys, said):
    with pytest.raises(PlaybookError) as raised:
        loaded(tmp_path, **keys)
    assert said in str(raised.value)
    assert "canary" not in str(raised.value)
