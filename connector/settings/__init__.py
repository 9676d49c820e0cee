"""winback.yaml, the environment and flags, as one frozen object."""

from __future__ import annotations

from connector.location import PlaybookError
from connector.settings.load import load_playbook
from connector.settings.models import Activity, Guards, Identity, ListsBlock
from connector.settings.playbook import DestinationSettings, Playbook, Resolved
from connector.settings.program_blocks import KeysBlock, LinksBlock
from connector.settings.program_conditions import PROGRAM_COLUMNS
from connector.settings.schema import json_schema
from connector.settings.webhook_blocks import OperatorBlock, WebhookSettings

__all__ = [
    "PROGRAM_COLUMNS",
    "Activity",
    "DestinationSettings",
    "Guards",
    "Identity",
    "KeysBlock",
    "LinksBlock",
    "ListsBlock",
    "OperatorBlock",
    "Playbook",
    "PlaybookError",
    "Resolved",
    "WebhookSettings",
    "json_schema",
    "load_playbook",
]
