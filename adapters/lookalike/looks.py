"""How the pages of the look-alikes are made: one style, one way to fill templates."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def style() -> str:
    """The style sheet, to be put into a page: the pages are self-contained."""
    return (files(__package__) / "styles" / "page.css").read_text(encoding="utf-8")


@cache
def pages() -> Environment:
    """Where templates become pages: everything is escaped, a missing value is an error, `grouped` writes 12 345."""
    from jinja2 import Environment as Templates
    from jinja2 import StrictUndefined

    environment = Templates(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["grouped"] = lambda number: f"{number:,}".replace(",", "\u202f")
    return environment
