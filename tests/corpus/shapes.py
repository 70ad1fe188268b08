"""Shapes of files as recorders, tools and accidents leave them on a real file system, and what happens to them there.

Three tables: files that lie still, things with a recording's name that are none, and changes to a file that was seen.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from src.domain import Limits, PartSchedule, capacity

#: A chunk of these tests, and a store that takes few parts: 3 of one chunk, 3 of two, 3 of four, and one of eight.
CHUNK = 512
TINY = Limits(min_part=CHUNK, max_part=8 * CHUNK, max_parts=10, parts_per_step=3)
SCHEDULE = PartSchedule(CHUNK)
MOST = capacity(SCHEDULE, TINY)
PAGE = mmap.PAGESIZE
_SECOND_NS = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)
_KEEP_SIZE, _PUNCH_HOLE, _COLLAPSE, _ZERO, _INSERT = 1, 3, 8, 16, 32
_EXCHANGE = 2
_AT_CWD = -100


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# --- Files that lie still ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Still:
    """A closed file; ``make`` writes it."""

    what: str
    make: Callable[[Path], object]

    def __str__(self) -> str:
        return self.what


def _of(size: int, path: Path) -> None:
    path.write_bytes(noise(size))


def _with_holes(path: Path, *, size: int, data: tuple[int, ...]) -> None:
    """Nothing but a page of data at each of these offsets."""
    with path.open("wb") as file:
        for offset in data:
            file.seek(offset)
            file.write(noise(PAGE, offset))
        file.truncate(size)


def _allocate(path: Path, mode: int, offset: int, size: int) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if _libc.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(size)):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
    finally:
        os.close(fd)


def _then(first: Callable[[Path], object], *others: Callable[[Path], object]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        for step in (first, *others):
            step(path)

    return make


def _cut(size: int, path: Path) -> None:
    os.truncate(path, size)


def _append(path: Path, body: bytes) -> None:
    with path.open("ab") as file:
        file.write(body)


def _patch(path: Path, offset: int, body: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(body)


def _dated(path: Path, seconds: int) -> None:
    os.utime(path, ns=(0, seconds * _SECOND_NS))


def _mapped(path: Path) -> None:
    """Written through a shared mapping alone."""
    with path.open("w+b") as file:
        file.truncate(2 * PAGE)
        with mmap.mmap(file.fileno(), 2 * PAGE) as view:
            view[:] = noise(2 * PAGE)


def _directly(path: Path) -> None:
    """Past the page cache, as recorders for fast disks write."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o644)
    with mmap.mmap(-1, 2 * PAGE) as aligned:
        aligned[:] = noise(2 * PAGE)
        os.write(fd, aligned)
    os.close(fd)


def _in_two_processes(path: Path) -> None:
    """Two writers append in turns."""
    script = "import os, sys; os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT), b'turn' * 99)"
    for _ in range(2):
        subprocess.run([sys.executable, "-I", "-c", script, str(path)], check=True)
        _append(path, noise(CHUNK))


def _second_name(path: Path) -> None:
    _of(2 * CHUNK, path)
    os.link(path, path.with_name("second name.tmp"))


def _scattered(path: Path) -> None:
    """Chunks in an order of their own, as downloads come."""
    body = noise(9 * CHUNK)
    offsets = list(range(0, len(body), CHUNK))
    random.Random(7).shuffle(offsets)
    path.touch()
    for offset in offsets:
        _patch(path, offset, body[offset : offset + CHUNK])


_SIZES = {
    "one byte": 1,
    "a byte less than a chunk": CHUNK - 1,
    "a chunk": CHUNK,
    "a byte more than a chunk": CHUNK + 1,
    "a byte less than two chunks": 2 * CHUNK - 1,
    "two chunks": 2 * CHUNK,
    "a byte more than two chunks": 2 * CHUNK + 1,
    "a byte less than the step to larger parts": 3 * CHUNK - 1,
    "at the step to larger parts": 3 * CHUNK,
    "a byte more than the step to larger parts": 3 * CHUNK + 1,
    "a whole first larger part": 5 * CHUNK,
    "at the second step": 9 * CHUNK,
    "a byte less than the most parts hold": MOST - 1,
    "as much as the most parts hold": MOST,
}

