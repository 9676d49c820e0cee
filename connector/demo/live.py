"""The demo's live hour: people answer, log in and unsubscribe, and seconds later the CRM shows it.

Everything goes the way it does in earnest: `winback serve` runs in a process of its own, deliveries are signed as the
vendors sign them and posted over HTTP, and what came of it is read back from the CRM.
"""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from connector.clock import SystemClock
from connector.errors import SettingError, StateError
from connector.links import SURVEY, UNSUBSCRIBE

if TYPE_CHECKING:
    from connector.links import LinkMaker
    from connector.program.model import Episode
    from connector.workspace import Workspace

SURVEYS, PRODUCT = "typeform", "segment"
"""Who sends answers, and who sends live usage, in the demo's playbook."""

SECRET_FILES = {name: f"{name}.secret" for name in (SURVEYS, PRODUCT)}
LOG = "serve.log"

_READY_SECONDS = 60
_DONE_SECONDS = 60
_PAUSE_SECONDS = 0.1
_STEP, _REASON = "winback_step", "winback_reason"


@dataclass(slots=True)
class Moment:
    """Somebody did something; what the CRM held about them before, and holds after.

    lists: On how many of our lists they are. step, reason: The values of their record.
    """

    contact_id: str
    did: str
    lists: tuple[int, int] = (0, 0)
    step: tuple[str | None, str | None] = (None, None)
    reason: str | None = None
    left: str | None = None


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in it, and how long it took from the last delivery until the CRM held everything."""

    moments: Sequence[Moment]
    seconds: float
    answers: Sequence[int] = field(default=())


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def write_secrets(folder: Path) -> None:
    """What each sender and we share, in files the playbook refers to."""
    for name in SECRET_FILES.values():
        (folder / name).write_text(secrets.token_hex(32), encoding="utf-8")


@contextmanager
def served(config: Path, now: datetime, *, port: int) -> Iterator[str]:
    """`winback serve` in a process of its own; yields its address once it answers."""
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "connector.cli.main", "serve", "--config", str(config), "--port", str(port)]
    with (config.parent / LOG).open("ab") as log:
        server = subprocess.Popen([*command, "--now", now.isoformat()], stdout=log, stderr=log)  # noqa: S603
        try:
            _wait_until_ready(server, address, config.parent / LOG)
            yield address
        finally:
            server.terminate()
            server.wait(timeout=_READY_SECONDS)


def hour(workspace: Workspace, address: str) -> Hour:
    """Let four people do something, and watch the CRM; fewer where fewer are in the program."""
    from connector.programs import link_maker

    links = link_maker(workspace)
    people = _people(workspace)
    if links is None or not people:
        return Hour((), 0.0)
    moments = [Moment(episode.contact_id, "") for episode in people]
    before = _held(workspace, moments)
    answers = [
        act(workspace, links, moment, episode, address)
        for act, moment, episode in zip(_ACTS, moments, people, strict=False)
    ]
    clock = SystemClock()
    began = clock.monotonic()
    _wait_until_done(workspace)
    seconds = clock.monotonic() - began
    after = _held(workspace, moments)
    for moment, was, held in zip(moments, before, after, strict=True):
        moment.lists, moment.step = (was.lists, held.lists), (was.step, held.step)
        moment.reason, moment.left = held.reason, _left(workspace, moment.contact_id)
    return Hour(moments, seconds, answers)


# --- what people do -----------------------------------------------------------------------------------------


def _too_expensive(workspace: Workspace, links: LinkMaker, moment: Moment, _episode: Episode, address: str) -> int:
    moment.did = "answers the survey: “It has become too expensive for us.”"
    return _answer(workspace, links, moment, address, "It has become too expensive for us.")


def _not_now(workspace: Workspace, links: LinkMaker, moment: Moment, _episode: Episode, address: str) -> int:
    moment.did = "answers the survey: “Not right now, maybe next quarter.”"
    return _answer(workspace, links, moment, address, "Not right now, maybe next quarter.")


def logs_in(workspace: Workspace, _links: LinkMaker, moment: Moment, _episode: Episode, address: str) -> int:
    """Somebody signs in to the product: a live usage event; the status it was answered with."""
    moment.did = "logs in to the product"
    row = workspace.warehouse.contact_row(moment.contact_id, workspace.today()) or {}
    at = _shown(workspace.clock.now())
    event: dict[str, Any] = {
        "type": "track",
        "event": "Signed In",
        "messageId": f"demo-{secrets.token_hex(8)}",
        "userId": row.get("external_id"),
        "properties": {},
        "context": {},
        "timestamp": at,
        "receivedAt": at,
    }
    return _post(workspace, PRODUCT, event, address)


def unsubscribes(workspace: Workspace, links: LinkMaker, moment: Moment, episode: Episode, address: str) -> int:
    """Somebody unsubscribes with one click; the status it was answered with."""
    moment.did = "clicks unsubscribe in the mail"
    token = links.token(UNSUBSCRIBE, moment.contact_id, _campaign(episode), now=workspace.clock.now())
    _remember(workspace, links, moment.contact_id)
    body = {"List-Unsubscribe": "One-Click"}
    return requests.post(f"{address}/l/{token}", data=body, timeout=_READY_SECONDS).status_code


_ACTS = (_too_expensive, logs_in, unsubscribes, _not_now)


def _answer(workspace: Workspace, links: LinkMaker, moment: Moment, address: str, words: str) -> int:
    now = workspace.clock.now()
    _remember(workspace, links, moment.contact_id)
    question = {"id": "q1", "ref": "why", "type": "long_text"}
    delivery = {
        "event_id": secrets.token_hex(8),
        "event_type": "form_response",
        "form_response": {
            "form_id": "winback",
            "token": secrets.token_hex(16),
            "landed_at": _shown(now),
            "submitted_at": _shown(now),
            "hidden": {"wb": links.token(SURVEY, moment.contact_id, "demo", now=now)},
            "definition": {"id": "winback", "title": "Why did you leave?", "fields": [{**question, "title": "Why?"}]},
            "answers": [{"type": "text", "text": words, "field": question}],
        },
    }
    return _post(workspace, SURVEYS, delivery, address)


def _post(workspace: Workspace, source: str, document: Any, address: str) -> int:
    """Sign as the vendor does, and post."""
    from connector.live.rehearsal import deliver
    from connector.registry import installed_receivers

    settings = workspace.playbook.webhooks
    if settings is None:
        raise SettingError("the demo's playbook has no `webhooks:`")
    body = json.dumps(document, separators=(",", ":")).encode()
    receiver = installed_receivers()[source]
    return deliver(settings, receiver, body=body, to=address, now=workspace.clock.now()).status


def _remember(workspace: Workspace, links: LinkMaker, contact_id: str) -> None:
    workspace.journal.links.remember({links.subject(contact_id): contact_id})


def _campaign(episode: Episode) -> str:
    return f"{episode.program}/{episode.step or ''}"


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- looking ------------------------------------------------------------------------------------------------


def _people(workspace: Workspace) -> list[Episode]:
    """Some who have had a step, with a user id, so that a login can be told."""
    inside = [
        episode
        for episode in workspace.journal.episodes.everybody()
        if episode.open and not episode.held_out and episode.step is not None and episode.step_state == "written"
    ]
    day = workspace.today()
    known = (e for e in inside if (workspace.warehouse.contact_row(e.contact_id, day) or {}).get("external_id"))
    return [episode for episode, _ in zip(known, _ACTS, strict=False)]


@dataclass(frozen=True, slots=True)
class _Held:
    lists: int
    step: str | None
    reason: str | None


def _held(workspace: Workspace, moments: Sequence[Moment]) -> list[_Held]:
    """What the CRM itself says of these people now."""
    name = next(iter(workspace.playbook.destinations))
    destination = workspace.destination(name)
    rows = [moment.contact_id.partition(":")[2] for moment in moments]
    values = destination.read_properties(rows, [_STEP, _REASON])
    lists = workspace.journal.held.lists(name)
    members = {listed: {row for page in destination.members(ref) for row in page} for listed, ref in lists.items()}
    return [
        _Held(
            lists=sum(row in there for there in members.values()),
            step=values.get(row, {}).get(_STEP) or None,
            reason=values.get(row, {}).get(_REASON) or None,
        )
        for row in rows
    ]


def _left(workspace: Workspace, contact_id: str) -> str | None:
    episode = next(iter(workspace.journal.episodes.of(contact_id)), None)
    return episode.exit_reason if episode is not None else None


def _wait_until_ready(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    clock = SystemClock()
    ends = clock.monotonic() + _READY_SECONDS
    while clock.monotonic() < ends and server.poll() is None:
        try:
            if requests.get(f"{address}/readyz", timeout=1).ok:
                return
        except requests.RequestException:
            pass
        clock.sleep(_PAUSE_SECONDS)
    raise StateError("`winback serve` did not come up", hint=f"{log} says why")


def _wait_until_done(workspace: Workspace) -> None:
    """Until nothing that was heard waits any more, nor anything that follows from it."""
    clock = SystemClock()
    ends = clock.monotonic() + _DONE_SECONDS
    while clock.monotonic() < ends:
        if not workspace.journal.inbox.depth() and not workspace.journal.outbox.depth():
            return
        clock.sleep(_PAUSE_SECONDS)
