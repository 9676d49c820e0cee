"""People matched and features up to date, so that the warehouse can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.crms import crms_of

if TYPE_CHECKING:
    from connector.warehouse import IdentityReport, Warehouse
    from connector.workspace import Workspace


def match_people(workspace: Workspace) -> IdentityReport:
    """Find each product user's contact by the playbook's rules, and people whom several CRMs know; never guessed."""
    match, crms = workspace.playbook.identity.match, crms_of(workspace)
    if crms is None:
        return workspace.warehouse.match_identities(match)
    return workspace.warehouse.match_identities(match, crms)


def ready_warehouse(workspace: Workspace) -> Warehouse:
    """The warehouse with people matched and features up to date; cheap when nothing new came in."""
    ready_people(workspace)
    return workspace.warehouse


def ready_people(workspace: Workspace) -> IdentityReport:
    """Match people, then bring features up to date; says who is whom."""
    report = match_people(workspace)
    workspace.warehouse.refresh(counts=counts_sql(workspace))
    return report


def counts_sql(workspace: Workspace) -> str | None:
    """The playbook's `activity.counts` as checked SQL; None when every use counts."""
    from connector.rules.conditions import parse_usage

    counts = workspace.playbook.activity.counts
    return parse_usage(counts).sql if counts else None
