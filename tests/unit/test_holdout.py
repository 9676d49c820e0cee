"""The table of default shares, the choice of the unit, the draw against values worked out by hand with sha256sum."""

from __future__ import annotations

import hashlib
from datetime import date

import pytest

from connector.program import holdout
from connector.program.model import HOLDOUT, TREATED, HoldoutSettings, Split

SPLIT = Split(share=0.2, unit="contact", salt="acme/win-back", eligible=10_000)
BY_ACCOUNT = Split(share=0.2, unit="account", salt="acme/win-back", eligible=10_000)


def chosen(eligible: int, per_account: float | None = None, **settings) -> Split:
    return holdout.choose_split(HoldoutSettings(**settings), eligible, per_account, "acme/win-back")


@pytest.mark.parametrize(
    ("eligible", "share"),
    [
        (0, 0.5), (1, 0.5), (2_000, 0.5), (2_001, 0.3), (5_000, 0.3), (5_001, 0.2), (20_000, 0.2), (20_001, 0.1),
        (10**7, 0.1),
    ],
)  # fmt: skip
def test_the_default_share_is_large_where_there_are_few(eligible, share):
    assert chosen(eligible).share == share


@pytest.mark.parametrize("share", [0.0, 0.07, 1.0])
def test_a_share_of_the_playbook_stands_whatever_the_number(share):
    assert chosen(100, share=share).share == share


@pytest.mark.parametrize(
    ("per_account", "unit"), [(None, "contact"), (1.0, "contact"), (1.3, "contact"), (1.31, "account"), (4, "account")]
)
def test_whole_accounts_are_drawn_where_they_hold_several_people(per_account, unit):
    assert chosen(100, per_account).unit == unit


@pytest.mark.parametrize("unit", ["contact", "account"])
def test_a_unit_of_the_playbook_stands_whatever_accounts_hold(unit):
    assert chosen(100, 9.0, unit=unit).unit == chosen(100, None, unit=unit).unit == unit


def test_the_salt_is_the_playbooks_or_the_default_one():
    assert chosen(100).salt == "acme/win-back"
    assert chosen(100, salt="spring").salt == "spring"


def test_a_split_remembers_for_how_many_it_was_chosen():
    assert chosen(123).eligible == 123


def test_the_draw_is_the_published_formula():
    # printf 'acme/win-back/dormant_30:hubspot:7/2026-03-01' | sha256sum
    digest = hashlib.sha256(b"acme/win-back/dormant_30:hubspot:7/2026-03-01").hexdigest()
    assert digest.startswith("127893b4")
    assert holdout.draw("acme/win-back/dormant_30", "hubspot:7/2026-03-01") == 0x127893B4 / 2**32


def test_held_out_means_that_the_draw_is_below_the_share():
    u = holdout.draw("acme/win-back", "hubspot:7/2026-03-01")
    below = Split(share=u, unit="contact", salt="acme/win-back", eligible=1)
    above = Split(share=u + 2**-32, unit="contact", salt="acme/win-back", eligible=1)
    assert holdout.arm(below, "hubspot:7/2026-03-01") == TREATED
    assert holdout.arm(above, "hubspot:7/2026-03-01") == HOLDOUT


@pytest.mark.parametrize(("share", "arm"), [(0.0, TREATED), (1.0, HOLDOUT)])
def test_a_share_of_nobody_or_everybody_is_exact(share, arm):
    split = Split(share=share, unit="contact", salt="s", eligible=1)
    assert {holdout.arm(split, str(n)) for n in range(2_000)} == {arm}


def test_a_new_silence_is_drawn_anew_and_the_same_silence_is_not():
    def unit(day: int) -> str:
        return holdout.unit_of(SPLIT, contact_id="x:1", spell_started_on=date(2026, 1, day), account_id="a:1")

    assert unit(1) == "x:1/2026-01-01" == unit(1)
    assert unit(2) != unit(1)


def test_colleagues_are_drawn_together_for_every_silence():
    units = {
        holdout.unit_of(BY_ACCOUNT, contact_id=f"x:{n}", spell_started_on=date(2026, 1, n), account_id="a:1")
        for n in range(1, 20)
    }
    assert units == {"a:1"}


@pytest.mark.parametrize("account_id", [None, ""])
def test_somebody_without_an_account_is_drawn_alone(account_id):
    unit = holdout.unit_of(BY_ACCOUNT, contact_id="x:1", spell_started_on=date(2026, 1, 1), account_id=account_id)
    assert unit == "x:1"


def test_colleagues_share_an_arm_though_their_segments_and_roles_differ():
    by = ("segment", "role", "accounts.plan_tier")
    rows = [{"role": role, "account_plan_tier": "pro"} for role in ("cto", "developer", None)]
    segments = ("dormant_30", "dormant_90", "high_value_dormant")
    strata = {holdout.stratum_of(by, BY_ACCOUNT, segment=segment, row=row) for segment in segments for row in rows}
    assert strata == {"pro"}


@pytest.mark.parametrize(
    ("by", "row", "stratum"),
    [
        (("segment",), {}, "dormant_30"),
        (("segment", "role"), {"role": "cto"}, "dormant_30/cto"),
        (("segment", "role"), {}, "dormant_30/"),
        (("role", "accounts.plan_tier"), {"role": "r&d/ops", "account_plan_tier": "pro"}, "r&d%2Fops/pro"),
        (("segment", "accounts.seats"), {"account_seats": 5}, "dormant_30/5"),
        ((), {"role": "cto"}, ""),
    ],
)
def test_a_stratum_names_the_segment_and_columns_it_is_made_of(by, row, stratum):
    assert holdout.stratum_of(by, SPLIT, segment="dormant_30", row=row) == stratum


def test_different_values_never_make_the_same_stratum():
    def stratum(role: str, tier: str) -> str:
        row = {"role": role, "plan_tier": tier}
        return holdout.stratum_of(("role", "plan_tier"), SPLIT, segment="s", row=row)

    assert len({stratum("a/b", "c"), stratum("a", "b/c"), stratum("a%2Fb", "c"), stratum("a|b", "c")}) == 4


def test_a_step_without_a_choice_gives_its_only_variant():
    assert {holdout.variant("offer", {"only": 1.0}, SPLIT, str(n)) for n in range(100)} == {"only"}


def test_shares_that_do_not_quite_add_up_leave_nobody_without_a_variant():
    thirds = dict.fromkeys(("a", "b", "c"), 0.333)
    assert {holdout.variant("offer", thirds, SPLIT, str(n)) for n in range(2_000)} == {"a", "b", "c"}


def test_shares_may_be_weights():
    drawn = [holdout.variant("offer", {"a": 3, "b": 1}, SPLIT, str(n)) for n in range(2_000)]
    assert 1_400 < drawn.count("a") < 1_600


def test_a_variant_with_no_share_is_nobodys():
    shares = {"never": 0.0, "a": 0.5, "nor_this": 0.0, "b": 0.5}
    assert {holdout.variant("offer", shares, SPLIT, str(n)) for n in range(2_000)} == {"a", "b"}


def test_a_variant_is_drawn_by_cumulative_shares_in_the_order_written():
    u = holdout.draw("acme/win-back/variant/offer", "x:1/2026-01-01")
    assert holdout.variant("offer", {"a": u, "b": 1 - u}, SPLIT, "x:1/2026-01-01") == "b"
    assert holdout.variant("offer", {"a": u + 1e-9, "b": 1 - u - 1e-9}, SPLIT, "x:1/2026-01-01") == "a"
