"""Small git repositories, made commit by commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}


class MadeRepository:
    """A repository whose commits have the authors and times a test gives them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, **environment: str) -> str:
        """Run git here; what it printed."""
        done = subprocess.run(
            ["git", "-c", "user.name=Committer", "-c", "user.email=committer@example.org", *arguments],
            cwd=self.path,
            env={**os.environ, **_QUIET, **environment},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(
        self, files: dict[str, str], *, author: str = "Ann Lee <ann@example.org>", at: str, committed: str | None = None
    ) -> str:
        """Write these files and commit them; the commit's id."""
        for name, content in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(content)
        self.git("add", "-A")
        name, _, email = author.partition(" <")
        who = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email.rstrip(">")}
        when = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": committed or at}
        self.git("commit", "-q", "--allow-empty", "-m", "a change", **who, **when)
        return self.git("rev-parse", "HEAD")
