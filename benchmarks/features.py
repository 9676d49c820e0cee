"""Features, twelve segments and their changes: winback beside SQL written by hand, polars and pandas, in one run.

    python benchmarks/features.py [--contacts 1000000] [--events 50000000] [--folder DIR] [--only hand,full …]

Data are made once (seeded) as Parquet: contacts with a role, usage over two years with late-starting and lapsing
people, and 1 % more usage of the day after. Each job runs in a process of its own, which reports wall and CPU seconds
and its peak memory. `hand`, `polars` and `pandas` read Parquet and do the whole job; `full` works everything out from
the warehouse that `load` filled; `incremental` does it after 1 % new events. Jobs that evaluate the same day must
report the same number of contacts in every segment, or the run fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

FIRST_DAY = date(2024, 11, 1)
DAYS = 730
AS_OF = FIRST_DAY + timedelta(days=DAYS - 1)
PAGE_ROWS = 1_000_000
STORED_ROWS = 250_000
"""Rows of a page as the files adapter reads Parquet."""
HAND_MEMORY = "4GB"
"""What the hand-written SQL may use: four times what winback allows itself, without which it spills or fails."""

# off_rhythm adds a thousandth: engines round an interpolated quantile differently in its last digit.
SEGMENTS = (
    ("dormant_30", "dormancy", "inactive_days between 30 and 59"),
    ("dormant_60", "dormancy", "inactive_days between 60 and 89"),
    ("dormant_90", "dormancy", "inactive_days between 90 and 179"),
    ("cold", "dormancy", "inactive_days >= 180"),
    ("high_value_dormant", None, "inactive_days >= 30 and frequency_quintile >= 4 and role in ('cto', 'team_lead')"),
    ("off_rhythm", None, "inactive_days > 3 * gap_p90_days + 0.001 and active_days_365 >= 10"),
    ("new_people", None, "lifecycle = 'new'"),
    ("slipping", None, "lifecycle = 'slipping' and gap_median_days <= 7"),
    ("back_again", None, "lifecycle = 'resurrected'"),
    ("power_users", None, "active_days_28 >= 6 and recency_quintile = 5"),
    ("tried_once", None, "active_days_365 = 1 and inactive_days >= 30"),
    ("fans_of_one_feature", None, "top_feature = 'feature_03' and last_feature = 'feature_03' and active_days_90 >= 2"),
)


# --- data ---------------------------------------------------------------------------------------------------


def generate(folder: Path, contacts: int, events: int) -> None:
    """Write contacts.parquet, usage.parquet and new.parquet (1 % more, the day after); same sizes, same data."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(20261121)
    weight = random.lognormal(0, 1.0, contacts)
    weight /= weight.sum()
    start = random.integers(0, DAYS - 30, contacts)
    life = np.minimum(DAYS - start, random.exponential(300, contacts).astype(int) + 1)
    cumulative = np.cumsum(weight)
    ids = pa.array([f"user_{number}" for number in range(contacts)])
    features = pa.array([f"feature_{number:02}" for number in range(20)])
    roles = np.array(["developer", "team_lead", "cto", "ops", "analyst"])[random.integers(0, 5, contacts)]
    pq.write_table(pa.table({"user_id": ids, "role": roles}), folder / "contacts.parquet", compression="zstd")
    day_us = 86_400_000_000
    origin = np.datetime64(FIRST_DAY.isoformat(), "us")

    def uses(first_id: int, who: Any, day: Any) -> pa.Table:
        n = len(who)
        moment = origin + (day.astype("int64") * day_us + random.integers(0, day_us, n)).astype("timedelta64[us]")
        feature = np.minimum(random.exponential(4, n).astype(int), 19)
        return pa.table(
            {
                "event_id": np.arange(first_id, first_id + n, dtype="int64"),
                "user_id": ids.take(pa.array(who)),
                "occurred_at": pa.array(moment, pa.timestamp("us", "UTC")),
                "feature": features.take(pa.array(feature)),
            }
        )

    written, writer = 0, None
    while written < events:
        n = min(PAGE_ROWS, events - written)
        who = np.minimum(np.searchsorted(cumulative, random.random(n)), contacts - 1)
        page = np.floor(start[who] + random.random(n) * life[who]).astype("int64")
        table = uses(written, who, page)
        writer = writer or pq.ParquetWriter(folder / "usage.parquet", table.schema, compression="zstd")
        writer.write_table(table)
        written += n
    if writer is not None:
        writer.close()
    late = max(1, events // 100)
    alive = np.flatnonzero(start + life >= DAYS - 1)
    back = random.choice(alive if len(alive) else np.arange(contacts), late)
    pq.write_table(uses(events, back, np.full(late, DAYS)), folder / "new.parquet", compression="zstd")


# --- the same job by other means ------------------------------------------------------------------------------


HAND = """
CREATE TEMP TABLE by_day AS
WITH d AS (SELECT user_id, occurred_at::DATE AS day, min(occurred_at) AS first_at, max(occurred_at) AS last_at
           FROM '{folder}/usage.parquet' GROUP BY ALL),
g AS (SELECT *, day - lag(day) OVER (PARTITION BY user_id ORDER BY day) AS gap FROM d)
SELECT user_id, min(first_at) AS first_active_at, max(last_at) AS last_active_at, min(day) AS first_day,
       DATE '{as_of}' - max(day) AS inactive_days,
       count(*) FILTER (day > DATE '{as_of}' - 28) AS active_days_28,
       count(*) FILTER (day > DATE '{as_of}' - 90) AS active_days_90,
       count(*) FILTER (day > DATE '{as_of}' - 365) AS active_days_365,
       max(CASE WHEN gap > 90 THEN day END) AS returned_on,
       quantile_cont(gap, 0.5) AS gap_median_days,
       CASE WHEN count(gap) >= 5 THEN quantile_cont(gap, 0.9) END AS gap_p90_days
FROM g GROUP BY user_id;
CREATE TEMP TABLE by_feature AS
WITH f AS (SELECT user_id, feature, count(*) AS n, max(occurred_at) AS last_at
           FROM '{folder}/usage.parquet' GROUP BY ALL)
SELECT user_id, max_by(feature, n * 100 + 99 - substr(feature, 9)::INTEGER) AS top_feature,
       max_by(feature, last_at) AS last_feature
FROM f GROUP BY user_id;
CREATE TEMP TABLE features AS
SELECT d.*, top_feature, last_feature, role,
       1 + 5 * (rank() OVER (ORDER BY inactive_days DESC) - 1) // count(*) OVER () AS recency_quintile,
       1 + 5 * (rank() OVER (ORDER BY active_days_365) - 1) // count(*) OVER () AS frequency_quintile,
       CASE WHEN inactive_days >= 30 THEN 'dormant' WHEN first_day > DATE '{as_of}' - 28 THEN 'new'
            WHEN returned_on > DATE '{as_of}' - 28 THEN 'resurrected'
            WHEN inactive_days >= 8 OR inactive_days > gap_p90_days THEN 'slipping' ELSE 'active' END AS lifecycle
FROM by_day AS d JOIN by_feature USING (user_id) LEFT JOIN '{folder}/contacts.parquet' USING (user_id);
CREATE TEMP TABLE members AS
SELECT user_id, unnest([{choices}]) AS segment FROM features;
DELETE FROM members WHERE segment IS NULL;
"""

HAND_CHANGES = """
SELECT segment, count(*) FILTER (arrived), count(*) FILTER (NOT arrived) FROM (
    SELECT segment, true AS arrived
    FROM (FROM members ANTI JOIN '{folder}/before.parquet' AS b USING (user_id, segment))
    UNION ALL
    SELECT segment, false FROM (FROM '{folder}/before.parquet' AS b ANTI JOIN members USING (user_id, segment))
) GROUP BY ALL
"""


def _choices() -> str:
    grouped: dict[str, list[str]] = {}
    for name, group, where in SEGMENTS:
        grouped.setdefault(group or name, []).append(f"WHEN {where} THEN '{name}'")
    return ", ".join(f"CASE {' '.join(whens)} END" for whens in grouped.values())


def hand(folder: Path) -> dict[str, int]:
    """The job in DuckDB SQL as one would write it by hand, straight from Parquet."""
    import duckdb

    connection = duckdb.connect(
        config={
            "memory_limit": HAND_MEMORY,
            "preserve_insertion_order": "false",
            "temp_directory": str(folder / "spill"),
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(HAND.format(folder=folder, as_of=AS_OF, choices=_choices()))
    if (folder / "before.parquet").exists():
        connection.execute(HAND_CHANGES.format(folder=folder)).fetchall()
    else:  # made once: the first run's members, one in fifty away, so that there is something to compare with
        connection.execute(
            f"COPY (FROM members WHERE hash(user_id) % 50 > 0) TO '{folder}/before.parquet' (COMPRESSION zstd)"
        )
    return dict(connection.execute("SELECT segment, count(*) FROM members GROUP BY ALL").fetchall())


def scan(folder: Path) -> dict[str, int]:
    """Only read the columns: the floor under every other job."""
    import duckdb

    connection = duckdb.connect(config={"memory_limit": HAND_MEMORY})
    connection.execute(
        f"SELECT max(user_id), max(epoch_us(occurred_at)), max(feature) FROM '{folder}/usage.parquet'"
    ).fetchall()
    return {}


def with_polars(folder: Path) -> dict[str, int]:
    """The job in polars, lazily where it can."""
    import polars as pl

    usage = pl.scan_parquet(folder / "usage.parquet").select("user_id", "occurred_at", "feature")
    as_of = pl.lit(AS_OF)
    days = (
        usage.group_by("user_id", pl.col("occurred_at").dt.date().alias("day"))
        .agg(pl.col("occurred_at").min().alias("first_at"), pl.col("occurred_at").max().alias("last_at"))
        .sort("user_id", "day")
        .with_columns(pl.col("day").diff().over("user_id").dt.total_days().alias("gap"))
    )
    since = (as_of - pl.col("day")).dt.total_days()
    by_day = days.group_by("user_id").agg(
        first_active_at=pl.col("first_at").min(),
        last_active_at=pl.col("last_at").max(),
        first_day=pl.col("day").min(),
        inactive_days=since.min(),
        active_days_28=(since < 28).sum(),
        active_days_90=(since < 90).sum(),
        active_days_365=(since < 365).sum(),
        returned_on=pl.col("day").filter(pl.col("gap") > 90).max(),
        gap_median_days=pl.col("gap").median(),
        gaps=pl.col("gap").count(),
        p90=pl.col("gap").quantile(0.9, "linear"),
    )
    counts = usage.group_by("user_id", "feature").agg(n=pl.len(), last_at=pl.col("occurred_at").max())
    number = pl.col("feature").str.slice(8).cast(pl.Int64)
    by_feature = counts.group_by("user_id").agg(
        top_feature=pl.col("feature").sort_by(pl.col("n") * 100 + 99 - number).last(),
        last_feature=pl.col("feature").sort_by("last_at").last(),
    )
    features = (
        by_day.join(by_feature, on="user_id")
        .join(pl.scan_parquet(folder / "contacts.parquet"), on="user_id", how="left")
        .with_columns(gap_p90_days=pl.when(pl.col("gaps") >= 5).then("p90"))
        .collect()
    )
    n = features.height
    silent, first = pl.col("inactive_days"), (as_of - pl.col("first_day")).dt.total_days()
    features = features.with_columns(
        recency_quintile=1 + 5 * (silent.rank("min", descending=True).cast(pl.Int64) - 1) // n,
        frequency_quintile=1 + 5 * (pl.col("active_days_365").rank("min").cast(pl.Int64) - 1) // n,
        lifecycle=pl.when(silent >= 30)
        .then(pl.lit("dormant"))
        .when(first < 28)
        .then(pl.lit("new"))
        .when((as_of - pl.col("returned_on")).dt.total_days() < 28)
        .then(pl.lit("resurrected"))
        .when((silent >= 8) | (silent > pl.col("gap_p90_days") + 1e-9).fill_null(value=False))
        .then(pl.lit("slipping"))
        .otherwise(pl.lit("active")),
    )
    members = pl.concat(
        [features.filter(pl.sql_expr(where)).select("user_id", segment=pl.lit(name)) for name, _, where in SEGMENTS]
    )
    before = pl.read_parquet(folder / "before.parquet")
    members.join(before, on=["user_id", "segment"], how="anti").group_by("segment").len()
    before.join(members, on=["user_id", "segment"], how="anti").group_by("segment").len()
    return dict(members.group_by("segment").len().iter_rows())


def with_pandas(folder: Path) -> dict[str, int]:
    """The job in pandas."""
    import numpy as np
    import pandas as pd

    usage = pd.read_parquet(folder / "usage.parquet", columns=["user_id", "occurred_at", "feature"])
    usage["user_id"] = usage["user_id"].astype("category")
    usage["feature"] = usage["feature"].astype("category")
    as_of = pd.Timestamp(AS_OF, tz="UTC")
    usage["day"] = usage["occurred_at"].dt.floor("D")
    counts = usage.groupby(["user_id", "feature"], observed=True)["occurred_at"].agg(["size", "max"]).reset_index()
    counts["rank"] = counts["size"] * 100 + 99 - counts["feature"].astype(str).str[8:].astype(int)
    top = counts.loc[counts.groupby("user_id", observed=True)["rank"].idxmax()].set_index("user_id")["feature"]
    last = counts.loc[counts.groupby("user_id", observed=True)["max"].idxmax()].set_index("user_id")["feature"]
    days = usage[["user_id", "day"]].drop_duplicates().sort_values(["user_id", "day"])
    ends = usage.groupby("user_id", observed=True)["occurred_at"].agg(["min", "max"])
    del usage, counts
    days["gap"] = days.groupby("user_id", observed=True)["day"].diff().dt.days
    days["since"] = (as_of - days["day"]).dt.days
    for window in (28, 90, 365):
        days[f"in_{window}"] = days["since"] < window
    grouped = days.groupby("user_id", observed=True)
    features = grouped.agg(
        first=("since", "max"), inactive_days=("since", "min"), active_days_28=("in_28", "sum"),
        active_days_90=("in_90", "sum"), active_days_365=("in_365", "sum"), gaps=("gap", "count"),
    )  # fmt: skip
    features["gap_median_days"] = grouped["gap"].median()
    features["gap_p90_days"] = grouped["gap"].quantile(0.9).where(features["gaps"] >= 5)
    features["returned"] = days[days["gap"] > 90].groupby("user_id", observed=True)["since"].min()
    features = features.join(ends).assign(top_feature=top.astype(str), last_feature=last.astype(str))
    features = features.join(pd.read_parquet(folder / "contacts.parquet").set_index("user_id"))
    n, silent = len(features), features["inactive_days"]
    features["recency_quintile"] = 1 + 5 * (silent.rank(method="min", ascending=False).astype(int) - 1) // n
    features["frequency_quintile"] = 1 + 5 * (features["active_days_365"].rank(method="min").astype(int) - 1) // n
    features["lifecycle"] = np.select(
        [
            silent >= 30,
            features["first"] < 28,
            features["returned"] < 28,
            (silent >= 8) | (silent > features["gap_p90_days"]),
        ],
        ["dormant", "new", "resurrected", "slipping"],
        "active",
    )
    members = pd.concat(
        [
            features.query(_in_python(where)).reset_index()[["user_id"]].assign(segment=name)
            for name, _, where in SEGMENTS
        ]
    )
    before = pd.read_parquet(folder / "before.parquet")
    both = members.merge(before, on=["user_id", "segment"], how="outer", indicator=True)
    both.groupby(["segment", "_merge"], observed=True).size()
    return {name: int(size) for name, size in members["segment"].value_counts().items()}


def _in_python(where: str) -> str:
    import re

    between = re.sub(r"(\w+) between (\d+) and (\d+)", r"\1 >= \2 and \1 <= \3", where)
    return (
        re.sub(r"(?<![<>!])=(?!=)", "==", between.replace(">=", "\0").replace("<=", "\1"))
        .replace("\0", ">=")
        .replace("\1", "<=")
    )


# --- winback ------------------------------------------------------------------------------------------------


def _open(folder: Path) -> Any:
    from connector.warehouse import Warehouse

    return Warehouse.open(f"duckdb:///{folder / 'warehouse.duckdb'}")


def _mapping(into: str, **fields: str) -> Any:
    from mappings.schema import from_user

    return from_user("product", into, into, fields)


def _store(warehouse: Any, folder: Path, file: str, into: str, **fields: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from connector.model import Page

    mapping = _mapping(into, **fields)
    for number, batch in enumerate(pq.ParquetFile(folder / file).iter_batches(STORED_ROWS)):
        warehouse.store_page(
            Page(pa.Table.from_batches([batch]), {file: number}, origin=file),
            mapping,
            source="product",
            system="product",
            stream=into,
            pulled_at=datetime.combine(AS_OF, datetime.min.time(), UTC),
        )


_USAGE = {"contact_id": "user_id", "occurred_at": "occurred_at", "feature": "feature", "event_id": "event_id"}


def load(folder: Path) -> dict[str, int]:
    """Store contacts and usage page by page, as a pull does."""
    (folder / "warehouse.duckdb").unlink(missing_ok=True)
    with _open(folder) as warehouse:
        _store(warehouse, folder, "contacts.parquet", "contacts", contact_id="user_id", role="role")
        _store(warehouse, folder, "usage.parquet", "usage", **_USAGE)
        warehouse.match_identities(["external_id", "email"])
    return {}


def load_new(folder: Path) -> dict[str, int]:
    """Store the 1 % new events."""
    with _open(folder) as warehouse:
        _store(warehouse, folder, "new.parquet", "usage", **_USAGE)
        warehouse.match_identities(["external_id", "email"])
    return {}


def _segments() -> list[Any]:
    from connector.model import Segment
    from connector.rules.conditions import CheckedSegment, parse

    return [CheckedSegment(Segment(name, where, group), parse(where, where=None)) for name, group, where in SEGMENTS]


def full(folder: Path) -> dict[str, int]:
    """Everybody's state, features, segments and changes, from all uses in the warehouse."""
    with _open(folder) as warehouse:
        warehouse.rebuild()
        counts = dict(warehouse.evaluate(_segments(), AS_OF).counts)
        started = time.perf_counter()
        warehouse.record_evaluation(AS_OF)
        print(f"recording: {time.perf_counter() - started:.2f} s", file=sys.stderr)
    return counts


def incremental(folder: Path) -> dict[str, int]:
    """The same the day after, when 1 % new events have come in."""
    with _open(folder) as warehouse:
        refreshed = warehouse.refresh()
        assert not refreshed.full
        warehouse.evaluate(_segments(), AS_OF + timedelta(days=1))
    return {}


def again(folder: Path) -> dict[str, int]:
    """A run with nothing to do: evaluate, nothing new."""
    with _open(folder) as warehouse:
        warehouse.refresh()
        warehouse.evaluate(_segments(), AS_OF + timedelta(days=1))
    return {}


JOBS: dict[str, Callable[[Path], dict[str, int]]] = {
    "scan": scan,
    "hand": hand,
    "polars": with_polars,
    "pandas": with_pandas,
    "load": load,
    "full": full,
    "load_new": load_new,
    "incremental": incremental,
    "nothing_new": again,
}

SAME_DAY = ("hand", "polars", "pandas", "full")


def measured(job: str, folder: Path) -> dict[str, Any]:
    """Run a job in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--job", job, "--folder", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"job": job, "failed": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_job(job: str, folder: Path) -> None:
    """In the child: do it, and print what it took."""
    started, cpu = time.perf_counter(), time.process_time()
    counts = JOBS[job](folder)
    print(
        json.dumps(
            {
                "job": job,
                "wall": time.perf_counter() - started,
                "cpu": time.process_time() - cpu,
                "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
                "counts": counts,
            }
        )
    )


def main() -> int:
    """Make the data, run the jobs, print the table; 1 when the jobs disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contacts", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, default=None, help="keep the data here instead of a temporary folder")
    parser.add_argument("--only", default="", help="comma-separated jobs")
    parser.add_argument("--job", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        run_job(options.job, options.folder)
        return 0
    with tempfile.TemporaryDirectory(prefix="winback-bench-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "new.parquet").exists():
            generate(folder, options.contacts, options.events)
        if not (folder / "before.parquet").exists():
            measured("hand", folder)
        jobs = options.only.split(",") if options.only else list(JOBS)
        results = {job: measured(job, folder) for job in jobs}
    return report(results, options.contacts, options.events)


def report(results: dict[str, dict[str, Any]], contacts: int, events: int) -> int:
    """Print seconds, ratios and memory; 1 when jobs that do the same disagree, or failed."""
    base = results.get("hand", {}).get("wall")
    whole = results.get("full", {}).get("wall")
    print(f"\n{contacts:,} contacts, {events:,} uses\n")
    print("| job | wall s | CPU s | of hand-written | of our full run | peak GB |")
    print("|---|---|---|---|---|---|")
    for job, result in results.items():
        if "failed" in result:
            print(f"| {job} | failed: {result['failed']} | | | | |")
            continue
        shares = [f"{result['wall'] / one:.2f}" if one else "" for one in (base, whole)]
        print(
            f"| {job} | {result['wall']:.2f} | {result['cpu']:.2f} | {' | '.join(shares)} | {result['peak_gb']:.2f} |"
        )
    counts = {
        job: {k: v for k, v in results[job]["counts"].items() if v}
        for job in SAME_DAY
        if "counts" in results.get(job, {})
    }
    differing = [job for job, found in counts.items() if found != next(iter(counts.values()))]
    if differing:
        print(f"\nsegments differ: {json.dumps({job: counts[job] for job in counts}, indent=1)}")
    return 1 if differing or any("failed" in result for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
