"""Composite and composite batch: up to 25 requests in one call, of which later ones may use what earlier ones said."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.urls import uri_to_iri

from adapters.salesforce.sandbox.answers import BAD_REQUEST, NOT_FOUND, OK, Answer, Refusal, RowError
from adapters.salesforce.sandbox.api import Call, Rule

if TYPE_CHECKING:
    from adapters.salesforce.sandbox.running import SalesforceSandbox

MOST_REQUESTS = 25
MOST_BIG = 5
NOT_CARRIED = ("/jobs", "/composite/batch")
BIG = re.compile(r"/(query|queryAll|composite/sobjects)(/|\?|$)")
REFERENCE = re.compile(r"@\{([A-Za-z]\w*)((?:\.\w+|\[\d+\])*)\}")
STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
ERRORS_FROM = 400
HALTED = "PROCESSING_HALTED"
ROLLED_BACK = [
    {
        "errorCode": HALTED,
        "message": "The transaction was rolled back since another operation in the same transaction failed.",
    }
]


def rules(sandbox: SalesforceSandbox) -> tuple[Rule, ...]:
    """The operations that carry others."""

    def composite(call: Call) -> Answer:
        asked = _asked(call, "compositeRequest")
        all_or_none = bool(call.fields.get("allOrNone", False))
        results: list[dict[str, Any]] = []
        said: dict[str, Any] = {}
        with call.state.transaction() as transaction:
            for one in asked:
                results.append(_one(sandbox, call, one, said))
                if all_or_none and results[-1]["httpStatusCode"] >= ERRORS_FROM:
                    transaction.take_back()
                    results = _rolled_back(asked, results[-1])
                    break
        return Answer(OK, {"compositeResponse": results})

    def batch(call: Call) -> Answer:
        asked = _asked(call, "batchRequests")
        halts = bool(call.fields.get("haltOnError", False))
        results: list[dict[str, Any]] = []
        failed = False
        for one in asked:
            if failed and halts:
                results.append({"statusCode": 412, "result": [{"errorCode": "BATCH_PROCESSING_HALTED", "message": ""}]})
                continue
            address = str(one.get("url", ""))
            answer = _run(
                sandbox,
                call,
                method=str(one.get("method", "GET")).upper(),
                address=f"/services/data/{address.removeprefix('/').removeprefix('services/data/')}",
                body=one.get("richInput"),
            )
            failed = failed or answer.status >= ERRORS_FROM
            results.append({"statusCode": answer.status, "result": answer.payload})
        return Answer(OK, {"hasErrors": failed, "results": results})

    return (
        Rule("POST", "/composite", composite, "composites"),
        Rule("POST", "/composite/batch", batch, "composites"),
    )


def _one(sandbox: SalesforceSandbox, call: Call, one: Mapping[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of a composite; what it answered is kept for those that refer to it."""
    name = str(one.get("referenceId", ""))
    try:
        address, body = _filled(one.get("url", ""), said), _filled(one.get("body"), said)
        answer = _run(sandbox, call, method=str(one.get("method", "GET")).upper(), address=str(address), body=body)
    except KeyError as error:
        answer = Answer(
            BAD_REQUEST,
            [{"errorCode": HALTED, "message": f"Invalid reference specified. No value for {error.args[0]} found."}],
        )
    if answer.status < ERRORS_FROM:
        said[name] = answer.payload
    return {
        "body": answer.payload,
        "httpHeaders": dict(answer.headers),
        "httpStatusCode": answer.status,
        "referenceId": name,
    }


def _run(sandbox: SalesforceSandbox, call: Call, *, method: str, address: str, body: Any) -> Answer:
    """Carry out a request as if it had come alone, without its token and its count."""
    url = urlsplit(address)
    try:
        endpoint, matched = sandbox.app.url_map.bind("sandbox").match(uri_to_iri(url.path), method=method)
    except HTTPException:
        return Refusal("NOT_FOUND", "The requested resource does not exist", status=NOT_FOUND).answer()
    rule: Rule | None = sandbox.app.extensions["rules"].get(endpoint)
    if rule is None or not rule.versioned or rule.path.startswith(NOT_CARRIED) or rule.path == "/composite":
        return Refusal("INVALID_OPERATION", "This resource is not allowed in a composite request").answer()

    raw = b"" if body is None else json.dumps(body).encode()
    params = dict(matched)
    inner = replace(
        call, version=str(params.pop("version")), args=MultiDict(parse_qsl(url.query, keep_blank_values=True)), raw=raw
    )
    try:
        return rule.handler(inner, **params)
    except RowError as error:
        return error.refusal().answer()
    except Refusal as refusal:
        return refusal.answer()


def _asked(call: Call, name: str) -> list[dict[str, Any]]:
    asked = call.fields.get(name)
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) for one in asked):
        raise Refusal("JSON_PARSER_ERROR", f"{name} must be a list of requests at [line:1, column:1]")
    if len(asked) > MOST_REQUESTS:
        raise Refusal("LIMIT_EXCEEDED", f"At most {MOST_REQUESTS} requests can be carried by one.")
    if name == "compositeRequest" and sum(bool(BIG.search(str(one.get("url")))) for one in asked) > MOST_BIG:
        raise Refusal("LIMIT_EXCEEDED", f"At most {MOST_BIG} of the requests can be queries or collections.")
    return asked


def _filled(given: Any, said: Mapping[str, Any]) -> Any:
    """What was given, with every reference replaced; KeyError for one that leads nowhere."""
    if isinstance(given, dict):
        return {name: _filled(value, said) for name, value in given.items()}
    if isinstance(given, list):
        return [_filled(value, said) for value in given]
    if not isinstance(given, str):
        return given
    return REFERENCE.sub(lambda found: str(_value(found, said)), given)


def _value(found: re.Match[str], said: Mapping[str, Any]) -> Any:
    if found[1] not in said:
        raise KeyError(found[1])
    value = said[found[1]]
    for name, place in STEP.findall(found[2]):
        try:
            value = value[int(place)] if place else value[name]
        except (KeyError, IndexError, TypeError):
            raise KeyError(found[0]) from None
    return value


def _rolled_back(asked: Sequence[Mapping[str, Any]], failed: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers when one request failed and nothing was to be done then."""
    return [
        failed
        if one.get("referenceId") == failed["referenceId"]
        else {
            "body": ROLLED_BACK,
            "httpHeaders": {},
            "httpStatusCode": BAD_REQUEST,
            "referenceId": one.get("referenceId", ""),
        }
        for one in asked
    ]
