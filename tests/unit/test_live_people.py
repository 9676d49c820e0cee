"""Who is meant: by token, record, product id and address, in that order; nobody by a guess."""

from __future__ import annotations

from datetime import timedelta

import pytest

from connector.heard import Who
from connector.live.people import Finder
from tests.fakes.hearing import ANN, ENTERED, KEYS, LINKS, NOW, QUIET, SYSTEM, Ear, address, external_id, token_of


@pytest.fixture
def finder():
    with Ear() as ear:
        ear.journal.known.publish([("record", "hubspot:8", ANN), ("record", "salesforce:9", QUIET)], complete=False)
        yield ear.hearing.finder


def found(finder: Finder, **who: str) -> tuple[str | None, str]:
    answer = finder.contact(Who(**who), now=NOW)
    return answer.contact_id, answer.why


def test_the_first_that_names_somebody_decides(finder):
    everything = {"record": "hubspot:8", "external_id": external_id(QUIET), "email": address(QUIET)}
    assert found(finder, token=token_of(QUIET), **everything) == (QUIET, "token")
    assert found(finder, **everything) == (ANN, "record")
    assert found(finder, external_id=external_id(QUIET), email=address(ANN)) == (QUIET, "external_id")
    assert found(finder, external_id="nobody", email=address(ANN)) == (ANN, "email")
    assert found(finder, external_id="nobody", email="nobody@example.com") == (None, "nobody we know")
    assert found(finder) == (None, "nobody we know")


def test_a_token_that_is_not_ours_names_nobody_and_the_rest_is_not_looked_at(finder):
    answer = finder.contact(Who(token="x.y", record=ANN, email=address(ANN)), now=NOW)
    assert (answer.contact_id, answer.why, answer.addresses) == (None, "the token is not one of ours", ())


def test_a_token_of_a_subject_nobody_remembers_names_nobody(finder):
    assert found(finder, token=token_of("hubspot:77")) == (None, "the token is not one of ours")


def test_a_surveys_token_holds_for_good_and_a_lapsed_link_names_nobody(finder):
    late = ENTERED + timedelta(days=400)
    lapsed = LINKS.token("return", ANN, "win-back/offer", now=ENTERED)
    assert finder.contact(Who(token=token_of(ANN)), now=late).contact_id == ANN
    assert finder.contact(Who(token=lapsed), now=ENTERED).contact_id == ANN
    assert finder.contact(Who(token=lapsed), now=late).contact_id is None


def test_without_links_no_token_names_anybody():
    with Ear() as ear:
        finder = Finder(ear.journal.known, ear.journal.links, KEYS, links=None, system=SYSTEM)
        assert finder.contact(Who(token=token_of(ANN)), now=NOW).contact_id is None


def test_a_record_of_the_crm_is_a_contact_even_if_no_run_has_heard_of_it(finder):
    assert found(finder, record="hubspot:123456") == ("hubspot:123456", "record")
    assert found(finder, record="salesforce:1") == (None, "nobody we know")
    assert found(finder, record="salesforce:9") == (QUIET, "record")


def test_who_was_merged_is_found_as_whom_they_are_now():
    with Ear() as ear:
        ear.journal.known.publish([("record", ANN, QUIET)], complete=False)
        assert found(ear.hearing.finder, record=ANN) == (QUIET, "record")
        assert found(ear.hearing.finder, token=token_of(ANN)) == (QUIET, "token")
        assert ear.hearing.finder.contact(Who(record=ANN), now=NOW, itself=True).contact_id == ANN


def test_an_address_is_compared_as_people_write_it(finder):
    assert found(finder, email=f"  {address(ANN).upper()} ") == (ANN, "email")
    assert found(finder, email="not an address") == (None, "nobody we know")


def test_every_address_of_a_person_is_told_once_and_only_as_a_hash():
    with Ear() as ear:
        ear.journal.known.publish([("email", KEYS.email("second@example.com"), ANN)], complete=False)
        answer = ear.hearing.finder.contact(Who(record=ANN, email=address(ANN)), now=NOW)
        assert set(answer.addresses) == {KEYS.email(address(ANN)), KEYS.email("second@example.com")}
        assert len(answer.addresses) == 2 and "@" not in repr(answer)


def test_a_fact_is_kept_under_what_the_source_knows_and_never_an_address(finder):
    def key(**who: str) -> tuple[str, str]:
        meant = Who(**who)
        return finder.fact_key(meant, finder.contact(meant, now=NOW))

    assert key(external_id="u9", record=ANN) == ("external_id", "u9")
    assert key(record=ANN) == ("contact_id", ANN)
    assert key(email="new@example.com") == ("email", KEYS.email("new@example.com"))
    assert key(email="not an address") == ("nobody", "")


def test_keys_are_not_shown():
    assert repr(KEYS) == "IdentityKeys()"
