"""Every vendor's signature: the known answers, and every way to get it nearly right."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.receivers import Verdict
from tests.fakes.incoming import NOW, incoming, requests
from webhooks import signatures

VECTORS = {
    vector["id"]: vector
    for vector in json.loads((Path(__file__).parents[1] / "fixtures/signatures/vectors.json").read_text())
}
URL = "https://winback.example.com/webhooks/hubspot"
SECRET = "winback-test-client-secret-0001"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"example_field":"example_value"}'


def at(millis: str | int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(millis))


def flipped(body: bytes) -> bytes:
    return bytes([body[0] ^ 1]) + body[1:]


def vectors(scheme: str) -> list[str]:
    return sorted(name for name, vector in VECTORS.items() if vector["scheme"] == scheme)


@pytest.mark.parametrize("name", vectors("hubspot-v3"))
def test_hubspots_third_version_has_the_known_answer(name):
    vector = VECTORS[name]
    sent_url = vector.get("raw_uri", vector["uri"])
    signature = signatures.hubspot_v3(
        vector["secret"], vector["method"], sent_url, vector["body"].encode(), vector["ts"]
    )
    assert signature == vector["sig"]
    assert signature != vector.get("must_not_match")
    request = incoming(
        vector["body"],
        {"X-HubSpot-Signature-v3": vector["sig"], "X-HubSpot-Request-Timestamp": vector["ts"]},
        url=sent_url,
        now=at(vector["ts"]),
    )
    assert signatures.verify_hubspot(request, [vector["secret"]]) == Verdict(True, scheme="hubspot-v3")


@pytest.mark.parametrize("name", vectors("hubspot-v2"))
def test_hubspots_second_version_has_the_known_answer(name):
    vector = VECTORS[name]
    body = vector["body"].encode()
    assert signatures.hubspot_v2(vector["secret"], vector["method"], vector["uri"], body) == vector["sig"]
    request = incoming(
        body,
        {"X-HubSpot-Signature": vector["sig"], "X-HubSpot-Signature-Version": "v2"},
        url=vector["uri"],
        method=vector["method"],
    )
    assert signatures.verify_hubspot(request, [vector["secret"]], action=True).ok


def test_hubspots_first_version_has_the_known_answer():
    vector = VECTORS["hs-v1"]
    assert signatures.hubspot_v1(vector["secret"], vector["body"].encode()) == vector["sig"]


@pytest.mark.parametrize("name", vectors("typeform"))
def test_typeforms_signature_has_the_known_answer(name):
    vector = VECTORS[name]
    assert signatures.typeform(vector["secret"], vector["body"].encode()) == vector["sig"]
    if "same_body_plus_newline" in vector:
        longer = (vector["body"] + "\n").encode()
        assert signatures.typeform(vector["secret"], longer) == vector["same_body_plus_newline"]


def test_surveymonkeys_signature_has_the_known_answer():
    vector = VECTORS["sm-1"]
    signature = signatures.surveymonkey(vector["client_id"], vector["client_secret"], vector["body"].encode())
    assert signature == vector["sig"]


def test_mailchimps_signature_has_the_known_answer():
    body = b"type=unsubscribe&fired_at=2026-11-01+10%3A00%3A00&data%5Bemail%5D=ada%40example.com"
    assert signatures.sign_timed("mc-secret", body, NOW) == (
        "t=1793527200,v1=617a8130407582c9fd9d178c9af0d31dcb71d43337d7b1b5297e90f6e33ae565"
    )


def test_stripes_signature_has_the_known_answer():
    body = b'{"id":"evt_1","type":"invoice.paid"}'
    assert signatures.sign_timed("whsec_test", body, NOW) == (
        "t=1793527200,v1=20ad2b2592072bbada5243979b55e89e4a3233f1c6b366c89f658397e70cce3b"
    )


def test_segments_signature_has_the_known_answer():
    body = b'{"type":"track","event":"Login","userId":"u1"}'
    assert signatures.segment("shh", body) == "412c61a55a8c7abc93f12f1db9164738a6d8d7a8"


def test_the_standards_signature_has_the_known_answer():
    vector = VECTORS["sw-1"]
    signature = signatures.standard(vector["secret"], vector["msg_id"], vector["ts"], vector["body"].encode())
    assert signature == vector["sig"]


def test_the_standards_own_library_signs_and_believes_as_we_do():
    standardwebhooks = pytest.importorskip("standardwebhooks", reason="the standard's library is not installed")
    library = standardwebhooks.Webhook(STANDARD_SECRET)
    headers = signatures.sign_standard(STANDARD_SECRET, "msg_1", BODY, NOW)
    assert library.sign("msg_1", NOW, BODY.decode()) == headers["webhook-signature"]
    assert signatures.verify_standard(incoming(BODY, headers), [STANDARD_SECRET]).ok


@pytest.mark.parametrize(("short", "full"), VECTORS["sf-id"]["pairs"])
def test_a_salesforce_id_is_known_in_both_of_its_forms(short, full):
    assert signatures.salesforce_id(short) == full
    assert signatures.salesforce_id(full) == full


@pytest.mark.parametrize(
    "text", ["", "001A0000006Vm9", "001A0000006Vm9rI", "001A0000006Vm9rIAB", "001A0000006Vm9é", "x" * 19]
)
def test_what_is_no_salesforce_id_is_refused(text):
    with pytest.raises(ValueError, match="Salesforce id"):
        signatures.salesforce_id(text)


# Each scheme with a good request; below, everything that must make it bad.


SCHEMES: dict[str, tuple[Callable[[str, bytes, datetime], dict[str, str]], Callable, str]] = {
    # name: (sign, verify, header of the signature)
    "hubspot": (
        lambda secret, body, now: signatures.sign_hubspot(secret, "POST", URL, body, now),
        signatures.verify_hubspot,
        "X-HubSpot-Signature-v3",
    ),
    "typeform": (
        lambda secret, body, _now: {"Typeform-Signature": signatures.typeform(secret, body)},
        signatures.verify_typeform,
        "Typeform-Signature",
    ),
    "surveymonkey": (
        lambda secret, body, _now: {"Sm-Apikey": "id", "Sm-Signature": signatures.surveymonkey("id", secret, body)},
        lambda request, secrets: signatures.verify_surveymonkey(request, "id", secrets),
        "Sm-Signature",
    ),
    "mailchimp": (
        lambda secret, body, now: {"X-Mailchimp-Signature": signatures.sign_timed(secret, body, now)},
        signatures.verify_mailchimp,
        "X-Mailchimp-Signature",
    ),
    "stripe": (
        lambda secret, body, now: {"Stripe-Signature": signatures.sign_timed(secret, body, now)},
        signatures.verify_stripe,
        "Stripe-Signature",
    ),
    "segment": (
        lambda secret, body, _now: {"X-Signature": signatures.segment(secret, body)},
        signatures.verify_segment,
        "X-Signature",
    ),
    "standard": (
        lambda secret, body, now: signatures.sign_standard(secret, "msg_1", body, now),
        signatures.verify_standard,
        "webhook-signature",
    ),
    "shared secret": (
        lambda secret, _body, _now: {"X-Winback-Secret": secret},
        signatures.verify_shared_secret,
        "X-Winback-Secret",
    ),
}
OVER_BODY = sorted(SCHEMES.keys() - {"shared secret"})
OTHER_SECRET = "whsec_" + base64.b64encode(b"another key of this length").decode()


def check(scheme, headers, *, body=BODY, secrets=(STANDARD_SECRET,), now=NOW, url=URL, method="POST") -> Verdict:
    return SCHEMES[scheme][1](incoming(body, headers, url=url, method=method, now=now), secrets)


def sign(scheme, *, secret=STANDARD_SECRET, body=BODY, now=NOW) -> dict[str, str | list[str]]:
    return dict(SCHEMES[scheme][0](secret, body, now))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_request_signed_as_it_should_be_is_believed(scheme):
    verdict = check(scheme, sign(scheme))
    assert verdict.ok and verdict.scheme.startswith(scheme) and not verdict.reason


@pytest.mark.parametrize("scheme", OVER_BODY)
def test_one_flipped_byte_of_the_body_is_refused(scheme):
    assert check(scheme, sign(scheme), body=flipped(BODY)).reason == signatures.WRONG


@pytest.mark.parametrize("scheme", OVER_BODY)
def test_a_newline_behind_the_body_is_refused(scheme):
    assert not check(scheme, sign(scheme), body=BODY + b"\n").ok


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wrong_secret_is_refused(scheme):
    assert not check(scheme, sign(scheme, secret=OTHER_SECRET)).ok


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_secret_before_is_believed_until_it_is_taken_away(scheme):
    headers = sign(scheme, secret=OTHER_SECRET)
    assert check(scheme, headers, secrets=(STANDARD_SECRET, OTHER_SECRET)).ok
    assert not check(scheme, headers, secrets=(STANDARD_SECRET,)).ok


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("secrets", [(), ("",), (" ", "")])
def test_without_a_secret_nothing_is_believed(scheme, secrets):
    for headers in (sign(scheme), {}):
        assert check(scheme, headers, secrets=secrets).reason == signatures.NO_SECRET
    if scheme != "standard":  # its library refuses to sign with an empty key
        assert not check(scheme, sign(scheme, secret=""), secrets=secrets).ok


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [None, "", []])
def test_a_missing_or_an_empty_signature_is_refused(scheme, value):
    headers = sign(scheme)
    name = SCHEMES[scheme][2]
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    assert not check(scheme, headers).ok


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_copies_of_any_header_are_refused(scheme):
    for name, value in sign(scheme).items():
        headers = sign(scheme)
        headers[name] = [value, value]
        assert not check(scheme, headers).ok, name


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("wrap", [" {}", "{} ", "\t{}", "{}\n"])
def test_blanks_around_a_signature_are_refused(scheme, wrap):
    headers = sign(scheme)
    name = SCHEMES[scheme][2]
    headers[name] = wrap.format(headers[name])
    # The standard's list is by blanks: an empty entry beside a good one says nothing.
    assert check(scheme, headers).ok is (scheme == "standard" and " " in wrap)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_letters_no_signature_has_are_refused_and_break_nothing(scheme):
    headers = sign(scheme)
    for value in ("é", "\udc80", "☕", "\x00"):
        headers[SCHEMES[scheme][2]] = value
        assert not check(scheme, headers).ok


@pytest.mark.parametrize("scheme", ["hubspot", "typeform", "surveymonkey", "standard"])
def test_hex_where_base64_is_due_is_refused(scheme):
    headers = sign(scheme)
    name = SCHEMES[scheme][2]
    prefix, found, digest = headers[name].rpartition("sha256=" if scheme == "typeform" else ",")
    headers[name] = prefix + found + base64.b64decode(digest).hex()
    assert not check(scheme, headers).ok


@pytest.mark.parametrize("scheme", ["stripe", "mailchimp"])
def test_base64_where_hex_is_due_is_refused(scheme):
    name = SCHEMES[scheme][2]
    moment, _, digest = sign(scheme)[name].partition(",v1=")
    assert not check(scheme, {name: f"{moment},v1={base64.b64encode(bytes.fromhex(digest)).decode()}"}).ok


@pytest.mark.parametrize(
    ("scheme", "good", "bad"),
    [
        ("typeform", "sha256=", ""),
        ("typeform", "sha256=", "sha1="),
        ("typeform", "sha256=", "SHA256="),
        ("stripe", "v1=", "v0="),
        ("mailchimp", "v1=", "v2="),
        ("standard", "v1,", "v1a,"),
        ("standard", "v1,", ""),
    ],
)
def test_the_right_digest_behind_a_wrong_prefix_is_refused(scheme, good, bad):
    name = SCHEMES[scheme][2]
    headers = sign(scheme)
    assert good in headers[name]
    headers[name] = headers[name].replace(good, bad)
    assert not check(scheme, headers).ok


# Moments: five minutes to either side, to the millisecond.

TIMED = ["hubspot", "mailchimp", "stripe", "standard"]


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("side", [1, -1])
def test_five_minutes_are_good_and_a_millisecond_more_is_not(scheme, side):
    headers = sign(scheme)
    edge = side * timedelta(milliseconds=300_000)
    assert check(scheme, headers, now=NOW + edge).ok
    verdict = check(scheme, headers, now=NOW + edge + side * timedelta(milliseconds=1))
    assert not verdict.ok and verdict.reason == signatures.STALE


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("change", [1, -1])
def test_a_moment_moved_by_one_is_refused(scheme, change):
    headers = sign(scheme)
    for name, value in headers.items():
        stamp = "1793527200000" if scheme == "hubspot" else "1793527200"
        headers[name] = value.replace(stamp, str(int(stamp) + change))
    assert check(scheme, headers).reason == signatures.WRONG


@pytest.mark.parametrize(
    "stamp",
    [
        "soon",
        "",
        "1793527200",
        "17935272000000",
        "-793527200000",
        "1793527200000.0",
        "१७९३५२७२०००००",
        " 1793527200000",
        "+793527200000",
        "1e12",
    ],
)
def test_a_moment_that_is_not_thirteen_digits_is_refused_though_it_is_signed(stamp):
    signature = signatures.hubspot_v3(SECRET, "POST", URL, BODY, stamp)
    headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": stamp}
    assert not signatures.verify_hubspot(incoming(BODY, headers, url=URL), [SECRET]).ok


@pytest.mark.parametrize("stamp", ["soon", "", "1793527200000", "1793527200.0", "-793527200", "१७९३५२७२००"])
def test_a_signed_moment_that_is_not_in_seconds_is_refused(stamp):
    for scheme in ("stripe", "mailchimp"):
        value = f"t={stamp},v1={signatures.timed(STANDARD_SECRET, stamp, BODY)}"
        assert not check(scheme, {SCHEMES[scheme][2]: value}).ok
    signature = signatures.standard(STANDARD_SECRET, "msg_1", stamp, BODY)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signature}
    assert not check("standard", headers).ok


@pytest.mark.parametrize("scheme", ["stripe", "mailchimp"])
def test_one_good_signature_of_several_is_enough_while_a_secret_is_changed(scheme):
    name = SCHEMES[scheme][2]
    moment, _, digest = sign(scheme)[name].partition(",v1=")
    assert check(scheme, {name: f"{moment},v1={'0' * 64},v1={digest},v0=x"}).ok
    assert not check(scheme, {name: f"{moment},v1={'0' * 64},v0={digest}"}).ok


@pytest.mark.parametrize("scheme", ["stripe", "mailchimp"])
def test_two_moments_in_one_signature_are_refused(scheme):
    name = SCHEMES[scheme][2]
    value = sign(scheme)[name]
    assert not check(scheme, {name: f"{value},t=1793527200"}).ok
    assert not check(scheme, {name: f"t=1793527201,{value}"}).ok


def test_one_good_signature_in_the_standards_list_is_enough():
    headers = sign("standard")
    headers["webhook-signature"] = f"v1a,xxxx v1,{'A' * 43}= {headers['webhook-signature']} garbage"
    assert check("standard", headers).ok


def test_another_message_id_is_refused():
    headers = sign("standard")
    headers["webhook-id"] = "msg_2"
    assert check("standard", headers).reason == signatures.WRONG


@pytest.mark.parametrize(
    "secret", ["whsec_", "whsec_AAAA", "whsec_not base64", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "A" * 100]
)
def test_a_secret_the_standard_does_not_allow_believes_nothing(secret):
    with pytest.raises(ValueError, match=r"whsec_|a key of"):
        signatures.standard_key(secret)
    assert check("standard", sign("standard"), secrets=[secret]).reason == signatures.NO_SECRET


# HubSpot's address and versions.


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", URL),
        ("PUT", URL),
        ("POST", URL.replace("https", "http")),
        ("POST", URL + "/"),
        ("POST", URL + "?"),
        ("POST", URL.replace("winback.", "evil.")),
        ("POST", URL.upper()),
    ],
)
def test_another_method_or_address_is_refused_by_both_that_cover_it(method, url):
    headers = signatures.sign_hubspot(SECRET, "POST", URL, BODY, NOW)
    assert not signatures.verify_hubspot(incoming(BODY, headers, url=url, method=method), [SECRET]).ok
    headers = {
        "X-HubSpot-Signature": signatures.hubspot_v2(SECRET, "POST", URL, BODY),
        "X-HubSpot-Signature-Version": "v2",
    }
    assert not signatures.verify_hubspot(incoming(BODY, headers, url=url, method=method), [SECRET], action=True).ok


def test_exactly_twelve_escapes_are_decoded_in_either_case():
    escapes = {code: chr(code) for code in range(256)}
    decoded = {code for code in escapes if signatures.hubspot_uri(f"/%{code:02X}") != f"/%{code:02X}"}
    assert decoded == {ord(letter) for letter in ":/?@!$'()*,;"}
    for code in decoded:
        assert signatures.hubspot_uri(f"/%{code:02x}") == signatures.hubspot_uri(f"/%{code:02X}") == f"/{chr(code)}"


def test_an_escape_is_decoded_once():
    assert signatures.hubspot_uri("/a%253A%25%32%46") == "/a%253A%25%32%46"


def v2_headers(body=BODY):
    return {
        "X-HubSpot-Signature": signatures.hubspot_v2(SECRET, "POST", URL, body),
        "X-HubSpot-Signature-Version": "v2",
    }


def v1_headers(body=BODY):
    return {"X-HubSpot-Signature": signatures.hubspot_v1(SECRET, body), "X-HubSpot-Signature-Version": "v1"}


def test_the_second_version_is_taken_for_actions_only():
    request = incoming(BODY, v2_headers(), url=URL)
    assert signatures.verify_hubspot(request, [SECRET], action=True) == Verdict(True, scheme="hubspot-v2")
    assert not signatures.verify_hubspot(request, [SECRET]).ok
    assert not signatures.verify_hubspot(request, [SECRET], allow_v1=True).ok


def test_the_first_version_is_taken_only_where_it_is_allowed_and_never_for_actions():
    request = incoming(BODY, v1_headers(), url=URL)
    assert signatures.verify_hubspot(request, [SECRET], allow_v1=True) == Verdict(True, scheme="hubspot-v1")
    assert not signatures.verify_hubspot(request, [SECRET]).ok
    assert not signatures.verify_hubspot(request, [SECRET], action=True).ok
    assert not signatures.verify_hubspot(request, [SECRET], action=True, allow_v1=True).ok


@pytest.mark.parametrize("version", ["v3", "", "V2", "v4", None])
def test_a_signature_of_no_known_version_is_refused(version):
    headers = v2_headers()
    if version is None:
        del headers["X-HubSpot-Signature-Version"]
    else:
        headers["X-HubSpot-Signature-Version"] = version
    assert not signatures.verify_hubspot(incoming(BODY, headers, url=URL), [SECRET], action=True, allow_v1=True).ok


@pytest.mark.parametrize("older", [v1_headers, v2_headers])
@pytest.mark.parametrize(
    "newer",
    [
        {"X-HubSpot-Signature-v3": "bad", "X-HubSpot-Request-Timestamp": "1793527200000"},
        {"X-HubSpot-Signature-v3": "bad"},
        {"X-HubSpot-Signature-v3": ""},
        {"X-HubSpot-Signature-v3": ["bad", "bad"], "X-HubSpot-Request-Timestamp": "1793527200000"},
        {"X-HubSpot-Signature-v3": [], "X-HubSpot-Request-Timestamp": "1793527200000"},
    ],
)
def test_a_bad_third_version_is_not_rescued_by_an_older_one(older, newer):
    request = incoming(BODY, older() | newer, url=URL)
    assert not signatures.verify_hubspot(request, [SECRET], action=True).ok
    assert not signatures.verify_hubspot(request, [SECRET], allow_v1=True).ok


def test_surveymonkeys_key_has_to_be_the_one_we_know():
    headers = {"Sm-Apikey": "evil", "Sm-Signature": signatures.surveymonkey("evil", "s", BODY)}
    assert not signatures.verify_surveymonkey(incoming(BODY, headers), "id", ["s"]).ok
    headers["Sm-Apikey"] = ""
    headers["Sm-Signature"] = signatures.surveymonkey("", "s", BODY)
    assert not signatures.verify_surveymonkey(incoming(BODY, headers), "", ["s"]).ok


@pytest.mark.parametrize("token", [None, "", "tok", "token ", "TOKEN", "tokén"])
def test_another_token_in_the_address_is_refused(token):
    assert not signatures.verify_token(incoming(token=token), ["token"]).ok


def test_of_two_proofs_both_have_to_hold_and_the_one_that_does_not_says_why():
    good, bad, worse = Verdict(True, scheme="a"), Verdict(False, "b is wrong", "b"), Verdict(False, "c is wrong", "c")
    assert signatures.both(good, Verdict(True, scheme="b")) == Verdict(True, scheme="a and b")
    assert signatures.both(good, bad) == signatures.both(bad, good) == signatures.both(bad, worse) == bad


def test_the_token_of_the_address_is_believed():
    assert signatures.verify_token(incoming(token="token"), ["newer", "token"]).ok


@given(requests, st.sampled_from(["a secret of ours", STANDARD_SECRET]))
@settings(max_examples=60, deadline=None)
def test_nothing_that_nobody_signed_is_ever_believed(request_in, secret):
    for verify in (
        signatures.verify_hubspot,
        lambda request, secrets: signatures.verify_hubspot(request, secrets, action=True),
        lambda request, secrets: signatures.verify_hubspot(request, secrets, allow_v1=True),
        signatures.verify_typeform,
        lambda request, secrets: signatures.verify_surveymonkey(request, "id", secrets),
        signatures.verify_mailchimp,
        signatures.verify_stripe,
        signatures.verify_segment,
        signatures.verify_standard,
        signatures.verify_shared_secret,
        signatures.verify_token,
    ):
        verdict = verify(request_in, [secret])
        assert not verdict.ok and verdict.reason
        assert secret not in repr(verdict)


# What HubSpot's own client signs, we take; what its check would let through, we do not.


def client_signed(body=BODY, *, url=URL, version="v3", timestamp="1793527200000", method="POST"):
    from hubspot.utils.signature import Signature

    return Signature.get_signature(SECRET, body.decode(), version, url, method, timestamp)


def v3_request(signature, *, timestamp="1793527200000", url=URL, now=NOW, body=BODY, **more):
    headers = {"X-HubSpot-Signature-v3": signature, "X-HubSpot-Request-Timestamp": timestamp, **more}
    return incoming(body, headers, url=url, now=now)


@given(
    st.text(st.characters(codec="utf-8"), max_size=60),
    st.from_regex(r"/[a-z/]{0,12}(\?[a-z]=[a-z0-9%20&]{0,9})?", fullmatch=True),
)
@settings(max_examples=60, deadline=None)
def test_what_hubspots_own_client_signs_is_believed(text, path):
    body = json.dumps([{"note": text}], ensure_ascii=False).encode()
    url = f"https://winback.example.com{path}"
    request = v3_request(client_signed(body, url=url), url=url, body=body)
    assert signatures.verify_hubspot(request, [SECRET]).ok == (signatures.hubspot_uri(url) == url)
    headers = {
        "X-HubSpot-Signature": client_signed(body, url=url, version="v2"),
        "X-HubSpot-Signature-Version": "v2",
    }
    assert signatures.verify_hubspot(incoming(body, headers, url=url), [SECRET], action=True).ok


def test_a_moment_in_the_future_which_the_client_would_believe_is_refused():
    later = "1793530800000"
    request = v3_request(client_signed(timestamp=later), timestamp=later)
    assert signatures.verify_hubspot(request, [SECRET]).reason == signatures.STALE


def test_a_moment_beyond_the_edge_which_the_client_would_round_away_is_refused():
    request = v3_request(client_signed(), now=at(1_793_527_200_000 + 300_001))
    assert signatures.verify_hubspot(request, [SECRET]).reason == signatures.STALE


def test_a_signed_moment_that_is_no_number_is_refused():
    for stamp in ("soon", "1.7935272e12", "nan"):
        request = v3_request(client_signed(timestamp=stamp), timestamp=stamp)
        assert not signatures.verify_hubspot(request, [SECRET]).ok


def test_an_address_signed_with_its_escapes_which_the_client_does_not_decode_is_refused():
    url = URL + "?x=%28a%29"
    assert not signatures.verify_hubspot(v3_request(client_signed(url=url), url=url), [SECRET]).ok
    signature = client_signed(url=URL + "?x=(a)")
    assert signatures.verify_hubspot(v3_request(signature, url=url), [SECRET]).ok


def test_a_fall_back_to_the_clients_default_version_is_refused():
    older = {"X-HubSpot-Signature": client_signed(version="v2"), "X-HubSpot-Signature-Version": "v2"}
    assert not signatures.verify_hubspot(v3_request("bad", **older), [SECRET], action=True).ok
    assert not signatures.verify_hubspot(incoming(BODY, older, url=URL), [SECRET]).ok


@pytest.mark.parametrize("missing", ["X-HubSpot-Signature-v3", "X-HubSpot-Request-Timestamp"])
def test_a_request_that_lacks_a_header_is_refused(missing):
    headers = {"X-HubSpot-Signature-v3": client_signed(), "X-HubSpot-Request-Timestamp": "1793527200000"}
    del headers[missing]
    assert not signatures.verify_hubspot(incoming(BODY, headers, url=URL), [SECRET], action=True).ok
