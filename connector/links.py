"""Signed one-click links: made for a step's mail, read when somebody follows one.

A token is readable by anybody and forged by nobody. It carries a version, an opaque subject and a campaign, never an
address, a name or a CRM id. Unsubscribing never expires; coming back and snoozing do.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from itsdangerous import BadData, URLSafeSerializer

from connector.errors import SettingError

VERSION = 1
LIFETIME = timedelta(days=90)
MIN_KEY_BYTES = 32
_LEAST_DIFFERENT_BYTES = 8
"""Fewer different ones in a key are a word or a row of zeros, not chance."""
_SUBJECT_BYTES = 20
_LONGEST_TOKEN = 1_000
_LONGEST_CAMPAIGN = 200

RETURN, SNOOZE, UNSUBSCRIBE, PREFERENCES = "return", "snooze", "unsubscribe", "preferences"
ACTIONS = (RETURN, SNOOZE, UNSUBSCRIBE, PREFERENCES)
EXPIRING = frozenset({RETURN, SNOOZE})
"""The others hold for good: the right to unsubscribe has no end."""

SURVEY = "survey"
"""No link: the token alone, for a survey's hidden field. It says who answers and allows nothing, so it holds for good:
an answer may come, or be read again from the vendor, more than a year after the mail.
"""


@dataclass(frozen=True, slots=True)
class Link:
    """What a good token says. Who the subject is, only the journal knows."""

    action: str
    subject: str
    campaign: str


class LinkMaker:
    """Makes and reads tokens. Holds keys: it never shows them.

    Args:
        base_url: Where the links lead, of the playbook; never taken from a request.
        keys: Secrets, the newest first; it signs, all are accepted.
        subject_key: Secret behind the subjects (the journal's key `link_subjects`); it must never change, or links that
            are out there lose their person.
        lifetime: How long links that expire are good.
    """

    def __init__(
        self, base_url: str, *, keys: Sequence[str | bytes], subject_key: bytes, lifetime: timedelta = LIFETIME
    ) -> None:
        self._base = checked_url(base_url, what="links.public_base_url").rstrip("/")
        if urlsplit(self._base).query or urlsplit(self._base).fragment:
            raise SettingError("links.public_base_url: has a query or fragment", hint="end it at the path")
        if not keys:
            raise SettingError("keys.links: no key to sign links with", hint="`openssl rand -hex 32` makes one")
        oldest_first = [_checked_key(key, number) for number, key in enumerate(keys)][::-1]
        self._subject_key = _checked_key(subject_key, None)
        self._lifetime = lifetime
        self._serializers = {action: _serializer(action, oldest_first) for action in (*ACTIONS, SURVEY)}

    def subject(self, contact_id: str) -> str:
        """The opaque word for a contact in links: always the same one, and it tells nothing without the key."""
        digest = hmac.digest(self._subject_key, contact_id.encode(), hashlib.sha256)
        return base64.b32encode(digest[:_SUBJECT_BYTES]).decode().lower()

    def token(self, action: str, contact_id: str, campaign: str, *, now: datetime) -> str:
        """A signed token for one action of one contact.

        Args:
            action: One of ACTIONS, or SURVEY.
            contact_id: Whose link it is; only its subject goes into the token.
            campaign: Program and step, `win-back/offer`; readable by anybody.
            now: When it is made.
        """
        if action not in self._serializers:
            raise SettingError(f"no link action {action!r}", hint=f"actions: {', '.join(ACTIONS)}")
        if "@" in campaign or len(campaign) > _LONGEST_CAMPAIGN:
            raise SettingError(
                "links: the campaign goes into every link for anybody to read: no address, "
                f"and at most {_LONGEST_CAMPAIGN} signs"
            )
        payload: dict[str, Any] = {"v": VERSION, "s": self.subject(contact_id), "k": campaign}
        if action in EXPIRING:
            payload["exp"] = int((now + self._lifetime).timestamp())
        return self._serializers[action].dumps(payload)

    def url(self, action: str, contact_id: str, campaign: str, *, now: datetime, dest: str | None = None) -> str:
        """The link for a mail; `dest` is the name of a destination, see Destinations."""
        link = f"{self._base}/l/{self.token(action, contact_id, campaign, now=now)}"
        return link if dest is None else f"{link}?dest={quote(dest, safe='')}"

    def links(self, contact_id: str, campaign: str, *, now: datetime) -> Mapping[str, str]:
        """Action → URL, all of them: what a mail merges."""
        return {action: self.url(action, contact_id, campaign, now=now) for action in ACTIONS}

    def read(self, token: str, *, now: datetime, action: str | None = None) -> Link | None:
        """What a token says; None when it is forged, damaged, expired, of another version or another action.

        Why it is None is kept back on purpose: a page that told these apart would answer questions about people.
        Every action is tried, whichever fits, so that it takes the same time.

        Args:
            token: From the URL.
            now: The time of the request.
            action: Only tokens for this; None: any of ACTIONS.
        """
        found: Link | None = None
        bounded = token[: _LONGEST_TOKEN + 1]
        for name, serializer in self._serializers.items():
            link = _read(serializer, name, bounded, now) if len(bounded) <= _LONGEST_TOKEN else None
            if link is not None and (name == action or (action is None and name != SURVEY)):
                found = link
        return found


def _serializer(action: str, keys: Sequence[bytes]) -> URLSafeSerializer:
    # itsdangerous 2.2 signs with SHA-1 and a plain hash of the key unless told otherwise.
    return URLSafeSerializer(
        list(keys),
        salt=f"winback.link.v{VERSION}.{action}",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
    )


def _read(serializer: URLSafeSerializer, action: str, token: str, now: datetime) -> Link | None:
    try:
        payload = serializer.loads(token)
    except (BadData, ValueError):
        return None
    if not isinstance(payload, dict) or payload.get("v") != VERSION:
        return None
    subject, campaign, expires = payload.get("s"), payload.get("k"), payload.get("exp")
    if not isinstance(subject, str) or not isinstance(campaign, str):
        return None
    if action in EXPIRING and (not isinstance(expires, int) or now.timestamp() >= expires):
        return None
    return Link(action, subject, campaign)


def _checked_key(key: str | bytes, number: int | None) -> bytes:
    data = key.encode() if isinstance(key, str) else key
    name = "the journal's key for link subjects" if number is None else f"keys.links[{number}]"
    if len(data) < MIN_KEY_BYTES or len(set(data)) < _LEAST_DIFFERENT_BYTES:
        raise SettingError(
            f"{name}: too short or too plain to sign with, {MIN_KEY_BYTES} random bytes are needed",
            hint="`openssl rand -hex 32` makes one; put the new one first and keep the old ones below it",
        )
    return data


class Destinations:
    """Where a link may lead on to: names of the playbook. A request names one, it never brings an address.

    Args:
        urls: Name → address.
        default: The name taken when a request names none or one that is not there; None: the first.
    """

    def __init__(self, urls: Mapping[str, str], *, default: str | None = None) -> None:
        if not urls:
            raise SettingError("links.destinations: names no page", hint="destinations: {home: https://…}")
        self._urls = {name: checked_url(url, what=f"links.destinations.{name}") for name, url in urls.items()}
        first = default if default is not None else next(iter(self._urls))
        if first not in self._urls:
            raise SettingError(
                f"links.default: no destination {first!r}", hint=f"destinations: {', '.join(sorted(self._urls))}"
            )
        self._default = self._urls[first]

    def resolve(self, name: str | None) -> str:
        """The address behind a name; the default for anything that is not exactly a name."""
        return self._urls.get(name, self._default) if name is not None else self._default


def checked_url(url: str, *, what: str) -> str:
    """An address of the playbook that people are sent to: https (http to this machine), a host, no login in it."""
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    try:
        parts = urlsplit(url) if plain else None
        host = (parts.hostname or "") if parts is not None else ""
        port = parts.port if parts is not None else None
    except ValueError:
        parts, host, port = None, "", None
    if parts is None or not host or port == 0 or parts.username is not None or parts.password is not None:
        raise SettingError(f"{what}: not an address like https://links.example.com", hint="no login or space in it")
    if parts.scheme != "https" and not (parts.scheme == "http" and _this_machine(host)):
        raise SettingError(
            f"{what}: must begin with https://", hint="http:// is for rehearsals on this machine: http://127.0.0.1:8080"
        )
    return url


def _this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
