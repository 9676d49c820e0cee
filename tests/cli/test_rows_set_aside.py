"""Rows of a source that cannot be read: told by `pull` and by `run`, and both exit 3."""

from __future__ import annotations

from datetime import timedelta

from tests.fakes.installation import NOON


def add_bad_rows(acme, count: int) -> None:
    with (acme.folder / "data" / "usage.csv").open("a") as file:
        file.writelines(f"bad-{number},u1,,yesterday,editor\n" for number in range(count))


def test_a_run_with_a_row_that_cannot_be_read_exits_3_and_names_it(acme, sandbox):
    add_bad_rows(acme, 1)
    done = acme.run("run", "--json")
    assert done.code == 3, done.err
    assert done.json["set_aside"] == 1
    assert "usage.csv:602" in done.err
    assert len(sandbox.members_by_list()["winback · dormant_30"]) == 9


def test_the_run_after_it_has_nothing_new_to_tell(acme):
    add_bad_rows(acme, 1)
    acme.run("run")
    assert acme.run("run", now=NOON + timedelta(hours=1)).code == 0


def test_many_bad_rows_are_counted_and_the_place_to_see_them_is_named(acme):
    add_bad_rows(acme, 40)
    done = acme.run("pull")
    assert done.code == 3
    told = [line for line in done.err.splitlines() if line.startswith("set aside")]
    assert "more rows of product usage: winback status" in told[-1]
    assert int(told[-1].split()[2]) == 40 - (len(told) - 1)
