"""What `winback check` asks of HubSpot: token, scopes, quota, versions, clock, mapped fields. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Final

from adapters.hubspot import versions
from adapters.hubspot.client import HubSpotClient, HubSpotRejected, MissingScopesError
from adapters.hubspot.feedback import SCOPES
from connector.contracts import Connection
from connector.errors import CredentialsError, WinbackError
from connector.model import Finding, Severity
from connector.rest import Effect

READ_SCOPES: Final = {
    "contacts": ("crm.objects.contacts.read", "crm.schemas.contacts.read"),
    "companies": ("crm.objects.companies.read", "crm.schemas.companies.read"),
}
EXPORT_SCOPE: Final = "crm.export"
WRITE_SCOPES: Final = ("crm.objects.contacts.write", "crm.schemas.contacts.write", "crm.lists.read", "crm.lists.write")
PREFERENCE_SCOPES: Final = (
    "communication_preferences.read",
    "communication_preferences.write",
    "communication_preferences.read_write",
)
FEEDBACK_SCOPES: Final = SCOPES

_SUNSET_NOTICE: Final = timedelta(days=180)
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
_QUOTA_WORRY: Final = 0.9


def check_connection(client: HubSpotClient, connection: Connection) -> Iterator[Finding]:
    """Whether the token works, whose account it is, and what is left of today's calls."""
    try:
        details = client.read(client.path("account-info", "/details"), attempts=2) or {}
    except CredentialsError as refusal:
        yield Finding("hubspot token", Severity.ERROR, str(refusal), refusal.hint, credentials=True)
        return
    except WinbackError as fault:
        yield Finding("hubspot", Severity.ERROR, str(fault), fault.hint)
        return
    portal, zone = details.get("portalId"), details.get("timeZone")
    yield Finding("hubspot token", Severity.OK, f"account {portal}, time zone {zone}")
    yield from _clock(client, connection)
    yield from _quota(client)
    yield from _versions(client, connection)


def check_reading(client: HubSpotClient, stream: str) -> Iterator[Finding]:
    """Whether one record of the stream can be read, and an export made."""
    scopes = client.token_scopes()
    needed = READ_SCOPES[stream][0]
    path = client.path("objects", "/{objectType}")
    yield _probe(
        f"hubspot {stream}",
        "can be read",
        lambda: client.read(path, place={"objectType": stream}, query=[("limit", 1)], attempts=2),
        needed,
    )
    if client.options.backfill == "export" and scopes is not None and EXPORT_SCOPE not in scopes:
        yield Finding(
            f"hubspot {stream} export",
            Severity.WARNING,
            "the token may not export: the first reading takes one call per 100 records",
            f"add the scope {EXPORT_SCOPE}, or set `backfill: list`",
        )


def check_fields(client: HubSpotClient, stream: str, wanted: Sequence[str]) -> Iterator[Finding]:
    """Whether the properties the mapping names exist in this account."""
    path = client.path("properties", "/{objectType}")
    try:
        answer = client.read(path, place={"objectType": stream}, attempts=2) or {}
    except WinbackError as fault:
        yield _failed(f"hubspot {stream} fields", fault, READ_SCOPES[stream][1])
        return
    existing = {str(item["name"]) for item in answer.get("results") or ()}
    missing = [name for name in wanted if name not in existing]
    for name in missing:
        near = get_close_matches(name, existing, n=1)
        yield Finding(
            f"hubspot {stream}.{name}",
            Severity.WARNING,
            "this account has no such property; the column it maps to stays empty",
            f"map another one in winback.yaml, for instance {near[0]}" if near else "create it, or map another one",
        )
    yield Finding(
        f"hubspot {stream} fields", Severity.OK, f"{len(wanted) - len(missing)} of {len(wanted)} mapped fields exist"
    )


def check_writing(client: HubSpotClient) -> Iterator[Finding]:
    """Whether the token may change contacts, properties and lists: tried with requests that change nothing.

    Permissions are looked at before contents, so an empty batch is refused as empty (400) or as forbidden (403).
    """
    lists = client.path("lists", "/{listId}/memberships/add-and-remove")
    objects = client.path("objects", "/contacts/batch/update")
    properties = client.path("properties", "/contacts")
    nothing: dict[str, list[str]] = {"recordIdsToAdd": [], "recordIdsToRemove": []}
    probes: tuple[tuple[str, str, Callable[[], Any], str], ...] = (
        (
            "hubspot contact properties",
            "values can be written",
            lambda: client.call("POST", objects, body={"inputs": []}, effect=Effect.READ, attempts=2),
            WRITE_SCOPES[0],
        ),
        (
            "hubspot property definitions",
            "can be created",
            lambda: client.call("POST", properties, body={}, effect=Effect.READ, attempts=2),
            WRITE_SCOPES[1],
        ),
        (
            "hubspot lists",
            "can be changed",
            lambda: client.call("PUT", lists, place={"listId": "0"}, body=nothing, effect=Effect.READ, attempts=2),
            WRITE_SCOPES[3],
        ),
    )
    for subject, good, probe, scope in probes:
        yield _probe(subject, good, probe, scope)


