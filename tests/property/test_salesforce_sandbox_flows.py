"""Whoever is a member long enough gets the mail once, whoever left before gets none, whatever happens in what order."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.salesforce.sandbox.flow_engine import FlowEngine
from adapters.salesforce.sandbox.flow_steps import SendMail, Wait
from adapters.salesforce.sandbox.outbound import Outbound
from adapters.salesforce.sandbox.rehearsing import joining
from adapters.salesforce.sandbox.state import State

HOUR = 3_600
WAIT_HOURS = 5
PEOPLE = 3

DEEDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["join", "leave", "delete", "touch"]), st.integers(0, PEOPLE - 1)),
        st.tuples(st.just("pass"), st.integers(1, 4)),
    ),
    max_size=25,
)


class Small:
    """An org with a campaign, a flow on it and a few people; and what should come of it, counted in hours."""

    def __init__(self) -> None:
        self.state = State()
        self.state.clock.freeze(datetime(2026, 11, 21, tzinfo=UTC))
        self.engine = FlowEngine(self.state, Outbound(self.state))
        self.campaign = self.state.insert("Campaign", {"Name": "winback"}).id
        self.people = [
            self.state.insert("Contact", {"LastName": str(n), "Email": f"p{n}@example.com"}).id for n in range(PEOPLE)
        ]
        self.engine.save("Flow", [Wait(WAIT_HOURS * HOUR), SendMail("Hello")], start=joining(self.campaign))
        self.members: dict[int, str] = {}
        self.since: dict[int, int] = {}
        self.now = 0
        self.wanted = [0] * PEOPLE

    def do(self, deed: str, number: int) -> None:
        if deed == "pass":
            self.pass_hours(number)
            return
        member = self.members.get(number)
        if deed == "join" and member is None:
            values = {"CampaignId": self.campaign, "ContactId": self.people[number], "Status": "reminder"}
            self.members[number] = self.state.insert("CampaignMember", values).id
        elif deed == "join" and member is not None:
            self.state.update(member, {"Status": "reminder"})
        elif deed == "touch" and member is not None and number in self.since:
            self.state.update(member, {"Status": f"seen {self.now}"})
        elif deed == "leave" and member is not None:
            self.state.update(member, {"Status": "Exited"})
        elif deed == "delete" and member is not None:
            self.state.delete(member)
            del self.members[number]
        if deed == "join":
            self.since.setdefault(number, self.now)
        elif deed in {"leave", "delete"}:
            self.since.pop(number, None)

    def pass_hours(self, hours: int) -> None:
        for number, since in self.since.items():
            self.wanted[number] += self.now < since + WAIT_HOURS <= self.now + hours
        self.now += hours
        self.state.clock.advance(hours * HOUR)
        self.state.settle()

    def sent(self) -> list[int]:
        return [len(self.engine.mails.of(person)) for person in self.people]


@settings(deadline=None, max_examples=40)
@given(DEEDS)
def test_each_stay_that_lasts_is_mailed_once(deeds):
    org = Small()
    for deed, number in deeds:
        org.do(deed, number)
        assert org.sent() == org.wanted
    inside = {one.person_id for one in org.engine.active("Flow")}
    assert inside == {org.people[n] for n, since in org.since.items() if org.now < since + WAIT_HOURS}
