"""What we were told, what we decided and what we did: small and transactional."""

from connector.journal.audit import AuditRow, BrokenRow
from connector.journal.batch import Batch, BatchKind, BatchState
from connector.journal.cursors import SavedCursor
from connector.journal.decisions import Decision
from connector.journal.journal import Journal
from connector.journal.locks import Holder, Lock
from connector.journal.plans import SavedPlan
from connector.journal.rejections import Rejection
from connector.journal.runs import Run, RunState

__all__ = [
    "AuditRow",
    "Batch",
    "BatchKind",
    "BatchState",
    "BrokenRow",
    "Decision",
    "Holder",
    "Journal",
    "Lock",
    "Rejection",
    "Run",
    "RunState",
    "SavedCursor",
    "SavedPlan",
]
