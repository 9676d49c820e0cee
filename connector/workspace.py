"""One playbook opened: its stores, its sources and its destinations, each made when first asked for.

The command line is the only caller; everything below it is given what it needs and opens nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from connector.contracts import AdapterOptions, Clock, Connection, Destination, RateBudget, Reporter, Source
from connector.errors import MappingError, SettingError
from connector.registry import Adapters, installed_adapters, installed_receivers

if TYPE_CHECKING:
    from connector.journal import Journal
    from connector.journal.locks import Holder
    from connector.settings import Playbook
    from connector.warehouse import Warehouse
    from mappings.schema import StreamMapping


class Workspace:
    """What a command works with. Use it as a context manager; whatever was opened is closed."""

    def __init__(
        self, playbook: Playbook, *, base_dir: Path, clock: Clock, reporter: Reporter, adapters: Adapters
    ) -> None:
        self.playbook = playbook
        self.base_dir = base_dir
        self.clock = clock
        self.reporter = reporter
        self.adapters = adapters
        self._open = ExitStack()
        self._journal: Journal | None = None
        self._warehouse: Warehouse | None = None
        self._sources: dict[str, Source] = {}
        self._destinations: dict[str, Destination] = {}
        self._budgets: dict[str, RateBudget] = {}

    @classmethod
    def load(cls, config: Path, *, clock: Clock, reporter: Reporter, environ: Mapping[str, str]) -> Self:
        """Read the playbook and nothing else; SettingError says what is wrong in it."""
        from connector.settings import load_playbook

        adapters = installed_adapters()
        playbook = load_playbook(config, environ=environ, adapters=adapters, receivers=installed_receivers())
        return cls(playbook, base_dir=config.resolve().parent, clock=clock, reporter=reporter, adapters=adapters)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # --- places -----------------------------------------------------------------------------------------

    @property
    def state_dir(self) -> Path:
        """Where plans, undo files and downloads live: beside the embedded warehouse, readable by us only."""
        path = _file_of(self.playbook.warehouse, self.base_dir)
        folder = path.parent if path is not None else self.base_dir / "state"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def folder(self, name: str) -> Path:
        """A folder of ours inside the state folder, made when missing."""
        path = self.state_dir / name
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def today(self) -> date:
        """The present date in the account's time zone."""
        return self.clock.now().astimezone(ZoneInfo(self.playbook.timezone)).date()

    # --- stores -----------------------------------------------------------------------------------------

    @property
    def journal(self) -> Journal:
        """The journal, opened and migrated on first use."""
        if self._journal is None:
            from connector.journal import Journal

            url = _absolute(self.playbook.journal, self.base_dir)
            self._journal = Journal.open(url, clock=self.clock)
            self._open.callback(self._journal.close)
        return self._journal

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, opened on first use; one process at a time."""
        if self._warehouse is None:
            from connector.warehouse import Warehouse

            _ = self.state_dir
            url = _absolute(self.playbook.warehouse, self.base_dir)
            self._warehouse = self._open.enter_context(Warehouse.open(url, timezone=self.playbook.timezone))
        return self._warehouse

    @contextmanager
    def locked(self) -> Iterator[Callable[[], None]]:
        """Only one run at a time; yields a check that raises Locked when the lock was lost to another."""
        with self.journal.lock("run") as lock:
            yield lock.check

    def suppression_key(self) -> bytes:
        """What suppressed addresses are hashed with: the playbook's key, or the one the journal keeps."""
        secrets = self.playbook.keys
        if secrets is not None and secrets.suppression is not None:
            return secrets.suppression.get_secret_value().encode()
        return self.journal.keys.get_or_make("suppression")

    def at_work(self) -> Holder | None:
        """Whoever runs now, if anybody does; a process that was killed does not."""
        holders = (holder for holder in self.journal.holders() if holder.name == "run" and not holder.expired)
        return next((holder for holder in holders if not holder.process.is_dead()), None)

    # --- systems ----------------------------------------------------------------------------------------

    def source(self, name: str) -> Source:
        """The source of this name in the playbook, connected lazily."""
        if name not in self._sources:
            options = self.playbook.sources[name]
            adapter = self.adapters.require(options.adapter)
            if adapter.source is None:
                raise SettingError(f"sources.{name}: the adapter {adapter.name} cannot be read from")
            source = adapter.source(self._connection(name, options))
            self._open.callback(source.close)
            self._sources[name] = source
        return self._sources[name]

    def destination(self, name: str) -> Destination:
        """The destination of this name in the playbook, connected lazily."""
        if name not in self._destinations:
            options = self.playbook.destinations[name].options
            adapter = self.adapters.require(options.adapter)
            if adapter.destination is None:
                raise SettingError(f"destinations.{name}: the adapter {adapter.name} cannot be written to")
            destination = adapter.destination(self._connection(name, options))
            self._open.callback(destination.close)
            self._destinations[name] = destination
        return self._destinations[name]

    def mapping(self, source_name: str, stream: str) -> StreamMapping:
        """The shipped mapping of a stream with the playbook's own lines on top, or the playbook's alone."""
        return stream_mapping(self.source(source_name), self.playbook.sources[source_name], source_name, stream)

    def budget(self, name: str) -> RateBudget | None:
        """The allowance this connection spends from, if it was used in this process."""
        return self._budgets.get(name)

    def _connection(self, name: str, options: AdapterOptions) -> Connection:
        if name not in self._budgets:
            self._budgets[name] = self.journal.budget(name, options.rate, reporter=self.reporter)
        return Connection(
            name=name,
            options=options,
            budget=self._budgets[name],
            clock=self.clock,
            reporter=self.reporter,
            base_dir=self.base_dir,
            work_dir=self.folder("work"),
            fields=_LazyFields(self, name),
        )


