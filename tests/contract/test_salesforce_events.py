"""Deals, mails and opt-outs out of Salesforce: the source suite, and what is their own."""

from __future__ import annotations

import pytest

from adapters.salesforce.ids import record_id
from adapters.salesforce.responses import responded_at
from tests.contract.source_suite import SourceSuite, keys_of, read_all, rows_of
from tests.fakes.salesforce_worlds import SalesforceWorld, contact, lead


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch):
    monkeypatch.setattr("adapters.salesforce.walking.REST_IS_CHEAPER_BELOW", 30)
    monkeypatch.setattr("adapters.salesforce.walking.ROWS_PER_PAGE", 40)
    monkeypatch.setattr("adapters.salesforce.walking.BULK_ROWS_PER_PAGE", 40)
    monkeypatch.setattr("adapters.salesforce.bulk_query.ROWS_PER_PIECE", 60)


def rows_by(pages, key="event_id"):
    return {row[key]: row for page in pages for row in rows_of(page)}


# --- deals ---


class DealWorld(SalesforceWorld):
    """An org with opportunities: every second one is won."""

    def __init__(self, work_dir, *, deals=0, **options):
        super().__init__(work_dir, stream="transactions", accounts=20, contacts=30, **options)
        for number in range(deals):
            self.deal(won=number % 2 == 0, AccountId=record_id("Account", number % 20 + 1))
        self.pass_time(3600)

    def deal(self, *, won=True, **values):
        stage = "Closed Won" if won else "Prospecting"
        day = self.clock.now().date().isoformat()
        usual = {"Name": "A deal", "StageName": stage, "CloseDate": day, "Amount": 1200.5, "Type": "New Business"}
        return self.insert("Opportunity", **{**usual, **values})

    def role(self, deal, person, *, primary=True):
        return self.insert("OpportunityContactRole", OpportunityId=deal, ContactId=person, IsPrimary=primary)

    def keys(self):
        won = (row for row in self.store() if row.values["StageName"] == "Closed Won")
        return {row.id for row in won if row.values.get("Amount") is not None}


