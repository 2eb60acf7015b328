"""The guard of servers that block: interceptor of gRPC servers. For asyncio and ASGI: `jeton.aio`."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, NoReturn

import grpc

from . import _judging, _requests
from ._batch import Batches
from ._judging import Complaints, Refused, Rules, Watch, current_verdict, no_verdict, verdict_of_call
from ._pipeline import Broken, Full, Pipeline
from ._secret import Secret
from ._types import Verdict
from .client import Client
from .errors import JetonError

__all__ = ["Guard", "Refused", "current_verdict"]


class Guard:
    """Judges the token of each call. `audiences`: those that this server accepts.

    `mode`: `batch`, by one BatchValidate for all that wait at the same time, and by Validate for one that waits alone;
    `unary`, by Validate for each call; `stream`, by one StreamValidate. `batch` is as fast as `unary` one call at a
    time, and the fastest under load: a message of a stream costs gRPC of Python a third of a call and more.
    """

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

    def judge(self, token: str | Secret, *, scopes: Iterable[str] = (), certificate_thumbprint: str = "") -> Verdict:
        """Returns the verdict of a token that passes. Raises `Refused`, which says what to answer."""
        text = token if isinstance(token, str) else token.reveal()
        _judging.check(text)
        needed = (*self.rules.scopes, *scopes) if scopes else self.rules.scopes
        request = _requests.of_guard(text, self.rules.audiences, needed, certificate_thumbprint)
        try:
            if self._pipeline is not None:
                told = self._by_stream(self._pipeline, request)
            elif self._batches is not None:
                told = self._batches.ask(request, self.rules.deadline)
            else:
                told = self._client._ask("Validate", request, self.rules.deadline).verdict  # noqa: SLF001
        except Full as error:
            raise no_verdict() from error
        except JetonError as error:
            self._complaints.note(error)
            raise no_verdict() from error
        found = Verdict(told)
        return found if found.status == "ACTIVE" else _judging.hold(found, needed)

    def _by_stream(self, pipeline: Pipeline, request: Any) -> Any:
        end = time.monotonic() + self.rules.deadline
        try:
            try:
                return pipeline.ask(request).result(self.rules.deadline)
            except Broken:
                pipeline.elsewhere(1)
        except FutureTimeoutError as error:
            pipeline.late(self.rules.deadline)
            raise no_verdict() from error
        try:
            left = max(end - time.monotonic(), 0.001)
            return self._client._ask("Validate", request, left).verdict  # noqa: SLF001
        finally:
            pipeline.elsewhere(-1)

    def interceptor(self, scopes: Callable[[str], Iterable[str]] | None = None) -> grpc.ServerInterceptor:
        """For `grpc.server(…, interceptors=[…])`.

        `scopes` gets the full name of a method, as `/acme.v1.Orders/Cancel`, and returns the scopes that it needs
        besides those of the guard.
        """
        return _Interceptor(self, scopes)

    def close(self) -> None:
        """Ends the stream of verdicts, if there is one."""
        if self._pipeline is not None:
            self._pipeline.close()

    def __repr__(self) -> str:
        return f"<jeton.Guard for {', '.join(self.rules.audiences) or 'its own audiences'}>"

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def authorizations(metadata: Any) -> list[str]:
    """Returns the values of `authorization` in metadata of gRPC."""
    return [value for key, value in metadata or () if key == "authorization" and isinstance(value, str)]


class _Interceptor(grpc.ServerInterceptor):
    def __init__(self, guard: Guard, scopes: Callable[[str], Iterable[str]] | None) -> None:
        self._guard = guard
        self._scopes = scopes

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        handler = continuation(handler_call_details)
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

    def _judge(self, context: grpc.ServicerContext) -> tuple[Verdict, Callable[[], Verdict]]:
        """Judges the call; the second result judges it again."""
        try:
            token = _judging.bearer(authorizations(context.invocation_metadata()))
            thumbprint = _judging.peer_thumbprint(context.auth_context())

            def again() -> Verdict:
                return self._guard.judge(token, scopes=self._scopes, certificate_thumbprint=thumbprint)

            return again(), again
        except Refused as refused:
            _abort(context, refused)

    def unary(self, request: Any, context: grpc.ServicerContext) -> Any:
        found, _ = self._judge(context)
        reset = verdict_of_call.set(found)
        try:
            return self._behaviour(request, context)
        finally:
            verdict_of_call.reset(reset)

    def long_unary(self, request: Any, context: grpc.ServicerContext) -> Any:
        answers = self._watched(request, context, lambda told: told(self._behaviour(request, context)))
        return next(answers)

    def stream(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        def act(told: Callable[[Any], None]) -> None:
            for answer in self._behaviour(request, context):
                told(answer)

        yield from self._watched(request, context, act)

    def _watched(
        self, request: Any, context: grpc.ServicerContext, act: Callable[[Callable[[Any], None]], None]
    ) -> Iterator[Any]:
        """Runs the handler in a thread of its own, so that its silence keeps nobody from judging again."""
        found, again = self._judge(context)
        watch = Watch(self._guard.rules, found, time.monotonic())
        answers: queue.Queue[Any] = queue.Queue(maxsize=1)
        over = threading.Event()

        def tell(kind: str, value: Any) -> None:
            while not over.is_set():
                try:
                    answers.put((kind, value), timeout=1.0)
                except queue.Full:
                    continue
                return
            raise _Over

        def run() -> None:
            verdict_of_call.set(found)
            with contextlib.suppress(_Over):
                try:
                    act(lambda value: tell("answer", value))
                except _Over:
                    raise
                except BaseException as error:  # noqa: BLE001 # it belongs to the thread of gRPC
                    tell("error", error)
                else:
                    tell("end", None)

        handler = threading.Thread(
            target=contextvars.copy_context().run, args=(run,), name="jeton-handler", daemon=True
        )
        handler.start()
        context.add_callback(over.set)
        try:
            while True:
                try:
                    kind, value = answers.get(timeout=min(max(watch.at - time.monotonic(), 0.0), 3600.0))
                except queue.Empty:
                    kind, value = "", RuntimeError()
                if time.monotonic() >= watch.at:
                    try:
                        watch.planned(again(), time.monotonic())
                    except Refused as refused:
                        if refused.reason != "NO_VERDICT" or watch.missed(time.monotonic()):
                            _abort(context, refused)
                if kind == "answer":
                    yield value
                elif kind == "error":
                    raise value
                elif kind == "end" or not context.is_active():
                    return
        finally:
            over.set()


class _Over(Exception):
    """Nobody reads any more."""


def _abort(context: grpc.ServicerContext, refused: Refused) -> NoReturn:
    context.set_trailing_metadata(refused.trailing())
    context.abort(refused.code, refused.message)
    raise AssertionError("abort raises")
