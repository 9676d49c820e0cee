"""What each stream reads: the kind of record, the fields it cannot do without, its queries, its raw records.

A stream's queries come in parts: what changed itself, then what changed because a record it shows values of did. The
first reading has one part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from adapters.salesforce.soql import Query, changed_since
from adapters.salesforce.tables import PLACE, column_or_null, is_true, with_place
from adapters.salesforce.visible import Visible

if TYPE_CHECKING:
    import pyarrow as pa

DELETED_AT: Final = "DeletedDate"
"""The raw column we make: when a record went into the recycle bin, which is when it last changed."""

_ALWAYS: Final = ("Id", "SystemModstamp", "IsDeleted")
_UNTRACKED: Final = frozenset({"Owner", "CreatedBy", "LastModifiedBy"})
"""Records that change whenever somebody logs in, and whose changes would bring back everybody they own."""

OPTED_OUT: Final = "HasOptedOutOfEmail"
PERSON: Final = "IsPersonAccount"
"""Only where person accounts are switched on."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """Raw records as a page carries them; `partial` ones say only what they say."""

    table: pa.Table
    partial: bool = False


class Stream(Protocol):
    """One stream of the source."""

    @property
    def name(self) -> str:
        """Its name in winback.yaml."""

    @property
    def kind(self) -> str:
        """The kind of record that is read."""

    @property
    def into(self) -> str:
        """The neutral table its records go into."""

    @property
    def deleted(self) -> bool:
        """Whether the recycle bin is read too."""

    @property
    def origin(self) -> str | None:
        """Set where a full reading replaces what was there: what is no longer found cannot be told otherwise."""

    def wanted(self, mapped: Sequence[str]) -> tuple[str, ...]:
        """The fields to ask for, given those that the mapping reads."""

    def choose(self, visible: Visible, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of them that our user sees."""

    def queries(self, known: Sequence[str], since: datetime | None) -> Sequence[Query]:
        """What to read, part by part; everything when `since` is None."""

    def columns(self, known: Sequence[str]) -> tuple[str, ...]:
        """The raw columns of its records."""

    def shape(self, table: pa.Table, query: Query, known: Sequence[str], *, everything: bool) -> Iterator[Shaped]:
        """Raw records made of what one of the queries gave; `everything` on a first reading."""


