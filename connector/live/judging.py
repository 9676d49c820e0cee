"""What follows from what we heard: one small function for each kind of event, settings and state in, effects out.

The effects are the same in whatever order events are heard, and however often: every one has a key of its own, of
several ends of an episode the earliest counts, and nothing is decided by what happens to have been heard before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, assert_never

from connector.heard import Answered, Asked, Heard, MailEvent, Paid, RecordChanged, RecordGone, ToFetch, Used
from connector.journal.asks import Ask
from connector.journal.facts import ENGAGEMENT, TRANSACTION, USAGE, Fact
from connector.journal.feedback import Answer
from connector.journal.outbox import Intent
from connector.journal.settlement import Settlement
from connector.journal.stops import Stop
from connector.live import survey
from connector.live.about import About, Rules, Told
from connector.live.signs import counts_as_use, left_to_the_run, signs
from connector.program import exits
from connector.program.model import ConsentEvent, Episode, Exit, Program, Status
from connector.program.suppression import about_key
from connector.reasons.codes import REASONS
from connector.rules.sql_text import FALSE_WORDS

_EVER = datetime.min.replace(tzinfo=UTC)

OURS = "winback"
"""What our own events in a product-analytics tool begin with; they are nobody's use of the product."""

EVERYTHING, PROGRAM = "everything", "program"
"""What a `leave` is of: all lists and workflows, or those of the programs alone."""

_FROM_EVERYTHING = frozenset(
    {exits.REACTIVATED, exits.LOST, "unsubscribed", "complained", "bounced", "snoozed", "erased", "deleted"}
)
"""Exits of people whom no segment's list should hold either; the next run says which of these they belong on again."""

_SAID: dict[str, tuple[Status, str]] = {
    "unsubscribe": (Status.WITHDRAWN, "unsubscribed"),
    "spam": (Status.COMPLAINED, "complained"),
    "bounce": (Status.BOUNCED, "bounced"),
}
"""Mail events that forbid mail: what the ledger says of them, and the exit."""

_ACTS = frozenset({"reply", "click"})
CRM_ROUTE = "task"
"""The route that writes into the CRM; the others are channels a message goes to."""


def judge(heard: Heard, *, told: Told, about: About, rules: Rules) -> Settlement:  # noqa: PLR0911  # one line per kind
    """Everything that follows from one event, to be settled in one commit."""
    match heard:
        case Used():
            return _used(heard, told, about, rules)
        case Paid():
            return _paid(heard, told, about, rules)
        case MailEvent():
            return _mail(heard, told, about, rules)
        case RecordChanged():
            return _changed(heard, told, about, rules)
        case RecordGone():
            return _gone(heard, told, about, rules)
        case Answered():
            return _answered(heard, told, about, rules)
        case Asked():
            return _asked(heard, told, about, rules)
        case ToFetch():
            return _to_fetch(heard, told)
        case _:
            assert_never(heard)


def together(settlements: Sequence[Settlement], *, number: int | None) -> Settlement:
    """What follows from one delivery that meant several things."""
    done = [one for one in settlements if one.state == "done"]
    parts = done or settlements
    return Settlement(
        number=number,
        effect="; ".join(dict.fromkeys(one.effect for one in parts)) or "means nothing to us",
        state="done" if done else "ignored",
        contact_id=next((one.contact_id for one in parts if one.contact_id is not None), None),
        consent=[event for one in parts for event in one.consent],
        answers=[answer for one in parts for answer in one.answers],
        facts=[fact for one in parts for fact in one.facts],
        exits=[exit_ for one in parts for exit_ in one.exits],
        stops=[stop for one in parts for stop in one.stops],
        asks=[ask for one in parts for ask in one.asks],
        intents=[intent for one in parts for intent in one.intents],
    )


# --- one kind after the other --------------------------------------------------------------------------------------


def _used(heard: Used, told: Told, about: About, rules: Rules) -> Settlement:
    if (heard.feature or "").lower().startswith(OURS):
        return _ignored("an event of our own", about)
    values = {"feature": heard.feature, "events": heard.events, "event_id": heard.event_id}
    return _happened(_Following(told, about, rules), USAGE, heard.event_id, heard.at, values)


