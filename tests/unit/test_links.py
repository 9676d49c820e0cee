"""Signed links: what they say, what they keep back, how long they hold, where they lead."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from itsdangerous import URLSafeSerializer

from connector import links
from connector.errors import SettingError
from connector.program import personal

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
KEY, OLD, OTHER = (hashlib.sha256(word).hexdigest() for word in (b"new", b"old", b"other"))
SUBJECTS = hashlib.sha256(b"subjects").digest()
BASE = "https://links.example.com"
CONTACT, CAMPAIGN = "hubspot:4711", "win-back/offer"


def maker(*keys: str | bytes, base: str = BASE, subject_key: bytes = SUBJECTS) -> links.LinkMaker:
    return links.LinkMaker(base, keys=keys or (KEY,), subject_key=subject_key)


def token(action: str = "unsubscribe", *, by: links.LinkMaker | None = None, contact: str = CONTACT) -> str:
    return (by or maker()).token(action, contact, CAMPAIGN, now=NOW)


def payload(made: str) -> dict[str, object]:
    """What anybody can read of a token."""
    body = made.split(".", maxsplit=1)[0]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def signed(what: object, action: str = "unsubscribe", *, keys: tuple[str, ...] = (KEY,), **others) -> str:
    """A token as the requirement spells it, made without our code."""
    kwargs = {"key_derivation": "hmac", "digest_method": hashlib.sha256} | others
    return URLSafeSerializer(list(keys), salt=f"winback.link.v1.{action}", signer_kwargs=kwargs).dumps(what)


@pytest.mark.parametrize("action", links.ACTIONS)
def test_a_link_that_was_made_is_read(action):
    found = maker().read(token(action), now=NOW)
    assert found == links.Link(action, maker().subject(CONTACT), CAMPAIGN)


def test_the_actions_are_those_a_mail_can_merge():
    assert set(links.ACTIONS) == set(personal.ACTIONS)


def test_tokens_are_made_exactly_as_required():
    assert signed({"v": 1, "s": maker().subject(CONTACT), "k": CAMPAIGN}) == token("unsubscribe")
    expires = int((NOW + timedelta(days=90)).timestamp())
    assert signed({"v": 1, "s": maker().subject(CONTACT), "k": CAMPAIGN, "exp": expires}, "snooze") == token("snooze")


def test_a_token_shows_a_version_a_subject_and_a_campaign_and_no_person():
    for action in links.ACTIONS:
        shown = payload(token(action, contact="hubspot:4711"))
        assert set(shown) == {"v", "s", "k"} | ({"exp"} if action in ("return", "snooze") else set())
        assert "4711" not in json.dumps(shown) and "hubspot" not in json.dumps(shown)
        assert "@" not in json.dumps(shown)


def test_a_subject_is_always_the_same_different_for_everybody_and_unguessable_without_the_key():
    subjects = {maker().subject(f"hubspot:{number}") for number in range(10_000)}
    assert len(subjects) == 10_000
    assert all(len(subject) == 32 and subject.isalnum() and subject == subject.lower() for subject in subjects)
    assert maker(OTHER).subject(CONTACT) == maker().subject(CONTACT)
    assert maker(subject_key=SUBJECTS[::-1]).subject(CONTACT) != maker().subject(CONTACT)


@pytest.mark.parametrize("made_for", links.ACTIONS)
@pytest.mark.parametrize("asked", links.ACTIONS)
def test_a_token_of_one_action_is_refused_by_another(made_for, asked):
    found = maker().read(token(made_for), now=NOW, action=asked)
    assert (found is not None) is (made_for == asked)


def test_a_key_that_was_replaced_is_still_read_and_no_longer_signs():
    before = token(by=maker(OLD))
    rotated = maker(KEY, OLD)
    assert rotated.read(before, now=NOW) is not None
    assert maker(KEY).read(before, now=NOW) is None
    assert maker(KEY).read(token(by=rotated), now=NOW) is not None
    assert maker(OLD).read(token(by=rotated), now=NOW) is None


@pytest.mark.parametrize("action", links.ACTIONS)
def test_unsubscribing_never_expires_and_coming_back_does_after_ninety_days(action):
    made = token(action)
    assert maker().read(made, now=NOW + timedelta(days=90, seconds=-1)) is not None
    for later in (timedelta(days=90), timedelta(days=400), timedelta(days=36_500)):
        assert (maker().read(made, now=NOW + later) is not None) is (action in ("unsubscribe", "preferences"))


def test_a_surveys_token_says_who_answers_for_good_and_opens_no_link():
    made = token("survey")
    assert set(payload(made)) == {"v", "s", "k"}
    for later in (timedelta(), timedelta(days=401), timedelta(days=36_500)):
        found = maker().read(made, now=NOW + later, action="survey")
        assert found == links.Link("survey", maker().subject(CONTACT), CAMPAIGN)
    assert maker().read(made, now=NOW) is None
    assert all(maker().read(made, now=NOW, action=action) is None for action in links.ACTIONS)
    assert all(maker().read(token(action), now=NOW, action="survey") is None for action in links.ACTIONS)
    assert links.SURVEY == personal.SURVEY


def test_the_lifetime_is_the_playbooks():
    short = links.LinkMaker(BASE, keys=[KEY], subject_key=SUBJECTS, lifetime=timedelta(days=7))
    assert short.read(token("return", by=short), now=NOW + timedelta(days=6)) is not None
    assert short.read(token("return", by=short), now=NOW + timedelta(days=7)) is None


def test_bad_expired_foreign_and_unknown_tokens_cannot_be_told_apart():
    good = token("return")
    answers = [
        maker().read("garbage", now=NOW),
        maker().read(good[:-2], now=NOW),
        maker().read(good, now=NOW + timedelta(days=400)),
        maker().read(token(by=maker(OTHER)), now=NOW),
        maker().read(signed({"v": 1, "s": "x", "k": "y"}, "delete"), now=NOW),
    ]
    assert answers == [None] * len(answers)


def test_every_single_changed_sign_is_noticed():
    good = token()
    for place, sign in enumerate(good):
        changed = good[:place] + ("A" if sign != "A" else "B") + good[place + 1 :]
        found = maker().read(changed, now=NOW)
        # The last sign of base64 may carry spare bits: then the token is the same, never another.
        assert found is None or (place == len(good) - 1 and found == maker().read(good, now=NOW))


@pytest.mark.parametrize(
    "what",
    [
        {"v": 2, "s": "a", "k": "b"}, {"s": "a", "k": "b"}, {"v": 1, "k": "b"}, {"v": 1, "s": "a"}, {"v": 1, "s": 7, "k": "b"},
        {"v": 1, "s": "a", "k": None}, ["v", 1], "text", 1, None, {},
    ],
)  # fmt: skip
def test_what_is_signed_but_not_a_link_of_ours_is_refused(what):
    assert maker().read(signed(what), now=NOW) is None


@pytest.mark.parametrize("expires", [None, "2099-01-01", 1e12, [1]])
def test_a_link_to_come_back_without_a_proper_end_is_refused(expires):
    what = {"v": 1, "s": "a", "k": "b"} | ({"exp": expires} if expires is not None else {})
    assert maker().read(signed(what, "return"), now=NOW) is None


@pytest.mark.parametrize("others", [{"digest_method": hashlib.sha1}, {"key_derivation": "django-concat"}])
def test_a_weaker_signature_with_the_right_key_is_refused(others):
    assert maker().read(signed({"v": 1, "s": "a", "k": "b"}, **others), now=NOW) is None


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", "\x00", "ü.ü", "=" * 50, "a" * 10**6, "." * 10**6, "%2e", "eyJ2IjoxfQ"]
)
def test_whatever_stands_in_the_address_is_read_without_a_fault(text):
    assert maker().read(text, now=NOW) is None


def test_a_compressed_bomb_is_not_unpacked():
    made = signed({"v": 1, "s": "a", "k": "b" * 10_000_000})
    assert made.startswith(".") and len(made) > 1_000
    assert maker().read(made, now=NOW) is None


def test_a_token_longer_than_any_of_ours_is_refused_unread():
    longest = links.LinkMaker(BASE, keys=[KEY], subject_key=SUBJECTS).token("return", CONTACT, "\u20ac" * 200, now=NOW)
    assert maker().read(longest, now=NOW) is not None
    noise = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(40))
    assert maker().read(signed({"v": 1, "s": "a", "k": noise}), now=NOW) is None


# --- addresses ---


def test_a_url_is_the_playbooks_base_and_the_token():
    made = maker().url("return", CONTACT, CAMPAIGN, now=NOW)
    assert made == f"{BASE}/l/{token('return')}"
    parts = urlsplit(made)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "links.example.com", "", "")


def test_a_base_may_have_a_path_and_a_slash_behind():
    assert (
        maker(base="https://example.com/w/")
        .url("snooze", CONTACT, CAMPAIGN, now=NOW)
        .startswith("https://example.com/w/l/")
    )


def test_a_destination_travels_by_name():
    assert maker().url("return", CONTACT, CAMPAIGN, now=NOW, dest="pricing").endswith("?dest=pricing")
    assert maker().url("return", CONTACT, CAMPAIGN, now=NOW, dest="a&b=//c").endswith("?dest=a%26b%3D%2F%2Fc")


def test_all_links_of_a_mail_are_made_at_once():
    made = maker().links(CONTACT, CAMPAIGN, now=NOW)
    assert set(made) == set(links.ACTIONS)
    for action, url in made.items():
        found = maker().read(url.rsplit("/", 1)[1], now=NOW, action=action)
        assert found is not None and found.subject == maker().subject(CONTACT)


def test_the_same_link_made_twice_is_the_same():
    assert maker().links(CONTACT, CAMPAIGN, now=NOW) == maker().links(CONTACT, CAMPAIGN, now=NOW)


@pytest.mark.parametrize(
    "base",
    [
        "", "links.example.com", "//links.example.com", "http://links.example.com", "ftp://links.example.com",
        "https://", "https://user:pw@links.example.com", "https://user@links.example.com", "https://links.example.com/?a=b", "https://links.example.com/#x",
        "https://links.example.com /", "https://links.example.com\r\nX: y", "https://links.example.com:x",
        "javascript:alert(1)", "https://lïnks.example.com", "https:\\\\links.example.com", "https://[::1", "https://a:0",
    ],
)  # fmt: skip
def test_a_base_that_is_no_safe_address_is_refused(base):
    with pytest.raises(SettingError, match=r"^links\.public_base_url: "):
        maker(base=base)


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080", "http://a.localhost"]
)
def test_a_rehearsal_on_this_machine_needs_no_certificate(base):
    assert maker(base=base).url("return", CONTACT, CAMPAIGN, now=NOW).startswith(f"{base}/l/")


@pytest.mark.parametrize(
    "key", ["", "pw4711", "x" * 31, "x" * 64, b"\0" * 32, "abcabcabcabcabcabcabcabcabcabcabcabc"]
)  # fmt: skip
def test_a_key_that_could_be_guessed_is_refused_without_showing_it(key):
    with pytest.raises(SettingError, match=r"^keys\.links\[1\]: too short or too plain") as caught:
        maker(KEY, key)
    assert not key or str(key) not in f"{caught.value}{caught.value.hint}"


def test_links_need_a_key_and_the_subjects_one_too():
    with pytest.raises(SettingError, match="no key to sign links with"):
        links.LinkMaker(BASE, keys=[], subject_key=SUBJECTS)
    with pytest.raises(SettingError, match="the journal's key for link subjects"):
        maker(subject_key=b"short")


def test_random_bytes_are_a_key():
    assert maker(hashlib.sha256(b"x").digest()).read(token(), now=NOW) is None


def test_the_maker_does_not_show_its_keys():
    shown = f"{maker()!r} {maker()}"
    assert KEY not in shown and repr(SUBJECTS) not in shown


@pytest.mark.parametrize("campaign", ["someone@example.com", "x" * 201])
def test_a_campaign_that_would_tell_who_it_is_is_refused(campaign):
    with pytest.raises(SettingError, match="the campaign goes into every link") as caught:
        maker().token("return", CONTACT, campaign, now=NOW)
    assert campaign not in str(caught.value)


def test_an_action_that_there_is_not_is_refused():
    with pytest.raises(SettingError, match="no link action 'delete'"):
        maker().token("delete", CONTACT, CAMPAIGN, now=NOW)


# --- destinations ---

PAGES = {"home": "https://app.example.com/", "pricing": "https://example.com/pricing?x=1#top"}


def test_a_name_leads_to_its_address_and_no_name_to_the_first():
    pages = links.Destinations(PAGES)
    assert pages.resolve("pricing") == PAGES["pricing"]
    assert pages.resolve(None) == PAGES["home"]
    assert links.Destinations(PAGES, default="pricing").resolve(None) == PAGES["pricing"]


@pytest.mark.parametrize(
    "asked",
    [
        "https://evil", "//evil", "/\\evil", "\\\\evil", "javascript:alert(1)", "data:text/html,x", "pricing\r\nLocation: //evil",
        "pricing\n", " pricing", "Pricing", "pricing/../x", "", "home?x", "https://app.example.com.evil/", "%70ricing",
    ],
)  # fmt: skip
def test_anything_but_a_name_leads_to_the_default(asked):
    assert links.Destinations(PAGES).resolve(asked) == PAGES["home"]


@pytest.mark.parametrize(
    "url", ["http://example.com", "//example.com", "javascript:alert(1)", "https://a\r\nb", "/pricing"]
)
def test_a_destination_that_is_no_safe_address_is_refused(url):
    with pytest.raises(SettingError, match=r"^links\.destinations\.pricing: "):
        links.Destinations({"home": "https://a.example.com", "pricing": url})


def test_destinations_need_a_page_and_a_default_that_is_there():
    with pytest.raises(SettingError, match="names no page"):
        links.Destinations({})
    with pytest.raises(SettingError, match=r"no destination 'prices'") as caught:
        links.Destinations(PAGES, default="prices")
    assert caught.value.hint == "destinations: home, pricing"
