"""Asking vendors: for the answers behind ids we were told, and for what was missed; what they say goes to the inbox.

Whatever is asked for twice is kept once: events from an API have the keys of those from the webhook.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from connector.errors import CredentialsError, Locked, QuotaExhausted, RejectedError, RetriableError, WinbackError
from connector.journal.inbox import Kept
from connector.live.api import VendorApi, allowance, can_ask
from connector.redact import redact

if TYPE_CHECKING:
    from connector.journal.outbox import OutboxRow
    from connector.live.drain import Receivers
    from connector.receivers import Event, Receiver, ReceiverOptions
    from connector.workspace import Workspace

FETCH = "fetch"
LEASE_SECONDS = 300.0
AT_ONCE = 20
"""Fetches that are claimed together; those of one vendor share its allowance."""

EVERY = timedelta(hours=1)
"""How often a vendor is asked for what was missed, unless its options say otherwise (`poll`)."""

OVERLAP = timedelta(days=1)
"""Asked for again: vendors show answers late, and keys make the rest cost nothing."""

FIRST_LOOK = timedelta(days=30)
ATTEMPTS = 10
_FIRST_PAUSE = timedelta(seconds=30)
_LONGEST_PAUSE = timedelta(hours=6)
_CURSOR = "backfill"
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking brought: events that are new, and requests that wait or were given up."""

    new: int = 0
    later: int = 0
    set_aside: int = 0

    def __add__(self, other: Asked) -> Asked:
        return Asked(self.new + other.new, self.later + other.later, self.set_aside + other.set_aside)