STILL: tuple[Still, ...] = (
    *(Still(what, partial(_of, size)) for what, size in _SIZES.items()),
    Still("all zeros", lambda path: path.write_bytes(bytes(4 * CHUNK))),
    Still("a zero tail", lambda path: path.write_bytes(noise(3 * CHUNK + 9) + bytes(5 * CHUNK))),
    Still("a zero head", lambda path: path.write_bytes(bytes(3 * CHUNK) + noise(CHUNK))),
    Still("a hole at the front", partial(_with_holes, size=3 * PAGE, data=(2 * PAGE,))),
    Still("a hole in the middle", partial(_with_holes, size=3 * PAGE, data=(0, 2 * PAGE))),
    Still("a hole at the end", partial(_with_holes, size=3 * PAGE, data=(0,))),
    Still("nothing but a hole", partial(_with_holes, size=2 * PAGE + 7, data=())),
    Still("a punched hole", _then(partial(_of, 3 * PAGE), lambda p: _allocate(p, _PUNCH_HOLE, PAGE, PAGE))),
    Still("a zeroed range", _then(partial(_of, 3 * PAGE), lambda p: _allocate(p, _ZERO, 100, PAGE))),
    Still("a range taken out", _then(partial(_of, 3 * PAGE), lambda p: _allocate(p, _COLLAPSE, PAGE, PAGE))),
    Still("a range put in", _then(partial(_of, 2 * PAGE), lambda p: _allocate(p, _INSERT, PAGE, PAGE))),
    Still("preallocated by ftruncate", _then(partial(_of, CHUNK), lambda p: os.truncate(p, 9 * CHUNK))),
    Still("preallocated by fallocate", _then(partial(_of, CHUNK), lambda p: _allocate(p, 0, 0, 9 * CHUNK))),
    Still("preallocated beyond its end", _then(partial(_of, CHUNK + 3), lambda p: _allocate(p, _KEEP_SIZE, 0, MOST))),
    Still("cut after it was longer", _then(partial(_of, 9 * CHUNK), lambda p: os.truncate(p, 2 * CHUNK + 1))),
    Still("written through a mapping", _mapped),
    Still("written past the cache", _directly),
    Still("written by two processes in turns", _in_two_processes),
    Still("written in an order of its own", _scattered),
    Still("a second name that is no recording's", _second_name),
    Still("read-only", _then(partial(_of, CHUNK + 1), lambda p: p.chmod(0o444))),
    Still("set-uid and sticky", _then(partial(_of, CHUNK + 1), lambda p: p.chmod(0o7755))),
    Still("executable by all", _then(partial(_of, CHUNK + 1), lambda p: p.chmod(0o777))),
    Still("an extended attribute", _then(partial(_of, CHUNK), lambda p: os.setxattr(p, "user.title", b"x" * 200))),
    Still("changed in 1970", _then(partial(_of, CHUNK), lambda p: _dated(p, 0))),
    Still("changed before 1970", _then(partial(_of, CHUNK), lambda p: _dated(p, -2_000_000_000))),
    Still("changed tomorrow", _then(partial(_of, CHUNK), lambda p: _dated(p, 1_900_000_000))),
    Still("changed after 2106", _then(partial(_of, CHUNK), lambda p: _dated(p, 2**32 + 1))),
    Still("changed in the last year that ext4 knows", _then(partial(_of, CHUNK), lambda p: _dated(p, 15_032_385_535))),
)


# --- What has a recording's name and is none --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Other:
    """Something called ``x.mp4`` in a folder beside ``real.mp4``; ``reason``: how the log calls it."""

    what: str
    make: Callable[[Path], object]
    reason: str

    def __str__(self) -> str:
        return self.what


def _socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path of a socket must be short
    os.close(folder)


def _device(kind: int, path: Path) -> None:
    os.mknod(path, kind | 0o600, os.makedev(1, 3))


def _loop_of_two(path: Path) -> None:
    path.symlink_to("y.tmp")
    path.with_name("y.tmp").symlink_to(path.name)


