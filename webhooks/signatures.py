"""Who vouches for a request: every vendor's signature, made and checked over the bytes as they arrived.

Signing gives a header's value; verifying gives a verdict and never raises, whatever the headers and the body are. Every
configured secret is tried, in constant time each, so that a secret can be changed without losing an event; where none
is configured nothing is believed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import unquote

from pydantic import SecretStr

from connector.errors import SettingError
from connector.receivers import Incoming, Verdict

TOLERANCE = timedelta(minutes=5)
"""How far a signed moment may be from ours, to either side; exactly that far is still good."""

NO_SECRET = "no secret is configured"  # noqa: S105 - the reason of a verdict
WRONG = "the signature is wrong"
MISSING = "there is no signature, or more than one"
STALE = "the signed moment is more than five minutes away"

SHARED_SECRET_HEADER = "x-winback-secret"  # noqa: S105 - a header's name
"""Carries the secret of whoever can send a header of his own and sign nothing."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLIS = re.compile(r"[0-9]{13}").fullmatch
_SECONDS = re.compile(r"[0-9]{10}").fullmatch
# The escapes HubSpot takes out of an address before it signs it; all others stay (its request validation guide).
_HUBSPOT_ESCAPES = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_SALESFORCE_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?").fullmatch
_SALESFORCE_SUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_STANDARD_PREFIX = "whsec_"
_STANDARD_KEY_BYTES = range(24, 65)