class _LazyFields(Mapping[str, Sequence[str]]):
    """The provider fields each stream's mapping wants, looked up when the adapter asks."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self._workspace = workspace
        self._name = name

    def __getitem__(self, stream: str) -> Sequence[str]:
        if self._name not in self._workspace.playbook.sources:
            return ()
        return self._workspace.mapping(self._name, stream).provider_fields()

    def __iter__(self) -> Iterator[str]:
        if self._name not in self._workspace.playbook.sources:
            return iter(())
        return iter([info.name for info in self._workspace.source(self._name).streams()])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def stream_mapping(source: Source, options: AdapterOptions, source_name: str, stream: str) -> StreamMapping:
    """How this stream's records become rows; MappingError when nothing says how."""
    from mappings.schema import from_user, load_shipped, with_overrides

    info = next(info for info in source.streams() if info.name == stream)
    user = options.mapping_for(stream)
    shipped = load_shipped(options.adapter, info.default_mapping) if info.default_mapping else None
    if shipped is not None:
        return with_overrides(shipped, user)
    if not user:
        raise MappingError(
            f"sources.{source_name}: the stream {stream} has no mapping",
            hint="add `mapping: {contact_id: <column>, …}` to it; docs/playbook.md lists the neutral columns.",
        )
    return from_user(source.system, stream, info.into, user)


def _file_of(url: str, base_dir: Path) -> Path | None:
    """The file behind a duckdb:/// or sqlite:/// URL; None for servers and memory."""
    parts = urlsplit(url)
    if parts.scheme.split("+")[0] not in {"duckdb", "sqlite"} or parts.path in {"", "/:memory:"}:
        return None
    text = parts.path[1:]
    return Path(text) if text.startswith("/") else base_dir / text


def _absolute(url: str, base_dir: Path) -> str:
    """The same URL with a relative file path made absolute against the playbook's folder."""
    path = _file_of(url, base_dir)
    return url if path is None else f"{urlsplit(url).scheme}:///{path.resolve()}"
