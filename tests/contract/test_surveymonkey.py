"""SurveyMonkey: announcements are verified, answers asked for in few calls, and each counts once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from connector.errors import CredentialsError, MalformedPayload, QuotaExhausted, RejectedError
from connector.heard import Given, ToFetch, Who
from connector.paging import PagingError
from connector.receivers import Event
from connector.rest import TooFast
from tests.fakes.survey_vendors import NOW, TOKEN, SurveyMonkeyApi, answer, arriving, asking, fixture, keys
from webhooks import signatures
from webhooks.surveymonkey import RECEIVER, SurveyMonkeyOptions

SURVEY = "123456"
CLIENT, SECRET = "client123", "secret456"
SIGNING = SurveyMonkeyOptions(client_id=CLIENT, client_secret=SECRET)
OPTIONS = SurveyMonkeyOptions(
    client_id=CLIENT,
    client_secret=SECRET,
    access_token="sm_sample",
    surveys=(SURVEY,),
    questions={"701": "reason", "702": "score", "703": "comment"},
    choices={"801": "price", "not now & maybe later": "not_now"},
)
VECTORS = [
    (
        CLIENT,
        SECRET,
        b'{"name":"winback","event_type":"response_completed","object_type":"response","object_id":"114879"}',
        "JwUOa7oMu+qo+rFyREf/cAd8t6U=",
    ),
    (
        "test_client_id",
        "test_client_secret",
        b'{"name":"My Webhook","filter_type":"collector","filter_id":"123456789","event_type":"response_completed","event_id":"123456789","object_type":"response","object_id":"123456","event_datetime":"2016-01-01T21:56:31.182613+00:00","resources":{"respondent_id":"123456789","recipient_id":"123456789","collector_id":"123456789","survey_id":"123456789","user_id":"123456789"}}',
        "SxgLIQ4I4L4VEp8kcboGKfsrFYc=",
    ),
]


@pytest.mark.parametrize(("client", "secret", "body", "signature"), VECTORS)
def test_a_signature_of_the_known_vectors_is_believed(client, secret, body, signature):
    options = SurveyMonkeyOptions(client_id=client, client_secret=secret)
    assert RECEIVER.verify(options, arriving(body, Sm_Apikey=client, Sm_Signature=signature)).ok
    assert RECEIVER.sign(options, "POST", "", body, NOW) == {"Sm-Apikey": client, "Sm-Signature": signature}


@pytest.mark.parametrize(("client", "secret", "body", "signature"), VECTORS)
def test_anything_but_the_exact_headers_is_refused(client, secret, body, signature):
    options = SurveyMonkeyOptions(client_id=client, client_secret=["newer", secret])
    assert RECEIVER.verify(options, arriving(body, Sm_Apikey=client, Sm_Signature=signature)).ok
    theirs = signatures.surveymonkey("theirs", secret, body)
    wrong = [
        arriving(body),
        arriving(body, Sm_Apikey=client),
        arriving(body, Sm_Signature=signature),
        arriving(body, Sm_Apikey="theirs", Sm_Signature=theirs),
        arriving(body, Sm_Apikey=client, Sm_Signature=theirs),
        arriving(body, Sm_Apikey=client, Sm_Signature=signature + " "),
        arriving(body, Sm_Apikey=client, Sm_Signature="sha1=" + signature),
        arriving(body, Sm_Apikey="é", Sm_Signature="é"),
        arriving(body + b" ", Sm_Apikey=client, Sm_Signature=signature),
    ]
    assert [RECEIVER.verify(options, one).ok for one in wrong] == [False] * len(wrong)
    nothing = SurveyMonkeyOptions(client_id=client)
    assert not RECEIVER.verify(nothing, arriving(body, Sm_Apikey=client, Sm_Signature=signature)).ok


def parsed(name: str, options: SurveyMonkeyOptions = OPTIONS):
    return RECEIVER.parse(options, arriving(fixture("surveymonkey", name)))


@pytest.mark.parametrize(("kind", "number"), [("response_completed", "9001"), ("response_updated", "9002")])
def test_an_announcement_says_what_to_ask_for(kind, number):
    (event,) = parsed(kind).events
    assert (event.key, event.kind) == (f"{kind}:{number}", kind)
    at = datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert list(RECEIVER.understand(OPTIONS, event)) == [
        ToFetch(at=at, source="surveymonkey", survey=SURVEY, responses=("114879",))
    ]


@pytest.mark.parametrize("name", ["response_created", "response_deleted", "collector_updated"])
def test_what_is_not_wanted_is_ignored_with_a_reason(name):
    found = parsed(name)
    assert (list(found.events), found.ignored) == ([], {"unknown_kind": 1})
    assert RECEIVER.reply(OPTIONS, found).status == 200


def test_another_survey_of_the_account_is_ignored_where_surveys_are_listed():
    options = OPTIONS.model_copy(update={"surveys": ("1",)})
    assert parsed("response_completed", options).ignored == {"unknown_survey": 1}
    assert len(parsed("response_completed", SIGNING).events) == 1


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"event_type": None}, "event_type"),
        ({"event_id": None}, "event_id"),
        ({"object_id": "../../users/me"}, "object_id"),
        ({"resources": {}, "filter_type": "collector"}, "resources.survey_id"),
        ({"resources": []}, "resources"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_by_its_place(change, place):
    with pytest.raises(MalformedPayload, match=place) as told:
        RECEIVER.parse(OPTIONS, arriving({**fixture("surveymonkey", "response_completed"), **change}))
    assert "users" not in str(told.value)


# Asking for answers.


def vendor(*responses, **changes) -> SurveyMonkeyApi:
    return SurveyMonkeyApi(
        details={SURVEY: fixture("surveymonkey", "survey_details")}, responses={SURVEY: list(responses)}, **changes
    )


def fetched(server: SurveyMonkeyApi, *ids: str, options: SurveyMonkeyOptions = OPTIONS, per_day: int | None = None):
    with asking(RECEIVER, options, server, per_day=per_day) as (api, _):
        events = list(RECEIVER.fetch(api, SURVEY, ids))
        return events, api.reporter.lines


def understood(event: Event, options: SurveyMonkeyOptions = OPTIONS):
    """As the worker does it: out of the inbox's JSON."""
    stored = Event(key=event.key, kind=event.kind, at=event.at, payload=json.loads(json.dumps(event.payload)))
    (answered,) = RECEIVER.understand(options, stored)
    return answered


