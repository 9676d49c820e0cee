"""Stripe's events, in our own words, and its money in whole units."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from connector.errors import MalformedPayload
from connector.heard import Paid, Who
from tests.fakes.incoming import incoming
from tests.fakes.vendor_deliveries import VENDORS, body_of
from webhooks.stripe import in_units

STRIPE = VENDORS["stripe"]
ADA = Who(external_id="u1", email="ada@example.com")


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def changed(name: str, /, previous: dict | None = None, **fields):
    """A documented body with other fields on its object."""
    event = json.loads(body_of("stripe", name))
    event["data"]["object"] |= fields
    if previous is not None:
        event["data"]["previous_attributes"] = previous
    return STRIPE.delivery(json.dumps(event).encode())


@pytest.mark.parametrize(
    ("name", "payment", "amount", "currency"),
    [
        ("invoice_paid.json", "in_1Sabc", 19.0, "EUR"),
        ("invoice_paid_before_basil.json", "in_1Rabc", 1900.0, "JPY"),
    ],
)
def test_a_paid_invoice_is_a_payment_in_either_shape(name, payment, amount, currency):
    assert STRIPE.heard(STRIPE.fixture(name)) == [
        Paid(
            who=ADA,
            at=at(1793527190),
            kind="payment",
            transaction_id=payment,
            amount=amount,
            currency=currency,
        )
    ]


def test_a_purchase_without_an_invoice_is_a_payment_too():
    vendor = STRIPE.with_options(record_key="crm")
    assert vendor.heard(vendor.fixture("checkout_completed.json")) == [
        Paid(
            who=Who(record="hubspot:904", email="ada@example.com"),
            at=at(1793527200),
            kind="payment",
            transaction_id="cs_live_1",
            amount=12.345,
            currency="KWD",
        )
    ]


@pytest.mark.parametrize(
    "fields",
    [{"invoice": "in_1"}, {"mode": "subscription"}, {"payment_status": "unpaid"}, {"amount_total": 0}],
)
def test_a_purchase_that_an_invoice_tells_of_is_not_told_twice(fields):
    assert not STRIPE.heard(changed("checkout_completed.json", **fields))


def test_a_deleted_subscription_is_a_cancellation():
    assert STRIPE.heard(STRIPE.fixture("subscription_deleted.json")) == [
        Paid(
            who=Who(external_id="u1"),
            at=at(1793527199),
            kind="cancellation",
            transaction_id="evt_1SabcGone",
            amount=0.0,
            currency="EUR",
        )
    ]


@pytest.mark.parametrize(
    ("previous", "fields"),
    [
        ({"cancel_at_period_end": True}, {}),
        ({"cancel_at": 1795000000}, {}),
        ({"status": "canceled"}, {}),
        ({"status": "unpaid"}, {}),
        ({"status": "paused"}, {"status": "trialing"}),
        ({"status": "incomplete"}, {}),
    ],
)
def test_a_subscription_that_lives_again_is_a_reactivation(previous, fields):
    (told,) = STRIPE.heard(changed("subscription_updated.json", previous, **fields))
    assert (told.kind, told.transaction_id, told.amount) == ("reactivation", "evt_1SabcBack", 0.0)


@pytest.mark.parametrize(
    ("previous", "fields"),
    [
        ({}, {}),
        ({"cancel_at_period_end": False}, {"cancel_at_period_end": True}),
        ({"status": "trialing"}, {}),
        ({"status": "past_due"}, {}),
        ({"status": "canceled"}, {"status": "past_due"}),
        ({"metadata": {"a": "b"}}, {}),
        ({"cancel_at": None}, {}),
        ({"cancel_at": 1795000000}, {"cancel_at": 1796000000}),
        ({"cancel_at": 1795000000}, {"cancel_at_period_end": True}),
    ],
)
def test_any_other_change_of_a_subscription_says_nothing(previous, fields):
    parsed = STRIPE.receiver.parse(STRIPE.options, changed("subscription_updated.json", previous, **fields))
    assert not parsed.events
    assert parsed.ignored == {"customer.subscription.updated without consequence": 1}


def test_a_new_subscription_is_a_return_only_once_it_lives():
    (told,) = STRIPE.heard(STRIPE.fixture("subscription_created.json"))
    assert told.kind == "reactivation" and told.who == Who(external_id="cus_Q1")
    assert not STRIPE.heard(changed("subscription_created.json", status="incomplete"))


@pytest.mark.parametrize(("previous", "amount"), [({"amount_refunded": 0}, -19.0), ({"amount_refunded": 400}, -15.0)])
def test_a_refund_is_a_payment_back_of_what_this_one_gave(previous, amount):
    (told,) = STRIPE.heard(changed("charge_refunded.json", previous))
    assert told == Paid(
        who=Who(email="ada@example.com"),
        at=at(1793527200),
        kind="payment",
        transaction_id="evt_1SabcRefund",
        amount=amount,
        currency="EUR",
    )
    assert not STRIPE.heard(changed("charge_refunded.json", {"amount_refunded": 1900}))


def test_an_address_is_asked_before_the_number_of_stripes_customer():
    (told,) = STRIPE.heard(changed("invoice_paid.json", parent=None))
    assert told.who == Who(email="ada@example.com")


def test_an_invoice_over_nothing_is_no_payment():
    assert not STRIPE.heard(changed("invoice_paid.json", amount_paid=0))


def test_nobody_is_named_by_a_purchase_without_customer_or_address():
    request = changed("checkout_completed.json", customer_details=None)
    assert STRIPE.receiver.parse(STRIPE.options, request).ignored == {"nobody is named": 1}


def test_a_record_keeps_the_system_it_names():
    for value, record in (("salesforce:003x", "salesforce:003x"), (904, "hubspot:904"), ("", None), ([1], None)):
        vendor = STRIPE.with_options(record_key="crm")
        assert vendor.heard(changed("checkout_completed.json", metadata={"crm": value}))[0].who.record == record


@pytest.mark.parametrize(
    ("kind", "why"),
    [("charge.succeeded", "charge.succeeded"), ("canary", "unknown type"), ("invoice.payment_succeeded",) * 2],
)
def test_types_that_are_not_wanted_are_counted_by_why(kind, why):
    parsed = STRIPE.receiver.parse(STRIPE.options, incoming(json.dumps({"id": "evt_1", "type": kind})))
    assert parsed.ignored == {why: 1}


@pytest.mark.parametrize(
    ("currency", "units"),
    [
        ("usd", 123.45),
        ("EUR", 123.45),
        ("jpy", 12345.0),
        ("KRW", 12345.0),
        ("xof", 12345.0),
        ("kwd", 12.345),
        ("bhd", 12.345),
        ("ugx", 123.45),
        ("isk", 123.45),
        (None, 123.45),
    ],
)
def test_an_amount_is_in_the_currencys_own_smallest_unit(currency, units):
    assert in_units(12_345, currency) == units


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"id":"evt_1"}',
        b'{"id":"evt_1","type":true}',
        b'{"id":"evt_1","type":"invoice.paid"}',
        b'{"id":"evt_1","type":"invoice.paid","created":1793527195,"data":{}}',
        b'{"id":"evt_1","type":"invoice.paid","created":"now","data":{"object":{"id":"in_1","amount_paid":1}}}',
        b'{"id":"evt_1","type":"invoice.paid","created":1,"data":{"object":{"id":"in_1","customer":"c","amount_paid":1}}}',
        b'{"id":"evt 1","type":"invoice.paid","created":1793527195,"data":{"object":{"id":"in_1"}}}',
        b'{"id":"evt_1","type":"invoice.paid","created":1793527195,"data":{"object":{"id":"in_1","amount_paid":1.5}}}',
    ],
)
def test_what_stripe_never_sends_is_malformed(body):
    with pytest.raises(MalformedPayload):
        STRIPE.events(incoming(body))
