"""Leaving: how an episode ends, whoever ends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from connector.journal.loading import in_chunks
from connector.journal.program_tables import episodes
from connector.journal.tables import UtcTime
from connector.program.codes import EXITS
from connector.program.model import Exit

_CHUNK = 5_000

_RANK = {code: place for place, code in enumerate(EXITS)}
_AT = sa.bindparam("left_at", type_=UtcTime)
_OPEN = episodes.c.exited_at.is_(None)
_ENDED_LATER = sa.and_(
    # Ended by what was heard, not by a run, and not because two episodes became one.
    episodes.c.exit_run_id.is_(None),
    episodes.c.exit_reason != "merged",
    sa.or_(
        episodes.c.exited_at > _AT,
        sa.and_(
            episodes.c.exited_at == _AT,
            sa.case(_RANK, value=episodes.c.exit_reason, else_=len(_RANK)) > sa.bindparam("rank", type_=sa.Integer),
        ),
    ),
)


_ONE = episodes.c.episode_id == sa.bindparam("one", type_=sa.Text)
_ANSWERED = sa.or_(episodes.c.answered, sa.bindparam("was_answered", type_=sa.Boolean))
_ENDED = {"exited_at": _AT, "exit_reason": sa.bindparam("left_for"), "exit_run_id": sa.bindparam("left_in")}


def _update(*when: sa.ColumnElement[bool], **values: Any) -> sa.Update:
    return sa.update(episodes).where(_ONE, *when).values(**values).execution_options(preserve_rowcount=True)


_LEAVE = _update(_OPEN, answered=_ANSWERED, **_ENDED)
_LEAVE_LIVE = _update(sa.or_(_OPEN, _ENDED_LATER), **_ENDED)
_ANSWER_LIVE = _update(episodes.c.exit_run_id.is_(None), episodes.c.answered.is_(False), answered=_ANSWERED)


def leave(connection: sa.Connection, exits: Iterable[Exit], run_id: str | None) -> int:
    """Close these episodes, in the caller's transaction; how many changed. What a run ended stays as it is.

    Of several things that were heard, the one that happened first ended it, whichever is heard first; of two at one
    moment the first in the order of EXITS.

    run_id: The run that ended them and whose undo opens them again; None: what ended them was not ours to take back.
    """
    rows: list[dict[str, Any]] = [
        {
            "one": e.episode_id,
            "was_answered": e.answered,
            "left_at": e.at,
            "left_for": e.reason,
            "left_in": run_id,
        }
        # In the order in which a move holds them: two processes must not wait for each other.
        for e in sorted(exits, key=attrgetter("episode_id"))
    ]
    if run_id is not None:
        return _run(connection, _LEAVE, rows)
    answers = [{"one": row["one"], "was_answered": True} for row in rows if row["was_answered"]]
    _run(connection, _ANSWER_LIVE, answers)
    return _run(connection, _LEAVE_LIVE, [{**row, "rank": _RANK.get(row["left_for"], len(_RANK))} for row in rows])


def _run(connection: sa.Connection, update: sa.Update, rows: Sequence[Mapping[str, Any]]) -> int:
    return sum(connection.execute(update, chunk).rowcount for chunk in in_chunks(rows, _CHUNK))
