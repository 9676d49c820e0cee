"""The check that long work makes between two steps: is the workspace's lock still ours?"""

from __future__ import annotations

from collections.abc import Callable

StillOurs = Callable[[], None]
"""Raises Locked when another process has taken the lock meanwhile."""


def unlocked() -> None:
    """The check of work that needs no lock."""
