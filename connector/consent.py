"""What people allowed and forbade, asked and written down by hand: the functions behind `winback consent`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connector.errors import SettingError
from connector.plain import plain
from connector.program.codes import EXCLUSIONS
from connector.program.model import ConsentEvent, Status

if TYPE_CHECKING:
    from connector.model import Reject
    from connector.program.model import Eligibility
    from connector.program.radar import Reach
    from connector.programs import Crowd
    from connector.workspace import Workspace


def known_contact(workspace: Workspace, who: str) -> str:
    """The contact that an id, external id or address means; SettingError when it means nobody or several."""
    contact_id = workspace.warehouse.resolve(who)
    if contact_id is None:
        raise SettingError("nobody here answers to that", hint="give a contact id; `winback pull` reads new people")
    return contact_id


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one contact stands."""

    contact_id: str
    eligibility: Eligibility
    history: Sequence[ConsentEvent]

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "contact_id": self.contact_id,
            "may_be_mailed": self.eligibility.reason is None,
            "reason": self.eligibility.reason,
            "basis": self.eligibility.basis,
            "until": plain(self.eligibility.until),
            "rule": self.eligibility.rule,
            "ledger": [
                {
                    "status": event.status.value,
                    "basis": event.basis.value if event.basis else None,
                    "at": plain(event.captured_at),
                    "until": plain(event.expires_at),
                    "source": event.source,
                    "evidence": dict(event.evidence),
                }
                for event in self.history
            ],
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        verdict = self.eligibility
        head = "may be mailed" if verdict.reason is None else f"is not mailed: {EXCLUSIONS[verdict.reason]}"
        told = [f"{self.contact_id} {head}", f"  {verdict.rule}"] if verdict.rule else [f"{self.contact_id} {head}"]
        if verdict.until is not None:
            told.append(f"  until {verdict.until:%Y-%m-%d}")
        for event in self.history:
            basis = f" ({event.basis.value})" if event.basis else ""
            until = f", until {event.expires_at:%Y-%m-%d}" if event.expires_at else ""
            told.append(f"  {event.captured_at:%Y-%m-%d %H:%M} {event.status.value}{basis}{until}, from {event.source}")
        return told if self.history else [*told, "  the ledger has no line about this contact"]


def standing(workspace: Workspace, who: str) -> Standing:
    """Whether this contact may be mailed now, and all that was said about it."""
    contact_id = known_contact(workspace, who)
    crowd = _crowd(workspace)
    person = crowd.one(contact_id)
    if person is None:
        raise SettingError("nobody here answers to that today", hint="`winback explain` shows other days with --as-of")
    return Standing(contact_id, person.eligibility, workspace.journal.consent.history(contact_id))


def expiry_radar(workspace: Workspace) -> Sequence[Reach]:
    """Per segment: reachable, expiring within 30 days, expired, without consent."""
    from connector.program.radar import radar

    crowd = _crowd(workspace)
    names = [segment.name for segment in workspace.playbook.segments]
    people = ((segment, person.eligibility) for person in crowd.people() for segment in person.segments)
    return radar(people, now=workspace.clock.now(), segments=names)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Somebody who gave no sign for as long as the profile lets one keep them."""

    contact_id: str
    last_sign_on: date
    keep_until: date
    profile: str


def deletion_proposals(workspace: Workspace) -> Iterator[Proposal]:
    """Contacts in a segment, in a program or held back whose retention is over: proposed, never deleted by us.

    A sign is the person's own: use of the product, a click, a reply, a visit, a payment, a permission, or the day the
    contact was made; an open is none.
    """
    from connector.program.profiles import keep_until, profile_for

    crowd = _crowd(workspace)
    for person in crowd.people(everybody=True):
        row = person.row
        if row.get("deleted_at") is not None or row.get("merged_into") is not None:
            continue
        signs = [row.get(name) for name in _SIGNS]
        last = max((sign for sign in signs if sign is not None), default=None)
        if last is None:
            continue
        profile = profile_for(crowd.consent, row.get("country"))
        until = keep_until(crowd.consent, profile, last)
        if until is not None and until <= crowd.now:
            yield Proposal(row["contact_id"], last.date(), until.date(), profile.name)


_SIGNS = ("last_active_at", "created_at", "last_paid_at", "consent_at", "engaged_last_at", "engaged_replied_at")


def write_down(
    workspace: Workspace, who: str, status: str, *, source: str, until: datetime | None = None, evidence: str = ""
) -> tuple[str, bool]:
    """Add a line to the ledger about this contact; returns its id and whether the line is new.

    An opt-out or a return is written down about the address as well: it outlives the contact, should the CRM make it
    anew. A return needs evidence: it is the only thing that lifts an opt-out.
    """
    from connector.program.suppression import about_address

    contact_id = known_contact(workspace, who)
    now = workspace.clock.now()
    kind, proof = Status(status), " ".join(evidence.split())
    if kind is Status.RESUBSCRIBED and (not proof or "@" in proof):
        raise SettingError(
            "a return lifts an opt-out, so it needs evidence, without an address in it",
            hint='say what proves that the person asked for it: --evidence "preferences page, 2026-11-20, wording 4"',
        )
    end = until if until is None or until.tzinfo is not None else until.replace(tzinfo=UTC)
    if end is not None and end <= now:
        raise SettingError(f"--until {end:%Y-%m-%d} is past", hint="give a day to come")
    event = ConsentEvent(
        subject=contact_id,
        status=kind,
        captured_at=now,
        source=source,
        event_key=f"by-hand:{contact_id}:{status}:{now.isoformat()}",
        expires_at=end,
        evidence={"statement": proof} if proof else {},
        actor="operator",
    )
    events = [event]
    address = _addresses(workspace, [contact_id]).get(contact_id)
    if address and kind in {Status.WITHDRAWN, Status.RESUBSCRIBED}:
        events.append(about_address(event, address, workspace.suppression_key()))
    return contact_id, workspace.journal.consent.record(events) > 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What a suppression file brought."""

    new: int
    known: int
    rejects: Sequence[Reject]
    doubts: Sequence[Reject]


