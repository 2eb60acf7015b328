"""Token sources and guards over the double, as users of the library test their own services."""

import asyncio
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import grpc.aio
import pytest

import jeton
from jeton import aio, errors
from jeton.guard import Refused
from jeton.testing import JetonDouble
from jeton.wsgi import GuardMiddleware

PATIENCE_S = 60.0


def until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def double() -> JetonDouble:
    return JetonDouble()


def test_a_source_renews_when_the_time_has_come(double: JetonDouble) -> None:
    events: list[str] = []
    with jeton.TokenSource(double.client(), "svc:a", ["orders"], on_event=lambda it: events.append(it.kind)) as source:
        assert double.calls == []
        first = source.get()
        double.advance(719)
        assert source.get() == first
        double.advance(1)
        until(lambda: source.get() != first)
        assert double.calls == ["Issue", "Issue"]
        until(lambda: events == ["refreshed", "refreshed"])


def test_a_failure_is_shown_when_the_token_is_dead(double: JetonDouble) -> None:
    with jeton.TokenSource(double.client(), "svc:a", ["orders"]) as source:
        first = source.get()
        double.away = True
        double.advance(800)
        until(lambda: len(double.calls) > 1)
        assert source.get() == first
        double.advance(100)
        with pytest.raises(errors.Unreachable):
            source.get(timeout=0.2)


