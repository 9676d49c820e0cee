"""Which kinds of records and fields our user may see: the only ones that are asked for.

Salesforce describes to a user what that user may read. A field that exists but is hidden from us by field-level
security looks exactly like one that does not exist, and a query that names it is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from adapters.salesforce.client import SalesforceClient

PERMISSION_SET: Final = "Winback Integration"
"""The permission set that deploy/salesforce brings, by its label."""

_COMPOUND: Final = frozenset({"address", "location", "base64", "complexvalue"})
"""Types that a Bulk query cannot give."""

_ON_SOME_ORGS: Final = frozenset(
    {
        "MailingCountryCode",
        "CountryCode",
        "CurrencyIsoCode",
        "ContactId",
        "IsEmailBounced",
        "IsPersonAccount",
        "PersonContactId",
    }
)
"""Standard fields that exist only where a feature is switched on, so that not to see them says nothing."""


class Visible:
    """What the org describes to our user, asked once per kind of record."""

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client
        self._known: dict[str, Mapping[str, Mapping[str, Any]] | None] = {}

    def fields(self, kind: str) -> Mapping[str, Mapping[str, Any]] | None:
        """The fields of a kind of record by name; None when our user sees no such records."""
        if kind not in self._known:
            said = self._client.describe(kind)
            readable = said is not None and said.get("queryable", True)
            self._known[kind] = (
                {str(one["name"]): one for one in (said or {}).get("fields") or ()} if readable else None
            )
        return self._known[kind]

    def sees(self, kind: str, path: str) -> bool:
        """Whether a field, or one behind relationships (`Individual.ShouldForget`), can be read."""
        first, _, rest = path.partition(".")
        there = self.fields(kind) or {}
        if not rest:
            return first in there and there[first].get("type") not in _COMPOUND
        link = next((one for one in there.values() if one.get("relationshipName") == first), None)
        return link is not None and any(self.sees(str(target), rest) for target in link.get("referenceTo") or ())

    def choose(self, kind: str, wanted: Iterable[str]) -> tuple[str, ...]:
        """Those of the wanted fields that can be read, in order."""
        return tuple(name for name in wanted if self.sees(kind, name))


def is_remarkable(path: str) -> bool:
    """Whether not to see this standard field means that somebody hid it from us."""
    return not path.endswith("__c") and "." not in path and path not in _ON_SOME_ORGS
