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

    lines: list[str] = []
    groups = {"Activity and value": columns.FEATURES, "The person": columns.CONTACTS, "The company": columns.ACCOUNTS}
    for title, group in groups.items():
        lines += [f"**{title}**", "", "| column | kind | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {column.kind.value} | {column.caption} |" for column in group]
        lines.append("")
    lines.append("Fields your mapping put into `attributes` can be used as `attributes.<name>`.")
    return "\n".join(lines)


def key_reference() -> str:
    """Every key of winback.yaml, from its JSON Schema."""
    from connector.registry import installed_adapters
    from connector.settings import json_schema

    schema = json_schema(installed_adapters())
    rows = list(_keys(schema, schema.get("$defs", {}), ""))
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def _keys(node: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterable[str]:
    for name, child in node.get("properties", {}).items():
        resolved = _resolve(child, definitions)
        key = f"{prefix}{name}"
        caption = (child.get("description") or resolved.get("description") or "").split("\n")[0].replace("|", "\\|")
        default = resolved.get("default", child.get("default"))
        shown = f"`{default}`" if default not in (None, {}, [], "") else ""
        yield f"| `{key}` | {shown} | {caption} |"
        yield from _keys(resolved, definitions, f"{key}.")


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = node.get("$ref")
    if reference:
        return definitions.get(reference.rsplit("/", 1)[-1], {})
    return node


SECTIONS = {
    "cli.md": {"commands": cli_reference},
    "playbook.md": {"columns": column_reference, "keys": key_reference},
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
