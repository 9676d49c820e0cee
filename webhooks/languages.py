"""What our pages say, in the languages that people read them in: one file each in `webhooks/texts/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml

from connector.program.whats_new import main_language

DEFAULT: Final = "en"


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of one language; called with a text's dotted name and what it mentions."""

    language: str
    words: Mapping[str, Any]

    def __call__(self, name: str, **mentions: object) -> str:
        """The text of this name. What it mentions is put in as it is: the page escapes it."""
        found: Any = self.words
        for part in name.split("."):
            found = found[part]
        return str(found).format(**mentions)

    def day(self, day: date) -> str:
        """A date as it is written in this language."""
        return self("date", day=day.day, month=self.words["months"][day.month - 1], year=day.year)


@cache
def languages() -> Mapping[str, Texts]:
    """All we have, by code."""
    folder = resources.files("webhooks") / "texts"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    codes = {file.name.removesuffix(".yaml"): file for file in files}
    return {code: Texts(code, yaml.safe_load(file.read_text(encoding="utf-8"))) for code, file in codes.items()}


def speak(wanted: Iterable[str | None]) -> Texts:
    """The first of these languages that we have, else English; `de-AT` is German."""
    known = languages()
    for language in wanted:
        if (main := main_language(language)) in known:
            return known[main]
    return known[DEFAULT]
