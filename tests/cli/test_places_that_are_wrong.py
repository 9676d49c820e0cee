"""Paths that are folders, files where folders should be, addresses that are none: said plainly, with the next step."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("arguments", [("plan", "--out"), ("apply", "--yes")])
def test_a_folder_in_the_place_of_a_plan_file_exits_2(acme, tmp_path, arguments):
    done = acme.run(*arguments, str(tmp_path))
    assert done.code == 2
    assert "directory" in done.err


def test_there_is_no_plan_to_apply_exits_2_and_says_how_to_make_one(acme):
    done = acme.run("apply", "--yes")
    assert done.code == 2
    assert "winback plan" in done.err


def test_a_state_folder_that_cannot_be_made_is_no_fault_of_winback(acme):
    (acme.folder / "state").write_text("a file where the folder should be")
    done = acme.run("pull")
    assert done.code == 1
    assert "unexpected" not in done.err
    assert "fault of winback" not in done.err
    assert "state" in done.err


@pytest.mark.parametrize("wrong", ["127.0.0.1:8080", "ftp://example.com", "https://"])
def test_a_base_url_that_is_no_address_is_named_with_its_place(acme, wrong):
    acme.write_playbook((acme.base_url, wrong))
    done = acme.run("check")
    assert done.code == 2
    assert "winback.yaml:8:" in done.err
    assert "base_url" in done.err
    assert "https://" in done.err


@pytest.mark.parametrize("url", ["postgresql://bob:hunter2@[::1/db", "postgresql://bob:hunter2@host:port/db"])
def test_a_journal_address_that_cannot_be_read_is_named_without_its_password(acme, url):
    acme.environment["JOURNAL"] = url
    acme.write_playbook(("journal: sqlite:///state/journal.db", 'journal: "${JOURNAL}"'))
    done = acme.run("run")
    assert done.code == 2
    assert "winback.yaml:5:10: journal" in done.err
    assert "hunter2" not in done.err


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("properties: true", "properties: ja", "'ja' is neither true nor false"),
        ("lists: {segments: true}", "lists: true", "'true' is not a table"),
        ("streams: [contacts, companies]", "streams: contacts", "'contacts' is not a list"),
        ("account: acme", "account: [acme]", "a list is not text"),
        ("account: acme", "account:", "nothing stands here"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_the_words_of_the_file(acme, right, wrong, said):
    acme.write_playbook((right, wrong))
    done = acme.run("check")
    assert done.code == 2
    assert said in done.err
    assert "input should" not in done.err


def test_a_table_of_a_stream_that_is_unknown_is_named(acme):
    acme.write_playbook(("      usage:\n", "      usages:\n"))
    done = acme.run("check")
    assert done.code == 2
    assert "sources.product: streams.usages: no table 'usages'" in done.err


def test_how_to_name_the_token_is_shown_as_it_is_to_be_written(acme):
    acme.write_playbook((', auth: {token: "${HUBSPOT_TOKEN}"}', ""))
    done = acme.run("check")
    assert done.code == 6
    assert '`auth: {token: "${HUBSPOT_TOKEN}"}`' in done.out


def test_a_token_written_into_the_playbook_is_refused_in_words_that_can_be_read(acme):
    acme.write_playbook(("${HUBSPOT_TOKEN}", "pat-na1-12345678-1234-1234-1234-123456789012"))
    done = acme.run("check")
    assert done.code == 2
    assert "a secret is written here; the file must only refer to it" in done.err
    assert "12345678" not in done.err


def test_the_scope_that_is_missing_is_the_one_to_add(acme, sandbox):
    sandbox.remove_scope("crm.lists.read")
    done = acme.run("check")
    assert done.code == 6
    assert "add the scope crm.lists.read" in done.out
    assert "add the scope crm.lists.write" not in done.out
