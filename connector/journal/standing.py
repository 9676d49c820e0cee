"""How every episode stands, in few words: what many of them have alike is told once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

import sqlalchemy as sa

from connector.journal.loading import moment, raw
from connector.journal.program_tables import episodes
from connector.program.model import Episode

_OWN = (*(episodes.c[name] for name in ("contact_id", "episode_id", "properties")), episodes.c.exited_at.is_(None))
_SAID = ("program", "entered_as", "arm", "step", "step_state", "variant", "branch", "offer", "exit_reason")
_MOMENTS = ("entered_at", "step_at", "send_at", "exited_at", "outcome_until")
_ALIKE = (
    *(episodes.c[name] for name in (*_SAID, *_MOMENTS)),
    episodes.c.answered,
    episodes.c.touches > 0,
    episodes.c.code.is_not(None),
)
_SOMEBODYS_CODE = "somebody's"


@dataclass(frozen=True, slots=True)
class Standing:
    """Some episodes; all but `alike` have an entry for each.

    contacts: Whose they are. episodes: Their ids. values: The properties written with the newest step, in JSON.
    open: Whether they have not ended.
    kinds: A number that two share which are in the same program, entered as and when, arm, step with its state and
        moments, variant, branch, offer (with a code or without), end and outcome, and both were touched and answered,
        or not.
    alike: By the number of every kind that no page before this one had, an episode that says what they share, and
        nothing else: it is nobody's.
    """

    contacts: Sequence[str]
    episodes: Sequence[str]
    values: Sequence[str]
    open: Sequence[bool]
    kinds: Sequence[int]
    alike: Mapping[int, Episode]


def standing(connection: sa.Connection, *, size: int) -> Iterator[Standing]:
    """Every episode, in no order, in pages of this size, all as of one moment."""
    query = sa.select(*map(raw, (*_OWN, *_ALIKE)))
    numbers: dict[tuple[Any, ...], int] = {}
    for rows in connection.execution_options(yield_per=size).execute(query).partitions():
        known = len(numbers)
        kinds = [numbers.setdefault(row[len(_OWN) :], len(numbers)) for row in rows]
        contacts, ids, properties, is_open, *_ = zip(*rows, strict=True)
        alike = {number: _nobodys(kind) for kind, number in islice(numbers.items(), known, None)}
        yield Standing(contacts, ids, properties, tuple(map(bool, is_open)), kinds, alike)


def _nobodys(kind: tuple[Any, ...]) -> Episode:
    """An episode of this kind."""
    *told, answered, touched, has_code = kind
    said: dict[str, Any] = dict(zip(_SAID, told, strict=False))
    moments: dict[str, Any] = dict(zip(_MOMENTS, map(moment, told[len(_SAID) :]), strict=True))
    return Episode(
        episode_id="",
        contact_id="",
        spell_started_on=date.min,
        answered=bool(answered),
        touches=int(touched),
        code=_SOMEBODYS_CODE if has_code else None,
        **said,
        **moments,
    )
