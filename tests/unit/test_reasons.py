"""How a reason is read out of an answer: phrases, negations, languages, ties, and a team's own rules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector.location import PlaybookError
from connector.reasons import ENOUGH, REASONS, bundled, classify, extended
from connector.reasons.phrases import UnreadablePhrase, read_phrase

CORPUS = Path(__file__).parent.parent / "data" / "reasons"
LANGUAGES = ("de", "en", "es", "fr", "nl")


def answers(language: str, part: str) -> list[tuple[str | None, str]]:
    document: dict[str, Any] = yaml.safe_load((CORPUS / f"{language}.yaml").read_text(encoding="utf-8"))
    return [
        (None if reason == "unknown" else reason, str(text))
        for reason, texts in document[part].items()
        for text in texts
    ]


def score(language: str, part: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for reason, text in answers(language, part):
        guess = classify(text).reason
        found["answers"] += reason is not None
        found["guessed"] += guess is not None
        found["right"] += guess is not None and guess == reason
    return found


def test_the_languages_that_come_with_it_are_the_five_of_the_corpus():
    assert tuple(bundled().languages) == LANGUAGES
    assert sum(len(answers(language, part)) for language in LANGUAGES for part in ("development", "held_out")) >= 300


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_the_rules_were_not_written_from_are_read_right(language):
    # Measured when the rules were first finished, before anything was changed for them: precision 0.989, recall 0.973
    # over all five languages (179 guesses at 182 answers with a reason and 41 without).
    found = score(language, "held_out")
    assert found["right"] / found["guessed"] >= 0.95
    assert found["right"] / found["answers"] >= 0.85


def test_roundabout_answers_stay_unknown_rather_than_wrong():
    total = sum((score(language, "oblique") for language in LANGUAGES), Counter[str]())
    assert total["guessed"] - total["right"] <= 2
    assert total["answers"] >= 80


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("part", ["development", "held_out"])
def test_every_reason_of_the_corpus_is_one_we_know(language, part):
    assert {reason for reason, _ in answers(language, part)} <= {*REASONS, None}


@pytest.mark.parametrize(
    ("said", "taken_back"),
    [
        ("It was too expensive", "It was not too expensive"),
        ("Es war zu teuer", "Es war nicht zu teuer"),
        ("es caro", "no es caro"),
        ("c'est trop cher", "ce n'est pas trop cher"),
        ("het is te duur", "het is niet te duur"),
        ("the support was terrible", "I never found the support terrible"),
        ("way too complicated", "way too complicated is not the problem"),
    ],
)
def test_a_negation_takes_back_what_it_belongs_to(said, taken_back):
    assert classify(said).reason is not None
    assert classify(taken_back).reason is None
    assert any(found.denied for found in classify(taken_back).found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not only too expensive", "price"),
        ("Not using it, too expensive", "price"),
        ("I don't use it because it is too expensive", "price"),
        ("not cheap but it was too slow", "quality"),
        ("nicht nur zu teuer", "price"),
        ("pas mal de bugs", "quality"),
        ("'t zat vol fouten", "quality"),
    ],
)
def test_a_negation_takes_back_nothing_else(text, reason):
    assert classify(text).reason == reason


def test_two_reasons_of_one_weight_are_none():
    guess = classify("Too expensive and full of bugs")
    assert guess.reason is None
    assert guess.confidence < ENOUGH
    assert {found.reason for found in guess.found} == {"price", "quality"}


def test_languages_may_be_mixed():
    assert classify("Leider überteuert, we found a cheaper alternative").reason == "price"
    assert classify("Zu teuer for us").reason == "price"


def test_a_text_of_another_language_is_not_read_by_accident():
    # `mis` is a verb of leaving in Dutch and a possessive in Spanish.
    assert classify("Borrad mis datos por favor").reason is None


def test_the_language_asked_in_never_hides_an_answer_in_another():
    for language in (None, "de", "de-AT", "xx", ""):
        assert classify("Way too expensive", language).reason == "price"


@pytest.mark.parametrize("text", ["", " ", "-", "???", "n/a", "😀", "42", "ok", "\x00", "a" * 50_000])
def test_what_says_nothing_stays_unknown(text):
    assert classify(text).reason is None


def test_accents_case_and_spelling_make_no_difference():
    for text in ("zu TEUER", "zu  teuer", "ZU\nTEUER", "fuer uns zu teuer!!!", "zu teuuuuer"):
        assert classify(text).reason == "price"
    assert classify("muy dificil de usar").reason == classify("MUY DIFÍCIL DE USAR").reason == "too_complex"
    assert classify("Ueberteuert").reason == classify("Überteuert").reason == "price"


def test_the_rule_names_the_phrases_and_nothing_of_the_answer():
    guess = classify("Jane Roe from Acme says it is too expensive, not slow", "en")
    assert guess.reason == "price"
    assert guess.rule == "en 'expensive' price 0.9; en 'slow' (taken back)"


def test_more_that_speaks_for_a_reason_makes_surer_and_saying_it_twice_does_not():
    once = classify("too expensive").confidence
    assert classify("too expensive, no budget").confidence > once
    assert classify("too expensive, too expensive, too expensive").confidence == once


def test_a_hint_alone_is_no_reason():
    assert classify("The price was mentioned in the meeting").reason is None
    assert classify("Price").reason == "price"


# --- a team's own rules ------------------------------------------------------------------------------------


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "reasons.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_team_adds_phrases_and_takes_out_ours(tmp_path):
    rules = extended(
        own(
            tmp_path,
            """
            en:
              reasons:
                competitor: {0.9: [globex, "went with ... initech"]}
                price: {0: [expensive]}
                other: {0.8: [gdpr]}
            """,
        )
    )
    assert classify("Globex does it better", rules=rules).reason == "competitor"
    assert classify("we went with our friends at Initech", rules=rules).reason == "competitor"
    assert classify("too expensive", rules=rules).reason is None
    assert classify("too expensive").reason == "price"
    assert classify("because of GDPR", rules=rules).reason == "other"


def test_a_phrase_a_team_gives_another_reason_leaves_ours(tmp_path):
    rules = extended(own(tmp_path, "en: {reasons: {too_complex: {0.9: [slow]}}}"))
    assert classify("slow", rules=rules).reason == "too_complex"


def test_a_team_may_bring_a_language(tmp_path):
    rules = extended(
        own(tmp_path, "it: {negations: [non], words: [il, che, è, per], reasons: {price: {0.9: [troppo caro]}}}")
    )
    assert classify("è troppo caro per noi", "it", rules=rules).reason == "price"
    assert classify("non è troppo caro", rules=rules).reason is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("en: {reasons: {prise: {0.9: [dear]}}}", "1:16: en.reasons: no reason 'prise'; did you mean price?"),
        ("en: {reason: {}}", "1:6: en: unknown key 'reason'; did you mean reasons?"),
        ("en: {reasons: {price: {2: [dear]}}}", "1:24: en.reasons.price: '2' is not a weight between 0 and 1"),
        ("en: {reasons: {price: {0.9: [a*]}}}", "'a*': `*` needs at least 3 letters before it"),
        ("en: {reasons: {price: {0.9: [... dear]}}}", "`...` belongs between two words"),
        ("en: {reasons: {price: {0.9: [dear, Dear]}}}", "'Dear' stands here twice: also under price with 0.9"),
        ("en: {reasons: {price: {0.9: ['!']}}}", "'!' is not a word"),
        ("en: {reasons: {price: {0.9: [[dear]]}}}", "is not a phrase"),
        ("english: {}", "1:1: 'english' is not a language"),
        ("en: [dear]", "en: is not a table"),
        ("de: {spellings: {ue: '1'}}", "letters stand for letters, like ue: u"),
        ("[]", "is not a table"),
    ],
)
def test_what_is_wrong_in_a_teams_rules_is_told_with_its_place(tmp_path, text, said):
    with pytest.raises(PlaybookError) as caught:
        extended(own(tmp_path, text), label="reasons.yaml")
    assert said in str(caught.value)
    assert str(caught.value).startswith("reasons.yaml:1:")


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    with pytest.raises(PlaybookError) as caught:
        extended(own(tmp_path, "en:\n  reasons:\n    prise: {}\n    price: {9: [dear]}\n  word: []\n"))
    assert [problem.location.line for problem in caught.value.problems if problem.location] == [3, 4, 5]


@pytest.mark.parametrize(
    "text", ["", "  ", "=", "...", "a ... ... b", "a ...", "*", "b*c", "one two three four five six seven eight nine"]
)
def test_a_phrase_that_cannot_be_looked_for_is_refused(text):
    with pytest.raises(UnreadablePhrase):
        read_phrase(text)