def take_in(workspace: Workspace, file: Path, *, source: str, basis: str) -> Taken:
    """Add every entry of a suppression file to the ledger; rows that cannot be read are set aside with their reason."""
    from connector.program.suppression import parse_file

    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingError(f"{file}: not text in UTF-8 ({error.reason})", hint="save it as CSV in UTF-8") from None
    taken = parse_file(
        text,
        name=file.name,
        source=source,
        basis=basis,
        pepper=workspace.suppression_key(),
        now=workspace.clock.now(),
        actor="operator",
    )
    new = workspace.journal.consent.record(taken.events)
    workspace.journal.consent.record(list(_about_contacts(workspace, taken.events)))
    return Taken(new, len(taken.events) - new, taken.rejects, taken.doubts)


def _about_contacts(workspace: Workspace, events: Sequence[ConsentEvent]) -> Iterator[ConsentEvent]:
    """The same words about the contacts who have these addresses now: what is asked just before every write."""
    from connector.program.suppression import address_key

    said = {event.subject: event for event in events}
    pepper = workspace.suppression_key()
    _, batches = workspace.warehouse.feature_batches(workspace.today(), columns=["email"])
    for batch in batches if said else ():
        for contact_id, email in batch:
            event = said.get(address_key(email, pepper)) if email else None
            if event is not None:
                yield replace(event, subject=contact_id, event_key=f"{event.event_key}:{contact_id}")


def give_out(workspace: Workspace, file: Path, *, addresses: bool) -> int:
    """Write everybody who must not be mailed to a file readable by us only; returns how many entries.

    Addresses are hashed with our key unless asked for: then those of contacts we know stand beside their hash.
    """
    from connector.program.suppression import address_key, entries, entry_of, format_file

    pepper = workspace.suppression_key()
    states = workspace.journal.consent.states()
    listed = {entry.key: entry for entry in entries(states)}
    known = _addresses(workspace, [subject for subject in states if not subject.startswith("email:")])
    for contact_id, address in known.items():
        key = address_key(address, pepper)
        entry = listed.get(key) or entry_of(key, states[contact_id])
        if entry is not None:
            listed[key] = replace(entry, email=address if addresses else None)
    text = format_file([listed[key] for key in sorted(listed)], pepper)
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    return len(listed)


def _addresses(workspace: Workspace, contact_ids: Sequence[str]) -> dict[str, str]:
    """The addresses of those of these contacts who have one, in the order of the ids given."""
    found = {row["contact_id"]: row["email"] for row in workspace.warehouse.flags(contact_ids)}
    return {contact_id: found[contact_id] for contact_id in contact_ids if found.get(contact_id) is not None}


def _crowd(workspace: Workspace) -> Crowd:
    """Everybody today, as the programs see them."""
    from connector.crms import destination_systems
    from connector.pipeline.segmenting import evaluate
    from connector.programs import Crowd

    if not workspace.playbook.programs:
        raise SettingError(
            "the playbook has no program, so no rules on consent", hint="add a `program:` with `consent:` to it"
        )
    day = workspace.today()
    evaluate(workspace, day)
    first, *also = destination_systems(workspace).values()
    return Crowd(workspace, day, system=first, also=also)
