"""The account, its API usage, what the token may do, exports, and who works where."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from adapters.hubspot.sandbox.answers import ACCEPTED, OK, Answer, Refusal, batch, iso, not_found
from adapters.hubspot.sandbox.api import Call, Rule
from adapters.hubspot.sandbox.exports import Snapshot, request_from
from adapters.hubspot.sandbox.limits import RateMeter
from adapters.hubspot.sandbox.records import Record
from adapters.hubspot.sandbox.state import CONTACT_TYPE, Kind, State

SCOPES = (
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.companies.read",
    "crm.objects.companies.write",
    "crm.objects.notes.read",
    "crm.objects.tasks.read",
    "crm.schemas.contacts.read",
    "crm.schemas.contacts.write",
    "crm.schemas.companies.read",
    "crm.schemas.companies.write",
    "crm.lists.read",
    "crm.lists.write",
    "crm.export",
    "automation",
    "communication_preferences.read",
    "communication_preferences.write",
)
MAX_ASSOCIATION_INPUTS = 1_000
ASSOCIATIONS_PER_PAGE = 500


class AccountRoutes:
    """Operations that need the rate meter beside the state."""

    def __init__(self, meter: RateMeter) -> None:
        self._meter = meter

    def details(self, call: Call) -> Answer:
        """Which account this is."""
        zone = self._meter.timezone
        offset = datetime.fromtimestamp(call.now_ms / 1000, ZoneInfo(zone) if zone != "UTC" else None).utcoffset()
        seconds = round(offset.total_seconds()) if offset else 0
        sign = "-" if seconds < 0 else "+"
        return Answer(
            OK,
            {
                "portalId": call.state.portal_id,
                "accountType": "DEVELOPER_TEST",
                "timeZone": zone,
                "companyCurrency": "EUR",
                "additionalCurrencies": [],
                "utcOffset": f"{sign}{abs(seconds) // 3600:02d}:{abs(seconds) // 60 % 60:02d}",
                "utcOffsetMilliseconds": seconds * 1000,
                "uiDomain": "app.hubspot.com",
                "dataHostingLocation": "eu1",
            },
        )

    def usage(self, call: Call) -> Answer:
        """How much of today's allowance everybody has used."""
        usage = {
            "name": "private-apps-api-calls-daily",
            "usageLimit": self._meter.allowance.per_day,
            "currentUsage": self._meter.used_today,
            "collectedAt": iso(call.now_ms),
            "fetchStatus": "SUCCESS",
            "resetsAt": iso(round(self._meter.day_ends(now_ms=call.now_ms).timestamp() * 1000)),
        }
        return Answer(OK, {"results": [usage]})

    def rules(self) -> tuple[Rule, ...]:
        """The operations."""
        return (
            Rule("GET", "account", "/details", self.details, "account reads"),
            Rule("GET", "account", "/api-usage/daily/private-apps", self.usage, "account reads"),
        )


def token_info(call: Call) -> Answer:
    """What the token may do."""
    granted = [scope for scope in SCOPES if scope not in call.state.missing_scopes]
    return Answer(OK, {"userId": 1, "hubId": call.state.portal_id, "appId": 1, "scopes": granted})


def create_export(call: Call) -> Answer:
    """Queue an export of every record, of those a search finds, or of a list."""
    body, state = call.fields, call.state
    kind = state.kind(str(body.get("objectType")))
    request = request_from(body, object_type=kind.store.object_type.upper(), known=kind.definitions.live)
    if request.kind == "LIST":
        state.lists.get(str(body.get("listId")))
    filters = body.get("publicCrmSearchRequest") or {}
    passes = kind.searcher.matching(filters)

    def take() -> Snapshot:
        records = _exported(state, kind, request.kind, str(body.get("listId")))
        chosen = [record for record in records if passes(record)] if filters else records
        return state.snapshot(kind, chosen, with_companies=request.with_companies)

    job = state.exports.create(request, take, now_ms=call.now_ms)
    return Answer(ACCEPTED, {"id": job.id, "links": {}})


