"""Lists, folders and memberships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.hubspot.sandbox.answers import NO_CONTENT, OK, Answer, Refusal, batch, iso
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.lists import ROOT_FOLDER, ContactList

MAX_MEMBERS_PAGE = 250
DEFAULT_MEMBERS_PAGE = 100
MAX_SEARCH = 500
DEFAULT_SEARCH = 20
MAX_WHOLE_LIST = 100_000
MAX_BATCH = 1_000


def create(call: Call) -> Answer:
    """Make a list, in the root or in a folder."""
    body = call.fields
    kind = call.state.kind(str(body.get("objectTypeId")))
    made = call.state.lists.create(
        name=str(body.get("name") or ""),
        type_id=kind.store.type_id,
        processing_type=str(body.get("processingType")),
        folder=str(body.get("listFolderId") or ROOT_FOLDER),
        filter_branch=body.get("filterBranch"),
        now_ms=call.now_ms,
    )
    call.state.workflows.watch(made)
    return Answer(OK, {"list": made.body(now_ms=call.now_ms)})


def read_many(call: Call) -> Answer:
    """The lists with these ids; those that do not exist are left out."""
    held = call.state.lists.lists
    wanted = [held[list_id] for list_id in call.names("listIds") if list_id in held]
    filters = call.flag("includeFilters")
    return Answer(OK, {"lists": [item.body(now_ms=call.now_ms, with_filters=filters) for item in wanted]})


def read(call: Call, list_id: str) -> Answer:
    """One list."""
    held = call.state.lists.get(list_id)
    return Answer(OK, {"list": held.body(now_ms=call.now_ms, with_filters=call.flag("includeFilters"))})


def read_by_name(call: Call, type_id: str, name: str) -> Answer:
    """The list of this name."""
    kind = call.state.kind(type_id)
    held = call.state.lists.by_name(name, type_id=kind.store.type_id)
    return Answer(OK, {"list": held.body(now_ms=call.now_ms, with_filters=call.flag("includeFilters"))})


def search(call: Call) -> Answer:
    """Lists by a part of their name, kind or id."""
    body = call.fields
    offset, count = int(body.get("offset") or 0), int(body.get("count") or DEFAULT_SEARCH)
    if offset < 0 or not 0 < count <= MAX_SEARCH:
        raise Refusal(f"count must be from 1 to {MAX_SEARCH} and offset not negative")
    text = str(body.get("query") or "").casefold()
    kinds, ids = set(body.get("processingTypes") or ()), {str(i) for i in body.get("listIds") or ()}
    type_id = body.get("objectTypeId")
    found = [
        held
        for held in call.state.lists.lists.values()
        if text in held.name.casefold()
        and (not kinds or held.processing_type in kinds)
        and (not ids or held.id in ids)
        and (not type_id or held.type_id == type_id)
    ]
    page = found[offset : offset + call.shorten(count)]
    wanted = [str(name) for name in body.get("additionalProperties") or ()]
    following = offset + len(page)
    return Answer(
        OK,
        {
            "lists": [_search_result(call, held, wanted) for held in page],
            "hasMore": following < len(found),
            "offset": following,
            "total": len(found),
        },
    )


def rename(call: Call, list_id: str) -> Answer:
    """Give a list another name."""
    held = call.state.lists.rename(list_id, str(call.args.get("listName") or ""), now_ms=call.now_ms)
    return Answer(OK, {"updatedList": held.body(now_ms=call.now_ms, with_filters=call.flag("includeFilters"))})


def refilter(call: Call, list_id: str) -> Answer:
    """Give a DYNAMIC list other filters."""
    held = call.state.lists.refilter(list_id, call.fields.get("filterBranch"), now_ms=call.now_ms)
    call.state.workflows.watch(held)
    return Answer(OK, {"updatedList": held.body(now_ms=call.now_ms, with_filters=True)})


def delete(call: Call, list_id: str) -> Answer:
    """Delete a list."""
    call.state.lists.delete(list_id, now_ms=call.now_ms)
    call.state.workflows.forget_list(list_id)
    return Answer(NO_CONTENT)


def restore(call: Call, list_id: str) -> Answer:
    """Bring a deleted list back."""
    call.state.lists.restore(list_id, now_ms=call.now_ms)
    call.state.workflows.watch(call.state.lists.get(list_id))
    return Answer(NO_CONTENT)


def create_folder(call: Call) -> Answer:
    """Make a folder."""
    body = call.fields
    made = call.state.lists.create_folder(
        str(body.get("name") or ""), parent=str(body.get("parentFolderId") or ROOT_FOLDER), now_ms=call.now_ms
    )
    return Answer(OK, {"folder": call.state.lists.folder_body(made.id)})


def read_folder(call: Call) -> Answer:
    """One folder with everything in it; the root when none is named."""
    return Answer(OK, {"folder": call.state.lists.folder_body(str(call.args.get("folderId") or ROOT_FOLDER))})


def rename_folder(call: Call, folder_id: str) -> Answer:
    """Give a folder another name."""
    held = call.state.lists.folder(folder_id)
    held.name, held.updated_ms = str(call.args.get("newFolderName") or held.name), call.now_ms
    return Answer(OK, {"folder": call.state.lists.folder_body(folder_id)})


def move_folder(call: Call, folder_id: str, parent: str) -> Answer:
    """Put a folder inside another."""
    call.state.lists.folder(parent)
    call.state.lists.move_folder(folder_id, parent=parent, now_ms=call.now_ms)
    return Answer(OK, {"folder": call.state.lists.folder_body(folder_id)})


def move_list(call: Call) -> Answer:
    """Put a list into a folder."""
    body = call.fields
    held = call.state.lists.get(str(body.get("listId")))
    held.folder = call.state.lists.folder(str(body.get("newFolderId"))).id
    return Answer(NO_CONTENT)


def delete_folder(call: Call, folder_id: str) -> Answer:
    """Remove an empty folder."""
    call.state.lists.delete_folder(folder_id)
    return Answer(NO_CONTENT)


def add(call: Call, list_id: str) -> Answer:
    """Add members; those that are members already are silently left out of the answer."""
    return _change(call, list_id, add=_ids(call.body), remove=[])


def remove(call: Call, list_id: str) -> Answer:
    """Remove members; those that are none are silently left out of the answer."""
    return _change(call, list_id, add=[], remove=_ids(call.body))


def add_and_remove(call: Call, list_id: str) -> Answer:
    """Add and remove in one call; both keys are needed."""
    body = call.fields
    if "recordIdsToAdd" not in body or "recordIdsToRemove" not in body:
        raise Refusal("Some required fields were not set: [recordIdsToAdd, recordIdsToRemove]")
    return _change(call, list_id, add=_ids(body["recordIdsToAdd"]), remove=_ids(body["recordIdsToRemove"]))


def add_from(call: Call, list_id: str, source_id: str) -> Answer:
    """Add every member of another list."""
    held, source = _manual(call, list_id), call.state.lists.get(source_id)
    _refuse_large(source)
    call.state.change_members(held, add=list(source.members), remove=[], now_ms=call.now_ms)
    return Answer(NO_CONTENT)


def empty(call: Call, list_id: str) -> Answer:
    """Remove every member."""
    held = _manual(call, list_id)
    _refuse_large(held)
    call.state.change_members(held, add=[], remove=list(held.members), now_ms=call.now_ms)
    return Answer(NO_CONTENT)


def members(call: Call, list_id: str) -> Answer:
    """One page of members by ascending record id."""
    held = call.state.lists.get(list_id)
    limit = call.shorten(call.number("limit", default=DEFAULT_MEMBERS_PAGE, most=MAX_MEMBERS_PAGE))
    ids, following = held.page(start=call.cursor(), limit=limit)
    return _members_page(call, held, ids, following)


def members_by_join(call: Call, list_id: str) -> Answer:
    """One page of members by the moment they joined."""
    held = call.state.lists.get(list_id)
    limit = call.shorten(call.number("limit", default=DEFAULT_MEMBERS_PAGE, most=MAX_MEMBERS_PAGE))
    start = call.cursor()
    ordered = sorted(held.members, key=lambda i: (held.members[i], int(i)))
    ids = ordered[start : start + limit]
    return _members_page(call, held, ids, start + len(ids) if start + len(ids) < len(ordered) else None)


def memberships_of(call: Call, type_id: str, record_id: str) -> Answer:
    """The lists one record is on."""
    kind = call.state.kind(type_id)
    return Answer(OK, {"results": _lists_of(call, record_id, kind.store.type_id)})


def memberships_of_many(call: Call) -> Answer:
    """The lists of many records."""
    results = []
    for item in call.inputs(MAX_BATCH):
        kind, record_id = call.state.kind(str(item.get("objectTypeId"))), str(item.get("recordId"))
        lists = _lists_of(call, record_id, kind.store.type_id)
        results.append({"objectTypeId": kind.store.type_id, "recordId": record_id, "recordListMemberships": lists})
    return batch(results, now_ms=call.now_ms)


def nothing_done(now_ms: int) -> Answer:  # noqa: ARG001 - every no-op is given the time
    """The membership answer that lists nobody."""
    return Answer(OK, membership_body([], [], []))


def membership_body(added: Sequence[str], removed: Sequence[str], missing: Sequence[str]) -> dict[str, Any]:
    """What the vendor says about a membership change; the first key is misspelt there too."""
    return {"recordsIdsAdded": list(added), "recordIdsRemoved": list(removed), "recordIdsMissing": list(missing)}


def _change(call: Call, list_id: str, *, add: list[str], remove: list[str]) -> Answer:
    held = _manual(call, list_id)
    most = call.state.behaviour.max_members_per_call
    if len(add) + len(remove) > most:
        raise Refusal(f"At most {most} records can be changed in one call, not {len(add) + len(remove)}")
    added, removed, missing = call.state.change_members(held, add=add, remove=remove, now_ms=call.now_ms)
    return Answer(OK, membership_body(added, removed, missing))


def _manual(call: Call, list_id: str) -> ContactList:
    held = call.state.lists.get(list_id)
    if held.processing_type == "DYNAMIC":
        raise Refusal(
            f"Memberships of list {list_id} cannot be changed: it is DYNAMIC",
            sub_category="ListError.INVALID_LIST_PROCESSING_TYPE",
            context={"listId": [list_id]},
        )
    return held


def _refuse_large(held: ContactList) -> None:
    if len(held.members) >= MAX_WHOLE_LIST:
        raise Refusal(f"List {held.id} has {len(held.members)} members; this call works below {MAX_WHOLE_LIST}")


def _ids(body: Any) -> list[str]:
    if not isinstance(body, list):
        raise Refusal("Invalid input JSON: a list of record ids was expected")
    return [str(item) for item in dict.fromkeys(body)]


def _members_page(call: Call, held: ContactList, ids: Sequence[str], following: int | None) -> Answer:
    results = [{"recordId": i, "membershipTimestamp": iso(held.members[i])} for i in ids]
    return Answer(OK, {"results": results, "total": len(held.members), **call.paging(following)})


def _lists_of(call: Call, record_id: str, type_id: str) -> list[dict[str, Any]]:
    return [
        {
            "listId": held.id,
            "listVersion": held.version,
            "firstAddedTimestamp": iso(held.first_joined[record_id]),
            "lastAddedTimestamp": iso(held.members[record_id]),
            "isPublicList": False,
        }
        for held in call.state.lists.of_record(record_id, type_id=type_id)
    ]


def _search_result(call: Call, held: ContactList, wanted: Sequence[str]) -> dict[str, Any]:
    extra = {
        "hs_list_size": str(held.size(call.now_ms)),
        "hs_folder_id": held.folder,
        "hs_folder_name": call.state.lists.folders[held.folder].name,
    }
    body = held.body(now_ms=call.now_ms)
    del body["size"]
    return body | {"additionalProperties": {name: extra[name] for name in wanted if name in extra}}


READ = ("crm.lists.read",)
WRITE = ("crm.lists.read", "crm.lists.write")
RULES = (
    Rule("POST", "lists", "", create, "list writes", ("crm.lists.write",)),
    Rule("GET", "lists", "", read_many, "list reads", READ),
    Rule("POST", "lists", "/search", search, "list reads", READ),
    Rule("GET", "lists", "/object-type-id/<type_id>/name/<path:name>", read_by_name, "list reads", READ),
    Rule("GET", "lists", "/folders", read_folder, "list reads", READ),
    Rule("POST", "lists", "/folders", create_folder, "list writes", WRITE),
    Rule("PUT", "lists", "/folders/move-list", move_list, "list writes", WRITE),
    Rule("PUT", "lists", "/folders/<folder_id>/rename", rename_folder, "list writes", WRITE),
    Rule("PUT", "lists", "/folders/<folder_id>/move/<parent>", move_folder, "list writes", WRITE),
    Rule("DELETE", "lists", "/folders/<folder_id>", delete_folder, "list writes", WRITE),
    Rule("POST", "lists", "/records/memberships/batch/read", memberships_of_many, "membership reads", READ),
    Rule("GET", "lists", "/records/<type_id>/<record_id>/memberships", memberships_of, "membership reads", READ),
    Rule("GET", "lists", "/<list_id>", read, "list reads", READ),
    Rule("DELETE", "lists", "/<list_id>", delete, "list writes", WRITE),
    Rule("PUT", "lists", "/<list_id>/restore", restore, "list writes", WRITE),
    Rule("PUT", "lists", "/<list_id>/update-list-name", rename, "list writes", WRITE),
    Rule("PUT", "lists", "/<list_id>/update-list-filters", refilter, "list writes", WRITE),
    Rule("GET", "lists", "/<list_id>/memberships", members, "membership reads", READ),
    Rule("GET", "lists", "/<list_id>/memberships/join-order", members_by_join, "membership reads", READ),
    Rule("DELETE", "lists", "/<list_id>/memberships", empty, "membership writes", WRITE),
    Rule("PUT", "lists", "/<list_id>/memberships/add", add, "membership writes", WRITE, no_op=nothing_done),
    Rule("PUT", "lists", "/<list_id>/memberships/remove", remove, "membership writes", WRITE, no_op=nothing_done),
    Rule(
        "PUT",
        "lists",
        "/<list_id>/memberships/add-and-remove",
        add_and_remove,
        "membership writes",
        WRITE,
        no_op=nothing_done,
    ),
    Rule("PUT", "lists", "/<list_id>/memberships/add-from/<source_id>", add_from, "membership writes", WRITE),
)
