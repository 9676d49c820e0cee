"""A text as words that compare: without case, accents, apostrophes or repeated letters, in clauses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

_STRETCHED = re.compile(r"([^\W\d_])\1{2,}")
_PIECE = re.compile(r"([^\W_]+)|[.,;:!?¡¿()\[\]{}\"«»„“”…|/•–—]")
"""A word, or a sign that ends a clause. One class of signs at a time: nothing to go back over, whatever the text."""

_LETTERS = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l"})


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text, folded, and the number of the clause each stands in."""

    words: tuple[str, ...]
    clauses: tuple[int, ...]

    def respelled(self, spellings: Mapping[str, str]) -> Words:
        """The same words with each of these spellings read as the other (`ue` as `u`)."""
        return Words(tuple(respelled(word, spellings) for word in self.words), self.clauses) if spellings else self


def fold(text: str) -> str:
    """The text as it compares: `ZU TEUËR` and `zu teuer`, `sooo slow` and `so slow` are one."""
    # Upper case first: case folding alone keeps the dotless i and its capital apart.
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).upper().casefold())
    bare = "".join(sign for sign in apart if not unicodedata.combining(sign)).translate(_LETTERS)
    return _STRETCHED.sub(r"\1", bare)


def words_of(text: str) -> Words:
    """The words of a text, in order; `don't` is two, `don` and `t`."""
    words: list[str] = []
    clauses: list[int] = []
    clause = 0
    for piece in _PIECE.finditer(fold(text)):
        if piece[1] is None:
            clause += 1
        else:
            words.append(piece[1])
            clauses.append(clause)
    return Words(tuple(words), tuple(clauses))


def respelled(word: str, spellings: Mapping[str, str]) -> str:
    """One word with each of these spellings read as the other."""
    for spelling, read_as in spellings.items():
        word = word.replace(spelling, read_as)
    return word
