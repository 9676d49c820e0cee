"""The streams of a `files` block, checked and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.files.options import FilesOptions, FilesStream
from adapters.files.places import FoundFile, Storage, nothing_matches, storage_for
from adapters.files.progress import read_cursor
from connector.contracts import Connection, StreamInfo
from connector.errors import WinbackError
from connector.model import Cursor, Finding, Page, Severity


class FilesSource:
    """Reads CSV, JSONL and Parquet files; its ids carry the source's name in winback.yaml."""

    def __init__(self, connection: Connection) -> None:
        options = connection.options
        assert isinstance(options, FilesOptions)
        self._connection = connection
        self._options = options
        self.system = connection.name

    def streams(self) -> Sequence[StreamInfo]:
        """The streams written in the playbook; none has a shipped mapping."""
        return [StreamInfo(name, self._options.into(name), None) for name in self._options.streams]

    def check(self) -> Iterator[Finding]:
        """For each stream: do files match, can the newest be read, are the mapped columns there."""
        for name, stream in self._options.streams.items():
            subject = f"{self._connection.name}.{name}"
            try:
                yield self._look(subject, name, stream)
            except WinbackError as error:
                yield Finding(subject, Severity.ERROR, str(error), error.hint)

    def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
        """Pages of every file that has something new, in the order of their names."""
        from adapters.files.reading import Reading

        options = self._options.streams[stream]
        storage = self._storage(options)
        known = read_cursor(cursor)
        found = storage.find(options.path)
        if not found and not known:
            raise nothing_matches(options.path, self._connection.base_dir)
        yield from Reading(self._connection, stream, storage, found, known).pages()

    def close(self) -> None:
        """Nothing is kept open."""

    def _storage(self, options: FilesStream) -> Storage:
        auth = {name: secret.get_secret_value() for name, secret in self._options.auth.items()}
        return storage_for(options.path, base_dir=self._connection.base_dir, auth=auth, base_url=self._options.base_url)

    def _look(self, subject: str, name: str, stream: FilesStream) -> Finding:
        from adapters.files.reading import Reading

        storage = self._storage(stream)
        found = storage.find(stream.path)
        if not found:
            raise nothing_matches(stream.path, self._connection.base_dir)
        newest: FoundFile = found[-1]
        next(Reading(self._connection, name, storage, [newest], {}).pages(), None)
        count = "1 file" if len(found) == 1 else f"{len(found):,} files"
        return Finding(subject, Severity.OK, f"{count}, {_amount(sum(file.size for file in found))}")


def _amount(size: int) -> str:
    kilobyte = 1000
    for unit in ("bytes", "kB", "MB"):
        if size < kilobyte:
            return f"{size:,.0f} {unit}"
        size //= kilobyte
    return f"{size:,.0f} GB"
