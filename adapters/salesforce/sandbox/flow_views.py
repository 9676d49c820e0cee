"""`FlowDefinitionView`: the flows as records, which is how a query finds those that a record triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from adapters.salesforce.ids import id_with_prefix
from adapters.salesforce.sandbox.fields import sobject
from adapters.salesforce.sandbox.making import pick, text, yes_no
from adapters.salesforce.sandbox.records import Row

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.interviews import Flow
    from adapters.salesforce.sandbox.state import State

VIEW: Final = "FlowDefinitionView"
PREFIX: Final = "3dd"
AUTOLAUNCHED, AFTER_SAVE = "AutoLaunchedFlow", "RecordAfterSave"


class FlowViews:
    """Keeps one record a flow."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.install()

    def install(self) -> None:
        """Make the kind of record."""
        self._state.add_kind(
            sobject(
                VIEW,
                PREFIX,
                "Flow Definition",
                (
                    text("DurableId"),
                    text("ApiName"),
                    text("Label"),
                    text("Description"),
                    pick("ProcessType", AUTOLAUNCHED, "Flow"),
                    pick("TriggerType", AFTER_SAVE, "RecordBeforeSave", "Scheduled", "PlatformEvent"),
                    pick("RecordTriggerType", "Create", "Update", "CreateAndUpdate", "Delete"),
                    text("TriggerObjectOrEventLabel"),
                    text("TriggerObjectOrEventId"),
                    text("ActiveVersionId"),
                    text("LatestVersionId"),
                    yes_no("IsActive"),
                ),
                createable=False,
                updateable=False,
                deletable=False,
            )
        )

    def show(self, flow: Flow) -> None:
        """Put a flow's record in, or its new version."""
        values = {
            "DurableId": flow.id,
            "ApiName": flow.api_name,
            "Label": flow.label,
            "ProcessType": AUTOLAUNCHED,
            "LatestVersionId": flow.version_id,
            "IsActive": flow.active,
        }
        if flow.active:
            values["ActiveVersionId"] = flow.version_id
        if flow.start is not None:
            kind = self._state.kind(flow.start.sobject)
            values |= {
                "TriggerType": AFTER_SAVE,
                "RecordTriggerType": flow.start.when,
                "TriggerObjectOrEventLabel": kind.label if kind else flow.start.sobject,
                "TriggerObjectOrEventId": flow.start.sobject,
            }
        now_ms, user = self._state.clock.now_ms(), self._state.admin_user
        row = Row(self._id(flow), values, now_ms, now_ms, now_ms, user, user)
        self._state.put(row)

    def hide(self, flow: Flow) -> None:
        """Take a deleted flow's record out."""
        self._state.stores[VIEW].remove(self._id(flow))

    @staticmethod
    def _id(flow: Flow) -> str:
        return id_with_prefix(PREFIX, flow.number)
