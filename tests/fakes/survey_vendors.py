"""Look-alikes of the survey tools' APIs, each a function from request to answer for `http_server.serving`.

They keep answers as the vendor's API shows them, page, count and limit as it does, and have its known defects to switch
on. Time is the clock they are given.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from connector.live.api import VendorApi, allowance
from connector.receivers import Incoming, Receiver, ReceiverOptions
from tests.fakes.budget import CountingBudget
from tests.fakes.clocks import VirtualClock
from tests.fakes.connections import KeptLines
from tests.fakes.http_server import Asked, Said, ScriptedServer, serving
from tests.fakes.incoming import incoming

FIXTURES = Path(__file__).parents[1] / "fixtures"
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
TOKEN = "contact-token.c2lnbmVkLWJ5LXdpbmJhY2stZm9yLXRlc3Rz"
"""The contact token in the fixtures."""


def fixture(system: str, name: str) -> Any:
    return json.loads((FIXTURES / system / f"{name}.json").read_text())


def arriving(body: bytes | dict[str, Any], *, at: datetime = NOW, token: str | None = None, **headers: str) -> Incoming:
    """A request as it arrives; underscores in the names of headers are hyphens."""
    raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return incoming(raw, {name.replace("_", "-"): value for name, value in headers.items()}, token=token, now=at)


@contextmanager
def asking(
    receiver: Receiver, options: ReceiverOptions, vendor: Any, *, per_day: int | None = None
) -> Iterator[tuple[VendorApi, ScriptedServer]]:
    """The way a worker asks, with the look-alike at the other end."""
    with serving(vendor) as server:
        options = options.model_copy(update={"base_url": server.url})
        clock: VirtualClock = vendor.clock
        limits = allowance(options)
        calls = int((limits.per_10s or 10_000) * limits.share)
        budget = CountingBudget(clock, meters={"": (calls, 10.0)}, per_day=per_day)
        api = VendorApi(receiver, options, budget=budget, clock=clock, reporter=KeptLines())
        try:
            yield api, server
        finally:
            api.close()


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


@dataclass
class _Window:
    """At most so many calls in so many seconds."""

    clock: VirtualClock
    most: int
    seconds: float
    calls: list[float] = field(default_factory=list)

    def count(self) -> bool:
        now = self.clock.monotonic()
        self.calls = [at for at in self.calls if at > now - self.seconds]
        if len(self.calls) >= self.most:
            return False
        self.calls.append(now)
        return True


@dataclass
class TypeformApi:
    """`items` are in the order they were processed, per form; `ignores_before` is the defect of a page coming twice."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOW))
    token: str = "tfp_sample"
    forms: dict[str, Any] = field(default_factory=dict)
    items: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    partial: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    largest_page: int = 1_000
    ignores_before: bool = False

    def __post_init__(self) -> None:
        self._window = _Window(self.clock, 2, 1.0)

    def __call__(self, asked: Asked) -> Said:
        if not self._window.count():
            return Said(429, {"code": "TOO_MANY_REQUESTS", "description": "slow down"}, {"Retry-After": "1"})
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return Said(401, {"code": "AUTHENTICATION_FAILED", "description": "unknown token"})
        match asked.path.strip("/").split("/"):
            case ["forms", form] if form in self.forms:
                return Said(200, self.forms[form])
            case ["forms", form, "responses"] if form in self.forms:
                return self._responses(form, {name: values[0] for name, values in asked.query.items()})
        return Said(404, {"code": "FORM_NOT_FOUND", "description": "Non existing form"})

    def _responses(self, form: str, query: dict[str, str]) -> Said:
        if "sort" in query and {"before", "after"} & query.keys():
            return Said(400, {"code": "VALIDATION_ERROR", "description": "sort cannot be used with before or after"})
        size = int(query.get("page_size", "25"))
        if size > self.largest_page:
            return Said(400, {"code": "VALIDATION_ERROR", "description": "page_size"})
        items = (self.partial if query.get("response_type") == "partial" else self.items).get(form, [])
        if "before" in query and not self.ignores_before:
            tokens = [item["token"] for item in items]
            items = items[: tokens.index(query["before"])][::-1]
        else:
            items = sorted(items, key=lambda item: item["submitted_at"], reverse=True)
            # Together with a cursor the bounds are passed over without a word.
            since = _time(query["since"]) if "since" in query and "before" not in query else None
            items = [item for item in items if since is None or _time(item["submitted_at"]) >= since]
        total = len(items)
        return Said(200, {"total_items": total, "page_count": -(-total // size), "items": items[:size]})


@dataclass
class SurveyMonkeyApi:
    """With 120 calls a minute and 500 a day; `error` is answered to everything, `circles`: the next page is the first."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOW))
    token: str = "sm_sample"
    details: dict[str, Any] = field(default_factory=dict)
    responses: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    per_minute: int = 120
    per_day: int = 500
    error: tuple[int, str] | None = None
    circles: bool = False
    calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._minute = _Window(self.clock, self.per_minute, 60.0)
        self._day = _Window(self.clock, self.per_day, 86_400.0)

    def __call__(self, asked: Asked) -> Said:
        fits = self._minute.count() & self._day.count()
        headers = {
            "X-Ratelimit-App-Global-Minute-Limit": str(self.per_minute),
            "X-Ratelimit-App-Global-Minute-Remaining": str(max(0, self.per_minute - len(self._minute.calls))),
            "X-Ratelimit-App-Global-Day-Limit": str(self.per_day),
            "X-Ratelimit-App-Global-Day-Remaining": str(max(0, self.per_day - len(self._day.calls))),
        }
        said = self._said(asked) if fits else _refused(429, "1040")
        return Said(said.status, said.body, headers)

    def _said(self, asked: Asked) -> Said:
        if self.error:
            return _refused(*self.error)
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            return _refused(401, "1011")
        match asked.path.strip("/").split("/"):
            case ["v3", "surveys", survey, "details"] if survey in self.details:
                self.calls["structure"] += 1
                return Said(200, self.details[survey])
            case ["v3", "surveys", survey, "responses", "bulk"] if survey in self.details:
                self.calls["bulk"] += 1
                return self._bulk(survey, asked)
            case ["v3", "surveys", survey, "responses", number, "details"]:
                self.calls["single"] += 1
                found = [one for one in self.responses.get(survey, []) if one["id"] == number]
                return Said(200, found[0]) if found else _refused(404, "1020")
        return _refused(404, "1020")

    def _bulk(self, survey: str, asked: Asked) -> Said:
        query = {name: values[0] for name, values in asked.query.items()}
        size, page = int(query.get("per_page", "50")), int(query.get("page", "1"))
        if size > 100 or query.get("sort_by", "date_modified") != "date_modified":
            return _refused(400, "1003")
        found = sorted(self.responses.get(survey, []), key=lambda one: _time(one["date_modified"]))
        if "start_modified_at" in query:
            found = [one for one in found if _time(one["date_modified"]) > _time(query["start_modified_at"])]
        found = found[::-1] if query.get("sort_order") == "DESC" else found
        here = found[(page - 1) * size : page * size]
        links = {"self": self._link(survey, query, page)}
        if page * size < len(found) or self.circles:
            links["next"] = self._link(survey, query, 1 if self.circles else page + 1)
        return Said(200, {"data": here, "per_page": size, "page": page, "total": len(found), "links": links})

    def _link(self, survey: str, query: dict[str, str], page: int) -> str:
        query = {**query, "page": str(page)}
        return f"https://api.surveymonkey.com/v3/surveys/{survey}/responses/bulk?{urlencode(query)}"


def _refused(status: int, code: str) -> Said:
    return Said(status, {"error": {"id": code, "name": "Error", "message": "refused", "http_status_code": status}})


@dataclass
class ZigpollApi:
    """A wrong key is answered 422, as anything else that is wrong; `repeats`: the last page's cursor leads to itself."""

    clock: VirtualClock = field(default_factory=lambda: VirtualClock(NOW))
    key: str = "zp_sample"
    bearer: bool = False
    records: list[dict[str, Any]] = field(default_factory=list)
    slides: dict[str, Any] = field(default_factory=dict)
    largest_page: int = 5_000
    repeats: bool = False

    def __call__(self, asked: Asked) -> Said:
        expected = f"Bearer {self.key}" if self.bearer else self.key
        if asked.headers.get("Authorization") != expected:
            return Said(422, {"error": "Unprocessable"})
        query = {name: values[0] for name, values in asked.query.items()}
        match asked.path:
            case "/me":
                return Said(200, {"_id": "u1", "accounts": ["a1"]})
            case "/slides" if "pollId" in query:
                return Said(200, self.slides.get(query["pollId"], []))
            case "/responses" if {"pollId", "accountId", "slideId"} & query.keys():
                return Said(200, self._responses(query))
        return Said(422, {"error": "Unprocessable"})

    def _responses(self, query: dict[str, str]) -> dict[str, Any]:
        after = datetime.fromtimestamp(int(query.get("createdAfter", "0")) / 1_000, UTC)
        found = [
            one
            for one in self.records
            if _time(one["createdAt"]) > after
            and all(one.get(name) == query[name] for name in ("pollId", "accountId") if name in query)
        ]
        found.sort(key=lambda one: (one["createdAt"], one["_id"]), reverse=True)
        start = int(query.get("startCursor", "0"))
        size = min(int(query.get("limit", "100")), self.largest_page)
        here, more = found[start : start + size], start + size < len(found)
        following = start + size if more else start
        return {
            "data": here,
            "hasNextPage": more or (self.repeats and bool(found)),
            "endCursor": str(following) if here else None,
        }


def item(token: str, submitted_at: datetime, **changes: Any) -> dict[str, Any]:
    """A response of Typeform's API, like the one of the fixture but for these."""
    at = submitted_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    begun = (submitted_at - timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    base = fixture("typeform", "response_item")
    return {**base, "token": token, "response_id": token, "submitted_at": at, "landed_at": begun, **changes}


def answer(number: int, modified_at: datetime, **changes: Any) -> dict[str, Any]:
    """A response of SurveyMonkey's API, like the one of the fixture but for these."""
    base = fixture("surveymonkey", "response_details")
    return {**base, "id": str(number), "date_modified": modified_at.isoformat(timespec="seconds"), **changes}


def record(number: int, at: datetime, **changes: Any) -> dict[str, Any]:
    """A record of Zigpoll's API, like the first of the fixture but for these."""
    base = fixture("zigpoll", "records")[0]
    created = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**base, "_id": f"66a0{number:06d}", "createdAt": created, **changes}


def keys(events: Sequence[Any]) -> list[str]:
    return [event.key for event in events]
