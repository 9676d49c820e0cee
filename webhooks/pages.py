"""What all our pages have in common: the template that frames them, their one stylesheet, and what they may load."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Any, Final

from flask import Blueprint, Response, render_template, request

from webhooks.languages import Texts, speak
from webhooks.service import Service

ONLY_OURS: Final = "default-src 'none'; style-src 'self'; form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
"""A page may show our stylesheet and send its form to us: no script, no picture, nobody else."""

NOBODY: Final = "winback"
"""What we are called where no playbook says whose pages these are."""


def blueprint(_service: Service) -> Blueprint:
    """The stylesheet."""
    pages = Blueprint("pages", __name__)
    sheet, name = _style()

    @pages.get("/style.css")
    def style() -> Response:
        """It may be kept for good by whoever asked for this very one."""
        response = Response(sheet, content_type="text/css; charset=utf-8")
        asked_for_this_one = request.args.get("v") == name
        response.headers["Cache-Control"] = f"public, max-age={31_536_000 if asked_for_this_one else 300}"
        return response

    return pages


def page(
    template: str, *, texts: Texts | None = None, status: int = 200, forms: str = "'self'", **values: Any
) -> Response:
    """A page from a template, escaped, in a language.

    Args:
        template: Below `webhooks/templates/`.
        texts: The language; English unless given.
        status: Of the answer.
        forms: Where its forms may lead.
        values: What the template shows.
    """
    spoken = texts if texts is not None else speak(())
    _, version = _style()
    # An address such as /l/<token> may have a proxy's prefix before it that we know nothing of.
    up = "../" * (request.path.count("/") - 1)
    text = render_template(template, t=spoken, style=f"{up or './'}style.css?v={version}", **values)
    response = Response(text, status=status, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = ONLY_OURS.format(forms=forms)
    response.headers["Content-Language"] = spoken.language
    return response


def account_of(service: Service) -> str:
    """Whose pages these are."""
    return service.playbook.account if service.playbook is not None else NOBODY


def reads_pages() -> bool:
    """Whether a person's browser asks, and not a machine."""
    return "text/html" in request.headers.get("Accept", "")


@cache
def _style() -> tuple[bytes, str]:
    """The stylesheet, and what this version of it is called."""
    sheet = (resources.files("webhooks") / "static" / "style.css").read_bytes()
    return sheet, hashlib.sha256(sheet).hexdigest()[:12]
