"""The suite of `receiver_suite`, for every receiver that ships, and for one as small as one can be."""

from __future__ import annotations

from tests.contract.receiver_suite import ReceiverSuite, ReceiverWorld
from tests.fakes.vendor_deliveries import FIXTURES, NOT_A_DELIVERY, PATH_TOKEN, VENDORS, bodies_of
from tests.fakes.web import SECRET, TINY, TinyOptions, tiny_events
from webhooks import surveymonkey, typeform, zigpoll


def kept_of(vendor, body: bytes) -> int:
    return len(vendor.events(vendor.delivery(body)))


def world_of(name: str) -> ReceiverWorld:
    vendor = VENDORS[name]
    bodies = {key: body for key, body in bodies_of(name).items() if key not in NOT_A_DELIVERY}
    wanted = {key: body for key, body in bodies.items() if kept_of(vendor, body)}
    return ReceiverWorld(
        receiver=vendor.receiver,
        options=vendor.options,
        bodies=wanted,
        unwanted={key: body for key, body in bodies.items() if key not in wanted},
        token=vendor.token,
        # Segment signs the first event of a batch and no other.
        partly_signed=frozenset(key for key in bodies if name == "segment" and "batch" in key),
        signed=name not in {"salesforce", "mailchimp", "posthog"},
    )


SURVEYS = {
    "typeform": (
        typeform.RECEIVER,
        typeform.TypeformOptions(secret="wb-secret"),
        ("form_response", "form_response_partial", "every_kind_of_answer", "no_answers"),
        ("preview",),
    ),
    "surveymonkey": (
        surveymonkey.RECEIVER,
        surveymonkey.SurveyMonkeyOptions(client_id="client123", client_secret="secret456"),
        ("response_completed", "response_updated"),
        ("collector_updated",),
    ),
    "zigpoll": (
        zigpoll.RECEIVER,
        zigpoll.ZigpollOptions(token=PATH_TOKEN),
        ("survey_completed",),
        ("poll_only",),
    ),
}
"""Receiver, options, deliveries that are kept, and deliveries that are not."""


def survey_of(name: str) -> ReceiverWorld:
    receiver, options, kept, unwanted = SURVEYS[name]
    body = {key: (FIXTURES / name / f"{key}.json").read_bytes() for key in (*kept, *unwanted)}
    return ReceiverWorld(
        receiver=receiver,
        options=options,
        bodies={key: body[key] for key in kept},
        unwanted={key: body[key] for key in unwanted},
        token=PATH_TOKEN if receiver.needs_token else None,
        signed=not receiver.needs_token,
    )


class TestTinyReceiver(ReceiverSuite):
    world = ReceiverWorld(
        TINY,
        TinyOptions(secret=SECRET),
        bodies={"one": tiny_events("a"), "two": tiny_events("b", "c")},
        unwanted={"renamed": tiny_events("d", kind="renamed"), "nothing": b"[]"},
    )


class TestHubSpotReceiver(ReceiverSuite):
    world = world_of("hubspot")


class TestSalesforceReceiver(ReceiverSuite):
    world = world_of("salesforce")


class TestMailchimpReceiver(ReceiverSuite):
    world = world_of("mailchimp")


class TestSegmentReceiver(ReceiverSuite):
    world = world_of("segment")


class TestStripeReceiver(ReceiverSuite):
    world = world_of("stripe")


class TestPostHogReceiver(ReceiverSuite):
    world = world_of("posthog")


class TestStandardReceiver(ReceiverSuite):
    world = world_of("standard")


class TestTypeformReceiver(ReceiverSuite):
    world = survey_of("typeform")


class TestSurveyMonkeyReceiver(ReceiverSuite):
    world = survey_of("surveymonkey")


class TestZigpollReceiver(ReceiverSuite):
    world = survey_of("zigpoll")
