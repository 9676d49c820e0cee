"""Taking steps: the line in the log, the code it hands out, and the episode that stands at it from now on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from connector.errors import StateError
from connector.journal.coupons import issue
from connector.journal.engine import Database
from connector.journal.program_tables import episode_steps, episodes
from connector.journal.tables import Json, batches
from connector.program.model import Move

DECIDED, WRITTEN, SKIPPED, UNDONE = "decided", "written", "skipped", "undone"

_NOTHING: Mapping[str, Any] = {"new_offer": None, "new_code": None, "new_properties": None, "more_touches": 0}

_OFFER, _PROPERTIES = sa.bindparam("new_offer", type_=sa.Text), sa.bindparam("new_properties", type_=Json)
_STAND = (
    sa.update(episodes)
    .where(episodes.c.episode_id == sa.bindparam("one"))
    .values(
        # A step that is skipped, or makes no offer, does not take back what the contact was given before.
        properties=sa.func.coalesce(_PROPERTIES, episodes.c.properties),
        offer=sa.func.coalesce(_OFFER, episodes.c.offer),
        code=sa.case((_OFFER.is_(None), episodes.c.code), else_=sa.bindparam("new_code", type_=sa.Text)),
        touches=episodes.c.touches + sa.bindparam("more_touches", type_=sa.Integer),
    )
)


def take(database: Database, connection: sa.Connection, moves: Sequence[Move], run_id: str) -> tuple[set[str], int]:
    """Log what is not logged yet, in the caller's transaction.

    Returns the episodes that have ended, and how many steps are new.
    """
    standing = _hold(database, connection, moves)
    ended = {episode_id for episode_id, row in standing.items() if row.exited_at is not None}
    fresh = _not_logged(database, connection, [move for move in moves if move.episode_id not in ended])
    if fresh:
        newest_batch = connection.execute(sa.select(sa.func.coalesce(sa.func.max(batches.c.batch_id), 0))).scalar_one()
        given = {"run_id": run_id, "after_batch": newest_batch}
        lines = [_line(move, standing[move.episode_id]) | given for move in fresh]
        connection.execute(sa.insert(episode_steps), lines)
        issue(
            database,
            connection,
            [line | {"expires_at": m.expires_at} for line, m in zip(lines, fresh, strict=True) if m.code],
        )
        _stand(connection, lines)
    return ended, len(fresh)


def _hold(database: Database, connection: sa.Connection, moves: Sequence[Move]) -> dict[str, Any]:
    """The episodes of these moves, by id, held until the commit."""
    wanted = sorted({move.episode_id for move in moves})
    query = sa.select(episodes.c.episode_id, episodes.c.contact_id, episodes.c.arm, episodes.c.exited_at)
    query = query.where(episodes.c.episode_id.in_(database.ids(wanted))).order_by(episodes.c.episode_id)
    found = {row.episode_id: row for row in connection.execute(query.with_for_update())}
    for episode_id in wanted:
        if episode_id not in found:
            raise StateError(
                f"the journal has no episode {episode_id}",
                hint="it was undone, or never entered; make the plan again with `winback plan`",
            )
    return found


def _not_logged(database: Database, connection: sa.Connection, moves: Sequence[Move]) -> list[Move]:
    """The moves whose step their episode has not taken yet, each once."""
    wanted = sorted({move.episode_id for move in moves})
    query = sa.select(episode_steps.c.episode_id, episode_steps.c.step)
    query = query.where(episode_steps.c.episode_id.in_(database.ids(wanted)))
    logged = {(row.episode_id, row.step) for row in connection.execute(query)}
    fresh = []
    for move in moves:
        if (move.episode_id, move.step) not in logged:
            logged.add((move.episode_id, move.step))
            fresh.append(move)
    return fresh


def _line(move: Move, episode: Any) -> dict[str, Any]:
    """A step's line in the log. What waits for nothing in the CRM is written as soon as it is logged."""
    at_once = move.state == DECIDED and move.target is None
    return {
        "episode_id": move.episode_id,
        "step": move.step,
        "contact_id": episode.contact_id,
        "arm": episode.arm,
        "state": WRITTEN if at_once else move.state,
        "due_on": move.due_on,
        "at": move.at,
        "send_at": move.send_at,
        "variant": move.variant,
        "branch": move.branch,
        "offer": move.offer,
        "code": move.code,
        "cost": move.cost,
        "properties": dict(move.values),
        "destination": move.destination,
        "target": move.target,
        "row_id": move.row_id,
        "written_at": move.at if at_once else None,
        "undone_at": None,
    }


def _stand(connection: sa.Connection, lines: Sequence[Mapping[str, Any]]) -> None:
    """Let each episode stand at the newest of its lines, which come in the order they were taken."""
    standing: dict[str, dict[str, Any]] = {}
    for line in lines:
        before = standing.get(line["episode_id"], _NOTHING)
        touched = line["state"] != SKIPPED
        offered = line if line["offer"] is not None else {"offer": before["new_offer"], "code": before["new_code"]}
        standing[line["episode_id"]] = {
            "one": line["episode_id"],
            "step": line["step"],
            "step_state": line["state"],
            "step_at": line["at"],
            "send_at": line["send_at"],
            "written_at": line["written_at"],
            "variant": line["variant"],
            "branch": line["branch"],
            "destination": line["destination"],
            "target": line["target"],
            "row_id": line["row_id"],
            "new_offer": offered["offer"],
            "new_code": offered["code"],
            "new_properties": line["properties"] if touched else before["new_properties"],
            "more_touches": before["more_touches"] + touched,
        }
    connection.execute(_STAND, list(standing.values()))
