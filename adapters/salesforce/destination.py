"""Writes campaign members, fields, enrollments, opt-outs and tasks: in few calls, with a receipt for every row."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import ceil

from adapters.salesforce import campaigns, enrollments, feedback, opt_outs, properties
from adapters.salesforce.bulk_ingest import CALLS_PER_JOB, BulkIngest
from adapters.salesforce.checks import check_connection
from adapters.salesforce.client import SalesforceClient
from adapters.salesforce.definitions import PERMISSIONS_PER_CALL, FieldDefinitions
from adapters.salesforce.fields import PEOPLE
from adapters.salesforce.lookups import Lookups
from adapters.salesforce.options import SalesforceOptions
from adapters.salesforce.rows import PER_CALL, RowWriter
from adapters.salesforce.write_checks import DEPLOY, check_writing
from connector.contracts import Capabilities, Connection, Work
from connector.model import (
    Callback,
    Ensured,
    FeedbackRow,
    Finding,
    ListRef,
    Outcome,
    PropertyRow,
    PropertySpec,
    Receipt,
)


class SalesforceDestination:
    """Campaigns, the fields of contacts and leads, flows and opt-outs of one org."""

    system = "salesforce"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._options: SalesforceOptions = connection.options
        self._client = SalesforceClient(connection)
        self.folder = self._options.list_folder
        self._bulk = BulkIngest(
            self._client, clock=connection.clock, reporter=connection.reporter, wait=self._options.bulk_wait
        )
        writer = RowWriter(self._client, self._bulk, clock=connection.clock, bulk_from=self._options.bulk_from)
        few = RowWriter(self._client, self._bulk, clock=connection.clock, bulk_from=sys.maxsize)
        lookups = Lookups(self._client)
        self._definitions = FieldDefinitions(self._client, clock=connection.clock, create=self._options.create_fields)
        self._properties = properties.Properties(self._definitions, lookups, writer)
        self._campaigns = campaigns.Campaigns(self._client, lookups, writer, on_exit=self._options.on_exit)
        self._opt_outs = opt_outs.OptOuts(lookups, few)
        self._enrollments = enrollments.Enrollments(self._client, lookups, self._opt_outs, few)
        self._feedback = feedback.Feedback(lookups, few)
        self.capabilities = Capabilities(
            members_per_call=self._options.members_per_call,
            properties_per_call=self._options.properties_per_call,
            members_per_read=campaigns.MEMBERS_PER_READ,
            properties_per_read=properties.PER_READ,
            enrollments_per_batch=enrollments.BATCH,
            opt_outs_per_batch=opt_outs.BATCH,
            feedback_per_batch=feedback.BATCH,
            callbacks_per_call=0,
            properties_come_from="" if self._options.create_fields else DEPLOY,
        )

    def check(self) -> Iterator[Finding]:
        """Login, limits, versions, and whether the integration user may write what we write."""
        if (yield from check_connection(self._client, self._connection)):
            yield from check_writing(self._client, self._definitions)

    # --- lists --------------------------------------------------------------------------------------------------

    def lists(self, names: Sequence[str]) -> Mapping[str, ListRef]:
        """The campaigns among `names` that exist, by name; one call for forty."""
        return self._campaigns.lists(names)

    def ensure_list(self, name: str, *, folder: str) -> Ensured:
        """Find the campaign, or make it under the parent campaign; see `campaigns.py`."""
        return self._campaigns.ensure(name, folder=folder)

    def remove_list(self, list_id: str) -> None:
        """Delete a campaign; Salesforce can restore it for 15 days. No error when it is gone."""
        self._campaigns.remove(list_id)

    def members(self, list_id: str) -> Iterator[Sequence[str]]:
        """Ids of the contacts and leads on a list, in pages of 2,000."""
        self._settle()
        yield from self._campaigns.members(list_id)

    def change_members(self, list_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Sequence[Receipt]:
        """Make people members of a campaign, or set them to Exited; see `campaigns.py`.

        Receipts come for `add` first, then for `remove`. Somebody Salesforce does not know is MISSING.

        Raises:
            OutcomeUnknown: nobody's change was confirmed; read the members before repeating.
            RejectedError: the campaign is not there.
        """
        if not add and not remove:
            return []
        self._settle()
        return self._campaigns.change(list_id, add=add, remove=remove)

    # --- properties ---------------------------------------------------------------------------------------------

    def existing_properties(self, names: Sequence[str | PropertySpec]) -> Sequence[str]:
        """Those of `names` that contacts and leads have as fields; one call for all."""
        return self._definitions.existing(names)

    def ensure_properties(self, specs: Sequence[PropertySpec]) -> Sequence[Ensured]:
        """Find the fields, or make them where `create_fields` is set; see `definitions.py`."""
        return self._definitions.ensure(specs)

    def remove_property(self, name: str) -> None:
        """Delete the fields of a property we made; no error when they are gone."""
        self._definitions.remove(name)

    def read_properties(self, row_ids: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, str | None]]:
        """Present values by id; people who do not exist, or were merged away or converted, are left out."""
        if not row_ids:
            return {}
        self._settle()
        return self._properties.read(row_ids, names)

    def set_properties(self, rows: Sequence[PropertyRow]) -> Sequence[Receipt]:
        """Write fields by id; see `properties.py` and `rows.py`."""
        if not rows:
            return []
        self._settle()
        return self._properties.write(rows)

    def _settle(self) -> None:
        """Let no Bulk job of an earlier process overtake what is written or read now."""
        if self._uses_bulk:
            self._bulk.settle()

    @property
    def _uses_bulk(self) -> bool:
        """Whether a batch can be large enough for a job."""
        able = self.capabilities
        return max(able.members_per_call, able.properties_per_call) >= self._options.bulk_from

    # --- flows and opt-outs -------------------------------------------------------------------------------------

    def check_workflow(self, workflow: str) -> Finding:
        """Whether there is an active flow of this API name."""
        return self._enrollments.check(workflow)

    def enroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Put people into a flow; see `enrollments.py`."""
        return self._enrollments.enroll(workflow, row_ids)

    def unenroll(self, workflow: str, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Take people out of a flow."""
        return self._enrollments.unenroll(workflow, row_ids)

    def enrolled(
        self, workflow: str, row_ids: Sequence[str], *, since: datetime | None = None, still: bool = False
    ) -> Mapping[str, bool]:
        """Whether people are in a flow, or have been, by the field that says so."""
        return self._enrollments.enrolled(workflow, row_ids, since=since, still=still)

    def opt_out(self, row_ids: Sequence[str]) -> Sequence[Receipt]:
        """Tick Email Opt Out; see `opt_outs.py`."""
        return self._opt_outs.write(row_ids)

    def opted_out(self, row_ids: Sequence[str]) -> Mapping[str, bool]:
        """Whether people are opted out, by their own box or their privacy record."""
        return self._opt_outs.read(row_ids)

    # --- what people told us ------------------------------------------------------------------------------------

    def record_feedback(self, rows: Sequence[FeedbackRow]) -> Sequence[Receipt]:
        """Write tasks on people's records; see `feedback.py`."""
        return self._feedback.record(rows)

    def recorded_feedback(self, rows: Sequence[FeedbackRow]) -> Mapping[str, bool]:
        """Whether each task is there."""
        return self._feedback.recorded(rows)

    def complete(self, waiting: Sequence[Callback]) -> Sequence[Receipt]:
        """No flow ever waits for us: a call-out is answered while it lasts."""
        return [Receipt(one.callback_id, Outcome.UNCHANGED) for one in waiting]

    # --- forecast -----------------------------------------------------------------------------------------------

    def forecast(self, work: Work) -> int:
        """Calls that a new process needs to apply this work if nothing goes wrong.

        Once: a look for unfinished Bulk jobs, at the fields, and at the campaigns that are there already. A new list is
        looked for and made. Rows go 200 to a call, or by a job of four calls. What people already have on a list, and
        who leaves one, takes a further call for several thousand of them, which is not known beforehand.
        """
        rows = bool(work.member_batches or work.property_batches)
        calls = int(rows and self._uses_bulk)
        calls += ceil(work.lists_to_look_up / campaigns.NAMES_PER_QUERY)
        calls += campaigns.CALLS_PER_NEW_LIST * work.lists_to_create
        calls += bool(work.member_batches and not work.lists_to_create)
        calls += self._calls_for(work.member_changes, work.member_batches, self.capabilities.members_per_call)
        calls += bool(work.properties_to_ensure or work.property_batches)
        calls += self._calls_for(work.property_rows, work.property_batches, self.capabilities.properties_per_call)
        if work.properties_to_ensure and self._options.create_fields:
            fields = len(PEOPLE) * work.properties_to_ensure
            calls += fields + ceil(fields / PERMISSIONS_PER_CALL) + 2
        if work.enrollments:
            workflows = max(1, work.workflows)
            batches = max(ceil(work.enrollments / enrollments.BATCH), workflows)
            calls += enrollments.CALLS_PER_BATCH * batches + enrollments.CALLS_PER_WORKFLOW * workflows
        calls += opt_outs.CALLS_PER_BATCH * ceil(work.opt_outs / opt_outs.BATCH)
        return calls + feedback.CALLS_PER_BATCH * ceil(work.feedback / feedback.BATCH)

    def _calls_for(self, rows: int, batches: int, size: int) -> int:
        """Calls for so many rows in so many batches of at most `size`, each of them begun anew."""
        if not batches:
            return 0
        if batches == ceil(rows / size):
            full, rest = divmod(rows, size)
            return full * self._calls_for_one(size) + (self._calls_for_one(rest) if rest else 0)
        # Several lists: how the rows are spread over them is not told.
        return batches * self._calls_for_one(max(1, ceil(rows / batches)))

    def _calls_for_one(self, rows: int) -> int:
        return CALLS_PER_JOB if rows >= self._options.bulk_from else ceil(rows / PER_CALL)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()
