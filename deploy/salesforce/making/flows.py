"""The pieces of a flow as its file has them; every flow we ship is a draft, for an administrator to look at first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.salesforce.making.documents import API_VERSION, Tree, Value, document, tidy

Element = tuple[str, Tree]
"""An element and the tag its file has for that kind."""

_BUILDER: Final[Mapping[str, str]] = {
    "BuilderType": "LightningFlowBuilder",
    "CanvasMode": "AUTO_LAYOUT_CANVAS",
    "OriginBuilderType": "LightningFlowBuilder",
}


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow: its API name, what people read, how it starts, and its elements."""

    name: str
    label: str
    description: str
    start: Tree
    elements: Sequence[Element]

    def file(self) -> tuple[str, str]:
        """Where it is in its package, and its text."""
        parts: dict[str, list[Tree]] = defaultdict(list)
        for tag, element in self.elements:
            parts[tag].append(element)
        whole: dict[str, Value] = {
            **{tag: sorted(each, key=lambda one: str(one["name"])) for tag, each in parts.items()},
            "apiVersion": API_VERSION,
            "description": self.description,
            "environments": "Default",
            "interviewLabel": f"{self.label} {{!$Flow.CurrentDateTime}}",
            "label": self.label,
            "processMetadataValues": [_named(name, value=literal(value)) for name, value in _BUILDER.items()],
            "processType": "AutoLaunchedFlow",
            "start": self.start,
            "status": "Draft",
        }
        return f"flows/{self.name}.flow-meta.xml", document("Flow", tidy(**whole))


def literal(value: str | bool | int) -> Tree:  # noqa: FBT001  # a value, not a switch
    """A value that stands in the flow itself."""
    if isinstance(value, bool):
        return {"booleanValue": value}
    return {"stringValue": value} if isinstance(value, str) else {"numberValue": value}


def reference(name: str) -> Tree:
    """The value of something in the flow: a variable, a formula, `$Record.Email`."""
    return {"elementReference": name}


def assign(name: str, label: str, items: Sequence[tuple[str, Tree]], *, then: str | None = None) -> Element:
    """Give variables their values, in order."""
    given = [tidy(assignToReference=to, operator="Assign", value=value) for to, value in items]
    return "assignments", _node(name, label, assignmentItems=given, **_to(then))


def decide(
    name: str, label: str, outcomes: Sequence[tuple[str, str, Sequence[Tree], str]], *, otherwise: str | None = None
) -> Element:
    """Go one way or the other: outcomes as (name, label, conditions that all hold, where to)."""
    rules = [
        _named(rule, conditionLogic="and", conditions=conditions, label=words, **_to(target))
        for rule, words, conditions, target in outcomes
    ]
    return "decisions", _node(
        name, label, defaultConnectorLabel="Otherwise", rules=rules, **_to(otherwise, "defaultConnector")
    )


def condition(left: str, operator: str, right: str | bool) -> Tree:  # noqa: FBT001  # a value, not a switch
    """One condition of a decision."""
    return tidy(leftValueReference=left, operator=operator, rightValue=literal(right))


def act(
    name: str,
    label: str,
    action: tuple[str, str],
    inputs: Mapping[str, Tree],
    *,
    then: str | None = None,
    failed: str | None = None,
) -> Element:
    """Run an action, given as (its type, its name)."""
    kind, called = action
    return "actionCalls", _node(
        name,
        label,
        actionName=called,
        actionType=kind,
        flowTransactionModel="CurrentTransaction",
        inputParameters=[_named(one, value=value) for one, value in inputs.items()],
        nameSegment=called,
        storeOutputAutomatically=True,
        **_to(then),
        **_to(failed, "faultConnector"),
    )


def call(
    name: str,
    label: str,
    flow: str,
    inputs: Mapping[str, Tree],
    outputs: Mapping[str, str],
    *,
    then: str | None = None,
) -> Element:
    """Run another flow; outputs as its variable → ours."""
    return "subflows", _node(
        name,
        label,
        flowName=flow,
        inputAssignments=[_named(one, value=value) for one, value in inputs.items()],
        outputAssignments=[tidy(assignToReference=ours, name=its) for its, ours in outputs.items()],
        **_to(then),
    )


