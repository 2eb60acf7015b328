"""A token that stays fresh, renewed by a task in the background."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc

from .._renewal import Attempt, Event, Options, Renewal, Token, boot_clock
from .._secret import Secret
from .._types import issued
from ..errors import JetonError, UnexpectedError
from ._interceptors import CallCredentialsPlugin, interceptors
from .client import Client

__all__ = ["Event", "Token", "TokenSource"]

log = logging.getLogger("jeton")


class TokenSource:
    """Holds one token for `subject` and `audiences`, and keeps it fresh. Made without any call.

    `get` returns the token in hand at once; it waits only if there is none, or a dead one.
    """

    def __init__(
        self,
        client: Client,
        subject: str = "",
        audiences: Iterable[str] = (),
        *,
        scopes: Iterable[str] = (),
        claims: Mapping[str, Any] | None = None,
        ttl: datetime.timedelta | float | None = None,
        refreshable: bool = False,
        refresh_token: str | Secret | None = None,
        refresh_token_file: str | os.PathLike[str] | None = None,
        on_refresh_token: Callable[[Secret], Any] | None = None,
        on_event: Callable[[Event], Any] | None = None,
    ) -> None:
        options = Options.of(
            subject,
            audiences,
            scopes,
            claims,
            ttl,
            refreshable,
            refresh_token,
            refresh_token_file,
            on_refresh_token,
        )
        self._client = client
        self._state = Renewal(options, client.clock or boot_clock)
        self._waiters: set[asyncio.Future[None]] = set()
        self._alarm: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._attempting: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[Event] | None = None
        self._on_event = on_event
        self._teller: asyncio.Task[None] | None = None
        client.on_clock(self._wake)

    async def get(self, timeout: float = 10.0) -> Token:
        """Returns a token that is not dead."""
        if not self._state.closed and (token := self._state.live()) is not None:
            return token
        loop = asyncio.get_running_loop()
        end, seen = loop.time() + timeout, self._state.completed
        while (token := self._state.look(seen)) is None:
            self._begin()
            if not await self._change(end - loop.time()):
                raise self._state.timed_out()
        return token

    async def authorization(self, timeout: float = 10.0) -> str:
        """Returns the value of an `authorization` header."""
        return f"Bearer {(await self.get(timeout)).reveal()}"

    async def instead_of(self, refused: Token, timeout: float = 10.0) -> Token | None:
        """Returns another token than one that a peer refused; `None` if there is none to be had."""
        state, loop = self._state, asyncio.get_running_loop()
        if state.has_ended or state.closed:
            return None
        token = state.live()
        if token is not None and token.secret != refused.secret:
            return token
        if not state.in_flight and not state.refused():
            return None
        end, seen = loop.time() + timeout, state.completed
        self._begin()
        while state.completed <= seen and not state.closed:
            if not await self._change(end - loop.time()):
                break
        token = None if state.closed else state.live()
        return token if token is not None and token.secret != refused.secret else None

    def interceptors(self) -> list[grpc.aio.ClientInterceptor]:
        """For `grpc.aio.insecure_channel(…, interceptors=…)` and `secure_channel`.

        They send the token with each call, and repeat a unary call whose token was refused.
        """
        return interceptors(self)

    def call_credentials(self) -> grpc.CallCredentials:
        """For secure channels, by `grpc.composite_channel_credentials`; to be made on the loop of the source.

        They cannot repeat a call: the interceptors do.
        """
        return grpc.metadata_call_credentials(CallCredentialsPlugin(self, asyncio.get_running_loop()), name="jeton")

    async def close(self) -> None:
        """Ends everything that the source began. Callers that wait get `Closed`."""
        self._state.closed = True
        self._changed()
        own = (self._task, self._attempting, self._teller)
        tasks = [task for task in own if task is not None and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A cancelled task keeps its frames, those keep a channel, and that keeps gRPC's poller.
        self._task = self._attempting = self._teller = None
        tasks.clear()
        del own

    async def __aenter__(self) -> TokenSource:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<jeton.aio.TokenSource for {self._state.options.subject!r}>"

    async def _change(self, timeout: float) -> bool:
        """Waits until the state changes; `False` when the time is over."""
        if timeout <= 0:
            return False
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            done, _ = await asyncio.wait({waiter}, timeout=timeout)
            return bool(done)
        finally:
            self._waiters.discard(waiter)

    def _changed(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._alarm is not None:
            self._alarm.set()

    def _begin(self) -> None:
        if self._task is None:
            self._alarm = asyncio.Event()
            self._task = asyncio.create_task(self._run(), name="jeton-renewal")
        elif self._alarm is not None:
            self._alarm.set()

    def _wake(self) -> None:
        self._changed()

    async def _run(self) -> None:
        alarm = self._alarm
        assert alarm is not None  # noqa: S101 # _begin made it
        while not self._state.closed:
            self._tell(self._state.tick())
            attempt = self._state.begin()
            if attempt is not None:
                # In a task of its own: while it hangs, the events go on.
                self._attempting = asyncio.create_task(self._attempt(attempt), name="jeton-attempt")
            alarm.clear()
            seconds = None if self._client.clock is not None else self._state.wait_s()
            try:
                await asyncio.wait_for(alarm.wait(), seconds)
            except asyncio.TimeoutError:
                continue

    async def _attempt(self, attempt: Attempt) -> None:
        try:
            answer = await self._client._ask(  # noqa: SLF001 # of this package
                attempt.method, attempt.request, attempt.timeout, rounds=1
            )
            token = issued(answer.token)
            if token.refresh is not None:
                await asyncio.to_thread(self._state.keep, token)
        except JetonError as error:
            self._tell(self._state.failed(attempt, error))
        except Exception as error:  # noqa: BLE001 # whatever it is, the task goes on
            log.warning("a renewal failed in an unexpected way: %s", type(error).__name__)
            told = UnexpectedError(f"The renewal failed by {type(error).__name__}.")
            self._tell(self._state.failed(attempt, told))
        else:
            self._tell(self._state.succeeded(attempt, token))
        self._changed()

    def _tell(self, events: list[Event]) -> None:
        if self._on_event is None or not events:
            return
        if self._events is None:
            self._events = asyncio.Queue()
            self._teller = asyncio.create_task(self._tell_all(self._events), name="jeton-events")
        for event in events:
            self._events.put_nowait(event)

    async def _tell_all(self, events: asyncio.Queue[Event]) -> None:
        while True:
            event = await events.get()
            try:
                told = self._on_event(event) if self._on_event is not None else None
                if inspect.isawaitable(told):
                    await told
            except Exception:  # a receiver that fails holds up nothing
                log.exception("the receiver of events failed")
