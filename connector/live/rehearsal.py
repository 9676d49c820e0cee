"""Where each system calls us, and a delivery of its kind to see arrive: for whoever sets a source up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import requests

from connector.errors import SettingError

if TYPE_CHECKING:
    from connector.receivers import Receiver, ReceiverOptions
    from connector.settings.webhook_blocks import WebhookSettings

ACTIONS = ("evaluate", "enroll", "exit", "snooze")
"""What a CRM's workflow may ask for."""

_SECONDS = 15


def addresses(settings: WebhookSettings, receivers: Mapping[str, Receiver]) -> dict[str, str]:
    """What to paste into each system, by source; `<crm> <action>` for what its workflows may ask.

    A source whose address ends with a secret is shown with its newest one: whoever sees it can send to it.
    """
    found: dict[str, str] = {}
    for name, options in settings.sources.items():
        receiver = receivers[name]
        found[name] = _address(settings, name, receiver, options)
        if receiver.triggers is not None:
            for action in ACTIONS:
                found[f"{name} {action}"] = f"{_base(settings)}/triggers/{name}/{action}"
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What our server said to a delivery made here: HTTP status, and what of it arrived."""

    url: str
    status: int
    said: str


def deliver(
    settings: WebhookSettings,
    receiver: Receiver,
    *,
    to: str,
    now: datetime,
    about: str = "",
    body: bytes | None = None,
) -> Answer:
    """Sign a delivery as the vendor would, and post it.

    Args:
        settings: The `webhooks:` block.
        receiver: Whose delivery it is.
        to: Scheme and host of a running `winback serve`; what is signed is the public address all the same.
        now: The moment the delivery is dated.
        about: A contact's survey token, which the sample carries where the vendor's would.
        body: What is delivered; None: the receiver's sample.

    Raises:
        SettingError: The source is not in the playbook, or nobody answers there.
    """
    name = receiver.name
    options = settings.sources[name]
    url = _address(settings, name, receiver, options)
    sent = receiver.sample(options, about, now) if body is None else body
    headers = {"Content-Type": receiver.content_type, **receiver.sign(options, "POST", url, sent, now)}
    here = _moved(url, to)
    try:
        answer = requests.post(here, data=sent, headers=headers, timeout=_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise SettingError(
            f"nobody answers at {to}: {type(error).__name__}",
            hint="start `winback serve` in another window, or say where it is with --to",
        ) from None
    return Answer(here.partition("?")[0], answer.status_code, answer.text[:200])


def _base(settings: WebhookSettings) -> str:
    return settings.public_base_url.rstrip("/")


def _address(settings: WebhookSettings, name: str, receiver: Receiver, options: ReceiverOptions) -> str:
    url = f"{_base(settings)}/webhooks/{name}"
    if not receiver.needs_token:
        return url
    tokens: Any = getattr(options, "token", ())
    return f"{url}/{tokens[0].get_secret_value()}" if tokens else url


def _moved(url: str, to: str) -> str:
    """The same path at another host."""
    place, parts = urlsplit(to), urlsplit(url)
    return urlunsplit((place.scheme, place.netloc, parts.path, parts.query, ""))
