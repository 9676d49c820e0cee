"""Finds the files of a stream and opens them: on disk, or behind any URL that fsspec understands.

Whatever the place, a file is read as one stream of UTF-8 bytes: decompressed, and re-encoded when it is not UTF-8.
Offsets and digests count in that stream, so a compressed file can be continued like any other.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path
from typing import IO, Any, Protocol, cast

from connector.errors import ConfigurationError, ProviderError, RejectedError, RetriableError, SettingError

_CHUNK = 1 << 20
_TEXT_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_COMPRESSED_ENDINGS = (".gz", ".gzip", ".zst", ".bz2")
_MARKED_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_EXTRAS = {"s3": "s3", "s3a": "s3"}


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as it is now. `stamp` changes with the content; empty when nothing about the file can be trusted to."""

    name: str
    path: str
    size: int
    stamp: str
    changed_at: float | None = None


class Storage(Protocol):
    """Where files are: a disk, or something fsspec reaches."""

    def find(self, pattern: str) -> list[FoundFile]:
        """The files that match, sorted by name."""

    def open(self, file: FoundFile) -> IO[bytes]:
        """The file's raw bytes, seekable."""


class LocalStorage:
    """Files on disk; relative patterns start at the folder of winback.yaml."""

    def __init__(self, base_dir: Path) -> None:
        self._base_dir = base_dir

    def find(self, pattern: str) -> list[FoundFile]:
        """The regular files that match, named as the pattern wrote them."""
        pattern = str(Path(pattern.removeprefix("file://")).expanduser())
        if has_magic(pattern) and not (self._base_dir / pattern).is_file():
            # pathlib's glob cannot take a pattern that is absolute on one machine and relative on another.
            names = glob(pattern, root_dir=self._base_dir, recursive=True)  # noqa: PTH207
        else:
            names = [pattern] if (self._base_dir / pattern).exists() else []
        found = (self._look_at(name) for name in sorted(set(names)))
        return [file for file in found if file is not None]

    def _look_at(self, name: str) -> FoundFile | None:
        path = self._base_dir / name
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        stamp = f"{status.st_mtime_ns}.{status.st_ctime_ns}"
        changed_at = max(status.st_mtime, status.st_ctime)
        return FoundFile(Path(name).as_posix(), str(path), status.st_size, stamp, changed_at)

    def open(self, file: FoundFile) -> IO[bytes]:
        """The file's raw bytes."""
        return Path(file.path).open("rb")


