"""The columns a condition may use: their names, types and meaning.

One list for everybody: conditions are checked against it, the warehouse's `features` relation must produce exactly
its relation columns, and the documentation prints its captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What kind of value a column or expression has."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "yes/no"
    TIME = "time"
    ANY = "any"
    """A value of `attributes`: its kind is what it is compared with."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    name: As written in a condition (`accounts.mrr`).
    relation: As named in the features relation (`account_mrr`).
    type: The DuckDB type in the features relation.
    low, high: The least and greatest value a number can have, where that is certain.
    choices: All values a text can have, where that is certain.
    """

    name: str
    type: str
    caption: str
    relation: str = ""
    nullable: bool = True
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """The kind of its values."""
        return _KINDS[self.type]

    @property
    def integer(self) -> bool:
        """Whether only whole numbers occur."""
        return self.type == "BIGINT"


_KINDS = {
    "BIGINT": Kind.NUMBER,
    "DOUBLE": Kind.NUMBER,
    "VARCHAR": Kind.TEXT,
    "BOOLEAN": Kind.BOOLEAN,
    "TIMESTAMPTZ": Kind.TIME,
}

LIFECYCLE_STATES = ("new", "active", "slipping", "dormant", "resurrected")
"""The values of `lifecycle`; a contact who was never active has none (NULL)."""

FEATURES: tuple[Column, ...] = (
    Column("last_active_at", "TIMESTAMPTZ", "time of the last use that counts"),
    Column("inactive_days", "BIGINT", "days since the last active day, 0 on one; empty if never active", low=0),
    Column("first_active_at", "TIMESTAMPTZ", "time of the first use that counts"),
    Column("active_days_28", "BIGINT", "active days in the last 28 days", nullable=False, low=0, high=28),
    Column("active_days_90", "BIGINT", "active days in the last 90 days", nullable=False, low=0, high=90),
    Column("active_days_365", "BIGINT", "active days in the last 365 days", nullable=False, low=0, high=365),
    Column("last_feature", "VARCHAR", "the feature used last"),
    Column("top_feature", "VARCHAR", "the feature used most"),
    Column("gap_median_days", "DOUBLE", "the usual rhythm: median days between active days", low=0),
    Column("gap_p90_days", "DOUBLE", "nine of ten pauses are shorter: 90th percentile of the gaps", low=0),
    Column("recency_quintile", "BIGINT", "5: among the fifth who were active last, 1: longest ago", low=1, high=5),
    Column("frequency_quintile", "BIGINT", "5: among the fifth who are active most often", low=1, high=5),
    Column("monetary_quintile", "BIGINT", "5: among the fifth who paid most", low=1, high=5),
    Column("value_365d", "DOUBLE", "paid in the last 365 days, in the account's currency"),
    Column("lifetime_value", "DOUBLE", "paid in all"),
    Column("lifecycle", "VARCHAR", "new, active, slipping, dormant or resurrected", choices=LIFECYCLE_STATES),
)

CONTACTS: tuple[Column, ...] = (
    Column("contact_id", "VARCHAR", "our id of the person, with its system: `hubspot:123`", nullable=False),
    Column("account_id", "VARCHAR", "id of the company or workspace"),
    Column("external_id", "VARCHAR", "the product's own id of the person"),
    Column("email", "VARCHAR", "mail address, lower case"),
    Column("first_name", "VARCHAR", "first name"),
    Column("last_name", "VARCHAR", "last name"),
    Column("role", "VARCHAR", "job or role"),
    Column("plan_tier", "VARCHAR", "the person's plan"),
    Column("lifecycle_stage", "VARCHAR", "the CRM's stage: lead, customer …"),
    Column("country", "VARCHAR", "country"),
    Column("timezone", "VARCHAR", "time zone of the person"),
    Column("language", "VARCHAR", "language"),
    Column("owner", "VARCHAR", "who looks after this person in the CRM"),
    Column("created_at", "TIMESTAMPTZ", "when the person was first known"),
    Column("can_email", "BOOLEAN", "the CRM says marketing mail is allowed"),
    Column("opted_out", "BOOLEAN", "has unsubscribed"),
    Column("bounced", "BOOLEAN", "mail to the address fails for good"),
    Column("deleted_at", "TIMESTAMPTZ", "when the person was deleted in the CRM"),
    Column("merged_into", "VARCHAR", "the contact this one was merged into"),
)

ACCOUNTS: tuple[Column, ...] = (
    Column("accounts.name", "VARCHAR", "name of the company or workspace", "account_name"),
    Column("accounts.domain", "VARCHAR", "its internet domain", "account_domain"),
    Column("accounts.plan_tier", "VARCHAR", "its plan", "account_plan_tier"),
    Column("accounts.seats", "BIGINT", "its seats", "account_seats"),
    Column("accounts.mrr", "DOUBLE", "its monthly recurring revenue", "account_mrr"),
    Column("accounts.owner", "VARCHAR", "who looks after it in the CRM", "account_owner"),
)

USAGE: tuple[Column, ...] = (
    Column("feature", "VARCHAR", "what was used"),
    Column("events", "BIGINT", "how many times that day", nullable=False, low=1),
)
"""What `activity.counts` may use."""


def _named(columns: Iterable[Column]) -> Mapping[str, Column]:
    return {column.name: column for column in columns}


COLUMNS: Mapping[str, Column] = _named((*FEATURES, *CONTACTS, *ACCOUNTS))
"""Every column a segment may use, besides `attributes.<name>` and `accounts.attributes.<name>`."""

USAGE_COLUMNS: Mapping[str, Column] = _named(USAGE)

ATTRIBUTE_PREFIXES: Mapping[str, str] = {"attributes": "attributes", "accounts.attributes": "account_attributes"}
"""How free fields are written, and the relation column (JSON text, NULL or an object) that holds them."""

AS_OF = "as_of"
"""Relation column of type DATE: the day the features are for; what `days_since` counts to."""

RELATION_COLUMNS: Mapping[str, str] = {
    **{column.relation or column.name: column.type for column in COLUMNS.values()},
    **dict.fromkeys(ATTRIBUTE_PREFIXES.values(), "VARCHAR"),
    AS_OF: "DATE",
}
"""What the features relation must hold: column name → DuckDB type (JSON columns may be JSON or VARCHAR)."""
