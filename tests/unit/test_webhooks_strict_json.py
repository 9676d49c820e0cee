"""JSON that is read strictly, and what it costs to refuse the rest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import MalformedPayload
from webhooks import strict_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(VALUES, st.booleans())
def test_what_any_reader_understands_alike_is_read_as_it_is(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        with pytest.raises(MalformedPayload):
            strict_json.loads(text)
        return
    assert strict_json.loads(text) == value


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"a":1,"a":2}', "twice"),
        (b'[{"b":{"a":1,"\\u0061":2}}]', "twice"),
        (b"[NaN]", "number"),
        (b"[Infinity]", "number"),
        (b"[-Infinity]", "number"),
        (b"[1e999]", "number"),
        (b"[" + b"9" * 41 + b"]", "number"),
        (b"[" * 33 + b"]" * 33, "deeper"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "deeper"),
        (b'["[[[[",' + b"[" * 32 + b"]" * 33, "deeper"),
        (json.dumps({str(number): 1 for number in range(1_001)}).encode(), "1000 keys"),
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'"\xff"', "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON"),
    ],
)
def test_what_hurts_or_is_ambiguous_is_refused_without_repeating_it(body, word):
    with pytest.raises(MalformedPayload, match=word):
        strict_json.loads(body)


def test_exactly_as_deep_and_as_wide_as_allowed_is_read():
    assert strict_json.loads(b"[" * 32 + b"]" * 32)
    assert len(strict_json.loads(json.dumps({str(number): 1 for number in range(1_000)}).encode())) == 1_000


def test_brackets_inside_strings_are_no_depth():
    assert strict_json.loads(json.dumps(["[" * 100, '"\\' + "{" * 100]).encode())[0] == "[" * 100


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b"[]" * 40 + b'"' + b'\\"' * 500_000,
        b"[]" * 40 + b'"' + b'\\"' * 500_000 + b"\\",
        b"[]" * 40 + b'"' * 1_000_000,
    ],
)
def test_a_megabyte_that_is_built_to_hurt_is_looked_at_once(body):
    """Were it more often, this would take hours and run into the suite's own limit."""
    with pytest.raises(MalformedPayload):
        strict_json.loads(body)


def test_what_was_checked_is_read_once_and_given_to_one_alone():
    body = b'{"a": [1]}'
    strict_json.check(body)
    first, second = strict_json.loads(body), strict_json.loads(body)
    assert first == second == {"a": [1]}
    assert first is not second


def test_what_was_checked_is_never_given_for_other_bytes():
    strict_json.check(b"[1]")
    assert strict_json.loads(b"[2]") == [2]
    strict_json.check(b"[1]")
    with pytest.raises(MalformedPayload):
        strict_json.loads(b"[1")


def test_what_is_refused_by_the_check_is_refused_by_the_reader():
    body = b'{"a":1,"a":2}'
    for read in (strict_json.check, strict_json.loads):
        with pytest.raises(MalformedPayload, match="twice"):
            read(body)


def test_what_nobody_asked_for_is_forgotten():
    body = b"[1]"
    strict_json.check(body)
    strict_json.forget()
    assert strict_json._checked.pair is None
    assert strict_json.loads(body) == [1]
