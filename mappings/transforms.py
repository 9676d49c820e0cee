"""How a provider's value becomes a neutral one: each transform is a piece of DuckDB SQL, never a loop.

A transform turns one raw column, of whatever type the provider sent, into a typed value. What cannot be turned is NULL,
and `compile_mapping` sets the row aside because the raw value was not empty. Nothing here depends on the
session: a time without an offset is UTC, whatever time zone the connection is set to. A date without a time is that
civil day in the account's time zone: the moment it begins there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

EARLIEST_TIME = "1900-01-01"
LATEST_TIME = "2200-01-01"
"""Outside these a time is a mistake (zero dates, milliseconds read as seconds), not a fact."""

UTC = "UTC"

_ONLY_DATE = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
_NAIVE_TIME = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}([T ][0-9:.]+)?"
_ZONED_TIME = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}[T ][0-9:.]+ ?(Z|z|[+-][0-9]{2}(:?[0-9]{2})?|[A-Za-z_+/-]+)"
_NUMBER = r"[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?"
_WHOLE = r"[+-]?[0-9]+([.]0*)?"
_BLANKS = "' ' || chr(9) || chr(10) || chr(13)"
_TRUE = "'true', 't', 'yes', 'y', '1', 'on', '1.0'"
_BASES = "'consent_express', 'consent_implied', 'soft_opt_in', 'legitimate_interest', 'contract'"
_FALSE = "'false', 'f', 'no', 'n', '0', 'off', '0.0'"


def family(duckdb_type: str) -> str:
    """The kind of a DuckDB type: text, whole, decimal, boolean, date, time, zoned_time, bytes, nothing or nested."""
    name = duckdb_type.upper()
    if name.endswith("]") or name.startswith(("STRUCT", "MAP", "UNION")):
        return "nested"
    return _FAMILIES.get(name.split("(")[0].strip('"'), "other")


_FAMILIES: Mapping[str, str] = {
    **dict.fromkeys(["VARCHAR", "ENUM", "UUID", "CHAR", "TEXT", "STRING"], "text"),
    **dict.fromkeys(["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"], "whole"),
    **dict.fromkeys(["UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "BIGNUM"], "whole"),
    **dict.fromkeys(["FLOAT", "DOUBLE", "DECIMAL"], "decimal"),
    **dict.fromkeys(["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "DATETIME"], "time"),
    **dict.fromkeys(["TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", "TIMESTAMP_NS WITH TIME ZONE"], "zoned_time"),
    "BOOLEAN": "boolean",
    "DATE": "date",
    "BLOB": "bytes",
    "JSON": "json",
    "NULL": "nothing",
}

ANY = frozenset({*_FAMILIES.values(), "nested", "other"})
SCALARS = ANY - {"nested"}


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A raw column as a transform sees it, inside the SELECT that `compile_mapping` writes.

    column: SQL for the value as the provider sent it.
    text: SQL for the value as clean text; cheap to repeat where the provider sent text.
    kind: Its family.
    zone: The account's time zone, by which a date without a time is a day.
    """

    column: str
    text: str
    kind: str
    zone: str = UTC


def clean_text(column: str, duckdb_type: str) -> str:
    """SQL for the column as trimmed text without NUL characters; empty text is NULL."""
    kind = family(duckdb_type)
    if kind == "nested":
        return f"CAST(to_json({column}) AS VARCHAR)"
    if kind == "decimal" and not duckdb_type.upper().startswith("DECIMAL"):
        # pandas turns a whole-number column with one gap into floats: an id 12.0 is the id 12.
        whole = f"{column} = floor({column}) AND abs({column}) < 9007199254740992"
        return f"CASE WHEN {whole} THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"
    if kind == "bytes":
        text = f"TRY(decode({column}))"
    elif kind == "json":
        text = f"({column} ->> '$')"
    elif duckdb_type.upper() == "VARCHAR":
        text = column
    else:
        return f"CAST({column} AS VARCHAR)"
    # Clean text, which is nearly all of it, is recognised by three cheap looks instead of being rebuilt.
    clean = f"{text} >= '!' AND right({text}, 1) >= '!' AND NOT contains({text}, chr(0))"
    return f"CASE WHEN {clean} THEN {text} ELSE nullif(trim(replace({text}, chr(0), ''), {_BLANKS}), '') END"


