"""The recordings of a soak: real ffmpeg, and writers that behave like known recorders.

Each runs in a thread of its own, at a recorder's pace, and returns the expected properties of its file. All bytes are
random, so that no two files and no two states of one file are equal.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from src.domain import object_key
from tests.harness.e2e.bucket import sha256
from tests.harness.e2e.recorders import CHUNK, Shape, Writer, recording

from .processes import MIB, BenchError

#: Longer than the daemon's timeout: the object is completed with the bytes so far, and replaced later.
_STALL_SECONDS = 3.5
_STEP_SECONDS = 0.15
_SOURCE_SECONDS = 12.0
#: Difficult names: ``{}`` is replaced by the recording's number.
HARD_NAMES = (
    b"new\nline {}.mp4",
    b"caf\xe9 {}.mp4",
    b"quo'te\"s `id` $HOME {}.mp4",
    b"100%2e {}.mp4",
    b"\x1b[31mred {}.mp4",
    "录像 🎥 {}.mp4".encode(),
    b"back\\slash?query#hash+plus {}.mp4",
    b"x.metadata.json {}.mp4",
)


class Interrupted(Exception):
    """The soak is being stopped."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A file as its writer left it."""

    inode: int
    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Facts:
        status = path.stat()
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, sha256(path))


@dataclass
class Take:
    """One recording. The expected result is known once ``facts`` or ``trouble`` is set, or ``deleted``.

    ``roots``: the keys that it may have; ``numbered``: it may also have the next free one (``stem~2.mp4``). ``copies``:
    earlier contents of its path (whole), of which an object may have been made. ``kept``: keys and digests of earlier
    complete recordings of this name, which must stay. ``vanished``: a source disappeared before its end. ``renamed``:
    an upload may be at the earlier key. ``in_place``: one file contained one recording after another.
    """

    what: str
    path: Path
    roots: list[str]
    numbered: bool = False
    copies: list[Path] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    vanished: bool = False
    renamed: bool = False
    in_place: bool = False
    deleted: bool = False
    facts: Facts | None = None
    trouble: str | None = None


@dataclass
class Recorder:
    """The environment of a recorder. ``completed``: key and digest of the object made of a path, once there is one."""

    folder: Path
    beside: Path
    number: int
    random: random.Random
    stopping: threading.Event
    ffmpeg: Path
    source: Path
    completed: Callable[[Path], tuple[str, str] | None]

    def pause(self, seconds: float = _STEP_SECONDS) -> None:
        if self.stopping.wait(seconds):
            raise Interrupted

    def take(self, what: str, name: bytes | None = None) -> Take:
        path = self.path(name or f"{what} {self.number}.mp4".encode())
        return Take(what, path, [self.root(path)])

    def path(self, name: bytes) -> Path:
        return Path(os.fsdecode(os.path.join(os.fsencode(self.folder), name)))

    def root(self, path: Path) -> str:
        return object_key("", os.path.relpath(path, self.folder))

    def size(self) -> int:
        """Mostly a few parts; occasionally less than one, or an exact multiple."""
        whole = self.random.randint(1, 4) * CHUNK
        return self.random.choice((self.random.randrange(1, CHUNK), whole, *[whole + self.random.randrange(CHUNK)] * 4))

    def keep(self, take: Take) -> None:
        """A copy outside the folder of the current content of the path."""
        copy = self.beside / f"{self.number}-{len(take.copies)}"
        shutil.copyfile(take.path, copy)
        take.copies.append(copy)

    def grow(self, writer: Writer, size: int) -> None:
        """Append ``size`` bytes, in small pieces."""
        while size > 0:
            piece = min(size, self.random.randrange(1, MIB))
            writer.append(piece)
            size -= piece
            self.pause()

    def writer(self, path: Path, *, new: bool = True) -> Writer:
        return Writer(path, seed=self.random.randrange(2**32), new=new)


# -- what recorders do ----------------------------------------------------------------------------------------


def _patched(recorder: Recorder) -> Take:
    """Grows, patches any byte on the way and the head at the close."""
    name = recorder.random.choice(HARD_NAMES).replace(b"{}", b"%d" % recorder.number)
    take = recorder.take("patched", name)
    with recorder.writer(take.path) as writer:
        for _ in range(3):
            recorder.grow(writer, recorder.size() // 3 + 1)
            writer.patch_anywhere()
        writer.patch(0, min(4, writer.size))
    return take


def _stalled(recorder: Recorder) -> Take:
    take = recorder.take("stalled")
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size())
        recorder.pause(_STALL_SECONDS)
        recorder.grow(writer, recorder.size() // 2 + 1)
        writer.patch_anywhere()
    return take


def _rewritten(recorder: Recorder) -> Take:
    """The same file holds one recording, then another."""
    take = recorder.take("rewritten")
    take.numbered = take.in_place = True
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size())
        if recorder.random.random() < 0.5:
            recorder.pause(_STALL_SECONDS)
        recorder.keep(take)
        writer.truncate()
        recorder.grow(writer, recorder.size())
    return take


