"""The document of our HTTP surface: it names every route, and what it promises is what happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes.databases import sqlite_url
from tests.fakes.pages import link, pages_of
from tests.fakes.web import SECRET, TINY, TinyOptions, web
from tests.unit.test_webhook_operators import Browser
from webhooks import receiving
from webhooks.openapi import PATHS, as_path
from webhooks.service import Listening

METHODS = {"get", "post", "head", "put", "delete", "patch", "options"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One source that verifies, and one that believes everybody, so that what is sent gets as far as it can."""
    believing = Listening(replace(TINY, name="sure"), TinyOptions(insecure_dev=True))
    sources = {"tiny": Listening(TINY, TinyOptions(secret=SECRET)), "sure": believing}
    with pages_of(tmp_path_factory.mktemp("openapi"), sources=sources) as site:
        yield site


RELIED_ON = {"/l/{token}", "/webhooks/{system}", "/webhooks/{system}/{token}"}
"""HEAD comes with every GET; it is told of only where somebody relies on it: vendors, and mail programs."""


def routes_of(site):
    """Every route of an application, and its methods."""
    routes: dict[str, set[str]] = {}
    rules = [(rule.rule, rule.methods or ()) for rule in site.app.url_map.iter_rules()]
    for rule, known in rules + [(rule, receiving.METHODS) for rule in receiving.RULES]:
        path = as_path(rule)
        methods = {method.lower() for method in known}
        routes.setdefault(path, set()).update(methods - (set() if path in RELIED_ON else {"head"}))
    return routes


def told_by(site):
    told = site.client().get("/openapi.json").json
    return {path: METHODS & set(item) for path, item in told["paths"].items()}


def test_every_route_is_in_the_document_and_every_path_of_it_is_a_route(site):
    assert routes_of(site) == told_by(site)
    assert told_by(site) == {path: METHODS & set(item) for path, item in PATHS.items()}


def test_an_application_without_pages_tells_of_none(tmp_path):
    with web(sqlite_url(tmp_path)) as bare:
        assert routes_of(bare) == told_by(bare)
        assert not {"/", "/login", "/l/{token}"} & set(told_by(bare))


def test_the_document_is_served_and_is_openapi(site):
    told = site.client().get("/openapi.json").json
    assert told["openapi"] == "3.1.0"
    operations = [item[method]["operationId"] for item in told["paths"].values() for method in METHODS & set(item)]
    assert len(set(operations)) == len(operations)


DESK = {
    "/",
    "/login",
    "/inbox",
    "/contacts/{contact_id}",
    "/inbox/{number}/replay",
    "/inbox/{number}/set-aside",
    "/search",
}
"""The operators' pages, but for the one that would end every session."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", sorted(set(PATHS) - {"/openapi.json"}))  # that one it reads itself
def test_nothing_a_machine_thinks_of_breaks_the_app_or_the_document(site, path):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from schemathesis import checks

    schema = schemathesis.openapi.from_wsgi("/openapi.json", site.app)
    operations = [result.ok() for result in schema.get_all_operations() if result.ok().path == path]
    positive, negative = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    # What takes nothing cannot be given anything wrong.
    modes = (positive, negative) if "{" in path else (positive,)
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for operation in operations for mode in modes])
    cookies = {name: Browser(site, name).cookie for name in ("vic", "ada")} if path in DESK else {"vic": "", "ada": ""}
    wanted = [getattr(checks, name, None) or checks.CHECKS.get_one(name) for name in CHECKS]
    seen = []

    @settings(
        max_examples=150 if path.startswith(("/webhooks/", "/triggers/")) else 20 if "{" in path else 10,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=cases,
        ours=st.sampled_from((None, "tiny", "sure")),
        good=st.sampled_from((None, *map(link, ("unsubscribe", "snooze", "return", "preferences")))),
        who=st.sampled_from((None, "vic", "ada")),
    )
    def try_everything(case, ours, good, who):
        for name in {"system", "crm"} & set(case.path_parameters) if ours and case.path_parameters else ():
            case.path_parameters[name] = ours
        if good and path == "/l/{token}":
            case.path_parameters["token"] = good.removeprefix("/l/")
        if who:
            case.cookies = {**(case.cookies or {}), "__Host-winback": cookies[who]}
        seen.append(case.call_and_validate(checks=wanted).status_code)

    try_everything()
    assert seen
    if path in DESK | {"/l/{token}"} and "get" in PATHS[path] and "contact_id" not in path:
        assert 200 in seen, "the page itself was never seen"
