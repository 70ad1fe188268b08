"""A file system whose files hang when they are told to: a folder shown through FUSE, read-only.

The requests of the kernel are answered here, from ``/dev/fuse``, without a library; see linux/fuse.h. What hangs is
one kind of request at one name; it is answered when the hanging ends, or with EINTR when whoever asked is killed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

import pytest

_DETACHED = 2
_ROOT = 1
_VERSION = (7, 31)
_MAX_READ = 1 << 20
_REQUEST = struct.Struct("=IIQQIIIHH")
_ANSWER = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=6Q10I")
_DIRECT_IO = 1
_MAX_PAGES = 1 << 22


class Operation(IntEnum):
    """What the kernel asks, as far as it is answered here."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    OPEN = 14
    READ = 15
    STATFS = 17
    RELEASE = 18
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42


_UNANSWERED = (Operation.FORGET, Operation.BATCH_FORGET, Operation.DESTROY, Operation.INTERRUPT)


@dataclass(frozen=True, slots=True)
class _Request:
    operation: int
    number: int
    node: int
    process: int
    body: bytes


@dataclass
class HangingFiles:
    """The files of ``source`` as they are seen at ``mount``. Use ``hanging_files`` to make one."""

    source: Path
    mount: Path
    device: int
    _paths: dict[int, str] = field(default_factory=lambda: {_ROOT: ""})
    _nodes: dict[str, int] = field(default_factory=lambda: {"": _ROOT})
    _hung: dict[int, _Request] = field(default_factory=dict)
    _rules: dict[str, tuple[frozenset[Operation], Callable[[int], bool]]] = field(default_factory=dict)
    _met: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # -- for tests -----------------------------------------------------------------------------------------------

    def hang(self, *names: str, at: tuple[Operation, ...] = (Operation.READ,), whose: int | None = None) -> None:
        """From now on requests of these kinds for these names are not answered; ``whose``: but for those of this
        process (an ffprobe is another one)."""
        with self._lock:
            for name in names:
                self._rules[name] = (frozenset(at), lambda thread: whose is None or _process_of(thread) != whose)

    def end(self, *names: str) -> None:
        """Answer what hangs at these names, and hang no more; without names: at all of them."""
        with self._lock:
            for name in names or tuple(self._rules):
                self._rules.pop(name, None)
            freed = [each for each in self._hung.values() if self._paths.get(each.node, "") not in self._rules]
            for each in freed:
                del self._hung[each.number]
        for each in freed:
            self._serve(each)

    def met(self) -> set[str]:
        """The names at which anybody hung so far."""
        with self._lock:
            return set(self._met)

    def hung(self) -> int:
        """Requests that hang at this moment."""
        with self._lock:
            return len(self._hung)

    # -- serving -------------------------------------------------------------------------------------------------

    def serve(self, stopped: int) -> None:
        """Until something can be read from ``stopped``."""
        while True:
            ready, _, _ = select.select([self.device, stopped], [], [])
            if stopped in ready:
                return
            try:
                raw = os.read(self.device, _MAX_READ + (1 << 16))
            except OSError as error:
                if error.errno == errno.ENODEV:  # it was unmounted
                    return
                continue  # the request was interrupted before it was read
            _, operation, number, node, _, _, process, _, _ = _REQUEST.unpack_from(raw)
            self._take(_Request(operation, number, node, process, raw[_REQUEST.size :]))

    def _take(self, request: _Request) -> None:
        if request.operation == Operation.INTERRUPT:
            (number,) = struct.unpack_from("=Q", request.body)
            with self._lock:
                interrupted = self._hung.pop(number, None)
            if interrupted is not None:
                self._answer(number, error=errno.EINTR)
            return
        with self._lock:
            name = self._paths.get(request.node, "")
            operations, is_meant = self._rules.get(name, (frozenset(), bool))
            if request.operation in operations and is_meant(request.process):
                self._met.add(name)
                self._hung[request.number] = request
                return
        self._serve(request)

    def _serve(self, request: _Request) -> None:
        if request.operation in _UNANSWERED:
            return
        try:
            serve = _SERVED[Operation(request.operation)]
        except (KeyError, ValueError):
            self._answer(request.number, error=errno.ENOSYS)
            return
        try:
            self._answer(request.number, serve(self, request))
        except OSError as error:
            self._answer(request.number, error=error.errno or errno.EIO)

    def _answer(self, number: int, body: bytes = b"", error: int = 0) -> None:
        with suppress(FileNotFoundError):  # nobody waits for it any more
            os.write(self.device, _ANSWER.pack(_ANSWER.size + len(body), -error, number) + body)

    def _there(self, request: _Request) -> Path:
        with self._lock:
            return self.source / self._paths[request.node]

    def _init(self, request: _Request) -> bytes:
        flags = struct.unpack_from("=4I", request.body)[3] & _MAX_PAGES
        sizes = struct.pack("=HHIIHH", 16, 12, 4096, 1, _MAX_READ // 4096, 0)
        return struct.pack("=4I", *_VERSION, 0, flags) + sizes + bytes(32)

    def _lookup(self, request: _Request) -> bytes:
        name = os.fsdecode(request.body.rstrip(b"\0"))
        with self._lock:
            folder = self._paths[request.node]
        path = f"{folder}/{name}" if folder else name
        attributes = _attributes(self.source / path)
        with self._lock:
            node = self._nodes.setdefault(path, len(self._nodes) + 1)
            self._paths[node] = path
        return struct.pack("=4QII", node, 0, 0, 0, 0, 0) + attributes  # nothing is kept: each look asks again

    def _getattr(self, request: _Request) -> bytes:
        return struct.pack("=QII", 0, 0, 0) + _attributes(self._there(request))

    def _open(self, _: _Request) -> bytes:
        return struct.pack("=QII", 0, _DIRECT_IO, 0)

    def _open_folder(self, _: _Request) -> bytes:
        return bytes(16)

    def _read(self, request: _Request) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", request.body)
        with self._there(request).open("rb") as file:
            return os.pread(file.fileno(), size, offset)

    def _list(self, request: _Request) -> bytes:
        _, offset, size = struct.unpack_from("=QQI", request.body)
        listed = b""
        entries = sorted(os.scandir(self._there(request)), key=lambda entry: entry.name)
        for place, entry in enumerate(entries[offset:], start=offset + 1):
            name, kind = os.fsencode(entry.name), stat.S_IFMT(entry.stat().st_mode) >> 12
            record = struct.pack("=QQII", entry.inode(), place, len(name), kind) + name
            record += bytes(-len(record) % 8)
            if len(listed) + len(record) > size:
                break
            listed += record
        return listed

    def _file_system(self, _: _Request) -> bytes:
        return struct.pack("=5Q4I24x", 1 << 20, 1 << 19, 1 << 19, 1 << 20, 1 << 19, 4096, 255, 4096, 0)

    def _done(self, _: _Request) -> bytes:
        return b""


_SERVED: dict[Operation, Callable[[HangingFiles, _Request], bytes]] = {
    Operation.INIT: HangingFiles._init,
    Operation.LOOKUP: HangingFiles._lookup,
    Operation.GETATTR: HangingFiles._getattr,
    Operation.OPEN: HangingFiles._open,
    Operation.OPENDIR: HangingFiles._open_folder,
    Operation.READ: HangingFiles._read,
    Operation.READDIR: HangingFiles._list,
    Operation.STATFS: HangingFiles._file_system,
    Operation.FLUSH: HangingFiles._done,
    Operation.RELEASE: HangingFiles._done,
    Operation.RELEASEDIR: HangingFiles._done,
}


def _process_of(thread: int) -> int | None:
    """The kernel tells the thread that asks."""
    try:
        status = Path(f"/proc/{thread}/status").read_text()
    except OSError:
        return None  # it has ended
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Tgid:"))


def _attributes(path: Path) -> bytes:
    found = path.lstat()
    whole = [divmod(each, 10**9) for each in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
    seconds, nanoseconds = zip(*whole, strict=True)
    owner = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0)
    return _ATTRIBUTES.pack(found.st_ino, found.st_size, found.st_blocks, *seconds, *nanoseconds, *owner)


@contextmanager
def mounted(folder: Path) -> Iterator[int]:
    """A file system at ``folder``, and the device through which it is to be served; at the end whoever still waits for
    an answer gets an error. Skips the test where there is no FUSE, or this user may not mount."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        _leave_out(f"no FUSE here: {error}")
    try:
        options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},allow_other"
        if libc.mount(b"tests", os.fsencode(folder), b"fuse", 0, options.encode()) != 0:
            _leave_out(f"this user may not mount: {os.strerror(ctypes.get_errno())}")
        yield device
    finally:
        os.close(device)
        libc.umount2(os.fsencode(folder), _DETACHED)


@contextmanager
def hanging_files(source: Path, mount: Path) -> Iterator[HangingFiles]:
    """Both folders are made."""
    source.mkdir(parents=True, exist_ok=True)
    mount.mkdir(parents=True, exist_ok=True)
    with mounted(mount) as device:
        files = HangingFiles(source, mount, device)
        stopped, stop = os.pipe()
        server = threading.Thread(target=files.serve, args=[stopped], name="hanging-files", daemon=True)
        server.start()
        try:
            yield files
        finally:
            files.end()
            os.write(stop, b"x")
            server.join()
            os.close(stopped)
            os.close(stop)


def _leave_out(why: str) -> NoReturn:
    if os.environ.get("REQUIRE_FUSE") == "1":
        pytest.fail(f"{why}, and REQUIRE_FUSE=1 asks for it", pytrace=False)
    pytest.skip(f"left out: {why}")
