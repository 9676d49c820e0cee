"""A CRM's limits against ours: the first read of all contacts, and a list change of as many members.

Run: python benchmarks/crm.py [--contacts 100000] [--json FILE]

The HubSpot sandbox runs in a process of its own and keeps the vendor's limits; each job runs in another, so that CPU
and peak memory are the connector's alone. Calls are counted by the sandbox. What is printed are ratios: calls beside
the fewest the API allows, CPU beside the time its limit gives those calls (190 in 10 seconds, the most generous tier).
Every job checks its outcome; a job that did not do its work is an error, not a row.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

CALLS_PER_10S = 190
MEMBERS_PER_CALL = 1_000
LIST_ROWS = 100
FEWEST_READ_CALLS = 2
"""Start an export job, ask once whether it is done; its file is outside the API."""

FREE_KINDS = {"downloads"}
"""Fetching an export's file is not a call of the API."""

LIST_NAME = "winback · dormant_30"
Ids = Mapping[str, str]
"""Record ids with the contact ids they stand for: what a warehouse hands to the plan."""

SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table. `least` and `page_by_page` are numbers of calls; None where there is no such way."""

    job: str
    rows: int
    calls: int
    least: int
    page_by_page: int | None
    cpu_seconds: float
    wall_seconds: float
    peak_mb: float
    kinds: Mapping[str, int]

    @property
    def allowed_seconds(self) -> float:
        """How long the vendor's limit makes the obvious way take: page by page, or else the fewest calls."""
        return (self.page_by_page or self.least) / CALLS_PER_10S * 10


# --- the sandbox's process ----------------------------------------------------------------------------------


def serve(pipe: Pipe, contacts: int) -> None:
    """Serve a sandbox with a made-up company until told to stop; answers `count` with the calls so far by kind."""
    from adapters.hubspot import ADAPTER
    from connector.contracts import SandboxOptions
    from connector.demo.company import generate

    company = generate(ends=date(2026, 11, 21), contacts=contacts)
    people = company.contacts
    sandbox = ADAPTER.sandbox(SandboxOptions())
    try:
        sandbox.seed(people, company.accounts)
        ids = [person.contact_id.partition(":")[2] for person in people]
        pipe.send((sandbox.base_url, dict(sandbox.auth), ids))
        while pipe.recv() != "stop":
            pass
    finally:
        sandbox.stop()


@contextmanager
def sandbox_with(contacts: int):
    """A sandbox in a process of its own: (base_url, auth, ids of its contacts)."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(theirs, contacts), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join(30)


def calls_so_far(base_url: str) -> dict[str, int]:
    """What the sandbox counted, by kind of request; files fetched from storage are not calls of the API."""
    import requests

    counted = requests.get(f"{base_url}/_sandbox/log", params={"limit": 1}, timeout=60).json()["by_kind"]
    return {kind: n for kind, n in counted.items() if kind not in FREE_KINDS}


def let_the_limit_recover(base_url: str) -> None:
    """Move the sandbox's clock on, so that no job pays for the calls of the one before."""
    import requests

    requests.post(f"{base_url}/_sandbox/clock", json={"advance_seconds": 11}, timeout=60).raise_for_status()


# --- the jobs, each in its own process ----------------------------------------------------------------------


