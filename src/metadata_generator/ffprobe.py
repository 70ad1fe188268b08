"""Runs ffprobe on a finished file, in a sandbox: the file is untrusted, and ffprobe has had vulnerabilities.

* ffprobe never sees the file's name. The file is opened here and becomes its standard input, which it opens again under
  a fixed name: no option, protocol or playlist can be hidden in a name, and a concurrent rename does not matter.
* The demuxer is forced to that of the file's format, which its first bytes decide (``containers``): MP4, Matroska or
  transport stream, and MP4 for everything else. Only the protocol ``file`` is allowed. So a playlist or a concat script
  named ``x.mp4`` is "invalid data", and neither another file nor a URL is opened. (Measured with ffprobe 5.1:
  ``-protocol_whitelist file`` alone lets a playlist open other local files.) Tracks in other files stay closed.
* Limits on memory, CPU time, open files and written files, an empty environment, ``/`` as working directory, a process
  group of its own. After a timeout, too much output or a cancellation the whole group is killed.
* A hanging file does not delay others: it is opened, read and closed in threads (``file_threads``).
* However many recordings end at once, few ffprobes run at the same time, with a lower priority than the daemon: loading
  the libraries of a usual ffprobe costs more than all other work for a short recording.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import resource
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..containers import Film, demuxer_of, read_film
from ..domain import Identity, Probe
from ..exceptions import ChunkProcessingError
from ..file_threads import FileThreads, OpenFile, reader
from ..timeouts import TaskGroup, timeout
from . import child_process
from .child_process import Child
from .media import read_answer
from .places import Places

MEMORY_LIMIT_BYTES = 1 << 30  # address space; ffprobe's libraries alone map 400 MB
OPEN_FILES_LIMIT = 16  # the shell moves its own descriptors to 10 and above
OUTPUT_LIMIT_BYTES = 8 << 20
ERROR_LIMIT = 300  # characters

_COMPLAINTS_KEPT_BYTES = 4096
_REAP_SECONDS = 5.0
_THREADS = 2
_NICENESS = 5
_MOST_AT_ONCE = 4  # a container may be allowed far less than its machine has

# A shell sets the limits and then becomes ffprobe: ``preexec_fn`` would run Python between fork and exec of a program
# with threads, and ``prlimit`` on the running child would be too late. util-linux' setpriv, if it is available and
# usable, makes the kernel end ffprobe with the daemon; whether it is usable is tried once, since each trial takes two
# processes. Output goes to pipes, so that no file need be written.
_FENCE: Final = """
cd / || exit
ulimit -c 0
ulimit -f 0
ulimit -n "$1"
ulimit -t "$2"
ulimit -v "$3"
shift 3
exec "$@"
"""
_ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--no-new-privs")
_STANDARD_INPUT: Final = "/dev/fd/0"
#: Options of a demuxer, which another one does not know.
_OF_DEMUXER: Final = {"mov": ("-enable_drefs", "0", "-use_absolute_path", "0")}
_QUESTION: Final = (
    *("-print_format", "json"),
    "-show_entries",
    "format=duration,start_time:stream=id,codec_type,codec_name,width,height,avg_frame_rate,sample_rate,channels,duration,"
    "sample_aspect_ratio,color_transfer,color_primaries,color_space"
    ":stream_disposition=attached_pic:stream_tags=language:stream_side_data=rotation",
    *("-i", f"file:{_STANDARD_INPUT}"),
)


class Ffprobe:
    """The ``Prober`` of the port. ``binary``: a name in PATH or a path; ``root``: the watched folder.

    ``at_once``: how many ffprobes run at the same time, without those whose file hangs.
    """

    def __init__(
        self,
        binary: str,
        root: Path,
        *,
        identity_of: Callable[[int], Identity],
        timeout_seconds: float = 30.0,
        at_once: int | None = None,
    ) -> None:
        self._binary = binary
        self._root = root
        self._identity_of = identity_of  # of an open descriptor; raises OSError
        self._timeout_seconds = timeout_seconds
        self._threads = FileThreads(_THREADS, "ffprobe-file", silent_seconds=timeout_seconds)
        self._places = Places(at_once or min(_MOST_AT_ONCE, os.cpu_count() or 1))
        self._trying = asyncio.Lock()
        self._setpriv_works: bool | None = None  # not tried yet

    @property
    def waiting(self) -> int:
        """The number of files that wait to be examined."""
        return self._places.waiting

    async def available(self) -> str | None:
        """ffprobe's own version string; None if there is no executable ffprobe."""
        program = await asyncio.to_thread(_find, self._binary)
        if program is None:
            return None
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            ending = await self._ask([program, "-version"], nothing)
        finally:
            os.close(nothing)
        found = re.match(rb"ffprobe version (\S+)", ending.output)
        if ending.trouble or ending.code or not found:
            return None
        return _printable(found.group(1))

    async def probe(self, path: str, identity: Identity) -> Probe:
        """The properties that ffprobe finds in the file at ``path`` (relative to the folder). Never raises for a bad
        file, nor if another one is at this path."""
        async with self._places.one():  # before the file is opened: thousands may wait
            return await self._probe(path, identity)

    async def _probe(self, path: str, identity: Identity) -> Probe:
        try:
            program, demuxer, opened = await self._opened(path, identity)
        except (OSError, ValueError, ChunkProcessingError) as error:
            return Probe(error=f"the file cannot be opened: {_reason(error)}")
        if program is None:
            return Probe(error=f"there is no program {self._binary!r}")
        try:
            with opened.used() as descriptor:
                ending = await self._ask([program, *_question(demuxer)], descriptor)
            problem = ending.problem()
            return Probe(error=problem) if problem else await self._answer(identity, opened, ending.output)
        finally:
            opened.let_go()

    async def _opened(self, path: str, identity: Identity) -> tuple[str | None, str, OpenFile]:
        """ffprobe's path, the demuxer, and the open file; without ffprobe the file is not opened."""
        opened = OpenFile()
        try:
            return *await self._threads.run(identity, self._open, path, identity, opened), opened
        except BaseException:
            opened.let_go()
            raise

    def _open(self, path: str, identity: Identity, opened: OpenFile) -> tuple[str | None, str]:
        program = _find(self._binary)
        if program is None:
            return None, ""
        opened.is_here(_open_inside(self._root, path))
        with opened.used() as descriptor:
            if self._identity_of(descriptor) != identity:
                raise ValueError("another file has taken its place")
            return program, demuxer_of(reader(descriptor))

    async def _answer(self, identity: Identity, opened: OpenFile, output: bytes) -> Probe:
        def read() -> Probe:
            return read_answer(output, _film_in(opened))

        try:
            return await self._threads.run(identity, read)
        except ChunkProcessingError:  # the file does not respond any more
            return await asyncio.to_thread(read_answer, output, None)

    async def _ask(self, command: Sequence[str], standard_input: int) -> _Ending:
        async with self._trying:
            if self._setpriv_works is None:
                trial = await self._run([*_ENDS_WITH_US, "true"], standard_input)
                self._setpriv_works = trial.trouble is None and trial.code == 0
        return await self._run([*(_ENDS_WITH_US if self._setpriv_works else ()), *command], standard_input)

    async def _run(self, command: Sequence[str], standard_input: int) -> _Ending:
        limits = _limits(self._timeout_seconds)
        try:
            fenced = ["/bin/sh", "-c", _FENCE, "fence", *limits, *command]
            child = await child_process.start(fenced, standard_input, niceness=_NICENESS)
        except OSError as error:
            return _Ending(trouble=f"ffprobe cannot be started: {_reason(error)}")
        try:
            return await self._listen(child)
        finally:
            await _end(child)

    async def _listen(self, child: Child) -> _Ending:
        try:
            async with timeout(self._timeout_seconds):
                # Concurrently: a child that waits for space in one pipe never closes the other.
                async with TaskGroup() as both:
                    complaints = both.create_task(_last_of(child.stderr), name="ffprobe-stderr")
                    output = await _all_of(child.stdout)
                    if output is None:
                        child.kill_group()
                code = await asyncio.shield(child.ended)
        except TimeoutError:
            return _Ending(trouble=f"ffprobe took longer than {self._timeout_seconds:g} s")
        if output is None:
            return _Ending(trouble=f"ffprobe wrote more than {OUTPUT_LIMIT_BYTES >> 20} MiB")
        return _Ending(code=code, output=output, complaints=complaints.result())


