"""The only file that speaks with simple-salesforce: one token, one session, our limits and retries around them.

simple-salesforce 1.12.10 is used for logging in, for the addresses of the org's API and for the headers of a call.
Around it goes what it lacks (read and tried November 2026): it has no time-outs, so the session brings them; its two
ways of renewing a token drop the headers of the call, and one of them never ends, so it is given a token instead of
credentials and a 401 is dealt with here; Bulk never renews at all; an error body that is an object, or a page of HTML,
breaks it; what it raises repeats the address with the query in it; it forgets how many calls are left once a call was
refused; it asks for indented JSON, a quarter more bytes; nothing in it is guarded against two threads.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from adapters.salesforce.options import SalesforceOptions
from adapters.salesforce.sessions import LoginRefusedError, Token, address, bare_kind, credentials, log_in, open_session
from adapters.salesforce.vendor_errors import (
    LIMIT,
    LOCKED,
    TIMEOUTS,
    MissingPermissionsError,
    SalesforceRejected,
    VendorError,
    plain,
    usage,
)
from connector.contracts import Connection
from connector.errors import (
    CredentialsError,
    OutcomeUnknown,
    QuotaExhausted,
    RejectedError,
    RetriableError,
)
from connector.paging import walk_links
from connector.redact import redact
from connector.rest import PIECE_BYTES, Answer, Effect, TooFast, connection_fault, fault_for, retry_after, run_attempts

if TYPE_CHECKING:
    import requests
    from simple_salesforce.api import Salesforce

__all__ = ["MissingPermissionsError", "SalesforceClient", "SalesforceRejected", "VendorError", "plain"]

CALL_OPTIONS: Final = "client=winback/1.0"
ROWS_PER_PAGE: Final = 2_000
"""The most rows one page of a query has; wide rows come in smaller ones."""

CSV: Final = "text/csv"
JSON: Final = "application/json"

_CONCURRENT_SECONDS: Final = 5.0
_LOCKED_SECONDS: Final = 1.0
_OBSERVE_EVERY_SECONDS: Final = 30.0
_SLOWEST_DOWNLOAD_SECONDS: Final = 120.0
_OK, _MULTIPLE, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _GONE = 200, 300, 401, 403, 404, 410
_BULK_EXPIRED: Final = "InvalidSessionId"
"""What Bulk says with a 400 where REST says INVALID_SESSION_ID with a 401 (seen July 2026)."""
_VERSION_ERRORS: Final = frozenset({"UNSUPPORTED_API_VERSION", "InvalidVersion"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose token it is."""

    user_id: str
    org_id: str