class Quiet:
    """A reporter for which nothing is worth a line."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        """Say nothing."""


class Setting:
    """What a job works with: a journal, the shared budget, the adapter connected to the sandbox."""

    def __init__(
        self, stack: ExitStack, folder: Path, base_url: str, auth: Mapping[str, str], *, backfill: str
    ) -> None:
        from adapters.hubspot import ADAPTER
        from adapters.hubspot.options import HubSpotOptions
        from connector.clock import SystemClock
        from connector.contracts import Connection, Limits
        from connector.journal import Journal
        from mappings.schema import load_shipped

        self.folder = folder
        self.base_url = base_url
        self.clock = SystemClock()
        self.mapping = load_shipped("hubspot", "contacts")
        self.journal = Journal.open(f"sqlite:///{folder}/journal.db", clock=self.clock)
        stack.callback(self.journal.close)
        limits = Limits(per_10s=CALLS_PER_10S, share=1.0)
        self.budget = self.journal.budget("hubspot", limits, reporter=Quiet())
        options = HubSpotOptions(
            adapter="hubspot",
            base_url=base_url,
            auth=auth,
            backfill=backfill,
            members_per_call=MEMBERS_PER_CALL,
            rate=limits,
        )
        connection = Connection(
            name="crm",
            options=options,
            budget=self.budget,
            clock=self.clock,
            reporter=Quiet(),
            base_dir=folder,
            work_dir=folder,
            fields={"contacts": self.mapping.provider_fields()},
        )
        self.source = ADAPTER.source(connection)
        stack.callback(self.source.close)
        self.destination = ADAPTER.destination(connection)
        stack.callback(self.destination.close)
        # In a real run the journal knows them; looking them up here keeps that call out of what is measured.
        self.list_ids = {name: ref.list_id for name, ref in self.destination.lists([LIST_NAME]).items()}


def read_contacts(setting: Setting, ids: Ids) -> int:
    """Read every contact and let it go; the number of rows."""
    seen = 0
    for page in setting.source.read("contacts", None):
        seen += page.records.num_rows if hasattr(page.records, "num_rows") else len(page.records)
    expect(seen, len(ids), "contacts read")
    return seen


def pull_contacts(setting: Setting, ids: Ids) -> int:
    """Read every contact into a warehouse."""
    from connector.pull import pull
    from connector.warehouse import Warehouse

    with Warehouse.open(f"duckdb:///{setting.folder}/warehouse.duckdb") as warehouse:
        report = pull(
            setting.source,
            "contacts",
            name="crm",
            mapping=setting.mapping,
            warehouse=warehouse,
            clock=setting.clock,
            reporter=Quiet(),
            on_cursor=lambda _cursor: None,
        )
    expect(report.new, len(ids), "contacts stored")
    expect(report.rejects, 0, "contacts rejected")
    return report.rows


def fill_list(setting: Setting, ids: Ids) -> int:
    """Put everybody on a new list: plan and apply, with ledger and undo file."""
    return change_list(setting, wanted=ids, before={})


def empty_list(setting: Setting, ids: Ids) -> int:
    """Take everybody off the list again."""
    return change_list(setting, wanted={}, before=ids)


def nothing_to_do(setting: Setting, ids: Ids) -> int:
    """A list that is as it should be: plan and apply."""
    return change_list(setting, wanted=ids, before=ids)


def add_alone(setting: Setting, ids: Ids) -> int:
    """Put everybody back on the list by the adapter alone: no plan, no ledger, no undo file."""
    from connector.contracts import chunks
    from connector.model import Outcome

    list_id = setting.list_ids[LIST_NAME]
    written = 0
    for part in chunks(list(ids), setting.destination.capabilities.members_per_call):
        receipts = setting.destination.change_members(list_id, add=part)
        written += sum(receipt.outcome is Outcome.WRITTEN for receipt in receipts)
    expect(written, len(ids), "members added")
    return written


def change_list(setting: Setting, *, wanted: Ids, before: Ids) -> int:
    """Plan and apply a list from nobody or everybody to the same or the other; the number of rows changed."""
    from connector.plan.apply import ApplyContext, apply_plan
    from connector.plan.build import Current, PlanInputs, Wanted, build_plan
    from connector.plan.undo import undo_file

    now = datetime.now(UTC)
    plan = build_plan(
        PlanInputs(
            account="benchmark",
            as_of=now.date(),
            now=now,
            expires=now + timedelta(hours=1),
            destination="crm",
            system="hubspot",
            capabilities=setting.destination.capabilities,
            forecast=setting.destination.forecast,
            wanted=Wanted(lists={LIST_NAME: wanted}),
            current=Current(
                lists={LIST_NAME: before} if before else {},
                list_ids=setting.list_ids if before else {},
            ),
            allowed=frozenset({"too_many_changes"}),
        )
    )
    run_id = setting.journal.runs.start("apply", playbook_digest="benchmark")
    context = ApplyContext(
        destination=setting.destination,
        journal=setting.journal,
        clock=setting.clock,
        reporter=Quiet(),
        consent=lambda _row_ids: {},
        run_id=run_id,
        calls=setting.budget.calls,
    )
    report = apply_plan(plan, context, undo_path=undo_file(setting.folder, run_id, "crm"))
    changed = abs(len(wanted) - len(before))
    expect(report.exit_code, 0, "exit code")
    expect(report.written, changed, "rows written")
    # The promise is 2 %; here, without faults, it is exact.
    expect(report.api_calls, plan.api_calls, "calls beside the plan's forecast")
    if changed:
        expect(members_of(setting), len(wanted), "members of the list")
    return changed


def members_of(setting: Setting) -> int:
    """How many members the sandbox says the list has; asked beside the API, so that it is no call."""
    import requests

    state = requests.get(f"{setting.base_url}/_sandbox/state", timeout=60).json()
    return int(state["lists"][LIST_NAME])


def expect(found: int, wanted: int, what: str) -> None:
    """Stop the benchmark when a job did not do its work."""
    if found != wanted:
        raise SystemExit(f"{what}: {found}, not {wanted}; nothing was measured")


JOBS: dict[str, Callable[[Setting, Ids], int]] = {
    job.__name__: job for job in (read_contacts, pull_contacts, fill_list, nothing_to_do, empty_list, add_alone)
}


def run_job(pipe: Pipe, name: str, place: tuple[str, Mapping[str, str], Sequence[str]], backfill: str) -> None:
    """Run one job and send what it took; importing the libraries is not part of it."""
    import pyarrow.csv  # noqa: F401

    import connector.plan.apply
    import connector.warehouse  # noqa: F401

    base_url, auth, ids = place
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        setting = Setting(stack, Path(folder), base_url, auth, backfill=backfill)
        let_the_limit_recover(base_url)
        people = {row_id: f"hubspot:{row_id}" for row_id in ids}
        before = calls_so_far(base_url)
        wall, cpu = time.perf_counter(), time.process_time()
        rows = JOBS[name](setting, people)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        after = calls_so_far(base_url)
        kinds = {kind: n - before.get(kind, 0) for kind, n in after.items() if n > before.get(kind, 0)}
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pipe.send((rows, kinds, wall, cpu, peak_mb))


def measure(
    name: str, title: str, place: Any, *, least: int, page_by_page: int | None = None, backfill: str = "export"
) -> Measured:
    """Run a job in a process of its own."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=run_job, args=(theirs, name, place, backfill))
    process.start()
    theirs.close()
    try:
        rows, kinds, wall, cpu, peak_mb = ours.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{title}: the job failed") from None
    process.join()
    return Measured(title, rows, sum(kinds.values()), least, page_by_page, cpu, wall, peak_mb, kinds)


