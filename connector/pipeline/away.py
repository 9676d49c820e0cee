"""A CRM that is away: where there are several, it is left out and the others are worked with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from connector.errors import CredentialsError, ProviderError, WinbackError

AWAY = (ProviderError, CredentialsError)
"""Why one CRM cannot be worked with; where there are several, the others can."""

T = TypeVar("T")


class Reached:
    """Destinations that are asked one after the other; one that does not answer is left out of what follows."""

    def __init__(self, names: Sequence[str], *, alone: bool) -> None:
        self.names = list(names)
        self.away: dict[str, WinbackError] = {}
        self._alone = alone

    def each(self, work: Callable[[str], T]) -> dict[str, T]:
        """What each says. The only one there is may fail."""
        said = {}
        for name in [*self.names]:
            try:
                said[name] = work(name)
            except AWAY as error:
                if self._alone:
                    raise
                self.names.remove(name)
                self.away[name] = error
        return said