def test_an_answer_is_fetched_with_the_words_for_its_ids():
    ((event,), _) = fetched(vendor(fixture("surveymonkey", "response_details")), "114879")
    answered = understood(event)
    assert answered.who == Who(token=TOKEN)
    assert (answered.survey, answered.response, answered.complete) == (SURVEY, "114879", True)
    assert (answered.at, answered.language) == (datetime(2026, 11, 1, 10, tzinfo=UTC), "en")
    assert answered.answers == (
        Given(question="701", kind="choice", title="Why did you leave?", choice=("801",), text="Too expensive"),
        Given(
            question="702",
            kind="score",
            title="How likely are you to recommend us?",
            choice=("836",),
            text="6",
            number=6.0,
        ),
        Given(
            question="703",
            kind="text",
            title="What would bring you back?",
            text="I would return if price < 5 & SSO – Zoë",
        ),
    )
    assert event.payload["carried"] == {"wb": TOKEN}, "a contact id in clear is neither believed nor kept"
    assert "203.0.113.9" not in json.dumps(event.payload)


def test_every_kind_of_question_is_understood_and_what_says_who_somebody_is_is_not_kept():
    ((event,), _) = fetched(vendor(fixture("surveymonkey", "every_kind_of_question")), "114880")
    told = [(given.question, given.kind, given.choice, given.text, given.number) for given in understood(event).answers]
    assert told == [
        ("701", "text", (), "The import never worked", None),
        ("702", "score", ("830",), "0 - Not at all likely", 0.0),
        ("704", "choice", ("841", "842"), "Reports; Alerts", None),
        ("704", "text", (), "And the colours", None),
        ("705.850", "score", ("861",), "Awful", 1.0),
        ("705.851", "score", ("862",), "2", 2.0),
        ("706", "score", (), "75", 75.0),
        ("708", "other", (), "10/01/2026", None),
        ("709.891", "choice", ("896",), "Broken", None),
        ("709.892", "choice", ("897",), "Fine", None),
        ("710.901", "other", (), "12", 12.0),
        ("710.902", "text", (), "many", None),
        ("711.911", "other", (), "1", None),
        ("711.912", "other", (), "2", None),
        ("799", "choice", ("7991",), "Of a question that is gone", None),
    ]
    assert understood(event).answers[4].title == "How good was it? – Speed"
    assert "ada" not in json.dumps(event.payload).lower()


