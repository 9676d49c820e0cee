"""Every documented exit code, produced by what produces it in life."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from connector.cli import main
from tests.fakes.installation import NOON, ROOT
from tests.fakes.people import people


def test_a_typo_in_the_playbook_exits_2_and_names_file_line_and_the_word_meant(acme):
    acme.write_playbook(("inactive_days between 60 and 89", "inactive_day between 60 and 89"))
    done = acme.run("segments")
    assert done.code == 2
    assert "winback.yaml:20:49" in done.err
    assert "inactive_days" in done.err


def test_an_unknown_key_exits_2(acme):
    acme.write_playbook(("guards:", "gards:"))
    done = acme.run("check")
    assert done.code == 2
    assert "guards" in done.err


def test_an_undefined_variable_exits_2_and_names_it(acme):
    acme.environment.pop("HUBSPOT_TOKEN")
    done = acme.run("pull")
    assert done.code == 2
    assert "HUBSPOT_TOKEN" in done.err


def test_a_missing_playbook_exits_2_and_says_how_to_make_one(acme):
    acme.config.unlink()
    done = acme.run("segments")
    assert done.code == 2
    assert "winback init" in done.err


def test_a_wrong_flag_exits_2(acme):
    assert acme.run("segments", "--as-of", "yesterday").code == 2
    assert acme.run("nonsense", now=None).code == 2


def test_a_wrong_token_exits_6_and_is_never_printed(acme):
    acme.environment["HUBSPOT_TOKEN"] = "pat-na1-wrong-token-0815"
    for command in ("check", "pull", "run"):
        done = acme.run(command)
        assert done.code == 6, (command, done.err)
        assert "0815" not in done.out + done.err


def test_an_emptied_source_exits_5_and_leaves_the_lists_alone(acme, sandbox):
    assert acme.run("run").code == 0
    before = sandbox.members_by_list()
    acme.write_usage([])
    done = acme.run("run", now=NOON + timedelta(hours=1))
    assert done.code == 5
    assert "0 rows" in done.err
    assert sandbox.members_by_list() == before


@pytest.mark.parametrize("how", ["incremental", "full"])
def test_a_crm_that_lost_most_of_its_contacts_exits_5_and_leaves_the_lists_alone(acme, sandbox, how):
    assert acme.run("run").code == 0
    before = sandbox.members_by_list()
    sandbox.delete([str(1000 + number) for number in range(1, 50)], for_good=how == "full")
    if how == "full":
        pulled = acme.run("pull", "--full", now=NOON + timedelta(hours=1))
        assert pulled.code == 0, pulled.err
    calls = sandbox.write_count()
    done = acme.run("run", now=NOON + timedelta(hours=2))
    assert done.code == 5, done.err
    assert "last time 60" in done.err
    assert sandbox.write_count() == calls
    assert {name: set(ids) for name, ids in before.items()}.keys() == sandbox.members_by_list().keys()


def test_a_stale_source_exits_5(acme, sandbox):
    acme.stale = "36h"
    acme.write_playbook()
    done = acme.run("run", now=NOON + timedelta(days=5))
    assert done.code == 5
    assert "product" in done.err
    assert not sandbox.members_by_list()


def test_too_large_a_change_exits_5_and_says_the_numbers(acme, sandbox):
    assert acme.run("run").code == 0
    before = sandbox.members_by_list()
    done = acme.run("run", now=NOON + timedelta(days=31))
    assert done.code == 5
    assert "max_change" in done.err
    assert sandbox.members_by_list() == before


def test_an_opt_out_does_not_wait_for_a_refused_plan(acme, sandbox):
    assert acme.run("run").code == 0
    before = {name: set(ids) for name, ids in sandbox.members_by_list().items()}
    sandbox.opt_out(people()[34])
    acme.write_usage([])
    done = acme.run("run", now=NOON + timedelta(hours=1))
    assert done.code == 5, done.err
    after = {name: set(ids) for name, ids in sandbox.members_by_list().items()}
    assert after == {name: ids - {"1035"} for name, ids in before.items()}
    assert not sandbox.properties_of("1035").get("winback_segment")


def test_a_list_that_somebody_made_by_hand_is_not_filled_unseen(acme, sandbox):
    sandbox.make_list("winback · dormant_30")
    done = acme.run("run")
    assert done.code == 0, done.err
    assert "it was there already" in done.err
    assert len(sandbox.members_by_list()["winback · dormant_30"]) == 9


def test_rejected_rows_exit_3_and_the_others_are_written(acme, sandbox):
    sandbox.poison(["1033", "1044"], "Property values were not valid: winback_segment was refused for this record")
    done = acme.run("run", "--json")
    assert done.code == 3, done.err
    document = done.json
    assert document["rejected"] == 2
    assert {r["row_id"] for r in document["rejections"]} == {"1033", "1044"}
    assert all("was refused for this record" in r["message"] for r in document["rejections"])
    assert sandbox.properties_of("1034")["winback_segment"] == "dormant_30"


def test_bad_rows_of_a_file_exit_3_with_their_place_and_the_rest_load(acme):
    with (acme.folder / "data" / "usage.csv").open("a") as file:
        file.write("bad-1,u1,,yesterday,editor\n")
    done = acme.run("pull")
    assert done.code == 3
    assert "usage.csv:602" in done.err
    assert acme.run("segments", "--json").json["contacts"] == 60


def test_a_second_run_at_once_exits_7_and_names_the_holder(acme):
    from connector.clock import SystemClock
    from connector.journal import Journal

    assert acme.run("pull").code == 0
    journal = Journal.open(f"sqlite:///{acme.folder}/state/journal.db", clock=SystemClock())
    try:
        with journal.lock("run"):
            done = acme.run("run")
    finally:
        journal.close()
    assert done.code == 7
    assert str(os.getpid()) in done.err


def test_what_duckdb_raises_at_ctrl_c_in_a_query_is_an_interruption_and_no_fault_of_ours(monkeypatch, capsys):
    def interrupted(**_):
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr(main, "_command", lambda: interrupted)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as stop:
            main.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 130
    assert "interrupted; everything finished so far is kept" in capsys.readouterr().err


def test_ctrl_c_exits_130_and_the_next_run_goes_on(acme, sandbox):
    sandbox.slow(0.4)
    child = subprocess.Popen(
        [sys.executable, "-m", "connector.cli.main", "run", "--config", acme.config, "--now", NOON.isoformat()],
        cwd=ROOT, env={**os.environ, **acme.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while sandbox.request_count() < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    sandbox.slow(0)
    assert acme.run("run").code == 0
    assert len(sandbox.members_by_list()["winback · dormant_30"]) == 9


def test_errors_are_json_too_when_json_was_asked_for(acme):
    acme.environment["HUBSPOT_TOKEN"] = "pat-na1-wrong-token-0815"
    done = acme.run("run", "--json")
    assert set(done.json["error"]) == {"code", "message", "hint"}


@pytest.mark.parametrize("command", ["pull", "segments", "plan", "run", "status", "check", "explain"])
def test_every_command_shows_its_help(acme, command):
    shown = acme.run(command, "--help", now=None)
    assert shown.code == 0
    assert "Usage" in shown.out