@dataclass(frozen=True, slots=True)
class _Ending:
    """How ffprobe ended: ``trouble`` if we ended it or it did not start, otherwise its exit code and output."""

    trouble: str | None = None
    code: int = 0
    output: bytes = b""
    complaints: bytes = b""

    def problem(self) -> str | None:
        if self.trouble or not self.code:
            return self.trouble
        how = f"ended by signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        last = "; ".join(_complaint(line) for line in self.complaints.splitlines()[-2:])
        return f"ffprobe: {last} ({how})"[:ERROR_LIMIT] if last else f"ffprobe: {how}"


# --- The process --------------------------------------------------------------------------------------------------


def _question(demuxer: str) -> list[str]:
    allowed = ("-v", "error", "-protocol_whitelist", "file", "-f", demuxer, *_OF_DEMUXER.get(demuxer, ()))
    return [*allowed, *_QUESTION]


def _find(binary: str) -> str | None:
    program = shutil.which(binary)
    return None if program is None else os.path.abspath(program)  # it is started in another directory


def _open_inside(root: Path, path: str) -> int:
    """A descriptor of the regular file at ``path`` inside ``root``; a link may lead to it, but not out of the folder.

    Raises ``OSError``, and ``ValueError`` for a path outside or a file that is not regular. Never waits for a FIFO's
    writer.
    """
    folder = os.path.realpath(root)
    real = os.path.realpath(os.path.join(folder, path))
    if os.path.commonpath([folder, real]) != folder:
        raise ValueError("it lies outside the watched folder")
    descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is not a regular file")
    return descriptor