class TestDealsByBulk(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = DealWorld(tmp_path, deals=150, behaviour={"bulk_page_rows": 60})
        yield world
        world.stop()


class TestDealsByPages(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = DealWorld(tmp_path, deals=150, backfill="rest", behaviour={"page_rows": 50})
        yield world
        world.stop()


@pytest.fixture
def deals(tmp_path):
    world = DealWorld(tmp_path)
    yield world
    world.stop()


def test_a_deal_belongs_to_its_primary_contact_else_to_its_contact_else_to_the_account(deals):
    account = record_id("Account", 3)
    with_role, with_contact, alone = (
        deals.deal(AccountId=account, ContactId=contact(2)),
        deals.deal(AccountId=account, ContactId=contact(4)),
        deals.deal(AccountId=account),
    )
    deals.role(with_role, contact(9))
    deals.role(with_contact, contact(9), primary=False)
    deals.pass_time(600)
    pages = read_all(deals)
    first = rows_by(pages, "Id")
    changed = rows_by(read_all(deals, pages[-1].cursor), "Id")
    assert {key: row["PersonOrAccountId"] for key, row in first.items()} == {
        with_role: contact(9), with_contact: contact(4), alone: account,
    }  # fmt: skip
    deals.edit([with_role, with_contact, alone], Name="Renamed")
    deals.pass_time(600)
    again = rows_by(read_all(deals, pages[-1].cursor), "Id")
    assert {key: row["PersonOrAccountId"] for key, row in again.items()} == {
        key: row["PersonOrAccountId"] for key, row in first.items()
    }
    assert set(changed) <= set(first)
    assert first[alone]["Amount"] == "1200.5" and first[alone]["Type"] == "New Business"


def test_only_what_was_won_and_is_worth_something_is_read(deals):
    deals.deal(won=False)
    deals.deal(Amount=None)
    open_deal = deals.deal(won=False)
    deals.pass_time(3600)
    pages = read_all(deals)
    assert keys_of(pages, "Id") == []
    deals.edit([open_deal], StageName="Closed Won")
    deals.pass_time(600)
    assert keys_of(read_all(deals, pages[-1].cursor), "Id") == [open_deal]


def test_a_full_reading_replaces_what_earlier_ones_brought_and_a_resumed_one_does_not(deals):
    for _ in range(90):
        deals.deal(AccountId=record_id("Account", 1))
    deals.pass_time(600)
    pages = read_all(deals)
    assert {page.origin for page in pages} == {"salesforce opportunities"}
    assert sum(page.replaces_origin for page in pages) == 1
    started = next(place for place, page in enumerate(pages) if page.replaces_origin)
    assert started > 0 and not len(pages[0].records)  # a job was begun, and a run may die before its first record
    assert [page.replaces_origin for page in read_all(deals, pages[0].cursor)].count(True) == 1
    resumed = read_all(deals, pages[started].cursor)
    assert not any(page.replaces_origin for page in resumed)
    assert not any(page.replaces_origin for page in read_all(deals, pages[-1].cursor))


def test_a_full_reading_that_finds_nothing_replaces_too(deals):
    assert [page.replaces_origin for page in read_all(deals)] == [True]


def test_contact_roles_that_may_not_be_read_leave_the_deal_to_the_account(deals):
    account = record_id("Account", 3)
    deal = deals.deal(AccountId=account)
    deals.role(deal, contact(9))
    deals.state.access.denied.add("OpportunityContactRole.read")
    deals.state.access.forget()
    assert rows_by(read_all(deals), "Id")[deal]["PersonOrAccountId"] == account


# --- mails ---


class MailWorld(SalesforceWorld):
    """An org whose timeline holds mails; every contact got one, every third opened it, every fifth answered."""

    key = "event_id"

    def __init__(self, work_dir, *, mails=0, **options):
        super().__init__(work_dir, stream="engagements", contacts=mails, leads=3, **options)
        self.expected = set()
        for number in range(1, mails + 1):
            self.mail(contact(number), opened=number % 3 == 0)
            if number % 5 == 0:
                self.mail(contact(number), incoming=True)
        self.pass_time(3600)

    def mail(self, who, *, incoming=False, opened=False, bounced=False):
        now_ms = self.state.clock.now_ms()
        message = self.insert("EmailMessage", Subject="Hello", Incoming=incoming, MessageDate=now_ms)
        self.insert(
            "EmailMessageRelation",
            EmailMessageId=message,
            RelationId=who,
            RelationType="FromAddress" if incoming else "ToAddress",
        )
        kinds = ["reply"] if incoming else ["bounce" if bounced else "delivered"]
        if opened or bounced:
            values = {"IsOpened": opened, "FirstOpenedDate": now_ms if opened else None, "IsBounced": bounced}
            self.see(message, **{name: value for name, value in values.items() if value})
        kinds += ["open"] * opened
        self.expected |= {f"{message}-{who}-{kind}" for kind in kinds}
        return message

    def see(self, message, **values):
        row = self.state.row(message)
        self.state.rewrite(row, {**row.values, **values})

    def keys(self):
        return set(self.expected)

    def change(self):
        messages = sorted({key.split("-")[0] for key in self.expected if key.endswith("delivered")})[:5]
        now_ms = self.state.clock.now_ms()
        changed = set()
        for message in messages:
            self.see(message, IsOpened=True, FirstOpenedDate=now_ms)
            who = next(key.split("-")[1] for key in self.expected if key.startswith(message))
            changed.add(f"{message}-{who}-open")
        self.expected |= changed
        self.pass_time(600)
        return changed


class TestMails(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = MailWorld(tmp_path, mails=90)
        yield world
        world.stop()


@pytest.fixture
def mails(tmp_path):
    world = MailWorld(tmp_path)
    yield world
    world.stop()


def test_a_mail_is_told_with_its_moments_and_nothing_of_its_words(mails):
    sent = mails.mail(lead(1), opened=True)
    lost = mails.mail(lead(2), bounced=True)
    answer = mails.mail(lead(1), incoming=True)
    rows = rows_by(read_all(mails))
    kinds = {(key.split("-")[0], row["kind"]) for key, row in rows.items()}
    assert kinds == {(sent, "delivered"), (sent, "open"), (lost, "bounce"), (answer, "reply")}
    assert set(next(iter(rows.values()))) == {"PersonId", "at", "kind", "event_id", "__place"}


def test_colleagues_on_a_mail_are_nobody_to_win_back(mails):
    message = mails.mail(lead(1))
    mails.insert(
        "EmailMessageRelation",
        EmailMessageId=message,
        RelationId=mails.state.admin_user,
        RelationType="FromAddress",
    )
    assert {row["PersonId"] for row in rows_by(read_all(mails)).values()} == {lead(1)}


def test_what_people_do_with_a_mail_that_a_flow_sent_is_read_and_clicks_are_not_made_up(mails):
    campaign = mails.insert("Campaign", Name="winback · cold", IsActive=True)
    mails.sandbox.workflow("winback · cold", "Come back")
    for number in (1, 2, 3):
        mails.insert("CampaignMember", CampaignId=campaign, LeadId=lead(number), Status="cold")
    mails.pass_time(1200)
    cursor = read_all(mails)[-1].cursor
    mails.pass_time(3600)
    for number, what in ((1, "open"), (1, "click"), (2, "reply"), (3, "bounce")):
        mails.sandbox.happen(lead(number), what)
    mails.pass_time(600)
    told = {(row["PersonId"], row["kind"]) for row in rows_by(read_all(mails, cursor)).values()}
    assert told == {
        (lead(1), "delivered"), (lead(1), "open"), (lead(2), "reply"), (lead(3), "bounce"),
    }  # fmt: skip


def test_without_kept_mails_closed_tasks_of_that_kind_stand_for_them(mails):
    mails.state.access.denied.add("EmailMessageRelation.read")
    mails.state.access.forget()
    task = mails.insert("Task", WhoId=lead(1), Subject="Email: hello", TaskSubtype="Email", Status="Completed")
    mails.insert("Task", WhoId=lead(1), Subject="Call", TaskSubtype="Call", Status="Completed")
    mails.insert("Task", WhoId=lead(2), Subject="Email: later", TaskSubtype="Email", Status="Not Started")
    rows = rows_by(read_all(mails))
    assert list(rows) == [f"{task}-{lead(1)}-delivered"]


def test_a_field_that_the_playbook_maps_comes_with_every_event(mails):
    from adapters.salesforce.source import SalesforceSource

    mails.mail(lead(1))
    connection = mails.connection(streams=("engagements",))
    connection.fields["engagements"] = [*connection.fields["engagements"], "EmailMessage.Subject"]
    pages = list(SalesforceSource(connection).read("engagements", None))
    assert [row["EmailMessage.Subject"] for page in pages for row in rows_of(page)] == ["Hello"]


# --- opt-outs that stand beside the person ---


class ConsentWorld(SalesforceWorld):
    """An org that keeps consent of individuals: each of the first contacts is one, and said no to mail."""

    key = "event_id"

    def __init__(self, work_dir, *, denials=0, **options):
        super().__init__(work_dir, stream="consents", contacts=denials + 5, leads=5, **options)
        self.expected = set()
        for number in range(1, denials + 1):
            self.deny(self.individual(contact(number)))
        self.pass_time(3600)

    def individual(self, *who):
        made = self.insert("Individual", LastName="Somebody")
        self.edit(who, IndividualId=made)
        return made

    def deny(self, individual, *, channel="Email", status="OptOut", **values):
        usual = {"Name": "Consent", "PartyId": individual, "ContactPointType": channel, "PrivacyConsentStatus": status}
        made = self.insert("ContactPointTypeConsent", **{**usual, **values})
        if (channel, status) == ("Email", "OptOut"):
            self.expect(made, individual)
        return made

    def expect(self, made, individual):
        for kind in ("Contact", "Lead"):
            found = self.state.stores[kind].matching("IndividualId", individual)
            self.expected |= {f"{made}-{row.id}" for row in found}

    def keys(self):
        return set(self.expected)

    def change(self):
        before = set(self.expected)
        free = [row.id for row in self.state.stores["Contact"] if not row.values.get("IndividualId")]
        for row_id in free[:3]:
            self.deny(self.individual(row_id))
        self.pass_time(600)
        return self.expected - before


class TestConsents(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = ConsentWorld(tmp_path, denials=70)
        yield world
        world.stop()


class TestConsentsOfMany(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path, monkeypatch):
        monkeypatch.setattr("adapters.salesforce.consents.LOOKED_UP_BELOW", 10)
        world = ConsentWorld(tmp_path, denials=70)
        yield world
        world.stop()


@pytest.fixture
def consents(tmp_path):
    world = ConsentWorld(tmp_path)
    yield world
    world.stop()


def test_a_no_is_an_unsubscribe_of_everybody_who_is_that_individual(consents):
    individual = consents.individual(contact(1), lead(2))
    consents.deny(individual)
    rows = rows_by(read_all(consents))
    assert {(row["PersonId"], row["kind"]) for row in rows.values()} == {
        (contact(1), "unsubscribe"), (lead(2), "unsubscribe"),
    }  # fmt: skip


@pytest.mark.parametrize(("channel", "status"), [("Email", "OptIn"), ("Phone", "OptOut"), ("Email", "NotSeen")])
def test_only_a_no_to_mail_is_one(consents, channel, status):
    consents.deny(consents.individual(contact(1)), channel=channel, status=status)
    assert keys_of(read_all(consents), "event_id") == []


def test_a_no_that_was_there_before_the_person_was_that_individual_is_found_when_they_are(consents):
    individual = consents.insert("Individual", LastName="Somebody")
    made = consents.deny(individual)
    consents.pass_time(3600)
    cursor = read_all(consents)[-1].cursor
    consents.pass_time(3600)
    consents.edit([lead(3)], IndividualId=individual)
    consents.pass_time(600)
    assert keys_of(read_all(consents, cursor), "event_id") == [f"{made}-{lead(3)}"]


def test_a_no_holds_from_when_it_was_stored_even_if_it_is_meant_for_later(consents):
    later = consents.state.clock.now_ms() + 90 * 86_400_000
    consents.deny(consents.individual(contact(1)), EffectiveFrom=later)
    (row,) = rows_by(read_all(consents)).values()
    assert row["at"] <= consents.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_an_org_without_individuals_has_none_and_it_costs_no_query(consents):
    consents.state.behave({"individuals": False})
    cursor = read_all(consents)[-1].cursor
    before = consents.calls()
    assert keys_of(read_all(consents, cursor), "event_id") == []
    assert consents.calls() == before


# --- campaign members who responded ---


class ResponseWorld(SalesforceWorld):
    """An org with a campaign of its own, to which every second person responded."""

    def __init__(self, work_dir, *, members=0, **options):
        super().__init__(work_dir, stream="responses", contacts=max(members, 2), **options)
        self.campaign = self.insert("Campaign", Name="Webinar", IsActive=True)
        for number in range(1, members + 1):
            self.respond(contact(number), "Responded" if number % 2 else "Sent")
        self.pass_time(3600)

    def respond(self, person, status="Responded"):
        return self.insert("CampaignMember", CampaignId=self.campaign, ContactId=person, Status=status)

    def keys(self):
        return {f"{row.id}-responded" for row in self.store() if row.values["Status"] == "Responded"}

    def change(self):
        sent = [row.id for row in self.store() if row.values["Status"] == "Sent"][:3]
        self.edit(sent, Status="Responded")
        self.pass_time(600)
        return {f"{member}-responded" for member in sent}

    key = "event_id"


class TestResponses(SourceSuite):
    @pytest.fixture
    def world(self, tmp_path):
        world = ResponseWorld(tmp_path, members=150)
        yield world
        world.stop()


def test_a_response_is_a_reply_to_its_campaign(tmp_path):
    world = ResponseWorld(tmp_path, members=1)
    try:
        (row,) = rows_by(read_all(world)).values()
        assert (row["PersonId"], row["kind"], row["campaign"]) == (contact(1), "reply", "Webinar")
    finally:
        world.stop()


@pytest.mark.parametrize(
    ("day", "stored", "at"),
    [
        (None, "2026-11-21T10:00:00.000Z", "2026-11-21T10:00:00.000Z"),
        ("2026-11-21", "2026-11-21T10:00:00.000Z", "2026-11-21T10:00:00.000Z"),
        ("2026-11-19", "2026-11-21T10:00:00.000Z", "2026-11-19T23:59:59.000Z"),
    ],
)
def test_a_response_is_of_its_day_and_never_later_than_it_was_stored(day, stored, at):
    assert responded_at(day, stored) == at
