"""A Salesforce sandbox with a few people in it, a session that speaks to it, and an ear that hears what it sends."""

from __future__ import annotations

import csv
import http.server
import io
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import requests

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox import start
from adapters.salesforce.sandbox.running import SalesforceSandbox
from connector.contracts import SandboxOptions
from connector.model import Account
from tests.fakes.salesforce_worlds import START, people

VERSION = "66.0"
ACCOUNTS = 50
ACK = (
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><notificationsResponse'
    b' xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse></soapenv:Body>'
    b"</soapenv:Envelope>"
)


class Org:
    """Calls the sandbox as an adapter would: paths below the version, JSON in and out."""

    def __init__(self, sandbox: SalesforceSandbox) -> None:
        self.sandbox = sandbox
        self.state = sandbox.state
        self.session = requests.Session()
        form = {"grant_type": "client_credentials", **sandbox.auth}
        answer = self.session.post(f"{sandbox.base_url}/services/oauth2/token", data=form, timeout=10)
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, body: Any = None, *, version: str = VERSION, **kwargs: Any):
        kwargs.setdefault("timeout", 10)
        address = f"{self.sandbox.base_url}/services/data/v{version}{path}"
        return self.session.request(method, address, json=body, **kwargs)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        return self.call("POST", path, body, **kwargs)

    def patch(self, path: str, body: Any = None, **kwargs: Any) -> requests.Response:
        return self.call("PATCH", path, body, **kwargs)

    def control(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        address = f"{self.sandbox.base_url}/_sandbox/{path}"
        answer = self.session.request(method, address, json=body if method == "POST" else None, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def row(self, record: str) -> Mapping[str, Any]:
        """A record's values as the org keeps them."""
        with self.state.lock:
            self.state.settle()
            row = self.state.row(record)
            assert row is not None
            return dict(row.values)

    # --- Bulk ---

    def query(self, soql: str, **settings: Any) -> str:
        """Make a query job; its id."""
        answer = self.post("/jobs/query", {"operation": "query", "query": soql, **settings})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def ingest(self, operation: str, content: str | bytes, *, kind: str = "Contact", **settings: Any) -> str:
        """Make a job, upload its file and close it; its id."""
        body = {"object": kind, "operation": operation, "contentType": "CSV", **settings}
        job = self.post("/jobs/ingest", body).json()["id"]
        raw = content.encode() if isinstance(content, str) else content
        path = f"/jobs/ingest/{job}"
        assert self.call("PUT", f"{path}/batches", data=raw, headers={"Content-Type": "text/csv"}).status_code == 201
        assert self.patch(path, {"state": "UploadComplete"}).json()["state"] == "UploadComplete"
        return job

    def finished(self, family: str, job: str) -> Mapping[str, Any]:
        """A job after so much time that it is over."""
        self.sandbox.advance(60)
        return self.get(f"/jobs/{family}/{job}").json()

    def results(self, job: str, which: str) -> list[dict[str, str]]:
        """The rows of one of a job's files of results."""
        return rows(self.get(f"/jobs/ingest/{job}/{which}").content)


def rows(content: bytes, **dialect: Any) -> list[dict[str, str]]:
    """A file as it is to be read: UTF-8, line breaks inside quotes kept."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), **dialect))


def contacts(*numbers: int) -> Sequence[str]:
    """The ids of contacts with these numbers."""
    return [record_id("Contact", number) for number in numbers]


@contextmanager
def running(count: int = 10, *, leads: int = 0, **options: Any) -> Iterator[Org]:
    """An org whose clock stands still, with so many people; without any it is empty."""
    sandbox = start(SandboxOptions(**options))
    try:
        sandbox.state.clock.freeze(START)
        firms = [Account(f"salesforce:{n}", name=f"Company {n}") for n in range(1, ACCOUNTS + 1)] if count else []
        sandbox.seed([*people(count), *people(leads, leads=True)], firms)
        yield Org(sandbox)
    finally:
        sandbox.stop()


class Ear:
    """A server that keeps what it is sent and answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.answer: bytes = ACK
        ear = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ear.heard.append((self.path, dict(self.headers.items()), body))
                self.send_response(ear.status)
                self.send_header("Content-Length", str(len(ear.answer)))
                self.end_headers()
                self.wfile.write(ear.answer)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{self.base_url}/salesforce/secret"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def says(self, **answer: Any) -> None:
        """Answer in JSON from now on."""
        self.answer = json.dumps(answer).encode()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Loopback(requests.adapters.HTTPAdapter):
    """Sends what is meant for https://<loopback> as http: simple-salesforce speaks nothing but https to an instance."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url is not None
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)


def simple(org: Org, *, version: str = VERSION) -> Any:
    """The unmodified client of others, on a session that reaches the sandbox."""
    from simple_salesforce import Salesforce

    session = requests.Session()
    session.mount("https://127.0.0.1", Loopback())
    token = str(org.session.headers["Authorization"]).removeprefix("Bearer ")
    instance = org.sandbox.base_url.removeprefix("http://")
    return Salesforce(session_id=token, instance=instance, version=version, session=session)
