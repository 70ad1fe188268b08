"""Recorders as they are found: ffmpeg in real time in each shape, and one that patches any byte at any time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Self

from tests.harness.e2e.daemon import TETHER

#: A chunk of every daemon in these tests: the smallest that S3 takes.
CHUNK = 5 * 1024 * 1024


class Shape(StrEnum):
    """What a recorder does to a file when it closes it."""

    ORDINARY = "ordinary"  # appends the index and patches four bytes of the head
    FASTSTART = "faststart"  # moves the index to the front: every byte changes
    FRAGMENTED = "fragmented"  # nothing


_FLAGS = {
    Shape.ORDINARY: [],
    Shape.FASTSTART: ["-movflags", "+faststart"],
    Shape.FRAGMENTED: ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"],
}


@contextmanager
def recording(
    ffmpeg: Path,
    path: Path,
    shape: Shape,
    *,
    seconds: float,
    mbit: int = 24,
    film: tuple[Path, float, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg records a noisy test picture in real time; three megabytes a second. Ended with the block.

    ``film``: it is copied from this film, from this second on, under this title, at next to no cost of CPU.
    """
    recorder = subprocess.Popen(
        [
            *(sys.executable, "-I", str(TETHER), str(os.getpid()), str(ffmpeg)),
            *("-hide_banner", "-loglevel", "error", "-nostdin", "-y"),
            *(_copied(*film, seconds) if film else _encoded(seconds, mbit)),
            *_FLAGS[shape],
            str(path),
        ],
        stdin=subprocess.DEVNULL,
    )
    try:
        yield recorder
    finally:
        if recorder.poll() is None:
            recorder.send_signal(signal.SIGKILL)
        recorder.wait()


def end_recording(recorder: subprocess.Popen[bytes]) -> None:
    """Press q: it writes the film's end and stops. AssertionError when it has ended by itself: too early."""
    assert recorder.poll() is None, "the recording ended too early for this test"
    recorder.send_signal(signal.SIGINT)
    recorder.wait()


def _encoded(seconds: float, mbit: int) -> list[str]:
    return [
        # Noise, because a test picture alone compresses to nothing.
        *("-re", "-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={seconds},noise=alls=60:allf=t"),
        *("-re", "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"),
        *("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-pix_fmt", "yuv420p", "-g", "25"),
        *("-b:v", f"{mbit}M", "-minrate", f"{mbit}M", "-maxrate", f"{mbit}M", "-bufsize", f"{mbit}M"),
        *("-x264-params", "nal-hrd=cbr", "-c:a", "aac"),
    ]


def _copied(film: Path, begin: float, title: str, seconds: float) -> list[str]:
    return [
        *("-re", "-ss", f"{begin:.2f}", "-i", str(film), "-t", f"{seconds:.2f}"),
        *("-c", "copy", "-metadata", f"title={title}"),
    ]


class Writer:
    """A recorder that writes what it is told to: random bytes (the same for the same seed), anywhere, at any time."""

    def __init__(self, path: Path, *, seed: int = 0, new: bool = True) -> None:
        self._random = random.Random(seed)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if new else 0), 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def append(self, size: int) -> None:
        self.patch(self.size, size)

    def patch(self, offset: int, size: int) -> None:
        """Other bytes from ``offset`` on."""
        self._write(offset, self._random.randbytes(size))

    def patch_anywhere(self) -> None:
        """A few other bytes at any place inside the file."""
        end = self.size
        offset = self._random.randrange(end)
        self.patch(offset, min(self._random.choice((1, 4, 4096)), end - offset))

    def truncate(self, size: int = 0) -> None:
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        """Twice: the second does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _write(self, offset: int, body: bytes) -> None:
        done = 0
        while done < len(body):
            done += os.pwrite(self._fd, memoryview(body)[done:], offset + done)


def write(path: Path, size: int, *, seed: int = 0) -> None:
    """A file of random bytes, written and closed."""
    with Writer(path, seed=seed) as writer:
        writer.append(size)
