"""Everything the org holds, and the few operations that change it. Every call works on it under `lock`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from adapters.lookalike.clock import SandboxClock
from adapters.salesforce.ids import id_with_prefix, record_id
from adapters.salesforce.sandbox import converting, founding, integrity, merging, package
from adapters.salesforce.sandbox.access import GRANTS, Access, Viewer
from adapters.salesforce.sandbox.answers import DAY_MS, RowError
from adapters.salesforce.sandbox.behaviour import Behaviour
from adapters.salesforce.sandbox.catalogue import standard
from adapters.salesforce.sandbox.fields import SYSTEM, Field, SObject
from adapters.salesforce.sandbox.locks import Locks
from adapters.salesforce.sandbox.querying import Queries
from adapters.salesforce.sandbox.records import Row, Store
from adapters.salesforce.sandbox.rules import Rules

Listener = Callable[[str, "Row | None", "Row | None"], None]
"""Told of every change, after it is done: (kind of record, before, after). None before: made; None after: purged.

A deletion comes with an `after` that is in the recycle bin. What a listener writes is told after that.
"""

Settler = Callable[[int], None]
"""Asked to do what is due by now (ms since 1970)."""

EVERYDAY = "Everyday_Access"
"""The permission set that opens the org's own custom fields."""


class Transaction:
    """Changes that belong together, while they are made."""

    def __init__(self, state: State, start: int) -> None:
        self._state = state
        self._start = start

    def take_back(self) -> None:
        """Undo every change made since it began."""
        self._state.undo(self._start)