def matches(expected: str | bytes, given: str | bytes) -> bool:
    """Whether two signatures or secrets are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(_bytes(expected), _bytes(given))


def plain(secrets: Iterable[SecretStr | str]) -> tuple[str, ...]:
    """The secrets as text, without empty ones: an empty key would let everybody sign."""
    return _plain(tuple(secrets))


@lru_cache(maxsize=64)
def _plain(secrets: tuple[SecretStr | str, ...]) -> tuple[str, ...]:
    texts = (secret.get_secret_value() if isinstance(secret, SecretStr) else secret for secret in secrets)
    return tuple(text for text in texts if text.strip())


def newest(secrets: Iterable[SecretStr | str]) -> str:
    """The secret that signs; SettingError where there is none."""
    first = next(iter(plain(secrets)), None)
    if first is None:
        raise SettingError(NO_SECRET, hint="give one in the source's block under `webhooks.sources`")
    return first


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _hmac(secret: str | bytes, message: bytes, digest: str = "sha256") -> bytes:
    # Not hmac.digest, which lets go of the interpreter however short the message: in a busy server every request would
    # then wait for its turn to have it back.
    return hmac.new(_bytes(secret), message, digest).digest()


def _unset(secrets: Iterable[SecretStr | str], scheme: str) -> Verdict | None:
    """The verdict where no secret is configured: whatever came, it is ours to repair (W-5)."""
    return None if plain(secrets) else Verdict(False, NO_SECRET, scheme)


def _any(secrets: Iterable[SecretStr | str], given: Sequence[str], sign: Callable[[str], str], scheme: str) -> Verdict:
    """Whether one of the given signatures is what one of the secrets makes; every pair is looked at."""
    good = [matches(expected, one) for expected in map(sign, plain(secrets)) for one in given]
    return Verdict(True, scheme=scheme) if any(good) else Verdict(False, WRONG, scheme)


def _fresh(millis: int, now: datetime) -> bool:
    return abs((now - _EPOCH) // timedelta(milliseconds=1) - millis) <= TOLERANCE // timedelta(milliseconds=1)


# HubSpot: v3 for everything of a current app, v2 for workflow actions, v1 for old CRM webhooks.


def hubspot_uri(url: str) -> str:
    """The address as HubSpot signs it: twelve escapes decoded, once, and nothing else."""
    return _HUBSPOT_ESCAPES.sub(lambda escape: unquote(escape[0]), url)


def hubspot_v1(secret: str, body: bytes) -> str:
    """Hex of a plain hash over secret and body: no method, no address, no moment."""
    return hashlib.sha256(_bytes(secret) + body).hexdigest()


def hubspot_v2(secret: str, method: str, url: str, body: bytes) -> str:
    """Hex of a plain hash that covers the method and the address too; no moment."""
    return hashlib.sha256(_bytes(secret) + _bytes(method) + _bytes(url) + body).hexdigest()


def hubspot_v3(secret: str, method: str, url: str, body: bytes, timestamp: str) -> str:
    """Base64 of an HMAC over method, address, body and the moment, as text, in milliseconds."""
    message = _bytes(method) + _bytes(hubspot_uri(url)) + body + _bytes(timestamp)
    return base64.b64encode(_hmac(secret, message)).decode()


def sign_hubspot(secret: str, method: str, url: str, body: bytes, now: datetime) -> dict[str, str]:
    """The headers of a request that HubSpot signs by v3."""
    timestamp = str((now - _EPOCH) // timedelta(milliseconds=1))
    return {
        "X-HubSpot-Signature-v3": hubspot_v3(secret, method, url, body, timestamp),
        "X-HubSpot-Request-Timestamp": timestamp,
    }


def verify_hubspot(
    incoming: Incoming, secrets: Iterable[SecretStr | str], *, action: bool = False, allow_v1: bool = False
) -> Verdict:
    """By v3 where its header is there, and then by nothing else (W-20).

    v2 is for calls of workflow actions only, v1 for accounts that were told to take it (W-21): both can be sent again
    by whoever saw them once, so what they bring is told apart by its key alone.
    """
    if unset := _unset(secrets, "hubspot"):
        return unset
    if "x-hubspot-signature-v3" in incoming.headers:
        return _verify_hubspot_v3(incoming, secrets)
    version = incoming.header("x-hubspot-signature-version")
    signature = incoming.header("x-hubspot-signature")
    scheme = f"hubspot-{version}" if version in {"v1", "v2"} else "hubspot"
    if not signature:
        return Verdict(False, MISSING, scheme)
    if version == "v2" and action:
        return _any(
            secrets, [signature], lambda key: hubspot_v2(key, incoming.method, incoming.url, incoming.body), scheme
        )
    if version == "v1" and allow_v1 and not action:
        return _any(secrets, [signature], lambda key: hubspot_v1(key, incoming.body), scheme)
    return Verdict(False, "signatures of this version are not taken here", scheme)


def _verify_hubspot_v3(incoming: Incoming, secrets: Iterable[SecretStr | str]) -> Verdict:
    scheme = "hubspot-v3"
    signature = incoming.header("x-hubspot-signature-v3")
    timestamp = incoming.header("x-hubspot-request-timestamp") or ""
    if not signature:
        return Verdict(False, MISSING, scheme)
    if not _MILLIS(timestamp):
        return Verdict(False, "the signed moment is not one in milliseconds", scheme)
    verdict = _any(
        secrets,
        [signature],
        lambda key: hubspot_v3(key, incoming.method, incoming.url, incoming.body, timestamp),
        scheme,
    )
    if verdict.ok and not _fresh(int(timestamp), incoming.received_at):
        return Verdict(False, STALE, scheme)
    return verdict


# Vendors that sign the body and nothing else.


def typeform(secret: str, body: bytes) -> str:
    """The value of `Typeform-Signature`: base64, not hex."""
    return "sha256=" + base64.b64encode(_hmac(secret, body)).decode()


def verify_typeform(incoming: Incoming, secrets: Iterable[SecretStr | str]) -> Verdict:
    """By `Typeform-Signature` over the body."""
    return _over_body(incoming, "typeform-signature", secrets, lambda key: typeform(key, incoming.body), "typeform")


def surveymonkey(client_id: str, client_secret: str, body: bytes) -> str:
    """The value of `Sm-Signature`. SHA-1 is the vendor's choice; nothing of ours uses it."""
    return base64.b64encode(_hmac(f"{client_id}&{client_secret}", body, "sha1")).decode()


