"""The sandbox's answer to a query is what reading every record and judging it one by one gives."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox.answers import Refusal
from adapters.salesforce.sandbox.querying import count, prepare, run
from adapters.salesforce.sandbox.records import Row
from adapters.salesforce.sandbox.soql import parse
from adapters.salesforce.sandbox.state import State

BASE_MS = 1_760_000_000_000
WORDS = ["a", "A", "ab", "b%", "b_c", "O'Hara", "back\\slash", "zoë", "ZOË"]
COLUMNS = {
    "Title": WORDS,
    "Email": ["a@x.example", "A@X.example", "b@x.example"],
    "Winback_Milestone__c": [-1.5, 0, 2, 2.5, 10],
    "Birthdate": ["1999-12-31", "2000-01-01", "2001-06-05"],
    "Winback_Send_At__c": [BASE_MS, BASE_MS + 1_000, BASE_MS + 86_400_000],
    "DoNotCall": [True, False],
    "AccountId": [record_id("Account", number) for number in (1, 2, 3)],
}
"""Fields of each type and the values a record may have there."""

NULLABLE = [name for name in COLUMNS if name != "DoNotCall"]


STATE = State()
"""Made once; `orgs` empties the kinds it fills."""


@st.composite
def orgs(draw):
    """A state with up to fourteen contacts; every value may be missing, some records are in the recycle bin."""
    state = STATE
    for kind in ("Account", "Contact"):
        state.add_kind(state.stores[kind].sobject)
    for number in (1, 2, 3):
        one = record_id("Account", number)
        state.load([Row(one, {"Name": WORDS[number]}, BASE_MS, BASE_MS, BASE_MS, state.user, state.user)])
    rows = []
    for number in draw(st.permutations(range(1, draw(st.integers(0, 14)) + 1))):
        values = {"LastName": "x"}
        for name, choices in COLUMNS.items():
            value = draw(st.one_of(st.none(), st.sampled_from(choices)))
            if value is not None:
                values[name] = value
        stamp = BASE_MS + draw(st.integers(0, 5)) * 500
        deleted = stamp if draw(st.integers(0, 6)) == 0 else None
        rows.append(Row(record_id("Contact", number), values, stamp, stamp, stamp, state.user, state.user, deleted))
    state.load(rows)
    return state


def value_of(row, name):
    if name == "Id":
        return row.id
    if name == "SystemModstamp":
        return row.stamp_ms
    return row.values.get(name, False if name == "DoNotCall" else None)


def folded(value):
    return value.lower() if isinstance(value, str) and value not in COLUMNS["AccountId"] else value


def written(name, value):
    """A literal."""
    if value is None:
        return "null"
    if name in {"Winback_Send_At__c", "SystemModstamp"}:
        return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{value % 1000:03d}Z"
    if isinstance(value, str) and name != "Birthdate":
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value).lower() if isinstance(value, bool) else str(value)


COMPARE = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a is not None and a < b,
    "<=": lambda a, b: a is not None and a <= b,
    ">": lambda a, b: a is not None and a > b,
    ">=": lambda a, b: a is not None and a >= b,
}


@st.composite
def comparisons(draw):
    """A comparison as text, and the same as a function of a record."""
    name = draw(st.sampled_from([*COLUMNS, "Id", "SystemModstamp", "Account.Name"]))
    choices = {
        "Id": [record_id("Contact", number) for number in (1, 3, 7, 99)],
        "SystemModstamp": [BASE_MS, BASE_MS + 500, BASE_MS + 1_500],
        "Account.Name": WORDS[:4],
    }.get(name) or COLUMNS[name]
    read = (
        (lambda row: NAMES.get(row.values.get("AccountId")))
        if name == "Account.Name"
        else (lambda row: value_of(row, name))
    )
    if draw(st.integers(0, 3)) == 0:
        among = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3))
        no = draw(st.booleans())
        text = f"{name} {'NOT IN' if no else 'IN'} ({', '.join(written(name, one) for one in among)})"
        held = {folded(one) for one in among}
        return text, lambda row: (folded(read(row)) in held) is not no
    signs = ["=", "!="] if name == "DoNotCall" else list(COMPARE)
    sign = draw(st.sampled_from(signs))
    nullable = name in NULLABLE and sign in {"=", "!="}
    value = draw(st.one_of(st.none(), st.sampled_from(choices)) if nullable else st.sampled_from(choices))
    return f"{name} {sign} {written(name, value)}", lambda row: COMPARE[sign](folded(read(row)), folded(value))


NAMES = {record_id("Account", number): WORDS[number] for number in (1, 2, 3)}


def joined(parts, word):
    texts, tests = zip(*parts, strict=True)
    holds = all if word == "AND" else any
    return f"({f' {word} '.join(texts)})", lambda row: holds(test(row) for test in tests)


def negated(part):
    text, test = part
    return f"(NOT {text})", lambda row: not test(row)


CONDITIONS = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.builds(joined, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["AND", "OR"])),
        st.builds(negated, inner),
    ),
    max_leaves=6,
)


@given(
    orgs(), st.one_of(st.none(), CONDITIONS), st.booleans(), st.tuples(st.integers(0, 4), st.integers(1, 9)), st.data()
)
@settings(deadline=None, max_examples=60)
def test_a_query_finds_what_judging_every_record_finds(state, condition, deleted, span, data):
    offset, limit = span
    text, holds = condition or ("Id != null", lambda row: True)
    where = f" WHERE {text}" if condition else ""
    names = data.draw(st.lists(st.sampled_from(["Title", "Winback_Milestone__c", "SystemModstamp"]), unique=True))
    order = [(name, data.draw(st.booleans()), data.draw(st.sampled_from([None, True, False]))) for name in names]
    order.append(("Id", data.draw(st.booleans()), None))
    expected = [row for row in state.stores["Contact"].rows.values() if (deleted or not row.is_deleted) and holds(row)]
    for name, descending, nulls_first in reversed(order):
        present = [row for row in expected if value_of(row, name) is not None]
        absent = [row for row in expected if value_of(row, name) is None]
        present.sort(key=lambda row, name=name: folded(value_of(row, name)), reverse=descending)
        first = not descending if nulls_first is None else nulls_first
        expected = absent + present if first else present + absent
    clauses = ", ".join(
        f"{name}{' DESC' if descending else ''}{'' if nulls is None else ' NULLS FIRST' if nulls else ' NULLS LAST'}"
        for name, descending, nulls in order
    )
    base = f"SELECT Id FROM Contact{where}"
    found = prepare(state, f"{base} ORDER BY {clauses} LIMIT {limit} OFFSET {offset}")
    ids = [row.id for row in run(state, found, all_rows=deleted, now_ms=BASE_MS)]
    assert ids == [row.id for row in expected[offset : offset + limit]]
    counted = prepare(state, base.replace("SELECT Id", "SELECT COUNT()"))
    assert count(state, counted, all_rows=deleted, now_ms=BASE_MS) == len(expected)


@given(orgs(), st.sampled_from(["Id", "SystemModstamp, Id"]), st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_walking_by_the_last_key_meets_everybody_once(state, order, size):
    seen: list[str] = []
    last = None
    while True:
        where = ""
        if last is not None and order == "Id":
            where = f" WHERE Id > '{last.id}'"
        elif last is not None:
            at = written("SystemModstamp", last.stamp_ms)
            where = f" WHERE SystemModstamp > {at} OR (SystemModstamp = {at} AND Id > '{last.id}')"
        found = prepare(state, f"SELECT Id FROM Contact{where} ORDER BY {order} LIMIT {size}")
        page = run(state, found, all_rows=False, now_ms=BASE_MS)
        if not page:
            break
        seen += [row.id for row in page]
        last = page[-1]
    assert sorted(seen) == sorted(row.id for row in state.stores["Contact"])
    assert len(seen) == len(set(seen))


@given(st.text(alphabet="ab%_\\", max_size=6), st.text(alphabet="ab%_\\AB", max_size=6))
@settings(deadline=None, max_examples=200)
def test_like_takes_percent_for_any_text_and_underscore_for_one_sign(pattern, held):
    from adapters.salesforce.sandbox.conditions import like_pattern

    # Spelled out sign by sign; a backslash before a wildcard or itself makes it plain.
    parts, rest = [], pattern
    while rest:
        if rest[0] == "\\" and rest[1:2] in {"%", "_", "\\"} and rest[1:2]:
            parts.append(("plain", rest[1]))
            rest = rest[2:]
            continue
        parts.append(({"%": "any", "_": "one"}.get(rest[0], "plain"), rest[0]))
        rest = rest[1:]

    def fits(parts, text):
        if not parts:
            return not text
        kind, sign = parts[0]
        if kind == "any":
            return any(fits(parts[1:], text[start:]) for start in range(len(text) + 1))
        return bool(text) and (kind == "one" or text[0].lower() == sign.lower()) and fits(parts[1:], text[1:])

    assert (like_pattern(pattern).fullmatch(held) is not None) is fits(parts, held)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
@settings(deadline=None, max_examples=100)
def test_any_text_survives_as_an_escaped_literal(text):
    signs = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    literal = "".join(signs.get(sign, sign) for sign in text)
    found = parse(f"SELECT Id FROM Contact WHERE Title = '{literal}'").where
    assert found.values[0].value == text


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=100)
def test_nonsense_is_refused_and_never_breaks_the_reader(text):
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert re.fullmatch("[A-Z_]+", caught.value.code)
