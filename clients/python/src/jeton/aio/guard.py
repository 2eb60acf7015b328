"""The guard of servers on asyncio: interceptor of `grpc.aio` servers; `GuardMiddleware` for ASGI stands on it."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from .. import _judging, _requests
from .._judging import Complaints, Refused, Rules, Watch, no_verdict, verdict_of_call
from .._pipeline import Broken, Full
from .._secret import Secret
from .._types import Verdict
from ..errors import JetonError
from ..guard import authorizations
from ._batch import Batches
from ._pipeline import Pipeline
from .client import Client


class Guard:
    """Judges the token of each call. `audiences` and `mode` are those of `jeton.Guard`."""

    def __init__(
        self,
        client: Client,
        audiences: Iterable[str] = (),
        *,
        scopes: Iterable[str] = (),
        mode: str = "batch",
        deadline: float = _judging.DEADLINE_S,
        recheck: float = _judging.RECHECK_S,
        max_waiting: int = _judging.WAITING_MAX,
        except_for: Iterable[str] = (),
    ) -> None:
        self.rules = Rules.of(audiences, scopes, mode, deadline, recheck, max_waiting, except_for)
        self._client = client
        self._complaints = Complaints()
        self._pipeline = Pipeline(client, max_waiting) if mode == "stream" else None
        self._batches = Batches(client, max_waiting) if mode == "batch" else None

    async def judge(
        self, token: str | Secret, *, scopes: Iterable[str] = (), certificate_thumbprint: str = ""
    ) -> Verdict:
        """Returns the verdict of a token that passes. Raises `Refused`, which says what to answer."""
        text = token if isinstance(token, str) else token.reveal()
        _judging.check(text)
        needed = (*self.rules.scopes, *scopes) if scopes else self.rules.scopes
        request = _requests.of_guard(text, self.rules.audiences, needed, certificate_thumbprint)
        try:
            if self._pipeline is not None:
                told = await self._by_stream(self._pipeline, request)
            elif self._batches is not None:
                told = await self._batches.ask(request, self.rules.deadline)
            else:
                answer = await self._client._ask("Validate", request, self.rules.deadline)  # noqa: SLF001
                told = answer.verdict
        except Full as error:
            raise no_verdict() from error
        except JetonError as error:
            self._complaints.note(error)
            raise no_verdict() from error
        found = Verdict(told)
        return found if found.status == "ACTIVE" else _judging.hold(found, needed)

    async def _by_stream(self, pipeline: Pipeline, request: Any) -> Any:
        end = time.monotonic() + self.rules.deadline
        try:
            try:
                # Its place in the order is kept when the time is over.
                asked = pipeline.ask(request)
                timer = asyncio.get_running_loop().call_later(self.rules.deadline, _be_late, asked)
                try:
                    return await asked
                finally:
                    timer.cancel()
            except Broken:
                pipeline.elsewhere(1)
        except asyncio.TimeoutError as error:
            pipeline.late(self.rules.deadline)
            raise no_verdict() from error
        try:
            left = max(end - time.monotonic(), 0.001)
            return (await self._client._ask("Validate", request, left)).verdict  # noqa: SLF001
        finally:
            pipeline.elsewhere(-1)

    async def watch(self, found: Verdict, again: Callable[[], Awaitable[Verdict]], work: Awaitable[Any]) -> Any:
        """Awaits `work`, a long call that `found` let in, and judges it again at its intervals.

        Raises `Refused` when it must end; then `work` is cancelled.
        """
        plan = Watch(self.rules, found, time.monotonic())
        task = asyncio.ensure_future(work)
        try:
            while True:
                left = min(max(plan.at - time.monotonic(), 0.0), 3600.0)
                done, _ = await asyncio.wait({task}, timeout=left)
                if done:
                    return task.result()
                if time.monotonic() < plan.at:
                    continue
                try:
                    plan.planned(await again(), time.monotonic())
                except Refused as refused:
                    if refused.reason != "NO_VERDICT" or plan.missed(time.monotonic()):
                        raise
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def interceptor(self, scopes: Callable[[str], Iterable[str]] | None = None) -> grpc.aio.ServerInterceptor:
        """For `grpc.aio.server(interceptors=[…])`. Handlers must be `async`.

        `scopes` gets the full name of a method, as `/acme.v1.Orders/Cancel`, and returns the scopes that it needs
        besides those of the guard.
        """
        return _Interceptor(self, scopes)

    async def close(self) -> None:
        """Ends what asks for verdicts."""
        if self._pipeline is not None:
            await self._pipeline.close()
        if self._batches is not None:
            await self._batches.close()

    def __repr__(self) -> str:
        return f"<jeton.aio.Guard for {', '.join(self.rules.audiences) or 'its own audiences'}>"

    async def __aenter__(self) -> Guard:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _be_late(asked: asyncio.Future[Any]) -> None:
    if not asked.done():
        asked.set_exception(asyncio.TimeoutError())


class _Interceptor(grpc.aio.ServerInterceptor):
    def __init__(self, guard: Guard, scopes: Callable[[str], Iterable[str]] | None) -> None:
        self._guard = guard
        self._scopes = scopes

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method in self._guard.rules.except_for:
            return handler
        scopes = () if self._scopes is None else tuple(self._scopes(handler_call_details.method))
        guarded = _Guarded(self._guard, handler, scopes)
        coders = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(guarded.unary, **coders)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(guarded.stream, **coders)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(guarded.long_unary, **coders)
        return grpc.stream_stream_rpc_method_handler(guarded.stream, **coders)


class _Guarded:
    """One handler behind a guard."""

    def __init__(self, guard: Guard, handler: Any, scopes: tuple[str, ...]) -> None:
        self._guard = guard
        self._scopes = scopes
        self._behaviour = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream

    async def _judge(self, context: Any) -> tuple[Verdict, Callable[[], Awaitable[Verdict]]]:
        try:
            token = _judging.bearer(authorizations(context.invocation_metadata()))
            thumbprint = _judging.peer_thumbprint(context.auth_context())

            async def again() -> Verdict:
                return await self._guard.judge(token, scopes=self._scopes, certificate_thumbprint=thumbprint)

            return await again(), again
        except Refused as refused:
            await _abort(context, refused)
            raise AssertionError("abort raises") from refused

    async def unary(self, request: Any, context: Any) -> Any:
        found, _ = await self._judge(context)
        verdict_of_call.set(found)
        return await self._behaviour(request, context)

    async def long_unary(self, request: Any, context: Any) -> Any:
        return await self._watched(self._behaviour, request, context)

    async def stream(self, request: Any, context: Any) -> None:
        if not inspect.isasyncgenfunction(self._behaviour):
            await self._watched(self._behaviour, request, context)
            return

        async def written(request: Any, context: Any) -> None:
            answers: AsyncIterator[Any] = self._behaviour(request, context)
            async for answer in answers:
                await context.write(answer)

        await self._watched(written, request, context)

    async def _watched(self, behaviour: Callable[[Any, Any], Awaitable[Any]], request: Any, context: Any) -> Any:
        found, again = await self._judge(context)
        verdict_of_call.set(found)
        try:
            return await self._guard.watch(found, again, behaviour(request, context))
        except Refused as refused:
            await _abort(context, refused)


async def _abort(context: Any, refused: Refused) -> None:
    await context.abort(refused.code, refused.message, refused.trailing())
