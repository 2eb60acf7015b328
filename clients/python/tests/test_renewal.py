"""The state of a token source, by a clock of its own."""

import datetime
import random

import grpc
import pytest

from jeton._renewal import Options, Renewal
from jeton._secret import Secret
from jeton._types import IssuedToken
from jeton.errors import Closed, DeadlineExceeded, JetonError, TtlExceedsMaximum, Unreachable

BEGIN = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def renewal(clock: Clock) -> Renewal:
    options = Options.of("svc:a", ["orders"], (), None, None, False, None, None, None)
    return Renewal(options, clock)


def token(lifetime: int = 100, renew: int | None = 80, text: str = "one") -> IssuedToken:
    after = lambda seconds: BEGIN + datetime.timedelta(seconds=seconds)  # noqa: E731
    renew_at = None if renew is None else after(renew)
    return IssuedToken(Secret(text), text, "", BEGIN, after(lifetime), renew_at, "", None)


def away(retry_s: float | None = None) -> JetonError:
    delay = None if retry_s is None else datetime.timedelta(seconds=retry_s)
    return Unreachable("away", code=grpc.StatusCode.UNAVAILABLE, retry_after=delay)


def obtain(renewal: Renewal, issued: IssuedToken) -> None:
    renewal.look(0)
    attempt = renewal.begin()
    assert attempt is not None
    renewal.succeeded(attempt, issued)


def fail(renewal: Renewal, clock: Clock, error: JetonError) -> float:
    """Lets the attempt that is due fail; returns the pause after it."""
    clock.now += (renewal.wake_in() or 0.0) + 1e-6
    attempt = renewal.begin()
    assert attempt is not None
    renewal.failed(attempt, error)
    return renewal._not_before - clock.now


def test_nothing_is_done_before_somebody_asks(renewal: Renewal) -> None:
    assert renewal.begin() is None
    assert renewal.wake_in() is None


def test_the_times_are_those_of_the_server_from_the_moment_of_sending(renewal: Renewal, clock: Clock) -> None:
    renewal.look(0)
    attempt = renewal.begin()
    assert attempt is not None
    assert attempt.method == "Issue"
    clock.now += 5  # the answer was slow
    renewal.succeeded(attempt, token())
    assert renewal.wake_in() == 75
    clock.now = 1000 + 98.9
    assert renewal.live() is not None
    clock.now = 1000 + 99
    assert renewal.live() is None


@pytest.mark.parametrize("renew", [None, 0, 100, 200])
def test_a_refresh_time_that_makes_no_sense_is_80_percent(renewal: Renewal, renew: int | None) -> None:
    obtain(renewal, token(renew=renew))
    assert renewal.wake_in() == pytest.approx(80)


@pytest.mark.parametrize("lifetime", range(1, 21))
@pytest.mark.parametrize("before_the_end", [1, 0])
def test_however_short_it_lives_a_token_is_renewed_before_it_is_told_to_expire(
    renewal: Renewal, clock: Clock, lifetime: int, before_the_end: int
) -> None:
    obtain(renewal, token(lifetime, lifetime - before_the_end))
    held = renewal.held
    assert held is not None
    assert clock.now < held.renew_at < held.warn_at < held.dead_at


def test_one_attempt_at_a_time(renewal: Renewal, clock: Clock) -> None:
    renewal.look(0)
    assert renewal.begin() is not None
    renewal.look(0)
    assert renewal.begin() is None


def test_full_jitter_doubles_up_to_30_seconds(renewal: Renewal, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    renewal.look(0)
    pauses = [fail(renewal, clock, away()) for _ in range(12)]
    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert pauses[-1] == pytest.approx(30)


def test_retry_info_is_the_least_pause(renewal: Renewal, clock: Clock) -> None:
    renewal.look(0)
    assert 3.0 <= fail(renewal, clock, away(3.0)) <= 3.1 + 1e-6


def test_the_backoff_is_reset_by_a_minute_of_health_not_by_a_success(
    renewal: Renewal, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    renewal.look(0)
    for _ in range(5):
        fail(renewal, clock, away())
    clock.now += (renewal.wake_in() or 0.0) + 1e-6
    obtain(renewal, token(lifetime=20, renew=16))
    assert fail(renewal, clock, away()) == pytest.approx(3.2)  # 16 s later
    clock.now = renewal._not_before
    obtain(renewal, token(lifetime=100, renew=80))
    assert fail(renewal, clock, away()) == pytest.approx(0.1)  # 80 s later


def test_a_failure_is_not_shown_while_the_token_lives(renewal: Renewal, clock: Clock) -> None:
    obtain(renewal, token())
    clock.now += 80
    fail(renewal, clock, away())
    assert renewal.look(0) is not None


def test_a_lasting_refusal_is_shown_at_once_and_causes_no_attempt(renewal: Renewal, clock: Clock) -> None:
    refusal = TtlExceedsMaximum("no", code=grpc.StatusCode.INVALID_ARGUMENT)
    renewal.look(0)
    while fail(renewal, clock, refusal) <= 0:
        pass
    with pytest.raises(TtlExceedsMaximum):
        renewal.look(renewal.completed)
    assert renewal.begin() is None


def test_a_caller_whose_time_is_over_gets_the_latest_error(renewal: Renewal, clock: Clock) -> None:
    renewal.look(0)
    assert isinstance(renewal.timed_out(), DeadlineExceeded)
    fail(renewal, clock, away())
    assert isinstance(renewal.timed_out(), Unreachable)


def test_who_waits_hears_of_no_error_from_before_the_token_died(renewal: Renewal, clock: Clock) -> None:
    obtain(renewal, token())
    clock.now += 80
    fail(renewal, clock, away())
    clock.now = renewal._not_before
    assert renewal.begin() is not None  # and hangs
    clock.now = 1000 + 99
    assert isinstance(renewal.timed_out(), DeadlineExceeded)


def test_nobody_waits_for_long_in_one_go(renewal: Renewal, clock: Clock) -> None:
    obtain(renewal, token())
    assert renewal.wait_s() == 30
    clock.now += 60
    assert renewal.wait_s() == pytest.approx(20)


def test_will_expire_comes_once_with_a_tenth_left(renewal: Renewal, clock: Clock) -> None:
    obtain(renewal, token())
    clock.now += 80
    fail(renewal, clock, away())
    assert renewal.tick() == []
    clock.now = 1000 + 89
    events = renewal.tick()
    assert [event.kind for event in events] == ["will_expire"]
    assert isinstance(events[0].error, Unreachable)
    assert renewal.tick() == []


def test_refusals_by_peers_cause_five_renewals_and_one_more_each_ten_seconds(renewal: Renewal, clock: Clock) -> None:
    obtain(renewal, token())
    assert [renewal.refused() for _ in range(7)] == [True] * 5 + [False] * 2
    clock.now += 10
    assert [renewal.refused() for _ in range(2)] == [True, False]


def test_a_closed_source_says_so(renewal: Renewal) -> None:
    obtain(renewal, token())
    renewal.closed = True
    with pytest.raises(Closed):
        renewal.look(0)
