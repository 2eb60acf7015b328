"""The runner of a language: a process that does what it is told by JSON lines."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
from typing import Any

from .fleet import PATIENCE_S


class RunnerError(Exception):
    """A command failed, with the error that the library gave."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(json.dumps(error))
        self.error = error


class Unsupported(Exception):
    """The runner does not know the command."""


class Runner:
    """One process of one scenario."""

    def __init__(self, command: list[str], directory: pathlib.Path, environment: dict[str, str]) -> None:
        self._command, self._directory = command, directory
        self._environment = {**os.environ, **environment}
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self.stderr = bytearray()
        self.stray = bytearray()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._directory,
            env=self._environment,
            limit=64 * 1024 * 1024,
        )
        self._reading = asyncio.gather(self._read_answers(), self._read_stderr())

    async def _read_answers(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            try:
                answer = json.loads(line)
                waiting = self._waiting.pop(answer["id"])
            except (ValueError, KeyError, TypeError):
                self.stray += line
                continue
            if not waiting.done():
                waiting.set_result(answer)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RuntimeError(f"the runner ended: {self.stderr[-2000:].decode(errors='replace')}"))

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(65536):
            self.stderr += data

    async def do(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Runs a command, and returns what it answers."""
        self._number += 1
        waiting = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        line = json.dumps({"id": self._number, "do": command, **arguments}) + "\n"
        self._process.stdin.write(line.encode())
        answer = await asyncio.wait_for(waiting, 4 * PATIENCE_S)
        if answer.get("unsupported"):
            raise Unsupported(command)
        if "error" in answer:
            raise RunnerError(answer["error"])
        return answer.get("ok", {})

    def sockets(self) -> int:
        """Sockets that the process holds open."""
        count = 0
        for descriptor in pathlib.Path(f"/proc/{self._process.pid}/fd").iterdir():
            try:
                count += os.readlink(descriptor).startswith("socket:")
            except OSError:
                continue
        return count

    async def end(self) -> int:
        """Ends its input, and returns the exit code: by itself a runner ends with 0."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            code = await asyncio.wait_for(self._process.wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            self.kill()
            await self._process.wait()
            code = -1
        await self._reading
        return code

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
