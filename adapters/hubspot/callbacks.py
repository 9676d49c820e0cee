"""Workflows that wait at an action of ours, and go on when they are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.hubspot.client import HubSpotClient, HubSpotRejected
from connector.model import Callback, Outcome, Receipt
from connector.rest import Effect

BATCH: Final = 100
"""How many one call takes is not published."""

SUCCESS: Final = {"hs_execution_state": "SUCCESS"}
_NOT_FOUND = 404


class Callbacks:
    """Completes waiting executions; to complete one twice does nothing the second time."""

    def __init__(self, client: HubSpotClient) -> None:
        self._client = client

    def complete(self, callbacks: Sequence[Callback]) -> list[Receipt]:
        """All in one call; see `Destination.complete`.

        What HubSpot says about a batch in which one waits no more is not documented: then each is asked alone.
        """
        if not callbacks:
            return []
        unique = list({one.callback_id: one for one in callbacks}.values())
        try:
            path = self._client.path("callbacks", "/complete")
            self._client.call(
                "POST", path, body={"inputs": [_batched(one) for one in unique]}, effect=Effect.REPEATABLE
            )
        except HubSpotRejected as refusal:
            if len(unique) == 1 and refusal.status != _NOT_FOUND:
                raise
            found = {one.callback_id: self._complete_one(one) for one in unique}
            return [found[one.callback_id] for one in callbacks]
        # The answer is an empty success.
        return [Receipt(one.callback_id, Outcome.WRITTEN) for one in callbacks]

    def _complete_one(self, callback: Callback) -> Receipt:
        path = self._client.path("callbacks", "/{callbackId}/complete")
        place = {"callbackId": callback.callback_id}
        try:
            self._client.call("POST", path, place=place, body=_body(callback), effect=Effect.REPEATABLE)
        except HubSpotRejected as refusal:
            if refusal.status == _NOT_FOUND:
                return Receipt(callback.callback_id, Outcome.UNCHANGED, refusal.vendor.words())
            code = refusal.vendor.category or str(refusal.status)
            return Receipt(callback.callback_id, Outcome.REJECTED, refusal.vendor.words(), code)
        return Receipt(callback.callback_id, Outcome.WRITTEN)


def _body(callback: Callback) -> dict[str, Any]:
    return {"outputFields": {**SUCCESS, **callback.fields}, "typedOutputs": {}}


def _batched(callback: Callback) -> dict[str, Any]:
    return {"callbackId": callback.callback_id, **_body(callback)}
