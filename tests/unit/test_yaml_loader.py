from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.location import PlaybookError
from connector.yaml_loader import Items, Scalar, Table, load, load_file, plain


def read(text):
    return plain(load(text, file="w.yaml"))


def refusal(text):
    with pytest.raises(PlaybookError) as caught:
        load(text, file="w.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    "word",
    [
        "no",
        "yes",
        "on",
        "off",
        "y",
        "N",
        "12:30:00",
        "010",
        "0x1F",
        "0o17",
        "1_000",
        "2026-01-31",
        "1e5",
        ".5",
        "+1",
        "=",
        "<<",
        ".inf",
        ".nan",
        "9" * 40,
    ],
)
def test_what_only_looks_like_another_type_stays_text(word):
    assert read(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-7", -7),
        ("42", 42),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("1.5e3", 1500.0),
    ],
)
def test_plain_numbers_truths_and_nothing_keep_their_type(word, value):
    assert read(f"a: {word}") == {"a": value}


def test_quoted_numbers_are_text():
    assert read("a: '10'\nb: \"true\"\nc: !!str 5") == {"a": "10", "b": "true", "c": "5"}


def test_norway_survives_in_a_list_of_countries():
    assert read("countries: [de, no, se]") == {"countries": ["de", "no", "se"]}


def test_every_duplicate_key_is_told_with_both_lines():
    said = refusal("a: 1\nb:\n  c: 1\n  c: 2\na: 3")
    assert "w.yaml:4:3: b.c: the key 'c' is already set in line 3" in said
    assert "w.yaml:5:1: a: the key 'a' is already set in line 1" in said


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object:os.system",
        "!!python/name:os.system",
        "!!python/object/apply:os.system",
        "!custom",
        "!!binary",
        "!!set",
        "!!timestamp",
    ],
)
def test_tags_are_refused_and_run_nothing(tag):
    said = refusal(f"a: {tag} x" if tag != "!!set" else "a: !!set {x}")
    assert "w.yaml:1:4: a: the tag" in said
    assert "not allowed" in said


def test_an_alias_repeats_what_it_names():
    assert read("a: &x {b: 1}\nc: *x") == {"a": {"b": 1}, "c": {"b": 1}}


def test_fifty_aliases_are_fine_and_one_more_is_not():
    assert len(read("a: &x 1\nb: [" + ", ".join(["*x"] * 50) + "]")["b"]) == 50
    assert "more than 50 aliases" in refusal("a: &x 1\nb: [" + ", ".join(["*x"] * 51) + "]")


@pytest.mark.timeout(60)
def test_an_alias_bomb_is_defused_quickly():
    lines = ["a0: &a0 [x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 5)}]" for n in range(1, 11)]
    assert "too large" in refusal("\n".join(lines))


def test_an_alias_inside_itself_is_refused():
    assert "contains itself" in refusal("a: &x [1, *x]")


def test_size_and_depth_are_bounded():
    assert "larger than 1 MiB" in refusal("a: " + "x" * (1024 * 1024))
    assert "levels deep" in refusal("[" * 100_000)
    assert read("[" * 39 + "1" + "]" * 39)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty"),
        ("# only a comment", "is empty"),
        ("a: b: c", "w.yaml:1:5"),
        ("a: 1\n\tb: 2", "w.yaml:2:1"),
        ("a: *b", "no `&b` stands before it"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("? [1]\n: 2", "a key must be a word"),
        ('a: "\x00"', "U+0000"),
        ("a: 'x", "w.yaml:"),
        ("- a\nb: 1", "w.yaml:2:1"),
    ],
)
def test_text_that_is_no_settings_file_says_where(text, part):
    assert part in refusal(text)


def test_bytes_that_are_not_text_name_their_line(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(PlaybookError, match=r"w\.yaml:2: is not UTF-8 text"):
        load_file(file)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    file = tmp_path / "w.yaml"
    file.write_bytes("\ufeffa: 1\r\nb: [x,\r\n  y]\r\n".encode())
    node = load_file(file)
    assert plain(node) == {"a": 1, "b": ["x", "y"]}
    assert isinstance(node, Table)
    assert node.entries["b"].key_location.line == 2


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(PlaybookError, match="winback init"):
        load_file(tmp_path / "none.yaml", label="none.yaml")


def test_keys_and_values_know_their_line_and_column():
    node = load("a:\n  - x\n  - {b: 7}\n", file="w.yaml")
    assert isinstance(node, Table)
    items = node.entries["a"].node
    assert isinstance(items, Items)
    inner = items.items[1]
    assert isinstance(inner, Table)
    assert str(inner.entries["b"].key_location) == "w.yaml:3:6"
    assert str(inner.entries["b"].node.location) == "w.yaml:3:9"


STYLES = {
    "plain": "where: inactive_days >= 30 and rol = 1",
    "single": "where: 'role = ''x'' and inactive_days >= 30 and rol = 1'",
    "double": 'where: "role = \\"x\\" \\u0061nd rol = 1"',
    "folded": "where: >\n    inactive_days >= 30\n    and rol = 1",
    "literal": "where: |-\n    inactive_days >= 30\n\n      and rol = 1\n",
    "plain over lines": "where: inactive_days >= 30\n    and rol = 1",
    "double over lines": 'where: "inactive_days >= 30\n    and \\\n    rol = 1"',
    "flow": "{x: 1, where: 'a\n\n   b rol'}",
}


@pytest.mark.parametrize("text", STYLES.values(), ids=STYLES)
def test_a_character_of_a_value_is_found_where_it_stands_in_any_style(text):
    node = load(text, file="w.yaml")
    assert isinstance(node, Table)
    value = node.entries["where"].node
    assert isinstance(value, Scalar)
    place = value.location.at(value.text.rindex("rol"))
    line = text.splitlines()[place.line - 1]
    assert line[place.column - 1 :].startswith("rol")


WORDS = st.lists(st.text("abc'\"\\é#:>= ", min_size=1, max_size=6).map(str.strip).filter(bool), min_size=1, max_size=8)


@settings(deadline=None, max_examples=150)
@given(WORDS, st.sampled_from(["'", '"', ">", "|"]))
def test_positions_point_at_the_same_character_for_any_text(words, style):
    if style == "'":
        body = "'" + "\n    ".join(word.replace("'", "''") for word in words) + "'"
    elif style == '"':
        body = '"' + "\n    ".join(word.replace("\\", "\\\\").replace('"', '\\"') for word in words) + '"'
    else:
        body = style + "\n" + "\n".join("    " + word for word in words) + "\n"
    text = f"key: {body}\n"
    node = load(text, file="w.yaml")
    assert isinstance(node, Table)
    value = node.entries["key"].node
    assert isinstance(value, Scalar)
    assert value.text.split() == " ".join(words).split()
    lines = text.split("\n")
    for offset, character in enumerate(value.text):
        if character.isspace():
            continue
        place = value.location.at(offset)
        written = lines[place.line - 1][place.column - 1]
        assert written == character or (style == '"' and written == "\\")
