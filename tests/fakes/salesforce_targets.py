"""The Salesforce sandbox as the destination's suites want it: an org to write to, by calls of 200 or by Bulk jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapters.lookalike.faults import Fault
from adapters.salesforce import ADAPTER
from adapters.salesforce.bulk_ingest import CALLS_PER_JOB
from adapters.salesforce.destination import SalesforceDestination
from adapters.salesforce.fields import ENROLLMENT, PEOPLE, property_name
from adapters.salesforce.rows import PER_CALL
from adapters.salesforce.sandbox import package
from adapters.salesforce.sandbox.flow_steps import Condition, SendMail, Start, Wait
from adapters.salesforce.sandbox.rules import Poison
from tests.fakes.salesforce_worlds import SalesforceWorld, contact, people

MONTH_SECONDS = 30 * 86_400
COLLECTIONS = r"/composite/sobjects"


class SalesforceTarget(SalesforceWorld):
    """An org to write to. Everybody it hands out may be mailed.

    deployed: Whether our fields are there; without them they are made as they are asked for.
    in_bulk: Whether even a single row goes by a job, as thousands do otherwise.
    """

    reads = False

    def __init__(self, work_dir: Path, *, deployed: bool = True, in_bulk: bool = False, **settings: Any) -> None:
        super().__init__(work_dir, **{"create_fields": not deployed, **settings})
        self.in_bulk = in_bulk
        if not deployed:
            self.forget_fields()

    def forget_fields(self) -> None:
        """Take our fields on people away again, as if the package had been deployed without them."""
        with self.state.lock:
            for kind in PEOPLE:
                for field in package.person_fields():
                    if field.name != ENROLLMENT:
                        self.state.drop_field(kind, field.name)

    def connection(self, secret: str | None = None, **overrides: Any):
        made = super().connection(secret, **overrides)
        return replace(made, options=made.options.model_copy(update={"bulk_from": 1})) if self.in_bulk else made

    def destination(self, **overrides: Any) -> SalesforceDestination:
        made = ADAPTER.destination(self.connection(**overrides))
        assert isinstance(made, SalesforceDestination)
        return made

    # --- who is there -------------------------------------------------------------------------------------------

    def ids(self, count: int) -> Sequence[str]:
        while len(found := self.mailable()) < count:
            self.sandbox.seed(people(count - len(found) + 20, first=1_000_000 + self.state.stores["Contact"].live), [])
        return found[:count]

    def mailable(self) -> Sequence[str]:
        rows = self.state.stores["Contact"]
        return sorted(row.id for row in rows if not row.values.get("HasOptedOutOfEmail"))

    def unknown_id(self) -> str:
        return contact(987_654_321)

    def stored(self, row_id: str) -> Mapping[str, str | None]:
        return {property_name(name): value for name, value in self.state.row(row_id).values.items()}

    def unsubscribed(self, row_id: str) -> bool:
        return bool(self.state.row(row_id).values.get("HasOptedOutOfEmail"))

    def member(self, campaign_id: str, row_id: str):
        """The membership of somebody in a campaign; None when there is none."""
        rows = self.state.stores["CampaignMember"].matching("CampaignId", campaign_id)
        of_person = (row for row in rows if row_id in {row.values.get("ContactId"), row.values.get("LeadId")})
        return next((row for row in of_person if not row.is_deleted), None)

    def status(self, campaign_id: str, row_id: str) -> str | None:
        """The status of somebody in a campaign."""
        held = self.member(campaign_id, row_id)
        return None if held is None else held.values["Status"]

    def notes(self, row_id: str, *, tasks: bool = False) -> Sequence[str]:
        wanted = "Not Started" if tasks else "Completed"
        held = (row.values for row in self.state.stores["Task"].matching("WhoId", row_id))
        return [f"{one['Subject']}\n{one.get('Description') or ''}" for one in held if one["Status"] == wanted]

    # --- what goes wrong ----------------------------------------------------------------------------------------

    def poison(self, row_ids: Sequence[str]) -> None:
        self.state.rules.poison.update({row_id: Poison("Rule 7 says no", on="record") for row_id in row_ids})

    def swallow_next_write(self) -> None:
        for method, path in {"POST": COLLECTIONS, "PATCH": COLLECTIONS, "PUT": "/batches$"}.items():
            self.sandbox.faults.add(Fault("no_op", method=method, path=path, times=1))

    def lose_next_answer(self) -> None:
        paths = {
            "POST": rf"{COLLECTIONS}|/composite$|/jobs/ingest$",
            "PUT": "/batches",
            "PATCH": f"{COLLECTIONS}|/jobs/ingest/",
        }
        for method, path in paths.items():
            self.sandbox.faults.add(Fault("reset", method=method, path=path, when="after", times=1))

    # --- what it costs ------------------------------------------------------------------------------------------

    def calls_of_a_batch(self, rows: int) -> int:
        by_job = self.in_bulk or rows >= self.options.get("bulk_from", 2_000)
        return CALLS_PER_JOB if by_job else -(-rows // PER_CALL)

    # --- flows --------------------------------------------------------------------------------------------------

    def workflow(self) -> str:
        return self.make_flow("Winback")

    def make_flow(self, api_name: str, **settings: Any) -> str:
        """A flow that listens to our field and keeps people for a month."""
        if api_name not in self.sandbox.flows.flows:
            start = Start("Contact", conditions=(Condition(ENROLLMENT, "EqualTo", api_name),))
            with self.state.lock:
                self.sandbox.flows.save(api_name, [Wait(MONTH_SECONDS), SendMail("Come back")], start=start, **settings)
        return api_name

    def started(self, workflow: str, row_id: str) -> int:
        return sum(one.person_id == row_id for one in self.sandbox.flows.interviews[workflow])

    def inside(self, workflow: str, row_id: str) -> bool:
        return any(one.person_id == row_id for one in self.sandbox.flows.active(workflow))
