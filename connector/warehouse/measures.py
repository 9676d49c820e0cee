"""Numbers about everybody together: growth accounting, the return curve, what each source has brought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from connector.errors import SettingError
from connector.rules import sql_files
from connector.warehouse import features, schema
from connector.warehouse.answers import ReturnCurve, SourceStat
from connector.warehouse.database import Database, day_literal, literal, timestamp
from connector.warehouse.features import Made

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST_SILENCE_DAYS = 730
LEVELS = ("0.5", "0.3", "0.2", "0.1", "0.05")
_PERIODS = {"day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}


def growth(database: Database, made: Made, *, by: str, as_of: date) -> pa.Table:
    """period, new, retained, resurrected, dormant: one row per period, months as 2026-10, weeks by their Monday."""
    if by not in _PERIODS:
        raise SettingError(f"growth: no period {by!r}", hint="day, week or month")
    moves = sql_files.render(
        "growth",
        activity=features.state_table(database, as_of, made),
        as_of=day_literal(as_of),
        unit=literal(by),
        step=f"INTERVAL 1 {by}",
    )
    return database.arrow(f"SELECT strftime(period, '{_PERIODS[by]}') AS period, * EXCLUDE (period) FROM ({moves})")


def return_curve(
    database: Database, made: Made, *, as_of: date, horizon_days: int, since_days: int | None = None
) -> ReturnCurve:
    """Kaplan-Meier over all spells of silence, or over those that began in the last `since_days` days."""
    since = as_of - timedelta(days=since_days) if since_days is not None else date(1, 1, 1)
    state = features.state_table(database, as_of, made)
    return _curve(database.rows(_spells(state, as_of, since)), as_of, horizon_days)


def return_curve_aside(database: Database, made: Made, *, as_of: date, horizon_days: int) -> Callable[[], ReturnCurve]:
    """The same over all spells, to be called from another thread, as long as no facts are stored meanwhile."""
    if features.lies_before_the_newest_use(database, as_of):
        # What lies in the past is worked out in temporary tables, which only their own connection sees.
        past = return_curve(database, made, as_of=as_of, horizon_days=horizon_days)
        return lambda: past
    spells = _spells(features.state_table(database, as_of, made), as_of, date(1, 1, 1))

    def found() -> ReturnCurve:
        with database.connection.cursor() as second:
            return _curve(second.execute(spells).fetchall(), as_of, horizon_days)

    return found


def _spells(state: str, as_of: date, since: date) -> str:
    return sql_files.render("spells", activity=state, as_of=day_literal(as_of), since=day_literal(since))


def _curve(spells: Iterable[tuple[Any, ...]], as_of: date, horizon_days: int) -> ReturnCurve:
    lengths = [(int(days), int(ended), int(cut)) for days, ended, cut in spells]
    p_return = returns(lengths, horizon_days)
    ended, censored = sum(row[1] for row in lengths), sum(row[2] for row in lengths)
    return ReturnCurve(
        as_of=as_of,
        horizon_days=horizon_days,
        p_return=tuple(p_return),
        thresholds={level: _first_below(p_return, float(level)) for level in LEVELS},
        stays={level: _stays_below(p_return, float(level)) for level in LEVELS},
        spells=ended + censored,
        ended=ended,
        censored=censored,
    )


def returns(lengths: Sequence[tuple[int, int, int]], horizon_days: int) -> list[float | None]:
    """P(return within the horizon | silent for d days), d from 0 to 730, from (length, ended, cut off) in days.

    A spell cut off after n days was at risk for n days. None where no spell is that long.
    """
    longest = LONGEST_SILENCE_DAYS + horizon_days
    ended, over = [0] * (longest + 1), [0] * (longest + 2)
    at_risk = 0
    for days, returned, cut in lengths:
        at_risk += returned + cut
        if days <= longest:
            ended[days] += returned
            over[days + 1] += returned + cut
    survival: list[float] = []
    alive, still = 1.0, []
    for day in range(longest + 1):
        at_risk -= over[day]
        still.append(at_risk)
        if at_risk:
            alive *= 1 - ended[day] / at_risk
        survival.append(alive)
    return [
        1 - survival[day + horizon_days] / survival[day] if still[day] and survival[day] > 0 else None
        for day in range(LONGEST_SILENCE_DAYS + 1)
    ]


def _first_below(p_return: Sequence[float | None], level: float) -> int | None:
    return next((day for day, p in enumerate(p_return) if p is not None and p < level), None)


def _stays_below(p_return: Sequence[float | None], level: float) -> int | None:
    last_above = max((day for day, p in enumerate(p_return) if p is not None and p >= level), default=-1)
    return next((day for day, p in enumerate(p_return) if p is not None and day > last_above), None)


def source_stats(database: Database) -> list[SourceStat]:
    """What every stream has brought, for the guards and `status`."""
    return [
        SourceStat(**row)
        for row in database.dicts(
            "SELECT source, stream, rows, newest_at, previous_rows, pulled_at FROM stream_stats ORDER BY source, stream"
        )
    ]


def mail_health(
    database: Database,
    since: datetime,
    touches: Iterable[tuple[str, str, datetime]] | None,
    sent: Mapping[str, int] | None = None,
) -> dict[str, dict[str, int]]:
    """sent, delivered, bounce, spam, unsubscribe: by campaign, or by the program that touched the contact last."""
    if touches is None:
        sql = sql_files.render("mail_health", mails=f"(FROM engagements WHERE happened_at >= {timestamp(since)})")
    else:
        _stage_touches(database, touches, since)
        counted = f"(SELECT program, count(*) AS sent FROM {_TOUCHES} GROUP BY program)"
        if sent is not None:
            database.execute(f"CREATE OR REPLACE TEMP TABLE {_SENT} (program VARCHAR, sent BIGINT)")
            for program, number in sent.items():
                database.execute(f"INSERT INTO {_SENT} VALUES (?, ?)", [program, number])
            counted = _SENT
        sql = sql_files.render("program_health", sent=counted, touches=_TOUCHES, answers=_answers(since))
    found = {name: dict(zip(_HEALTH, counts, strict=True)) for name, *counts in database.rows(sql)}
    database.drop(_TOUCHES, _SENT)
    return found


def answered(database: Database, since: datetime) -> list[str]:
    """Contacts, under whatever id, who bounced, complained or unsubscribed from this moment on."""
    rows = database.rows(
        "SELECT contact_id FROM contacts LEFT JOIN folded USING (contact_key) WHERE "
        f"coalesce(folded.into_key, contacts.contact_key) IN (SELECT contact_key FROM {_answers(since)}) "
        "ORDER BY contact_id"
    )
    return [row[0] for row in rows]


_HEALTH = ("sent", "delivered", "bounce", "spam", "unsubscribe")
_TOUCHES, _SENT = "program_touches", "program_sent"


def _answers(since: datetime) -> str:
    """SQL for what speaks against mail: contact_key, kind, happened_at."""
    at = timestamp(since)
    return (
        "(SELECT users.contact_key, kind, happened_at FROM engagements JOIN users USING (user_key) "
        f"WHERE kind IN ('bounce', 'spam', 'unsubscribe') AND happened_at >= {at} UNION ALL "
        f"{_marked('opted_out', 'unsubscribe', at)} UNION ALL {_marked('bounced', 'bounce', at)})"
    )


def _stage_touches(database: Database, touches: Iterable[tuple[str, str, datetime]], since: datetime) -> None:
    import pyarrow as pa

    ids, programs, times = tuple(zip(*touches, strict=True)) or ((), (), ())
    given = pa.table(
        {
            "contact_id": pa.array(ids, pa.string()),
            "program": pa.array(programs, pa.string()),
            "at": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )
    database.connection.register("touches_given", given)
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TOUCHES} AS SELECT coalesce(folded.into_key, c.contact_key) AS contact_key, "
        'program, "at" FROM touches_given LEFT JOIN contacts AS c USING (contact_id) '
        f'LEFT JOIN folded USING (contact_key) WHERE "at" >= {timestamp(since)}'
    )
    database.connection.unregister("touches_given")


def _marked(flag: str, kind: str, at: str) -> str:
    """SQL for when contacts were first seen marked so, where they were known not to be before."""
    return (
        f"SELECT contact_key, '{kind}', valid_from FROM contacts_history WHERE {flag} AND valid_from >= {at} "
        f"AND valid_from > {schema.BEGINNING} AND contact_key IN "
        f"(SELECT contact_key FROM contacts_history AS earlier WHERE {flag} IS NOT TRUE "
        "AND earlier.valid_to = contacts_history.valid_from)"
    )
