"""Matroska and WebM: whether a file proves its end, and its clock. RFC 9559, sections 5 and 6.

Writers leave the size of the ``Segment`` unknown and come back to its beginning when they close it: the size, the
duration and the table of contents are patched then. A browser cannot come back, and its file never proves its end. The
media lie in ``Cluster`` elements, each with its timestamp, and the blocks in them count from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..domain import Curve
from .ebml import Element, children, element, number, real, unsigned
from .film import LONGEST_SECONDS, Film, close_to, of_unknown_length
from .fragments import Read

_EBML: Final = 0x1A45DFA3
_DOC_TYPE: Final = 0x4282
_SEGMENT: Final = 0x18538067
_INFO: Final = 0x1549A966
_TIMESTAMP_SCALE: Final = 0x2AD7B1
_DURATION: Final = 0x4489
_TRACKS: Final = 0x1654AE6B
_CLUSTER: Final = 0x1F43B675
_TIMESTAMP: Final = 0xE7
_SIMPLE_BLOCK: Final = 0xA3
_BLOCK_GROUP: Final = 0xA0
_BLOCK: Final = 0xA1
#: May stand between all others and mean nothing: ``Void`` and ``CRC-32``.
_ANYWHERE: Final = frozenset((0xEC, 0xBF))
#: What a segment consists of: ``SeekHead``, ``Info``, ``Tracks``, ``Chapters``, ``Cluster``, ``Cues``, ``Attachments``,
#: ``Tags``.
_IN_SEGMENT: Final = _ANYWHERE | {0x114D9B74, _INFO, _TRACKS, 0x1043A770, _CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1254C367}

_TYPES: Final = {b"webm": "video/webm", b"matroska": "video/x-matroska"}
_USUAL_SCALE: Final = 1_000_000  # nanoseconds per tick
_MOST_IN_HEADER: Final = 100
_MOST_IN_SEGMENT: Final = 1_000_000  # ten days with a cluster per second; more is not a recording
_MOST_BLOCKS: Final = 400_000  # of clusters without a size, in a finished file
_ELEMENTS_A_WALK: Final = 2_000
_LARGEST_INFO: Final = 1 << 20
_SHORTEST: Final = 12  # bytes of an element's header, with those of a block that tell its time
_LONGEST_GAP: Final = 3600.0  # seconds between two blocks; more is another clock
_LATE: Final = 10.0  # seconds by which a block may be earlier than one before it
_NO_OFFSET: Final = 0.1  # seconds; codecs begin a little before or after 0


def begins(head: bytes) -> bool:
    """Whether a file that begins like this is made of EBML; nothing else that is recorded is."""
    return head[:4] == _EBML.to_bytes(4, "big")


def content_type(head: bytes) -> str | None:
    """By its ``DocType``; None for an unknown one."""

    def read(offset: int, count: int) -> bytes:
        return head[offset : offset + count]

    try:
        top = element(read, 0)
        for found in children(read, top.content, top.end or 0, most=_MOST_IN_HEADER):
            if found.kind == _DOC_TYPE:
                return _TYPES.get(head[found.content : found.end].rstrip(b"\0"))
    except ValueError:
        pass
    return None


def is_whole(read: Read, size: int) -> bool:
    """Whether a file of ``size`` bytes proves its end: its ``Segment`` has a size, ends with the file, and is filled
    with elements that have tracks and media among them."""
    try:
        found = [element(read, 0)]
        while found[-1].end is not None and found[-1].end < size and len(found) < _MOST_IN_HEADER:
            found.append(element(read, found[-1].end))
        kinds = [each.kind for each in found if each.kind not in _ANYWHERE]
        if found[-1].end != size or kinds != [_EBML, _SEGMENT]:
            return False
        segment = next(each for each in found if each.kind == _SEGMENT)
        missing = {_TRACKS, _CLUSTER}
        for each in children(read, segment.content, segment.end or 0, most=_MOST_IN_SEGMENT):
            if each.kind not in _IN_SEGMENT:
                return False
            missing.discard(each.kind)
    except ValueError:
        return False
    return not missing


class Timeline:
    """Reads the elements of a file that may still grow, each once, and follows the times of its blocks.

    ``seconds``: media time up to now; a clock that jumps adds nothing. ``first`` and ``last`` are times on the clock,
    and ``step`` is the time between the last two blocks of a track.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.segments = 0
        self.end: int | None = None  # of the last segment; None: unknown
        self.claimed: float | None = None  # seconds, according to the header
        self.first: float | None = None
        self.last = 0.0
        self.step = 0.0
        self.seconds = 0.0
        self.jumps = 0
        self.curve = Curve(0, 0.0)
        self._scale = _USUAL_SCALE
        self._cluster_end: int | None = None
        self._base: int | None = None  # the timestamp of the current cluster
        self._of_track: dict[int, float] = {}

    def read_on(self, read: Read, size: int) -> bool:
        """Read one more element; False at the end of the written data. Raises ``ValueError`` if it makes no sense."""
        if self.offset + _SHORTEST > size:
            return False
        found = element(read, self.offset)
        if self.offset == 0 and found.kind != _EBML:
            raise ValueError(found.kind)
        if found.kind in (_SEGMENT, _CLUSTER):
            self._enter(found)
            return True
        if found.end is None:
            raise ValueError(found.kind)
        if found.end > size:
            return False
        self._take(read, found, size)
        return True

    def _enter(self, found: Element) -> None:
        if found.kind == _SEGMENT:
            self.segments, self.end = self.segments + 1, found.end
        elif not self.segments:
            raise ValueError(found.kind)
        self._cluster_end, self._base = (found.end, None) if found.kind == _CLUSTER else (None, None)
        self.offset = found.content

    def _take(self, read: Read, found: Element, size: int) -> None:
        end = found.end or 0
        if found.kind == _INFO:
            self._take_info(read, found)
        elif found.kind == _TIMESTAMP and self._base is None:
            self._base = unsigned(read(found.content, end - found.content) if end - found.content <= 8 else bytes(9))
            self._at(self._base, 0, self.offset)
            if self._is_followed(read, size):
                end = self._cluster_end or end
        elif found.kind == _SIMPLE_BLOCK:
            self._block(read, found.content, end)
        elif found.kind == _BLOCK_GROUP:
            for block in _first_of(_BLOCK, read, found):
                self._block(read, block.content, end)
        self.offset = end

    def _take_info(self, read: Read, found: Element) -> None:
        end = found.end or 0
        if end - found.content > _LARGEST_INFO:
            raise ValueError(end - found.content)
        duration = None
        for each in children(read, found.content, end, most=_MOST_IN_HEADER):
            content = read(each.content, min(9, (each.end or 0) - each.content))
            if each.kind == _TIMESTAMP_SCALE:
                self._scale = unsigned(content)
            elif each.kind == _DURATION:
                duration = real(content)
        if not self._scale:
            raise ValueError("a clock without ticks")
        self.claimed = duration * self._scale / 1e9 if duration is not None else None

    def _is_followed(self, read: Read, size: int) -> bool:
        """Whether the current cluster is complete and another one follows, so that its blocks need not be read."""
        end = self._cluster_end
        return end is not None and self.offset < end and end + _SHORTEST <= size and element(read, end).kind == _CLUSTER

    def _block(self, read: Read, content: int, end: int) -> None:
        if self._base is None:
            raise ValueError("a block without a time")
        head = read(content, min(_SHORTEST, end - content))
        width, _, track = number(head, 0)
        if len(head) < width + 2:
            raise ValueError("a block without a time")
        self._at(self._base, int.from_bytes(head[width : width + 2], "big", signed=True), end, track)

    def _at(self, base: int, ticks: int, offset: int, track: int = 0) -> None:
        now = (base + ticks) * self._scale / 1e9
        if self.first is None:
            self.first = self.last = now
        passed = now - self.last
        if passed > 0:
            self.jumps += passed > _LONGEST_GAP
            self.seconds += passed if passed <= _LONGEST_GAP else 0.0
            self.last = now
        elif passed < -_LATE:
            self.jumps += 1
            self.last = now
        if track:
            self.step = max(0.0, min(now - self._of_track.get(track, now), _LONGEST_GAP))
            if len(self._of_track) > _MOST_IN_HEADER:
                self._of_track.clear()
            self._of_track[track] = now
        self.curve.reach(offset, self.seconds)


