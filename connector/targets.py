"""What the books call what was written about single records: lists that are no lists of the CRM."""

from __future__ import annotations

OPT_OUT_LIST = "opt-out"
"""The name under which a destination's held members are those whose opt-out we wrote there."""

_WORKFLOW = "workflow:"


def workflow_list(workflow: str) -> str:
    """The name under which a destination's held members are those we enrolled in this workflow."""
    return f"{_WORKFLOW}{workflow}"


def is_workflow(target: str) -> bool:
    """Whether a target in the books is a workflow of the CRM."""
    return target.startswith(_WORKFLOW)


def workflow_of(target: str) -> str:
    """The workflow whose members go by this name; "" if it names something else."""
    return target.removeprefix(_WORKFLOW) if is_workflow(target) else ""


def is_list(target: str) -> bool:
    """Whether a target in the books is a list of the CRM."""
    return target != OPT_OUT_LIST and not is_workflow(target)


_LIVE = "live-"


def live_plan(content: str) -> str:
    """The id of a small plan that the relay carries out between runs."""
    return f"{_LIVE}{content}"


def is_live(plan_id: str) -> bool:
    """Whether what belongs to this plan was written between runs.

    It takes people off and clears what was written about them, so that a plan made before says nothing about it that
    would be wrong: such a plan stays valid.
    """
    return plan_id.startswith(_LIVE)
