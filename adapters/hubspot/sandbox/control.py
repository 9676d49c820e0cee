"""The control API under `/_sandbox/`: look into the sandbox and turn its knobs from another process."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from adapters.hubspot.sandbox.answers import BAD_REQUEST, Refusal
from adapters.hubspot.sandbox.faults import SWITCHES, faults_named
from adapters.hubspot.sandbox.seeding import put_raw
from adapters.hubspot.sandbox.state import Poison
from adapters.lookalike.faults import KINDS, Fault
from connector.errors import WinbackError

if TYPE_CHECKING:
    from adapters.hubspot.sandbox.running import HubSpotSandbox

Body = Mapping[str, Any]
Knobs = Sequence[tuple[str, str, Callable[[Body], Any]]]
"""Method, path under `/_sandbox/`, and what answers."""
LOG_SHOWN = 200


class Control:
    """One method a knob; each takes the JSON body and the query, and returns JSON."""

    def __init__(self, sandbox: HubSpotSandbox) -> None:
        self._sandbox = sandbox
        self._state = sandbox.state

    def state(self, body: Body) -> Any:
        """What the account holds; every record with `?full=1`."""
        self._state.settle()
        return self._state.body(full=bool(body.get("full")))

    def clock(self, body: Body) -> Any:
        """Read the clock; `{"advance_seconds": n}`, `{"set": "2026-03-01T00:00:00Z"}`, `{"frozen": true}`."""
        clock = self._state.clock
        if "frozen" in body:
            (clock.freeze if body["frozen"] else clock.thaw)()
        if "set" in body:
            moment = datetime.fromisoformat(str(body["set"]))
            clock.set(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        clock.advance(float(body.get("advance_seconds", 0)))
        self._state.settle()
        return {"now": clock.now().isoformat(), "frozen": clock.is_frozen}

    def behave(self, body: Body) -> Any:
        """Read or change how the account behaves where the vendor's ways differ."""
        self._state.behave(body)
        return asdict(self._state.behaviour)

    def limits(self, body: Body) -> Any:
        """Read or change the allowance, today's usage and the account's time zone."""
        self._sandbox.meter.configure(body)
        return self._sandbox.meter.body(now_ms=self._state.clock.now_ms())

    def faults(self, body: Body) -> Any:
        """Read faults, or put more in force: `{"faults": [{"kind": "reset", "path": "/batch/", "calls": [3]}]}`.

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

    def poison(self, body: Body) -> Any:
        """Refuse writes to some records: `{"ids": […], "message": "…", "on": "properties|members|both"}`."""
        if body.get("clear"):
            self._state.poison.clear()
        message = str(body.get("message") or "This record failed the account's validation rules")
        for record_id in body.get("ids", ()):
            self._state.poison[str(record_id)] = Poison(message, str(body.get("on") or "properties"))
        return {"poison": {record_id: asdict(poison) for record_id, poison in self._state.poison.items()}}

    def scopes(self, body: Body) -> Any:
        """Take scopes away from the token: `{"missing": ["crm.lists.write"]}`."""
        if "missing" in body:
            self._state.missing_scopes = {str(scope) for scope in body["missing"]}
        return {"missing": sorted(self._state.missing_scopes)}

    def put_contacts(self, body: Body) -> Any:
        """Store contacts in the vendor's words: `{"contacts": [{"id", "properties", "created_at", "updated_at"}]}`."""
        return {"ids": put_raw(self._state, "contacts", body.get("contacts", ()))}

    def put_companies(self, body: Body) -> Any:
        """Store companies in the vendor's words."""
        return {"ids": put_raw(self._state, "companies", body.get("companies", ()))}

    def edit(self, body: Body) -> Any:
        """Write one contact as a person in the vendor's window would: `{"id", "properties"}`."""
        kind = self._state.kind("contacts")
        record = kind.store.find(str(body["id"]))
        if record is None:
            raise Refusal(f"there is no contact {body['id']}")
        poison = self._state.poison.pop(record.id, None)
        try:
            self._state.update(kind, record, body.get("properties", {}), now_ms=self._state.settle())
        finally:
            if poison:
                self._state.poison[record.id] = poison
        return {"id": record.id}

    def merge(self, body: Body) -> Any:
        """Merge a contact into another: `{"primary", "other"}`."""
        kind = self._state.kind("contacts")
        merged = self._state.merge(kind, str(body["primary"]), str(body["other"]), now_ms=self._state.settle())
        return {"id": merged.id}

    def delete(self, body: Body) -> Any:
        """Delete contacts: `{"ids": […], "for_good": false}`."""
        kind, now_ms = self._state.kind("contacts"), self._state.settle()
        remove = self._state.purge if body.get("for_good") else self._state.archive
        for record_id in body.get("ids", ()):
            remove(kind, str(record_id), now_ms=now_ms)
        return {"contacts": len(kind.store.live)}

    def restore(self, body: Body) -> Any:
        """Bring deleted contacts back: `{"ids": […]}`."""
        store, now_ms = self._state.contacts, self._state.settle()
        restored = [i for i in map(str, body.get("ids", ())) if store.restore(i, now_ms=now_ms)]
        for record_id in restored:
            self._state.news.restored(record_id, now_ms=now_ms)
        return {"restored": restored}

    def members(self, body: Body) -> Any:
        """Change a list by hand: `{"list": name or id, "add": […], "remove": […]}`."""
        wanted = str(body["list"])
        lists = self._state.lists.lists
        held = lists.get(wanted) or next((li for li in lists.values() if li.name.casefold() == wanted.casefold()), None)
        if held is None:
            raise Refusal(f"there is no list '{wanted}'")
        add, remove = [str(i) for i in body.get("add", ())], [str(i) for i in body.get("remove", ())]
        joined, gone = self._state.lists.change(held, add=add, remove=remove, now_ms=self._state.settle())
        return {"list": held.id, "added": joined, "removed": gone, "members": len(held.members)}

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
        """Forget everything: records, lists, properties, faults, log."""
        self._state.reset()
        self._sandbox.faults.clear()
        self._sandbox.log.clear()
        return self._state.body(full=False)


