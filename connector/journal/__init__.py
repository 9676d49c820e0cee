"""What we were told, what we decided and what we did: small and transactional."""

from connector.journal.audit import AuditRow, BrokenRow
from connector.journal.batch import Batch, BatchKind, BatchState
from connector.journal.coupons import Coupon, CouponState
from connector.journal.cursors import SavedCursor
from connector.journal.decisions import Decision
from connector.journal.episodes import ProgramCounts, StepTaken
from connector.journal.feedback import Answer, Feedback
from connector.journal.journal import Journal
from connector.journal.locks import Holder, Lock
from connector.journal.plans import SavedPlan
from connector.journal.rejections import Rejection
from connector.journal.runs import Run, RunState
from connector.journal.taking_back import Undone
from connector.targets import OPT_OUT_LIST, workflow_list

__all__ = [
    "OPT_OUT_LIST",
    "Answer",
    "AuditRow",
    "Batch",
    "BatchKind",
    "BatchState",
    "BrokenRow",
    "Coupon",
    "CouponState",
    "Decision",
    "Feedback",
    "Holder",
    "Journal",
    "Lock",
    "ProgramCounts",
    "Rejection",
    "Run",
    "RunState",
    "SavedCursor",
    "SavedPlan",
    "StepTaken",
    "Undone",
    "workflow_list",
]
