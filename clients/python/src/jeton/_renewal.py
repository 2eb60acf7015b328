"""When a token is renewed, and what callers get meanwhile: the state of a token source, without threads or I/O.

clients/README.md specifies it. Times are of a monotonic clock.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc

from . import _requests
from ._jitter import full_jitter
from ._keep import RefreshTokenFile
from ._secret import Secret, secret
from ._status import SESSION_ENDED, SESSION_REVOKED, deadline_exceeded, is_lasting
from ._types import IssuedToken
from .errors import Closed, CredentialInvalid, JetonError

ATTEMPT_S = 10.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
HEALTHY_AFTER_S = 60.0
# Who waits stands still while the machine sleeps: after a resume, what is due begins within this time.
LONGEST_WAIT_S = 30.0
# Renewals that refusals by peers may cause: so many at once, and one more for each so many seconds.
REFUSALS = 5
REFUSAL_EVERY_S = 10.0

log = logging.getLogger("jeton")


def boot_clock() -> float:
    """Seconds of a clock that goes on in suspend, where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclasses.dataclass(frozen=True)
class Token:
    """A token in hand. `reveal` gives its text; nothing else does."""

    secret: Secret = dataclasses.field(repr=False)
    jti: str
    session_id: str
    expires_at: float = dataclasses.field(repr=False)

    def reveal(self) -> str:
        """Returns the text."""
        return self.secret.reveal()


@dataclasses.dataclass(frozen=True)
class Event:
    """What a token source tells. `kind` is `refreshed`, `will_expire` or `session_ended`."""

    kind: str
    jti: str
    session_id: str
    error: JetonError | None = None


@dataclasses.dataclass
class _Held:
    token: Token
    dead_at: float
    renew_at: float
    warn_at: float
    warned: bool = False


@dataclasses.dataclass(frozen=True)
class Options:
    """What a token source is asked for."""

    subject: str
    audiences: tuple[str, ...]
    scopes: tuple[str, ...]
    claims: Mapping[str, Any] | None
    ttl: datetime.timedelta | float | None
    refreshable: bool
    refresh_token: Secret | None
    refresh_token_file: RefreshTokenFile | None
    on_refresh_token: Callable[[Secret], Any] | None

    @classmethod
    def of(
        cls,
        subject: str,
        audiences: Iterable[str],
        scopes: Iterable[str],
        claims: Mapping[str, Any] | None,
        ttl: datetime.timedelta | float | None,
        refreshable: bool,
        refresh_token: str | Secret | None,
        refresh_token_file: str | os.PathLike[str] | None,
        on_refresh_token: Callable[[Secret], Any] | None,
    ) -> Options:
        """Checks the arguments of a token source."""
        if isinstance(audiences, str) or isinstance(scopes, str):
            raise TypeError("audiences and scopes are lists of texts")
        given = secret(refresh_token) if refresh_token is not None else None
        kept = RefreshTokenFile(refresh_token_file) if refresh_token_file is not None else None
        if not subject and given is None and (kept is None or kept.read() is None):
            raise ValueError("a subject is needed, or a session that exists: refresh_token or refresh_token_file")
        return cls(subject, tuple(audiences), tuple(scopes), claims, ttl, refreshable, given, kept, on_refresh_token)


@dataclasses.dataclass(frozen=True)
class Attempt:
    """One renewal: the call to make, and for how long."""

    method: str
    request: Any = dataclasses.field(repr=False)
    timeout: float
    sent: float


