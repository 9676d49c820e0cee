"""`/l/<token>`: one-click links. Looking changes nothing; one press does, at once, and is answered when it is on disk.

Mail scanners follow every link, so GET and HEAD only show a page (L-3). A press needs no cookie, no login and no second
question, and mail providers press for people (RFC 8058). The CRM hears of it from the worker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from connector import links as signed
from connector.heard import Asked, Who
from connector.links import Destinations, Link
from connector.live.about import Told
from connector.program.model import Status
from webhooks import counting, limits
from webhooks.app import failure, problem, request_id
from webhooks.languages import Texts, speak
from webhooks.pages import account_of, page, reads_pages
from webhooks.service import Service

if TYPE_CHECKING:
    from connector.live.hearing import Hearing
    from connector.program.model import ConsentEvent, ConsentState

SOURCE: Final = "links"
"""What the journal calls whatever people ask for by a link."""

KEEP, STOP = "keep", "stop"
"""What one may choose besides a number of days."""

SNOOZES: Final = (timedelta(days=30), timedelta(days=60), timedelta(days=90))

_A_TOKEN_A_MINUTE: Final = 60
_AN_ADDRESS_A_MINUTE: Final = 6_000
"""A proxy in front of us, or a mail provider, is one address for very many people."""
_STRANGERS_A_MINUTE: Final = 60
"""Of tokens that say nothing, from one address."""

_FORM_BYTES: Final = 16_384
_RETRY_SECONDS: Final = 60

LOOKED: Final = "looked"
"""The verdict of a GET: perhaps a person, perhaps a scanner; counted, and nothing else."""


def blueprint(service: Service, *, hearing: Hearing) -> Blueprint:
    """The route of links.

    Args:
        service: What requests work with.
        hearing: Judges what people ask for, and settles it.
    """
    routes = Blueprint("links", __name__)
    following = Following(service, hearing)
    routes.add_url_rule("/l/<token>", "follow", following, methods=["GET", "HEAD", "POST"])
    routes.register_error_handler(Exception, following.failed)
    return routes


@dataclass(frozen=True, slots=True)
class Followed:
    """A good link: what it says, whose it is, and where they stand."""

    token: str
    link: Link
    contact_id: str
    addresses: Sequence[str]
    texts: Texts


class Following:
    """What happens when somebody follows a link."""

    __name__ = "follow"

    def __init__(self, service: Service, hearing: Hearing) -> None:
        self._service = service
        self._hearing = hearing
        settings = service.playbook.links if service.playbook is not None else None
        self._snoozes = settings.snooze if settings is not None else SNOOZES
        self._destinations = (
            Destinations(settings.destinations, default=settings.default)
            if settings is not None and settings.destinations
            else None
        )
        self._account = account_of(service)
        self._tokens = limits.Rate(_A_TOKEN_A_MINUTE)
        self._addresses = limits.Rate(_AN_ADDRESS_A_MINUTE)
        self._strangers = limits.Rate(_STRANGERS_A_MINUTE)

    def __call__(self, token: str) -> Response:
        """One request."""
        followed = self._read(token)
        if followed is None:
            return self._nothing()
        pressed = request.method == "POST"
        if pressed and (followed.link.action == signed.UNSUBSCRIBE or _stops_everything()):
            return self._unsubscribe(followed)
        if not self._is_within_limits(followed):
            self._service.counting.count(SOURCE, counting.BUSY)
            return self._message(followed.texts, "busy", status=HTTPStatus.TOO_MANY_REQUESTS)
        if pressed:
            return self._press(followed)
        self._service.counting.count(SOURCE, LOOKED)
        return self._show(followed)

    def _press(self, followed: Followed) -> Response:
        """What somebody chose, other than to stop everything."""
        match followed.link.action:
            case signed.RETURN:
                return self._come_back(followed)
            case signed.SNOOZE:
                return self._snooze(followed, request.form.get("for"))
            case _:
                return self._prefer(followed, request.form.get("choice"))

    # --- whose it is --------------------------------------------------------------------------------------------

    def _read(self, token: str) -> Followed | None:
        """Whose link it is; all that is wrong with one looks the same and takes the same time (L-6)."""
        now, links = self._service.clock.now(), self._service.links
        link = links.read(token, now=now) if links is not None else None
        contact_id = self._service.journal.links.contact(link.subject if link is not None else "")
        if link is None or contact_id is None:
            return None
        found = self._hearing.finder.contact(Who(token=token), now=now)
        contact_id = found.contact_id or contact_id
        return Followed(token, link, contact_id, found.addresses, self._language(contact_id))

    def _language(self, contact_id: str) -> Texts:
        """The contact's own, as far as it was published; else what the browser asks for."""
        decision = self._service.journal.decisions.get(contact_id)
        document = decision.document if decision is not None else {}
        told = (document.get("columns") or {}).get("language") or document.get("language")
        return speak([told, *_accepted()])

    def _standing(self, followed: Followed) -> ConsentState:
        return self._service.journal.consent.state(followed.contact_id)

    def _is_within_limits(self, followed: Followed) -> bool:
        at = self._service.clock.monotonic()
        mine = self._tokens.allows(_digest(followed.token), at)
        return self._addresses.allows(request.remote_addr or "", at) and mine

    # --- what is shown ------------------------------------------------------------------------------------------

    def _show(self, followed: Followed) -> Response:
        """The page with one button."""
        action = followed.link.action
        standing = self._standing(followed)
        return page(
            f"links/{action}.html",
            texts=followed.texts,
            forms=self._forms(action),
            account=self._account,
            snoozes=[lasts.days for lasts in self._snoozes],
            note=self._note(followed.texts, standing) if action != signed.RETURN else None,
        )

    def _note(self, texts: Texts, standing: ConsentState) -> str | None:
        if standing.opted_out_at is not None:
            return texts("standing.stopped")
        if standing.snoozed_until is not None and standing.snoozed_until > self._service.clock.now():
            return texts("standing.paused", date=texts.day(standing.snoozed_until.date()))
        return None

    def _forms(self, action: str) -> str:
        """Where the page's form may lead. Chromium holds every redirect after a form against it, those of others too.

        So the page that leads to the product has to allow where that may lead on to.
        """
        if action != signed.RETURN or self._destinations is None:
            return "'self'"
        parts = urlsplit(self._destinations.resolve(request.args.get("dest")))
        return "'self' https:" if parts.scheme == "https" else f"'self' {parts.scheme}://{parts.netloc}"

    def _message(
        self, texts: Texts, name: str, *, status: int = HTTPStatus.OK, note: str | None = None, **mentions: str
    ) -> Response:
        """A page that only says something: what was done, or why nothing was."""
        response = page(
            "links/said.html",
            texts=texts,
            status=status,
            account=self._account,
            said=name,
            note=note,
            mentions={"account": self._account, **mentions},
        )
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            response.headers["Retry-After"] = str(_RETRY_SECONDS)
        return response

    def _nothing(self) -> Response:
        """The one page for every link that is not good, whatever is wrong with it."""
        self._service.counting.count(SOURCE, counting.BAD_SIGNATURE)
        texts = speak(_accepted())
        if not self._strangers.allows(request.remote_addr or "", self._service.clock.monotonic()):
            return self._message(texts, "busy", status=HTTPStatus.TOO_MANY_REQUESTS)
        home = self._destinations.resolve(None) if self._destinations is not None else None
        return page("links/invalid.html", texts=texts, status=HTTPStatus.NOT_FOUND, account=self._account, home=home)

    def failed(self, error: Exception) -> Response:
        """Something broke: a person reads a page, a machine the same as everywhere."""
        if isinstance(error, HTTPException) and error.code is not None:
            return problem(error.code, HTTPStatus(error.code).phrase.lower(), called=request_id())
        status, message, retry_after = failure(error, called=request_id())
        if not reads_pages():
            return problem(status, message, called=request_id(), retry_after=retry_after)
        return self._message(speak(_accepted()), "failed", status=status)

    # --- what is done -------------------------------------------------------------------------------------------

    def _unsubscribe(self, followed: Followed) -> Response:
        """At once and without a question; never refused for being one of many (L-11)."""
        lines = self._lines(followed)
        if not any(line.status is Status.WITHDRAWN for line in _since_return(lines)):
            # Of those who press at once, one is heard.
            key = f"unsubscribe:{followed.link.subject}:{_returns(lines)}"
            self._ask(followed, "unsubscribe", key, evidence={"how": "one-click" if _is_one_click() else "page"})
        return self._message(followed.texts, "unsubscribe")

    def _snooze(self, followed: Followed, chosen: str | None) -> Response:
        """For one of the times the playbook offers, and no other."""
        lasts = next((lasts for lasts in self._snoozes if str(lasts.days) == chosen), None)
        if lasts is None:
            return self._show(followed)
        now, lines = self._service.clock.now(), self._lines(followed)
        until = (now + lasts).date()
        paused = (line.expires_at for line in _since_return(lines) if line.status is Status.SNOOZED)
        if not any(end is not None and end.date() == until for end in paused):
            key = f"snooze:{followed.link.subject}:{until}:{_returns(lines)}"
            self._ask(followed, "snooze", key, lasts=lasts)
        standing, texts = self._standing(followed), followed.texts
        if standing.opted_out_at is not None:
            return self._message(texts, "unsubscribe", note=texts("standing.stopped"))
        return self._message(texts, "snooze", date=texts.day((standing.snoozed_until or now + lasts).date()))

    def _prefer(self, followed: Followed, chosen: str | None) -> Response:
        """Pause, or leave it as it is; who wants to stop everything was heard before."""
        if chosen == KEEP:
            note = self._note(followed.texts, self._standing(followed))
            return self._message(followed.texts, "preferences", note=note)
        return self._snooze(followed, chosen)

    def _come_back(self, followed: Followed) -> Response:
        """Counted, once a day for a link, and on to where the playbook says: its names only, never an address (L-7)."""
        attribution = _digest(followed.token)
        self._ask(followed, "return", f"{attribution}:{self._service.clock.now():%Y-%m-%d}")
        if self._destinations is None:
            return self._message(followed.texts, "return")
        where = tagged(self._destinations.resolve(request.args.get("dest")), followed.link.campaign, attribution)
        return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": where})

    def _ask(
        self,
        followed: Followed,
        action: str,
        key: str,
        *,
        lasts: timedelta | None = None,
        evidence: dict[str, str] | None = None,
    ) -> None:
        """Have it judged and settled; once this returns it holds, and the worker knows."""
        now = self._service.clock.now()
        asked = Asked(
            who=Who(token=followed.token),
            at=now,
            action=action,
            key=key,
            source=SOURCE,
            lasts=lasts,
            evidence={"link": followed.link.action, "campaign": followed.link.campaign, **(evidence or {})},
        )
        settled = self._hearing.hear([asked], Told(source=SOURCE, key=key, received_at=now))
        self._service.counting.count(SOURCE, counting.DUPLICATE if settled is None else counting.ACCEPTED)
        if settled is not None:
            self._service.wake()

    def _lines(self, followed: Followed) -> list[ConsentEvent]:
        """All that was said about the person."""
        ledger = self._service.journal.consent
        return [line for subject in (followed.contact_id, *followed.addresses) for line in ledger.history(subject)]


