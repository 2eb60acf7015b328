"""A real jeton with two replicas, started by `jeton dev`, and what the driver asks of it."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import subprocess
import tempfile
from typing import Any

import grpc
import grpc.aio
from jeton.v1 import admin_service_pb2 as admin_pb
from jeton.v1 import admin_service_pb2_grpc as admin_grpc
from jeton.v1 import client_pb2, revocation_pb2
from jeton.v1 import token_service_pb2 as token_pb
from jeton.v1 import token_service_pb2_grpc as token_grpc

# For whatever must come about: no machine is so slow.
PATIENCE_S = 60.0


class Fleet:
    """Two replicas on one database, and a client that may issue and validate everything."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.directory = tempfile.TemporaryDirectory(prefix="jeton-conformance-")
        self.replicas: list[str] = []
        self.api_key = ""
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        root = pathlib.Path(self.directory.name)
        root.chmod(0o711)  # as root, Postgres runs as somebody else, who must reach its files
        listen = [word for name in ("--listen", "--admin-listen", "--ops-listen") for word in (name, "127.0.0.1:0")]
        command = [self.program, "dev", "--replicas", "2", "--data-dir", str(root / "data"), *listen]
        with (root / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        written = root / "data" / "dev.json"
        while not written.exists():
            if self._process.poll() is not None:
                raise SystemExit(f"jeton dev did not start:\n{(root / 'log').read_text()}")
            await asyncio.sleep(0.1)
        dev = json.loads(written.read_text())
        self.replicas = [server["public"] for server in dev["servers"]]
        self.admin_key = dev["clients"]["dev-admin"]
        self.admin_address = dev["admin"]
        self._admin_channel = grpc.aio.insecure_channel(self.admin_address)
        self.admin = admin_grpc.AdminServiceStub(self._admin_channel)
        self.wide = token_grpc.TokenServiceStub(self._admin_channel)
        await self._register()

    async def _register(self) -> None:
        client = client_pb2.Client(
            client_id="conformance",
            permissions=[client_pb2.PERMISSION_ISSUE, client_pb2.PERMISSION_VALIDATE],
            audiences=["*"],
            subjects=["*"],
        )
        await self.ask(self.admin.CreateClient, admin_pb.CreateClientRequest(client=client))
        made = await self.ask(self.admin.CreateApiKey, admin_pb.CreateApiKeyRequest(client_id="conformance"))
        self.api_key = made.secret

    async def ask(self, call: Any, request: Any) -> Any:
        return await call(request, metadata=[("authorization", f"Bearer {self.admin_key}")], timeout=PATIENCE_S)

    async def revoke(self, **target: str) -> None:
        """Revokes a token by its text, or a session, and returns when it is dead on both replicas."""
        request = token_pb.RevokeRequest(
            target=revocation_pb2.RevocationTarget(**target),
            reason=revocation_pb2.REVOCATION_REASON_LEAKED,
        )
        await self.ask(self.wide.Revoke, request)

    async def stop(self) -> None:
        await self._admin_channel.close()
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGTERM)
            await asyncio.to_thread(self._process.wait, PATIENCE_S)
        self.directory.cleanup()
