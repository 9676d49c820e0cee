"""Communication preferences: what an address chose, for one kind of mail or against all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.hubspot.sandbox.answers import Answer, Refusal, batch, iso
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.preferences import SUBSCRIPTIONS, Choice, Subscription

CHANNEL = "EMAIL"
MAX_BATCH = 100


def definitions(call: Call) -> Answer:
    """The kinds of mail people can choose."""
    return batch([subscription.body() for subscription in SUBSCRIPTIONS], now_ms=call.now_ms)


def statuses(call: Call, email: str) -> Answer:
    """What one address chose, kind by kind."""
    _channel(call)
    return batch(_statuses(call, email), now_ms=call.now_ms)


def choose(call: Call, email: str) -> Answer:
    """Set one address's choice for one kind of mail."""
    return batch([_choose(call, email, call.fields)], now_ms=call.now_ms)


def wide(call: Call, email: str) -> Answer:
    """Whether one address is off all mail; nothing listed when not."""
    _channel(call)
    return batch(_wide(call, email), now_ms=call.now_ms)


def unsubscribe_all(call: Call, email: str) -> Answer:
    """Take one address off all mail; listed are the kinds it was still on."""
    _channel(call)
    return batch(_unsubscribe_all(call, email), now_ms=call.now_ms)


def statuses_of_many(call: Call) -> Answer:
    """What many addresses chose."""
    _channel(call)
    found = [{"subscriberIdString": email, "statuses": _statuses(call, email)} for email in _addresses(call)]
    return batch(found, now_ms=call.now_ms)


def choose_many(call: Call) -> Answer:
    """Set many choices."""
    inputs = call.inputs(MAX_BATCH)
    return batch([_choose(call, str(item.get("subscriberIdString")), item) for item in inputs], now_ms=call.now_ms)


def unsubscribe_many(call: Call) -> Answer:
    """Take many addresses off all mail."""
    _channel(call)
    done = [{"subscriberIdString": email, "statuses": _unsubscribe_all(call, email)} for email in _addresses(call)]
    return batch(done, now_ms=call.now_ms)


def wide_of_many(call: Call) -> Answer:
    """Whether many addresses are off all mail."""
    _channel(call)
    found = [{"subscriberIdString": email, "wideStatuses": _wide(call, email)} for email in _addresses(call)]
    return batch(found, now_ms=call.now_ms)


def nothing_done(now_ms: int) -> Answer:
    """A success that lists nobody."""
    return batch([], now_ms=now_ms)


def _unsubscribe_all(call: Call, email: str) -> list[dict[str, Any]]:
    before = [s for s in SUBSCRIPTIONS if call.state.preferences.status(email, s).status != "UNSUBSCRIBED"]
    call.state.preferences.unsubscribe_all(email, source="API", now_ms=call.now_ms)
    call.state.workflows.run(call.now_ms)
    return [
        _status(email, s, call.state.preferences.status(email, s))
        | {"setStatusSuccessReason": "UNSUBSCRIBE_FROM_ALL_OCCURRED"}
        for s in before
    ]


def _choose(call: Call, email: str, body: Mapping[str, Any]) -> dict[str, Any]:
    if body.get("channel") != CHANNEL:
        raise Refusal("channel must be EMAIL")
    subscription_id = str(body.get("subscriptionId"))
    choice, reason = call.state.preferences.choose(
        email, subscription_id, str(body.get("statusState")), now_ms=call.now_ms, basis=body
    )
    subscription = next(s for s in SUBSCRIPTIONS if s.id == subscription_id)
    return _status(email, subscription, choice) | {"setStatusSuccessReason": reason}


def _statuses(call: Call, email: str) -> list[dict[str, Any]]:
    held = call.state.preferences
    return [_status(email, subscription, held.status(email, subscription)) for subscription in SUBSCRIPTIONS]


def _wide(call: Call, email: str) -> list[dict[str, Any]]:
    choice = call.state.preferences.wide(email)
    if choice is None:
        return []
    return [
        {
            "subscriberIdString": email,
            "wideStatusType": "PORTAL_WIDE",
            "status": choice.status,
            "channel": CHANNEL,
            "timestamp": iso(choice.at_ms),
        }
    ]


def _status(email: str, subscription: Subscription, choice: Choice) -> dict[str, Any]:
    body = {
        "subscriberIdString": email,
        "subscriptionId": int(subscription.id),
        "subscriptionName": subscription.name,
        "channel": CHANNEL,
        "status": choice.status,
        "source": choice.source,
        "timestamp": iso(choice.at_ms),
    }
    if choice.legal_basis:
        body |= {"legalBasis": choice.legal_basis, "legalBasisExplanation": choice.explanation or ""}
    return body


def _addresses(call: Call) -> Sequence[str]:
    inputs = call.fields.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(item, str) for item in inputs):
        raise Refusal("Invalid input JSON: inputs must be a list of addresses")
    if len(inputs) > MAX_BATCH:
        raise Refusal(f"At most {MAX_BATCH} addresses are allowed in a batch, not {len(inputs)}")
    return inputs


def _channel(call: Call) -> None:
    if call.args.get("channel") != CHANNEL:
        raise Refusal("channel is required and must be EMAIL")


READ, WRITE = ("communication_preferences.read",), ("communication_preferences.write",)
READ_MANY, WRITE_MANY = (
    ("communication_preferences.statuses.batch.read",),
    ("communication_preferences.statuses.batch.write",),
)
RULES = (
    Rule("GET", "preferences", "/definitions", definitions, "preference reads", READ),
    Rule("POST", "preferences", "/statuses/batch/read", statuses_of_many, "preference reads", READ_MANY),
    Rule("POST", "preferences", "/statuses/batch/write", choose_many, "opt-outs", WRITE_MANY),
    Rule(
        "POST",
        "preferences",
        "/statuses/batch/unsubscribe-all",
        unsubscribe_many,
        "opt-outs",
        WRITE_MANY,
        no_op=nothing_done,
    ),
    Rule("POST", "preferences", "/statuses/batch/unsubscribe-all/read", wide_of_many, "preference reads", READ_MANY),
    Rule("GET", "preferences", "/statuses/<path:email>", statuses, "preference reads", READ),
    Rule("POST", "preferences", "/statuses/<path:email>", choose, "opt-outs", WRITE),
    Rule("GET", "preferences", "/statuses/<path:email>/unsubscribe-all", wide, "preference reads", READ),
    Rule(
        "POST",
        "preferences",
        "/statuses/<path:email>/unsubscribe-all",
        unsubscribe_all,
        "opt-outs",
        WRITE,
        no_op=nothing_done,
    ),
)
