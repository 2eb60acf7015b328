"""A call at one of several endpoints, without any I/O: what to try next, and when to stop."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Generator

import grpc

from ._config import Policy
from ._status import deadline_exceeded
from .errors import JetonError, Unreachable


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Call this endpoint, for so long."""

    endpoint: int
    timeout: float


@dataclasses.dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


class Order:
    """Which endpoint is current."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.current = 0

    def round(self, first: int | None = None) -> list[int]:
        """All endpoints, the current one first, or another one."""
        begin = self.current if first is None else first
        return [(begin + step) % self.count for step in range(self.count)]


def attempts(
    order: Order,
    policy: Policy,
    deadline: float,
    clock: Callable[[], float],
    failed: tuple[int, JetonError] | None = None,
) -> Generator[Attempt | Pause, JetonError | None, None]:
    """Yields what to do, and takes the error of each attempt. Returns after a success, else raises.

    `failed`: the first attempt was made already, at this endpoint, and failed by this error.
    """
    error = failed[1] if failed is not None else deadline_exceeded()
    for number in range(policy.rounds):
        turn = order.round(failed[0] if failed is not None else None)
        for place, endpoint in enumerate(turn):
            if failed is not None:
                failed = None
            else:
                left = deadline - clock()
                if left <= 0:
                    raise error
                outcome = yield Attempt(endpoint, left / (len(turn) - place))
                if outcome is None:
                    order.current = endpoint
                    return
                error = outcome
            if not _moves_on(error):
                order.current = endpoint
                raise error
            if not policy.repeats and not _is_unsent(error):
                raise error
        if number + 1 == policy.rounds:
            raise error
        pause = random.uniform(0, policy.pause(number))  # noqa: S311 # jitter is no secret
        if error.retry_after is not None:
            pause = max(pause, error.retry_after.total_seconds())
        if clock() + pause >= deadline:
            raise error
        yield Pause(pause)
    raise error


def _moves_on(error: JetonError) -> bool:
    return error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def _is_unsent(error: JetonError) -> bool:
    """Whether no connection could be made, so that nothing was sent."""
    return isinstance(error, Unreachable) and "failed to connect" in error.message
