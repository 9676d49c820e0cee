"""HTTP sessions as simple-salesforce should have them, and the login it makes with one.

The library speaks https to `<domain>.salesforce.com` and to nowhere else; where the org is a look-alike on this
machine, the session carries its requests there instead, so that the library needs no change.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from adapters.salesforce.options import SalesforceOptions
from adapters.salesforce.vendor_errors import VendorError
from connector.contracts import Connection
from connector.errors import CredentialsError, RejectedError, RetriableError, SettingError
from connector.redact import redact
from connector.rest import Effect, connection_fault, fault_for, is_loopback

if TYPE_CHECKING:
    import requests

_README: Final = "adapters/salesforce/README.md says how to make an External Client App"
_RETIRED: Final = frozenset({"password", "security_token", "securitytoken", "session_id"})
_STAND_IN: Final = "look-alike.my"
"""The domain the library is given where the org is not at a host of Salesforce's."""
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and the host that takes it. Never logged."""

    value: str
    host: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is needed to log in: an app's key with its secret, or with a user and a private key."""

    client_id: str
    client_secret: str = ""
    username: str = ""
    private_key: str = ""


def credentials(connection: Connection) -> Credentials:
    """The credentials of a connection.

    Raises:
        SettingError: they are of a kind that Salesforce retired, or mixed.
        CredentialsError: there are none, or a part is missing.
    """
    given = {name: secret.get_secret_value().strip() for name, secret in connection.options.auth.items()}
    retired = sorted(_RETIRED & given.keys())
    if retired:
        raise SettingError(
            f"{connection.name}: auth.{retired[0]}: Salesforce has retired logging in with a password or a session",
            hint=f"log in as an app: `auth: {{client_id: …, client_secret: …}}`; {_README}",
        )
    unknown = sorted(given.keys() - {"client_id", "client_secret", "username", "private_key"})
    if unknown:
        raise SettingError(
            f"{connection.name}: auth.{unknown[0]}: no such key",
            hint="there are client_id with client_secret, or client_id with username and private_key",
        )
    found = Credentials(**{name: value for name, value in given.items() if value}) if given.get("client_id") else None
    by_key = found is not None and bool(found.username and found.private_key)
    if found is None or not (found.client_secret or by_key):
        missing = "client_id" if found is None else "client_secret" if not found.username else "private_key"
        raise CredentialsError(
            f"{connection.name}: no Salesforce {missing}",
            hint='set `auth: {client_id: "${SF_CLIENT_ID}", client_secret: "${SF_CLIENT_SECRET}"}` and '
            f"those variables; {_README}",
        )
    if found.client_secret and by_key:
        raise SettingError(
            f"{connection.name}: auth has both a client_secret and a private_key", hint="keep the one that is in use"
        )
    return found


def address(connection: Connection) -> str:
    """Where the org answers.

    Raises:
        SettingError: nobody said, or it is not encrypted.
    """
    url: str | None = connection.options.url
    if url is None:
        raise SettingError(
            f"{connection.name}: no Salesforce org named",
            hint="set `domain: acme.my.salesforce.com` (Setup → My Domain)",
        )
    if not url.startswith("https://") and not is_loopback(url):
        raise SettingError(f"{connection.name}: base_url is not https", hint="credentials travel encrypted only")
    return url


def open_session(options: SalesforceOptions, url: str) -> requests.Session:
    """A session with time-outs that follows no redirect, keeps no cookie, and goes nowhere else with credentials."""
    from http.cookiejar import DefaultCookiePolicy

    import requests
    from requests.adapters import HTTPAdapter

    timeout = (min(10.0, options.timeout_seconds), options.timeout_seconds)
    origin = urlsplit(url)

    class Carrier(HTTPAdapter):
        """Adds the time-outs that the library leaves out; sends what is for the org to where the org is."""

        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            kwargs["timeout"] = kwargs.get("timeout") or timeout
            asked = urlsplit(request.url or "")
            if asked.hostname == f"{_STAND_IN}.salesforce.com" or asked.netloc == origin.netloc:
                request.url = asked._replace(scheme=origin.scheme, netloc=origin.netloc).geturl()
            elif not _is_theirs(asked.hostname or ""):
                raise requests.exceptions.InvalidURL(f"refused to send credentials to {asked.hostname}")
            return super().send(request, *args, **kwargs)

    session = requests.Session()
    session.headers["User-Agent"] = "winback"
    session.trust_env = not is_loopback(url)
    session.auth = _no_netrc  # a machine-wide .netrc would replace our token
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # none: a token is all there is
    session.mount("https://", Carrier(pool_maxsize=8))
    session.mount("http://", Carrier(pool_maxsize=8))
    return session


class LoginRefusedError(Exception):
    """The library was told no; its text is what came back."""