def _time(raw: RawColumn) -> str:
    if raw.kind == "zoned_time":
        return f"CAST({raw.column} AS TIMESTAMPTZ)"
    if raw.kind == "date":
        return _begins(f"TRY_CAST({raw.column} AS TIMESTAMP)", raw.zone)
    if raw.kind == "time":
        return _in_utc(f"TRY_CAST({raw.column} AS TIMESTAMP)")
    if raw.kind in {"whole", "decimal"}:
        number = f"CAST({raw.column} AS DOUBLE)"
        return _epoch(number, f"abs({number})", (1e11, 1e14, 1e17))
    if raw.kind == "nothing":
        return "CAST(NULL AS TIMESTAMPTZ)"
    return _time_of_text(raw.text, raw.zone)


def _begins(day: str, zone: str) -> str:
    """The moment a civil day begins in a time zone, from its midnight as a time without a zone."""
    if zone in {UTC, "Etc/UTC"}:
        return _in_utc(day)
    return f"CASE WHEN isfinite({day}) THEN timezone('{zone}', {day}) END"


def _in_utc(timestamp: str) -> str:
    """A time without a zone as one in UTC; `timezone()` says the same and takes twelve times as long."""
    return f"CASE WHEN isfinite({timestamp}) THEN make_timestamptz(epoch_us({timestamp})) END"


def _time_of_text(text: str, zone: str) -> str:
    # DuckDB's cast to TIMESTAMP drops an offset without a word (2.0, November 2026), and its cast to TIMESTAMPTZ
    # reads naive text in the session's zone: each shape of text therefore goes to the cast that is right for it,
    # the two commonest without a regular expression.
    naive = _in_utc(f"TRY_CAST({text} AS TIMESTAMP)")
    squeezed = f"replace(replace({text}, ' +', '+'), ' -', '-')"
    epoch = _epoch(f"TRY_CAST({text} AS DOUBLE)", f"length(split_part({text}, '.', 1))", (12, 15, 18))
    only_date = f"length({text}) <= 10 AND regexp_full_match({text}, '{_ONLY_DATE}')"
    return (
        f"CASE WHEN ends_with({text}, 'Z') THEN TRY_CAST({text} AS TIMESTAMPTZ)"
        f" WHEN {only_date} THEN {_begins(f'TRY_CAST({text} AS TIMESTAMP)', zone)}"
        f" WHEN length({text}) = 19 AND {text}[17] = ':' THEN {naive}"
        f" WHEN regexp_full_match({text}, '{_NAIVE_TIME}') THEN {naive}"
        f" WHEN regexp_full_match({text}, '{_ZONED_TIME}') THEN TRY_CAST({squeezed} AS TIMESTAMPTZ)"
        f" WHEN regexp_full_match({text}, '[0-9]{{9,19}}([.][0-9]+)?') THEN {epoch} END"
    )


