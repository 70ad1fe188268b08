"""The rules of the watchdog: what counts as silence, what the stacks show, and that the end comes in any case."""

from __future__ import annotations

import asyncio
import os
import pdb
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from src.domain import moments
from src.metrics import Metrics, watched_loop
from src.metrics.watchdog import (
    BEAT_SECONDS,
    HANGS_EXIT_CODE,
    Longest,
    Silence,
    Watchdog,
    is_held_by_a_debugger,
    where_everything_stands,
)
from tests.harness.e2e.daemon import eventually


def test_silence_grows_with_every_look_until_the_loop_gives_a_sign_of_life() -> None:
    silence = Silence()
    assert [silence.after(1.0, meant=1.0) for _ in range(3)] == [1, 2, 3]
    silence.broken()
    assert [silence.after(1.0, meant=1.0) for _ in range(2)] == [0, 1]


def test_time_in_which_nobody_ran_is_no_silence() -> None:
    """SIGSTOP, a frozen container, a machine that slept: the listener's own sleep was too long."""
    silence = Silence()
    assert silence.after(3600.0, meant=1.0) == 1
    silence.broken()
    assert silence.after(1.0, meant=1.0) == 0


def test_the_longest_of_the_last_minute_is_forgotten_after_a_minute() -> None:
    longest = Longest(60)
    values = [(0, 1.0), (10, 5.0), (20, 2.0), (70, 0.5), (71, 0.1), (80, 0.1), (81, 0.1), (131, 0.2), (1000, 0.0)]
    assert [longest.add(now, value) for now, value in values] == [1.0, 5.0, 5.0, 5.0, 2.0, 2.0, 0.5, 0.2, 0.0]


async def test_a_block_of_the_loop_is_seen_in_both_metrics() -> None:
    metrics = Metrics(version="test")
    async with watched_loop(0, metrics.emit):
        await asyncio.sleep(BEAT_SECONDS / 2)
        time.sleep(BEAT_SECONDS * 4)  # noqa: ASYNC251 - to block the loop is the point
        await asyncio.sleep(BEAT_SECONDS)
    longest = metrics.registry.get_sample_value("cefmp4_event_loop_lag_max_seconds")
    assert longest is not None and longest > BEAT_SECONDS
    total = metrics.registry.get_sample_value("cefmp4_event_loop_lag_seconds_sum")
    assert total is not None and total >= longest


async def test_nothing_is_left_when_the_block_ends_however_it_ends() -> None:
    tasks = asyncio.all_tasks()

    async def watched() -> None:
        async with watched_loop(60, Metrics(version="test").emit):
            assert "watchdog" in {thread.name for thread in threading.enumerate()}
            raise KeyError("as it was raised")

    with pytest.raises(KeyError):
        await watched()
    assert asyncio.all_tasks() == tasks
    eventually(lambda: "watchdog" not in {thread.name for thread in threading.enumerate()}, "the thread has ended")


async def test_zero_turns_the_watching_off() -> None:
    async with watched_loop(0, Metrics(version="test").emit):
        assert "watchdog" not in {thread.name for thread in threading.enumerate()}


class Deaf:
    """A telemetry that tells what it heard, or hangs as a full pipe does."""

    def __init__(self, *, hangs: threading.Event | None = None) -> None:
        self.heard: list[str] = []
        self.was_released = False
        self._hangs = hangs

    def emit(self, moment: moments.DaemonMoment) -> None:
        if isinstance(moment, moments.LoopHung):
            self.heard.append(moment.stack)
            if self._hangs:
                self.was_released = self._hangs.wait(60)


async def _ends(telemetry: Deaf, end: Callable[[int], object], seconds: float = 0.2) -> None:
    """A watchdog over a loop that never gives a sign of life."""
    loop = asyncio.get_running_loop()
    watchdog = Watchdog(seconds, Silence(), telemetry.emit, loop, threading.get_ident(), end)
    await asyncio.to_thread(watchdog.run, threading.Event())


async def test_the_last_word_comes_before_the_end_and_the_exit_code_is_its_own() -> None:
    telemetry, codes = Deaf(), list[tuple[int, int]]()
    await _ends(telemetry, lambda code: codes.append((code, len(telemetry.heard))))
    assert codes == [(HANGS_EXIT_CODE, 1)]
    assert HANGS_EXIT_CODE == 70
    assert "test_the_last_word_comes_before_the_end" in telemetry.heard[0]


async def test_a_log_that_hangs_delays_the_end_by_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.metrics.watchdog.LAST_WORD_SECONDS", 0.2)
    ended, codes = threading.Event(), list[int]()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    telemetry = Deaf(hangs=ended)
    await _ends(telemetry, end)
    assert telemetry.was_released and codes[0] == HANGS_EXIT_CODE


async def test_the_stacks_show_threads_and_where_each_task_waits_and_alike_tasks_once() -> None:
    gate = asyncio.Event()

    async def waits_for_the_gate() -> None:
        await gate.wait()

    async def carries_a_recording() -> None:
        await waits_for_the_gate()

    tasks = [asyncio.create_task(carries_a_recording(), name=f"stream {n:03}") for n in range(100)]
    await asyncio.sleep(0)
    stack = where_everything_stands(asyncio.get_running_loop(), threading.get_ident())
    gate.set()
    await asyncio.gather(*tasks)
    assert stack.startswith("thread MainThread:\n")
    assert stack.count("carries_a_recording") == stack.count("waits_for_the_gate") == 1
    assert "task stream 000, stream 001, stream 002, stream 003, stream 004 and 95 more:\n" in stack
    task = stack.partition("and 95 more:\n")[2]
    assert task.index("carries_a_recording") < task.index("waits_for_the_gate") < task.index("Event.wait")
    assert f"{__file__}:" in stack


@contextmanager
def somebody_at_a_breakpoint() -> Iterator[int]:
    """A thread that stands at pdb's prompt; gives its id."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as commands, os.fdopen(writing, "w") as keyboard, open(os.devnull, "w") as screen:
        thread = threading.Thread(target=lambda: pdb.Pdb(stdin=commands, stdout=screen, nosigint=True).set_trace())
        thread.start()
        try:
            assert thread.ident is not None
            yield thread.ident
        finally:
            keyboard.write("continue\n")
            keyboard.flush()
            thread.join()


def test_a_debugger_that_waits_for_a_command_is_recognised() -> None:
    assert not is_held_by_a_debugger(sys._getframe())
    assert not is_held_by_a_debugger(None)
    with somebody_at_a_breakpoint() as thread:
        eventually(lambda: is_held_by_a_debugger(sys._current_frames().get(thread)), "the prompt is there")


async def test_at_a_breakpoint_the_watchdog_waits_for_as_long_as_it_takes() -> None:
    telemetry, ended = Deaf(), threading.Event()
    with somebody_at_a_breakpoint() as thread:
        eventually(lambda: is_held_by_a_debugger(sys._current_frames().get(thread)), "the prompt is there")
        watchdog = Watchdog(0.1, Silence(), telemetry.emit, asyncio.get_running_loop(), thread, lambda _: None)
        watching = asyncio.create_task(asyncio.to_thread(watchdog.run, ended))
        await asyncio.sleep(1)  # ten times what it would take otherwise
        assert telemetry.heard == [] and not watching.done()
        ended.set()
        await watching