def log_in(
    connection: Connection,
    given: Credentials,
    url: str,
    *,
    login: Callable[..., tuple[str, str]],
    note: Callable[[Mapping[str, str]], None],
) -> Token:
    """A new access token, through the library's own login.

    Args:
        connection: Whose login.
        given: From `credentials`.
        url: From `address`.
        login: The library's, raising LoginRefusedError where Salesforce says no.
        note: Given the headers of the answer.

    Raises:
        CredentialsError: Salesforce does not accept them; says what to do about it.
        RetriableError: no answer, or one that is not a token.
    """
    import requests
    from jwt.exceptions import PyJWTError

    what = f"{connection.name}: salesforce login"
    seen: list[requests.Response] = []
    session = open_session(connection.options, url)
    session.max_redirects = 0  # the library would follow them
    session.hooks["response"].append(lambda response, **_: seen.append(response))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns with the app's key in the text
            token, host = login(session=session, **_flow(given, url))
    except LoginRefusedError as refusal:
        status = seen[-1].status_code if seen else 0
        vendor = VendorError.parse(seen[-1].text if seen else str(refusal))
        raise _refused(what, status, vendor) from None
    except requests.exceptions.TooManyRedirects:
        raise RejectedError(f"{what}: answered with a redirect, which is never followed", hint=_DOMAIN_HINT) from None
    except requests.exceptions.RequestException as fault:
        # Nothing is changed by asking for a token, so it is the same whether the request arrived.
        raise connection_fault(_bare(fault), what=what, effect=Effect.READ, sent=False) from None
    except (ValueError, AttributeError, TypeError, KeyError, PyJWTError) as fault:
        if not seen:
            # Before anything was sent: the key could not sign.
            raise SettingError(
                f"{connection.name}: auth.private_key cannot be used ({type(fault).__name__})",
                hint="it is the PEM text of the RSA key whose certificate the app has, from -----BEGIN to END-----",
            ) from None
        raise RetriableError(f"{what}: answered {seen[-1].status_code} with something that is no token") from None
    finally:
        session.close()
    note(seen[-1].headers)
    host = str(host).split("/", 1)[0]
    if not token or not (_is_theirs(urlsplit(f"//{host}").hostname or "") or host == urlsplit(url).netloc):
        raise RejectedError(f"{what}: the token is for {redact(host)}, which is no host of Salesforce's")
    return Token(str(token), host)


_DOMAIN_HINT: Final = "`domain` must be the org's My Domain (Setup → My Domain), not the address of its pages"
_HINTS: Final = {
    "invalid_client_id": "auth.client_id is not the consumer key of an app of this org; copy it again",
    "invalid_client": "auth.client_secret is wrong or was rotated; copy the consumer secret again",
    "inactive_user": "the user that the app runs as is inactive or frozen; activate it, or choose another",
    "inactive_org": "the org is locked or being moved; ask its administrator",
    "unsupported_grant_type": "this host does not know the flow; " + _DOMAIN_HINT,
    "rate_limit_exceeded": "too many logins; something else uses the same user",
}
_PHRASES: Final = (
    ("no client credentials user", "in the app's policies, enable the client credentials flow and set its Run As user"),
    ("client credentials", "in the app's settings, enable the client credentials flow"),
    (
        "hasn't approved",
        "in the app's policies, choose “Admin approved users are pre-authorized”, and add the user's permission set",
    ),
    ("ip restricted", "the app's or the user's IP policy refuses this machine's address"),
    ("assertion", "auth.username must be of this org, and the app must hold the certificate of auth.private_key"),
    ("audience", "the org wants another login host; check `domain`"),
    ("not supported on this domain", _DOMAIN_HINT),
)


def _flow(given: Credentials, url: str) -> dict[str, Any]:
    """The library's arguments: which of its flows is taken depends on which are there."""
    host = urlsplit(url).hostname or ""
    mine = host.removesuffix(".salesforce.com") if host.endswith(".salesforce.com") else _STAND_IN
    if not given.private_key:
        return {"consumer_key": given.client_id, "consumer_secret": given.client_secret, "domain": mine}
    # The audience is the login host; the request goes to the org itself.
    return {
        "username": given.username,
        "consumer_key": given.client_id,
        "privatekey": given.private_key.replace("\\n", "\n"),
        "domain": "test" if ".sandbox." in host or host.endswith(".scratch.my.salesforce.com") else "login",
        "instance_url": mine,
    }


def _refused(what: str, status: int, vendor: VendorError) -> Exception:
    """Our error for a login that was refused."""
    said = vendor.message.lower()
    if not vendor.code and status in {200, 404}:
        return RejectedError(f"{what}: answered {status} with a page, not a token", hint=_DOMAIN_HINT)
    if status == _TOO_MANY or status >= 500 or status == 0:  # noqa: PLR2004
        return fault_for(status or 503, vendor.words(), what=what, effect=Effect.READ)
    hint = next((advice for phrase, advice in _PHRASES if phrase in said), None) or _HINTS.get(vendor.code)
    return CredentialsError(
        f"{what}: Salesforce does not accept the credentials ({vendor.words()})",
        hint=hint or f"check the app's key, its secret, its flow and its Run As user; {_README}",
    )


def _bare(fault: Exception) -> Exception:
    """The fault without its text, which repeats the address that was called."""
    return type(fault)(_kind(fault))


def _kind(fault: BaseException) -> str:
    """What lies behind a fault, by the names of its causes."""
    names: list[str] = []
    inner: Any = fault
    for _ in range(4):
        inner = next((part for part in getattr(inner, "args", ()) if isinstance(part, BaseException)), None) or getattr(
            inner, "reason", None
        )
        if not isinstance(inner, BaseException):
            break
        names.append(type(inner).__name__)
    return ", ".join(names)


def bare_kind(fault: BaseException) -> str:
    """A connection fault in a few words without any address."""
    return _kind(fault) or type(fault).__name__


def _is_theirs(host: str) -> bool:
    """Whether a host is Salesforce's, so that credentials may go there."""
    return host.endswith((".salesforce.com", ".salesforce.mil", ".cloudforce.com", ".database.com"))


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authentication that adds nothing: the header is there already."""
    return request
