"""Each vendor's receiver with options as a playbook gives them, and its deliveries as the vendor documents them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connector.receivers import Event, Incoming, Receiver
from tests.fakes.incoming import BASE_URL, NOW, incoming
from webhooks import hubspot, mailchimp, posthog, salesforce, segment, standard, stripe

FIXTURES = Path(__file__).parents[1] / "fixtures"
PATH_TOKEN = "f1c2d3e4b5a697887766554433221100"
HEADER_SECRET = "a-header-secret-of-some-length"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORGANIZATION = "00D5g000004abCD"


@dataclass(frozen=True)
class Vendor:
    """A receiver and the options it is tried with."""

    receiver: Receiver
    options: Any

    def with_options(self, **changes: Any) -> Vendor:
        """The same vendor under other options."""
        given = self.options.model_dump(exclude_unset=True) | changes
        return Vendor(self.receiver, self.receiver.options(**given))

    @property
    def token(self) -> str | None:
        """The secret last part of its address, where it has one."""
        return PATH_TOKEN if self.receiver.needs_token else None

    @property
    def url(self) -> str:
        """Where the vendor calls."""
        return f"{BASE_URL}/webhooks/{self.receiver.name}" + (f"/{self.token}" if self.token else "")

    def delivery(self, body: bytes) -> Incoming:
        """A delivery as the vendor signs it."""
        headers = self.receiver.sign(self.options, "POST", self.url, body, NOW)
        return incoming(body, headers, url=self.url, token=self.token)

    def fixture(self, name: str) -> Incoming:
        """A delivery with a documented body."""
        return self.delivery(body_of(self.receiver.name, name))

    def heard(self, request: Incoming) -> list[Any]:
        """Everything that a delivery means, after it was believed."""
        assert self.receiver.verify(self.options, request).ok
        events = self.receiver.parse(self.options, request).events
        return [one for event in events for one in self.receiver.understand(self.options, event)]

    def events(self, request: Incoming) -> Sequence[Event]:
        """What is kept of a delivery."""
        return self.receiver.parse(self.options, request).events


def body_of(system: str, name: str) -> bytes:
    """A documented body, byte by byte."""
    return (FIXTURES / system / name).read_bytes()


def bodies_of(system: str) -> dict[str, bytes]:
    """Every documented body of a system, by file name."""
    return {path.name: path.read_bytes() for path in sorted((FIXTURES / system).iterdir())}


VENDORS: dict[str, Vendor] = {
    vendor.receiver.name: vendor
    for vendor in (
        Vendor(
            hubspot.RECEIVER,
            hubspot.HubSpotOptions(client_secret="winback-test-client-secret-0001", portal_id=33, app_id=1160452),
        ),
        Vendor(
            salesforce.RECEIVER,
            salesforce.SalesforceOptions(org_id=ORGANIZATION, token=PATH_TOKEN, secret=HEADER_SECRET),
        ),
        Vendor(mailchimp.RECEIVER, mailchimp.MailchimpOptions(token=PATH_TOKEN, signing_secret="mc-secret")),
        Vendor(segment.RECEIVER, segment.SegmentOptions(secret="shh")),
        Vendor(stripe.RECEIVER, stripe.StripeOptions(secret="whsec_test")),
        Vendor(posthog.RECEIVER, posthog.PostHogOptions(secret=HEADER_SECRET)),
        Vendor(standard.RECEIVER, standard.StandardOptions(secret=WHSEC)),
    )
}

NOT_A_DELIVERY = frozenset({"workflow_action.json", "call_out.json"})
"""Bodies that come to `/triggers`."""
