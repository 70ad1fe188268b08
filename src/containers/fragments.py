"""The media's own clock in a growing fragmented MP4: seconds of media between two offsets.

Boxes are read as they are written, each once: time scale and defaults from ``moov``, the samples' durations from each
``moof``. Durations are used instead of decode times, so that a gap in the recording does not count and a clock that
jumps does no harm. Invalid data end the clock, and its result is unknown. ISO/IEC 14496-12, sections 8.4.2, 8.8.3,
8.8.7, 8.8.8.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..domain import Curve, Structure
from .boxes import header

Read = Callable[[int, int], bytes]

#: Maximum number of boxes per call, so that a long file does not delay others.
_BOXES_A_WALK = 2_000
#: Bytes of an index or of a fragment's header that are read at once.
LARGEST_INDEX = 8 * 1024 * 1024
_LONGEST_FRAGMENT = 3600.0  # seconds; more is invalid
_HEADER = 16


class FragmentClock:
    """Follows one file. ``read(offset, count)`` returns at most ``count`` bytes."""

    def __init__(self) -> None:
        self.is_over = False  # not a fragmented MP4, or an unreadable one: nothing to follow
        self.structure: Structure | None = None
        self.fragments = 0
        self._offset = 0
        self._seconds: dict[int, float] = {}  # of each track; the longest is that of the media
        self.is_behind = True  # there are boxes that were not read yet
        self._tracks: Mapping[int, tuple[int, int]] = {}  # by number: time scale, default duration of a sample
        self._curve = Curve(0, 0.0)

    def walk(self, read: Read, size: int) -> None:
        """Read the new boxes of a file of ``size`` bytes; if they are many, the rest next time."""
        self.is_behind = True
        try:
            for _ in range(_BOXES_A_WALK):
                if not self._step(read, size):
                    self.is_behind = False
                    return
        except (struct.error, ZeroDivisionError, ValueError):
            self.is_over = True

    def seconds(self, begin: int, end: int) -> float | None:
        """Seconds of media between two offsets; None if unknown."""
        if self.is_over or self.is_behind or not any(self._seconds.values()):
            return None
        return max(0.0, self._curve.moment(end) - self._curve.moment(begin))

    @property
    def fragment_seconds(self) -> float:
        """Seconds of media in a fragment, on average; 0 before the first."""
        return max(self._seconds.values(), default=0.0) / self.fragments if self.fragments else 0.0

    def _step(self, read: Read, size: int) -> bool:
        """Read one more box; False at the end of the written data."""
        if self._offset + _HEADER > size:
            return False
        length, kind = header(read(self._offset, _HEADER))
        if kind == b"mdat" and not self._tracks:
            self.structure = Structure.INDEX_LAST  # an ordinary recording in progress
            raise ValueError(kind)
        if length is None:
            raise ValueError(kind)  # not an MP4
        if kind in (b"moov", b"moof"):
            if length > LARGEST_INDEX:
                raise ValueError(kind)
            if self._offset + length > size:
                return False
            self._take(kind, read(self._offset, length)[8:])
        self._offset += length
        if kind == b"mdat":
            self._curve.reach(self._offset, max(self._seconds.values(), default=0.0))
        return True

    def _take(self, kind: bytes, body: bytes) -> None:
        if kind == b"moov":
            self.structure = Structure.INDEX_FIRST
            self._tracks = self._tracks or tracks_in_fragments(body)
            self.structure = Structure.FRAGMENTED
            return
        if not self._tracks:
            raise ValueError(kind)
        self.fragments += 1
        for found in fragments_of(body, self._tracks):
            if found.seconds > _LONGEST_FRAGMENT:
                raise ValueError(found.seconds)
            self._seconds[found.number] = self._seconds.get(found.number, 0.0) + found.seconds


def _inside(body: bytes, *kinds: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of these types directly inside, without their headers."""
    offset = 0
    while offset < len(body):
        length, kind = header(body[offset : offset + _HEADER])
        if length is None or length > len(body) - offset:
            raise ValueError(kind)
        if kind in kinds:
            yield kind, body[offset + 8 : offset + length]
        offset += length


