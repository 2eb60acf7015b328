"""The runner of the types that block."""

from __future__ import annotations

import contextlib
import json
import socketserver
import sys
import threading
import time
import wsgiref.simple_server
from concurrent import futures
from typing import Any

import grpc
from conformance.v1 import echo_pb2, echo_pb2_grpc

import jeton
from jeton.wsgi import GuardMiddleware
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
    def Echo(self, request: Any, context: Any) -> Any:
        answer = echo_pb2.EchoResponse(text=request.text)
        told = verdict_as_json(jeton.current_verdict())
        answer.claims.update(told.pop("claims"))
        for name, value in told.items():
            if isinstance(value, list):
                getattr(answer, name).extend(value)
            else:
                setattr(answer, name, value)
        return answer

    def Watch(self, request: Any, context: Any) -> Any:
        number = 0
        while context.is_active():
            number += 1
            yield echo_pb2.WatchResponse(number=number)
            time.sleep(0.05)


def echo_page(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps(verdict_as_json(environ["jeton.verdict"])).encode()]


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class Threaded(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class Runner:
    def __init__(self) -> None:
        self.clients: dict[str, jeton.Client] = {}
        self.sources: dict[str, jeton.TokenSource] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.channels: list[grpc.Channel] = []
        self.stops: list[Any] = []

    def do(self, command: str, given: dict[str, Any]) -> dict[str, Any]:
        return getattr(self, command.replace(".", "_"))(given) or {}

    def hello(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"language": "Python", "version": jeton.__version__}

    def client_new(self, given: dict[str, Any]) -> None:
        self.clients[given["client"]] = jeton.Client(**client_arguments(given))

    def client_call(self, given: dict[str, Any]) -> dict[str, Any]:
        method, client = given["method"], self.clients[given["client"]]
        request, timeout = request_of(method, given["request"]), given.get("deadline_s")
        if method in ("Issue", "Refresh", "Validate", "Revoke"):
            answer = client._ask(method, request, timeout)
        else:
            answer = getattr(client, snake(method))(request, timeout=timeout)
        return {"response": response_of(answer)}

    def source_new(self, given: dict[str, Any]) -> None:
        told = self.events[given["source"]] = []
        client = self.clients[given["client"]]
        source = jeton.TokenSource(client, on_event=lambda it: told.append(event(it)), **source_arguments(given))
        self.sources[given["source"]] = source

    def source_get(self, given: dict[str, Any]) -> dict[str, Any]:
        token = self.sources[given["source"]].get(given.get("deadline_s", 10.0))
        return {"token": token.reveal(), "jti": token.jti}

    def source_call(self, given: dict[str, Any]) -> dict[str, Any]:
        source = self.sources[given["source"]]
        with grpc.insecure_channel(given["target"].removeprefix("http://")) as channel:
            stub = echo_pb2_grpc.EchoServiceStub(grpc.intercept_channel(channel, source.interceptor()))
            messages = 0
            try:
                if given["method"] == "Echo":
                    answer = stub.Echo(echo_pb2.EchoRequest(text="hello"), timeout=given.get("deadline_s", 60))
                    return {"code": "OK", "reason": "", "subject": answer.subject, "jti": answer.jti}
                stream = stub.Watch(echo_pb2.WatchRequest())
                for _ in stream:
                    messages += 1
                    if messages == given["messages"]:
                        stream.cancel()
                        break
                return {"code": "OK", "messages": messages}
            except grpc.RpcError as error:
                return {**refusal(error), "messages": messages}

    def source_events(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"events": list(self.events[given["source"]])}

    def source_close(self, given: dict[str, Any]) -> None:
        self.sources[given["source"]].close()

    def guard_new(self, given: dict[str, Any]) -> dict[str, Any]:
        guard = jeton.Guard(self.clients[given["client"]], **guard_arguments(given))
        executor = futures.ThreadPoolExecutor(max_workers=64, thread_name_prefix="served")
        server = grpc.server(executor, interceptors=[guard.interceptor()], options=[("grpc.so_reuseport", 0)])
        echo_pb2_grpc.add_EchoServiceServicer_to_server(Echo(), server)
        tls = given.get("tls")
        if tls:
            pair = (open(tls["key_file"], "rb").read(), open(tls["cert_file"], "rb").read())
            ca = open(tls["client_ca_file"], "rb").read()
            # A certificate is asked for, and one that is presented must be good: grpcio can only require it or not.
            credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=True)
            port = server.add_secure_port("127.0.0.1:0", credentials)
        else:
            port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        http = Threaded(("127.0.0.1", 0), Quiet)
        http.set_app(GuardMiddleware(echo_page, guard))
        serving = threading.Thread(target=http.serve_forever, args=(0.05,), name="runner-http", daemon=True)
        serving.start()

        def stop() -> None:
            server.stop(0).wait()
            executor.shutdown()
            http.shutdown()
            http.server_close()
            guard.close()

        self.stops.append(stop)
        return {"grpc": f"127.0.0.1:{port}", "http": f"127.0.0.1:{http.server_port}"}

    def show(self, given: dict[str, Any]) -> dict[str, Any]:
        source, client = self.sources[given["source"]], self.clients[given["client"]]
        return {"texts": shown([source, client, source.get(), source._state.held, source._state.options])}

    def left(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"left": threads()}

    def close(self, given: dict[str, Any]) -> None:
        for source in self.sources.values():
            source.close()
        for stop in self.stops:
            stop()
        self.stops = []
        for client in self.clients.values():
            client.close()


def main() -> None:
    runner, writing = Runner(), threading.Lock()

    def answer(line: str) -> None:
        given = json.loads(line)
        try:
            told = {"id": given["id"], "ok": runner.do(given["do"], given)}
        except AttributeError as error:
            name = given["do"].replace(".", "_")
            told = {"id": given["id"]}
            told |= {"error": failure(error)} if hasattr(runner, name) else {"unsupported": True}
        except Exception as error:
            told = {"id": given["id"], "error": failure(error)}
        with writing, contextlib.suppress(BrokenPipeError):
            print(json.dumps(told), flush=True)

    for line in sys.stdin:
        # Objects are made in the order of the lines; what may wait has a thread of its own.
        if json.loads(line)["do"] in ("client.new", "source.new", "hello"):
            answer(line)
        else:
            threading.Thread(target=answer, args=(line,), name="runner", daemon=True).start()


main()
