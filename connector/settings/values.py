"""Shares and secrets as a person writes them: `20%`, `${NAME}`."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_PERCENT = re.compile(r"([0-9]+(?:[.][0-9]+)?)\s*%")


def read_share(value: Any) -> Any:
    """`20%` or 0.2 as 0.2."""
    if isinstance(value, str):
        found = _PERCENT.fullmatch(value.strip())
        with suppress(ValueError):
            value = float(found[1]) / 100 if found else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        message = "is not a share; write it like 20% or 0.2"
        raise ValueError(message)
    return float(value)


SECRET_SCHEMA = {
    "type": "string",
    "pattern": r"^\$\{(file:[^}]+|[A-Za-z_][A-Za-z0-9_]*)\}$",
    "description": "a reference, never the secret itself: ${NAME} or ${file:/run/secrets/name}",
}

SEVERAL_SECRETS_SCHEMA = {"anyOf": [SECRET_SCHEMA, {"type": "array", "items": SECRET_SCHEMA}]}

SHARE_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^[0-9]+([.][0-9]+)?\s*%$"},
    ],
    "examples": ["20%"],
}

Share = Annotated[float, BeforeValidator(read_share), WithJsonSchema(SHARE_SCHEMA)]
