"""Starts a program as a child, such that a hanging file can block neither its start nor the parent.

With ``subprocess`` the child closes all files of its parent before it executes the program, and the parent waits for
that with the interpreter's lock held. Closing a file in FUSE whose server hangs never returns: then nothing in the
parent runs, not even the watchdog. With ``posix_spawn`` the kernel closes them (each is marked for that) after the
parent has continued; a child that hangs there is killed like any other.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from queue import SimpleQueue


@dataclass(frozen=True, slots=True)
class Child:
    """A program in a session and process group of its own. ``ended`` returns its exit code; negative: the signal."""

    pid: int
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    ended: asyncio.Future[int]
    _pipes: tuple[asyncio.ReadTransport, ...]

    def kill_group(self) -> None:
        _kill_group(self.pid)

    def let_go(self) -> None:
        """Close our ends of its pipes. It is still reaped when it ends."""
        for pipe in self._pipes:
            pipe.close()


async def start(command: list[str], standard_input: int) -> Child:
    """Start ``command``, whose first word is the program's path, with an empty environment. Raises OSError.

    If it fails, or is cancelled, neither the child nor a pipe is left.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    with ExitStack() as undone:
        output, to_output = _pipe(undone)
        errors, to_errors = _pipe(undone)
        spawned = _begin_reaping(loop, ended)
        undone.callback(spawned.put, None)
        # This takes a millisecond, and in a thread it would hold the interpreter's lock as well.
        pid = os.posix_spawn(  # noqa: ASYNC221
            command[0],
            command,
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, standard_input, 0),
                (os.POSIX_SPAWN_DUP2, to_output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, to_errors.fileno(), 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
        )
        undone.callback(_kill_group, pid)
        spawned.put(pid)
        to_output.close()
        to_errors.close()
        out, out_pipe = await _reader(loop, output)
        undone.callback(out_pipe.close)
        err, err_pipe = await _reader(loop, errors)
        undone.pop_all()
        return Child(pid, out, err, ended, (out_pipe, err_pipe))


def _pipe(undone: ExitStack) -> tuple[FileIO, FileIO]:
    """The read end and the write end. Closing one twice does nothing."""
    reading, writing = os.pipe()
    ends = FileIO(reading), FileIO(writing, "w")
    for end in ends:
        undone.callback(end.close)
    return ends


async def _reader(loop: asyncio.AbstractEventLoop, pipe: FileIO) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _begin_reaping(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[int]) -> SimpleQueue[int | None]:
    """A thread that waits for the child whose PID it is given. It is started before the child, which would not be
    reaped if the system had no more threads. Raises OSError."""
    spawned: SimpleQueue[int | None] = SimpleQueue()
    try:
        threading.Thread(target=_reap, args=[spawned, loop, ended], name="reaper", daemon=True).start()
    except RuntimeError:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
    return spawned


def _reap(spawned: SimpleQueue[int | None], loop: asyncio.AbstractEventLoop, ended: asyncio.Future[int]) -> None:
    pid = spawned.get()
    if pid is None:
        return
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:  # SIGCHLD is ignored, as inherited from our parent: exit codes are not available
        status = 0
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_tell, ended, os.waitstatus_to_exitcode(status))


def _tell(ended: asyncio.Future[int], code: int) -> None:
    if not ended.done():
        ended.set_result(code)
