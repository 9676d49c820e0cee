"""Finds adapters and receivers by entry point, so that the core never names one.

One of another distribution is listed but used only when the playbook names it: installing is the user's decision,
and plugins run with full trust.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from connector.contracts import Adapter
from connector.errors import SettingError
from connector.receivers import Receiver

GROUP = "winback.adapters"
RECEIVERS = "winback.receivers"

T = TypeVar("T")


class Installed(Mapping[str, T], Generic[T]):
    """What is installed of one kind, by name; each is imported when it is first asked for."""

    kind = "plugin"

    def __init__(self, points: Mapping[str, EntryPoint]) -> None:
        self._points = dict(sorted(points.items()))
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._points:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = self._points[name].load()
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def require(self, name: str) -> T:
        """The one of this name; SettingError listing the installed ones if there is none."""
        if name in self._points:
            return self[name]
        near = get_close_matches(name, self._points, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SettingError(f"no {self.kind} {name!r}", hint=f"{hint}Installed: {', '.join(self._points)}.")

    def distribution(self, name: str) -> str:
        """Name and version of the package that brings it."""
        dist = self._points[name].dist
        return f"{dist.name} {dist.version}" if dist is not None else "unknown"


class Adapters(Installed[Adapter]):
    """The installed adapters."""

    kind = "adapter"


class Receivers(Installed[Receiver]):
    """The installed receivers."""

    kind = "receiver"


def installed_adapters() -> Adapters:
    """Every adapter that an installed distribution offers."""
    return Adapters({point.name: point for point in entry_points(group=GROUP)})


def installed_receivers() -> Receivers:
    """Every receiver that an installed distribution offers."""
    return Receivers({point.name: point for point in entry_points(group=RECEIVERS)})
