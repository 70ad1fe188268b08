"""One request is told once, with how it ended; one that was cancelled is not."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from src.domain import moments
from src.exceptions import S3Unavailable
from src.redis_client.errors import error_class
from src.retry import ErrorClass, observed
from tests.harness.fakes.telemetry import FakeTelemetry


def by_type(error: BaseException) -> ErrorClass:
    return ErrorClass.TIMEOUT if isinstance(error, TimeoutError) else ErrorClass.OTHER


def test_a_request_that_works_is_told_without_a_class() -> None:
    telemetry = FakeTelemetry()
    with observed(telemetry.emit, "s3", "head_object", by_type):
        pass
    assert telemetry.requests == [("s3", "head_object", None)]


@pytest.mark.parametrize("hidden", [False, True])
def test_what_the_library_raised_decides_the_class_also_where_it_is_not_shown(hidden: bool) -> None:
    telemetry = FakeTelemetry()

    def ask() -> None:
        try:
            raise TimeoutError
        except TimeoutError as exc:
            raise S3Unavailable("no answer") from (None if hidden else exc)

    with pytest.raises(S3Unavailable), observed(telemetry.emit, "s3", "upload_part", by_type):
        ask()
    assert telemetry.requests == [("s3", "upload_part", ErrorClass.TIMEOUT)]


ANSWERED = {None: True, ErrorClass.NOT_FOUND: True, ErrorClass.CONFLICT: True}


@pytest.mark.parametrize("error_class", [None, *ErrorClass])
def test_a_success_a_free_key_and_a_faster_writer_are_answers_and_every_other_failure_is_none(
    error_class: ErrorClass | None,
) -> None:
    told: list[moments.Moment] = []
    with suppress(OSError), observed(told.append, "s3", "head_object", lambda _: error_class or ErrorClass.OTHER):
        if error_class is not None:
            raise OSError
    (ended,) = told
    assert isinstance(ended, moments.RequestEnded)
    assert (ended.error_class, ended.answered) == (error_class, ANSWERED.get(error_class, False))


def test_a_request_takes_no_longer_than_the_time_around_it() -> None:
    told: list[moments.Moment] = []
    began = time.monotonic()
    with observed(told.append, "s3", "head_object", by_type):
        inside = time.monotonic()
        while time.monotonic() == inside:  # until the clock has moved
            pass
    around = time.monotonic() - began
    (ended,) = told
    assert isinstance(ended, moments.RequestEnded)
    assert 0 < ended.seconds <= around


async def test_a_request_that_is_cancelled_is_not_told() -> None:
    telemetry = FakeTelemetry()

    async def ask() -> None:
        with observed(telemetry.emit, "redis", "save", by_type):
            await asyncio.sleep(600)

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert telemetry.requests == []


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (RedisTimeoutError("slow"), "timeout"),
        (TimeoutError(), "timeout"),
        (RedisConnectionError("refused"), "connection"),
        (OSError("reset"), "connection"),
        (AuthenticationError("no"), "denied"),
        (ResponseError("WRONGPASS no"), "denied"),
        (NoPermissionError("NOPERM no"), "denied"),
        (BusyLoadingError("LOADING wait"), "server"),
        (ResponseError("OOM full"), "server"),
        (ResponseError("no such key"), "not_found"),
        (ResponseError("WRONGTYPE no"), "other"),
    ],
)
def test_every_error_of_redis_has_one_of_few_words(error: Exception, word: str) -> None:
    assert error_class(error) == word
