"""Write the parts of docs/ that follow from the code: `make docs`; `--check` only says whether they are in step."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
BEGIN, END = "<!-- generated: {name} -->", "<!-- end: {name} -->"


def cli_reference() -> str:
    """Every command with its arguments and options, from the command line itself."""
    import typer

    from connector.cli.main import app

    group = typer.main.get_command(app)
    lines: list[str] = []
    for name, command in sorted(_commands(group, "winback")):
        lines += [f"### `{name}`", "", (command.help or "").split("\n")[0], ""]
        rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            lines += ["| argument or option | meaning |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _commands(group: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _parameter(parameter: Any) -> str:
    spelled = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        spelled = (parameter.metavar or parameter.name or "").strip("[]").upper().removesuffix("...")
    help_text = (getattr(parameter, "help", None) or "").replace("|", "\\|").replace("\n", " ")
    return f"| `{spelled}` | {help_text} |"


def column_reference() -> str:
    """The columns a condition may use."""
    from connector.rules import columns

    groups = {"Activity and value": columns.FEATURES, "The person": columns.CONTACTS, "The company": columns.ACCOUNTS}
    last = "Fields your mapping put into `attributes` can be used as `attributes.<name>`."
    return "\n".join([*_column_tables(groups), last])


def program_column_reference() -> str:
    """The further columns a program's conditions may use."""
    from connector.program import columns

    groups = {"Since entry": columns.SIGNALS, "The step before": columns.STEP, "What they told us": columns.FEEDBACK}
    return "\n".join(_column_tables(groups)).rstrip()


def _column_tables(groups: Mapping[str, Iterable[Any]]) -> Iterable[str]:
    for title, group in groups.items():
        yield from (f"**{title}**", "", "| column | kind | meaning |", "|---|---|---|")
        yield from (f"| `{column.name}` | {column.kind.value} | {column.caption} |" for column in group)
        yield ""


def exit_reference() -> str:
    """Why an episode can end."""
    from connector.program.codes import ALWAYS_EXIT, EXITS

    rows = [f"| `{code}` | {words} | {'yes' if code in ALWAYS_EXIT else ''} |" for code, words in EXITS.items()]
    return "\n".join(["| exit | the contact … | always |", "|---|---|---|", *rows])


def exclusion_reference() -> str:
    """Why somebody is left out of everything that is written."""
    from connector.program.codes import EXCLUSIONS

    rows = [f"| `{code}` | {words} |" for code, words in EXCLUSIONS.items()]
    return "\n".join(["| reason | the contact … |", "|---|---|", *rows])


def deferral_reference() -> str:
    """Why something waits."""
    from connector.program.codes import DEFERRALS

    rows = [f"| `{code}` | {words} |" for code, words in DEFERRALS.items()]
    return "\n".join(["| reason | meaning |", "|---|---|", *rows])


def reason_reference() -> str:
    """Why people leave."""
    from connector.reasons import REASONS

    rows = [f"| `{code}` | {title} |" for code, title in REASONS.items()]
    return "\n".join(["| reason | title |", "|---|---|", *rows])


def key_reference() -> str:
    """Every key of winback.yaml outside its programs, from its JSON Schema."""
    from connector.registry import installed_adapters, installed_receivers
    from connector.settings import json_schema
    from connector.settings.models import DestinationBlock

    schema = json_schema(installed_adapters(), installed_receivers())
    everywhere = {"properties": {key: part for key, part in schema["properties"].items() if key != "program"}}
    _say_shared_keys_once(everywhere["properties"]["webhooks"])
    destination = DestinationBlock.model_json_schema()
    rows = [*_keys(everywhere, {}, ""), *_keys(destination, destination.get("$defs", {}), "destinations.<name>.")]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def _say_shared_keys_once(webhooks: dict[str, Any]) -> None:
    """Move what every source has under `<source>`, and leave each its own."""
    from connector.receivers import ReceiverOptions

    block = next(part for part in webhooks["anyOf"] if "properties" in part)
    sources = block["properties"]["sources"]["properties"]
    shared: dict[str, Any] = {}
    for source in sources.values():
        for key in ReceiverOptions.model_fields:
            shared[key] = source["properties"].pop(key)
    block["properties"]["sources"]["properties"] = {
        "<source>": {"description": "what every source has", "properties": shared},
        **sources,
    }


def program_key_reference() -> str:
    """Every key of a program."""
    from connector.settings.program_blocks import ProgramBlock

    schema = ProgramBlock.model_json_schema()
    rows = list(_keys(schema, schema.get("$defs", {}), ""))
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


_ELSEWHERE = ("sources", "destinations", "programs")
"""Keys whose inside is described with the adapters, or in a table of its own."""


def _keys(node: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for name, child in node.get("properties", {}).items():
        resolved = _resolve(child, definitions)
        key = f"{prefix}{name}"
        caption = (child.get("description") or resolved.get("description") or "").split("\n")[0].replace("|", "\\|")
        default = child.get("default", resolved.get("default"))
        shown = f"`{_as_written(default)}`" if default not in (None, {}, [], "") else ""
        yield f"| `{key}` | {shown} | {caption} |"
        if key not in _ELSEWHERE:
            for below, inside in _below(resolved, definitions):
                yield from _keys(inside, definitions, f"{key}{below}.")


def _below(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """The tables inside a node, and how the way there is written: in a list, under any name."""
    node = _resolve(node, definitions)
    if node.get("properties"):
        yield "", node
    named = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    for step, parts in (("", node.get("anyOf", ())), ("[]", (node.get("items"),)), (".<name>", named)):
        for part in parts:
            if isinstance(part, Mapping):
                yield from ((step + below, inside) for below, inside in _below(part, definitions))


def _as_written(default: Any) -> str:
    """A default as it stands in YAML."""
    match default:
        case bool():
            return str(default).lower()
        case list():
            return f"[{', '.join(map(str, default))}]"
        case _:
            return str(default)


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    if reference:
        return definitions.get(reference.rsplit("/", 1)[-1], {})
    return node


SECTIONS = {
    "cli.md": {"commands": cli_reference},
    "playbook.md": {
        "columns": column_reference,
        "program columns": program_column_reference,
        "exits": exit_reference,
        "exclusions": exclusion_reference,
        "deferrals": deferral_reference,
        "reasons": reason_reference,
        "program keys": program_key_reference,
        "keys": key_reference,
    },
}


def main() -> int:
    """Regenerate, or with --check report which documents are out of step."""
    check = "--check" in sys.argv[1:]
    stale = []
    for file, sections in SECTIONS.items():
        path = DOCS / file
        text = path.read_text(encoding="utf-8")
        fresh = text
        for name, produce in sections.items():
            begin, end = BEGIN.format(name=name), END.format(name=name)
            head, _, rest = fresh.partition(begin)
            _, _, tail = rest.partition(end)
            fresh = f"{head}{begin}\n\n{produce()}\n\n{end}{tail}"
        if fresh != text:
            stale.append(file)
            if not check:
                path.write_text(fresh, encoding="utf-8")
    if check and stale:
        print(f"out of step with the code: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