def _epoch(number: str, size: str, bounds: tuple[float, float, float]) -> str:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size."""
    milli, micro, nano = bounds
    unit = (
        f"CASE WHEN {size} < {milli} THEN 1e0 WHEN {size} < {micro} THEN 1e3 WHEN {size} < {nano} THEN 1e6 ELSE 1e9 END"
    )
    return f"TRY(to_timestamp({number} / {unit}))"


def _date(raw: RawColumn) -> str:
    return f"timezone('UTC', date_trunc('day', timezone('UTC', {_time(replace(raw, zone=UTC))})))"


def _number(raw: RawColumn) -> str:
    if raw.kind in {"whole", "decimal", "boolean"}:
        return f"CAST({raw.column} AS DOUBLE)"
    if raw.kind == "nothing":
        return "CAST(NULL AS DOUBLE)"
    return f"CASE WHEN regexp_full_match({raw.text}, '{_NUMBER}') THEN TRY_CAST({raw.text} AS DOUBLE) END"


def _integer(raw: RawColumn) -> str:
    if raw.kind in {"whole", "boolean"}:
        return f"TRY_CAST({raw.column} AS BIGINT)"
    if raw.kind == "decimal":
        return f"CASE WHEN {raw.column} = floor({raw.column}) THEN TRY_CAST({raw.column} AS BIGINT) END"
    if raw.kind == "nothing":
        return "CAST(NULL AS BIGINT)"
    whole = f"TRY_CAST(split_part({raw.text}, '.', 1) AS BIGINT)"
    return f"CASE WHEN regexp_full_match({raw.text}, '{_WHOLE}') THEN {whole} END"


def _boolean(raw: RawColumn) -> str:
    if raw.kind == "boolean":
        return raw.column
    if raw.kind in {"whole", "decimal"}:
        return f"CASE WHEN {raw.column} = 1 THEN TRUE WHEN {raw.column} = 0 THEN FALSE END"
    if raw.kind == "nothing":
        return "CAST(NULL AS BOOLEAN)"
    text = f"lower({raw.text})"
    return f"CASE WHEN {text} IN ({_TRUE}) THEN TRUE WHEN {text} IN ({_FALSE}) THEN FALSE END"


def _negated(raw: RawColumn) -> str:
    return f"NOT ({_boolean(raw)})"


def _present(raw: RawColumn) -> str:
    return f"({raw.text} IS NOT NULL)"


def _flagged(raw: RawColumn) -> str:
    """True for a true value and for any words (a reason); false for a false one; unknown when empty."""
    return f"CASE WHEN {raw.text} IS NOT NULL THEN lower({raw.text}) NOT IN ({_FALSE}) END"


def _text(raw: RawColumn) -> str:
    return raw.text


def _lower(raw: RawColumn) -> str:
    return f"lower({raw.text})"


def _zone_name(raw: RawColumn) -> str:
    return f"replace({raw.text}, '_slash_', '/')"


def _split(raw: RawColumn) -> str:
    """A list, or text with commas, semicolons or bars between, as text joined by `;`."""
    parts = raw.column if raw.kind == "nested" else f"regexp_split_to_array({raw.text}, '[;,|]')"
    trimmed = f"list_transform({parts}, lambda part: trim(CAST(part AS VARCHAR)))"
    return f"nullif(array_to_string(list_filter({trimmed}, lambda part: part <> ''), ';'), '')"


def _legal_basis(raw: RawColumn) -> str:
    """A CRM's words for the legal basis of mail, of which several may be set, as the strongest we know; else empty.

    A basis to process data is not one to mail: what is "not applicable" or unheard of is no basis.
    """
    words = f"lower({raw.text})"
    # HubSpot's values, as its property settings list them; the dash in them is an en dash in some accounts.
    return (
        f"CASE WHEN contains({words}, 'freely given consent') THEN 'consent_express'"
        f" WHEN contains({words}, 'legitimate interest') AND contains({words}, 'existing customer') THEN 'soft_opt_in'"
        f" WHEN contains({words}, 'performance of a contract') THEN 'contract'"
        f" WHEN contains({words}, 'legitimate interest') THEN 'legitimate_interest'"
        f" WHEN {words} IN ({_BASES}) THEN {words} END"
    )


@dataclass(frozen=True, slots=True)
class Transform:
    """One named way to convert a value.

    duckdb_type: What it yields.
    accepts: The families of raw types it can work on; any other means the source changed its columns.
    wanted: What the value should have been, for the reason of a row set aside; None where every value converts.
    holds: A test the converted value must pass, with `{}` where the value goes; one that fails is unconverted.
    """

    name: str
    sql: Callable[[RawColumn], str]
    duckdb_type: str
    accepts: frozenset[str]
    wanted: str | None = None
    holds: str | None = None


_TIMES = frozenset({"text", "json", "bytes", "nothing", "time", "zoned_time", "date", "whole", "decimal"})
_PLAUSIBLE = f"{{}} >= TIMESTAMPTZ '{EARLIEST_TIME} 00:00:00+00' AND {{}} < TIMESTAMPTZ '{LATEST_TIME} 00:00:00+00'"
_LISTS = frozenset({"text", "json", "bytes", "nothing", "nested", "whole"})
_NUMBERS = frozenset({"text", "json", "bytes", "nothing", "whole", "decimal", "boolean"})

TRANSFORMS: Mapping[str, Transform] = {
    transform.name: transform
    for transform in (
        Transform("text", _text, "VARCHAR", ANY),
        Transform("lower", _lower, "VARCHAR", ANY),
        Transform("email", _lower, "VARCHAR", SCALARS),
        Transform("zone_name", _zone_name, "VARCHAR", SCALARS),
        Transform("split", _split, "VARCHAR", _LISTS),
        Transform("time", _time, "TIMESTAMPTZ", _TIMES, "a time", _PLAUSIBLE),
        Transform("date", _date, "TIMESTAMPTZ", _TIMES, "a date", _PLAUSIBLE),
        Transform("number", _number, "DOUBLE", _NUMBERS, "a number", "isfinite({})"),
        Transform("integer", _integer, "BIGINT", _NUMBERS, "a whole number"),
        Transform("boolean", _boolean, "BOOLEAN", _NUMBERS, "yes or no"),
        Transform("negated", _negated, "BOOLEAN", _NUMBERS, "yes or no"),
        Transform("legal_basis", _legal_basis, "VARCHAR", SCALARS),
        Transform("present", _present, "BOOLEAN", ANY),
        Transform("flagged", _flagged, "BOOLEAN", ANY),
    )
}
"""Every transform a mapping file may name."""
