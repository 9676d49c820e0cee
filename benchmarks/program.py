"""The daily program step beside the segments step of the same run: a million contacts, a fifth of them in the program.

    python benchmarks/program.py [--contacts 1000000] [--events 50000000] [--episodes 200000] [--folder DIR]

Usage is that of features.py. The contacts are a CRM's: an address, an account, a time zone, what the CRM says of
consent and of clicks. Each job runs in a process of its own and reports wall seconds and peak memory. `segments` is the
segments step of the day: it brings features up to date after 1 % new events and evaluates, so it comes before anything
else looks at the warehouse; `people` hands over everybody a plan has to do with, row by
row, with 200,000 open episodes; `program` reads those episodes from the journal and lets the engine decide for all;
`one by one` does so without the shorter way, and must decide the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.features import AS_OF, STORED_ROWS, generate  # noqa: E402 - the path above must be set first

TODAY = AS_OF + timedelta(days=1)
NOW = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(hours=9)

SEGMENTS = (
    ("dormant_30", "dormancy", "inactive_days between 30 and 59"),
    ("dormant_60", "dormancy", "inactive_days between 60 and 89"),
    ("dormant_90", "dormancy", "inactive_days between 90 and 179"),
    ("cold", "dormancy", "inactive_days >= 180"),
    ("high_value_dormant", None, "inactive_days >= 30 and frequency_quintile >= 4 and role in ('cto', 'team_lead')"),
    ("off_rhythm", None, "inactive_days > 3 * gap_p90_days and active_days_365 >= 10"),
)


# --- data ---------------------------------------------------------------------------------------------------


def generate_people(folder: Path, contacts: int) -> None:
    """Write people.parquet: the CRM's records of the users of usage.parquet, one in fifty with a double."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    random = np.random.default_rng(20261122)
    number = np.arange(contacts)
    doubled = np.where(random.random(contacts) < 0.02, np.maximum(number - 1, 0), number)
    zones = np.array(["Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "UTC"])
    clicked = np.datetime64(AS_OF.isoformat(), "s") - random.integers(0, 400 * 86_400, contacts).astype(
        "timedelta64[s]"
    )
    said = random.random(contacts)
    table = pa.table(
        {
            "id": pa.array(number + 1).cast(pa.string()),
            "user_id": pc.binary_join_element_wise("user", pa.array(number).cast(pa.string()), "_"),
            "email": pc.binary_join_element_wise(pa.array(doubled).cast(pa.string()), "example.org", "@u."),
            "company": pa.array(number // 3).cast(pa.string()),
            "timezone": zones[random.integers(0, len(zones), contacts)],
            "country": np.array(["NL", "US", "IN", "DE"])[random.integers(0, 4, contacts)],
            "role": np.array(["developer", "team_lead", "cto", "ops", "analyst"])[random.integers(0, 5, contacts)],
            "can_email": said > 0.05,
            "opted_out": said > 0.97,
            "bounced": (said > 0.95) & (said < 0.96),
            "basis": pa.array(np.where(said < 0.9, "consent_express", "legitimate_interest")),
            "clicked_at": pa.array(np.where(said < 0.3, clicked, np.datetime64("NaT")), pa.timestamp("s", "UTC")),
        }
    )
    pq.write_table(table, folder / "people.parquet", compression="zstd")


def open_warehouse(folder: Path) -> Any:
    """The warehouse of this benchmark."""
    from connector.warehouse import Warehouse

    return Warehouse.open(f"duckdb:///{folder / 'program.duckdb'}")


def _store(warehouse: Any, folder: Path, file: str, mapping: Any, *, system: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from connector.model import Page

    for number, batch in enumerate(pq.ParquetFile(folder / file).iter_batches(STORED_ROWS)):
        warehouse.store_page(
            Page(pa.Table.from_batches([batch]), {file: number}, origin=file),
            mapping,
            source=system,
            system=system,
            stream=mapping.into,
            pulled_at=NOW,
        )


_USAGE = {"contact_id": "user_id", "occurred_at": "occurred_at", "feature": "feature", "event_id": "event_id"}
_PEOPLE = {
    "contact_id": "id", "external_id": "user_id", "account_id": "company", "attributes.consent_basis": "basis",
    "attributes.email_last_click_at": "clicked_at",
} | {name: name for name in ("email", "timezone", "country", "role", "can_email", "opted_out", "bounced")}  # fmt: skip


def load(folder: Path) -> dict[str, float]:
    """Store contacts and usage, work everybody's state out, then store 1 % new events."""
    from mappings.schema import from_user

    (folder / "program.duckdb").unlink(missing_ok=True)
    with open_warehouse(folder) as warehouse:
        _store(warehouse, folder, "people.parquet", from_user("crm", "contacts", "contacts", _PEOPLE), system="crm")
        usage = from_user("product", "usage", "usage", _USAGE)
        _store(warehouse, folder, "usage.parquet", usage, system="product")
        warehouse.match_identities(["external_id"])
        warehouse.refresh()
        _store(warehouse, folder, "new.parquet", usage, system="product")
        warehouse.match_identities(["external_id"])
    return {}


def checked_segments() -> list[Any]:
    """The segments, parsed."""
    from connector.model import Segment
    from connector.rules.conditions import CheckedSegment, parse

    return [CheckedSegment(Segment(name, where, group), parse(where, where=None)) for name, group, where in SEGMENTS]


def entries(warehouse: Any, episodes: int) -> Any:
    """So many dormant contacts who may be mailed, entered over three weeks, in the silence they were in: a table."""
    return warehouse._database.arrow(  # noqa: SLF001 - a benchmark makes its own state
        "SELECT c.contact_id, now_at - ((hash(c.contact_id) % 21 + 1) * INTERVAL 1 DAY) AS entered_at, "
        "a.last_date + 1 AS spell_started_on FROM activity AS a JOIN contacts AS c USING (contact_key), "
        f"(SELECT TIMESTAMPTZ '{NOW.isoformat()}' AS now_at) WHERE a.last_date < DATE '{TODAY - timedelta(days=51)}' "
        "AND c.can_email AND NOT c.opted_out AND NOT c.bounced AND c.attributes LIKE '%consent_express%' "
        f"ORDER BY hash(c.contact_id) LIMIT {episodes}"
    )


# --- jobs ---------------------------------------------------------------------------------------------------


def segments(folder: Path) -> dict[str, float]:
    """The segments step: what 1 % new events change, then every segment."""
    with open_warehouse(folder) as warehouse:
        started, worked = time.perf_counter(), time.process_time()
        warehouse.refresh()
        evaluation = warehouse.evaluate(checked_segments(), TODAY)
        cpu = time.process_time() - worked
        return {"seconds": time.perf_counter() - started, "cpu": cpu, "rows": evaluation.contacts}


def people(folder: Path) -> dict[str, float]:
    """Everybody a plan has to do with, handed over and let go of again."""
    with open_warehouse(folder) as warehouse:
        warehouse.refresh()
        warehouse.evaluate(checked_segments(), TODAY)
        episodes = entries(warehouse, EPISODES)
        before = peak_gb()
        started = time.perf_counter()
        rows = sum(1 for _ in warehouse.people(TODAY, episodes=episodes, columns=("value_365d", "plan_tier", "role")))
        return {"seconds": time.perf_counter() - started, "rows": rows, "more_gb": peak_gb() - before}


def best_hours(folder: Path) -> dict[str, float]:
    """The same with the hour of each contact, worked out for the first time and then again."""
    with open_warehouse(folder) as warehouse:
        warehouse.refresh()
        warehouse.evaluate(checked_segments(), TODAY)
        episodes = entries(warehouse, EPISODES)
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            rows = sum(1 for _ in warehouse.people(TODAY, episodes=episodes, columns=("best_hour",)))
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds[1], "first": seconds[0], "rows": rows}


PLAYBOOK = """\
version: 1
account: bench
warehouse: duckdb:///program.duckdb
journal: sqlite:///journal.db
sources:
  product:
    adapter: files
    streams: {usage: {path: usage.parquet, mapping: {contact_id: user_id, occurred_at: occurred_at}}}
segments:
%s
program:
  name: win-back
  enroll: [high_value_dormant, dormant_90, dormant_60, dormant_30, cold]
  steps:
    - {name: reminder, day: 1}
    - {name: offer, day: 7, when: "engaged.replies = 0", variants: {news: 50%%, help: 50%%}}
    - {name: last_chance, day: 14, adjust: [{when: "engaged.clicks >= 1", day: 10}]}
    - {name: feedback, day: 21}
  holdout: {share: 10%%}
  caps: {per_contact: 4 in 30d, gap: 3d, per_day: 5000, quiet_after: 90d}
  consent: {profile: gdpr_soft_opt_in, max_age: 48h}
  send: {window: "09:00-17:00", days: business}
"""
STEPS = (("reminder", 1), ("offer", 7), ("last_chance", 14), ("feedback", 21))


class Still:
    """A clock that stands at the moment of the benchmark."""

    def now(self) -> datetime:
        """That moment."""
        return NOW

    def sleep(self, seconds: float) -> None:
        """Nobody waits here."""


def workspace(folder: Path) -> Any:
    """The playbook with its warehouse and its journal."""
    from connector.workspace import Workspace

    class Quiet:
        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    written = "\n".join(
        f'  - {{name: {name}, {f"group: {group}, " if group else ""}where: "{where}"}}'
        for name, group, where in SEGMENTS
    )
    (folder / "winback.yaml").write_text(PLAYBOOK % written, encoding="utf-8")
    return Workspace.load(folder / "winback.yaml", clock=Still(), reporter=Quiet(), environ={})


def enter(folder: Path) -> dict[str, float]:
    """Put the contacts into the program, with the steps that their days there have brought."""
    from connector.program.model import HOLDOUT, TREATED, Entry, Episode, Move, Split

    for file in folder.glob("journal.db*"):
        file.unlink()
    with workspace(folder) as opened:
        opened.warehouse.refresh()
        entered, moves = [], []
        for number, row in enumerate(entries(opened.warehouse, EPISODES).to_pylist()):
            episode = Episode(
                episode_id=f"win-back/{row['contact_id']}/{row['spell_started_on']}",
                contact_id=row["contact_id"],
                program="win-back",
                spell_started_on=row["spell_started_on"],
                entered_at=row["entered_at"],
                entered_as="dormant_60",
                arm=TREATED if number % 10 else HOLDOUT,
                stratum="dormant_60",
            )
            entered.append(Entry(episode))
            for step, day in STEPS:
                at = episode.entered_at + timedelta(days=day)
                if at < NOW and not episode.held_out:
                    moves.append(
                        Move(episode.episode_id, episode.contact_id, step, "decided", at.date(), at, send_at=at)
                    )
        split = Split(share=0.1, unit="contact", salt="bench/win-back", eligible=len(entered))
        opened.journal.episodes.fix_splits({"win-back": split})
        opened.journal.episodes.enter(entered, run_id="before")
        opened.journal.episodes.move(moves, run_id="before")
        return {"rows": len(entered)}


def program(folder: Path, *, shortlist: bool = True) -> dict[str, Any]:
    """The program step: people, journal and engine, for everybody; beside the segments step of the same process."""
    from connector import programs

    with workspace(folder) as opened:
        opened.journal.episodes.version()  # a run has opened its journal long before
        started = time.perf_counter()
        opened.warehouse.refresh()
        opened.warehouse.evaluate(opened.playbook.checked_segments, TODAY)
        evaluated, worked, before = time.perf_counter(), time.process_time(), peak_gb()
        rows = 0

        def seen(_: Any) -> bool:
            nonlocal rows
            rows += 1
            return True

        decisions = programs.Crowd(opened, TODAY, system="crm", shortlist=shortlist).decide(seen)
        ended, cpu = time.perf_counter(), time.process_time() - worked
        return {
            "seconds": ended - evaluated, "cpu": cpu, "rows": rows, "digest": digest(decisions),
            "nothing_new_segments": evaluated - started, "peak_gb_before": before,
            "moves": len(decisions.move), "entries": len(decisions.enter), "exits": len(decisions.exit),
        }  # fmt: skip


def one_by_one(folder: Path) -> dict[str, Any]:
    """The same with everybody before the engine; the digest of what is decided must be the same."""
    return program(folder, shortlist=False)


def digest(decisions: Any) -> str:
    """What was decided, in sixteen digits."""
    from dataclasses import fields

    said = hashlib.sha256()
    for field in fields(decisions):
        value = getattr(decisions, field.name)
        listed = value.items() if isinstance(value, dict) else value
        for line in sorted(map(repr, listed)):
            said.update(line.encode())
    return said.hexdigest()[:16]


JOBS: dict[str, Callable[[Path], dict[str, float]]] = {
    "load": load, "segments": segments, "enter": enter, "people": people, "people with their hours": best_hours,
    "program": program, "program one by one": one_by_one,
}  # fmt: skip
PREPARING = frozenset({"load", "enter"})
EPISODES = 200_000


def peak_gb() -> float:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def main() -> int:
    """Make the data, run the jobs, print the table."""
    global EPISODES  # noqa: PLW0603 - one number for every job of the process
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--folder", type=Path, default=None, help="keep the data here instead of a temporary folder")
    parser.add_argument("--only", default="", help="comma-separated jobs")
    parser.add_argument("--job", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    EPISODES = options.episodes
    if options.job:
        started = time.perf_counter()
        found = JOBS[options.job](options.folder)
        print(json.dumps({"wall": time.perf_counter() - started, "peak_gb": peak_gb(), **found}))
        return 0
    with tempfile.TemporaryDirectory(prefix="winback-bench-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "new.parquet").exists():
            generate(folder, options.contacts, options.events)
        if not (folder / "people.parquet").exists():
            generate_people(folder, options.contacts)
        jobs = options.only.split(",") if options.only else list(JOBS)
        return report({job: measured(job, folder, options.episodes) for job in jobs}, options)


def measured(job: str, folder: Path, episodes: int) -> dict[str, Any]:
    """Run a job in a process of its own."""
    command = [sys.executable, __file__, "--job", job, "--folder", str(folder), "--episodes", str(episodes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


_SHOWN = frozenset({"wall", "peak_gb", "seconds", "cpu", "rows"})


def report(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> int:
    """Print seconds, how many times the segments step that is, and memory; 1 when a job failed."""
    step = results.get("segments", {}).get("seconds")
    print(f"\n{options.contacts:,} contacts, {options.events:,} uses, {options.episodes:,} in the program\n")
    print("| job | rows | seconds | of the segments step | processor seconds | µs a row | peak GB |")
    print("|---|---|---|---|---|---|---|")
    for job, result in results.items():
        if "failed" in result:
            print(f"| {job} | failed: {result['failed']} | | | | | |")
            continue
        seconds, rows = result.get("seconds", result["wall"]), result.get("rows")
        share = f"{seconds / step:.2f}" if step and job not in PREPARING else ""
        each = f"{seconds / rows * 1e6:.1f}" if rows else ""
        extra = {key: value for key, value in result.items() if key not in _SHOWN}
        if extra:
            print(f"{job}: {json.dumps(extra)}", file=sys.stderr)
        cpu = f"{result['cpu']:.2f}" if "cpu" in result else ""
        told = f"{f'{rows:,}' if rows else ''} | {seconds:.2f} | {share} | {cpu} | {each} | {result['peak_gb']:.2f}"
        print(f"| {job} | {told} |")
    return 1 if any("failed" in result for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
