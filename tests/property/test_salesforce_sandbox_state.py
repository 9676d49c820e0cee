"""Whatever is done to the org, its books agree with its records."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce.sandbox.answers import RowError
from adapters.salesforce.sandbox.state import State

OPERATIONS = ["insert", "update", "delete", "undelete", "merge", "convert", "join", "leave", "purge", "undo", "wait"]

INDEXED = ["Email", "ContactId", "LeadId", "CampaignId"]


class Doing:
    """Does one thing after another to an org, by the dice."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.state = State()
        self.state.clock.freeze()
        self.campaigns = [self.state.insert("Campaign", {"Name": name}).id for name in "ab"]
        self.stamps: dict[str, int] = {}
        for kind in ("Contact", "Lead", "CampaignMember"):
            for name in INDEXED:
                self.state.stores[kind].index(name)
        self.state.listeners.append(self.hear)
        self.shadow = {row.id: True for store in self.state.stores.values() for row in store.rows.values()}

    def hear(self, kind, before, after):
        """A second set of books, kept from what listeners are told alone."""
        assert (before is not None) == ((before or after).id in self.shadow)
        if after is None:
            del self.shadow[before.id]
        else:
            self.shadow[after.id] = not after.is_deleted
            assert after.stamp_ms > self.stamps.get(after.id, 0)
            self.stamps[after.id] = after.stamp_ms

    def any_of(self, *kinds):
        ids = [one for kind in kinds for one in self.state.stores[kind].rows]
        return self.dice.choice(ids) if ids else "003000000000000AAA"

    def address(self):
        return f"p{self.dice.randrange(4)}@x.example"

    def insert(self):
        kind = self.dice.choice(["Contact", "Lead"])
        company = {"Company": "C"} if kind == "Lead" else {}
        self.state.insert(kind, {"LastName": "X", "Email": self.address(), **company})

    def update(self):
        address = self.address()
        self.state.update(self.any_of("Contact", "Lead"), {"Email": self.dice.choice([address, address.upper(), None])})

    def delete(self):
        self.state.delete(self.any_of("Contact", "Lead", "Account", "CampaignMember"))

    def undelete(self):
        self.state.undelete(self.any_of("Contact", "Lead", "Account"))

    def merge(self):
        self.state.merge(self.any_of("Contact"), [self.any_of("Contact")])

    def convert(self):
        into = self.any_of("Contact") if self.dice.random() < 0.5 else None
        self.state.convert(self.any_of("Lead"), contact_id=into)

    def join(self):
        who = self.any_of("Contact", "Lead")
        link = "ContactId" if who.startswith("003") else "LeadId"
        self.state.insert("CampaignMember", {"CampaignId": self.dice.choice(self.campaigns), link: who})

    def leave(self):
        self.state.delete(self.any_of("CampaignMember"))

    def purge(self):
        gone = [one for kind in ("Contact", "Lead") for one in self.state.stores[kind].bin]
        if gone:
            self.state.purge(self.dice.choice(gone))

    def wait(self):
        self.state.clock.advance(self.dice.choice([0.001, 1, 86_400]))
        self.state.settle()

    def undone(self, operations):
        """Do several things and take all of them back."""
        rows = {kind: dict(store.rows) for kind, store in self.state.stores.items()}
        shadow = dict(self.shadow)
        with self.state.transaction() as transaction:
            for operation in operations:
                self.attempt(operation)
            transaction.take_back()
        assert {kind: dict(store.rows) for kind, store in self.state.stores.items()} == rows
        assert self.shadow == shadow

    def attempt(self, operation):
        try:
            getattr(self, operation)()
        except RowError:
            return


@given(st.integers(0, 2**32), st.lists(st.sampled_from(OPERATIONS), max_size=40))
@settings(deadline=None, max_examples=50)
def test_the_books_agree_with_the_records_whatever_is_done(seed, operations):
    doing = Doing(seed)
    for operation in ["insert"] * 4 + ["join"] * 3 + operations:
        if operation == "undo":
            doing.undone([doing.dice.choice(OPERATIONS[:8]) for _ in range(4)])
        else:
            doing.attempt(operation)
    state = doing.state
    for kind, store in state.stores.items():
        rows = list(store.rows.values())
        assert store.live == sum(not row.is_deleted for row in rows), kind
        assert set(store.bin) == {row.id for row in rows if row.is_deleted}
        assert [row.id for row in store.ids_from("")] == sorted(store.rows)
        by_change = [(row.stamp_ms, row.id) for row in store.changed_from(0)]
        assert by_change == sorted((row.stamp_ms, row.id) for row in rows)
        for name in INDEXED:
            if name in store.sobject.fields and store.sobject.fields[name].derived is None:
                counted = Counter(str(row.values[name]).casefold() for row in rows if name in row.values)
                assert {str(key): len(ids) for key, ids in store.index(name).items()} == counted
        assert {one: live for one, live in doing.shadow.items() if one in store.rows} == {
            row.id: not row.is_deleted for row in rows
        }
    live = [row.values for row in state.stores["CampaignMember"]]
    for link in ("ContactId", "LeadId"):
        pairs = Counter((one["CampaignId"], one[link]) for one in live if one.get(link))
        assert not [pair for pair, times in pairs.items() if times > 1]
    for row in state.stores["Lead"]:
        assert bool(row.values.get("IsConverted")) == ("ConvertedContactId" in row.values)
