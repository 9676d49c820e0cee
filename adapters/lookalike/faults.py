"""Faults on purpose: what a bad day with the vendor looks like, by chance from a seed or at an exact call."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from connector.errors import SettingError

KINDS = {
    "timeout": "no answer for `seconds`, then the connection is cut",
    "reset": "the connection is cut at once",
    "error": "an answer with `status` (5xx, 423, 477, …)",
    "rate_limit": "a 429 of `policy`, although there is room",
    "slow": "the answer comes after `seconds`",
    "duplicate": "the request is carried out twice, as a repeating proxy would; the second answer is sent",
    "no_op": "2xx with nothing in it, and nothing done",
    "short_page": "fewer rows than asked for, and still a cursor",
}
CUTTING = frozenset({"timeout", "reset"})


@dataclass(slots=True)
class Fault:
    """One fault. Without `calls` it strikes by `probability`; with them at exactly those matching calls (from 1).

    path: A regular expression searched in the request's path; empty matches every path.
    when: `before` the work is done, or `after` it (the work happened, the answer is lost).
    times: How often it may strike in all; None for no end.
    """

    kind: str
    path: str = ""
    method: str | None = None
    when: str = "before"
    probability: float = 1.0
    calls: tuple[int, ...] = ()
    times: int | None = None
    seconds: float = 40.0
    status: int = 500
    policy: str = "TEN_SECONDLY_ROLLING"
    seen: int = 0
    struck: int = 0
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingError(f"no fault kind '{self.kind}'", hint=f"known: {', '.join(KINDS)}")
        if self.when not in {"before", "after"}:
            raise SettingError(f"fault `when` is 'before' or 'after', not '{self.when}'")
        self.calls = tuple(self.calls)
        self._pattern = re.compile(self.path)

    def matches(self, method: str, path: str) -> bool:
        """Whether the fault is about this request at all."""
        return (self.method is None or self.method.upper() == method) and bool(self._pattern.search(path))

    def strikes(self, dice: random.Random) -> bool:
        """Decide whether the fault happens to the matching request just counted."""
        if self.times is not None and self.struck >= self.times:
            return False
        hit = self.seen in self.calls if self.calls else dice.random() < self.probability
        self.struck += hit
        return hit

    def label(self) -> str:
        """How the request log names it."""
        detail = {"error": f" {self.status}", "rate_limit": f" {self.policy}"}.get(self.kind, "")
        after = " after the work" if self.when == "after" and self.kind in CUTTING | {"error"} else ""
        return f"{self.kind}{detail}{after}"

    def body(self) -> dict[str, Any]:
        """The fault as JSON."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}


class FaultSet:
    """The faults now in force, and the seeded dice behind them."""

    def __init__(self, *, seed: int) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._dice = random.Random(seed)  # noqa: S311 - repeatable bad luck, not a secret

    def add(self, *faults: Fault) -> None:
        """Put faults in force, after those already there."""
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        """Behave again."""
        with self._lock:
            self._faults.clear()

    def reseed(self, seed: int) -> None:
        """Roll the dice anew from a seed."""
        with self._lock:
            self._dice.seed(seed)

    def strike(self, method: str, path: str) -> Fault | None:
        """The fault that happens to this request, the first that strikes; every matching fault counts it."""
        with self._lock:
            chosen: Fault | None = None
            for fault in self._faults:
                if not fault.matches(method, path):
                    continue
                fault.seen += 1
                if chosen is None and fault.strikes(self._dice):
                    chosen = fault
            return chosen

    def shorten(self, limit: int) -> int:
        """A page size from one to the limit, for a short page."""
        with self._lock:
            return self._dice.randint(1, max(1, limit))

    def bodies(self) -> list[dict[str, Any]]:
        """The faults as JSON, with how often each struck."""
        with self._lock:
            return [fault.body() for fault in self._faults]


def chosen_faults(
    names: Iterable[str], switches: Mapping[str, Sequence[Mapping[str, Any]]], *, sandbox: str = "sandbox"
) -> list[Fault]:
    """The faults behind a look-alike's switches; `all` is every one of them."""
    chosen = [name for given in names for name in (switches if given == "all" else (given,))]
    unknown = sorted(set(chosen) - set(switches))
    if unknown:
        raise SettingError(
            f"no {sandbox} fault named {', '.join(unknown)}", hint=f"known: {', '.join([*switches, 'all'])}"
        )
    return [Fault(**settings) for name in chosen for settings in switches[name]]
