"""The operators' pages, behind a login: how the inbox does, what came in and what became of it, one contact's story.

Viewers look. Operators also repeat events, set them aside, and see who is in a holdout: whoever only looks must not be
able to act on who is measured.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Response, g, redirect, request, url_for
from werkzeug.exceptions import HTTPException

from connector.journal.inbox import STATES
from connector.journal.waiting import WAITING
from connector.plain import spelled
from connector.reasons.codes import REASONS
from webhooks import limits
from webhooks.app import failure, problem, request_id
from webhooks.login import Login, Operator, Session
from webhooks.oidc import CALLBACK, SORRY, NotSignedIn
from webhooks.overview import overview, refusals, source_names
from webhooks.pages import account_of, page, reads_pages
from webhooks.portrait import WORDS, may_be_an_id, portrait, who_is
from webhooks.service import Service

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as BaseResponse

    from connector.live.people import IdentityKeys

log = logging.getLogger("webhooks")

EVENTS: Final = 50
MOST_EVENTS: Final = 800
_LONGEST_ASKED: Final = 320
_LONGEST_REASON: Final = 200

_AN_ADDRESS_A_MINUTE: Final = 600
_LOG_LINES_A_MINUTE: Final = 30

_OURS = re.compile(r"/(inbox(\?[\w=&.%-]*)?|contacts/[\w:.~%/-]+)?")
"""Pages of ours that signing in may lead on to; `next` is the stranger's to choose."""

DONE: Final = {
    "replayed": "The event waits again, as if it had just come.",
    "set-aside": "The event is set aside; nothing is done about it until somebody repeats it.",
    "unchanged": "Nothing changed: the event is not in that state any more, or its content is gone.",
}


def blueprint(service: Service, *, keys: IdentityKeys) -> Blueprint:
    """The routes of the operators' pages.

    Args:
        service: What requests work with.
        keys: What ids and addresses are hashed with before they are looked up.
    """
    routes = Blueprint("operators", __name__)
    desk = Desk(service, keys)
    routes.before_request(desk.admit)
    routes.after_request(desk.leave)
    routes.register_error_handler(Exception, desk.failed)
    routes.add_app_template_filter(_when, "when")
    routes.add_app_template_filter(_lasting, "lasting")
    routes.add_app_template_filter(_moment, "moment")
    views: tuple[tuple[str, str, Callable[..., Any], str], ...] = (
        ("/login", "login", desk.login, "GET"),
        ("/login", "sign_in", desk.sign_in, "POST"),
        ("/logout", "sign_out", desk.sign_out, "POST"),
        ("/", "home", desk.home, "GET"),
        ("/inbox", "inbox", desk.inbox, "GET"),
        ("/inbox/<int:number>/replay", "replay", desk.replay, "POST"),
        ("/inbox/<int:number>/set-aside", "set_aside", desk.set_aside, "POST"),
        ("/search", "search", desk.search, "POST"),
        ("/contacts/<path:contact_id>", "contact", desk.contact, "GET"),
    )
    there = (("/login/oidc", "leave", desk.leave_for, "GET"), (CALLBACK, "arrive", desk.arrive, "GET"))
    for rule, name, view, method in (*views, *(there if desk.has_provider else ())):
        routes.add_url_rule(rule, name, view, methods=[method])
    return routes


OPEN: Final = frozenset({"operators.login", "operators.sign_in"})
"""Endpoints for everybody."""

AT_A_PROVIDER: Final = frozenset({"operators.leave", "operators.arrive"})
"""Endpoints for everybody, too, where the playbook names a provider."""

ACTING: Final = frozenset({"operators.replay", "operators.set_aside"})
"""Endpoints for operators alone; all others are for viewers, too."""