def _swapped(recorder: Recorder) -> Take:
    """Another file takes the place of one that still grows."""
    take = recorder.take("swapped")
    take.numbered = take.vanished = True
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size())
        recorder.keep(take)
    _replace(recorder, take)
    return take


def _repeated(recorder: Recorder) -> Take:
    """A new recording under the name of a complete one: both stay."""
    take = recorder.take("repeated")
    take.numbered = True
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size())
    recorder.keep(take)
    while (done := recorder.completed(take.path)) is None:
        recorder.pause()
    take.kept[done[0]] = done[1]
    _replace(recorder, take)
    return take


def _replace(recorder: Recorder, take: Take) -> None:
    draft = recorder.beside / f"{recorder.number}-draft"
    with recorder.writer(draft) as writer:
        writer.append(recorder.size())
    draft.replace(take.path)


def _renamed(recorder: Recorder) -> Take:
    """Renamed while it grows: it keeps its first key."""
    take = recorder.take("renamed")
    take.renamed = True
    final = recorder.path(f"final {recorder.number}.mp4".encode())
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size())
        take.path = take.path.rename(final)
        take.roots.append(recorder.root(final))
        recorder.grow(writer, recorder.size() // 2 + 1)
    return take


def _holes(recorder: Recorder) -> Take:
    """Its size is final from the beginning; the bytes arrive in any order."""
    take = recorder.take("holes")
    size = recorder.random.randint(2, 3) * CHUNK + recorder.random.randrange(CHUNK)
    with recorder.writer(take.path) as writer:
        writer.truncate(size)
        pieces = list(range(0, size, MIB))
        recorder.random.shuffle(pieces)
        for offset in pieces:
            if recorder.random.random() < 0.9:
                writer.patch(offset, min(MIB, size - offset))
            recorder.pause()
        writer.patch(size - 4, 4)
    return take


def _mapped(recorder: Recorder) -> Take:
    """Patched through a mapping; its last write is an ordinary one, since a mapping's need not show in a stat."""
    take = recorder.take("mapped")
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size() + 8)
        with take.path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            for _ in range(4):
                offset = recorder.random.randrange(len(mapping) - 4)
                mapping[offset : offset + 4] = recorder.random.randbytes(4)
                recorder.pause()
            mapping.flush()
        writer.patch(0, 4)
    return take


def _deleted(recorder: Recorder) -> Take:
    """Deleted before its end."""
    take = recorder.take("deleted")
    take.vanished = take.deleted = True
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size())
        recorder.keep(take)
        take.path.unlink()
    return take


def _taken(recorder: Recorder) -> Take:
    """Another program's object is at its key."""
    take = recorder.take("taken", FOREIGN_NAME)
    take.numbered = True
    with recorder.writer(take.path) as writer:
        recorder.grow(writer, recorder.size())
    return take


def _film(shape: Shape) -> Callable[[Recorder], Take]:
    def record(recorder: Recorder) -> Take:
        take = recorder.take(shape.value)
        seconds = recorder.random.uniform(2, _SOURCE_SECONDS / 2)
        begin = recorder.random.uniform(0, _SOURCE_SECONDS / 2)
        film = (recorder.source, begin, f"{recorder.number}")
        with recording(recorder.ffmpeg, take.path, shape, seconds=seconds, film=film) as process:
            while process.poll() is None:
                recorder.pause(0.05)
        if process.returncode != 0:
            raise BenchError(f"ffmpeg ended with exit code {process.returncode}")
        return take

    return record


FOREIGN_NAME = b"taken.mp4"
RECORDERS: Mapping[str, Callable[[Recorder], Take]] = {
    **{shape.value: _film(shape) for shape in Shape},
    "patched": _patched,
    "stalled": _stalled,
    "rewritten": _rewritten,
    "swapped": _swapped,
    "repeated": _repeated,
    "renamed": _renamed,
    "holes": _holes,
    "mapped": _mapped,
    "deleted": _deleted,
    "taken": _taken,
}


def record(kind: str, recorder: Recorder) -> Take:
    """The finished recording; ``trouble`` explains one that could not be made."""
    try:
        take = RECORDERS[kind](recorder)
        if not take.deleted:
            take.facts = Facts.of(take.path)
    except Exception as exc:  # noqa: BLE001 - the thread's only way to tell
        return Take(kind, recorder.folder, [], trouble=f"{type(exc).__name__}: {exc}")
    return take


def make_source(ffmpeg: Path, path: Path) -> None:
    """A noise video, encoded once: recordings of ffmpeg in a soak are copied from it in real time."""
    noise = f"testsrc2=size=640x360:rate=25:duration={_SOURCE_SECONDS},noise=alls=60:allf=t"
    command = [
        *(str(ffmpeg), "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-f", "lavfi", "-i", noise),
        *("-f", "lavfi", "-i", f"sine=frequency=440:duration={_SOURCE_SECONDS}", "-c:v", "libx264"),
        *("-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10", "-b:v", "24M", "-maxrate", "24M"),
        *("-bufsize", "24M", "-c:a", "aac", str(path)),
    ]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=300)
