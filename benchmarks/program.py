"""The daily program step beside the segments step of the same run: a million contacts, a fifth of them in the program.

    python benchmarks/program.py [--contacts 1000000] [--events 50000000] [--episodes 200000] [--folder DIR]

Usage and segments are those of features.py. The contacts are a CRM's: an address, an account, a time zone, what the CRM
says of consent and of clicks. Each job runs in a process of its own and reports wall seconds, processor seconds and
peak memory. `day` is both steps as one daily run takes them, after 1 % new uses and 1 % changed contacts were stored:

- `segments`: match people, bring features up to date, evaluate all segments, compare with what was recorded yesterday,
  and record (which a run does last of all);
- `program`: let episodes follow merged contacts, read the consent ledger, the health of the mail and 200,000 open
  episodes, and decide for everybody; how often people come back is part of that.

What is read and written to reach the CRM is no part of either. `people` hands over everybody a plan has to do with, row
by row; `one by one` decides without the shorter way, and must decide the same.
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

from benchmarks.features import AS_OF, SEGMENTS, STORED_ROWS, generate  # noqa: E402 - the path above must be set first

TODAY = AS_OF + timedelta(days=1)
NOW = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(hours=9)


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
    write_changed(folder)


def write_changed(folder: Path) -> None:
    """Write changed.parquet: the records of one contact in a hundred, each with another role and a click yesterday."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "people.parquet")
    table = table.take(pa.array(np.arange(7, len(table), 100)))
    clicked = pa.array(np.full(len(table), np.datetime64(NOW.replace(tzinfo=None)) - np.timedelta64(1, "D")))
    table = table.set_column(table.schema.get_field_index("clicked_at"), "clicked_at", clicked.cast("timestamp[s]"))
    table = table.set_column(table.schema.get_field_index("role"), "role", pa.array(["developer"] * len(table)))
    pq.write_table(table, folder / "changed.parquet", compression="zstd")


LOADED, DAY = "loaded.duckdb", "program.duckdb"
"""The warehouse before the day's run, and the one it works on."""


def open_warehouse(folder: Path, file: str = DAY) -> Any:
    """A warehouse of this benchmark."""
    from connector.warehouse import Warehouse

    return Warehouse.open(f"duckdb:///{folder / file}")


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
    """Store contacts and usage, work out and record what yesterday's run did, then store what the day brought."""
    from mappings.schema import from_user

    (folder / LOADED).unlink(missing_ok=True)
    with open_warehouse(folder, LOADED) as warehouse:
        crm, usage = from_user("crm", "contacts", "contacts", _PEOPLE), from_user("product", "usage", "usage", _USAGE)
        _store(warehouse, folder, "people.parquet", crm, system="crm")
        _store(warehouse, folder, "usage.parquet", usage, system="product")
        warehouse.match_identities(["external_id"])
        warehouse.refresh()
        warehouse.evaluate(checked_segments(), AS_OF)
        warehouse.record_evaluation(AS_OF)
        _store(warehouse, folder, "new.parquet", usage, system="product")
        _store(warehouse, folder, "changed.parquet", crm, system="crm")
    return {}


def checked_segments() -> list[Any]:
    """The segments, parsed."""
    from connector.model import Segment
    from connector.rules.conditions import CheckedSegment, parse

    return [CheckedSegment(Segment(name, where, group), parse(where, where=None)) for name, group, where in SEGMENTS]


def entries(warehouse: Any, episodes: int | None) -> Any:
    """So many (None: all) silent contacts who may be mailed, entered over three weeks, in the silence they were in."""
    return warehouse._database.arrow(  # noqa: SLF001 - a benchmark makes its own state
        "SELECT c.contact_id, now_at - ((hash(c.contact_id) % 21 + 1) * INTERVAL 1 DAY) AS entered_at, "
        "a.last_date + 1 AS spell_started_on FROM activity AS a JOIN contacts AS c USING (contact_key), "
        f"(SELECT TIMESTAMPTZ '{NOW.isoformat()}' AS now_at) WHERE a.last_date < DATE '{TODAY - timedelta(days=51)}' "
        "AND c.can_email AND NOT c.opted_out AND NOT c.bounced AND c.attributes LIKE '%consent_express%' "
        f"ORDER BY hash(c.contact_id) {'' if episodes is None else f'LIMIT {episodes}'}"
    )


