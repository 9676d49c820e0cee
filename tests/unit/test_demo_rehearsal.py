"""What the demo asks of a look-alike with workflows, on HubSpot's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import requests

from connector.contracts import Rehearsal, SandboxOptions
from connector.errors import SettingError
from connector.model import Contact
from connector.registry import installed_adapters

HOUR = 3600.0


@pytest.fixture
def crm() -> Iterator[Rehearsal]:
    running = installed_adapters().require("hubspot").sandbox(SandboxOptions(limits=False))
    people = [
        Contact(contact_id=f"hubspot:{n}", email=f"p{n}@example.com", can_email=True, opted_out=n == 13)
        for n in (11, 12, 13)
    ]
    running.seed(people, ())
    headers = {"Authorization": f"Bearer {running.auth['token']}"}
    body = {"name": "winback · offer", "objectTypeId": "0-1", "processingType": "MANUAL"}
    requests.post(f"{running.base_url}/crm/lists/2026-03", json=body, headers=headers, timeout=10).raise_for_status()
    yield running
    running.stop()


def join(crm: Rehearsal, *numbers: int) -> None:
    body = {"list": "winback · offer", "add": list(numbers)}
    requests.post(f"{crm.base_url}/_sandbox/members", json=body, timeout=10).raise_for_status()
    crm.advance(HOUR)


def test_the_sandbox_of_hubspot_can_be_rehearsed_on(crm):
    assert isinstance(crm, Rehearsal)
    assert list(crm.mails()) == []


def test_who_joins_the_list_gets_the_mail_once_and_who_opted_out_does_not(crm):
    crm.workflow("winback · offer", "Offer")
    join(crm, 11, 13)
    assert [(mail.number, mail.contact_id, mail.name) for mail in crm.mails()] == [
        (1, "11", "Offer"),
        (2, "13", "Offer"),
    ]
    assert [mail.sent for mail in crm.mails()] == [True, False]
    crm.advance(24 * HOUR)
    assert len(crm.mails()) == 2
    join(crm, 12)
    assert [mail.contact_id for mail in crm.mails(2)] == ["12"]


def test_a_mail_waits_for_its_hour(crm):
    crm.workflow("winback · offer", "Offer", wait_until="winback_send_at")
    now = requests.get(f"{crm.base_url}/_sandbox/clock", timeout=10).json()["now"]
    later = datetime.fromisoformat(now) + timedelta(hours=5)
    body = {"contacts": [{"id": "11", "properties": {"winback_send_at": later.isoformat().replace("+00:00", "Z")}}]}
    requests.post(f"{crm.base_url}/_sandbox/contacts", json=body, timeout=10).raise_for_status()
    join(crm, 11)
    assert not crm.mails()
    crm.advance(6 * HOUR)
    (mail,) = crm.mails()
    assert abs((mail.at - later).total_seconds()) < 60


def test_the_same_workflow_is_made_once_and_a_list_must_be_there(crm):
    assert crm.workflow("winback · offer", "Offer") == crm.workflow("winback · offer", "Offer")
    with pytest.raises(SettingError, match="no list 'winback · nowhere'"):
        crm.workflow("winback · nowhere", "Nothing")


def test_what_people_do_with_a_mail_is_what_the_crm_then_says(crm):
    crm.workflow("winback · offer", "Offer")
    join(crm, 11, 12)
    crm.happen("11", "click")
    crm.happen("12", "unsubscribe", mail=2)
    headers = {"Authorization": f"Bearer {crm.auth['token']}"}

    def said(number: int) -> dict:
        names = "hs_email_last_click_date,hs_email_optout"
        url = f"{crm.base_url}/crm/objects/2026-03/contacts/{number}"
        return requests.get(url, params={"properties": names}, headers=headers, timeout=10).json()["properties"]

    assert said(11)["hs_email_last_click_date"]
    assert said(12)["hs_email_optout"] == "true"
