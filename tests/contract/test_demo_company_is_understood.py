"""The made-up company read back through the real path: sandbox, files, identity, warehouse; against its own truth."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

import duckdb
import pytest
import requests

from connector.clock import FixedClock
from connector.contracts import SandboxOptions
from connector.demo.company import Company, generate
from connector.demo.playbook import playbook_text, whats_new_text
from connector.demo.population import Link
from connector.demo.product import NOT_USAGE
from connector.pipeline.pulling import pull_sources
from connector.pipeline.segmenting import evaluate
from connector.registry import installed_adapters
from connector.workspace import Workspace

ENDS = date(2026, 11, 21)
WEEK_LATER = date(2026, 11, 28)


class Quiet:
    def line(self, text):
        pass

    def progress(self, task, done, total=None):
        pass


@pytest.fixture(scope="module")
def company() -> Company:
    return generate(ends=ENDS, contacts=300, history_days=400)


@pytest.fixture(scope="module")
def crm():
    running = installed_adapters().require("hubspot").sandbox(SandboxOptions(limits=False))
    at_once = {"export_seconds": 0, "export_polls": 1}
    requests.post(f"{running.base_url}/_sandbox/behaviour", json=at_once, timeout=10).raise_for_status()
    yield running
    running.stop()


def set_clock(crm, day: date) -> None:
    requests.post(f"{crm.base_url}/_sandbox/clock", json={"set": f"{day}T22:00:00Z"}, timeout=10).raise_for_status()


def truth(company: Company) -> dict[str, tuple[int, int]]:
    """Days since the last active day and number of active days, for each contact the product knows."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    connection.register("deliveries", company.events.table())
    connection.execute("CREATE TABLE who (user_id VARCHAR, contact_id VARCHAR)")
    known = [[u.user_id, u.contact_id] for u in company.users if u.contact_id]
    connection.executemany("INSERT INTO who VALUES (?, ?)", known)
    rows = connection.execute(
        f"SELECT contact_id, DATE '{company.ends}' - max(ts::DATE), "
        f"count(DISTINCT ts::DATE) FILTER (ts::DATE > DATE '{company.ends}' - 365) "
        f"FROM deliveries JOIN who USING (user_id) WHERE event <> '{NOT_USAGE}' AND ts::DATE <= DATE '{company.ends}' GROUP BY 1"
    ).fetchall()
    connection.close()
    return {contact: (inactive, active) for contact, inactive, active in rows}


def found(workspace: Workspace, day: date) -> dict[str, tuple[int, int] | None]:
    """The same from our warehouse; None for contacts that never used the product."""
    evaluate(workspace, day)
    names, batches = workspace.warehouse.feature_batches(day, columns=["inactive_days", "active_days_365"])
    assert names == ["contact_id", "inactive_days", "active_days_365"]
    return {
        contact: None if inactive is None else (inactive, active)
        for batch in batches
        for contact, inactive, active in batch
    }


def told(company: Company) -> dict[str, tuple[int, int] | None]:
    """What should be found: every contact, with its truth."""
    known = truth(company)
    return {contact.contact_id: known.get(contact.contact_id) for contact in company.contacts}


def test_everybody_is_who_they_are_and_silent_as_long_as_they_are(company, crm, tmp_path):
    config = tmp_path / "winback.yaml"
    config.write_text(
        playbook_text(base_url=crm.base_url, auth={"token": "${HUBSPOT_TOKEN}"}, file_format="csv"), encoding="utf-8"
    )
    environ = {"HUBSPOT_TOKEN": crm.auth["token"]}
    company.write_usage(tmp_path / "data", file_format="csv")
    company.write_payments(tmp_path / "data", file_format="csv")
    (tmp_path / "whats_new.yaml").write_text(whats_new_text("2026-09-01", "2026-10-02"))
    set_clock(crm, ENDS)
    crm.seed([*company.contacts, *company.merged], company.accounts)

    clock = FixedClock(datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC))
    with Workspace.load(config, clock=clock, reporter=Quiet(), environ=environ) as workspace:
        reports = {(r.source, r.stream): r for r in pull_sources(workspace)}
        assert reports["crm", "contacts"].new == len(company.contacts)
        assert reports["crm", "companies"].new == len(company.accounts)
        assert reports["product", "usage"].rows == len(company.events)
        assert reports["product", "transactions"].new == company.events.payments().num_rows
        assert sum(r.rejects for r in reports.values()) == 0
        assert found(workspace, ENDS) == told(company)

    set_clock(crm, WEEK_LATER)
    crm.seed(company.changed_contacts(7), ())
    company.write_more_days(tmp_path / "data", 7, file_format="csv")
    later = company.after(7)
    clock = FixedClock(datetime(2026, 11, 28, 23, 59, 59, tzinfo=UTC))
    with Workspace.load(config, clock=clock, reporter=Quiet(), environ=environ) as workspace:
        reports = {(r.source, r.stream): r for r in pull_sources(workspace)}
        assert reports["product", "usage"].rows == len(company.more_days(7))
        assert found(workspace, WEEK_LATER) == told(later)


def test_every_rule_of_identity_is_needed(company):
    links = Counter(user.link for user in company.users)
    assert all(links[link] > 0 for link in Link)
    assert company.merged
