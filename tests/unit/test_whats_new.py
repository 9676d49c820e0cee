"""The file of news: what is wrong in it, and what of it is for whom."""

from __future__ import annotations

from datetime import date

import pytest

from connector.location import Location, PlaybookError
from connector.program import whats_new
from connector.settings.validation import find
from connector.yaml_loader import load, plain

TEXT = """\
- date: 2026-02-01
  text: Dashboards load three times faster
  features: [dashboards, Reports]
- date: 2026-03-01
  text: Sign in with a passkey
- date: 2026-01-15
  text: A command line for scripts
  roles: developer
- date: 2026-02-20
  text: Audit log
  tiers: [enterprise]
- date: 2026-02-10
  text: Auf Deutsch verfügbar
  language: de-AT
"""


def checked(text: str):
    root = load(text, file="whats_new.yaml")
    return whats_new.check(plain(root), place=lambda path: find(root, path).place)


def picked(row=None, since=date(2025, 12, 1), until=date(2026, 3, 5)):
    return whats_new.pick(checked(TEXT), row or {}, since=since, until=until)


def test_entries_come_newest_first_with_everybody_for_whom_nothing_is_said():
    entries = checked(TEXT)
    assert [entry["date"].isoformat() for entry in entries] == [
        "2026-03-01", "2026-02-20", "2026-02-10", "2026-02-01", "2026-01-15",
    ]  # fmt: skip
    assert entries[0] == {
        "date": date(2026, 3, 1), "text": "Sign in with a passkey", "language": None, "features": (), "roles": (), "tiers": (),
    }  # fmt: skip
    assert entries[3]["features"] == ("dashboards", "reports")
    assert entries[4]["roles"] == ("developer",)
    assert entries[2]["language"] == "de"


def test_somebody_of_whom_nothing_is_known_is_told_what_is_for_everybody():
    assert picked() == ("Sign in with a passkey",)


def test_what_fits_best_comes_first_then_the_newest():
    row = {"top_feature": "DASHBOARDS", "last_feature": "export", "role": "Developer", "plan_tier": "enterprise"}
    assert picked(row) == (
        "Dashboards load three times faster", "A command line for scripts", "Audit log",
    )  # fmt: skip


def test_the_accounts_plan_counts_where_the_person_has_none():
    assert "Audit log" in picked({"account_plan_tier": "Enterprise"})


@pytest.mark.parametrize(
    ("language", "told"), [("de", True), ("de-DE", True), ("DE_ch", True), ("en", False), (None, False)]
)
def test_a_text_in_a_language_is_for_those_who_read_it(language, told):
    assert ("Auf Deutsch verfügbar" in picked({"language": language})) is told


def test_only_what_came_after_somebody_left_and_is_there_by_now_is_new():
    assert picked(since=date(2026, 2, 28)) == ("Sign in with a passkey",)
    assert picked(since=date(2026, 3, 1)) == ()
    assert picked(until=date(2026, 2, 28)) == ()
    assert picked(until=date(2026, 3, 1)) == ("Sign in with a passkey",)


def test_no_more_than_three_are_told_and_none_twice():
    text = "".join(f"- {{date: 2026-02-0{n}, text: T{n // 2}}}\n" for n in range(1, 10))
    assert whats_new.pick(checked(text), {}, since=date(2026, 1, 1), until=date(2026, 3, 1)) == ("T4", "T3", "T2")


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("new: yes", "whats_new.yaml:1", "must be a list of entries"),
        ("hello", "whats_new.yaml:1", "must be a list of entries"),
        ("- hello", "whats_new.yaml:1", r"\[0\]: must be an entry with a date and a text"),
        ("- {text: a}", "whats_new.yaml:1", "the date from which it is there is missing"),
        ("- {date: soon, text: a}", "whats_new.yaml:1", "the date from which it is there is missing"),
        ("- {date: 2026-02-30, text: a}", "whats_new.yaml:1", "the date from which it is there is missing"),
        ("- {date: 2026-02-01}", "whats_new.yaml:1", "must be one line of text of at most 300 signs"),
        ('- {date: 2026-02-01, text: "  "}', "whats_new.yaml:1", "must be one line of text"),
        ("- date: 2026-02-01\n  text: |\n    a\n    b\n", "whats_new.yaml:2", "must be one line of text"),
        (f"- {{date: 2026-02-01, text: {'x' * 301}}}", "whats_new.yaml:1", "must be one line of text"),
        (
            "- date: 2026-02-01\n  text: a\n  feature: x\n",
            "whats_new.yaml:3",
            "unknown key 'feature'; did you mean features",
        ),
        (
            "- date: 2026-02-01\n  text: a\n  roles: []\n",
            "whats_new.yaml:3",
            "must be a list of roles; leave the key out",
        ),
        ("- date: 2026-02-01\n  text: a\n  roles: [1]\n", "whats_new.yaml:3", "must be a list of roles"),
        ("- date: 2026-02-01\n  text: a\n  tiers: 3\n", "whats_new.yaml:3", "must be a list of tiers"),
        ("- date: 2026-02-01\n  text: a\n  features: ''\n", "whats_new.yaml:3", "must be a list of features"),
        ("- date: 2026-02-01\n  text: a\n  language: [en]\n", "whats_new.yaml:3", "must be a language like en"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text, place, said):
    with pytest.raises(PlaybookError, match=said) as caught:
        checked(text)
    assert str(caught.value).startswith(place)


def test_everything_that_is_wrong_is_told_at_once():
    with pytest.raises(PlaybookError) as caught:
        checked("- {date: x, text: 1}\n- {date: 2026-01-01, text: a, rolls: b}\n")
    assert [str(problem.path) for problem in caught.value.problems] == [
        "whats_new[0].date", "whats_new[0].text", "whats_new[1].rolls",
    ]  # fmt: skip


def test_without_a_place_it_still_says_which_entry():
    with pytest.raises(PlaybookError, match=r"^whats_new\[0\]\.date: the date"):
        whats_new.check([{"text": "a"}])


def test_a_date_that_yaml_made_is_a_date():
    assert whats_new.check([{"date": date(2026, 1, 1), "text": "a"}])[0]["date"] == date(2026, 1, 1)


def test_an_empty_list_is_no_news():
    assert whats_new.check([]) == ()


def test_a_location_is_asked_for_by_the_path_to_the_value():
    asked = []

    def place(path):
        asked.append(path)
        return Location("news.yaml", 7)

    with pytest.raises(PlaybookError, match=r"news\.yaml:7"):
        whats_new.check([{"date": "2026-01-01", "text": ""}], place=place)
    assert asked == [(0, "text")]