# --- the table ----------------------------------------------------------------------------------------------


COLUMNS = (
    *("job", "rows", "calls", "fewest possible", "calls / fewest", "page by page"),
    *("CPU s", "limit gives s", "CPU / limit", "wall s", "peak MB"),
)


def head() -> str:
    """The first two lines of the table, as Markdown."""
    return f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def line(m: Measured) -> str:
    """One job as a line of the table."""
    pages = "–" if m.page_by_page is None else f"{m.page_by_page:,}"
    cells = (
        *(m.job, f"{m.rows:,}", f"{m.calls:,}", f"{m.least:,}", ratio(m.calls, m.least), pages),
        *(f"{m.cpu_seconds:.2f}", f"{m.allowed_seconds:.1f}", ratio(m.cpu_seconds, m.allowed_seconds)),
        *(f"{m.wall_seconds:.1f}", f"{m.peak_mb:.0f}"),
    )
    return f"| {' | '.join(cells)} |"


def ratio(part: float, whole: float) -> str:
    """Two decimals, or a dash where there is nothing to compare with."""
    return f"{part / whole:.2f}" if whole else "–"


def measure_all(contacts: int) -> Iterator[Measured]:
    """Every job in turn; the first read also with a tenth of the contacts, to show what its calls depend on."""
    tenth = contacts // 10
    pages = -(-tenth // LIST_ROWS)
    with sandbox_with(tenth) as place:
        yield measure("read_contacts", "first read, by export", place, least=FEWEST_READ_CALLS, page_by_page=pages)
        yield measure("read_contacts", "first read, by list", place, least=pages, page_by_page=pages, backfill="list")
    pages, batches = -(-contacts // LIST_ROWS), -(-contacts // MEMBERS_PER_CALL)
    with sandbox_with(contacts) as place:
        yield measure("read_contacts", "first read, by export", place, least=FEWEST_READ_CALLS, page_by_page=pages)
        into_warehouse = "first pull, into the warehouse"
        yield measure("pull_contacts", into_warehouse, place, least=FEWEST_READ_CALLS, page_by_page=pages)
        yield measure("fill_list", "new list of all contacts, plan to undo file", place, least=batches)
        yield measure("nothing_to_do", "nothing to do, plan to undo file", place, least=0)
        yield measure("empty_list", "everybody off that list, plan to undo file", place, least=batches)
        yield measure("add_alone", "everybody back on, adapter alone", place, least=batches)


def main() -> None:
    """Measure, print, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    print(head(), flush=True)
    lines = []
    for measured in measure_all(arguments.contacts):
        print(line(measured), flush=True)
        lines.append(measured)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(m) for m in lines], indent=2))


if __name__ == "__main__":
    main()
