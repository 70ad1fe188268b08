"""A child that could not be started whole leaves nothing: no process, no zombie, no descriptor."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from src.file_threads import OpenFile
from src.metadata_generator import child_process

#: Nobody waits so long where all is well.
LONG = 60.0
SLEEP = ["/bin/sleep", "600"]


def _there() -> set[str]:
    """The pipes, devices and children that are there, zombies among them."""
    found = {str(child.pid) for child in psutil.Process().children()}
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it was the listing's own
            found.add(f"{descriptor} {os.readlink(f'/proc/self/fd/{descriptor}')}")
    return {each for each in found if "/proc/" not in each}


async def nothing_is_left(before: set[str]) -> None:
    deadline = time.monotonic() + LONG
    while left := _there() - before:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.01)


@pytest.fixture
def nothing() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def without_threads() -> Iterator[None]:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        yield


async def test_children_need_no_threads(nothing: int) -> None:
    """A thread for each would reach the limit of a container, which may be 256 in total."""
    with without_threads():
        children = [await child_process.start(["/bin/sh", "-c", "exit 3"], nothing) for _ in range(20)]
        async with asyncio.timeout(LONG):
            assert [await child.ended for child in children] == [3] * 20
    for child in children:
        child.let_go()


@pytest.mark.parametrize("error", [AttributeError("no pidfd_open"), OSError(24, "Too many open files")])
async def test_where_the_kernel_does_not_report_ends_they_are_asked_for(
    nothing: int, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> int:
        raise error

    before = _there()
    monkeypatch.setattr(os, "pidfd_open", refuse)
    child = await child_process.start(["/bin/sh", "-c", "exit 3"], nothing)
    killed = await child_process.start(SLEEP, nothing)
    killed.kill_group()
    async with asyncio.timeout(LONG):
        assert await child.ended == 3
        assert await killed.ended == -signal.SIGKILL
    child.let_go()
    killed.let_go()
    await nothing_is_left(before)


async def test_a_child_gets_less_of_a_busy_processor_than_we_do(nothing: int) -> None:
    child = await child_process.start(SLEEP, nothing, niceness=10)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    child.kill_group()
    await child.ended
    child.let_go()


async def test_a_start_that_is_cancelled_leaves_no_child(nothing: int) -> None:
    before = _there()
    cancelled = 0
    for steps in range(1, 8):
        starting = asyncio.create_task(child_process.start(SLEEP, nothing))
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        try:
            child = await starting
        except asyncio.CancelledError:
            cancelled += 1
        else:
            child.kill_group()
            child.let_go()
        await nothing_is_left(before)
    assert cancelled >= 2


async def test_where_no_second_pipe_is_to_be_had_the_first_is_closed(
    nothing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real, made = _there(), os.pipe, 0

    def pipe() -> tuple[int, int]:
        nonlocal made
        made += 1
        if made == 2:
            raise OSError(24, "Too many open files")
        return real()

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(OSError, match="Too many open files"):
        await child_process.start(SLEEP, nothing)
    await nothing_is_left(before)


async def test_what_is_no_program_leaves_nothing(nothing: int, tmp_path: Path) -> None:
    before = _there()
    with pytest.raises(FileNotFoundError):
        await child_process.start([str(tmp_path / "none")], nothing)
    await nothing_is_left(before)


async def test_a_child_whose_end_nobody_is_told_of_has_ended_all_the_same(nothing: int) -> None:
    """Whoever started the daemon may ignore SIGCHLD, and leaves that to it."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        child = await child_process.start(["/bin/echo", "hello"], nothing)
        async with asyncio.timeout(LONG):
            assert await child.stdout.read() == b"hello\n"
            assert await child.ended == 0
        child.let_go()
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_a_file_that_no_thread_could_close_is_closed_with_the_next() -> None:
    before = _there()
    opened = [OpenFile(), OpenFile()]
    for each in opened:
        each.is_here(os.open(os.devnull, os.O_RDONLY))
    with without_threads():
        opened[0].let_go()
    opened[1].let_go()
    await nothing_is_left(before)
