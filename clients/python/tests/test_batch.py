"""Guards that ask for all calls that wait by one BatchValidate."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import pytest

import jeton
from jeton import _batch, aio
from jeton.guard import Refused
from jeton.testing import JetonDouble

PATIENCE_S = 60.0
CALLS = 100


def until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


class Gate:
    """A transport whose calls go on when the gate is open."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.open = threading.Event()
        self.waiting = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def unary(self, *arguments: Any) -> Any:
        self.waiting += 1
        assert self.open.wait(PATIENCE_S)
        return self._transport.unary(*arguments)


class AioGate:
    """The same on a loop."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.open = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def unary(self, *arguments: Any) -> Any:
        await self.open.wait()
        return await self._transport.unary(*arguments)


@pytest.fixture
def double() -> JetonDouble:
    return JetonDouble()


def issue(double: JetonDouble, count: int = CALLS) -> list[str]:
    client = double.client()
    return [client.issue(f"svc:{number}", ["orders"]).access_token.reveal() for number in range(count)]


def outcome(judge: Callable[[], jeton.Verdict]) -> str:
    try:
        return judge().subject
    except Refused as refused:
        return refused.reason


def judged(double: JetonDouble, before: Callable[[], None] = lambda: None, **options: Any) -> list[str]:
    """The outcomes of many calls, of which all but the first two wait while those are under way."""
    tokens = issue(double)
    gate = Gate(double.client()._transport)
    guard = jeton.Guard(jeton.Client.over(gate), ["orders"], mode="batch", deadline=PATIENCE_S, **options)
    with futures.ThreadPoolExecutor(CALLS) as pool:
        first = [pool.submit(outcome, lambda token=token: guard.judge(token)) for token in tokens[:2]]
        until(lambda: gate.waiting == 2)
        rest = [pool.submit(outcome, lambda token=token: guard.judge(token)) for token in tokens[2:]]
        batches = guard._batches
        assert batches is not None
        until(lambda: len(batches._waiting) + sum(it.done() for it in rest) == CALLS - 2)
        before()
        gate.open.set()
        found = [it.result() for it in first + rest]
    assert batches._count == 0
    assert batches._flights == 0
    return found


def test_each_call_gets_the_verdict_of_its_own_token(double: JetonDouble) -> None:
    assert judged(double) == [f"svc:{number}" for number in range(CALLS)]
    assert double.calls.count("BatchValidate") == 3
    assert "Validate" not in double.calls


def test_no_more_wait_than_may(double: JetonDouble) -> None:
    found = judged(double, max_waiting=10)
    assert found.count("NO_VERDICT") == CALLS - 10


def test_one_that_is_refused_spoils_no_other(double: JetonDouble) -> None:
    def refuse() -> None:
        for _ in range(3):
            double.answer("FIELD_INVALID", grpc.StatusCode.INVALID_ARGUMENT, field="scopes")

    found = judged(double, refuse)
    # The first two were alone in theirs.
    assert found.count("NO_VERDICT") == 2
    assert double.calls.count("Validate") == CALLS - 2


def test_nothing_passes_while_jeton_is_away(double: JetonDouble) -> None:
    def leave() -> None:
        double.away = True

    assert set(judged(double, leave)) == {"NO_VERDICT"}


def test_a_batch_has_its_bounds() -> None:
    assert _batch.cut([1] * 1000, lambda size: size) == _batch.CALLS_MAX
    assert _batch.cut([_batch.BYTES_MAX, 1], lambda size: size) == 1
    assert _batch.cut([_batch.BYTES_MAX + 1, 1], lambda size: size) == 1
    assert _batch.cut([], lambda size: size) == 0


def aio_judged(double: JetonDouble, before: Callable[[], None] = lambda: None, **options: Any) -> list[str]:
    tokens = issue(double)

    async def outcome(guard: aio.Guard, token: str) -> str:
        try:
            return (await guard.judge(token)).subject
        except Refused as refused:
            return refused.reason

    async def run() -> list[str]:
        tasks_before = asyncio.all_tasks()
        gate = AioGate(double.aio_client()._transport)
        async with aio.Guard(aio.Client.over(gate), ["orders"], mode="batch", **options) as guard:
            first = asyncio.create_task(outcome(guard, tokens[0]))
            while not guard._batches or not guard._batches._tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)
            rest = [asyncio.create_task(outcome(guard, token)) for token in tokens[1:]]
            await asyncio.sleep(0)
            before()
            gate.open.set()
            found = [await it for it in [first, *rest]]
            assert guard._batches._flying == 0
        del first, rest
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks_before
        return found

    return asyncio.run(run())


def test_on_a_loop_each_call_gets_the_verdict_of_its_own_token(double: JetonDouble) -> None:
    assert aio_judged(double) == [f"svc:{number}" for number in range(CALLS)]
    assert double.calls.count("BatchValidate") == 2
    assert "Validate" not in double.calls


def test_on_a_loop_no_more_wait_than_may(double: JetonDouble) -> None:
    assert aio_judged(double, max_waiting=10).count("NO_VERDICT") == CALLS - 10


def test_on_a_loop_one_that_is_refused_spoils_no_other(double: JetonDouble) -> None:
    def refuse() -> None:
        for _ in range(2):
            double.answer("FIELD_INVALID", grpc.StatusCode.INVALID_ARGUMENT, field="scopes")

    assert aio_judged(double, refuse).count("NO_VERDICT") == 1
    assert double.calls.count("Validate") == CALLS - 1


def test_on_a_loop_nothing_passes_while_jeton_is_away(double: JetonDouble) -> None:
    def leave() -> None:
        double.away = True

    assert set(aio_judged(double, leave)) == {"NO_VERDICT"}


def test_a_guard_that_is_closed_leaves_nobody_waiting(double: JetonDouble) -> None:
    (token,) = issue(double, 1)

    async def run() -> None:
        before = asyncio.all_tasks()
        guard = aio.Guard(aio.Client.over(AioGate(double.aio_client()._transport)), ["orders"], mode="batch")
        asked = asyncio.create_task(guard.judge(token))
        while not guard._batches or not guard._batches._tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await guard.close()
        with pytest.raises(Refused):
            await asked
        del asked
        assert asyncio.all_tasks() == before

    asyncio.run(run())
