"""Stripe: payments, refunds, cancelled subscriptions and those that come back.

Deliveries are repeated and unordered. Both shapes are read that Stripe's API has had: before and since 2025-03-31.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from connector.heard import Heard, Paid, Who
from connector.receivers import Event, Incoming, Parsed, Receiver, ReceiverOptions, Secrets, Verdict, secrets
from webhooks.payloads import Count, Id, Payload, Text, checked, from_seconds, key_of, mail_address, read_json
from webhooks.signatures import newest, sign_timed, verify_stripe

_ZERO_DECIMAL: Final = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
"""Their amounts are whole units. UGX and ISK have no minor unit either, but Stripe writes them as if they had."""
_THREE_DECIMAL: Final = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
_LIVE: Final = frozenset({"active", "trialing"})
_LOST: Final = frozenset({"canceled", "unpaid", "paused", "incomplete", "incomplete_expired"})


class StripeOptions(ReceiverOptions):
    """A webhook endpoint in Stripe."""

    secret: Annotated[Secrets, BeforeValidator(secrets)] = Field(
        default=(), description="the endpoint's signing secret (whsec_…); several, newest first, to change it"
    )
    user_key: str = Field(
        default="user_id", min_length=1, description="the metadata key that holds your product's own user id"
    )
    record_key: str | None = Field(default=None, description="the metadata key that holds the CRM's id of the person")
    record_system: str = Field(
        default="hubspot", pattern=r"^[a-z][a-z0-9_]*$", description="which CRM's id that is, where it does not say so"
    )


class _Details(Payload):
    metadata: Mapping[str, Any] | None = None


class _Parent(Payload):
    subscription_details: _Details | None = None


class _Reached(Payload):
    email: Any = None


class _Before(Payload):
    amount_refunded: Count = 0


class _Times(Payload):
    paid_at: Count | None = None


class Thing(Payload):
    """An invoice, a subscription, a checkout session or a charge: what we read of any of them."""

    id: Id
    customer: Any = None
    customer_email: Any = None
    customer_details: _Reached | None = None
    billing_details: _Reached | None = None
    receipt_email: Any = None
    metadata: Mapping[str, Any] | None = None
    subscription_details: _Details | None = None
    parent: _Parent | None = None
    currency: Text | None = None
    amount_paid: Count | None = None
    amount_total: Count | None = None
    amount_refunded: Count | None = None
    status_transitions: _Times | None = None
    status: Text | None = None
    mode: Text | None = None
    payment_status: Text | None = None
    invoice: Any = None
    cancel_at_period_end: bool | None = None
    cancel_at: Count | None = None
    canceled_at: Count | None = None
    ended_at: Count | None = None

    def person(self, options: StripeOptions) -> Who:
        """Whom it is about: an address alone may be several people's, so ids go first.

        A subscription carries no address; without metadata all it names is Stripe's customer, who is somebody where
        the product's user ids are Stripe's.
        """
        layers = (self.parent.subscription_details if self.parent else None, self.subscription_details)
        metadata = [layer.metadata for layer in layers if layer and layer.metadata]
        known = {key: value for layer in (*metadata, self.metadata or {}) for key, value in layer.items()}
        told = (self.customer_details, self.billing_details)
        addresses = (self.customer_email, *(one.email for one in told if one), self.receipt_email)
        email = next((found for address in addresses if (found := mail_address(address))), None)
        user = _word(known.get(options.user_key))
        record = _word(known.get(options.record_key)) if options.record_key else None
        return Who(
            record=f"{options.record_system}:{record}" if record and ":" not in record else record,
            external_id=user if user or email else _word(self.customer),
            email=email,
        )


class _Data(Payload):
    object: Thing
    previous_attributes: Mapping[str, Any] | None = None


class _Kind(Payload):
    """What has to be known of an event before it is known whether we want it."""

    id: Id
    type: Text
    created: Any = None


class Delivery(_Kind):
    """One event of Stripe's."""

    created: Count
    data: _Data


class _Stored(Payload):
    """What is kept of an event: whom it is about, and the money."""

    thing: Id
    record: Text | None = None
    external_id: Text | None = None
    email: Text | None = None
    amount: Count = 0
    currency: Text | None = None


def _word(value: object) -> str | None:
    return str(value).strip()[:200] or None if isinstance(value, str | int) and not isinstance(value, bool) else None


def in_units(amount: int, currency: str | None) -> float:
    """An amount in a currency's smallest unit, as Stripe counts it, in whole units."""
    code = (currency or "").lower()
    if code in _ZERO_DECIMAL:
        return float(amount)
    return amount / (1_000 if code in _THREE_DECIMAL else 100)


def verify(options: StripeOptions, incoming: Incoming) -> Verdict:
    """By the endpoint's signature, at most five minutes old."""
    return verify_stripe(incoming, options.secret)


