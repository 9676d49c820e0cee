"""Lists, their folders and their members."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from adapters.hubspot.sandbox.answers import Refusal, iso, not_found
from adapters.hubspot.sandbox.filters import Test, compile_root, lists_in

ROOT_FOLDER = "0"
PROCESSING_TYPES = ("MANUAL", "SNAPSHOT", "DYNAMIC")
RESTORABLE_MS = 90 * 86_400_000


@dataclass(slots=True)
class ContactList:
    """One list. `members` maps record ids to the moment they last joined; `first_joined` survives leaving.

    A DYNAMIC list has a `test`: who passes it is a member, and the workflow engine sees to that.
    """

    id: str
    name: str
    type_id: str
    processing_type: str
    folder: str
    created_ms: int
    updated_ms: int
    version: int = 1
    filter_branch: Mapping[str, Any] | None = None
    test: Test | None = None
    deleted_ms: int | None = None
    members: dict[str, int] = field(default_factory=dict)
    first_joined: dict[str, int] = field(default_factory=dict)
    shown_size: int = 0
    shown_from_ms: int = 0
    _ordered: list[int] | None = None

    def body(self, *, now_ms: int, with_filters: bool = False) -> dict[str, Any]:
        """The list as the vendor writes it; `size` lags behind the members."""
        body: dict[str, Any] = {
            "listId": self.id,
            "listVersion": self.version,
            "name": self.name,
            "objectTypeId": self.type_id,
            "processingType": self.processing_type,
            "processingStatus": "COMPLETE",
            "createdAt": iso(self.created_ms),
            "updatedAt": iso(self.updated_ms),
            "filtersUpdatedAt": iso(self.created_ms),
            "createdById": "1",
            "updatedById": "1",
            "size": self.size(now_ms),
        }
        if self.deleted_ms is not None:
            body["deletedAt"] = iso(self.deleted_ms)
        if with_filters and self.filter_branch is not None:
            body["filterBranch"] = self.filter_branch
        return body

    def size(self, now_ms: int) -> int:
        """The count as the vendor shows it: late, so never to be trusted."""
        if now_ms >= self.shown_from_ms:
            self.shown_size = len(self.members)
        return self.shown_size

    def add(self, record_ids: Iterable[str], *, now_ms: int) -> list[str]:
        """Those of the ids that were not members yet, now added."""
        joined = [record_id for record_id in record_ids if record_id not in self.members]
        for record_id in joined:
            self.members[record_id] = now_ms
            self.first_joined.setdefault(record_id, now_ms)
        self._ordered = None
        return joined

    def remove(self, record_ids: Iterable[str]) -> list[str]:
        """Those of the ids that were members, now removed."""
        gone = [record_id for record_id in record_ids if self.members.pop(record_id, None) is not None]
        self._ordered = None
        return gone

    def page(self, *, start: int, limit: int) -> tuple[list[str], int | None]:
        """Member ids from this number on, ascending, and the number the next page starts at."""
        if self._ordered is None:
            self._ordered = sorted(map(int, self.members))
        first = bisect_left(self._ordered, start)
        numbers = self._ordered[first : first + limit]
        following = self._ordered[first + limit] if first + limit < len(self._ordered) else None
        return [str(number) for number in numbers], following


@dataclass(slots=True)
class Folder:
    """A folder of lists; "0" is the root."""

    id: str
    name: str
    parent: str
    created_ms: int
    updated_ms: int


class ListStore:
    """Every list and folder of the account. Names are unique among the lists that are not deleted, whatever case.

    `changed` is told the id of every record that joins or leaves a list.
    """

    def __init__(self) -> None:
        self.changed: Callable[[str], None] = lambda _record_id: None
        self.lists: dict[str, ContactList] = {}
        self.deleted: dict[str, ContactList] = {}
        self.folders: dict[str, Folder] = {ROOT_FOLDER: Folder(ROOT_FOLDER, "", ROOT_FOLDER, 0, 0)}
        self.size_lag_ms = 0
        self.max_lists = 1500
        self._names: dict[str, str] = {}
        self._next_list = 1
        self._next_folder = 1

    def create(
        self,
        *,
        name: str,
        type_id: str,
        processing_type: str,
        folder: str,
        filter_branch: Mapping[str, Any] | None,
        now_ms: int,
    ) -> ContactList:
        """Make a list; 400 when the name is taken or the kind is unknown."""
        if processing_type not in PROCESSING_TYPES:
            raise Refusal(
                f"Invalid processing type {processing_type}. Valid types: {', '.join(PROCESSING_TYPES)}",
                sub_category="ILS.INVALID_PROCESSING_TYPE",
            )
        if processing_type != "MANUAL" and filter_branch is None:
            raise Refusal(
                f"A list of processing type {processing_type} needs a filterBranch",
                sub_category="ILS.MISSING_FILTER_BRANCH",
            )
        if len(self.lists) >= self.max_lists:
            raise Refusal(f"The limit of {self.max_lists} lists was reached", sub_category="ILS.LIST_LIMIT_EXCEEDED")
        test = None
        if processing_type == "DYNAMIC":
            test = self._checked(filter_branch, of=None)
        self._claim_name(name)
        self.folder(folder)
        made = ContactList(
            str(self._next_list),
            name,
            type_id,
            processing_type,
            folder,
            now_ms,
            now_ms,
            filter_branch=filter_branch,
            test=test,
        )
        self._next_list += 1
        self.lists[made.id] = made
        self._names[name.casefold()] = made.id
        return made

    def get(self, list_id: str) -> ContactList:
        """One list; 404 when there is none."""
        try:
            return self.lists[list_id]
        except KeyError:
            raise not_found(f"List does not exist with ID {list_id}.", context={"listId": [list_id]}) from None

    def by_name(self, name: str, *, type_id: str) -> ContactList:
        """The list of exactly this name, whatever case; 404 when there is none."""
        found = self.lists.get(self._names.get(name.casefold(), ""))
        if found is None or found.type_id != type_id:
            raise not_found(f"List does not exist with name {name}.", context={"listName": [name]})
        return found

    def rename(self, list_id: str, name: str, *, now_ms: int) -> ContactList:
        """Give a list another name that nobody has."""
        held = self.get(list_id)
        if name.casefold() != held.name.casefold():
            self._claim_name(name)
        del self._names[held.name.casefold()]
        self._names[name.casefold()] = list_id
        held.name = name
        self._touch(held, now_ms)
        return held

    def refilter(self, list_id: str, branch: Any, *, now_ms: int) -> ContactList:
        """Give a DYNAMIC list other filters; 400 for a list of another kind."""
        held = self.get(list_id)
        if held.processing_type != "DYNAMIC":
            raise Refusal(
                f"List {list_id} is {held.processing_type}: only a DYNAMIC list has filters to change",
                sub_category="ListError.INVALID_LIST_PROCESSING_TYPE",
                context={"listId": [list_id]},
            )
        held.test = self._checked(branch, of=list_id)
        held.filter_branch = branch
        self._touch(held, now_ms)
        return held

    def delete(self, list_id: str, *, now_ms: int) -> None:
        """Delete a list; it can be restored for 90 days, its name is free at once."""
        held = self.get(list_id)
        del self.lists[list_id], self._names[held.name.casefold()]
        held.deleted_ms = now_ms
        self.deleted[list_id] = held
        self._tell(held.members)

    def restore(self, list_id: str, *, now_ms: int) -> None:
        """Bring a deleted list back with its members; 404 when it is gone for good."""
        held = self.deleted.get(list_id)
        if held is None or held.deleted_ms is None or now_ms - held.deleted_ms > RESTORABLE_MS:
            raise not_found(f"List does not exist with ID {list_id}.", context={"listId": [list_id]})
        self._claim_name(held.name)
        del self.deleted[list_id]
        held.deleted_ms = None
        self.lists[list_id] = held
        self._names[held.name.casefold()] = list_id
        self._tell(held.members)

    def change(
        self, held: ContactList, *, add: Sequence[str], remove: Sequence[str], now_ms: int
    ) -> tuple[list[str], list[str]]:
        """Remove, then add; what really left and what really joined."""
        held.size(now_ms)
        gone = held.remove(remove)
        joined = held.add(add, now_ms=now_ms)
        if gone or joined:
            held.shown_from_ms = now_ms + self.size_lag_ms
            self._touch(held, now_ms)
            self._tell((*gone, *joined))
        return joined, gone

    def of_record(self, record_id: str, *, type_id: str) -> list[ContactList]:
        """The lists a record is on, by list id."""
        return [held for held in self.lists.values() if held.type_id == type_id and record_id in held.members]

    def forget_record(self, record_id: str, *, type_id: str) -> list[ContactList]:
        """Take a record off every list; the lists it was on."""
        left = self.of_record(record_id, type_id=type_id)
        for held in left:
            held.remove([record_id])
        self._tell([record_id] if left else ())
        return left

    def create_folder(self, name: str, *, parent: str, now_ms: int) -> Folder:
        """Make a folder inside another; 400 when a folder of this name is already there."""
        self.folder(parent)
        if any(f.parent == parent and f.name.casefold() == name.casefold() for f in self.folders.values()):
            raise Refusal(
                f"A folder named '{name}' already exists in folder {parent}.", sub_category="ILS.DUPLICATE_FOLDER_NAME"
            )
        made = Folder(str(self._next_folder), name, parent, now_ms, now_ms)
        self._next_folder += 1
        self.folders[made.id] = made
        return made

    def folder(self, folder_id: str) -> Folder:
        """One folder; 404 when there is none."""
        try:
            return self.folders[folder_id]
        except KeyError:
            raise not_found(f"Folder does not exist with ID {folder_id}.", context={"folderId": [folder_id]}) from None

    def move_folder(self, folder_id: str, *, parent: str, now_ms: int) -> Folder:
        """Put a folder inside another that is not one of its own."""
        held, above = self.folder(folder_id), parent
        while above != ROOT_FOLDER:
            if above == folder_id:
                raise Refusal(f"Folder {folder_id} cannot be moved into itself")
            above = self.folder(above).parent
        held.parent, held.updated_ms = parent, now_ms
        return held

    def delete_folder(self, folder_id: str) -> None:
        """Remove an empty folder."""
        held = self.folder(folder_id)
        filled = any(f.parent == folder_id for f in self.folders.values() if f.id != ROOT_FOLDER)
        if held.id == ROOT_FOLDER or filled or any(li.folder == folder_id for li in self.lists.values()):
            raise Refusal(f"Folder {folder_id} is not empty.", sub_category="ILS.FOLDER_NOT_EMPTY")
        del self.folders[folder_id]

    def folder_body(self, folder_id: str) -> dict[str, Any]:
        """A folder with the folders and lists in it, as the vendor writes it."""
        held = self.folder(folder_id)
        children = [f.id for f in self.folders.values() if f.parent == folder_id and f.id != ROOT_FOLDER]
        return {
            "id": held.id,
            "name": held.name,
            "parentFolderId": held.parent,
            "createdAt": iso(held.created_ms),
            "updatedAt": iso(held.updated_ms),
            "childLists": [int(li.id) for li in self.lists.values() if li.folder == folder_id],
            "childNodes": [self.folder_body(child) for child in children],
        }

    def _checked(self, branch: Any, *, of: str | None) -> Test:
        """The test of a filter branch whose lists exist and do not lead back to the list itself."""
        test = compile_root(branch)
        reached, ahead = set[str](), lists_in(branch)
        while ahead:
            list_id = ahead.pop()
            reached.add(list_id)
            ahead |= lists_in(self.get(list_id).filter_branch or {}) - reached
        if of in reached:
            raise Refusal(f"List {of} cannot depend on itself", sub_category="ILS.CIRCULAR_LIST_DEPENDENCY")
        return test

    def _tell(self, record_ids: Iterable[str]) -> None:
        for record_id in record_ids:
            self.changed(record_id)

    def _claim_name(self, name: str) -> None:
        if not name.strip():
            raise Refusal("A list needs a name", sub_category="ILS.INVALID_LIST_NAME")
        if name.casefold() in self._names:
            raise Refusal(
                f"The list name '{name}' is already in use by another list.",
                sub_category="ILS.DUPLICATE_LIST_NAMES",
                context={"listName": [name]},
            )

    @staticmethod
    def _touch(held: ContactList, now_ms: int) -> None:
        held.version += 1
        held.updated_ms = now_ms
