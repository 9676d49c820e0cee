"""kill -9 while a step is being taken: everybody is enrolled once and mailed once, told by the CRM's own records.

The steps' workflows run in the sandbox, with a mail each; what is asserted comes from its list of enrollments and
mails, never from our journal.
"""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from connector.failpoints import FAILPOINTS
from tests.fakes.crm import Crm
from tests.fakes.databases import postgres_url
from tests.fakes.installation import NOON, Installation, Outcome
from tests.fakes.people import BOUNCED, OPTED_OUT, people, usage

KILLED = -signal.SIGKILL
DORMANT = {str(1000 + n) for n in range(31, 61)} - {str(1000 + n) for n in (*OPTED_OUT, *BOUNCED)}
STEPS = ("reminder", "offer")

PROGRAM = """\
program:
  name: win-back
  enroll: [dormant_90, dormant_60, dormant_30]
  steps:
    - {name: reminder, day: 0WORKFLOW}
    - {name: offer, day: 1WORKFLOW}
  ends_after: 7d
  holdout: {share: 30%, unit: contact}
  caps: {per_contact: 4 in 30d, gap: 1d, per_day: 5000, quiet_after: 90d}
  consent: {profile: gdpr_strict, max_age: 48h, assume_country: NL}

"""

LIST, DIRECT = "list", "workflow"
SQLITE, POSTGRES = "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)

AT_ONE_BATCH = {"apply.undo_noted", "apply.intended", "apply.sent", "apply.undo_settled", "apply.recorded"}
ADDING = {LIST: 9, DIRECT: 3}
"""Of these failpoints, the so-many-th hit on the day of the offer is while people are put in."""


@dataclass
class Rehearsal:
    """An installation with a program, and the sandbox whose workflows it starts."""

    way: str
    acme: Installation
    sandbox: Crm
    hour: int = 0

    @property
    def now(self) -> datetime:
        return NOON + timedelta(hours=self.hour)

    def prepare(self) -> None:
        """The playbook, the first day's run, and a workflow with a mail for each step."""
        if self.way == DIRECT:
            made = {step: self._workflow(step, list=None) for step in STEPS}
            self._write_playbook({step: str(flow["workflow_id"]) for step, flow in made.items()})
        else:
            self._write_playbook({})
            # The lists must be there before a workflow can hang on them: an account does this once.
            self._make_lists()
            for step in STEPS:
                self._workflow(step, list=f"winback · win-back · {step}", leaving_ends_it=True)
        first = self.run()
        assert first.code == 0, first.err

    def _write_playbook(self, workflows: dict[str, str]) -> None:
        text = PROGRAM
        for step in STEPS:
            given = f', workflow: "{workflows[step]}"' if workflows else ""
            text = text.replace("WORKFLOW", given, 1)
        writing = "lists: {segments: true, steps: true}"
        if self.way == DIRECT:
            writing += ", enroll: workflow"
        self.acme.write_playbook(
            ("guards:", f"{text}guards:"),
            ("max_change: 20%", "max_change: 100%"),
            (
                "destinations:\n  crm: {adapter: hubspot,",
                "destinations:\n  crm: {adapter: hubspot, members_per_call: 4,",
            ),
            ("lists: {segments: true}", writing),
        )

    def _make_lists(self) -> None:
        for step in STEPS:
            self.sandbox.make_list(f"winback · win-back · {step}")

    def _workflow(self, name: str, **more: Any) -> dict[str, Any]:
        steps = [{"wait_hours": 2}, {"mail": name}]
        return self.sandbox.control("POST", "workflows", name=name, steps=steps, again=True, **more)

    def run(self) -> Outcome:
        return self.acme.run("run", "--json", now=self.now)

    def kill(self, failpoint: str) -> Outcome:
        return self.acme.spawn("run", now=self.now, WINBACK_FAILPOINT=failpoint)

    def pass_hours(self, hours: int) -> None:
        self.hour += hours
        self.sandbox.advance(hours * 3600)

    # --- what the CRM saw ---------------------------------------------------------------------------------

    def seen(self, what: str, **asked: Any) -> list[dict[str, Any]]:
        answer = requests.get(
            f"{self.sandbox.base_url}/_sandbox/{what}", params={**asked, "limit": 10_000}, timeout=30
        ).json()
        assert answer["total"] == len(answer[what])
        return answer[what]

    def enrolled(self, step: str) -> Counter[str]:
        """How often each contact came into the step's workflow."""
        return Counter(passage["contact"] for passage in self.seen("enrollments", workflow=step))

    def mailed(self) -> Counter[tuple[str, str]]:
        """How often each contact was sent each mail."""
        return Counter((mail["contact"], mail["name"]) for mail in self.seen("mails", result="SENT"))

    def everybody_once(self) -> None:
        """One more run, time goes by, and everybody was in every step once, and nobody held out in anything."""
        for _ in range(3):
            done = self.run()
            if done.code == 0:
                break
            # The list of a workflow's people is minutes behind: what was lost cannot be told from what is late.
            self.pass_hours(1)
        assert done.code == 0, done.err
        self.pass_hours(4)
        treated = set(self.enrolled("reminder"))
        assert 0 < len(treated) < len(DORMANT)
        assert treated < DORMANT
        for step in STEPS:
            assert self.enrolled(step) == Counter(treated), step
        assert self.mailed() == Counter((contact, step) for contact in treated for step in STEPS)
        self.nothing_about(DORMANT - treated)
        again = self.run()
        assert again.json["written"] == 0
        assert again.code == 0
        status = self.acme.run("status", "--json", now=self.now).json
        assert (status["unresolved"], status["lock"]) == (0, None)

    def nothing_about(self, held_out: set[str]) -> None:
        """Nobody held out is on a list, in a property, in a workflow or among the mails."""
        held = self.sandbox.dump()
        for name, members in held["lists"].items():
            assert not held_out & set(members), name
        for row_id in held_out:
            assert not held["contacts"].get(row_id), row_id
        assert not held_out & {mail["contact"] for mail in self.seen("mails")}
        assert not held_out & {passage["contact"] for passage in self.seen("enrollments")}
        for entry in self.sandbox.writes():
            if "/memberships/" in entry["path"] or "/enrollments/" in entry["path"]:
                assert not [row_id for row_id in held_out if f'"{row_id}"' in str(entry.get("body"))], entry["path"]