def _paid(heard: Paid, told: Told, about: About, rules: Rules) -> Settlement:
    values = {
        "kind": heard.kind,
        "amount": heard.amount,
        "currency": heard.currency,
        "transaction_id": heard.transaction_id,
    }
    key = f"{heard.kind}:{heard.transaction_id}"
    return _happened(_Following(told, about, rules), TRANSACTION, key, heard.at, values)


def _mail(heard: MailEvent, told: Told, about: About, rules: Rules) -> Settlement:
    said = _SAID.get(heard.kind)
    if said is None and (heard.kind not in _ACTS or heard.machine):
        return _ignored("a machine's" if heard.machine else f"{heard.kind}: says nothing by itself", about)
    key = f"{heard.kind}:{heard.event_id}"
    values = {
        "kind": heard.kind,
        "campaign": heard.campaign,
        "machine": heard.machine,
        "event_id": heard.event_id,
    }
    following = _Following(told, about, rules)
    if said is None:
        return _happened(following, ENGAGEMENT, key, heard.at, values)
    following.fact(ENGAGEMENT, key, heard.at, values)
    # A CRM that says so knows it; and it may mean one kind of mail, which we do not widen there.
    _refuse(following, said, heard.at, f"{told.source}:{key}", heard.evidence, said_by=told.source)
    return following.settlement(f"{said[1]}: {following.scope}")


def _changed(heard: RecordChanged, told: Told, about: About, rules: Rules) -> Settlement:
    """An opt-out or a bounce is believed at once; all else is read again by the next run."""
    system = (heard.who.record or "").partition(":")[0]
    flag = rules.flags.get(system, {}).get(heard.name)
    if flag is None or not _is_yes(heard.value):
        return _ignored("read at the next run", about)
    kind = "unsubscribe" if flag == "opted_out" else "bounce"
    following = _Following(told, about, rules)
    key = f"{told.source}:{told.key}"
    # The CRM that says so knows it already.
    _refuse(following, _SAID[kind], heard.at, key, {"field": heard.name}, said_by=system)
    return following.settlement(f"{_SAID[kind][1]}: {following.scope}")


def _gone(heard: RecordGone, told: Told, about: About, rules: Rules) -> Settlement:
    following = _Following(told, about, rules)
    key = f"{told.source}:{told.key}"
    match heard.how:
        case "merged":
            if about.contact_id is not None:
                following.stops.append(Stop(about.contact_id, "merged", heard.at))
            return following.settlement("merged: left alone, the next run follows it")
        case "erased":
            # Whatever else was heard, and when, is forgotten: this alone is how it ended.
            following.say(Status.ERASED, heard.at, key)
            following.leave(EVERYTHING, "erased", key, urgent=True)
            following.end({"erased"}, _EVER, write=False)
            return following.settlement("erased: forgotten here")
        case _:
            # One system's record that goes says nothing about the person in another.
            if about.contact_id is None or heard.who.record != about.contact_id:
                return _ignored("read at the next run", about)
            following.end({"deleted"}, heard.at, write=False)
            return following.settlement("deleted: left")


def _answered(heard: Answered, told: Told, about: About, rules: Rules) -> Settlement:
    if about.contact_id is None or about.erased:
        return _ignored(about.why if about.contact_id is None else "erased: nothing is kept", about)
    following = _Following(told, about, rules)
    said = survey.read(heard, rules)
    following.answer(heard, said, f"{told.source}:{told.key}")
    reason = said.reason or "reason unknown"
    if not heard.complete:
        return following.settlement(f"answered so far: {reason}")
    _tell_the_crm(following, heard, said)
    if said.reason is not None:
        _follow_reason(following, heard, said.reason)
    return following.settlement(f"answered: {reason}")


