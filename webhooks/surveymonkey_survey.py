"""What a SurveyMonkey survey's ids mean: its questions, rows and choices, and the answers in which they come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from webhooks.payloads import Payload, Text
from webhooks.surveys import PathId, leading_number, plain_text

_NOT_KEPT: Final = frozenset({"demographic", "presentation", "file_upload"})
"""Names, addresses and files say who somebody is, not why he left."""


class _Option(Payload):
    """A choice, a row or the field for something else."""

    id: PathId | None = None
    text: Text | None = None
    weight: float | None = Field(default=None, allow_inf_nan=False)
    is_na: bool | None = None


class _Column(_Option):
    choices: tuple[_Option, ...] | None = None


class _Offered(Payload):
    choices: tuple[_Option, ...] | None = None
    rows: tuple[_Option, ...] | None = None
    cols: tuple[_Column, ...] | None = None
    other: _Option | tuple[_Option, ...] | None = None

    def options(self) -> Iterator[_Option]:
        """Everything that has an id of its own."""
        yield from self.choices or ()
        yield from self.rows or ()
        for column in self.cols or ():
            yield column
            yield from column.choices or ()
        yield from (self.other,) if isinstance(self.other, _Option) else self.other or ()


class _Heading(Payload):
    heading: Text | None = None


class _Display(Payload):
    display_type: Text | None = None


class _Question(Payload):
    id: PathId
    family: Text | None = None
    subtype: Text | None = None
    headings: tuple[_Heading, ...] | None = None
    answers: _Offered | None = None
    display_options: _Display | None = None


class _Page(Payload):
    questions: tuple[_Question, ...] | None = None


class Details(Payload):
    """A survey as its `details` have it."""

    language: Text | None = None
    pages: tuple[_Page, ...] | None = None


class _Said(Payload):
    choice_id: PathId | None = None
    row_id: PathId | None = None
    col_id: PathId | None = None
    other_id: PathId | None = None
    text: Text | None = None
    simple_text: Text | None = None


class _Answered(Payload):
    id: PathId
    answers: tuple[_Said, ...] | None = None


class _AnsweredPage(Payload):
    questions: tuple[_Answered, ...] | None = None


class Response(Payload):
    """One answer, as single ones and bulk pages have it."""

    id: PathId
    response_status: Text | None = None
    collection_mode: Text | None = None
    date_created: Text | None = None
    date_modified: Text | None = None
    custom_variables: Mapping[str, Any] | None = None
    custom_value: Text | None = None
    metadata: Mapping[str, Any] | None = None
    pages: tuple[_AnsweredPage, ...] | None = None

    def questions(self) -> Iterator[_Answered]:
        """The questions that were answered, page by page."""
        for page in self.pages or ():
            yield from page.questions or ()

    def mentioned(self) -> frozenset[str]:
        """The ids of questions, rows and choices the answers speak of."""
        said = [(question.id, one) for question in self.questions() for one in question.answers or ()]
        ids = {part for _, one in said for part in (one.choice_id, one.row_id, one.col_id, one.other_id) if part}
        return frozenset(ids | {question for question, _ in said})


@dataclass(frozen=True, slots=True)
class Structure:
    """What the parts of a survey are called. `gone`: ids that answers speak of and the survey has no longer."""

    language: str | None
    questions: Mapping[str, _Question]
    options: Mapping[str, _Option]
    gone: frozenset[str]

    @classmethod
    def of(cls, details: Details, mentioned: frozenset[str]) -> Structure:
        """The structure of a survey, given ids that answers speak of: they outlive what they were given to."""
        questions = {one.id: one for page in details.pages or () for one in page.questions or ()}
        offered = [one for question in questions.values() for one in (question.answers or _Offered()).options()]
        options = {one.id: one for one in offered if one.id}
        return cls(details.language, questions, options, mentioned - questions.keys() - options.keys())

    def knows(self, ids: frozenset[str]) -> bool:
        """Whether reading the survey again would tell nothing new about these."""
        return all(part in self.questions or part in self.options or part in self.gone for part in ids)


def with_words(response: Response, structure: Structure) -> list[dict[str, Any]]:
    """The answers of a response as JSON values, with the words for their ids."""
    return [part for question in response.questions() for part in _answers(question, structure)]


def parts(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What `with_words` made of one question, as arguments for `surveys.given`."""
    yield from _FAMILIES.get(raw["family"], _chosen)(raw)


def _answers(answered: _Answered, structure: Structure) -> Iterator[dict[str, Any]]:
    """The answers to one question, those to each row of a matrix apart, with the words for their ids."""
    known = structure.questions.get(answered.id)
    question = known or _Question(id=answered.id)
    display = (question.display_options or _Display()).display_type
    if question.family in _NOT_KEPT or display in _NOT_KEPT:
        return
    several = len((question.answers or _Offered()).rows or ()) > 1
    rows: dict[str | None, list[_Said]] = {}
    for said in answered.answers or ():
        rows.setdefault(said.row_id if several else None, []).append(said)
    title = " ".join(plain_text(one.heading) for one in question.headings or () if one.heading)
    for row_id, here in rows.items():
        yield {
            "question": answered.id,
            "title": title,
            "family": question.family or "",
            "subtype": display if display == "slider" else question.subtype or "",
            "row": None if row_id is None else {"id": row_id, "text": _label(structure, row_id)},
            "choices": [_choice(said, structure) for said in here if said.choice_id],
            # Words given to a question that is gone may be a name or an address: nothing says what it asked for.
            "texts": [said.text for said in here if said.text and known],
        }


def _choice(said: _Said, structure: Structure) -> dict[str, Any]:
    """A choice by its id, label and weight."""
    option = structure.options.get(said.choice_id or "") or _Option()
    return {
        "id": said.choice_id,
        "text": plain_text(option.text if option.id else said.simple_text),
        "weight": None if option.is_na else option.weight,
    }


def _label(structure: Structure, part: str) -> str:
    return plain_text((structure.options.get(part) or _Option()).text)


def _chosen(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Choices, and the words in the field for something else."""
    if raw["choices"]:
        yield {"kind": "choice", "choices": tuple((choice["id"], choice["text"]) for choice in raw["choices"])}
    yield from _words(raw)


def _words(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for text in raw["texts"]:
        yield {"kind": "text", "text": text}


def _matrix(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A rating is a number: the one its label begins with, else its weight. Stars have labels at the ends only."""
    if raw["subtype"] == "rating" and len(raw["choices"]) == 1:
        choice = raw["choices"][0]
        number = leading_number(choice["text"])
        number = choice["weight"] if number is None else number
        if number is not None:
            text = choice["text"] or f"{number:g}"
            yield {"kind": "score", "choices": ((choice["id"], text),), "number": number}
            yield from _words(raw)
            return
    if raw["subtype"] == "ranking":
        yield {"kind": "other", "text": "; ".join(choice["text"] for choice in raw["choices"])}
        return
    yield from _chosen(raw)


def _open(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Words, except where a slider or a field for numbers stands."""
    kind = {"slider": "score", "numerical": "other"}.get(raw["subtype"], "text")
    for text in raw["texts"]:
        number = None if kind == "text" else leading_number(text)
        yield {"kind": kind if number is not None else "text", "text": text, "number": number}


def _date(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for text in raw["texts"]:
        yield {"kind": "other", "text": text}


_FAMILIES: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[dict[str, Any]]]]] = {
    "single_choice": _chosen,
    "multiple_choice": _chosen,
    "matrix": _matrix,
    "open_ended": _open,
    "datetime": _date,
}