# --- jobs ---------------------------------------------------------------------------------------------------


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
identity: {match: [external_id]}
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

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()


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


def episode_of(number: int, row: dict[str, Any], at: datetime, **more: Any) -> Any:
    """The episode of a silent contact who entered then; every tenth is held out."""
    from connector.program.model import HOLDOUT, TREATED, Episode

    return Episode(
        episode_id=f"win-back/{row['contact_id']}/{row['spell_started_on']}",
        contact_id=row["contact_id"],
        program="win-back",
        spell_started_on=row["spell_started_on"],
        entered_at=at,
        entered_as="dormant_60",
        arm=TREATED if number % 10 else HOLDOUT,
        stratum="dormant_60",
        **more,
    )


def enter(folder: Path) -> dict[str, float]:
    """Put the contacts into the program, with the steps that their days there have brought."""
    from connector.program.model import Entry, Move, Split

    for file in folder.glob("journal.db*"):
        file.unlink()
    with open_warehouse(folder, LOADED) as warehouse:
        chosen = entries(warehouse, EPISODES).to_pylist()
    with workspace(folder) as opened:
        entered, moves = [], []
        for number, row in enumerate(chosen):
            episode = episode_of(number, row, row["entered_at"])
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


def age(folder: Path) -> dict[str, float]:
    """Let all others who are as silent have been in the program before, to its end."""
    from connector.program.model import Entry, Exit

    with open_warehouse(folder, LOADED) as warehouse:
        others = entries(warehouse, None).to_pylist()[EPISODES:]
    entered, ended = [], []
    for number, row in enumerate(others):
        at = NOW - timedelta(days=40 + number % 20)
        episode = episode_of(number, row, at, outcome_until=at + timedelta(days=90))
        entered.append(Entry(episode))
        ended.append(Exit(episode.episode_id, episode.contact_id, "completed", at + timedelta(days=30)))
    with workspace(folder) as opened:
        opened.journal.episodes.enter(entered, run_id="long ago")
        opened.journal.episodes.exit(ended, run_id="lately")
    return {"rows": len(others)}


def day_after_age(folder: Path) -> dict[str, Any]:
    """The same day where everybody silent is in the program or has been."""
    return {f"{name}, all silent ones were in it": found for name, found in day(folder).items() if name == "program"}


class Stopwatch:
    """Wall and processor seconds, and what memory the process had held by then."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self, name: str) -> None:
        """The seconds since the last lap, under this name; a name twice is added up."""
        wall, cpu = time.perf_counter(), time.process_time()
        for key, seconds in ((name, wall - self._wall), (f"{name} cpu", cpu - self._cpu)):
            self.laps[key] = self.laps.get(key, 0.0) + seconds
        self._wall, self._cpu = time.perf_counter(), time.process_time()


def day(folder: Path) -> dict[str, Any]:
    """One day's run: its segments step, and its program step."""
    import shutil

    shutil.copyfile(folder / LOADED, folder / DAY)
    return program(folder)