class SalesforceClient:
    """Calls one org within the shared budget; one per source or destination, usable from several threads."""

    def __init__(self, connection: Connection) -> None:
        self.options: SalesforceOptions = connection.options
        self._connection = connection
        self._clock = connection.clock
        self._budget = connection.budget
        self._reporter = connection.reporter
        self._credentials = credentials(connection)
        self._url = address(connection)
        self._timeout = (min(10.0, self.options.timeout_seconds), self.options.timeout_seconds)
        self._session = open_session(self.options, self._url)
        self._lock = threading.Lock()
        self._login = threading.Lock()
        self._signed_in: Salesforce | None = None
        self._identity: Identity | None = None
        self._observed_at: float | None = None
        self.clock_ahead: timedelta | None = None
        """How far our clock is before Salesforce's, by the Date header of the last answer."""

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    # --- the shapes of calls ------------------------------------------------------------------------------------

    def path(self, tail: str = "", *, version: str | None = None) -> str:
        """The path of a call: `path("/query")` is /services/data/v66.0/query."""
        return f"/services/data/v{version or self.options.version}{tail}"

    def read(
        self, path: str, *, query: Mapping[str, Any] | None = None, attempts: int | None = None, accept: str = JSON
    ) -> Any:
        """The JSON of a GET, or the bytes of anything else."""
        return self.call("GET", path, query=query, effect=Effect.READ, attempts=attempts, accept=accept).data

    def rows(self, soql: str, *, deleted: bool = False) -> list[Mapping[str, Any]]:
        """Every record a query finds; for answers that are small."""
        return [row for records, _ in self.pages(soql, deleted=deleted) for row in records]

    def count(self, soql: str) -> int:
        """What a `SELECT COUNT()` answers."""
        return int((self.read(self.path("/query"), query={"q": soql}) or {}).get("totalSize") or 0)

    def pages(self, soql: str, *, deleted: bool = False) -> Iterator[tuple[Sequence[Mapping[str, Any]], int]]:
        """The pages of a query, each with how many records the whole query finds.

        Args:
            soql: The query; see `soql.py`.
            deleted: Whether records in the recycle bin are found too.

        Raises:
            SalesforceRejected: with code INVALID_QUERY_LOCATOR when the rest of a query is no longer there.
        """
        total = 0

        def fetch(link: str) -> tuple[Sequence[Any], str | None]:
            nonlocal total
            first = {"q": soql} if link == start else None
            answer = self.read(link, query=first) or {}
            total = int(answer.get("totalSize") or 0)
            following = None if answer.get("done", True) else answer.get("nextRecordsUrl")
            return answer.get("records") or (), following

        start = self.path("/queryAll" if deleted else "/query")
        for page in walk_links(fetch, what="salesforce query", start=start):
            yield page.items, total

    def describe(self, kind: str, *, attempts: int | None = None) -> Mapping[str, Any] | None:
        """What the org says about a kind of record as far as our user may see it; None if it knows of none."""
        try:
            return self.read(self.path(f"/sobjects/{kind}/describe"), attempts=attempts) or {}
        except SalesforceRejected as refusal:
            if refusal.status in {_NOT_FOUND, 400}:
                return None
            raise

    def sign_in(self) -> None:
        """Log in, unless there is a token; no API call is counted for it."""
        self._org()

    def identity(self) -> Identity:
        """Whose token we have; asked once."""
        with self._lock:
            known = self._identity
        if known is None:
            known = self._who()
            with self._lock:
                self._identity = known
        return known

    def _who(self) -> Identity:
        try:
            said = self.read("/services/oauth2/userinfo") or {}
            return Identity(str(said["user_id"]), str(said["organization_id"]))
        except (CredentialsError, RejectedError, KeyError):
            # An app with the scope `api` alone may be refused there; the list of resources ends with the same ids.
            link = str((self.read(self.path("/")) or {}).get("identity") or "")
            user, org, *_ = [*link.rstrip("/").split("/")[::-1], "", ""]
            return Identity(user, org)

    def call(
        self,
        method: str,
        path: str,
        *,
        effect: Effect,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: str = JSON,
        attempts: int | None = None,
    ) -> Answer:
        """Make one call, with retries and a renewed token.

        Args:
            method: HTTP method.
            path: From `path`, or one that Salesforce gave (`nextRecordsUrl`).
            effect: What the call does; decides whether it is repeated when no answer came.
            query: Query parameters.
            body: Sent as JSON.
            content: Sent as CSV instead.
            headers: Besides the usual ones; they are sent again with every repetition.
            accept: What is wanted; unless it is JSON, the answer's data are bytes.
            attempts: How often to try; the usual number by default.

        Raises:
            CredentialsError: the login is refused, or the user may not do this (MissingPermissionsError).
            QuotaExhausted: the org's calls of the last 24 hours are used up, by whomever.
            RetriableError, OutcomeUnknown: retries are used up; nothing was done, it may have been done.
            SalesforceRejected: the call was refused.
        """
        what = f"salesforce {method} {_shown(path)}"

        def attempt() -> Answer:
            response = self._ask(
                method, path, what=what, effect=effect, query=query, body=body, content=content, headers=headers,
                accept=accept,
            )  # fmt: skip
            with response:
                return Answer(response.status_code, _data(response, accept, what, effect), dict(response.headers))

        return self._attempts(attempt, effect=effect, attempts=attempts)

    def download(self, path: str, target: Path, *, query: Mapping[str, Any] | None = None) -> Mapping[str, str]:
        """The CSV at a path into a file, in pieces; its headers. A failed download leaves no file."""
        what = f"salesforce GET {_shown(path)}"
        part = target.with_name(target.name + ".part")

        def attempt() -> Answer:
            import requests

            try:
                with self._ask(
                    "GET", path, what=what, effect=Effect.READ, query=query, accept=CSV, stream=True
                ) as response:
                    _pour(response, part, what)
                    part.replace(target)
                    return Answer(response.status_code, None, dict(response.headers))
            except requests.exceptions.RequestException as fault:
                raise RetriableError(f"{what}: broke off ({bare_kind(fault)})") from None
            finally:
                part.unlink(missing_ok=True)

        target.parent.mkdir(parents=True, exist_ok=True)
        return self._attempts(attempt, effect=Effect.READ, attempts=None).headers

    # --- one request --------------------------------------------------------------------------------------------

    def _attempts(self, attempt: Any, *, effect: Effect, attempts: int | None) -> Answer:
        extra = {} if attempts is None else {"attempts": attempts}
        return run_attempts(attempt, self._clock, effect=effect, on_retry=self._tell, **extra)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        what: str,
        effect: Effect,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: str = JSON,
        stream: bool = False,
    ) -> requests.Response:
        """A successful response; where the token has run out, once more with a new one and the same headers."""
        payload = content if content is not None else None if body is None else json.dumps(body, allow_nan=False)
        further = {
            "Accept": accept,
            "Content-Type": f"{CSV}; charset=UTF-8" if content is not None else JSON,
            "Sforce-Call-Options": CALL_OPTIONS,
            **(headers or {}),
        }
        for renewed in (False, True):
            org = self._org()
            token = org.session_id
            response = self._send(
                org,
                method,
                path,
                headers=further,
                query=query,
                payload=payload,
                what=what,
                effect=effect,
                stream=stream,
            )
            self._learn(response.headers)
            if response.ok and response.status_code < _MULTIPLE:
                return response
            with response:
                vendor = VendorError.parse(response.content.decode("utf-8", "replace"))
            expired = response.status_code == _UNAUTHORIZED or vendor.code == _BULK_EXPIRED
            if not expired or renewed:
                raise self._error(response.status_code, vendor, response.headers, what=what, effect=effect)
            self._forget(token)
        raise AssertionError("unreachable")  # pragma: no cover

    def _send(
        self,
        org: Salesforce,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Mapping[str, Any] | None,
        payload: bytes | str | None,
        what: str,
        effect: Effect,
        stream: bool,
    ) -> requests.Response:
        """One request over the library's session, with its headers; our error where no answer came."""
        import requests

        usual = {name: value for name, value in org.headers.items() if name != "X-PrettyPrint"}
        timeout = (self._timeout[0], max(_SLOWEST_DOWNLOAD_SECONDS, self._timeout[1])) if stream else self._timeout
        self._budget.acquire()
        try:
            response: requests.Response = org.session.request(
                method,
                self._full(org, path),
                params=dict(query or {}) or None,
                data=payload,
                headers={**usual, **headers},
                timeout=timeout,
                allow_redirects=False,
                stream=stream,
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as fault:
            raise RejectedError(f"{what}: refused to call that address") from fault
        except requests.exceptions.RequestException as fault:
            sent = not _never_connected(fault)
            raise connection_fault(ConnectionError(bare_kind(fault)), what=what, effect=effect, sent=sent) from None
        return response

    def _full(self, org: Salesforce, path: str) -> str:
        """The address of a path; a full address is taken only on our own host."""
        if "://" in path:
            asked = urlsplit(path)
            if asked.netloc not in {org.sf_instance, urlsplit(self._url).netloc}:
                raise RejectedError(f"salesforce: refused to send credentials to {asked.hostname}")
            path = asked._replace(scheme="", netloc="").geturl()
        return f"https://{org.sf_instance}/{path.lstrip('/')}"

    # --- the token ----------------------------------------------------------------------------------------------

    def _org(self) -> Salesforce:
        """The library's object with a token that was good when we last looked."""
        from simple_salesforce.api import Salesforce

        with self._login:
            if self._signed_in is None:
                token = self._new_token()
                # With a token instead of credentials the library never renews by itself.
                self._signed_in = Salesforce(
                    session_id=token.value,
                    instance=token.host,
                    version=self.options.version,
                    session=self._session,
                )
            return self._signed_in

    def _new_token(self) -> Token:
        answers: list[Token] = []

        def attempt() -> Answer:
            answers.append(log_in(self._connection, self._credentials, self._url, login=_login, note=self._learn))
            return Answer(_OK, None)

        run_attempts(attempt, self._clock, effect=Effect.READ, attempts=4, on_retry=self._tell)
        return answers[-1]

    def _forget(self, token: str) -> None:
        """Let the next call log in again, unless another thread has done so since."""
        with self._login:
            if self._signed_in is not None and self._signed_in.session_id == token:
                self._signed_in = None

    # --- what an answer says ------------------------------------------------------------------------------------

    def _error(
        self, status: int, vendor: VendorError, headers: Mapping[str, str], *, what: str, effect: Effect
    ) -> Exception:
        """Our error for an answer that is no success, by what the caller should do."""
        if vendor.code == LIMIT:
            return self._limit(vendor, headers, what)
        if status == _UNAUTHORIZED or vendor.code == _BULK_EXPIRED:
            return CredentialsError(
                f"{what}: Salesforce does not accept a token it has just given ({vendor.words()})",
                hint="`domain` must be the org's own My Domain; the app's session policy may be bound to an address",
            )
        if status == _FORBIDDEN:
            return _forbidden(vendor, what)
        if vendor.code == LOCKED:
            # Refused before anything was done.
            return RetriableError(f"{what}: {vendor.words()}", retry_after_seconds=_LOCKED_SECONDS)
        said, hint = f"{what}: answered {status}: {vendor.words()}", None
        if status == _GONE or vendor.code in _VERSION_ERRORS:
            said = f"{what}: the org does not answer to API version {self.options.version} ({vendor.words()})"
            hint = "set `api_version` to one that `winback check` names, or upgrade winback"
        elif status == _MULTIPLE:
            said = f"{what}: more than one record has that id"
        elif vendor.code not in TIMEOUTS:
            fault = fault_for(status, vendor.words(), what=what, effect=effect, pause=retry_after(headers, self._clock))
            if not isinstance(fault, RejectedError):
                return fault
        return SalesforceRejected(said, vendor=vendor, status=status, body=vendor.words(), hint=hint)

    def _limit(self, vendor: VendorError, headers: Mapping[str, str], what: str) -> Exception:
        """What REQUEST_LIMIT_EXCEEDED means: wait a little for others' long calls, or stop for today."""
        if "concurrent" in vendor.message.lower():
            pause = retry_after(headers, self._clock) or _CONCURRENT_SECONDS
            self._budget.penalize(pause)
            return TooFast(f"{what}: too many long calls at once: {vendor.words()}", retry_after_seconds=0.0)
        said = usage(headers)
        if said:
            self._budget.observe_daily(used=max(said), limit=said[1])
        return QuotaExhausted(
            f"{what}: the API calls that this org may take in 24 hours are used up (all tools share them)",
            hint="they come back hour by hour; run again later, lower `rate.share`, or look at Setup → System Overview",
        )

    def _learn(self, headers: Mapping[str, str]) -> None:
        """Take what every answer says by the way: the day's usage and Salesforce's clock."""
        date = headers.get("Date")
        if date:
            with contextlib.suppress(ValueError, TypeError):
                self.clock_ahead = self._clock.now() - parsedate_to_datetime(date)
        said = usage(headers)
        if said is None:
            return
        with self._lock:
            now = self._clock.monotonic()
            if self._observed_at is not None and now - self._observed_at < _OBSERVE_EVERY_SECONDS:
                return
            self._observed_at = now
        self._budget.observe_daily(used=said[0], limit=said[1])

    def observe_daily(self, *, used: int, limit: int) -> None:
        """Pass on what Salesforce says about the last 24 hours' usage."""
        self._budget.observe_daily(used=used, limit=limit)

    def _tell(self, fault: BaseException, pause_seconds: float) -> None:
        """Say that we wait, if it is long enough to wonder about."""
        if pause_seconds >= 5:  # noqa: PLR2004
            self._reporter.line(f"{fault}; trying again in {pause_seconds:.0f} s")


def _login(**arguments: Any) -> tuple[str, str]:
    """A token and its host by the library's login, over the session it is given."""
    from simple_salesforce.exceptions import SalesforceAuthenticationFailed
    from simple_salesforce.login import SalesforceLogin

    try:
        token, host = SalesforceLogin(**arguments)
    except SalesforceAuthenticationFailed as refusal:
        raise LoginRefusedError(refusal.auth_message) from None
    return str(token or ""), str(host)


def _forbidden(vendor: VendorError, what: str) -> Exception:
    """A 403 that is no limit: somebody has to allow something."""
    hints = {
        "API_DISABLED_FOR_ORG": "the org's edition has no API, or the user lacks the permission “API Enabled”",
        "API_CURRENTLY_DISABLED": "the user lacks the permission “API Enabled”",
        "TXN_SECURITY_METERING_ERROR": "a transaction security policy of the org stops this user",
        "OAUTH_APP_ACCESS_DENIED": "approve the app for this user (API Access Control)",
    }
    return MissingPermissionsError(
        f"{what}: not allowed: {vendor.words()}",
        hint=hints.get(vendor.code, "give the integration user the permission set Winback Integration"),
    )


def _data(response: requests.Response, accept: str, what: str, effect: Effect) -> Any:
    """A success, decoded: JSON, None for an empty body, bytes where JSON was not wanted."""
    if accept != JSON:
        return response.content
    if not response.content.strip():
        return None
    try:
        return json.loads(response.content)
    except ValueError:
        kind = RetriableError if effect is Effect.READ else OutcomeUnknown
        said = redact(response.content[:200].decode("utf-8", "replace").strip())
        message = f"{what}: answered {response.status_code} with something that is not JSON: {said}"
        raise kind(message) from None


def _pour(response: requests.Response, part: Path, what: str) -> None:
    """The body into a file, checked against the length that was announced."""
    announced = response.headers.get("Content-Length")
    written = 0
    with part.open("wb") as file:
        for piece in response.iter_content(PIECE_BYTES):
            written += len(piece)
            file.write(piece)
    if announced is not None and not response.headers.get("Content-Encoding") and written != int(announced):
        raise RetriableError(f"{what}: broke off after {written:,} of {int(announced):,} bytes")


def _shown(path: str) -> str:
    """A path as a person reads it in an error: without what is asked for."""
    return redact(urlsplit(path).path)


def _never_connected(fault: Exception) -> bool:
    """Whether the request certainly did not leave: no connection could be opened at all."""
    import requests
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    if isinstance(fault, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError):
        return True
    inner = fault.args[0] if fault.args else None
    if isinstance(inner, MaxRetryError):
        inner = inner.reason
    return isinstance(inner, NewConnectionError)
