"""Threads for system calls on files, which cannot be cancelled and may never return.

A file on a dead share, on a dying disk or in FUSE may hang indefinitely, together with the thread that reads it. To
keep other files unaffected:

* A call without a response for ``_BESIDE_SECONDS`` no longer counts as one of the concurrent ones: another thread takes
  its place; while others wait, some do so sooner. At most ``_MOST_BESIDE`` calls continue like that; if more hang, the
  rest keep their places.
* The caller of a call without a response for ``silent_seconds`` gets ``ChunkProcessingError``. The call itself ends
  with the next response, if there is one.
* A hanging file uses no further thread: a new call for it waits until the first one has returned or was abandoned, and
  is then refused at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

from .exceptions import ChunkProcessingError, silent_file
from .timeouts import timeout

P = ParamSpec("P")
T = TypeVar("T")

#: Without a byte or other response for this long, the caller gives up.
SILENT_SECONDS = 30.0
_BESIDE_SECONDS = 2.0
#: If no place is free this fraction suffices; for a limited number at a time, because a disk that is only slow must not
#: be read by all threads at once.
_EARLY = 1 / 4
_MOST_EARLY = 16
#: Threads in addition to the usual number. A container may have a limit of 256 in total.
_MOST_BESIDE = 64

#: A thread that closes files ends after this time without one.
_CLOSER_SECONDS = 10.0

_of_thread = threading.local()


def answered() -> None:
    """Called in a thread after each system call. Raises OSError if no caller waits any longer."""
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


class _Closing:
    """Closes descriptors of files that are no longer used. A close that hangs keeps no other file open: each descriptor
    gets a thread that does nothing else. On a good disk it is always the same one."""

    def __init__(self) -> None:
        self._descriptors: deque[int] = deque()
        self._idle = 0
        self._changed = threading.Condition()

    def close(self, descriptor: int) -> None:
        """Returns at once."""
        with self._changed:
            self._descriptors.append(descriptor)
            if len(self._descriptors) <= self._idle:
                self._changed.notify()
                return
        with suppress(RuntimeError):  # no more threads: closed with the next one
            threading.Thread(target=self._close_all, name="closing", daemon=True).start()

    def _close_all(self) -> None:
        """Runs in a thread."""
        while (descriptor := self._next()) is not None:
            with suppress(OSError):  # the last write to a share failed
                os.close(descriptor)

    def _next(self) -> int | None:
        """None if there was none for a while."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._descriptors, _CLOSER_SECONDS)
            self._idle -= 1
            return self._descriptors.popleft() if self._descriptors else None


_closing = _Closing()


class OpenFile:
    """A descriptor that several threads use. It is closed when all have released it, in a thread of its own: closing a
    file may hang, too (FUSE). The creator of the object releases it once."""

    def __init__(self) -> None:
        self._users = 1
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def is_here(self, descriptor: int) -> None:
        """The file has been opened, perhaps after its callers have given up."""
        with self._lock:
            self._descriptor = descriptor
            is_wanted = self._users > 0
        if not is_wanted:
            os.close(descriptor)

    @contextmanager
    def used(self) -> Iterator[int]:
        """The descriptor, which stays open inside. Raises OSError if it is closed already."""
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
        _closing.close(self._descriptor)


class Caller(Protocol):
    """Receives the progress of the caller's call."""

    @property
    def make_room(self) -> Callable[[], None]: ...

    def heard(self, at: float) -> None: ...