@dataclass(slots=True)
class State:
    """The org."""

    clock: SandboxClock = field(default_factory=SandboxClock)
    behaviour: Behaviour = field(default_factory=Behaviour)
    lock: threading.RLock = field(default_factory=threading.RLock)
    stores: dict[str, Store] = field(default_factory=dict)
    access: Access = field(default_factory=Access)
    rules: Rules = field(default_factory=Rules)
    locks: Locks = field(default_factory=Locks)
    queries: Queries = field(default_factory=Queries)
    listeners: list[Listener] = field(default_factory=list)
    settlers: list[Settler] = field(default_factory=list)
    resetters: list[Callable[[], None]] = field(default_factory=list)
    """Called after a reset, by whoever keeps something beside the records."""
    added_ms: dict[str, int] = field(default_factory=dict)
    """When each custom field was made: `describe` may hear of it late."""
    user: str = ""
    """Who writes at the moment; `acting` changes it."""
    writer: int = 0
    """Which request or batch writes at the moment: locks are held by it."""
    viewer: Viewer = field(init=False)
    org_id: str = field(default_factory=lambda: record_id("Organization", 4_242))
    admin_user: str = field(default_factory=lambda: record_id("User", 1))
    integration_user: str = field(default_factory=lambda: record_id("User", 2))
    _kinds: dict[str, SObject] = field(default_factory=dict)
    _prefixes: dict[str, Store] = field(default_factory=dict)
    _responds: dict[str, frozenset[str]] = field(default_factory=dict)
    _changes: list[tuple[str, Row | None, Row | None]] = field(default_factory=list)
    _depth: int = 0
    _moment_ms: int = 0
    _telling: bool = False

    def __post_init__(self) -> None:
        self.viewer = Viewer(self)
        self.reset()

    # --- what there is ---

    def kind(self, name: str) -> SObject | None:
        """The kind of record of this name, however it is written, if the org has it."""
        found = self._kinds.get(name.lower())
        return found if found is not None and not found.tooling and self.has_feature(found.feature) else None

    def tooling_kind(self, name: str) -> SObject | None:
        """The kind of this name among those that only the Tooling API has."""
        found = self._kinds.get(name.lower())
        return found if found is not None and found.tooling else None

    def kinds(self) -> list[SObject]:
        """Every kind of record the org has."""
        every = (store.sobject for store in self.stores.values())
        return [kind for kind in every if not kind.tooling and self.has_feature(kind.feature)]

    def has_feature(self, feature: str | None) -> bool:
        """Whether an optional part of the product is switched on."""
        return feature is None or bool(getattr(self.behaviour, feature))

    def row(self, record_id: str) -> Row | None:
        """The record with this 18-character id, whatever its kind, from the recycle bin too."""
        store = self._prefixes.get(record_id[:3])
        return None if store is None else store.rows.get(record_id)

    def kind_of(self, record_id: str) -> SObject | None:
        """The kind of record an id is of."""
        store = self._prefixes.get(record_id[:3])
        return None if store is None else store.sobject

    def value(self, row: Row, name: str) -> Any:
        """The value of any field of a record, derived ones too; None for one that is empty."""
        if name in SYSTEM:
            return row.get(name)
        held = row.values.get(name)
        if held is not None:
            return held
        kind = self.kind_of(row.id)
        one = None if kind is None else kind.fields.get(name)
        if one is None:
            return None
        if one.derived is not None:
            return one.derived(self, row)
        return False if one.kind == "boolean" else None

    def status_responds(self, campaign_id: Any, status: Any) -> bool:
        """Whether a status of a campaign counts as a response."""
        known = self._responds.get(campaign_id)
        if known is None:
            rows = self.stores["CampaignMemberStatus"].matching("CampaignId", campaign_id)
            known = self._responds[campaign_id] = frozenset(
                str(row.values["Label"]).casefold()
                for row in rows
                if not row.is_deleted and row.values.get("HasResponded")
            )
        return str(status).casefold() in known

    # --- time, users, transactions ---

    def settle(self) -> int:
        """Let what is due by now happen: jobs, flows, the emptying of the bin; the present moment in ms."""
        now_ms = self.clock.now_ms()
        self._empty_bin(now_ms)
        for settler in tuple(self.settlers):
            settler(now_ms)
        return now_ms

    @contextmanager
    def acting(self, user: str) -> Iterator[None]:
        """Write as somebody else: `LastModifiedById` of what is written meanwhile."""
        before, self.user = self.user, user
        try:
            yield
        finally:
            self.user = before

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing: an exception takes back every change; listeners hear of them at the end."""
        started = Transaction(self, len(self._changes))
        if not self._depth:
            self._moment_ms = self.clock.now_ms()
        self._depth += 1
        try:
            yield started
        except BaseException:
            started.take_back()
            raise
        finally:
            self._depth -= 1
            self._tell()

    # --- writing ---

    def insert(self, kind: str, values: Mapping[str, Any], *, record_id: str | None = None) -> Row:
        """Make a record of typed values; RowError where the org refuses it."""
        store = self.stores[kind]
        new_id = record_id or id_with_prefix(store.sobject.prefix, store.new_number())
        stored = integrity.before_insert(self, store, new_id, values)
        now_ms = self.clock.now_ms()
        self.locks.take(kind, new_id, stored, writer=self.writer, now_ms=now_ms)
        row = Row(new_id, stored, now_ms, now_ms, now_ms, self.user, self.user)
        with self.transaction():
            self.put(row)
            integrity.after_insert(self, store, row)
        return row

    def update(self, record_id: str, changes: Mapping[str, Any]) -> Row:
        """Write typed values to a record; None empties a field. RowError where the org refuses it."""
        store, row = self.held(record_id)
        changed = {name: value for name, value in row.values.items() if name not in changes}
        changed.update((name, value) for name, value in changes.items() if value is not None)
        integrity.before_update(self, store, row, changed, changes)
        now_ms = self.clock.now_ms()
        self.locks.take(store.sobject.name, record_id, changed, writer=self.writer, now_ms=now_ms)
        return self.rewrite(row, changed)

    def delete(self, record_id: str) -> Row:
        """Put a record into the recycle bin, with what belongs to it."""
        store, row = self.held(record_id)
        integrity.before_delete(self, store, row)
        self.locks.take(store.sobject.name, record_id, row.values, writer=self.writer, now_ms=self.clock.now_ms())
        with self.transaction():
            integrity.after_delete(self, store, row)
            return self.rewrite(row, row.values, deleted=True)

    def undelete(self, record_id: str) -> Row:
        """Take a record out of the recycle bin, with the memberships that went with it."""
        row = self.row(record_id)
        if row is None or not row.is_deleted:
            raise RowError("UNDELETE_FAILED", "Entity is not in the recycle bin")
        if row.values.get("MasterRecordId"):
            raise RowError("UNDELETE_FAILED", "Entity was merged into another record")
        with self.transaction():
            integrity.before_undelete(self, row)
            return self.rewrite(row, row.values, deleted=False)

    def merge(self, master_id: str, loser_ids: Sequence[str]) -> Row:
        """Merge at most two records into a third of their kind; the master, whose own values win."""
        with self.transaction():
            return merging.merge(self, master_id, loser_ids)

    def convert(
        self, lead_id: str, *, account_id: str | None = None, contact_id: str | None = None
    ) -> Mapping[str, str]:
        """Convert a lead into a contact of an account, new ones where none are given; the ids by kind."""
        with self.transaction():
            return converting.convert(self, lead_id, account_id=account_id, contact_id=contact_id)

    def purge(self, record_id: str) -> None:
        """Forget a record for good."""
        store = self._prefixes[record_id[:3]]
        row = store.remove(record_id)
        if row is not None:
            store.purged.append((row.deleted_ms or self.clock.now_ms(), record_id))
            self._changed(store.sobject.name, row, None)

    def held(self, record_id: str) -> tuple[Store, Row]:
        """A live record and the store it is in; RowError when it is in the bin or was never there."""
        store = self._prefixes.get(record_id[:3])
        row = None if store is None else store.rows.get(record_id)
        if store is None or row is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row.is_deleted:
            raise RowError(self.behaviour.update_deleted, "entity is deleted")
        return store, row

    def rewrite(self, row: Row, values: Mapping[str, Any], *, deleted: bool | None = None) -> Row:
        """Store a record's new values, unchecked; its stamps always move on."""
        now_ms = max(self.clock.now_ms(), row.stamp_ms + 1)
        deleted_ms = row.deleted_ms
        if deleted is not None:
            # What goes into the recycle bin together comes out together: one moment for all of it.
            deleted_ms = (self._moment_ms if self._depth else now_ms) if deleted else None
        changed = Row(row.id, values, row.created_ms, now_ms, now_ms, row.created_by, self.user, deleted_ms)
        self.put(changed)
        return changed

    def put(self, row: Row) -> None:
        """Store a record as it is, unchecked, and tell the listeners; for what the API itself cannot write."""
        store = self._prefixes[row.id[:3]]
        before = store.put(row)
        self._changed(store.sobject.name, before, row)

    def load(self, rows: Iterable[Row]) -> None:
        """Store the org's past: unchecked, and nobody is told."""
        for row in rows:
            store = self._prefixes[row.id[:3]]
            store.put(row)
            self._noted(store.sobject.name)

    # --- the shape of the org ---

    def add_kind(self, kind: SObject) -> Store:
        """A new kind of record."""
        store = self.stores[kind.name] = Store(kind)
        self._kinds[kind.name.lower()] = kind
        self._prefixes[kind.prefix] = store
        return store

    def add_fields(self, kind: str, *added: Field, granted_by: str | None = None) -> None:
        """Add custom fields; `granted_by` is the permission set that opens them (none: nobody sees them yet)."""
        self.stores[kind].sobject.add(*added)
        self.access.forget()
        for one in added:
            self.added_ms[f"{kind}.{one.name}"] = self.clock.now_ms()
            self.insert("CustomField", {"DeveloperName": one.name.removesuffix("__c"), "TableEnumOrId": kind})
        for one in added if granted_by is not None else ():
            self.insert(
                "FieldPermissions",
                {
                    "ParentId": granted_by,
                    "SobjectType": kind,
                    "Field": f"{kind}.{one.name}",
                    "PermissionsRead": True,
                    "PermissionsEdit": True,
                },
            )

    def drop_field(self, kind: str, name: str) -> None:
        """Delete a custom field, who may see it, and what it holds."""
        held = self.field_id(kind, name)
        if held is not None:
            self.purge(held)
        for row in list(self.stores["FieldPermissions"]):
            if row.values["Field"] == f"{kind}.{name}":
                self.purge(row.id)
        self.stores[kind].erase(name)
        self.stores[kind].sobject.drop(name)
        self.access.forget()

    def field_id(self, kind: str, name: str) -> str | None:
        """The id of a custom field; None when there is none of this name."""
        wanted = {"DeveloperName": name.removesuffix("__c"), "TableEnumOrId": kind}
        return next((row.id for row in self.stores["CustomField"] if wanted.items() <= row.values.items()), None)

    def everyday_set(self) -> str:
        """The permission set that opens the org's own custom fields to the integration user; its id."""
        for row in self.stores["PermissionSet"]:
            if row.values["Name"] == EVERYDAY:
                return row.id
        made = self.insert("PermissionSet", {"Name": EVERYDAY, "Label": "Everyday Access"})
        self.insert("PermissionSetAssignment", {"PermissionSetId": made.id, "AssigneeId": self.integration_user})
        return made.id

    def reset(self) -> None:
        """Forget all records, custom fields and rules; clock and behaviour stay."""
        self.stores.clear()
        self._kinds.clear()
        self._prefixes.clear()
        self._responds.clear()
        self._changes.clear()
        self.added_ms.clear()
        for kind in standard():
            self.add_kind(kind)
        self.rules.clear()
        self.queries.clear()
        self.locks = Locks()
        version = self.access.version
        self.access = Access(version=version + 1)
        self.user = self.admin_user
        founding.found(self)
        if self.behaviour.package_installed:
            package.install(self)
        for resetter in tuple(self.resetters):
            resetter()

    def behave(self, changes: Mapping[str, Any]) -> None:
        """Change how the org behaves; KeyError for a name it does not know."""
        known = {one.name for one in fields(Behaviour)}
        for name in changes:
            if name not in known:
                raise KeyError(name)
        self.behaviour = replace(self.behaviour, **changes)
        self.access.forget()

    def body(self, *, full: bool) -> dict[str, Any]:
        """What it holds as JSON: counts, or with `full` every live record too."""
        summary: dict[str, Any] = {
            "clock": self.clock.now().isoformat(),
            "org_id": self.org_id,
            "behaviour": asdict(self.behaviour),
            "records": {name: store.live for name, store in self.stores.items()},
            "deleted": {name: len(store.rows) - store.live for name, store in self.stores.items()},
        }
        if not full:
            return summary
        return summary | {
            "rows": {
                name: {row.id: dict(row.values) for row in store} for name, store in self.stores.items() if store.live
            }
        }

    # --- inside ---

    def _empty_bin(self, now_ms: int) -> None:
        kept_ms = round(self.behaviour.bin_days * DAY_MS)
        for store in self.stores.values():
            while store.bin and next(iter(store.bin.values())) + kept_ms <= now_ms:
                self.purge(next(iter(store.bin)))

    def _changed(self, kind: str, before: Row | None, after: Row | None) -> None:
        self._noted(kind)
        self._changes.append((kind, before, after))
        if not self._depth:
            self._tell()

    def _noted(self, kind: str) -> None:
        if kind in GRANTS:
            self.access.forget()
        elif kind == "CampaignMemberStatus":
            self._responds.clear()

    def _tell(self) -> None:
        if self._depth or self._telling:
            return
        self._telling = True
        try:
            while self._changes:
                told, self._changes = self._changes, []
                for change in told:
                    for listener in tuple(self.listeners):
                        listener(*change)
        finally:
            self._telling = False

    def undo(self, start: int) -> None:
        """Take back the changes from this one on that nobody was told of yet."""
        undone, self._changes[start:] = self._changes[start:], []
        for kind, before, after in reversed(undone):
            store = self.stores[kind]
            if before is not None:
                store.put(before)
            elif after is not None:
                store.remove(after.id)
            self._noted(kind)
