"""Usage, payments and mail events: what product users did, each thing counted once however often it arrives."""

from __future__ import annotations

from datetime import datetime

from connector.identity import email_table
from connector.warehouse.arrival import MAPPED, Arrival, Folded
from connector.warehouse.database import Database, timestamp

FRESH = "fresh_uses"
KEYED = "keyed_uses"

EVENT_KEY = (
    "CASE WHEN TRY_CAST(event_id AS UBIGINT)::VARCHAR = event_id THEN TRY_CAST(event_id AS UBIGINT) "
    "ELSE md5_number_lower(event_id) END"
)
"""An event id as a number: itself if it is one, else 64 bits of its digest (two of 50 million agree once in 10,000)."""


def fold_usage(database: Database, arrival: Arrival) -> Folded:
    """Append uses that were not counted before; a replaced origin's uses go first.

    The same `event_id` of a source counts once; of two that differ in content, the one stored first. Uses without
    an id are trusted to come once per origin. Uses of zero events say nothing and are not kept.
    """
    removed = _remove_origin(database, arrival, "usage_events")
    if "contact_id" not in arrival.columns:
        return Folded(held=-removed)
    batch = next_batch(database)
    _stage_uses(database, arrival)
    _keep_users(database, arrival, batch)
    _keep_features(database)
    source, origin = _source_key(database, arrival), _origin_key(database, arrival)
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {KEYED} AS SELECT u.user_key, {database.civil_day('f.occurred_at')} AS day, "
        "n.feature_key, f.events::BIGINT AS events, f.occurred_at, f.arrived_at, f.event_key, "
        f"{source}::INTEGER AS source_key, {origin}::INTEGER AS origin_key, {batch}::INTEGER AS batch "
        f"FROM {FRESH} AS f "
        f"JOIN (SELECT user_id, user_key FROM users WHERE user_id IN (SELECT user_id FROM {FRESH})) AS u "
        "USING (user_id) JOIN feature_names AS n ON n.feature IS NOT DISTINCT FROM f.feature"
    )
    known = 0
    if "event_id" in arrival.columns:
        known = _set_known_aside(database, source)
    new = database.count(f"INSERT INTO usage_events FROM {KEYED}")
    newest = _newest(database, FRESH, "occurred_at", arrival)
    return Folded(
        new=new, unchanged=known, held=new - removed, newest_at=timestamp(newest) if newest is not None else None
    )


def next_batch(database: Database) -> int:
    """The number of the next stored page; what a refresh has read is told by it."""
    batch = int(database.meta("batch") or 0) + 1
    database.set_meta("batch", str(batch))
    return batch


def _stage_uses(database: Database, arrival: Arrival) -> None:
    """The page's good rows in our types, each event id once."""
    has = arrival.columns
    optional = {"feature": "VARCHAR", "email": "VARCHAR", "external_id": "VARCHAR", "event_id": "VARCHAR"}
    columns = [f"{name if name in has else 'NULL'}::{kind} AS {name}" for name, kind in optional.items()]
    columns.append(f"{'coalesce(events, 1)' if 'events' in has else '1'}::BIGINT AS events")
    arrived = "coalesce(arrived_at, {0})" if "arrived_at" in has else "{0}"
    columns.append(f"{arrived.format(timestamp(arrival.pulled_at))} AS arrived_at")
    columns.append(f"{arrival.id_of('account_id') if 'account_id' in has else 'NULL::VARCHAR'} AS account_id")
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE {FRESH} AS SELECT *, {EVENT_KEY} AS event_key FROM ("
        f"  SELECT {arrival.id_of('contact_id')} AS user_id, occurred_at, {', '.join(columns)} FROM {MAPPED} "
        "   WHERE reject_reason IS NULL) WHERE events > 0 "
        + (
            "QUALIFY event_id IS NULL OR row_number() OVER (PARTITION BY event_key "
            "ORDER BY occurred_at, user_id, feature, events) = 1"
            if "event_id" in has
            else ""
        )
    )


