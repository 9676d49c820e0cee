"""The files `winback init` writes: a playbook to start from, its schema for the editor, and .env.example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from textwrap import indent
from zoneinfo import ZoneInfo, available_timezones

from connector.errors import SettingError

SCHEMA_FILE = "winback.schema.json"
STARTER = "starter.yaml"
"""In an adapter's folder: how a playbook connects to its system."""

WRITTEN_FOR = "hubspot"
"""The CRM of the shipped playbooks."""

_CONNECTION = re.compile(rf"^    adapter: {WRITTEN_FOR}$.*?^    streams: [^\n]*", re.DOTALL | re.MULTILINE)
_WEBHOOK = re.compile(rf"^(# +){WRITTEN_FOR}: [^\n]*", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def playbooks() -> tuple[str, ...]:
    """The playbooks that ship with the package, by name."""
    folder = files("connector.rules") / "playbooks"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def crms() -> tuple[str, ...]:
    """The CRMs a playbook can start with: the one the shipped playbooks are written for, then the others."""
    from connector.registry import installed_adapters

    known = installed_adapters()
    others = (name for name in known if (known.require(name).folder / STARTER).is_file())
    return (WRITTEN_FOR, *sorted(others))


def scaffold(
    folder: Path, *, playbook: str, account: str, timezone: str, crm: str = WRITTEN_FOR, force: bool = False
) -> Iterator[Path]:
    """Write the files and yield each path; SettingError before anything is written when one is in the way."""
    if playbook not in playbooks():
        raise SettingError(f"no playbook {playbook!r}", hint=f"there are: {', '.join(playbooks())}")
    if crm not in crms():
        raise SettingError(f"no playbook starts with the CRM {crm!r}", hint=f"there are: {', '.join(crms())}")
    _known_zone(timezone)
    text = (files("connector.rules") / "playbooks" / f"{playbook}.yaml").read_text(encoding="utf-8")
    text = text if crm == WRITTEN_FOR else _told_for(text, crm)
    contents = {
        "winback.yaml": _filled(text, account=account, timezone=timezone),
        SCHEMA_FILE: _schema(),
        ".env.example": _environment(text),
    }
    taken = [name for name in contents if (folder / name).exists() and name != SCHEMA_FILE]
    if taken and not force:
        raise SettingError(
            f"{folder / taken[0]} is there already", hint="write elsewhere (`winback init FOLDER`), or --force"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / name
        path.write_text(content, encoding="utf-8")
        yield path


def _told_for(text: str, crm: str) -> str:
    """The playbook with another CRM in it: its connection and its webhook, as its adapter writes them."""
    import yaml

    from connector.registry import installed_adapters

    folder = installed_adapters().require(crm).folder
    starter = yaml.safe_load((folder / STARTER).read_text(encoding="utf-8"))
    connection = indent(starter["connection"], "    ").rstrip("\n")
    text = _CONNECTION.sub(lambda _: connection, text, count=1)
    return _WEBHOOK.sub(lambda found: f"{found[1]}{starter['webhook']}", text)


def _filled(text: str, *, account: str, timezone: str) -> str:
    """The playbook with the answers in it."""
    text = re.sub(r"^account: *\S+", f"account: {json.dumps(account)}", text, count=1, flags=re.MULTILINE)
    return re.sub(r"^timezone: *\S+", f"timezone: {timezone}", text, count=1, flags=re.MULTILINE)


def _known_zone(timezone: str) -> None:
    if timezone not in available_timezones():
        from difflib import get_close_matches

        near = get_close_matches(timezone, available_timezones(), n=1)
        hint = f"did you mean {near[0]}?" if near else "write it like Europe/Amsterdam or America/New_York"
        raise SettingError(f"no time zone {timezone!r}", hint=hint)
    ZoneInfo(timezone)


def _schema() -> str:
    from connector.registry import installed_adapters, installed_receivers
    from connector.settings import json_schema

    return json.dumps(json_schema(installed_adapters(), installed_receivers()), indent=2) + "\n"


def _environment(text: str) -> str:
    """Every variable the playbook takes from the environment: to fill in, or with its default behind a `#`."""
    spelled = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    names = {name: default for line in spelled for name, default in _VARIABLE.findall(line)}
    lines = [
        "# Copy to .env, fill in, keep out of version control (chmod 600 .env).",
        "# Load it with: set -a; . ./.env; set +a",
    ]
    return (
        "\n".join([*lines, *(f"# {name}={default}" if default else f"{name}=" for name, default in names.items())])
        + "\n"
    )
