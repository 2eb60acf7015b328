"""BatchValidate shared by the calls of a guard that wait at the same time, on a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from .._batch import FLIGHTS, cut, is_for_each
from .._pipeline import Full
from .._status import deadline_exceeded
from ..errors import Closed, JetonError, UnexpectedError
from ..v1 import token_service_pb2 as pb
from .client import Client

_Slot = tuple[pb.ValidateRequest, float, "asyncio.Future[Any]"]


class Batches:
    """What waits is asked for together."""

    def __init__(self, client: Client, max_waiting: int) -> None:
        self._client = client
        self._max_waiting = max_waiting
        self._waiting: list[_Slot] = []
        self._flying = 0  # calls
        self._planned = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: pb.ValidateRequest, deadline: float) -> Any:
        """Returns the verdict."""
        if len(self._waiting) + self._flying >= self._max_waiting:
            raise Full
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((request, time.monotonic() + deadline, future))
        if not self._planned and len(self._tasks) < FLIGHTS:
            # After all that are to run now: they may ask, too.
            self._planned = True
            loop.call_soon(self._send)
        return await future

    def _send(self) -> None:
        self._planned = False
        self._waiting = [slot for slot in self._waiting if not slot[2].done()]  # those whose callers stay
        number = cut(self._waiting, lambda slot: slot[0].ByteSize())
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        if not batch:
            return
        self._flying += len(batch)
        self._begin(self._fly(batch), batch)

    def _begin(self, work: Coroutine[Any, Any, None], batch: list[_Slot]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="jeton-batch")
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._ended(task, batch))

    def _ended(self, task: asyncio.Task[None], batch: list[_Slot]) -> None:
        self._tasks.discard(task)
        error: JetonError | None = None
        if task.cancelled():  # perhaps before it began
            error = Closed("The guard is closed.")
        elif (failure := task.exception()) is not None:
            error = UnexpectedError(f"The batch failed by {type(failure).__name__}.")
        if error is not None:
            for _, _, future in batch:
                if not future.done():
                    future.set_exception(error.again())
        if self._waiting and not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._send)

    async def _fly(self, batch: list[_Slot]) -> None:
        outcome: Any = deadline_exceeded()
        try:
            left = max(batch[0][1] - time.monotonic(), 0.001)
            request = pb.BatchValidateRequest(requests=[slot[0] for slot in batch])
            outcome = (await self._client._ask("BatchValidate", request, left)).verdicts  # noqa: SLF001
        except JetonError as error:
            outcome = error
        finally:
            self._flying -= len(batch)
        verdicts = [] if isinstance(outcome, JetonError) else outcome
        for (_, _, future), verdict in zip(batch, verdicts, strict=False):
            if not future.done():
                future.set_result(verdict)
        error = outcome if isinstance(outcome, JetonError) else deadline_exceeded()
        for slot in batch[len(verdicts) :]:
            if slot[2].done():
                continue
            if is_for_each(error, len(batch)):
                self._begin(self._alone(slot), [slot])
            else:
                slot[2].set_exception(error.again())

    async def _alone(self, slot: _Slot) -> None:
        request, end, future = slot
        try:
            answer = await self._client._ask("Validate", request, max(end - time.monotonic(), 0.001))  # noqa: SLF001
            if not future.done():
                future.set_result(answer.verdict)
        except JetonError as error:
            if not future.done():
                future.set_exception(error)

    async def close(self) -> None:
        """Ends what is under way."""
        waiting, self._waiting = self._waiting, []
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(Closed("The guard is closed."))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
