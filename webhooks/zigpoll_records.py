"""What Zigpoll's API knows: records, one for each answered question, put together to what one person said in one go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, Field

from connector.errors import CredentialsError, RejectedError
from connector.paging import PagingError, walk_cursor
from connector.receivers import Api
from webhooks.payloads import Payload, Text
from webhooks.surveys import PathId, Remembered, moment, readable

PAGE_SIZE: Final = 5_000
IDLE: Final = timedelta(minutes=30)
"""A pause after which a response is finished, and whatever comes later is another one."""


def read_moment(value: object) -> datetime | None:
    """A time as text, or in milliseconds."""
    if not isinstance(value, int):
        return moment(value)
    try:
        return datetime.fromtimestamp(value / 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


class _Answer(Payload):
    title: Text | None = None
    handle: Text | None = None


class Record(Payload):
    """What somebody answered to one slide, as far as a webhook may tell it; old records have no `answers`."""

    slide: PathId | None = Field(default=None, validation_alias="slideId")
    kind: Text | None = Field(default=None, validation_alias="valueType")
    response: Text | float | None = None
    answers: tuple[_Answer, ...] | None = None
    metadata: Mapping[str, Any] | None = None


class Stored(Record):
    """A record as the API lists it."""

    id: PathId = Field(validation_alias=AliasChoices("_id", "id"))
    at: Annotated[datetime, BeforeValidator(read_moment)] = Field(validation_alias="createdAt")
    poll: PathId = Field(validation_alias="pollId")
    participant: PathId = Field(validation_alias="participantId")


class Slide(Payload):
    """A question of a poll."""

    id: PathId = Field(validation_alias=AliasChoices("_id", "id"))
    title: Text | None = None
    type: Text | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """What one participant answered to one poll without a long pause, oldest record first."""

    records: tuple[Stored, ...]

    @property
    def participant(self) -> str:
        """Whose it is."""
        return self.records[0].participant

    @property
    def last_at(self) -> datetime:
        """When the last answer was given."""
        return self.records[-1].at


def is_over(visit: Visit, now: datetime) -> bool:
    """Whether nothing more of this response is to come."""
    return visit.last_at + IDLE <= now


def visits(records: Sequence[Stored]) -> Iterator[Visit]:
    """The records of each participant of each poll, cut where nothing was answered for long."""
    people: dict[tuple[str, str], list[Stored]] = {}
    for record in sorted(records, key=lambda one: (one.at, one.id)):
        people.setdefault((record.poll, record.participant), []).append(record)
    for theirs in people.values():
        start = 0
        for place in range(1, len(theirs) + 1):
            if place == len(theirs) or theirs[place].at - theirs[place - 1].at > IDLE:
                yield Visit(tuple(theirs[start:place]))
                start = place


def records_since(api: Api, scope: Mapping[str, str], after: datetime) -> list[Stored]:
    """The records since a moment, each once, in no order.

    The last page has been seen to carry a cursor that leads to itself (2026-11): what repeats is the end, unless the
    page was full and there may be more behind it.
    """
    what = f"zigpoll responses of {next(iter(scope.values()))}"
    query = {**scope, "limit": str(PAGE_SIZE), "createdAfter": str(int(after.timestamp() * 1_000))}
    seen: dict[str, Stored] = {}

    def page(cursor: str | None) -> tuple[list[Stored], str | None]:
        found = _ask(api, "responses", query if cursor is None else {**query, "startCursor": cursor})
        items = found.get("data") or () if isinstance(found, Mapping) else ()
        records = list(readable(api, Stored, items, what))
        new = [record for record in records if record.id not in seen]
        seen.update({record.id: record for record in new})
        following = found.get("endCursor") if isinstance(found, Mapping) and found.get("hasNextPage") else None
        if following is not None and (following == cursor or (records and not new)):
            if len(items) >= PAGE_SIZE:
                raise PagingError(f"{what}: a full page came a second time", hint="run again; there may be more")
            api.reporter.line(f"{what}: the last page repeats itself; taken as the end")
            following = None
        return new, following

    for _ in walk_cursor(page, what=what):
        pass
    return [record for record in seen.values() if record.at >= after]


@dataclass(frozen=True, slots=True)
class _Slides:
    """The questions of a poll. `gone`: ids that answers speak of and the poll has no longer."""

    known: Mapping[str, Slide]
    gone: frozenset[str]


_SLIDES: Final[Remembered[_Slides]] = Remembered(lasts=timedelta(hours=12))


def slides_of(api: Api, poll: str, mentioned: frozenset[str]) -> Mapping[str, Slide]:
    """The questions of a poll by id; read again when an answer speaks of one it did not have."""

    def read(before: _Slides | None) -> _Slides:
        found = _ask(api, "slides", {"pollId": poll})
        items = found.get("data") or () if isinstance(found, Mapping) else found or ()
        known = {slide.id: slide for slide in readable(api, Slide, items, f"zigpoll slides of {poll}")}
        return _Slides(known, (mentioned | (before.gone if before else frozenset())) - known.keys())

    place = (api.options.base_url, poll)
    return _SLIDES.get(place, api.now(), read, fits=lambda slides: mentioned <= slides.known.keys() | slides.gone).known


def _ask(api: Api, path: str, query: Mapping[str, str]) -> Any:
    """What the API answers. A wrong key is answered 422, like a wrong question: `/me` tells them apart."""
    try:
        return api.get_json(path, query)
    except RejectedError as error:
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or _key_is_good(api):
            raise
        other = "raw" if api.options.authorization == "bearer" else "bearer"
        raise CredentialsError(
            "zigpoll: the API key is refused",
            hint="check `api_key` (in Zigpoll: Integrations, Private Keys); "
            f"if it is right, set `authorization: {other}`",
        ) from None


def _key_is_good(api: Api) -> bool:
    try:
        api.get_json("me")
    except RejectedError:
        return False
    return True