def _keep_users(database: Database, arrival: Arrival, batch: int) -> None:
    """Note who used the product, since when, for which account, under which addresses."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE page_users AS SELECT user_id, min(occurred_at) AS first_at, "
        "arg_max(account_id, (occurred_at, account_id)) FILTER (account_id IS NOT NULL) AS account_id, "
        "max(occurred_at) FILTER (account_id IS NOT NULL) AS account_at "
        f"FROM {FRESH} GROUP BY user_id"
    )
    changed = _add_users(database, arrival.system, batch)
    if arrival.columns & {"email", "external_id"}:
        changed += _keep_facts(database)
    if "account_id" in arrival.columns:
        database.execute(
            "UPDATE users SET account_id = p.account_id, account_at = p.account_at FROM page_users AS p "
            "WHERE p.user_id = users.user_id AND p.account_id IS NOT NULL AND (users.account_at IS NULL "
            "OR (p.account_at, p.account_id) > (users.account_at, users.account_id))"
        )
    if changed or database.meta("implicit_contacts") is not None:
        database.set_meta("matched", None)


def _add_users(database: Database, system: str, batch: int) -> int:
    """Give a key to everybody in page_users who has none."""
    first = int(database.value("SELECT coalesce(max(user_key), 0) FROM users")) + 1
    return database.count(
        f"INSERT INTO users SELECT (row_number() OVER (ORDER BY user_id) + {first - 1})::INTEGER, ?, user_id, NULL, "
        f"NULL, NULL, first_at, account_id, account_at, {batch} FROM page_users AS p "
        "WHERE NOT EXISTS (FROM users AS u WHERE u.user_id = p.user_id)",
        [system],
    )


def _keep_facts(database: Database) -> int:
    """Remember addresses and external ids that uses name for their users."""
    email_table(database.connection, f"SELECT DISTINCT email FROM {FRESH}", into="page_emails")
    return database.count(
        "INSERT INTO user_facts SELECT u.user_key, p.kind, p.value FROM ("
        "  SELECT DISTINCT user_id, CASE WHEN match_email IS NULL THEN 'bad_email' ELSE 'email' END AS kind, "
        f"    match_email AS value FROM {FRESH} JOIN page_emails USING (email) "
        "  UNION ALL SELECT DISTINCT user_id, 'external_id', external_id "
        f"  FROM {FRESH} WHERE external_id IS NOT NULL) AS p JOIN users AS u USING (user_id) "
        "WHERE NOT EXISTS (FROM user_facts AS f WHERE f.user_key = u.user_key AND f.kind = p.kind "
        "AND f.value IS NOT DISTINCT FROM p.value)"
    )


def _keep_features(database: Database) -> None:
    first = int(database.value("SELECT max(feature_key) FROM feature_names")) + 1
    database.execute(
        f"INSERT INTO feature_names SELECT (row_number() OVER (ORDER BY feature) + {first - 1})::INTEGER, feature "
        f"FROM (SELECT DISTINCT feature FROM {FRESH} WHERE feature IS NOT NULL) "
        "WHERE feature NOT IN (SELECT feature FROM feature_names WHERE feature IS NOT NULL)"
    )


def _set_known_aside(database: Database, source: int) -> int:
    """Take uses that are counted already out of the page; those of another origin wait, should theirs be replaced."""
    database.execute(
        "CREATE OR REPLACE TEMP TABLE known_uses AS SELECT event_key, origin_key FROM usage_events "
        f"WHERE source_key = {source} AND event_key IN (SELECT event_key FROM {KEYED} WHERE event_key IS NOT NULL)"
    )
    known = int(database.value("SELECT count(*) FROM known_uses"))
    if known:
        database.execute(
            f"INSERT INTO usage_spares SELECT k.* FROM {KEYED} AS k JOIN known_uses AS o USING (event_key) "
            "WHERE k.origin_key <> 0 AND k.origin_key <> o.origin_key AND NOT EXISTS (FROM usage_spares AS s WHERE "
            "s.event_key = k.event_key AND s.source_key = k.source_key AND s.origin_key = k.origin_key)"
        )
        database.execute(f"DELETE FROM {KEYED} WHERE event_key IN (SELECT event_key FROM known_uses)")
    return known


def _source_key(database: Database, arrival: Arrival) -> int:
    return _key_of(database, arrival.source, "", "")


def _origin_key(database: Database, arrival: Arrival) -> int:
    """The key of the page's file or export; 0 when it names none."""
    if arrival.page.origin is None:
        return 0
    return _key_of(database, arrival.source, arrival.stream, arrival.page.origin)


