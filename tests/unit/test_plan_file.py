"""The plan as a file: read back as written, private, refused when changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connector.errors import StalePlan, StateError
from connector.model import PropertySpec
from connector.plan.build import Current, PlanInputs, Wanted, build_plan
from connector.plan.document import ROWS_IN_JSON, Allowance, Plan
from connector.plan.steps import RemoveList, RemoveProperty
from tests.fakes.plan_world import NOW, SPECS, A, B, ids, inputs

CHOICES = PropertySpec("winback_step", "Étape", "choices", "où en est-on", (("a", "Ä"), ("b", "B")))


def small() -> PlanInputs:
    return inputs(
        wanted=Wanted({A: ids(1, 2), B: ids(3)}, {"1": {"winback_segment": "naïve ✓"}}, (*SPECS, CHOICES)),
        current=Current({A: {"9"}}, {A: "10"}, {"1": {"winback_segment": "before"}}),
        excluded={"not_in_crm": ("product:7",)},
        blocked={"3": "opted_out"},
        fingerprints={"playbook": "p", "facts": "f"},
        allowance=Allowance(80.0, 200_000),
        reason=lambda _name, row_id: f"silent for {row_id} days",
    )


def large(count: int = ROWS_IN_JSON) -> PlanInputs:
    values = {str(n): {"winback_segment": "a", "winback_reason": None} for n in range(1, count + 1)}
    return inputs(
        wanted=Wanted({A: ids(*range(1, count + 1))}, values, SPECS),
        current=Current({}, {}, {"5": {"winback_reason": "old"}}),
        excluded={"not_in_crm": [f"product:{n}" for n in range(50)]},
    )


@pytest.mark.parametrize("made", [small, large])
def test_a_plan_read_back_is_the_plan_that_was_written(tmp_path: Path, made):
    plan = build_plan(made())
    path = tmp_path / "new" / "plan.json"
    plan.write(path)
    assert Plan.read(path) == plan
    assert path.with_suffix(".parquet").exists() is (made is large)


def test_steps_of_an_undo_survive_the_file_too(tmp_path: Path):
    from dataclasses import replace

    plan = build_plan(small())
    plan = replace(plan, steps=(*plan.steps, RemoveList(A, "10", only_if_empty=True), RemoveProperty("x"))).identified()
    plan.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == plan


@pytest.mark.parametrize("made", [small, large])
def test_the_same_inputs_give_the_same_bytes_and_id(tmp_path: Path, made):
    first, second = build_plan(made()), build_plan(made())
    assert first.plan_id == second.plan_id
    for name, plan in (("a", first), ("b", second)):
        plan.write(tmp_path / name / "plan.json")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_another_moment_or_row_is_another_plan():
    plan = build_plan(small())
    assert plan.plan_id != build_plan(inputs(wanted=Wanted({A: ids(1, 2)}))).plan_id
    from dataclasses import replace

    assert plan.plan_id != build_plan(replace(small(), now=NOW.replace(minute=1))).plan_id


def test_both_files_are_readable_by_us_only(tmp_path: Path):
    build_plan(large()).write(tmp_path / "plan.json")
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["plan.json", "plan.parquet"]


def test_a_small_plan_takes_away_the_rows_of_a_large_one(tmp_path: Path):
    build_plan(large()).write(tmp_path / "plan.json")
    build_plan(small()).write(tmp_path / "plan.json")
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


def test_a_plan_edited_by_hand_is_refused(tmp_path: Path):
    path = tmp_path / "plan.json"
    build_plan(small()).write(path)
    document = json.loads(path.read_text())
    added = next(step for step in document["steps"] if step["kind"] == "add_members")
    added["rows"][0] = "666"
    path.write_text(json.dumps(document))
    with pytest.raises(StalePlan, match="does not match its id"):
        Plan.read(path)


def test_rows_of_another_plan_are_refused(tmp_path: Path):
    build_plan(large()).write(tmp_path / "plan.json")
    build_plan(large(ROWS_IN_JSON + 1)).write(tmp_path / "other.json")
    (tmp_path / "other.parquet").replace(tmp_path / "plan.parquet")
    with pytest.raises(StalePlan, match="belongs to another plan"):
        Plan.read(tmp_path / "plan.json")
    (tmp_path / "plan.parquet").unlink()
    with pytest.raises(StateError, match="are gone"):
        Plan.read(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "no such plan"), ("{", "not a plan file"), ("[]", "version None"), ('{"schema_version": 2}', "version 2")],
)
def test_what_is_no_plan_is_named(tmp_path: Path, text: str | None, words: str):
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StateError, match=words) as raised:
        Plan.read(path)
    assert "winback plan" in raised.value.hint


def test_the_summary_has_the_keys_others_build_on():
    summary = build_plan(small()).summary()
    assert summary["changes"] == {"add": 2, "remove": 1, "set": 1, "enroll": 0, "exit": 0}
    assert summary["excluded"] == {"not_in_crm": 1, "opted_out": 1}
    assert summary["api_calls"] == {"crm": 1 + 1 + 2 + 1}
    assert {"schema_version", "plan_id", "as_of", "holdout", "guards"} <= summary.keys()
