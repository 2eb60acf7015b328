"""Guards that ask for all calls that wait by one BatchValidate, as they do unless told otherwise."""

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
from jeton.v1 import token_service_pb2

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


class Crowd:
    """Many calls to a guard, of which all but the first one wait while that one is under way."""

    def __init__(self, double: JetonDouble, count: int = CALLS, deadline: float = PATIENCE_S, **options: Any) -> None:
        self.gate = Gate(double.client()._transport)
        self.guard = jeton.Guard(jeton.Client.over(self.gate), ["orders"], deadline=deadline, **options)
        assert self.guard._batches is not None
        self.batches = self.guard._batches
        self._pool = futures.ThreadPoolExecutor(count + 1)
        self.asked: list[futures.Future[str]] = []
        first, *rest = issue(double, count)
        self.ask(first)
        until(lambda: self.gate.waiting == 1)
        for token in rest:
            self.ask(token)
        until(lambda: len(self.batches._waiting) + sum(it.done() for it in self.asked) == count - 1)

    def ask(self, token: str) -> None:
        self.asked.append(self._pool.submit(outcome, lambda: self.guard.judge(token)))

    def go_on(self) -> list[str]:
        """Opens the gate, and returns the outcomes."""
        self.gate.open.set()
        found = [it.result() for it in self.asked]
        self._pool.shutdown()
        assert self.batches._count == 0
        assert self.batches._flights == 0
        assert not self.batches._waiting
        return found


def test_each_call_gets_the_verdict_of_its_own_token(double: JetonDouble) -> None:
    assert Crowd(double).go_on() == [f"svc:{number}" for number in range(CALLS)]
    assert double.calls.count("BatchValidate") == 1
    assert double.calls.count("Validate") == 1


def test_more_than_go_into_one_call_go_into_several(double: JetonDouble) -> None:
    count = _batch.CALLS_MAX + 1
    crowd = Crowd(double, count)
    # Whoever comes when as many wait as go into one call makes one beside that which is under way.
    crowd.ask(issue(double, 1)[0])
    until(lambda: crowd.gate.waiting == 2)
    assert crowd.go_on() == [*(f"svc:{number}" for number in range(count)), "svc:0"]
    assert double.calls.count("BatchValidate") == 1
    assert double.calls.count("Validate") == 2


def test_no_more_wait_than_may(double: JetonDouble) -> None:
    found = Crowd(double, max_waiting=10).go_on()
    assert found.count("NO_VERDICT") == CALLS - 10


def test_one_that_is_refused_spoils_no_other(double: JetonDouble) -> None:
    crowd = Crowd(double)
    for _ in range(2):
        double.answer("FIELD_INVALID", grpc.StatusCode.INVALID_ARGUMENT, field="scopes")
    # The first one was alone.
    assert crowd.go_on().count("NO_VERDICT") == 1
    assert double.calls.count("Validate") == CALLS


def test_each_waits_for_its_own_deadline(double: JetonDouble) -> None:
    crowd = Crowd(double, deadline=0.2)
    # All but the first one, which is in its call.
    until(lambda: sum(it.done() for it in crowd.asked) == CALLS - 1)
    assert crowd.batches._count == 1
    assert crowd.go_on()[1:] == ["NO_VERDICT"] * (CALLS - 1)
    assert "BatchValidate" not in double.calls


def test_one_that_was_to_lead_and_left_leaves_the_others_a_leader(double: JetonDouble) -> None:
    batches = _batch.Batches(double.client(), CALLS)
    flying, late, other = (_batch.Slot(token_service_pb2.ValidateRequest(), 0.0) for _ in range(3))
    flying.leads, batches._flights = True, 1
    batches._waiting = [other, late]
    late.waits = other.waits = True
    batches._leave(flying)
    assert late.leads
    batches._leave(late)
    assert other.leads
    assert other.woken.acquire(blocking=False)
    batches._leave(other)
    assert batches._flights == 0


def test_one_that_left_breaks_no_chain(double: JetonDouble) -> None:
    batches = _batch.Batches(double.client(), CALLS)
    leader, *others = (_batch.Slot(token_service_pb2.ValidateRequest(), 0.0) for _ in range(CALLS))
    leader.leads, leader.batch, batches._flights = True, [leader, *others], 1
    before, after = others[: CALLS // 2], others[CALLS // 2 :]
    batches._leave(before[0])  # before the answer
    batches._leave(leader)
    for slot in others[1:]:
        # Whoever is woken, or leaves by itself, wakes the next one.
        assert slot in after or slot.woken.acquire(blocking=False) or slot.follower is not None
        batches._leave(slot)
    assert all(slot.woken.acquire(blocking=False) for slot in after)


def test_nothing_passes_while_jeton_is_away(double: JetonDouble) -> None:
    crowd = Crowd(double)
    double.away = True
    assert set(crowd.go_on()) == {"NO_VERDICT"}


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
        async with aio.Guard(aio.Client.over(gate), ["orders"], **options) as guard:
            assert guard._batches is not None
            first = asyncio.create_task(outcome(guard, tokens[0]))
            while not guard._batches._direct:  # noqa: ASYNC110
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
    assert double.calls.count("BatchValidate") == 1
    assert double.calls.count("Validate") == 1


def test_on_a_loop_no_more_wait_than_may(double: JetonDouble) -> None:
    assert aio_judged(double, max_waiting=10).count("NO_VERDICT") == CALLS - 10


def test_on_a_loop_one_that_is_refused_spoils_no_other(double: JetonDouble) -> None:
    def refuse() -> None:
        for _ in range(2):
            double.answer("FIELD_INVALID", grpc.StatusCode.INVALID_ARGUMENT, field="scopes")

    assert aio_judged(double, refuse).count("NO_VERDICT") == 1
    assert double.calls.count("Validate") == CALLS


def test_on_a_loop_nothing_passes_while_jeton_is_away(double: JetonDouble) -> None:
    def leave() -> None:
        double.away = True

    assert set(aio_judged(double, leave)) == {"NO_VERDICT"}


def test_a_guard_that_is_closed_leaves_nobody_waiting(double: JetonDouble) -> None:
    tokens = issue(double, 3)

    async def run() -> None:
        before = asyncio.all_tasks()
        gate = AioGate(double.aio_client()._transport)
        guard = aio.Guard(aio.Client.over(gate), ["orders"])
        assert guard._batches is not None
        direct, *asked = [asyncio.create_task(guard.judge(token)) for token in tokens]
        while not guard._batches._tasks:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await guard.close()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(outcome, Refused) for outcome in outcomes)
        # A call of the caller's own task is not the guard's.
        direct.cancel()
        await asyncio.wait({direct})
        del direct, asked, outcomes
        assert asyncio.all_tasks() == before

    asyncio.run(run())


def test_on_a_loop_each_waits_for_its_own_deadline(double: JetonDouble) -> None:
    tokens = issue(double)

    async def run() -> None:
        gate = AioGate(double.aio_client()._transport)
        async with aio.Guard(aio.Client.over(gate), ["orders"], deadline=0.2) as guard:
            direct, *asked = [asyncio.create_task(guard.judge(token)) for token in tokens]
            for outcome in await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE_S):
                assert isinstance(outcome, Refused)
                assert outcome.reason == "NO_VERDICT"
            gate.open.set()
            await asyncio.wait({direct})  # its deadline is that of its own call

    asyncio.run(run())
