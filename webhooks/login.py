"""Signing in: who somebody is, for how long, and that a form they send is one we gave them.

A session is a signed cookie and nothing else, so that any of several processes can read it. What it may do is asked of
the playbook at every request; signing out is kept in the journal, so that a copy of the cookie is worth nothing after.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from itsdangerous import BadData, URLSafeSerializer

from connector.settings.webhook_blocks import OperatorBlock
from webhooks.oidc import CALLBACK, NotSignedIn, Provider, role_of

if TYPE_CHECKING:
    from flask import Request, Response

    from connector.journal import Journal
    from webhooks.service import Service

log = logging.getLogger("webhooks")

VIEWER, OPERATOR = "viewer", "operator"

IDLE: Final = timedelta(minutes=30)
"""How long a session lasts without a request."""

ABSOLUTE: Final = timedelta(hours=12)
"""How long it lasts in any case."""

NAME_TRIES: Final = 5
ADDRESS_TRIES: Final = 20
"""Wrong passwords for a name, and from an address, before one has to wait: twice as long after each further one."""

LONGEST_WAIT: Final = timedelta(minutes=15)
_MOST_REMEMBERED: Final = 10_000
_LONGEST_PASSWORD: Final = 1_024
_LONGEST_NAME: Final = 200
_HASHING_AT_ONCE: Final = 2
"""A check takes some 64 MiB and a core for a moment, whoever asks for it."""

AWAY: Final = timedelta(minutes=10)
"""How long somebody may take at the provider."""

_LONGEST_SHOWN: Final = 80
_SESSION, _FORM, _STATE = "winback.session.v1", "winback.form.v1", "winback.state.v1"
_PROVIDERS: Final = "oidc:"
"""How names of those begin whom the provider knows; no operator of the playbook is called so."""

_OURS: Final = "webhooks.operators"
"""In the journal's cursors: since when the sessions of a name are over."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody's browser, signed in or not.

    sid: Made anew at every login. who: The operator's name; None before signing in. proof: Of the password they signed
    in with, so that a new one ends the session. role, shown: Of somebody whom the provider signed in, what they may do
    and what they are called there; the playbook's own are asked of it. following: Where signing in leads on to.
    """

    sid: str
    who: str | None
    began_at: datetime
    seen_at: datetime
    proof: str = ""
    role: str = ""
    shown: str = ""
    following: str = ""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who is signed in.

    name: What they are called. id: What is written down of what they do.
    """

    name: str
    role: str
    id: str

    @property
    def may_act(self) -> bool:
        """Whether they may change anything, and see who is measured."""
        return self.role == OPERATOR