def check_opt_outs(client: HubSpotClient) -> Iterator[Finding]:
    """Whether opt-outs heard elsewhere can be written; without it they are still kept to, by us."""
    path = client.path("preferences", "/definitions")
    found = _probe("hubspot opt-outs", "can be written", lambda: client.read(path, attempts=2), PREFERENCE_SCOPES[0])
    scopes = client.token_scopes() if found.severity is Severity.OK else None
    lacks = scopes is not None and not scopes & set(PREFERENCE_SCOPES[1:])
    if found.severity is Severity.OK and not lacks:
        yield found
        return
    yield Finding(
        "hubspot opt-outs",
        Severity.WARNING,
        "cannot be written: who opts out elsewhere is left out of every list, but stays subscribed in HubSpot",
        f"add the scopes {PREFERENCE_SCOPES[0]} and {PREFERENCE_SCOPES[1]} to the key in HubSpot",
    )


def check_feedback(client: HubSpotClient) -> Iterator[Finding]:
    """Whether answers can be written as notes and tasks; without it they still become values of the contact."""
    path = client.path("objects", "/notes/batch/create")
    found = _probe(
        "hubspot notes",
        "can be written",
        lambda: client.call("POST", path, body={"inputs": []}, effect=Effect.READ, attempts=2),
        FEEDBACK_SCOPES[0],
    )
    scopes = client.token_scopes() if found.severity is Severity.OK else None
    lacks = [] if scopes is None else [scope for scope in FEEDBACK_SCOPES if scope not in scopes]
    if found.severity is Severity.OK and not lacks:
        yield found
        return
    yield Finding(
        "hubspot notes",
        Severity.WARNING,
        "cannot be written: what people answer goes into contact properties only",
        f"add the scopes {', '.join(lacks or FEEDBACK_SCOPES)} to the key in HubSpot",
    )


def _probe(subject: str, good: str, probe: Callable[[], Any], scope: str) -> Finding:
    """Try something; a refusal of its contents still proves the permission."""
    try:
        probe()
    except HubSpotRejected:
        return Finding(subject, Severity.OK, good)
    except WinbackError as fault:
        return _failed(subject, fault, scope)
    return Finding(subject, Severity.OK, good)


def _failed(subject: str, fault: WinbackError, scope: str) -> Finding:
    """The finding for a call that did not work."""
    missing = ", ".join(fault.scopes) or scope if isinstance(fault, MissingScopesError) else None
    fix = f"add the scope {missing} to the key in HubSpot" if missing else fault.hint
    return Finding(subject, Severity.ERROR, str(fault), fix, credentials=isinstance(fault, CredentialsError))


def _clock(client: HubSpotClient, connection: Connection) -> Iterator[Finding]:
    """Whether our clock and theirs agree: incremental reading is a span of their time, ended by our clock."""
    if client.server_time is None:
        return
    difference = connection.clock.now() - client.server_time
    if abs(difference) > _CLOCK_TOLERANCE:
        yield Finding(
            "clock",
            Severity.WARNING,
            f"this machine's clock is {difference.total_seconds():+.0f} s from HubSpot's: changes may be read late",
            "synchronise the clock, or raise `overlap`",
        )


def _quota(client: HubSpotClient) -> Iterator[Finding]:
    """How many of today's calls are gone; OAuth apps have no daily limit and get no answer."""
    try:
        answer = client.read(client.path("account-info", "/api-usage/daily/private-apps"), attempts=2) or {}
    except WinbackError:
        return
    for item in answer.get("results") or ():
        used, limit = int(item.get("currentUsage") or 0), int(item.get("usageLimit") or 0)
        if not limit:
            continue
        worry = used >= limit * _QUOTA_WORRY
        yield Finding(
            "hubspot calls today",
            Severity.WARNING if worry else Severity.OK,
            f"{used:,} of {limit:,} used by all private apps and keys of the account",
            "find out which tool uses them: the limit is shared" if worry else None,
        )
        client.observe_daily(used=used, limit=limit)


def _versions(client: HubSpotClient, connection: Connection) -> Iterator[Finding]:
    """Versions that HubSpot will soon stop supporting."""
    today = connection.clock.now().date()
    for version in sorted(set(versions.in_use(client.options.api_version).values())):
        ends = versions.unsupported_from(version)
        if ends - today < _SUNSET_NOTICE:
            yield Finding(
                f"hubspot API {version}",
                Severity.WARNING,
                f"unsupported from {ends.isoformat()}",
                "upgrade winback, or set `api_version` to a newer one",
            )
