"""Phrases to look for, and a tree that finds all of them in one walk over a text's words.

A phrase is words; `expens*` is every word that begins so, `...` stands for up to three words or none, and `=price` is
found only where the text is nothing else. The walk keeps at most one state for each place in the tree, so its time
grows with the length of the text and with nothing else; there are no patterns that could go back and try again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from connector.reasons.words import Words, fold, respelled, words_of

GAP = 3
"""So many words `...` may stand for."""
LONGEST = 8
"""So many words a phrase may have."""
SHORTEST_STEM = 3
"""A shorter beginning would find half the language."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """One word of a phrase. `stem`: whatever begins so. `gap`: other words may stand before it."""

    word: str
    stem: bool = False
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Phrase:
    """A phrase, taken apart. `whole`: only where the text is nothing else."""

    parts: tuple[Part, ...]
    whole: bool = False


class UnreadablePhrase(ValueError):
    """A phrase that cannot be looked for; says why."""


def read_phrase(text: str, spellings: Mapping[str, str] | None = None) -> Phrase:
    """The phrase as written in a rule file. Raises UnreadablePhrase."""
    whole = text.startswith("=")
    parts: list[Part] = []
    gap = False
    for written in text.removeprefix("=").split():
        if written == "...":
            if gap or not parts:
                raise UnreadablePhrase("`...` belongs between two words")
            gap = True
            continue
        parts += _parts(written, gap=gap, spellings=spellings or {})
        gap = False
    if gap:
        raise UnreadablePhrase("`...` belongs between two words")
    if not parts:
        raise UnreadablePhrase("has no word in it")
    if len(parts) > LONGEST:
        raise UnreadablePhrase(f"has more than {LONGEST} words")
    return Phrase(tuple(parts), whole)


def _parts(written: str, *, gap: bool, spellings: Mapping[str, str]) -> Iterator[Part]:
    stem = written.endswith("*")
    bare = written.removesuffix("*")
    if "*" in bare:
        raise UnreadablePhrase("`*` belongs at the end of a word")
    words = [respelled(word, spellings) for word in words_of(bare).words]
    if not words:
        raise UnreadablePhrase(f"'{written}' is not a word")
    if stem and (len(words[-1]) < SHORTEST_STEM or not fold(bare)[-1].isalnum()):
        raise UnreadablePhrase(f"`*` needs at least {SHORTEST_STEM} letters before it")
    for number, word in enumerate(words):
        yield Part(word, stem=stem and number == len(words) - 1, gap=gap and number == 0)


@dataclass(slots=True)
class _Place(Generic[T]):
    """One place in the tree: what was read so far."""

    number: int
    words: dict[str, _Place[T]] = field(default_factory=dict)
    stems: dict[str, _Place[T]] = field(default_factory=dict)
    stem_lengths: set[int] = field(default_factory=set)
    after_gap: _Place[T] | None = None
    ends: list[tuple[bool, T]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """A phrase that was found: what belongs to it, and the positions of its own words (not of those in its gaps)."""

    what: T
    at: tuple[int, ...]


State = tuple[int, int]
"""A place in the tree, by number, and how many more words the gap behind it may take."""


class PhraseTree(Generic[T]):
    """Phrases with what belongs to each, found together."""

    def __init__(self) -> None:
        self._root: _Place[T] = _Place(0)
        self._places = 1

    @property
    def most_states(self) -> int:
        """What one word can cost at most: the states a walk can be in at once."""
        return self._places * (GAP + 1)

    def add(self, phrase: Phrase, what: T) -> None:
        """Look for this phrase, too."""
        place = self._root
        for part in phrase.parts:
            if part.gap:
                place.after_gap = place.after_gap or self._place()
                place = place.after_gap
            following = place.stems if part.stem else place.words
            if part.word not in following:
                following[part.word] = self._place()
            if part.stem:
                place.stem_lengths.add(len(part.word))
            place = following[part.word]
        place.ends.append((phrase.whole, what))

    def find(self, text: Words) -> Iterator[Match[T]]:
        """Every phrase in the text, in order of their last words. None reaches over the end of a clause."""
        walk: dict[State, tuple[_Place[T], tuple[int, ...]]] = {}
        clause = -1
        for position, word in enumerate(text.words):
            if text.clauses[position] != clause:
                clause, walk = text.clauses[position], {}
            walk = self.step(walk, word, position)
            for place, at in walk.values():
                if at[-1] == position:
                    for whole, what in place.ends:
                        if not whole or len(at) == len(text.words):
                            yield Match(what, at)

    def step(
        self, walk: dict[State, tuple[_Place[T], tuple[int, ...]]], word: str, position: int
    ) -> dict[State, tuple[_Place[T], tuple[int, ...]]]:
        """The states after one more word. Where two ways lead to one state, the one that began last stays."""
        following: dict[State, tuple[_Place[T], tuple[int, ...]]] = {}
        for reached in _after(self._root, word):
            following[reached.number, GAP] = (reached, (position,))
        for (_, left), (place, at) in walk.items():
            if left == GAP:
                for reached in _after(place, word):
                    following.setdefault((reached.number, GAP), (reached, (*at, position)))
            if place.after_gap is not None:
                for reached in _after(place.after_gap, word):
                    following.setdefault((reached.number, GAP), (reached, (*at, position)))
                if left:
                    following.setdefault((place.number, left - 1), (place, at))
        return following

    def _place(self) -> _Place[T]:
        self._places += 1
        return _Place(self._places - 1)


def _after(place: _Place[T], word: str) -> Iterator[_Place[T]]:
    if word in place.words:
        yield place.words[word]
    for length in place.stem_lengths:
        if len(word) >= length and word[:length] in place.stems:
            yield place.stems[word[:length]]
