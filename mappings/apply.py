"""A mapping and the columns that really came → one SELECT that makes neutral rows, and says which are bad.

The SELECT runs in the warehouse's engine over a whole page at once. Ids come out as the provider wrote them: the
warehouse adds the system in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from connector.errors import MappingError
from mappings.schema import ATTRIBUTES, FieldMapping, StreamMapping, default_transform
from mappings.transforms import TRANSFORMS, UTC, RawColumn, Transform, clean_text, family

PLACE = "__place"
FILE = "__file"
LINE = "__line"
"""Raw columns an adapter may add: where a record stands, as text, or as a file and a line (cheaper by the million)."""

RAW = "{raw}"
ROW_PLACE = "row_place"
REJECT_REASON = "reject_reason"
_SHOWN_CHARACTERS = 40
_DEFAULTS = {"events": "1"}
_RAW = "__raw_"
_MADE = "__made_"
_TEXT = "__text_"
_LIST = "__list_"
_ONE = "one_text"
_LONG = 100
_SEVERAL = 3
_TEXT_FAMILIES = frozenset({"text", "json", "bytes"})
_NOT_NEGATIVE = frozenset({"events", "seats"})


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A mapping made ready for one set of raw columns.

    columns: The neutral columns the SELECT yields, before `row_place` and `reject_reason`.
    provided: Those of them that the raw columns really carry; the others are NULL throughout.
    select_sql: One DuckDB SELECT with `{raw}` where the staged relation's name goes. It may hold other braces, so
        use `sql(raw)`.
    """

    into: str
    columns: tuple[str, ...]
    provided: tuple[str, ...]
    select_sql: str

    def sql(self, raw: str) -> str:
        """The SELECT over this relation."""
        before, _, after = self.select_sql.rpartition(RAW)
        return before + raw + after


@dataclass(frozen=True, slots=True)
class _Value:
    """One neutral column's expression and the test that it could not be made from what was there."""

    name: str
    sql: str
    problem: str | None
    provided: bool
    holds: str | None = None
    default: str | None = None
    late: bool = False
    """Made of other values, at the end."""

    @property
    def bounded(self) -> str:
        """The value with what its transform does not allow made NULL."""
        return f"CASE WHEN {self.holds.replace('{}', self.made)} THEN {self.made} END" if self.holds else self.made

    @property
    def made(self) -> str:
        """The name of the converted value inside the SELECT."""
        return quoted(_MADE + self.name)

    @property
    def shown(self) -> str:
        """The value as it leaves the SELECT."""
        if self.late:
            return self.sql
        return f"coalesce({self.made}, {self.default})" if self.default else self.made


class _Conversions:
    """The SQL of one column's conversion; a long one that several columns of text need is written once, over a list.

    DuckDB plans a statement expression by expression, 5 ms and more for a time out of text: as long as it takes to
    convert some ten thousand rows. Read from a list, a value takes half as long again, so one or two are written out.
    """

    def __init__(self, mapping: StreamMapping, columns: Mapping[str, str], zone: str) -> None:
        self._columns = columns
        self._zone = zone
        self._one = RawColumn(column=_ONE, text=_ONE, kind="text", zone=zone)
        texts: dict[str, dict[str, None]] = {}
        for transform, field in _conversions(mapping):
            if family(columns.get(field, "NULL")) in _TEXT_FAMILIES and len(transform.sql(self._one)) > _LONG:
                texts.setdefault(transform.name, {})[quoted(_TEXT + field)] = None
        self._texts = {name: list(found) for name, found in texts.items() if len(found) >= _SEVERAL}

    def of(self, transform: Transform, field: str) -> str:
        """The converted value of a raw column, inside the SELECT."""
        raw = _raw(field, self._columns[field], self._zone)
        texts = self._texts.get(transform.name, [])
        return (
            f"{quoted(_LIST + transform.name)}[{texts.index(raw.text) + 1}]"
            if raw.text in texts
            else f"({transform.sql(raw)})"
        )

    def lists(self) -> dict[str, str]:
        """The lists that the SELECT has to make before: name to SQL."""
        return {
            quoted(_LIST + name): f"list_transform([{', '.join(texts)}], "
            f"lambda {_ONE}: {TRANSFORMS[name].sql(self._one)})"
            for name, texts in self._texts.items()
        }