def _asked(heard: Asked, told: Told, about: About, rules: Rules) -> Settlement:  # noqa: PLR0911  # one line per action
    following = _Following(told, about, rules)
    key = f"{heard.source}:{heard.key}"
    nobody = about.contact_id is None and not (heard.action == "unsubscribe" and about.addresses)
    nobody |= about.erased and heard.action == "enroll"
    if heard.callback is not None and (nobody or heard.action != "enroll"):
        following.complete(heard.callback, key, {"decision": "unknown_contact" if nobody else "done"})
    if nobody:
        return following.settlement(about.why)
    match heard.action:
        case "unsubscribe":
            _refuse(following, _SAID["unsubscribe"], heard.at, key, heard.evidence)
            return following.settlement(f"unsubscribed: {following.scope}")
        case "snooze":
            _snooze(following, heard.at, heard.at + (heard.lasts or rules.snooze), key, heard.evidence)
            return following.settlement("snoozed: left")
        case "exit":
            following.end({"manual"}, heard.at, program=heard.program)
            return following.settlement("taken out")
        case "return":
            values = {"kind": "click", "campaign": heard.evidence.get("campaign"), "machine": False, "event_id": key}
            following.fact(ENGAGEMENT, f"return:{key}", heard.at, values)
            following.end({exits.REACTIVATED}, heard.at, answered=True)
            return following.settlement("came back")
        case "enroll":
            assert about.contact_id is not None
            following.asks.append(
                Ask(
                    key=key,
                    contact_id=about.contact_id,
                    program=heard.program,
                    at=heard.at,
                    source=heard.source,
                    callback=heard.callback,
                )
            )
            return following.settlement("to be entered: the next run decides")
        case _:
            return _ignored(f"nobody knows how to {heard.action}", about)


def _to_fetch(heard: ToFetch, told: Told) -> Settlement:
    payload = {"source": heard.source, "survey": heard.survey, "responses": list(heard.responses)}
    intent = Intent(key=f"fetch:{told.source}:{told.key}", kind="fetch", payload=payload)
    return Settlement(effect="to be asked for", intents=[intent])


# --- what several of them have in common ---------------------------------------------------------------------------