def _long_chain(path: Path) -> None:
    """More links than the kernel follows."""
    for number in range(45):
        path.with_name(f"link {number}").symlink_to(f"link {number + 1}")
    path.with_name("link 45").symlink_to("real.mp4")
    path.symlink_to("link 0")


_LINK = "a symbolic link, which is not followed"
_NEITHER = "a socket or a device, not a file"

OTHERS: tuple[Other, ...] = (
    Other("folder", Path.mkdir, "a folder; only the files inside it count"),
    Other("FIFO", os.mkfifo, "a FIFO, not a file"),
    Other("socket", _socket, _NEITHER),
    Other("character device", partial(_device, stat.S_IFCHR), _NEITHER),
    Other("block device", partial(_device, stat.S_IFBLK), _NEITHER),
    Other("link to a recording", lambda path: path.symlink_to("real.mp4"), _LINK),
    Other("link by its full path", lambda path: path.symlink_to(path.with_name("real.mp4")), _LINK),
    Other("link out of the tree", lambda path: path.symlink_to("/etc/passwd"), _LINK),
    Other("link that leads nowhere", lambda path: path.symlink_to("nowhere.mp4"), _LINK),
    Other("link to itself", lambda path: path.symlink_to(path.name), _LINK),
    Other("two links in a circle", _loop_of_two, _LINK),
    Other("more links than are followed", _long_chain, _LINK),
    Other("link to the folder it is in", lambda path: path.symlink_to("."), _LINK),
    Other("link to the folder above", lambda path: path.symlink_to(".."), _LINK),
    Other("link to an open file of a process", lambda path: path.symlink_to("/proc/self/fd/0"), _LINK),
    Other("link to a device", lambda path: path.symlink_to("/dev/zero"), _LINK),
)


# --- Changes to a file that was seen ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to ``a.mp4`` (three chunks) and ``b.mp4`` (two) in ``folder``.

    ``told``: what a scan makes of it. ``same``: whether ``a.mp4`` is the same file as before; None: there is none.
    """

    what: str
    happens: Callable[[Path], object]
    told: frozenset[str]
    same: bool | None = True

    def __str__(self) -> str:
        return self.what


def _on(work: Callable[[Path], object], name: str = "a.mp4") -> Callable[[Path], object]:
    return lambda folder: work(folder / name)


def _again(path: Path, *, size: int, seed: int = 9, dated: bool = False) -> None:
    """``open(path, "wb")``: the same inode with other bytes; ``dated``: its mtime is set back."""
    before = path.stat()
    path.write_bytes(noise(size, seed))
    if dated:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(path: Path, *, like: bool = False) -> None:
    """Another file takes the name; ``like``: with the old one's bytes, mode and times."""
    new = path.with_name("new.tmp")
    shutil.copy2(path, new)
    if not like:
        new.write_bytes(noise(3 * CHUNK, 9))
    new.replace(path)


def _recreated(path: Path, times: int = 1) -> None:
    """The file system likes to give the number of a deleted file to the next one."""
    for seed in range(times):
        path.unlink()
        path.write_bytes(noise(3 * CHUNK, 20 + seed))


def _renamed(folder: Path, *names: str) -> None:
    for old, new in pairwise(names):
        (folder / old).rename(folder / new)


def _swapped(folder: Path) -> None:
    names = (os.fsencode(folder / "a.mp4"), os.fsencode(folder / "b.mp4"))
    assert _libc.renameat2(_AT_CWD, names[0], _AT_CWD, names[1], _EXCHANGE) == 0


def _patched_through_a_mapping(path: Path) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[5:9] = b"\xff\xfe\xfd\xfc"
        view.flush()


def _shifted(path: Path) -> None:
    """The index moves to the front, and every byte behind it shifts."""
    _patch(path, 8, noise(CHUNK, 5) + path.read_bytes()[8:])


def _made_a(kind: Callable[[Path], object], path: Path) -> None:
    path.unlink()
    kind(path)


def _moved_and_linked(folder: Path) -> None:
    _renamed(folder, "a.mp4", "a.tmp")
    (folder / "a.mp4").symlink_to("a.tmp")


