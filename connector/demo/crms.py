"""How a playbook of the demo names a CRM: which records it reads, and which fields of the company's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connector.errors import SettingError


@dataclass(frozen=True, slots=True)
class DemoCrm:
    """What differs between the CRMs a demo can be told in.

    streams: What the playbook reads. own: The lines of the playbook that map the company's own fields; "" where the
    shipped mapping has them. waits_on: What a step's list is, in the CRM's words.
    """

    streams: tuple[str, ...]
    people: tuple[str, ...]
    own: str
    waits_on: str


_HUBSPOT_OWN = """\
    mapping:                                  # fields of this company's own: our column: its property
      contacts: {attributes.consent_at: consent_at, attributes.legal_hold: legal_hold,
                 attributes.snoozed_until: snoozed_until}
"""

DEMO_CRMS: Mapping[str, DemoCrm] = {
    "hubspot": DemoCrm(
        streams=("contacts", "companies"),
        people=("contacts",),
        own=_HUBSPOT_OWN,
        waits_on="a workflow of the CRM waits on each step's list and sends its mail",
    ),
    "salesforce": DemoCrm(
        streams=("contacts", "accounts", "engagements"),
        people=("contacts",),
        own="",
        waits_on="a flow of the CRM waits on each step's campaign and sends its mail",
    ),
}


def demo_crm(name: str) -> DemoCrm:
    """The CRM of this name; SettingError for one that no demo is told in."""
    if name not in DEMO_CRMS:
        raise SettingError(f"no demo is told in {name}", hint=f"choose one of: {', '.join(DEMO_CRMS)}")
    return DEMO_CRMS[name]


def references(auth: Mapping[str, str]) -> dict[str, str]:
    """The credentials of a look-alike as a playbook refers to them: each is in a file beside it."""
    return {name: f"${{file:{secret_file(name)}}}" for name in auth}


def secret_file(name: str) -> str:
    """The file of one of its credentials."""
    return f"sandbox.{name}"
