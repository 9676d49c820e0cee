"""The rule files: which words speak for which reason, in each language; ours, and what a team adds of its own.

One file a language in `connector/reasons/rules/`. A team's own file (`reasons_file:`) holds the same blocks under each
language's code; what it says about a phrase replaces what ours says, and a weight of 0 takes the phrase out:

    en:
      reasons:
        price:
          0.9: [budget freeze, "spend* ... elsewhere"]
          0: [cheap*]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path

from connector.location import Location, PlaybookError, Problem, nearest
from connector.reasons.codes import REASONS
from connector.reasons.phrases import Phrase, UnreadablePhrase, read_phrase
from connector.reasons.words import fold
from connector.yaml_loader import Entry as Written
from connector.yaml_loader import Items, Node, Scalar, Table, load, load_file

LISTS = ("words", "breaks", "negations", "harmless", "denials")
BLOCKS = (*LISTS, "spellings", "reasons")

_LANGUAGE = re.compile(r"[a-z]{2,3}")
_WEIGHT = re.compile(r"0(\.[0-9]{1,3})?|1(\.0{1,3})?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A phrase that speaks for a reason, how strongly (0 to 1), and how it is written."""

    phrase: Phrase
    reason: str
    weight: float
    written: str


@dataclass(frozen=True, slots=True)
class LanguageRules:
    """What one language's file says.

    words: Ordinary words by which the language is known; none of them negates in it.
    breaks: Words that begin a new thought (`but`): a negation does not reach over them.
    negations: What takes back the phrase after it. harmless: Where one of them negates nothing (`not only`).
    denials: What takes back the phrase before it (`is not the problem`).
    spellings: Letters read as others (`ue` as `u`).
    entries: By phrase.
    """

    language: str
    words: frozenset[str] = frozenset()
    breaks: frozenset[str] = frozenset()
    negations: tuple[Phrase, ...] = ()
    harmless: tuple[Phrase, ...] = ()
    denials: tuple[Phrase, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    entries: Mapping[Phrase, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Rulebook:
    """The rules of every language, by code."""

    languages: Mapping[str, LanguageRules]


@cache
def bundled() -> Rulebook:
    """The rules that come with winback."""
    folder = resources.files("connector.reasons") / "rules"
    found: dict[str, LanguageRules] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            reader = _Reader()
            language = file.name.removesuffix(".yaml")
            rules = reader.language(language, load(file.read_text(encoding="utf-8"), file=file.name), LanguageRules(""))
            if reader.problems:
                raise PlaybookError(reader.problems)
            found[language] = rules
    return Rulebook(found)


def extended(path: Path, *, label: str | None = None, base: Rulebook | None = None) -> Rulebook:
    """Our rules with a team's own file over them. Raises PlaybookError with the place of everything that is wrong."""
    rules = dict((base or bundled()).languages)
    node = load_file(path, label=label)
    reader = _Reader()
    for language, entry in reader.table(node, "").items():
        if _LANGUAGE.fullmatch(language):
            below = rules.get(language, LanguageRules(language))
            rules[language] = reader.language(language, entry.node, below, path=language)
        else:
            problem = f"'{language}' is not a language"
            reader.problems.append(Problem(problem, entry.key_location, hint="write its code, like en or pt"))
    if reader.problems:
        raise PlaybookError(reader.problems)
    return Rulebook(rules)


class _Reader:
    """Turns a file's nodes into rules and notes what is wrong on the way."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def language(self, language: str, node: Node, below: LanguageRules, *, path: str = "") -> LanguageRules:
        """The rules of one language: what stands here, over what was there."""
        blocks = self.table(node, path)
        for key, entry in blocks.items():
            if key not in BLOCKS:
                near = nearest(key, BLOCKS)
                self.problems.append(Problem(f"unknown key '{key}'", entry.key_location, path, near, BLOCKS))
        spellings = dict(below.spellings)
        if "spellings" in blocks:
            spellings |= dict(self._spellings(blocks["spellings"].node, _under(path, "spellings")))
        rules = replace(below, language=language, spellings=spellings)
        lists = {
            name: tuple(self._phrases(blocks[name].node, _under(path, name), spellings))
            for name in LISTS
            if name in blocks
        }
        if "words" in lists:
            rules = replace(rules, words=rules.words | _single(lists["words"]))
        if "breaks" in lists:
            rules = replace(rules, breaks=rules.breaks | _single(lists["breaks"]))
        rules = replace(
            rules,
            negations=rules.negations + lists.get("negations", ()),
            harmless=rules.harmless + lists.get("harmless", ()),
            denials=rules.denials + lists.get("denials", ()),
        )
        if "reasons" in blocks:
            own = self._entries(blocks["reasons"].node, _under(path, "reasons"), spellings)
            kept = {**rules.entries, **own}
            rules = replace(rules, entries={phrase: entry for phrase, entry in kept.items() if entry.weight})
        return rules

    def table(self, node: Node, path: str) -> Mapping[str, Written]:
        """The entries of a table; none, and a problem, when it is something else."""
        if isinstance(node, Table):
            return node.entries
        self.problems.append(Problem("is not a table", node.location, path))
        return {}

    def _entries(self, node: Node, path: str, spellings: Mapping[str, str]) -> dict[Phrase, Entry]:
        found: dict[Phrase, Entry] = {}
        for reason, by_weight in self.table(node, path).items():
            if reason not in REASONS:
                near = nearest(reason, REASONS)
                said = f"no reason '{reason}'"
                self.problems.append(Problem(said, by_weight.key_location, path, near, tuple(REASONS)))
                continue
            place = _under(path, reason)
            for written, phrases in self.table(by_weight.node, place).items():
                if not _WEIGHT.fullmatch(written):
                    said = f"'{written}' is not a weight between 0 and 1"
                    self.problems.append(Problem(said, phrases.key_location, place, hint="0.9: [too expensive]"))
                    continue
                for text, location, phrase in self._read(phrases.node, _under(place, written), spellings):
                    if phrase in found:
                        before = found[phrase]
                        said = f"'{text}' stands here twice: also under {before.reason} with {before.weight:g}"
                        self.problems.append(Problem(said, location, place))
                    found[phrase] = Entry(phrase, reason, float(written), text)
        return found

    def _phrases(self, node: Node, path: str, spellings: Mapping[str, str]) -> Iterator[Phrase]:
        for _, _, phrase in self._read(node, path, spellings):
            yield phrase

    def _read(self, node: Node, path: str, spellings: Mapping[str, str]) -> Iterator[tuple[str, Location, Phrase]]:
        for item in node.items if isinstance(node, Items) else (node,):
            if not isinstance(item, Scalar) or item.value is None:
                self.problems.append(Problem("is not a phrase", item.location, path))
                continue
            try:
                yield item.text, item.location, read_phrase(item.text, spellings)
            except UnreadablePhrase as error:
                self.problems.append(Problem(f"'{item.text}': {error}", item.location, path))

    def _spellings(self, node: Node, path: str) -> Iterator[tuple[str, str]]:
        for spelling, entry in self.table(node, path).items():
            text = entry.node.text if isinstance(entry.node, Scalar) else ""
            if not spelling.isalpha() or not text.isalpha():
                said = "letters stand for letters, like ue: u"
                self.problems.append(Problem(said, entry.key_location, _under(path, spelling)))
                continue
            yield fold(spelling), fold(text)


def _single(phrases: Iterable[Phrase]) -> frozenset[str]:
    return frozenset(part.word for phrase in phrases for part in phrase.parts)


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
