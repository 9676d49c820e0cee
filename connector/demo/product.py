"""The made-up product: its features and the roles of the people who use it, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOT_USAGE = "status_page"
"""Looked at by everybody when something is down, also by people who left: the playbook does not count it."""

LAUNCH_RAMP_DAYS = 60.0
"""How long a new feature takes to find its users, and an old one to lose them."""


@dataclass(frozen=True, slots=True)
class Role:
    """What someone does at work. `pace` multiplies how often they come, `share` is their part of the people."""

    name: str
    share: float
    pace: float


ROLES: tuple[Role, ...] = (
    Role("developer", 42, 1.35),
    Role("team_lead", 13, 1.10),
    Role("cto", 5, 0.55),
    Role("product_manager", 13, 0.85),
    Role("designer", 9, 0.75),
    Role("ops", 12, 1.00),
    Role("analyst", 6, 0.70),
)


@dataclass(frozen=True, slots=True)
class Feature:
    """A part of the product. `weights` are its pull on each of ROLES; `drift` is the e-folds it grows by in a year.

    `launch` and `retire` are days counted from the first day of usage; None is "always" and "never".
    """

    name: str
    weights: tuple[float, ...]
    drift: float = 0.0
    launch: int | None = None
    retire: int | None = None


FEATURES: tuple[Feature, ...] = (
    Feature("editor", (30, 14, 3, 4, 10, 6, 4)),
    Feature("review", (18, 22, 4, 6, 12, 4, 1), drift=0.1),
    Feature("deploy", (14, 8, 2, 1, 0.5, 26, 0.5), drift=0.15),
    Feature("api", (12, 4, 1, 0.5, 0.2, 14, 9), drift=0.35),
    Feature("dashboard", (4, 14, 30, 18, 4, 12, 22)),
    Feature("reports", (1, 9, 24, 16, 2, 5, 30), drift=-0.1),
    Feature("comments", (7, 12, 6, 22, 26, 4, 4)),
    Feature("prototypes", (1, 2, 1, 8, 30, 0.2, 0.5), drift=-0.2),
    Feature("automation", (6, 5, 2, 3, 1, 16, 8), drift=0.4),
    Feature("integrations", (3, 3, 2, 3, 2, 8, 6)),
    Feature("search", (5, 4, 3, 6, 6, 4, 8)),
    Feature("admin", (0.5, 4, 12, 2, 0.5, 6, 1)),
    Feature("billing", (0.1, 1, 8, 1, 0.1, 0.5, 0.5)),
    Feature("assistant", (14, 9, 6, 10, 8, 8, 9), drift=0.5, launch=420),
    Feature("classic_import", (4, 2, 0.5, 2, 1, 4, 9), drift=-0.6, retire=520),
    Feature(NOT_USAGE, (0, 0, 0, 0, 0, 0, 0)),
)

FEATURE_NAMES: tuple[str, ...] = tuple(f.name for f in FEATURES)
NOT_USAGE_INDEX = FEATURE_NAMES.index(NOT_USAGE)

_WEIGHTS = np.array([f.weights for f in FEATURES]).T
_DRIFT = np.array([f.drift for f in FEATURES])


def _presence(day: int) -> NDArray[np.float64]:
    """For each feature how much of it is there on this day: 0 before launch and after retirement, 1 in between."""
    there = np.ones(len(FEATURES))
    for place, feature in enumerate(FEATURES):
        if feature.launch is not None:
            there[place] *= min(max((day - feature.launch) / LAUNCH_RAMP_DAYS, 0.0), 1.0)
        if feature.retire is not None:
            there[place] *= min(max((feature.retire - day) / LAUNCH_RAMP_DAYS, 0.0), 1.0)
    return there


def feature_odds(day: int) -> NDArray[np.float64]:
    """For each role (row) the cumulated shares of the features (columns) on this day; the last column is 1."""
    weights = _WEIGHTS * np.exp(_DRIFT * day / 365.0) * _presence(day)
    cumulated = np.cumsum(weights, axis=1)
    return np.asarray(cumulated / cumulated[:, -1:])


def available(day: int) -> NDArray[np.bool_]:
    """Which features can be used at all on this day."""
    return _presence(day) > 0
