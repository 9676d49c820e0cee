"""Our flows' files, read and carried out as far as a test needs: assignments, questions, paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, parse

PROJECT = Path(__file__).parents[2] / "deploy" / "salesforce"
META = "{http://soap.sforce.com/2006/04/metadata}"

NODES = ("actionCalls", "assignments", "decisions", "recordCreates", "recordUpdates", "subflows")
"""The elements of a flow that are places on its way."""

CONNECTORS = ("connector", "defaultConnector", "faultConnector")


def flow_files() -> dict[str, Path]:
    """Every flow of the project by its API name."""
    return {path.name.split(".")[0]: path for path in sorted(PROJECT.glob("*/main/default/flows/*.flow-meta.xml"))}


def read(path: Path) -> Element:
    """A metadata file's root."""
    return parse(path).getroot()


def text(element: Element, path: str) -> str | None:
    """The text at a path of names."""
    return element.findtext("/".join(f"{META}{name}" for name in path.split("/")))


def every(element: Element, path: str) -> list[Element]:
    """The elements at a path of names."""
    return element.findall("/".join(f"{META}{name}" for name in path.split("/")))


def nodes(flow: Element) -> dict[str, tuple[str, Element]]:
    """The places of a flow by name: what kind each is, and the element."""
    return {str(text(one, "name")): (kind, one) for kind in NODES for one in every(flow, kind)}


def targets(element: Element) -> Iterator[str]:
    """Where an element leads, by any of its ways."""
    for name in CONNECTORS:
        yield from (str(text(one, "targetReference")) for one in element.iter(f"{META}{name}"))


def reachable(flow: Element) -> set[str]:
    """The places that somebody who starts the flow can come to."""
    places = nodes(flow)
    waiting = list(targets(every(flow, "start")[0]))
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += targets(places[name][1])
    return seen


def value_of(value: Element, known: Mapping[str, Any]) -> Any:
    """A `<value>`: a literal, or what the flow knows under the name it refers to."""
    kind = value[0].tag.removeprefix(META)
    words = value[0].text or ""
    match kind:
        case "elementReference":
            return known.get(words)
        case "booleanValue":
            return words == "true"
        case "numberValue":
            return float(words)
        case _:
            return words


def asked(flow: Element, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Carry a flow out up to its call of a service: the operation it calls, and the body it sends along.

    What a flow leaves empty is None in the body; a number is a decimal, as all numbers of flows are.
    """
    places = nodes(flow)
    variables = dict(known)
    (name,) = targets(every(flow, "start")[0])
    while places[name][0] == "assignments":
        node = places[name][1]
        for item in every(node, "assignmentItems"):
            assert text(item, "operator") == "Assign"
            variables[str(text(item, "assignToReference"))] = value_of(every(item, "value")[0], variables)
        (name,) = targets(node)
    kind, call = places[name]
    assert kind == "actionCalls" and text(call, "actionType") == "externalService"
    (given,) = every(call, "inputParameters")
    assert text(given, "name") == "body"
    sent = f"{text(given, 'value/elementReference')}."
    body = {name.removeprefix(sent): value for name, value in variables.items() if name.startswith(sent)}
    return str(text(call, "actionName")), body
