"""What the survey receivers have in common: whose answer it is, which question it is to, and what we keep of it.

An answer is believed to be somebody's only through a signed contact token that comes back with it. Whatever else stands
in hidden fields (a contact id, an address) can be edited by whoever holds the link, so it is not even stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from html import unescape
from threading import Lock
from typing import Annotated, Final, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from connector.contracts import Limits
from connector.durations import Duration
from connector.errors import MalformedPayload, ProviderError, RejectedError
from connector.heard import Given, Who
from connector.paging import PagingError
from connector.receivers import Api, Event, ReceiverOptions
from connector.rest import is_loopback
from webhooks.payloads import LONGEST_TEXT, checked, from_text

TOKEN_NAMES: Final = ("wb", "wb_token")
"""What the hidden field with the contact token may be called besides what `token_field` says."""

_ID = r"^[A-Za-z0-9_-]{1,64}$"
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{1,1000}")
# A signed token is never shorter; ids and words that stand in other fields are.
_LOOKS_SIGNED = re.compile(r"(?=.*[^.]\.[^.])[A-Za-z0-9._~-]{40,1000}")
_NAME = re.compile(r"[\w .-]{1,100}")
_NUMBER = re.compile(r"\s*(-?[0-9]{1,9}(?:[.,][0-9]{1,6})?)(?![0-9])")

PathId = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value), Field(pattern=_ID)
]
"""An id of a vendor that is harmless in a path of its API; some are sent as numbers."""


def _reachable(address: str | None) -> str | None:
    """The address without a slash at its end; our credentials travel to it, so encrypted or on this machine."""
    if address is None:
        return None
    if not re.match(r"https?://[^/\s]", address):
        raise ValueError("is not an address; write it with https:// in front")
    if not address.startswith("https://") and not is_loopback(address):
        raise ValueError("is not encrypted; write it with https:// in front")
    return address.rstrip("/")


Interval = Annotated[Duration, Field(ge=timedelta(minutes=1))]
"""How often to ask: not more than once a minute."""


class SurveyOptions(ReceiverOptions):
    """The keys every survey tool's block has besides its secrets."""

    model_config = ConfigDict(hide_input_in_errors=True)

    token_field: str = Field(
        default="wb", min_length=1, description="the hidden field or variable that carries the signed contact token"
    )
    base_url: Annotated[str | None, AfterValidator(_reachable)] = Field(
        default=None, description="where the API answers; the vendor's own address by default"
    )
    rate: Limits = Field(default_factory=Limits, description="how much of the API allowance to use")
    poll: Interval = Field(default=timedelta(hours=1), description="how often missed answers are asked for")


Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


def readable(api: Api, model: type[Model], items: Iterable[object], what: str) -> Iterator[Model]:
    """The items as this model; one that cannot be read is told of and does not stand in the way of the others."""
    for item in items:
        try:
            yield checked(model, item, what)
        except MalformedPayload as error:
            api.reporter.line(f"{error}; left out")


def all_of(names: Iterable[str], read: Callable[[str], Iterator[Event]]) -> Iterator[Event]:
    """The events of every survey; one that cannot be read is raised after the others had their turn."""
    failed: ProviderError | None = None
    for name in names:
        try:
            yield from read(name)
        except (RejectedError, PagingError) as error:
            failed = failed or error
    if failed is not None:
        raise failed


def happened(event: Event) -> datetime:
    """When an event happened: our receivers always say."""
    if event.at is None:
        raise MalformedPayload(f"the event {event.kind} does not say when it happened")
    return event.at


def moment(value: object) -> datetime | None:
    """A vendor's time; None when it is missing, unreadable or the zero date some vendors send."""
    try:
        return from_text(value, "a survey") if isinstance(value, str) else None
    except MalformedPayload:
        return None


def carried(values: Mapping[str, object], token_field: str) -> dict[str, str]:
    """What is kept of hidden fields: the contact token, and what looks like one under another name.

    The second part is for a setting that was wrong at first: corrected, the stored answers can be replayed.
    """
    names = {token_field, *TOKEN_NAMES}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, str)
        and (_TOKEN.fullmatch(value) if name in names else _NAME.fullmatch(name) and _LOOKS_SIGNED.fullmatch(value))
    }


