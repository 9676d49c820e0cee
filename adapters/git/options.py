"""The keys of a `git` source in winback.yaml."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Literal

from pydantic import Field, field_validator

from connector.contracts import AdapterOptions

BOTS = (
    r"\[bot\]",
    r"^(dependabot|renovate|greenkeeper|github-actions|pre-commit-ci|snyk|mergify|allcontributors|semantic-release)\b",
    r"^(ci|bot|build|jenkins|travis|buildbot|autobot|robot)$",
    r"-bot$",
    r"\bbot@",
)
"""Names and addresses of automation accounts; a person who merely sounds like one can be let in with `bots: []`."""


class GitOptions(AdapterOptions):
    """A repository whose contributors are the users."""

    path: str = Field(default=".", min_length=1, description="the repository, a bare one too; relative to winback.yaml")
    ref: str = Field(default="HEAD", min_length=1, description="the branch, tag or commit whose history is read")
    since: date | None = Field(default=None, description="leave out commits made before this day (UTC)")
    bots: tuple[str, ...] = Field(
        default=BOTS, description="authors to leave out: regular expressions for name or address, case ignored"
    )
    ids: Literal["hash", "email"] = Field(
        default="hash",
        description="an author's id: a hash of the address (keyed with `auth: {key: …}`), or the address itself",
    )

    @field_validator("ref")
    @classmethod
    def _a_ref_not_a_flag(cls, value: str) -> str:
        if value.startswith("-") or ".." in value:
            raise ValueError(f"{value!r} is not the name of a branch, tag or commit")
        return value

    @field_validator("bots")
    @classmethod
    def _patterns_compile(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return value

    @property
    def since_seconds(self) -> int | None:
        """The start of `since` in seconds since 1970."""
        if self.since is None:
            return None
        return int(datetime(self.since.year, self.since.month, self.since.day, tzinfo=UTC).timestamp())
