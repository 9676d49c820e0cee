"""Episodes: entered once, moved step by step, ended once, found again as they are; on both databases."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from connector.errors import StateError
from connector.journal import Journal, StepTaken
from connector.journal import episodes as episodes_module
from connector.journal.program_tables import episodes as episodes_table
from connector.program.model import Entry, Exit, Split
from tests.fakes.clocks import START, VirtualClock
from tests.fakes.databases import on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.episodes import SPELL, STEP_LIST, enter, episode_of, leave, step_of, take
from tests.fakes.journals import finish_all, spawn

DAY = timedelta(days=1)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def journal(journal_url, clock):
    with Journal.open(journal_url, clock=clock) as opened:
        yield opened


def only(journal, contact_id="hubspot:1"):
    (found,) = journal.episodes.of(contact_id)
    return found


# --- entering -----------------------------------------------------------------------------------------------------


def test_an_episode_comes_back_as_it_was_entered(journal):
    given = episode_of(
        at=datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        arm="holdout",
        account_id="hubspot:77",
        return_probability=0.1 + 0.2,
        consent={"basis": "consent_express", "rule": "gdpr_strict: can_email on 2026-03-01", "until": None},
    )
    assert enter(journal, given) == 1
    found = only(journal)
    assert found == given
    assert found.entered_at.tzinfo is UTC
    assert (found.open, found.held_out, found.step, found.values) == (True, True, None, {})
    assert journal.episodes.get(given.episode_id) == given
    assert list(journal.episodes.everybody()) == [given]
    assert journal.episodes.get("win-back/hubspot:2/2026-09-01") is None
    assert journal.episodes.of("hubspot:2") == []


def test_an_episode_that_exists_is_never_opened_again(journal):
    first = episode_of()
    assert enter(journal, first) == 1
    again = replace(first, entered_at=START + DAY, entered_as="dormant_90", arm="holdout")
    assert enter(journal, again, episode_of("hubspot:2"), run="run-2") == 1
    assert only(journal) == first
    leave(journal, first)
    assert enter(journal, again, run="run-3") == 0
    assert only(journal).exit_reason == "reactivated"


def test_an_episode_named_twice_in_one_call_is_opened_once(journal):
    assert enter(journal, episode_of(), episode_of()) == 1


def test_what_an_entry_says_about_steps_is_left_to_the_steps(journal):
    enter(journal, replace(episode_of(), step="reminder", step_state="written", touches=3, answered=True))
    assert only(journal) == episode_of()


def test_more_entries_than_one_statement_takes_are_all_there(journal):
    many = [episode_of(f"hubspot:{number}") for number in range(10_100)]
    assert enter(journal, *many) == 10_100
    assert enter(journal, *many) == 0
    found = list(journal.episodes.everybody())
    assert found == sorted(many, key=lambda episode: episode.contact_id.encode())


# --- everybody ----------------------------------------------------------------------------------------------------


def test_everybody_comes_in_the_order_of_the_bytes_and_newest_first(journal, monkeypatch):
    monkeypatch.setattr(episodes_module, "_PAGE", 3)
    ids = ["a", "B", "ä", "_", "z:1", "z-1", "Ω", "10", "9", "😀", "é"]
    spells = [date(2026, 1, 1), date(2026, 5, 1), date(2025, 3, 1)]
    given = [
        episode_of(contact_id, spell=spell, at=datetime(spell.year, spell.month, 20, tzinfo=UTC))
        for contact_id in ids
        for spell in spells
    ]
    enter(journal, *given)
    found = list(journal.episodes.everybody())
    newest_first = sorted(given, key=lambda episode: episode.entered_at, reverse=True)
    assert found == sorted(newest_first, key=lambda episode: episode.contact_id.encode())


def test_a_contact_with_more_episodes_than_a_page_holds_comes_whole(journal, monkeypatch):
    monkeypatch.setattr(episodes_module, "_PAGE", 2)
    given = [episode_of("b", spell=SPELL + number * DAY, at=START + number * DAY) for number in range(9)]
    given += [episode_of("a"), episode_of("c")]
    enter(journal, *given)
    found = list(journal.episodes.everybody())
    assert [episode.contact_id for episode in found] == ["a", *"b" * 9, "c"]
    assert found[1:10] == given[8::-1]


def test_everybody_may_be_read_while_something_is_written(journal, monkeypatch):
    monkeypatch.setattr(episodes_module, "_PAGE", 1)
    enter(journal, *(episode_of(str(number)) for number in range(4)))
    seen = []
    for episode in journal.episodes.everybody():
        seen.append(episode.contact_id)
        leave(journal, episode)
    assert seen == ["0", "1", "2", "3"]
    assert not any(episode.open for episode in journal.episodes.everybody())


# --- in few words -------------------------------------------------------------------------------------------------


def stand(journal):
    """(contact, kind, open, values) of every episode, by its id; and what each kind has alike."""
    pages = list(journal.episodes.standing())
    told = {
        episode_id: (contact_id, kind, is_open, json.loads(values))
        for page in pages
        for contact_id, episode_id, kind, is_open, values in zip(
            page.contacts, page.episodes, page.kinds, page.open, page.values, strict=True
        )
    }
    alike = {kind: episode for page in pages for kind, episode in page.alike.items()}
    assert len(told) == sum(len(page.contacts) for page in pages)
    return told, alike


def test_two_episodes_are_of_one_kind_when_all_that_is_asked_of_many_at_once_is_the_same(journal, monkeypatch):
    monkeypatch.setattr(episodes_module, "_PAGE", 3)
    given = [episode_of(str(number)) for number in range(12)]
    enter(journal, *given)
    take(journal, *(step_of(episode) for episode in given[6:10]))
    take(
        journal, step_of(given[10], values={"winback_step": "reminder"}), step_of(given[11], code="C-1", offer="credit")
    )
    leave(journal, given[5])
    told, alike = stand(journal)
    kinds = [told[episode.episode_id][1] for episode in given]
    assert [told[episode.episode_id][0] for episode in given] == [episode.contact_id for episode in given]
    assert len({*kinds[:5]}) == len({*kinds[6:10]}) == 1
    assert {*kinds} == alike.keys() == {*range(4)}
    assert kinds[10] == kinds[6]
    assert told[given[10].episode_id][3] == {"winback_step": "reminder"}
    assert [told[episode.episode_id][2] for episode in given] == [True] * 5 + [False] + [True] * 6
    assert [alike[kind].open for kind in kinds] == [told[episode.episode_id][2] for episode in given]


def test_what_is_told_of_a_kind_holds_for_all_of_it_but_whose_they_are_what_was_drawn_and_what_was_written(journal):
    given = [episode_of(str(number), unit=str(number), account_id=f"a{number}") for number in range(6)]
    enter(journal, *given)
    take(journal, *(step_of(episode, variant="b", branch="vip", values={"x": "y"}) for episode in given[2:]))
    take(journal, step_of(given[4], "offer", offer="credit", code="C-1", cost=5.0))
    leave(journal, given[5], at=START + DAY)
    told, alike = stand(journal)
    nobodys = {f.name: getattr(alike[0], f.name) for f in fields(alike[0])}
    own = ("contact_id", "episode_id", "spell_started_on", "unit", "stratum", "share", "values", "touches")
    own += ("account_id", "return_probability", "consent")
    for episode in journal.episodes.everybody():
        found = alike[told[episode.episode_id][1]]
        assert (found.code is None) == (episode.code is None)
        theirs = {name: nobodys[name] for name in own} | {"code": found.code, "touches": min(1, episode.touches)}
        assert replace(episode, **theirs) == found
    assert len(alike) == 4


def test_all_episodes_of_some_contacts_come_together(journal, monkeypatch):
    monkeypatch.setattr(episodes_module, "_CHUNK", 2)
    given = [
        episode_of(contact_id, spell=SPELL + number * DAY, at=START + number * DAY)
        for contact_id in "edcba"
        for number in range(2)
    ]
    enter(journal, *given)
    found = journal.episodes.about(["d", "a", "a", "nobody", "e"])
    assert [episode.contact_id for episode in found] == ["a", "a", "d", "d", "e", "e"]
    assert found[0].entered_at > found[1].entered_at
    assert journal.episodes.about([]) == []


# --- steps --------------------------------------------------------------------------------------------------------


def test_a_step_is_logged_whole_and_becomes_the_newest_of_its_episode(journal):
    begun = episode_of()
    enter(journal, begun)
    move = step_of(
        begun,
        send_at=START + timedelta(hours=3),
        variant="b",
        branch="cto",
        offer="trial_extension",
        code="FREE-1",
        cost=12.5,
        values={"winback_step": "reminder", "winback_offer": None},
        destination="crm",
        expires_at=START + 30 * DAY,
    )
    assert take(journal, move, run="run-2") == ()
    assert only(journal) == replace(
        begun,
        step="reminder",
        step_state="decided",
        step_at=START,
        send_at=START + timedelta(hours=3),
        variant="b",
        branch="cto",
        offer="trial_extension",
        code="FREE-1",
        values={"winback_step": "reminder", "winback_offer": None},
        touches=1,
    )
    assert journal.episodes.steps(begun.episode_id) == [
        StepTaken(
            episode_id=begun.episode_id,
            contact_id="hubspot:1",
            step="reminder",
            state="decided",
            due_on=START.date(),
            at=START,
            run_id="run-2",
            send_at=START + timedelta(hours=3),
            variant="b",
            branch="cto",
            offer="trial_extension",
            code="FREE-1",
            cost=12.5,
            values={"winback_step": "reminder", "winback_offer": None},
            destination="crm",
            target=STEP_LIST,
            row_id="1",
        )
    ]


def test_a_step_that_is_logged_is_not_logged_again(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, variant="a"))
    take(journal, step_of(begun, variant="b", at=START + DAY), run="run-2")
    take(journal, step_of(begun, "offer"), step_of(begun, "offer", variant="c"), run="run-2")
    assert [(step.step, step.variant, step.run_id) for step in journal.episodes.steps(begun.episode_id)] == [
        ("reminder", "a", "run-1"),
        ("offer", None, "run-2"),
    ]
    assert (only(journal).step, only(journal).touches) == ("offer", 2)


def test_a_step_that_waits_for_nothing_is_written_at_once(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, target=None, row_id=None))
    assert (only(journal).step_state, only(journal).written_at) == ("written", START)
    (logged,) = journal.episodes.steps(begun.episode_id)
    assert (logged.state, logged.written_at) == ("written", START)


def test_a_skipped_step_touches_nobody_and_leaves_what_was_given(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, "offer", offer="gift", code="C1", values={"winback_step": "offer"}, target=None))
    take(journal, step_of(begun, "reminder", "skipped", at=START + DAY))
    found = only(journal)
    assert (found.step, found.step_state, found.step_at, found.send_at) == ("reminder", "skipped", START + DAY, None)
    assert (found.offer, found.code, found.values, found.touches) == ("gift", "C1", {"winback_step": "offer"}, 1)
    assert found.written_at is None


def test_several_steps_of_one_episode_in_one_call_end_at_the_last(journal):
    begun = episode_of()
    enter(journal, begun)
    take(
        journal,
        step_of(begun, "offer", offer="gift", code="C1", values={"winback_step": "offer"}),
        step_of(begun, "survey", "skipped"),
        step_of(begun, "last_chance", values={"winback_step": "last_chance"}, at=START + DAY),
    )
    found = only(journal)
    assert (found.step, found.step_at, found.touches) == ("last_chance", START + DAY, 2)
    assert (found.offer, found.code, found.values) == ("gift", "C1", {"winback_step": "last_chance"})


def test_a_new_offer_without_a_code_replaces_the_offer_and_its_code(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, "offer", offer="discount", code="C1"))
    take(journal, step_of(begun, "more", offer="feature_access"))
    assert (only(journal).offer, only(journal).code) == ("feature_access", None)


def test_a_step_of_nobodys_episode_is_an_error_and_nothing_of_the_call_stays(journal):
    begun = episode_of()
    enter(journal, begun)
    with pytest.raises(StateError, match=r"no episode win-back/hubspot:9/2026-09-01") as refused:
        take(journal, step_of(begun), step_of(episode_of("hubspot:9")))
    assert "winback plan" in str(refused.value.hint)
    assert journal.episodes.steps(begun.episode_id) == []


def test_an_exit_wins_over_a_step_that_comes_after_it(journal):
    gone, there = episode_of(), episode_of("hubspot:2")
    enter(journal, gone, there)
    leave(journal, gone, "unsubscribed")
    assert take(journal, step_of(gone, code="C1", offer="gift"), step_of(there)) == (gone.episode_id,)
    assert journal.episodes.steps(gone.episode_id) == []
    assert journal.coupons.issued("C1") is None
    assert only(journal).step is None
    assert journal.episodes.of("hubspot:2")[0].step == "reminder"


def test_more_steps_than_one_statement_takes_are_all_logged(journal):
    many = [episode_of(f"hubspot:{number}") for number in range(5_200)]
    enter(journal, *many)
    moves = [step_of(episode, offer="gift", code=f"C{number}") for number, episode in enumerate(many)]
    take(journal, *moves)
    take(journal, *moves, run="run-2")
    assert {(episode.step, episode.touches) for episode in journal.episodes.everybody()} == {("reminder", 1)}
    with journal._database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM episode_steps")).scalar() == 5_200
        assert connection.execute(sa.text("SELECT count(*) FROM coupons WHERE state = 'issued'")).scalar() == 5_200


def test_processes_that_log_the_same_steps_at_once_log_each_once(journal, journal_url):
    code = """
