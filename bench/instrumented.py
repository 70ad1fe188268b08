"""The daemon, with every callback of its event loop timed. Started by the bench as ``python -m bench.instrumented``.

SIGUSR1 writes the longest callbacks since the last SIGUSR1 into the file ``BENCH_REPORT`` and resets them, so that the
bench can exclude the start-up.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from src.main import main

_KEPT = 8


class Longest:
    """The few largest of many values, in milliseconds, each with its name."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, int, str]] = []
        self._count = 0

    def take(self, seconds: float, callback: object) -> None:
        self._count += 1
        if len(self._kept) < _KEPT:
            heapq.heappush(self._kept, (seconds, self._count, _name_of(callback)))
        elif seconds > self._kept[0][0]:
            heapq.heapreplace(self._kept, (seconds, self._count, _name_of(callback)))

    def report(self) -> list[tuple[float, str]]:
        """The longest first."""
        return [(round(seconds * 1000, 3), name) for seconds, _, name in sorted(self._kept, reverse=True)]


class Stopwatch:
    """The longest callbacks by the CPU time of the loop's thread, and the longest by wall-clock time."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._cpu, self._wall = Longest(), Longest()

    def take(self, cpu: float, wall: float, callback: object) -> None:
        """One callback ran."""
        self._cpu.take(cpu, callback)
        self._wall.take(wall, callback)

    def report(self) -> dict[str, list[tuple[float, str]]]:
        return {"cpu": self._cpu.report(), "wall": self._wall.report()}


def _name_of(callback: object) -> str:
    """The task that was stepped, else the function that was called."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"task {owner.get_name()}: {getattr(owner.get_coro(), '__qualname__', '')}"
    return str(getattr(callback, "__qualname__", None) or repr(callback))[:200]


def instrument(stopwatch: Stopwatch, begin: Callable[[], None]) -> None:
    """From now on every callback of every loop is timed. ``begin`` is called before the first."""
    loop_handle: Any = asyncio.Handle
    run = loop_handle._run
    has_begun = False

    def timed(handle: Any) -> None:
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            begin()
        callback = handle._callback  # before the call, which may cancel its own handle
        cpu, wall = time.thread_time(), time.perf_counter()
        run(handle)
        stopwatch.take(time.thread_time() - cpu, time.perf_counter() - wall, callback)

    loop_handle._run = timed


def report_when_asked(stopwatch: Stopwatch, path: Path) -> None:
    """On SIGUSR1, which the daemon ignores from its start on; the file is complete at any time."""

    def write(_number: int, _frame: object) -> None:
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(stopwatch.report()))
        draft.replace(path)
        stopwatch.reset()

    signal.signal(signal.SIGUSR1, write)


if __name__ == "__main__":
    watch = Stopwatch()
    report = Path(os.environ.pop("BENCH_REPORT"))
    instrument(watch, lambda: report_when_asked(watch, report))
    sys.exit(main())
