"""A Salesforce sandbox with a few people in it, a session that speaks to it, and the vendor's library on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox import CLIENT_ID, CLIENT_SECRET
from adapters.salesforce.sandbox.running import SalesforceSandbox
from connector.contracts import SandboxOptions
from connector.model import Account, Contact

VERSION = "66.0"
TOKEN_PATH = "/services/oauth2/token"


class Api:
    """Calls the sandbox as an adapter would: short paths, JSON in and out, a token from the start."""

    def __init__(self, base_url: str, version: str = VERSION) -> None:
        self.base_url = base_url
        self.version = version
        self.session = requests.Session()
        self.login()

    def login(self) -> str:
        """Take a new token."""
        answer = self.session.post(
            f"{self.base_url}{TOKEN_PATH}",
            data={"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET},
            timeout=10,
        )
        token = str(answer.json()["access_token"])
        self.session.headers["Authorization"] = f"Bearer {token}"
        return token

    def call(self, method: str, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", 10)
        base = "" if path.startswith("/services") else f"/services/data/v{self.version}"
        return self.session.request(method, f"{self.base_url}{base}{path}", json=body, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        return self.call("POST", path, body, **kwargs)

    def patch(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        return self.call("PATCH", path, body, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> requests.Response:
        return self.call("DELETE", path, **kwargs)

    def query(self, text: str, *, deleted: bool = False, **kwargs: Any) -> requests.Response:
        return self.get("/queryAll" if deleted else "/query", params={"q": text}, **kwargs)

    def records(self, text: str, *, deleted: bool = False) -> list[dict[str, Any]]:
        """All records of a query, through every page, without their attributes."""
        answer = self.query(text, deleted=deleted)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found = body["records"]
        while not body["done"]:
            body = self.get(body["nextRecordsUrl"]).json()
            found += body["records"]
        return [{name: value for name, value in record.items() if name != "attributes"} for record in found]

    def ids(self, text: str, *, deleted: bool = False) -> list[str]:
        return [record["Id"] for record in self.records(text, deleted=deleted)]

    def make(self, kind: str, **values: Any) -> str:
        """Make a record; its id."""
        answer = self.post(f"/sobjects/{kind}", values)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def collect(self, method: str, records: list[dict[str, Any]], path: str = "", **extra: Any) -> Any:
        answer = self.call(method, f"/composite/sobjects{path}", {"records": records, **extra})
        assert answer.status_code == 200, answer.text
        return answer.json()


class Loopback(HTTPAdapter):
    """Sends whatever the library addresses over https to the sandbox, over http."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        request.url = f"{self.base_url}{request.path_url}"
        return super().send(request, *args, **kwargs)


def loopback_session(base_url: str) -> requests.Session:
    """A session on which the vendor's library reaches the sandbox."""
    session = requests.Session()
    session.mount("https://", Loopback(base_url))
    return session


def contact(number: int) -> str:
    """The id of the seeded contact with this number."""
    return record_id("Contact", number)


def row(kind: str, **values: Any) -> dict[str, Any]:
    """A record of a collection."""
    return {"attributes": {"type": kind}, **values}


def people(count: int) -> list[Contact]:
    return [
        Contact(
            f"salesforce:{number}",
            account_id=f"salesforce:{number % 3 + 1}",
            external_id=f"u-{number}",
            email=f"person{number}@acme.example",
            first_name=f"First{number}",
            last_name=f"Last{number}",
            role="cto" if number % 2 else "developer",
            plan_tier="team",
            created_at=datetime(2025, 1, 1 + number % 28, tzinfo=UTC),
            opted_out=number % 10 == 0,
        )
        for number in range(1, count + 1)
    ]


def accounts() -> list[Account]:
    return [
        Account(f"salesforce:{n}", name=f"Company {n}", domain=f"c{n}.example", seats=n, mrr=10.5 * n)
        for n in (1, 2, 3)
    ]


@contextmanager
def running(count: int = 12, **options: Any) -> Iterator[tuple[SalesforceSandbox, Api]]:
    """A sandbox with that many contacts, and a session to it; limits are off unless asked for."""
    with SalesforceSandbox(SandboxOptions(**{"limits": False, **options})) as sandbox:
        sandbox.seed(people(count), accounts())
        api = Api(sandbox.base_url)
        try:
            yield sandbox, api
        finally:
            api.session.close()
