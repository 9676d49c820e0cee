"""A little OpenID Connect provider over real HTTP: its keys are made here, and a test says who signs in at it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.fakes.clocks import VirtualClock
from tests.fakes.http_server import Asked, Said, ScriptedServer, serving

CLIENT, CLIENT_SECRET = "winback", "canary-of-the-client: with+signs%"
ACCESS = "canary-access-token"


@cache
def key(kid: str, kind: str = "RSA") -> Any:
    """A private key of this name."""
    return RSAKey.generate_key(2048, {"kid": kid}) if kind == "RSA" else ECKey.generate_key("P-256", {"kid": kid})


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any], mac_key: bytes | None = None) -> str:
    """A token as no library makes it: without a signature, or with one by a key everybody has."""
    told = ".".join(_letters(json.dumps(part).encode()) for part in (header, claims))
    return f"{told}.{_letters(hmac.digest(mac_key, told.encode(), hashlib.sha256)) if mac_key else ''}"


def _letters(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass
class Provider:
    """Where it answers, by which clock, who signs in, and how it is made to lie.

    person: Claims of whoever signs in. told: What userinfo says. key, published: What it signs with, and what it says
    it signs with. forge: Makes the id token in its own way. document: Changes its discovery document. instead: What it
    answers to a path in place of what it should.
    """

    server: ScriptedServer | None = None
    clock: VirtualClock = field(default_factory=VirtualClock)
    person: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: key("one"))
    published: list[Any] | None = None
    algorithm: str = "RS256"
    forge: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    document: dict[str, Any] = field(default_factory=dict)
    instead: dict[str, Said] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        assert self.server is not None
        return self.server.url

    def asked(self, path: str) -> list[Asked]:
        """What it was asked at this path."""
        assert self.server is not None
        return [one for one in self.server.asked if one.path == path]

    def sign_in(self, address: str) -> str:
        """The browser at the authorization endpoint: whoever sits there signs in, and is sent back."""
        assert address.startswith(f"{self.issuer}/authorize?")
        asked = {name: value for name, (value,) in parse_qs(urlsplit(address).query).items()}
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        code = secrets.token_urlsafe(12)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    def answer(self, asked: Asked) -> Said:
        if asked.path in self.instead:
            return self.instead[asked.path]
        match asked.method, asked.path:
            case "GET", "/.well-known/openid-configuration":
                return Said(body={**self._document(), **self.document})
            case "GET", "/keys":
                public = self.published if self.published is not None else [self.key]
                return Said(body={"keys": [one.as_dict(private=False) for one in public]})
            case "POST", "/token":
                return self._token(asked)
            case "GET", "/userinfo" if asked.headers.get("Authorization") == f"Bearer {ACCESS}":
                return Said(body=self.told)
        return Said(404)

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    def _token(self, asked: Asked) -> Said:
        """A code is good once, for whom it was given to, where they were sent, with what only they know."""
        form = {name: value for name, (value,) in parse_qs(asked.raw.decode()).items()}
        began = self.codes.pop(form.get("code", ""), None)
        if began is None:
            return Said(400, {"error": "invalid_grant", "error_description": f"canary: {form.get('code')}"})
        challenge = _letters(hashlib.sha256(form["code_verifier"].encode()).digest())
        right = (began["code_challenge"], began["redirect_uri"], began["code_challenge_method"], CLIENT, CLIENT_SECRET)
        if (challenge, form["redirect_uri"], "S256", form["client_id"], form["client_secret"]) != right:
            return Said(400, {"error": "invalid_client"})
        at = int(self.clock.now().timestamp())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": at, "exp": at + 300, "nonce": began["nonce"], **self.person}
        header = {"alg": self.algorithm, "kid": self.key.kid}
        token = self.forge(header, claims) if self.forge else self.signed(header, claims)
        return Said(body={"access_token": ACCESS, "token_type": "Bearer", "expires_in": 300, "id_token": token})

    def signed(self, header: dict[str, Any], claims: dict[str, Any], by: Any = None) -> str:
        """An id token with a good signature."""
        return jwt.encode(header, claims, by or self.key, algorithms=[self.algorithm])


@contextmanager
def providing() -> Iterator[Provider]:
    """Serve until the block ends."""
    provider = Provider()
    with serving(provider.answer) as server:
        provider.server = server
        yield provider
