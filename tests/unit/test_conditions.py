from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from connector.errors import SegmentError
from connector.location import Location
from connector.model import Segment
from connector.rules.columns import COLUMNS, RELATION_COLUMNS, Kind
from connector.rules.conditions import check_segment, parse, parse_usage
from connector.rules.functions import FUNCTIONS
from connector.yaml_loader import Scalar, Table, load
from tests.fakes.features import engine_answers, row


def refusal(text, **options):
    with pytest.raises(SegmentError) as caught:
        parse(text, **options)
    return str(caught.value)


# --- what is refused, and how it is said ----------------------------------------------------------------------


def test_an_unknown_column_names_the_near_one_and_lists_all():
    said = refusal("role = 'x' and inactive_day > 3")
    assert "condition:1:16: no column 'inactive_day'; did you mean inactive_days?" in said
    assert all(name in said for name in COLUMNS)
    assert "attributes.<name>" in said


def test_an_unknown_function_names_the_near_one_and_lists_all():
    said = refusal("floor(lowr(role) = 'x')")
    assert "no function 'lowr'; did you mean lower?" in said
    assert all(name in said for name in FUNCTIONS)


PLACES = {
    "plain": ("where: inactive_days > 3 and rol = 'x'", 1, 30),
    "quoted": ("where: \"inactive_days > 3 and rol = 'x'\"", 1, 31),
    "single": ("where: 'role = ''a'' and rol = ''x'''", 1, 26),
    "folded": ("where: >\n  inactive_days > 3\n  and rol = 'x'\n", 3, 7),
    "literal": ("where: |\n  inactive_days > 3\n\n  and rol = 'x'\n", 4, 7),
}


@pytest.mark.parametrize(("text", "line", "column"), PLACES.values(), ids=PLACES)
def test_the_place_of_an_error_is_the_one_in_the_file(text, line, column):
    node = load(text, file="winback.yaml")
    assert isinstance(node, Table)
    value = node.entries["where"].node
    assert isinstance(value, Scalar)
    assert refusal(value.text, where=value.location).startswith(f"winback.yaml:{line}:{column}: no column 'rol'")


KINDS = [
    ("inactive_days > '30'", "write the number without quotes: 30"),
    ("role = 3", "write the text in quotes: '3'"),
    ("created_at > 30", "write days_since(created_at)"),
    ("created_at > 'yesterday'", "'yesterday' is not a date or time"),
    ("created_at > '2026-02-30'", "is not a date or time"),
    ("inactive_days", "compare it, for example: inactive_days > 0"),
    ("role and true", "a condition is needed here"),
    ("can_email > true", "only equal or not"),
    ("can_email between true and false", "only equal or not"),
    ("greatest(can_email, true)", "does not go with yes/no"),
    ("30 < inactive_days < 59", "between 30 and 59"),
    ("lower(inactive_days) = 'x'", "a text is needed here"),
    ("abs(role) > 1", "a number is needed here"),
    ("days_since(inactive_days) > 1", "a time is needed here"),
    ("role + 1 > 2", "a number is needed here"),
    ("coalesce(role, 3) = 'x'", "cannot be compared"),
    ("role in ('a', 3)", "cannot be compared"),
    ("role like role", "the pattern must be a written text"),
    ("round(inactive_days, 12) > 1", "0 to 9"),
    ("round(inactive_days, 2.0) > 1", "0 to 9"),
    ("round(inactive_days, gap_p90_days) > 1", "0 to 9"),
    ("coalesce(role) = 'x'", "coalesce(a, b)"),
    ('role = "cto"', "write single quotes: 'cto'"),
    ("attributes = 'x'", "attributes.<name>"),
    ('attributes."a""b" = \'x\'', "cannot be the name of an attribute"),
    ("role is 3", "`is` goes with null, true or false"),
    ("inactive_days > 1e16", "too large"),
]


@pytest.mark.parametrize(("text", "part"), KINDS)
def test_a_wrong_kind_says_what_would_be_right(text, part):
    assert part in refusal(text)


