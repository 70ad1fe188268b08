"""Measures the delay of the event loop, and ends the process when it hangs.

A hanging loop uploads nothing and answers no request, including health checks, and nothing that runs on it could
notice. So a thread watches it: if the loop is blocked for too long, the thread logs all stacks and ends the process, so
that the service manager restarts it. A kill at any moment loses nothing, including this one.

Only time during which the thread itself was running counts. After a process was stopped (SIGSTOP, a frozen container,
gdb) or suspended with its machine, the thread finds its own sleep too long, and gives the loop another chance. Time in
a Python debugger does not count.

Code that computes indefinitely while holding the interpreter's lock (a regular expression) blocks the thread, too. For
that the thread repeatedly resets a kernel timer, which counts CPU time of this process alone; when it expires, SIGPROF
writes the stacks to standard error and ends the process. The limitation: code that *waits* while holding that lock.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import CodeType, FrameType
from typing import Any

from ..domain import moments

#: The exit code of a process that ended itself because its event loop hung (EX_SOFTWARE of sysexits.h).
HANGS_EXIT_CODE = os.EX_SOFTWARE
#: A longer block is always noticed, a shorter one often enough for the histogram.
BEAT_SECONDS = 0.25
LAG_WINDOW_SECONDS = 60.0
#: The log itself may hang (a full pipe without a reader): the process ends after this time in any case.
LAST_WORD_SECONDS = 5.0
#: CPU time in addition to the maximum silence; all cores count, so that a second may contain several CPU seconds.
_MORE_CPU_SECONDS = 10.0
_STANDARD_ERROR = 2
_LOOKS = 10
_LONGEST_LOOK_SECONDS = 1.0
#: Modules of debuggers; one of them is on the stack of a thread that is stopped in a debugger.
_DEBUGGERS = frozenset({"bdb", "pydevd"})
_NAMES_TOLD = 5


@asynccontextmanager
async def watched_loop(seconds: float, emit: moments.Emit) -> AsyncIterator[None]:
    """Measure this thread's event loop until the block ends, and watch it unless ``seconds`` is 0."""
    silence = Silence()
    ended = threading.Event()
    beating = asyncio.create_task(_beat(silence, emit), name="event loop lag")
    if seconds > 0:
        watching = Watchdog(seconds, silence, emit, asyncio.get_running_loop(), threading.get_ident())
        threading.Thread(target=watching.run, args=[ended], name="watchdog", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        beating.cancel()
        await asyncio.wait([beating])


async def _beat(silence: Silence, emit: moments.Emit) -> None:
    longest = Longest(LAG_WINDOW_SECONDS)
    while True:
        due = time.monotonic() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        now = time.monotonic()
        silence.broken()
        lag = max(0.0, now - due)
        emit(moments.LoopLagged(lag, longest.add(now, lag)))


class Longest:
    """The largest of the values that were added within the last ``window`` seconds."""

    def __init__(self, window: float) -> None:
        self._window = window
        # a value that is older and smaller than another one never counts again
        self._falling: deque[tuple[float, float]] = deque()

    def add(self, now: float, value: float) -> float:
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))
        while now - self._falling[0][0] > self._window:
            self._falling.popleft()
        return self._falling[0][1]


class Silence:
    """How long the loop has been blocked, while the watching thread was running."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._beats = self._heard = 0

    def broken(self) -> None:
        """The loop is alive; called by the loop."""
        self._beats += 1

    def after(self, slept: float, *, meant: float) -> float:
        """The silence so far, after a sleep that was ``meant`` to last that long. Called by the watching thread.

        A longer sleep was involuntary: the process was not running, so the loop could not.
        """
        beats = self._beats
        self._seconds = 0.0 if beats != self._heard else self._seconds + min(slept, meant)
        self._heard = beats
        return self._seconds


class Watchdog:
    """The thread's part. ``thread`` is that of the loop."""

    def __init__(
        self,
        seconds: float,
        silence: Silence,
        emit: moments.Emit,
        loop: asyncio.AbstractEventLoop,
        thread: int,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self._seconds = seconds
        self._silence = silence
        self._emit = emit
        self._loop = loop
        self._thread = thread
        self._end = end

    def run(self, ended: threading.Event) -> None:
        """Run until ``ended`` is set, or end the process."""
        faulthandler.register(signal.SIGPROF, file=_STANDARD_ERROR, all_threads=True, chain=True)
        try:
            self._watch(ended)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            faulthandler.unregister(signal.SIGPROF)

    def _watch(self, ended: threading.Event) -> None:
        look = min(self._seconds / _LOOKS, _LONGEST_LOOK_SECONDS)
        before = time.monotonic()  # on Linux it stands still while the machine is suspended
        while not ended.wait(look):
            signal.setitimer(signal.ITIMER_PROF, self._seconds + _MORE_CPU_SECONDS)
            now = time.monotonic()
            silent = self._silence.after(now - before, meant=look)
            before = now
            if is_held_by_a_debugger(sys._current_frames().get(self._thread)):
                self._silence.broken()
            elif silent >= self._seconds:
                self._give_up(silent)
                return

    def _give_up(self, silent: float) -> None:
        last = threading.Timer(LAST_WORD_SECONDS, self._end, [HANGS_EXIT_CODE])
        last.daemon = True
        last.start()
        try:
            self._emit(moments.LoopHung(silent, where_everything_stands(self._loop, self._thread)))
        finally:
            self._end(HANGS_EXIT_CODE)


def is_held_by_a_debugger(frame: FrameType | None) -> bool:
    """Whether a Python debugger is on the stack and waits for a command."""
    while frame is not None:
        if frame.f_globals.get("__name__") in _DEBUGGERS:
            return True
        frame = frame.f_back
    return False


# -- the final report ---------------------------------------------------------------------------------------------


def where_everything_stands(loop: asyncio.AbstractEventLoop, thread: int) -> str:
    """The stacks of all threads, that of the loop first, and of its tasks, innermost call last.

    Without source lines: reading them could hang as well.
    """
    frames = sys._current_frames()
    names = {each.ident: each.name for each in threading.enumerate()}
    order = sorted(frames, key=lambda ident: ident != thread)
    stacks = [(f"thread {names.get(ident, ident)}", "\n".join(_calls(frames[ident]))) for ident in order]
    return "\n".join(f"{name}:\n{stack}" for name, stack in [*stacks, *_tasks(loop)])


def _calls(frame: FrameType | None) -> list[str]:
    calls = []
    while frame is not None:
        calls.append(_place(frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return calls[::-1]


def _place(code: CodeType, line: int | None) -> str:
    return f"  {code.co_filename}:{line} in {code.co_qualname}"


def _tasks(loop: asyncio.AbstractEventLoop) -> Iterator[tuple[str, str]]:
    """Tasks that wait at the same place are grouped: a thousand streams wait at only a few places."""
    waiting: dict[str, list[str]] = {}
    for task in asyncio.all_tasks(loop):
        waiting.setdefault("\n".join(_awaited(task.get_coro())), []).append(task.get_name())
    for stack, names in waiting.items():
        told = ", ".join(sorted(names)[:_NAMES_TOLD])
        more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
        yield f"task {told}{more}", stack


def _awaited(awaited: Any) -> Iterator[str]:
    """From the task's own coroutine to the innermost one; generators and coroutines name their attributes
    differently."""
    while awaited is not None:
        kind = next((kind for kind in ("cr", "gi", "ag") if hasattr(awaited, f"{kind}_frame")), None)
        if kind is None or (frame := getattr(awaited, f"{kind}_frame")) is None:
            return
        yield _place(frame.f_code, frame.f_lineno)
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
