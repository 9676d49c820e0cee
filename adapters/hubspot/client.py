"""The only file that knows HubSpot's own library: one `ApiClient` for every call, our limits and retries around it.

hubspot-api-client 12 is used for authentication, its connection pool and its errors. Around it goes what it lacks
(read and tried July to November 2026): it builds a new pool at every attribute access, so one instance is kept; it has
no time-outs, so each call passes one; it repeats GET but never POST and knows nothing of `policyName`, so its own
retries are off and ours are on; its operations call v3 paths only, so paths come from `versions.py`; it answers None
to a status it did not expect, so every success is decoded here; it logs whole answers, so that logger is silenced.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.hubspot import versions
from adapters.hubspot.options import HubSpotOptions
from connector.contracts import Connection
from connector.errors import CredentialsError, OutcomeUnknown, QuotaExhausted, RejectedError, RetriableError
from connector.redact import redact
from connector.rest import (
    CONNECT_SECONDS,
    Answer,
    Effect,
    TooFast,
    connection_fault,
    fault_for,
    is_loopback,
    retry_after,
    run_attempts,
)

SEARCH_METER: Final = "search"
"""Search has an allowance of its own: 5 calls a second for all apps of the account."""

_POOL_SIZE: Final = 8
_SUCCESS: Final = dict.fromkeys(range(200, 300), "object")
_SECONDLY_SECONDS: Final = 1.0
_TEN_SECONDLY_SECONDS: Final = 10.0
_LOCKED_SECONDS: Final = 2.0
_OBSERVE_EVERY_SECONDS: Final = 30.0
_UNAUTHORIZED, _FORBIDDEN, _LOCKED, _TOO_MANY, _MIGRATING = 401, 403, 423, 429, 477


@dataclass(frozen=True, slots=True)
class VendorError:
    """HubSpot's error body, as far as it could be read; everything may be missing."""

    message: str
    category: str = ""
    sub_category: str = ""
    policy: str = ""
    correlation_id: str = ""
    scopes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> VendorError:
        """Read an error body; text that is not their JSON becomes the message."""
        body: Any = None
        with contextlib.suppress(ValueError):
            body = json.loads(text)
        if not isinstance(body, dict):
            return cls(message=redact(text.strip())[:400])
        details = [item for item in body.get("errors") or () if isinstance(item, dict)]
        contexts = [body.get("context"), *(item.get("context") for item in details)]
        scopes = [
            scope
            for context in contexts
            if isinstance(context, dict)
            for key in ("requiredGranularScopes", "requiredScopes", "missingScopes")
            for scope in context.get(key) or ()
        ]
        return cls(
            message=redact(str(body.get("message") or ""))[:1_000],
            category=str(body.get("category") or body.get("errorType") or ""),
            sub_category=str(body.get("subCategory") or ""),
            policy=str(body.get("policyName") or ""),
            correlation_id=str(body.get("correlationId") or ""),
            scopes=tuple(dict.fromkeys(map(str, scopes))),
            codes=tuple(str(item["code"]) for item in details if item.get("code")),
        )

    def words(self) -> str:
        """The message with what their support asks for."""
        reference = f" (correlationId {self.correlation_id})" if self.correlation_id else ""
        return f"{self.message or self.category or 'no reason given'}{reference}"


class HubSpotRejected(RejectedError):
    """HubSpot refused a call; keeps its error body in parts."""

    def __init__(self, message: str, *, vendor: VendorError, status: int, body: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, status=status, body=body)
        self.vendor = vendor