BROKEN = [
    "",
    "   ",
    "inactive_days between 30",
    "inactive_days >",
    "role = 'x",
    'role = "x',
    "(role = 'x'",
    "role = 'x')",
    "role = 'x' inactive_days",
    "role = 'x' 3",
    "and role = 'x'",
    "role = 'a' and and role = 'b'",
    "inactive_days in ()",
    "not",
    "()",
    "'",
    "role = 'x' or",
    "inactive_days = = 3",
    "\x00 = 1",
    "role = '\x07'",
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_expression_is_refused_with_a_place(text):
    assert refusal(text).startswith("condition:1:")


INJECTIONS = [
    "true; DROP TABLE contacts",
    "inactive_days > 3; --",
    "inactive_days > 3 -- and nothing else",
    "inactive_days > 3 /* quiet */",
    "1 = 1 UNION SELECT * FROM contacts",
    "(SELECT count(*) FROM contacts) > 0",
    "EXISTS (SELECT 1)",
    "inactive_days IN (SELECT 1)",
    "contact_id IN (FROM read_csv('/etc/passwd'))",
    "read_text('/etc/passwd') IS NOT NULL",
    "getenv('HUBSPOT_TOKEN') = 'x'",
    "current_setting('access_mode') = 'x'",
    "pragma_database_list() IS NOT NULL",
    "query('DROP TABLE contacts') IS NULL",
    "sleep(10) > 1",
    "random() > 0.5",
    "now() > created_at",
    "current_date > created_at",
    "COPY contacts TO 'x.csv'",
    "ATTACH 'x.db'",
    "INSTALL httpfs",
    "role = 'x' COLLATE NOCASE",
    "role::INTEGER = 3",
    "CAST(role AS INTEGER) = 3",
    "CASE WHEN true THEN true END",
    "role || 'x' = 'y'",
    "role ~ '(a+)+$'",
    "regexp_matches(role, '(a+)+$')",
    "role SIMILAR TO '(a|b)*'",
    "role LIKE 'x' ESCAPE '!'",
    "role = ANY(['a'])",
    "[1, 2][1] = 1",
    "{'a': 1}.a = 1",
    "list_filter([1], x -> x > 0) = [1]",
    "attributes['x'] = 'a'",
    "contacts.* IS NULL",
    "* IS NULL",
    "$1 = 1",
    "? = 1",
    ":name = 1",
    "count(*) OVER () > 1",
    "sum(inactive_days) > 1",
    "row_number() OVER (ORDER BY role) = 1",
    "INTERVAL 3 DAY IS NULL",
    "try(inactive_days > 3)",
    "columns('.*') > 3",
    "struct_pack(a := 1) IS NULL",
    'attributes."x\') IS NULL OR true --" = 1',
    "attributes.\"$.*\" = 'a'",
    "inactive_days > 3 UNION ALL SELECT true",
    "inactive_days IS DISTINCT FROM 3",
    "(inactive_days, role) = (1, 'x')",
    "inactive_days & 1 = 1",
    "inactive_days ** 2 > 9",
    "inactive_days // 2 > 9",
    "main.contacts.role = 'x'",
    "information_schema.tables = 'x'",
    "\uff32\uff2f\uff2c\uff25 = 1",
]


@pytest.mark.parametrize("text", INJECTIONS)
def test_nothing_but_plain_comparisons_gets_through(text):
    assert refusal(text).startswith("condition:1:")


@pytest.mark.parametrize(
    "value", ["'; DROP TABLE contacts; --", "\\'; --", "' OR '1'='1", "${HOME}", "%s", "\\", "''", "x'y"]
)
def test_dangerous_text_is_only_text(value):
    written = value.replace("'", "''")
    condition = parse(f"role = '{written}'")
    assert engine_answers([condition.sql], [row(role=value), row(role="x")]) == [(True,), (False,)]
    assert condition.holds(row(role=value)) is True


def test_deep_and_long_conditions_are_refused_and_wide_ones_are_not():
    assert "nested too deeply" in refusal("(" * 60 + "can_email" + ")" * 60)
    assert "nested too deeply" in refusal("not " * 1000 + "can_email")
    assert "nested too deeply" in refusal("- " * 2000 + "1 > 0")
    assert "longer than" in refusal("can_email or " * 1000 + "can_email")
    assert (
        parse(" or ".join(f"inactive_days = {number}" for number in range(400))).holds(row(inactive_days=399)) is True
    )


@pytest.mark.timeout(60)
def test_a_long_condition_is_read_in_reasonable_time():
    text = " or ".join(f"(inactive_days = {number} and role = 'x')" for number in range(200))
    parse(text)


# --- what is allowed --------------------------------------------------------------------------------------------


def test_names_are_the_same_in_capitals_but_attributes_are_not():
    assert parse("INACTIVE_DAYS > 3").columns == ("inactive_days",)
    assert parse("Accounts.MRR > 3").columns == ("accounts.mrr",)
    assert parse("attributes.Plan = 'x'").columns == ("attributes.Plan",)


def test_every_column_can_be_asked_for_and_is_in_the_relation():
    tests = {Kind.NUMBER: "{} > 1", Kind.TEXT: "{} = 'x'", Kind.BOOLEAN: "{}", Kind.TIME: "{} > '2026-01-01'"}
    checked = [parse(tests[column.kind].format(name)) for name, column in COLUMNS.items()]
    assert engine_answers([condition.sql for condition in checked], [row()]) == [(None,) * len(COLUMNS)]
    assert {column.relation or name for name, column in COLUMNS.items()} <= set(RELATION_COLUMNS)


def test_dates_begin_at_midnight_in_the_accounts_time_zone():
    condition = parse("created_at >= '2026-06-01'", timezone="Europe/Amsterdam")
    assert condition.holds(row(created_at=datetime(2026, 5, 31, 22, 0, tzinfo=UTC))) is True
    assert condition.holds(row(created_at=datetime(2026, 5, 31, 21, 59, tzinfo=UTC))) is False


def test_days_since_counts_dates_in_the_accounts_time_zone():
    moment = datetime(2026, 2, 27, 23, 30, tzinfo=UTC)
    facts = row(created_at=moment, as_of=date(2026, 3, 1))
    assert parse("days_since(created_at) = 2").holds(facts) is True
    amsterdam = parse("days_since(created_at) = 1", timezone="Europe/Amsterdam")
    assert amsterdam.holds(facts) is True
    assert engine_answers([amsterdam.sql], [facts]) == [(True,)]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("attributes.seats >= 12", True),
        ("attributes.seats = '12'", True),
        ("attributes.trial", True),
        ("attributes.since < date '2026-02-01'", True),
        ("attributes.nested is null", True),
        ("attributes.missing is null", True),
        ("attributes.missing = 'x'", None),
        ('attributes."Seat Count" > 5', True),
        ("attributes.word > 5", None),
        ("accounts.attributes.tier = 'gold'", None),
    ],
)
def test_attributes_are_read_as_what_they_are_compared_with(text, holds):
    facts = row(
        attributes='{"seats": "12", "trial": "Yes", "since": "2026-01-31", "nested": {"a": 1}, "Seat Count": 7, "word": "many"}'
    )
    condition = parse(text)
    assert condition.holds(facts) is holds
    assert engine_answers([condition.sql], [facts]) == [(holds,)]


