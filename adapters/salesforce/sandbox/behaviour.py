"""How the org behaves where its settings, or what is known of the vendor, leave a choice."""

from __future__ import annotations

from dataclasses import dataclass

DAY_SECONDS = 86_400.0


@dataclass(slots=True)
class Behaviour:
    """Each can be changed while it runs.

    package_installed: What `deploy/salesforce` makes is there (decided at a reset; `package.remove` takes it away).
    individuals: Data protection is switched on: Individual, its consents and `IndividualId` exist.
    person_accounts: Person accounts are switched on: `IsPersonAccount` exists.
    multi_currency: Amounts carry a `CurrencyIsoCode`.
    member_status_free_text: A membership takes any status, not only the campaign's own.
    picklists_strict: Every picklist is restricted, not only those that say so.
    merge_moves_members: A merge brings the loser's memberships to the winner and drops doubles.
    deleted_reference: What a row is told that leads to a record in the recycle bin.
    update_deleted: What an update of a record in the recycle bin is told.
    session_seconds: How long a token is good for.
    locator_seconds: How long a query can be read on.
    query_rows_in_time: A query over REST that finds more records than this takes too long (0: none does).
    page_rows: The most records of a page, where nothing else is asked for.
    wide_page_rows: The most records of a page when more than 100 fields are read.
    unknown_field_refuses_all: A field that is not there refuses a whole collection, not its rows alone.
    bin_days: How long deleted records can be seen by queryAll and restored.
    bulk_seconds, bulk_polls: A Bulk job is done after this time, or at this many looks at it (0: looks do nothing).
    bulk_page_rows: The most records of a result page of Bulk, where nothing else is asked for.
    flow_lag_seconds: How late flows see a change; at 0 they run with it.
    describe_lag_seconds: How late a new field is described.
    """

    package_installed: bool = True
    individuals: bool = True
    person_accounts: bool = False
    multi_currency: bool = False
    member_status_free_text: bool = True
    picklists_strict: bool = False
    merge_moves_members: bool = True
    deleted_reference: str = "ENTITY_IS_DELETED"
    update_deleted: str = "ENTITY_IS_DELETED"
    session_seconds: float = 7_200.0
    locator_seconds: float = 2 * DAY_SECONDS
    query_rows_in_time: int = 0
    page_rows: int = 2_000
    wide_page_rows: int = 500
    unknown_field_refuses_all: bool = True
    bin_days: float = 15.0
    bulk_seconds: float = 5.0
    bulk_polls: int = 3
    bulk_page_rows: int = 50_000
    flow_lag_seconds: float = 0.0
    describe_lag_seconds: float = 0.0
