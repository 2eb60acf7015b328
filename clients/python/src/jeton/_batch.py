"""BatchValidate shared by the calls of a guard that wait at the same time, by threads.

It makes no thread: one of those that wait asks for all of them. What it costs is the hand-over between threads. If all
were woken at once they would all contend for the GIL, and the one that is to ask again would be one of them. So a few
are woken, each of them wakes the next one before it goes on, and the one that asks again comes behind them: by then
most have gone on, and others wait.
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

# So many at once. The second one only begins when a whole one waits, so that what waits gathers.
FLIGHTS = 2
# In one call, and their bytes: less than what a server takes.
CALLS_MAX, BYTES_MAX = 250, 512 * 1024
# So many are woken at once. Where another thread computes all the time, each hand-over takes until the GIL switches.
LANES = 16


class Slot:
    """One call that waits."""

    __slots__ = (
        "asks_alone",
        "batch",
        "end",
        "error",
        "follower",
        "is_gone",
        "leads",
        "request",
        "verdict",
        "waits",
        "woken",
    )

    def __init__(self, request: pb.ValidateRequest, end: float) -> None:
        self.request = request
        self.end = end
        self.verdict: Any = None
        self.error: JetonError | None = None
        self.asks_alone = False
        self.leads = False  # it asks for a batch
        self.batch: list[Slot] = []  # of one that leads
        self.waits = False  # it is in the list of those that wait
        self.is_gone = False
        self.follower: Slot | None = None  # to be woken by it
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
            if self._is_due():
                self._flights += 1
                own.leads = True
            else:
                self._waiting.append(own)
                own.waits = True
        try:
            try:
                if (own.leads or own.woken.acquire(timeout=deadline)) and own.leads:
                    self._fly(own)
            finally:
                self._leave(own)
            if own.asks_alone:
                left = max(own.end - time.monotonic(), 0.001)
                return self._client._ask("Validate", request, left).verdict  # noqa: SLF001 # of this package
        finally:
            with self._lock:
                self._count -= 1
        if own.error is not None:
            raise own.error.again()
        if own.verdict is None:
            raise deadline_exceeded()
        return own.verdict

    def _is_due(self) -> bool:
        return self._flights == 0 or (self._flights < FLIGHTS and len(self._waiting) >= CALLS_MAX)

    def _leave(self, own: Slot) -> None:
        """Wakes those that come behind this one, whether it was answered or not."""
        with self._lock:
            own.is_gone = True
            if own.waits:
                self._waiting.remove(own)
                own.waits = False
            if own.leads:
                behind = self._land(own)
            else:
                behind = [] if own.follower is None else [own.follower]
                own.follower = None
        for slot in behind:
            slot.woken.release()

    def _land(self, own: Slot) -> list[Slot]:
        """Ends a batch, and returns who is woken at once."""
        self._flights -= 1
        told = [slot for slot in own.batch if not slot.is_gone]
        own.batch = []
        for slot, follower in zip(told, told[LANES:], strict=False):
            slot.follower = follower
        behind = told[:LANES]
        if self._waiting and self._is_due():
            self._flights += 1
            # Of those that go next the one that came last leads: all others have less time left than its call.
            leader = self._waiting.pop(min(len(self._waiting), CALLS_MAX) - 1)
            leader.waits, leader.leads = False, True
            if told:
                told[-1].follower = leader
            else:
                behind.append(leader)
        return behind

    def _fly(self, own: Slot) -> None:
        with self._lock:
            batch = own.batch = [own]
            if self._waiting:
                number = cut([own, *self._waiting], lambda slot: slot.request.ByteSize()) - 1
                batch += self._waiting[:number]
                self._waiting = self._waiting[number:]
                for slot in batch:
                    slot.waits = False
        left = max(own.end - time.monotonic(), 0.001)
        try:
            if len(batch) == 1:
                own.verdict = self._client._ask("Validate", own.request, left).verdict  # noqa: SLF001 # of this package
                return
            request = pb.BatchValidateRequest(requests=[slot.request for slot in batch])
            verdicts = self._client._ask("BatchValidate", request, left).verdicts  # noqa: SLF001 # of this package
        except JetonError as error:
            for slot in batch:
                slot.error = error
                slot.asks_alone = is_for_each(error, len(batch))
            return
        for slot, verdict in zip(batch, verdicts, strict=False):
            slot.verdict = verdict
