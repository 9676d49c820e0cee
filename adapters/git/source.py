"""A repository's commits as usage and its authors as contacts.

Commits are read once: the next pull asks only for what the branch has that the last one had not. When history was
rewritten, or .mailmap or the options changed who is who, everything is read again and replaces what was there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.git.options import GitOptions
from adapters.git.repository import Commit, Repository
from connector.contracts import Connection, StreamInfo, chunks
from connector.errors import WinbackError
from connector.model import Cursor, Finding, Page, Severity

ROOT = "(root)"
_ORIGIN = "history"
_PAGE_ROWS = 20_000
_DEFAULT_KEY = b"winback git"


@dataclass(frozen=True, slots=True)
class _Place:
    """How far usage is read: all of `head`, and `done` commits of what `target` has beyond it."""

    state: str
    head: str | None = None
    target: str | None = None
    done: int = 0

    def cursor(self) -> Cursor:
        return {"version": 1, "state": self.state, "head": self.head, "target": self.target, "done": self.done}


@dataclass(slots=True)
class _Author:
    """One person, gathered from their commits."""

    author_id: str
    name: str
    email: str
    first: int
    others: set[str] = field(default_factory=set)

    def record(self) -> dict[str, Any]:
        first, _, last = self.name.partition(" ")
        return {
            "__place": f"author {self.author_id}" if "@" not in self.author_id else "an author",
            "author_id": self.author_id,
            "author_email": self.email or None,
            "other_emails": ";".join(sorted(self.others - {self.email})) or None,
            "first_name": first or None,
            "last_name": last.strip() or None,
            "first_authored_at": self.first,
        }


class GitSource:
    """Reads one repository."""

    system = "git"

    def __init__(self, connection: Connection) -> None:
        options = connection.options
        assert isinstance(options, GitOptions)
        self._connection = connection
        self._options = options
        self._bots = re.compile("|".join(f"(?:{p})" for p in options.bots), re.IGNORECASE) if options.bots else None
        secret = options.auth.get("key")
        self._key = secret.get_secret_value().encode() if secret else _DEFAULT_KEY
        self._ids: dict[str, str] = {}

    def streams(self) -> Sequence[StreamInfo]:
        """People first, then what they did."""
        return [StreamInfo("contacts", "contacts", "contacts"), StreamInfo("usage", "usage", "usage")]

    def check(self) -> Iterator[Finding]:
        """Is it a repository, does the ref exist, is its history whole."""
        subject = self._connection.name
        try:
            repository = self._repository()
            head = repository.head(self._options.ref)
        except WinbackError as error:
            yield Finding(subject, Severity.ERROR, str(error), error.hint)
            return
        if head is None:
            yield Finding(subject, Severity.WARNING, f"{self._options.path}: no commits yet", "commit something first.")
            return
        count = repository.count(head, None)
        yield Finding(subject, Severity.OK, f"{count:,} commits in {self._options.ref}, merges left out")
        if repository.cut_off():
            yield Finding(
                subject,
                Severity.WARNING,
                f"{self._options.path}: a shallow clone, older history is missing",
                "run `git fetch --unshallow` in it.",
            )

    def read(self, stream: str, cursor: Cursor | None) -> Iterator[Page]:
        """Pages of new commits, or the authors anew when there are new commits."""
        repository = self._repository()
        head = repository.head(self._options.ref)
        if head is None:
            self._say("the repository has no commits yet; nothing to read")
            return
        cut_off = repository.cut_off()
        if cut_off:
            self._say("a shallow clone: older history is missing; `git fetch --unshallow` brings it")
        state = self._state(repository, cut_off)
        if stream == "contacts":
            yield from self._contact_pages(repository, head, state, cursor)
        else:
            yield from self._usage_pages(repository, head, state, cursor, cut_off=cut_off)

    def close(self) -> None:
        """Nothing is kept open."""

    # --- usage ------------------------------------------------------------------------------------------

    def _usage_pages(
        self, repository: Repository, head: str, state: str, cursor: Cursor | None, *, cut_off: frozenset[str]
    ) -> Iterator[Page]:
        resumed = self._resumed(repository, head, state, cursor)
        place = resumed or _Place(state)
        replaces = resumed is None
        for target in (place.target, head):
            if target is None or target == place.head:
                continue
            begun = place if place.target == target else replace(place, target=target, done=0)
            for page, reached in self._stretch_pages(repository, begun, cut_off, replaces=replaces):
                yield page
                place, replaces = reached, False

    def _stretch_pages(
        self, repository: Repository, place: _Place, cut_off: frozenset[str], *, replaces: bool
    ) -> Iterator[tuple[Page, _Place]]:
        """What `place.target` has beyond `place.head`, after the commits already done; the last page completes it."""
        assert place.target is not None
        expected = max(0, repository.count(place.target, place.head) - place.done)
        rows: list[dict[str, Any]] = []
        read = stored = 0
        for number, commit in enumerate(repository.commits(place.target, place.head, with_paths=True), 1):
            if number <= place.done:
                continue
            read += 1
            rows += self._usage_rows(commit, whole=commit.commit not in cut_off)
            if len(rows) >= _PAGE_ROWS:
                stored += len(rows)
                here = replace(place, done=number)
                total = int(stored * max(1.0, expected / read))
                yield Page(rows, here.cursor(), origin=_ORIGIN, replaces_origin=replaces, total=total), here
                rows, replaces = [], False
        complete = _Place(place.state, head=place.target)
        total = stored + len(rows)
        yield Page(rows, complete.cursor(), origin=_ORIGIN, replaces_origin=replaces, total=total), complete

    def _resumed(self, repository: Repository, head: str, state: str, cursor: Cursor | None) -> _Place | None:
        """Where to go on; None to read everything."""
        if cursor is None:
            return None
        place = _Place(cursor["state"], cursor.get("head"), cursor.get("target"), int(cursor.get("done", 0)))
        if place.state != state:
            self._say("the mail map, the options or the clone's depth changed; reading the whole history again")
            return None
        known = [commit for commit in (place.head, place.target) if commit]
        if not all(commit == head or repository.contains(commit, head) for commit in known):
            self._say(f"the history of {self._options.ref} was rewritten; reading all of it again")
            return None
        return place

    def _usage_rows(self, commit: Commit, *, whole: bool) -> Iterator[dict[str, Any]]:
        """One row for each top-level folder; one without a folder where the files are unknown or none."""
        if not self._counts(commit):
            return
        folders: dict[str | None, int] = {}
        for path in commit.paths if whole else ():
            top, separator, _ = path.partition("/")
            touched = top if separator else ROOT
            folders[touched] = folders.get(touched, 0) + 1
        for folder, files in sorted(folders.items(), key=lambda item: item[0] or "") or [(None, 1)]:
            yield {
                "__place": f"commit {commit.commit[:12]}",
                "change_id": f"{commit.commit}:{folder or ''}",
                "author_id": self._author_id(commit),
                "author_email": _address(commit.email) or None,
                "authored_at": _authored(commit),
                "committed_at": commit.committed,
                "folder": folder,
                "files": files,
            }

    # --- contacts ---------------------------------------------------------------------------------------

    def _contact_pages(self, repository: Repository, head: str, state: str, cursor: Cursor | None) -> Iterator[Page]:
        complete = {"version": 1, "state": state, "head": head}
        if cursor is not None and dict(cursor) == complete:
            return
        authors = self._authors(repository, head)
        records = [authors[author_id].record() for author_id in sorted(authors)]
        pages = list(chunks(records, _PAGE_ROWS)) or [[]]
        before = {**complete, "head": None}
        for number, part in enumerate(pages, 1):
            last = number == len(pages)
            yield Page(
                part,
                complete if last else before,
                snapshot=f"{head}:{state}",
                snapshot_complete=last,
                total=len(records),
            )

    def _authors(self, repository: Repository, head: str) -> dict[str, _Author]:
        """Everybody, under the last name they used, since their first commit."""
        authors: dict[str, _Author] = {}
        for commit in repository.commits(head, None, with_paths=False):
            if not self._counts(commit):
                continue
            author_id, email, when = self._author_id(commit), _address(commit.email), _authored(commit)
            author = authors.setdefault(author_id, _Author(author_id, commit.name, email, when))
            author.name = commit.name.strip() or author.name
            author.first = min(author.first, when)
            written = _address(commit.written_email)
            if written:
                author.others.add(written)
        return authors

    # --- who and what counts ----------------------------------------------------------------------------

    def _counts(self, commit: Commit) -> bool:
        since = self._options.since_seconds
        if since is not None and _authored(commit) < since:
            return False
        return self._bots is None or not (self._bots.search(commit.name) or self._bots.search(commit.email))

    def _author_id(self, commit: Commit) -> str:
        """The same for everybody with the same address; by name where there is no address."""
        who = _address(commit.email) or f"name:{' '.join(commit.name.split()).casefold()}"
        if self._options.ids == "email":
            return who
        if who not in self._ids:
            self._ids[who] = hashlib.blake2b(who.encode(), key=self._key[:64], digest_size=8).hexdigest()
        return self._ids[who]

    def _state(self, repository: Repository, cut_off: frozenset[str]) -> str:
        """A digest of all that decides who somebody is and what counts; another one means reading again."""
        parts = [
            repository.mailmap_state(),
            ",".join(sorted(cut_off)),
            str(self._options.since),
            "\n".join(self._options.bots),
            self._options.ids,
            hashlib.blake2b(self._key).hexdigest(),
        ]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()

    def _repository(self) -> Repository:
        path = (self._connection.base_dir / self._options.path).expanduser()
        return Repository(path, shown=self._options.path)

    def _say(self, text: str) -> None:
        self._connection.reporter.line(f"{self._connection.name}: {text}")


def _address(text: str) -> str:
    return text.strip().lower()


def _authored(commit: Commit) -> int:
    """When it was written. Nobody writes a commit after it was committed: then the author's clock was wrong."""
    return min(commit.authored, commit.committed)
