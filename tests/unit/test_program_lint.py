from __future__ import annotations

import pytest

from connector.location import PlaybookError
from connector.model import Severity
from tests.unit.test_settings_programs import HEAD, loaded

GOOD = (
    HEAD
    + """\
program:
  name: win-back
  enroll: [high_value_dormant, dormant_60]
  steps:
    - {name: reminder, day: 1}
    - {name: offer, day: 7}
    - {name: last_chance, day: 14}
    - {name: feedback, day: 21}
destinations:
  crm: {lists: {segments: true, steps: true}}
"""
)


def found(folder, *changes, text=GOOD):
    """What is said about the playbook with these lines changed: message and next step, places checked apart."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    findings = loaded(folder, text).findings
    assert all(finding.severity is Severity.WARNING for finding in findings)
    return [(finding.subject, finding.message.replace(f"{folder}/", ""), finding.fix) for finding in findings]


def messages(folder, *changes, text=GOOD):
    return [message for _, message, _ in found(folder, *changes, text=text)]


def step(name, **keys):
    said = ", ".join(f"{key}: {value}" for key, value in keys.items())
    days = {"reminder": 1, "offer": 7, "last_chance": 14, "feedback": 21}
    old = f"{{name: {name}, day: {days[name]}}}"
    return old, f"{old[:-1]}, {said}}}"


def program(*lines):
    return "  steps:\n", "".join(f"  {line}\n" for line in lines) + "  steps:\n"


def test_nothing_is_said_about_an_ordinary_program(tmp_path):
    assert found(tmp_path) == []


# --- conditions ---------------------------------------------------------------------------------------------------

NEVER = [
    ("reminder", {"when": '"engaged.clicks < 0"'}, "`when` of the step 'reminder' can never hold"),
    ("offer", {"adjust": '[{when: "inactive_days < 0", day: 8}]'}, "adjustment 1 of the step 'offer' can never hold"),
    ("offer", {"branches": '{a: "1 = 2 and inactive_days > 3"}'}, "the branch 'a' of the step 'offer' can never hold"),
]


@pytest.mark.parametrize(("name", "keys", "message"), NEVER, ids=[message for _, _, message in NEVER])
def test_a_condition_that_can_never_hold_is_an_error(tmp_path, name, keys, message):
    old, new = step(name, **keys)
    with pytest.raises(PlaybookError, match=message) as caught:
        loaded(tmp_path, GOOD.replace(old, new))
    assert "compare the clauses" in str(caught.value)


def test_a_condition_that_everybody_meets_is_told(tmp_path):
    assert found(tmp_path, step("offer", when='"engaged.clicks >= 0"')) == [
        (
            "program win-back",
            "winback.yaml:15:35: `when` of the step 'offer' holds for everybody",
            "write `true` if everybody is meant",
        )
    ]
    assert found(tmp_path, step("offer", when="true")) == []


def test_a_comparison_with_null_is_told(tmp_path):
    (message,) = messages(tmp_path, step("offer", when='"role = null or engaged.clicks > 1"'))
    assert message.endswith("a comparison with null never holds")


BEFORE_THE_FIRST = ["step.days >= 5", "step.name = 'offer'", "step.number > 1 and role = 'cto'", "step.variant <> 'a'"]


@pytest.mark.parametrize("when", BEFORE_THE_FIRST)
def test_the_first_step_cannot_ask_about_the_one_before(tmp_path, when):
    said = messages(tmp_path, step("reminder", when=f'"{when}"'))
    expected = "winback.yaml:14:38: `when` of the step 'reminder' never holds: before the first step everything about"
    assert any(message.startswith(expected) for message in said)


@pytest.mark.parametrize("when", ["step.days is null", "step.days >= 5 or role = 'cto'", "step.days_in_program >= 1"])
def test_the_first_step_may_ask_what_is_known_then(tmp_path, when):
    assert messages(tmp_path, step("reminder", when=f'"{when}"')) == []


def test_a_later_step_may_ask_about_the_one_before(tmp_path):
    assert messages(tmp_path, step("offer", when="\"step.days >= 5 and step.name = 'reminder'\"")) == []


LEFT = [
    ("engaged.replies >= 1", "replied"),
    ("engaged.replies > 2 and role = 'cto'", "replied"),
    ("active_days_since_enrollment >= 1", "reactivated"),
    ("transactions_since_enrollment > 0", "converted"),
]


@pytest.mark.parametrize(("when", "exit_name"), LEFT)
@pytest.mark.parametrize("where", ["when", "adjust", "branches"])
def test_what_only_people_who_have_left_could_meet_is_told(tmp_path, when, exit_name, where):
    keys = {"when": f'"{when}"', "adjust": f'[{{when: "{when}", day: 10}}]', "branches": f'{{a: "{when}"}}'}
    (message,) = messages(tmp_path, step("offer", **{where: keys[where]}))
    assert message.endswith(f"never holds in time: whoever fits has left as '{exit_name}'")


def test_an_exit_that_is_not_listed_leaves_its_steps_reachable(tmp_path):
    asks = step("offer", when='"engaged.replies >= 1 and transactions_since_enrollment >= 1"')
    assert len(messages(tmp_path, asks)) == 2
    assert messages(tmp_path, asks, program("exit: [snoozed]")) == []
    (only,) = messages(tmp_path, asks, program("exit: [replied]"))
    assert only.endswith("whoever fits has left as 'replied'")


def test_the_conditions_of_the_playbook_itself_say_when_somebody_has_left(tmp_path):
    asks = step("offer", when='"active_days_since_enrollment >= 1"')
    assert messages(tmp_path, asks, program('reactivated: "active_days_since_enrollment >= 3"')) == []
    asks = step("offer", when='"transactions_since_enrollment = 1"')
    assert messages(tmp_path, asks, program('converted: "transactions_since_enrollment >= 2"')) == []


def test_somebody_who_may_still_be_in_is_no_finding(tmp_path):
    assert messages(tmp_path, step("offer", when='"engaged.replies >= 1 or engaged.clicks >= 1"')) == []


def test_a_branch_that_an_earlier_one_takes_is_told(tmp_path):
    branches = '{all: "role is not null", cto: "role = \'cto\'"}'
    (message,) = messages(tmp_path, step("offer", branches=branches))
    assert message.endswith(
        "the branch 'cto' of the step 'offer' is never chosen: whoever fits is taken by one before it"
    )
    assert messages(tmp_path, step("offer", branches='{cto: "role = \'cto\'", all: "role is not null"}')) == []


def test_an_adjustment_that_two_earlier_ones_take_is_told(tmp_path):
    adjust = (
        '[{when: "engaged.clicks = 1", day: 8}, {when: "engaged.clicks > 3", day: 9},'
        ' {when: "engaged.clicks = 1 or engaged.clicks = 5", day: 10}]'
    )
    (message,) = messages(tmp_path, step("offer", adjust=adjust))
    assert "adjustment 3 of the step 'offer' is never chosen" in message


NAMES = [
    ("step.name = 'remindr'", "step.name is never 'remindr' in this program", "did you mean reminder?"),
    ("'xyz' = step.entered_as", "step.entered_as is never 'xyz'", "there are: high_value_dormant, dormant_60, requested"),
    ("step.entered_as in ('dormant_60', 'dormant_30')", "step.entered_as is never 'dormant_30'", "did you mean dormant_60?"),
    ("step.variant = 'a'", "step.variant is never 'a'", "there are: none"),
    ("step.offer = 'trial'", "step.offer is never 'trial'", "there are: none"),
]  # fmt: skip


@pytest.mark.parametrize(("when", "message", "fix"), NAMES, ids=[when for when, _, _ in NAMES])
def test_a_name_that_nothing_in_the_program_has_is_told(tmp_path, when, message, fix):
    ((subject, said, advice),) = found(tmp_path, step("offer", when=f'"{when}"'))
    assert subject == "program win-back"
    assert message in said
    assert advice == fix


def test_names_that_are_there_are_fine(tmp_path):
    when = "\"step.name = 'reminder' and step.entered_as in ('dormant_60') and step.variant = 'a'\""
    assert messages(tmp_path, step("offer", when=when), step("reminder", variants="{a: 50%, b: 50%}")) == []


# --- cadence and caps ---------------------------------------------------------------------------------------------


def test_a_gap_longer_than_between_two_steps_is_told(tmp_path):
    assert found(tmp_path, program("caps: {gap: 7d}")) == [
        (
            "program win-back",
            "winback.yaml:13:15: caps.gap is longer than from 'reminder', day 1, to 'offer', day 7: that step will wait",
            "move the steps apart, or make the gap shorter",
        )
    ]
    assert found(tmp_path, program("caps: {gap: 6d}")) == []


def test_a_gap_counts_for_sooner_days_too(tmp_path):
    sooner = step("offer", adjust='[{when: "engaged.clicks >= 1", day: 3}]')
    (message,) = messages(tmp_path, sooner)
    assert "caps.gap is longer than from 'reminder', day 1, to 'offer', day 3" in message
    assert messages(tmp_path, sooner, program("caps: {gap: 2d}")) == []


def test_more_steps_than_the_caps_allow_are_told(tmp_path):
    (message,) = messages(tmp_path, program("caps: {per_contact: 3 in 30d}"))
    assert message.endswith("caps.per_contact allows 3 touches, and 'feedback' would be one more: it will wait")
    assert messages(tmp_path, program("caps: {per_contact: 3 in 20d}")) == []
    assert len(messages(tmp_path, program("caps: {per_contact: 3 in 21d}"))) == 1


def test_a_default_cap_is_told_where_the_program_stands(tmp_path):
    fifth = ("    - {name: feedback, day: 21}\n", "    - {name: feedback, day: 21}\n    - {name: fifth, day: 28}\n")
    (message,) = messages(tmp_path, fifth)
    assert message.startswith("winback.yaml:10:1: caps.per_contact allows 4 touches, and 'fifth' would be one more")


def test_adjusted_days_that_cross_a_neighbour_are_told(tmp_path):
    (early,) = messages(tmp_path, step("offer", adjust='[{when: "engaged.clicks >= 1", day: 1}]'))
    assert early.endswith("day 1 is not after day 1 of the step before, 'reminder'")
    (late,) = messages(tmp_path, step("offer", adjust='[{when: "engaged.clicks = 0", day: 14}]'))
    assert late.endswith("day 14 is not before day 14 of the next step, 'last_chance'")
    assert messages(tmp_path, step("feedback", adjust='[{when: "engaged.clicks = 0", day: 60}]')) == []


def test_a_step_after_returns_count_no_more_is_told(tmp_path):
    (message,) = messages(tmp_path, program("outcome_window: 21d"))
    assert message.endswith("the step 'feedback' on day 21 comes when returns count no more")
    assert messages(tmp_path, program("outcome_window: 22d")) == []


# --- offers, measuring, and what the CRM is told ------------------------------------------------------------------

OFFERS = "offers: {items: {trial: {}, cut: {discount: true, cost: 5}}, ladder: [trial, cut]}"


def test_offers_that_nobody_gets_are_told(tmp_path):
    said = messages(tmp_path, program(OFFERS))
    assert [message.partition(": ")[2] for message in said] == [
        "nobody is offered 'trial'",
        "nobody is offered 'cut'",
        "no step takes the ladder",
    ]
    assert messages(tmp_path, program(OFFERS), step("offer", offer="ladder")) == []


def test_a_variant_that_is_called_like_an_offer_makes_it(tmp_path):
    items = "offers: {items: {trial: {}, cut: {discount: true}}}"
    assert messages(tmp_path, program(items), step("offer", variants="{trial: 50%, cut: 50%}")) == []


def test_a_discount_at_the_first_step_is_told(tmp_path):
    items = "offers: {items: {cut: {discount: true}}}"
    (message,) = messages(tmp_path, program(items), step("reminder", offer="cut"))
    assert message.endswith("'cut' is a discount, and nobody is offered one first: few will get it")
    assert messages(tmp_path, program(items), step("offer", offer="cut")) == []


def test_a_file_of_codes_that_is_not_there_is_told(tmp_path):
    items = "offers: {items: {cut: {codes: codes.txt}}}"
    changes = (program(items), step("offer", offer="cut"))
    ((_, message, fix),) = found(tmp_path, *changes)
    assert message.endswith("there is no file codes.txt with codes")
    assert fix == "put it there, one code a line; or codes: generate"
    (tmp_path / "codes.txt").write_text("A1\n")
    assert found(tmp_path, *changes) == []


def test_a_program_without_a_holdout_is_told(tmp_path):
    (message,) = messages(tmp_path, program("holdout: {share: 0%}"))
    assert message.endswith("without a holdout nobody can tell what this program is worth")


def test_strata_that_colleagues_may_differ_in_are_told_where_accounts_are_drawn(tmp_path):
    (message,) = messages(tmp_path, program("holdout: {unit: account, by: [segment, role, accounts.plan_tier]}"))
    assert message.endswith("accounts are drawn whole: segment, role may differ between colleagues and is passed over")
    assert messages(tmp_path, program("holdout: {unit: account, by: [accounts.plan_tier]}")) == []
    assert messages(tmp_path, program("holdout: {unit: account}")) == []
    assert messages(tmp_path, program("holdout: {by: [role]}")) == []


def test_a_workflow_that_winback_does_not_use_is_told(tmp_path):
    (message,) = messages(tmp_path, program("workflow: 12"))
    assert message.endswith("this workflow is not used: winback itself goes from step to step")
    assert messages(tmp_path, program("workflow: 12", "driver: crm")) == []


def test_a_program_that_no_destination_carries_is_told(tmp_path):
    off = ("steps: true", "steps: false")
    (message,) = messages(tmp_path, off)
    assert message.startswith("winback.yaml:10:1: no destination keeps lists of steps")
    assert messages(tmp_path, off, ("{lists:", "{enroll: none, lists:")) == []


def test_a_time_to_send_that_the_crm_never_hears_of_is_told(tmp_path):
    changes = (program('send: {window: "09:00-17:00"}'), ("{lists:", "{properties: false, lists:"))
    (message,) = messages(tmp_path, *changes)
    assert message.endswith("the CRM is not told when to send: properties are not written")
    waits = program('send: {window: "09:00-17:00", hold: winback}')
    assert messages(tmp_path, waits, changes[1]) == []


def test_findings_come_in_the_order_of_their_places(tmp_path):
    said = messages(
        tmp_path, program("holdout: {share: 0%}", "caps: {gap: 7d}"), step("offer", when='"engaged.clicks >= 0"')
    )
    lines = [int(message.split(":")[1]) for message in said]
    assert lines == sorted(lines)
    assert len(lines) == 3
