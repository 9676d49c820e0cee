"""Requests as they arrive at a receiver, for its tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from connector.receivers import Incoming

NOW = datetime(2026, 11, 1, 10, 0, tzinfo=UTC)
"""The moment of the facts sheets' own vectors, 1793527200."""

BASE_URL = "https://winback.example.com"


def incoming(
    body: bytes | str = b"",
    headers: Mapping[str, str | Sequence[str]] | None = None,
    *,
    url: str = f"{BASE_URL}/webhooks/x",
    method: str = "POST",
    token: str | None = None,
    now: datetime = NOW,
    address: str | None = None,
) -> Incoming:
    """A request; a header given as text was sent once."""
    return Incoming(
        method=method,
        url=url,
        headers={
            name.lower(): (value,) if isinstance(value, str) else tuple(value)
            for name, value in (headers or {}).items()
        },
        body=body.encode() if isinstance(body, str) else body,
        received_at=now,
        token=token,
        address=address,
    )


def signed(
    receiver: Any, options: Any, body: bytes, *, url: str | None = None, now: datetime = NOW, token: str | None = None
) -> Incoming:
    """A request with this body, signed by the receiver's own code."""
    url = url or f"{BASE_URL}/webhooks/{receiver.name}"
    return incoming(body, receiver.sign(options, "POST", url, body, now), url=url, now=now, token=token)


_NAMES = (
    "x-hubspot-signature",
    "x-hubspot-signature-version",
    "x-hubspot-signature-v3",
    "x-hubspot-request-timestamp",
    "typeform-signature",
    "sm-apikey",
    "sm-signature",
    "x-mailchimp-signature",
    "x-signature",
    "stripe-signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-winback-secret",
)
_VALUES = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["", " ", "v1", "v2", "v3", "1793527200", "1793527200000", "t=1793527200,v1=", "v1,", "v1,AAAA", "sha256=", "é"]
    ),
    st.from_regex(r"t=1793527200,v1=[0-9a-f]{64}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{40}|[0-9a-f]{64}|v1,[A-Za-z0-9+/]{43}=", fullmatch=True),
)

requests = st.builds(
    incoming,
    st.one_of(st.binary(max_size=200), st.text(max_size=200), st.sampled_from([b"", b"[]", b"{}", b"[{}]", b"<a/>"])),
    st.dictionaries(st.sampled_from(_NAMES), st.lists(_VALUES, min_size=1, max_size=2)),
    url=st.sampled_from([f"{BASE_URL}/webhooks/x", "", "%", f"{BASE_URL}/?a=%3a%zz"]),
    method=st.sampled_from(["POST", "GET", "PUT", ""]),
    token=st.none() | st.text(max_size=40),
)
"""Anything at all that could arrive; nobody signed it."""
