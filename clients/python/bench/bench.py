"""Measures the guards beside an empty call of grpcio to the same server, and the look-up of a token. `run` runs it."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import empty_pb2

import jeton
from jeton import aio

ROUNDS = 31
ROUND_S = float(os.environ.get("BENCH_ROUND_MS", "150")) / 1000
CALLERS = 256  # under load
# What is to be reached.
ONE_BY_ONE_BAR, LOAD_BAR = 0.9, 5

# What is measured beside the empty call. The mode of Python for load is `batch`, its default: clients/README.md.
GUARDS: list[tuple[str, float | None]] = [
    ("Guard, one by one", ONE_BY_ONE_BAR),
    ("Guard, unary mode, one by one", ONE_BY_ONE_BAR),
    (f"Guard, {CALLERS} at a time", LOAD_BAR),
    (f"Guard, stream mode, {CALLERS} at a time", None),
]

DEV = json.loads(pathlib.Path(os.environ["DEV_JSON"]).read_text())
ADDRESS, KEY = f"http://{DEV['public']}", DEV["clients"]["dev-service"]
HEALTH = "/grpc.health.v1.Health/Check"
# A stub of Health would write and read messages, too.
NOTHING = empty_pb2.Empty()
AS_STUBS_DO: Any = {
    "request_serializer": empty_pb2.Empty.SerializeToString,
    "response_deserializer": empty_pb2.Empty.FromString,
    "_registered_method": True,
}


def threads(call: Callable[[], object], callers: int) -> float:
    """Returns the calls per second of so many threads, which stand before the time begins, as those of a server do."""
    counts: list[int] = []
    begun = end = 0.0

    def begin() -> None:
        nonlocal begun, end
        begun = time.perf_counter()
        end = begun + ROUND_S

    start = threading.Barrier(callers, begin)

    def caller() -> None:
        calls = 0
        start.wait()
        while time.perf_counter() < end:
            call()
            calls += 1
        counts.append(calls)

    running = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun)


async def tasks(call: Callable[[], Awaitable[object]], callers: int) -> float:
    """Returns the calls per second of so many tasks."""
    begun = time.perf_counter()
    end = begun + ROUND_S

    async def caller() -> int:
        calls = 0
        while time.perf_counter() < end:
            await call()
            calls += 1
        return calls

    calls = sum(await asyncio.gather(*(caller() for _ in range(callers))))
    return calls / (time.perf_counter() - begun)


def show(kind: str, rates: list[list[float]]) -> None:
    """Prints the medians of the rates, and of the ratios within each round."""
    empty, *guards = rates
    print(f"{f'empty call of {kind}, one by one':44}{statistics.median(empty):9.0f} /s")
    for (name, bar), found in zip(GUARDS, guards, strict=True):
        ratio = statistics.median(rate / base for rate, base in zip(found, empty, strict=True))
        wanted = f"; bar ≥ {bar}" if bar else ""
        print(f"{name:44}{statistics.median(found):9.0f} /s    {ratio:.2f} × the empty call{wanted}")


def orders() -> list[list[int]]:
    """Which of them is measured when: the first round warms up, and every second one is reversed."""
    which = list(range(len(GUARDS) + 1))
    return [which if number % 2 == 0 else which[::-1] for number in range(ROUNDS + 1)]


def blocking() -> None:
    with jeton.Client(ADDRESS, api_key=KEY) as client, jeton.TokenSource(client, "svc:bench", ["orders"]) as source:
        token = source.get().reveal()
        with (
            jeton.Guard(client, ["orders"]) as guard,
            jeton.Guard(client, ["orders"], mode="unary") as unary,
            jeton.Guard(client, ["orders"], mode="stream") as stream,
            grpc.insecure_channel(DEV["public"]) as channel,
        ):
            health = channel.unary_unary(HEALTH, **AS_STUBS_DO)
            measures = [
                (lambda: health(NOTHING), 1),
                (lambda: guard.judge(token), 1),
                (lambda: unary.judge(token), 1),
                (lambda: guard.judge(token), CALLERS),
                (lambda: stream.judge(token), CALLERS),
            ]
            rates: list[list[float]] = [[] for _ in measures]
            for order in orders():
                for which in order:
                    rates[which].append(threads(*measures[which]))
        show("grpcio", [found[1:] for found in rates])
        look_ups = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            for _ in range(100_000):
                source.get()
            look_ups.append((time.perf_counter() - begun) * 1e9 / 100_000)
        print(f"{'TokenSource, look-up':44}{statistics.median(look_ups):9.0f} ns")


async def on_a_loop() -> None:
    async with aio.Client(ADDRESS, api_key=KEY) as client, aio.TokenSource(client, "svc:bench", ["orders"]) as source:
        token = (await source.get()).reveal()
        async with (
            aio.Guard(client, ["orders"]) as guard,
            aio.Guard(client, ["orders"], mode="unary") as unary,
            aio.Guard(client, ["orders"], mode="stream") as stream,
            grpc.aio.insecure_channel(DEV["public"]) as channel,
        ):
            health = channel.unary_unary(HEALTH, **AS_STUBS_DO)
            measures = [
                (lambda: health(NOTHING), 1),
                (lambda: guard.judge(token), 1),
                (lambda: unary.judge(token), 1),
                (lambda: guard.judge(token), CALLERS),
                (lambda: stream.judge(token), CALLERS),
            ]
            rates: list[list[float]] = [[] for _ in measures]
            for order in orders():
                for which in order:
                    rates[which].append(await tasks(*measures[which]))
        show("grpc.aio", [found[1:] for found in rates])


blocking()
asyncio.run(on_a_loop())
