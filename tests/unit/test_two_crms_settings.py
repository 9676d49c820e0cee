"""The keys for several CRMs: they change nothing where nobody writes them, and a plan where somebody does."""

from __future__ import annotations

import pytest

from connector.crms import crms_of, destinations_in_order
from connector.errors import SettingError
from tests.fakes.two_crms import TwoCrms

MATCH = "match: [external_id, email]"


@pytest.fixture
def both(tmp_path):
    return TwoCrms(tmp_path)


def test_a_playbook_that_says_nothing_of_it_has_the_settings_it_always_had(both):
    with both.opened() as workspace:
        keys = {setting.key for setting in workspace.playbook.resolved()}
        assert {key for key in keys if key.startswith("identity")} == {"identity.match"}


@pytest.mark.parametrize("words", ["primary: beta", "system_of_record: {plan_tier: beta}"])
def test_a_plan_is_stale_once_another_crm_is_believed(both, words):
    with both.opened() as workspace:
        before = workspace.playbook.digest()
    both.write_playbook((MATCH, f"{MATCH}, {words}"))
    with both.opened() as workspace:
        assert workspace.playbook.digest() != before


def test_destinations_come_before_sources_and_the_primary_before_both(both):
    with both.opened() as workspace:
        assert destinations_in_order(workspace) == ["a", "b"]
        assert crms_of(workspace).systems == ("alpha", "beta")
    both.write_playbook((MATCH, f"{MATCH}, primary: beta"))
    with both.opened() as workspace:
        assert destinations_in_order(workspace) == ["b", "a"]
        assert crms_of(workspace).systems == ("beta", "alpha")
    first = '  a: {adapter: alpha, place: "FOLDER"}\n'
    head, _, tail = both.playbook.rpartition(first)
    both.config.write_text((head + tail).replace("FOLDER", str(both.folder)))
    with both.opened() as workspace:
        assert destinations_in_order(workspace) == ["b"]
        assert crms_of(workspace).systems == ("beta", "alpha"), "a CRM that is only read comes last"


def test_with_one_crm_nobody_is_looked_for_elsewhere(both):
    lines = [line for line in both.playbook.splitlines(keepends=True) if "adapter: beta" not in line]
    both.config.write_text("".join(lines).replace("FOLDER", str(both.folder)))
    with both.opened() as workspace:
        assert crms_of(workspace) is None


def test_without_a_destination_there_is_nowhere_to_write(both):
    head, _, _ = both.playbook.partition("destinations:")
    both.config.write_text(head.replace("FOLDER", str(both.folder)))
    with both.opened() as workspace, pytest.raises(SettingError, match="no destination"):
        destinations_in_order(workspace)