@dataclass(slots=True)
class _Following:
    """What follows, as it is put together."""

    told: Told
    about: About
    rules: Rules
    consent: list[ConsentEvent] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    stops: list[Stop] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)

    @property
    def scope(self) -> str:
        """About whom the ledger has learned something."""
        if self.about.contact_id is None:
            return "the address alone" if self.about.addresses else "nobody we know"
        return "the contact and the address" if self.about.addresses else "the contact"

    def settlement(self, effect: str) -> Settlement:
        """All of it."""
        nothing = not any(
            (self.consent, self.answers, self.facts, self.exits, self.stops, self.asks, self.intents),
        )
        return Settlement(
            effect=effect,
            state="ignored" if nothing else "done",
            contact_id=self.about.contact_id,
            consent=self.consent,
            answers=self.answers,
            facts=self.facts,
            exits=self.exits,
            stops=self.stops,
            asks=self.asks,
            intents=self.intents,
        )

    def fact(self, kind: str, key: str, at: datetime, values: dict[str, Any]) -> Fact | None:
        """Something that happened, for the warehouse; nothing of somebody who is to be forgotten or cannot be told."""
        who_kind, who = self.about.who
        if self.about.erased or who_kind == "nobody":
            return None
        fact = Fact(
            key=f"{kind}:{self.told.source}:{key}",
            kind=kind,
            who_kind=who_kind,
            who=who,
            contact_id=self.about.contact_id,
            at=at,
            source=self.told.source,
            values=values,
        )
        self.facts.append(fact)
        return fact

    def say(
        self,
        status: Status,
        at: datetime,
        key: str,
        *,
        evidence: Any = None,
        expires_at: datetime | None = None,
    ) -> None:
        """A line of the ledger about the contact, and about each address of the person."""
        about = self.about
        event = ConsentEvent(
            subject=about.contact_id or (about.addresses[0] if about.addresses else ""),
            status=status,
            captured_at=at,
            source=self.told.source,
            event_key=f"{key}:{status.value}",
            evidence=dict(evidence or {}),
            expires_at=expires_at,
        )
        if about.contact_id is not None:
            self.consent.append(event)
        self.consent += [about_key(event, address) for address in about.addresses]

    def end(
        self,
        codes: Iterable[str],
        at: datetime,
        *,
        program: str | None = None,
        answered: bool = False,
        write: bool = True,
    ) -> None:
        """End the contact's episodes for the first of these codes that counts in their program.

        An opt-out from before an entry ends the episode at its entry: they should not have been entered.
        """
        for episode in self.about.current:
            if program is not None and episode.program != program:
                continue
            settings = self.rules.program(episode.program)
            given = set(codes)
            reason = exits.first(given, settings) if settings is not None else next(iter(sorted(given)))
            if reason is None and "snoozed" in given:
                reason = exits.LOST
            if reason is not None:
                self.exit(episode, reason, max(at, episode.entered_at), answered=answered, write=write)

    def exit(self, episode: Episode, reason: str, at: datetime, *, answered: bool, write: bool = True) -> None:
        """End one episode, and take the contact off what it put them on."""
        self.exits.append(Exit(episode.episode_id, episode.contact_id, reason, at, answered=answered))
        self.stops.append(Stop(episode.contact_id, reason, at))
        if write and not episode.held_out:
            scope = EVERYTHING if reason in _FROM_EVERYTHING else PROGRAM
            self.leave(scope, reason, episode.episode_id)

    def leave(self, scope: str, reason: str, key: str, *, urgent: bool = False) -> None:
        """Take the contact off lists and out of workflows."""
        self.write("leave", f"leave:{scope}:{reason}:{key}", {"reason": reason, "of": scope}, urgent=urgent)

    def write(self, kind: str, key: str, payload: dict[str, Any], *, urgent: bool = False) -> None:
        """Something for the CRM, unless nobody is known there, or they are left alone to be measured.

        Of several, for each that may know them; a task, which is somebody's to do once, for the one that works them.
        """
        contact_id = self.about.contact_id
        if contact_id is None or self.about.held_out:
            return
        whole = Intent(key=key, kind=kind, payload=payload, contact_id=contact_id, urgent=urgent)
        there = self.rules.destinations
        if kind == "task":
            there = {name: system for name, system in there.items() if contact_id.startswith(f"{system}:")}
        self.intents += _for_each(whole, there)

    def opt_out(self, key: str, *, said_by: str) -> None:
        """Unsubscribe the contact in the CRM: the only thing that is written about everybody, held out or not.

        said_by: The system that says so: it knows. Of several CRMs each is told once: our own word that comes back, or
            another no of somebody who has said no before, is no news.
        """
        several = self.rules.destinations
        told = self.about.refused if several else said_by == self.rules.system
        if self.about.contact_id is None or told:
            return
        whole = Intent(key=f"opt_out:{key}", kind="opt_out", payload={}, contact_id=self.about.contact_id, urgent=True)
        there = {name: system for name, system in several.items() if system != said_by}
        self.intents += _for_each(whole, there) if several else [whole]

    def complete(self, callback: str, key: str, fields: dict[str, str]) -> None:
        """Let a workflow that waits go on."""
        payload = {"callback": callback, "fields": fields}
        whose = next((name for name, system in self.rules.destinations.items() if system == self.told.source), None)
        self.intents.append(Intent(key=f"complete:{key}", kind="complete", payload=payload, destination=whose))

    def answer(self, heard: Answered, said: survey.Said, key: str) -> None:
        """Keep what was answered; a later word on the same response replaces it."""
        assert self.about.contact_id is not None
        self.answers.append(
            Answer(
                answer_key=key,
                contact_id=self.about.contact_id,
                at=heard.at,
                source=heard.source,
                reason=said.reason,
                score=said.score,
                survey=heard.survey,
                response=heard.response,
                text=said.text if self.rules.keep_text else None,
                choices=said.choices,
                confidence=said.confidence,
                complete=heard.complete,
                language=heard.language,
            )
        )


def _for_each(whole: Intent, destinations: Iterable[str]) -> list[Intent]:
    """An intent for each of these; as it is where there is one CRM, which none is named for."""
    return [replace(whole, key=f"{whole.key}:{name}", destination=name) for name in destinations] or [whole]


def _ignored(effect: str, about: About) -> Settlement:
    return Settlement(effect=effect, state="ignored", contact_id=about.contact_id)


def _happened(following: _Following, kind: str, key: str, at: datetime, values: dict[str, Any]) -> Settlement:
    """A fact is kept, and may be the sign that ends an episode."""
    about = following.about
    fact = following.fact(kind, key, at, values)
    if fact is None:
        return _ignored("erased: nothing is kept" if about.erased else about.why, about)
    if about.contact_id is None:
        return following.settlement(f"kept for the next run: {about.why}")
    effects = [_by_sign(following, fact, episode) for episode in about.current] if about.weigh else []
    return following.settlement("; ".join(dict.fromkeys(effect for effect in effects if effect)) or "kept")