class Hanging:
    """A transport whose calls get no answer while it hangs."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.hangs = False
        self.hanging = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HangingThreads(Hanging):
    def unary(self, method: Any, request: Any, timeout: Any, policy: Any, cancellation: Any, admin: bool) -> Any:
        if self.hangs:
            self.hanging += 1
            until(lambda: cancellation.is_set)
        return self._transport.unary(method, request, timeout, policy, cancellation, admin)


class HangingTasks(Hanging):
    async def unary(self, method: Any, request: Any, timeout: Any, policy: Any, admin: bool) -> Any:
        if self.hangs:
            self.hanging += 1
            await asyncio.Event().wait()
        return await self._transport.unary(method, request, timeout, policy, admin)


def test_will_expire_is_told_while_an_attempt_hangs(double: JetonDouble) -> None:
    transport, events = HangingThreads(double.client()._transport), []
    client = jeton.Client.over(transport)
    with jeton.TokenSource(client, "svc:a", ["orders"], on_event=lambda it: events.append(it.kind)) as source:
        source.get()
        transport.hangs = True
        double.advance(720)
        until(lambda: transport.hanging == 1)
        double.advance(108)
        until(lambda: events == ["refreshed", "will_expire"])
    assert transport.hanging == 1


def test_will_expire_is_told_while_an_attempt_of_asyncio_hangs(double: JetonDouble) -> None:
    async def run() -> None:
        before = asyncio.all_tasks()
        transport, events = HangingTasks(double.aio_client()._transport), []
        client = aio.Client.over(transport)
        async with aio.TokenSource(client, "svc:a", ["orders"], on_event=lambda it: events.append(it.kind)) as source:
            await source.get()
            transport.hangs = True
            double.advance(720)
            while transport.hanging == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            double.advance(108)
            while events != ["refreshed", "will_expire"]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert asyncio.all_tasks() == before

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


def test_a_revoked_session_ends_the_source(double: JetonDouble) -> None:
    with jeton.TokenSource(double.client(), "svc:a", ["orders"], refreshable=True) as source:
        double.revoke(session_id=source.get().session_id)
        double.advance(800)

        def ended() -> bool:
            try:
                source.get(timeout=1)
            except errors.SessionRevoked:
                return True
            return False

        until(ended)
        assert double.calls == ["Issue", "Refresh"]
        assert source.instead_of(jeton.Token(jeton.Secret("x"), "", "", 0)) is None


@pytest.mark.parametrize("mode", ["batch", "unary"])
def test_the_guard_says_what_jeton_says(double: JetonDouble, mode: str) -> None:
    client = double.client()
    good = client.issue("svc:a", ["orders"], scopes=["read"], claims={"tenant": "north"})
    with jeton.Guard(client, ["orders"], mode=mode) as guard:
        verdict = guard.judge(good.access_token.reveal(), scopes=["read"])
        assert (verdict.subject, verdict.claims) == ("svc:a", {"tenant": "north"})
        with pytest.raises(Refused) as refused:
            guard.judge(good.access_token.reveal(), scopes=["write"])
        assert refused.value.reason == "MISSING_SCOPE"
        double.revoke(token=good.access_token)
        with pytest.raises(Refused) as refused:
            guard.judge(good.access_token.reveal())
        assert refused.value.reason == "REVOKED"
        double.away = True
        with pytest.raises(Refused) as refused:
            guard.judge(good.access_token.reveal())
        assert refused.value.http()[0] == 503


def test_the_guard_judges_by_one_stream(double: JetonDouble) -> None:
    client = double.client()
    good = client.issue("svc:a", ["orders"]).access_token.reveal()
    with jeton.Guard(client, ["orders"], mode="stream") as guard:
        assert [guard.judge(good).subject for _ in range(3)] == ["svc:a"] * 3
    assert double.calls.count("StreamValidate") == 3


ECHO = "/test.Echo/Echo"


def echo(handler: Any) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler("test.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(handler)})


def needed(method: str) -> list[str]:
    return ["write"] if method == ECHO else []


def test_a_method_may_need_more_scopes(double: JetonDouble) -> None:
    with jeton.Guard(double.client(), ["orders"]) as guard:
        assert "orders" in repr(guard)
        server = grpc.server(futures.ThreadPoolExecutor(), interceptors=[guard.interceptor(needed)])
        server.add_generic_rpc_handlers([echo(lambda request, context: jeton.current_verdict().subject.encode())])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(ECHO)
            poor = double.client().issue("svc:a", ["orders"]).access_token.reveal()
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", metadata=(("authorization", f"Bearer {poor}"),))
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED  # type: ignore[attr-defined]
            rich = double.client().issue("svc:b", ["orders"], scopes=["write"]).access_token.reveal()
            assert call(b"", metadata=(("authorization", f"Bearer {rich}"),)) == b"svc:b"
        server.stop(None)


def test_a_method_of_asyncio_may_need_more_scopes(double: JetonDouble) -> None:
    async def answer(request: bytes, context: Any) -> bytes:
        return jeton.current_verdict().subject.encode()

    async def run() -> None:
        async with aio.Guard(double.aio_client(), ["orders"]) as guard:
            assert "orders" in repr(guard)
            server = grpc.aio.server(interceptors=[guard.interceptor(needed)])
            server.add_generic_rpc_handlers([echo(answer)])
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                call = channel.unary_unary(ECHO)
                poor = double.client().issue("svc:a", ["orders"]).access_token.reveal()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(b"", metadata=(("authorization", f"Bearer {poor}"),))
                assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
                rich = double.client().issue("svc:b", ["orders"], scopes=["write"]).access_token.reveal()
                assert await call(b"", metadata=(("authorization", f"Bearer {rich}"),)) == b"svc:b"
            await server.stop(None)

    asyncio.run(run())


def test_the_guard_of_wsgi(double: JetonDouble) -> None:
    good = double.client().issue("svc:a", ["orders"]).access_token.reveal()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["jeton.verdict"].subject.encode()]

    guarded = GuardMiddleware(app, jeton.Guard(double.client(), ["orders"], except_for=["/health"]))
    told: list[str] = []
    start = lambda status, headers: told.append(status)  # noqa: E731
    assert list(guarded({"HTTP_AUTHORIZATION": f"Bearer {good}"}, start)) == [b"svc:a"]
    list(guarded({"HTTP_AUTHORIZATION": f"Bearer {good}, Bearer {good}"}, start))
    list(guarded({}, start))
    assert told == ["200 OK", "401 Unauthorized", "401 Unauthorized"]


def test_asyncio_behaves_the_same(double: JetonDouble) -> None:
    async def run() -> None:
        client = double.aio_client()
        async with aio.TokenSource(client, "svc:a", ["orders"]) as source, aio.Guard(client, ["orders"]) as guard:
            first = await source.get()
            assert (await guard.judge(first.reveal())).subject == "svc:a"
            double.advance(720)
            while await source.get() == first:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            double.away = True
            double.advance(900)
            with pytest.raises(errors.Unreachable):
                await source.get(timeout=0.2)
            with pytest.raises(Refused):
                await guard.judge(first.reveal())
        with pytest.raises(errors.Closed):
            await source.get()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_the_guard_of_asgi(double: JetonDouble) -> None:
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert aio.current_verdict() is scope["jeton.verdict"]
        await send({"type": "http.response.start", "status": 204})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def run() -> None:
        client = double.aio_client()
        good = (await client.issue("svc:a", ["orders"])).access_token.reveal()
        guarded = aio.GuardMiddleware(app, aio.Guard(client, ["orders"], except_for=["/health"]))
        header = (b"authorization", f"Bearer {good}".encode())
        for headers in ([header], [header, header], []):
            await guarded({"type": "http", "path": "/", "headers": headers}, None, send)

    asyncio.run(run())
    assert [message["status"] for message in sent if "status" in message] == [204, 401, 401]