def program(folder: Path, *, shortlist: bool = True) -> dict[str, Any]:
    """The steps of a run one after the other; on a day that was run already there is nothing new for its segments."""
    import pyarrow as pa

    from connector import programs, shortlisting, target  # noqa: F401 - a run has loaded what it uses
    from connector.pipeline import readying, running, segmenting  # noqa: F401 - as above
    from connector.program import engine  # noqa: F401

    pa.array(["what"])  # what Arrow loads when it is first given values: storing a page has done so long before
    with workspace(folder) as opened:
        warehouse, episodes = opened.warehouse, opened.journal.episodes
        episodes.version()  # a run has opened its journal long before
        rows = 0

        def seen(_: Any) -> bool:
            nonlocal rows
            rows += 1
            return True

        def together(alike: Any, _: Any) -> None:
            nonlocal rows
            rows += len(alike.ids())

        watch = Stopwatch()
        readying.match_people(opened)
        watch.lap("match")
        warehouse.refresh(counts=readying.counts_sql(opened))
        watch.lap("refresh")
        evaluation = segmenting.evaluate(opened, TODAY)
        watch.lap("evaluate")
        before = peak_gb()
        episodes.rekey(warehouse.merged("crm"))
        decisions = programs.Crowd(opened, TODAY, system="crm", shortlist=shortlist).decide(seen, together=together)
        watch.lap("program")
        peak = peak_gb()
        warehouse.record_evaluation(TODAY)
        watch.lap("record")
        laps = watch.laps
        parts = ("match", "refresh", "evaluate", "record")
        return {
            "segments": {
                "seconds": sum(laps[part] for part in parts), "cpu": sum(laps[f"{part} cpu"] for part in parts),
                "rows": evaluation.contacts, "peak_gb": before, "changes": sum(evaluation.entered.values()),
                **{part: f"{laps[part]:.2f} s, processor {laps[f'{part} cpu']:.2f} s" for part in parts},
            },
            "program": {
                "seconds": laps["program"], "cpu": laps["program cpu"], "rows": rows, "peak_gb": peak,
                "digest": digest(decisions), "moves": len(decisions.move), "entries": len(decisions.enter),
                "exits": len(decisions.exit),
            },
        }  # fmt: skip


def one_by_one(folder: Path) -> dict[str, Any]:
    """The program step with everybody before the engine; the digest of what is decided must be the same."""
    return {"program one by one": program(folder, shortlist=False)["program"]}


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


JOBS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "load": load, "enter": enter, "day": day, "program one by one": one_by_one, "people": people,
    "people with their hours": best_hours, "age": age, "day after age": day_after_age,
}  # fmt: skip
PREPARING = frozenset({"load", "enter", "age"})
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
        results: dict[str, dict[str, Any]] = {}
        for job in jobs:
            results |= rows_of(job, measured(job, folder, options.episodes))
        return report(results, options)


def measured(job: str, folder: Path, episodes: int) -> dict[str, Any]:
    """Run a job in a process of its own."""
    command = [sys.executable, __file__, "--job", job, "--folder", str(folder), "--episodes", str(episodes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rows_of(job: str, result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A job's lines in the table: `day` has two."""
    steps = {name: found for name, found in result.items() if isinstance(found, dict)}
    return steps or {job: result}


_SHOWN = frozenset({"wall", "peak_gb", "seconds", "cpu", "rows"})


def report(results: dict[str, dict[str, Any]], options: argparse.Namespace) -> int:
    """Print seconds, how many times the segments step that is, and memory; 1 when a job failed."""
    segments = results.get("segments", {})
    step, step_cpu = segments.get("seconds"), segments.get("cpu")
    print(f"\n{options.contacts:,} contacts, {options.events:,} uses, {options.episodes:,} in the program\n")
    print("| job | rows | seconds | of the segments step | processor seconds | of the segments step | peak GB |")
    print("|---|---|---|---|---|---|---|")
    for job, result in results.items():
        if "failed" in result:
            print(f"| {job} | failed: {result['failed']} | | | | | |")
            continue
        seconds, rows, cpu = result.get("seconds", result.get("wall")), result.get("rows"), result.get("cpu")
        share = f"{seconds / step:.2f}" if step and job not in PREPARING else ""
        cpu_share = f"{cpu / step_cpu:.2f}" if step_cpu and cpu else ""
        extra = {key: value for key, value in result.items() if key not in _SHOWN}
        if extra:
            print(f"{job}: {json.dumps(extra)}", file=sys.stderr)
        worked = f"{cpu:.2f}" if cpu else ""
        told = f"{f'{rows:,}' if rows else ''} | {seconds:.2f} | {share} | {worked} | {cpu_share}"
        print(f"| {job} | {told} | {result['peak_gb']:.2f} |")
    return 1 if any("failed" in result for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