class MissingScopesError(CredentialsError):
    """The token is good, but may not do this; `scopes` are those that HubSpot says it lacks."""

    def __init__(self, message: str, *, hint: str | None = None, scopes: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.scopes = tuple(scopes)


class HubSpotClient:
    """Calls HubSpot within the shared budget; one per source or destination, usable from several threads."""

    def __init__(self, connection: Connection) -> None:
        from hubspot.crm.contacts import ApiClient, Configuration

        self.options: HubSpotOptions = connection.options
        self._clock = connection.clock
        self._budget = connection.budget
        self._reporter = connection.reporter
        self._token = _token(connection)
        timeout = self.options.timeout_seconds
        self._timeout = (min(CONNECT_SECONDS, timeout), timeout)
        configuration = Configuration(host=self.options.url)
        configuration.access_token = self._token
        configuration.connection_pool_maxsize = _POOL_SIZE
        configuration.retries = False  # neither urllib3's retries nor its redirects: both would carry the token along
        configuration.proxy = _proxy_for(self.options.url)
        self._api = ApiClient(configuration)
        self._api.user_agent = "winback"
        self._api.set_default_header("Accept", "application/json")
        self._api.set_default_header("Accept-Encoding", "gzip")
        # At debug level the library writes whole answers, people included, into the log.
        logging.getLogger("hubspot.crm.contacts.rest").setLevel(logging.INFO)
        self._observed_at: float | None = None
        self._lock = threading.Lock()
        self.server_time: datetime | None = None
        """HubSpot's clock at the last answer, from its Date header."""

    def close(self) -> None:
        """Let go of connections."""
        self._api.rest_client.pool_manager.clear()
        self._api.close()

    def path(self, resource: str, tail: str = "") -> str:
        """The path of a call, in the configured version."""
        return versions.path(resource, tail, version=self.options.api_version)

    def read(
        self,
        path: str,
        *,
        query: Sequence[tuple[str, Any]] = (),
        place: Mapping[str, Any] | None = None,
        attempts: int | None = None,
    ) -> Any:
        """The JSON of a GET."""
        return self.call("GET", path, query=query, place=place, effect=Effect.READ, attempts=attempts).data

    def search(self, object_type: str, body: Mapping[str, Any]) -> Any:
        """One page of a CRM search, on its own meter."""
        path = self.path("objects", "/{objectType}/search")
        place = {"objectType": object_type}
        return self.call("POST", path, place=place, body=body, meter=SEARCH_METER, effect=Effect.READ).data

    def call(
        self,
        method: str,
        path: str,
        *,
        effect: Effect,
        query: Sequence[tuple[str, Any]] = (),
        place: Mapping[str, Any] | None = None,
        body: Any = None,
        meter: str = "",
        attempts: int | None = None,
    ) -> Answer:
        """Make one call, with retries.

        Args:
            method: HTTP method.
            path: From `path`, with `{placeholders}`.
            effect: What the call does; decides whether it is repeated when no answer came.
            query: Query parameters; a name may occur several times.
            place: Values for the placeholders; quoted here.
            body: JSON.
            meter: The allowance the call counts against.
            attempts: How often to try; the usual number by default.

        Raises:
            CredentialsError: the token is wrong or lacks a scope, which is named.
            QuotaExhausted: the account's calls of today are used up, by whomever.
            RetriableError, OutcomeUnknown: retries are used up; nothing was done, it may have been done.
            HubSpotRejected: the call was refused.
        """
        what = f"hubspot {method} {_fill(path, place)}"

        def attempt() -> Answer:
            self._budget.acquire(meter)
            return self._once(method, path, query, place, body, meter=meter, effect=effect, what=what)

        extra = {} if attempts is None else {"attempts": attempts}
        return run_attempts(attempt, self._clock, effect=effect, on_retry=self._tell, **extra)

    def _once(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, Any]],
        place: Mapping[str, Any] | None,
        body: Any,
        *,
        meter: str,
        effect: Effect,
        what: str,
    ) -> Answer:
        """One request through the library: its data, or our error."""
        from hubspot.crm.contacts.exceptions import ApiException
        from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ProxyError

        try:
            data, status, headers = self._api.call_api(
                path,
                method,
                path_params=dict(place or {}),
                query_params=list(query),
                body=body,
                response_types_map=_SUCCESS,
                auth_settings=["oauth2"],
                _request_timeout=self._timeout,
            )
        except ApiException as refusal:
            raise self._error(refusal, meter=meter, effect=effect, what=what) from None
        except (NewConnectionError, ConnectTimeoutError, ProxyError) as fault:
            raise connection_fault(fault, what=what, effect=effect, sent=False) from None
        except HTTPError as fault:
            raise connection_fault(fault, what=what, effect=effect, sent=True) from None
        except (AttributeError, UnicodeDecodeError) as fault:
            # The library decodes an error body without looking: there is none after a TLS failure, and a gateway's
            # need not be UTF-8. Its own exception is still behind this one.
            behind = fault.__context__
            if not isinstance(behind, ApiException):
                raise
            raise self._error(behind, meter=meter, effect=effect, what=what) from None
        self._learn(headers)
        if isinstance(data, str):
            if data.strip():
                kind = RetriableError if effect is Effect.READ else OutcomeUnknown
                raise kind(f"{what}: answered {status} with something that is not JSON: {redact(data.strip())[:200]}")
            data = None
        return Answer(status, data, headers)

    def _error(self, refusal: Any, *, meter: str, effect: Effect, what: str) -> Exception:
        """Our error for one of the library's, by what the caller should do."""
        status = int(refusal.status or 0)
        if status == 0:
            return connection_fault(Exception(redact(str(refusal.reason))), what=what, effect=effect, sent=False)
        raw = refusal.body or ""
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        headers = dict(refusal.headers or {})
        self._learn(headers)
        vendor = VendorError.parse(text)
        if status == _TOO_MANY:
            return self._too_many(vendor, headers, meter=meter, what=what)
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            return _credentials_error(status, vendor, what)
        pause = retry_after(headers, self._clock)
        if status in {_LOCKED, _MIGRATING}:
            return RetriableError(f"{what}: {vendor.words()}", retry_after_seconds=pause or _LOCKED_SECONDS)
        fault = fault_for(status, vendor.words(), what=what, effect=effect, pause=pause)
        if isinstance(fault, RejectedError):
            return HubSpotRejected(str(fault), vendor=vendor, status=status, body=redact(text))
        return fault

    def _too_many(self, vendor: VendorError, headers: Mapping[str, str], *, meter: str, what: str) -> Exception:
        """What a 429 means: wait a second, wait ten, or stop for today."""
        said = f"{vendor.policy} {vendor.message}".lower()
        if vendor.policy.upper() == "DAILY" or "daily" in said:
            limit = _number(headers, "X-HubSpot-RateLimit-Daily")
            if limit:
                self._budget.observe_daily(used=limit, limit=limit)
            return QuotaExhausted(
                f"{what}: HubSpot's daily call limit of this account is used up (all private apps and keys share it)",
                hint="it resets at midnight in the account's time zone; run again then, or lower `rate.share`",
            )
        if "export" in said or vendor.sub_category.upper().startswith("EXPORT"):
            # Thirty exports in 24 hours: waiting seconds does not help.
            return HubSpotRejected(f"{what}: {vendor.words()}", vendor=vendor, status=_TOO_MANY, body=vendor.message)
        per_second = "ten" not in said and (meter == SEARCH_METER or "secondly" in said)
        usual = _SECONDLY_SECONDS if per_second else _TEN_SECONDLY_SECONDS
        pause = retry_after(headers, self._clock) or usual
        self._budget.penalize(pause, meter)
        # The budget makes everybody wait, this process included; a further pause here would only add to it.
        return TooFast(f"{what}: too many calls: {vendor.words()}", retry_after_seconds=0.0)

    def _learn(self, headers: Mapping[str, str]) -> None:
        """Take what every answer says by the way: the day's usage and HubSpot's clock."""
        date = _header(headers, "Date")
        if date:
            with contextlib.suppress(ValueError, TypeError):
                self.server_time = parsedate_to_datetime(date)
        limit = _number(headers, "X-HubSpot-RateLimit-Daily")
        left = _number(headers, "X-HubSpot-RateLimit-Daily-Remaining")
        if limit is None or left is None:
            return
        with self._lock:
            now = self._clock.monotonic()
            if self._observed_at is not None and now - self._observed_at < _OBSERVE_EVERY_SECONDS:
                return
            self._observed_at = now
        self._budget.observe_daily(used=max(0, limit - left), limit=limit)

    def observe_daily(self, *, used: int, limit: int) -> None:
        """Pass on what HubSpot says about today's usage."""
        self._budget.observe_daily(used=used, limit=limit)

    def _tell(self, fault: BaseException, pause_seconds: float) -> None:
        """Say that we wait, if it is long enough to wonder about."""
        if pause_seconds >= 5:  # noqa: PLR2004
            self._reporter.line(f"{fault}; trying again in {pause_seconds:.0f} s")

    def token_scopes(self) -> frozenset[str] | None:
        """The scopes of our token, where HubSpot tells: for private apps, not for every kind of key."""
        body = {"tokenKey": self._token}
        path = "/oauth/v2/private-apps/get/access-token-info"
        with contextlib.suppress(RejectedError, RetriableError, CredentialsError):
            answer = self.call("POST", path, body=body, effect=Effect.READ, attempts=1).data
            if isinstance(answer, dict) and isinstance(answer.get("scopes"), list):
                return frozenset(map(str, answer["scopes"]))
        return None


