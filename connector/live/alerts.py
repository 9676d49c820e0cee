"""Messages into a team's channel: that an answer came and what it means, never who gave it.

Where they go the playbook says and nothing else; an address is a secret and is in no message, log or error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from connector.errors import ConfigurationError, RejectedError, RetriableError
from connector.live.public_only import public_only
from connector.rest import CONNECT_SECONDS, is_loopback, retry_after

if TYPE_CHECKING:
    from connector.contracts import Clock
    from connector.workspace import Workspace

ANSWER_SECONDS: Final = 10.0
LONGEST_TEXT: Final = 1_000
_TOO_MANY, _REDIRECTS, _FAULTS = 429, 300, 500


class Alerts:
    """The channels of a playbook.

    Args:
        addresses: Where each channel's messages are posted, by the channel's name: `slack`, `teams`.
        clock: Reads when to come back.
    """

    def __init__(self, addresses: Mapping[str, str], *, clock: Clock) -> None:
        self._addresses = dict(addresses)
        self._clock = clock

    @classmethod
    def of(cls, workspace: Workspace) -> Alerts:
        """Those of this playbook; none where it has none."""
        webhooks = workspace.playbook.webhooks
        named = {} if webhooks is None else {"slack": webhooks.alerts.slack, "teams": webhooks.alerts.teams}
        given = {name: secret.get_secret_value() for name, secret in named.items() if secret is not None}
        return cls(given, clock=workspace.clock)

    def send(self, channel: str, text: str) -> None:
        """Post one message. Repeated only by whoever calls again: a message twice is better than none.

        Raises:
            ConfigurationError: The playbook has no address for this channel.
            RetriableError: The channel does not answer, or asks to be asked later.
            RejectedError: The channel takes no such message; its address may have been revoked.
        """
        import requests

        url = self._addresses.get(channel)
        if url is None:
            raise ConfigurationError(
                f"there is no channel {channel!r} to tell",
                hint=f"add its address to the playbook, by reference: `webhooks: {{alerts: {{{channel}: …}}}}`",
            )
        with requests.Session() as session:
            session.headers["User-Agent"] = "winback"
            if is_loopback(url):
                session.trust_env = False
            else:
                public_only(session)
            try:
                response = session.post(
                    url, json=_BODIES[channel](_short(text)), timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,
                )  # fmt: skip
            except requests.exceptions.RequestException as fault:
                # Its own words hold the address.
                raise RetriableError(f"{_named(channel, url)}: {type(fault).__name__}") from None
        self._judge(response.status_code, response.headers, _named(channel, url))

    def _judge(self, status: int, headers: Mapping[str, str], what: str) -> None:
        if status < _REDIRECTS:
            return
        if status == _TOO_MANY or status >= _FAULTS:
            pause = retry_after(headers, self._clock)
            raise RetriableError(f"{what}: answered {status}", retry_after_seconds=pause)
        raise RejectedError(
            f"{what}: answered {status}", hint="make a new address in the channel and put it into the playbook's place",
            status=status,
        )  # fmt: skip


def _named(channel: str, url: str) -> str:
    return f"{channel} ({urlsplit(url).hostname})"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def _slack(text: str) -> dict[str, Any]:
    """Plain text: nothing in it mentions, links or formats."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    block = {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}
    return {"text": escaped, "mrkdwn": False, "unfurl_links": False, "blocks": [block]}


def _teams(text: str) -> dict[str, Any]:
    """An adaptive card as Teams workflows take it; a text run, unlike a text block, reads no markdown."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text}]}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


_BODIES: Mapping[str, Callable[[str], dict[str, Any]]] = {"slack": _slack, "teams": _teams}