def test_rows_of_a_matrix_can_be_called_by_the_question_or_by_the_row():
    ((event,), _) = fetched(vendor(fixture("surveymonkey", "every_kind_of_question")), "114880")
    options = OPTIONS.model_copy(update={"questions": {"705": "score", "709.891": "reason"}})
    asked = [given.question for given in understood(event, options).answers]
    assert asked.count("705") == 2
    assert "709.891" in asked and "709.892" in asked


@pytest.mark.parametrize(
    "where",
    [
        {"custom_value": TOKEN},
        {"custom_value": TOKEN, "custom_variables": {"wb": ""}},
        {"metadata": {"contact": {"email": {"value": "ada@example.com"}, "custom_value2": {"value": TOKEN}}}},
        {"custom_variables": {"wb_token": TOKEN}},
    ],
)
def test_the_token_may_come_by_the_link_by_the_collector_or_by_the_list_of_recipients(where):
    ((event,), _) = fetched(vendor(answer(1, NOW, **{"custom_variables": {}, **where})), "1")
    assert understood(event).who == Who(token=TOKEN)
    assert "ada" not in json.dumps(event.payload)


@pytest.mark.parametrize("variables", [{}, None, {"contact_id": "hs_1001", "email": "ada@example.com"}, {"wb": "é"}])
def test_without_a_token_an_answer_is_nobodys(variables):
    ((event,), _) = fetched(vendor(answer(1, NOW, custom_variables=variables, custom_value="hs_1001")), "1")
    assert understood(event).who == Who()
    assert event.payload["carried"] == {}


def test_one_answer_costs_one_call_and_a_hundred_cost_one_too():
    server = vendor(*(answer(number, NOW - timedelta(seconds=number)) for number in range(150)))
    fetched(server, "3")
    assert server.calls == {"structure": 1, "single": 1}
    server.calls.clear()
    with asking(RECEIVER, OPTIONS, server) as (api, _):
        events = list(RECEIVER.fetch(api, SURVEY, [str(number) for number in range(100)]))
    assert len(set(keys(events))) == 100
    assert server.calls == {"structure": 1, "bulk": 1}


def test_answers_that_bulk_pages_no_longer_show_are_read_one_by_one():
    server = vendor(*(answer(number, NOW - timedelta(seconds=number)) for number in range(450)))
    with asking(RECEIVER, OPTIONS, server) as (api, _):
        events = list(RECEIVER.fetch(api, SURVEY, ["0", "1", "150", "151", "399", "449", "449"]))
    assert sorted(event.payload["response"] for event in events) == ["0", "1", "150", "151", "399", "449"]
    assert server.calls == {"structure": 1, "bulk": 3, "single": 2}


def test_an_answer_deleted_in_the_meantime_is_told_of_and_skipped():
    events, lines = fetched(vendor(answer(1, NOW)), "77", "1")
    assert [event.payload["response"] for event in events] == ["1"]
    assert len(lines) == 1 and "77" in lines[0]


def test_what_a_survey_is_called_is_read_once_until_an_answer_speaks_of_something_new():
    server = vendor(answer(1, NOW), answer(2, NOW))
    new = {"pages": [{"questions": [{"id": "701", "answers": [{"choice_id": "803"}]}]}]}
    server.responses[SURVEY].append(answer(3, NOW, **new))
    gone = {"pages": [{"questions": [{"id": "700", "answers": [{"choice_id": "8000", "simple_text": "Gone"}]}]}]}
    server.responses[SURVEY] += [answer(4, NOW, **gone), answer(5, NOW, **gone)]
    with asking(RECEIVER, OPTIONS, server) as (api, _):
        for number in "112":
            list(RECEIVER.fetch(api, SURVEY, [number]))
        assert server.calls["structure"] == 1
        choices = server.details[SURVEY]["pages"][0]["questions"][0]["answers"]["choices"]
        choices.append({"id": "803", "text": "Added later"})
        (event,) = RECEIVER.fetch(api, SURVEY, ["3"])
        assert understood(event).answers[0].text == "Added later"
        assert server.calls["structure"] == 2
        for number in "4545":
            (event,) = RECEIVER.fetch(api, SURVEY, [number])
            assert understood(event).answers[0].text == "Gone"
        assert server.calls["structure"] == 3, "what is gone for good is not looked for again"
        server.clock.advance(13 * 3600)
        list(RECEIVER.fetch(api, SURVEY, ["1"]))
        assert server.calls["structure"] == 4, "a heading may have been reworded"