def test_activity_may_only_use_the_columns_of_usage():
    condition = parse_usage("feature <> 'status_page' and events > 1")
    assert condition.sql == '(("feature" <> \'status_page\') AND ("events" > 1))'
    with pytest.raises(SegmentError, match="no column 'inactive_days'"):
        parse_usage("inactive_days > 3")
    with pytest.raises(SegmentError, match=r"no column 'attributes\.x'"):
        parse_usage("attributes.x = 'a'")


def test_dividing_by_zero_is_unknown_in_both_worlds():
    condition = parse("lifetime_value / (inactive_days - inactive_days) > 1 or lifetime_value % 0 > 1")
    facts = row(lifetime_value=5.0, inactive_days=3)
    assert condition.holds(facts) is None
    assert engine_answers([condition.sql], [facts]) == [(None,)]


def test_an_error_of_a_segment_points_into_the_playbook():
    with pytest.raises(SegmentError, match=r"winback\.yaml:7:20: no column"):
        check_segment(Segment("a", "rol = 'x'", None, 7, 20))
    with pytest.raises(SegmentError, match=r"^environment variable X: no column"):
        parse("rol = 'x'", where=Location("environment variable X"))


@pytest.mark.timeout(60)
def test_like_takes_no_longer_than_the_text_and_pattern_are():
    condition = parse("role like '" + "%a" * 40 + "b'")
    assert condition.holds(row(role="a" * 2000)) is False


# --- explaining -------------------------------------------------------------------------------------------------


def clause(text, **facts):
    (only,) = parse(text).explain(row(**facts)).clauses
    return only


