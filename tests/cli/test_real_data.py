"""The command line on real activity data gives the known right answers, with ids printed as they came."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared"
DATA, EXPECTED = SHARED / "data" / "devplatform", SHARED / "data" / "expected" / "devplatform.json"
DATES = ("2023-03-31", "2024-06-30", "2025-09-30", "2026-09-30")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the folder ../shared/data with the real activity data is absent"
)

USAGE = """\
      usage:
        path: {data}/events.{format}
        mapping: {{contact_id: contact_id, occurred_at: occurred_at, feature: feature, events: items,
                  event_id: event_id, arrived_at: ingested_at}}
"""
CONTACTS = """\
      contacts:
        path: {data}/contacts.csv.gz
        mapping: {{contact_id: contact_id, account_id: account_id, created_at: created_date}}
"""
PLAYBOOK = """\
version: 1
account: devplatform
sources:
  product:
    adapter: files
    streams:
{streams}
segments:
  - {{name: active, group: dormancy, where: "inactive_days <= 29"}}
  - {{name: dormant_30, group: dormancy, where: "inactive_days between 30 and 59"}}
  - {{name: dormant_60, group: dormancy, where: "inactive_days between 60 and 89"}}
  - {{name: dormant_90, group: dormancy, where: "inactive_days between 90 and 179"}}
  - {{name: dormant_180, group: dormancy, where: "inactive_days >= 180"}}
"""


@pytest.fixture(scope="module")
def expected():
    return json.loads(EXPECTED.read_text())


@pytest.fixture(params=["usage only, Parquet", "usage and contacts, CSV"])
def platform(request, acme):
    streams = USAGE.format(data=DATA, format="parquet")
    if "CSV" in request.param:
        streams = USAGE.format(data=DATA, format="csv.gz") + CONTACTS.format(data=DATA)
    acme.config.write_text(PLAYBOOK.format(streams=streams))
    assert acme.run("pull", now=None).code == 0
    return acme


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_segments_growth_and_thresholds_are_the_known_ones(platform, expected):
    by_date = {entry["as_of"]: entry for entry in expected["segments"]}
    for as_of in DATES:
        document = platform.run("segments", "--json", "--as-of", as_of, now=None).json
        assert {name: s["count"] for name, s in document["segments"].items()} == by_date[as_of]["counts"]
        members = rows_of(platform.run("segments", "--members", "--csv", "--as-of", as_of, now=None).out)
        lines = [",".join(row.values()) for row in members if row["inactive_days"]]
        assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == by_date[as_of]["digest"]
    end = expected["data_end"]
    months = rows_of(platform.run("growth", "--by", "month", "--as-of", end, "--csv", now=None).out)
    assert months == [{name: str(entry[name]) for name in months[0]} for entry in expected["growth_month"]]
    thresholds = platform.run("thresholds", "--json", "--as-of", end, now=None).json
    known = expected["return_curve"]
    assert thresholds["thresholds"] == {
        level: known["thresholds_90"][level]["first"] for level in ("0.5", "0.3", "0.2", "0.1", "0.05")
    }
    curve = {str(point["inactive_days"]): point["p_return"] for point in thresholds["curve"]}
    assert all(abs(curve[day] - value) < 1e-6 for day, value in known["p_return"]["90"].items())