def _conversions(mapping: StreamMapping) -> Iterator[tuple[Transform, str]]:
    """Every transform with each raw column it is for."""
    for name, entry in mapping.fields.items():
        for field in entry.from_:
            yield TRANSFORMS[entry.transform or default_transform(mapping.into, name)], field
    for entry in mapping.attributes.values():
        for field in entry.from_ if entry.transform else ():
            yield TRANSFORMS[str(entry.transform)], field


def compile_mapping(
    mapping: StreamMapping,
    columns: Mapping[str, str],
    *,
    partial: bool = False,
    origin: str | None = None,
    zone: str = UTC,
) -> CompiledMapping:
    """The SELECT for raw columns of these DuckDB types.

    Args:
        mapping: What fills what.
        columns: Raw column name to DuckDB type, as `DESCRIBE` says.
        partial: Leave out neutral columns that no raw column carries, instead of yielding NULL.
        origin: The file or export, named in errors.
        zone: The account's time zone: where a date without a time is a day.

    Raises:
        MappingError: A required field, or one the playbook names, is not there or has a type that cannot be converted.
    """
    where = f"{origin}: " if origin else ""
    conversions = _Conversions(mapping, columns, zone)
    values = [
        _neutral_value(mapping, name, entry, columns, conversions, partial=partial, where=where)
        for name, entry in mapping.fields.items()
    ]
    attributes, parts = _attributes(mapping, columns, conversions, partial=partial, where=where)
    kept = [value for value in (*values, attributes) if value is not None and (value.provided or not partial)]
    return CompiledMapping(
        into=mapping.into,
        columns=tuple(value.name for value in kept),
        provided=tuple(value.name for value in kept if value.provided),
        select_sql=_select(
            kept, parts, conversions.lists(), [name for name in mapping.provider_fields() if name in columns], columns
        ),
    )


def _select(
    values: list[_Value], parts: list[_Value], lists: Mapping[str, str], needed: list[str], columns: Mapping[str, str]
) -> str:
    """Clean text, then values, then their bounds, then the tests over them: nothing is worked out twice.

    `parts` are worked out for what is made of them, and do not leave the SELECT.

    Only columns the mapping reads are carried along: what else a provider sends costs nothing.
    """
    raw = [name for name in dict.fromkeys([*needed, PLACE, FILE, LINE]) if name in columns]
    texts = [name for name in needed if family(columns[name]) in _TEXT_FAMILIES]
    cleaned = ", ".join(
        [f"{quoted(name)} AS {quoted(_RAW + name)}" for name in raw]
        + [f"{clean_text(quoted(name), columns[name])} AS {quoted(_TEXT + name)}" for name in texts]
    )
    carried = [quoted(_RAW + name) for name in raw] + [quoted(_TEXT + name) for name in texts] + [*lists]
    named = ", ".join(f"{sql} AS {name}" for name, sql in lists.items())
    listed = f"(SELECT *, {named} FROM" if lists else "("
    worked_out = [value for value in (*values, *parts) if not value.late]
    made = ", ".join([*carried, *(f"{value.sql} AS {value.made}" for value in worked_out)])
    bounded = ", ".join([*carried, *(f"{value.bounded} AS {value.made}" for value in worked_out)])
    shown = ", ".join(f"{value.shown} AS {quoted(value.name)}" for value in values)
    problems = [value.problem for value in (*values, *parts) if value.problem]
    reason = f"CASE {' '.join(problems)} END" if problems else "CAST(NULL AS VARCHAR)"
    return (
        f"SELECT {shown}, {_place(columns)} AS {ROW_PLACE}, {reason} AS {REJECT_REASON}\n"
        f"FROM (SELECT {bounded}\nFROM (SELECT {made}\n"
        f"FROM {listed} (SELECT {cleaned or '1 AS nothing'}\nFROM {RAW}))))"
    )


