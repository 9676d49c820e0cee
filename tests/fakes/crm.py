"""The HubSpot sandbox as tests talk about it: who is on which list, what was written, what should go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from adapters.hubspot import ADAPTER
from connector.contracts import Sandbox, SandboxOptions
from connector.model import Account, Contact
from tests.fakes.people import NOON

READING = ("/search", "/batch/read", "/export/", "/memberships/batch/read")


def _start() -> Sandbox:
    assert ADAPTER.sandbox is not None
    return ADAPTER.sandbox(SandboxOptions(limits=False))


@dataclass
class Crm:
    """A sandbox in this process, without rate limits; the control API does the rest."""

    running: Sandbox = field(default_factory=_start)

    def __post_init__(self) -> None:
        self.control("POST", "clock", set=NOON.isoformat())
        self.control("POST", "behaviour", export_seconds=0, export_polls=0)

    @property
    def base_url(self) -> str:
        return self.running.base_url

    @property
    def auth(self) -> Mapping[str, str]:
        return self.running.auth

    def stop(self) -> None:
        self.running.stop()

    def seed(self, contacts: Iterable[Contact], accounts: Iterable[Account]) -> None:
        self.running.seed(contacts, accounts)

    def control(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = requests.request(method, f"{self.base_url}/_sandbox/{path}", json=body or None, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def state(self) -> dict[str, Any]:
        answer = requests.get(f"{self.base_url}/_sandbox/state?full=1", timeout=30)
        return answer.json()

    def members_by_list(self) -> dict[str, list[str]]:
        return {name: held["members"] for name, held in self.state()["lists"].items()}

    def properties_of(self, row_id: str) -> dict[str, str | None]:
        return self.state()["contacts"][row_id]

    def dump(self) -> dict[str, Any]:
        """Everything a user could see that winback may change: lists, memberships, properties and their values."""
        state = self.state()
        contacts = {
            row_id: {name: value for name, value in values.items() if name.startswith("winback_") and value}
            for row_id, values in state["contacts"].items()
        }
        lists = {name: held["members"] for name, held in state["lists"].items()}
        return {"lists": lists, "properties": sorted(state["properties"]), "contacts": contacts}

    def opt_out(self, contact: Contact) -> None:
        """The person unsubscribed: the CRM itself notes it."""
        self.seed([replace(contact, opted_out=True)], ())

    def delete(self, row_ids: list[str], *, for_good: bool = False) -> None:
        self.control("POST", "contacts/delete", ids=row_ids, for_good=for_good)

    def make_list(self, name: str) -> None:
        """A person makes a list of this name in the CRM."""
        answer = requests.post(
            f"{self.base_url}/crm/v3/lists",
            json={"name": name, "objectTypeId": "0-1", "processingType": "MANUAL"},
            headers={"Authorization": f"Bearer {self.auth['token']}"},
            timeout=30,
        )
        answer.raise_for_status()

    def poison(self, row_ids: list[str], message: str, *, on: str = "properties") -> None:
        self.control("POST", "poison", ids=row_ids, message=message, on=on)

    def remove_scope(self, scope: str) -> None:
        self.control("POST", "scopes", missing=[scope])

    def advance(self, seconds: float) -> None:
        self.running.advance(seconds)

    def slow(self, seconds: float, *, path: str = "") -> None:
        """Answer late, wherever the path has a part that matches; 0 ends it."""
        self.control("DELETE", "faults")
        if seconds:
            self.control("POST", "faults", faults=[{"kind": "slow", "seconds": seconds, "path": path}])

    def faults(self, *kinds: str, share: float = 0.0, seed: int = 0) -> None:
        """Put faults in force by chance, before and after the work alike; none at all clears them."""
        self.control("DELETE", "faults")
        wanted = [
            {"kind": kind, "when": when, "probability": share, "seconds": 0.2}
            for kind in kinds
            for when in ("before", "after")
        ]
        if wanted:
            self.control("POST", "faults", faults=wanted, seed=seed)

    def faults_raw(self, *faults: dict[str, Any]) -> None:
        self.control("POST", "faults", faults=list(faults))

    def log(self) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.base_url}/_sandbox/log?limit=20000", timeout=30)
        return answer.json()["entries"]

    def request_count(self) -> int:
        return len(self.log())

    def writes(self) -> list[dict[str, Any]]:
        """The requests that changed something."""
        return [
            entry
            for entry in self.log()
            if entry["method"] != "GET" and entry["status"] in range(200, 300) and not _reads(entry["path"])
        ]

    def write_count(self) -> int:
        return len(self.writes())


def _reads(path: str) -> bool:
    return any(part in path for part in READING)
