from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce.ids import DIGITS, PREFIXES, checksum, kind_of, number_of, record_id, to_18

NUMBERS = st.integers(0, 62**12 - 1)
KINDS = st.sampled_from(sorted(PREFIXES))


@given(KINDS, NUMBERS)
@settings(deadline=None, max_examples=150)
def test_an_id_and_its_number_lead_to_each_other(kind, number):
    made = record_id(kind, number)
    assert len(made) == 18
    assert number_of(made) == number_of(made[:15]) == number
    assert kind_of(made) == kind
    assert to_18(made[:15]) == to_18(made) == made


@given(KINDS, NUMBERS, NUMBERS)
@settings(deadline=None, max_examples=100)
def test_ids_of_a_kind_sort_as_their_numbers_do(kind, one, other):
    assert (record_id(kind, one) < record_id(kind, other)) is (one < other)


@given(KINDS, NUMBERS, st.booleans())
@settings(deadline=None, max_examples=150)
def test_a_full_id_whose_case_was_lost_gets_it_back(kind, number, upper):
    made = record_id(kind, number)
    assert to_18(made.upper() if upper else made.lower()) == made


@given(st.text(alphabet=DIGITS, min_size=15, max_size=15))
@settings(deadline=None, max_examples=150)
def test_two_short_ids_that_differ_in_case_alone_differ_in_their_checksum(short):
    swapped = short.swapcase()
    assert (checksum(short) == checksum(swapped)) is (short == swapped)


def test_the_checksum_is_the_vendors():
    assert to_18("001D000000IqhSL") == "001D000000IqhSLIAZ"


@pytest.mark.parametrize(
    "bad", ["", "003", "00300000000000", "0030000000000001", "003000000000001AA!", "003-00000000001"]
)
def test_what_is_no_id_is_refused(bad):
    with pytest.raises(ValueError, match="no Salesforce id"):
        to_18(bad)


def test_a_checksum_of_other_characters_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        to_18("003000000000001BBB")
