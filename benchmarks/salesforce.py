"""A Salesforce org's API calls and our memory: the first read of a million contacts, and a write of 200,000 rows.

Run: python benchmarks/salesforce.py [--contacts 1000000] [--rows 200000]

The Salesforce sandbox runs in a process of its own; each job runs in another, so that processor time and peak memory
are the connector's alone. Calls are counted by the sandbox. The fewest possible are those of Bulk 2.0 when one job does
everything: a query is made, looked at once and fetched in pieces of 50,000; an upload is made, filled, closed and
looked at once. Every job checks its outcome; a job that did not do its work is an error, not a row.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

PIECE = 50_000
LOOKED_AT = 2
"""Calls of a query besides its pieces: made, and looked at."""

CALLS_PER_JOB = 4
LIST_NAME = "winback · dormant_30"
FIELD = "winback_last_feature"
SPAWN = multiprocessing.get_context("spawn")


def serve(pipe: Pipe, contacts: int) -> None:
    """Serve a sandbox with so many people until told to stop."""
    from adapters.salesforce import ADAPTER
    from adapters.salesforce.ids import record_id
    from connector.contracts import SandboxOptions
    from connector.model import Contact

    sandbox = ADAPTER.sandbox(SandboxOptions())
    try:
        people = (
            Contact(
                f"salesforce:{number}",
                external_id=f"user{number}",
                email=f"person{number}@example.com",
                first_name=f"First{number}",
                last_name=f"Last, {number}" if number % 10 else "of two\nlines",
                role="developer",
            )
            for number in range(1, contacts + 1)
        )
        sandbox.seed(people, ())
        pipe.send((sandbox.base_url, dict(sandbox.auth), [record_id("Contact", n) for n in range(1, contacts + 1)]))
        while pipe.recv() != "stop":
            pass
    finally:
        sandbox.stop()


@contextmanager
def sandbox_with(contacts: int) -> Iterator[tuple[str, Mapping[str, str], Sequence[str]]]:
    """A sandbox in a process of its own: where it is, how to sign in, whom it knows."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(theirs, contacts), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join(30)


def calls_so_far(base_url: str) -> int:
    """What the org counted."""
    import requests

    said = requests.get(f"{base_url}/_sandbox/limits", timeout=60).json()
    return int(said["DailyApiRequests"]["Max"]) - int(said["DailyApiRequests"]["Remaining"])


