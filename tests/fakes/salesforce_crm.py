"""The Salesforce sandbox as the stories of the command line talk about it; as `Crm`, in Salesforce's words inside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapters.lookalike.faults import Fault
from adapters.salesforce.fields import property_name
from adapters.salesforce.ids import number_of, record_id
from adapters.salesforce.sandbox import start
from adapters.salesforce.sandbox.rules import Poison
from connector.contracts import SandboxOptions
from connector.model import Account, Contact
from tests.fakes.installation import Installation
from tests.fakes.people import NOON, people

EXITED = "Exited"


def person(number: int) -> str:
    """The id of the contact with this number."""
    return record_id("Contact", number)


class SalesforceCrm:
    """A sandbox in this process, without limits, with the sixty people whose silence is known in it."""

    def __init__(self) -> None:
        self.running = start(SandboxOptions(limits=False))
        self.state = self.running.state
        self.state.clock.set(NOON)
        self.base_url, self.auth = self.running.base_url, self.running.auth

    def seed(self, contacts: Iterable[Contact], accounts: Iterable[Account] = ()) -> None:
        self.running.seed(contacts, accounts)

    def installed(self, folder: Path, **settings: Any) -> Installation:
        """An installation beside it, and the people in it."""
        self.seed(people())
        environment = {"SF_CLIENT_ID": self.auth["client_id"], "SF_CLIENT_SECRET": self.auth["client_secret"]}
        return Installation(folder, self.base_url, "", adapter="salesforce", environment=environment, **settings)

    def members_by_list(self) -> dict[str, set[int]]:
        """By campaign of ours, the numbers of those whose status is another than Exited."""
        with self.state.lock:
            members = [row.values for row in self.state.stores["CampaignMember"] if not row.is_deleted]
            campaigns = [row for row in self.state.stores["Campaign"] if not row.is_deleted]
        return {
            row.values["Name"]: {
                number_of(one["ContactId"])
                for one in members
                if one["CampaignId"] == row.id and one["Status"] != EXITED
            }
            for row in campaigns
            if row.values.get("ParentId")
        }

    def values(self) -> dict[int, dict[str, Any]]:
        """By person, what is filled of our properties."""
        with self.state.lock:
            rows = [row for row in self.state.stores["Contact"] if not row.is_deleted]
        found = {number_of(row.id): {property_name(k): v for k, v in row.values.items() if v} for row in rows}
        return {n: {k: v for k, v in held.items() if k and k.startswith("winback_")} for n, held in found.items()}

    def opt_out(self, number: int) -> None:
        with self.state.lock:
            self.state.update(person(number), {"HasOptedOutOfEmail": True})

    def poison(self, numbers: Iterable[int], words: str) -> None:
        self.state.rules.poison.update({person(n): Poison(words, on="record") for n in numbers})

    def faults(self, *kinds: str, share: float = 0.0, seed: int = 0) -> None:
        """Put faults in force by chance, before and after the work alike; none at all clears them."""
        self.running.faults.clear()
        self.running.faults.reseed(seed)
        self.running.faults.add(
            *(Fault(kind, when=when, probability=share, seconds=0.2) for kind in kinds for when in ("before", "after"))
        )

    def made_twice(self) -> list[str]:
        """Names of campaigns of which there are several, and of memberships."""
        names = [row.values["Name"] for row in self.state.stores["Campaign"] if not row.is_deleted]
        members = [
            f"{row.values['CampaignId']} {row.values['ContactId']}"
            for row in self.state.stores["CampaignMember"]
            if not row.is_deleted
        ]
        return sorted({name for listed in (names, members) for name in listed if listed.count(name) > 1})

    def stop(self) -> None:
        self.running.stop()