def _raw(field: str, duckdb_type: str, zone: str = UTC) -> RawColumn:
    """The column as transforms see it: text the SELECT has already cleaned, anything else cast where it is asked."""
    kind, column = family(duckdb_type), quoted(_RAW + field)
    text = quoted(_TEXT + field) if kind in _TEXT_FAMILIES else clean_text(column, duckdb_type)
    return RawColumn(column=column, text=text, kind=kind, zone=zone)


def _place(columns: Mapping[str, str]) -> str:
    if PLACE in columns:
        return f"CAST({quoted(_RAW + PLACE)} AS VARCHAR)"
    if FILE in columns and LINE in columns:
        return f"{quoted(_RAW + FILE)} || ':' || CAST({quoted(_RAW + LINE)} AS VARCHAR)"
    return "CAST(NULL AS VARCHAR)"


def _neutral_value(
    mapping: StreamMapping,
    name: str,
    entry: FieldMapping,
    columns: Mapping[str, str],
    conversions: _Conversions,
    *,
    partial: bool,
    where: str,
) -> _Value:
    transform = TRANSFORMS[entry.transform or default_transform(mapping.into, name)]
    if not entry.from_:
        return _Value(name, f"CAST({literal(str(entry.value))} AS {transform.duckdb_type})", None, provided=True)
    present = _present_fields(mapping, name, entry, columns, partial=partial, where=where)
    _check_types(transform, name, present, where=where)
    if not present:
        return _Value(name, f"CAST(NULL AS {transform.duckdb_type})", None, provided=False)
    made = quoted(_MADE + name)
    sql, problems = _converted(name, transform, present, conversions)
    if mapping.is_required(name):
        empty = f"{name} is empty{_read_from(name, next(iter(present)))}"
        problems.append(f"WHEN {made} IS NULL THEN {literal(empty)}")
    if name in _NOT_NEGATIVE:
        problems.append(f"WHEN {made} < 0 THEN {literal(name + ' is below zero')}")
    return _Value(
        name,
        sql,
        " ".join(problems) or None,
        provided=True,
        holds=transform.holds,
        default=_DEFAULTS.get(name) if mapping.into == "usage" else None,
    )


def _converted(
    name: str, transform: Transform, present: Mapping[str, str], conversions: _Conversions
) -> tuple[str, list[str]]:
    """A value made of the raw columns there are, and a WHEN for each that the transform could not read."""
    made = [conversions.of(transform, field) for field in present]
    alone = quoted(_MADE + name) if len(present) == 1 else None
    problems = (
        _unconverted(name, field, kind, transform, made=alone or sql)
        for (field, kind), sql in zip(present.items(), made, strict=True)
    )
    return _combined(transform, made), [problem for problem in problems if problem]


def _combined(transform: Transform, made: list[str]) -> str:
    if len(made) == 1:
        return made[0]
    if transform.name in {"flagged", "present"}:
        any_true = " OR ".join(f"coalesce({sql}, FALSE)" for sql in made)
        return f"CASE WHEN {any_true} THEN TRUE ELSE coalesce({', '.join(made)}) END"
    if transform.name == "split":
        return f"nullif(concat_ws(';', {', '.join(made)}), '')"
    return f"coalesce({', '.join(made)})"


def _unconverted(name: str, field: str, duckdb_type: str, transform: Transform, *, made: str) -> str:
    """A WHEN that holds where the raw value says something the transform could not read; empty if it reads all.

    `made` is the converted value. The nested CASE keeps the raw text unread for every row that converted.
    """
    if transform.wanted is None:
        return ""
    text = _raw(field, duckdb_type).text
    shown = f"regexp_replace(left({text}, {_SHOWN_CHARACTERS}), '[^ ]*@[^ ]*', '<address>', 'g')"
    ending = literal(f"' is not {transform.wanted}{_read_from(name, field)}")
    return (
        f"WHEN CASE WHEN {made} IS NULL THEN {text} IS NOT NULL ELSE FALSE END"
        f" THEN {literal(name + ': ' + chr(39))} || {shown} || {ending}"
    )


