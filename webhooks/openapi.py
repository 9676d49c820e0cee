"""`/openapi.json`: our HTTP surface, kept by hand; a test holds it against the routes that exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from flask import Blueprint, Response, current_app, jsonify

from webhooks.service import Service
from webhooks.triggers import ACTIONS, FIELDS

_JSON: Final = "application/json"
_ANY: Final[Mapping[str, Any]] = {"schema": {}}

_PROBLEM: Final = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
}


def _refused(*statuses: int) -> dict[str, Any]:
    words = {
        400: "It cannot be read, or calls us by another name.",
        401: "Nobody vouches for it.",
        403: "The playbook lists no such source, or no secret for it.",
        404: "There is nothing here.",
        405: "Not by this method.",
        408: "It took too long to arrive.",
        413: "It is larger than 1 MiB.",
        415: "Its body is compressed.",
        429: "Too much waits; come back after `Retry-After` seconds.",
        431: "Its headers are larger than 32 KiB.",
        503: "Not now; come back after `Retry-After` seconds.",
    }
    found: dict[str, Any] = {}
    for status in statuses:
        found[str(status)] = {
            "description": words[status],
            "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status in {429, 503}:
            found[str(status)]["headers"] = {"Retry-After": {"required": True, "schema": {"type": "integer"}}}
    return found


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1, **schema},
    }


_ALWAYS: Final = (400, 408, 413, 415, 431)
_SYSTEM: Final = _parameter("system", "a source under `webhooks.sources` of the playbook")
_TOKEN: Final = _parameter("token", "the secret last part of the address")
_BODY: Final = {
    "required": True,
    "description": "As the vendor sends it; at most 1 MiB.",
    "content": {"*/*": _ANY},
}


def _delivery(name: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": "An event, or several, from a vendor; answered once they are on disk.",
        "requestBody": _BODY,
        "responses": {
            "200": {"description": "Kept, or known before; in the vendor's own words.", "content": {"*/*": _ANY}},
            **_refused(*_ALWAYS, 401, 403, 405, 503),
        },
    }


def _looked(name: str) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": "A vendor looks whether the address is there.",
        "responses": {
            "200": {"description": "It is."},
            **{status: {"description": told["description"]} for status, told in _refused(*_ALWAYS, 403, 405).items()},
        },
    }


_ALL: Final[Mapping[str, Any]] = {
    "/webhooks/{system}": {
        "parameters": [_SYSTEM],
        "post": _delivery("deliver"),
        "head": _looked("look"),
        "get": _looked("lookByGet"),
    },
    "/webhooks/{system}/{token}": {
        "parameters": [_SYSTEM, _TOKEN],
        "post": _delivery("deliverWithToken"),
        "head": _looked("lookWithToken"),
        "get": _looked("lookWithTokenByGet"),
    },
    "/triggers/{crm}/{action}": {
        "parameters": [
            _parameter("crm", "a source under `webhooks.sources` whose workflows call us"),
            _parameter("action", f"one of {', '.join(ACTIONS)}"),
        ],
        "post": {
            "operationId": "call",
            "summary": f"A workflow asks; `evaluate` is answered with {', '.join(FIELDS)}.",
            "description": "The second call with one id gets the first one's answer, word for word. HubSpot reads a "
            "`Retry-After` in milliseconds, so it is told it in milliseconds.",
            "requestBody": _BODY,
            "responses": {
                "200": {"description": "In the CRM's own words.", "content": {"*/*": _ANY}},
                **_refused(*_ALWAYS, 401, 403, 405, 429, 503),
            },
        },
    },
    "/healthz": {
        "get": {
            "operationId": "healthz",
            "summary": "Whether the process is alive.",
            "responses": {
                "200": {
                    "description": "It is.",
                    "content": {
                        _JSON: {
                            "schema": {
                                "type": "object",
                                "required": ["status", "version"],
                                "properties": {"status": {"const": "ok"}, "version": {"type": "string"}},
                            }
                        }
                    },
                },
                **_refused(*_ALWAYS),
            },
        }
    },
    "/readyz": {
        "get": {
            "operationId": "readyz",
            "summary": "Whether it makes sense to send us something.",
            "responses": {
                status: {
                    "description": word,
                    "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Readiness"}}},
                }
                for status, word in (("200", "It does."), ("503", "Not now."))
            }
            | _refused(*_ALWAYS),
        }
    },
    "/metrics": {
        "get": {
            "operationId": "metrics",
            "summary": "Counters and depths for Prometheus.",
            "responses": {
                "200": {"description": "In its text form.", "content": {"text/plain": {"schema": {"type": "string"}}}},
                **_refused(*_ALWAYS, 503),
            },
        }
    },
    "/openapi.json": {
        "get": {
            "operationId": "openapi",
            "summary": "This document.",
            "responses": {
                "200": {"description": "OpenAPI 3.1.", "content": {_JSON: {"schema": {"type": "object"}}}},
                **_refused(*_ALWAYS),
            },
        }
    },
}
"""What every application of ours answers."""

_TEXT: Final = {"type": "string"}
_HTML: Final = {"text/html": {"schema": _TEXT}}


def _shown(description: str, status: int | None = None) -> dict[str, Any]:
    """A page for a person; where it says that something failed, a machine is told as everywhere."""
    told = _refused(status)[str(status)] if status is not None else {"content": {}}
    return {**told, "description": description, "content": {**told["content"], **_HTML}}


def _led(description: str) -> dict[str, Any]:
    """On to another page."""
    return {
        "description": description,
        "headers": {"Location": {"required": True, "schema": _TEXT}},
        "content": {"text/html": {"schema": _TEXT}},
    }


def _form(**fields: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields}
    return {
        "content": {form: {"schema": schema} for form in ("application/x-www-form-urlencoded", "multipart/form-data")}
    }


def _followed(name: str, summary: str, **more: Any) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        **more,
        "responses": {
            "200": _shown("The page, in the person's language."),
            "303": _led("Somebody came back: to a place that the playbook names."),
            "404": _shown("The one page for every link that is not good, whatever is wrong with it."),
            "429": _shown("Too often; stopping everything is never refused.", 429),
            "503": _shown("Not now; come back after `Retry-After` seconds.", 503),
            **_refused(*_ALWAYS),
        },
    }


def _without_bodies(operation: Mapping[str, Any]) -> dict[str, Any]:
    """The same by HEAD: only the head of the answer."""
    told = {
        status: {part: value for part, value in answer.items() if part != "content"}
        for status, answer in operation["responses"].items()
    }
    return {**operation, "responses": told}


_CHOICE: Final = {
    "List-Unsubscribe": {"type": "string", "description": "`One-Click`, of mail programs (RFC 8058)"},
    "choice": {"type": "string", "description": "what somebody chose; `stop` stops everything"},
    "for": {"type": "string", "description": "for how many days to be left alone"},
}

_LINKS: Final[Mapping[str, Any]] = {
    "/l/{token}": {
        "parameters": [_parameter("token", "the signed part of a link: whose it is, and what it does")],
        "get": _followed("follow", "The page with one button; looking changes nothing."),
        "head": _without_bodies(_followed("followByHead", "The same without the page.")),
        "post": _followed("press", "The button, or a mail program's one click.", requestBody=_form(**_CHOICE)),
    },
    "/style.css": {
        "get": {
            "operationId": "style",
            "summary": "How pages look.",
            "responses": {
                "200": {"description": "It may be kept.", "content": {"text/css": {"schema": _TEXT}}},
                **_refused(*_ALWAYS),
            },
        }
    },
}
"""What everybody who is written to may ask for."""


def _desk(name: str, summary: str, **more: Any) -> dict[str, Any]:
    found = {"404": _shown("Nobody and nothing here is called that.", 404)}
    return {
        "operationId": name,
        "summary": summary,
        **more,
        "responses": {
            "200": _shown("The page."),
            "303": _led("Elsewhere: to the login, back from it, or to what was done."),
            "403": _shown("The form is not one of ours, the password is wrong, or the role does not allow it.", 403),
            "429": _shown("Too often.", 429) | {"headers": {"Retry-After": {"schema": {"type": "integer"}}}},
            "503": _shown("Not now; come back after `Retry-After` seconds.", 503),
            **(found if more.get("parameters") or name == "find" else {}),
            **_refused(*_ALWAYS),
        },
    }


_OURS: Final = {"type": "string", "description": "the form's own token, from the page"}
_EVENT: Final = {
    "name": "number",
    "in": "path",
    "required": True,
    "description": "the event's number in the inbox",
    "schema": {"type": "integer", "minimum": 0},
}


def _done(name: str, summary: str) -> dict[str, Any]:
    """A button on the inbox page."""
    kept = {name: {"type": "string"} for name in ("source", "state", "show")}
    return {"post": _desk(name, summary, parameters=[_EVENT], requestBody=_form(form=_OURS, **kept))}


_DESK: Final[Mapping[str, Any]] = {
    "/": {"get": _desk("home", "How the inbox and the outbox do.")},
    "/login": {
        "get": _desk("login", "The form to sign in with."),
        "post": _desk("signIn", "A name and a password.", requestBody=_form(form=_OURS, name=_TEXT, password=_TEXT)),
    },
    "/logout": {"post": _desk("signOut", "Ends every session of this name.", requestBody=_form(form=_OURS))},
    "/inbox": {"get": _desk("inbox", "The last events.")},
    "/inbox/{number}/replay": _done("replay", "Lets an event wait again."),
    "/inbox/{number}/set-aside": _done("setAside", "Gives an event up until somebody repeats it."),
    "/search": {
        "post": _desk(
            "find", "From what somebody knows of a person to their page.", requestBody=_form(form=_OURS, who=_TEXT)
        )
    },
    "/contacts/{contact_id}": {
        "get": _desk("contact", "One contact's story.", parameters=[_parameter("contact_id", "as in hubspot:1")])
    },
}
"""What operators see; each page is for whoever is signed in, by a cookie."""

PATHS: Final[Mapping[str, Any]] = {**_ALL, **_LINKS, **_DESK}

_PROVIDER: Final[Mapping[str, Any]] = {
    "/login/oidc": {"get": _desk("leaveFor", "To the provider where one signs in.")},
    "/login/oidc/callback": {"get": _desk("arrive", "Back from there.")},
}
"""There only where the playbook names a provider."""


def as_path(rule: str) -> str:
    """A route of Flask's as the document writes it: `/l/<token>` is `/l/{token}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def document(version: str, *, routes: Iterable[str] = ()) -> dict[str, Any]:
    """The document of an application.

    routes: The rules of its pages; one that has none of them answers none of them.
    """
    there = {*_ALL, *map(as_path, routes)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "winback",
            "version": version,
            "description": "Where other systems tell winback what happened, and ask it what to do.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {path: told for path, told in {**PATHS, **_PROVIDER}.items() if path in there},
        "components": {
            "schemas": {
                "Problem": _PROBLEM,
                "Readiness": {
                    "type": "object",
                    "required": ["status", "checks"],
                    "properties": {
                        "status": {"enum": ["ready", "not ready"]},
                        "checks": {"type": "object", "additionalProperties": {"type": "boolean"}},
                    },
                },
            }
        },
    }


def blueprint(service: Service) -> Blueprint:
    """The route of the document."""
    openapi = Blueprint("openapi", __name__)

    @openapi.get("/openapi.json")
    def show() -> Response:
        """The document, as JSON."""
        return jsonify(document(service.version, routes=(rule.rule for rule in current_app.url_map.iter_rules())))

    return openapi
