"""What `winback check` asks of Salesforce: login, org, version, limits, clock, what may be read. Nothing is changed."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import date, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce import versions
from adapters.salesforce.client import SalesforceClient
from adapters.salesforce.streams import OPTED_OUT, PEOPLE
from adapters.salesforce.visible import PERMISSION_SET, Visible, is_remarkable
from connector.contracts import Connection
from connector.errors import CredentialsError, WinbackError
from connector.model import Finding, Severity

if TYPE_CHECKING:
    from adapters.salesforce.streams import Stream

_NOTICE: Final = timedelta(days=180)
_CLOCK_TOLERANCE: Final = timedelta(minutes=2)
_LIMIT_WORRY: Final = 0.8
"""Salesforce's daily calls are the whole company's: a fifth of them is left alone."""

_LIMITS: Final[Mapping[str, str]] = {
    "DailyApiRequests": "API calls in 24 hours",
    "DailyBulkV2QueryJobs": "Bulk query jobs in 24 hours",
    "DailyBulkApiBatches": "Bulk batches in 24 hours",
}
_MADE_HERE: Final = frozenset({"DeletedDate", "PersonOrAccountId", "PersonId", "at", "kind", "event_id"})
"""Raw columns that the adapter makes; no org has them as fields."""


def check_connection(client: SalesforceClient, connection: Connection) -> Generator[Finding, None, bool]:
    """Whether we get in, whose org it is, what is left of its limits; answers whether more can be asked."""
    try:
        client.sign_in()
        answers = yield from _version(client, connection)
        if not answers:
            return False
        orgs = client.rows("SELECT Id, OrganizationType, IsSandbox, TrialExpirationDate FROM Organization")
    except CredentialsError as refusal:
        yield Finding("salesforce login", Severity.ERROR, str(refusal), refusal.hint, credentials=True)
        return False
    except WinbackError as fault:
        yield Finding("salesforce", Severity.ERROR, str(fault), fault.hint)
        return False
    org = orgs[0] if orgs else {}
    kind = "sandbox" if org.get("IsSandbox") else "production"
    edition = org.get("OrganizationType") or "unknown edition"
    yield Finding("salesforce login", Severity.OK, f"org {org.get('Id')}, {edition}, {kind}")
    yield from _trial(org, connection)
    yield from _limits(client)
    yield from _clock(client)
    return True


def check_fields(
    visible: Visible, stream: Stream, mapped: Sequence[str], by_user: Mapping[str, str]
) -> Iterator[Finding]:
    """Whether a stream's records can be read, and which of the mapped fields."""
    subject = f"salesforce {stream.name}"
    try:
        known = stream.choose(visible, stream.wanted(mapped))
    except WinbackError as fault:
        yield Finding(subject, Severity.ERROR, str(fault), fault.hint, credentials=isinstance(fault, CredentialsError))
        return
    if stream.name in {"consents", "engagements"}:
        yield _kept(subject, known)
        return
    if not visible.fields(stream.kind):
        yield Finding(
            subject,
            Severity.ERROR,
            f"our user may not read {stream.kind} records",
            f"give it the permission set {PERMISSION_SET} (Setup → Permission Sets → Manage Assignments)",
            credentials=True,
        )
        return
    wanted = [name for name in dict.fromkeys(mapped) if name not in _MADE_HERE]
    missing = [name for name in wanted if name not in known]
    asked = set(by_user.values())
    for name in missing:
        if is_remarkable(name) or name in asked:
            yield _hidden(visible, stream, name)
    ours = [f"{stream.kind}.{name}" for name in missing if name.endswith("__c") and name not in asked]
    if ours:
        yield Finding(
            f"{subject} custom fields",
            Severity.WARNING,
            f"not there, or hidden from our user, so that what they stand for stays empty: {', '.join(ours)}",
            f"map the fields you keep this in (`mapping: {{{stream.name}: …}}`); what you do not keep, leave",
        )
    yield Finding(subject, Severity.OK, f"{len(wanted) - len(missing)} of {len(wanted)} mapped fields can be read")


