"""StreamValidate shared by all calls of a guard, by threads: answers come in the order of the requests."""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

from ._jitter import full_jitter
from ._methods import METHODS
from .client import Client
from .errors import Closed, JetonError, UnexpectedError
from .v1 import token_service_pb2 as pb

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


def pause_s(failures: int) -> float:
    """The pause before a stream is opened again, after so many that ended in a row."""
    return full_jitter(FIRST_PAUSE_S, LONGEST_PAUSE_S, failures)


class Full(Exception):  # it is no error of a call
    """As many calls wait as may."""


class Broken(Exception):
    """There is no stream now, or it ended before the answer: ask by Validate."""


class Pipeline:
    """One stream at a time."""

    def __init__(self, client: Client, max_waiting: int) -> None:
        self._client = client
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._stream: _Stream | None = None
        self._failures = 0
        self._not_before = 0.0
        self._asked_elsewhere = 0
        self._closed = False

    def ask(self, request: pb.ValidateRequest) -> Future[Any]:
        """Sends a request; the future gets its verdict."""
        with self._lock:
            if self._closed:
                raise Broken
            waiting = (self._stream.waiting() if self._stream else 0) + self._asked_elsewhere
            if waiting >= self._max_waiting:
                raise Full
            if self._stream is None or self._stream.ended:
                if time.monotonic() < self._not_before:
                    raise Broken
                self._stream = _Stream(self, self._client, self._failures)
            return self._stream.ask(request)

    def elsewhere(self, change: int) -> None:
        """Calls that are asked by Validate count as waiting, too."""
        with self._lock:
            if change > 0 and self._asked_elsewhere >= self._max_waiting:
                raise Full
            self._asked_elsewhere += change

    def late(self, deadline: float) -> None:
        """A call has waited for its whole deadline. If the oldest one has for twice as long, the stream is given up."""
        with self._lock:
            stream = self._stream
        if stream is not None and stream.oldest() < time.monotonic() - 2 * deadline:
            stream.give_up()

    def broke(self, had_answers: bool) -> None:
        """A stream ended."""
        with self._lock:
            self._failures = 1 if had_answers else self._failures + 1
            self._not_before = time.monotonic() + pause_s(self._failures)

    def close(self) -> None:
        """Ends the stream."""
        with self._lock:
            self._closed = True
            stream = self._stream
        if stream is not None:
            stream.close()


class _Stream:
    def __init__(self, pipeline: Pipeline, client: Client, skip: int) -> None:
        self._pipeline = pipeline
        self._client = client
        self._skip = skip
        self._requests: queue.SimpleQueue[pb.StreamValidateRequest | None] = queue.SimpleQueue()
        self._waiting: collections.deque[tuple[float, Future[Any]]] = collections.deque()
        self._lock = threading.Lock()
        self.ended = False
        self._cancel: Any = None
        self._thread = threading.Thread(target=self._read, name="jeton-verdicts", daemon=True)
        self._thread.start()

    def waiting(self) -> int:
        return len(self._waiting)

    def oldest(self) -> float:
        with self._lock:
            return self._waiting[0][0] if self._waiting else float("inf")

    def give_up(self) -> None:
        if self._cancel is not None:
            self._cancel()

    def ask(self, request: pb.ValidateRequest) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:  # the order of both queues is the same
            if self.ended:
                raise Broken
            self._waiting.append((time.monotonic(), future))
            self._requests.put(pb.StreamValidateRequest(request=request))
        return future

    def _sent(self) -> Iterator[pb.StreamValidateRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        had_answers = False
        try:
            answers, self._cancel = self._client._transport.stream(  # noqa: SLF001 # of this package
                METHODS["StreamValidate"], self._sent(), self._skip
            )
            if self.ended:
                self._cancel()
            for answer in answers:
                had_answers = True
                with self._lock:
                    _, future = self._waiting.popleft()
                future.set_result(answer.verdict)
            error: JetonError = Closed("The stream of verdicts ended.")
        except JetonError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 # whoever waits must hear of it
            error = UnexpectedError(f"The stream of verdicts failed by {type(failure).__name__}.")
        with self._lock:
            self.ended = True
            waiting = list(self._waiting)
            self._waiting.clear()
        self._requests.put(None)
        self._pipeline.broke(had_answers)
        for _, future in waiting:
            future.set_exception(Broken(error.message))

    def close(self) -> None:
        self.ended = True
        self._requests.put(None)
        if self._cancel is not None:
            self._cancel()
        if self._thread is not threading.current_thread():
            self._thread.join()
