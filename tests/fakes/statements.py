"""Statements compiled once: what SQLAlchemy makes of a statement is known to the next journal of a kind, too.

Every journal has an engine of its own, and an engine compiles whatever it is asked first; thousands of tests open one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.util import LRUCache

from connector.journal import engine as engines

REAL = (engines._sqlite_engine, engines._postgres_engine)
_MANY = 5_000
_known: dict[str, tuple[sa.Dialect, LRUCache[Any, Any]]] = {}


def compiled_once(make: Callable[..., sa.Engine]) -> Callable[..., sa.Engine]:
    """As `make`, with the dialect and the compiled statements of the first engine of its kind."""

    def made(*arguments: Any, **options: Any) -> sa.Engine:
        engine = make(*arguments, **options)
        engine.dialect, engine._compiled_cache = _known.setdefault(
            engine.dialect.name, (engine.dialect, LRUCache(_MANY))
        )
        return engine

    return made
