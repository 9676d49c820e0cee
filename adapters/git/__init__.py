"""git: a repository's history as product usage; its authors are the users, its top-level folders the features."""

from __future__ import annotations

from pathlib import Path

from adapters.git.options import GitOptions
from connector.contracts import Adapter, Connection, Source


def _source(connection: Connection) -> Source:
    from adapters.git.source import GitSource

    return GitSource(connection)


ADAPTER = Adapter(
    name="git",
    title="git repository",
    options=GitOptions,
    folder=Path(__file__).parent,
    source=_source,
)
