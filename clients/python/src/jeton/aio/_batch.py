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
        self._direct = 0  # whether one asks by itself
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, request: pb.ValidateRequest, deadline: float) -> Any:
        """Returns the verdict."""
        if len(self._waiting) + self._flying >= self._max_waiting:
            raise Full
        if not self._tasks and not self._direct and not self._waiting:
            return await self._ask_directly(request, deadline)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((request, time.monotonic() + deadline, future))
        timer = loop.call_later(deadline, _be_late, future)
        self._plan()
        try:
            return await future
        finally:
            timer.cancel()

    async def _ask_directly(self, request: pb.ValidateRequest, deadline: float) -> Any:
        """One that is alone needs no task."""
        self._flying += 1
        self._direct = 1
        try:
            return (await self._client._ask("Validate", request, deadline)).verdict  # noqa: SLF001
        finally:
            self._flying -= 1
            self._direct = 0
            if self._waiting:
                self._plan()

    def _plan(self) -> None:
        if not self._planned and len(self._tasks) + self._direct < FLIGHTS:
            # After all that are to run now: they may ask, too.
            self._planned = True
            asyncio.get_running_loop().call_soon(self._send)

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
        if self._waiting:
            self._plan()

    async def _fly(self, batch: list[_Slot]) -> None:
        outcome: Any = deadline_exceeded()
        try:
            # As long as the one that came last may wait: each has a timer of its own.
            left = max(batch[-1][1] - time.monotonic(), 0.001)
            if len(batch) == 1:
                outcome = [(await self._client._ask("Validate", batch[0][0], left)).verdict]  # noqa: SLF001
            else:
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


def _be_late(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(deadline_exceeded())