@pytest.fixture
def rehearsal(request, tmp_path, sandbox) -> Iterator[Rehearsal]:
    """Everything as on the morning of the offer; asked for as (way, database)."""
    way, database = request.param
    with ExitStack() as stack:
        journal = "sqlite:///state/journal.db"
        if database != SQLITE:
            journal = stack.enter_context(postgres_url())
        sandbox.seed(people(), ())
        sandbox.control("POST", "clock", frozen=True)
        acme = Installation(tmp_path / "acme", sandbox.base_url, sandbox.auth["token"], journal=journal)
        acme.write_usage(usage())
        prepared = Rehearsal(way, acme, sandbox)
        prepared.prepare()
        prepared.pass_hours(24)
        yield prepared


def worlds(way: str, database: Any, *more: Any, soak: bool = False) -> Any:
    """A parameter set: which world, and what happens in it."""
    name = getattr(database, "values", (database,))[0]
    marks = [*getattr(database, "marks", ()), *([pytest.mark.soak] if soak else [])]
    said = "-".join([way, name, *map(str, more)])
    return pytest.param((way, name), *more, marks=marks, id=said)


IN_A_RUN = [name for name in FAILPOINTS if not name.startswith(("recover.", "relay."))]
SPREAD = [(LIST, SQLITE), (DIRECT, POSTGRES), (LIST, POSTGRES), (DIRECT, SQLITE)]


def hit(way: str, failpoint: str) -> str:
    """The failpoint where it hurts most: between people who are put in and people who are not yet."""
    if failpoint == "apply.step_done":
        return f"{failpoint}:3"
    return f"{failpoint}:{ADDING[way]}" if failpoint in {*AT_ONE_BATCH, "apply.confirmed"} else failpoint


NEAR = ("decided", "intended", "sent", "recorded", "confirmed")
"""Between these an enrollment could be lost or made twice. The others are hit in every run's own sweep, and in soak."""


def kills() -> Iterator[Any]:
    """The failpoints around a write once, in worlds that take turns; all, in all worlds and at first hit, for soak."""
    for number, failpoint in enumerate(IN_A_RUN):
        for place, (way, database) in enumerate(SPREAD):
            soak = place != number % len(SPREAD) or failpoint.removeprefix("apply.") not in NEAR
            yield worlds(way, database, hit(way, failpoint), soak=soak)
            if hit(way, failpoint) != failpoint:
                yield worlds(way, database, failpoint, soak=True)


@pytest.mark.parametrize(("rehearsal", "failpoint"), list(kills()), indirect=["rehearsal"])
def test_a_kill_on_the_day_of_a_step_enrolls_nobody_twice_and_loses_nobody(rehearsal, failpoint):
    killed = rehearsal.kill(failpoint)
    assert killed.code == KILLED, killed.out + killed.err
    rehearsal.everybody_once()


def seeds() -> Iterator[Any]:
    yield worlds(LIST, SQLITE, 0, soak=True)
    yield worlds(DIRECT, SQLITE, 1, soak=True)
    for seed in range(100, 140):
        way, database = SPREAD[seed % len(SPREAD)]
        yield worlds(way, database, seed, soak=True)


@pytest.mark.parametrize(("rehearsal", "seed"), list(seeds()), indirect=["rehearsal"])
def test_kills_at_random_points_under_faults_enroll_nobody_twice(rehearsal, seed):
    chance = random.Random(seed)
    rehearsal.sandbox.faults("reset", "error", "timeout", share=0.03, seed=seed)
    for _ in range(4):
        rehearsal.kill(f"*:{chance.randint(1, 60)}")
        rehearsal.pass_hours(chance.choice([0, 1]))
    rehearsal.sandbox.faults()
    rehearsal.everybody_once()