def _read_from(name: str, field: str) -> str:
    return f" (field {field})" if field != name else ""


def _attributes(
    mapping: StreamMapping, columns: Mapping[str, str], conversions: _Conversions, *, partial: bool, where: str
) -> tuple[_Value | None, list[_Value]]:
    """All of them as one value, and those a transform makes."""
    if not mapping.attributes:
        return None, []
    pairs: list[str] = []
    parts: list[_Value] = []
    for name, entry in mapping.attributes.items():
        if not entry.from_:
            pairs.append(f"{literal(name)}, {literal(str(entry.value))}")
            continue
        label = f"attributes.{name}"
        present = _present_fields(mapping, label, entry, columns, partial=partial, where=where)
        transform = TRANSFORMS[entry.transform] if entry.transform else None
        if transform is not None:
            _check_types(transform, label, present, where=where)
        if not present:
            continue
        if transform is None:
            pairs.append(f"{literal(name)}, {_as_it_came(present)}")
            continue
        value, problems = _converted(label, transform, present, conversions)
        parts.append(_Value(label, value, " ".join(problems) or None, provided=True))
        pairs.append(f"{literal(name)}, {parts[-1].made}")
    if not pairs:
        return _Value(ATTRIBUTES, "CAST(NULL AS VARCHAR)", None, provided=False), []
    # A patch loses its empty members: what a provider leaves empty takes no room.
    sql = f"nullif(CAST(json_merge_patch('{{}}', json_object({', '.join(pairs)})) AS VARCHAR), '{{}}')"
    return _Value(ATTRIBUTES, sql, None, provided=True, late=True), parts


def _as_it_came(present: Mapping[str, str]) -> str:
    """An attribute without a transform keeps its type; text is trimmed."""
    typed = {"whole", "decimal", "boolean", "nested", "nothing", "json"}
    made = [
        _raw(field, kind).column if family(kind) in typed else _raw(field, kind).text for field, kind in present.items()
    ]
    return made[0] if len(made) == 1 else f"coalesce({', '.join(f'CAST({sql} AS VARCHAR)' for sql in made)})"


def _present_fields(
    mapping: StreamMapping,
    name: str,
    entry: FieldMapping,
    columns: Mapping[str, str],
    *,
    partial: bool,
    where: str,
) -> dict[str, str]:
    present = {field: columns[field] for field in entry.from_ if field in columns}
    required = name in mapping.fields and mapping.is_required(name)
    if present or not (required or (entry.by_user and not partial)):
        return present
    raise missing_field(f"{where}{mapping.system} {mapping.stream}", name, entry.from_[0], columns)


def missing_field(place: str, neutral: str, field: str, columns: Mapping[str, str]) -> MappingError:
    """The error for a mapped field that the source does not carry: what is missing, what is there, what is near."""
    there = [column for column in columns if not column.startswith("__")]
    near = get_close_matches(field, there, n=1)
    return MappingError(
        f"{place}: no field {field!r}, which {neutral} is read from" + (f"; did you mean {near[0]}?" if near else ""),
        hint=f"fields there: {', '.join(there) or 'none'}; change the mapping of {neutral}, or the source.",
    )


def _check_types(transform: Transform, name: str, present: Mapping[str, str], *, where: str) -> None:
    for field, kind in present.items():
        if family(kind) not in transform.accepts:
            raise MappingError(
                f"{where}field {field!r} is {kind}, but {name} needs {transform.wanted or 'text'}",
                hint=f"map {name} to another field, or convert the field in the source.",
            )


def quoted(name: str) -> str:
    """A name as a DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a DuckDB literal."""
    return "'" + text.replace("'", "''") + "'"