@pytest.mark.parametrize(
    "turned_away",
    [{"response_status": "disqualified"}, {"response_status": "overquota"}, {"collection_mode": "survey_preview"}],
)
def test_previews_and_answers_turned_away_are_no_answers(turned_away):
    assert fetched(vendor(answer(1, NOW, **turned_away)), "1")[0] == []


@pytest.mark.parametrize("later", ["2026-11-02T09:31:00+00:00", "2026-11-02T09:30:00+00:00"])
def test_an_unfinished_answer_can_be_finished_within_the_same_second_too(later):
    begun = answer(1, NOW, response_status="partial")
    server = vendor(begun)
    with asking(RECEIVER, OPTIONS, server) as (api, _):
        (first,) = RECEIVER.fetch(api, SURVEY, ["1"])
        begun.update(response_status="completed", date_modified=later)
        (second,) = RECEIVER.fetch(api, SURVEY, ["1"])
    assert first.key != second.key
    assert understood(first).response == understood(second).response
    assert [understood(event).complete for event in (first, second)] == [False, True]


# Reading what was missed.


def missed(server, since, *, options=OPTIONS, per_day=None):
    with asking(RECEIVER, options, server, per_day=per_day) as (api, asked):
        return list(RECEIVER.backfill(api, since)), asked.asked, api.reporter.lines


def test_a_missed_answer_is_the_very_event_that_asking_for_it_gives():
    responses = [answer(number, NOW - timedelta(minutes=number)) for number in range(5)]
    events, asked, _ = missed(vendor(*responses), NOW - timedelta(hours=1))
    assert asked[0].query["start_modified_at"] == ["2026-11-02T08:29:00"]
    again, _ = fetched(vendor(*responses), "4", "2", "0", "1", "3")
    one_by_one = [fetched(vendor(*responses), str(number))[0][0] for number in (3, 1, 4, 0, 2)]
    ordered = sorted(events, key=lambda event: event.key)
    assert ordered == sorted(again, key=lambda event: event.key) == sorted(one_by_one, key=lambda event: event.key)


def test_the_overlap_reads_again_and_counts_nothing_twice():
    server = vendor(answer(1, NOW), answer(2, NOW - timedelta(seconds=30)))
    events, _, _ = missed(server, NOW)
    assert len(set(keys(events))) == 2


def test_all_pages_are_read_and_the_link_is_never_followed_to_its_host():
    server = vendor(*(answer(number, NOW - timedelta(seconds=number)) for number in range(250)))
    events, asked, _ = missed(server, NOW - timedelta(hours=1))
    assert len(set(keys(events))) == 250
    assert server.calls == {"bulk": 3, "structure": 1}
    assert {request.headers["Host"].partition(":")[0] for request in asked} == {"127.0.0.1"}


def test_pages_that_lead_in_a_circle_stop_the_walk():
    with pytest.raises(PagingError, match="second time"):
        missed(vendor(answer(1, NOW), circles=True), NOW)


def test_the_last_calls_of_a_day_are_left_to_announced_answers():
    server = vendor(*(answer(number, NOW - timedelta(seconds=number)) for number in range(950)))
    with asking(RECEIVER, OPTIONS, server, per_day=55) as (api, _):
        with pytest.raises(QuotaExhausted, match="kept for answers"):
            list(RECEIVER.backfill(api, NOW - timedelta(hours=1)))
        assert api.budget.remaining_today() == 50
        assert len(list(RECEIVER.fetch(api, SURVEY, ["1"]))) == 1, "those are still asked for"


