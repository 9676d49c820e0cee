"""How every episode stands, in few words: what many of them have alike is told once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connector.journal.loading import raw
from connector.journal.program_tables import episodes

_OWN = (*(episodes.c[name] for name in ("contact_id", "episode_id", "properties")), episodes.c.exited_at.is_(None))
_ALIKE = (
    *(
        episodes.c[name]
        for name in (
            "program", "entered_as", "arm", "step", "step_state", "entered_at", "step_at", "send_at", "exited_at",
            "answered", "variant", "branch", "offer",
        )
    ),
    episodes.c.code.is_not(None),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """Some episodes; all but `examples` have an entry for each.

    contacts: Whose they are. episodes: Their ids. values: The properties written with the newest step, in JSON.
    open: Whether they have not ended.
    kinds: A number that two share which are in the same program, entered as and when, arm, step with its state and
        moments, variant, branch, offer (with a code or without) and end, and both were answered or not.
    examples: By the number of every kind that no page before this one had, the id of one of its episodes.
    """

    contacts: Sequence[str]
    episodes: Sequence[str]
    values: Sequence[str]
    open: Sequence[bool]
    kinds: Sequence[int]
    examples: Mapping[int, str]


def standing(connection: sa.Connection, *, size: int) -> Iterator[Standing]:
    """Every episode, in no order, in pages of this size, all as of one moment."""
    query = sa.select(*map(raw, (*_OWN, *_ALIKE)))
    numbers: dict[tuple[Any, ...], int] = {}
    for rows in connection.execution_options(yield_per=size).execute(query).partitions():
        known = len(numbers)
        kinds = [numbers.setdefault(row[len(_OWN) :], len(numbers)) for row in rows]
        contacts, ids, properties, is_open, *_ = zip(*rows, strict=True)
        one_of = dict(zip(kinds, ids, strict=True))
        examples = {kind: one_of[kind] for kind in range(known, len(numbers))}
        yield Standing(contacts, ids, properties, tuple(map(bool, is_open)), kinds, examples)