def verify_surveymonkey(incoming: Incoming, client_id: str, secrets: Iterable[SecretStr | str]) -> Verdict:
    """By `Sm-Signature` over the body; `Sm-Apikey` has to be the client id we know, not the other way round."""
    given = incoming.header("sm-apikey") or ""
    if unset := _unset(secrets, "surveymonkey"):
        return unset
    if not client_id.strip() or not matches(client_id, given):
        return Verdict(False, "Sm-Apikey is not the configured client id", "surveymonkey")
    return _over_body(
        incoming, "sm-signature", secrets, lambda key: surveymonkey(client_id, key, incoming.body), "surveymonkey"
    )


def segment(secret: str, message: bytes) -> str:
    """The value of `X-Signature`. SHA-1 is the vendor's choice; nothing of ours uses it."""
    return _hmac(secret, message, "sha1").hex()


def verify_segment(incoming: Incoming, secrets: Iterable[SecretStr | str], message: bytes | None = None) -> Verdict:
    """By `X-Signature` over the body, or over the part of it that is said to be signed."""
    signed = incoming.body if message is None else message
    return _over_body(incoming, "x-signature", secrets, lambda key: segment(key, signed), "segment")


def _over_body(
    incoming: Incoming, header: str, secrets: Iterable[SecretStr | str], sign: Callable[[str], str], scheme: str
) -> Verdict:
    if unset := _unset(secrets, scheme):
        return unset
    signature = incoming.header(header)
    if not signature:
        return Verdict(False, MISSING, scheme)
    return _any(secrets, [signature], sign, scheme)


# Stripe and Mailchimp: `t=<seconds>,v1=<hex>`, over `<t>.<body>`; several v1 while a secret is being changed.


def timed(secret: str, timestamp: str, body: bytes) -> str:
    """Hex of an HMAC over the moment and the body, as Stripe and Mailchimp make it."""
    return _hmac(secret, _bytes(timestamp) + b"." + body).hex()


def sign_timed(secret: str, body: bytes, now: datetime) -> str:
    """The value of `Stripe-Signature` and of `X-Mailchimp-Signature`."""
    timestamp = _seconds(now)
    return f"t={timestamp},v1={timed(secret, timestamp, body)}"


def verify_stripe(incoming: Incoming, secrets: Iterable[SecretStr | str]) -> Verdict:
    """By `Stripe-Signature`; the endpoint's secret is the key as it stands, prefix included."""
    return _verify_timed(incoming, "stripe-signature", secrets, "stripe")


def verify_mailchimp(incoming: Incoming, secrets: Iterable[SecretStr | str]) -> Verdict:
    """By `X-Mailchimp-Signature`, which webhooks made before 2026 do not carry."""
    return _verify_timed(incoming, "x-mailchimp-signature", secrets, "mailchimp")


def _verify_timed(incoming: Incoming, header: str, secrets: Iterable[SecretStr | str], scheme: str) -> Verdict:
    if unset := _unset(secrets, scheme):
        return unset
    parts = [part.partition("=") for part in (incoming.header(header) or "").split(",")]
    moments = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1" and value]
    if not signatures:
        return Verdict(False, MISSING, scheme)
    if len(moments) != 1 or not _SECONDS(moments[0]):
        return Verdict(False, "the signed moment is not one in seconds", scheme)
    verdict = _any(secrets, signatures, lambda key: timed(key, moments[0], incoming.body), scheme)
    if verdict.ok and not _fresh(int(moments[0]) * 1_000, incoming.received_at):
        return Verdict(False, STALE, scheme)
    return verdict


# Standard Webhooks 1.0.0: for everybody else, and for what we send.


