"""Reads the reason out of an answer in somebody's own words, by rules that anyone can look up.

Every phrase that is found speaks for its reason with its weight, unless it is taken back ("not too expensive"). Two for
the same reason strengthen each other; what speaks for another reason weakens. Wrong reasons lead to wrong offers, so
where little speaks for a reason, or as much for two, the answer is that nobody knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from connector.reasons.phrases import PhraseTree
from connector.reasons.rulebook import Entry, LanguageRules, Rulebook, bundled
from connector.reasons.words import Words, words_of

ENOUGH = 0.5
"""From this confidence on, a guess is made."""
REACH = 3
"""So many words may stand between a negation and what it takes back."""
MOST_CHARACTERS = 20_000
"""An answer is read to here."""


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase of the rules that an answer holds; nothing of the answer itself. `denied`: taken back by a negation."""

    language: str
    phrase: str
    reason: str
    weight: float
    denied: bool = False

    def __str__(self) -> str:
        said = f"{self.language} '{self.phrase}'"
        return f"{said} (taken back)" if self.denied else f"{said} {self.reason} {self.weight:g}"


@dataclass(frozen=True, slots=True)
class Guess:
    """What an answer says, and how sure that is (0 to 1). `reason` None: it cannot be told."""

    reason: str | None
    confidence: float
    found: tuple[Found, ...] = ()

    @property
    def rule(self) -> str:
        """Which phrases of which language decided; empty where none was found."""
        return "; ".join(map(str, self.found))


def classify(text: str, language: str | None = None, *, rules: Rulebook | None = None) -> Guess:
    """The reason that an answer gives.

    Args:
        text: The answer, in whatever language or mix of languages.
        language: The one it was asked in (`de`, `de-AT`); decides where the same words mean different things.
        rules: Of `rulebook.extended`; None: those that come with winback.
    """
    books = _compiled(bundled() if rules is None else rules)
    found = books.read(words_of(text[:MOST_CHARACTERS]), _main(language))
    speaking: dict[str, dict[tuple[str, str], float]] = {}
    for one in found:
        if not one.denied:
            speaking.setdefault(one.reason, {})[one.language, one.phrase] = one.weight
    ranked = sorted(((_together(weights.values()), reason) for reason, weights in speaking.items()), reverse=True)
    if not ranked:
        return Guess(None, 0.0, found)
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    confidence = round(ranked[0][0] * (1 - second), 3)
    return Guess(ranked[0][1] if confidence >= ENOUGH else None, confidence, found)


def _together(weights: Iterable[float]) -> float:
    """How strongly several phrases speak for one reason: never weaker than the strongest, never above 1."""
    doubt = 1.0
    for weight in weights:
        doubt *= 1 - weight
    return 1 - doubt


