"""Signing in at an OpenID Connect provider: where a browser goes, and what the provider then says of whoever came back.

Code flow with PKCE, state and nonce. What is believed is an id token that the provider's own key signed for us, now,
for this very request; who may then do what the playbook says, and nobody else gets in.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from connector.errors import SettingError, WinbackError
from connector.rest import is_loopback
from connector.settings.program_blocks import is_web_address
from connector.settings.webhook_blocks import EMAIL, OidcBlock, OidcRoles

if TYPE_CHECKING:
    import requests

    from connector.contracts import Clock

CALLBACK: Final = "/login/oidc/callback"
"""Where the provider sends people back to, behind `webhooks.public_base_url`."""

VERIFIED: Final = "email_verified"

ALGORITHMS: Final = ("RS256", "ES256")
_KEY_TYPES: Final = ("RSA", "EC")

SECONDS: Final = (5.0, 5.0)
"""To connect, and the longest silence: a person waits."""

KEPT_SECONDS: Final = 3_600.0
"""How long the provider's document and keys are believed; a key nobody has heard of is asked for at once."""

LEEWAY_SECONDS: Final = 60
_CALLS_AT_ONCE: Final = 2
_WAIT_SECONDS: Final = 1.0
_OK: Final = 200
_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


class NotSignedIn(WinbackError):
    """Nobody was signed in.

    Args:
        kind: What whoever tried is told: a key of `SORRY`.
        message: For the log: names no person, token or address of one.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


SORRY: Final[Mapping[str, str]] = {
    "late": "That took too long, or did not begin here. Please try again.",
    "refused": "You were not signed in there. Please try again.",
    "role": "You were signed in there, but have no role here. Whoever keeps the playbook can give you one.",
    "untrue": "What came back cannot be believed, so you are not signed in. The log says why.",
    "away": "Where you sign in does not answer. Please try again in a minute.",
    "busy": "That was tried very often. Please wait a little before you try again.",
}
"""What whoever could not sign in reads."""


@dataclass(frozen=True, slots=True)
class _Document:
    """What the provider says of itself."""

    authorization: str
    token: str
    keys: str
    userinfo: str | None
    takes_posted_secret: bool
    read_at: float


class Provider:
    """One OpenID Connect provider.

    Args:
        block: Who it is, and who we are there.
        redirect_uri: Where it sends people back to.
        clock: Ages what is kept, and tokens.

    Raises:
        SettingError: The library is not installed.
    """

    def __init__(self, block: OidcBlock, *, redirect_uri: str, clock: Clock) -> None:
        require_library()
        self.block = block
        self.host = urlsplit(block.issuer).netloc
        self._redirect_uri = redirect_uri
        self._clock = clock
        self._turns = threading.BoundedSemaphore(_CALLS_AT_ONCE)
        self._document: _Document | None = None
        self._keys: tuple[Any, float] | None = None

    def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where a browser goes to sign in."""
        with self._session() as session:
            url, _ = session.create_authorization_url(
                self._known(session).authorization, state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    def must_be(self, issuer: str) -> None:
        """Refuse whoever another provider sent."""
        if issuer != self.block.issuer:
            raise NotSignedIn("untrue", f"{self.host} is not who sent somebody back")

    def claims(self, code: str, *, nonce: str, verifier: str) -> Mapping[str, Any]:
        """What the provider says of whoever brought this code.

        Raises:
            NotSignedIn: It refuses the code, does not answer, or its answer cannot be believed.
        """
        with self._session() as session:
            document = self._known(session)
            token = self._token(session, document, code, verifier)
            claims = self._checked(session, document, token, nonce)
            if self._says_enough(claims):
                return claims
            # An address and that it is verified come from one place, or neither counts.
            kept = {name: said for name, said in claims.items() if name not in {EMAIL, VERIFIED}}
            return {**kept, **self._userinfo(session, document, token, claims)}

    def _says_enough(self, claims: Mapping[str, Any]) -> bool:
        """Whether a role can be read from these claims."""
        claim = self.block.roles.claim
        return claim_of(claims, claim) is not None and (claim != EMAIL or VERIFIED in claims)

    # --- what is asked ------------------------------------------------------------------------------------------

    def _token(self, session: Any, document: _Document, code: str, verifier: str) -> Mapping[str, Any]:
        """The provider's answer to the code."""
        import requests
        from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]  # it publishes no types

        # Posted, where it is taken: the library puts a secret into Basic as it is, and RFC 6749 wants it encoded.
        posted = document.takes_posted_secret
        session.token_endpoint_auth_method = "client_secret_post" if posted else "client_secret_basic"
        try:
            told = session.fetch_token(
                document.token,
                grant_type="authorization_code",
                code=code,
                code_verifier=verifier,
                timeout=SECONDS,
                allow_redirects=False,
            )
        except AuthlibBaseError as error:
            said = str(error.error) if _ERROR_CODE.fullmatch(str(error.error)) else "no known error"
            raise NotSignedIn("refused", f"{self.host} does not take the code: {said}") from None
        except requests.exceptions.RequestException as fault:
            raise self._away(fault) from None
        except ValueError:
            raise NotSignedIn("untrue", f"{self.host} answered the code with something that is no token") from None
        return dict(told)

    def _userinfo(
        self, session: Any, document: _Document, token: Mapping[str, Any], claims: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """What it says of the same person where the id token says too little, as Okta's does; else nothing."""
        access = token.get("access_token")
        if document.userinfo is None or not isinstance(access, str):
            return {}
        told = self._json(session, document.userinfo, {"Authorization": f"Bearer {access}"})
        if told.get("sub") != claims["sub"]:
            raise NotSignedIn("untrue", f"{self.host} told of somebody else than who signed in")
        return told

    def _known(self, session: Any) -> _Document:
        """Its discovery document, kept for a while."""
        now, document = self._clock.monotonic(), self._document
        if document is not None and now - document.read_at < KEPT_SECONDS:
            return document
        told = self._json(session, self.block.issuer.rstrip("/") + _WELL_KNOWN)
        if told.get("issuer") != self.block.issuer:
            raise NotSignedIn(
                "untrue", f"{self.host} calls itself by another issuer than webhooks.oidc.issuer, to the letter"
            )
        methods = told.get("token_endpoint_auth_methods_supported")
        self._document = document = _Document(
            authorization=self._endpoint(told, "authorization_endpoint"),
            token=self._endpoint(told, "token_endpoint"),
            keys=self._endpoint(told, "jwks_uri"),
            userinfo=self._endpoint(told, "userinfo_endpoint") if told.get("userinfo_endpoint") else None,
            takes_posted_secret=isinstance(methods, list) and "client_secret_post" in methods,
            read_at=now,
        )
        return document

    def _endpoint(self, told: Mapping[str, Any], name: str) -> str:
        """An address of the document: https, or on this machine where the issuer itself is."""
        url = told.get(name)
        try:
            if isinstance(url, str) and (is_web_address(url).startswith("https://") or is_loopback(self.block.issuer)):
                return url
        except ValueError:
            pass
        raise NotSignedIn("untrue", f"{self.host} has no https address as its {name}")

    def _key_set(self, session: Any, document: _Document, *, again: bool = False) -> Any:
        """Its signing keys, kept for a while; secret ones are none of its signing keys."""
        from joserfc.jwk import KeySet

        now, kept = self._clock.monotonic(), self._keys
        if kept is not None and not again and now - kept[1] < KEPT_SECONDS:
            return kept[0]
        listed = self._json(session, document.keys).get("keys")
        usable: list[Any] = [
            key
            for key in (listed if isinstance(listed, list) else [])
            if isinstance(key, dict) and key.get("kty") in _KEY_TYPES and key.get("use", "sig") == "sig"
        ]
        found = KeySet.import_key_set({"keys": usable})
        self._keys = (found, now)
        return found

    def _json(self, session: Any, url: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        """The JSON object at an address."""
        import requests

        try:
            answer = session.get(
                url, headers=dict(headers or {}), withhold_token=True, timeout=SECONDS, allow_redirects=False
            )
        except requests.exceptions.RequestException as fault:
            raise self._away(fault) from None
        try:
            told = answer.json() if answer.status_code == _OK else None
        except ValueError:
            told = None
        if not isinstance(told, dict):
            raise NotSignedIn("away", f"{self.host} answered {answer.status_code} without what was asked for")
        return told

    def _away(self, fault: Exception) -> NotSignedIn:
        """Its own words may hold what was asked."""
        return NotSignedIn("away", f"{self.host} does not answer: {type(fault).__name__}")

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """A turn to call it; few at once, so that a provider that hangs leaves threads for everybody else."""
        from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]  # as above

        from connector.live.public_only import public_only

        if not self._turns.acquire(timeout=_WAIT_SECONDS):
            raise NotSignedIn("busy", f"{self.host} is being waited for by others")
        try:
            with OAuth2Session(
                self.block.client_id,
                self.block.client_secret.get_secret_value(),
                scope=" ".join(dict.fromkeys(("openid", *self.block.scopes))),
                redirect_uri=self._redirect_uri,
                code_challenge_method="S256",
            ) as session:
                _tame(session, self.block.issuer, public_only)
                yield session
        finally:
            self._turns.release()

    # --- what is believed ---------------------------------------------------------------------------------------

    def _checked(self, session: Any, document: _Document, token: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        """The claims of the id token, when it is one of this provider's, for us, for this request, and of now."""
        from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]  # as above
        from joserfc.errors import JoseError

        encoded = token.get("id_token")
        if not isinstance(encoded, str):
            raise NotSignedIn("untrue", f"{self.host} sent no id token")
        try:
            decoded = self._decoded(session, document, encoded)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                options={
                    "iss": {"essential": True, "value": self.block.issuer},
                    "aud": {"essential": True, "value": self.block.client_id},
                },
                params={
                    "nonce": nonce,
                    "client_id": self.block.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(now=int(self._clock.now().timestamp()), leeway=LEEWAY_SECONDS)
        except (JoseError, KeyError, TypeError, ValueError) as error:
            claim = getattr(error, "claim", None)
            about = f" ({claim})" if claim else ""
            raise NotSignedIn(
                "untrue", f"{self.host}: the id token does not hold: {type(error).__name__}{about}"
            ) from None
        if not claims["sub"]:
            raise NotSignedIn("untrue", f"{self.host}: the id token is nobody's")
        return dict(claims)

    def _decoded(self, session: Any, document: _Document, encoded: str) -> Any:
        """The token, its signature checked; the keys are read once more for one we do not know."""
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError

        try:
            return jwt.decode(encoded, self._key_set(session, document), algorithms=ALGORITHMS)
        except InvalidKeyIdError:
            return jwt.decode(encoded, self._key_set(session, document, again=True), algorithms=ALGORITHMS)


def require_library() -> None:
    """Say which extra is missing where the library is not installed."""
    if importlib.util.find_spec("authlib") is None:
        raise SettingError(
            "webhooks.oidc: signing in by OpenID Connect needs the Authlib library, which is not installed",
            hint="install winback[oidc]",
        )


def role_of(roles: OidcRoles, claims: Mapping[str, Any]) -> str | None:
    """The role of whoever these claims are of: the larger one of two; None: nobody we know."""
    said = claim_of(claims, roles.claim)
    values = [value for value in (said if isinstance(said, list) else [said]) if isinstance(value, str)]
    is_email = roles.claim == EMAIL
    if is_email and claims.get(VERIFIED) is not True:
        return None
    for role, wanted in (("operator", roles.operator), ("viewer", roles.viewer)):
        if any(_is_meant(value, one, is_email=is_email) for value in values for one in wanted):
            return role
    return None


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """What is said under this name, or under its parts one inside the other, as in Keycloak's `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _is_meant(value: str, wanted: str, *, is_email: bool) -> bool:
    if not is_email:
        return value == wanted
    value, wanted = value.lower(), wanted.lower()
    # Letters of other alphabets that look like ours, or become ours in small letters, are nobody's address here.
    name, _, domain = value.partition("@")
    if not value.isascii() or not name or "@" in domain:
        return False
    return domain == wanted[2:] if wanted.startswith("*@") else value == wanted


def _tame(session: requests.Session, issuer: str, public_only: Any) -> None:
    """Let a session call the issuer wherever it is, and what its document names only on the open internet."""
    from requests.adapters import HTTPAdapter

    session.headers["User-Agent"] = "winback"
    # Machine-wide .netrc credentials are not for a provider.
    session.auth = lambda request: request
    if is_loopback(issuer):
        session.trust_env = False
        return
    public_only(session)
    parts = urlsplit(issuer)
    session.mount(f"{parts.scheme}://{parts.netloc}/", HTTPAdapter())
