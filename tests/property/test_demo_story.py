from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.demo.company import generate
from connector.demo.events import Events
from connector.demo.names import RESERVED_DOMAINS

ENDS = date(2026, 11, 21)
ROOT = Path(__file__).parents[2]

seeds = st.integers(min_value=0, max_value=2**32)
sizes = st.integers(min_value=20, max_value=120)
spans = st.integers(min_value=1, max_value=60)

_DIGEST = """
import hashlib
from datetime import date
from connector.demo.company import generate
company = generate(ends=date(2026, 11, 21), contacts=80, seed=5, history_days=200)
later = company.after(7)
digest = hashlib.sha256()
for part in (company.accounts, company.contacts, company.merged, company.users, later.contacts):
    digest.update(repr(part).encode())
for events in (company.events, company.more_days(7)):
    digest.update(repr(events.table().to_pylist()).encode())
print(digest.hexdigest())
"""


def same(one: Events, other: Events) -> bool:
    return one.table().equals(other.table())


@pytest.mark.parametrize(
    "surroundings",
    [
        {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C"},
        {"PYTHONHASHSEED": "4242", "TZ": "Asia/Kolkata", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"},
        {"PYTHONHASHSEED": "random", "TZ": "America/Los_Angeles", "LANG": "tr_TR.UTF-8"},
    ],
)
def test_every_process_makes_up_the_same_company(surroundings):
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, **env, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for env in ({}, surroundings)
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


@settings(max_examples=10, deadline=None)
@given(seed=seeds, contacts=sizes, history=spans, more=spans)
def test_a_longer_story_begins_with_the_shorter_one(seed, contacts, history, more):
    short = generate(ends=ENDS, contacts=contacts, seed=seed, history_days=history)
    long = generate(ends=ENDS + timedelta(days=more), contacts=contacts, seed=seed, history_days=history + more)
    assert long.starts == short.starts
    assert same(long.events.rows(0, len(short.events)), short.events)
    assert same(long.events.rows(len(short.events), len(long.events)), short.more_days(more))
    assert short.after(more).contacts == long.contacts
    assert short.after(more).accounts == long.accounts
    assert short.after(more).users == long.users


@settings(max_examples=10, deadline=None)
@given(seed=seeds, contacts=sizes, steps=st.lists(st.integers(min_value=0, max_value=20), min_size=1, max_size=5))
def test_going_on_in_steps_tells_what_going_on_at_once_tells(seed, contacts, steps):
    company = generate(ends=ENDS, contacts=contacts, seed=seed, history_days=40)
    at_once = generate(ends=ENDS, contacts=contacts, seed=seed, history_days=40).more_days(sum(steps))
    begin = 0
    for step in steps:
        part = company.more_days(step)
        assert same(part, at_once.rows(begin, begin + len(part)))
        begin += len(part)
        company = company.after(step)
    assert begin == len(at_once)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, contacts=sizes)
def test_looking_ahead_does_not_change_what_is(seed, contacts):
    company = generate(ends=ENDS, contacts=contacts, seed=seed, history_days=30)
    curious = generate(ends=ENDS, contacts=contacts, seed=seed, history_days=30)
    assert len(curious.after(50).events) >= 0
    assert same(company.events, curious.events)
    assert company.contacts == curious.contacts
    assert company.accounts == curious.accounts


@settings(max_examples=10, deadline=None)
@given(seed=seeds, contacts=sizes, history=spans)
def test_ids_are_unique_and_addresses_reserved_whatever_the_seed(seed, contacts, history):
    company = generate(ends=ENDS, contacts=contacts, seed=seed, history_days=history)
    ids = [c.contact_id for c in (*company.contacts, *company.merged)]
    assert len(set(ids)) == len(ids)
    addresses = [c.email for c in (*company.contacts, *company.merged) if c.email] + [
        u.email for u in company.users if u.email
    ]
    ends = {a.lower().partition("@")[2].split(".", 1)[1] for a in addresses}
    assert all(end.endswith(RESERVED_DOMAINS) for end in ends)
    assert {c.account_id for c in company.contacts} - {None} <= {a.account_id for a in company.accounts}
    events = company.events
    assert np.all(events.arrived > events.at)
    numbers_of_one_event = np.unique(np.stack([events.number, events.user, events.at], axis=1), axis=0)
    assert len(numbers_of_one_event) == len(np.unique(events.number))
