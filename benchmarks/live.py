"""From a delivery to the CRM: how long until somebody who logs in, or unsubscribes, is off every list of ours.

    python benchmarks/live.py [--contacts 1000] [--people 100] [--every 0.3]

The demo's company on the HubSpot sandbox with the vendor's limits, five days into its program. `winback serve` runs in
a process of its own; people log in (a signed Segment message) and unsubscribe (a one-click POST) in turns, one every so
many seconds. A person is through when the sandbox itself shows them on none of our lists; it is looked at ten times a
second, so a figure is up to a tenth of a second too long. What is not through within a minute counts as a minute.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from connector.cli.session import open_workspace  # noqa: E402 - the path above must be set first
from connector.cli.story import Mornings, one_run  # noqa: E402
from connector.contracts import SandboxOptions  # noqa: E402
from connector.demo import live  # noqa: E402
from connector.demo.company import generate  # noqa: E402
from connector.demo.playbook import playbook_text, whats_new_text  # noqa: E402
from connector.programs import link_maker  # noqa: E402
from connector.registry import installed_adapters  # noqa: E402

DAYS = 5
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.1
OURS = "winback · "


class Watching(threading.Thread):
    """Looks at the sandbox, and notes when each of the people is on none of our lists any more."""

    def __init__(self, base_url: str) -> None:
        super().__init__(daemon=True)
        self.base_url = base_url
        self.waiting: dict[str, float] = {}
        self.took: dict[str, float] = {}
        self.done = threading.Event()

    def run(self) -> None:
        """Look until done."""
        while not self.done.wait(LOOK_SECONDS):
            on = on_our_lists(self.base_url)
            now = time.monotonic()
            for row, since in list(self.waiting.items()):
                if row not in on:
                    self.took[row] = now - since
                    del self.waiting[row]


def on_our_lists(base_url: str) -> set[str]:
    lists = requests.get(f"{base_url}/_sandbox/state?full=1", timeout=30).json()["lists"]
    return {row for name, held in lists.items() if name.startswith(OURS) for row in held["members"]}


def company(folder: Path, contacts: int, port: int):
    """The demo's company five days into its program; the sandbox, the playbook, and the moment it is."""
    now = datetime.now(UTC)
    begins = datetime.combine(now.date(), datetime.min.time(), UTC) + timedelta(hours=6)
    sandbox = installed_adapters().require("hubspot").sandbox(SandboxOptions())
    sandbox.advance((begins - now).total_seconds())
    people = generate(ends=begins.date() - timedelta(days=1), contacts=contacts, system="hubspot")
    people.write_usage(folder / "data")
    people.write_payments(folder / "data")
    (folder / "whats_new.yaml").write_text(whats_new_text("2026-01-01", "2026-02-01"), encoding="utf-8")
    (folder / "token").write_text(next(iter(sandbox.auth.values())), encoding="utf-8")
    live.write_secrets(folder)
    sandbox.seed((*people.contacts, *people.merged), people.accounts)
    config = folder / "winback.yaml"
    address = f"http://127.0.0.1:{port}"
    text = playbook_text(
        base_url=sandbox.base_url, auth={"token": "${file:token}"}, contacts=contacts * 20, address=address
    )
    config.write_text(text.replace("stale_source: 72h", "stale_source: 60d"), encoding="utf-8")
    with open_workspace(config, now=begins, quiet=True) as workspace:
        workspace.clock = clock = Mornings(begins)
        for day in range(DAYS + 1):
            clock.at = begins + timedelta(days=day)
            sandbox.advance(timedelta(days=day > 0).total_seconds())
            one_run(workspace)
    # Not the very moment of the run: a login counts when it comes after the entry.
    return sandbox, config, clock.at + timedelta(hours=1)


def measure(contacts: int, people: int, every: float) -> dict[str, list[float]]:
    with tempfile.TemporaryDirectory() as folder:
        port = live.free_port()
        sandbox, config, now = company(Path(folder), contacts, port)
        try:
            with (
                live.served(config, now, port=port) as address,
                open_workspace(config, now=now, quiet=True) as workspace,
            ):
                return _measure(workspace, sandbox.base_url, address, people, every)
        finally:
            sandbox.stop()


def _measure(workspace, base_url: str, address: str, people: int, every: float) -> dict[str, list[float]]:
    links = link_maker(workspace)
    on = on_our_lists(base_url)
    day = workspace.today()
    inside = [
        episode
        for episode in workspace.journal.episodes.everybody()
        if episode.open and not episode.held_out and episode.contact_id.partition(":")[2] in on
        and (workspace.warehouse.contact_row(episode.contact_id, day) or {}).get("external_id")
    ]  # fmt: skip
    watching = Watching(base_url)
    watching.start()
    kinds: dict[str, str] = {}
    acts = {"login": live.logs_in, "unsubscribe": live.unsubscribes}
    for number, episode in enumerate(inside[:people]):
        row = episode.contact_id.partition(":")[2]
        kinds[row] = kind = tuple(acts)[number % len(acts)]
        moment = live.Moment(episode.contact_id, "")
        began = time.monotonic()
        answered = acts[kind](workspace, links, moment, episode, address)
        if answered != 200:
            sys.exit(f"a delivery was answered {answered}")
        watching.waiting[row] = began
        time.sleep(max(0.0, every - (time.monotonic() - began)))
    ends = time.monotonic() + PATIENCE_SECONDS
    while watching.waiting and time.monotonic() < ends:
        time.sleep(LOOK_SECONDS)
    watching.done.set()
    for row in watching.waiting:
        told = [line.effect or line.state for line in workspace.journal.inbox.of(f"hubspot:{row}")]
        print(f"not through within a minute: {kinds[row]}, {told}", file=sys.stderr)
    found: dict[str, list[float]] = {kind: [] for kind in acts}
    for row, kind in kinds.items():
        found[kind].append(watching.took.get(row, PATIENCE_SECONDS))
    return found


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--contacts", type=int, default=1_000)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--every", type=float, default=0.3, help="seconds between two deliveries")
    chosen = parser.parse_args()
    found = measure(chosen.contacts, chosen.people, chosen.every)
    print("| what | people | p50 s | p95 s | longest s | p95 of the 10 s promised |")
    print("|---|---:|---:|---:|---:|---:|")
    for kind, seconds in found.items():
        p50, p95 = percentile(seconds, 0.5), percentile(seconds, 0.95)
        print(f"| {kind} | {len(seconds)} | {p50:.1f} | {p95:.1f} | {max(seconds):.1f} | {p95 / 10:.2f} |")


if __name__ == "__main__":
    main()