def _key_of(database: Database, source: str, stream: str, origin: str) -> int:
    found = database.value(
        "SELECT origin_key FROM origins WHERE source = ? AND stream = ? AND origin = ?", [source, stream, origin]
    )
    if found is not None:
        return int(found)
    key = int(database.value("SELECT coalesce(max(origin_key), 0) FROM origins")) + 1
    database.execute("INSERT INTO origins VALUES (?, ?, ?, ?)", [key, source, stream, origin])
    return key


def _remove_origin(database: Database, arrival: Arrival, table: str) -> int:
    """Take out what a file brought that is now read again; how many rows fewer the stream holds."""
    if not arrival.page.replaces_origin or arrival.page.origin is None:
        return 0
    origin = _origin_key(database, arrival)
    if table != "usage_events":
        return database.count(f"DELETE FROM {table} WHERE origin_key = {origin}")
    database.execute(
        "CREATE OR REPLACE TEMP TABLE removed_uses AS SELECT user_key, event_key, source_key FROM usage_events "
        f"WHERE origin_key = {origin}"
    )
    database.execute(f"DELETE FROM usage_spares WHERE origin_key = {origin}")
    removed = database.count(f"DELETE FROM usage_events WHERE origin_key = {origin}")
    if not removed:
        return 0
    promoted = (
        "SELECT s.* FROM usage_spares AS s WHERE EXISTS (FROM removed_uses AS r WHERE r.event_key = s.event_key "
        "AND r.source_key = s.source_key) "
        "QUALIFY row_number() OVER (PARTITION BY event_key, source_key ORDER BY origin_key) = 1"
    )
    batch = next_batch(database)
    database.execute(f"CREATE OR REPLACE TEMP TABLE promoted_uses AS {promoted}")
    back = database.count(f"INSERT INTO usage_events SELECT * REPLACE ({batch} AS batch) FROM promoted_uses")
    database.execute(
        "DELETE FROM usage_spares AS s WHERE EXISTS (FROM promoted_uses AS p WHERE p.event_key = s.event_key "
        "AND p.source_key = s.source_key AND p.origin_key = s.origin_key)"
    )
    touched = "(SELECT DISTINCT user_key FROM removed_uses)"
    database.execute(
        "INSERT INTO stale_contacts SELECT DISTINCT contact_key FROM users "
        f"WHERE contact_key IS NOT NULL AND user_key IN {touched}"
    )
    database.execute(
        "UPDATE users SET first_at = e.first_at FROM (SELECT r.user_key, min(occurred_at) AS first_at FROM "
        f"{touched} AS r LEFT JOIN usage_events USING (user_key) GROUP BY ALL) AS e WHERE e.user_key = users.user_key"
    )
    database.set_meta("matched", None)
    database.touch()
    return removed - back


def fold_transactions(database: Database, arrival: Arrival) -> Folded:
    """Insert payments; one that came before under the same id is replaced by what came last."""
    removed = _remove_origin(database, arrival, "transactions")
    if "transaction_id" not in arrival.columns:
        return Folded(held=-removed)
    has = arrival.columns
    optional = ", ".join(f"{n if n in has else 'NULL'}::VARCHAR AS {n}" for n in ("currency", "kind"))
    account = arrival.id_of("account_id") if "account_id" in has else "NULL::VARCHAR"
    return _fold_by_id(
        database,
        arrival,
        table="transactions",
        key="transaction_id",
        removed=removed,
        select=f"happened_at, {database.civil_day('happened_at')} AS day, amount::DOUBLE AS amount, {optional}, "
        f"transaction_id, {account} AS account_id",
    )


