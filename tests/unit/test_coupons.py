"""Codes made here, codes read from a file, and what the shop says was used."""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime

import pytest

from connector.errors import SettingError
from connector.location import PlaybookError
from connector.program import coupons

KEY = bytes(range(32))
EPISODE = "win-back/hubspot:1/2026-03-01"


def test_a_code_is_three_groups_of_four_signs_that_cannot_be_misread():
    for number in range(500):
        code = coupons.generate(KEY, f"{EPISODE}{number}", "offer")
        assert re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}", code)


def test_the_same_step_of_the_same_episode_has_the_same_code_and_nobody_else_has_it():
    code = coupons.generate(KEY, EPISODE, "offer")
    assert code == coupons.generate(KEY, EPISODE, "offer")
    others = {
        coupons.generate(KEY, EPISODE, "last_chance"),
        coupons.generate(KEY, f"{EPISODE}x", "offer"),
        coupons.generate(KEY[::-1], EPISODE, "offer"),
        coupons.generate(KEY, f"{EPISODE}o", "ffer"),
    }
    assert len(others) == 4 and code not in others


def test_a_code_spells_the_digest_in_base_32_lowest_digit_first():
    number = int(hmac.new(KEY, b"coupon\0" + EPISODE.encode() + b"\0offer", "sha256").hexdigest()[:16], 16)
    signs = ""
    while len(signs) < 12:
        number, digit = divmod(number, 32)
        signs += "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[digit]
    assert coupons.generate(KEY, EPISODE, "offer").replace("-", "") == signs


def test_a_hundred_thousand_codes_are_all_different_and_use_every_sign_alike():
    codes = {coupons.generate(KEY, f"e{number}", "offer") for number in range(100_000)}
    assert len(codes) == 100_000
    signs = "".join(codes).replace("-", "")
    counts = [signs.count(sign) for sign in coupons.ALPHABET]
    assert min(counts) > 0.97 * len(signs) / 32
    assert max(counts) < 1.03 * len(signs) / 32


def test_a_code_tells_nothing_about_whose_it_is():
    assert "hubspot" not in coupons.generate(KEY, EPISODE, "offer").lower()


def test_no_code_is_made_with_a_key_that_could_be_guessed():
    with pytest.raises(SettingError, match="has 5 bytes, 32 are needed"):
        coupons.generate(b"short", EPISODE, "offer")


def test_a_file_of_codes_is_read_in_its_order():
    text = "\ufeff# spring\nSAVE-2\r\n\n  SAVE-1  \n#SAVE-9\nsave-1"
    assert coupons.parse_codes(text, file="codes.txt") == ["SAVE-2", "SAVE-1", "save-1"]


def test_an_empty_file_holds_no_code():
    assert coupons.parse_codes("\n\n", file="codes.txt") == []


def test_every_line_that_is_not_one_code_is_named():
    text = f"GOOD\ntwo words\nGOOD\n{'x' * 65}\nÜBER\nA,B\n"
    with pytest.raises(PlaybookError) as caught:
        coupons.parse_codes(text, file="codes.txt")
    said = str(caught.value)
    assert "codes.txt:2: not one code" in said
    assert "codes.txt:3: the same code as in line 1" in said
    assert "codes.txt:4: not one code" in said
    assert "codes.txt:5: not one code" in said
    assert "codes.txt:6" not in said
    assert "GOOD" not in said and "two words" not in said


def test_a_file_that_is_something_else_is_told_shortly():
    with pytest.raises(PlaybookError) as caught:
        coupons.parse_codes("not a code\n" * 10_000, file="codes.txt")
    assert len(caught.value.problems) == coupons.MOST_PROBLEMS


def test_redemptions_are_read_with_or_without_amounts():
    text = "\ufeffOrder, Code ,Redeemed_at,amount\r\n1,A-1,2026-03-01T10:00:00+02:00,12.50\n2,B-2,2026-03-02,\n"
    found = coupons.parse_redemptions(text, file="used.csv").found
    assert all(redemption.at.tzinfo is UTC for redemption in found)
    assert list(found) == [
        coupons.Redemption("A-1", datetime(2026, 3, 1, 8, tzinfo=UTC), 12.5),
        coupons.Redemption("B-2", datetime(2026, 3, 2, tzinfo=UTC)),
    ]
    turned = coupons.parse_redemptions("redeemed_at,code\n2026-03-02T01:02:03Z,C", file="used.csv")
    assert turned.found == (coupons.Redemption("C", datetime(2026, 3, 2, 1, 2, 3, tzinfo=UTC)),)


def test_redemptions_without_a_needed_column_say_which():
    with pytest.raises(PlaybookError, match=r"used.csv:1: no column 'redeemed_at'\n    allowed: code, when"):
        coupons.parse_redemptions("code,when\nA,2026-01-01\n", file="used.csv")
    with pytest.raises(PlaybookError, match="no column 'code'"):
        coupons.parse_redemptions("", file="used.csv")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",2026-03-01,1", "no code"),
        ("A,yesterday,1", "redeemed_at is not a date"),
        ("A,2026-02-30,1", "redeemed_at is not a date"),
        ("A,,1", "redeemed_at is not a date"),
        ("A", "redeemed_at is not a date"),
        ("A,2026-03-01,free", "amount is not a number"),
        ("A,2026-03-01,-1", "amount is not a number"),
        ("A,2026-03-01,nan", "amount is not a number"),
        ("A,2026-03-01,inf", "amount is not a number"),
    ],
)
def test_a_redemption_that_is_wrong_is_set_aside_by_its_line_and_the_others_count(line, said):
    read = coupons.parse_redemptions(f"code,redeemed_at,amount\nB,2026-01-01,2\n{line}\n", file="used.csv")
    assert [redemption.code for redemption in read.found] == ["B"]
    (reject,) = read.rejects
    assert reject.place == "used.csv:3"
    assert reject.reason.startswith(said)


def test_more_cells_than_columns_do_not_hide_a_redemption():
    assert len(coupons.parse_redemptions("code,redeemed_at\nA,2026-01-01,more,and more\n", file="used.csv").found) == 1
