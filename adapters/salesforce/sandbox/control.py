"""The control API under `/_sandbox/`: look into the sandbox and turn its knobs from another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from adapters.lookalike.faults import KINDS, Fault
from adapters.salesforce.ids import to_18
from adapters.salesforce.sandbox import package
from adapters.salesforce.sandbox.answers import Refusal, RowError
from adapters.salesforce.sandbox.faults import SWITCHES, faults_named
from adapters.salesforce.sandbox.fields import SObject
from adapters.salesforce.sandbox.integrity import member_of
from adapters.salesforce.sandbox.rehearsing import EXITED, campaign_named, person_id
from adapters.salesforce.sandbox.rules import DUPLICATES, VALIDATION, DuplicateRule, Poison, ValidationRule
from adapters.salesforce.sandbox.values import from_json

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.records import Row
    from adapters.salesforce.sandbox.running import SalesforceSandbox

Body = Mapping[str, Any]
Knobs = Sequence[tuple[str, str, Callable[[Body], Any]]]
"""Method, path under `/_sandbox/`, and what answers."""

LOG_SHOWN = 200


class Control:
    """One method a knob; each takes the JSON body and the query, and returns JSON."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self._sandbox = sandbox
        self._state = sandbox.state

    # --- the org as a whole ---

    def state(self, body: Body) -> Any:
        """What the org holds; every record with `?full=1`."""
        now_ms = self._state.settle()
        sandbox = self._sandbox
        return {
            **self._state.body(full=bool(body.get("full"))),
            "api_calls": sandbox.meter.used(now_ms=now_ms),
            "jobs": len(sandbox.bulk.store.jobs),
            "flows": {flow.api_name: len(sandbox.flows.active(flow.api_name)) for flow in sandbox.flows.flows.values()},
            "mails": sum(mail.sent for mail in sandbox.flows.mails.mails),
        }

    def clock(self, body: Body) -> Any:
        """Read the clock; `{"advance_seconds": n}`, `{"set": "2026-03-01T00:00:00Z"}`, `{"frozen": true}`."""
        clock = self._state.clock
        if "frozen" in body:
            (clock.freeze if body["frozen"] else clock.thaw)()
        if "set" in body:
            at = datetime.fromisoformat(str(body["set"]))
            clock.set(at if at.tzinfo else at.replace(tzinfo=UTC))
        self._sandbox.advance(float(body.get("advance_seconds", 0)))
        return {"now": clock.now().isoformat(), "frozen": clock.is_frozen}

    def behave(self, body: Body) -> Any:
        """Read or change how the org behaves where the vendor's ways differ."""
        self._state.behave(body)
        return asdict(self._state.behaviour)

    def limits(self, body: Body) -> Any:
        """Read or change the allowances: `daily_max`, `daily_used`, `enforced`, or a limit by its name."""
        now_ms = self._state.settle()
        self._sandbox.meter.configure(body, now_ms=now_ms)
        return {**self._sandbox.meter.body(now_ms=now_ms), "enforced": self._sandbox.meter.enforced}

    def faults(self, body: Body) -> Any:
        """Read faults, or put more in force: `{"faults": [{"kind": "reset", "path": "/jobs/", "calls": [3]}]}`.

        `{"switches": ["timeouts"]}` adds ready ones, `{"seed": n}` rolls the dice anew, `{"clear": true}` comes first.
        """
        faults = self._sandbox.faults
        if body.get("clear"):
            faults.clear()
        if "seed" in body:
            faults.reseed(int(body["seed"]))
        faults.add(*faults_named(body.get("switches", ())), *(Fault(**given) for given in body.get("faults", ())))
        self._sandbox.switch_on(body.get("switches", ()))
        return {"faults": faults.bodies(), "kinds": KINDS, "switches": sorted(SWITCHES)}

    def clear_faults(self, body: Body) -> Any:  # noqa: ARG002 - every knob is given the body
        """Behave again."""
        self._sandbox.faults.clear()
        return {"faults": []}

    def access(self, body: Body) -> Any:
        """Read or change what the integration user may do.

        `{"hidden": ["Contact.HasOptedOutOfEmail"], "read_only": […], "denied": ["Campaign.create"],
        "permissions": ["ApiEnabled", …]}`; `{"package": false}` takes away what `deploy/salesforce` makes,
        `{"sessions": "expire"}` ends every token.
        """
        access = self._state.access
        for name in ("hidden", "read_only", "denied", "permissions"):
            if name in body:
                setattr(access, name, {str(one) for one in body[name]})
        if body.get("package") is False:
            package.remove(self._state)
        elif body.get("package") is True:
            package.install(self._state)
        if body.get("sessions") == "expire":
            self._sandbox.sessions.expire()
        access.forget()
        return {
            "hidden": sorted(access.hidden),
            "read_only": sorted(access.read_only),
            "denied": sorted(access.denied),
            "permissions": sorted(access.permissions),
        }

    # --- rows that are refused ---

    def poison(self, body: Body) -> Any:
        """Refuse writes to some records: `{"ids": […], "message": "…", "code": "…", "on": "record|members|both"}`."""
        poison = self._state.rules.poison
        if body.get("clear"):
            poison.clear()
        message = str(body.get("message") or "This record fails the org's validation rules")
        code, on = str(body.get("code") or VALIDATION), str(body.get("on") or "both")
        for given in body.get("ids", ()):
            poison[person_id(str(given))] = Poison(message, code, on)
        return {"poison": {record_id: asdict(one) for record_id, one in poison.items()}}

    def rules(self, body: Body) -> Any:
        """Read or add rules: `{"validations": [{"sobject", "field", "message", "equals"}], "duplicates": [{…}]}`."""
        rules = self._state.rules
        if body.get("clear"):
            rules.validations.clear()
            rules.duplicates.clear()
        rules.validations += [ValidationRule(**given) for given in body.get("validations", ())]
        rules.duplicates += [DuplicateRule(**given) for given in body.get("duplicates", ())]
        return {
            "validations": [rule.body() for rule in rules.validations],
            "duplicates": [rule.body() for rule in rules.duplicates],
            "codes": [VALIDATION, DUPLICATES],
        }

    def locks(self, body: Body) -> Any:
        """Lock rows: `{"stuck": {id: times}, "seconds": n, "probability": p, "in_triggers": false}`."""
        locks = self._state.locks
        for record_id, times in (body.get("stuck") or {}).items():
            locks.stuck[to_18(record_id)] = int(times)
        for name, cast in (("seconds", float), ("probability", float), ("in_triggers", bool)):
            if name in body:
                setattr(locks, name, cast(body[name]))
        if body.get("clear"):
            locks.stuck.clear()
            locks.release()
            locks.seconds = locks.probability = 0.0
        return {
            "stuck": dict(locks.stuck),
            "seconds": locks.seconds,
            "probability": locks.probability,
            "in_triggers": locks.in_triggers,
            "refused": locks.refused,
        }

    # --- records, as people in the vendor's window change them ---

    def records(self, body: Body) -> Any:
        """Make records by hand: `{"object": "Contact", "records": [{field: value}]}`; an `Id` in one is kept."""
        kind = self._kind(body.get("object"))
        made = [self._make(kind, given) for given in body.get("records", ())]
        return {"ids": made}

    def edit(self, body: Body) -> Any:
        """Write one record, rules and poison aside: `{"id", "values": {field: value}}`."""
        row = self._row(body["id"])
        kind = self._state.kind_of(row.id)
        assert kind is not None
        rules = self._state.rules
        kept = dict(rules.poison)
        rules.poison.clear()
        try:
            self._state.update(row.id, _typed(kind, body.get("values") or {}))
        finally:
            rules.poison.update(kept)
        return {"id": row.id}

    def merge(self, body: Body) -> Any:
        """Merge records of a kind: `{"primary", "others": [ids]}` (or `other`)."""
        others = body.get("others") or [body["other"]]
        merged = self._state.merge(self._row(body["primary"]).id, [self._row(other).id for other in others])
        return {"id": merged.id}

    def delete(self, body: Body) -> Any:
        """Put records into the recycle bin, or forget them for good: `{"ids": […], "for_good": false}`."""
        rows = [self._row(given) for given in body.get("ids", ())]
        for row in rows:
            if not row.is_deleted:
                self._state.delete(row.id)
            if body.get("for_good"):
                self._state.purge(row.id)
        return {"deleted": [row.id for row in rows]}

    def restore(self, body: Body) -> Any:
        """Take records out of the recycle bin: `{"ids": […]}`."""
        return {"restored": [self._state.undelete(self._row(given).id).id for given in body.get("ids", ())]}

    def convert(self, body: Body) -> Any:
        """Convert a lead: `{"lead", "account", "contact"}`; without the latter two there are new ones."""
        account, contact = (self._row(body[name]).id if body.get(name) else None for name in ("account", "contact"))
        return dict(self._state.convert(self._row(body["lead"]).id, account_id=account, contact_id=contact))

    def members(self, body: Body) -> Any:
        """Change a campaign's members by hand: `{"campaign": name or id, "add": […], "remove": […], "status": text}`.

        Who is removed gets the status `Exited`; with `"delete": true` the membership goes into the recycle bin.
        """
        campaign = self._campaign(body["campaign"])
        added = [self._join(campaign, person_id(str(one)), body.get("status")) for one in body.get("add", ())]
        removed = [self._leave(campaign, person_id(str(one)), body) for one in body.get("remove", ())]
        held = self._state.stores["CampaignMember"].matching("CampaignId", campaign.id)
        return {
            "campaign": campaign.id,
            "added": added,
            "removed": [one for one in removed if one],
            "members": sum(not row.is_deleted and row.values.get("Status") != EXITED for row in held),
        }

    # --- what was asked ---

    def jobs(self, body: Body) -> Any:  # noqa: ARG002 - every knob is given the body
        """Every Bulk job with how far it is."""
        self._state.settle()
        return {"jobs": [job.details() for job in self._sandbox.bulk.store.jobs.values()]}

    def log(self, body: Body) -> Any:
        """The last requests (`?limit=`), and counts of all of them."""
        log = self._sandbox.log
        entries = log.entries()[-int(body.get("limit") or LOG_SHOWN) :]
        return {
            "total": log.total,
            "by_kind": dict(log.by_kind),
            "by_status": {str(status): count for status, count in log.by_status.items()},
            "entries": [entry.body() for entry in entries],
        }

    def clear_log(self, body: Body) -> Any:  # noqa: ARG002 - every knob is given the body
        """Start counting requests anew."""
        self._sandbox.log.clear()
        return {"total": 0}

    def reset(self, body: Body) -> Any:  # noqa: ARG002 - every knob is given the body
        """Forget everything: records, flows, jobs, rules, faults, log."""
        self._state.reset()
        self._sandbox.faults.clear()
        self._sandbox.log.clear()
        return self._state.body(full=False)

    # --- inside ---

    def _kind(self, name: Any) -> SObject:
        kind = self._state.kind(str(name))
        if kind is None:
            raise Refusal("INVALID_TYPE", f"there is no kind of record '{name}'")
        return kind

    def _row(self, given: Any) -> Row:
        row = self._state.row(person_id(str(given)))
        if row is None:
            raise Refusal("NOT_FOUND", f"there is no record {given}")
        return row

    def _make(self, kind: SObject, given: Mapping[str, Any]) -> str:
        values = {name: value for name, value in given.items() if name != "Id"}
        record_id = to_18(given["Id"]) if given.get("Id") else None
        return self._state.insert(kind.name, _typed(kind, values), record_id=record_id).id

    def _campaign(self, given: Any) -> Row:
        found = campaign_named(self._state, str(given))
        return self._row(given) if found is None else found

    def _member(self, campaign: Row, person: str) -> Row | None:
        return member_of(self._state, campaign.id, self._link(person), person)

    @staticmethod
    def _link(person: str) -> str:
        return "LeadId" if person.startswith("00Q") else "ContactId"

    def _join(self, campaign: Row, person: str, status: Any) -> str:
        there = self._member(campaign, person)
        given = {"Status": str(status)} if status else {}
        if there is not None:
            return self._state.update(there.id, given).id
        values = {"CampaignId": campaign.id, self._link(person): person, **given}
        return self._state.insert("CampaignMember", values).id

    def _leave(self, campaign: Row, person: str, body: Body) -> str | None:
        there = self._member(campaign, person)
        if there is None:
            return None
        if body.get("delete"):
            return self._state.delete(there.id).id
        return self._state.update(there.id, {"Status": EXITED}).id