def fold_engagements(database: Database, arrival: Arrival) -> Folded:
    """Insert mail events; the same event id counts once."""
    removed = _remove_origin(database, arrival, "engagements")
    if "event_id" not in arrival.columns:
        return Folded(held=-removed)
    has = arrival.columns
    optional = ", ".join(f"{n if n in has else 'NULL'}::VARCHAR AS {n}" for n in ("campaign", "step"))
    machine = "machine" if "machine" in has else "NULL::BOOLEAN AS machine"
    return _fold_by_id(
        database,
        arrival,
        table="engagements",
        key="event_id",
        removed=removed,
        select=f"happened_at, kind, {optional}, {machine}, event_id",
    )


def _fold_by_id(database: Database, arrival: Arrival, *, table: str, key: str, removed: int, select: str) -> Folded:
    """Insert rows with an id of their own, replacing those whose content changed."""
    batch = next_batch(database)
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE coming_rows AS SELECT {arrival.id_of('contact_id')} AS user_id, {select} "
        f'FROM (SELECT *, "at" AS happened_at FROM {MAPPED}) WHERE reject_reason IS NULL '
        f"QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY ordinal DESC) = 1"
    )
    database.execute(
        "CREATE OR REPLACE TEMP TABLE page_users AS SELECT DISTINCT user_id, NULL::TIMESTAMPTZ AS first_at, "
        "NULL::VARCHAR AS account_id, NULL::TIMESTAMPTZ AS account_at FROM coming_rows"
    )
    if _add_users(database, arrival.system, batch):
        database.set_meta("matched", None)
    columns = [row[0] for row in database.rows("DESCRIBE coming_rows")][1:]
    content = ", ".join(name for name in columns)
    database.execute(
        "CREATE OR REPLACE TEMP TABLE coming_keyed AS SELECT u.user_key, "
        f"{', '.join('c.' + name for name in columns)}, ?::VARCHAR AS system, "
        f"{_origin_key(database, arrival)}::INTEGER AS origin_key "
        "FROM coming_rows AS c JOIN users AS u USING (user_id)",
        [arrival.system],
    )
    same = f"t.{key} = k.{key} AND t.system = k.system"
    stored = database.count(f"SELECT count(*) FROM coming_keyed AS k JOIN {table} AS t ON {same}")
    database.execute(
        f"CREATE OR REPLACE TEMP TABLE unchanged_rows AS SELECT k.{key} "
        f"FROM coming_keyed AS k JOIN {table} AS t ON {same} "
        f"AND row(k.user_key, {', '.join('k.' + n for n in columns)}) "
        f"IS NOT DISTINCT FROM row(t.user_key, {', '.join('t.' + n for n in columns)})"
    )
    unchanged = database.count(f"DELETE FROM coming_keyed WHERE {key} IN (FROM unchanged_rows)")
    database.execute(f"DELETE FROM {table} AS t WHERE EXISTS (FROM coming_keyed AS k WHERE {same})")
    added = database.count(f"INSERT INTO {table} (user_key, {content}, system, origin_key) FROM coming_keyed")
    newest = _newest(database, "coming_rows", "happened_at", arrival)
    changed = stored - unchanged
    return Folded(
        new=added - changed,
        changed=changed,
        unchanged=unchanged,
        held=added - changed - removed,
        newest_at=timestamp(newest) if newest is not None else None,
    )


def _newest(database: Database, relation: str, column: str, arrival: Arrival) -> datetime | None:
    """The newest event that is not dated after its reading: one wrong date must not make a dead source look alive."""
    happened = f"SELECT max({column}) AS newest FROM {relation} WHERE {column} <= {timestamp(arrival.pulled_at)}"
    newest: datetime | None = database.dicts(happened)[0]["newest"]
    return newest
