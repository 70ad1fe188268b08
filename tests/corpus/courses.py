"""What recorders, tools and people do to a file in the course of time, as scripts for the simulation of conduct.

Each is a course of its own; the usual shapes of recorders are in ``tests/harness/crash/recorders.py``.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.harness.crash.scenes import PATH, SECOND, THIRD, bytes_of
from tests.harness.crash.simulation import CHUNK, TIMEOUT, Disk, Recorder

OTHER = "cam/other.mp4"
LATER = 10 * TIMEOUT  # by then everything is completed
_YEAR_NS = 365 * 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Course:
    """``keys``: where objects are in the end. ``sent``: bytes that may be sent for it at most. ``kept``: the key of a
    recording that was lost unfinished, whose upload is kept so that it can be rescued."""

    what: str
    run: Recorder
    keys: frozenset[str] = frozenset({PATH})
    sent: int | None = None
    kept: str | None = None

    def __str__(self) -> str:
        return self.what


async def _grow(disk: Disk, chunks: int, *, path: str = PATH, seed: int = 1) -> None:
    disk.write(path, bytes_of(3, seed))
    for number in range(chunks):
        await disk.pause(5)
        disk.append(path, bytes_of(CHUNK, seed + 10 + number))
    await disk.pause(5)


async def _done(disk: Disk, size: int = 4 * CHUNK + 3, *, path: str = PATH, seed: int = 1) -> None:
    disk.write(path, bytes_of(size, seed))
    await disk.pause(LATER)


Step = Callable[[Disk], object]


def written(size: int, seed: int = 1) -> Step:
    """``open(path, "wb")``."""
    return lambda disk: disk.write(PATH, bytes_of(size, seed))


def appended(seed: int, path: str = PATH) -> Step:
    return lambda disk: disk.append(path, bytes_of(CHUNK, seed))


def patched(offset: int, size: int, seed: int) -> Step:
    return lambda disk: disk.patch(PATH, offset, bytes_of(size, seed))


def cut(size: int) -> Step:
    """To this size, also to a larger one."""
    return lambda disk: disk.truncate(PATH, size)


def renamed(old: str, new: str) -> Step:
    return lambda disk: disk.rename(old, new)


def linked(path: str, other: str) -> Step:
    return lambda disk: disk.link(path, other)


def deleted(path: str) -> Step:
    return lambda disk: disk.delete(path)


def dated(mtime_ns: int) -> Step:
    return lambda disk: _dated(disk, mtime_ns)


def _after(first: Recorder, *steps: Step) -> Recorder:
    """``first``, and then these steps, five seconds apart."""

    async def run(disk: Disk) -> None:
        await first(disk)
        for step in steps:
            step(disk)
            await disk.pause(5)

    return run


def _steps(*steps: Step) -> Recorder:
    return _after(lambda disk: disk.pause(0), *steps)


# --- Sizes and growth -------------------------------------------------------------------------------------------------


async def _byte_by_byte(disk: Disk) -> None:
    disk.write(PATH, b"")
    for number in range(3 * CHUNK + 2):
        disk.append(PATH, bytes_of(1, number))
        await disk.pause(1)


async def _growing_head(disk: Disk) -> None:
    """The index at the front is written anew, larger, every few seconds (GStreamer's robust mode, OBS)."""
    await _grow(disk, 2)
    for number in range(4):
        disk.patch(PATH, 0, bytes_of(4 + 3 * number, 60 + number))
        disk.append(PATH, bytes_of(CHUNK - 1, 40 + number))
        await disk.pause(5)


async def _large_index_to_the_front(disk: Disk) -> None:
    await _grow(disk, 5)
    moved = disk.content(PATH)[:2] + bytes_of(2 * CHUNK + 3, 70) + disk.content(PATH)[2:]
    disk.truncate(PATH, len(moved))
    disk.patch(PATH, 2, moved[2:])


async def _filled(disk: Disk, order: Callable[[list[int]], list[int]]) -> None:
    """Preallocated, and filled chunk by chunk in some order."""
    disk.write(PATH, b"")
    disk.truncate(PATH, 6 * CHUNK)
    for number in order(list(range(6))):
        await disk.pause(5)
        disk.patch(PATH, number * CHUNK, bytes_of(CHUNK, 20 + number))


async def _up_and_down(disk: Disk) -> None:
    disk.write(PATH, bytes_of(4 * CHUNK, 1))
    for number, size in enumerate((2, 5, 1, 7, 3)):
        await disk.pause(5)
        disk.truncate(PATH, size * CHUNK + number)
        disk.patch(PATH, (size - 1) * CHUNK, bytes_of(CHUNK, 30 + number))


async def _grows_when_it_would_be_idle(disk: Disk) -> None:
    await _grow(disk, 2)
    for number in range(6):
        await disk.pause(TIMEOUT + number - 3)
        disk.append(PATH, bytes_of(CHUNK // 2, 50 + number))


def _scattered(numbers: list[int]) -> list[int]:
    return random.Random(3).sample(numbers, len(numbers))


_SIZES = (
    1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    2 * CHUNK - 1,
    2 * CHUNK,
    2 * CHUNK + 1,
    50 * CHUNK,
    50 * CHUNK + 1,
    52 * CHUNK + 1,
)

SIZES = (
    *(
        Course(
            f"{size} bytes that lie there",
            _steps(written(size)),
            sent=size,
        )
        for size in _SIZES
    ),
    Course("byte by byte", _byte_by_byte),
    Course("a head that grows", _growing_head),
    Course("an index of more than a chunk moves to the front", _large_index_to_the_front),
    Course("preallocated, filled from the front", partial(_filled, order=lambda numbers: numbers)),
    Course("preallocated, filled from the back", partial(_filled, order=lambda numbers: numbers[::-1])),
    Course("preallocated, filled anywhere", partial(_filled, order=_scattered)),
    Course("preallocated, only every other chunk filled", partial(_filled, order=lambda numbers: numbers[::2])),
    Course("preallocated and left", _steps(written(0), cut(5 * CHUNK + 1))),
    Course(
        "preallocated, and cut when it is closed",
        _after(
            partial(_grow, chunks=1),
            cut(9 * CHUNK),
            patched(CHUNK, CHUNK, 9),
            cut(2 * CHUNK + 1),
        ),
    ),
    Course(
        "a zero tail that is filled",
        _after(
            partial(_grow, chunks=2),
            cut(6 * CHUNK),
            patched(2 * CHUNK + 3, 3 * CHUNK, 8),
        ),
    ),
    Course(
        "a zero tail that is filled after completion",
        _after(_done, cut(8 * CHUNK), patched(5 * CHUNK, CHUNK, 8)),
    ),
    Course("longer and shorter in turns", _up_and_down),
    Course("a few more bytes whenever it would be idle", _grows_when_it_would_be_idle),
)

# --- Cuts and new beginnings ------------------------------------------------------------------------------------------

_CUTS = (1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 4 * CHUNK, 4 * CHUNK + 2)

CUTS = (
    *(
        Course(
            f"cut to {size} bytes while it grows",
            _after(partial(_grow, chunks=4), cut(size)),
        )
        for size in _CUTS
    ),
    *(
        Course(
            f"cut to {size} bytes after completion",
            _after(_done, cut(size)),
            keys=frozenset({PATH, SECOND}),
        )
        for size in _CUTS
    ),
    Course(
        "emptied and filled with the same bytes",
        _after(partial(_grow, chunks=3), written(0), written(3 * CHUNK)),
    ),
    Course(
        "emptied after completion and filled with the same bytes",
        _after(_done, written(0), written(4 * CHUNK + 3)),
    ),
    Course(
        "begun anew thrice in the same file",
        _after(
            partial(_grow, chunks=3),
            *(written((6 - seed) * CHUNK, seed) for seed in (2, 3, 4)),
        ),
    ),
)

# --- Times and bytes that times do not show ---------------------------------------------------------------------------


def _dated(disk: Disk, mtime_ns: int, path: str = PATH) -> None:
    """``touch -d``: ctime shows it, mtime says what it is told."""
    disk.files[path].mtime_ns = mtime_ns
    disk.files[path].ctime_ns = disk._tick()


def _patched_and_dated_back(disk: Disk) -> None:
    before = disk.files[PATH].mtime_ns
    disk.patch(PATH, 2 * CHUNK + 1, b"\xff\xfe")
    _dated(disk, before)


async def _wrong_clock(disk: Disk, mtime_ns: int) -> None:
    """Every write carries the same wrong time."""
    disk.write(PATH, bytes_of(3, 1))
    for number in range(4):
        _dated(disk, mtime_ns)
        await disk.pause(5)
        disk.append(PATH, bytes_of(CHUNK, 10 + number))
    _dated(disk, mtime_ns)


async def _jumping_clock(disk: Disk) -> None:
    disk.write(PATH, bytes_of(3, 1))
    for number, years in enumerate((-40, 30, -100, 400, 0)):
        disk.append(PATH, bytes_of(CHUNK, 10 + number))
        _dated(disk, disk.now_ns + years * _YEAR_NS)
        await disk.pause(5)


def _unseen(disk: Disk) -> None:
    """A second store through a mapping: no stat shows it."""
    disk.patch(PATH, CHUNK + 2, b"\xfd\xfc", unseen=True)


TIMES = (
    Course("every mtime is 1970", partial(_wrong_clock, mtime_ns=0)),
    Course("every mtime is before 1970", partial(_wrong_clock, mtime_ns=-3 * _YEAR_NS)),
    Course("every mtime is in the future", partial(_wrong_clock, mtime_ns=100 * _YEAR_NS)),
    Course("every mtime is after 2106", partial(_wrong_clock, mtime_ns=(2**32 + 5) * 10**9)),
    Course("every mtime is the largest", partial(_wrong_clock, mtime_ns=2**63 - 1)),
    Course("every mtime is the smallest", partial(_wrong_clock, mtime_ns=-(2**63))),
    Course("a clock that jumps by decades", _jumping_clock),
    Course("dated back after completion", _after(_done, dated(0)), sent=4 * CHUNK + 3),
    Course("patched and dated back while it grows", _after(partial(_grow, chunks=4), _patched_and_dated_back)),
    Course("patched and dated back after completion", _after(_done, _patched_and_dated_back)),
    Course("patched through a mapping before it is idle", _after(partial(_grow, chunks=4), _unseen)),
    Course("patched through a mapping, and touched after completion", _after(_done, _unseen, dated(7))),
)

# --- Names, links and other files -------------------------------------------------------------------------------------


def _swap(disk: Disk) -> None:
    disk.files[PATH], disk.files[OTHER] = disk.files[OTHER], disk.files[PATH]
    disk.files[PATH].ctime_ns = disk.files[OTHER].ctime_ns = disk._tick()


async def _two(disk: Disk, *, done: bool) -> None:
    disk.write(OTHER, bytes_of(3 * CHUNK + 1, 5))
    await _grow(disk, 3)
    await disk.pause(LATER if done else 0)


def _reborn(disk: Disk, seed: int = 2, chunks: int = 3) -> None:
    """Deleted and made again before anybody looked; the file system gives the number again."""
    disk.replace(PATH, bytes_of(chunks * CHUNK + 2, seed), inode=disk.files[PATH].identity.inode)


async def _reborn_twice(disk: Disk) -> None:
    await _done(disk)
    for seed in (2, 3):
        _reborn(disk, seed)
        await disk.pause(LATER)


def _moved_folder(disk: Disk) -> None:
    for path in [path for path in disk.files if path.startswith("cam/")]:
        disk.rename(path, path.replace("cam/", "archive/cam/"))


async def _renamed_all_the_time(disk: Disk) -> None:
    """A new name with every chunk."""
    path = PATH
    disk.write(path, bytes_of(3, 1))
    for number in range(6):
        await disk.pause(3)
        disk.rename(path, f"cam/{number}.mp4")
        path = f"cam/{number}.mp4"
        disk.append(path, bytes_of(CHUNK, 10 + number))


def _chain(disk: Disk) -> None:
    """a to b to c, and another one to a, before anybody looked."""
    disk.rename(PATH, "cam/b.mp4")
    disk.rename("cam/b.mp4", "cam/c.mp4")
    disk.write(PATH, bytes_of(2 * CHUNK + 5, 33))


async def _gone_before_it_is_opened(disk: Disk) -> None:
    """Seen by the scan and away at the first read; then another file is there."""

    def vanish(path: str, _: object) -> None:
        disk.on_read = None
        disk.delete(path)

    disk.on_read = vanish
    disk.write(PATH, bytes_of(3 * CHUNK, 1))
    await disk.pause(LATER)
    disk.write(PATH, bytes_of(3 * CHUNK, 2))


async def _replaced_while_it_is_read(disk: Disk) -> None:
    def replace(path: str, _: object) -> None:
        disk.on_read = None
        disk.replace(path, bytes_of(4 * CHUNK + 1, 9))

    await _grow(disk, 1)
    disk.on_read = replace
    disk.append(PATH, bytes_of(2 * CHUNK, 4))


async def _comes_and_goes(disk: Disk) -> None:
    """Named and hidden again and again, as some downloaders do."""
    await _grow(disk, 1)
    for number in range(5):
        file = disk.files.pop(PATH)
        await disk.pause(2.5)
        disk.files[PATH] = file
        disk.append(PATH, bytes_of(CHUNK, 30 + number))
        await disk.pause(2.5)


_BOTH = frozenset({PATH, OTHER})

NAMES = (
    Course("renamed with every chunk", _renamed_all_the_time),
    Course(
        "renamed there and back",
        _after(partial(_grow, chunks=2), renamed(PATH, "x.mp4"), renamed("x.mp4", PATH)),
    ),
    Course(
        "a chain of renames, and a new file at its beginning",
        _after(partial(_grow, chunks=3), _chain),
        keys=frozenset({PATH, SECOND}),
    ),
    Course("a chain of renames after completion", _after(_done, _chain), keys=frozenset({PATH, SECOND})),
    Course(
        "renamed over another that grows",
        _after(partial(_two, done=False), renamed(PATH, OTHER)),
        kept=OTHER,
    ),
    Course(
        "renamed over another that is done",
        _after(partial(_two, done=True), renamed(PATH, OTHER)),
        keys=_BOTH,
    ),
    Course("two that grow are swapped", _after(partial(_two, done=False), _swap), keys=_BOTH),
    Course("two that are done are swapped", _after(partial(_two, done=True), _swap), keys=_BOTH, sent=6 * CHUNK + 4),
    Course(
        "two that grow are swapped and go on",
        _after(
            partial(_two, done=False),
            _swap,
            appended(71, PATH),
            appended(72, OTHER),
        ),
        keys=_BOTH,
    ),
    Course("the folder is renamed", _after(partial(_two, done=False), _moved_folder), keys=_BOTH),
    Course("deleted and made again at once, the same inode", _after(partial(_grow, chunks=3), _reborn)),
    Course("… after completion", _after(_done, _reborn), keys=frozenset({PATH, SECOND})),
    Course(
        "… after completion, and once more after that",
        _reborn_twice,
        keys=frozenset({PATH, SECOND, THIRD}),
    ),
    Course(
        "… and again and again",
        _after(partial(_grow, chunks=3), *(partial(_reborn, seed=seed, chunks=seed % 4 + 1) for seed in range(2, 8))),
    ),
    Course("gone before it is opened", _gone_before_it_is_opened),
    Course("replaced while it is read", _replaced_while_it_is_read),
    Course("comes and goes", _comes_and_goes),
    Course(
        "a second name, and the first is deleted",
        _after(
            partial(_grow, chunks=3),
            linked(PATH, OTHER),
            deleted(PATH),
            appended(44, OTHER),
        ),
    ),
    Course(
        "a second name is deleted again",
        _after(
            partial(_grow, chunks=3),
            linked(PATH, OTHER),
            deleted(OTHER),
            appended(44, PATH),
        ),
    ),
    Course(
        "a second name after completion, and the first is deleted",
        _after(_done, linked(PATH, OTHER), deleted(PATH)),
        sent=4 * CHUNK + 3,
    ),
)

COURSES: tuple[Course, ...] = (*SIZES, *CUTS, *TIMES, *NAMES)
