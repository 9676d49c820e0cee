"""What a survey's answers say: the reason, the score, and the words; by the playbook's mapping, else by the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from connector.heard import Answered, Given
from connector.live.about import Rules
from connector.reasons.codes import REASONS
from connector.receivers import ReceiverOptions

REASON, SCORE, COMMENT, IGNORE = "reason", "score", "comment", "ignore"
"""What a question can be, in `questions:`."""

OTHER = "other"
_LONGEST_TEXT = 4_000
"""Letters of a comment that are kept: it is read by people and by rules, and nobody reads more."""


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody answered.

    confidence: None where the reason was chosen. text: Their own words, None where there are none.
    """

    reason: str | None = None
    confidence: float | None = None
    score: float | None = None
    text: str | None = None
    choices: tuple[str, ...] = ()


def read(heard: Answered, rules: Rules) -> Said:
    """What these answers say; a reason nobody can tell stays unknown.

    A reason that was chosen counts before one that is read from words; `other` only where the words say nothing more.
    """
    options = rules.surveys.get(heard.source, ReceiverOptions())
    given = [(_role(one, options), one) for one in heard.answers]
    chosen = [one for role, one in given if role == REASON]
    texts = [words for role, one in given if (words := _words(role, one, options))]
    reason, confidence = _first(_mapped(chosen, options)), None
    if reason in {None, OTHER} and texts:
        told, sure = rules.classify("\n".join(texts), heard.language)
        reason, confidence = (told, sure) if told is not None else (reason, None)
    return Said(
        reason=reason,
        confidence=confidence,
        score=next((one.number for role, one in given if role == SCORE and one.number is not None), None),
        text="\n".join(texts)[:_LONGEST_TEXT] or None,
        choices=tuple(name for role, one in given if role != IGNORE for name in one.choice),
    )


def _role(given: Given, options: ReceiverOptions) -> str:
    """What a question is: as the playbook says; where it says nothing of any question, by the kind of the answer."""
    if options.questions:
        return options.questions.get(given.question, IGNORE)
    return _BY_KIND.get(given.kind, IGNORE)


_BY_KIND = {"choice": REASON, "score": SCORE, "text": COMMENT}


def _words(role: str, given: Given, options: ReceiverOptions) -> str:
    """What was said in words: a comment, a reason that was typed, or a choice nobody mapped in the question for it."""
    typed = given.kind == "text" and role in {REASON, COMMENT}
    unmapped = given.kind == "choice" and role == REASON and bool(options.questions) and not _mapped([given], options)
    return given.text.strip() if typed or unmapped else ""


def _mapped(given: Sequence[Given], options: ReceiverOptions) -> list[str]:
    """The reasons of what was chosen, in that order: by name, by label, or because the name is a reason itself."""
    choices = {name.strip().casefold(): reason for name, reason in options.choices.items()}
    found = []
    for one in given:
        named = one.choice if one.kind != "choice" else (*one.choice, one.text, *one.text.split(";"))
        for name in named:
            key = name.strip().casefold()
            reason = choices.get(key) or _as_code(key)
            if reason is not None:
                found.append(reason)
    return found


def _as_code(name: str) -> str | None:
    code = name.replace(" ", "_").replace("-", "_")
    return code if code in REASONS else None


def _first(reasons: Sequence[str]) -> str | None:
    """The first, but `other` only when it is all there is."""
    return next((reason for reason in reasons if reason != OTHER), reasons[0] if reasons else None)
