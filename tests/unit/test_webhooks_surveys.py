"""What the survey receivers share: tokens, names, words, and definitions that are remembered for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from connector.heard import Who
from connector.links import LinkMaker
from connector.receivers import ReceiverOptions
from tests.fakes.survey_vendors import NOW, TOKEN
from webhooks.path_tokens import bits
from webhooks.surveys import (
    Remembered,
    SurveyOptions,
    carried,
    given,
    leading_number,
    looks_signed,
    moment,
    named,
    plain_text,
    who,
)


def test_a_token_of_ours_is_kept_under_any_name():
    maker = LinkMaker(
        "https://winback.example", keys=["k0123456789abcdefghijklmnopqrstuvwxyz"], subject_key=bytes(range(32))
    )
    for action in ("return", "unsubscribe"):
        token = maker.token(action, "hubspot:1001", "win-back/feedback", now=NOW)
        assert looks_signed(token)
        assert carried({"whatever": token}, "wb") == {"whatever": token}


@pytest.mark.parametrize(
    "value",
    [
        "ada@example.com",
        "hs_1001",
        "Ada Example",
        "550e8400-e29b-41d4-a716-446655440000",
        "a" * 64,
        TOKEN + " ",
        "." * 50,
    ],
)
def test_nothing_else_is_kept_under_another_name(value):
    assert carried({"campaign": value}, "wb") == {}


def test_names_that_no_form_gives_are_not_kept():
    assert carried({"a\x00b": TOKEN, "\ud800": TOKEN, "n" * 101: TOKEN, "utm content": TOKEN}, "wb") == {
        "utm content": TOKEN
    }


def test_the_configured_field_counts_before_the_usual_ones():
    kept = {"wb": "second", "wb_token": "third", "mine": "first"}
    assert who(kept, "mine") == Who(token="first")
    assert who(kept, "wb") == Who(token="second")
    assert who({"wb_token": "third"}, "wb") == Who(token="third")
    assert who({"contact_id": "hs_1001"}, "wb") == Who()


def test_a_thing_is_called_by_the_playbooks_name_whichever_of_its_names_that_is():
    assert named(["C1"], ["ref", "c1", "Label"]) == "C1"
    assert named(["LABEL", "ref"], ["ref", "c1", "Label"]) == "ref", "the most stable name counts first"
    assert named([], [None, "", "c1"]) == "c1"
    assert named(["x"], []) == ""


@pytest.mark.parametrize(
    ("label", "number"),
    [("8", 8), ("0 - Not at all likely", 0), ("10 = very", 10), ("7,5", 7.5), ("-3", -3), ("Very", None), ("", None)],
)
def test_the_number_a_label_begins_with(label, number):
    assert leading_number(label) == number


def test_a_question_the_playbook_calls_a_score_is_one_when_it_is_a_number():
    options = ReceiverOptions(questions={"q": "score"})
    assert given(options, ("q",), "choice", choices=(("c", "8 - likely"),)).number == 8
    assert given(options, ("q",), "choice", choices=(("c", "8 - likely"),)).kind == "score"
    assert given(options, ("q",), "text", text="no idea").kind == "text"
    assert given(options, ("other",), "text", text="8").number is None


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("<p>Why did you <b>leave</b>?</p>", "Why did you leave?"),
        ("one<br>two", "one two"),
        ("a &lt; b &amp; c", "a < b & c"),
        ("price < 5 and > 3", "price < 5 and > 3"),
        ("<script>alert(1)</script>words<style>p{}</style>", "words"),
        ("</script>still here", "still here"),
        ("<ul><li>one<li>two</ul>", "one two"),
        ("<p", "<p"),
        ("<SCRIPT src=x>no</SCRIPT>yes<!-- no -->", "yes"),
        ("Zo&euml; &#8211; &#x2615; &unknown; &", "Zoë – ☕ &unknown; &"),
        ("a &lt;b&gt; c", "a <b> c"),
        ("plain", "plain"),
        (None, ""),
        (7, "7"),
    ],
)
def test_the_words_of_a_text_with_html(html, words):
    assert plain_text(html) == words


@pytest.mark.parametrize(
    "piece", ["<", "<a ", "<a b=", "<!--", "</", "<script>", "&lt", "&#" + "9" * 5_000, "<p>a", "&#0;", "&#xd800;"]
)
def test_a_text_built_to_hurt_is_read_like_any_other(piece):
    words = plain_text(piece * (1_000_000 // len(piece)))
    assert "\x00" not in words
    words.encode()


def test_moments_are_aware_and_the_zero_date_is_none():
    at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert [moment(text) for text in ("2026-11-01T10:00:00Z", "2026-11-01T12:00:00+02:00", "2026-11-01T10:00:00")] == [
        at
    ] * 3
    assert [moment(text) for text in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "soon", "", None, 7)] == [
        None
    ] * 6


def test_a_definition_is_remembered_for_a_while_while_it_fits():
    kept: Remembered[int] = Remembered(lasts=timedelta(hours=1), most=2)
    made = []

    def ask(key="a", after=timedelta(0), *, fits=True):
        def make(before):
            made.append(before)
            return len(made)

        return kept.get(key, NOW + after, make, fits=lambda _: fits)

    assert [ask(), ask(), ask(after=timedelta(minutes=59))] == [1, 1, 1]
    assert ask(fits=False) == 2, "one that does not fit is made anew"
    assert ask(after=timedelta(hours=1)) == 3, "an old one too"
    assert ask(after=timedelta(minutes=-1)) == 4, "and one from a clock that ran ahead"
    assert made == [None, 1, 2, 3], "each is made knowing the one before"
    assert [ask("b"), ask("c"), ask("a")] == [5, 6, 7], "no more than so many are kept"


@pytest.mark.parametrize("address", ["https://api.example.com", "http://127.0.0.1:8080/", "http://localhost:1"])
def test_an_address_is_encrypted_or_on_this_machine(address):
    assert SurveyOptions(base_url=address).base_url == address.rstrip("/")


@pytest.mark.parametrize(
    ("token", "most"),
    [("0" * 32, 106), ("0123456789abcdef" * 2, 128), ("0123456789ABCDEF" * 2, 128), ("a-z" * 8, 124), ("aA" * 11, 132)],
)
def test_the_chance_a_token_can_hold_depends_on_its_signs(token, most):
    assert bits(token) == most


def test_how_often_is_asked_is_written_with_a_unit():
    assert SurveyOptions(poll="15m").poll == timedelta(minutes=15)
    assert SurveyOptions().poll == timedelta(hours=1)
    assert SurveyOptions(poll=timedelta(days=1)).model_dump(mode="json")["poll"] == "1d"
    for wrong in ("15", 15, "soon", "10s", "-1h"):
        with pytest.raises(ValidationError):
            SurveyOptions(poll=wrong)
