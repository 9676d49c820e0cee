"""Words of the consent ledger, and a contact nothing speaks against."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from connector.program.eligibility import eligibility
from connector.program.model import Basis, ConsentEvent, ConsentSettings, ConsentState, Eligibility, Status

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
FORM = {"form": "newsletter-2026"}


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def word(status: Status, at: datetime, **more: Any) -> ConsentEvent:
    """A line of the ledger; a return comes with evidence, a permission with its basis."""
    if status is Status.GRANTED:
        more.setdefault("basis", Basis.CONSENT_EXPRESS)
    if status is Status.RESUBSCRIBED:
        more.setdefault("evidence", FORM)
    more.setdefault("event_key", f"{status}:{at.isoformat()}:{more.get('purpose', '')}:{more.get('basis', '')}")
    return ConsentEvent(subject="crm:1", status=status, captured_at=at, source="test", **more)


MAILABLE: Mapping[str, Any] = {
    "contact_id": "crm:1",
    "email": "ada.king@acme.example.com",
    "country": "NL",
    "can_email": True,
    "opted_out": False,
    "bounced": False,
    "confirmed_at": NOW - timedelta(hours=3),
    "last_active_at": days_ago(60),
}
"""A row that is eligible under every profile."""


def judged(
    changes: Mapping[str, Any] | None = None,
    state: ConsentState | None = None,
    settings: ConsentSettings | None = None,
    *,
    now: datetime = NOW,
    suppressed: bool = False,
    first: bool = True,
) -> Eligibility:
    """The verdict on the mailable contact with some columns changed."""
    return eligibility(
        {**MAILABLE, **(changes or {})},
        state or ConsentState(),
        settings or ConsentSettings(),
        now=now,
        suppressed=lambda _: suppressed,
        first_with_address=first,
    )


MOMENTS = st.integers(0, 12).map(days_ago)
"""Few moments, so that lines at the same one are common."""


@st.composite
def lines(draw: st.DrawFn, *, statuses=tuple(Status)) -> list[ConsentEvent]:
    """A ledger of one subject; its keys are unique, as the journal's are."""
    return [
        ConsentEvent(
            subject="crm:1",
            status=draw(st.sampled_from(statuses)),
            captured_at=draw(MOMENTS),
            source=draw(st.sampled_from(["form", "crm"])),
            event_key=str(number),
            basis=draw(st.none() | st.sampled_from(Basis)),
            channel=draw(st.sampled_from(["email", "email", "email", "sms", "all"])),
            purpose=draw(st.sampled_from(["marketing", "marketing", "newsletter", "all"])),
            evidence=draw(st.sampled_from([FORM, FORM, {}])),
            expires_at=draw(st.none() | MOMENTS.map(lambda at: at + timedelta(days=20))),
            recorded_at=draw(st.none() | MOMENTS),
        )
        for number in range(draw(st.integers(0, 9)))
    ]
