from __future__ import annotations

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.salesforce.sandbox import CLIENT_ID, CLIENT_SECRET, USERNAME
from adapters.salesforce.sandbox.sessions import JWT_GRANT, REFUSALS
from connector.clock import SystemClock
from tests.fakes.salesforce_sandbox import TOKEN_PATH, running


@pytest.fixture
def world():
    with running(2) as held:
        yield held


def login(sandbox, auth=None, **form):
    return requests.post(f"{sandbox.base_url}{TOKEN_PATH}", data=form, auth=auth, timeout=10)


def assertion(key, **changes):
    now = SystemClock().now().timestamp()
    claims = {"iss": CLIENT_ID, "sub": USERNAME, "aud": "https://login.salesforce.com", "exp": now + 180, **changes}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, key, algorithm="RS256")


def test_client_credentials_are_taken_as_basic_and_in_the_form(world):
    sandbox, _ = world
    basic = login(sandbox, (CLIENT_ID, CLIENT_SECRET), grant_type="client_credentials")
    form = login(sandbox, grant_type="client_credentials", client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    for answer in (basic, form):
        assert answer.status_code == 200
        body = answer.json()
        assert body["token_type"] == "Bearer"
        assert body["instance_url"] == sandbox.base_url
        assert body["id"].endswith(f"/id/{sandbox.state.org_id}/{sandbox.state.integration_user}")
        assert "expires_in" not in body
    assert basic.json()["access_token"] != form.json()["access_token"]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, "invalid_client_id"),
        ({"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": "y"}, "invalid_client"),
        ({"grant_type": "password", "username": "u", "password": "p"}, "unsupported_grant_type"),
        ({"grant_type": JWT_GRANT, "assertion": "a.b.c"}, "invalid_grant"),
        ({}, "unsupported_grant_type"),
    ],
)
def test_a_bad_login_is_refused_in_oauths_own_shape(world, form, error):
    answer = login(world[0], **form)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error", "error_description"}
    assert answer.json()["error"] == error


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_what_the_admin_left_undone_is_said_at_login(world, name):
    sandbox, _ = world
    sandbox.sessions.refuse = name
    answer = login(sandbox, (CLIENT_ID, CLIENT_SECRET), grant_type="client_credentials")
    assert answer.status_code == 400
    assert (answer.json()["error"], answer.json()["error_description"]) == REFUSALS[name]


def test_an_assertion_signed_with_the_uploaded_key_is_taken(world):
    sandbox, api = world
    answer = login(sandbox, grant_type=JWT_GRANT, assertion=assertion(sandbox.sessions.private_key))
    assert answer.status_code == 200
    api.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    assert api.get("/limits").status_code == 200


def test_a_key_the_admin_uploads_later_is_taken_and_another_is_not(world):
    sandbox, _ = world
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signed = assertion(made)
    assert login(sandbox, grant_type=JWT_GRANT, assertion=signed).json()["error_description"] == "invalid assertion"
    public = made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    sandbox.sessions.trust(public.decode())
    assert login(sandbox, grant_type=JWT_GRANT, assertion=signed).status_code == 200


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "another"}, "client identifier invalid"),
        ({"sub": "somebody@else.example"}, "user hasn't approved this consumer"),
        ({"aud": "https://elsewhere.example"}, "audience is invalid"),
        ({"exp": 1_000}, "expired authorization code"),
        ({"exp": None}, "expired authorization code"),
        ({"exp": 99_999_999_999}, "expired authorization code"),
    ],
)
def test_an_assertion_with_a_wrong_claim_is_refused(world, changes, said):
    sandbox, _ = world
    signed = assertion(sandbox.sessions.private_key, **changes)
    answer = login(sandbox, grant_type=JWT_GRANT, assertion=signed)
    assert (answer.status_code, answer.json()["error_description"]) == (400, said)


def test_an_end_written_as_text_counts_and_so_does_the_sandboxs_clock(world):
    sandbox, _ = world
    sandbox.state.clock.freeze()
    sandbox.advance(-86_400)
    key = sandbox.sessions.private_key
    at_home = sandbox.state.clock.now_ms() / 1000 + 180
    assert login(sandbox, grant_type=JWT_GRANT, assertion=assertion(key, exp=at_home)).status_code == 200
    text = str(int(SystemClock().now().timestamp()) + 180)
    assert login(sandbox, grant_type=JWT_GRANT, assertion=assertion(key, exp=text)).status_code == 200


def test_no_token_a_wrong_one_and_an_old_one_are_one_error(world):
    sandbox, api = world
    good = api.session.headers["Authorization"]
    for bad in ("", "Bearer nonsense"):
        answer = api.get("/limits", headers={"Authorization": bad})
        assert answer.status_code == 401
        assert answer.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
    sandbox.advance(7_300)
    assert api.get("/limits", headers={"Authorization": good}).status_code == 401
    api.login()
    assert api.get("/limits").status_code == 200


def test_sessions_can_be_ended_at_once_or_after_some_calls(world):
    sandbox, api = world
    sandbox.sessions.expire()
    assert api.get("/limits").status_code == 401
    api.login()
    sandbox.sessions.expire(after_calls=2)
    assert [api.get("/limits").status_code for _ in range(4)] == [200, 200, 401, 401]
    api.login()
    assert api.get("/limits").status_code == 200


def test_versions_are_told_to_anybody_and_cost_no_call(world):
    sandbox, _ = world
    used = sandbox.meter.used(now_ms=sandbox.state.clock.now_ms())
    answer = requests.get(f"{sandbox.base_url}/services/data/", timeout=10)
    versions = {one["version"]: one["label"] for one in answer.json()}
    assert versions["66.0"] == "Spring '26"
    assert versions["68.0"] == "Winter '27"
    assert min(versions, key=float) == "31.0"
    assert sandbox.meter.used(now_ms=sandbox.state.clock.now_ms()) == used


@pytest.mark.parametrize(("version", "status"), [("25.0", 410), ("7.0", 410), ("69.0", 404), ("66.5", 404), ("x", 404)])
def test_a_version_that_is_retired_or_unknown_is_refused(world, version, status):
    answer = world[1].get(f"/services/data/v{version}/limits")
    assert answer.status_code == status
    assert answer.json()[0]["errorCode"] == ("UNSUPPORTED_API_VERSION" if status == 410 else "NOT_FOUND")