def knobs(sandbox: SalesforceSandbox) -> Knobs:
    """The knobs of the org itself."""
    control = Control(sandbox)
    return (
        ("GET", "state", control.state),
        ("GET", "clock", control.clock),
        ("POST", "clock", control.clock),
        ("GET", "behaviour", control.behave),
        ("POST", "behaviour", control.behave),
        ("GET", "limits", control.limits),
        ("POST", "limits", control.limits),
        ("GET", "faults", control.faults),
        ("POST", "faults", control.faults),
        ("DELETE", "faults", control.clear_faults),
        ("GET", "access", control.access),
        ("POST", "access", control.access),
        ("GET", "poison", control.poison),
        ("POST", "poison", control.poison),
        ("GET", "rules", control.rules),
        ("POST", "rules", control.rules),
        ("GET", "locks", control.locks),
        ("POST", "locks", control.locks),
        ("POST", "records", control.records),
        ("POST", "records/edit", control.edit),
        ("POST", "records/merge", control.merge),
        ("POST", "records/delete", control.delete),
        ("POST", "records/restore", control.restore),
        ("POST", "leads/convert", control.convert),
        ("POST", "members", control.members),
        ("GET", "jobs", control.jobs),
        ("GET", "log", control.log),
        ("DELETE", "log", control.clear_log),
        ("POST", "reset", control.reset),
    )


def _typed(kind: SObject, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values from JSON by the names of fields."""
    typed: dict[str, Any] = {}
    for name, value in values.items():
        one = kind.find(name)
        if one is None:
            raise RowError("INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}", [name])
        typed[one.name] = from_json(one, value)
    return typed
