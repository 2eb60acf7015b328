"""Runs the steps of one scenario."""

from __future__ import annotations

import ast
import asyncio
import inspect
import pathlib
import stat
import tempfile
import time
import uuid
from typing import Any

import grpc
import grpc.aio
from jeton.v1 import token_pb2
from jeton.v1 import token_service_pb2 as pb
from jeton.v1 import token_service_pb2_grpc as token_grpc

from .catalogues import Box, Catalogues, Failure, boxed
from .certificates import Authority
from .fleet import PATIENCE_S, Fleet
from .peer import Caller, Peer
from .relay import Relay, Rule
from .runner import Runner, RunnerError, Unsupported
from .wire import Wire


class Calls:
    """Calls to a guarded service that run at the same time."""

    def __init__(self, tasks: list[asyncio.Future[dict[str, Any]]]) -> None:
        self._tasks = tasks

    def finished(self) -> int:
        return sum(task.done() for task in self._tasks)

    def done(self) -> bool:
        return self.finished() == len(self._tasks)

    def result(self) -> list[dict[str, Any]]:
        return [task.result() for task in self._tasks]

    def __str__(self) -> str:
        return str([task.result() if task.done() else "waiting" for task in self._tasks])


class Scenario(Catalogues):
    """One scenario for one runner, with relays and a process of its own."""

    def __init__(self, data: dict[str, Any], fleet: Fleet, command: list[str], root: pathlib.Path) -> None:
        self._data, self._fleet, self._command, self._root = data, fleet, command, root
        self._directory = tempfile.TemporaryDirectory(prefix="jeton-scenario-")
        self._secrets: set[str] = {fleet.api_key}
        self._runners: list[Runner] = []
        self._stops: list[Any] = []
        self._callers: dict[str, Caller] = {}
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._found_left: list[str] = []
        self.names: dict[str, Any] = {
            "aud": f"aud-{uuid.uuid4().hex[:12]}",
            "dir": self._directory.name,
            "key": fleet.api_key,
            "replicas": fleet.replicas,
            "events": self._events,
            "kinds": self._kinds,
            "status": self._status,
            "left": self._left,
            "now": time.monotonic,
            "sockets": lambda: self._runner.sockets(),
            "mode": lambda path: oct(stat.S_IMODE(pathlib.Path(path).stat().st_mode)),
            "exists": lambda path: pathlib.Path(path).exists(),
            "read": lambda path: pathlib.Path(path).read_text(),
            "printed": lambda: (bytes(self._runner.stderr) + bytes(self._runner.stray)).decode(errors="replace"),
            "ask": lambda command, **arguments: self._runner.do(command, **arguments),
            "echoed": self._echoed,
        }

    @property
    def _runner(self) -> Runner:
        return self._runners[-1]

    async def run(self) -> str:
        """Returns why the scenario failed; empty if it passed."""
        why = await self._run()
        for secret in self._secrets:
            why = why.replace(secret, "[secret]")
        return why[:2000]

    async def _run(self) -> str:
        step: Any = "the start"
        try:
            await self._start_runner()
            for step in [*self._setup(), *self._data["steps"]]:
                await self._step(step)
            step = "the end"
            await self._end()
        except (Failure, RunnerError) as failure:
            return f"{_shown(step)}: {failure}"
        except Unsupported as unsupported:
            return f"the runner does not support {unsupported}"
        except Exception as error:  # of the driver, or an expression that does not fit the answer
            return f"{_shown(step)}: {type(error).__name__}: {error}"
        finally:
            await self._stop()
        return ""

    def _setup(self) -> list[dict[str, Any]]:
        """The usual beginning: relay `a`, client `c`, and a source `s` or a guard `g`."""
        steps: list[dict[str, Any]] = []
        if "relay" in self._data:
            steps.append({"relay": "a", **self._data["relay"]})
        if "client" in self._data:
            client = {"endpoints": ["=a.url"], "api_key": "=key", **self._data["client"]}
            steps.append({"do": "client.new", "with": {"client": "c", **client}})
        if "source" in self._data:
            source = {"subject": "svc:conformance", "audiences": ["=aud"], "ttl_s": 60, **self._data["source"]}
            steps.append({"do": "source.new", "with": {"source": "s", "client": "c", **source}})
        if "guard" in self._data:
            guard = {"audiences": ["=aud"], **self._data["guard"]}
            steps.append({"do": "guard.new", "with": {"guard": "g", "client": "c", **guard}, "save": "g"})
        return steps

    async def _start_runner(self) -> None:
        environment = {"JETON_CONFORMANCE": "1", **self._data.get("environment", {})}
        runner = Runner(self._command, self._root, environment)
        self._runners.append(runner)
        await runner.start()
        await runner.do("hello")

    async def _end(self) -> None:
        """What holds at the end of every scenario."""
        await self._runner.do("close")
        for runner in self._runners:
            code = await runner.end()
            if code != 0:
                raise Failure(f"the runner ended with {code}: {bytes(runner.stderr[-2000:]).decode(errors='replace')}")
            printed = bytes(runner.stderr) + bytes(runner.stray)
            for secret in self._secrets:
                if secret.encode() in printed or secret[-24:].encode() in printed:
                    raise Failure("a secret is in the log")

    async def _stop(self) -> None:
        for runner in self._runners:
            runner.kill()
        for task in self._tasks.values():
            task.cancel()
        for caller in self._callers.values():
            await caller.close()
        for stop in reversed(self._stops):
            await stop()
        self._directory.cleanup()

    # Steps. A step is a table; its first key says what it does.

    async def _step(self, step: dict[str, Any]) -> None:
        verb = next(iter(step))
        await getattr(self, f"_step_{verb}")(**{key: value for key, value in step.items()})

    async def _step_relay(
        self, relay: str, replica: int = 1, tls: str = "", shift_s: int = 0, refresh_after_s: int = 0
    ) -> None:
        made = Relay(self._fleet.replicas[replica - 1], self._secrets)
        made.shift_s, made.refresh_after_s = shift_s, refresh_after_s
        credentials = None
        if tls:
            credentials = self._authority().server(mutual=tls == "mutual")
        await made.start(credentials)
        self.names[relay] = made
        self._stops.append(made.stop)

    def _authority(self) -> Authority:
        if "authority" not in self.names:
            self.names["authority"] = Authority(pathlib.Path(self._directory.name))
            self.names["ca"] = str(self.names["authority"].file)
            self.names["certificate"] = self.names["authority"].make
            self.names["other_ca"] = str(Authority(pathlib.Path(self._directory.name), "another").file)
        return self.names["authority"]

    async def _step_authority(self, authority: bool) -> None:
        self._authority()

    async def _step_wire(self, wire: str, before: str) -> None:
        made = Wire(self.names[before].address)
        await made.start()
        self.names[wire] = made
        self._stops.append(made.stop)

    async def _step_peer(self, peer: str, refuse_all: str = "") -> None:
        if peer in self.names:
            self.names[peer].refuse_all = refuse_all
            return
        made = Peer(self._fleet.replicas[1], self._fleet.api_key, self.names["aud"])
        made.refuse_all = refuse_all
        await made.start()
        self.names[peer] = made
        self._stops.append(made.stop)

    async def _step_rule(self, rule: str, **arguments: Any) -> None:
        self.names[rule].rules.append(Rule(**await self._value(arguments)))

    async def _step_clear(self, clear: str) -> None:
        self.names[clear].rules = []

    async def _step_release(self, release: str) -> None:
        self.names[release].release()

    async def _step_refresh_after(self, refresh_after: str, s: int) -> None:
        self.names[refresh_after].refresh_after_s = s

    async def _step_stop(self, stop: str) -> None:
        await self.names[stop].stop()

    async def _step_cut(self, cut: str) -> None:
        await self.names[cut].cut()

    async def _step_stall(self, stall: str) -> None:
        self.names[stall].stall()

    async def _step_mend(self, mend: str) -> None:
        await self.names[mend].mend()

    async def _step_restart(self, restart: bool) -> None:
        await self._runner.do("close")
        await self._start_runner()

    async def _step_do(self, do: str, save: str = "", fails: Any = None, repeat: int = 0, **rest: Any) -> None:
        arguments = await self._value(rest.get("with", {}))
        if repeat:
            call = asyncio.gather(*[self._runner.do(do, **arguments) for _ in range(repeat)])
        else:
            call = self._runner.do(do, **arguments)
        await self._outcome(call, save, fails)

    async def _step_begin(self, begin: str, save: str, repeat: int = 0, **rest: Any) -> None:
        arguments = await self._value(rest.get("with", {}))

        async def both() -> Any:
            if not repeat:
                return await self._runner.do(begin, **arguments)
            return list(await asyncio.gather(*[self._runner.do(begin, **arguments) for _ in range(repeat)]))

        task = asyncio.create_task(both())
        self._tasks[save] = task
        self.names[save] = task

    async def _step_join(self, join: str, save: str = "", fails: Any = None) -> None:
        await self._outcome(self._tasks[join], save, fails)

    async def _outcome(self, call: Any, save: str, fails: Any) -> None:
        kinds = [fails] if isinstance(fails, str) else fails
        try:
            answer = await call
        except RunnerError as error:
            if not kinds:
                raise
            if error.error.get("kind") not in kinds and kinds != ["*"]:
                raise Failure(f"failed by {error.error}, not by {' or '.join(kinds)}") from None
            answer = error.error
        else:
            if kinds:
                raise Failure(f"answered {answer}; it should have failed by {' or '.join(kinds)}")
        if save:
            self.names[save] = boxed(list(answer) if isinstance(answer, (list, tuple)) else answer)

    async def _step_check(self, check: str) -> None:
        if not await self._evaluate(check):
            raise Failure(f"it is not so. {self._known(check)}")

    async def _step_until(self, until: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not await self._evaluate(until):
            if time.monotonic() > end:
                raise Failure(f"it does not come about. {self._known(until)}")
            await asyncio.sleep(0.02)

    async def _step_set(self, set: str, to: Any) -> None:  # noqa: A002
        self.names[set] = await self._value(to)

    async def _step_pass_s(self, pass_s: float, why: str) -> None:
        await asyncio.sleep(pass_s)

    async def _step_revoke(self, revoke: dict[str, Any]) -> None:
        await self._fleet.revoke(**await self._value(revoke))

    async def _step_caller(self, caller: str, guard: str, certificate: str = "", tls: bool = False) -> None:
        """A caller of its own, over TLS, with a certificate or without."""
        credentials = None
        if tls:
            credentials, self.names["thumbprint"] = self._authority().client(certificate or None)
        addresses = self.names[guard]
        self._callers[caller] = Caller(addresses["grpc"], addresses.get("http"), credentials)

    async def _step_issue(self, issue: str, **arguments: Any) -> None:
        """The driver gets a token of its own: `issue = "name"`."""
        arguments = {"subject": "svc:conformance", "audiences": ["=aud"], "ttl_s": 60, **arguments}
        values = await self._value(arguments)
        request = pb.IssueRequest()
        request.ttl.seconds = values.pop("ttl_s")
        request.claims.update(values.pop("claims", {}))
        for name in ("audiences", "scopes"):
            getattr(request, name).extend(values.pop(name, []))
        for name, value in values.items():
            setattr(request, name, value)
        metadata = [("authorization", f"Bearer {self._fleet.api_key}")]
        async with grpc.aio.insecure_channel(self._fleet.replicas[0]) as channel:
            stub = token_grpc.TokenServiceStub(channel)
            token = (await stub.Issue(request, metadata=metadata, timeout=PATIENCE_S)).token
        self._secrets |= {token.access_token, token.refresh.refresh_token} - {""}
        self.names[issue] = Box(
            token=token.access_token, jti=token.jti, refresh_token=token.refresh.refresh_token, sid=token.session_id
        )

    def _caller(self, guard: str) -> Caller:
        if guard not in self._callers:
            addresses = self.names[guard]
            self._callers[guard] = Caller(addresses["grpc"], addresses.get("http"), None)
        return self._callers[guard]

    async def _step_echo(self, echo: str, headers: Any, save: str) -> None:
        self.names[save] = boxed(await self._caller(echo).echo(await self._value(headers)))

    async def _echoed(self, guard: str, header: str) -> Box:
        return boxed(await self._caller(guard).echo([header]))

    async def _step_http(self, http: str, headers: Any, save: str) -> None:
        self.names[save] = boxed(await self._caller(http).http(await self._value(headers)))

    async def _step_echo_all(self, echo_all: str, headers: Any, save: str) -> None:
        """Calls Echo for each value of `headers`, all at the same time."""
        values = await self._value(headers)
        caller = self._caller(echo_all)
        self.names[save] = Calls([asyncio.ensure_future(caller.echo([value])) for value in values])

    async def _step_watch(self, watch: str, headers: Any, save: str) -> None:
        """Begins a stream; `name.messages` counts, `name.end` is its status."""
        seen = Box(messages=0, end=None)
        values = await self._value(headers)

        async def read() -> None:
            seen["end"] = await self._caller(watch).watch(values, seen)

        self._tasks[save] = asyncio.create_task(read())
        self.names[save] = seen

    # Expressions.

    async def _value(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("="):
            return await self._evaluate(value[1:])
        if isinstance(value, list):
            return [await self._value(item) for item in value]
        if isinstance(value, dict):
            return {key: await self._value(item) for key, item in value.items()}
        return value

    async def _evaluate(self, expression: str) -> Any:
        code = compile(expression, "scenarios.toml", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        value = eval(code, self.names)  # scenarios.toml is a part of the driver
        return await value if inspect.isawaitable(value) and not isinstance(value, asyncio.Future) else value

    def _known(self, expression: str) -> str:
        """Values of the names in an expression, for the report; no secrets."""
        used = {node.id for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.Name)}
        parts = []
        for name in sorted(used & self.names.keys()):
            value = self.names[name]
            if isinstance(value, Relay):
                value = [
                    (call.method, round(call.at - value.calls_seen[0].at, 2), call.code) for call in value.calls_seen
                ]
            elif callable(value):
                continue
            parts.append(f"{name} = {str(value)[:600]}")
        if "left" in used:
            parts.append(f"left are {self._found_left} and {self._runner.sockets()} sockets")
        text = "; ".join(parts)
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return text

    async def _events(self, source: str) -> list[Box]:
        return boxed((await self._runner.do("source.events", source=source))["events"])

    async def _kinds(self, source: str) -> list[str]:
        return [event.kind for event in await self._events(source)]

    async def _left(self) -> list[str]:
        self._found_left = sorted((await self._runner.do("left"))["left"])
        return self._found_left

    async def _status(self, token: str, replica: int = 2) -> str:
        request = pb.ValidateRequest(token=token, audiences=[self.names["aud"]])
        metadata = [("authorization", f"Bearer {self._fleet.api_key}")]
        async with grpc.aio.insecure_channel(self._fleet.replicas[replica - 1]) as channel:
            answer = await token_grpc.TokenServiceStub(channel).Validate(request, metadata=metadata, timeout=PATIENCE_S)
        return token_pb2.TokenStatus.Name(answer.verdict.status).removeprefix("TOKEN_STATUS_")


def _shown(step: Any) -> str:
    if not isinstance(step, dict):
        return str(step)
    return ", ".join(f"{key} = {value!r}" for key, value in step.items())
