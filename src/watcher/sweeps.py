"""Many short system calls on different files, in one call of a thread.

A hop to a thread and back costs several times as much as a stat. With 1,000 recordings, everything that is asked for
while a sweep is under way is answered by the next one. A file that does not respond must not keep the others waiting:
what is left of its sweep moves to another thread, and the file keeps the one in which it hangs, as in
``file_threads``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ..exceptions import silent_file
from ..file_threads import FileThreads, answered
from ..timeouts import timeout

P = ParamSpec("P")
T = TypeVar("T")

#: Maximum number of calls in one sweep: their results arrive together, and that many tasks go on at once.
MOST = 250
#: A sweep without a response for this long is continued in another thread.
_STALLED_SECONDS = 0.5


@dataclass(eq=False, slots=True)
class _Call:
    file: Hashable
    work: Callable[[], object]
    outcome: asyncio.Future[Any]
    result: object = None
    error: BaseException | None = None

    def tell(self) -> None:
        if self.outcome.done():
            return  # its caller was cancelled
        if self.error is None:
            self.outcome.set_result(self.result)
        else:
            self.outcome.set_exception(self.error)


class _Sweep:
    """One call of a thread for many files. ``todo`` and ``done`` are shared with the thread; a call that is made right
    now is ``current``."""

    def __init__(self, todo: deque[_Call], when_over: Callable[[_Sweep], None]) -> None:
        self.todo = todo
        self.done: deque[_Call] = deque()
        self.current: _Call | None = None
        self.stalled_at: float | None = None  # since then the file of the current call has not responded
        self.has_ended = asyncio.Event()
        self.looking: asyncio.TimerHandle | None = None
        self._when_over = when_over
        self._loop = asyncio.get_running_loop()

    def run(self) -> None:
        """Runs in a thread."""
        try:
            while (call := self._next()) is not None:
                try:
                    call.result = call.work()
                except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
                    call.error = error
                self.done.append(call)
                self.current = None
                answered()
        finally:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._when_over, self)

    def _next(self) -> _Call | None:
        with suppress(IndexError):  # all are done, or were moved to another sweep
            self.current = self.todo.popleft()
            return self.current
        return None

    def deliver(self) -> bool:
        """Deliver the results so far. Whether there were any."""
        any_done = bool(self.done)
        while self.done:
            self.done.popleft().tell()
        return any_done


class Sweeps:
    """Short calls in ``threads``; a caller whose file does not respond gives up after ``silent_seconds``, as set there.
    Belongs to one event loop."""

    def __init__(self, threads: FileThreads, silent_seconds: float) -> None:
        self._threads = threads
        self._silent_seconds = silent_seconds
        self._waiting: deque[_Call] = deque()
        self._hanging: dict[Hashable, _Sweep] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_under_way = False

    async def run(self, file: Hashable, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``work``, in a thread. Raises ``ChunkProcessingError`` if the file does not respond."""
        loop = asyncio.get_running_loop()
        while (sweep := self._hanging.get(file)) is not None:
            await self._until_it_answers(sweep)
        call = _Call(file, partial(work, *args, **kwargs), loop.create_future())
        self._waiting.append(call)
        if not self._is_under_way:
            self._is_under_way = True
            loop.call_soon(self._begin)  # with all that is asked for until then
        result: T = await call.outcome
        return result

    async def _until_it_answers(self, sweep: _Sweep) -> None:
        """A file that hangs uses no further thread."""
        since = sweep.stalled_at or 0.0
        left = since + self._silent_seconds - asyncio.get_running_loop().time()
        if left <= 0:
            raise silent_file(self._silent_seconds)
        with suppress(TimeoutError):
            async with timeout(left):
                await sweep.has_ended.wait()

    def _begin(self) -> None:
        calls = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        wanted = deque(call for call in calls if not call.outcome.done())
        if wanted:
            task = asyncio.get_running_loop().create_task(self._sweep(wanted), name="sweep")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif self._waiting:
            self._begin()
        else:
            self._is_under_way = False

    async def _sweep(self, calls: deque[_Call]) -> None:
        key = calls[0].file
        sweep = _Sweep(calls, self._is_over)
        self._look_later(sweep)
        error: BaseException | None = None
        try:
            await self._threads.run(key if len(calls) == 1 else sweep, sweep.run)
        except Exception as exc:  # noqa: BLE001 - the callers get it
            error = exc
        finally:
            if sweep.looking is not None:
                sweep.looking.cancel()
        sweep.deliver()
        if error is not None:  # no thread could be had, or the file of the current call does not respond
            for call in filter(None, (sweep.current, *sweep.todo)):
                call.error = error
                call.tell()
            sweep.todo.clear()
        if sweep.stalled_at is None:
            self._continue(sweep)

    def _look_later(self, sweep: _Sweep) -> None:
        sweep.looking = asyncio.get_running_loop().call_later(_STALLED_SECONDS, self._look, sweep)

    def _look(self, sweep: _Sweep) -> None:
        """Runs periodically during a sweep; on a good disk it ends before."""
        has_responded = sweep.deliver()
        stuck = sweep.current
        if stuck is None or has_responded:
            self._look_later(sweep)
            return
        sweep.stalled_at = asyncio.get_running_loop().time()
        self._hanging[stuck.file] = sweep
        self._continue(sweep)

    def _continue(self, sweep: _Sweep) -> None:
        """The next sweep, with what is left of this one first."""
        with suppress(IndexError):
            while True:
                self._waiting.appendleft(sweep.todo.pop())
        self._begin()

    def _is_over(self, sweep: _Sweep) -> None:
        """Its thread has returned, perhaps after its callers gave up."""
        sweep.has_ended.set()
        for file, hanging in list(self._hanging.items()):
            if hanging is sweep:
                del self._hanging[file]
