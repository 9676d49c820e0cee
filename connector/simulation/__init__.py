"""The programs run forward, day by day, on copies of the stores and a look-alike of the CRM."""

from __future__ import annotations

from connector.simulation.forward import Day, Simulated, simulate

__all__ = ["Day", "Simulated", "simulate"]
