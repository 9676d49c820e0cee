"""Which product user is which contact: by external id, then mail address, further addresses, merged ids.

A match is never guessed: where a value means two people, or two facts of one user point to different people, the
user stays unmatched and the reason is kept. Addresses are compared in one normal form (case folded, Unicode
composed, domain in lower case) and never looked up anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from connector.model import neutral_columns

if TYPE_CHECKING:
    import duckdb

PLAIN_ADDRESS = r"[a-z0-9]+([._+-][a-z0-9]+)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,24}"
"""Addresses that are their own normal form once trimmed and in lower case: nearly all there are."""

_PLAIN = re.compile(PLAIN_ADDRESS)
_LONGEST_PLAIN = 64
"""Shorter than any limit on the parts of an address, so that none needs checking."""

KINDS = ("external_id", "email")
"""What users can be matched by."""

_WHO_AND_WHETHER = frozenset(
    {
        *("contact_id", "external_id", "email", "deleted_at", "merged_into", "attributes"),
        *("can_email", "opted_out", "bounced"),
    }
)
"""Columns that say which contact it is, or whether it may be mailed: nobody chooses whom to believe about them."""

BELIEVED = tuple(name for name in neutral_columns("contacts") if name not in _WHO_AND_WHETHER)
"""Columns of a person in several CRMs that the playbook may let one of them say."""

ATTRIBUTE = "attributes."
"""What a free field begins with; each of them may be one CRM's to say."""


def normal_email(address: str) -> str | None:
    """The form in which addresses are compared; None when this is not an address."""
    trimmed = address.strip()
    lowered = trimmed.lower()
    if len(lowered) <= _LONGEST_PLAIN and lowered.isascii() and _PLAIN.fullmatch(lowered):
        return lowered
    from email_validator import EmailNotValidError, validate_email

    try:
        found = validate_email(trimmed, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return None
    return unicodedata.normalize("NFC", found.normalized.lower())


def email_table(connection: duckdb.DuckDBPyConnection, emails: str, *, into: str) -> None:
    """Make the temporary table `into` (email, match_email) from a query for distinct addresses."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {into} AS SELECT email, CASE WHEN length(email) <= {_LONGEST_PLAIN} "
        f"AND regexp_full_match(lower(trim(email)), '{PLAIN_ADDRESS}') THEN lower(trim(email)) END AS match_email "
        f"FROM ({emails}) WHERE email IS NOT NULL"
    )
    unusual = connection.execute(f"SELECT email FROM {into} WHERE match_email IS NULL").fetchall()
    pairs = [[email, normal] for (email,) in unusual if (normal := normal_email(email)) is not None]
    for start in range(0, len(pairs), 1000):
        chunk = pairs[start : start + 1000]
        places = ", ".join(["(?, ?)"] * len(chunk))
        connection.execute(
            f"UPDATE {into} SET match_email = v.normal FROM (VALUES {places}) AS v(email, normal) "
            f"WHERE {into}.email = v.email",
            [value for pair in chunk for value in pair],
        )


def matching_sql(match: Sequence[str]) -> str:
    """One row per product user: its contact_key or NULL, what matched it, or why nothing did.

    Reads users, facts (user_key, kind, value), contacts (as now), secondary_emails, merges, roots (contact_key,
    root_key), product_systems (system). The kinds are tried in the given order; the first under which any contact
    is found decides, if it finds just one. A contact of the CRM comes before a profile the product itself lists;
    in a system without usage (a CRM's mail events) the id is the contact's own and comes first. Deleted contacts
    count only where no other does.
    """
    found = [_FOUND[kind].format(place=place) for place, kind in enumerate(match, start=1)]
    own = f"CASE WHEN u.system IN (FROM product_systems) THEN {len(found) + 1} ELSE 0 END"
    found.append(_FOUND["contact_id"].format(place=own))
    return _MATCHING.format(found=" UNION ALL ".join(found))


_FOUND = {
    # The product's own user id is an external id too: CRMs store it as such.
    "external_id": """
        SELECT u.user_key, {place} AS place, 'external_id' AS kind, c.contact_key FROM users AS u
        JOIN contacts AS c ON c.external_id = substr(u.user_id, length(u.system) + 2) AND c.system <> u.system
        UNION ALL
        SELECT u.user_key, {place}, 'external_id', c.contact_key FROM users AS u JOIN facts AS f USING (user_key)
        JOIN contacts AS c ON f.kind = 'external_id' AND c.external_id = f.value""",
    "email": """
        SELECT f.user_key, {place} AS place, 'email' AS kind, c.contact_key FROM facts AS f
        JOIN contacts AS c ON f.kind = 'email' AND c.match_email = f.value
        UNION ALL
        SELECT f.user_key, {place}, 'secondary_email', s.contact_key FROM facts AS f
        JOIN secondary_emails AS s ON f.kind = 'email' AND s.match_email = f.value""",
    "contact_id": """
        SELECT u.user_key, {place} AS place, 'contact_id' AS kind, c.contact_key FROM users AS u
        JOIN contacts AS c ON c.contact_id = u.user_id
        UNION ALL
        SELECT u.user_key, {place}, 'contact_id', c.contact_key FROM users AS u
        JOIN contacts AS c ON c.contact_id = substr(u.user_id, length(u.system) + 2)
        UNION ALL
        SELECT u.user_key, {place}, 'merged_id', c.contact_key FROM users AS u
        JOIN merges AS m ON m.merged_id = u.user_id JOIN contacts AS c ON c.contact_id = m.contact_id""",
}

_MATCHING = """
WITH found AS (
    SELECT f.user_key, f.place, f.kind, coalesce(r.root_key, f.contact_key) AS contact_key,
        u.system IN (FROM product_systems) AND c.system NOT IN (FROM product_systems) AS preferred,
        c.deleted_at IS NULL AS live
    FROM ({found}) AS f
    JOIN users AS u USING (user_key)
    JOIN contacts AS c ON c.contact_key = f.contact_key
    LEFT JOIN roots AS r ON r.contact_key = f.contact_key
),
ranked AS (
    SELECT *, min(place) FILTER (preferred) OVER (PARTITION BY user_key) AS elsewhere,
        min(place) OVER (PARTITION BY user_key) AS anywhere,
        bool_or(live) OVER (PARTITION BY user_key, place, preferred) AS any_live
    FROM found
),
decided AS (
    SELECT user_key, count(DISTINCT contact_key) AS contacts, min(contact_key) AS contact_key, min(kind) AS kind
    FROM ranked WHERE CASE WHEN elsewhere IS NULL THEN place = anywhere ELSE place = elsewhere AND preferred END
        AND (live OR NOT any_live)
    GROUP BY user_key
)
SELECT
    u.user_key,
    CASE WHEN d.contacts = 1 THEN d.contact_key END AS contact_key,
    CASE WHEN d.contacts = 1 THEN d.kind END AS matched_by,
    CASE
        WHEN d.contacts > 1 THEN 'the ' || replace(d.kind, '_', ' ') || ' means more than one contact'
        WHEN d.contacts = 1 THEN NULL
        WHEN EXISTS (FROM facts AS f WHERE f.user_key = u.user_key AND f.kind = 'email')
            THEN 'no contact has this external id or address'
        WHEN EXISTS (FROM facts AS f WHERE f.user_key = u.user_key AND f.kind = 'bad_email')
            THEN 'no contact has this external id, and the address is not one'
        ELSE 'no contact has this external id, and no address is known'
    END AS reason
FROM users AS u LEFT JOIN decided AS d USING (user_key)
"""
