"""Steps that try a whole list: every kind of bad token, every reason."""

from __future__ import annotations

import pathlib
from typing import Any

from .peer import Caller
from .reasons import reasons
from .relay import Rule
from .runner import Runner, RunnerError


class Failure(Exception):
    """The library does not do what the scenario says."""


class Box(dict[str, Any]):
    """What a command answered: `box.name`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return boxed(self[name])
        except KeyError:
            raise AttributeError(f"the answer has no {name}: {self}") from None


def boxed(value: Any) -> Any:
    if isinstance(value, dict):
        return Box(value)
    return [boxed(item) for item in value] if isinstance(value, list) else value


class Catalogues:
    """A part of a scenario."""

    names: dict[str, Any]
    _root: pathlib.Path

    @property
    def _runner(self) -> Runner:
        raise NotImplementedError

    def _caller(self, guard: str) -> Caller:
        raise NotImplementedError

    async def _step_bad_tokens(self, bad_tokens: str) -> None:
        """Every kind of bad token, by both transports."""
        good = "Bearer " + self.names["revoked"].token
        cases = [
            ([], "NO_TOKEN"),
            (["Basic dXNlcjpwYXNzd29yZA=="], "NO_TOKEN"),
            (["Bearer"], "NO_TOKEN"),
            ([good, good], "NO_TOKEN"),
            (["Bearer rubbish"], "MALFORMED"),
            (["Bearer " + "x" * 7000], "MALFORMED"),
            ([good[:-8] + "AAAAAAAA"], "BAD_SIGNATURE"),
            ([good], "REVOKED"),
            (["Bearer " + self.names["short"].token], "EXPIRED"),
            (["Bearer " + self.names["elsewhere"].token], "WRONG_AUDIENCE"),
        ]
        for headers, reason in cases:
            grpc_answer = boxed(await self._caller(bad_tokens).echo(headers))
            expected = ("UNAUTHENTICATED", reason, "guard.jeton.v1")
            if (grpc_answer.code, grpc_answer.reason, grpc_answer.domain) != expected:
                raise Failure(f"gRPC: {reason}: {grpc_answer}")
            http = boxed(await self._caller(bad_tokens).http(headers))
            if http.status != 401 or http.body.get("reason") != reason:
                raise Failure(f"HTTP: {reason}: {http}")
            challenge = "Bearer" if reason == "NO_TOKEN" else 'Bearer error="invalid_token"'
            if http.www_authenticate[: len(challenge)] != challenge:
                raise Failure(f"HTTP: {reason}: WWW-Authenticate is {http.www_authenticate!r}")

    async def _step_every_reason(self, every_reason: str, client: str) -> None:
        """Each reason of error_reason.proto, with the metadata that its comment names."""
        for number, entry in enumerate(reasons(self._root)):
            rule = Rule(
                "refuse", code=entry.code, reason=entry.name, metadata=entry.metadata, times=1, method="RotateKey"
            )
            self.names[every_reason].rules = [rule]
            try:
                await self._runner.do("client.call", client=client, method="RotateKey", request={})
            except RunnerError as error:
                told = error.error
            else:
                raise Failure(f"{entry.name} is no error")
            kind = "".join(word.capitalize() for word in entry.name.split("_"))
            if (told.get("kind"), told.get("code"), told.get("reason")) != (kind, entry.code, entry.name):
                raise Failure(f"{entry.name}: {told}")
            if told.get("fields") != entry.fields:
                raise Failure(f"{entry.name}: the fields are {told.get('fields')}, not {entry.fields}")
            if number == 0 and told.get("metadata") != entry.metadata:
                raise Failure(f"{entry.name}: the metadata is {told.get('metadata')}")