class RemoteStorage:
    """Files behind a URL, through fsspec; `auth` becomes its key, secret and token."""

    def __init__(self, pattern: str, *, auth: Mapping[str, str], base_url: str | None) -> None:
        self._scheme = pattern.split("://", 1)[0].lower()
        self._files = _filesystem(self._scheme, auth=auth, base_url=base_url)

    def find(self, pattern: str) -> list[FoundFile]:
        """The files that match, as URLs."""
        try:
            self._files.invalidate_cache()
            if has_magic(pattern.split("://", 1)[1]):
                listed = self._files.glob(pattern, detail=True)
            else:
                listed = {pattern: self._files.info(pattern)} if self._files.exists(pattern) else {}
        except Exception as error:
            raise _storage_error(pattern, error) from error
        return sorted(
            (self._look_at(info) for info in listed.values() if info.get("type", "file") == "file"),
            key=lambda file: file.name,
        )

    def _look_at(self, info: Mapping[str, Any]) -> FoundFile:
        stamps = (info.get(key) for key in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime"))
        stamp = next((str(value) for value in stamps if value), "")
        path = str(info["name"])
        return FoundFile(f"{self._scheme}://{path.lstrip('/')}", path, int(info.get("size") or 0), stamp)

    def open(self, file: FoundFile) -> IO[bytes]:
        """The file's raw bytes, fetched as they are read."""
        try:
            return cast("IO[bytes]", self._files.open(file.path, "rb"))
        except Exception as error:
            raise _storage_error(file.name, error) from error


def storage_for(pattern: str, *, base_dir: Path, auth: Mapping[str, str], base_url: str | None) -> Storage:
    """What can find and open this pattern."""
    if "://" in pattern and not pattern.lower().startswith("file://"):
        return RemoteStorage(pattern, auth=auth, base_url=base_url)
    return LocalStorage(base_dir)


def _filesystem(scheme: str, *, auth: Mapping[str, str], base_url: str | None) -> Any:
    options: dict[str, Any] = dict(auth)
    if base_url is not None:
        options["client_kwargs"] = {"endpoint_url": base_url}
    extra = _EXTRAS.get(scheme, "s3")
    try:
        import fsspec

        return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        raise SettingError(
            f"{scheme}:// needs a library that is not installed ({error.name or 'see below'})",
            hint=f"install winback[{extra}]"
            + ("" if scheme in _EXTRAS else f", or the fsspec library for {scheme}:// in winback's environment"),
        ) from error
    except ValueError as error:
        raise SettingError(
            f"{scheme}:// is not a kind of storage we can read",
            hint="use a path, or s3://bucket/key.",
        ) from error


def _storage_error(name: str, error: Exception) -> Exception:
    """A storage library's exception as ours; it names its kind only, for messages may hold keys."""
    if isinstance(error, ProviderError | ConfigurationError):
        return error
    if isinstance(error, PermissionError):
        return RejectedError(f"{name}: the storage refuses to be read", hint="check the credentials under `auth`.")
    return RetriableError(f"{name}: cannot be read just now ({type(error).__name__})", hint="run again later.")


def nothing_matches(pattern: str, base_dir: Path) -> SettingError:
    """The error for a pattern without files: where it was looked for, and what is there instead."""
    if "://" in pattern:
        return SettingError(f"{pattern}: no file matches", hint="check the bucket, the path and the credentials.")
    path = base_dir / pattern
    folder = path.parent
    while has_magic(str(folder)):
        folder = folder.parent
    if not folder.is_dir():
        return SettingError(
            f"{pattern}: there is no folder {_shown(folder, base_dir)}", hint="paths start beside winback.yaml."
        )
    there = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    near = get_close_matches(path.name, there, n=1, cutoff=0.5)
    listed = ", ".join(there[:8]) + (" …" if len(there) > 8 else "")  # noqa: PLR2004 - enough to see what is there
    return SettingError(
        f"{pattern}: no file matches" + (f"; did you mean {near[0]}?" if near else ""),
        hint=f"in {_shown(folder, base_dir)} there is: {listed or 'nothing'}.",
    )


def _shown(folder: Path, base_dir: Path) -> str:
    return os.path.relpath(folder, base_dir) if folder.is_relative_to(base_dir) else str(folder)


def format_of(name: str) -> str | None:
    """csv, jsonl or parquet by the name's ending, compression aside; None when the ending says nothing."""
    path = name.lower().split("?", 1)[0]
    for ending in _COMPRESSED_ENDINGS:
        path = path.removesuffix(ending)
    return _TEXT_ENDINGS.get(Path(path).suffix)


@dataclass(frozen=True, slots=True)
class OpenText:
    """A text file being read: its text as UTF-8 bytes, and the file underneath, for how far it has come."""

    stream: IO[bytes]
    raw: IO[bytes]


@contextmanager
def utf8_stream(storage: Storage, file: FoundFile, *, encoding: str) -> Iterator[OpenText]:
    """The file's text as UTF-8 bytes, decompressed; what is not text stays invalid UTF-8, for the caller to find."""
    with readable(file), storage.open(file) as raw, _decompressed(raw, file.name) as stream:
        marked = _marked_encoding(stream)
        chosen = marked or encoding
        if codecs.lookup(chosen).name in {"utf-8", "utf-8-sig", "ascii"}:
            yield OpenText(cast("IO[bytes]", stream), raw)
        else:
            yield OpenText(cast("IO[bytes]", _Recoded(stream, chosen)), raw)


@contextmanager
def readable(file: FoundFile) -> Iterator[None]:
    """Turn what goes wrong with the file underneath into our errors."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise RetriableError(
            f"{file.name}: the compressed file is cut off or damaged",
            hint="if it is still being written, run again; what was read so far is kept.",
        ) from error
    except PermissionError as error:
        raise SettingError(f"{file.name}: not allowed to read it", hint="check the file's permissions.") from error
    except OSError as error:
        raise RetriableError(f"{file.name}: cannot be read ({error.strerror or type(error).__name__})") from error


def _decompressed(raw: IO[bytes], name: str) -> io.BufferedReader:
    """By the first bytes, not the name: servers unpack .gz files on the way and leave the ending."""
    head = raw.read(4)
    raw.seek(0)
    stream: Any = raw
    if head[:2] == b"\x1f\x8b":
        stream = gzip.GzipFile(fileobj=raw)
    elif head == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        stream = pa.CompressedInputStream(pa.PythonFile(raw), "zstd")
    elif name.lower().endswith(".bz2") and head[:3] == b"BZh":
        stream = bz2.BZ2File(raw)
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream, _CHUNK)


def _marked_encoding(stream: io.BufferedReader) -> str | None:
    head = stream.peek(4)
    return next((encoding for mark, encoding in _MARKED_ENCODINGS if head.startswith(mark)), None)


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    """Leave a byte in the text that no UTF-8 has, so that the row it is in is found and set aside."""
    assert isinstance(error, UnicodeDecodeError)
    return "\udcff", error.end


codecs.register_error("winback-mark", _mark_undecodable)


class _Recoded(io.RawIOBase):
    """A stream in another encoding as UTF-8 bytes."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="winback-mark")
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most this many bytes; fewer only at the end."""
        parts = [self._ready]
        have = len(self._ready)
        while not self._ended and (size < 0 or have < size):
            chunk = self._stream.read(_CHUNK)
            self._ended = not chunk
            text = self._decoder.decode(chunk, final=self._ended)
            parts.append(text.encode("utf-8", errors="surrogateescape"))
            have += len(parts[-1])
        data = b"".join(parts)
        cut = have if size < 0 else size
        self._ready = data[cut:]
        return data[:cut]
