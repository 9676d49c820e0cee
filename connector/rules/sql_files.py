"""The SQL that defines every number: one file a table in `connector/rules/sql/`, in DuckDB's dialect.

A file begins with its caption (`--` lines). `{name}` in it stands for a relation, a column list or a literal that
the caller gives; DuckDB's own braces (`{'a': 1}`) are left alone.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def names() -> tuple[str, ...]:
    """Every SQL file, by its stem."""
    folder = resources.files("connector.rules") / "sql"
    return tuple(sorted(f.name.removesuffix(".sql") for f in folder.iterdir() if f.name.endswith(".sql")))


@cache
def text(name: str) -> str:
    """The file as written."""
    return (resources.files("connector.rules") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def caption(name: str) -> str:
    """The sentences at the head of the file, as one line."""
    lines = []
    for line in text(name).splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines)


def placeholders(name: str) -> frozenset[str]:
    """What the file wants to be given."""
    return frozenset(_PLACEHOLDER.findall(_body(name)))


def render(name: str, **given: str) -> str:
    """The statement of a file with its placeholders filled; KeyError when one is missing or not asked for."""
    wanted = placeholders(name)
    if wanted != given.keys():
        missing, extra = sorted(wanted - given.keys()), sorted(given.keys() - wanted)
        raise KeyError(f"{name}.sql: not given {missing}, not asked for {extra}")
    return _PLACEHOLDER.sub(lambda found: given[found.group(1)], _body(name))


@cache
def _body(name: str) -> str:
    lines = [line for line in text(name).splitlines() if not line.lstrip().startswith("--")]
    return "\n".join(lines).strip().removesuffix(";")
