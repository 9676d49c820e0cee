"""What a receiver asks its vendor with: GET below one address, signed in, within the allowance, never elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from connector.contracts import Clock, Limits, RateBudget, Reporter
from connector.errors import ConfigurationError, SettingError
from connector.live.public_only import public_only
from connector.receivers import Receiver, ReceiverOptions
from connector.rest import RestClient, is_loopback

LONGEST_WAIT_SECONDS: Final = 3.0


class VendorApi:
    """One vendor, as `receivers.Api` asks for it.

    The address is the receiver's own or the playbook's, never one that came in: a next page is asked for only where it
    is on the same host, redirects are not followed, and a host that leads into a private network is not dialled. An
    address on this machine is a rehearsal's, and allowed.
    """

    def __init__(
        self, receiver: Receiver, options: ReceiverOptions, *, budget: RateBudget, clock: Clock, reporter: Reporter
    ) -> None:
        self.options = options
        self.budget = budget
        self.reporter = reporter
        self._clock = clock
        base_url, headers = _address(receiver, options)
        self._client = RestClient(
            base_url,
            clock=clock,
            budget=budget,
            headers=headers,
            system=receiver.name,
            # A vendor that is short of allowance is put off, and something else done meanwhile.
            longest_wait=LONGEST_WAIT_SECONDS,
            prepare=None if is_loopback(base_url) else public_only,
        )

    def now(self) -> datetime:
        """The present moment, aware, UTC."""
        return self._clock.now()

    def get_json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """GET below the vendor's address; raises as `connector.rest` does."""
        return self._client.get(path, query=params)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


def can_ask(receiver: Receiver, options: ReceiverOptions) -> bool:
    """Whether this vendor can be asked with what the playbook says: an address, and a way to sign in."""
    return receiver.api(options) is not None


def allowance(options: ReceiverOptions) -> Limits:
    """How much of the vendor's allowance we may use: its own `rate:` where the receiver has one."""
    rate = getattr(options, "rate", None)
    return rate if isinstance(rate, Limits) else Limits()


def _address(receiver: Receiver, options: ReceiverOptions) -> tuple[str, Mapping[str, str]]:
    found = receiver.api(options)
    if found is None:
        raise SettingError(
            f"webhooks.sources.{receiver.name}: answers have to be asked for, and nothing says how to sign in",
            hint=f"add the API token of {receiver.title}: docs/webhooks.md says where it is made",
        )
    base_url, headers = found
    if not base_url.startswith("https://") and not is_loopback(base_url):
        raise ConfigurationError(
            f"webhooks.sources.{receiver.name}: its address must begin with https://",
            hint="http:// is for rehearsals on this machine: http://127.0.0.1:8080",
        )
    return base_url, headers
