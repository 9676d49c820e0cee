"""`${VARIABLE}`, `${VARIABLE:-default}`, `${file:/run/secrets/x}` and `$$` inside a text value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from connector.location import Location, Problem, nearest
from connector.yaml_loader import Scalar

MAX_SECRET_BYTES = 64 * 1024

_REFERENCE = re.compile(
    r"\$\$|\$\{(?:file:(?P<file>[^}]*)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>[^}]*))?|[^}]*)\}|\$\{"
)
ONLY_REFERENCE = re.compile(r"\$\{(?:file:[^}]+|[A-Za-z_][A-Za-z0-9_]*)\}")
"""A value that is one reference and nothing else, without a default: how a secret must be written."""


class ReferenceProblemError(Exception):
    """A reference that leads nowhere."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Filled:
    """A text value with its references replaced. `origins` says where each replacement came from, without values."""

    scalar: Scalar
    origins: tuple[str, ...] = ()
    secret_text: bool = False
    """True when part of the value came from outside the file, so that no message may repeat it."""


def fill(scalar: Scalar, *, path: str, environ: Mapping[str, str], base_dir: Path) -> Filled:
    """The value with every reference replaced; ReferenceProblemError names the variable, the place and the key."""
    text = scalar.text
    if not isinstance(scalar.value, str) or "$" not in text:
        return Filled(scalar)
    pieces: list[str] = []
    offsets: list[tuple[int, int]] = []
    origins: list[str] = []
    done = 0
    outside = False
    for found in _REFERENCE.finditer(text):
        pieces.append(text[done : found.start()])
        offsets += scalar.location.offsets[done : found.start()]
        value, origin = _lookup(found, scalar, path=path, environ=environ, base_dir=base_dir)
        outside = outside or (origin is not None and origin != "default")
        origins += [origin] if origin else []
        pieces.append(value)
        place = scalar.location.at(found.start())
        offsets += [(place.line, place.column)] * len(value)
        done = found.end()
    pieces.append(text[done:])
    offsets += scalar.location.offsets[done:]
    filled = "".join(pieces)
    location = replace(scalar.location, offsets=tuple(offsets))
    return Filled(replace(scalar, value=filled, text=filled, location=location), tuple(origins), outside)


def _lookup(
    found: re.Match[str], scalar: Scalar, *, path: str, environ: Mapping[str, str], base_dir: Path
) -> tuple[str, str | None]:
    """What one reference stands for, and where that came from."""
    place = scalar.location.at(found.start())
    if found[0] == "$$":
        return "$", None
    if found["file"] is not None:
        return _read_secret(found["file"], place, path=path, base_dir=base_dir), f"file {found['file']}"
    name = found["name"]
    if name is None:
        message = f"'{found[0]}' is not a reference"
        hint = "write ${NAME}, ${NAME:-default} or ${file:/run/secrets/name}; $$ for a dollar sign"
        raise ReferenceProblemError(Problem(message, place, path, hint=hint))
    if name in environ and (environ[name] or found["fallback"] is None):
        return environ[name], f"environment variable {name}"
    if environ.get(f"{name}_FILE"):
        return _read_secret(environ[f"{name}_FILE"], place, path=path, base_dir=base_dir), (
            f"file named by the environment variable {name}_FILE"
        )
    if found["fallback"] is not None:
        return found["default"], "default"
    instead = (
        f"${{file:/run/secrets/{name.lower()}}}"
        if ".auth." in path or path.startswith(("keys.", "webhooks."))
        else f"${{{name}:-default}}"
    )
    hint = f"export {name}=…, or write {instead}"
    message = f"the environment variable {name} is not set"
    raise ReferenceProblemError(Problem(message, place, path, near=_near_variable(name, environ), hint=hint))


def _near_variable(name: str, environ: Mapping[str, str]) -> str | None:
    """A variable that differs by a slip; names are not secret, values are never looked at."""
    near = nearest(name, environ)
    return near if near and abs(len(near) - len(name)) <= 2 else None  # noqa: PLR2004 a slip of two letters


def _read_secret(written: str, place: Location, *, path: str, base_dir: Path) -> str:
    """The text of a mounted secret, without the line end behind it."""
    file = base_dir / written
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_SECRET_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ReferenceProblemError(Problem(f"the file {written} cannot be read: {reason}", place, path)) from None
    if len(data) > MAX_SECRET_BYTES:
        raise ReferenceProblemError(Problem(f"the file {written} is too large for a secret", place, path))
    return text.rstrip("\r\n")
