"""The client's manners, against a scripted server: what it sends, what it makes of each odd answer.

Beside them stand the manners of simple-salesforce left to itself: each thing the client goes around is shown once.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings

import pytest
from pydantic import ValidationError

from adapters.salesforce import versions
from adapters.salesforce.client import MissingPermissionsError, SalesforceClient, SalesforceRejected
from adapters.salesforce.options import SalesforceOptions
from adapters.salesforce.sessions import open_session
from adapters.salesforce.vendor_errors import VendorError, usage
from connector.errors import (
    CredentialsError,
    OutcomeUnknown,
    QuotaExhausted,
    RejectedError,
    RetriableError,
    SettingError,
)
from connector.rest import Effect
from tests.fakes.connections import connect
from tests.fakes.http_server import Asked, Said, in_order, serving

KEY, SECRET = "the-consumer-key", "the-consumer-secret"
TOKEN = "/services/oauth2/token"
EXPIRED = Said(401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
QUERY = "SELECT Id FROM Contact WHERE Email = 'someone@example.com'"


class Org:
    """A server that gives tokens, numbered, and otherwise the answers it was given."""

    def __init__(self, *answers: Said) -> None:
        self.tokens = 0
        self.url = ""
        self._answer = in_order(*(answers or (Said(200, {}),)))

    def __call__(self, asked: Asked) -> Said:
        if asked.path != TOKEN:
            return self._answer(asked)
        self.tokens += 1
        return Said(200, {"access_token": f"token-{self.tokens}", "instance_url": self.url})


class Served:
    """A running org, and everything it was asked but for tokens."""

    def __init__(self, server, org: Org) -> None:
        self.server, self.org, self.url = server, org, server.url
        org.url = server.url

    @property
    def asked(self) -> list[Asked]:
        return [asked for asked in self.server.asked if asked.path != TOKEN]


@pytest.fixture
def org(tmp_path):
    """Serve answers and make a client for them."""
    from contextlib import ExitStack

    stack = ExitStack()

    def make(*answers: Said, **options):
        made = Org(*answers)
        served = Served(stack.enter_context(serving(made)), made)
        client = client_for(served.url, tmp_path, **options)
        stack.callback(client.close)
        return served, client

    with stack:
        yield make


def settings(url, **more):
    auth = {"client_id": KEY, "client_secret": SECRET}
    return SalesforceOptions(**{"adapter": "salesforce", "base_url": url, "auth": auth, "timeout_seconds": 2, **more})


def client_for(url, tmp_path, **options):
    connection = connect(settings(url, **options), tmp_path)
    client = SalesforceClient(connection)
    client.connection = connection
    return client


def naive(served):
    """simple-salesforce as it comes, with no more than a session that reaches this machine."""
    from simple_salesforce import Salesforce

    session = open_session(settings(served.url), served.url)
    made = Salesforce(consumer_key=KEY, consumer_secret=SECRET, domain="look-alike.my", session=session, version="66.0")
    made.let_go = session.close
    return made


def write(client, effect=Effect.REPEATABLE, **more):
    return client.call("PATCH", client.path("/composite/sobjects"), body={"records": []}, effect=effect, **more)


# --- what is sent ---


def test_a_call_carries_token_version_and_our_name_and_asks_the_budget(org):
    served, client = org(Said(200, {"totalSize": 3}))
    assert client.count("SELECT COUNT() FROM Contact") == 3
    asked = served.asked[0]
    assert asked.path == "/services/data/v66.0/query" and asked.query == {"q": ["SELECT COUNT() FROM Contact"]}
    assert asked.headers["Authorization"] == "Bearer token-1"
    assert asked.headers["Sforce-Call-Options"] == "client=winback/1.0"
    assert client.connection.budget.calls() == 1


def test_logging_in_sends_the_app_and_asks_for_no_call(org):
    served, client = org()
    client.sign_in()
    login = served.server.asked[0]
    assert login.path == TOKEN and b"grant_type=client_credentials" in login.raw
    assert login.headers["Authorization"].startswith("Basic ")
    assert client.connection.budget.calls() == 0


def test_one_token_serves_many_calls_and_many_threads(org):
    served, client = org()
    threads = [threading.Thread(target=client.read, args=("/services/data/v66.0/limits",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.org.tokens == 1 and len(served.asked) == 8


def test_the_library_asks_for_indented_answers_and_we_do_not(org):
    served, client = org()
    alone = naive(served)
    alone.limits()
    client.read(client.path("/limits"))
    assert "X-PrettyPrint" in served.asked[0].headers and "X-PrettyPrint" not in served.asked[1].headers
    alone.let_go()


def test_a_version_of_the_settings_is_the_version_of_every_call(org):
    served, client = org(api_version="68.0")
    client.read(client.path("/limits"))
    assert served.asked[0].path == "/services/data/v68.0/limits"


# --- tokens that run out ---


def test_a_token_that_ran_out_is_renewed_and_the_call_repeated_with_its_headers(org):
    served, client = org(EXPIRED, Said(200, [{"success": True}]))
    answer = write(client, Effect.ONCE, headers={"Sforce-Auto-Assign": "FALSE"})
    assert answer.data == [{"success": True}]
    assert [asked.headers["Authorization"] for asked in served.asked] == ["Bearer token-1", "Bearer token-2"]
    assert [asked.headers["Sforce-Auto-Assign"] for asked in served.asked] == ["FALSE", "FALSE"]


def test_the_library_alone_loses_the_headers_when_it_renews(org):
    served, _ = org(EXPIRED, Said(200, {}))
    alone = naive(served)
    alone.restful("composite/sobjects", method="PATCH", headers={"Sforce-Auto-Assign": "FALSE"})
    assert ["Sforce-Auto-Assign" in asked.headers for asked in served.asked] == [True, False]
    alone.let_go()


def test_a_second_refusal_of_a_fresh_token_ends_it_with_words(org):
    served, client = org(EXPIRED)
    with pytest.raises(CredentialsError, match="a token it has just given") as caught:
        client.read(client.path("/limits"))
    assert "My Domain" in caught.value.hint and len(served.asked) == 2


def test_the_library_alone_never_stops_asking_when_a_record_is_read(org):
    served, _ = org(*[EXPIRED] * 6, Said(200, {}))
    alone = naive(served)
    alone.Contact.get("003000000000001AAA")
    assert len(served.asked) == 7  # three is what it means to try
    alone.let_go()


@pytest.mark.parametrize("body", [{"errorCode": "INVALID_SESSION_ID", "message": "x"}, b"<html>Login</html>"])
def test_a_401_whose_body_is_no_array_is_a_401_all_the_same(org, body):
    served, client = org(Said(401, body), Said(200, {"done": 1}))
    assert client.read(client.path("/limits")) == {"done": 1}
    broken, _ = org(Said(401, body))
    alone = naive(broken)
    with pytest.raises((KeyError, ValueError)):
        alone.limits()
    alone.let_go()
    assert served.org.tokens == 2


def test_bulk_says_it_with_a_400_and_is_understood(org):
    gone = Said(400, [{"errorCode": "InvalidSessionId", "message": "Invalid session id"}])
    served, client = org(gone, Said(200, {"state": "JobComplete"}))
    assert client.read(client.path("/jobs/query/750"))["state"] == "JobComplete"
    assert served.org.tokens == 2


def test_the_library_alone_never_renews_for_bulk(org):
    from simple_salesforce.exceptions import SalesforceExpiredSession

    served, client = org(EXPIRED, EXPIRED, Said(200, {"state": "JobComplete"}))
    alone = naive(served)
    with pytest.raises(SalesforceExpiredSession):
        alone.bulk2.Contact._client.get_job("750000000000001", is_query=True)
    alone.let_go()
    assert client.read(client.path("/jobs/query/750000000000001"))["state"] == "JobComplete"


def test_whose_token_it_is_is_found_out_by_an_app_that_may_only_use_the_api(org):
    def answer(asked: Asked) -> Said:
        if asked.path.endswith("userinfo"):
            return Said(403, [{"errorCode": "FORBIDDEN", "message": "Missing_OAuth_Scope"}])
        return Said(200, {"identity": "https://login.salesforce.com/id/00D000000000001AAA/005000000000002AAA"})

    served, client = org()
    served.org._answer = answer
    assert (client.identity().org_id, client.identity().user_id) == ("00D000000000001AAA", "005000000000002AAA")
    assert len(served.asked) == 2


def test_two_threads_whose_token_ran_out_renew_it_once(org):
    ended = threading.Event()

    class Ending(Org):
        def __call__(self, asked: Asked) -> Said:
            old = asked.headers.get("Authorization") == "Bearer token-1"
            if old and ended.is_set():
                return EXPIRED
            return super().__call__(asked)

    made = Ending(Said(200, {}))
    with serving(made) as server:
        served = Served(server, made)
        _, client = org()
        client = client_for(served.url, client.connection.work_dir)
        client.sign_in()
        ended.set()
        threads = [threading.Thread(target=client.read, args=("/services/data/v66.0/limits",)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert made.tokens == 2


# --- logging in ---


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ({"error": "invalid_client_id", "error_description": "client identifier invalid"}, "consumer key"),
        ({"error": "invalid_client", "error_description": "invalid client credentials"}, "client credentials flow"),
        ({"error": "invalid_grant", "error_description": "no client credentials user enabled"}, "Run As"),
        ({"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}, "pre-authorized"),
        ({"error": "invalid_grant", "error_description": "ip restricted"}, "IP policy"),
        ({"error": "inactive_user"}, "inactive or frozen"),
        ({"error": "something_new"}, "README"),
    ],
)
def test_a_refused_login_says_what_to_do_about_it(tmp_path, said, advice):
    with serving(in_order(Said(400, said))) as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        client = client_for(server.url, tmp_path)
        with pytest.raises(CredentialsError, match="does not accept the credentials") as caught:
            client.sign_in()
        client.close()
    assert advice in caught.value.hint
    assert SECRET not in str(caught.value) and KEY not in str(caught.value)


def test_a_login_page_instead_of_a_token_points_to_the_domain(tmp_path):
    with serving(in_order(Said(200, b"<html>Welcome</html>"))) as server:
        client = client_for(server.url, tmp_path)
        with pytest.raises(RejectedError, match="a page, not a token") as caught:
            client.sign_in()
        client.close()
    assert "My Domain" in caught.value.hint


def test_a_login_service_that_is_down_is_asked_again(tmp_path):
    token = Said(200, {"access_token": "t", "instance_url": "http://127.0.0.1"})
    answers = in_order(Said(503, b"<html>down</html>"), Said(500, {"error": "server_error"}), token)
    with serving(answers) as server:
        client = client_for(server.url, tmp_path)
        with pytest.raises(RejectedError, match="no host of Salesforce's"):
            client.sign_in()
        assert len(server.asked) == 3
        client.close()


def test_a_token_for_somebody_elses_host_is_not_used(tmp_path):
    with serving(in_order(Said(200, {"access_token": "t", "instance_url": "https://evil.example"}))) as server:
        client = client_for(server.url, tmp_path)
        with pytest.raises(RejectedError, match="no host of Salesforce's"):
            client.read(client.path("/limits"))
        assert [asked.path for asked in server.asked] == [TOKEN]
        client.close()


def test_a_login_that_never_answers_is_given_up(tmp_path):
    with serving(in_order(Said(200, {}, delay=30))) as server:
        client = client_for(server.url, tmp_path, timeout_seconds=0.2)
        with pytest.raises(RetriableError, match="login"):
            client.sign_in()
        client.close()


def test_a_private_key_signs_an_assertion_for_the_login_host(tmp_path):
    import base64
    import json
    from urllib.parse import parse_qs

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    made = Org()
    with serving(made) as server:
        made.url = server.url
        auth = {"client_id": KEY, "username": "bot@acme.example", "private_key": pem.replace("\n", "\\n")}
        client = client_for(server.url, tmp_path, auth=auth)
        client.sign_in()
        client.close()
        form = parse_qs(server.asked[0].raw.decode())
    claims = json.loads(base64.urlsafe_b64decode(form["assertion"][0].split(".")[1] + "=="))
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert (claims["iss"], claims["sub"], claims["aud"]) == (KEY, "bot@acme.example", "https://login.salesforce.com")


def test_a_private_key_that_is_none_is_a_setting_to_mend_and_is_not_shown(tmp_path):
    auth = {"client_id": KEY, "username": "bot@acme.example", "private_key": "not-a-key-at-all"}
    client = client_for("http://127.0.0.1:9", tmp_path, auth=auth)
    with pytest.raises(SettingError, match=r"auth\.private_key") as caught:
        client.sign_in()
    assert "not-a-key-at-all" not in str(caught.value) + str(caught.value.hint)
    client.close()


@pytest.mark.parametrize(
    ("auth", "kind", "word"),
    [
        ({}, CredentialsError, "no Salesforce client_id"),
        ({"client_id": KEY}, CredentialsError, "no Salesforce client_secret"),
        ({"client_id": KEY, "username": "u"}, CredentialsError, "no Salesforce private_key"),
        ({"username": "u", "password": "p"}, SettingError, "retired"),
        ({"client_id": KEY, "client_secret": SECRET, "security_token": "s"}, SettingError, "retired"),
        ({"client_id": KEY, "client_secrt": SECRET}, SettingError, "client_secrt"),
    ],
)
def test_credentials_that_cannot_work_are_refused_with_the_next_step(tmp_path, auth, kind, word):
    with pytest.raises(kind, match=word) as caught:
        client_for("http://127.0.0.1:9", tmp_path, auth=auth)
    assert caught.value.hint


def test_credentials_travel_encrypted_but_on_this_machine(tmp_path):
    with pytest.raises(SettingError, match="not https"):
        client_for("http://acme.my.salesforce.com", tmp_path)
    with pytest.raises(SettingError, match="no Salesforce org named"):
        client_for(None, tmp_path)


@pytest.mark.parametrize(
    ("domain", "word"),
    [
        ("acme.lightning.force.com", "acme.my.salesforce.com"),
        ("https://acme--uat.sandbox.lightning.force.com/lightning/page/home", "acme--uat.sandbox.my.salesforce.com"),
        ("login.salesforce.com", "My Domain"),
        ("acme", "My Domain"),
        ("acme.example.com", "My Domain"),
    ],
)
def test_a_host_that_is_not_the_orgs_api_is_refused_with_the_right_one(domain, word):
    with pytest.raises(ValidationError, match=word):
        SalesforceOptions(adapter="salesforce", domain=domain)


def test_a_domain_is_taken_with_or_without_its_scheme():
    for text in ("acme.my.salesforce.com", "https://Acme.my.salesforce.com/", "acme.my.salesforce.com/"):
        assert SalesforceOptions(adapter="salesforce", domain=text).url == "https://acme.my.salesforce.com"
    with pytest.raises(ValidationError, match="pages"):
        SalesforceOptions(adapter="salesforce", base_url="https://acme.lightning.force.com")


# --- time-outs and lost answers ---


def test_a_stuck_call_is_given_up_and_the_librarys_own_calls_are_too(org):
    served, client = org(Said(200, {}, delay=30), timeout_seconds=0.2)
    with pytest.raises(OutcomeUnknown):
        write(client, attempts=1)
    session = open_session(settings(served.url, timeout_seconds=0.2), served.url)
    from requests.exceptions import ReadTimeout

    with pytest.raises(ReadTimeout):
        session.get(f"{served.url}/services/data")
    session.close()


@pytest.mark.parametrize("effect", list(Effect))
def test_a_lost_answer_is_repeated_only_where_that_is_harmless(org, effect):
    served, client = org(Said(silent=True), Said(200, {"done": 1}))
    if effect is Effect.ONCE:
        with pytest.raises(OutcomeUnknown):
            write(client, effect)
        assert len(served.asked) == 1
    else:
        assert write(client, effect).data == {"done": 1}


def test_nobody_at_the_address_is_a_passing_fault_that_names_no_query(tmp_path):
    client = client_for("http://127.0.0.1:9", tmp_path)
    with pytest.raises(RetriableError) as caught:
        client.rows(QUERY)
    assert "someone" not in str(caught.value) and "SELECT" not in str(caught.value)
    client.close()


# --- what answers mean ---


def test_neither_query_nor_address_are_in_an_error(org):
    message = f"\n{QUERY}\n          ^\nERROR at Row:1:Column:8\nNo such column 'Plan__c' on entity 'Contact'."
    served, client = org(Said(400, [{"message": message, "errorCode": "INVALID_FIELD"}]))
    with pytest.raises(SalesforceRejected, match="No such column 'Plan__c'") as caught:
        client.rows(QUERY)
    assert caught.value.code == "INVALID_FIELD"
    for text in (str(caught.value), caught.value.body):
        assert "someone" not in text and "SELECT" not in text
    alone = naive(served)
    from simple_salesforce.exceptions import SalesforceMalformedRequest

    with pytest.raises(SalesforceMalformedRequest, match=r"someone(@|%40)example\.com"):
        alone.query(QUERY)
    alone.let_go()


def test_a_value_quoted_by_a_malformed_query_is_left_out(org):
    said = [{"message": "unexpected token: 'O\\'Hara'", "errorCode": "MALFORMED_QUERY"}]
    _, client = org(Said(400, said))
    with pytest.raises(SalesforceRejected) as caught:
        client.rows(QUERY)
    assert "Hara" not in str(caught.value)


def test_the_daily_limit_stops_at_once_and_tells_the_budget(org):
    limit = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    served, client = org(Said(403, limit, {"Sforce-Limit-Info": "api-usage=15003/15000"}))
    with pytest.raises(QuotaExhausted, match="24 hours"):
        client.read(client.path("/limits"))
    assert len(served.asked) == 1 and client.connection.budget.observed[-1] == (15003, 15000)


def test_too_many_long_calls_at_once_are_waited_for(org):
    busy = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "ConcurrentRequests (Concurrent API Requests) Limit"}]
    _, client = org(Said(403, busy), Said(200, {"ok": 1}))
    assert client.read(client.path("/limits")) == {"ok": 1}
    assert client.connection.budget.penalties == [("", 5.0)]


def test_the_days_usage_is_passed_on_from_refusals_too_but_not_with_every_answer(org):
    headers = {"Sforce-Limit-Info": "api-usage=100/15000; per-app-api-usage=17/250(appName=x)"}
    _, client = org(Said(400, [{"errorCode": "MALFORMED_ID"}], headers), Said(200, {}, headers))
    with pytest.raises(SalesforceRejected):
        client.read(client.path("/limits"))
    client.read(client.path("/limits"))
    assert client.connection.budget.observed == [(100, 15000)]


def test_a_missing_permission_is_told_from_a_bad_login(org):
    refused = Said(403, [{"errorCode": "API_CURRENTLY_DISABLED", "message": "API is disabled for this User"}])
    served, client = org(refused)
    with pytest.raises(MissingPermissionsError, match="not allowed") as caught:
        client.read(client.path("/limits"))
    assert "API Enabled" in caught.value.hint and len(served.asked) == 1


def test_a_locked_row_is_tried_again(org):
    locked = Said(400, [{"errorCode": "UNABLE_TO_LOCK_ROW", "message": "unable to obtain exclusive access"}])
    served, client = org(locked, Said(200, {"ok": 1}))
    assert write(client, Effect.ONCE).data == {"ok": 1}
    assert len(served.asked) == 2


def test_a_retired_version_says_which_setting_to_change(org):
    _, client = org(Said(410, [{"errorCode": "UNSUPPORTED_API_VERSION", "message": "gone"}]))
    with pytest.raises(SalesforceRejected, match=r"API version 66\.0") as caught:
        client.read(client.path("/limits"))
    assert "api_version" in caught.value.hint


def test_a_gateways_page_is_a_passing_fault(org):
    _, client = org(Said(502, b"\xff\xfe<html>Bad gateway</html>"), Said(200, {"ok": 1}))
    assert client.read(client.path("/limits")) == {"ok": 1}


def test_a_page_of_html_with_status_200_is_not_taken_for_an_answer(org):
    _, client = org(Said(200, b"<html>login</html>"))
    with pytest.raises(RetriableError, match="not JSON"):
        client.read(client.path("/limits"), attempts=2)
    with pytest.raises(OutcomeUnknown, match="not JSON"):
        write(client, attempts=1)


def test_redirects_are_not_followed_and_full_addresses_stay_at_home(org):
    served, client = org(Said(302, {}, {"Location": "https://elsewhere.example/"}))
    with pytest.raises(SalesforceRejected):
        client.read(client.path("/limits"))
    with pytest.raises(RejectedError, match=r"elsewhere\.example"):
        client.read("https://elsewhere.example/services/data")
    assert len(served.asked) == 1


def test_what_comes_as_csv_is_read_as_utf_8_where_the_library_reads_latin_1(org, tmp_path):
    csv = "Id,FirstName\n003,Zoë\n".encode()
    served, client = org(Said(200, csv, {"Content-Type": "text/csv", "Sforce-Locator": "null"}))
    headers = client.download(client.path("/jobs/query/750/results"), tmp_path / "piece.csv")
    assert (tmp_path / "piece.csv").read_text("utf-8").endswith("Zoë\n") and headers["Sforce-Locator"] == "null"
    alone = naive(served)
    assert "ZoÃ«" in alone.bulk2.Contact.get_failed_records("750000000000001")
    alone.let_go()


def test_a_download_that_breaks_off_is_begun_again_and_leaves_no_half_file(org, tmp_path):
    whole = Said(200, b"x" * 5000)
    _, client = org(Said(200, b"x" * 5000, cut=100), whole)
    client.download("/file", tmp_path / "piece.csv")
    assert (tmp_path / "piece.csv").stat().st_size == 5000
    assert [path.name for path in tmp_path.iterdir()] == ["piece.csv"]


def test_a_query_is_followed_to_its_end_and_not_in_circles(org):
    link = "/services/data/v66.0/query/01g000000000001-2000"
    first = Said(200, {"totalSize": 3, "done": False, "nextRecordsUrl": link, "records": [{"Id": "1"}]})
    _, client = org(first, Said(200, {"totalSize": 3, "done": True, "records": [{"Id": "2"}, {"Id": "3"}]}))
    assert [row["Id"] for row in client.rows(QUERY)] == ["1", "2", "3"]
    from connector.paging import PagingError

    _, circling = org(first)
    with pytest.raises(PagingError):
        circling.rows(QUERY)


def test_a_kind_of_record_that_is_not_ours_to_see_is_none(org):
    _, client = org(Said(404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]))
    assert client.describe("Individual") is None


@pytest.mark.parametrize(
    "text",
    ["", "not json", "[]", "null", "[1]", '{"error": null}', '[{"errorCode": null, "fields": "x"}]', "<html>"],
)
def test_any_error_body_can_be_read(text):
    assert isinstance(VendorError.parse(text).words(), str)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("api-usage=18/5000", (18, 5000)),
        ("api-usage=18/5000; per-app-api-usage=17/250(appName=x)", (18, 5000)),
        ("per-app-api-usage=17/250(appName=x)", None),
        ("", None),
    ],
)
def test_the_usage_header_is_read_for_the_org_and_not_for_the_app(header, said):
    assert usage({"sforce-limit-info": header}) == said


def test_versions_know_until_when_they_are_promised():
    assert str(versions.supported_until("66.0")) == "2029-02-01"
    assert str(versions.supported_until("59.0")) == "2026-10-01"
    assert str(versions.supported_until("40.0")) == "2027-06-01"
    assert versions.newest_of(["66.0", "9.0", "68.0", "beta"]) == "68.0"


@pytest.mark.parametrize("text", ["10", "10 minutes", "-5m", "", "1w"])
def test_a_duration_without_a_clear_unit_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        SalesforceOptions(adapter="salesforce", overlap=text)


def test_importing_the_adapter_loads_neither_the_vendors_library_nor_arrow():
    code = (
        "import sys, adapters.salesforce; "
        "print([m for m in ('simple_salesforce', 'zeep', 'pyarrow', 'duckdb', 'flask', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