def standard_key(secret: str) -> bytes:
    """The key in a `whsec_…` secret; ValueError when it is not base64 of 24 to 64 bytes."""
    if not secret.startswith(_STANDARD_PREFIX):
        raise ValueError(f"does not begin with {_STANDARD_PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(_STANDARD_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"is not base64 after {_STANDARD_PREFIX}") from error
    if len(key) not in _STANDARD_KEY_BYTES:
        raise ValueError(f"holds a key of {len(key)} bytes; 24 to 64 are allowed")
    return key


def standard(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """One signature of `webhook-signature`, over id, moment and body."""
    message = _bytes(message_id) + b"." + _bytes(timestamp) + b"." + body
    return "v1," + base64.b64encode(_hmac(standard_key(secret), message)).decode()


def sign_standard(secret: str, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """The three headers of a message by the standard."""
    timestamp = _seconds(now)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": standard(secret, message_id, timestamp, body),
    }


def verify_standard(incoming: Incoming, secrets: Iterable[SecretStr | str]) -> Verdict:
    """By `webhook-signature`, a list by blanks of which one `v1` has to be right; other versions are passed over."""
    scheme = "standard"
    usable = [secret for secret in plain(secrets) if _has_key(secret)]
    if unset := _unset(usable, scheme):
        return unset
    message_id = incoming.header("webhook-id") or ""
    timestamp = incoming.header("webhook-timestamp") or ""
    given = [one for one in (incoming.header("webhook-signature") or "").split(" ") if one.startswith("v1,")]
    if not message_id.strip() or not given:
        return Verdict(False, MISSING, scheme)
    if not _SECONDS(timestamp):
        return Verdict(False, "the signed moment is not one in seconds", scheme)
    verdict = _any(usable, given, lambda key: standard(key, message_id, timestamp, incoming.body), scheme)
    if verdict.ok and not _fresh(int(timestamp) * 1_000, incoming.received_at):
        return Verdict(False, STALE, scheme)
    return verdict


def _has_key(secret: str) -> bool:
    try:
        standard_key(secret)
    except ValueError:
        return False
    return True


def _seconds(now: datetime) -> str:
    return str((now - _EPOCH) // timedelta(seconds=1))


# Those who sign nothing: a secret of ours comes back, in the address or in a header.


def verify_token(incoming: Incoming, tokens: Iterable[SecretStr | str]) -> Verdict:
    """By the secret last part of the address."""
    if unset := _unset(tokens, "token"):
        return unset
    if not incoming.token:
        return Verdict(False, "the address lacks its secret part", "token")
    return _any(tokens, [incoming.token], lambda token: token, "token")


def verify_shared_secret(
    incoming: Incoming, secrets: Iterable[SecretStr | str], header: str = SHARED_SECRET_HEADER
) -> Verdict:
    """By a secret that comes as it is, in a header."""
    if unset := _unset(secrets, "shared secret"):
        return unset
    given = incoming.header(header)
    if not given:
        return Verdict(False, f"{header} is missing, or there more than once", "shared secret")
    return _any(secrets, [given], lambda secret: secret, "shared secret")


def both(first: Verdict, second: Verdict) -> Verdict:
    """Good when both are; the reason is that of the first that is not."""
    if first.ok and second.ok:
        return Verdict(True, scheme=f"{first.scheme} and {second.scheme}")
    return second if first.ok else first


def salesforce_id(text: str) -> str:
    """A Salesforce id in its form of 18 characters; ValueError for what is none.

    The last three tell which of the fifteen before are capitals; both forms name the same record.
    """
    if not _SALESFORCE_ID(text):
        raise ValueError("is no Salesforce id: they have 15 or 18 letters and digits")
    base = text[:15]
    parts = (base[start : start + 5] for start in (0, 5, 10))
    capitals = "".join(
        _SALESFORCE_SUM[sum(1 << place for place, letter in enumerate(part) if "A" <= letter <= "Z")] for part in parts
    )
    if text[15:] not in {"", capitals}:
        raise ValueError("is no Salesforce id: its last three characters do not fit the others")
    return base + capitals
