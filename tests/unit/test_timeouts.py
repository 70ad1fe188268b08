"""What a task's count of cancel requests is after a group and after a timeout, on every Python that we support."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from src import timeouts
from src.timeouts import TaskGroup, Timeout, timeout, timeout_at

_GROUPS = [TaskGroup, *([timeouts._TaskGroup] if sys.version_info < (3, 13) else [])]


def _after(seconds: float) -> Timeout:
    return timeouts._Timeout(asyncio.get_running_loop().time() + seconds)


_TIMEOUTS = [timeout, _after]


async def _requests_after(scene: Callable[[], Awaitable[None]], *, cancels: int = 0) -> tuple[int, str]:
    """How often the task of ``scene`` was asked to cancel itself at its end, and the name of what it raised."""

    async def count() -> tuple[int, str]:
        raised = ""
        try:
            await scene()
        except BaseException as error:  # noqa: BLE001  # the name is the result
            raised = type(error).__name__
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(asyncio.CancelledError):  # from 3.13 on a group passes a request on to the next wait
            await asyncio.sleep(0)
        return task.cancelling(), raised

    task = asyncio.create_task(count())
    await asyncio.sleep(0.01)
    for _ in range(cancels):
        task.cancel()
    return await task


async def _fail(after: float = 0.0) -> None:
    await asyncio.sleep(after)
    raise OSError("the disk is gone")


async def _fail_when_cancelled() -> None:
    try:
        await asyncio.sleep(10)
    finally:
        raise OSError("the disk is gone")


async def _end_slowly() -> None:
    try:
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", _GROUPS)
async def test_a_failed_group_leaves_no_request_to_cancel(kind: type[TaskGroup]) -> None:
    async def fails_while_the_group_waits() -> None:
        async with kind() as group:
            group.create_task(_fail())
            group.create_task(asyncio.sleep(10))

    async def fails_in_the_body() -> None:
        async with kind() as group:
            group.create_task(_fail())
            await asyncio.sleep(10)

    for scene in (fails_while_the_group_waits, fails_in_the_body):
        assert await _requests_after(scene) == (0, "ExceptionGroup"), scene.__name__


@pytest.mark.parametrize("kind", _GROUPS)
async def test_a_group_keeps_the_requests_of_others(kind: type[TaskGroup]) -> None:
    async def ends_with_the_request() -> None:
        async with kind() as group:
            group.create_task(asyncio.sleep(10))

    assert await _requests_after(ends_with_the_request, cancels=1) == (1, "CancelledError")


@pytest.mark.parametrize("kind", _GROUPS)
async def test_a_request_that_meets_a_failure_of_the_group_is_not_lost(kind: type[TaskGroup]) -> None:
    async def fails_because_of_the_request() -> None:
        with contextlib.suppress(ExceptionGroup):
            async with kind() as group:
                group.create_task(_fail_when_cancelled())
        await asyncio.sleep(10)

    async def has_failed_before_the_request() -> None:
        with contextlib.suppress(ExceptionGroup):
            async with kind() as group:
                group.create_task(_fail())
                group.create_task(_end_slowly())
        await asyncio.sleep(10)

    for scene in (fails_because_of_the_request, has_failed_before_the_request):
        assert await _requests_after(scene, cancels=1) == (1, "CancelledError"), scene.__name__


@pytest.mark.parametrize("kind", _GROUPS)
async def test_a_timeout_around_a_group_that_fails_at_its_end_cancels_nothing_later(kind: type[TaskGroup]) -> None:
    async def goes_on() -> None:
        with contextlib.suppress(TimeoutError, ExceptionGroup):
            async with timeout(0.05), kind() as group:
                group.create_task(_fail_when_cancelled())
        await asyncio.sleep(0.01)

    assert await _requests_after(goes_on) == (0, "")


@pytest.mark.parametrize("kind", _GROUPS)
async def test_a_group_whose_body_swallows_its_request_takes_it_back_once(kind: type[TaskGroup]) -> None:
    asked_before: list[int] = []

    async def swallows() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:  # the request of another stays
            async with kind() as group:
                group.create_task(_fail())
                try:
                    await asyncio.sleep(10)
                except asyncio.CancelledError:
                    asked_before.append(1)

    assert await _requests_after(swallows, cancels=1) == (1, "ExceptionGroup")
    assert asked_before == [1]


@pytest.mark.parametrize("limit", _TIMEOUTS)
async def test_a_timeout_expires_in_the_cleanup_of_a_cancelled_task(limit: Callable[[float], Timeout]) -> None:
    async def cleans_up() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            async with limit(0.01):
                await asyncio.sleep(10)

    assert await _requests_after(cleans_up, cancels=1) == (1, "TimeoutError")


@pytest.mark.parametrize("limit", _TIMEOUTS)
async def test_a_timeout_is_no_end_of_the_task_and_a_request_of_others_is(limit: Callable[[float], Timeout]) -> None:
    async def waits(seconds: float) -> None:
        async with limit(seconds):
            await asyncio.sleep(10)

    assert await _requests_after(lambda: waits(0.01)) == (0, "TimeoutError")
    assert await _requests_after(lambda: waits(5), cancels=1) == (1, "CancelledError")
    async with limit(10) as in_time:
        await asyncio.sleep(0)
    assert not in_time.expired()


async def test_a_time_of_the_loop_and_no_time_are_taken_as_well() -> None:
    with pytest.raises(TimeoutError):
        async with timeout_at(asyncio.get_running_loop().time() - 1):
            await asyncio.sleep(10)
    limit = timeout(None)
    asyncio.get_running_loop().call_later(0.01, limit.reschedule, 0.0)
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.sleep(10)


def test_the_sources_use_no_timeout_and_no_group_of_asyncio() -> None:
    own = Path(timeouts.__file__)
    found = [
        f"{path.name}: {line.strip()}"
        for path in own.parent.rglob("*.py")
        if path != own
        for line in path.read_text().splitlines()
        if re.search(r"\basyncio\.(timeout|timeout_at|wait_for|Timeout|TaskGroup)\b|from asyncio import", line)
    ]
    assert found == []