def _main(language: str | None) -> str:
    return (language or "").strip().casefold().replace("_", "-").split("-", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A phrase found in the text, and where."""

    language: str
    entry: Entry
    at: tuple[int, ...]


class _Language:
    """One language's rules, as trees."""

    def __init__(self, rules: LanguageRules) -> None:
        self.rules = rules
        self.ordinary = rules.words.union(phrase.parts[0].word for phrase in rules.negations)
        self.entries: PhraseTree[Entry] = PhraseTree()
        self.negations: PhraseTree[bool] = PhraseTree()
        self.denials: PhraseTree[None] = PhraseTree()
        for phrase, entry in rules.entries.items():
            self.entries.add(phrase, entry)
        for phrase in rules.negations:
            self.negations.add(phrase, True)
        for phrase in rules.harmless:
            self.negations.add(phrase, False)
        for phrase in rules.denials:
            self.denials.add(phrase, None)

    def negating(self, text: Words) -> list[tuple[int, ...]]:
        """Where something is negated, without the harmless ones."""
        marks = list(self.negations.find(text))
        harmless = {position for mark in marks if not mark.what for position in mark.at}
        return [mark.at for mark in marks if mark.what and harmless.isdisjoint(mark.at)]


class _Books:
    """All languages, read together: people mix them."""

    def __init__(self, rules: Rulebook) -> None:
        self.languages = {code: _Language(rules.languages[code]) for code in sorted(rules.languages)}

    def read(self, text: Words, asked_in: str) -> tuple[Found, ...]:
        """Every phrase of the text that no longer one covers, in the text's order."""
        spelled = {code: text.respelled(language.rules.spellings) for code, language in self.languages.items()}
        likely = self._likely(spelled, asked_in)
        candidates = [
            _Candidate(code, match.what, match.at)
            for code, language in self.languages.items()
            for match in language.entries.find(spelled[code])
        ]
        # `mis datos` is Spanish: where ordinary words give languages away, no other one is read.
        evident = {code for code, (_, ordinary) in likely.items() if ordinary} or set(likely)
        kept = _uncovered([one for one in candidates if one.language in evident], likely)
        if not kept:
            return ()
        denying = [
            match.at for code, language in self.languages.items() for match in language.denials.find(spelled[code])
        ]
        spent = {position for at in (*(candidate.at for candidate in kept), *denying) for position in at}
        negating: dict[int, set[str]] = {}
        for code, language in self.languages.items():
            for at in language.negating(spelled[code]):
                if spent.isdisjoint(at):
                    negating.setdefault(at[-1], set()).add(code)
        taking_back = {at[0] for at in denying}
        return tuple(
            Found(
                candidate.language,
                candidate.entry.written,
                candidate.entry.reason,
                candidate.entry.weight,
                self._denied(candidate, spelled, negating, taking_back),
            )
            for candidate in kept
        )

    def _likely(self, spelled: dict[str, Words], asked_in: str) -> dict[str, tuple[bool, int]]:
        """How likely a text is in each language: the one it was asked in first, then by its ordinary words."""
        return {
            code: (code == asked_in, sum(word in language.ordinary for word in spelled[code].words))
            for code, language in self.languages.items()
        }

    def _denied(
        self,
        candidate: _Candidate,
        spelled: Mapping[str, Words],
        negating: Mapping[int, Collection[str]],
        taking_back: Collection[int],
    ) -> bool:
        """Whether it is taken back; in another language too, unless that is an ordinary word in its own."""
        rules, text = self.languages[candidate.language].rules, spelled[candidate.language]
        first, last = candidate.at[0], candidate.at[-1]
        before = (
            _near(text, at, first, rules.breaks)
            for at in range(max(first - REACH - 1, 0), first)
            if candidate.language in negating.get(at, ()) or (at in negating and text.words[at] not in rules.words)
        )
        after = range(last + 1, min(last + REACH + 2, len(text.words)))
        return any(before) or any(_near(text, last, at, rules.breaks) for at in after if at in taking_back)


def _near(text: Words, left: int, right: int, breaks: frozenset[str]) -> bool:
    """Whether the right word follows the left one closely, in the same thought."""
    return (
        0 <= right - left - 1 <= REACH
        and text.clauses[left] == text.clauses[right]
        and breaks.isdisjoint(text.words[left + 1 : right])
    )


def _uncovered(candidates: Sequence[_Candidate], likely: dict[str, tuple[bool, int]]) -> list[_Candidate]:
    """Those that share no word with a longer one; among equals the likelier language's, then the stronger."""
    taken: set[int] = set()
    kept: list[_Candidate] = []
    for candidate in sorted(
        candidates,
        key=lambda one: (-len(one.at), *(-int(sign) for sign in likely[one.language]), -one.entry.weight, one.at),
    ):
        if taken.isdisjoint(candidate.at):
            taken.update(candidate.at)
            kept.append(candidate)
    return sorted(kept, key=lambda one: one.at)


@lru_cache(maxsize=8)
def _compiled(rules: Rulebook) -> _Books:
    """The rules as trees; built once for each rulebook."""
    return _Books(rules)
