"""Feedback: what people answered when asked why they left, and how they liked it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from connector.journal.engine import Database, leave_taken
from connector.journal.loading import in_chunks
from connector.journal.program_tables import feedback

_CHUNK = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as it came in. `answer_key` makes it count once, however often it is heard."""

    answer_key: str
    contact_id: str
    at: datetime
    source: str
    reason: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a contact said last: the last reason and the last score given; when, and where the last word came from."""

    reason: str | None
    score: float | None
    at: datetime
    source: str


_SILENT = Feedback(None, None, datetime.min.replace(tzinfo=UTC), "")


class FeedbackBook:
    """The answers of everybody."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, answers: Sequence[Answer]) -> int:
        """Keep these answers and return how many are new."""
        now = self._database.clock.now()
        insert = leave_taken(self._database.insert(feedback))
        with self._database.write() as connection:
            return sum(
                connection.execute(insert, [_row(answer, now) for answer in chunk]).rowcount
                for chunk in in_chunks(answers, _CHUNK)
            )

    def latest(self, since: datetime | None = None) -> dict[str, Feedback]:
        """What each contact said last, from this moment on, by contact."""
        answer = feedback.c
        query = sa.select(answer.contact_id, answer.reason, answer.score, answer.at, answer.source)
        if since is not None:
            query = query.where(answer.at >= since)
        found: dict[str, Feedback] = {}
        with self._database.read() as connection:
            # By their keys where two came in one moment: the order in which they were heard must not matter.
            for row in connection.execute(query.order_by(answer.at, answer.answer_key)):
                before = found.get(row[0], _SILENT)
                reason = before.reason if row[1] is None else row[1]
                score = before.score if row[2] is None else row[2]
                found[row[0]] = Feedback(reason, score, row[3], row[4])
        return found


def _row(answer: Answer, now: datetime) -> dict[str, object]:
    return {
        "answer_key": answer.answer_key,
        "contact_id": answer.contact_id,
        "at": answer.at,
        "source": answer.source,
        "reason": answer.reason,
        "score": answer.score,
        "recorded_at": now,
    }
