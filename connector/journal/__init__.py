"""What we were told, what we decided and what we did: small and transactional."""

from connector.journal.asks import Ask
from connector.journal.audit import AuditRow, BrokenRow
from connector.journal.batch import Batch, BatchKind, BatchState
from connector.journal.coupons import Coupon, CouponState
from connector.journal.cursors import SavedCursor
from connector.journal.decisions import Decision
from connector.journal.episodes import ProgramCounts, StepTaken
from connector.journal.facts import Fact, FactRow
from connector.journal.feedback import Answer, Feedback
from connector.journal.inbox import InboxRow, Kept
from connector.journal.intake import Intake
from connector.journal.journal import Journal
from connector.journal.known import known_key
from connector.journal.locks import Holder, Lock
from connector.journal.outbox import Intent, OutboxRow
from connector.journal.plans import SavedPlan
from connector.journal.rejections import Rejection
from connector.journal.replies import Stored
from connector.journal.runs import Run, RunState
from connector.journal.settlement import Settlement
from connector.journal.stops import Stop
from connector.journal.taking_back import Undone
from connector.targets import OPT_OUT_LIST, workflow_list

__all__ = [
    "OPT_OUT_LIST",
    "Answer",
    "Ask",
    "AuditRow",
    "Batch",
    "BatchKind",
    "BatchState",
    "BrokenRow",
    "Coupon",
    "CouponState",
    "Decision",
    "Fact",
    "FactRow",
    "Feedback",
    "Holder",
    "InboxRow",
    "Intake",
    "Intent",
    "Journal",
    "Kept",
    "Lock",
    "OutboxRow",
    "ProgramCounts",
    "Rejection",
    "Run",
    "RunState",
    "SavedCursor",
    "SavedPlan",
    "Settlement",
    "StepTaken",
    "Stop",
    "Stored",
    "Undone",
    "known_key",
    "workflow_list",
]