CHANGES = [
    ("inactive_days >= 30", {"inactive_days": 12}, "inactive_days >= 30 (now 12: in 18 days)"),
    ("inactive_days > 30", {"inactive_days": 30}, "inactive_days >= 31 (now 30: in 1 day)"),
    ("inactive_days between 30 and 59", {"inactive_days": 12}, "inactive_days >= 30 (now 12: in 18 days)"),
    ("inactive_days between 30 and 59", {"inactive_days": 70}, "inactive_days <= 59 (now 70: with new use)"),
    (
        "inactive_days between 30 and 59",
        {"inactive_days": 45},
        "inactive_days >= 60 (now 45: in 15 days), or inactive_days <= 29 (now 45: with new use)",
    ),
    (
        "inactive_days not between 30 and 59",
        {"inactive_days": 45},
        "inactive_days >= 60 (now 45: in 15 days), or inactive_days <= 29 (now 45: with new use)",
    ),
    ("30 <= inactive_days", {"inactive_days": 12}, "inactive_days >= 30 (now 12: in 18 days)"),
    (
        "inactive_days > 3 * gap_p90_days",
        {"inactive_days": 12, "gap_p90_days": 10.2},
        "inactive_days > 30.6 (now 12: in 19 days)",
    ),
    ("inactive_days >= 0", {"inactive_days": 12}, None),
    ("active_days_365 >= 10", {"active_days_365": 4}, "active_days_365 >= 10 (now 4)"),
    ("monetary_quintile >= 4", {"monetary_quintile": 5}, "monetary_quintile <= 3 (now 5)"),
    ("lifetime_value < 99.5", {"lifetime_value": 120.25}, "lifetime_value < 99.5 (now 120.2)"),
    ("role = 'cto'", {"role": "dev"}, "role = 'cto' (now 'dev')"),
    ("role in ('cto', 'team_lead')", {"role": "cto"}, "role not in ('cto', 'team_lead') (now 'cto')"),
    ("role not in ('cto')", {"role": "cto"}, "role not in ('cto') (now 'cto')"),
    ("role like 'c%'", {"role": "dev"}, "role like 'c%' (now 'dev')"),
    ("role is null", {"role": "dev"}, "role is empty"),
    ("role is not null", {"role": "dev"}, "role is empty"),
    ("can_email", {"can_email": False}, "can_email is yes"),
    ("can_email is true", {"can_email": None}, "can_email is yes"),
    ("can_email = true", {"can_email": False}, "can_email is yes (now no)"),
    ("inactive_days >= 30", {}, "unknown until inactive_days has a value"),
    ("inactive_days > gap_p90_days", {}, "unknown until inactive_days and gap_p90_days have values"),
    ("true", {}, None),
]


@pytest.mark.parametrize(("text", "facts", "change"), CHANGES)
def test_a_clause_says_what_would_turn_it(text, facts, change):
    assert clause(text, **facts).would_change == change


def test_what_is_said_to_turn_a_clause_does_turn_it():
    for text in (
        "inactive_days >= 30",
        "inactive_days between 30 and 59",
        "3 * 10 < inactive_days",
        "inactive_days = 47",
    ):
        for now in (0, 12, 29):
            told = clause(text, inactive_days=now).would_change
            days = int(told.split(": in ")[1].split(" ")[0])
            condition = parse(text)
            assert condition.holds(row(inactive_days=now + days)) is True
            assert condition.holds(row(inactive_days=now + days - 1)) is False


def test_an_explanation_has_every_clause_with_its_value_and_verdict():
    explained = parse("inactive_days >= 30 and (role in ('cto') or not (opted_out or accounts.mrr > 5))").explain(
        row(inactive_days=45, role="dev", account_mrr=9.5)
    )
    assert explained.holds is False
    assert [(c.text, c.value, c.holds, c.column, c.within) for c in explained.clauses] == [
        ("inactive_days >= 30", 45, True, "inactive_days", ("all",)),
        ("role in ('cto')", "dev", False, "role", ("all", "any")),
        ("opted_out", None, None, "opted_out", ("all", "any", "not", "any")),
        ("accounts.mrr > 5", 9.5, True, "accounts.mrr", ("all", "any", "not", "any")),
    ]


def test_a_clause_over_several_columns_shows_them_all():
    told = clause("inactive_days > 3 * gap_p90_days", inactive_days=12, gap_p90_days=2.0)
    assert told.value == {"inactive_days": 12, "gap_p90_days": 2.0}
    assert told.column == "inactive_days"


def test_clause_text_is_on_one_line_without_outer_parentheses():
    told = parse("(inactive_days\n   > 3) and ((can_email))").explain(row())
    assert [c.text for c in told.clauses] == ["inactive_days > 3", "can_email"]


def test_repeated_words_keep_their_own_places():
    told = parse("can_email = true and opted_out = true and bounced is null and role is null").explain(row())
    assert [c.text for c in told.clauses] == ["can_email = true", "opted_out = true", "bounced is null", "role is null"]
