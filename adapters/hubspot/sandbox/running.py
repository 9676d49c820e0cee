"""A running HubSpot look-alike: the server, its state, and the handles that tests and the demo hold it by."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from adapters.hubspot.sandbox.app import make_app
from adapters.hubspot.sandbox.faults import faults_named
from adapters.hubspot.sandbox.gate import TOKEN, Gate
from adapters.hubspot.sandbox.limits import Allowance, RateMeter
from adapters.hubspot.sandbox.outgoing import Outgoing
from adapters.hubspot.sandbox.page import render
from adapters.hubspot.sandbox.rehearsing import let_happen, mails_after, make_workflow
from adapters.hubspot.sandbox.seeding import seed
from adapters.hubspot.sandbox.state import State
from adapters.lookalike.faults import FaultSet
from adapters.lookalike.request_log import RequestLog
from adapters.lookalike.serving import SandboxServer
from connector.contracts import SandboxOptions, SentMail
from connector.errors import SettingError
from connector.model import Account, Contact

LAG_SECONDS = 20.0
DUPLICATES = 0.1
"""Which share of webhook events comes twice, where that is switched on."""


class HubSpotSandbox:
    """A `connector.contracts.Rehearsal`, with `state`, `log`, `faults` and `meter` to reach in."""

    def __init__(self, options: SandboxOptions) -> None:
        self.state = State()
        self.meter = RateMeter(Allowance(enforced=options.limits))
        self.state.zone = self.meter.zone
        self.faults = FaultSet(seed=options.seed)
        self.log = RequestLog()
        self.auth: Mapping[str, str] = {"token": TOKEN}
        self._stopping = threading.Event()
        self.gate = Gate(self.state, meter=self.meter, faults=self.faults, log=self.log, stopping=self._stopping)
        self.faults.add(*faults_named(options.faults))
        for kind in self.state.kinds.values():
            kind.store.index.random.seed(options.seed)
        self.switch_on(options.faults)
        self.state.news.dice.seed(options.seed)
        self.outgoing = Outgoing(self.state, stopping=self._stopping)
        try:
            self._server = SandboxServer(options.host, options.port, make_app(self))
        except OSError as error:
            raise SettingError(
                f"the HubSpot sandbox cannot listen on {options.host}:{options.port}: {error.strerror}",
                hint="choose another port, or 0 for any free one",
            ) from error
        self.base_url = f"http://{options.host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.outgoing.start()

    def switch_on(self, names: Sequence[str]) -> None:
        """Let go wrong what is no fault of a single request: what comes late, twice, or out of order."""
        if {"lag", "all"} & set(names):
            self.state.behave(
                {
                    "search_lag_seconds": LAG_SECONDS,
                    "search_jitter_seconds": LAG_SECONDS,
                    "list_size_lag_seconds": LAG_SECONDS,
                    "workflow_lag_seconds": LAG_SECONDS,
                }
            )
        if {"webhook_duplicates", "all"} & set(names):
            self.state.news.duplicates = DUPLICATES
        if {"webhook_disorder", "all"} & set(names):
            self.state.news.disorder_seconds = LAG_SECONDS

    def seed(self, contacts: Iterable[Contact], accounts: Iterable[Account]) -> None:
        """Fill it with people and companies; ids keep their number. Seeding again changes what differs."""
        with self.state.lock:
            seed(self.state, contacts, accounts)

    def advance(self, seconds: float) -> None:
        """Move its clock forward; index lag passes, exports finish, workflows go on."""
        with self.state.lock:
            self.state.clock.advance(seconds)
            self.state.settle()

    def workflow(self, list_name: str, mail: str, *, wait_until: str | None = None) -> str:
        """Make a workflow that mails whoever joins the list; its id."""
        with self.state.lock:
            return make_workflow(self.state, list_name, mail, wait_until=wait_until)

    def mails(self, after: int = 0) -> Sequence[SentMail]:
        """The mails numbered above `after`, in order."""
        with self.state.lock:
            return mails_after(self.state, after)

    def happen(self, contact_id: str, what: str, *, mail: int | None = None) -> None:
        """Let somebody do something, by default with the last mail they got."""
        with self.state.lock:
            let_happen(self.state, contact_id, what, mail=mail)

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
        self.outgoing.join()

    def wait(self) -> None:
        """Serve until stopped from elsewhere."""
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def start(options: SandboxOptions) -> HubSpotSandbox:
    """Serve a look-alike in a thread of this process until `stop`."""
    return HubSpotSandbox(options)
