"""What `winback check` asks of an org before we write to it: objects, fields, member statuses. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce import soql
from adapters.salesforce.campaigns import EXITED, PREFIX
from adapters.salesforce.definitions import FieldDefinitions
from adapters.salesforce.fields import ENROLLMENT, KEY, PACKAGE, PERMISSION_SET
from adapters.salesforce.lookups import CONTACT, LEAD
from adapters.salesforce.opt_outs import FLAG
from adapters.salesforce.vendor_errors import SalesforceRejected
from connector.errors import CredentialsError, WinbackError
from connector.model import Finding, Severity

if TYPE_CHECKING:
    from adapters.salesforce.client import SalesforceClient

_ASSIGN: Final = f"assign the permission set {PERMISSION_SET} to the integration user"
DEPLOY: Final = f"deploy {PACKAGE} (`sf project deploy start`) and {_ASSIGN}"
_MARKETING: Final = f"tick “Marketing User” on the integration user (Setup → Users), and {_ASSIGN}"
_OURS: Final = "Winback_"

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "Campaign": ("createable", "updateable"),
    "CampaignMember": ("createable", "updateable"),
    "CampaignMemberStatus": ("createable",),
}
"""What has to be allowed on each object for lists."""


def check_writing(client: SalesforceClient, definitions: FieldDefinitions) -> Iterator[Finding]:
    """Whether lists, values, opt-outs and tasks can be written."""
    try:
        yield from _lists(client)
        yield from _fields(definitions, create=client.options.create_fields)
        yield from _notes(client)
        yield from _statuses(client)
    except WinbackError as fault:
        credentials = isinstance(fault, CredentialsError)
        fix = fault.hint or "run `winback check` again; if it stays, look at Setup → Users → Login History"
        yield Finding("salesforce writing", Severity.ERROR, str(fault), fix, credentials=credentials)


def _lists(client: SalesforceClient) -> Iterator[Finding]:
    """Campaigns, their members and the members' statuses."""
    for kind, needs in _NEEDS.items():
        subject = f"salesforce {kind}"
        said = client.describe(kind, attempts=2)
        if said is None:
            yield Finding(subject, Severity.ERROR, "the integration user may not see it", _MARKETING, credentials=True)
            continue
        lacking = [need for need in needs if not said.get(need)]
        if lacking:
            words = f"the integration user's access is not {' and not '.join(lacking)}"
            yield Finding(subject, Severity.ERROR, words, _MARKETING, credentials=True)
        elif kind == "Campaign" and not _may_write(said, KEY):
            yield Finding(subject, Severity.ERROR, f"the field Campaign.{KEY} is not there, or not editable", DEPLOY)
        else:
            yield Finding(subject, Severity.OK, "can be written")


def _fields(definitions: FieldDefinitions, *, create: bool) -> Iterator[Finding]:
    """Our fields on contacts and leads, and the box that opts out."""
    known = definitions.described(fresh=True)
    for kind in (CONTACT, LEAD):
        subject = f"salesforce {kind} fields"
        fields = known.get(kind)
        if fields is None:
            severity = Severity.ERROR if kind == CONTACT else Severity.WARNING
            words = f"the integration user may not see {kind.lower()}s: they are left alone"
            yield Finding(subject, severity, words, _ASSIGN, credentials=True)
            continue
        ours = sorted(name for name in fields if name.startswith(_OURS))
        closed = [name for name in ours if not fields[name].updateable]
        others = {name for held in known.values() for name in held if name.startswith(_OURS)}
        absent = sorted(others - set(ours))
        if closed:
            yield Finding(subject, Severity.ERROR, f"not editable: {_some(closed)}", _ASSIGN, credentials=True)
        elif not ours and not create:
            yield Finding(subject, Severity.ERROR, "none of our fields is there", f"{DEPLOY}, or set `create_fields`")
        elif absent and not create:
            yield Finding(subject, Severity.ERROR, f"not there: {_some(absent)}", DEPLOY)
        else:
            yield Finding(subject, Severity.OK, f"{len(ours)} of ours can be written")
        if ENROLLMENT not in ours:
            words = f"{ENROLLMENT} is not there: `enroll: workflow` cannot be used"
            yield Finding(f"salesforce {kind} enrollment", Severity.WARNING, words, DEPLOY)
        held = fields.get(FLAG)
        if held is None or not held.updateable:
            # Hidden by default in many orgs: its field-level security is off for every profile.
            words = "cannot be written: who opts out elsewhere is left out of every list, but stays opted in here"
            yield Finding(
                f"salesforce {kind} opt-outs",
                Severity.WARNING,
                words,
                f"give {PERMISSION_SET} edit access to {kind}.{FLAG} (Email Opt Out)",
            )


def _notes(client: SalesforceClient) -> Iterator[Finding]:
    """Tasks, which keep what people answer."""
    said = client.describe("Task", attempts=2)
    if said is None or not said.get("createable") or not _may_write(said, KEY):
        words = "cannot be written: what people answer goes into fields only"
        yield Finding("salesforce tasks", Severity.WARNING, words, f"{DEPLOY} ({KEY} on Activity)")
    else:
        yield Finding("salesforce tasks", Severity.OK, "can be written")


def _statuses(client: SalesforceClient) -> Iterator[Finding]:
    """Whether the campaigns we have can say that somebody left."""
    where = f"{KEY} LIKE {soql.text(PREFIX + '%')}"
    try:
        rows = client.rows(soql.Query("Campaign", ("Id", "Name"), (where,)).unordered())
    except SalesforceRejected:
        return  # said above: the key is not there
    names = {str(row["Id"]): str(row["Name"]) for row in rows}
    able: set[str] = set()
    for part in soql.id_batches(names):
        query = soql.Query("CampaignMemberStatus", ("CampaignId", "Label"), (soql.one_of("CampaignId", part),))
        able |= {str(row["CampaignId"]) for row in client.rows(query.unordered()) if row.get("Label") == EXITED}
    without = sorted(names[campaign] for campaign in names.keys() - able)
    if without:
        yield Finding(
            "salesforce member statuses",
            Severity.WARNING,
            f"no status {EXITED} in {_some(without)}: people who leave show one that the campaign does not list",
            f"add the status {EXITED} to the campaign (Advanced Setup), or let winback add it when it is refused",
        )


def _may_write(said: Mapping[str, Any], name: str) -> bool:
    """Whether a field can be set when a record is made."""
    return any(str(one.get("name")) == name and one.get("createable") for one in said.get("fields") or ())


def _some(names: list[str]) -> str:
    """Names for a line of text."""
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown  # noqa: PLR2004
