"""Reading what a vendor sent: models for the parts we use, moments, and keys that fit into any database.

What cannot be read is a `MalformedPayload` that names the place and never the value: bodies hold personal data.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from connector.errors import MalformedPayload
from connector.receivers import Secrets, secrets
from webhooks import strict_json

LONGEST_TEXT: Final = 5_000
"""Characters kept of one text."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_PLACE = re.compile(r"\w{1,40}").fullmatch
_KEY = re.compile(r"[\x21-\x7e]{1,200}").fullmatch
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_ADDRESS = re.compile(r"[^\s@]{1,64}@[^\s@]{1,255}").fullmatch


def _storable(text: str) -> str:
    """The text, cut where it is far too long; lone surrogates and NUL give way: PostgreSQL takes neither."""
    return text if len(text) <= LONGEST_TEXT and not _UNSTORABLE.search(text) else _mended(text)


def _mended(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text[:LONGEST_TEXT])


Text = Annotated[str, AfterValidator(_storable)]
"""Words of a vendor; in a `Payload` a number is taken for its digits."""

Filled = Annotated[Text, Field(min_length=1)]
"""Words that must not be missing."""

Id = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")]
"""An id of a vendor; in a `Payload` a number is taken for its digits."""

Count = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
"""A whole number that was sent as one."""

_LEAST_SIGNS: Final = 16


def _long_enough(values: Secrets) -> Secrets:
    """The secrets; ValueError for one that could be guessed. Nothing is signed with it: whoever guesses it is in."""
    for value in values:
        if 0 < len(value.get_secret_value()) < _LEAST_SIGNS:
            raise ValueError(f"is shorter than {_LEAST_SIGNS} signs; `openssl rand -hex 16` makes a good one")
    return values


SharedSecrets = Annotated[Secrets, BeforeValidator(secrets), AfterValidator(_long_enough)]
"""Secrets that are sent as they are, in a header."""


class Payload(BaseModel):
    """Any part of what a vendor sends: what we use is checked, everything else is let through and not kept (C-14)."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True, coerce_numbers_to_str=True)

    def kept(self) -> dict[str, Any]:
        """As JSON values, under the vendor's names, for the inbox."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class CamelPayload(Payload):
    """A payload whose vendor writes namesLikeThis."""

    model_config = ConfigDict(alias_generator=to_camel)


Model = TypeVar("Model", bound=BaseModel)


def read_json(body: bytes, what: str) -> Any:
    """The JSON of a body, read strictly; MalformedPayload when it is none."""
    try:
        return strict_json.loads(body)
    except MalformedPayload as error:
        raise MalformedPayload(f"{what}: {error}") from None


def checked(model: type[Model], data: object, what: str) -> Model:
    """The data as this model; MalformedPayload naming the place, never the value."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) if _PLACE(str(part)) else "?" for part in first["loc"]) or "the body"
        raise MalformedPayload(f"{what}: {place}: {first['type']}") from None


def from_millis(value: int, what: str) -> datetime:
    """A moment given in milliseconds since 1970."""
    return _moment(timedelta(milliseconds=1), value, what)


def from_seconds(value: int, what: str) -> datetime:
    """A moment given in seconds since 1970."""
    return _moment(timedelta(seconds=1), value, what)


def from_text(value: str, what: str) -> datetime:
    """A moment in ISO 8601; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(value.strip())
        at = (at.replace(tzinfo=UTC) if at.tzinfo is None else at).astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedPayload(f"{what}: a time cannot be read") from None
    return _plausible(at, what)


def _moment(unit: timedelta, value: int, what: str) -> datetime:
    try:
        return _plausible(_EPOCH + unit * value, what)
    except OverflowError:
        raise MalformedPayload(f"{what}: a time cannot be read") from None


def _plausible(at: datetime, what: str) -> datetime:
    if not _EARLIEST <= at < _LATEST:
        raise MalformedPayload(f"{what}: a time is of another century")
    return at


def key_of(*parts: object) -> str:
    """What makes an event count once, out of the parts the vendor tells it apart by; never longer than a column."""
    text = ":".join("" if part is None else str(part) for part in parts)
    return text if _KEY(text) else "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class _Input(Payload):
    name: Text
    value: Text


def inputs_of(fields: Mapping[str, Any], what: str) -> dict[str, str]:
    """What a workflow's author filled in, as text: numbers by digits, yes and no as true and false.

    What is empty or no plain value is left out.
    """
    plain = [
        checked(_Input, {"name": name, "value": str(value).lower() if isinstance(value, bool) else value}, what)
        for name, value in fields.items()
        if isinstance(value, str | int) and value != ""
    ]
    return {one.name: one.value for one in plain}


def is_ours(event_name: str) -> bool:
    """Whether winback wrote the event itself: what we did says nothing about the person."""
    return event_name.casefold().startswith("winback")


def happened(told: Iterable[str | None], received_at: datetime) -> datetime:
    """The first of these moments that can be read, by clocks that may be wrong: never later than we heard of it."""
    for text in told:
        if text:
            with suppress(MalformedPayload):
                return min(from_text(text, ""), received_at)
    return received_at


def mail_address(text: object) -> str | None:
    """The text when it can be a mail address; only ever a hint whom an event is about."""
    if not isinstance(text, str):
        return None
    text = text.strip()
    return text if _ADDRESS(text) and text.isprintable() else None
