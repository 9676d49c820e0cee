"""What a flow is made of: what starts it, and the steps it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, assert_never

from adapters.salesforce.sandbox.answers import Refusal

Reader: TypeAlias = Callable[[str], Any]
"""Gives the value of a field of the record, or of the person a membership is of."""

OPERATORS: Final = {
    "EqualTo": "is",
    "NotEqualTo": "is not",
    "IsNull": "is empty",
    "IsSet": "is set",
}
CREATE, UPDATE, BOTH = "Create", "Update", "CreateAndUpdate"
MINUTE: Final = 60
_SIZES: Final = (("d", 86_400), ("h", 3_600), ("min", MINUTE))


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a field; text without regard to case, as the vendor compares it."""

    field: str
    operator: str = "EqualTo"
    value: Any = None

    def holds(self, read: Reader) -> bool:
        """Whether the record meets it."""
        found = read(self.field)
        match self.operator:
            case "IsNull":
                return found in {None, ""}
            case "IsSet":
                return found not in {None, ""}
            case "NotEqualTo":
                return not _same(found, self.value)
            case _:
                return _same(found, self.value)

    def words(self) -> str:
        """The condition for a person to read."""
        told = "" if self.operator in {"IsNull", "IsSet"} else f" “{self.value}”"
        return f"{self.field} {OPERATORS[self.operator]}{told}"


@dataclass(frozen=True, slots=True)
class Start:
    """What a record-triggered flow listens to. A record that goes on meeting the conditions does not start it again.

    Without conditions every change starts it.
    """

    sobject: str
    when: str = BOTH
    conditions: tuple[Condition, ...] = ()

    def meets(self, read: Reader) -> bool:
        """Whether a record meets every condition."""
        return all(condition.holds(read) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class SendMail:
    """Send an e-mail, and keep it as an EmailMessage."""

    title: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Wait for the moment a field says; one that has passed, or is not set, waits no time."""

    field: str


@dataclass(frozen=True, slots=True)
class SetFields:
    """Write values to the person."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SetStatus:
    """Give the membership another status."""

    status: str


@dataclass(frozen=True, slots=True)
class MakeTask:
    """Make a task for the person's owner."""

    subject: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask somebody outside: a JSON call-out whose answer is kept, and stored on the person.

    inputs: What goes along, flat. store: Which part of the answer goes into which field.
    again_seconds, tries: When an answer says that there is no word yet, how long to wait, and how often to ask at most.
    """

    action: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    store: Mapping[str, str] = field(default_factory=dict)
    again_seconds: float = 5 * MINUTE
    tries: int = 3


@dataclass(frozen=True, slots=True)
class Notify:
    """Send an outbound message about the record."""

    message: str


@dataclass(frozen=True, slots=True)
class Decide:
    """Take one of two ways: by a field, or by what was answered (`answer.<name>`)."""

    condition: Condition
    then: tuple[Step, ...] = ()
    otherwise: tuple[Step, ...] = ()


Step: TypeAlias = SendMail | Wait | WaitUntil | SetFields | SetStatus | MakeTask | Ask | Notify | Decide


def step_of(body: Mapping[str, Any]) -> Step:
    """A step from JSON; 400 for one that is unknown.

    `{"mail": title}`, `{"wait_seconds": n}`, `{"wait_days": n}`, `{"wait_until": field}`, `{"set": {field: value}}`,
    `{"status": text}`, `{"task": subject}`, `{"ask": action, "inputs": {…}, "store": {answer: field}}`,
    `{"message": name}`, `{"if": {"field", "operator", "value"}, "then": […], "else": […]}`.
    """
    for name, make in STEPS.items():
        if name in body:
            return make(body)
    raise Refusal("INVALID_INPUT", f"a flow has no step with {', '.join(map(str, body)) or 'nothing in it'}")


def steps_of(bodies: Sequence[Mapping[str, Any]] | None) -> tuple[Step, ...]:
    """Steps from JSON."""
    return tuple(map(step_of, bodies or ()))


def condition_of(body: Mapping[str, Any]) -> Condition:
    """A condition from JSON; 400 for an operator there is none of."""
    operator = str(body.get("operator") or "EqualTo")
    if operator not in OPERATORS:
        raise Refusal("INVALID_INPUT", f"a condition knows {', '.join(OPERATORS)}, not '{operator}'")
    return Condition(str(body["field"]), operator, body.get("value"))


def in_words(step: Step) -> str:
    """A step for a person to read."""
    match step:
        case SendMail() | MakeTask() | SetStatus() | Notify():
            words = f"{VERBS[type(step)]} “{_object(step)}”"
        case Wait(seconds):
            words = f"wait {_span(seconds)}"
        case WaitUntil(name):
            words = f"wait until {name}"
        case SetFields(values):
            words = f"set {', '.join(values)}"
        case Ask(action):
            words = f"call out: {action}"
        case Decide(condition):
            words = f"decide: {condition.words()}"
        case _:
            assert_never(step)
    return words


def all_steps(steps: Sequence[Step]) -> list[Step]:
    """The steps with those of both ways of every decision, in the order they are written down."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if isinstance(step, Decide):
            found += [*all_steps(step.then), *all_steps(step.otherwise)]
    return found


def _object(step: SendMail | MakeTask | SetStatus | Notify) -> str:
    match step:
        case SendMail(name) | MakeTask(name) | SetStatus(name) | Notify(name):
            return name
        case _:
            assert_never(step)


def _ask(body: Mapping[str, Any]) -> Ask:
    known = {key: body[key] for key in ("again_seconds", "tries") if key in body}
    return Ask(str(body["ask"]), dict(body.get("inputs") or {}), dict(body.get("store") or {}), **known)


def _decide(body: Mapping[str, Any]) -> Decide:
    return Decide(condition_of(body["if"]), steps_of(body.get("then")), steps_of(body.get("else")))


def _span(seconds: float) -> str:
    for unit, size in _SIZES:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal as the vendor compares them: text without case, nothing like empty text."""
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value.casefold() if isinstance(value, str) else value


VERBS: Final = {SendMail: "send", MakeTask: "make the task", SetStatus: "set the status", Notify: "outbound message"}
STEPS: Final[Mapping[str, Callable[[Mapping[str, Any]], Step]]] = {
    "mail": lambda body: SendMail(str(body["mail"])),
    "wait_seconds": lambda body: Wait(float(body["wait_seconds"])),
    "wait_days": lambda body: Wait(float(body["wait_days"]) * 86_400),
    "wait_until": lambda body: WaitUntil(str(body["wait_until"])),
    "set": lambda body: SetFields(dict(body["set"])),
    "status": lambda body: SetStatus(str(body["status"])),
    "task": lambda body: MakeTask(str(body["task"])),
    "ask": _ask,
    "message": lambda body: Notify(str(body["message"])),
    "if": _decide,
}
"""How each step is read from JSON, by the key that says which one it is."""
