"""The playbook: everything winback.yaml says, checked, with where each value came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, SerializeAsAny

from connector.contracts import AdapterOptions
from connector.durations import show_duration
from connector.model import Finding, Segment
from connector.program.model import Program
from connector.reasons.rulebook import Rulebook, bundled
from connector.rules.conditions import CheckedSegment
from connector.settings.models import Activity, DestinationBlock, Guards, Identity
from connector.settings.program_blocks import KeysBlock, LinksBlock, ProgramBlock
from connector.settings.secrets import MASK, is_secret, masked
from connector.settings.validation import Step, dotted
from connector.settings.webhook_blocks import WebhookSettings

_OPTIONAL = ("program", "programs", "links", "webhooks", "reasons_file", "keys")
"""Parts of the file that are not shown where there are none."""


class DestinationSettings(DestinationBlock):
    """A destination: the core's keys, and its adapter's."""

    options: SerializeAsAny[AdapterOptions]


@dataclass(frozen=True, slots=True)
class Resolved:
    """One setting as it ended up. `origin` is file:line, an environment variable, a flag, or `default`."""

    key: str
    value: Any
    origin: str


class Playbook(BaseModel):
    """One frozen object with every setting; made by `load_playbook`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    version: int
    account: str
    timezone: str
    warehouse: str
    journal: str
    sources: Mapping[str, SerializeAsAny[AdapterOptions]]
    identity: Identity
    activity: Activity
    segments: tuple[Segment, ...]
    program: ProgramBlock | None = None
    program_list: tuple[ProgramBlock, ...] | None = Field(default=None, serialization_alias="programs")
    links: LinksBlock | None = None
    webhooks: WebhookSettings | None = None
    reasons_file: str | None = None
    keys: KeysBlock | None = None
    guards: Guards
    destinations: Mapping[str, DestinationSettings]
    file: Path = Field(exclude=True, repr=False)

    _checked: tuple[CheckedSegment, ...] = PrivateAttr(default=())
    _programs: tuple[Program, ...] = PrivateAttr(default=())
    _reasons: Rulebook | None = PrivateAttr(default=None)
    _findings: tuple[Finding, ...] = PrivateAttr(default=())
    _origins: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @property
    def checked_segments(self) -> tuple[CheckedSegment, ...]:
        """The segments with their parsed conditions, in order."""
        return self._checked

    @property
    def programs(self) -> tuple[Program, ...]:
        """The programs, in order of priority, with their parsed conditions."""
        return self._programs

    @property
    def reasons(self) -> Rulebook:
        """The words by which reasons are read, ours with the team's own over them; for `classify`."""
        return self._reasons or bundled()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the linter says about the segments and programs that is not an error."""
        return self._findings

    @property
    def base_dir(self) -> Path:
        """The folder of winback.yaml; relative paths start there."""
        return self.file.parent

    def origin(self, key: str) -> str:
        """Where the value under a dotted key came from; for a list or table inside it, where that stands."""
        while key:
            if key in self._origins:
                return self._origins[key]
            key = key.rpartition(".")[0] if not key.endswith("]") else key.rpartition("[")[0]
        return "default"

    def resolved(self, *, mask: bool = True) -> list[Resolved]:
        """Every setting with its value and origin, in the order of the models; secrets masked unless asked not to."""
        return [
            Resolved(dotted(path), _shown(value, path, mask=mask), self._leaf_origin(path))
            for path, value in _leaves(self._document(), ())
        ]

    def digest(self) -> str:
        """Changes when any setting but a credential does, or what is new; the same on every machine."""
        entries = [
            [dotted(path), _shown(value, path, mask=True)]
            for path, value in _leaves(self._document(), ())
            if not is_secret(path) and not _holds_secrets(value)
        ]
        entries += [["whats_new", [list(program.personal.whats_new) for program in self.programs]]]
        text = json.dumps(entries, sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _leaf_origin(self, path: Sequence[Step]) -> str:
        """The origin of a value that was set; a default inside a table of the file stays a default."""
        key = dotted(path)
        if key in self._origins:
            return self._origins[key]
        parents = [key for key in (dotted(path[:n]) for n in range(1, len(path))) if key in self._origins]
        return self._origins[parents[-1]] if parents and isinstance(path[-1], int) else "default"

    def _document(self) -> dict[str, Any]:
        document = self.model_dump(mode="python", by_alias=True)
        document = {key: value for key, value in document.items() if value is not None or key not in _OPTIONAL}
        # An install with one CRM keeps the digest it had before there could be several.
        document["identity"] = {key: value for key, value in document["identity"].items() if value}
        document["segments"] = [
            {"name": segment.name, **({"group": segment.group} if segment.group else {}), "where": segment.where}
            for segment in self.segments
        ]
        document["destinations"] = {
            name: {**block["options"], **{key: value for key, value in block.items() if key != "options"}}
            for name, block in document["destinations"].items()
        }
        return document


def _leaves(value: Any, path: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """Single values and lists of single values, each with its path."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, (*path, number))
    else:
        yield path, value


def _holds_secrets(value: Any) -> bool:
    held = value if isinstance(value, list | tuple) else (value,)
    return any(isinstance(item, SecretStr) for item in held)


def _shown(value: Any, path: Sequence[Step], *, mask: bool) -> Any:  # noqa: PLR0911 one case for each type
    """A value as JSON can hold it, secrets masked."""
    match value:
        case SecretStr():
            return MASK if mask else value.get_secret_value()
        case timedelta():
            return show_duration(value)
        case list() | tuple():
            return [_shown(item, path, mask=mask) for item in value]
        case Mapping():
            return {}
        case str() if mask:
            return MASK if is_secret(path) else masked(value)
        case str() | bool() | int() | float() | None:
            return value
        case _:
            return str(value)