class FileThreads:
    """``count`` concurrent calls, each for one file; the threads are called ``name``. Belongs to one event loop.

    ``caller`` returns the object to notify of a call: it receives each response, and makes room for others if there
    is no response.
    """

    def __init__(
        self,
        count: int,
        name: str,
        *,
        silent_seconds: float = SILENT_SECONDS,
        caller: Callable[[], Caller | None] = lambda: None,
    ) -> None:
        self._caller = caller
        self._name = name
        self._silent_seconds = silent_seconds
        self._beside_seconds = min(_BESIDE_SECONDS, silent_seconds)
        self._places = asyncio.Semaphore(count)
        self._todo: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads = self._many_beside = 0
        self._running: set[_Call] = set()
        self._beside: dict[Hashable, set[_Call]] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._closed = False

    def close(self) -> None:
        """Accept no more calls. Does not wait for a hanging thread, and neither does the end of the process."""
        self._closed = True
        for _ in range(self._threads):
            self._todo.put(None)
        self._threads = 0

    async def run(self, file: Hashable, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of ``work``, in a thread. Raises ``ChunkProcessingError`` if the file does not respond.

        If cancelled while the work runs, it continues until the file responds, and its result is dropped.
        """
        return await self._run(file, partial(work, *args, **kwargs), self._silent_seconds)

    async def glance(self, file: Hashable, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for optional work: a hanging file is abandoned after ``_BESIDE_SECONDS``."""
        return await self._run(file, partial(work, *args, **kwargs), self._beside_seconds)

    async def _run(self, file: Hashable, work: Callable[[], T], patience: float) -> T:
        if self._beside:
            await self._until_it_answers(file, patience)
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        try:
            if self._closed:
                raise RuntimeError("closed already")
            self._have_a_thread()
        except BaseException:
            self._places.release()
            raise
        call = _Call(file, work, patience, loop.create_future(), partial(self._tell_end, loop), self._caller())
        self._begin(call, loop)
        try:
            result: T = await call.outcome
            return result
        finally:
            call.is_wanted = False

    def _have_a_thread(self) -> None:
        """Start one for the next call. Raises ``ChunkProcessingError`` if the system allows none: then there is no
        call."""
        if len(self._running) < self._threads:
            return
        try:
            threading.Thread(target=_work, args=[self._todo], name=self._name, daemon=True).start()
        except RuntimeError as error:
            hint = "Raise the thread limit: ulimit -u, TasksMax in systemd, pids_limit in compose."
            raise ChunkProcessingError(
                f"cannot start a thread to read with: {error}", operation="read", hint=hint
            ) from error
        self._threads += 1

    def _begin(self, call: _Call, loop: asyncio.AbstractEventLoop) -> None:
        self._running.add(call)
        self._todo.put(call)
        if self._looking is None:
            self._looking = loop.call_later(self._beside_seconds * _EARLY, self._look)

    async def _until_it_answers(self, file: Hashable, patience: float) -> None:
        while hanging := [call for call in self._beside.get(file, ()) if call.silence() >= self._beside_seconds]:
            longest = max(hanging, key=_Call.silence)
            if longest.silence() >= patience:
                raise silent_file(patience)
            with suppress(TimeoutError):
                async with timeout(patience - longest.silence()):
                    await longest.came_back.wait()

    def _look(self) -> None:
        """Runs periodically while any call runs; on a good disk no call is there for two rounds."""
        now = asyncio.get_running_loop().time()
        early = sum(call.is_beside and call.silence() < self._beside_seconds for call in self._running)
        for call in self._running:
            silence = call.silence()
            if call.caller is not None:
                call.caller.heard(now - silence)
                if silence >= self._beside_seconds:
                    call.caller.make_room()
            is_early = self._beside_seconds * _EARLY <= silence < self._beside_seconds
            if is_early and not call.is_beside and self._places.locked() and early < _MOST_EARLY:
                early += 1
                self._goes_beside(call)
            elif silence >= self._beside_seconds and not call.is_beside:
                self._goes_beside(call)
            if silence >= call.patience and not call.outcome.done():
                call.outcome.set_exception(silent_file(call.patience))
        self._looking = None
        if self._running:
            self._looking = asyncio.get_running_loop().call_later(self._beside_seconds * _EARLY / 2, self._look)

    def _goes_beside(self, call: _Call) -> None:
        """Another call may have its place."""
        if self._many_beside < _MOST_BESIDE:
            call.is_beside = True
            self._many_beside += 1
            self._beside.setdefault(call.file, set()).add(call)
            self._places.release()

    def _tell_end(self, loop: asyncio.AbstractEventLoop, call: _Call) -> None:
        """Runs in the call's thread."""
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._end, call)

    def _end(self, call: _Call) -> None:
        call.tell()
        call.came_back.set()
        self._running.discard(call)
        if not call.is_beside:
            self._places.release()
            return
        self._many_beside -= 1
        others = self._beside[call.file]
        others.discard(call)
        if not others:
            del self._beside[call.file]
        if self._threads:  # there is one thread too many now: the one that took its place
            self._threads -= 1
            self._todo.put(None)


class _Call:
    """One call. ``heard_at`` is written by its thread, ``is_wanted`` by that of the event loop."""

    def __init__(
        self,
        file: Hashable,
        work: Callable[[], object],
        patience: float,
        outcome: asyncio.Future[Any],
        when_over: Callable[[_Call], None],
        caller: Caller | None,
    ) -> None:
        self.caller = caller
        self.file = file
        self.patience = patience
        self.outcome = outcome
        self.heard_at = time.monotonic()
        self.is_wanted = True
        self.is_beside = False
        self.came_back = asyncio.Event()
        self._work = work
        self._when_over = when_over
        self._result: object = None
        self._error: BaseException | None = None

    def silence(self) -> float:
        """Seconds since the last response."""
        return time.monotonic() - self.heard_at

    def run(self) -> None:
        """Runs in a thread."""
        _of_thread.call = self
        self._result, self._error = _attempt(self._work)
        _of_thread.call = None
        del self._work  # and the memory that it was to fill
        self._when_over(self)

    def tell(self) -> None:
        """Runs in the event loop's thread: delivers the result."""
        if self.outcome.done():
            return
        if self._error is not None:
            self.outcome.set_exception(self._error)
        else:
            self.outcome.set_result(self._result)


def _attempt(work: Callable[[], object]) -> tuple[object, BaseException | None]:
    """A frame of its own, so that the error's traceback references neither the call nor its result: such a cycle would
    keep memory until the next collection."""
    try:
        answered()
        return work(), None
    except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
        return None, error


def _work(todo: SimpleQueue[_Call | None]) -> None:
    while (call := todo.get()) is not None:
        call.run()
        del call
