"""Who must not be mailed, whichever system says so: the same person under another id or address counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from connector.rules import sql_files
from connector.warehouse import schema
from connector.warehouse.database import Database

SHARED = "shared_addresses"
SAID_NO = "said_no"
_NOW = ("shared_addresses_now", "said_no_now")


@dataclass(slots=True)
class Heard:
    """What the temporary tables stand for: the facts they were made of, for the end of a day and for now."""

    then: tuple[int, str] | None = None
    now: int | None = None


def hear(database: Database, heard: Heard, *, ends_at: str) -> None:
    """Make `shared_addresses` and `said_no` for the moment a day ends, unless they are there."""
    state = (database.commits, ends_at)
    if heard.then != state:
        heard.then = None
        versions = f"(FROM contacts_history WHERE valid_from < {ends_at} AND {ends_at} <= valid_to)"
        _make(database, SHARED, SAID_NO, versions=versions, mails=f"happened_at < {ends_at}")
        heard.then = state


def flags(database: Database, heard: Heard, contact_ids: Sequence[str]) -> list[dict[str, Any]]:
    """What is known now about these contacts, also from what was said of the same person elsewhere.

    contact_id, email, deleted_at, merged_into. opted_out: marked so in any system, unsubscribed or complained, ever.
    bounced: marked so wherever the address is. opted_out_anywhere: by the marks alone; opted_out_here: by the
    contact's own. engaged_unsubscribed_at, engaged_complained_at: from mail events, as in the rows of people.
    """
    if heard.now != database.commits:
        heard.now = None
        _make(database, *_NOW, versions=f"(FROM contacts_history WHERE valid_to = {schema.END})", mails="true")
        heard.now = database.commits
    return database.dicts(
        f"SELECT c.contact_id, c.email, c.deleted_at, c.merged_into, {_OPTED_OUT} OR n.unsubscribed_at IS NOT NULL "
        f"OR n.complained_at IS NOT NULL AS opted_out, {_OPTED_OUT} AS opted_out_anywhere, "
        "c.opted_out AS opted_out_here, coalesce(n.bounced, false) OR c.bounced AS bounced, "
        "n.unsubscribed_at AS engaged_unsubscribed_at, n.complained_at AS engaged_complained_at "
        "FROM contacts AS c LEFT JOIN folded USING (contact_key) "
        f"LEFT JOIN {_NOW[1]} AS n ON n.contact_key = coalesce(folded.into_key, c.contact_key) "
        "WHERE c.contact_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(contact_ids)],
    )


_OPTED_OUT = "(coalesce(n.opted_out, false) OR coalesce(c.opted_out, false))"


def _make(database: Database, shared: str, said_no: str, *, versions: str, mails: str) -> None:
    addresses = sql_files.render("shared_addresses", versions=versions, further="secondary_emails")
    database.execute(f"CREATE OR REPLACE TEMP TABLE {shared} AS {addresses}")
    heard = (
        "(SELECT users.contact_key, kind, happened_at FROM engagements JOIN users USING (user_key) "
        f"WHERE users.contact_key IS NOT NULL AND {mails})"
    )
    no = sql_files.render("said_no", versions=versions, folded="folded", mails=heard, shared=shared)
    database.execute(f"CREATE OR REPLACE TEMP TABLE {said_no} AS {no}")