def looks_signed(value: str) -> bool:
    """Whether a value without a name can be a contact token."""
    return _LOOKS_SIGNED.fullmatch(value) is not None


def who(kept: Mapping[str, str], token_field: str) -> Who:
    """Whose answer it is: the token's person, or nobody."""
    return Who(token=next((kept[name] for name in (token_field, *TOKEN_NAMES) if name in kept), None))


def named(wanted: Iterable[str], names: Sequence[str | None]) -> str:
    """The name the playbook uses for something that has several, large and small letters aside; else its first one."""
    known = [name for name in names if name]
    spelled = {name.casefold(): name for name in wanted}
    return next((spelled[name.casefold()] for name in known if name.casefold() in spelled), known[0] if known else "")


def given(
    options: ReceiverOptions,
    names: Sequence[str | None],
    kind: str,
    *,
    title: str = "",
    choices: Sequence[Sequence[str | None]] = (),
    text: str = "",
    number: float | None = None,
) -> Given:
    """One answer in our words, with the playbook's names for the question and for what was chosen.

    Args:
        options: The receiver's block of the playbook.
        names: Of the question, the most stable one first.
        kind: See `Given`; a question that the playbook calls a score is one when its answer begins with a number.
        title: The question as it was asked.
        choices: For each choice its names, the most stable one first, its label last.
        text: The words given; by default the labels of the choices.
        number: Of a scale.
    """
    question = named(options.questions, names)
    text = (text or "; ".join(label for *_, label in choices if label))[:LONGEST_TEXT]
    if options.questions.get(question) == "score":
        number = leading_number(text) if number is None else number
        kind = kind if number is None else "score"
    chosen = tuple(named(options.choices, choice) for choice in choices)
    return Given(
        question=question,
        kind=kind,
        title=title[:LONGEST_TEXT],
        choice=tuple(name for name in chosen if name),
        text=text,
        number=number,
    )


def leading_number(text: str) -> float | None:
    """The number a label begins with: `8`, `0 - not at all likely`."""
    found = _NUMBER.match(text)
    return float(found[1].replace(",", ".")) if found else None


def plain_text(value: object) -> str:
    """The words of a text that may hold HTML.

    Not by the standard library's parser: it takes seconds for ten kilobytes of tags that never end.
    """
    if not isinstance(value, str):
        return "" if value is None else str(value)
    if "<" not in value and "&" not in value:
        return value.strip()
    words: list[str] = []
    hidden = False
    for place, piece in enumerate(_TAG.split(value)):
        if place % 2 == 0:
            words.append("" if hidden else piece)
        elif (name := piece.lower()) in _HIDING:
            hidden = True
        elif name.removeprefix("/") in _HIDING:
            hidden = False
        elif name.removeprefix("/") in _BREAKING:
            words.append(" ")
    return " ".join(_ENTITY.sub(lambda entity: unescape(entity[0]), "".join(words)).split())


_TAG: Final = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9]{0,15}|!)[^<>]*>")
_ENTITY: Final = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_HIDING: Final = frozenset({"script", "style"})
_BREAKING: Final = frozenset({"br", "p", "div", "li"})


class Remembered(Generic[Value]):
    """A few definitions of surveys, each for a while, shared by the calls of this process: they cost calls to read."""

    def __init__(self, *, lasts: timedelta, most: int = 200) -> None:
        self._lasts = lasts
        self._most = most
        self._kept: dict[Hashable, tuple[datetime, Value]] = {}
        self._lock = Lock()

    def get(
        self, key: Hashable, now: datetime, make: Callable[[Value | None], Value], *, fits: Callable[[Value], bool]
    ) -> Value:
        """The kept value when it is young and fits, else a new one, made from the one before."""
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and timedelta(0) <= now - kept[0] < self._lasts and fits(kept[1]):
            return kept[1]
        value = make(None if kept is None else kept[1])
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (now, value)
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return value
