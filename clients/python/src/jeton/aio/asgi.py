"""The guard as middleware of ASGI: FastAPI, Starlette, Django and others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from .. import _judging
from .._judging import Refused, verdict_of_call
from .._types import Verdict
from .guard import Guard


class GuardMiddleware:
    """Lets through what the guard lets through; the verdict is `scope["jeton.verdict"]`, and `current_verdict()`.

    `except_for` of the guard names paths. Websockets are judged, too. A certificate of the peer is seen if the server
    gives the extension `tls` of ASGI.
    """

    def __init__(self, app: Any, guard: Guard, scopes: Iterable[str] = ()) -> None:
        self._app, self._guard, self._scopes = app, guard, tuple(scopes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket") or scope.get("path") in self._guard.rules.except_for:
            await self._app(scope, receive, send)
            return
        begun = False

        async def noted(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            values = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"]
            token, thumbprint = _judging.bearer(values), _peer(scope)

            async def again() -> Verdict:
                return await self._guard.judge(token, scopes=self._scopes, certificate_thumbprint=thumbprint)

            found = await again()
            verdict_of_call.set(found)
            inner = {**scope, "jeton.verdict": found}
            await self._guard.watch(found, again, self._app(inner, receive, noted))
        except Refused as refused:
            await _answer(scope, send, refused, begun)


def _peer(scope: Any) -> str:
    chain = (scope.get("extensions") or {}).get("tls", {}).get("client_cert_chain") or ()
    import ssl

    for pem in chain:
        return _judging.thumbprint(ssl.PEM_cert_to_DER_cert(pem))
    return ""


async def _answer(scope: Any, send: Any, refused: Refused, begun: bool) -> None:
    if scope["type"] == "websocket":
        code = 1013 if refused.reason == "NO_VERDICT" else 1008  # try again later; policy violation
        await send({"type": "websocket.close", "code": code, "reason": refused.message})
        return
    if begun:
        raise ConnectionAbortedError(refused.message)  # the status is sent already: the server breaks the connection
    status, headers, body = refused.http()
    told = json.dumps(body).encode()
    lines = [*headers, ("content-type", "application/json"), ("content-length", str(len(told)))]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": told})
