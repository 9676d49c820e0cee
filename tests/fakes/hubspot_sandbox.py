"""A HubSpot sandbox with a few people in it, and a session that speaks to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import requests

from adapters.hubspot.sandbox import TOKEN
from adapters.hubspot.sandbox.running import HubSpotSandbox
from connector.contracts import SandboxOptions
from connector.model import Account, Contact

VERSION = "2026-03"
GROUP = {"name": "winback", "label": "winback"}
SEGMENT = {
    "name": "winback_segment",
    "label": "Segment",
    "type": "enumeration",
    "fieldType": "checkbox",
    "groupName": "winback",
    "options": [
        {"label": "Dormant 30", "value": "dormant_30", "displayOrder": 0, "hidden": False},
        {"label": "Cold", "value": "cold", "displayOrder": 1, "hidden": False},
    ],
}


class Api:
    """Calls the sandbox as an adapter would: short paths, JSON in and out."""

    def __init__(self, base_url: str, token: str = TOKEN) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", 10)
        return self.session.request(method, f"{self.base_url}{path}", json=body, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        return self.call("POST", path, body, **kwargs)

    def put(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        return self.call("PUT", path, body, **kwargs)

    def contacts(self, rest: str = "") -> str:
        return f"/crm/objects/{VERSION}/contacts{rest}"

    def lists(self, rest: str = "") -> str:
        return f"/crm/lists/{VERSION}{rest}"

    def properties(self, rest: str = "") -> str:
        return f"/crm/properties/{VERSION}/contacts{rest}"

    def control(self, path: str, body: Any = None) -> Any:
        answer = self.call("POST", f"/_sandbox/{path}", body or {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def make_list(self, name: str = "winback · dormant_30", **extra: Any) -> str:
        body = {"name": name, "objectTypeId": "0-1", "processingType": "MANUAL", **extra}
        answer = self.post(self.lists(), body)
        assert answer.status_code == 200, answer.text
        return answer.json()["list"]["listId"]

    def make_segment_property(self) -> None:
        assert self.post(self.properties("/groups"), GROUP).status_code == 201
        assert self.post(self.properties(), SEGMENT).status_code == 201

    def update(self, rows: dict[str, dict[str, Any]], *, traced: bool = True) -> requests.Response:
        inputs = [
            {"id": record_id, "properties": values, **({"objectWriteTraceId": f"row-{record_id}"} if traced else {})}
            for record_id, values in rows.items()
        ]
        return self.post(self.contacts("/batch/update"), {"inputs": inputs})


def people(count: int) -> list[Contact]:
    return [
        Contact(
            f"hubspot:{number}",
            account_id=f"hubspot:{number % 3 + 1}",
            external_id=f"u-{number}",
            email=f"person{number}@acme.example",
            first_name=f"First{number}",
            last_name=f"Last{number}",
            role="cto" if number % 2 else "developer",
            plan_tier="team",
            lifecycle_stage="customer",
            created_at=datetime(2025, 1, 1 + number % 28, tzinfo=UTC),
            can_email=True,
            opted_out=number % 10 == 0,
        )
        for number in range(1, count + 1)
    ]


def accounts() -> list[Account]:
    return [
        Account(f"hubspot:{n}", name=f"Company {n}", domain=f"c{n}.example", seats=n, mrr=10.5 * n) for n in (1, 2, 3)
    ]


@contextmanager
def running(count: int = 12, **options: Any) -> Iterator[tuple[HubSpotSandbox, Api]]:
    """A sandbox with that many people, and a session to it; limits are off unless asked for."""
    with HubSpotSandbox(SandboxOptions(**{"limits": False, **options})) as sandbox:
        sandbox.seed(people(count), accounts())
        api = Api(sandbox.base_url)
        try:
            yield sandbox, api
        finally:
            api.session.close()
