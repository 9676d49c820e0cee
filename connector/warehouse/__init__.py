"""The neutral tables in DuckDB: what the sources said, and what follows from it per contact."""

from __future__ import annotations

from connector.warehouse.answers import (
    Evaluation,
    IdentityReport,
    Refreshed,
    ReturnCurve,
    SourceStat,
    Stored,
)
from connector.warehouse.warehouse import Warehouse

__all__ = ["Evaluation", "IdentityReport", "Refreshed", "ReturnCurve", "SourceStat", "Stored", "Warehouse"]
