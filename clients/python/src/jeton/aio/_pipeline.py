"""StreamValidate shared by all calls of a guard, on a loop: answers come in the order of the requests."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import AsyncIterator
from typing import Any

from .._methods import METHODS
from .._pipeline import Broken, Full, pause_s
from ..v1 import token_service_pb2 as pb
from .client import Client


class Pipeline:
    """One stream at a time."""

    def __init__(self, client: Client, max_waiting: int) -> None:
        self._client = client
        self._max_waiting = max_waiting
        self._stream: _Stream | None = None
        self._failures = 0
        self._not_before = 0.0
        self._asked_elsewhere = 0
        self._closed = False

    def ask(self, request: pb.ValidateRequest) -> asyncio.Future[Any]:
        """Sends a request; the future gets its verdict."""
        if self._closed:
            raise Broken
        waiting = (len(self._stream.waiting) if self._stream else 0) + self._asked_elsewhere
        if waiting >= self._max_waiting:
            raise Full
        if self._stream is None or self._stream.ended:
            if time.monotonic() < self._not_before:
                raise Broken
            self._stream = _Stream(self, self._client, self._failures)
        return self._stream.ask(request)

    def elsewhere(self, change: int) -> None:
        """Calls that are asked by Validate count as waiting, too."""
        if change > 0 and self._asked_elsewhere >= self._max_waiting:
            raise Full
        self._asked_elsewhere += change

    def late(self, deadline: float) -> None:
        """A call has waited for its whole deadline. If the oldest one has for twice as long, the stream is given up."""
        stream = self._stream
        if stream is not None and stream.waiting and stream.waiting[0][0] < time.monotonic() - 2 * deadline:
            stream.give_up()

    def broke(self, had_answers: bool) -> None:
        """A stream ended."""
        self._failures = 1 if had_answers else self._failures + 1
        self._not_before = time.monotonic() + pause_s(self._failures)

    async def close(self) -> None:
        """Ends the stream."""
        self._closed = True
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()


class _Stream:
    def __init__(self, pipeline: Pipeline, client: Client, skip: int) -> None:
        self._pipeline = pipeline
        self._requests: asyncio.Queue[pb.StreamValidateRequest | None] = asyncio.Queue()
        self.waiting: collections.deque[tuple[float, asyncio.Future[Any]]] = collections.deque()
        self.ended = False
        self._task = asyncio.create_task(self._read(client, skip), name="jeton-verdicts")

    def ask(self, request: pb.ValidateRequest) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append((time.monotonic(), future))
        self._requests.put_nowait(pb.StreamValidateRequest(request=request))
        return future

    async def _sent(self) -> AsyncIterator[pb.StreamValidateRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _read(self, client: Client, skip: int) -> None:
        had_answers = False
        answers: Any = None
        cancel: Any = None
        try:
            answers, cancel = client._transport.stream(  # noqa: SLF001 # of this package
                METHODS["StreamValidate"], self._sent(), skip
            )
            async for answer in answers:
                had_answers = True
                _, future = self.waiting.popleft()
                if not future.done():  # its caller went away
                    future.set_result(answer.verdict)
        except Exception:  # noqa: BLE001, S110 # whoever waits asks by Validate, and hears the cause there
            pass
        finally:
            self.ended = True
            if cancel is not None:
                cancel()
                await answers.aclose()
                answers = cancel = None  # the task keeps its frame, and gRPC's poller lives as long as a call
            self._requests.put_nowait(None)
            self._pipeline.broke(had_answers)
            for _, future in self.waiting:
                if not future.done():
                    future.set_exception(Broken())
            self.waiting.clear()

    def give_up(self) -> None:
        self._task.cancel()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
