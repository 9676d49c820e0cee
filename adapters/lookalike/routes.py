"""A Flask application that reads its addresses once a process.

Werkzeug compiles two functions for every address, which for a vendor's whole API takes a fifth of a second: long for a
test that has a sandbox of its own, and there are thousands of them.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from flask import Flask
from flask.typing import RouteCallable
from werkzeug.routing import Map

_GUARD: Final = threading.Lock()
_READ: Final[dict[str, tuple[Map, set[tuple[str, str]]]]] = {}


class LookalikeApp(Flask):
    """An application whose addresses another one of the same name may have read already; what answers is its own.

    Args:
        name: Whose addresses these are: applications of one name have to offer the same ones.
        merge_slashes: Whether two slashes in an address are taken for one.
    """

    def __init__(self, name: str, *, merge_slashes: bool = True) -> None:
        super().__init__(name, static_folder=None)
        self.config["PROPAGATE_EXCEPTIONS"] = True
        with _GUARD:
            fresh = Map(strict_slashes=False, merge_slashes=merge_slashes)
            self.url_map, self._read = _READ.setdefault(name, (fresh, set()))

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: RouteCallable | None = None,
        provide_automatic_options: bool | None = None,  # noqa: FBT001 - as Flask has it
        **options: Any,
    ) -> None:
        """As Flask's; needs an endpoint and what answers it."""
        if endpoint is None or view_func is None:
            raise TypeError(f"{rule}: name the endpoint and what answers it")
        with _GUARD:
            if (rule, endpoint) in self._read:
                self.view_functions[endpoint] = view_func
                return
            super().add_url_rule(rule, endpoint, view_func, provide_automatic_options, **options)
            self._read.add((rule, endpoint))