class Asking:
    """Asks the vendors of a playbook.

    Says one line when a vendor goes away, and one when it is back.

    Args:
        workspace: Journal, clock, reporter, budgets.
        receivers: The sources of the playbook.
        owner: Who we are, for leases.
    """

    def __init__(self, workspace: Workspace, receivers: Receivers, *, owner: str) -> None:
        self._workspace = workspace
        self._receivers = receivers
        self._owner = owner
        self._apis: dict[str, VendorApi] = {}
        self._away: set[str] = set()

    def close(self) -> None:
        """Let go of connections."""
        for api in self._apis.values():
            api.close()

    # --- answers behind ids -------------------------------------------------------------------------------------

    def fetch(self, limit: int = AT_ONCE) -> Asked:
        """Ask for what was told by its id alone, as far as it is due."""
        outbox = self._workspace.journal.outbox
        rows = outbox.claim(limit, kinds={FETCH}, owner=self._owner, lease_seconds=LEASE_SECONDS)
        total = Asked()
        for (source, survey), alike in _alike(rows).items():
            total += self._fetch(source, survey, alike)
        return total

    def _fetch(self, source: str, survey: str, rows: Sequence[OutboxRow]) -> Asked:
        """The answers of one survey, all at once: a vendor's bulk call costs as much as one for a single answer."""
        known = self._receivers.get(source)
        if known is None or known[0].fetch is None or not can_ask(*known):
            return self._set_aside(rows, "nothing in the playbook says how to ask this source")
        responses = list(dict.fromkeys(one for row in rows for one in row.payload["responses"]))
        try:
            events = known[0].fetch(self._api(*known), survey, responses)
            new = self._keep(source, events, f"fetch-{rows[0].number}")
        except RejectedError as refused:
            if len(rows) == 1:
                return self._set_aside(rows, redact(str(refused))[:300])
            # One of them may be to blame: each by itself.
            return sum((self._fetch(source, survey, [row]) for row in rows), Asked())
        except WinbackError as fault:
            self._is_away(source, fault)
            return sum((self._put_off(row, fault) for row in rows), Asked())
        self._is_back(source)
        self._workspace.journal.outbox.done([row.number for row in rows], run_id=FETCH)
        return Asked(new=new)

    def _set_aside(self, rows: Sequence[OutboxRow], reason: str) -> Asked:
        for row in rows:
            self._workspace.journal.outbox.set_aside(row.number, reason, owner=self._owner)
        return Asked(set_aside=len(rows))

    def _put_off(self, row: OutboxRow, fault: WinbackError) -> Asked:
        """Try again later: a fault passes, an allowance is renewed, a token is replaced."""
        outbox = self._workspace.journal.outbox
        passes = isinstance(fault, RetriableError | QuotaExhausted | CredentialsError)
        if not passes and row.attempts >= ATTEMPTS:
            return self._set_aside([row], redact(str(fault))[:300])
        pause = min(_FIRST_PAUSE * 2 ** min(row.attempts - 1, 20), _LONGEST_PAUSE)
        named = getattr(fault, "retry_after_seconds", None)
        if named is not None:
            pause = max(pause, timedelta(seconds=named))
        due = self._workspace.clock.now() + pause
        outbox.later(row.number, redact(str(fault))[:300], due, owner=self._owner)
        return Asked(later=1)

    # --- what was missed ----------------------------------------------------------------------------------------

    def backfill(self, *, force: bool = False) -> Asked:
        """Ask every vendor for what was missed, where that is due; one process at a time."""
        total = Asked()
        for name, (receiver, options) in self._receivers.items():
            if receiver.backfill is not None and can_ask(receiver, options) and (force or self._is_due(name, options)):
                try:
                    with self._workspace.journal.lock(f"{_CURSOR} {name}"):
                        total += self._backfill(receiver, options, receiver.backfill)
                except Locked:
                    continue
        return total

    def _backfill(
        self, receiver: Receiver, options: ReceiverOptions, ask: Callable[[Any, datetime], Iterator[Event]]
    ) -> Asked:
        journal, name = self._workspace.journal, receiver.name
        now = self._workspace.clock.now()
        saved = journal.cursors.load(_of(name), _CURSOR)
        reached = saved.get("until") if saved is not None else None
        since = datetime.fromisoformat(reached) - OVERLAP if reached else now - FIRST_LOOK
        cursor = {"until": reached, "asked": now.isoformat()}
        try:
            new = self._keep(name, ask(self._api(receiver, options), since), f"backfill-{now:%Y%m%dT%H%M%S}")
        except WinbackError as fault:
            self._is_away(name, fault)
            journal.cursors.save(_of(name), _CURSOR, cursor, now)
            return Asked(later=1)
        self._is_back(name)
        journal.cursors.save(_of(name), _CURSOR, {**cursor, "until": now.isoformat()}, now)
        return Asked(new=new)

    def _is_due(self, name: str, options: ReceiverOptions) -> bool:
        saved = self._workspace.journal.cursors.load(_of(name), _CURSOR)
        every = getattr(options, "poll", None) or EVERY
        return saved is None or self._workspace.clock.now() >= datetime.fromisoformat(saved["asked"]) + every

    # --- how ----------------------------------------------------------------------------------------------------

    def _api(self, receiver: Receiver, options: ReceiverOptions) -> VendorApi:
        if receiver.name not in self._apis:
            workspace = self._workspace
            reporter = workspace.reporter
            budget = workspace.journal.budget(f"webhooks.{receiver.name}", allowance(options), reporter=reporter)
            self._apis[receiver.name] = VendorApi(
                receiver, options, budget=budget, clock=workspace.clock, reporter=reporter
            )
        return self._apis[receiver.name]

    def _keep(self, source: str, events: Iterable[Event], request_id: str) -> int:
        """Keep what an API said, some at a time: what came before a fault is not asked for again."""
        clock, new = self._workspace.clock, 0
        for chunk in _chunks(iter(events)):
            kept = [
                Kept(
                    source=source,
                    key=event.key,
                    kind=event.kind,
                    payload=json.dumps(event.payload, ensure_ascii=False, separators=(",", ":")),
                    at=event.at,
                    received_at=clock.now(),
                    request_id=request_id,
                )
                for event in chunk
            ]
            new += sum(self._workspace.journal.inbox.keep(kept))
        return new

    def _is_away(self, name: str, fault: WinbackError) -> None:
        if name not in self._away:
            self._away.add(name)
            self._workspace.reporter.line(f"{name} cannot be asked: {redact(str(fault))[:200]}; tried again")

    def _is_back(self, name: str) -> None:
        if name in self._away:
            self._away.discard(name)
            self._workspace.reporter.line(f"{name} answers again")


def _alike(rows: Iterable[OutboxRow]) -> dict[tuple[str, str], list[OutboxRow]]:
    """Requests by source and survey, in order."""
    found: dict[tuple[str, str], list[OutboxRow]] = {}
    for row in rows:
        found.setdefault((row.payload["source"], row.payload["survey"]), []).append(row)
    return found


def _of(name: str) -> str:
    """Apart from a source of that name that is pulled."""
    return f"webhooks.{name}"


def _chunks(events: Iterator[Event]) -> Iterator[list[Event]]:
    """Runs of events; what was read before a fault is handed on before the fault is."""
    chunk: list[Event] = []
    try:
        for event in events:
            chunk.append(event)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    except WinbackError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