def _film_in(opened: OpenFile) -> Film | None:
    """The properties in the structure of the open file; None if it cannot be read."""
    try:
        with opened.used() as descriptor:
            return read_film(reader(descriptor), os.fstat(descriptor).st_size)
    except OSError:
        return None


def _limits(timeout_seconds: float) -> list[str]:
    """Open files, CPU seconds and KiB of memory, as arguments of the shell: never above the daemon's own hard
    limits."""
    wanted = (
        (resource.RLIMIT_NOFILE, OPEN_FILES_LIMIT, 1),
        (resource.RLIMIT_CPU, math.ceil(timeout_seconds), 1),
        (resource.RLIMIT_AS, MEMORY_LIMIT_BYTES, 1024),
    )
    return [str(_at_most_hard(kind, limit) // unit) for kind, limit, unit in wanted]


def _at_most_hard(kind: int, limit: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


async def _all_of(stream: asyncio.StreamReader) -> bytes | None:
    """Everything until the end; None if it exceeds the limit."""
    output = bytearray()
    while piece := await stream.read(1 << 16):
        output += piece
        if len(output) > OUTPUT_LIMIT_BYTES:
            return None
    return bytes(output)


async def _last_of(stream: asyncio.StreamReader) -> bytes:
    """The last few KiB, however long it is."""
    kept = b""
    while piece := await stream.read(1 << 16):
        kept = (kept + piece)[-_COMPLAINTS_KEPT_BYTES:]
    return kept


async def _end(child: Child) -> None:
    """Clean up: kill what is left of the group, read its pipes to their end, reap the child.

    Does not wait for a child that hangs in the kernel (a dead network file system); it is reaped when it ends.
    """
    try:
        if child.ended.done() and child.stdout.at_eof() and child.stderr.at_eof():
            return  # its PID may have been reused
        child.kill_group()
        with contextlib.suppress(TimeoutError):
            async with timeout(_REAP_SECONDS):
                # A grandchild may keep them open longer than the child lives.
                await _last_of(child.stdout)
                await _last_of(child.stderr)
                await asyncio.shield(child.ended)
    finally:
        child.let_go()


# --- Complaints ---------------------------------------------------------------------------------------------------


def _complaint(line: bytes) -> str:
    """A line for people: without memory addresses, which differ at each run, and without our file's name."""
    text = re.sub(rb"^\[\S+ @ 0x[0-9a-f]+\] ", b"", line)
    return _printable(text.replace(f"file:{_STANDARD_INPUT}: ".encode(), b""))


def _printable(text: bytes) -> str:
    decoded = text.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in decoded).strip()


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
