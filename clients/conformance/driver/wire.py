"""A TCP proxy that can be cut (connections end, new ones are refused) and stalled (nothing goes through)."""

from __future__ import annotations

import asyncio
import contextlib


class Wire:
    """Listens on loopback, and passes bytes on to `upstream`."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self.connections = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self.url = f"http://{self.address}"

    def stall(self) -> None:
        self._flowing.clear()

    async def mend(self) -> None:
        self._flowing.set()
        if self._server is None:
            await self.start()

    async def cut(self) -> None:
        """Ends all connections; until `mend` nothing listens."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def stop(self) -> None:
        await self.cut()
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            ends = {writer, upstream_writer}
            self._writers |= ends
            tasks = {
                asyncio.create_task(self._pump(reader, upstream_writer)),
                asyncio.create_task(self._pump(upstream_reader, writer)),
            }
            self._tasks |= tasks
            await asyncio.wait(tasks)
            self._tasks -= tasks
            self._writers -= ends
        with contextlib.suppress(Exception):
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(Exception):
            writer.close()
