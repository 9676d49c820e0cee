"""What must not stand in the file, and what must not be shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from connector.location import Location, Problem
from connector.settings.references import ONLY_REFERENCE
from connector.yaml_loader import Items, Node, Scalar, Table

MASK = "***"
KEYS = "keys"
"""The block at the top of the file with keys of our own."""

_TOKENS = {
    "a HubSpot token": re.compile(r"\bpat-[a-z]{2}\d-[0-9a-fA-F-]{8,}"),
    "a Slack token": re.compile(r"\bxox[abposr]-[0-9A-Za-z-]{8,}"),
    "a Stripe key": re.compile(r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{8,}"),
    "an AWS key": re.compile(r"\bAKIA[0-9A-Z]{12,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_|github_pat_)[0-9A-Za-z_]{16,}"),
    "a signed token": re.compile(r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}\."),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}
_URL_PASSWORD = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^/\s:@]*:)(?P<password>[^/\s]+)(?=@)")
_QUERY_PASSWORD = re.compile(
    r"(?P<before>[?&](?:password|passwd|token|secret|api_key)=)(?P<password>[^&\s]+)", re.IGNORECASE
)


def secret_problems(
    node: Node, path: str = "", *, under_auth: bool = False, keys: frozenset[str] = frozenset()
) -> Iterator[Problem]:
    """Every secret that is written down instead of referred to; the messages never repeat it.

    Args:
        node: The file, or a part of it.
        path: Its dotted key.
        under_auth: Whether it is a secret whatever its key.
        keys: Further dotted keys that hold secrets.
    """
    match node:
        case Table():
            for key, entry in node.entries.items():
                child = f"{path}.{key}" if path else key
                inside = under_auth or _is_auth(path, key) or child in keys
                yield from secret_problems(entry.node, child, under_auth=inside, keys=keys)
        case Items():
            for number, item in enumerate(node.items):
                yield from secret_problems(item, f"{path}[{number}]", under_auth=under_auth, keys=keys)
        case Scalar():
            problem = _auth_problem(node, path) if under_auth else _token_problem(node.text, node.location, path)
            if problem:
                yield problem


def _is_auth(path: str, key: str) -> bool:
    """Whether this key holds the credentials of a connection, or keys of our own."""
    return (key == "auth" and path.partition(".")[0] in {"sources", "destinations"}) or (key == KEYS and not path)


def is_secret(path: Sequence[str | int]) -> bool:
    """Whether what stands under this path is never to be shown."""
    return "auth" in path or path[:1] in ((KEYS,), [KEYS])


def _auth_problem(scalar: Scalar, path: str) -> Problem | None:
    if scalar.value is None or ONLY_REFERENCE.fullmatch(scalar.text):
        return None
    name = (
        re.sub(r"\W+", "_", path.replace(".auth.", ".").partition(".")[2].removeprefix("sources.")).upper() or "TOKEN"
    )
    return Problem(
        "a secret is written here; the file must only refer to it",
        scalar.location,
        path,
        allowed=(f"${{{name}}}", f"${{file:/run/secrets/{name.lower()}}}"),
    )


def _token_problem(text: str, location: Location, path: str) -> Problem | None:
    kind = next((name for name, pattern in _TOKENS.items() if pattern.search(text)), None)
    if kind is None:
        found = _URL_PASSWORD.search(text) or _QUERY_PASSWORD.search(text)
        kind = "a password" if found and not ONLY_REFERENCE.fullmatch(found["password"]) else None
    if kind is None:
        return None
    hint = "put it into an environment variable or a file and write ${NAME} or ${file:…} in its place"
    return Problem(f"this looks like {kind}; secrets do not belong in the file", location, path, hint=hint)


def masked(text: str) -> str:
    """The text with passwords in addresses and anything that looks like a token replaced."""
    for pattern in (_URL_PASSWORD, _QUERY_PASSWORD):
        text = pattern.sub(lambda found: found["before"] + MASK, text)
    for pattern in _TOKENS.values():
        text = pattern.sub(MASK, text)
    return text