def _returns(lines: Sequence[ConsentEvent]) -> int:
    """How often the person asked to be mailed after all: what is said by a link after that is said anew."""
    return sum(line.status is Status.RESUBSCRIBED for line in lines)


def _since_return(lines: Sequence[ConsentEvent]) -> list[ConsentEvent]:
    """What was said by links since then."""
    back = max((line.captured_at for line in lines if line.status is Status.RESUBSCRIBED), default=None)
    return [line for line in lines if line.source == SOURCE and (back is None or line.captured_at > back)]


def tagged(url: str, campaign: str, attribution: str) -> str:
    """The address with what an analytics tool reads: where the visit comes from. What it says itself stays."""
    parts = urlsplit(url)
    program, _, step = campaign.partition("/")
    tags = {
        "utm_source": "winback",
        "utm_medium": "email",
        "utm_campaign": program,
        "utm_content": step,
        "winback_id": attribution,
    }
    said = parse_qsl(parts.query, keep_blank_values=True)
    there = {name for name, _ in said}
    query = "&".join(
        part for part in (parts.query, urlencode({k: v for k, v in tags.items() if v and k not in there})) if part
    )
    return urlunsplit(parts._replace(query=query))


def _is_one_click() -> bool:
    """Whether the body is RFC 8058's, in either encoding and any case."""
    if (request.content_length or 0) > _FORM_BYTES:
        return False
    return any(
        name.strip().casefold() == "list-unsubscribe" and value.strip().casefold() == "one-click"
        for name, value in request.form.items(multi=True)
    )


def _stops_everything() -> bool:
    return _is_one_click() or request.form.get("choice") == STOP


def _accepted() -> list[str]:
    return [language for language, _ in request.accept_languages]


def _digest(token: str) -> str:
    """A token in a few letters that cannot be turned back into it."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()[:20]