def test_a_reading_that_is_through_is_not_called_unfinished():
    with asking(RECEIVER, OPTIONS, vendor(answer(1, NOW)), per_day=52) as (api, _):
        assert len(list(RECEIVER.backfill(api, NOW))) == 1
        assert api.budget.remaining_today() == 50


def test_a_days_calls_are_never_exceeded():
    server = vendor(*(answer(number, NOW - timedelta(days=number)) for number in range(30)), per_day=12)
    read = []
    with asking(RECEIVER, OPTIONS, server, per_day=12) as (api, asked):
        with pytest.raises(QuotaExhausted):
            read.extend(event for number in range(30) for event in RECEIVER.fetch(api, SURVEY, [str(number)]))
        assert len(asked.asked) == 12
    assert len(read) == 11, "one call was for the survey's words"


def test_answers_read_before_the_days_calls_ran_out_are_kept():
    server = vendor(*(answer(number, NOW - timedelta(days=number)) for number in range(900)))
    read = []
    with asking(RECEIVER, OPTIONS, server, per_day=5) as (api, _), pytest.raises(QuotaExhausted):
        read.extend(RECEIVER.fetch(api, SURVEY, ["0", "101", "201", "301", "401", "501"]))
    assert len(read) >= 3


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (403, "1018", "access_url"),
        (403, "1014", "View Response Details"),
        (403, "1015", "plan"),
        (401, "1013", "revoked"),
        (404, "1052", "deleted"),
        (410, "1053", "deleted"),
    ],
)
def test_a_refusal_says_what_to_do(status, code, hint):
    with pytest.raises(CredentialsError) as told:
        fetched(vendor(error=(status, code)), "1")
    assert hint in told.value.hint


def test_another_refusal_rises_as_it_is():
    with pytest.raises(RejectedError):
        fetched(vendor(error=(400, "1003")), "1")
    with pytest.raises(RejectedError):
        missed(vendor(answer(1, NOW)), NOW, options=OPTIONS.model_copy(update={"surveys": ("999", SURVEY)}))


def test_too_fast_is_put_off_at_once_and_goes_on_a_minute_later():
    server = vendor(*(answer(number, NOW) for number in range(3)), per_minute=2)
    events, _ = fetched(server, "0")
    assert len(events) == 1
    with pytest.raises(TooFast):
        fetched(server, "1")
    server.clock.sleep(60)
    more, _ = fetched(server, "1")
    assert len(more) == 1


def test_without_listed_surveys_the_user_is_told_what_to_do():
    events, asked, lines = missed(vendor(), NOW, options=OPTIONS.model_copy(update={"surveys": ()}))
    assert (events, asked) == ([], [])
    assert "surveys" in lines[0]


def test_the_address_is_taken_as_it_is_shown_with_or_without_the_version():
    assert RECEIVER.api(SIGNING) is None
    assert RECEIVER.api(OPTIONS)[0] == "https://api.surveymonkey.com"
    for written in ("https://api.eu.surveymonkey.com", "https://api.eu.surveymonkey.com/v3/"):
        options = SurveyMonkeyOptions(client_id="c", access_token="t", base_url=written)
        assert RECEIVER.api(options) == ("https://api.eu.surveymonkey.com", {"Authorization": "Bearer t"})


def test_a_private_apps_allowance_is_the_default_and_stays_it_when_only_the_share_is_set():
    options = SurveyMonkeyOptions(client_id="c", rate={"share": 0.5})
    assert (options.rate.per_10s, options.rate.per_day, options.rate.share) == (20, 500, 0.5)
    with pytest.raises(ValidationError):
        SurveyMonkeyOptions(client_id="")


def test_a_sample_is_signed_believed_and_understood():
    body = RECEIVER.sample(OPTIONS, TOKEN, NOW)
    request = arriving(body, **RECEIVER.sign(OPTIONS, "POST", "", body, NOW))
    assert RECEIVER.verify(OPTIONS, request).ok
    (event,) = RECEIVER.parse(OPTIONS, request).events
    (to_fetch,) = RECEIVER.understand(OPTIONS, event)
    assert (to_fetch.survey, to_fetch.at) == (SURVEY, NOW)
