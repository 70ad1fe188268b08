"""Recorders as they write: what changes in a file, and when (bytes are few, the order is the real one)."""

from __future__ import annotations

from tests.harness.crash.simulation import CHUNK, Disk, Recorder

PATH = "cam/take 1.mp4"


def _bytes(count: int, seed: int) -> bytes:
    return bytes((seed * 31 + position * 7) % 251 for position in range(count))


async def _grow(disk: Disk, path: str, chunks: int, *, first: int = 0) -> None:
    for number in range(first, first + chunks):
        await disk.pause(5)
        disk.append(path, _bytes(CHUNK, number))
    await disk.pause(5)


async def ordinary(disk: Disk) -> None:
    """The usual MP4: at the end the index is appended and four bytes of the head are patched."""
    disk.write(PATH, _bytes(5, 99))
    await _grow(disk, PATH, 4)
    disk.append(PATH, _bytes(6, 77))
    disk.patch(PATH, 1, b"\xff\xfe\xfd\xfc")


async def faststart(disk: Disk) -> None:
    """The index moves to the front: every byte behind the first few shifts."""
    disk.write(PATH, _bytes(5, 99))
    await _grow(disk, PATH, 4)
    moved = disk.content(PATH)[:3] + _bytes(7, 55) + disk.content(PATH)[3:]
    disk.append(PATH, bytes(len(moved) - len(disk.content(PATH))))
    disk.patch(PATH, 3, moved[3:])


async def fragmented(disk: Disk) -> None:
    """Only ever appends."""
    disk.write(PATH, _bytes(5, 99))
    await _grow(disk, PATH, 4)


async def preallocated(disk: Disk) -> None:
    """Takes its room at once (zeros, filled from the front), and gives back at the end what it did not need."""
    disk.write(PATH, b"")
    disk.truncate(PATH, 6 * CHUNK)
    for number in range(4):
        await disk.pause(5)
        disk.patch(PATH, number * CHUNK, _bytes(CHUNK, number))
    await disk.pause(5)
    disk.patch(PATH, 4 * CHUNK, _bytes(6, 77))
    disk.truncate(PATH, 4 * CHUNK + 6)
    disk.patch(PATH, 1, b"\xff\xfe\xfd\xfc")


async def small(disk: Disk) -> None:
    """Under one chunk."""
    disk.write(PATH, _bytes(5, 3))
    await disk.pause(1)


async def stalled(disk: Disk) -> None:
    """Pauses for longer than the quiet time, so that its object is there too early, and goes on."""
    await ordinary(disk)
    await disk.pause(200)
    await _grow(disk, PATH, 3, first=20)
    disk.patch(PATH, 2, b"\x01\x02")


async def renamed(disk: Disk) -> None:
    """Gets its final name while it is still written."""
    disk.write(PATH, _bytes(5, 99))
    await _grow(disk, PATH, 2)
    disk.rename(PATH, "cam/final.mp4")
    await _grow(disk, "cam/final.mp4", 2, first=10)
    disk.patch("cam/final.mp4", 1, b"\xff\xfe")


async def truncated(disk: Disk) -> None:
    """Starts again in the same file, and ends up shorter than it was."""
    disk.write(PATH, _bytes(5, 99))
    await _grow(disk, PATH, 4)
    disk.write(PATH, _bytes(3, 42))
    await _grow(disk, PATH, 2, first=30)


async def replaced(disk: Disk) -> None:
    """Another file takes the name before the first was complete."""
    disk.write(PATH, _bytes(5, 99))
    await _grow(disk, PATH, 4)
    disk.replace(PATH, _bytes(7, 42))
    await _grow(disk, PATH, 3, first=30)


async def patched_after_its_end(disk: Disk) -> None:
    """A title is set when the recording has long been uploaded."""
    disk.write(PATH, _bytes(3 * CHUNK + 3, 1))
    await disk.pause(300.0)
    disk.patch(PATH, CHUNK + 1, b"\xff\xfe")


SHAPES: dict[str, Recorder] = {
    recorder.__name__: recorder
    for recorder in (ordinary, faststart, fragmented, preallocated, small, stalled, renamed, truncated, replaced)
}
