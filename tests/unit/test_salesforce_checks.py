"""What `winback check` says of a Salesforce org, on the sandbox."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connector.model import Severity
from tests.fakes.salesforce_worlds import SalesforceWorld


@pytest.fixture
def world(tmp_path):
    world = SalesforceWorld(tmp_path, contacts=3, leads=3, accounts=3)
    yield world
    world.stop()


def found(world, **options):
    source = world.source(**options)
    findings = list(source.check())
    source.close()
    return findings


def about(findings, subject):
    return [finding for finding in findings if finding.subject == subject]


def test_a_good_org_is_named_with_its_edition_version_and_what_is_left(world):
    findings = found(world)
    (login,) = about(findings, "salesforce login")
    assert login.message.startswith(f"org {world.state.org_id}") and "sandbox" in login.message
    (version,) = about(findings, "salesforce API 66.0")
    assert version.severity is Severity.OK and "68.0" in version.message
    (left,) = about(findings, "salesforce API calls in 24 hours")
    assert left.severity is Severity.OK
    assert world.budget.observed


def test_nothing_is_changed_by_looking(world):
    before = len(world.sandbox.log)
    found(world)
    methods = {entry.method for entry in list(world.sandbox.log.entries())[before:]}
    assert methods == {"GET", "POST"}
    posts = [entry.path for entry in world.sandbox.log.entries() if entry.method == "POST"]
    assert set(posts) == {"/services/oauth2/token"}


def test_a_hidden_field_is_named_with_its_object_and_the_permission_set(world):
    world.state.access.hidden |= {"Contact.Title", "Lead.Title"}
    world.state.access.forget()
    (gap,) = about(found(world), "salesforce Contact.Title")
    assert gap.severity is Severity.WARNING and "field-level security" in gap.message
    assert "Winback Integration" in gap.fix and "Contact.Title" in gap.fix


def test_a_hidden_opt_out_is_an_error_of_permissions(world):
    world.state.access.hidden.add("Lead.HasOptedOutOfEmail")
    world.state.access.forget()
    (gap,) = about(found(world), "salesforce Lead.HasOptedOutOfEmail")
    assert gap.severity is Severity.ERROR and gap.credentials


def test_an_object_that_may_not_be_read_is_an_error_of_permissions(world):
    world.state.access.denied.add("Lead.read")
    world.state.access.forget()
    (gap,) = about(found(world), "salesforce leads")
    assert gap.severity is Severity.ERROR and gap.credentials and "Winback Integration" in gap.fix


def test_a_field_the_playbook_maps_and_the_org_lacks_is_named_with_a_near_one(world):
    mapping = {"contacts": {"external_id": "Product_User_Idd__c"}}
    connection = world.connection(mapping=mapping)
    connection.fields["contacts"] = [*connection.fields["contacts"], "Product_User_Idd__c"]
    from adapters.salesforce.source import SalesforceSource

    (gap,) = about(list(SalesforceSource(connection).check()), "salesforce Contact.Product_User_Idd__c")
    assert gap.severity is Severity.WARNING and "Product_User_Id__c" in gap.fix


def test_the_shipped_custom_fields_an_org_lacks_are_one_line_a_stream(world):
    findings = found(world)
    (gap,) = about(findings, "salesforce contacts custom fields")
    assert "Contact.Consent_Basis__c" in gap.message and "winback.yaml" not in gap.subject
    assert sum(finding.severity is Severity.WARNING for finding in findings) <= 3


def test_limits_that_are_nearly_used_up_are_a_warning(world):
    world.sandbox.meter.set_used(81_000, now_ms=world.state.clock.now_ms())
    (left,) = about(found(world), "salesforce API calls in 24 hours")
    assert left.severity is Severity.WARNING and left.fix


def test_without_the_permission_to_see_limits_the_rest_is_still_checked(world):
    world.state.access.permissions.discard("ViewSetup")
    findings = found(world)
    assert about(findings, "salesforce contacts") and not about(findings, "salesforce API calls in 24 hours")


@pytest.mark.parametrize(
    ("version", "severity", "word"),
    [
        ("66.0", Severity.OK, "up to 68.0"),
        ("60.0", Severity.WARNING, "promised until February 2027"),
        ("40.0", Severity.ERROR, "too old"),
        ("99.0", Severity.ERROR, "does not answer"),
    ],
)
def test_a_version_is_judged_by_what_the_org_answers_to_and_how_long_it_is_promised(world, version, severity, word):
    findings = found(world, api_version=version)
    (told,) = about(findings, f"salesforce API {version}")
    assert told.severity is severity and word in told.message
    assert severity is Severity.OK or "api_version" in told.fix


def test_an_org_without_api_is_an_error_of_permissions(world):
    world.state.access.permissions.discard("ApiEnabled")
    bad = [finding for finding in found(world) if finding.severity is Severity.ERROR]
    assert bad and bad[0].credentials and bad[0].fix


def test_a_clock_that_is_off_is_noticed(world, monkeypatch):
    from adapters.salesforce.client import SalesforceClient

    learn = SalesforceClient._learn

    def later(self, headers):
        learn(self, headers)
        self.clock_ahead = timedelta(minutes=7)

    monkeypatch.setattr(SalesforceClient, "_learn", later)
    (clock,) = about(found(world), "clock")
    assert clock.severity is Severity.WARNING and "+420 s" in clock.message


def test_an_org_that_keeps_no_consent_apart_is_no_fault(world):
    world.state.behave({"individuals": False})
    (kept,) = about(found(world), "salesforce consents")
    assert kept.severity is Severity.OK and "keeps none" in kept.message
