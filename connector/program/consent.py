"""The consent ledger, folded: what was said about one person, in whatever order we heard it.

Every rule is a latest or an earliest of its kind, so that any order and any repetition of the lines gives the same
state. Where two lines stand at the same moment, the one against mailing wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypeVar

from connector.program.model import Basis, ConsentEvent, ConsentState, Status

NOTHING_SAID = ConsentState()
"""Of somebody the ledger does not know."""

EVERY = frozenset({"", "all"})
"""A word about no channel or purpose in particular holds for each."""

STRENGTH = {basis: place for place, basis in enumerate(reversed(Basis))}
"""Which of two permissions is the better one, whatever the profile: express consent before all."""

_Key = TypeVar("_Key")
_NEVER = datetime.min.replace(tzinfo=UTC)
_ALWAYS = datetime.max.replace(tzinfo=UTC)
_OF_THE_PERSON = frozenset({Status.LEGAL_HOLD, Status.RELEASED, Status.ERASED, Status.SNOOZED})
"""Holds, erasures and snoozes are about the person; all else is about a channel."""


def fold(events: Iterable[ConsentEvent], *, channel: str = "email", purpose: str = "marketing") -> ConsentState:
    """What the lines about one subject come to.

    A withdrawal, complaint or bounce holds until a later RESUBSCRIBED with evidence; one at the same moment does not
    lift it. A withdrawal of any purpose counts; a return to one purpose lifts only the withdrawal of that purpose, a
    return to `purpose` itself lifts all. An erasure is for good. A snooze without an end is a withdrawal. Permissions
    given before the last objection are void even after a return: the return is the new permission.
    """
    said = _Said()
    for line in events:
        if line.channel == channel or line.channel in EVERY or line.status in _OF_THE_PERSON:
            said.hear(line)
    return said.state(purpose) if said.anything else NOTHING_SAID


def said_at(line: ConsentEvent) -> datetime:
    """When it was said, but never later than we heard it: a clock that runs ahead outranks nothing."""
    heard = line.recorded_at
    return line.captured_at if heard is None or heard >= line.captured_at else heard


def basis_of(line: ConsentEvent) -> Basis:
    """What a permission rests on; an explicit return is express consent."""
    return line.basis or Basis.CONSENT_EXPRESS


class _Said:
    """The lines of one subject, sorted by what they are about."""

    __slots__ = ("grants", "latest", "returned", "snoozes", "withdrawn")

    def __init__(self) -> None:
        self.withdrawn: dict[str, datetime] = {}
        self.returned: dict[str, datetime] = {}
        """Purpose → the last withdrawal of it, and the last return to it that somebody can show."""
        self.latest: dict[Status, datetime] = {}
        self.snoozes: list[tuple[datetime, datetime]] = []
        """When each was said, and its end."""
        self.grants: list[ConsentEvent] = []

    @property
    def anything(self) -> bool:
        """Whether a line said something that counts."""
        return bool(self.withdrawn or self.latest or self.grants or self.snoozes)

    def hear(self, line: ConsentEvent) -> None:
        """Take a line in; the same one again changes nothing in the end."""
        status, at = line.status, said_at(line)
        if status is Status.GRANTED:
            if line.basis is not None:
                self.grants.append(line)
        elif status is Status.RESUBSCRIBED:
            if line.evidence:
                _keep_latest(self.returned, line.purpose, at)
                self.grants.append(line)
        elif status is Status.SNOOZED and line.expires_at is not None:
            self.snoozes.append((at, line.expires_at))
        elif status in {Status.WITHDRAWN, Status.SNOOZED}:
            _keep_latest(self.withdrawn, line.purpose, at)
        else:
            _keep_latest(self.latest, status, at)

    def state(self, purpose: str) -> ConsentState:
        """What it all comes to for one purpose."""
        back = max(self.returned.get(p, _NEVER) for p in (purpose, *EVERY)) if self.returned else _NEVER
        grants = self._standing(purpose) if self.grants else ()
        return ConsentState(
            opted_out_at=self._opted_out_at(back),
            complained_at=self._unless(Status.COMPLAINED, back),
            bounced_at=self._unless(Status.BOUNCED, back),
            erased_at=self.latest.get(Status.ERASED),
            legal_hold=self._on_hold(),
            snoozed_until=max((end for at, end in self.snoozes if at >= back), default=None),
            granted=grants[0] if grants else None,
            grants=grants,
        )

    def _opted_out_at(self, back: datetime) -> datetime | None:
        standing = (at for p, at in self.withdrawn.items() if at >= back and at >= self.returned.get(p, back))
        return max(standing, default=None)

    def _unless(self, status: Status, back: datetime) -> datetime | None:
        at = self.latest.get(status)
        return at if at is not None and at >= back else None

    def _on_hold(self) -> bool:
        held = self.latest.get(Status.LEGAL_HOLD)
        return held is not None and held >= self.latest.get(Status.RELEASED, _NEVER)

    def _standing(self, purpose: str) -> tuple[ConsentEvent, ...]:
        """The permissions that still stand, best first, without those that another of their kind outlasts."""
        objections = (self.latest.get(Status.COMPLAINED, _NEVER), self.latest.get(Status.ERASED, _NEVER))
        since = max(*objections, *self.withdrawn.values())
        live = [g for g in self.grants if said_at(g) > since and (g.purpose == purpose or g.purpose in EVERY)]
        standing: list[ConsentEvent] = []
        for line in sorted(live, key=_merit, reverse=True):
            if not any(_outlasts(better, line) for better in standing):
                standing.append(line)
        return tuple(standing)


def _keep_latest(times: dict[_Key, datetime], key: _Key, at: datetime) -> None:
    if at > times.get(key, _NEVER):
        times[key] = at


def _merit(line: ConsentEvent) -> tuple[int, datetime, datetime, str]:
    return STRENGTH[basis_of(line)], line.expires_at or _ALWAYS, said_at(line), line.event_key


def _outlasts(better: ConsentEvent, line: ConsentEvent) -> bool:
    """Whether the other says all that this one says, at least as late and for at least as long."""
    return (
        basis_of(better) is basis_of(line)
        and better.status is line.status
        and said_at(better) >= said_at(line)
        and (better.expires_at or _ALWAYS) >= (line.expires_at or _ALWAYS)
    )