def create(name: str, label: str, kind: str, values: Mapping[str, Tree]) -> Element:
    """Make a record."""
    given = [tidy(field=field, value=values[field]) for field in sorted(values)]
    return "recordCreates", _node(name, label, inputAssignments=given, object=kind, storeOutputAutomatically=True)


def change_record(name: str, label: str, values: Mapping[str, Tree]) -> Element:
    """Change the record that started the flow."""
    given = [tidy(field=field, value=values[field]) for field in sorted(values)]
    return "recordUpdates", _node(name, label, inputAssignments=given, inputReference="$Record")


def variable(
    name: str,
    *,
    given: bool = False,
    told: bool = False,
    kind: str = "String",
    apex_class: str | None = None,
    description: str | None = None,
) -> Element:
    """A variable: given by whoever starts the flow, told to them, or neither."""
    more: dict[str, Value] = {"apexClass": apex_class} if apex_class else {}
    if description:
        more["description"] = description
    if kind == "Number":
        more["scale"] = 0
    return "variables", _named(name, dataType=kind, isCollection=False, isInput=given, isOutput=told, **more)


def formula(name: str, kind: str, expression: str) -> Element:
    """A value worked out when it is asked for."""
    return "formulas", _named(name, dataType=kind, expression=expression)


def template(name: str, words: str) -> Element:
    """A text with merge fields, as people read it: no HTML."""
    return "textTemplates", _named(name, isViewedAsPlainText=True, text=words)


def on_record(
    kind: str,
    *,
    before_save: bool = False,
    when: str = "CreateAndUpdate",
    only: Mapping[str, Value],
    then: str | None = None,
    later: Tree | None = None,
) -> Tree:
    """Start when a record is made or changed (or, with `when`, one of these): at once, and on a path for later."""
    moment = "RecordBeforeSave" if before_save else "RecordAfterSave"
    paths: dict[str, Value] = {"scheduledPaths": later} if later else {}
    return _placed(object=kind, recordTriggerType=when, triggerType=moment, **_to(then), **paths, **only)


def became(*conditions: Tree) -> Mapping[str, Value]:
    """Only when the record meets these conditions now and did not before: a second save starts nothing."""
    return {"doesRequireRecordChangedToMeetCriteria": True, "filterLogic": "and", "filters": conditions}


def formula_holds(expression: str) -> Mapping[str, Value]:
    """Only when a formula over the record holds."""
    return {"filterFormula": expression}


def field_is(field: str, operator: str, value: str | bool) -> Tree:  # noqa: FBT001  # a value, not a switch
    """One condition on the record that starts a flow."""
    return tidy(field=field, operator=operator, value=literal(value))


def when_asked(then: str) -> Tree:
    """Start when another flow, or an app, calls."""
    return _placed(**_to(then))


def after_commit(then: str) -> Tree:
    """A path that runs once the change is saved: the only one on which a flow may call out."""
    return tidy(connector=_target(then), pathType="AsyncAfterCommit")


def at_time_of(field: str, name: str, label: str, then: str) -> Tree:
    """A path that runs when the record's field says."""
    return _named(
        name,
        connector=_target(then),
        label=label,
        maxBatchSize=200,
        offsetNumber=0,
        offsetUnit="Minutes",
        recordField=field,
        timeSource="RecordField",
    )


def _target(name: str) -> Tree:
    return {"targetReference": name}


def _to(name: str | None, connector: str = "connector") -> dict[str, Value]:
    return {connector: _target(name)} if name else {}


def _named(name: str, **more: Value) -> Tree:
    about: dict[str, Value] = {"description": more.pop("description")} if "description" in more else {}
    return {**about, "name": name, **tidy(**more)}


def _node(name: str, label: str, **more: Value) -> Tree:
    return {"name": name, "label": label, **_placed(**more)}


def _placed(**more: Value) -> Tree:
    """Where it is drawn: auto-layout decides, and still wants the numbers."""
    return {"locationX": 0, "locationY": 0, **tidy(**more)}
