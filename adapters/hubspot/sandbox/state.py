"""Everything the sandbox holds, and the few operations that touch more than one part of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, tzinfo
from typing import Any

from adapters.hubspot.sandbox.action_calls import ActionCalls
from adapters.hubspot.sandbox.answers import BAD_REQUEST, CONFLICT, Refusal, not_found
from adapters.hubspot.sandbox.catalogue import (
    COMPANY_GROUPS,
    COMPANY_PROPERTIES,
    CONTACT_GROUPS,
    CONTACT_PROPERTIES,
)
from adapters.hubspot.sandbox.definitions import DefinitionStore
from adapters.hubspot.sandbox.engagements import NOTES, TASKS, Engagement, EngagementStore
from adapters.hubspot.sandbox.exports import ExportStore, Snapshot
from adapters.hubspot.sandbox.lists import ContactList, ListStore
from adapters.hubspot.sandbox.mails import MailRoom
from adapters.hubspot.sandbox.news import News
from adapters.hubspot.sandbox.preferences import PreferenceStore
from adapters.hubspot.sandbox.records import ObjectStore, Record
from adapters.hubspot.sandbox.search import Searcher
from adapters.hubspot.sandbox.values import check_values, invalid_values
from adapters.hubspot.sandbox.workflows import WorkflowEngine
from adapters.lookalike.clock import SandboxClock

CONTACT_TYPE = "0-1"
COMPANY_TYPE = "0-2"
MAX_MERGED = 250
TYPE_NAMES = {
    "contacts": CONTACT_TYPE,
    "contact": CONTACT_TYPE,
    CONTACT_TYPE: CONTACT_TYPE,
    "companies": COMPANY_TYPE,
    "company": COMPANY_TYPE,
    COMPANY_TYPE: COMPANY_TYPE,
}


@dataclass(slots=True)
class Behaviour:
    """How the account behaves where the vendor's ways differ or are not known; each can be changed while it runs.

    search_lag_seconds, search_jitter_seconds: How late the search index is, and how much later by chance.
    list_size_lag_seconds: How late a list's `size` is.
    merge_gives_new_id: A merge makes a third id that both old ones lead to.
    merged_members: A merged-away id in a membership call is "missing", or applied to the "survivor".
    ids_as_text: Searching compares and sorts `hs_object_id` as text.
    max_members_per_call: A membership call with more ids is refused.
    workflow_lag_seconds: How late workflows and dynamic lists see a change.
    enrollments_per_second: How many contacts all workflows together let in.
    switching_on_enrolls: Switching a workflow on enrolls who meets its trigger already (the window asks, the API not).
    v2_ignores_suppression: The v2 call enrolls members of the workflow's suppression lists too.
    unenroll_stranger: What the v2 call says to unenrolling somebody who is not in: 404 or 204.
    """

    search_lag_seconds: float = 0.0
    search_jitter_seconds: float = 0.0
    list_size_lag_seconds: float = 0.0
    merge_gives_new_id: bool = False
    merged_members: str = "missing"
    ids_as_text: bool = True
    max_members_per_call: int = 100_000
    workflow_lag_seconds: float = 0.0
    enrollments_per_second: int = 20
    switching_on_enrolls: bool = True
    v2_ignores_suppression: bool = True
    unenroll_stranger: int = 404
    export_seconds: float = 3.0
    export_polls: int = 3
    export_rows_per_part: int = 1_000_000
    export_zip_above_bytes: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Poison:
    """Why writes to one record are refused. `on` is "properties", "members" or "both"."""

    message: str
    on: str = "properties"


@dataclass(slots=True)
class Kind:
    """One kind of record with its definitions and its searcher."""

    store: ObjectStore
    definitions: DefinitionStore
    searcher: Searcher


@dataclass(slots=True)
class State:
    """The account. Every request and every control call works on it under `lock`."""

    portal_id: int = 42424242
    clock: SandboxClock = field(default_factory=SandboxClock)
    lists: ListStore = field(default_factory=ListStore)
    exports: ExportStore = field(default_factory=ExportStore)
    engagements: EngagementStore = field(default_factory=EngagementStore)
    behaviour: Behaviour = field(default_factory=Behaviour)
    poison: dict[str, Poison] = field(default_factory=dict)
    missing_scopes: set[str] = field(default_factory=set)
    kinds: dict[str, Kind] = field(default_factory=dict)
    zone: Callable[[], tzinfo] = lambda: UTC
    preferences: PreferenceStore = field(init=False)
    mails: MailRoom = field(init=False)
    workflows: WorkflowEngine = field(init=False)
    news: News = field(init=False)
    calls: ActionCalls = field(init=False)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.news = News(self.portal_id)
        if not self.kinds:
            self.reset()

    @property
    def contacts(self) -> ObjectStore:
        """The people."""
        return self.kinds[CONTACT_TYPE].store

    @property
    def companies(self) -> ObjectStore:
        """The companies."""
        return self.kinds[COMPANY_TYPE].store

    @property
    def contact_properties(self) -> DefinitionStore:
        """The property definitions of contacts."""
        return self.kinds[CONTACT_TYPE].definitions

    def reset(self) -> None:
        """Forget all records, lists, workflows, mails and custom properties; clock, limits, apps and behaviour stay."""
        self.lists = ListStore()
        self.exports = ExportStore()
        self.engagements = EngagementStore()
        self.poison.clear()
        self.missing_scopes.clear()
        self.kinds.clear()
        contacts = ObjectStore(object_type="contacts", type_id=CONTACT_TYPE, modified_property="lastmodifieddate")
        companies = ObjectStore(object_type="companies", type_id=COMPANY_TYPE, modified_property="hs_lastmodifieddate")
        definitions = (
            DefinitionStore(type_id=CONTACT_TYPE, groups=CONTACT_GROUPS, definitions=CONTACT_PROPERTIES),
            DefinitionStore(type_id=COMPANY_TYPE, groups=COMPANY_GROUPS, definitions=COMPANY_PROPERTIES),
        )
        for store, held in zip((contacts, companies), definitions, strict=True):
            self.kinds[store.type_id] = Kind(store, held, Searcher(store, held.live))
        self.preferences = PreferenceStore(lambda: self.contacts)
        self.mails = MailRoom(lambda: self.contacts, self.preferences)
        self.workflows = WorkflowEngine(self)
        self.calls = ActionCalls(self.portal_id)
        self.news.waiting.clear()
        self.contacts.versioned = lambda before, after, now_ms: self.news.put(before, after, now_ms=now_ms)
        self.contacts.changed = self.lists.changed = self.workflows.touched
        self._obey()

    def behave(self, changes: Mapping[str, Any]) -> None:
        """Change how the account behaves; KeyError for a name it does not know."""
        known = {f.name for f in fields(Behaviour)}
        for name in changes:
            if name not in known:
                raise KeyError(name)
        self.behaviour = replace(self.behaviour, **changes)
        self._obey()

    def kind(self, name: str) -> Kind:
        """The kind of record behind a name or type id; 400 for one the sandbox does not have."""
        type_id = TYPE_NAMES.get(name.lower())
        if type_id is None:
            raise Refusal(f"Unable to infer object type from: {name}", context={"type": [name]})
        return self.kinds[type_id]

    def settle(self) -> int:
        """Let what is due by now happen: index lag, exports; the present moment in ms."""
        now_ms = self.clock.now_ms()
        for kind in self.kinds.values():
            kind.store.index.settle(now_ms)
        self.exports.settle(now_ms)
        self.workflows.run(now_ms)
        for call in self.calls.expire(now_ms):
            self.workflows.resume(call.flow_id, call.enrollment)
            self.workflows.run(now_ms)
        return now_ms

    def create(self, kind: Kind, values: Mapping[str, Any], *, now_ms: int) -> Record:
        """Make a record; 409 naming the holder when its address or unique value is taken."""
        stored = check_values(values, kind.definitions.live)
        self._check_unique(kind, stored, own_id=None)
        record = Record(kind.store.new_id(), {k: v for k, v in stored.items() if v is not None}, now_ms, now_ms)
        kind.store.put(record, now_ms=now_ms)
        return self._with_choices(kind, record, now_ms=now_ms)

    def update(self, kind: Kind, record: Record, values: Mapping[str, Any], *, now_ms: int) -> Record:
        """Write values to a record; a poisoned record refuses."""
        poison = self.poison.get(record.id)
        stored = check_values(values, kind.definitions.live)
        if poison and poison.on in {"properties", "both"}:
            name = next(iter(values), "hs_object_id")
            raise invalid_values(
                [{"isValid": False, "message": poison.message, "error": "INVALID_VALUE", "name": name}]
            )
        self._check_unique(kind, stored, own_id=record.id)
        properties = {**record.properties, **{k: v for k, v in stored.items() if v is not None}}
        for name, value in stored.items():
            if value is None:
                properties.pop(name, None)
        changed = replace(record, properties=properties, updated_ms=max(now_ms, record.updated_ms))
        kind.store.put(changed, now_ms=now_ms)
        return self._with_choices(kind, changed, now_ms=now_ms) if "email" in stored else changed

    def archive(self, kind: Kind, record_id: str, *, now_ms: int) -> None:
        """Put a record in the recycle bin and off every list; nothing happens when it is not there."""
        if kind.store.archive(record_id, now_ms=now_ms) is not None:
            self.lists.forget_record(record_id, type_id=kind.store.type_id)
            if kind.store.type_id == CONTACT_TYPE:
                self.news.gone(record_id, now_ms=now_ms, for_good=False)

    def purge(self, kind: Kind, record_id: str, *, now_ms: int) -> None:
        """Forget a record for good."""
        purged = kind.store.purge(record_id, now_ms=now_ms)
        self.lists.forget_record(record_id, type_id=kind.store.type_id)
        if purged and kind.store.type_id == CONTACT_TYPE:
            self.news.gone(record_id, now_ms=now_ms, for_good=True)

    def merge(self, kind: Kind, primary_id: str, loser_id: str, *, now_ms: int) -> Record:
        """Merge one record into another: the primary's values win, addresses and memberships come along."""
        primary, loser = kind.store.find(primary_id), kind.store.find(loser_id)
        if primary is None or loser is None:
            raise not_found("One of the records to merge does not exist", context={"ids": [primary_id, loser_id]})
        if primary.id == loser.id:
            raise Refusal("A record cannot be merged with itself", context={"ids": [primary_id, loser_id]})
        merged_ids = _joined(primary, loser, "hs_merged_object_ids", primary_first=self.behaviour.merge_gives_new_id)
        if len(merged_ids.split(";")) > MAX_MERGED:
            raise Refusal(f"A record can stand for at most {MAX_MERGED} merged records", status=BAD_REQUEST)
        survivor = replace(
            primary,
            properties=_merged_properties(primary, loser, merged_ids, now_ms=now_ms),
            created_ms=min(primary.created_ms, loser.created_ms),
            updated_ms=now_ms,
        )
        losers = [loser.id]
        if self.behaviour.merge_gives_new_id:
            survivor = replace(survivor, id=kind.store.new_id())
            losers = [primary.id, loser.id]
        if kind.store.type_id == CONTACT_TYPE:
            self.workflows.merged(primary.id, loser.id, survivor.id)
        for lost in losers:
            lists = self.lists.forget_record(lost, type_id=kind.store.type_id)
            kind.store.merge(lost, survivor, now_ms=now_ms)
            for held in lists:
                self.lists.change(held, add=[survivor.id], remove=(), now_ms=now_ms)
        if kind.store.type_id == CONTACT_TYPE:
            self.news.merged(primary_id, [loser_id], survivor.id, now_ms=now_ms)
        return survivor

    def change_members(
        self, held: ContactList, *, add: list[str], remove: list[str], now_ms: int
    ) -> tuple[list[str], list[str], list[str]]:
        """Change a list by hand or by call: what joined, what left, and the ids that are no record."""
        for record_id in (*add, *remove):
            poison = self.poison.get(record_id)
            if poison and poison.on in {"members", "both"}:
                raise Refusal(
                    poison.message, sub_category="ListError.INVALID_RECORD", context={"recordId": [record_id]}
                )
        store = self.kinds[held.type_id].store
        if self.behaviour.merged_members == "survivor":
            add, remove = [store.survivor(i) for i in add], [store.survivor(i) for i in remove]
        absent = store.missing(add)
        gone = set(absent)
        unknown = [i for i in store.missing(remove) if i not in held.members and i not in gone]
        joined, left = self.lists.change(
            held, add=[i for i in add if i not in gone] if gone else add, remove=remove, now_ms=now_ms
        )
        return joined, left, absent + unknown

    def snapshot(self, kind: Kind, records: list[Record], *, with_companies: bool) -> Snapshot:
        """Records for an export, with the names of their companies when those are asked for."""
        if not with_companies:
            return records, {}
        wanted = {record.properties.get("associatedcompanyid", "") for record in records}
        held = self.companies.live if kind.store.type_id == CONTACT_TYPE else {}
        return records, {i: held[i].properties.get("name", "") for i in wanted if i in held}

    def body(self, *, full: bool) -> dict[str, Any]:
        """What it holds as JSON: counts, or with `full` every record, list and property."""
        summary: dict[str, Any] = {
            "clock": self.clock.now().isoformat(),
            "portal_id": self.portal_id,
            "behaviour": asdict(self.behaviour),
            "contacts": len(self.contacts.live),
            "archived_contacts": len(self.contacts.archived),
            "merged_contacts": len(self.contacts.merged),
            "companies": len(self.companies.live),
            "lists": {held.name: len(held.members) for held in self.lists.lists.values()},
            "properties": sorted(d.name for d in self.contact_properties.custom()),
            "workflows": {flow.name: len(self.workflows.standing(flow.id).active) for flow in self.workflows.flows},
            "mails": sum(mail.sent for mail in self.mails.mails),
        }
        if not full:
            return summary
        return summary | {
            "contacts": {i: dict(r.properties) for i, r in self.contacts.live.items()},
            "archived_contacts": sorted(self.contacts.archived, key=int),
            "merged_contacts": dict(self.contacts.merged),
            "companies": {i: dict(r.properties) for i, r in self.companies.live.items()},
            "lists": {
                held.name: {
                    "id": held.id,
                    "folder": self.lists.folders[held.folder].name,
                    "kind": held.processing_type,
                    "members": sorted(held.members, key=int),
                }
                for held in self.lists.lists.values()
            },
            "properties": {d.name: d.body() for d in self.contact_properties.custom()},
            "notes": [self._engaged(one) for one in self.engagements.of(NOTES)],
            "tasks": [self._engaged(one) for one in self.engagements.of(TASKS)],
        }

    @staticmethod
    def _engaged(one: Engagement) -> dict[str, Any]:
        return {"id": one.id, "contacts": list(one.contacts), **one.properties}

    def _check_unique(self, kind: Kind, stored: Mapping[str, str | None], *, own_id: str | None) -> None:
        address = stored.get("email")
        holder = kind.store.by_email(address) if address else None
        if holder is not None and holder.id != own_id:
            raise Refusal(f"Contact already exists. Existing ID: {holder.id}", status=CONFLICT, category="CONFLICT")
        for name, value in stored.items():
            if value is not None and kind.definitions.live[name].unique:
                other = kind.store.by_unique(name, value)
                if other is not None and other.id != own_id:
                    raise Refusal(
                        f"{name} must be unique. Existing ID: {other.id}", status=CONFLICT, category="CONFLICT"
                    )

    def _with_choices(self, kind: Kind, record: Record, *, now_ms: int) -> Record:
        """The record with what its address chose before: a choice outlives the contact it was made for."""
        address = record.properties.get("email", "")
        if kind.store.type_id == CONTACT_TYPE and address and self.preferences.knows(address):
            self.preferences.carry(address, now_ms=now_ms)
        return kind.store.live[record.id]

    def _obey(self) -> None:
        behaviour = self.behaviour
        for kind in self.kinds.values():
            kind.store.index.lag_ms = round(behaviour.search_lag_seconds * 1000)
            kind.store.index.jitter_ms = round(behaviour.search_jitter_seconds * 1000)
            kind.searcher.ids_as_text = behaviour.ids_as_text
        self.lists.size_lag_ms = round(behaviour.list_size_lag_seconds * 1000)
        self.exports.seconds = behaviour.export_seconds
        self.exports.polls = behaviour.export_polls
        self.exports.rows_per_part = behaviour.export_rows_per_part
        self.exports.zip_above_bytes = behaviour.export_zip_above_bytes


def _joined(primary: Record, loser: Record, name: str, *, primary_first: bool) -> str:
    """The ids a survivor stands for: those of both, then the losers of this merge."""
    parts = [
        *primary.properties.get(name, "").split(";"),
        *loser.properties.get(name, "").split(";"),
        *([primary.id] if primary_first else []),
        loser.id,
    ]
    return ";".join(dict.fromkeys(part for part in parts if part))


def _merged_properties(primary: Record, loser: Record, merged_ids: str, *, now_ms: int) -> dict[str, str]:
    addresses = [
        *primary.properties.get("hs_additional_emails", "").split(";"),
        loser.properties.get("email", "") if "email" in primary.properties else "",
        *loser.properties.get("hs_additional_emails", "").split(";"),
    ]
    secondary = ";".join(dict.fromkeys(address for address in addresses if address))
    history = [primary.properties.get("hs_calculated_merged_vids", ""), f"{loser.id}:{now_ms}"]
    merged = {
        **loser.properties,
        **primary.properties,
        "hs_merged_object_ids": merged_ids,
        "hs_calculated_merged_vids": ";".join(part for part in history if part),
    }
    return merged | ({"hs_additional_emails": secondary} if secondary else {})
