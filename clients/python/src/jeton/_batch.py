"""BatchValidate shared by the calls of a guard that wait at the same time, by threads.

It makes no thread: one of those that wait asks for all of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ._pipeline import Full
from ._status import deadline_exceeded, is_lasting
from .client import Client
from .errors import JetonError
from .v1 import token_service_pb2 as pb

# So many at once, so that the next ones gather meanwhile.
FLIGHTS = 2
# In one call, and their bytes: less than what a server takes.
CALLS_MAX, BYTES_MAX = 250, 512 * 1024
# Those in a call have their answer by its deadline.
GRACE_S = 5.0


class Slot:
    """One call that waits."""

    __slots__ = ("batch", "end", "error", "request", "verdict", "woken")

    def __init__(self, request: pb.ValidateRequest, end: float) -> None:
        self.request = request
        self.end = end
        self.verdict: Any = None
        self.error: JetonError | None = None
        self.batch: list[Slot] | None = None
        self.woken = threading.Lock()
        self.woken.acquire()


def cut(waiting: list[Any], size: Callable[[Any], int]) -> int:
    """Returns how many of those that wait go into one call."""
    total = 0
    for number, one in enumerate(waiting[:CALLS_MAX]):
        total += size(one)
        if total > BYTES_MAX and number > 0:
            return number
    return min(len(waiting), CALLS_MAX)


def is_for_each(error: JetonError, count: int) -> bool:
    """Whether each is asked about alone: one request may be what all were refused for."""
    return count > 1 and is_lasting(error)


class Batches:
    """What waits is asked for together."""

    def __init__(self, client: Client, max_waiting: int) -> None:
        self._client = client
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._waiting: list[Slot] = []
        self._count = 0
        self._flights = 0

    def ask(self, request: pb.ValidateRequest, deadline: float) -> Any:
        """Returns the verdict."""
        own = Slot(request, time.monotonic() + deadline)
        with self._lock:
            if self._count >= self._max_waiting:
                raise Full
            self._count += 1
            if self._flights < FLIGHTS:
                self._flights += 1
                own.batch = [own]
            else:
                self._waiting.append(own)
        try:
            if own.batch is None and not own.woken.acquire(timeout=deadline + GRACE_S):
                with self._lock:
                    if own in self._waiting:
                        self._waiting.remove(own)
                if own.batch is None:
                    raise deadline_exceeded()
            if own.batch is not None:
                self._fly(own.batch, own)
        finally:
            with self._lock:
                self._count -= 1
        if own.error is not None:
            raise own.error.again()
        return own.verdict

    def _fly(self, batch: list[Slot], own: Slot) -> None:
        try:
            self._settle(batch)
        finally:
            with self._lock:
                number = cut(self._waiting, lambda slot: slot.request.ByteSize())
                after, self._waiting = self._waiting[:number], self._waiting[number:]
                if after:
                    after[0].batch = after
                else:
                    self._flights -= 1
            if after:
                after[0].woken.release()
            for slot in batch:
                if slot is not own:
                    slot.woken.release()

    def _settle(self, batch: list[Slot]) -> None:
        for slot in batch:
            slot.error = deadline_exceeded()  # unless it is settled below, whatever happens
        left = max(batch[0].end - time.monotonic(), 0.001)
        request = pb.BatchValidateRequest(requests=[slot.request for slot in batch])
        try:
            verdicts = self._client._ask("BatchValidate", request, left).verdicts  # noqa: SLF001 # of this package
        except JetonError as error:
            for slot in batch:
                slot.error = error
                if is_for_each(error, len(batch)):
                    self._alone(slot)
            return
        for slot, verdict in zip(batch, verdicts, strict=False):
            slot.verdict, slot.error = verdict, None

    def _alone(self, slot: Slot) -> None:
        left = max(slot.end - time.monotonic(), 0.001)
        try:
            slot.verdict = self._client._ask("Validate", slot.request, left).verdict  # noqa: SLF001 # of this package
            slot.error = None
        except JetonError as error:
            slot.error = error
