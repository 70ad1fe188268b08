"""Starts a program as a child, such that a hanging file can block neither its start nor the parent.

With ``subprocess`` the child closes all files of its parent before it executes the program, and the parent waits for
that with the interpreter's lock held. Closing a file in FUSE whose server hangs never returns: then nothing in the
parent runs, not even the watchdog. With ``posix_spawn`` the kernel closes them (each is marked for that) after the
parent has continued; a child that hangs there is killed like any other.

A child needs no thread: the kernel reports its end through a descriptor (pidfd, Linux 5.3), which the event loop
watches. Where there is none, the child is asked about periodically. asyncio's own watcher of children would be
a thread for each of them in Python 3.11.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO

#: Where there is no pidfd: interval in seconds for asking whether a child has ended; doubled each time.
_FIRST_ASK_SECONDS, _LONGEST_ASK_SECONDS = 0.01, 0.5


@dataclass(frozen=True, slots=True)
class Child:
    """A program in a process group of its own. ``ended`` returns its exit code; negative: the signal.

    In our session: Linux may divide a processor among sessions first (autogroups), and a niceness then only counts
    inside of one.
    """

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


async def start(command: list[str], standard_input: int, *, niceness: int = 0) -> Child:
    """Start ``command``, whose first word is the program's path, with an empty environment. Raises OSError.

    ``niceness`` is added to our own: the child gets less of a busy processor. If it fails, or is cancelled, neither the
    child nor a pipe is left.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as undone:
        output, to_output = _pipe(undone)
        errors, to_errors = _pipe(undone)
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
            setpgroup=0,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
        )
        ended = _reaped(loop, pid)
        undone.callback(_kill_group, pid)
        if niceness:
            _make_nice(pid, niceness)
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


def _make_nice(pid: int, niceness: int) -> None:
    with suppress(OSError):  # our own is higher already, or the child has ended
        os.setpriority(os.PRIO_PROCESS, pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness))


def _reaped(loop: asyncio.AbstractEventLoop, pid: int) -> asyncio.Future[int]:
    """The exit code of the child, which is reaped as soon as it has ended."""
    ended: asyncio.Future[int] = loop.create_future()
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # no Linux, an older one, or no more descriptors
        _ask_again(loop, pid, ended, _FIRST_ASK_SECONDS)
    else:
        loop.add_reader(descriptor, _reap_and_close, loop, pid, ended, descriptor)
    return ended


def _reap_and_close(loop: asyncio.AbstractEventLoop, pid: int, ended: asyncio.Future[int], descriptor: int) -> None:
    if _reap(pid, ended):
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _ask_again(loop: asyncio.AbstractEventLoop, pid: int, ended: asyncio.Future[int], seconds: float) -> None:
    if not _reap(pid, ended):
        longer = min(2 * seconds, _LONGEST_ASK_SECONDS)
        loop.call_later(seconds, _ask_again, loop, pid, ended, longer)


def _reap(pid: int, ended: asyncio.Future[int]) -> bool:
    """Whether the child has ended. Never waits."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # SIGCHLD is ignored, as inherited from our parent: exit codes are not available
        found, status = pid, 0
    if found and not ended.done():
        ended.set_result(os.waitstatus_to_exitcode(status))
    return bool(found)