import sys
from connector.clock import SystemClock
from connector.journal import Journal
from connector.program.model import Entry
from tests.fakes.episodes import enter, episode_of, step_of, take
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    many = [episode_of(f"hubspot:{number}") for number in range(200)]
    print(enter(journal, *many, run=sys.argv[2]))
    take(journal, *(step_of(one, offer="gift", code=f"C{n}") for n, one in enumerate(many)), run=sys.argv[2])
"""
    said = finish_all([spawn(code, journal_url, f"run-{number}") for number in range(3)])
    assert sum(map(int, said)) == 200
    for number in (0, 77, 199):
        assert len(journal.episodes.steps(f"win-back/hubspot:{number}/2026-09-01")) == 1
        assert only(journal, f"hubspot:{number}").touches == 1


# --- ending -------------------------------------------------------------------------------------------------------


def test_the_first_reason_an_episode_ended_for_stays(journal):
    begun = episode_of()
    enter(journal, begun)
    assert leave(journal, begun, "replied", answered=True) == 1
    assert leave(journal, begun, "completed", at=START + DAY) == 0
    found = only(journal)
    assert (found.exit_reason, found.exited_at, found.answered, found.open) == ("replied", START, True, False)


def test_of_two_exits_of_one_episode_in_one_call_the_first_counts(journal):
    one, two = episode_of("b"), episode_of("a")
    enter(journal, one, two)
    reasons = [(one, "replied"), (two, "bounced"), (one, "completed")]
    exits = [Exit(episode.episode_id, episode.contact_id, reason, START) for episode, reason in reasons]
    assert journal.episodes.exit(exits, run_id="run-1") == 2
    assert (only(journal, "b").exit_reason, only(journal, "a").exit_reason) == ("replied", "bounced")


def test_many_episodes_end_at_once(journal):
    many = [episode_of(f"hubspot:{number}") for number in range(5_100)]
    enter(journal, *many)
    exits = [Exit(episode.episode_id, episode.contact_id, "left_segment", START) for episode in many]
    assert journal.episodes.exit(exits, run_id="run-1") == 5_100
    assert journal.episodes.counts()["win-back"].exits == {"left_segment": 5_100}


def test_nothing_to_do_is_no_error(journal):
    assert journal.episodes.enter([], run_id="r") == 0
    assert journal.episodes.move([], run_id="r") == ()
    assert journal.episodes.exit([], run_id="r") == 0
    assert journal.episodes.rekey({}) == 0
    journal.episodes.fix_splits({})
    assert list(journal.episodes.everybody()) == []
    assert (journal.episodes.touches(START), journal.episodes.counts(), journal.episodes.splits()) == ({}, {}, {})


# --- caps ---------------------------------------------------------------------------------------------------------


def test_touches_are_when_mail_may_go_out_newest_first_and_also_in_the_future(journal):
    one, two, held_out = episode_of(), episode_of("hubspot:2"), episode_of("hubspot:3", arm="holdout")
    earlier = episode_of(program="renewal")
    enter(journal, one, two, held_out, earlier)
    take(
        journal,
        step_of(one, "reminder", send_at=START),
        step_of(one, "offer", send_at=START + 7 * DAY, target=None),
        step_of(earlier, "reminder", send_at=START - 3 * DAY),
        step_of(two, "reminder", "skipped"),
        step_of(held_out, "reminder"),
    )
    assert journal.episodes.touches(START - 3 * DAY) == {"hubspot:1": [START + 7 * DAY, START, START - 3 * DAY]}
    assert journal.episodes.touches(START + timedelta(microseconds=1)) == {"hubspot:1": [START + 7 * DAY]}
    assert journal.episodes.touches(START + 8 * DAY) == {}


def test_touches_of_some_are_theirs_as_among_those_of_all_however_many_are_asked_for_at_once(journal, monkeypatch):
    people = [f"hubspot:{number}" for number in range(1, 8)]
    begun = [episode_of(person) for person in people]
    enter(journal, *begun)
    take(journal, *(step_of(one, send_at=START + n * DAY, target=None) for n, one in enumerate(begun[:5])))
    take(journal, step_of(begun[5]))
    take(journal, *(step_of(one, "offer", send_at=START + 9 * DAY, target=None) for one in begun[:2]))
    everybody = journal.episodes.touches(START)
    sent = sorted(journal.episodes.sent(START))
    assert len(sent) == 7
    monkeypatch.setattr(episodes_module, "_CHUNK", 2)
    for some in (people, people[1:6], ["hubspot:99", "hubspot:4"], []):
        assert journal.episodes.touches(START, some) == {key: everybody[key] for key in some if key in everybody}
        assert sorted(journal.episodes.sent(START, some)) == [one for one in sent if one[0] in some]


def test_what_each_program_sent_is_counted_once_it_reached_the_crm(journal):
    one, two = episode_of(), episode_of("hubspot:2", program="win-back-2")
    other, held_out = episode_of("hubspot:3", program="win_back"), episode_of("hubspot:4", arm="holdout")
    enter(journal, one, two, other, held_out)
    take(
        journal,
        step_of(one, send_at=START - DAY, target=None),
        step_of(one, "offer", send_at=START, target=None),
        step_of(one, "last_chance", send_at=START + DAY),
        step_of(two, send_at=START + DAY, target=None),
        step_of(other, "reminder", "skipped"),
        step_of(held_out, target=None),
    )
    programs = ["win-back", "win-back-2", "win_back", "winxback"]
    assert journal.episodes.sent_counts(START, programs) == {"win-back": 1, "win-back-2": 1}
    assert journal.episodes.sent_counts(START - DAY, programs) == {"win-back": 2, "win-back-2": 1}
    assert journal.episodes.sent_counts(START, []) == {}


def test_steps_without_an_episode_are_still_somebodys_touches(journal):
    one, two = episode_of(), episode_of("hubspot:2")
    enter(journal, one, two)
    take(journal, step_of(one), step_of(two))
    assert journal.episodes.touched_alone() == []
    with journal.episodes._database.write() as connection:
        connection.execute(sa.delete(episodes_table).where(episodes_table.c.contact_id == "hubspot:2"))
    assert journal.episodes.touched_alone() == ["hubspot:2"]


def test_the_days_touches_and_entries_count_the_treated_from_its_first_moment_to_before_its_last(journal):
    evening = START + timedelta(hours=14, minutes=30)
    one, two = episode_of(at=START), episode_of("hubspot:2", at=evening)
    enter(journal, one, two, episode_of("hubspot:3", arm="holdout"))
    take(journal, step_of(one, at=START, send_at=START + 5 * DAY), step_of(two, "offer", at=evening))
    take(journal, step_of(two, "reminder", "skipped"), step_of(episode_of("hubspot:3")))
    for count in (journal.episodes.touches_decided, journal.episodes.entered):
        assert count(START, evening) == 1
        assert count(START, evening + timedelta(microseconds=1)) == 2
        assert count(START + timedelta(microseconds=1), evening) == 0


# --- counts and splits --------------------------------------------------------------------------------------------


def test_counts_say_how_each_program_stands(journal):
    people = [episode_of(f"hubspot:{number}") for number in range(5)]
    held_out, renewal = episode_of("hubspot:8", arm="holdout"), episode_of("hubspot:9", program="renewal")
    enter(journal, *people, held_out, renewal)
    take(journal, step_of(people[0]), step_of(people[1], target=None), step_of(people[2], "offer", "skipped"))
    leave(journal, people[4], "converted")
    leave(journal, renewal, "replied")
    counts = journal.episodes.counts()
    assert list(counts) == ["renewal", "win-back"]
    assert counts["win-back"].by_arm == {"treated": 4, "holdout": 1}
    assert counts["win-back"].by_step == {"": 1, "reminder": 2, "offer": 1}
    assert counts["win-back"].by_state == {"": 1, "decided": 1, "written": 1, "skipped": 1}
    assert counts["win-back"].exits == {"converted": 1}
    assert (counts["renewal"].by_arm, counts["renewal"].exits) == ({}, {"replied": 1})


def test_a_split_is_fixed_by_who_comes_first(journal):
    first = Split(share=0.2, unit="account", salt="acme/win-back", eligible=4_321)
    journal.episodes.fix_splits({"win-back": first})
    other = Split(share=0.5, unit="contact", salt="acme/renewal", eligible=12)
    journal.episodes.fix_splits({"win-back": replace(first, share=0.5), "renewal": other})
    assert journal.episodes.splits() == {"renewal": other, "win-back": first}


def test_the_version_changes_with_every_decision_and_with_nothing_else(journal):
    begun, seen = episode_of(), ["0"]
    assert journal.episodes.version() == "0"

    def moved_by(change):
        change()
        seen.append(journal.episodes.version())
        return seen[-1] != seen[-2]

    assert moved_by(lambda: enter(journal, begun))
    assert not moved_by(lambda: enter(journal, begun))
    assert moved_by(lambda: take(journal, step_of(begun), run="run-2"))
    assert not moved_by(lambda: take(journal, step_of(begun)))
    assert moved_by(lambda: journal.episodes.rekey({"hubspot:1": "hubspot:2"}))
    assert not moved_by(lambda: journal.episodes.rekey({"hubspot:1": "hubspot:2"}))
    assert moved_by(lambda: leave(journal, begun, run="run-2"))
    assert not moved_by(lambda: leave(journal, begun))
    assert moved_by(lambda: journal.episodes.undo("run-2", START))
    assert not moved_by(lambda: journal.episodes.undo("run-2", START))
    assert not moved_by(lambda: journal.episodes.fix_splits({"win-back": Split(0.1, "contact", "salt", 9)}))
    assert len(set(seen)) == 6


# --- merges -------------------------------------------------------------------------------------------------------


def test_what_we_know_of_a_merged_person_follows_the_survivor(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, offer="gift", code="C1", cost=5.0))
    assert journal.episodes.rekey({"hubspot:1": "hubspot:2", "hubspot:2": "hubspot:3", "hubspot:7": "hubspot:8"}) == 1
    assert journal.episodes.of("hubspot:1") == []
    followed = only(journal, "hubspot:3")
    assert (followed.episode_id, followed.open, followed.step) == (begun.episode_id, True, "reminder")
    assert [step.contact_id for step in journal.episodes.steps(begun.episode_id)] == ["hubspot:3"]
    assert journal.episodes.touches(START) == {"hubspot:3": [START]}
    assert journal.coupons.issued("C1").contact_id == "hubspot:3"
    assert journal.coupons.spent_on(["hubspot:1", "hubspot:3"], START) == {"hubspot:3": 5.0}
    assert journal.episodes.rekey({"hubspot:1": "hubspot:2", "hubspot:2": "hubspot:3"}) == 0


def test_merges_that_go_round_in_a_circle_end(journal):
    enter(journal, episode_of("a"))
    journal.episodes.rekey({"a": "b", "b": "a"})
    assert sum(len(journal.episodes.of(name)) for name in "ab") == 1


def test_of_two_open_episodes_of_one_program_the_survivors_stays(journal, clock):
    merged, survivors = episode_of("a", at=START - 9 * DAY), episode_of("b")
    renewal, ended = episode_of("a", program="renewal"), episode_of("a", spell=date(2025, 1, 1))
    enter(journal, merged, survivors, renewal, ended)
    leave(journal, ended, "completed")
    clock.advance(60)
    assert journal.episodes.rekey({"a": "b"}) == 3
    found = {episode.episode_id: episode for episode in journal.episodes.of("b")}
    assert found[merged.episode_id].exit_reason == "merged"
    assert found[merged.episode_id].exited_at == clock.now()
    assert found[survivors.episode_id].open
    assert found[renewal.episode_id].open
    assert found[ended.episode_id].exit_reason == "completed"


def test_of_two_merged_persons_open_episodes_the_older_stays(journal):
    newer, older = episode_of("a", at=START), episode_of("b", at=START - DAY)
    enter(journal, newer, older)
    assert journal.episodes.rekey({"a": "c", "b": "c"}) == 2
    found = {episode.episode_id: episode.exit_reason for episode in journal.episodes.of("c")}
    assert found == {newer.episode_id: "merged", older.episode_id: None}


# --- undo ---------------------------------------------------------------------------------------------------------


def test_undo_forgets_entries_of_which_nothing_was_written_and_frees_their_codes(journal):
    journal.coupons.add("gift", ["FILE-1"])
    waiting, made, held_out = episode_of(), episode_of("hubspot:2"), episode_of("hubspot:3", arm="holdout")
    enter(journal, waiting, made, held_out, run="run-2")
    take(
        journal,
        step_of(waiting, offer="gift", code="FILE-1", cost=3.0),
        step_of(made, offer="gift", code="MADE-1"),
        run="run-2",
    )
    undone = journal.episodes.undo("run-2", START + DAY)
    assert (undone.forgotten, undone.closed, undone.steps, undone.reopened) == (3, 0, 0, 0)
    assert list(journal.episodes.everybody()) == []
    assert journal.episodes.steps(waiting.episode_id) == []
    assert journal.coupons.free("gift") == ["FILE-1"]
    assert journal.coupons.issued("MADE-1") is None
    assert journal.coupons.spent(START) == 0
    # And everything may happen again.
    assert enter(journal, waiting, made, run="run-3") == 2
    again = [step_of(waiting, offer="gift", code="FILE-1"), step_of(made, offer="gift", code="MADE-1")]
    assert take(journal, *again, run="run-3") == ()
    assert journal.coupons.issued("MADE-1").episode_id == made.episode_id


def test_undo_closes_entries_that_reached_the_crm_and_keeps_their_codes(journal):
    written = episode_of()
    enter(journal, written, run="run-2")
    take(journal, step_of(written, offer="gift", code="C1", target=None), run="run-2")
    undone = journal.episodes.undo("run-2", START + DAY)
    assert (undone.forgotten, undone.closed, undone.steps) == (0, 1, 0)
    found = only(journal)
    assert (found.exit_reason, found.exited_at, found.step_state) == ("undone", START + DAY, "written")
    assert journal.coupons.issued("C1").state == "issued"
    assert journal.episodes.touches(START) == {"hubspot:1": [START]}
    assert enter(journal, written, run="run-3") == 0


def test_undo_of_an_entry_that_reached_the_crm_takes_back_what_had_not(journal):
    begun = episode_of()
    enter(journal, begun, run="run-2")
    take(journal, step_of(begun, target=None), run="run-2")
    take(journal, step_of(begun, "offer", offer="gift", code="C1"), run="run-2")
    undone = journal.episodes.undo("run-2", START + DAY)
    assert (undone.forgotten, undone.closed, undone.steps) == (0, 1, 1)
    assert [step.state for step in journal.episodes.steps(begun.episode_id)] == ["written", "undone"]
    assert (only(journal).exit_reason, only(journal).step_state, only(journal).touches) == ("undone", "undone", 1)
    assert journal.coupons.issued("C1") is None


def test_undo_takes_back_the_steps_of_others_and_frees_codes_nobody_saw(journal):
    unseen, seen = episode_of(), episode_of("hubspot:2")
    enter(journal, unseen, seen)
    take(journal, step_of(unseen, target=None), step_of(seen, target=None))
    take(
        journal,
        step_of(unseen, "offer", offer="gift", code="C1", cost=5.0, send_at=START + DAY),
        step_of(seen, "offer", offer="gift", code="C2", cost=5.0, target=None, send_at=START + DAY),
        run="run-2",
    )
    undone = journal.episodes.undo("run-2", START + 2 * DAY)
    assert (undone.forgotten, undone.closed, undone.steps, undone.reopened) == (0, 0, 2, 0)
    for contact_id in ("hubspot:1", "hubspot:2"):
        found = only(journal, contact_id)
        assert (found.step, found.step_state, found.open) == ("offer", "undone", True)
        log = journal.episodes.steps(found.episode_id)
        assert [(step.state, step.undone_at) for step in log] == [("written", None), ("undone", START + 2 * DAY)]
    assert journal.coupons.issued("C1") is None
    assert journal.coupons.issued("C2").state == "issued"
    assert journal.coupons.spent(START) == 5.0
    # What was written and due had gone out: it stays a touch. What was not written never did.
    assert journal.episodes.touches(START) == {"hubspot:1": [START], "hubspot:2": [START + DAY, START]}
    assert (only(journal).touches, only(journal, "hubspot:2").touches) == (1, 2)
    # The step is never taken again.
    take(journal, step_of(unseen, "offer", at=START + 3 * DAY), run="run-3")
    assert only(journal).step_state == "undone"


def test_a_written_step_whose_moment_had_not_come_is_no_touch_after_the_undo(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, target=None, send_at=START + 9 * DAY), run="run-2")
    journal.episodes.undo("run-2", START + DAY)
    assert journal.episodes.touches(START) == {}
    assert only(journal).touches == 0


def test_undo_of_an_older_run_leaves_the_newest_step_alone(journal):
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, target=None), run="run-2")
    take(journal, step_of(begun, "offer", target=None), run="run-3")
    journal.episodes.undo("run-2", START + DAY)
    assert (only(journal).step, only(journal).step_state) == ("offer", "written")
    assert [step.state for step in journal.episodes.steps(begun.episode_id)] == ["undone", "written"]


def test_undo_reopens_what_the_run_ended_unless_the_contact_is_in_another(journal):
    back, busy = episode_of(), episode_of("hubspot:2")
    enter(journal, back, busy)
    leave(journal, back, run="run-2")
    leave(journal, busy, run="run-2")
    enter(journal, episode_of("hubspot:2", program="renewal"), run="run-3")
    assert journal.episodes.undo("run-2", START + DAY).reopened == 1
    assert (only(journal).open, only(journal).exit_reason) == (True, None)
    assert [episode.open for episode in journal.episodes.of("hubspot:2") if episode.program == "win-back"] == [False]


def test_undo_reopens_an_exit_whose_successor_the_same_run_entered(journal):
    old = episode_of()
    enter(journal, old)
    leave(journal, old, run="run-2")
    enter(journal, episode_of(program="renewal"), run="run-2")
    undone = journal.episodes.undo("run-2", START + DAY)
    assert (undone.forgotten, undone.reopened) == (1, 1)
    assert only(journal) == old


def test_undo_reopens_only_the_newest_of_a_contact(journal):
    older, newer = episode_of(at=START - DAY), episode_of(program="renewal")
    enter(journal, older, newer)
    leave(journal, older, run="run-2")
    leave(journal, newer, run="run-2")
    assert journal.episodes.undo("run-2", START + DAY).reopened == 1
    assert [(episode.program, episode.open) for episode in journal.episodes.of("hubspot:1")] == [
        ("renewal", True),
        ("win-back", False),
    ]


def test_undoing_twice_changes_nothing_more(journal):
    kept, forgotten = episode_of(), episode_of("hubspot:2")
    enter(journal, kept, run="run-1")
    take(journal, step_of(kept, target=None), run="run-2")
    enter(journal, forgotten, run="run-2")
    journal.episodes.undo("run-2", START + DAY)
    before = list(journal.episodes.everybody()), journal.episodes.steps(kept.episode_id)
    again = journal.episodes.undo("run-2", START + 2 * DAY)
    assert (again.forgotten, again.closed, again.steps, again.reopened) == (0, 0, 0, 0)
    assert (list(journal.episodes.everybody()), journal.episodes.steps(kept.episode_id)) == before


def test_undoing_a_large_run_forgets_all_of_it(journal):
    many = [episode_of(f"hubspot:{number}") for number in range(5_100)]
    enter(journal, *many, run="run-2")
    take(journal, *(step_of(one, offer="gift", code=one.contact_id) for one in many), run="run-2")
    assert journal.episodes.undo("run-2", START).forgotten == 5_100
    assert list(journal.episodes.everybody()) == []


def test_entries_are_given_as_a_sequence_of_entries(journal):
    assert journal.episodes.enter((Entry(episode_of()),), run_id="run-1") == 1