def add_routes(app: Flask, sandbox: HubSpotSandbox) -> None:
    """Put the control API into the application."""
    control = Control(sandbox)
    table: Knobs = (
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
        ("GET", "poison", control.poison),
        ("POST", "poison", control.poison),
        ("GET", "scopes", control.scopes),
        ("POST", "scopes", control.scopes),
        ("POST", "contacts", control.put_contacts),
        ("POST", "contacts/edit", control.edit),
        ("POST", "contacts/merge", control.merge),
        ("POST", "contacts/delete", control.delete),
        ("POST", "contacts/restore", control.restore),
        ("POST", "companies", control.put_companies),
        ("POST", "members", control.members),
        ("GET", "log", control.log),
        ("DELETE", "log", control.clear_log),
        ("POST", "reset", control.reset),
    )
    put_knobs(app, sandbox, table)


def put_knobs(app: Flask, sandbox: HubSpotSandbox, table: Knobs) -> None:
    """Make each knob answer under its path."""
    for method, path, knob in table:
        app.add_url_rule(
            f"/_sandbox/{path}", endpoint=f"{method} {path}", view_func=_view_of(knob, sandbox), methods=[method]
        )


def _view_of(knob: Callable[[Body], Any], sandbox: HubSpotSandbox) -> Callable[[], Response]:
    """A knob as a view: its body is JSON or the query, its refusal a 400."""

    def view() -> Response:
        raw = request.get_data()
        try:
            body = json.loads(raw) if raw else request.args.to_dict()
            with sandbox.state.lock:
                answer, status = knob(body), 200
        except Refusal as refusal:
            answer, status = {"error": refusal.message}, BAD_REQUEST
        except (KeyError, TypeError, ValueError, WinbackError) as error:
            answer, status = {"error": f"{type(error).__name__}: {error}"}, BAD_REQUEST
        return Response(json.dumps(answer), status=status, content_type="application/json")

    return view