@dataclass(frozen=True, slots=True)
class People:
    """Contacts or leads, those in the recycle bin included.

    A merge leaves the loser in the bin with the survivor's id in MasterRecordId. A converted lead stays, read-only,
    with its contact's id in ConvertedContactId; where we may not see that, it counts as deleted.
    """

    name: str
    kind: str
    into: str = "contacts"
    deleted: bool = True
    origin: str | None = None

    def wanted(self, mapped: Sequence[str]) -> tuple[str, ...]:
        """The mapped fields and those by which deletions, merges and conversions are told."""
        further = ("MasterRecordId", *(("IsConverted", *_CONVERTED) if self.kind == "Lead" else (PERSON,)))
        return tuple(name for name in dict.fromkeys((*_ALWAYS, *further, *mapped)) if name != DELETED_AT)

    def choose(self, visible: Visible, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of them that our user sees."""
        return visible.choose(self.kind, wanted)

    def queries(self, known: Sequence[str], since: datetime | None) -> Sequence[Query]:
        """Everybody; or who changed, whose individual or other related record did, whose person account did."""
        fields = tuple(known)
        if since is None:
            return [Query(self.kind, fields)]
        parts = [Query(self.kind, fields, (changed_since(since),)), *_behind(self.kind, fields, since)]
        if PERSON in fields and "Account" not in relations(fields):
            # A person account is two records; a change of the account's half need not stamp the contact's.
            parts.append(Query(self.kind, fields, (f"{PERSON} = true", changed_since(since, of="Account"))))
        return parts

    def columns(self, known: Sequence[str]) -> tuple[str, ...]:
        """The fields, without the one that only tells the bin from the rest."""
        return (*(name for name in known if name != "IsDeleted"), DELETED_AT, PLACE)

    def shape(
        self,
        table: pa.Table,
        query: Query,  # noqa: ARG002 - all parts ask for the same
        known: Sequence[str],
        *,
        everything: bool,  # noqa: ARG002
    ) -> Iterator[Shaped]:
        """Deletions and merges first, with nothing of the person in them; then everybody who is there."""
        from pyarrow import compute

        gone = is_true(table, "IsDeleted")
        deleted = table.filter(gone)
        if deleted.num_rows:
            kept = deleted.select([name for name in ("Id", "MasterRecordId") if name in deleted.column_names])
            stamped = kept.append_column(DELETED_AT, deleted.column("SystemModstamp"))
            yield Shaped(with_place(stamped, self.name), partial=True)
        live = table.filter(compute.invert(gone))
        listed = live.select([name for name in known if name != "IsDeleted"])
        with_end = listed.append_column(DELETED_AT, _ended(live))
        yield Shaped(with_place(with_end, self.name))


_CONVERTED: Final = ("ConvertedContactId", "ConvertedDate")


@dataclass(frozen=True, slots=True)
class Accounts:
    """Companies; person accounts are read as contacts. Deleted ones are left as they were."""

    name: str = "accounts"
    kind: str = "Account"
    into: str = "accounts"
    deleted: bool = False
    origin: str | None = None

    def wanted(self, mapped: Sequence[str]) -> tuple[str, ...]:
        """The mapped fields, the key and the stamp."""
        return tuple(dict.fromkeys(("Id", "SystemModstamp", PERSON, *mapped)))

    def choose(self, visible: Visible, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of them that our user sees."""
        return visible.choose(self.kind, wanted)

    def queries(self, known: Sequence[str], since: datetime | None) -> Sequence[Query]:
        """All companies, or those that changed."""
        companies = (f"{PERSON} = false",) if PERSON in known else ()
        own = companies if since is None else (*companies, changed_since(since))
        behind = () if since is None else _behind(self.kind, tuple(known), since, companies)
        return [Query(self.kind, tuple(known), own), *behind]

    def columns(self, known: Sequence[str]) -> tuple[str, ...]:
        """The fields."""
        return (*known, PLACE)

    def shape(
        self,
        table: pa.Table,
        query: Query,  # noqa: ARG002 - all parts ask for the same
        known: Sequence[str],
        *,
        everything: bool,  # noqa: ARG002
    ) -> Iterator[Shaped]:
        """As they came."""
        yield Shaped(with_place(table.select(list(known)), self.name))


def relations(fields: Sequence[str]) -> tuple[str, ...]:
    """The relationships that the fields look through, whose records can change by themselves."""
    first = (name.split(".", 1)[0] for name in fields if "." in name)
    return tuple(name for name in dict.fromkeys(first) if name not in _UNTRACKED)


def _behind(kind: str, fields: tuple[str, ...], since: datetime, where: Sequence[str] = ()) -> list[Query]:
    """A part for each relationship: a change behind it does not stamp the record itself."""
    return [Query(kind, fields, (*where, changed_since(since, of=name))) for name in relations(fields)]


def _ended(live: pa.Table) -> pa.Array:
    """When a lead ended without leaving a contact that we can see; empty for everybody else."""
    import pyarrow as pa
    from pyarrow import compute

    nobody = pa.scalar(None, pa.string())
    lost = compute.and_(is_true(live, "IsConverted"), compute.is_null(column_or_null(live, "ConvertedContactId")))
    at = compute.coalesce(column_or_null(live, "ConvertedDate"), column_or_null(live, "SystemModstamp"))
    return compute.if_else(lost, at, nobody)


PEOPLE: Final[Mapping[str, People]] = {
    "contacts": People("contacts", "Contact"),
    "leads": People("leads", "Lead"),
}