class Quiet:
    """A reporter for which nothing is worth a line."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def progress(self, task: str, done: int, total: int | None = None) -> None:
        """Say nothing."""


class Setting:
    """What a job works with."""

    def __init__(self, stack: ExitStack, folder: Path, base_url: str, auth: Mapping[str, str]) -> None:
        from adapters.salesforce import ADAPTER
        from adapters.salesforce.options import SalesforceOptions
        from connector.clock import SystemClock
        from connector.contracts import Connection, Limits
        from connector.journal import Journal
        from mappings.schema import load_shipped

        self.folder = folder
        self.clock = SystemClock()
        self.mapping = load_shipped("salesforce", "contacts")
        journal = Journal.open(f"sqlite:///{folder}/journal.db", clock=self.clock)
        stack.callback(journal.close)
        options = SalesforceOptions(adapter="salesforce", base_url=base_url, auth=auth, timeout_seconds=120)
        connection = Connection(
            name="crm",
            options=options,
            budget=journal.budget("salesforce", Limits(), reporter=Quiet()),
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


def read_contacts(setting: Setting, ids: Sequence[str]) -> int:
    """Read every contact and let it go."""
    seen = sum(
        page.records.num_rows if hasattr(page.records, "num_rows") else len(page.records)
        for page in setting.source.read("contacts", None)
    )
    expect(seen, len(ids), "contacts read")
    return seen


def pull_contacts(setting: Setting, ids: Sequence[str]) -> int:
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
    return report.rows


def write_members(setting: Setting, ids: Sequence[str]) -> int:
    """Make everybody a member of a campaign."""
    from connector.contracts import chunks
    from connector.model import Outcome

    destination = setting.destination
    campaign = destination.ensure_list(LIST_NAME, folder=destination.folder).ref
    written = 0
    for part in chunks(ids, destination.capabilities.members_per_call):
        receipts = destination.change_members(campaign, add=part)
        written += sum(receipt.outcome is Outcome.WRITTEN for receipt in receipts)
    expect(written, len(ids), "members made")
    return written


def write_fields(setting: Setting, ids: Sequence[str]) -> int:
    """Write a field of everybody."""
    from connector.contracts import chunks
    from connector.model import Outcome, PropertyRow

    destination = setting.destination
    written = 0
    for part in chunks(ids, destination.capabilities.properties_per_call):
        receipts = destination.set_properties([PropertyRow(row_id, {FIELD: f"of {row_id}"}) for row_id in part])
        written += sum(receipt.outcome is Outcome.WRITTEN for receipt in receipts)
    expect(written, len(ids), "rows written")
    return written


def expect(found: int, wanted: int, what: str) -> None:
    """Stop the benchmark when a job did not do its work."""
    if found != wanted:
        raise SystemExit(f"{what}: {found}, not {wanted}; nothing was measured")


JOBS: dict[str, Callable[[Setting, Sequence[str]], int]] = {
    job.__name__: job for job in (read_contacts, pull_contacts, write_members, write_fields)
}


def run_job(pipe: Pipe, name: str, place: tuple[str, Mapping[str, str], Sequence[str]]) -> None:
    """Run one job and send what it took; importing the libraries is not part of it."""
    import pyarrow.csv  # noqa: F401

    import connector.warehouse  # noqa: F401

    base_url, auth, ids = place
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        setting = Setting(stack, Path(folder), base_url, auth)
        before = calls_so_far(base_url)
        wall, cpu = time.perf_counter(), time.process_time()
        rows = JOBS[name](setting, ids)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        pipe.send((rows, calls_so_far(base_url) - before, wall, cpu, peak_mb))


def measured(name: str, place: tuple[str, Mapping[str, str], Sequence[str]]) -> tuple[Any, ...]:
    """A job in a process of its own."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=run_job, args=(theirs, name, place))
    process.start()
    theirs.close()
    try:
        found: tuple[Any, ...] = ours.recv()
    except EOFError:
        process.join()
        raise SystemExit(f"{name}: the job failed") from None
    process.join()
    return found


def line(title: str, found: tuple[Any, ...], least: int) -> str:
    """One job as a line of the table."""
    rows, calls, wall, cpu, peak_mb = found
    cells = (title, f"{rows:,}", f"{calls:,}", f"{least:,}", f"{calls / least:.2f}", f"{cpu:.1f}", f"{wall:.1f}")
    return f"| {' | '.join(cells)} | {peak_mb:.0f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=200_000)
    chosen = parser.parse_args()
    print("| job | rows | calls | fewest possible | calls / fewest | CPU s | wall s | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for contacts in (chosen.contacts // 4, chosen.contacts):
        with sandbox_with(contacts) as place:
            least = LOOKED_AT + -(-contacts // PIECE)
            print(line("first read", measured("read_contacts", place), least), flush=True)
            if contacts < chosen.contacts:
                continue
            print(line("first read, into the warehouse", measured("pull_contacts", place), least), flush=True)
            base_url, auth, ids = place
            for rows in (chosen.rows // 4, chosen.rows):
                some = base_url, auth, ids[-rows:] if rows == chosen.rows else ids[:rows]
                print(line("fields of so many people", measured("write_fields", some), CALLS_PER_JOB), flush=True)
            some = base_url, auth, ids[-chosen.rows :]
            print(line("new campaign members", measured("write_members", some), CALLS_PER_JOB), flush=True)


if __name__ == "__main__":
    main()