_NOTHING = frozenset[str]()
_WRITE = frozenset({"write a.mp4"})
_GONE = frozenset({"delete a.mp4"})
_MOVED = frozenset({"delete a.mp4", "create c.mp4"})
_CUTS = (1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1)

CHANGES: tuple[Change, ...] = (
    Change("nothing", lambda folder: None, _NOTHING),
    Change("it is read", _on(Path.read_bytes), _NOTHING),
    Change("a byte is appended", _on(lambda path: _append(path, b"x")), _WRITE),
    Change("a chunk is appended", _on(lambda path: _append(path, noise(CHUNK))), _WRITE),
    Change("another process appends", _on(_in_two_processes), _WRITE),
    Change("its head grows", _on(lambda path: _patch(path, 0, noise(CHUNK + 9, 4))), _WRITE),
    Change("its index moves to the front", _on(_shifted), _WRITE),
    Change("one byte is patched", _on(lambda path: _patch(path, 37, b"\0")), _WRITE),
    Change("it is patched through a mapping", _on(_patched_through_a_mapping), _WRITE),
    *(Change(f"it is cut to {size} bytes", _on(partial(_cut, size)), _WRITE) for size in _CUTS),
    Change("it is emptied", _on(lambda path: os.truncate(path, 0)), _WRITE),
    Change("it is written anew, as long", _on(partial(_again, size=3 * CHUNK)), _WRITE),
    Change("it is written anew, with its old time", _on(partial(_again, size=3 * CHUNK, dated=True)), _WRITE),
    Change("it is written anew, shorter", _on(partial(_again, size=CHUNK)), _WRITE),
    Change("it is written anew, with the same bytes", _on(partial(_again, size=3 * CHUNK, seed=1)), _WRITE),
    Change("it is touched", _on(os.utime), _WRITE),
    Change("it is dated back", _on(lambda path: _dated(path, -1)), _WRITE),
    Change("its mode changes", _on(lambda path: path.chmod(0o600)), _WRITE),
    Change("it gets a second name", lambda f: os.link(f / "a.mp4", f / "c.mp4"), _WRITE | {"create c.mp4"}),
    Change("room is made behind its end", _on(lambda path: _allocate(path, _KEEP_SIZE, 0, 64 * PAGE)), _WRITE),
    Change("it is replaced", _on(_replaced), _WRITE, same=False),
    Change("it is replaced by its own copy", _on(partial(_replaced, like=True)), _WRITE, same=False),
    Change("it is deleted and made again", _on(_recreated), _WRITE, same=False),
    Change("it is deleted and made again ten times", _on(partial(_recreated, times=10)), _WRITE, same=False),
    Change("it is deleted", _on(Path.unlink), _GONE, same=None),
    Change("it is renamed", lambda folder: _renamed(folder, "a.mp4", "c.mp4"), _MOVED, same=None),
    Change("it is renamed to no recording", lambda f: _renamed(f, "a.mp4", "a.tmp"), _GONE, same=None),
    Change("it is renamed thrice", lambda f: _renamed(f, "a.mp4", "x.mp4", "y.tmp", "c.mp4"), _MOVED, same=None),
    Change("it is renamed there and back", lambda f: _renamed(f, "a.mp4", "x.tmp", "a.mp4"), _WRITE),
    Change("it is renamed over another", lambda f: _renamed(f, "a.mp4", "b.mp4"), _GONE | {"write b.mp4"}, same=None),
    Change(
        "another is renamed over it", lambda f: _renamed(f, "b.mp4", "a.mp4"), _WRITE | {"delete b.mp4"}, same=False
    ),
    Change("two are swapped", _swapped, _WRITE | {"write b.mp4"}, same=False),
    Change("it becomes a folder", _on(partial(_made_a, Path.mkdir)), _GONE, same=None),
    Change("it becomes a FIFO", _on(partial(_made_a, os.mkfifo)), _GONE, same=None),
    Change(
        "it becomes a link to another",
        _on(partial(_made_a, lambda path: path.symlink_to("b.mp4"))),
        _GONE,
        same=None,
    ),
    Change(
        "it becomes a link to itself elsewhere",
        _moved_and_linked,
        _GONE,
        same=None,
    ),
)
