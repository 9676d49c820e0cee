"""What the web process works with: handed to the app and to every page, so that none of them opens anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connector.contracts import Clock
from connector.heard import Who
from connector.receivers import Receiver, ReceiverOptions
from webhooks.counting import Counting

if TYPE_CHECKING:
    from connector.journal import Journal
    from connector.journal.intake import Intake
    from connector.links import LinkMaker
    from connector.settings import Playbook


def _nobody(_who: Who) -> str | None:
    return None


def _nothing() -> None:
    return None


def _yes() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Listening:
    """A receiver with the options of its block under `webhooks.sources`."""

    receiver: Receiver
    options: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything a request may need. It opens no warehouse and reads no clock but its own.

    journal, intake: What is remembered; events go through the intake alone, so that many share one commit.
    sources: Who may send us what, by the name in the address; nobody else is listened to.
    public_base_url: What vendors call and sign, without a slash at its end; None: nothing is public.
    trusted_proxies: Where our own proxies are: only what they say of who called them is believed.
    playbook: For pages that show what it says; None in rehearsals.
    links: Makes and reads one-click links; None where the playbook has none.
    find: The contact an event or a call is about; None: nobody we know.
    wake: Tells the worker that something waits; cheap, and safe to call at any time.
    worker_alive: Whether something drains the inbox.
    most_waiting: Events that may wait in the inbox before more are refused for a while.
    bound_to_loopback: Whether only this machine can reach us; the one place where `insecure_dev` counts.
    """

    journal: Journal
    intake: Intake
    clock: Clock
    version: str
    sources: Mapping[str, Listening] = field(default_factory=dict)
    public_base_url: str | None = None
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
    playbook: Playbook | None = None
    links: LinkMaker | None = None
    find: Callable[[Who], str | None] = _nobody
    wake: Callable[[], None] = _nothing
    worker_alive: Callable[[], bool] = _yes
    most_waiting: int = 100_000
    bound_to_loopback: bool = True
    counting: Counting = field(default_factory=Counting)

    @property
    def https(self) -> bool:
        """Whether the public address is an https one."""
        return (self.public_base_url or "").startswith("https://")

    def trusted_hosts(self) -> list[str]:
        """Names a request may call us by, lower case: the public ones, and this machine's own."""
        links = self.playbook.links if self.playbook is not None else None
        public = [self.public_base_url, links.public_base_url if links is not None else None]
        names = [urlsplit(str(url)).hostname for url in public if url]
        return [*(name for name in names if name), "localhost", "127.0.0.1", "[::1]"]


def listening(blocks: Mapping[str, ReceiverOptions], receivers: Mapping[str, Receiver]) -> dict[str, Listening]:
    """The sources of the playbook with their receivers; one whose receiver is not installed is left out."""
    return {name: Listening(receivers[name], options) for name, options in blocks.items() if name in receivers}
