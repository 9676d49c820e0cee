"""The fields winback owns, as the org has them: found as an administrator deployed them, or made where that is wished.

A field that is made through the API is seen by nobody until a permission set opens it, the maker included; so making
them means both. They come with the package in deploy/salesforce otherwise, and a missing one is named, not made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from adapters.salesforce import soql
from adapters.salesforce.fields import PACKAGE, PEOPLE, PERMISSION_SET, Held, definition, field_name
from adapters.salesforce.lookups import refused
from adapters.salesforce.vendor_errors import SalesforceRejected
from connector.contracts import Clock, chunks
from connector.errors import OutcomeUnknown, RejectedError, RetriableError
from connector.model import Ensured, PropertySpec
from connector.rest import Effect

if TYPE_CHECKING:
    from adapters.salesforce.client import SalesforceClient

Described = Mapping[str, Mapping[str, Held]]
"""Per object, its fields by API name."""

PERMISSIONS_PER_CALL: Final = 200
_SETTLES: Final = 3
_SETTLE_SECONDS: Final = 5.0
_NOT_FOUND: Final = 404
_BAD_REQUEST: Final = 400
_SAME_NAME: Final = frozenset({"DUPLICATE_DEVELOPER_NAME", "DUPLICATE_VALUE"})


class FieldDefinitions:
    """The fields on Contact and Lead of one org.

    Args:
        client: Makes the calls.
        clock: For pauses.
        create: Whether missing fields are made.
    """

    def __init__(self, client: SalesforceClient, *, clock: Clock, create: bool) -> None:
        self._client = client
        self._clock = clock
        self._create = create
        self._known: Described | None = None

    def described(self, *, fresh: bool = False) -> Described:
        """The fields of contacts and leads that our user may see; one call for both, the first time."""
        if self._known is None or fresh:
            self._known = self._read()
        return self._known

    def existing(self, names: Sequence[str | PropertySpec]) -> Sequence[str]:
        """Those of `names` that are on every object; a spec counts only where its values can be kept."""
        known = self.described(fresh=True)
        specs = [PropertySpec(entry, "", "") if isinstance(entry, str) else entry for entry in names]
        return [spec.name for spec in specs if all(_usable(fields, spec) for fields in known.values())]

    def ensure(self, specs: Sequence[PropertySpec]) -> Sequence[Ensured]:
        """Find the fields, or make them; order as given.

        Raises:
            RejectedError: one is missing and not to be made, or is there with another type.
        """
        known = self.described()
        wanting = [spec for spec in specs if not all(field_name(spec.name) in fields for fields in known.values())]
        made: set[str] = set()
        if wanting:
            if not self._create:
                raise _not_there(wanting, known)
            made = self._make(wanting, known)
            known = self._settled(wanting)
        for spec in specs:
            for kind, fields in known.items():
                held = fields.get(field_name(spec.name))
                lack = "it is not visible to the integration user" if held is None else held.lacks(spec)
                if lack is not None:
                    raise RejectedError(
                        f"salesforce field {kind}.{field_name(spec.name)}: {lack}",
                        hint=f"assign the permission set {PERMISSION_SET}, or delete that field and deploy {PACKAGE}",
                    )
        return [Ensured(spec.name, created=spec.name in made) for spec in specs]

    def remove(self, name: str) -> None:
        """Delete a property's fields; no error when they are gone."""
        developer_name = field_name(name).removesuffix("__c")
        conditions = f"DeveloperName = {soql.text(developer_name)} AND {soql.one_of('TableEnumOrId', PEOPLE)}"
        query = {"q": f"SELECT Id FROM CustomField WHERE {conditions}"}
        answer = self._client.read(self._client.path("/tooling/query"), query=query) or {}
        for row in answer.get("records") or ():
            path = self._client.path(f"/tooling/sobjects/CustomField/{row['Id']}")
            try:
                self._client.call("DELETE", path, effect=Effect.REPEATABLE)
            except SalesforceRejected as refusal:
                if refusal.status != _NOT_FOUND:
                    raise
        self._known = None

    # --- reading ------------------------------------------------------------------------------------------------

    def _read(self) -> Described:
        """Both descriptions in one call; an object that our user may not see is left out."""
        version = f"v{self._client.options.version}"
        asked = [{"method": "GET", "url": f"{version}/sobjects/{kind}/describe"} for kind in PEOPLE]
        path = self._client.path("/composite/batch")
        answer = self._client.call("POST", path, body={"batchRequests": asked}, effect=Effect.READ).data or {}
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(PEOPLE):
            raise RetriableError("salesforce describe: the answer does not describe what was asked about")
        found: dict[str, Mapping[str, Held]] = {}
        for kind, result in zip(PEOPLE, results, strict=True):
            status, body = int(result.get("statusCode") or 0), result.get("result")
            if status == _NOT_FOUND:
                continue
            if status >= _BAD_REQUEST or not isinstance(body, dict):
                raise refused(status, body, f"salesforce describe of {kind}", effect=Effect.READ)
            found[kind] = {held.name: held for held in map(Held.of, body.get("fields") or ())}
        return found

    def _settled(self, specs: Sequence[PropertySpec]) -> Described:
        """The descriptions once they show the new fields: they may be minutes behind."""
        names = [field_name(spec.name) for spec in specs]
        known = self.described(fresh=True)
        for tries in range(1, _SETTLES):
            if all(name in fields for fields in known.values() for name in names):
                break
            self._clock.sleep(_SETTLE_SECONDS * tries)
            known = self.described(fresh=True)
        return known

    # --- making -------------------------------------------------------------------------------------------------

    def _make(self, specs: Sequence[PropertySpec], known: Described) -> set[str]:
        """Make what is missing on each object and open it to the integration user; the properties that were made."""
        made: set[str] = set()
        opened: list[str] = []
        for spec in specs:
            for kind, fields in known.items():
                if field_name(spec.name) in fields:
                    continue
                opened.append(f"{kind}.{field_name(spec.name)}")
                if self._make_one(opened[-1], spec):
                    made.add(spec.name)
        holder = self._permission_set()
        for part in chunks(opened, PERMISSIONS_PER_CALL):
            self._open(holder, part)
        return made

    def _make_one(self, full_name: str, spec: PropertySpec) -> bool:
        """Make one field; False when it was there, hidden from us."""
        path = self._client.path("/tooling/sobjects/CustomField")
        body = {"FullName": full_name, "Metadata": definition(spec)}
        try:
            self._client.call("POST", path, body=body, effect=Effect.ONCE)
        except OutcomeUnknown:
            try:
                self._client.call("POST", path, body=body, effect=Effect.ONCE)
            except SalesforceRejected as refusal:
                if refusal.code not in _SAME_NAME:
                    raise
        except SalesforceRejected as refusal:
            if refusal.code not in _SAME_NAME:
                raise
            return False
        return True

    def _permission_set(self) -> str:
        """The permission set's id; made, and given to our user, where there is none."""
        query = soql.Query("PermissionSet", ("Id",), (f"Name = {soql.text(PERMISSION_SET)}",)).unordered()
        rows = self._client.rows(query)
        if rows:
            return str(rows[0]["Id"])
        label = PERMISSION_SET.replace("_", " ")
        holder = self._insert("PermissionSet", {"Name": PERMISSION_SET, "Label": label})
        user = self._client.identity().user_id
        self._insert("PermissionSetAssignment", {"PermissionSetId": holder, "AssigneeId": user})
        return holder

    def _insert(self, kind: str, values: Mapping[str, Any]) -> str:
        answer = self._client.call("POST", self._client.path(f"/sobjects/{kind}"), body=values, effect=Effect.ONCE).data
        if not isinstance(answer, dict) or not answer.get("id"):
            raise OutcomeUnknown(f"salesforce {kind}: accepted without a word")
        return str(answer["id"])

    def _open(self, holder: str, names: Sequence[str]) -> None:
        """Let the permission set read and edit fields; that it may already is as good."""
        records = [
            {
                "attributes": {"type": "FieldPermissions"},
                "ParentId": holder,
                "SobjectType": name.partition(".")[0],
                "Field": name,
                "PermissionsRead": True,
                "PermissionsEdit": True,
            }
            for name in names
        ]
        path = self._client.path("/composite/sobjects")
        body = {"allOrNone": False, "records": records}
        # What was opened already is refused row by row; that the fields can be seen is looked at afterwards.
        self._client.call("POST", path, body=body, effect=Effect.REPEATABLE)


def _usable(fields: Mapping[str, Held], spec: PropertySpec) -> bool:
    held = fields.get(field_name(spec.name))
    return held is not None and (not spec.kind or held.lacks(spec) is None)


def _not_there(specs: Sequence[PropertySpec], known: Described) -> RejectedError:
    """The refusal that names every field and object that is missing, and what to do."""
    names = [
        f"{kind}.{field_name(spec.name)}"
        for spec in specs
        for kind, fields in known.items()
        if field_name(spec.name) not in fields
    ]
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")  # noqa: PLR2004
    return RejectedError(
        f"salesforce: there is no field {shown} that the integration user may see",
        hint=f"deploy {PACKAGE} (`sf project deploy start`), assign the permission set {PERMISSION_SET} to the "
        "integration user, or set `create_fields: true`",
    )