def export_status(call: Call, task_id: str) -> Answer:
    """How far an export is; when it is done, a new address to download it from."""
    exports = call.state.exports
    job = exports.poll(task_id, now_ms=call.now_ms)
    body: dict[str, Any] = {
        "status": job.status,
        "requestedAt": iso(job.created_ms),
        "startedAt": iso(job.started_ms or job.created_ms),
        "completedAt": iso(job.done_ms or call.now_ms),
        "links": {},
    }
    if job.status == "COMPLETE":
        definitions = call.state.kind(job.request.object_type.lower()).definitions
        exports.render(job, {**definitions.archived, **definitions.live})
        body["result"] = f"{call.base_url}/downloads/{exports.sign(job, now_ms=call.now_ms)}"
    return Answer(OK, body)


def export_details(call: Call, export_id: str) -> Answer:
    """An export's state and size."""
    return Answer(OK, call.state.exports.get(export_id).body())


def read_associations(call: Call, from_type: str, to_type: str) -> Answer:
    """Who works where: companies of contacts, or contacts of companies, 500 per page and record."""
    source, target = call.state.kind(from_type), call.state.kind(to_type)
    if source.store.type_id == target.store.type_id:
        raise Refusal(f"The sandbox keeps no associations between {from_type} and {to_type}")
    inputs = call.inputs(MAX_ASSOCIATION_INPUTS)
    ids = [str(item.get("id")) for item in inputs]
    linked = _linked(call.state, source, ids)
    results, errors = [], []
    for item, record_id in zip(inputs, ids, strict=True):
        targets = linked.get(record_id, [])
        if not targets:
            refusal = not_found(
                f"No {target.store.type_id} is associated with {source.store.type_id} {record_id}.",
                context={"fromObjectId": [record_id]},
            )
            refusal.sub_category = "crm.associations.NO_ASSOCIATIONS_FOUND"
            errors.append(refusal.batch_error())
            continue
        start = int(str(item.get("after") or 0))
        page = targets[start : start + ASSOCIATIONS_PER_PAGE]
        following = start + len(page)
        shown = [{"toObjectId": i, "associationTypes": _labels(source)} for i in page]
        paging = call.paging(following if following < len(targets) else None)
        results.append({"from": {"id": record_id}, "to": shown, **paging})
    return batch(results, now_ms=call.now_ms, errors=errors)


def _linked(state: State, source: Kind, ids: list[str]) -> dict[str, list[str]]:
    people = state.contacts.live
    if source.store.type_id == CONTACT_TYPE:
        companies = state.companies.live
        held = {i: people[i].properties.get("associatedcompanyid", "") for i in ids if i in people}
        return {i: [company] for i, company in held.items() if company in companies}
    found: dict[str, list[str]] = {i: [] for i in ids if i in state.companies.live}
    for record in people.values():
        workers = found.get(record.properties.get("associatedcompanyid", ""))
        if workers is not None:
            workers.append(record.id)
    return found


def _labels(source: Kind) -> list[dict[str, Any]]:
    unlabeled, primary = (279, 1) if source.store.type_id == CONTACT_TYPE else (280, 2)
    return [
        {"category": "HUBSPOT_DEFINED", "typeId": primary, "label": "Primary"},
        {"category": "HUBSPOT_DEFINED", "typeId": unlabeled, "label": None},
    ]


def _exported(state: State, kind: Kind, export_kind: str, list_id: str) -> list[Record]:
    if export_kind == "VIEW":
        return list(kind.store.live.values())
    members = state.lists.get(list_id).members
    return [kind.store.live[i] for i in members if i in kind.store.live]


EXPORT = ("crm.export",)
RULES = (
    Rule("POST", "tokens", "/get/access-token-info", token_info, "account reads"),
    Rule("POST", "exports", "/export/async", create_export, "exports", EXPORT),
    Rule("GET", "exports", "/export/async/tasks/<task_id>/status", export_status, "exports", EXPORT),
    Rule("GET", "exports", "/export/<export_id>", export_details, "exports", EXPORT),
    Rule(
        "POST",
        "associations",
        "/<from_type>/<to_type>/batch/read",
        read_associations,
        "record reads",
        ("crm.objects.contacts.read",),
        meter="daily",
    ),
)
