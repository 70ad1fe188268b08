"""Threads for calls into files, none of which can be stopped and some of which never come back.

A file on a dead share, on a dying disk or in FUSE may hang for ever, and takes the thread that reads it along. So that
no other file waits for that:

* A call that gets no answer for ``_BESIDE_SECONDS`` no longer counts as one of those that run at once: another thread
  takes its place. At most ``_MOST_BESIDE`` calls go on like that; if more hang, the rest keep their places.
* Whoever waits for a call that gets no answer for ``silent_seconds`` gets ``ChunkProcessingError``. The call itself
  ends with the next answer, if there is one.
* A file that hangs takes no further thread: a new call for it waits until the first one has come back or was given up,
  and after that is refused at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from .exceptions import ChunkProcessingError

P = ParamSpec("P")
T = TypeVar("T")

#: No byte, and no other answer, for so long: whoever waits for it does something else.
SILENT_SECONDS = 30.0
_BESIDE_SECONDS = 2.0
#: Threads beyond the usual number. A container may have a limit of 256 in all.
_MOST_BESIDE = 64

_of_thread = threading.local()


def answered() -> None:
    """Called in a thread after each call of the operating system. Raises OSError when nobody waits any more."""
    call: _Call | None = getattr(_of_thread, "call", None)
    if call is not None:
        call.heard_at = time.monotonic()
        if not call.is_wanted:
            raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


def reader(descriptor: int) -> Callable[[int, int], bytes]:
    """``read(offset, count)`` of an open file, for use in a thread. Raises OSError."""

    def read(offset: int, count: int) -> bytes:
        data = os.pread(descriptor, count, offset)
        answered()
        return data

    return read


class OpenFile:
    """A descriptor that several threads use. It is closed when all have let go of it, in a thread of its own: closing a
    file may hang, too (FUSE). Whoever makes the object lets go of it once."""

    def __init__(self) -> None:
        self._users = 1
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def is_here(self, descriptor: int) -> None:
        """The file has been opened, perhaps when nobody wanted it any more."""
        with self._lock:
            self._descriptor = descriptor
            is_wanted = self._users > 0
        if not is_wanted:
            os.close(descriptor)

    @contextmanager
    def used(self) -> Iterator[int]:
        """The descriptor, which stays open inside. Raises OSError when it is closed already."""
        with self._lock:
            if self._users == 0 or self._descriptor is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            self._users += 1
        try:
            yield self._descriptor
        finally:
            self.let_go()

    def let_go(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._descriptor is None:
                return
        threading.Thread(target=os.close, args=[self._descriptor], name="closing", daemon=True).start()


class FileThreads:
    """``count`` calls at once, each for one file; the threads are called ``name``. Belongs to one event loop."""

    def __init__(self, count: int, name: str, *, silent_seconds: float = SILENT_SECONDS) -> None:
        self._name = name
        self._silent_seconds = silent_seconds
        self._beside_seconds = min(_BESIDE_SECONDS, silent_seconds)
        self._places = asyncio.Semaphore(count)
        self._todo: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads = self._calls = self._calls_beside = 0
        self._beside: dict[Hashable, set[_Call]] = {}
        self._closed = False

    def close(self) -> None:
        """Begin nothing any more. A thread that hangs is not waited for, not even by the end of the process."""
        self._closed = True
        for _ in range(self._threads):
            self._todo.put(None)
        self._threads = 0

    async def run(self, file: Hashable, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` gives, in a thread. Raises ``ChunkProcessingError`` when the file does not answer.

        Cancelled while the work runs, it goes on until the file answers, and its result is dropped.
        """
        await self._until_it_answers(file)
        await self._places.acquire()
        call = self._begin(file, partial(work, *args, **kwargs))
        try:
            async with asyncio.timeout(None) as limit:
                call.limit = limit
                result: T = await asyncio.wrap_future(call.outcome)
                return result
        except TimeoutError:  # also what the system says of some shares
            if not limit.expired():
                raise
            raise self._silence() from None
        finally:
            call.limit, call.is_wanted = None, False

    def _begin(self, file: Hashable, work: Callable[[], object]) -> _Call:
        if self._closed:
            self._places.release()
            raise RuntimeError("closed already")
        loop, call = asyncio.get_running_loop(), _Call(file, work)
        call.outcome.add_done_callback(partial(self._tell_end, loop, call))
        call.timer = loop.call_later(self._beside_seconds, self._look, call)
        self._calls += 1
        if self._calls > self._threads:
            self._threads += 1
            threading.Thread(target=_work, args=[self._todo], name=self._name, daemon=True).start()
        self._todo.put(call)
        return call

    async def _until_it_answers(self, file: Hashable) -> None:
        while hanging := [call for call in self._beside.get(file, ()) if call.silence() >= self._beside_seconds]:
            longest = max(hanging, key=_Call.silence)
            if longest.silence() >= self._silent_seconds:
                raise self._silence()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._silent_seconds - longest.silence()):
                    await longest.came_back.wait()

    def _silence(self) -> ChunkProcessingError:
        return ChunkProcessingError(
            f"the file has not answered for {self._silent_seconds:g} s",
            operation="read",
            hint="Check the disk, or the server of the share, that the file is on.",
        )

    def _look(self, call: _Call) -> None:
        """Again and again, until the call was given up or has come back."""
        silence, wait = call.silence(), self._beside_seconds
        if silence >= self._beside_seconds and not call.is_beside and self._calls_beside < _MOST_BESIDE:
            call.is_beside = True
            self._calls_beside += 1
            self._beside.setdefault(call.file, set()).add(call)
            self._places.release()
        if silence >= self._silent_seconds:
            if call.limit is not None:
                call.limit.reschedule(0)
                call.limit = None
            if call.is_beside:
                return
        elif silence >= self._beside_seconds:
            wait = self._silent_seconds - silence
        else:
            wait = self._beside_seconds - silence
        call.timer = asyncio.get_running_loop().call_later(max(wait, 0.01), self._look, call)

    def _tell_end(self, loop: asyncio.AbstractEventLoop, call: _Call, _: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._end, call)

    def _end(self, call: _Call) -> None:
        if call.timer is not None:
            call.timer.cancel()
        call.came_back.set()
        self._calls -= 1
        if not call.is_beside:
            self._places.release()
            return
        self._calls_beside -= 1
        others = self._beside[call.file]
        others.discard(call)
        if not others:
            del self._beside[call.file]
        if self._threads:  # the one that took its place is one too many now
            self._threads -= 1
            self._todo.put(None)


class _Call:
    """One call. ``heard_at`` is written by its thread, ``is_wanted`` by the event loop's."""

    def __init__(self, file: Hashable, work: Callable[[], object]) -> None:
        self.file = file
        self.outcome: Future[Any] = Future()
        self.heard_at = time.monotonic()
        self.is_wanted = True
        self.is_beside = False
        self.limit: asyncio.Timeout | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.came_back = asyncio.Event()
        self._work = work

    def silence(self) -> float:
        """Seconds since something came."""
        return time.monotonic() - self.heard_at

    def run(self) -> None:
        """In a thread."""
        if not self.outcome.set_running_or_notify_cancel():
            return
        _of_thread.call = self
        try:
            self.heard_at = time.monotonic()
            outcome = self._work()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(outcome)
        finally:
            _of_thread.call = None


def _work(todo: SimpleQueue[_Call | None]) -> None:
    while (call := todo.get()) is not None:
        call.run()
        del call
