"""The pages of `winback serve` after a real run: what they say of somebody is what `winback explain` says."""

from __future__ import annotations

import html
import os
import re
from datetime import timedelta
from unittest import mock
from urllib.parse import urljoin

import pytest

from connector.cli.session import open_workspace
from tests.fakes.pages import PASSWORDS, hashed
from tests.fakes.people import NOON
from webhooks.making import made

BLOCKS = """
program: {name: win-back, enroll: [dormant_90], steps: [{name: hello, day: 1}]}
links: {public_base_url: "http://127.0.0.1:8080", destinations: {home: "https://app.acme.example"}}
webhooks:
  public_base_url: http://127.0.0.1:8080
  operators: {ada: {password: "${ADA}", role: operator}}
"""
WHO = "hubspot:1045"
"""Silent for 65 days."""


@pytest.fixture
def app(acme):
    acme.environment["ADA"] = hashed(PASSWORDS["ada"])
    acme.config.write_text(acme.config.read_text() + BLOCKS)
    assert acme.run("run").code == 0
    with (
        mock.patch.dict(os.environ, acme.environment),
        open_workspace(acme.config, now=NOON + timedelta(hours=1), quiet=True) as workspace,
    ):
        app, service = made(workspace, beside=None, loopback=True)
        yield app
        service.intake.close()


def test_a_contacts_page_says_what_explain_says_from_the_journal_alone(acme, app):
    client = app.test_client()
    form = re.search(r'name="form" value="([^"]+)"', client.get("/login").text)[1]
    client.post("/login", data={"form": form, "name": "ada", "password": PASSWORDS["ada"]})
    page = client.get(f"/contacts/{WHO}")
    assert page.status_code == 200
    shown = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))
    told = acme.run("explain", WHO, "--json").json
    assert [segment["name"] for segment in told["segments"] if segment["matched"]] == ["dormant_60"]
    assert "In dormant_60" in shown
    for segment in told["segments"]:
        for clause in segment["clauses"]:
            holds = {True: "holds", False: "does not hold", None: "not known"}[clause["holds"]]
            assert f"{clause['text']} {clause['value']} {holds}" in shown
    assert told["program"]["next"] in shown


def test_somebody_is_found_by_their_address_and_their_product_id(app):
    client = app.test_client()
    form = re.search(r'name="form" value="([^"]+)"', client.get("/login").text)[1]
    home = client.post(
        "/login", data={"form": form, "name": "ada", "password": PASSWORDS["ada"]}, follow_redirects=True
    )
    form = re.search(r'name="form" value="([^"]+)"', home.text)[1]
    for asked in (WHO, "u45", "person45@example.com"):
        assert client.post("/search", data={"form": form, "who": asked}).headers["Location"] == f"/contacts/{WHO}"


def test_a_link_made_on_the_command_line_works(acme, app):
    url = acme.run("links", "make", WHO, "--action", "unsubscribe").out.split()[-1]
    path = url.removeprefix("http://127.0.0.1:8080")
    client = app.test_client()
    assert client.get(path).status_code == 200
    answer = client.post(path, data={"List-Unsubscribe": "One-Click"})
    assert answer.status_code == 200
    assert "You are unsubscribed" in answer.text


def test_every_page_finds_its_stylesheet(app):
    client = app.test_client()
    for path in ("/l/nothing", "/login"):
        sheet = re.search(r'rel="stylesheet" href="([^"]+)"', client.get(path).text)[1]
        found = client.get(urljoin(f"http://127.0.0.1{path}", sheet))
        assert (found.status_code, found.mimetype) == (200, "text/css")
