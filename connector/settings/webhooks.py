"""Checks the `webhooks:` block: each source by its receiver, what questions and choices mean, and what is odd."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from connector.location import Problem, nearest
from connector.model import Finding, Severity
from connector.program.model import Program
from connector.reasons.codes import REASONS
from connector.receivers import Receiver, ReceiverOptions
from connector.settings.validation import dotted, find, problems_of, share_problem
from connector.settings.webhook_blocks import WebhooksBlock, WebhookSettings
from connector.yaml_loader import Table, plain

BLOCK = "webhooks"
MEANINGS = ("reason", "score", "comment", "ignore")
"""What a survey's question can be."""

SHORTEST_SECRET = 16
"""Characters: what vendors make is longer; what somebody typed may not be."""


def secret_keys(root: Table, receivers: Mapping[str, Receiver]) -> frozenset[str]:
    """The dotted keys of the block that hold secrets, as far as it is written."""
    block = _table(root, BLOCK)
    if block is None:
        return frozenset()
    keys = {f"{BLOCK}.alerts.slack", f"{BLOCK}.alerts.teams", f"{BLOCK}.oidc.client_secret"}
    keys |= {f"{BLOCK}.operators.{name}.password" for name in _entries(block, "operators")}
    for name in _entries(block, "sources"):
        receiver = receivers.get(name)
        fields = secret_fields(receiver.options) if receiver else _LIKELY
        keys |= {f"{BLOCK}.sources.{name}.{field}" for field in fields}
    return frozenset(keys)


_LIKELY = ("secret", "token", "client_secret", "signing_secret", "api_key")
"""Of a receiver that is not installed."""


def secret_fields(options: type[BaseModel]) -> tuple[str, ...]:
    """The fields of a receiver that hold secrets."""
    return tuple(name for name, field in options.model_fields.items() if _holds_secrets(field.annotation))


def _holds_secrets(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_holds_secrets, get_args(annotation)))


def read_webhooks(
    root: Table, block: WebhooksBlock | None, receivers: Mapping[str, Receiver], *, hidden: frozenset[str]
) -> tuple[WebhookSettings | None, list[Problem]]:
    """The block with its sources checked, and what is wrong with them; told also when other keys are wrong.

    Args:
        root: The file.
        block: The block as the core reads it; None where there is none, or it is wrong.
        receivers: The installed receivers by name.
        hidden: Dotted keys whose values no message may repeat.
    """
    problems: list[Problem] = []
    found: dict[str, ReceiverOptions] = {}
    table = _table(root, BLOCK)
    for name, entry in _entries(table, "sources").items() if table is not None else ():
        path = (BLOCK, "sources", name)
        if name not in receivers:
            message, known = f"no receiver '{name}'", tuple(receivers)
            problems.append(Problem(message, entry.key_location, dotted(path[:2]), nearest(name, known), known))
        elif not isinstance(entry.node, Table):
            problems.append(Problem("must be a table of keys", entry.key_location, dotted(path)))
        else:
            options = receivers[name].options
            empty = list(_empty_secrets(entry.node, options, path))
            problems += empty or _meanings(entry.node, path, hidden)
            values = plain(entry.node)
            share = share_problem(values, root, path)
            problems += [share] if share else []
            try:
                found[name] = options.model_validate(values)
            except ValidationError as error:
                problems += problems_of(error, options, root, within=path, hidden=hidden)
    if block is None or problems:
        return None, problems
    values = {name: getattr(block, name) for name in type(block).model_fields}
    return WebhookSettings.model_construct(_fields_set=set(block.model_fields_set), **{**values, "sources": found}), []


def _empty_secrets(table: Table, options: type[BaseModel], path: tuple[str, ...]) -> Iterator[Problem]:
    """A secret that is there but empty would refuse every delivery, as a puzzle."""
    for field in secret_fields(options):
        if field in table.entries and plain(table.entries[field].node) in ("", None, [], [""]):
            place = find(table, (field,)).node.location
            yield Problem("this secret is empty", place, dotted((*path, field)))


def _meanings(table: Table, path: tuple[str, ...], hidden: frozenset[str]) -> Iterator[Problem]:
    """What questions and choices are said to mean."""
    for key, known in (("questions", MEANINGS), ("choices", tuple(REASONS))):
        for name, entry in _entries(table, key).items():
            said = plain(entry.node)
            where = dotted((*path, key, name))
            if isinstance(said, str) and said not in known:
                shown = "the value" if where in hidden else f"'{said}'"
                near = None if where in hidden else nearest(said, known)
                what = "no meaning of a question" if key == "questions" else "no reason"
                yield Problem(f"{shown} is {what}", entry.node.location, where, near, known)


def webhook_findings(
    settings: WebhookSettings | None, programs: tuple[Program, ...], origin: Mapping[str, str]
) -> Iterator[Finding]:
    """What is allowed in the block, and in reasons that lead there, but cannot be meant."""
    told = settings.alerts if settings is not None else None
    for program in programs:
        for reason, rule in program.reasons.items():
            for route in rule.route:
                if route != "task" and (told is None or getattr(told, route) is None):
                    message = f"the reason '{reason}' is routed to {route}, and there is no webhooks.alerts.{route}"
                    fix = f'webhooks: {{alerts: {{{route}: "${{{route.upper()}_URL}}"}}}}'
                    yield Finding(f"program {program.name}", Severity.WARNING, message, fix)
    for name, options in settings.sources.items() if settings is not None else ():
        yield from _of_source(name, options, origin)


def _of_source(name: str, options: ReceiverOptions, origin: Mapping[str, str]) -> Iterator[Finding]:
    key = f"{BLOCK}.sources.{name}"
    subject = f"webhooks {name}"
    if options.insecure_dev:
        message = f"{_place(origin, f'{key}.insecure_dev')}: whatever arrives is believed"
        yield Finding(subject, Severity.WARNING, message, "insecure_dev: false, but for rehearsals on this machine")
    for field in secret_fields(type(options)):
        held = getattr(options, field)
        for secret in held if isinstance(held, tuple) else (held,):
            if isinstance(secret, SecretStr) and len(secret.get_secret_value()) < SHORTEST_SECRET:
                message = f"{_place(origin, f'{key}.{field}')}: {field} is shorter than {SHORTEST_SECRET} characters"
                yield Finding(subject, Severity.WARNING, message, "make one with: openssl rand -hex 32")


def _place(origin: Mapping[str, str], key: str) -> str:
    return origin.get(key, key).split(",", maxsplit=1)[0]


def _table(root: Table, key: str) -> Table | None:
    entry = root.entries.get(key)
    return entry.node if entry is not None and isinstance(entry.node, Table) else None


def _entries(table: Table, key: str) -> Mapping[str, Any]:
    inner = _table(table, key)
    return inner.entries if inner is not None else {}
