"""Short ways to write a field down, for the catalogue."""

from __future__ import annotations

from typing import Any

from adapters.salesforce.sandbox.fields import Field, words


def text(name: str, length: int = 255, **settings: Any) -> Field:
    """One line of text."""
    return _made(name, "string", length=length, **settings)


def long_text(name: str, length: int = 32_000, **settings: Any) -> Field:
    """Several lines of text."""
    return _made(name, "textarea", length=length, **settings)


def address(name: str, **settings: Any) -> Field:
    """A mail address."""
    return _made(name, "email", length=80, **settings)


def phone(name: str, **settings: Any) -> Field:
    """A telephone number."""
    return _made(name, "phone", length=40, **settings)


def web(name: str, **settings: Any) -> Field:
    """A web address."""
    return _made(name, "url", length=255, **settings)


def pick(name: str, *choices: str, **settings: Any) -> Field:
    """One of several values; others are taken too unless it is restricted."""
    return _made(name, "picklist", length=255, choices=choices, **settings)


def yes_no(name: str, **settings: Any) -> Field:
    """True or false, never null."""
    return _made(name, "boolean", default=settings.pop("default", False), **settings)


def number(name: str, precision: int = 18, scale: int = 0, **settings: Any) -> Field:
    """A number."""
    return _made(name, "double", precision=precision, scale=scale, **settings)


def whole(name: str, **settings: Any) -> Field:
    """A whole number."""
    return _made(name, "int", precision=8, **settings)


def money(name: str, **settings: Any) -> Field:
    """An amount in the org's currency."""
    return _made(name, "currency", precision=18, scale=2, **settings)


def day(name: str, **settings: Any) -> Field:
    """A date."""
    return _made(name, "date", **settings)


def moment(name: str, **settings: Any) -> Field:
    """A date with a time."""
    return _made(name, "datetime", **settings)


def link(name: str, *refers: str, **settings: Any) -> Field:
    """A reference to another record; its relationship is the name without `Id`."""
    relationship = settings.pop("relationship", name.removesuffix("Id") if name.endswith("Id") else None)
    return _made(name, "reference", length=18, refers=refers, relationship=relationship, **settings)


def fixed(**settings: Any) -> dict[str, Any]:
    """Settings of a field that is never written from outside."""
    return {"createable": False, "updateable": False, **settings}


def once() -> dict[str, Any]:
    """Settings of a field that is set when the record is made, and never again."""
    return {"updateable": False}


def _made(name: str, kind: str, **settings: Any) -> Field:
    label = settings.pop("label", words(name.removesuffix("Id") if kind == "reference" else name))
    return Field(name, kind, label, custom=name.endswith("__c"), **settings)
