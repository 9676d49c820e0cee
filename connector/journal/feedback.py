"""Feedback: what people answered when asked why they left, and how they liked it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from connector.journal.engine import Database
from connector.journal.loading import in_chunks
from connector.journal.program_tables import feedback

_CHUNK = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as it came in. `answer_key` makes it count once, however often it is heard.

    reason: A code of the taxonomy; None: unknown. confidence: How sure we are of it, from 0 to 1; None where it was
    chosen. text: Their own words; None where they are not kept. choices: Stable names of what was chosen.
    survey, response: The source's own ids. A later answer of the same response replaces this one: a complete one an
    incomplete one, else by `at`, else by `answer_key`, in whatever order they are heard.
    """

    answer_key: str
    contact_id: str
    at: datetime
    source: str
    reason: str | None = None
    score: float | None = None
    survey: str | None = None
    response: str | None = None
    text: str | None = None
    choices: tuple[str, ...] = ()
    confidence: float | None = None
    complete: bool = True
    language: str | None = None


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
        """Keep these answers and return how many are new or replace an earlier one of the same response."""
        with self._database.write() as connection:
            return add_answers(self._database, connection, answers)

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

    def said(self) -> dict[str, tuple[str, datetime]]:
        """The reason each contact gave last, and when, by contact; who gave none is not in it."""
        answer = feedback.c
        query = sa.select(answer.contact_id, answer.reason, answer.at).where(answer.reason.is_not(None))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(answer.at, answer.answer_key))
            return {contact_id: (reason, at) for contact_id, reason, at in rows}

    def of(self, contact_id: str) -> list[Answer]:
        """This contact's answers, in the order in which they were given."""
        query = sa.select(feedback).where(feedback.c.contact_id == contact_id)
        with self._database.read() as connection:
            return [_answer(row) for row in connection.execute(query.order_by(feedback.c.at, feedback.c.answer_key))]

    def reasons(self, since: datetime | None = None) -> Counter[str]:
        """How many people gave each reason as their last, from this moment on; who gave none is not counted."""
        return Counter(said.reason for said in self.latest(since).values() if said.reason is not None)

    def purge_texts(self, before: datetime) -> int:
        """Drop the words of answers given before this moment; returns how many. The reasons stay."""
        old = sa.update(feedback).where(feedback.c.at < before, feedback.c.text.is_not(None))
        with self._database.write() as connection:
            return connection.execute(old.values(text=None)).rowcount

    def forget(self, contact_id: str) -> int:
        """Forget this contact's answers; returns how many."""
        with self._database.write() as connection:
            return connection.execute(sa.delete(feedback).where(feedback.c.contact_id == contact_id)).rowcount


def add_answers(database: Database, connection: sa.Connection, answers: Sequence[Answer]) -> int:
    """Keep these answers, in the caller's transaction; how many are new or replace an earlier one."""
    if not answers:
        return 0
    now = database.clock.now()
    insert = database.insert(feedback)
    order = ("complete", "at", "heard_as")
    newer = sa.tuple_(*(insert.excluded[name] for name in order)) > sa.tuple_(*(feedback.c[name] for name in order))
    fresh = {name: insert.excluded[name] for name in _row(_NOTHING, now) if name != "answer_key"}
    replacing = insert.on_conflict_do_update(
        index_elements=["answer_key"], set_=fresh, where=sa.and_(feedback.c.response.is_not(None), newer)
    ).execution_options(preserve_rowcount=True)
    return sum(
        connection.execute(replacing, [_row(answer, now) for answer in chunk]).rowcount
        for chunk in in_chunks(answers, _CHUNK)
    )


_NOTHING = Answer(answer_key="", contact_id="", at=_SILENT.at, source="")


def _row(answer: Answer, now: datetime) -> dict[str, object]:
    return {
        "answer_key": answer.answer_key if answer.response is None else f"response:{answer.source}/{answer.response}",
        "contact_id": answer.contact_id,
        "at": answer.at,
        "source": answer.source,
        "reason": answer.reason,
        "score": answer.score,
        "recorded_at": now,
        "survey": answer.survey,
        "response": answer.response,
        "heard_as": answer.answer_key,
        "text": answer.text,
        "choices": list(answer.choices),
        "confidence": answer.confidence,
        "complete": answer.complete,
        "language": answer.language,
    }


def _answer(row: sa.Row[Any]) -> Answer:
    return Answer(
        # Answers of before this was kept have no other key.
        answer_key=row.heard_as or row.answer_key,
        contact_id=row.contact_id,
        at=row.at,
        source=row.source,
        reason=row.reason,
        score=row.score,
        survey=row.survey,
        response=row.response,
        text=row.text,
        choices=tuple(row.choices or ()),
        confidence=row.confidence,
        complete=row.complete,
        language=row.language,
    )
