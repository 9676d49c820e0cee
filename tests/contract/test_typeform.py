"""Typeform: what it sends is verified, understood once, and read again where it was missed."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from connector.errors import CredentialsError, MalformedPayload, RejectedError
from connector.heard import Given, Who
from connector.paging import PagingError
from tests.fakes.survey_vendors import NOW, TOKEN, TypeformApi, arriving, asking, fixture, item, keys
from webhooks import signatures
from webhooks.typeform import RECEIVER, TypeformOptions

SECRET = "wb-secret"
FORM = "aBcD12"
TOKEN_OF_RESPONSE = "a3a12ec67a1365927098a606107fac15"
OPTIONS = TypeformOptions(
    secret=SECRET,
    token="tfp_sample",
    forms=(FORM,),
    questions={"why": "reason", "f2": "score", "more": "comment"},
    choices={"too expensive": "price", "c2": "not_now"},
)


def delivery(name: str, **headers: str):
    body = json.dumps(fixture("typeform", name), ensure_ascii=False).encode()
    return arriving(body, **{"Typeform-Signature": signatures.typeform(SECRET, body), **headers})


def heard(name: str, options: TypeformOptions = OPTIONS):
    (event,) = RECEIVER.parse(options, delivery(name)).events
    (answered,) = RECEIVER.understand(options, event)
    return answered


VECTORS = [
    (
        "wb-secret",
        b'{"event_id":"01JWB","event_type":"form_response","form_response":{"form_id":"aBcD12","token":"tok1"}}',
        "sha256=76tP9NCKYx0qN/z7LZxaxt/fOduDETp7kXyXCuoMDwQ=",
    ),
    (
        "a-test-signing-secret",
        b'{"event_id":"01H","event_type":"form_response"}',
        "sha256=AYT0mLGvcU9U811QbNA3MfIPqZc4wQh7/YxWuhUNcvo=",
    ),
    (
        "winback-typeform-secret",
        '{"event_id":"LtWXD3crgy","event_type":"form_response","form_response":{"token":"a3a12ec67a1365927098a606107fac15","hidden":{"wb":"tok"},"answers":[{"type":"text","text":"Zoë — =1+1"}]}}'.encode(),
        "sha256=X1G4vM6+QIaYUc3bLP3DKL/LhVmgcH1DUriih01hQpI=",
    ),
]


@pytest.mark.parametrize(("secret", "body", "signature"), VECTORS)
def test_a_signature_of_the_known_vectors_is_believed(secret, body, signature):
    options = TypeformOptions(secret=secret)
    assert RECEIVER.verify(options, arriving(body, Typeform_Signature=signature)).ok
    assert RECEIVER.sign(options, "POST", "", body, NOW) == {"Typeform-Signature": signature}


@pytest.mark.parametrize(("secret", "body", "signature"), VECTORS)
def test_anything_but_the_exact_signature_is_refused(secret, body, signature):
    options = TypeformOptions(secret=secret)
    wrong = [
        arriving(body),
        arriving(body, Typeform_Signature=""),
        arriving(body, Typeform_Signature=f" {signature}"),
        arriving(body, Typeform_Signature=signature.removeprefix("sha256=")),
        arriving(body, Typeform_Signature=signature.replace("sha256=", "sha512=")),
        arriving(body, Typeform_Signature="é" + signature),
        arriving(body + b"\n", Typeform_Signature=signature),
        arriving(bytes([body[0] ^ 1]) + body[1:], Typeform_Signature=signature),
    ]
    assert [RECEIVER.verify(options, one).ok for one in wrong] == [False] * len(wrong)
    assert not RECEIVER.verify(TypeformOptions(), arriving(body, Typeform_Signature=signature)).ok
    assert not RECEIVER.verify(TypeformOptions(secret="other"), arriving(body, Typeform_Signature=signature)).ok


def test_both_secrets_are_good_while_one_is_being_changed():
    body = b"{}"
    signed = arriving(body, Typeform_Signature=signatures.typeform("old", body))
    assert RECEIVER.verify(TypeformOptions(secret=["new", "old"]), signed).ok
    assert not RECEIVER.verify(TypeformOptions(secret="new"), signed).ok


def test_an_answer_is_understood_in_the_playbooks_words():
    answered = heard("form_response")
    assert answered.who == Who(token=TOKEN)
    assert answered.at == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert (answered.source, answered.survey, answered.response) == ("typeform", FORM, TOKEN_OF_RESPONSE)
    assert answered.complete
    assert answered.answers == (
        Given(
            question="why", kind="choice", title="Why did you leave?", choice=("too expensive",), text="Too expensive"
        ),
        Given(question="f2", kind="score", title="Would you recommend us?", text="6", number=6.0),
        Given(question="more", kind="text", title="What would bring you back?", text="Zoë – I would return with SSO"),
    )


def test_the_key_is_kind_and_token_so_that_an_unfinished_answer_can_be_finished():
    (unfinished,) = RECEIVER.parse(OPTIONS, delivery("form_response_partial")).events
    (finished,) = RECEIVER.parse(OPTIONS, delivery("form_response")).events
    assert unfinished.key == f"form_response_partial:{TOKEN_OF_RESPONSE}"
    assert finished.key == f"form_response:{TOKEN_OF_RESPONSE}"
    first, second = heard("form_response_partial"), heard("form_response")
    assert first.response == second.response
    assert (first.complete, second.complete) == (False, True)
    assert first.at == datetime(2026, 11, 1, 9, 58, 10, tzinfo=UTC), "the zero date is no date"


def test_every_kind_of_answer_is_understood_and_what_says_who_somebody_is_is_not_kept():
    (event,) = RECEIVER.parse(OPTIONS, delivery("every_kind_of_answer")).events
    told = {
        (given.question, given.kind): (given.choice, given.text, given.number)
        for given in heard("every_kind_of_answer").answers
    }
    assert told == {
        ("r1", "choice"): (("c9",), "Other", None),
        ("r1", "text"): ((), "The import never worked", None),
        ("r2", "text"): ((), "Only my own words", None),
        ("r3", "choice"): (("too expensive", "c2"), "Too expensive; Not now", None),
        ("r3", "text"): ((), "And the colours", None),
        ("r4", "choice"): (("too expensive", "c2"), "Too expensive; Not now", None),
        ("r5", "score"): ((), "4", 4.0),
        ("r6", "score"): ((), "0", 0.0),
        ("r7", "other"): ((), "250", 250.0),
        ("r8", "other"): ((), "yes", None),
        ("r9", "other"): ((), "no", None),
        ("r10", "other"): ((), "2026-10-01", None),
        ("r11", "text"): ((), "short", None),
        ("r12", "text"): ((), "Said aloud", None),
    }
    assert heard("every_kind_of_answer").answers[0].title == "Question 1", "questions in groups have titles too"
    kept = json.dumps(event.payload)
    for private in ("ada", "Ada", "4242", "+31600000000", "hologram"):
        assert private not in kept


def test_hidden_fields_in_clear_are_neither_believed_nor_kept():
    (event,) = RECEIVER.parse(OPTIONS, delivery("form_response")).events
    assert event.payload["carried"] == {"wb": TOKEN}
    body = fixture("typeform", "form_response")
    del body["form_response"]["hidden"]["wb"]
    (event,) = RECEIVER.parse(OPTIONS, arriving(body)).events
    assert event.payload["carried"] == {}
    (answered,) = RECEIVER.understand(OPTIONS, event)
    assert answered.who == Who()


@pytest.mark.parametrize("edited", ["", "ada@example.com", "hs_1001 ", "a b", "x" * 1_001, 7, None, ["tok"]])
def test_a_token_that_cannot_be_one_names_nobody(edited):
    body = fixture("typeform", "form_response")
    body["form_response"]["hidden"]["wb"] = edited
    (event,) = RECEIVER.parse(OPTIONS, arriving(body)).events
    assert RECEIVER.understand(OPTIONS, event)[0].who == Who()


def test_a_setting_that_named_the_wrong_field_can_be_corrected_and_replayed():
    body = fixture("typeform", "form_response")
    body["form_response"]["hidden"] = {"ref": TOKEN, "plan": "gold"}
    (event,) = RECEIVER.parse(OPTIONS, arriving(body)).events
    assert RECEIVER.understand(OPTIONS, event)[0].who == Who()
    corrected = OPTIONS.model_copy(update={"token_field": "ref"})
    assert RECEIVER.understand(corrected, event)[0].who == Who(token=TOKEN)


def test_an_answer_without_answers_or_hidden_fields_is_still_one():
    answered = heard("no_answers")
    assert (answered.who, answered.answers) == (Who(), ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_type": "form_deleted"}, "unknown_kind"),
        ({"event_type": "form_response", "form_response": {"form_id": "other", "token": "t"}}, "unknown_form"),
    ],
)
def test_what_is_not_wanted_is_ignored_with_a_reason(change, reason):
    parsed = RECEIVER.parse(OPTIONS, arriving({**fixture("typeform", "form_response"), **change}))
    assert (list(parsed.events), parsed.ignored) == ([], {reason: 1})
    assert RECEIVER.reply(OPTIONS, parsed).status == 200


def test_an_answer_given_in_the_editors_preview_is_ignored():
    assert RECEIVER.parse(OPTIONS, delivery("preview")).ignored == {"preview": 1}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"\xff", "not JSON"),
        (b"[]", "the body"),
        (b"{}", "event_type"),
        (b'{"event_type":"form_response"}', "form_response"),
        (b'{"event_type":"form_response","form_response":{"form_id":"f","token":"../../me"}}', "token"),
        (
            b'{"event_type":"form_response","form_response":{"form_id":"aBcD12","token":"t","answers":["x"]}}',
            "answers.0",
        ),
        (
            b'{"event_type":"form_response","form_response":{"form_id":"aBcD12","token":"t","definition":[]}}',
            "definition",
        ),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_by_its_place(body, place):
    with pytest.raises(MalformedPayload, match=place):
        RECEIVER.parse(OPTIONS, arriving(body))


def test_signs_that_a_database_takes_in_no_text_are_left_out():
    body = fixture("typeform", "form_response")
    body["form_response"]["answers"][2]["text"] = "a\x00b\ud800c"
    (event,) = RECEIVER.parse(OPTIONS, arriving(json.dumps(body).encode())).events
    (answered,) = RECEIVER.understand(OPTIONS, event)
    assert answered.answers[2].text == "a\ufffdb\ufffdc"


def test_a_sample_is_signed_believed_and_understood():
    body = RECEIVER.sample(OPTIONS, TOKEN, NOW)
    request = arriving(body, **RECEIVER.sign(OPTIONS, "POST", "", body, NOW))
    assert RECEIVER.verify(OPTIONS, request).ok
    (event,) = RECEIVER.parse(OPTIONS, request).events
    (answered,) = RECEIVER.understand(OPTIONS, event)
    assert answered.who == Who(token=TOKEN)
    assert {given.question for given in answered.answers} >= {"why", "more"}
    assert answered.answers[0].choice == ("too expensive",)
    assert RECEIVER.sample(OPTIONS, TOKEN, NOW + timedelta(seconds=1)) != body, "each is another answer"


# Reading what was missed.


def vendor(items, **changes) -> TypeformApi:
    return TypeformApi(forms={FORM: fixture("typeform", "form")}, items={FORM: items}, **changes)


def missed(server: TypeformApi, since: datetime, options: TypeformOptions = OPTIONS):
    with asking(RECEIVER, options, server) as (api, asked):
        assert RECEIVER.backfill is not None
        events = list(RECEIVER.backfill(api, since))
        return events, asked.asked, api.reporter.lines


def test_a_missed_answer_is_the_very_event_of_the_webhook():
    at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    (told,) = RECEIVER.parse(OPTIONS, delivery("form_response")).events
    (read,), asked, _ = missed(vendor([fixture("typeform", "response_item")]), at)
    assert read == told
    assert [request.path for request in asked] == [f"/forms/{FORM}/responses", f"/forms/{FORM}"]
    assert asked[0].query["since"] == ["2026-11-01T09:00:00Z"], "the API lags behind the webhook"


def test_nothing_new_costs_one_call():
    events, asked, _ = missed(vendor([item("old", NOW - timedelta(days=9))]), NOW - timedelta(days=1))
    assert (events, len(asked)) == ([], 1)


@pytest.mark.parametrize("processed", ["in order", "in reverse", "shuffled"])
def test_more_answers_than_a_page_holds_come_each_once(monkeypatch, processed):
    monkeypatch.setattr("webhooks.typeform.PAGE_SIZE", 10)
    items = [item(f"t{number:03d}", NOW - timedelta(minutes=number)) for number in range(95)]
    {"in order": items.reverse, "in reverse": lambda: None, "shuffled": lambda: random.Random(7).shuffle(items)}[
        processed
    ]()
    # The order of processing is near that of submission: what is swapped lies inside the overlap of an hour.
    if processed != "in order":
        items.sort(key=lambda one: one["submitted_at"][:13])
    events, asked, _ = missed(vendor(items, largest_page=10), NOW - timedelta(minutes=95))
    newest = {f"form_response:{one['token']}" for one in items}
    left_for_next_time = newest - set(keys(events))
    assert len(keys(events)) == len(set(keys(events)))
    assert all(int(key[-3:]) < 60 for key in left_for_next_time), "only what the overlap reads again may wait"
    if processed == "in order":
        assert not left_for_next_time
    assert not any({"sort", "after"} & request.query.keys() for request in asked)
    assert not any({"since", "before"} <= request.query.keys() for request in asked)


def test_reading_stops_at_answers_that_are_older(monkeypatch):
    monkeypatch.setattr("webhooks.typeform.PAGE_SIZE", 10)
    items = [item(f"t{number:03d}", NOW - timedelta(hours=number)) for number in range(200)][::-1]
    events, asked, _ = missed(vendor(items, largest_page=10), NOW - timedelta(hours=24))
    assert sorted(keys(events)) == [f"form_response:t{number:03d}" for number in range(26)], "a day, an hour, the bound"
    places = {request.query["before"][0] for request in asked if "before" in request.query}
    assert places == {"t000", "t010", "t020", "t030"}, "the last page holds older ones only"


def test_a_page_that_comes_twice_stops_the_walk(monkeypatch):
    monkeypatch.setattr("webhooks.typeform.PAGE_SIZE", 10)
    items = [item(f"t{number:03d}", NOW - timedelta(minutes=number)) for number in range(30)]
    with pytest.raises(PagingError, match="second time"):
        missed(vendor(items, largest_page=10, ignores_before=True), NOW - timedelta(days=1))


def test_unfinished_answers_are_read_where_asked_for():
    server = vendor([item("done", NOW)], partial={FORM: [item("begun", NOW)]})
    assert keys(missed(server, NOW)[0]) == ["form_response:done"]
    options = OPTIONS.model_copy(update={"partials": True})
    assert sorted(keys(missed(server, NOW, options)[0])) == ["form_response:done", "form_response_partial:begun"]


def test_one_answer_that_cannot_be_read_does_not_hide_the_others():
    events, _, lines = missed(vendor([item("bad", NOW, answers="?"), item("good", NOW)]), NOW)
    assert keys(events) == ["form_response:good"]
    assert len(lines) == 1 and "left out" in lines[0]


def test_a_form_that_is_not_there_is_told_after_the_others_were_read():
    options = OPTIONS.model_copy(update={"forms": ("gone", FORM)})
    read = []
    with asking(RECEIVER, options, vendor([item("good", NOW)])) as (api, _), pytest.raises(RejectedError) as told:
        read.extend(event.key for event in RECEIVER.backfill(api, NOW))
    assert read == ["form_response:good"]
    assert "EU" in told.value.hint


def test_a_wrong_token_is_a_matter_of_credentials():
    with pytest.raises(CredentialsError):
        missed(vendor([]), NOW, TypeformOptions(secret=SECRET, token="another", forms=(FORM,)))


def test_without_listed_forms_the_user_is_told_what_to_do():
    events, asked, lines = missed(vendor([]), NOW, OPTIONS.model_copy(update={"forms": ()}))
    assert (events, asked) == ([], [])
    assert "forms" in lines[0]


def test_the_api_is_asked_where_the_playbook_says_and_only_with_a_token():
    assert RECEIVER.api(TypeformOptions(secret=SECRET)) is None
    assert RECEIVER.api(OPTIONS) == ("https://api.typeform.com", {"Authorization": "Bearer tfp_sample"})
    eu = TypeformOptions(token="t", base_url="https://api.typeform.eu/")
    assert RECEIVER.api(eu) == ("https://api.typeform.eu", {"Authorization": "Bearer t"})


@pytest.mark.parametrize("address", ["http://api.typeform.com", "api.typeform.com", "ftp://api.typeform.com"])
def test_a_token_never_travels_unencrypted(address):
    with pytest.raises(ValidationError, match="https://"):
        TypeformOptions(base_url=address)


def test_no_secret_shows_in_a_complaint_about_the_settings():
    with pytest.raises(ValidationError) as told:
        TypeformOptions(secret=SECRET, token=["not-one"], unknown="s3cret")
    assert "s3cret" not in str(told.value) and "not-one" not in str(told.value)