class Login:
    """Sessions, passwords and forms of the operators.

    Args:
        service: The playbook's operators, the journal's keys, the clock.
    """

    def __init__(self, service: Service) -> None:
        settings = service.playbook.webhooks if service.playbook is not None else None
        self.operators: Mapping[str, OperatorBlock] = settings.operators if settings is not None else {}
        self.provider: Provider | None = None
        if settings is not None and settings.oidc is not None:
            back = settings.public_base_url.rstrip("/") + CALLBACK
            self.provider = Provider(settings.oidc, redirect_uri=back, clock=service.clock)
        self._journal: Journal = service.journal
        self._now = service.clock.now
        self._https = service.https
        self.cookie = "__Host-winback" if service.https else "winback"
        self._names = Tries(NAME_TRIES)
        self._addresses = Tries(ADDRESS_TRIES)
        self._hashing = threading.BoundedSemaphore(_HASHING_AT_ONCE)
        self._nobodys = self._hash_of_nobody()

    # --- sessions -----------------------------------------------------------------------------------------------

    def session(self, request: Request) -> Session:
        """The browser's session; a fresh one, signed in as nobody, where it has none or an old one."""
        now, fresh = self._now(), self.nobody()
        session = self._read(request.cookies.get(self.cookie, ""))
        if session is None or now - session.seen_at >= IDLE or now - session.began_at >= ABSOLUTE:
            return fresh
        if session.who is not None and (self._proof_of(session) != session.proof or self._is_over(session)):
            return fresh
        return replace(session, seen_at=now)

    def nobody(self) -> Session:
        """A session of somebody who is not signed in."""
        now = self._now()
        return Session(secrets.token_urlsafe(18), None, now, now)

    def operator(self, session: Session) -> Operator | None:
        """Who is signed in, with the role the playbook gives them now."""
        if session.who is None:
            return None
        if session.who.startswith(_PROVIDERS):
            return None if self.provider is None else Operator(session.shown, session.role, session.who)
        block = self.operators.get(session.who)
        return None if block is None else Operator(session.who, block.role, session.who)

    def keep(self, response: Response, session: Session) -> None:
        """Give the browser its session."""
        told = {
            "sid": session.sid,
            "who": session.who,
            "began": session.began_at.timestamp(),
            "seen": session.seen_at.timestamp(),
            "proof": session.proof,
            "role": session.role,
            "shown": session.shown,
            "following": session.following,
        }
        response.set_cookie(
            self.cookie,
            self._signer(_SESSION).dumps(told),
            max_age=int(ABSOLUTE.total_seconds()),
            path="/",
            secure=self._https,
            httponly=True,
            samesite="Lax",
        )

    def sign_in(self, name: str, password: str, address: str) -> Session | float | None:
        """A session of this operator; seconds to wait, when too many were wrong; None when this one is wrong.

        A name nobody has takes as long as one that somebody has.
        """
        now, name = self._now(), name[:_LONGEST_NAME]
        wait = max(self._names.wait(name, now), self._addresses.wait(address, now))
        if wait > 0:
            return wait
        if not self._hashing.acquire(timeout=1):
            return 1.0
        try:
            good = self._is_password(name, password)
        finally:
            self._hashing.release()
        if not good:
            self._names.failed(name, now)
            self._addresses.failed(address, now)
            return None
        self._names.forget(name)
        self._journal.audit.append("login", {"operator": name, "role": self.operators[name].role})
        return Session(secrets.token_urlsafe(18), name, now, now, self._proof(name))

    def begin(self, session: Session) -> str:
        """Where this browser goes to sign in at the provider.

        Raises:
            NotSignedIn: The provider does not answer, or is not the one it should be.
        """
        now = self._now()
        state = self._signer(_STATE).dumps({"sid": self._mark("sid", session.sid), "at": now.timestamp()})
        # Made from the state and our key: any of several processes can take up what another one began.
        return self._there().address(
            state=state, nonce=self._mark("nonce", state), verifier=self._mark("verifier", state)
        )

    def finish(self, session: Session, *, state: str, code: str, issuer: str | None, address: str) -> Session:
        """A session of whoever comes back from the provider.

        Args:
            session: The browser's until now.
            state: What they were sent there with.
            code: What the provider gave them.
            issuer: Who sent them, where the provider says so (RFC 9207).
            address: Where they call from.

        Raises:
            NotSignedIn: They did not begin here, are nobody the playbook names, or the provider vouches for nobody.
        """
        now, provider = self._now(), self._there()
        if not self._is_our_state(session, state, now):
            raise NotSignedIn("late", "somebody came back who did not begin here, or a while ago")
        if self._addresses.wait(address, now) > 0:
            raise NotSignedIn("busy", "too often from one address")
        try:
            if issuer is not None:
                provider.must_be(issuer)
            claims, role = self._vouched(provider, state, code)
        except NotSignedIn as error:
            if error.kind in {"refused", "untrue", "role"}:
                self._addresses.failed(address, now)
            raise
        sub = str(claims["sub"])
        # What is written down names no address; where the provider's own id is one, a mark stands for it.
        who = _PROVIDERS + (sub if "@" not in sub else self._mark("sub", sub)[:16])
        shown = next((said for name in ("name", "email") if isinstance(said := claims.get(name), str) and said), who)
        self._journal.audit.append("login", {"operator": who, "role": role, "by": provider.host})
        return Session(secrets.token_urlsafe(18), who, now, now, self._proof_of_provider, role, shown[:_LONGEST_SHOWN])

    def _vouched(self, provider: Provider, state: str, code: str) -> tuple[Mapping[str, Any], str]:
        """What the provider says of whoever brought this code, and the role that gives them."""
        if not code:
            raise NotSignedIn("refused", f"{provider.host} sent somebody back without a code")
        claims = provider.claims(code, nonce=self._mark("nonce", state), verifier=self._mark("verifier", state))
        role = role_of(provider.block.roles, claims)
        if role is None:
            raise NotSignedIn("role", f"{provider.host} knows somebody whom webhooks.oidc.roles does not")
        return claims, role

    def _there(self) -> Provider:
        if self.provider is None:
            raise NotSignedIn("late", "the playbook has no webhooks.oidc")
        return self.provider

    def _is_our_state(self, session: Session, state: str, now: datetime) -> bool:
        """Whether this very browser was sent to the provider, a moment ago."""
        try:
            told = self._signer(_STATE).loads(state)
        except (BadData, ValueError):
            return False
        ours = hmac.compare_digest(told["sid"], self._mark("sid", session.sid))
        return ours and now - datetime.fromtimestamp(told["at"], UTC) < AWAY

    def _mark(self, what: str, of: str) -> str:
        """Letters that only we can make from others, and that tell nothing of them."""
        made = hmac.digest(self._key, f"oidc:{what}:{of}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(made).decode().rstrip("=")

    def sign_out(self, session: Session) -> None:
        """End every session this operator has begun until now, wherever."""
        if session.who is None:
            return
        now = self._now()
        over = {"before": now.timestamp(), "sid": session.sid}
        self._journal.cursors.save(_OURS, session.who, over, now)
        self._journal.audit.append("logout", {"operator": session.who})

    def _read(self, cookie: str) -> Session | None:
        try:
            told = self._signer(_SESSION).loads(cookie)
        except (BadData, ValueError):
            return None
        began, seen = (datetime.fromtimestamp(told[part], UTC) for part in ("began", "seen"))
        more = (str(told.get(part, "")) for part in ("role", "shown", "following"))
        return Session(told["sid"], told["who"], began, seen, told["proof"], *more)

    def _is_over(self, session: Session) -> bool:
        over: Mapping[str, Any] | None = self._journal.cursors.load(_OURS, session.who or "")
        return over is not None and (session.began_at.timestamp() < over["before"] or session.sid == over["sid"])

    # --- passwords ----------------------------------------------------------------------------------------------

    def _is_password(self, name: str, password: str) -> bool:
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        block = self.operators.get(name)
        known = block.password.get_secret_value() if block is not None else self._nobodys
        try:
            PasswordHasher().verify(known, password[:_LONGEST_PASSWORD])
        except InvalidHashError:
            log.warning("webhooks.operators: the password of an operator is not an argon2 hash")
            return False
        except Argon2Error:
            return False
        return block is not None and len(password) <= _LONGEST_PASSWORD

    def _hash_of_nobody(self) -> str:
        """A hash that takes as long to check as the operators' own: made with the numbers of one of theirs."""
        from argon2 import PasswordHasher, extract_parameters
        from argon2.exceptions import InvalidHashError

        hasher = PasswordHasher()
        for block in self.operators.values():
            try:
                given = extract_parameters(block.password.get_secret_value())
            except InvalidHashError:
                continue
            hasher = PasswordHasher(given.time_cost, given.memory_cost, given.parallelism, given.hash_len)
            break
        return hasher.hash(secrets.token_hex(16))

    def _proof_of(self, session: Session) -> str:
        who = session.who or ""
        return self._proof_of_provider if who.startswith(_PROVIDERS) else self._proof(who)

    @cached_property
    def _proof_of_provider(self) -> str:
        """A few letters that change with whatever the playbook says of the provider and of who may do what."""
        if self.provider is None:
            return ""
        block = self.provider.block.model_dump(mode="json", exclude={"client_secret", "scopes"})
        said = b"oidc:" + json.dumps(block, sort_keys=True).encode()
        return hmac.digest(self._key, said, hashlib.sha256).hex()[:24]

    def _proof(self, name: str) -> str:
        """A few letters that change with the password's hash."""
        block = self.operators.get(name)
        if block is None:
            return ""
        hashed = block.password.get_secret_value().encode()
        return hmac.digest(self._key, b"password:" + hashed, hashlib.sha256).hex()[:24]

    # --- forms --------------------------------------------------------------------------------------------------

    def form_token(self, session: Session) -> str:
        """What a form of this session carries."""
        return self._signer(_FORM).dumps(session.sid)

    def is_our_form(self, session: Session, token: str | None) -> bool:
        """Whether a form came from a page of this session."""
        try:
            sid = self._signer(_FORM).loads(token or "")
        except (BadData, ValueError):
            return False
        return isinstance(sid, str) and hmac.compare_digest(sid.encode(), session.sid.encode())

    @cached_property
    def _key(self) -> bytes:
        return self._journal.keys.get_or_make("sessions")

    def _signer(self, salt: str) -> URLSafeSerializer:
        # itsdangerous 2.2 signs with SHA-1 and a plain hash of the key unless told otherwise.
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeSerializer(self._key, salt=salt, signer_kwargs=how)


class Tries:
    """Wrong passwords by key: after so many one waits, twice as long after each; an hour without any forgives."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._wrong: OrderedDict[str, tuple[int, datetime]] = OrderedDict()
        self._turn = threading.Lock()

    def wait(self, key: str, now: datetime) -> float:
        """Seconds until the next try is looked at; 0: now."""
        with self._turn:
            wrong, last = self._wrong.get(key, (0, now))
        if wrong < self._free:
            return 0.0
        pause = min(timedelta(seconds=2.0 ** min(wrong - self._free, 20)), LONGEST_WAIT)
        return max(0.0, (last + pause - now).total_seconds())

    def failed(self, key: str, now: datetime) -> None:
        """One more."""
        with self._turn:
            wrong, last = self._wrong.pop(key, (0, now))
            self._wrong[key] = (1 if now - last > timedelta(hours=1) else wrong + 1, now)
            if len(self._wrong) > _MOST_REMEMBERED:
                self._wrong.popitem(last=False)

    def forget(self, key: str) -> None:
        """A right one."""
        with self._turn:
            self._wrong.pop(key, None)
