"""A playbook that only reads: everything can be looked at, and nothing is said to be on a list."""

from __future__ import annotations

import pytest

PLAYBOOK = """\
version: 1
account: acme
sources:
  hub:
    adapter: files
    streams:
      usage: {path: data/usage.csv, mapping: {contact_id: user_id, occurred_at: ts, feature: event}}
segments:
  - {name: dormant_30, where: "inactive_days >= 30"}
"""


@pytest.fixture
def reading(acme):
    acme.config.write_text(PLAYBOOK)
    assert acme.run("pull").code == 0
    return acme


def test_explain_names_the_segment_and_no_list(reading):
    done = reading.run("explain", "u31")
    assert "in the segment dormant_30" in done.out
    assert "list" not in done.out


def test_a_run_is_refused_before_anything_is_read(reading):
    (reading.folder / "data" / "usage.csv").unlink()
    done = reading.run("run")
    assert done.code == 2
    assert "no destination" in done.err
    assert "no longer there" not in done.err
    assert reading.run("status", "--json").json["runs"] == []
