"""Who may call: the External Client App's two ways to a token, and the tokens' lives."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from adapters.salesforce.sandbox import CLIENT_ID, CLIENT_SECRET, USERNAME
from adapters.salesforce.sandbox.answers import UNAUTHORIZED, OAuthRefusal, Refusal
from connector.clock import SystemClock

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.state import State

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LOGIN_HOSTS = ("https://login.salesforce.com", "https://test.salesforce.com")
MOST_SECONDS = 300
"""How far ahead an assertion may end."""

REFUSALS: Mapping[str, tuple[str, str]] = {
    "no_run_as_user": ("invalid_grant", "no client credentials user enabled"),
    "not_approved": ("invalid_grant", "user hasn't approved this consumer"),
    "inactive_user": ("inactive_user", "user is inactive"),
    "ip_restricted": ("invalid_grant", "ip restricted"),
    "rate_limit": ("rate_limit_exceeded", "login rate exceeded"),
    "app_blocked": ("invalid_client", "app is not authorized by your admin"),
}
"""What can be wrong on the admin's side, by name; `Sessions.refuse` switches one on."""


class Sessions:
    """Gives out tokens and knows them again.

    refuse: A name of `REFUSALS`: what every login is told.
    issued: How many tokens were given out.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._tokens: dict[str, int] = {}
        self._public_keys: list[Any] = []
        self._private_key: str | None = None
        self._calls_left: int | None = None
        self.refuse: str | None = None
        self.issued = 0

    def login(self, form: Mapping[str, str], authorization: str, *, base_url: str) -> dict[str, str]:
        """A token for a client's credentials or a signed assertion; OAuthRefusal in OAuth's own words."""
        grant = form.get("grant_type", "")
        if grant == "client_credentials":
            self._check_client(form, authorization)
        elif grant == JWT_GRANT:
            self._check_assertion(form.get("assertion", ""), base_url=base_url)
        else:
            raise OAuthRefusal("unsupported_grant_type", "grant type not supported")
        if self.refuse is not None:
            raise OAuthRefusal(*REFUSALS[self.refuse])
        return self._token(base_url)

    def check(self, authorization: str) -> None:
        """Raise 401 INVALID_SESSION_ID unless the header carries a token that is still good."""
        token = authorization.removeprefix("Bearer ").removeprefix("OAuth ")
        until_ms = self._tokens.get(token, 0)
        if until_ms > self._state.clock.now_ms() and self._calls_left != 0:
            if self._calls_left is not None:
                self._calls_left -= 1
            return
        self._tokens.pop(token, None)
        raise Refusal("INVALID_SESSION_ID", "Session expired or invalid", status=UNAUTHORIZED)

    def expire(self, *, after_calls: int = 0) -> None:
        """End every session now, or after so many more calls."""
        if after_calls:
            self._calls_left = after_calls
        else:
            self._tokens.clear()

    def trust(self, public_pem: str) -> None:
        """Take assertions signed with this key too: the certificate an admin uploaded."""
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        self._public_keys.append(load_pem_public_key(public_pem.encode()))

    @property
    def private_key(self) -> str:
        """A key (PEM) whose certificate is uploaded; made when it is first asked for."""
        if self._private_key is None:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import rsa

            made = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
            self._public_keys.append(made.public_key())
            self._private_key = made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ).decode()
        return self._private_key

    def _check_client(self, form: Mapping[str, str], authorization: str) -> None:
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization.startswith("Basic "):
            client_id, secret = _basic(authorization)
        if client_id != CLIENT_ID:
            raise OAuthRefusal("invalid_client_id", "client identifier invalid")
        if secret != CLIENT_SECRET:
            raise OAuthRefusal("invalid_client", "invalid client credentials")

    def _check_assertion(self, assertion: str, *, base_url: str) -> None:
        claims = self._claims(assertion)
        if claims.get("iss") != CLIENT_ID:
            raise OAuthRefusal("invalid_client_id", "client identifier invalid")
        if claims.get("sub") != USERNAME:
            raise OAuthRefusal("invalid_grant", "user hasn't approved this consumer")
        audience = str(claims.get("aud")).rstrip("/")
        if audience not in (*LOGIN_HOSTS, base_url) and not audience.endswith(".my.salesforce.com"):
            raise OAuthRefusal("invalid_grant", "audience is invalid")
        clocks = (SystemClock().now().timestamp(), self._state.clock.now_ms() / 1000)
        if not any(0 < _seconds(claims.get("exp")) - now <= MOST_SECONDS for now in clocks):
            raise OAuthRefusal("invalid_grant", "expired authorization code")

    def _claims(self, assertion: str) -> dict[str, Any]:
        import jwt

        # The claims are checked here: the end of an assertion may count by the sandbox's clock.
        unchecked: Any = {"verify_aud": False, "verify_exp": False, "verify_iss": False, "verify_sub": False}
        for key in self._public_keys:
            try:
                return dict(jwt.decode(assertion, key, algorithms=["RS256"], options=unchecked))
            except jwt.InvalidTokenError:
                continue
        raise OAuthRefusal("invalid_grant", "invalid assertion")

    def _token(self, base_url: str) -> dict[str, str]:
        state = self._state
        now_ms = state.clock.now_ms()
        token = f"{state.org_id[:15]}!{secrets.token_urlsafe(48)}"
        self._tokens[token] = now_ms + round(state.behaviour.session_seconds * 1000)
        self._calls_left = None
        self.issued += 1
        return {
            "access_token": token,
            "signature": secrets.token_urlsafe(24),
            "scope": "api",
            "instance_url": base_url,
            "id": f"{base_url}/id/{state.org_id}/{state.integration_user}",
            "token_type": "Bearer",
            "issued_at": str(now_ms),
            "api_instance_url": base_url,
        }


def _basic(authorization: str) -> tuple[str, str]:
    try:
        client_id, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthRefusal("invalid_client", "invalid client credentials") from None
    return client_id, secret


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