class Desk:
    """What operators see and do."""

    def __init__(self, service: Service, keys: IdentityKeys) -> None:
        self._service = service
        self._keys = keys
        self._login = Login(service)
        self._rate = limits.Rate(_AN_ADDRESS_A_MINUTE)
        self._log_lines = limits.Rate(_LOG_LINES_A_MINUTE)

    @property
    def has_provider(self) -> bool:
        """Whether one may sign in elsewhere."""
        return self._login.provider is not None

    # --- who may ------------------------------------------------------------------------------------------------

    def admit(self) -> BaseResponse | None:
        """Before every page: who it is, whether they may, and whether a form is one of ours."""
        session = g.session = self._login.session(request)
        operator = g.operator = self._login.operator(session)
        if not self._rate.allows(request.remote_addr or "", self._service.clock.monotonic()):
            return self._said(HTTPStatus.TOO_MANY_REQUESTS, "That was very often. Please try again in a minute.")
        if request.method == "POST" and not self._login.is_our_form(session, request.form.get("form")):
            return self._said(HTTPStatus.FORBIDDEN, "This form is too old, or not one of ours. Please try again.")
        if request.endpoint in OPEN | AT_A_PROVIDER:
            return None
        if operator is None:
            following = request.full_path.rstrip("?")
            return redirect(
                url_for("operators.login", next=following if following != "/" else None), HTTPStatus.SEE_OTHER
            )
        if request.endpoint in ACTING and not operator.may_act:
            return self._said(HTTPStatus.FORBIDDEN, "Your role is to look. Whoever is an operator may change this.")
        return None

    def leave(self, response: Response) -> Response:
        """After every page: the browser keeps its session for another while."""
        session: Session | None = g.get("session")
        if session is not None:
            self._login.keep(response, session)
        return response

    def login(self) -> Response:
        """The form to sign in with."""
        return self._login_page(SORRY.get(request.args.get("sorry", "")))

    def sign_in(self) -> BaseResponse:
        """Check a name and a password."""
        name, password = request.form.get("name", ""), request.form.get("password", "")
        answer = self._login.sign_in(name, password, request.remote_addr or "")
        if isinstance(answer, Session):
            return self._signed_in(answer, request.args.get("next", "/"))
        self._tell("somebody could not sign in")
        if answer is None:
            return self._login_page("That name and password do not go together.", status=HTTPStatus.FORBIDDEN)
        wrong = "That was wrong too often. Please wait a little before you try again."
        response = self._login_page(wrong, status=HTTPStatus.TOO_MANY_REQUESTS)
        response.headers["Retry-After"] = str(max(1, round(answer)))
        return response

    def leave_for(self) -> BaseResponse:
        """To the provider. By a link: a form that leads elsewhere in the end is stopped by our own policy."""
        session: Session = g.session
        following = request.args.get("next", "/")
        following = following if _OURS.fullmatch(following) else "/"
        try:
            address = self._login.begin(session)
        except NotSignedIn as error:
            return self._sorry(error, following)
        g.session = replace(session, following=following)
        return redirect(address, HTTPStatus.SEE_OTHER)

    def arrive(self) -> BaseResponse:
        """Back from the provider."""
        session: Session = g.session
        asked = request.args
        try:
            answer = self._login.finish(
                session,
                state=asked.get("state", ""),
                code=asked.get("code", ""),
                issuer=asked.get("iss"),
                address=request.remote_addr or "",
            )
        except NotSignedIn as error:
            # Whoever was led here by somebody else keeps their session; a state of ours is good for one time.
            if error.kind != "late":
                g.session, g.operator = self._login.nobody(), None
            return self._sorry(error, session.following)
        return self._signed_in(answer, session.following)

    def _signed_in(self, session: Session, following: str) -> BaseResponse:
        """On to where they wanted to go, with a session that is new."""
        g.session, g.operator = session, self._login.operator(session)
        return redirect(following if _OURS.fullmatch(following) else "/", HTTPStatus.SEE_OTHER)

    def _sorry(self, error: NotSignedIn, following: str) -> BaseResponse:
        """To the login page, which says why: no code or state stays in an address."""
        self._tell(f"somebody could not sign in: {error}")
        led = following if following not in {"", "/"} else None
        return redirect(url_for("operators.login", next=led, sorry=error.kind), HTTPStatus.SEE_OTHER)

    def _tell(self, said: str) -> None:
        if self._log_lines.allows("login", self._service.clock.monotonic()):
            log.warning("%s: %s", request_id(), said)

    def sign_out(self) -> BaseResponse:
        """End this session, and every other one of this name."""
        self._login.sign_out(g.session)
        g.session, g.operator = self._login.nobody(), None
        return redirect(url_for("operators.login"), HTTPStatus.SEE_OTHER)

    # --- looking ------------------------------------------------------------------------------------------------

    def home(self) -> Response:
        """How the inbox and the outbox do."""
        return self._page("operators/home.html", view=overview(self._service))

    def inbox(self) -> Response:
        """The last events, of one source or in one state, and what was refused."""
        names = source_names(self._service)
        source = next((name for name in names if name == request.args.get("source")), None)
        state = next((state for state in STATES if state == request.args.get("state")), None)
        show = max(1, min(request.args.get("show", EVENTS, type=int), MOST_EVENTS))
        events = self._service.journal.inbox.recent(show + 1, source=source, state=state)
        return self._page(
            "operators/inbox.html",
            names=names,
            states=STATES,
            source=source,
            state=state,
            events=events[:show],
            more=min(2 * show, MOST_EVENTS) if len(events) > show and show < MOST_EVENTS else None,
            refused=refusals(self._service),
            waiting=WAITING,
            said=DONE.get(request.args.get("did", "")),
        )

    def search(self) -> BaseResponse:
        """From what somebody knows of a person to their page; in a form's body, so that no log has an address."""
        asked = request.form.get("who", "")[:_LONGEST_ASKED]
        found = who_is(self._service.journal, self._keys, asked)
        if found is None:
            return self._said(HTTPStatus.NOT_FOUND, NOBODY)
        return redirect(url_for("operators.contact", contact_id=found), HTTPStatus.SEE_OTHER)

    def contact(self, contact_id: str) -> Response:
        """One contact's story."""
        operator: Operator = g.operator
        if not may_be_an_id(contact_id):
            return self._said(HTTPStatus.NOT_FOUND, NOBODY)
        told = portrait(self._service.journal, self._service.playbook, contact_id, sees_arms=operator.may_act)
        if not told.is_known:
            return self._said(HTTPStatus.NOT_FOUND, NOBODY)
        return self._page("operators/contact.html", view=told, words=WORDS, reasons=REASONS)

    # --- doing --------------------------------------------------------------------------------------------------

    def replay(self, number: int) -> BaseResponse:
        """Let an event wait again."""
        changed = bool(self._service.journal.inbox.replay(numbers=[number]))
        if changed:
            self._note("replay", number)
            self._service.wake()
        return self._back("replayed" if changed else "unchanged")

    def set_aside(self, number: int) -> BaseResponse:
        """Give an event up until somebody repeats it."""
        operator: Operator = g.operator
        changed = self._service.journal.inbox.set_aside(number, f"set aside by {operator.id}"[:_LONGEST_REASON])
        if changed:
            self._note("set_aside", number)
        return self._back("set-aside" if changed else "unchanged")

    def _note(self, kind: str, number: int) -> None:
        operator: Operator = g.operator
        self._service.journal.audit.append(kind, {"operator": operator.id, "event": number})

    def _back(self, did: str) -> BaseResponse:
        """To the inbox as it was filtered."""
        kept: dict[str, Any] = {
            name: request.form[name] for name in ("source", "state", "show") if request.form.get(name)
        }
        return redirect(url_for("operators.inbox", **{**kept, "did": did}), HTTPStatus.SEE_OTHER)

    # --- showing ------------------------------------------------------------------------------------------------

    def _page(self, template: str, *, status: int = HTTPStatus.OK, **values: Any) -> Response:
        return page(
            template,
            status=status,
            account=account_of(self._service),
            operator=g.get("operator"),
            form=self._login.form_token(g.session),
            now=self._service.clock.now(),
            **values,
        )

    def _login_page(self, wrong: str | None, *, status: int = HTTPStatus.OK) -> Response:
        provider, operators = self._login.provider, self._login.operators
        return self._page(
            "operators/login.html",
            status=status,
            nobody=not operators and provider is None,
            passwords=bool(operators) or provider is None,
            elsewhere=provider.host if provider is not None else None,
            wrong=wrong,
        )

    def _said(self, status: HTTPStatus, text: str) -> Response:
        """A page that only says why there is no other."""
        if not reads_pages():
            return problem(status, status.phrase.lower(), called=request_id())
        return self._page("operators/said.html", status=status, text=text, title=status.phrase)

    def failed(self, error: Exception) -> Response:
        """Something broke: a person reads a page, a machine the same as everywhere."""
        called = request_id()
        if isinstance(error, HTTPException) and error.code is not None:
            return problem(error.code, HTTPStatus(error.code).phrase.lower(), called=called)
        status, message, retry_after = failure(error, called=called)
        # Without a session no form could be made: the journal that keeps its key may be what broke.
        if not reads_pages() or g.get("session") is None:
            return problem(status, message, called=called, retry_after=retry_after)
        return self._said(HTTPStatus(status), f"That did not work: {message}. The log has more under {called}.")


NOBODY: Final = (
    "Nobody here is called that. Only people in a segment or a program, and those we heard of, are known here."
)


def _when(at: datetime | None) -> str:
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _moment(value: Any) -> str:
    """A value for a person to read, a time as times are shown."""
    return _when(value) if isinstance(value, datetime) else spelled(value)


def _lasting(lasts: timedelta | None) -> str:
    """A length of time in its largest unit, `3 h`."""
    if lasts is None:
        return "–"
    seconds = lasts.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