def _first_of(kind: int, read: Read, parent: Element) -> Iterator[Element]:
    for found in children(read, parent.content, parent.end or 0, most=_MOST_IN_HEADER):
        if found.kind == kind:
            yield found
            return


class ClusterClock:
    """Follows one file by the times of its clusters and blocks."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_behind = True
        self._timeline = Timeline()

    def walk(self, read: Read, size: int) -> None:
        """Read the new elements of a file of ``size`` bytes; if they are many, the rest next time."""
        self.is_behind = True
        try:
            for _ in range(_ELEMENTS_A_WALK):
                if not self._timeline.read_on(read, size):
                    self.is_behind = False
                    return
        except (ValueError, OverflowError):
            self.is_over = True

    def seconds(self, begin: int, end: int) -> float | None:
        """Seconds of media between two offsets; None if unknown."""
        if self.is_over or self.is_behind or not self._timeline.seconds:
            return None
        curve = self._timeline.curve
        return max(0.0, curve.moment(end) - curve.moment(begin))


def read_film(read: Read, size: int) -> Film:
    """The duration of a finished file, if its header tells one and its clusters agree."""
    timeline = Timeline()
    try:
        for _ in range(_MOST_BLOCKS):
            if timeline.claimed is None and timeline.first is not None:
                break  # nothing to compare
            if not timeline.read_on(read, size):
                break
        else:
            return of_unknown_length("it has more elements than any recording")
    except (ValueError, OverflowError):
        return of_unknown_length("its elements cannot be read")
    if timeline.segments > 1:
        return of_unknown_length(f"the file holds {timeline.segments} recordings, one behind the other")
    if timeline.claimed is not None and timeline.end is not None and timeline.end > size:
        return of_unknown_length("the file ends in the middle of its segment")
    return _duration(timeline)


def _duration(timeline: Timeline) -> Film:
    claimed, first = timeline.claimed, timeline.first
    if claimed is None:
        return of_unknown_length("its header tells no duration: it was not closed, or written as a live stream")
    if first is None or not 0 < claimed <= LONGEST_SECONDS:
        return of_unknown_length("its header tells a duration, and it has no media")
    if timeline.jumps:
        return of_unknown_length("its clock jumps between two clusters")
    ends = timeline.last + timeline.step
    offset = first if first > _NO_OFFSET else 0.0
    media = ends - offset
    # Some writers count the offset. It may be shorter than the tolerance.
    nearest = min(claimed - offset, claimed, key=lambda seconds: abs(seconds - media))
    if nearest <= 0 or not close_to(nearest, media):
        return of_unknown_length(f"its clusters end at {ends:.3f} s, its header says {claimed:.3f} s")
    return Film(nearest, {}, is_fragmented=False)