class Renewal:
    """The state. Its owner calls it under a lock, or on one loop."""

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self.options = options
        self.clock = clock
        self.held: _Held | None = None
        self.completed = 0  # attempts
        self.closed = False
        self.in_flight = False
        self._ended: JetonError | None = None
        self._error: JetonError | None = None
        self._failures = 0
        self._failed_at = float("-inf")
        self._not_before = float("-inf")
        self._wanted = False
        self._refusals = float(REFUSALS)
        self._refusals_at = clock()
        self._refresh_token: Secret | None = None
        self._opened = False

    def live(self) -> Token | None:
        """Returns the token in hand, unless it is dead."""
        held = self.held
        return held.token if held is not None and self.clock() < held.dead_at else None

    def look(self, seen: int) -> Token | None:
        """For a caller that began to wait after `seen` attempts: returns a token, or `None` to wait; else raises."""
        if self.closed:
            raise Closed("The token source is closed.", code=grpc.StatusCode.CANCELLED)
        token = self.live()
        if token is not None:
            return token
        if self._ended is not None:
            raise self._ended.again()
        pausing = not self.in_flight and self.clock() < self._not_before
        if self._error is not None and is_lasting(self._error) and (pausing or self.completed > seen):
            raise self._error.again()
        self._wanted = True
        return None

    def timed_out(self) -> JetonError:
        """The error of a caller whose deadline passed: that of the latest attempt since the token in hand died."""
        is_old = self.held is not None and self._failed_at < self.held.dead_at
        return deadline_exceeded() if self._error is None or is_old else self._error.again()

    @property
    def has_ended(self) -> bool:
        """Whether the session is over."""
        return self._ended is not None

    def refused(self) -> bool:
        """A peer refused the token in hand: whether that causes a renewal."""
        now = self.clock()
        more = (now - self._refusals_at) / REFUSAL_EVERY_S
        self._refusals = min(self._refusals + more, float(REFUSALS))
        self._refusals_at = now
        if self._ended is not None or self.closed or self._refusals < 1:
            return False
        self._refusals -= 1
        if self.held is not None:
            self.held.renew_at = now
        self._wanted = True
        return True

    def _due_at(self) -> float | None:
        if self._ended is not None or self.closed or self.in_flight:
            return None
        if self.held is None:
            return self._not_before if self._wanted else None
        return max(self.held.renew_at, self._not_before)

    def wake_in(self) -> float | None:
        """Seconds until something is to be done; `None`: nothing is."""
        due = [at for at in (self._due_at(),) if at is not None]
        if self.held is not None and not self.held.warned and not self.has_ended:
            due.append(self.held.warn_at)
        return max(min(due) - self.clock(), 0.0) if due else None

    def wait_s(self) -> float | None:
        """Seconds to wait for that: not all of them, if they are many."""
        left = self.wake_in()
        return None if left is None else min(left, LONGEST_WAIT_S)

    def tick(self) -> list[Event]:
        """Returns the events whose time has come."""
        held = self.held
        if held is None or held.warned or self.has_ended or self.clock() < held.warn_at:
            return []
        held.warned = True
        return [Event("will_expire", held.token.jti, held.token.session_id, self._error)]

    def begin(self) -> Attempt | None:
        """Returns the attempt that is due, if any. `succeeded` or `failed` follows."""
        due, now = self._due_at(), self.clock()
        if due is None or now < due:
            return None
        self.in_flight = True
        timeout = ATTEMPT_S
        if self.held is not None and now < self.held.dead_at:
            timeout = max(min(ATTEMPT_S, self.held.dead_at - now), 1.0)
        options = self.options
        token = self._session()
        if token is not None:
            request: Any = _requests.refresh(token, options.scopes, options.ttl)
            return Attempt("Refresh", request, timeout, now)
        request = _requests.issue(
            options.subject, options.audiences, options.scopes, options.claims, options.ttl, options.refreshable, ""
        )
        return Attempt("Issue", request, timeout, now)

    def _session(self) -> Secret | None:
        if not self._opened:
            self._opened = True
            self._refresh_token = self.options.refresh_token
            if self.options.refresh_token_file is not None:
                try:
                    self._refresh_token = self.options.refresh_token_file.read() or self._refresh_token
                except CredentialInvalid as error:
                    log.warning("the kept session is not used: %s", error)
        return self._refresh_token

    def keep(self, token: IssuedToken) -> None:
        """Keeps the successor, before anybody sees the token. Called without the lock: it writes a file."""
        if token.refresh is None:
            return
        self._refresh_token = token.refresh.refresh_token
        try:
            if self.options.refresh_token_file is not None:
                self.options.refresh_token_file.write(self._refresh_token)
            if self.options.on_refresh_token is not None:
                self.options.on_refresh_token(self._refresh_token)
        except Exception as error:  # noqa: BLE001 # the token in memory is good, whatever the keeper raises
            log.warning("the refresh token could not be kept: %s", type(error).__name__)

    def succeeded(self, attempt: Attempt, token: IssuedToken) -> list[Event]:
        """Swaps the token in."""
        self.in_flight, self.completed, self._error, self._wanted = False, self.completed + 1, None, False
        lifetime = (token.expire_time - token.issue_time).total_seconds()
        renew_in = (token.refresh_time - token.issue_time).total_seconds() if token.refresh_time else 0.0
        if not 0 < renew_in < lifetime:
            renew_in = 0.8 * lifetime
        margin = min(1.0, lifetime / 4)
        dead_at = attempt.sent + lifetime - margin
        warn_at = dead_at - lifetime / 10
        self.held = _Held(
            Token(token.access_token, token.jti, token.session_id, dead_at),
            dead_at,
            # A short-lived token would be dead, or near to it, before the server's time for it.
            min(attempt.sent + renew_in, warn_at - margin),
            warn_at,
        )
        return [Event("refreshed", token.jti, token.session_id)]

    def failed(self, attempt: Attempt, error: JetonError) -> list[Event]:
        """Plans the next attempt, or ends."""
        self.in_flight, self.completed, self._error = False, self.completed + 1, error
        error.with_traceback(None)  # its frames hold channels, which close would not free
        now = self.clock()
        if attempt.method == "Refresh" and error.reason in SESSION_ENDED:
            return self._end(error)
        if now - self._failed_at > HEALTHY_AFTER_S:
            self._failures = 0
        self._failures += 1
        self._failed_at = now
        pause = full_jitter(FIRST_PAUSE_S, LONGEST_PAUSE_S, self._failures)
        if error.retry_after is not None:
            pause += error.retry_after.total_seconds()
        self._not_before = now + pause
        return []

    def _end(self, error: JetonError) -> list[Event]:
        self._ended = error
        token = self.held.token if self.held is not None else None
        if error.reason in SESSION_REVOKED:
            self.held = None
        self._refresh_token = None
        if self.options.refresh_token_file is not None:
            self.options.refresh_token_file.remove()
        session = token.session_id if token else error.metadata.get("sessionId", "")
        return [Event("session_ended", token.jti if token else "", session, error)]
