"""Starts a program as a child that a file which hangs cannot keep from starting, nor its parent from going on.

``subprocess`` has the child close all files that its parent had open, before it becomes the program, and its parent
waits for that with the interpreter's lock held. Closing a file in FUSE whose server hangs does not end: then nothing
of the parent ran any more, not even the watchdog. With ``posix_spawn`` the kernel closes them (each is marked so), when
the parent goes on already; a child that hangs there is killed like any other.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO


@dataclass(frozen=True, slots=True)
class Child:
    """A program in a session and process group of its own. ``ended`` gives its exit code; below 0: the signal."""

    pid: int
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    ended: asyncio.Future[int]
    _pipes: tuple[asyncio.ReadTransport, ...]

    def kill_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def let_go(self) -> None:
        """Close our ends of its pipes. It is still reaped when it ends."""
        for pipe in self._pipes:
            pipe.close()


async def start(command: list[str], standard_input: int) -> Child:
    """Start ``command``, whose first word is the program's path, without any environment. Raises OSError."""
    output, to_output = os.pipe()
    errors, to_errors = os.pipe()
    try:
        # Here it takes a millisecond, and in a thread it would hold the interpreter's lock all the same.
        pid = os.posix_spawn(  # noqa: ASYNC221
            command[0],
            command,
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, standard_input, 0),
                (os.POSIX_SPAWN_DUP2, to_output, 1),
                (os.POSIX_SPAWN_DUP2, to_errors, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
        )
    except BaseException:
        os.close(output)
        os.close(errors)
        raise
    finally:
        os.close(to_output)
        os.close(to_errors)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()
    threading.Thread(target=_reap, args=[pid, loop, ended], name=f"reaper-{pid}", daemon=True).start()
    out, out_pipe = await _reader(loop, output)
    err, err_pipe = await _reader(loop, errors)
    return Child(pid, out, err, ended, (out_pipe, err_pipe))


async def _reader(loop: asyncio.AbstractEventLoop, pipe: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), FileIO(pipe))
    return reader, transport


def _reap(pid: int, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[int]) -> None:
    _, status = os.waitpid(pid, 0)
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(_tell, ended, os.waitstatus_to_exitcode(status))


def _tell(ended: asyncio.Future[int], code: int) -> None:
    if not ended.done():
        ended.set_result(code)
