from __future__ import annotations

from datetime import timedelta

from connector.program.consent import fold
from connector.program.model import Basis, ConsentSettings, Eligibility, Status
from connector.program.radar import radar
from tests.fakes.consent import NOW, days_ago, judged, word

YES = Eligibility(None, "consent_express")
MICROSECOND = timedelta(microseconds=1)


def until(at) -> Eligibility:
    return Eligibility(None, "consent_implied", at)


def test_a_segments_people_are_counted_by_what_can_be_done_with_them():
    people = [
        YES,
        until(days_ago(-5)),
        until(days_ago(-400)),
        Eligibility("consent_expired"),
        Eligibility("no_consent"),
        Eligibility("no_consent"),
        Eligibility("opted_out"),
        Eligibility("snoozed"),
    ]
    (row,) = radar([("dormant", person) for person in people], now=NOW)
    assert (row.people, row.reachable, row.expiring, row.expired, row.no_consent, row.others) == (8, 3, 1, 1, 2, 2)
    assert row.excluded == {"consent_expired": 1, "no_consent": 2, "opted_out": 1, "snoozed": 1}
    assert row.first_lapse == days_ago(-5)


def test_where_everybody_can_be_reached_nobody_is_left_out():
    (row,) = radar([("s", YES)] * 3, now=NOW)
    assert (row.people, row.reachable, row.expiring, row.expired, row.no_consent, row.others) == (3, 3, 0, 0, 0, 0)


def test_the_thirtieth_day_to_the_moment_is_still_soon():
    edge = NOW + timedelta(days=30)
    (row,) = radar([("s", until(edge + MICROSECOND)), ("s", until(edge))], now=NOW)
    assert (row.reachable, row.expiring, row.first_lapse) == (2, 1, edge)
    (row,) = radar([("s", until(edge + MICROSECOND))], now=NOW, soon=timedelta(days=31))
    assert row.expiring == 1


def test_a_contact_counts_in_every_segment_it_is_in():
    rows = radar([("a", YES), ("b", YES)], now=NOW)
    assert [(row.segment, row.people) for row in rows] == [("a", 1), ("b", 1)]


def test_segments_stand_in_the_playbooks_order_even_when_empty():
    rows = radar([("b", YES), ("z", YES), ("a", YES)], now=NOW, segments=("a", "empty", "b"))
    assert [(row.segment, row.people) for row in rows] == [("a", 1), ("empty", 0), ("b", 1), ("z", 1)]
    assert rows[1].first_lapse is None


def test_the_radar_sees_a_canadian_customers_permission_run_out():
    rules = ConsentSettings(profile="casl")
    people = []
    for days in (740, 720, 100):
        state = fold([word(Status.GRANTED, days_ago(days), basis=Basis.CONTRACT)])
        people.append(("dormant", judged({"can_email": None}, state, rules)))
    (row,) = radar(people, now=NOW)
    assert (row.reachable, row.expiring, row.expired) == (2, 1, 1)