def _by_sign(following: _Following, fact: Fact, episode: Episode) -> str:
    """What the facts so far mean for one episode: its end, or nothing yet."""
    about, rules = following.about, following.rules
    program = rules.program(episode.program)
    if program is None or fact.at <= episode.entered_at:
        return ""
    heard = {one.key: one for one in (fact, *about.facts)}
    found = signs(program, episode, about.published, heard.values(), rules)
    for sign in found:
        following.exit(episode, sign.reason, sign.at, answered=sign.reason in exits.ANSWERS)
    if found:
        return f"left {program.name}: {found[0].reason}"
    if fact.kind == USAGE and counts_as_use(fact, rules) and (unknown := left_to_the_run(program)):
        return f"left to the next run: {program.name} asks for {', '.join(unknown)}"
    return ""


def _refuse(
    following: _Following, said: tuple[Status, str], at: datetime, key: str, evidence: Any, *, said_by: str = ""
) -> None:
    """Somebody may not be mailed from now on: the ledger, the CRM, every list and every episode hear of it.

    said_by: The system that says so, where it is one.
    """
    status, reason = said
    following.say(status, at, key, evidence=evidence)
    refused = status is not Status.BOUNCED
    if refused:
        following.opt_out(key, said_by=said_by)
    following.leave(EVERYTHING, reason, key, urgent=refused)
    following.end({reason}, at, write=False)


def _snooze(following: _Following, at: datetime, until: datetime, key: str, evidence: Any = None) -> None:
    following.say(Status.SNOOZED, at, key, evidence=evidence, expires_at=until)
    following.leave(EVERYTHING, "snoozed", key)
    following.end({"snoozed"}, at, write=False)


# --- answers -------------------------------------------------------------------------------------------------------


def _tell_the_crm(following: _Following, heard: Answered, said: survey.Said) -> None:
    """The reason as a property, when it is the newest, and the answer as a note; no word of the person's own."""
    key = f"{heard.source}:{heard.survey}:{heard.response}:{heard.at.isoformat()}"
    newest = following.about.answered
    if said.reason is not None and (newest is None or (heard.at, following.answers[0].answer_key) >= newest):
        following.write("set", f"set:{key}", {"values": {following.rules.reason_property: said.reason}})
    if said.reason is not None or said.score is not None:
        payload = {
            "reason": said.reason,
            "survey": heard.survey,
            "score": said.score,
            "at": heard.at.isoformat(),
        }
        following.write("feedback", f"feedback:{key}", payload)


def _follow_reason(following: _Following, heard: Answered, reason: str) -> None:
    """What the playbook says about this reason, in the program they are in, or were in last."""
    program = _program_of(following.about, following.rules)
    rule = None if program is None else program.reasons.get(reason)
    if program is None or rule is None:
        return
    key = f"{heard.source}:{heard.survey}:{heard.response}:{reason}"
    if rule.exit:
        for episode in following.about.current:
            if episode.program == program.name and heard.at > episode.entered_at:
                following.exit(episode, BY_REASON, heard.at, answered=True)
    if rule.snooze is not None:
        _snooze(following, heard.at, heard.at + rule.snooze, f"{key}:{heard.at.isoformat()}", {"reason": reason})
    said = f"{REASONS[reason]}: an answer in the survey {heard.survey}, program {program.name}"
    for route in rule.route:
        if route == CRM_ROUTE:
            following.write("task", f"task:{key}", {"reason": reason, "text": f"{said}."})
        elif not following.about.held_out:
            text = f"{said}. Who it was, the CRM knows."
            payload = {"channel": route, "text": text}
            following.intents.append(Intent(key=f"tell:{route}:{key}", kind="tell", payload=payload))


def _program_of(about: About, rules: Rules) -> Program | None:
    """The program somebody is in, else the one they were in last."""
    is_open = [episode for episode in about.episodes if episode.open]
    newest = next(iter(is_open or about.episodes), None)
    return None if newest is None else rules.program(newest.program)


BY_REASON = "replied"
"""The exit of somebody whose reason ends the program: an answer, by a survey instead of a mail."""


def _is_yes(value: str | None) -> bool:
    """Whether a property's value says so: `true`, a date, a bounce's reason; not an empty one or a plain no."""
    return bool(value) and value is not None and value.strip().casefold() not in FALSE_WORDS


__all__ = ["EVERYTHING", "OURS", "PROGRAM", "judge", "together"]
