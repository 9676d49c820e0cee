"""Sixty people whose silence is known by construction, as of 2026-06-15."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from connector.model import Contact

TODAY = date(2026, 6, 15)
NOON = datetime(2026, 6, 15, 12, tzinfo=UTC)
CREATED = datetime(2024, 1, 1, tzinfo=UTC)

SILENT_DAYS = {
    **{number: number % 10 for number in range(1, 31)},
    **{number: 30 + number % 10 for number in range(31, 41)},
    **{number: 60 + number % 10 for number in range(41, 51)},
    **{number: 90 + number for number in range(51, 61)},
}
"""By person: days since the last use. 1–30 active, 31–40 dormant_30, 41–50 dormant_60, 51–60 dormant_90."""

OPTED_OUT, BOUNCED = {40, 50}, {60}
TEAM_LEADS = {31, 41, 51}


def people() -> list[Contact]:
    return [
        Contact(
            contact_id=f"hubspot:{1000 + number}",
            external_id=f"u{number}",
            email=f"person{number}@example.com",
            first_name=f"P{number}",
            role="team_lead" if number in TEAM_LEADS else "developer",
            created_at=CREATED,
            can_email=True,
            opted_out=number in OPTED_OUT,
            bounced=number in BOUNCED,
        )
        for number in SILENT_DAYS
    ]


def usage() -> list[tuple[str, str, str]]:
    """Ten active days for everybody, the last one so many days ago."""
    return [
        (f"u{number}", (TODAY - timedelta(days=silent + 3 * back)).isoformat(), "reports" if back % 2 else "editor")
        for number, silent in SILENT_DAYS.items()
        for back in range(10)
    ]
