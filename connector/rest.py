"""One JSON client over requests: time-outs always, retries with full jitter, errors by what the caller should do.

Retrying is shared with the adapters that go through a vendor's own client: `retrying` is the one loop.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from connector.contracts import Clock, RateBudget
from connector.errors import (
    CredentialsError,
    OutcomeUnknown,
    ProviderError,
    RejectedError,
    RetriableError,
)
from connector.redact import redact

if TYPE_CHECKING:
    import requests
    import tenacity

ATTEMPTS: Final = 6
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
PIECE_BYTES: Final = 1 << 20
_PATIENCE: Final = 4
"""How many times more often a call is tried when it was only too early."""
BODY_KEPT: Final = 2_000
"""Characters of an answer that an error carries."""

_TOO_MANY = 429
_LOCKED = 423
_PASSING = frozenset({408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_REFUSED_BEFORE_DOING = frozenset({_TOO_MANY, _LOCKED, 425, 529})
_REDIRECTS = range(300, 400)
_UNAUTHORIZED = 401
_FORBIDDEN = 403


class TooFast(RetriableError):
    """The system refused a call because of its rate; waiting is all it takes, so it is tried more often."""


class Effect(StrEnum):
    """What a call does to the other side, which decides whether it may be repeated when no answer came."""

    READ = "read"
    REPEATABLE = "repeatable"
    """A write that has the same result when made twice."""
    ONCE = "once"
    """A write that must not be made twice blindly."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `data` is parsed JSON, or None when the body was empty."""

    status: int
    data: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def retrying(
    clock: Clock,
    *,
    effect: Effect,
    attempts: int = ATTEMPTS,
    longest_wait: float | None = None,
    on_retry: Callable[[BaseException, float], None] | None = None,
) -> tenacity.Retrying:
    """The retry loop for one call: passing faults again after a jittered pause, unknown outcomes only if harmless.

    A fault that names its own pause (`retry_after_seconds`) is given that much and a little more. Being told that we
    are too fast is borne four times as often as other faults. With `longest_wait` it is not, and a pause of more
    seconds than that ends the call: the caller has something better to do than to wait.
    """
    import tenacity

    jitter = tenacity.wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS)

    def pause(state: tenacity.RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        named = getattr(fault, "retry_after_seconds", None)
        return float(jitter(state)) if named is None else float(named) + float(jitter(state)) / 10

    def worth_repeating(fault: BaseException) -> bool:
        if isinstance(fault, OutcomeUnknown):
            return effect is not Effect.ONCE
        return isinstance(fault, RetriableError)

    def tell(state: tenacity.RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        if on_retry is not None and fault is not None:
            on_retry(fault, state.next_action.sleep if state.next_action else 0.0)

    def enough(state: tenacity.RetryCallState) -> bool:
        fault = state.outcome.exception() if state.outcome else None
        if longest_wait is not None and (getattr(fault, "retry_after_seconds", None) or 0.0) > longest_wait:
            return True
        patient = isinstance(fault, TooFast) and attempts > 1 and longest_wait is None
        return state.attempt_number >= (attempts * _PATIENCE if patient else attempts)

    return tenacity.Retrying(
        stop=enough,
        wait=pause,
        retry=tenacity.retry_if_exception(worth_repeating),
        sleep=clock.sleep,
        before_sleep=tell,
        reraise=True,
    )


def run_attempts(
    attempt: Callable[[], Answer],
    clock: Clock,
    *,
    effect: Effect,
    attempts: int = ATTEMPTS,
    longest_wait: float | None = None,
    on_retry: Callable[[BaseException, float], None] | None = None,
) -> Answer:
    """Make one call with retries.

    Raises:
        OutcomeUnknown: retries are used up and one of the attempts may have had its effect, even if the last did not.
        RetriableError: retries are used up and nothing was done.
    """
    doubt: OutcomeUnknown | None = None

    def once() -> Answer:
        nonlocal doubt
        try:
            return attempt()
        except OutcomeUnknown as unknown:
            doubt = unknown
            raise

    try:
        return retrying(clock, effect=effect, attempts=attempts, longest_wait=longest_wait, on_retry=on_retry)(once)
    except RetriableError as last:
        if doubt is not None and not isinstance(last, OutcomeUnknown):
            raise doubt from last
        raise


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds asked for by `Retry-After`, as a number or a date; None when absent or unreadable."""
    value = next((v for k, v in headers.items() if k.lower() == "retry-after"), "").strip()
    if not value:
        return None
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(value) - clock.now()).total_seconds())
    return None


def fault_for(
    status: int, text: str, *, what: str, effect: Effect, pause: float | None = None, hint: str | None = None
) -> Exception:
    """The error for an answer that is not a success, by what the caller should do about it.

    Args:
        status: HTTP status.
        text: The answer's body; addresses and secrets are blanked out here.
        what: The call in words, `hubspot contacts search`.
        effect: What the call does.
        pause: Seconds the system asked us to wait.
        hint: The next step for the user, where the caller knows one.
    """
    said = redact(text.strip())[:BODY_KEPT]
    message = f"{what}: answered {status}" + (f": {said[:400]}" if said else "")
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return CredentialsError(message, hint=hint or "check the token and its permissions")
    if status in _REFUSED_BEFORE_DOING:
        kind = TooFast if status == _TOO_MANY else RetriableError
        return kind(message, hint=hint, retry_after_seconds=pause)
    if status in _PASSING:
        if effect is Effect.READ:
            return RetriableError(message, hint=hint, retry_after_seconds=pause)
        return OutcomeUnknown(message, hint=hint, retry_after_seconds=pause)
    if status in _REDIRECTS:
        return RejectedError(f"{message} (a redirect, which is never followed)", hint=hint, status=status, body=said)
    return RejectedError(message, hint=hint, status=status, body=said)


def connection_fault(fault: Exception, *, what: str, effect: Effect, sent: bool) -> RetriableError:
    """The error for a call that got no answer; `sent` says whether the request may have reached the other side."""
    reason = redact(f"{type(fault).__name__}: {fault}")[:300]
    if sent and effect is not Effect.READ:
        return OutcomeUnknown(f"{what}: sent, but no answer came ({reason})")
    return RetriableError(f"{what}: no answer ({reason})", hint="check the network and `base_url`")


class RestClient:
    """Calls one JSON API; safe to share between threads as far as `requests.Session` is.

    Args:
        base_url: Where the system answers; paths are added to it.
        clock: For pauses.
        budget: Asked before every attempt; None for systems without limits.
        headers: Sent with every call, credentials included. Never sent by `download`.
        timeout_seconds: The longest silence one call may have.
        attempts, longest_wait: How often one call is tried, and how long a pause is borne; see `retrying`.
        prepare: Given the session before its first call: to restrict where it may connect.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        budget: RateBudget | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
        system: str = "",
        attempts: int = ATTEMPTS,
        longest_wait: float | None = None,
        prepare: Callable[[requests.Session], None] | None = None,
    ) -> None:
        import requests

        self.base_url = base_url.rstrip("/")
        self._clock = clock
        self._budget = budget
        self._headers = dict(headers or {})
        self._timeout = (min(CONNECT_SECONDS, timeout_seconds), timeout_seconds)
        self._system = system or (urlsplit(base_url).hostname or "the system")
        self._attempts = attempts
        self._longest_wait = longest_wait
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "winback"
        # Machine-wide .netrc credentials must not replace ours, nor go to a signed address.
        self._session.auth = _no_netrc
        # A sandbox on this machine is not behind the company's proxy.
        self._session.trust_env = not is_loopback(base_url)
        if prepare is not None:
            prepare(self._session)

    def close(self) -> None:
        """Let go of connections."""
        self._session.close()

    def get(self, path: str, *, query: Mapping[str, Any] | None = None, meter: str = "") -> Any:
        """The JSON at a path."""
        return self.call("GET", path, query=query, meter=meter).data

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        meter: str = "",
        effect: Effect | None = None,
    ) -> Answer:
        """Make one call, with retries.

        Args:
            method: HTTP method.
            path: From `base_url`, or a full address on the same host (a next-page link).
            query: Query parameters.
            body: Sent as JSON.
            form: Sent as a form instead.
            meter: The allowance the call counts against.
            effect: What the call does; by default GET and HEAD read, PUT and DELETE can be repeated, others cannot.

        Raises:
            CredentialsError, RetriableError, OutcomeUnknown, RejectedError: see `connector.errors`.
        """
        effect = effect or _usual_effect(method)
        url = self._address(path)
        what = f"{self._system} {method} {urlsplit(url).path}"

        def attempt() -> Answer:
            if self._budget is not None:
                self._budget.acquire(meter)
            response = self._send(method, url, query=query, body=body, form=form, what=what, effect=effect)
            if not response.ok or response.status_code in _REDIRECTS:
                pause = retry_after(response.headers, self._clock)
                if response.status_code == _TOO_MANY and pause is not None and self._budget is not None:
                    self._budget.penalize(pause, meter)
                raise fault_for(response.status_code, response.text, what=what, effect=effect, pause=pause)
            return Answer(response.status_code, _parsed(response, what), dict(response.headers))

        return run_attempts(
            attempt, self._clock, effect=effect, attempts=self._attempts, longest_wait=self._longest_wait
        )

    def _send(
        self, method: str, url: str, *, query: Any, body: Any, form: Mapping[str, str] | None, what: str, effect: Effect
    ) -> requests.Response:
        """One request, one answer, or the error for none."""
        import requests

        try:
            return self._session.request(
                method,
                url,
                params=query,
                json=body,
                data=form,
                headers=self._headers,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (requests.exceptions.SSLError, requests.exceptions.ProxyError) as fault:
            raise connection_fault(fault, what=what, effect=effect, sent=False) from None
        except requests.exceptions.ConnectTimeout as fault:
            raise connection_fault(fault, what=what, effect=effect, sent=False) from None
        except requests.exceptions.RequestException as fault:
            raise connection_fault(fault, what=what, effect=effect, sent=not _never_connected(fault)) from None

    def download(self, url: str, target: Path, *, largest_bytes: int | None = None) -> Path:
        """Fetch a signed address into a file, in pieces; credentials are not sent, redirects not followed.

        The address itself is a secret for as long as it lives: only its host is ever named. A failed download leaves
        no file. The caller repeats with a fresh address when this raises RejectedError (expired).

        Raises:
            RetriableError: the connection broke or the system is busy, also after retries.
            RejectedError: the address is not valid (any more), or the file is larger than allowed.
        """
        what = f"{self._system} download from {urlsplit(url).hostname}"
        self._refuse_plain_http(url, what)

        def attempt() -> Answer:
            part = target.with_name(target.name + ".part")
            try:
                self._fetch(url, part, what=what, largest_bytes=largest_bytes)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
            return Answer(200, None)

        run_attempts(attempt, self._clock, effect=Effect.READ, attempts=self._attempts)
        return target

    def _fetch(self, url: str, part: Path, *, what: str, largest_bytes: int | None) -> None:
        """Stream one answer into a file, checking its length against what was announced."""
        import requests

        try:
            with self._session.get(url, stream=True, timeout=self._timeout, allow_redirects=False) as response:
                if response.status_code != 200:  # noqa: PLR2004
                    # The body is the storage system's, in XML with the signature repeated in it: not for an error.
                    fault = fault_for(response.status_code, "", what=what, effect=Effect.READ)
                    # No credentials are sent, so a refusal is about the address: it has expired.
                    refused = isinstance(fault, CredentialsError)
                    raise RejectedError(str(fault), status=response.status_code) if refused else fault
                announced = response.headers.get("Content-Length")
                written = 0
                with part.open("wb") as file:
                    for piece in _pieces(response):
                        written += len(piece)
                        if largest_bytes is not None and written > largest_bytes:
                            raise RejectedError(f"{what}: larger than {largest_bytes:,} bytes")
                        file.write(piece)
                encoded = response.headers.get("Content-Encoding")
                if announced is not None and not encoded and written != int(announced):
                    raise RetriableError(f"{what}: broke off after {written:,} of {int(announced):,} bytes")
        except requests.exceptions.RequestException as fault:
            # Its text would repeat the signed address.
            raise RetriableError(f"{what}: {type(fault).__name__}") from None

    def _refuse_plain_http(self, url: str, what: str) -> None:
        """A file of people's addresses travels encrypted, unless the whole connection is a local sandbox."""
        scheme = urlsplit(url).scheme
        if scheme != "https" and not (scheme == "http" and self.base_url.startswith("http://")):
            raise RejectedError(f"{what}: refused, the address is {scheme or 'not'} https")

    def _address(self, path: str) -> str:
        """The full address; a full one is accepted only on our own host, because our credentials go along."""
        if "://" not in path:
            return f"{self.base_url}/{path.lstrip('/')}"
        ours, theirs = urlsplit(self.base_url), urlsplit(path)
        if (ours.scheme, ours.netloc) != (theirs.scheme, theirs.netloc):
            raise RejectedError(f"{self._system}: refused to send credentials to {theirs.hostname}")
        return path


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _no_netrc(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authentication that adds nothing: our own headers are already there."""
    return request


def _usual_effect(method: str) -> Effect:
    """What HTTP says a method does."""
    if method in {"GET", "HEAD", "OPTIONS"}:
        return Effect.READ
    return Effect.REPEATABLE if method in {"PUT", "DELETE"} else Effect.ONCE


def _parsed(response: requests.Response, what: str) -> Any:
    """The JSON of a success; None for an empty body."""
    if not response.content:
        return None
    try:
        return response.json()
    except (ValueError, json.JSONDecodeError):
        said = redact(response.text.strip())[:200]
        raise ProviderError(
            f"{what}: answered {response.status_code} with something that is not JSON: {said}"
        ) from None


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """The body in pieces of a megabyte, content encoding undone."""
    yield from response.iter_content(PIECE_BYTES)


def _never_connected(fault: Exception) -> bool:
    """Whether the request certainly did not leave: no connection could be opened at all."""
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    inner = fault.args[0] if fault.args else None
    if isinstance(inner, MaxRetryError):
        inner = inner.reason
    return isinstance(inner, NewConnectionError)
