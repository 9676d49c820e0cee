"""Sending one batch so that no row can hold up another, and nothing that may have happened is taken for a failure.

A refused batch is split in halves, widest first, down to the rows that are to blame. A batch without an answer is
sent once more and then split as well: every call of a destination is safe to repeat. An answer that does not name
a row is no answer for that row.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connector.errors import OutcomeUnknown, RejectedError, RetriableError, WinbackError
from connector.model import Outcome, Receipt

WHOLE_REQUEST = frozenset({401, 402, 403, 404, 405, 410})
"""Statuses that speak about the request (a list that is gone, a missing permission), whatever rows are in it."""

FAILURES_WITHOUT_SUCCESS = 24
"""So many refusals in a batch without one row going through, and the fault is not in the rows.

Finding three bad rows among 10,000 never needs that many before the first good half.
"""

TROUBLES_IN_A_ROW = 8
"""So many requests without any answer, one after the other, and the system is down."""

PAUSE_SECONDS = 1.0
"""The wait before a request without an answer is repeated, when the system names no time itself."""

UNREACHED = "unreached"
"""The code of a row whose request never got through: the fault is not in the row, and it may be tried again."""

NOT_DONE = "accepted, but not done: the system answered with a success and the record is unchanged"

Send = Callable[[Sequence[str]], Sequence[Receipt]]
"""Sends these rows and returns their receipts; raises as a destination may."""

ReadBack = Callable[[Sequence[str]], Mapping[str, bool]]
"""For each row that still exists: whether it is as we want it."""


@dataclass(slots=True)
class Answer:
    """What became of a batch: a receipt for every row that was sent.

    refused: The system refused the whole batch, for a reason that is not in its rows.
    stopped: Why sending ended before all rows were through (quota, credentials, the system is down).
    """

    receipts: dict[str, Receipt] = field(default_factory=dict)
    refused: RejectedError | None = None
    stopped: WinbackError | None = None


def send_batch(
    row_ids: Sequence[str],
    send: Send,
    read_back: ReadBack,
    *,
    sleep: Callable[[float], None],
    troubles: int = TROUBLES_IN_A_ROW,
) -> Answer:
    """Send the rows, isolate those to blame, settle those without an answer.

    troubles: So many requests in a row without any answer, and it gives up; with fewer than four, one row that the
        system cannot bear would hold up all others.
    """
    sending = _Sending(send, sleep, row_ids, troubles)
    sending.run()
    sending.settle_silence(row_ids, read_back)
    return sending.answer


class _Sending:
    """One batch on its way."""

    def __init__(self, send: Send, sleep: Callable[[float], None], row_ids: Sequence[str], most_troubles: int) -> None:
        self.send = send
        self.sleep = sleep
        self.answer = Answer()
        self.queue: deque[Sequence[str]] = deque([row_ids])
        self.doubtful: set[str] = set()
        self.repeated: set[str] = set()
        self.failures = 0
        self.troubles = 0
        self.most_troubles = most_troubles

    def run(self) -> None:
        """Work off the queue until every row has been sent, or there is no point in going on."""
        while self.queue and self.answer.stopped is None and self.answer.refused is None:
            part = self.queue.popleft()
            try:
                self._send(part)
            except RejectedError as error:
                self._refused(part, error)
            except RetriableError as error:
                self._unanswered(part, error)
            except WinbackError as error:
                # Quota or credentials: the request was turned away before anything happened.
                self.answer.stopped = error
        for row_id in self.doubtful:
            self.answer.receipts.setdefault(row_id, Receipt(row_id, Outcome.UNKNOWN, "no answer came"))

    def settle_silence(self, row_ids: Sequence[str], read_back: ReadBack) -> None:
        """Find out about rows that an answer did not name, and about rows whose answer never came."""
        if not self.doubtful or self.answer.stopped is not None or self.answer.refused is not None:
            return
        receipts = self.answer.receipts
        unsettled = [row_id for row_id in row_ids if receipts[row_id].outcome is Outcome.UNKNOWN]
        if not unsettled:
            return
        try:
            present = read_back(unsettled)
        except RejectedError as error:
            self.answer.refused = error
        except WinbackError:
            return  # it stays unknown, and the next run's recovery reads it back
        else:
            for row_id in unsettled:
                receipts[row_id] = _read_receipt(row_id, present, receipts[row_id])

    def _send(self, part: Sequence[str]) -> None:
        """One request; rows that its answer does not name are sent once more."""
        unnamed = self._note(part, self.send(part))
        if not unnamed:
            return
        if self.doubtful.issuperset(unnamed):
            self._note_unknown(unnamed, "the system's answer does not name this record")
        else:
            self.doubtful.update(unnamed)
            self.queue.append(unnamed)

    def _note(self, part: Sequence[str], receipts: Iterable[Receipt]) -> list[str]:
        """Take the receipts over; returns the rows that none of them settles."""
        asked = set(part)
        named = {
            receipt.row_id: receipt
            for receipt in receipts
            if receipt.outcome is not Outcome.UNKNOWN and receipt.row_id in asked
        }
        if named:
            self.failures = self.troubles = 0
        if self.doubtful:
            named = {row_id: self._ours(receipt) for row_id, receipt in named.items()}
        self.answer.receipts.update(named)
        return [row_id for row_id in part if row_id not in named] if len(named) < len(part) else []

    def _ours(self, receipt: Receipt) -> Receipt:
        """A row that is there after a request without an answer was put there by that request."""
        if receipt.outcome is Outcome.UNCHANGED and receipt.row_id in self.doubtful:
            return replace(receipt, outcome=Outcome.WRITTEN)
        return receipt

    def _refused(self, part: Sequence[str], error: RejectedError) -> None:
        self.troubles = 0
        self.failures += 1
        hopeless = self.failures > FAILURES_WITHOUT_SUCCESS and not self.answer.receipts
        if error.status in WHOLE_REQUEST or hopeless:
            self.answer.refused = error
        elif len(part) == 1:
            self._blame(part[0], error, code=None if error.status is None else str(error.status))
        else:
            self._split(part)

    def _unanswered(self, part: Sequence[str], error: RetriableError) -> None:
        """Repeat once, then split; a single row that never gets an answer is set aside."""
        unknown = isinstance(error, OutcomeUnknown)
        first = self.repeated.isdisjoint(part)
        self.repeated.update(part)
        if unknown:
            self.doubtful.update(part)
        self.troubles += 1
        if self.troubles >= self.most_troubles:
            self.answer.stopped = error
            return
        self.sleep(error.retry_after_seconds or PAUSE_SECONDS)
        if first:
            self.queue.appendleft(part)
        elif len(part) > 1:
            self._split(part)
        else:
            self._blame(part[0], error, code=UNREACHED)

    def _blame(self, row_id: str, error: WinbackError, *, code: str | None = None) -> None:
        """A single row did not go through: refused, unless an earlier request without an answer may have written it."""
        outcome = Outcome.UNKNOWN if row_id in self.doubtful else Outcome.REJECTED
        self.answer.receipts.setdefault(row_id, Receipt(row_id, outcome, str(error), code))

    def _split(self, part: Sequence[str]) -> None:
        middle = len(part) // 2
        self.queue.append(part[:middle])
        self.queue.append(part[middle:])

    def _note_unknown(self, part: Iterable[str], message: str) -> None:
        for row_id in part:
            self.answer.receipts.setdefault(row_id, Receipt(row_id, Outcome.UNKNOWN, message))


def _read_receipt(row_id: str, present: Mapping[str, bool], before: Receipt) -> Receipt:
    """What reading back says about a row."""
    if row_id not in present:
        return Receipt(row_id, Outcome.MISSING)
    if present[row_id]:
        return Receipt(row_id, Outcome.WRITTEN)
    if not before.message:
        return Receipt(row_id, Outcome.REJECTED, NOT_DONE)
    return replace(before, outcome=Outcome.REJECTED)
