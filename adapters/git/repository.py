"""Asks git: the only place that runs it.

Output is NUL-separated, so that no name, message or path can be mistaken for structure. The user's own git settings
are kept from changing what we read (signatures, colours, renames, external diffs).
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from connector.errors import RejectedError, SettingError

_SETTINGS = (
    "color.ui=false",
    "core.fsmonitor=false",
    "core.quotePath=false",
    "diff.ignoreSubmodules=none",
    "diff.noprefix=false",
    "log.follow=false",
    "log.showRoot=true",
    "log.showSignature=false",
    "i18n.logOutputEncoding=UTF-8",
)
_FORMAT = "%x00%H%x00%aN%x00%aE%x00%ae%x00%at%x00%ct"
_HEADER_FIELDS = 6
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that is not a merge; times in seconds.

    name, email: Who .mailmap says it was; `written_email` is what the commit says.
    paths: The files it touched; empty when they were not asked for.
    """

    commit: str
    name: str
    email: str
    written_email: str
    authored: int
    committed: int
    paths: Sequence[str] = ()


class Repository:
    """One repository on disk. Raises SettingError when there is none."""

    def __init__(self, path: Path, *, shown: str) -> None:
        self._path = path
        self._shown = shown
        if not path.is_dir():
            raise SettingError(f"{shown}: there is no such folder", hint="`path` starts beside winback.yaml.")
        inside = self._run("rev-parse", "--absolute-git-dir")
        if inside.returncode != 0:
            raise self._not_a_repository(inside.stderr)
        self._git_dir = Path(os.fsdecode(inside.stdout.strip()))

    def head(self, ref: str) -> str | None:
        """The commit a ref points to; None in a repository without commits. Raises SettingError for an unknown ref."""
        found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
        if found.returncode == 0:
            return found.stdout.decode().strip()
        refs = self._lines("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes", "refs/tags")
        if not refs:
            return None
        near = get_close_matches(ref, refs, n=1)
        raise SettingError(
            f"{self._shown}: no branch, tag or commit {ref!r}" + (f"; did you mean {near[0]}?" if near else ""),
            hint=f"there is: {', '.join(refs[:8])}{' …' if len(refs) > 8 else ''}.",  # noqa: PLR2004 - enough to see
        )

    def cut_off(self) -> frozenset[str]:
        """In a shallow clone, the oldest commits it has, whose own changes cannot be told from what came before."""
        listed = self._git_dir_file("shallow")
        return frozenset(listed.decode().split())

    def contains(self, commit: str, head: str) -> bool:
        """Whether `commit` is still part of the history of `head`."""
        return self._run("merge-base", "--is-ancestor", commit, head).returncode == 0

    def mailmap_state(self) -> str:
        """A digest of everything git takes names and addresses from; another one means people may have been joined."""
        digest = hashlib.blake2b(digest_size=16)
        top = self._run("rev-parse", "--show-toplevel")
        if top.returncode == 0:
            mailmap = Path(os.fsdecode(top.stdout.rstrip(b"\n"))) / ".mailmap"
            digest.update(mailmap.read_bytes() if mailmap.is_file() else b"")
        else:
            digest.update(self._run("cat-file", "blob", "HEAD:.mailmap").stdout)
        for key in ("mailmap.file", "mailmap.blob"):
            value = self._run("config", "--get", key).stdout.strip()
            digest.update(key.encode() + value)
            if value and key == "mailmap.file":
                named = self._path / Path(os.fsdecode(value)).expanduser()
                digest.update(named.read_bytes() if named.is_file() else b"")
            elif value:
                digest.update(self._run("cat-file", "blob", os.fsdecode(value)).stdout)
        return digest.hexdigest()

    def count(self, head: str, base: str | None) -> int:
        """How many commits, merges left out, `head` has that `base` has not."""
        lines = self._lines("rev-list", "--count", "--no-merges", *_range(head, base))
        return int(lines[0]) if lines else 0

    def commits(self, head: str, base: str | None, *, with_paths: bool) -> Iterator[Commit]:
        """Commits of `head` that `base` has not, parents before children, always in the same order."""
        arguments = ["log", "-z", "--reverse", "--topo-order", "--no-merges", "--no-notes", f"--format={_FORMAT}"]
        if with_paths:
            arguments += ["--name-only", "--no-renames", "--no-ext-diff", "--no-textconv"]
        command = [*self._command(), *arguments, *_range(head, base), "--"]
        # Complaints go to a file: a full pipe that nobody reads would stop git for good.
        with (
            TemporaryFile() as complaints,
            subprocess.Popen(  # noqa: S603 - a fixed command, ids checked by git itself
                command, stdout=subprocess.PIPE, stderr=complaints, env=_environment()
            ) as process,
        ):
            assert process.stdout is not None
            try:
                yield from _parse(process.stdout)
            except BaseException:
                process.kill()
                raise
            process.wait()
            complaints.seek(0)
            problem = complaints.read()
        if process.returncode != 0:
            raise RejectedError(f"{self._shown}: git could not read the history: {_first_line(problem)}")

    def _git_dir_file(self, name: str) -> bytes:
        where = self._lines("rev-parse", "--git-path", name)
        path = self._path / where[0] if where else self._git_dir / name
        return path.read_bytes() if path.is_file() else b""

    def _command(self) -> list[str]:
        settings = [part for setting in _SETTINGS for part in ("-c", setting)]
        return ["git", "-C", str(self._path), "--no-pager", *settings]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(  # noqa: S603 - a fixed command
                [*self._command(), *arguments], capture_output=True, check=False, env=_environment()
            )
        except FileNotFoundError as error:
            raise SettingError("git is not installed", hint="install git; the git adapter asks it.") from error

    def _lines(self, *arguments: str) -> list[str]:
        return self._run(*arguments).stdout.decode("utf-8", errors="replace").splitlines()

    def _not_a_repository(self, stderr: bytes) -> SettingError:
        if b"dubious ownership" in stderr:
            return SettingError(
                f"{self._shown}: git refuses a repository that belongs to somebody else",
                hint="run as its owner, or `git config --global --add safe.directory <folder>`.",
            )
        return SettingError(f"{self._shown}: not a git repository", hint="give the folder that holds `.git`.")


def _range(head: str, base: str | None) -> list[str]:
    return [head] if base is None else [head, f"^{base}"]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _tokens(stream: IO[bytes]) -> Iterator[str]:
    """The NUL-ended pieces of git's output."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        for token in whole:
            yield token.decode("utf-8", errors="replace")
    if rest:
        yield rest.decode("utf-8", errors="replace")


def _parse(stream: IO[bytes]) -> Iterator[Commit]:
    """An empty piece begins a commit; six fields follow, then its paths, the first after a line break."""
    tokens = _tokens(stream)
    started = next(tokens, None) is not None
    while started:
        header = [token for _, token in zip(range(_HEADER_FIELDS), tokens, strict=False)]
        if len(header) < _HEADER_FIELDS:
            return
        paths: list[str] = []
        started = False
        for token in tokens:
            if not token:
                started = True
                break
            paths.append(token if paths else token.removeprefix("\n"))
        commit, name, email, written, authored, committed = header
        yield Commit(commit, name, email, written, _seconds(authored), _seconds(committed), paths)


def _seconds(text: str) -> int:
    return int(text) if text.lstrip("-").isdigit() else 0


def _first_line(problem: bytes) -> str:
    text = problem.decode("utf-8", errors="replace").strip()
    return text.splitlines()[0] if text else "no reason given"
