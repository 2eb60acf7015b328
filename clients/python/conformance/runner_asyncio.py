"""The runner of the types for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
from typing import Any

import grpc
import grpc.aio
from conformance.v1 import echo_pb2, echo_pb2_grpc

import jeton
from jeton import aio
from runner_common import (
    client_arguments,
    event,
    failure,
    guard_arguments,
    refusal,
    request_of,
    response_of,
    shown,
    snake,
    source_arguments,
    threads,
    verdict_as_json,
)


class Echo(echo_pb2_grpc.EchoServiceServicer):
    async def Echo(self, request: Any, context: Any) -> Any:
        answer = echo_pb2.EchoResponse(text=request.text)
        told = verdict_as_json(aio.current_verdict())
        answer.claims.update(told.pop("claims"))
        for name, value in told.items():
            if isinstance(value, list):
                getattr(answer, name).extend(value)
            else:
                setattr(answer, name, value)
        return answer

    async def Watch(self, request: Any, context: Any) -> Any:
        number = 0
        while True:
            number += 1
            yield echo_pb2.WatchResponse(number=number)
            await asyncio.sleep(0.05)


async def echo_page(scope: Any, receive: Any, send: Any) -> None:
    body = json.dumps(verdict_as_json(scope["jeton.verdict"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def serve_asgi(app: Any) -> tuple[asyncio.Server, int]:
    """As little of an ASGI server as the scenarios need."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in head[1:] if line]
        headers = [(name.lower().encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in pairs]
        scope = {"type": "http", "method": "GET", "path": head[0].split(" ")[1], "headers": headers}

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                lines = [b"HTTP/1.1 %d Answer" % message["status"], b"connection: close"]
                lines += [name + b": " + value for name, value in message["headers"]]
                writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
            else:
                writer.write(message["body"])

        await app(scope, receive, send)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


class Runner:
    def __init__(self) -> None:
        self.clients: dict[str, aio.Client] = {}
        self.sources: dict[str, aio.TokenSource] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.stops: list[Any] = []

    async def hello(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"language": "Python", "version": jeton.__version__}

    async def client_new(self, given: dict[str, Any]) -> None:
        self.clients[given["client"]] = aio.Client(**client_arguments(given))

    async def client_call(self, given: dict[str, Any]) -> dict[str, Any]:
        method, client = given["method"], self.clients[given["client"]]
        request, timeout = request_of(method, given["request"]), given.get("deadline_s")
        if method in ("Issue", "Refresh", "Validate", "Revoke"):
            answer = await client._ask(method, request, timeout)
        else:
            answer = await getattr(client, snake(method))(request, timeout=timeout)
        return {"response": response_of(answer)}

    async def source_new(self, given: dict[str, Any]) -> None:
        told = self.events[given["source"]] = []
        client = self.clients[given["client"]]
        source = aio.TokenSource(client, on_event=lambda it: told.append(event(it)), **source_arguments(given))
        self.sources[given["source"]] = source

    async def source_get(self, given: dict[str, Any]) -> dict[str, Any]:
        token = await self.sources[given["source"]].get(given.get("deadline_s", 10.0))
        return {"token": token.reveal(), "jti": token.jti}

    async def source_call(self, given: dict[str, Any]) -> dict[str, Any]:
        source, target = self.sources[given["source"]], given["target"].removeprefix("http://")
        async with grpc.aio.insecure_channel(target, interceptors=source.interceptors()) as channel:
            stub = echo_pb2_grpc.EchoServiceStub(channel)
            messages = 0
            try:
                if given["method"] == "Echo":
                    answer = await stub.Echo(echo_pb2.EchoRequest(text="hello"), timeout=given.get("deadline_s", 60))
                    return {"code": "OK", "reason": "", "subject": answer.subject, "jti": answer.jti}
                stream = stub.Watch(echo_pb2.WatchRequest())
                async for _ in stream:
                    messages += 1
                    if messages == given["messages"]:
                        stream.cancel()
                        break
                return {"code": "OK", "messages": messages}
            except grpc.aio.AioRpcError as error:
                return {**refusal(error), "messages": messages}

    async def source_events(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"events": list(self.events[given["source"]])}

    async def source_close(self, given: dict[str, Any]) -> None:
        await self.sources[given["source"]].close()

    async def guard_new(self, given: dict[str, Any]) -> dict[str, Any]:
        guard = aio.Guard(self.clients[given["client"]], **guard_arguments(given))
        server = grpc.aio.server(interceptors=[guard.interceptor()], options=[("grpc.so_reuseport", 0)])
        echo_pb2_grpc.add_EchoServiceServicer_to_server(Echo(), server)
        tls = given.get("tls")
        if tls:
            pair = (open(tls["key_file"], "rb").read(), open(tls["cert_file"], "rb").read())
            ca = open(tls["client_ca_file"], "rb").read()
            credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=True)
            port = server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        http, http_port = await serve_asgi(aio.GuardMiddleware(echo_page, guard))

        async def stop() -> None:
            await server.stop(0)
            http.close()
            await guard.close()

        self.stops.append(stop)
        return {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http_port}"}

    async def show(self, given: dict[str, Any]) -> dict[str, Any]:
        source, client = self.sources[given["source"]], self.clients[given["client"]]
        return {"texts": shown([source, client, await source.get(), source._state.held, source._state.options])}

    async def left(self, given: dict[str, Any]) -> dict[str, Any]:
        names = [task.get_name() for task in asyncio.all_tasks()]
        gc.collect()  # a server of grpc.aio is a circle, and keeps gRPC's poller
        # asyncio keeps the threads of its executor; gRPC's own poller ends with its last channel.
        kept = [name for name in threads() if not name.startswith("asyncio_")]
        return {"left": kept + [name for name in names if not name.startswith("runner")]}

    async def close(self, given: dict[str, Any]) -> None:
        for source in self.sources.values():
            await source.close()
        for stop in self.stops:
            await stop()
        self.stops = []
        for client in self.clients.values():
            await client.close()


async def main() -> None:
    runner = Runner()
    asyncio.current_task().set_name("runner-main")
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def answer(given: dict[str, Any]) -> None:
        command = getattr(runner, given["do"].replace(".", "_"), None)
        if command is None:
            told = {"id": given["id"], "unsupported": True}
        else:
            try:
                told = {"id": given["id"], "ok": await command(given) or {}}
            except Exception as error:
                told = {"id": given["id"], "error": failure(error)}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(told), flush=True)

    tasks = set()
    while line := await reader.readline():
        task = asyncio.create_task(answer(json.loads(line)), name="runner")
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
