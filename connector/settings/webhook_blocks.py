"""The keys of the `webhooks:` block: what we hear, from whom, who is told and who may look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    SerializeAsAny,
    WithJsonSchema,
    model_validator,
)

from connector.durations import Duration
from connector.receivers import ReceiverOptions
from connector.settings.block import Block, Name
from connector.settings.program_blocks import BaseAddress, is_web_address
from connector.settings.program_values import Whole
from connector.settings.values import SECRET_SCHEMA

HASHED = "$argon2id$"
"""How a password's hash begins; the password itself is nowhere."""

EMAIL = "email"
"""The claim whose values are addresses: it counts only where the provider has verified it."""

_ADDRESS = re.compile(r"(\*|[!-)+-?A-~]+)@[A-Za-z0-9.-]+")

PropertyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")]


def _is_hash(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(HASHED):
        command = "python -c 'import argon2, getpass; print(argon2.PasswordHasher().hash(getpass.getpass()))'"
        message = f"is not the hash of a password; make one with: {command}"
        raise ValueError(message)
    return value


def _is_something(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        message = "is empty"
        raise ValueError(message)
    return value


def _leads_somewhere(value: SecretStr) -> SecretStr:
    is_web_address(value.get_secret_value())
    return value


def _read_network(value: Any) -> Any:
    """Addresses that begin alike, as in 10.0.0.0/8; one address is a network of its own."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        network = ip_network(value.strip() if isinstance(value, str) else "")
    except ValueError:
        message = "is not a network; write it like 10.0.0.0/8, 127.0.0.1 or fd00::/8"
        raise ValueError(message) from None
    if network.prefixlen == 0:
        message = "is everybody: whoever calls could then say who they are"
        raise ValueError(message)
    return network


Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_read_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^([0-9]{1,3}([.][0-9]{1,3}){3}(/([1-9]|[12][0-9]|3[0-2]))?"
            "|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/[1-9][0-9]{0,2})?)$",
            "examples": ["127.0.0.1/32"],
        }
    ),
]
HashedPassword = Annotated[SecretStr, AfterValidator(_is_hash), WithJsonSchema(SECRET_SCHEMA)]
ClientSecret = Annotated[SecretStr, AfterValidator(_is_something), WithJsonSchema(SECRET_SCHEMA)]
Said = Annotated[str, Field(min_length=1, max_length=200)]
SecretAddress = Annotated[SecretStr, AfterValidator(_leads_somewhere), WithJsonSchema(SECRET_SCHEMA)]
"""An address that lets whoever knows it in."""


class InboxBlock(Block):
    """What arrived, until it is worked on, and after."""

    keep: Duration = Field(default=timedelta(days=30), description="how long what arrived is kept as it came")
    most_waiting: Whole = Field(
        default=100_000, ge=1, le=100_000_000, description="from so many unworked events on, senders are asked to wait"
    )


class FeedbackBlock(Block):
    """What becomes of answers."""

    text: Literal["keep", "drop"] = Field(
        default="keep", description="people's own words: kept, or dropped once a reason was read out of them"
    )
    keep: Duration = Field(default=timedelta(days=400), description="how long words are kept; the reason stays")
    property: PropertyName = Field(default="winback_reason", description="the CRM's property a reason is written to")


class AlertsBlock(Block):
    """Where a reason's `route` leads; what is told there names nobody."""

    slack: SecretAddress | None = Field(default=None, description="a Slack channel's incoming webhook, by reference")
    teams: SecretAddress | None = Field(default=None, description="a Teams channel's workflow address, by reference")


class OperatorBlock(Block):
    """Somebody who may sign in to the pages of `winback serve`."""

    password: HashedPassword = Field(description="the password's argon2id hash, by reference")
    role: Literal["viewer", "operator"] = Field(
        default="viewer", description="viewer: looks; operator: repeats and sets events aside, too"
    )


class OidcRoles(Block):
    """Who may do what at the pages, by what the provider says of them; whoever is in neither list is not let in."""

    claim: Said = Field(
        default=EMAIL,
        description="which of the things the provider says of people the lists hold: email, groups, roles, …",
    )
    viewer: tuple[Said, ...] = Field(
        default=(), description="who looks: values of the claim; of email also everybody at *@acme.example"
    )
    operator: tuple[Said, ...] = Field(default=(), description="who repeats and sets events aside, too")

    @model_validator(mode="after")
    def _lets_somebody_in(self) -> Self:
        listed = (*self.viewer, *self.operator)
        if not listed:
            message = "lets nobody in; list somebody under viewer or operator"
            raise ValueError(message)
        if self.claim == EMAIL and not all(map(_ADDRESS.fullmatch, listed)):
            message = "has an entry that is no address; write them like ada@acme.example or *@acme.example"
            raise ValueError(message)
        if self.claim != EMAIL and any("*" in one for one in listed):
            message = f"has an entry with *, which only the claim {EMAIL} knows; name each value"
            raise ValueError(message)
        return self


class OidcBlock(Block):
    """An OpenID Connect provider where people sign in to the pages of `winback serve`."""

    issuer: BaseAddress = Field(description="the provider's own address, to the letter as its document has it")
    client_id: Said = Field(description="what winback is called there")
    client_secret: ClientSecret = Field(description="the secret it got there, by reference")
    scopes: tuple[Said, ...] = Field(default=(EMAIL,), description="what is asked for besides openid")
    roles: OidcRoles = Field(description="who may do what; nobody else gets in")


class WebhooksBlock(Block):
    """What other systems tell us while they are at it; the sources' own keys are their receivers'."""

    public_base_url: BaseAddress = Field(description="what vendors call, and sign; never taken from a request")
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="networks of your own proxies: there, who called is read in X-Forwarded-For; by default nowhere",
    )
    sources: Mapping[str, Any] = Field(
        default_factory=dict, description="receiver: its keys; who is not listed is refused"
    )
    inbox: InboxBlock = Field(default_factory=InboxBlock, description="what arrived, until it is worked on")
    feedback: FeedbackBlock = Field(default_factory=FeedbackBlock, description="what becomes of answers")
    alerts: AlertsBlock = Field(default_factory=AlertsBlock, description="where a reason's route leads")
    operators: Mapping[Name, OperatorBlock] = Field(
        default_factory=dict, description="who may sign in to the pages, by name"
    )
    oidc: OidcBlock | None = Field(
        default=None, description="an OpenID Connect provider where people sign in to the pages, too"
    )


class WebhookSettings(WebhooksBlock):
    """The block, with each source checked by its receiver."""

    sources: Mapping[str, SerializeAsAny[ReceiverOptions]] = Field(default_factory=dict)
