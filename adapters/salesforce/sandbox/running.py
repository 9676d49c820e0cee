"""A running Salesforce look-alike: the server, its state, and the handles that tests and the demo hold it by."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from adapters.lookalike.faults import FaultSet
from adapters.lookalike.request_log import RequestLog
from adapters.lookalike.serving import SandboxServer
from adapters.salesforce.sandbox import CLIENT_ID, CLIENT_SECRET
from adapters.salesforce.sandbox.app import make_app
from adapters.salesforce.sandbox.bulk import Bulk
from adapters.salesforce.sandbox.faults import faults_named
from adapters.salesforce.sandbox.flow_engine import FlowEngine
from adapters.salesforce.sandbox.gate import Gate
from adapters.salesforce.sandbox.limits import Meter
from adapters.salesforce.sandbox.outbound import Outbound
from adapters.salesforce.sandbox.page import render
from adapters.salesforce.sandbox.rehearsing import let_happen, mails_after, make_flow
from adapters.salesforce.sandbox.seeding import seed
from adapters.salesforce.sandbox.sending import Sending
from adapters.salesforce.sandbox.sessions import Sessions
from adapters.salesforce.sandbox.state import State
from connector.contracts import SandboxOptions, SentMail
from connector.errors import SettingError
from connector.model import Account, Contact

LATE_SECONDS = 20.0
DUPLICATES = 0.1
LOCKED_ROWS = 0.01
SHORT_SESSION_SECONDS = 60.0


class SalesforceSandbox:
    """A `connector.contracts.Rehearsal`; reach in by `state`, `bulk`, `flows`, `outbound`, `log`, `faults`, `meter`."""

    def __init__(self, options: SandboxOptions) -> None:
        self.state = State()
        self.meter = Meter(enforced=options.limits)
        self.faults = FaultSet(seed=options.seed)
        self.log = RequestLog()
        self.sessions = Sessions(self.state)
        self.auth: Mapping[str, str] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        self._stopping = threading.Event()
        self.bulk = Bulk(self.state, self.meter)
        self.outbound = Outbound(self.state)
        self.flows = FlowEngine(self.state, self.outbound)
        self.sending = Sending(self.state, flows=self.flows, outbound=self.outbound, stopping=self._stopping)
        self.gate = Gate(
            self.state,
            sessions=self.sessions,
            meter=self.meter,
            faults=self.faults,
            log=self.log,
            stopping=self._stopping,
        )
        self.faults.add(*faults_named(options.faults))
        self.state.locks.dice.seed(options.seed)
        self.outbound.dice.seed(options.seed)
        self.switch_on(options.faults)
        self.app = make_app(self)
        try:
            self._server = SandboxServer(options.host, options.port, self.app)
        except OSError as error:
            raise SettingError(
                f"the Salesforce sandbox cannot listen on {options.host}:{options.port}: {error.strerror}",
                hint="choose another port, or 0 for any free one",
            ) from error
        self.base_url = f"http://{options.host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.sending.start(self.base_url)

    def switch_on(self, names: Sequence[str]) -> None:
        """Let go wrong what is no fault of a single request: locked rows, short sessions, what comes late."""
        if {"locks", "all"} & set(names):
            self.state.locks.probability = LOCKED_ROWS
        if {"sessions", "all"} & set(names):
            self.state.behave({"session_seconds": SHORT_SESSION_SECONDS})
        if {"lag", "all"} & set(names):
            self.state.behave({"flow_lag_seconds": LATE_SECONDS, "bulk_seconds": LATE_SECONDS})
        if {"webhook_duplicates", "all"} & set(names):
            self.outbound.duplicates = DUPLICATES
        if {"webhook_disorder", "all"} & set(names):
            self.outbound.disorder_seconds = LATE_SECONDS

    def seed(self, contacts: Iterable[Contact], accounts: Iterable[Account]) -> None:
        """Fill it with people and companies; ids keep their number. Seeding again changes what differs."""
        with self.state.lock:
            seed(self.state, contacts, accounts)

    def advance(self, seconds: float) -> None:
        """Move its clock forward; jobs finish, flows go on, the recycle bin is emptied."""
        with self.state.lock:
            self.state.clock.advance(seconds)
            self.state.settle()
            self.bulk.finish()

    def workflow(self, list_name: str, mail: str, *, wait_until: str | None = None) -> str:
        """Make a flow that mails whoever joins the campaign; its id."""
        with self.state.lock:
            return make_flow(self.state, self.flows, list_name, mail, wait_until=wait_until)

    def mails(self, after: int = 0) -> Sequence[SentMail]:
        """The mails numbered above `after`, in order."""
        with self.state.lock:
            return mails_after(self.state, self.flows, after)

    def happen(self, contact_id: str, what: str, *, mail: int | None = None) -> None:
        """Let somebody do something, by default with the last mail they got."""
        with self.state.lock:
            let_happen(self.state, self.flows, contact_id, what, mail=mail)

    def page(self) -> str:
        """What it now holds, as one self-contained HTML page."""
        return render(self, {})

    def stop(self) -> None:
        """Stop serving; requests that are waiting on a fault end at once. Stopping twice is harmless."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._server.close_all()
        self._thread.join()
        self.sending.join()

    def wait(self) -> None:
        """Serve until stopped from elsewhere."""
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def start(options: SandboxOptions) -> SalesforceSandbox:
    """Serve a look-alike in a thread of this process until `stop`."""
    return SalesforceSandbox(options)
