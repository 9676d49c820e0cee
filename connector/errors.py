"""Every error winback raises, grouped by what the catcher should do.

WinbackError
├── ConfigurationError      fix it and run again                     exit 2
│   ├── SettingError            a key of winback.yaml or a flag
│   ├── SegmentError            a `where` condition
│   └── MappingError            a mapping file, or a source whose columns changed
├── CredentialsError        the token is wrong or lacks a scope      exit 6
├── ProviderError           a system we talk to                      exit 1
│   ├── RetriableError          try again, perhaps after retry_after_seconds
│   ├── OutcomeUnknown          it may have happened: read back before repeating
│   ├── QuotaExhausted          no calls left today: stop the run
│   ├── RejectedError           the whole request was refused
│   └── RecordRejectedError     one record was refused
├── GuardTripped            a person must say so                     exit 5
│   ├── EmptySource
│   ├── StaleSource
│   ├── TooManyChanges
│   └── StalePlan
├── StateError              lock, ledger, schema                     exit 1
│   └── Locked                  another run holds the lock           exit 7
└── WebhookError            a request we do not take                 answered with its status
    ├── BadSignature            nobody vouches for it                401
    ├── MalformedPayload        it cannot be read                    400
    ├── TooLarge                larger than anybody sends            413
    └── TooBusy                 come back later                      503
"""

from __future__ import annotations

from collections.abc import Iterable

_WORST_LAST = (0, 4, 3, 7, 5, 1, 2, 6)


def worst(codes: Iterable[int]) -> int:
    """The exit code of several things that were tried, each on its own.

    A guard wants somebody to look, a system that is away comes back by itself, a permission that is gone does not.
    """
    return max(codes, key=lambda code: _WORST_LAST.index(code) if code in _WORST_LAST else len(_WORST_LAST), default=0)


class WinbackError(Exception):
    """Base of everything winback raises on purpose; `hint` is the next step for the user."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(WinbackError):
    """Something the user wrote must change before running again."""

    exit_code = 2


class SettingError(ConfigurationError):
    """A key of winback.yaml, an environment variable or a flag is wrong."""


class SegmentError(ConfigurationError):
    """A `where` condition cannot be understood or can never hold."""


class MappingError(ConfigurationError):
    """A mapping names a field that does not exist, or a source changed its columns."""


class CredentialsError(WinbackError):
    """The system refused our credentials, or they lack a permission; names the missing scope."""

    exit_code = 6


class ProviderError(WinbackError):
    """A system we talk to did not do what we asked."""


class RetriableError(ProviderError):
    """A passing fault: the same request may succeed later."""

    def __init__(self, message: str, *, hint: str | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class OutcomeUnknown(RetriableError):
    """A write was sent and no answer came: it may have happened.

    Read back before deciding, or repeat only where repeating is harmless.
    """


class QuotaExhausted(ProviderError):
    """The system's daily allowance is used up; nothing will succeed until it resets."""


class RejectedError(ProviderError):
    """The system refused the whole request; repeating it unchanged is pointless."""

    def __init__(self, message: str, *, hint: str | None = None, status: int | None = None, body: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.body = body


class GuardTripped(WinbackError):
    """A check refused to go on because the outcome could be a disaster."""

    exit_code = 5


class EmptySource(GuardTripped):
    """A source that used to hold rows returned none, or far fewer."""


class StaleSource(GuardTripped):
    """A source has delivered nothing new for longer than `guards.stale_source`."""


class TooManyChanges(GuardTripped):
    """The plan changes a larger share than `guards.max_change` allows."""


class StalePlan(GuardTripped):
    """The world moved since the plan was made; make a new one."""


class StateError(WinbackError):
    """The journal or the warehouse is not in a state we can work from."""


class Locked(StateError):
    """Another run holds the lock."""

    exit_code = 7


class WebhookError(WinbackError):
    """A request from outside that is not taken; the message goes to the log, the client hears the status alone."""

    status = 400


class BadSignature(WebhookError):
    """Nobody vouches for the request: no signature, a wrong one, or one that is too old."""

    status = 401


class MalformedPayload(WebhookError):
    """The body cannot be read, or is built to hurt whoever reads it."""


class TooLarge(WebhookError):
    """The body is larger than any vendor sends."""

    status = 413


class TooBusy(WebhookError):
    """More is waiting than may wait; the vendor tries again after this many seconds."""

    status = 503

    def __init__(self, message: str, *, hint: str | None = None, retry_after_seconds: int = 10) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds
