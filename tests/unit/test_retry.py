"""The one retry policy, in virtual time: it never gives up, and only what may pass is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from src.domain import moments
from src.exceptions import (
    ChunkProcessingError,
    RedisUnavailable,
    S3Rejected,
    S3Unavailable,
    Stopped,
    StreamInitializationError,
    UploadGone,
)
from src.retry import RetryPolicy, until_it_works
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.telemetry import FakeTelemetry

POLICY = RetryPolicy(first_wait=0.5, longest_wait=60.0)


class _Server:
    """Fails so many times, then answers."""

    def __init__(self, failures: int, error: Callable[[], BaseException]) -> None:
        self.failures = failures
        self.error = error
        self.asked: list[float] = []

    async def ask(self) -> str:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        if len(self.asked) <= self.failures:
            raise self.error()
        return "answer"

    @property
    def waits(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.asked)]


def _away() -> BaseException:
    return S3Unavailable("503 SlowDown", operation="head")


def _asked(server: _Server, policy: RetryPolicy = POLICY) -> FakeTelemetry:
    telemetry = FakeTelemetry()

    async def ask() -> None:
        assert await until_it_works("s3.head", server.ask, policy=policy, emit=telemetry.emit) == "answer"

    run(ask())
    return telemetry


def test_what_works_at_once_is_asked_once_and_nobody_is_told() -> None:
    server = _Server(0, _away)
    assert _asked(server).moments == []
    assert server.asked == [0.0]


@pytest.mark.parametrize(
    "error",
    [_away, lambda: RedisUnavailable("away")],
    ids=["store", "redis"],
)
def test_transient_trouble_is_waited_out(error: Callable[[], BaseException]) -> None:
    server = _Server(3, error)
    _asked(server)
    assert len(server.asked) == 4


def test_a_file_that_cannot_be_read_is_for_its_reader_to_wait_for() -> None:
    server = _Server(1, lambda: ChunkProcessingError("EIO"))
    with pytest.raises(ChunkProcessingError):
        _asked(server)
    assert len(server.asked) == 1


def test_a_store_that_is_away_for_days_is_never_given_up() -> None:
    server = _Server(20_000, _away)
    telemetry = _asked(server)
    assert server.asked[-1] > 5 * 24 * 3600
    assert len(telemetry.of(moments.OperationFailed)) == 20_000


def test_no_wait_is_longer_than_the_longest() -> None:
    server = _Server(2_000, _away)
    _asked(server)
    assert max(server.waits) <= 60.0
    assert max(server.waits) > 50.0


def test_the_first_waits_are_short_and_the_bound_doubles() -> None:
    for _ in range(50):
        server = _Server(6, _away)
        _asked(server)
        for attempt, wait in enumerate(server.waits):
            assert wait <= 0.5 * 2**attempt


def test_waits_are_jittered_so_that_fifty_streams_do_not_come_back_at_once() -> None:
    servers = [_Server(8, _away) for _ in range(50)]
    for server in servers:
        _asked(server)
    lasts = sorted(server.waits[-1] for server in servers)
    assert len(set(lasts)) == 50
    assert lasts[0] < 20 < 40 < lasts[-1]


def test_a_refusal_that_only_somebodys_change_can_lift_is_asked_slowly() -> None:
    server = _Server(12, lambda: S3Unavailable("403", operation="head", misconfigured=True))
    _asked(server)
    assert server.waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (7, 32.0), (8, 60.0), (10_000, 60.0)]
)
def test_one_who_asks_for_all_waits_in_the_same_steps_without_jitter(failures: int, seconds: float) -> None:
    assert POLICY.wait_in_a_row(failures) == RetryPolicy().wait_in_a_row(failures) == seconds


@pytest.mark.parametrize(
    "error",
    [
        S3Rejected("InvalidArgument", code="InvalidArgument"),
        StreamInitializationError("no"),
        UploadGone("NoSuchUpload"),
        RuntimeError("a bug"),
        KeyError("another"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_transient_is_raised_at_once_and_as_it_is(error: Exception) -> None:
    server, telemetry = _Server(1, lambda: error), FakeTelemetry()

    async def ask() -> None:
        await until_it_works("s3.head", server.ask, policy=POLICY, emit=telemetry.emit)

    with pytest.raises(type(error)) as raised:
        run(ask())
    assert raised.value is error
    assert len(server.asked) == 1
    assert telemetry.moments == []


def test_what_is_not_transient_ends_the_waiting_also_after_transient_trouble() -> None:
    errors: list[BaseException] = [S3Rejected("no", code="InvalidArgument"), _away(), _away()]
    server, telemetry = _Server(3, errors.pop), FakeTelemetry()

    async def ask() -> None:
        await until_it_works("s3.head", server.ask, policy=POLICY, emit=telemetry.emit)

    with pytest.raises(S3Rejected):
        run(ask())
    kinds = [type(moment) for moment in telemetry.moments]
    assert kinds == [moments.OperationFailed, moments.OperationFailed, moments.OperationGivenUp]


def test_each_failure_is_told_with_its_number_and_the_wait_that_follows() -> None:
    server = _Server(3, _away)
    failures = _asked(server).of(moments.OperationFailed)
    assert [failure.attempt for failure in failures] == [1, 2, 3]
    assert [failure.wait_seconds for failure in failures] == pytest.approx(server.waits)
    assert {failure.operation for failure in failures} == {"s3.head"}
    assert all(isinstance(failure.error, S3Unavailable) for failure in failures)


def test_the_end_of_the_trouble_is_told_once() -> None:
    telemetry = _asked(server := _Server(4, _away))
    (recovered,) = telemetry.of(moments.OperationRecovered)
    assert (recovered.operation, recovered.failures) == ("s3.head", 4)
    assert recovered.seconds == pytest.approx(sum(server.waits)) != 0
    assert telemetry.moments[-1] is recovered


def test_the_length_of_the_trouble_is_counted_from_its_beginning() -> None:
    server, telemetry = _Server(4, _away), FakeTelemetry()

    async def ask() -> None:
        await asyncio.sleep(1000)
        await until_it_works("s3.head", server.ask, policy=POLICY, emit=telemetry.emit)

    run(ask())
    (recovered,) = telemetry.of(moments.OperationRecovered)
    assert recovered.seconds == pytest.approx(sum(server.waits))


def _cancelled(call: Callable[[], Awaitable[str]], after: float) -> tuple[bool, FakeTelemetry]:
    telemetry = FakeTelemetry()

    async def live() -> bool:
        asking = asyncio.create_task(_ask())
        await asyncio.sleep(after)
        asking.cancel()
        await asyncio.wait([asking])
        return asking.cancelled()

    async def _ask() -> None:
        await until_it_works("s3.head", call, policy=POLICY, emit=telemetry.emit)

    return run(live()), telemetry


def test_cancellation_passes_while_the_call_is_under_way() -> None:
    async def hang() -> str:
        await asyncio.sleep(1000)
        return "late"

    cancelled, telemetry = _cancelled(hang, 10)
    assert cancelled
    assert telemetry.moments == []


def test_cancellation_passes_while_the_next_attempt_is_waited_for() -> None:
    server = _Server(1_000, lambda: S3Unavailable("403", operation="head", misconfigured=True))
    cancelled, telemetry = _cancelled(server.ask, 100)
    assert cancelled
    assert telemetry.of(moments.OperationRecovered) == []


def _woken(stay_away: float, looks_every: float = 15.0, count: int = 50) -> list[float]:
    """When each of many calls got its answer, after an outage of so many seconds that somebody else sees the end of."""
    ended: list[float] = []
    policy = RetryPolicy(first_wait=0.5, longest_wait=60.0)

    async def call() -> None:
        if asyncio.get_running_loop().time() < stay_away:
            raise _away()

    async def wait() -> None:
        await until_it_works("s3.head", call, policy=policy, emit=FakeTelemetry().emit)
        ended.append(asyncio.get_running_loop().time())

    async def look() -> None:
        await asyncio.sleep(stay_away + looks_every)
        policy.bell.ring()

    async def everybody() -> None:
        await asyncio.gather(look(), *(wait() for _ in range(count)))

    run(everybody())
    return ended


def test_nobody_sleeps_on_when_the_service_is_seen_to_be_back() -> None:
    ended = _woken(stay_away=600.0)
    assert max(ended) <= 600.0 + 15 + 2.0


def test_those_who_are_woken_do_not_come_all_at_once() -> None:
    ended = _woken(stay_away=600.0)
    assert len({round(at, 6) for at in ended}) == 50


def test_those_who_are_woken_begin_at_once() -> None:
    """Of fifty that wait for anything up to two seconds some wait for less than one."""
    slept = [at - 615.0 for at in _woken(stay_away=600.0) if at > 615.0]
    assert min(slept) < 1.0 < max(slept) <= 2.0


def test_a_bell_is_not_for_those_who_come_later() -> None:
    policy = RetryPolicy()

    async def ring_and_wait() -> float:
        policy.bell.ring()
        began = asyncio.get_running_loop().time()
        await policy.wait_out(30)
        return asyncio.get_running_loop().time() - began

    assert run(ring_and_wait()) == 30


def test_a_stop_is_heard_by_those_who_are_woken_too() -> None:
    async def stop_and_wait() -> None:
        stopping = asyncio.Event()
        policy = RetryPolicy(stopping=stopping)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(policy.wait_out(60))
            waiting.add_done_callback(lambda task: task.exception())
            await asyncio.sleep(1)
            policy.bell.ring()
            stopping.set()

    with pytest.raises(ExceptionGroup) as raised:
        run(stop_and_wait())
    assert raised.group_contains(Stopped)
