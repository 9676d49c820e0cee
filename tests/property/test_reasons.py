"""Whatever people write, reading it ends, costs what its length costs, and does not depend on how it is typed."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.reasons import ENOUGH, REASONS, bundled, classify
from connector.reasons.phrases import LONGEST, PhraseTree, read_phrase
from connector.reasons.words import words_of

_OURS = sorted(
    {
        word
        for rules in bundled().languages.values()
        for entry in rules.entries.values()
        for word in entry.written.strip("=").replace("*", "").replace("...", " ").split()
    }
)
_SMALL = [word for word in _OURS if len(word) < 4]

answers = st.one_of(
    st.text(max_size=200),
    st.lists(st.one_of(st.sampled_from(_OURS), st.sampled_from(_SMALL), st.text(max_size=4)), max_size=25).map(
        " ".join
    ),
)


@settings(deadline=None, max_examples=150)
@given(answers, st.one_of(st.none(), st.sampled_from(["de", "en-GB", "xx", "", "é"])))
def test_reading_never_fails_and_a_guess_is_always_one_we_know(text, language):
    guess = classify(text, language)
    assert guess.reason is None or guess.reason in REASONS
    assert 0 <= guess.confidence <= 1
    assert (guess.reason is not None) == (guess.confidence >= ENOUGH)
    assert guess == classify(text, language)


@settings(deadline=None, max_examples=100)
@given(answers)
def test_case_accents_and_blanks_make_no_difference(text):
    expected = classify(text)
    for same in (
        text.upper(),
        unicodedata.normalize("NFD", text),
        unicodedata.normalize("NFC", text),
        f"  {text}\n\n",
        text.replace(" ", " \t\n "),
    ):
        assert classify(same) == expected


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "ab", "abc*", "abcd"]), min_size=1, max_size=LONGEST - 4),
        min_size=1,
        max_size=15,
    ),
    st.booleans(),
    st.lists(st.sampled_from(["a", "b", "ab", "abc", "abcd", "abcde"]), max_size=60),
)
def test_a_walk_is_never_in_more_states_than_the_rules_have(phrases, gaps, words):
    tree: PhraseTree[int] = PhraseTree()
    for number, phrase in enumerate(phrases):
        tree.add(read_phrase((" ... " if gaps else " ").join(phrase)), number)
    walk: dict = {}
    for position, word in enumerate(words):
        walk = tree.step(walk, word, position)
        assert len(walk) <= tree.most_states
        assert all(len(at) <= LONGEST for _, at in walk.values())


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple), min_size=1, max_size=6, unique=True),
    st.lists(st.sampled_from("abcd"), max_size=15),
)
def test_the_tree_finds_exactly_what_stands_there(phrases, words):
    tree: PhraseTree[tuple[str, ...]] = PhraseTree()
    for phrase in phrases:
        tree.add(read_phrase(" ".join(phrase)), phrase)
    found = {(match.what, match.at) for match in tree.find(words_of(" ".join(words)))}
    assert found == {
        (phrase, tuple(range(start, start + len(phrase))))
        for phrase in phrases
        for start in range(len(words))
        if tuple(words[start : start + len(phrase)]) == phrase
    }


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 6), st.sampled_from(["", ",", "."]))
def test_a_gap_takes_up_to_three_words_of_one_clause(between, sign):
    tree: PhraseTree[str] = PhraseTree()
    tree.add(read_phrase("went ... elsewhere"), "found")
    text = "went" + sign + " x" * between + " elsewhere"
    assert bool(list(tree.find(words_of(text)))) == (between <= 3 and not sign)


def test_a_long_answer_of_nothing_but_beginnings_is_read():
    classify("went " * 4_000 + "not not not " * 500)