def parse(options: StripeOptions, incoming: Incoming) -> Parsed:
    """The one event of a delivery."""
    body = read_json(incoming.body, "stripe")
    kind = checked(_Kind, body, "stripe")
    rule = _RULES.get(kind.type)
    if rule is None:
        return Parsed((), {kind.type if kind.type in _KNOWN_UNWANTED else "unknown type": 1})
    delivery = checked(Delivery, body, "stripe")
    thing = delivery.data.object
    at = rule.at(thing)
    before = delivery.data.previous_attributes or {}
    if not rule.wanted(thing, before):
        return Parsed((), {f"{kind.type} without consequence": 1})
    who = thing.person(options)
    if who == Who():
        return Parsed((), {"nobody is named": 1})
    stored = _Stored(
        thing=thing.id,
        record=who.record,
        external_id=who.external_id,
        email=who.email,
        amount=rule.amount(thing, before),
        currency=thing.currency,
    )
    moment = from_seconds(delivery.created if at is None else at, "stripe")
    return Parsed([Event(key=key_of(delivery.id), kind=kind.type, payload=stored.kept(), at=moment)])


def understand(_options: StripeOptions, event: Event) -> Sequence[Heard]:
    """What one event means."""
    rule = _RULES.get(event.kind)
    if rule is None or event.at is None:
        return ()
    told = checked(_Stored, event.payload, "stripe")
    return (
        Paid(
            who=Who(record=told.record, external_id=told.external_id, email=told.email),
            at=event.at,
            kind=rule.kind,
            transaction_id=told.thing if rule.once else event.key,
            amount=in_units(told.amount, told.currency),
            currency=told.currency.upper() if told.currency else None,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one type of event means: a kind, whether it is news, when it happened, how much money moved.

    once: It happens to a thing once, by whatever event it is told; else every event is another one.
    """

    kind: str
    wanted: Callable[[Thing, Mapping[str, Any]], bool] = lambda _thing, _before: True
    at: Callable[[Thing], int | None] = lambda _thing: None
    amount: Callable[[Thing, Mapping[str, Any]], int] = lambda _thing, _before: 0
    once: bool = False


def _given_back(charge: Thing, before: Mapping[str, Any]) -> int:
    """What this refund gave back, below nought: Stripe tells the sum of all of a charge's."""
    sum_before = checked(_Before, before, "stripe").amount_refunded
    return sum_before - (charge.amount_refunded or 0)


def _came_back(thing: Thing, before: Mapping[str, Any]) -> bool:
    """Whether a subscription lives that did not, or that was going to end and is not any more."""
    if thing.status not in _LIVE:
        return False
    was_ending = before.get("cancel_at_period_end") is True or isinstance(before.get("cancel_at"), int)
    is_ending = thing.cancel_at_period_end or thing.cancel_at is not None
    return before.get("status") in _LOST or (was_ending and not is_ending)


_RULES: Final[Mapping[str, _Rule]] = {
    "invoice.paid": _Rule(
        "payment",
        wanted=lambda invoice, _before: bool(invoice.amount_paid),
        at=lambda invoice: invoice.status_transitions.paid_at if invoice.status_transitions else None,
        amount=lambda invoice, _before: invoice.amount_paid or 0,
        once=True,
    ),
    "checkout.session.completed": _Rule(
        "payment",
        # One with an invoice or a subscription is told again by invoice.paid.
        wanted=lambda session, _before: (
            session.mode == "payment"
            and session.payment_status == "paid"
            and session.invoice is None
            and bool(session.amount_total)
        ),
        amount=lambda session, _before: session.amount_total or 0,
        once=True,
    ),
    "charge.refunded": _Rule(
        "payment", wanted=lambda charge, before: _given_back(charge, before) < 0, amount=_given_back
    ),
    "customer.subscription.deleted": _Rule(
        "cancellation", at=lambda subscription: subscription.ended_at or subscription.canceled_at
    ),
    "customer.subscription.created": _Rule(
        "reactivation", wanted=lambda subscription, _before: subscription.status in _LIVE
    ),
    "customer.subscription.updated": _Rule("reactivation", wanted=_came_back),
    "customer.subscription.resumed": _Rule(
        "reactivation", wanted=lambda subscription, _before: subscription.status in _LIVE
    ),
}
"""A first subscription looks to Stripe like one after a cancellation; for somebody who is being won back it is one."""
_KNOWN_UNWANTED: Final = frozenset(
    {
        "charge.succeeded",
        "customer.created",
        "customer.deleted",
        "customer.subscription.paused",
        "customer.subscription.trial_will_end",
        "customer.updated",
        "invoice.payment_failed",
        "invoice.payment_succeeded",
    }
)


def sign(options: StripeOptions, _method: str, _url: str, body: bytes, now: datetime) -> Mapping[str, str]:
    """As Stripe signs."""
    return {"Stripe-Signature": sign_timed(newest(options.secret), body, now)}


def sample(_options: StripeOptions, _token: str, now: datetime) -> bytes:
    """Somebody nobody knows pays an invoice."""
    seconds = int(now.timestamp())
    event = {
        "id": f"evt_winback_test_{seconds}",
        "object": "event",
        "type": "invoice.paid",
        "created": seconds,
        "livemode": False,
        "data": {
            "object": {
                "id": f"in_winback_test_{seconds}",
                "object": "invoice",
                "customer": "cus_winback_test",
                "metadata": {"user_id": "winback-test"},
                "currency": "eur",
                "amount_paid": 1_900,
                "status_transitions": {"paid_at": seconds},
            }
        },
    }
    return json.dumps(event, separators=(",", ":")).encode()


RECEIVER = Receiver(
    name="stripe",
    title="Stripe",
    options=StripeOptions,
    verify=verify,
    parse=parse,
    understand=understand,
    sign=sign,
    sample=sample,
)
