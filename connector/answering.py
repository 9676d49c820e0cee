"""Tells the CRM's workflows what came of their asking for somebody to be entered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from connector.journal.outbox import Intent
from connector.program.codes import ENTERED, NOT_NOW

if TYPE_CHECKING:
    from connector.journal import Journal


def answer_asks(journal: Journal, answers: Mapping[str, str]) -> int:
    """Answer these asks, by key, as a plan decided, once its entries are written down; how many were open.

    An entry that was stopped on the way (an opt-out since the plan) is answered as what it is: not now. Workflows that
    wait are let go on by the outbox.
    """
    told = 0
    for ask in journal.asks.open():
        decision = answers.get(ask.key)
        if decision is None:
            continue
        if decision == ENTERED and not _is_in(journal, ask.contact_id):
            decision = NOT_NOW
        waits = ask.callback is not None
        payload = {"callback": ask.callback, "fields": {"decision": decision}}
        intents = [Intent(key=f"complete:{ask.key}", kind="complete", payload=payload)] if waits else []
        told += journal.asks.answer([ask.key], decision, intents=intents)
    return told


def _is_in(journal: Journal, contact_id: str) -> bool:
    return any(episode.open and not episode.held_out for episode in journal.episodes.of(contact_id))
