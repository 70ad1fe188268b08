"""Threads for files: one that hangs keeps no other waiting, is given up in time, and costs one thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from src import file_threads
from src.exceptions import ChunkProcessingError
from src.file_threads import FileThreads, OpenFile, answered
from tests.harness.waiting import until

#: Nobody waits so long where all is well.
LONG = 60.0
COUNT = 2


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_threads, "_BESIDE_SECONDS", 0.05)


@asynccontextmanager
async def threads(silent_seconds: float = LONG) -> AsyncIterator[tuple[FileThreads, threading.Event]]:
    """With an event that ends all hanging. No thread is left for the next test, which counts them."""
    made, back = FileThreads(COUNT, "test-files", silent_seconds=silent_seconds), threading.Event()
    try:
        yield made, back
    finally:
        back.set()
        made.close()
    await until(lambda: not alive())


def alive() -> int:
    return sum(thread.name == "test-files" for thread in threading.enumerate())


async def test_files_that_hang_keep_no_other_waiting() -> None:
    async with threads() as (files, back), asyncio.timeout(LONG / 2):
        hanging = [asyncio.create_task(files.run(number, back.wait)) for number in range(10 * COUNT)]
        await asyncio.sleep(0)
        assert await files.run("fine", lambda: 7) == 7
        assert not any(task.done() for task in hanging)
        back.set()
        assert await asyncio.gather(*hanging) == [True] * 10 * COUNT
        assert await files.run("fine", lambda: 8) == 8
        await until(lambda: alive() <= COUNT)


class _Caller:
    def __init__(self) -> None:
        self.answers: list[float] = []
        self.left = 0

    def heard(self, at: float) -> None:
        self.answers.append(at)

    def make_room(self) -> None:
        self.left += 1


async def test_whoever_calls_learns_that_his_file_answers_and_makes_room_when_it_does_not() -> None:
    caller, back, go_on = _Caller(), threading.Event(), threading.Event()

    def read_slowly() -> None:
        while not go_on.wait(0.01):
            answered()

    files = FileThreads(COUNT, "test-files", silent_seconds=LONG, caller=lambda: caller)
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(LONG):
            slow = asyncio.create_task(files.run("slow", read_slowly))
            await until(lambda: len(caller.answers) > 2)
            assert min(caller.answers) >= began
            go_on.set()
            await slow
            before = caller.left
            hanging = asyncio.create_task(files.run("hangs", back.wait))
            await until(lambda: caller.left > before)
            back.set()
            await hanging
    finally:
        go_on.set()
        back.set()
        files.close()
    await until(lambda: not alive())


async def test_so_many_run_at_once_and_no_more() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1

    async with threads() as (files, _):
        await asyncio.gather(*(files.run(number, work) for number in range(200)))
        assert most <= COUNT
        assert alive() <= COUNT


async def test_a_file_that_does_not_answer_is_given_up_and_then_refused_at_once() -> None:
    async with threads(silent_seconds=0.3) as (files, back):
        with pytest.raises(ChunkProcessingError, match="no response from the file for") as raised:
            await files.run("hangs", back.wait)
        assert "disk" in raised.value.hint
        before = alive()
        for _ in range(20):
            with pytest.raises(ChunkProcessingError):
                await files.run("hangs", back.wait)
        assert alive() == before, "one file takes one thread"
        back.set()
        await until(lambda: not files._beside)
        assert await files.run("hangs", lambda: 9) == 9


async def test_a_second_call_waits_for_the_first_to_come_back() -> None:
    async with threads() as (files, back):
        first = asyncio.create_task(files.run("file", back.wait))
        await until(lambda: bool(files._beside))
        second = asyncio.create_task(files.run("file", lambda: 2))
        await asyncio.sleep(0.1)
        assert not second.done()
        back.set()
        assert await first
        assert await second == 2


async def test_what_is_not_worth_waiting_for_is_given_up_soon() -> None:
    async with threads() as (files, back), asyncio.timeout(LONG / 2):
        for _ in range(2):
            with pytest.raises(ChunkProcessingError):
                await files.glance("hangs", back.wait)
        assert len(files._running) == 1
        assert await files.glance("fine", lambda: 5) == 5


async def test_a_call_that_goes_on_answering_is_never_given_up() -> None:
    pause = threading.Event()

    def slowly() -> int:
        for _ in range(12):
            pause.wait(0.3)
            answered()
        return 3

    async with threads(silent_seconds=3.0) as (files, _):
        assert await files.run("slow", slowly) == 3


async def test_what_nobody_waits_for_ends_with_the_next_answer() -> None:
    begun, going_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        try:
            for _ in range(1000):
                going_on.wait()
                answered()
        except OSError:
            ended.set()

    async with threads() as (files, _):
        task = asyncio.create_task(files.run("file", work))
        await until(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        going_on.set()
        await until(ended.is_set)


async def test_a_call_that_is_cancelled_before_it_began_gives_its_place_back() -> None:
    async with threads() as (files, back):
        busy = [asyncio.create_task(files.run(number, back.wait, LONG)) for number in range(COUNT)]
        for _ in range(50):
            task = asyncio.create_task(files.run("file", lambda: 1))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        back.set()
        await asyncio.gather(*busy)
        assert await files.run("file", lambda: 1) == 1
        await until(lambda: not files._running)


async def test_a_time_out_that_the_system_tells_is_passed_on() -> None:
    def fails() -> None:
        raise TimeoutError(110, "Connection timed out")

    async with threads() as (files, _):
        with pytest.raises(TimeoutError, match="Connection timed out"):
            await files.run("file", fails)


async def test_beyond_the_most_that_hang_the_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_threads, "_MOST_BESIDE", 3)
    async with threads(silent_seconds=0.3) as (files, back):
        hanging = [asyncio.create_task(files.run(number, back.wait)) for number in range(3 + COUNT)]
        told = await asyncio.gather(*hanging, return_exceptions=True)
        assert [type(each) for each in told] == [ChunkProcessingError] * (3 + COUNT)
        assert alive() == 3 + COUNT
        waiting = asyncio.create_task(files.run("fine", lambda: 1))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        back.set()
        assert await waiting == 1


async def test_where_the_system_gives_no_more_threads_nothing_is_lost_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with threads() as (files, back), asyncio.timeout(LONG / 2):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            for _ in range(2 * COUNT):
                with pytest.raises(ChunkProcessingError, match="can't start new thread"):
                    await files.run("file", lambda: 1)
        assert await files.run("file", lambda: 1) == 1
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            assert await files.run("file", lambda: 2) == 2, "there is a thread already"
        busy = [asyncio.create_task(files.run(number, back.wait, LONG)) for number in range(COUNT)]
        await until(lambda: alive() == COUNT)
        back.set()
        assert await asyncio.gather(*busy) == [True] * COUNT


class TestOpenFile:
    def descriptor(self) -> int:
        return os.open(os.devnull, os.O_RDONLY)

    def is_open(self, descriptor: int) -> bool:
        try:
            os.fstat(descriptor)
        except OSError:
            return False
        return True

    async def test_it_is_closed_when_the_last_has_let_go(self) -> None:
        opened, descriptor = OpenFile(), self.descriptor()
        opened.is_here(descriptor)
        with opened.used() as mine:
            assert mine == descriptor
            opened.let_go()
            assert self.is_open(descriptor)
        await until(lambda: not self.is_open(descriptor))
        with pytest.raises(OSError, match="Bad file descriptor"), opened.used():
            pass

    async def test_what_is_opened_when_nobody_wants_it_is_closed(self) -> None:
        opened, descriptor = OpenFile(), self.descriptor()
        opened.let_go()
        opened.is_here(descriptor)
        assert not self.is_open(descriptor)

    async def test_one_thread_closes_one_file_after_the_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file_threads, "_CLOSER_SECONDS", LONG)
        monkeypatch.setattr(file_threads, "_closing", file_threads._Closing())
        started: list[str] = []
        start = threading.Thread.start

        def note(thread: threading.Thread) -> None:
            started.append(thread.name)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", note)
        for _ in range(20):
            opened, descriptor = OpenFile(), self.descriptor()
            opened.is_here(descriptor)
            opened.let_go()
            await until(lambda descriptor=descriptor: not self.is_open(descriptor))  # type: ignore[misc]
            await until(lambda: file_threads._closing._idle == 1)
        assert started == ["closing"]

    async def test_a_file_that_hangs_when_it_is_closed_keeps_no_other_open(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(file_threads, "_closing", file_threads._Closing())
        close, back, hanging = os.close, threading.Event(), self.descriptor()

        def hang(descriptor: int) -> None:
            if descriptor == hanging:
                back.wait(LONG)
            close(descriptor)

        monkeypatch.setattr(os, "close", hang)
        opened = [OpenFile(), OpenFile(), OpenFile()]
        descriptors = [hanging, self.descriptor(), self.descriptor()]
        for each, descriptor in zip(opened, descriptors, strict=True):
            each.is_here(descriptor)
            each.let_go()
        await until(lambda: not any(map(self.is_open, descriptors[1:])))
        assert self.is_open(hanging)
        back.set()
        await until(lambda: not self.is_open(hanging))