def _only(body: bytes, *way: bytes) -> bytes:
    for kind in way:
        body = next((found for _, found in _inside(body, kind)), b"")
    return body


def tracks_in_fragments(moov: bytes) -> dict[int, tuple[int, int]]:
    """The time scale and the default sample duration of each track that has fragments."""
    usual = {}
    for _, trex in _inside(_only(moov, b"mvex"), b"trex"):
        number, _, duration = struct.unpack_from(">III", trex, 4)
        usual[number] = duration
    scales = dict(_number_and_scale(trak) for _, trak in _inside(moov, b"trak"))
    tracks = {number: (scale, usual[number]) for number, scale in scales.items() if scale and number in usual}
    if not tracks:
        raise ValueError("not fragmented")
    return tracks


def _number_and_scale(trak: bytes) -> tuple[int, int]:
    header_of_track, media = _only(trak, b"tkhd"), _only(trak, b"mdia", b"mdhd")
    (number,) = struct.unpack_from(">I", header_of_track, 20 if header_of_track[:1] == b"\1" else 12)
    (scale,) = struct.unpack_from(">I", media, 20 if media[:1] == b"\1" else 12)
    return number, scale


@dataclass(frozen=True, slots=True)
class Fragment:
    """A track's share of one fragment: the duration and the number of its samples, the decode time of the first, and
    the number of samples with the most frequent duration (in seconds)."""

    number: int
    seconds: float
    samples: int
    starts: float
    usual: tuple[float, int]


def fragments_of(moof: bytes, tracks: Mapping[int, tuple[int, int]]) -> Iterator[Fragment]:
    """One for each known track; a file may name a new one in every fragment. Raises ``ValueError`` or
    ``struct.error``."""
    for _, traf in _inside(moof, b"traf"):
        tfhd = _only(traf, b"tfhd")
        flags, number = struct.unpack_from(">II", tfhd)
        if number not in tracks:
            continue
        scale, usual = tracks[number]
        if flags & 0x8:
            before = (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
            (usual,) = struct.unpack_from(">I", tfhd, 8 + before)
        runs = [_ticks(trun, usual) for _, trun in _inside(traf, b"trun")]
        ticks, samples = sum(run.ticks for run in runs), sum(run.samples for run in runs)
        most = max(runs, key=lambda run: run.usual[1], default=_Run(0, 0, (0, 0))).usual
        starts = _decode_time(_only(traf, b"tfdt")) / scale
        yield Fragment(number, ticks / scale, samples, starts, (most[0] / scale, most[1]))


def _decode_time(tfdt: bytes) -> int:
    if not tfdt:
        return 0
    return int.from_bytes(tfdt[4:12] if tfdt[:1] == b"\1" else tfdt[4:8], "big")


class _Run(NamedTuple):
    ticks: int
    samples: int
    usual: tuple[int, int]  # the most frequent duration in ticks, and how many samples have it


def _ticks(trun: bytes, usual: int) -> _Run:
    """The durations of a run's samples, and their number."""
    flags, samples = struct.unpack_from(">II", trun)
    if not flags & 0x100:
        return _Run(samples * usual, samples, (usual, samples))
    first = 8 + (4 if flags & 0x1 else 0) + (4 if flags & 0x4 else 0)
    words = (flags >> 8 & 0xF).bit_count()  # duration first, then size, flags and offset, if present
    if first + samples * words * 4 > len(trun):
        raise ValueError(samples)
    durations = struct.unpack_from(f">{samples * words}I", trun, first)[::words]
    most = Counter(durations).most_common(1)
    return _Run(sum(durations), samples, most[0] if most else (0, 0))