def _token(connection: Connection) -> str:
    """The access token of the connection.

    Raises:
        CredentialsError: there is none.
    """
    secret = connection.options.auth.get("token")
    token = secret.get_secret_value().strip() if secret is not None else ""
    if not token:
        raise CredentialsError(
            f"{connection.name}: no HubSpot token",
            hint='set `auth: {token: "${HUBSPOT_TOKEN}"}` and that variable; adapters/hubspot/README.md says how',
        )
    return token


def _credentials_error(status: int, vendor: VendorError, what: str) -> CredentialsError:
    """A refused token, or a permission it lacks, by name."""
    if status == _UNAUTHORIZED:
        return CredentialsError(
            f"{what}: HubSpot does not accept the token ({vendor.words()})",
            hint="make a new service key or private-app token and set it where `auth.token` points",
        )
    scopes = ", ".join(vendor.scopes)
    missing = f"the token lacks {scopes}" if scopes else "the token lacks a permission"
    return MissingScopesError(
        f"{what}: {missing}: {vendor.words()}",
        hint=f"add {scopes or 'the scopes listed in adapters/hubspot/README.md'} to the key in HubSpot",
        scopes=vendor.scopes,
    )


def _proxy_for(url: str) -> str | None:
    """The machine's HTTP proxy for this address; the vendor's library does not look for one itself."""
    from requests.utils import get_environ_proxies

    if is_loopback(url):
        return None
    return get_environ_proxies(url).get(urlsplit(url).scheme)


def _fill(path: str, place: Mapping[str, Any] | None) -> str:
    """The path as a person reads it in an error."""
    for key, value in (place or {}).items():
        path = path.replace("{" + key + "}", str(value))
    return redact(path)


def _header(headers: Mapping[str, str], name: str) -> str | None:
    """A header by any spelling of its name."""
    if name in headers:
        return headers[name]
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)


def _number(headers: Mapping[str, str], name: str) -> int | None:
    """A whole number from a header; None when absent or unreadable."""
    value = _header(headers, name)
    return int(value) if value is not None and value.strip().isdigit() else None


def text_ids(values: Iterable[Any]) -> list[str]:
    """Record ids as text, whatever HubSpot sent them as."""
    return [str(value) for value in values]
