"""A token that stays fresh, renewed by a thread in the background."""

from __future__ import annotations

import datetime
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc

from ._interceptors import CallCredentialsPlugin, TokenInterceptor
from ._renewal import Attempt, Event, Options, Renewal, Token, boot_clock
from ._secret import Secret
from ._types import issued
from .client import Cancellation, Client
from .errors import JetonError, UnexpectedError

__all__ = ["Event", "Token", "TokenSource"]

log = logging.getLogger("jeton")


class TokenSource:
    """Holds one token for `subject` and `audiences`, and keeps it fresh. Made without any call.

    `get` returns the token in hand at once; it waits only if there is none, or a dead one. Threads may share it.
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
        self._changed = threading.Condition()
        self._cancellation = Cancellation()
        self._thread: threading.Thread | None = None
        self._attempting: threading.Thread | None = None
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._on_event = on_event
        self._teller: threading.Thread | None = None
        client.on_clock(self._wake)

    def get(self, timeout: float = 10.0) -> Token:
        """Returns a token that is not dead."""
        if not self._state.closed and (token := self._state.live()) is not None:
            return token
        with self._changed:
            seen = self._state.completed
            found: list[Token] = []

            def settled() -> bool:
                token = self._state.look(seen)
                if token is None:
                    self._begin()
                    return False
                found.append(token)
                return True

            if self._changed.wait_for(settled, timeout):
                return found[-1]
            raise self._state.timed_out()

    def authorization(self, timeout: float = 10.0) -> str:
        """Returns the value of an `authorization` header."""
        return f"Bearer {self.get(timeout).reveal()}"

    def instead_of(self, refused: Token, timeout: float = 10.0) -> Token | None:
        """Returns another token than one that a peer refused; `None` if there is none to be had."""
        with self._changed:
            if self._state.has_ended or self._state.closed:
                return None
            token = self._state.live()
            if token is not None and token.secret != refused.secret:
                return token
            if not self._state.in_flight and not self._state.refused():
                return None
            seen = self._state.completed
            self._begin()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._state.completed > seen or self._state.closed, timeout)
            token = None if self._state.closed else self._state.live()
            return token if token is not None and token.secret != refused.secret else None

    def interceptor(self) -> TokenInterceptor:
        """For `grpc.intercept_channel`: sends the token, and repeats a unary call whose token was refused."""
        return TokenInterceptor(self)

    def call_credentials(self) -> grpc.CallCredentials:
        """For secure channels, by `grpc.composite_channel_credentials`. They repeat no call: the interceptor does."""
        return grpc.metadata_call_credentials(CallCredentialsPlugin(self), name="jeton")

    def close(self) -> None:
        """Ends everything that the source began. Callers that wait get `Closed`."""
        with self._changed:
            self._state.closed = True
            self._changed.notify_all()
        self._cancellation.cancel()
        self._events.put(None)
        for thread in (self._thread, self._attempting, self._teller):
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    def __enter__(self) -> TokenSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<jeton.TokenSource for {self._state.options.subject!r}>"

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jeton-renewal", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._state.closed:
                    return
                self._tell(self._state.tick())
                attempt = self._state.begin()
                if attempt is not None:
                    # In a thread of its own: while it hangs, the events go on.
                    self._attempting = threading.Thread(
                        target=self._attempt, args=(attempt,), name="jeton-attempt", daemon=True
                    )
                    self._attempting.start()
                self._changed.wait(self._client.real_seconds(self._state.wait_s()))

    def _attempt(self, attempt: Attempt) -> None:
        try:
            answer = self._client._ask(  # noqa: SLF001 # of this package
                attempt.method, attempt.request, attempt.timeout, cancellation=self._cancellation, rounds=1
            )
            token = issued(answer.token)
            self._state.keep(token)
        except JetonError as error:
            outcome: Any = error
        except Exception as error:  # noqa: BLE001 # whatever it is, the thread goes on
            log.warning("a renewal failed in an unexpected way: %s", type(error).__name__)
            outcome = UnexpectedError(f"The renewal failed by {type(error).__name__}.")
        else:
            outcome = token
        with self._changed:
            if isinstance(outcome, JetonError):
                self._tell(self._state.failed(attempt, outcome))
            else:
                self._tell(self._state.succeeded(attempt, outcome))
            self._changed.notify_all()

    def _tell(self, events: list[Event]) -> None:
        if self._on_event is None or not events:
            return
        if self._teller is None:
            self._teller = threading.Thread(target=self._tell_all, name="jeton-events", daemon=True)
            self._teller.start()
        for event in events:
            self._events.put(event)

    def _tell_all(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                if self._on_event is not None:
                    self._on_event(event)
            except Exception:  # a receiver that fails holds up nothing
                log.exception("the receiver of events failed")
