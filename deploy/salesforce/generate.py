"""Write every file of the Salesforce project: `python -m deploy.salesforce.generate`; `--check` only compares.

The fields, their permissions and the service follow from the code, so they cannot fall behind it. Nothing here is
edited by hand; README.md is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from deploy.salesforce.making import access, asking, fields, mails, messages, service, views
from deploy.salesforce.making.documents import API_VERSION, document

ROOT: Final = Path(__file__).parent
INSIDE: Final = "main/default"

NOTHING: Final = "manifest/nothing.xml"
"""A list of nothing: `sf` wants one to go with a list of what is to be deleted."""

Files = Callable[[], Iterator[tuple[str, str]]]

PACKAGES: Final[Mapping[str, Sequence[Files]]] = {
    "force-app": (fields.files, views.files, access.files, mails.files),
    "privacy": (lambda: iter([access.file(access.PRIVACY, access.privacy())]),),
    "call-outs": (service.files,),
    "call-out-flows": (asking.files,),
    "outbound-messages": (messages.files,),
    "outbound-message-flows": (messages.flow_files,),
}
"""What is deployed together, in this order; only the first is needed."""

TYPES: Final[Mapping[str, str]] = {
    "field": "CustomField",
    "externalCredential": "ExternalCredential",
    "namedCredential": "NamedCredential",
    "externalServiceRegistration": "ExternalServiceRegistration",
    "listView": "ListView",
    "reportType": "ReportType",
    "reportFolder": "Report",
    "report": "Report",
    "workflow": "WorkflowOutboundMessage",
    "permissionset": "PermissionSet",
    "flow": "Flow",
}
"""The metadata type of each kind of file, in the order in which one needs the other."""

REPLACED: Final = (
    (f"call-outs/{INSIDE}/namedCredentials/*", service.URL),
    (f"outbound-messages/{INSIDE}/workflows/*", messages.URL),
    (f"outbound-messages/{INSIDE}/workflows/*", messages.USER),
)
"""Words that `sf` replaces with the environment variable of the same name while it deploys."""


def tree() -> dict[str, str]:
    """Every generated file's text, by its path in the project."""
    made = {"sfdx-project.json": _project(), NOTHING: manifest(())}
    for package in PACKAGES:
        inside = {f"{package}/{INSIDE}/{path}": text for path, text in contents(package)}
        made |= inside
        made[manifest_path(package)] = manifest(inside)
    return made


def contents(package: str) -> list[tuple[str, str]]:
    """The files of one package: where each is inside it, and its text."""
    return [file for files in PACKAGES[package] for file in files()]


def manifest_path(package: str) -> str:
    """Where a package's manifest is; the main one has the name that tools look for."""
    return "manifest/package.xml" if package == "force-app" else f"manifest/{package}.xml"


def manifest(paths: Sequence[str] | Mapping[str, str]) -> str:
    """A list of what these files hold, type by type in the order of TYPES."""
    members: dict[str, set[str]] = {}
    for path in paths:
        kind, member = component(path)
        members.setdefault(kind, set()).add(member)
    types = [
        {"members": sorted(members[kind]), "name": kind} for kind in dict.fromkeys(TYPES.values()) if kind in members
    ]
    return document("Package", {"types": types, "version": API_VERSION})


def component(path: str) -> tuple[str, str]:
    """The metadata type of a file's content, and what it is called."""
    place = PurePosixPath(path)
    name, kind = place.name.removesuffix("-meta.xml").rsplit(".", 1)
    match kind:
        case "field" | "listView":
            return TYPES[kind], f"{place.parts[-3]}.{name}"
        case "report":
            return TYPES[kind], f"{place.parent.name}/{name}"
        case "reportFolder":
            return TYPES[kind], f"{name}/"
        case "workflow":
            # Not the whole workflow: a retrieve by this manifest would bring every other rule of the org along.
            return TYPES[kind], f"{name}.{messages.NAME}"
        case _:
            return TYPES[kind], name


def stale(root: Path = ROOT) -> list[str]:
    """Paths of the project that differ from what is generated, or should not be there."""
    made = tree()
    there = {
        path.relative_to(root).as_posix()
        for folder in (*PACKAGES, "manifest")
        for path in (root / folder).rglob("*")
        if path.is_file()
    }
    changed = [path for path, text in made.items() if not _holds(root / path, text)]
    return sorted([*changed, *(there - made.keys())])


def write(root: Path = ROOT) -> None:
    """Make the project what is generated."""
    made = tree()
    for path in stale(root):
        if path not in made:
            (root / path).unlink()
            continue
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(made[path], encoding="utf-8")


def main() -> int:
    """Regenerate, or with --check say which files are out of step."""
    wrong = stale()
    if "--check" in sys.argv[1:]:
        if wrong:
            sys.stderr.write(f"out of step with the code: {', '.join(wrong)}; run `make docs`\n")
        return 1 if wrong else 0
    write()
    return 0


def _project() -> str:
    project: dict[str, Any] = {
        "packageDirectories": [
            {"path": package, **({"default": True} if package == "force-app" else {})} for package in PACKAGES
        ],
        "name": "winback",
        "namespace": "",
        "sfdcLoginUrl": "https://login.salesforce.com",
        "sourceApiVersion": API_VERSION,
        "replacements": [{"glob": glob, "stringToReplace": word, "replaceWithEnv": word} for glob, word in REPLACED],
    }
    return json.dumps(project, indent=2) + "\n"


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
