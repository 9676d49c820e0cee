"""The contacts that are in a program, and what happened to them since they entered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from connector.rules import sql_files
from connector.warehouse import activity, features
from connector.warehouse.database import Database, day_literal
from connector.warehouse.features import Made
from connector.warehouse.said_no import SHARED

if TYPE_CHECKING:
    import pyarrow as pa

ENTERED = "entered_contacts"
"""contact_id, contact_key (NULL: nobody here now), entered_at, spell_started_on; the newest entry of each contact."""

SIGNALS = "program_signals"
_DOUBLES = "entered_doubles"
_USES = "uses_since"
_STAGED = "episodes_given"


def place(database: Database, episodes: Sequence[tuple[str, datetime, date]] | pa.Table | None) -> None:
    """Make `entered_contacts` from the episodes given: contact_id, entered_at, spell_started_on."""
    database.connection.register(_STAGED, _table(episodes))
    try:
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE {ENTERED} AS SELECT e.*, c.contact_key FROM ("
            "  SELECT contact_id, max(entered_at)::TIMESTAMPTZ AS entered_at, "
            "    arg_max(spell_started_on, entered_at)::DATE AS spell_started_on "
            f"  FROM {_STAGED} GROUP BY contact_id) AS e LEFT JOIN contacts AS c USING (contact_id)"
        )
    finally:
        database.connection.unregister(_STAGED)


def _table(episodes: Sequence[tuple[str, datetime, date]] | pa.Table | None) -> Any:
    import pyarrow as pa

    if isinstance(episodes, pa.Table):
        return episodes.select(["contact_id", "entered_at", "spell_started_on"])
    ids, at, started = zip(*episodes, strict=True) if episodes else ((), (), ())
    return pa.table(
        {
            "contact_id": pa.array(ids, pa.string()),
            "entered_at": pa.array(at, pa.timestamp("us", "UTC")),
            "spell_started_on": pa.array(started, pa.date32()),
        }
    )


def watch(database: Database, as_of: date, made: Made) -> None:
    """Make `program_signals`; `shared_addresses` must be there. Costs what has happened, not what is stored."""
    ends_at = database.end_of(as_of)
    _find_doubles(database)
    _find_uses(database, as_of, made)
    mails = (
        "(SELECT users.contact_key, user_key, happened_at, kind, campaign, machine FROM engagements "
        f"JOIN users USING (user_key) SEMI JOIN {_DOUBLES} AS d ON d.contact_key = users.contact_key "
        f"WHERE kind IN ('click', 'reply', 'visit', 'bounce') AND happened_at < {ends_at})"
    )
    signals = sql_files.render(
        "signals",
        entered=ENTERED,
        doubles=_DOUBLES,
        uses=_USES,
        mails=mails,
        deliveries="(FROM engagements WHERE kind = 'delivered')",
        payments=payments(f"happened_at < {ends_at}"),
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE {SIGNALS} AS {signals}")
    database.drop(_DOUBLES, _USES)


def payments(where: str) -> str:
    """SQL for what was really paid: contact_key, happened_at; refunds and cancellations are none."""
    return (
        "(SELECT users.contact_key, happened_at FROM transactions JOIN users USING (user_key) WHERE "
        "users.contact_key IS NOT NULL AND (amount IS NULL OR amount >= 0) "
        f"AND coalesce(lower(kind), '') NOT IN ('refund', 'chargeback', 'credit_note', 'cancellation') AND {where})"
    )


def _find_doubles(database: Database) -> None:
    """Whoever has one of a contact's addresses: what they do, the contact does."""
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {_DOUBLES} AS "
        f"SELECT contact_key, contact_key AS entered_key FROM {ENTERED} WHERE contact_key IS NOT NULL UNION "
        f"SELECT other.contact_key, e.contact_key FROM {ENTERED} AS e JOIN {SHARED} AS mine USING (contact_key) "
        f"JOIN {SHARED} AS other USING (address)"
    )


def _find_uses(database: Database, as_of: date, made: Made) -> None:
    """The uses of contacts active since their first silent day: nobody else's are read."""
    state = features.state_table(database, as_of, made)
    since = f"FROM {ENTERED} JOIN {state} USING (contact_key) WHERE last_date >= spell_started_on"
    active = f"SELECT contact_key {since}"
    # From the first such use on: a long silence begins long before it, and uses are read by day.
    days = f"SELECT unnest(active_dates) AS day, spell_started_on {since}"
    first = database.value(f"SELECT min(day) FROM ({days}) WHERE day >= spell_started_on")
    between = "false" if first is None else f"uses.day BETWEEN {day_literal(first)} AND {day_literal(as_of)}"
    uses = activity.usage_rows(
        database.meta("activity_counts") or None, where=f"{between} AND users.contact_key IN ({active})"
    )
    database.execute(f"CREATE OR REPLACE TEMP TABLE {_USES} AS SELECT contact_key, day, occurred_at FROM {uses}")
