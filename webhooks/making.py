"""Makes the application of a playbook: its service, its pages, and what they lean on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from connector.heard import Who
from webhooks.service import Service, listening

if TYPE_CHECKING:
    from flask import Blueprint, Flask

    from connector.live.hearing import Hearing
    from connector.live.people import Finder
    from connector.workspace import Workspace
    from webhooks.beside import Beside

MOST_QUEUED: Final = 10_000
"""Events that may wait for a commit: a hundred full deliveries, a few tenths of a second."""


def made(workspace: Workspace, *, beside: Beside | None, loopback: bool) -> tuple[Flask, Service]:
    """The application of this playbook, with a journal of this process."""
    from connector.live.hearing import Hearing
    from webhooks.app import create_app

    hearing = Hearing.of(workspace)
    service = service_of(workspace, hearing, beside=beside, loopback=loopback)
    return create_app(service, blueprints=_pages(workspace, hearing)), service


def _pages(workspace: Workspace, hearing: Hearing) -> list[Callable[[Service], Blueprint]]:
    """The pages and their stylesheet: for everybody who is written to, and for operators where there are any."""
    from connector.live.people import IdentityKeys
    from webhooks import links, operators, pages

    settings = workspace.playbook.webhooks
    found: list[Callable[[Service], Blueprint]] = [
        pages.blueprint,
        functools.partial(links.blueprint, hearing=hearing),
    ]
    if settings is not None and (settings.operators or settings.oidc is not None):
        found.append(functools.partial(operators.blueprint, keys=IdentityKeys.of(workspace)))
    return found


def service_of(workspace: Workspace, hearing: Hearing, *, beside: Beside | None, loopback: bool) -> Service:
    """What requests of this playbook work with."""
    from connector.journal.intake import Intake
    from connector.programs import link_maker
    from connector.registry import installed_receivers
    from connector.settings.webhook_blocks import InboxBlock

    settings, journal = workspace.playbook.webhooks, workspace.journal
    most = (settings.inbox if settings is not None else InboxBlock()).most_waiting
    return Service(
        journal=journal,
        intake=Intake(journal.inbox, workspace.clock, most_queued=MOST_QUEUED, most_waiting=most),
        clock=workspace.clock,
        version=version("winback"),
        sources=listening(settings.sources if settings is not None else {}, installed_receivers()),
        public_base_url=settings.public_base_url if settings is not None else None,
        trusted_proxies=settings.trusted_proxies if settings is not None else (),
        playbook=workspace.playbook,
        links=link_maker(workspace),
        find=functools.partial(_contact, hearing.finder, workspace.clock.now),
        wake=beside.wake if beside is not None else _nothing,
        # Where nobody works here, whether somebody does elsewhere shows in how deep the inbox is.
        worker_alive=beside.alive if beside is not None else _yes,
        most_waiting=most,
        bound_to_loopback=loopback,
    )


def _contact(finder: Finder, now: Callable[[], datetime], who: Who) -> str | None:
    return finder.contact(who, now=now()).contact_id


def _nothing() -> None:
    return None


def _yes() -> bool:
    return True
