"""What a caller hears of a failure, and what the log does."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import Final

from connector.errors import StateError, TooBusy, WebhookError
from connector.redact import redact
from webhooks.answers import Answer, problem

log = logging.getLogger("webhooks")

RETRY_AFTER_SECONDS: Final = 10


def failed(error: Exception, *, called: str) -> Answer:
    """The answer to whatever was raised."""
    status, message, retry_after = failure(error, called=called)
    return problem(status, message, called=called, retry_after=retry_after)


def failure(error: Exception, *, called: str) -> tuple[int, str, int | None]:
    """Status, message and seconds to wait; details go to the log alone, under the request's id."""
    if isinstance(error, TooBusy):
        log.warning("%s: %s", called, error)
        return error.status, "busy", error.retry_after_seconds
    if isinstance(error, WebhookError):
        log.warning("%s: %s", called, redact(str(error)))
        return error.status, HTTPStatus(error.status).phrase.lower(), None
    if isinstance(error, StateError):
        log.error("%s: %s", called, redact(str(error)))
        return HTTPStatus.SERVICE_UNAVAILABLE, "the journal does not answer", RETRY_AFTER_SECONDS
    # Where, not what: the words of an error of the language's own may hold a piece of the body.
    places = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: unexpected %s\n%s", called, type(error).__name__, places.rstrip())
    return HTTPStatus.INTERNAL_SERVER_ERROR, "internal error", None
