"""HubSpot and Salesforce in one install, both look-alikes with flows that send: nobody gets two mails, a no is one in both."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.sandbox import start
from connector.contracts import SandboxOptions
from connector.wanted import program_list_name
from tests.cli.test_program import STEPS, day, step_lists, with_program
from tests.fakes.installation import NOON, Installation
from tests.fakes.people import OPTED_OUT, people, usage

IN_HUBSPOT, IN_SALESFORCE = range(1, 46), range(36, 61)
REFUSES = 41
"""Opted out in Salesforce alone."""

A_DAY = 86400.0


def number_of(person) -> int:
    return int(person.external_id.removeprefix("u"))


def contact(number: int) -> str:
    """The Salesforce record of this person."""
    return record_id("Contact", 1000 + number)


@pytest.fixture
def salesforce():
    running = start(SandboxOptions(limits=False))
    running.state.clock.set(NOON)
    running.seed(
        [
            replace(
                person, contact_id=f"salesforce:{1000 + number}", last_name="Lee",
                opted_out=person.opted_out or number == REFUSES,
            )
            for person in people()
            if (number := number_of(person)) in IN_SALESFORCE
        ],
        (),
    )  # fmt: skip
    yield running
    running.stop()


@pytest.fixture
def acme(tmp_path, sandbox, salesforce):
    sandbox.seed([person for person in people() if number_of(person) in IN_HUBSPOT], ())
    made = Installation(tmp_path / "acme", sandbox.base_url, sandbox.auth["token"])
    made.write_usage(usage())
    with_program(made)
    auth = ", ".join(f'{name}: "${{SF_{name.upper()}}}"' for name in salesforce.auth)
    connection = (
        f'{{adapter: salesforce, base_url: "{salesforce.base_url}", auth: {{{auth}}}, streams: [contacts, leads]}}'
    )
    text = made.config.read_text().replace("  product:\n", f"  sf: {connection}\n  product:\n", 1)
    made.config.write_text(text.rstrip() + "\n  sf: {}\n")
    made.environment |= {f"SF_{name.upper()}": value for name, value in salesforce.auth.items()}
    return made


def members(salesforce, name: str) -> set[str]:
    """Who is on the campaign of this name and has not left it."""
    campaigns, joined = salesforce.state.stores["Campaign"], salesforce.state.stores["CampaignMember"]
    called_so = {row.get("Id") for row in campaigns if row.get("Name") == name}
    return {
        row.get("ContactId")
        for row in joined
        if row.get("CampaignId") in called_so and row.get("Status") != "Exited" and not row.is_deleted
    }


def run(acme, number: float) -> dict:
    done = acme.run("run", "--json", now=day(0) + (day(1) - day(0)) * number)
    assert done.code == 0, done.err
    return done.json


def test_one_person_in_both_gets_one_mail_and_a_no_reaches_both(acme, sandbox, salesforce):
    run(acme, 0)
    for step in STEPS:
        for crm in (sandbox.running, salesforce):
            crm.workflow(program_list_name("win-back", step), f"win-back: {step}")
    run(acme, 1)
    worked_there = {contact(number) for number in range(46, 60)} - {contact(number) for number in OPTED_OUT}
    assert members(salesforce, "winback · win-back · reminder") == worked_there
    worked_here = {str(1000 + number) for number in range(31, 46) if number not in {*OPTED_OUT, REFUSES}}
    assert step_lists(sandbox)["reminder"] == worked_here
    shown = {contact(number) for number in range(36, 40)}
    assert shown <= members(salesforce, "winback · dormant_30")
    for crm in (sandbox.running, salesforce):
        crm.advance(A_DAY)
    mailed = Counter(mail.contact_id for mail in sandbox.running.mails() if mail.sent)
    mailed.update(
        str(1000 + number)
        for number in IN_SALESFORCE
        for mail in salesforce.mails()
        if mail.sent and mail.contact_id == contact(number)
    )
    assert set(mailed.values()) == {1}
    assert len(mailed) == len(worked_here) + len(worked_there)
    assert sandbox.properties_of(str(1000 + REFUSES))["hs_email_optout"] == "true"
    sandbox.opt_out(next(person for person in people() if number_of(person) == 38))
    run(acme, 2)
    assert salesforce.state.stores["Contact"].find(contact(38)).get("HasOptedOutOfEmail") is True
    assert contact(38) not in members(salesforce, "winback · dormant_30")
    assert run(acme, 2.1)["written"] == 0