def _hidden(visible: Visible, stream: Stream, name: str) -> Finding:
    """A mapped field that our user does not see: an opt-out is worth stopping for, anything else is a gap."""
    subject = f"salesforce {stream.kind}.{name}"
    # A deploy writes the packaged set whole: what was added to it by hand would be gone afterwards.
    allow = (
        f"assign {PERMISSION_SET}, which has the standard fields; else give read access to {stream.kind}.{name} in a "
        "permission set of yours"
    )
    if name == OPTED_OUT and stream.name in PEOPLE:
        return Finding(
            subject,
            Severity.ERROR,
            "hidden from our user: who opted out of mail cannot be known, so nobody is read",
            allow,
            credentials=True,
        )
    if not name.endswith("__c") and "." not in name:
        said = "hidden from our user by field-level security; the column it maps to stays empty"
        return Finding(subject, Severity.WARNING, said, allow)
    near = get_close_matches(name, visible.fields(stream.kind) or {}, n=1)
    other = f"map another one in winback.yaml, for instance {near[0]}" if near else "map another one in winback.yaml"
    return Finding(
        subject,
        Severity.WARNING,
        "not there, or hidden from our user; the column it maps to stays empty",
        f"{other}; if it is there, give our user read access to it in a permission set of yours",
    )


def _kept(subject: str, known: Sequence[str]) -> Finding:
    """Whether the org keeps what a stream of events is made of."""
    if known:
        return Finding(subject, Severity.OK, "can be read")
    return Finding(subject, Severity.OK, "the org keeps none, or shows none to our user; nothing is read")


def _trial(org: Mapping[str, Any], connection: Connection) -> Iterator[Finding]:
    ends = str(org.get("TrialExpirationDate") or "")[:10]
    if ends and date.fromisoformat(ends) - connection.clock.now().date() < _NOTICE:
        yield Finding("salesforce org", Severity.WARNING, f"a trial that ends on {ends}", "use the org you keep")


def _version(client: SalesforceClient, connection: Connection) -> Generator[Finding, None, bool]:
    """Whether the org answers to our version, and for how long Salesforce supports it; whether to go on with it."""
    ours = client.options.version
    subject = f"salesforce API {ours}"
    said = client.read("/services/data", attempts=2) or ()
    there = [str(one.get("version")) for one in said if isinstance(one, dict)]
    newest = versions.newest_of(there)
    if versions.number(ours) < versions.OLDEST_USABLE:
        yield Finding(subject, Severity.ERROR, "too old for winback", f'set `api_version: "{versions.DEFAULT}"`')
        return False
    if there and ours not in there:
        yield Finding(subject, Severity.ERROR, "this org does not answer to it", f'set `api_version: "{newest}"`')
        return False
    ends = versions.supported_until(ours)
    if ends != date.max and ends - connection.clock.now().date() < _NOTICE:
        fix = f"upgrade winback, or set `api_version` to a newer one (this org has {newest or versions.NEWEST})"
        yield Finding(subject, Severity.WARNING, f"promised until {ends:%B %Y} only", fix)
    else:
        yield Finding(subject, Severity.OK, f"this org has up to {newest}" if newest else "in use")
    return True


def _limits(client: SalesforceClient) -> Iterator[Finding]:
    """How much is left of what the whole company shares."""
    try:
        said = client.read(client.path("/limits"), attempts=2) or {}
    except WinbackError:
        return  # needs “View Setup and Configuration”; every answer says the calls by the way
    for key, words in _LIMITS.items():
        one = said.get(key) or {}
        most, left = int(one.get("Max") or 0), int(one.get("Remaining") or 0)
        if not most:
            continue
        used = max(0, most - left)
        worry = used >= most * _LIMIT_WORRY
        yield Finding(
            f"salesforce {words}",
            Severity.WARNING if worry else Severity.OK,
            f"{used:,} of {most:,} used by all tools of the org",
            "find out which tool uses them: Setup → System Overview, or the API usage report" if worry else None,
        )
        if key == "DailyApiRequests":
            client.observe_daily(used=used, limit=most)


def _clock(client: SalesforceClient) -> Iterator[Finding]:
    """Whether our clock and theirs agree: a reading ends where our clock was when it began."""
    ahead = client.clock_ahead
    if ahead is not None and abs(ahead) > _CLOCK_TOLERANCE:
        yield Finding(
            "clock",
            Severity.WARNING,
            f"this machine's clock is {ahead.total_seconds():+.0f} s from Salesforce's",
            "synchronise the clock, or raise `overlap`",
        )
