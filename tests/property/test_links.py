"""Whoever asks for whatever link gets their own back, and nobody can make one up."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from connector.links import ACTIONS, EXPIRING, Link, LinkMaker

KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(3)]
MAKER = LinkMaker("https://l.example.com", keys=KEYS, subject_key=hashlib.sha256(b"s").digest())
NOW = datetime(2026, 3, 1, tzinfo=UTC)

contacts = st.text(min_size=1, max_size=40)
campaigns = st.text(st.characters(exclude_characters="@", exclude_categories=["Cs"]), max_size=60)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(ACTIONS), contacts.filter(lambda text: text.isprintable()), campaigns, st.integers(0, 4_000))
def test_every_link_is_read_back_until_it_ends(action, contact, campaign, days):
    made = MAKER.token(action, contact, campaign, now=NOW)
    found = MAKER.read(made, now=NOW + timedelta(days=days))
    if action in EXPIRING and days >= 90:
        assert found is None
    else:
        assert found == Link(action, MAKER.subject(contact), campaign)
        assert MAKER.read(made, now=NOW, action=action) is not None
    assert all(MAKER.read(made, now=NOW, action=other) is None for other in ACTIONS if other != action)


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text(max_size=200), st.text("abcXYZ019-_.=", max_size=200)))
def test_no_made_up_text_is_a_link_or_a_fault(text):
    assert MAKER.read(text, now=NOW) is None


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(ACTIONS), st.integers(0, 300), st.sampled_from("ABab01-_."))
def test_no_changed_token_means_anything_else(action, place, sign):
    made = MAKER.token(action, "hubspot:1", "win-back/offer", now=NOW)
    place %= len(made)
    found = MAKER.read(made[:place] + sign + made[place + 1 :], now=NOW)
    assert found in (None, Link(action, MAKER.subject("hubspot:1"), "win-back/offer"))


@settings(deadline=None, max_examples=100)
@given(contacts, contacts)
def test_two_people_never_share_a_subject(one, other):
    assert (MAKER.subject(one) == MAKER.subject(other)) is (one == other)
