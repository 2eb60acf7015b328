"""The guard as middleware of WSGI: Flask, Django and others that block."""

from __future__ import annotations

import http
import json
from collections.abc import Callable, Iterable
from typing import Any

from . import _judging
from ._judging import Refused, verdict_of_call
from .guard import Guard


class GuardMiddleware:
    """Lets through what the guard lets through; the verdict is `environ["jeton.verdict"]`, and `current_verdict()`.

    A WSGI server shows no certificate of the peer, so a bound token is refused. An answer that streams is judged once.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]], guard: Guard, scopes: Iterable[str] = ()) -> None:
        self._app, self._guard, self._scopes = app, guard, tuple(scopes)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in self._guard.rules.except_for:
            return self._app(environ, start_response)
        try:
            # WSGI joins headers of one name by commas, which no token has.
            values = environ.get("HTTP_AUTHORIZATION", "").split(",")
            found = self._guard.judge(_judging.bearer(values), scopes=self._scopes)
        except Refused as refused:
            status, headers, body = refused.http()
            told = json.dumps(body).encode()
            lines = [*headers, ("content-type", "application/json"), ("content-length", str(len(told)))]
            start_response(f"{status} {http.HTTPStatus(status).phrase}", lines)
            return [told]
        verdict_of_call.set(found)
        return self._app({**environ, "jeton.verdict": found}, start_response)
