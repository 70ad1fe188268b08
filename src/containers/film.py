"""The media properties in the boxes of a finished MP4: a second source besides ffprobe.

A recorder may leave durations unknown, start its clock at any hour, write several recordings one after the other, or
stop in the middle. ffprobe then repeats what a header claims. Here the samples are counted instead: their durations are
summed per track (``stts``, and ``trun`` in fragments), edits are applied, and a track whose boxes contradict each other
has an unknown length. ISO/IEC 14496-12, sections 8.3, 8.4, 8.6, 8.7 and 8.8; QuickTime File Format for ``stsd``.

Tables are read in pieces and everything is bounded, so that a malicious file costs little memory and time. Pure except
for ``read``, which returns up to the requested number of bytes at an offset.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from .boxes import header
from .fragments import LARGEST_INDEX, Read, fragments_of, tracks_in_fragments

_HEADER = 16
_MOST_BOXES = 400_000  # two days with a fragment per second, with their media
_MOST_CHILDREN = 10_000
_MOST_TABLE_BYTES = 64 << 20
_PIECE = 1 << 16
_NEARLY_ALL = 0.9  # of a track's samples, for a constant frame rate
_MOST_DURATIONS = 1_000  # different ones that are counted
_LONGEST_DELAY = 1.0  # seconds by which an encoder delays its first sample
_LONGEST_SAMPLE = 3600.0  # seconds; more is invalid
LONGEST_SECONDS = 100 * 366 * 86_400.0
#: Two durations of the same track may differ by that of the last sample, which some recorders guess.
_TOLERANCE_SECONDS, _TOLERANCE_RATIO = 0.5, 0.01

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Track:
    """One track as described by its boxes. ``seconds`` is its playing time, without its start offset ``starts``;
    ``media_seconds`` is that of all its samples. None: unknown, or the boxes contradict each other."""

    number: int
    kind: str  # "video", "audio", or the handler's four letters
    starts: float = 0.0
    seconds: float | None = None
    media_seconds: float | None = None
    ends: float = 0.0  # on its own clock, including gaps
    is_of_unknown_length: bool = False  # according to its header
    samples: int = 0
    usual: Mapping[float, int] = field(default_factory=dict)  # samples by their duration in seconds
    width: int | None = None
    height: int | None = None
    rotation_degrees: int | None = None  # clockwise, for display
    is_mirrored: bool = False

    @property
    def frame_rate(self) -> float | None:
        """Samples per second; a single sample is a still picture and has none.

        A constant rate is taken from the samples that agree, because recorders only guess the duration of the last one.
        """
        if self.samples < 2 or not self.media_seconds:
            return None
        seconds, count = max(self.usual.items(), key=lambda item: item[1], default=(0.0, 0))
        if seconds > 0 and count >= _NEARLY_ALL * (self.samples - 1):
            return 1 / seconds
        return self.samples / self.media_seconds


@dataclass(frozen=True, slots=True)
class Film:
    """The tracks by number (of an MP4); ``seconds``: duration; ``runs``: recordings, one after the other."""

    seconds: float | None
    tracks: Mapping[int, Track]
    is_fragmented: bool
    runs: int = 1
    is_irregular: bool = False  # the clock of its fragments jumps, or the last one is truncated
    remarks: tuple[str, ...] = ()
    is_approximate: bool = False  # ``seconds`` only shows whether another source is right


@dataclass(slots=True)
class _Found:
    """The results of reading the file so far."""

    indexes: int = 0
    tracks: dict[int, Track] = field(default_factory=dict)
    scales: dict[int, tuple[int, int]] = field(default_factory=dict)
    usual: dict[int, Counter[float]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)  # in fragments, by track
    counts: dict[int, int] = field(default_factory=dict)
    first: dict[int, float] = field(default_factory=dict)  # decode time of each track's first fragment, in seconds
    last: dict[int, float] = field(default_factory=dict)  # end of its last fragment on that clock
    is_fragmented: bool = False
    is_irregular: bool = False
    makes_no_sense: bool = False
    remarks: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)


def close_to(one: float, other: float) -> bool:
    """Whether two durations are equal except for a last sample."""
    return abs(one - other) <= max(_TOLERANCE_SECONDS, _TOLERANCE_RATIO * max(one, other))


def of_unknown_length(why: str) -> Film:
    """A file without boxes, whose tracks are not looked at."""
    return Film(None, {}, is_fragmented=False, remarks=(why,))


def read_film(read: Read, size: int) -> Film | None:
    """Read a finished file of ``size`` bytes. None: not an MP4, or an unreadable one. Raises the errors of ``read``."""
    found = _Found()
    try:
        _walk(read, size, found)
    except (struct.error, ValueError, ZeroDivisionError, OverflowError):
        return None
    return _film(found) if found.indexes else None


def _film(found: _Found) -> Film:
    if found.is_fragmented:
        tracks = {number: _with_fragments(track, found) for number, track in found.tracks.items()}
    else:
        tracks = dict(found.tracks)
    if found.indexes > 1:
        found.remark(f"the file holds {found.indexes} recordings, one behind the other")
    played = [t for t in tracks.values() if t.kind in ("video", "audio")] or list(tracks.values())
    seconds = None if found.indexes > 1 and not found.is_fragmented else _length(played, found.is_fragmented)
    if found.makes_no_sense or (seconds is not None and not 0 < seconds <= LONGEST_SECONDS):
        seconds = None
    return Film(seconds, tracks, found.is_fragmented, found.indexes, found.is_irregular, tuple(found.remarks))


def _length(tracks: list[Track], is_fragmented: bool) -> float | None:
    """From the first visible sample to the last. Fragments are summed: a gap in their clock is not media time."""
    known = [(track.starts, track.seconds) for track in tracks if track.seconds]
    if not known or any(track.seconds is None for track in tracks):
        return None
    if is_fragmented:
        return max(seconds for _, seconds in known)
    return max(starts + seconds for starts, seconds in known) - min(starts for starts, _ in known)


def _with_fragments(track: Track, found: _Found) -> Track:
    seconds = found.seconds.get(track.number, 0.0) + (track.media_seconds or 0.0)
    return replace(
        track,
        starts=found.first.get(track.number, 0.0),
        seconds=max(0.0, seconds - track.starts),
        media_seconds=seconds,
        ends=max(found.last.get(track.number, 0.0), seconds),
        samples=track.samples + found.counts.get(track.number, 0),
        usual=found.usual.get(track.number, Counter()) + Counter(track.usual),
    )


# --- The file, from box to box ----------------------------------------------------------------------------------------


def _walk(read: Read, size: int, found: _Found) -> None:
    offset = 0
    fragment: tuple[int, int] | None = None  # the ``moof`` whose media follows
    for _ in range(_MOST_BOXES):
        if offset >= size:
            break
        begin, end, kind = _box(read, offset, size)
        if end > size:
            found.remark("the file ends in the middle of a box")
            found.is_irregular = fragment is not None
            break
        if kind == b"moov":
            _take_index(read, (begin, end), size, found)
        elif kind == b"moof":
            fragment = (begin, end)
        elif kind == b"mdat" and fragment is not None:
            _take_fragment(read, fragment, found)
            fragment = None
        offset = end
    else:
        raise ValueError("more boxes than any recording")
    if fragment is not None:
        found.remark("the last fragment has no media")


def _box(read: Read, offset: int, size: int) -> tuple[int, int, bytes]:
    """Begin and end of the content of the box at ``offset``, and its type. Size 0 means to the end."""
    head = read(offset, _HEADER)
    length, kind = header(head)
    if length is None and head[:4] == b"\0\0\0\0" and len(head) >= 8:
        return offset + 8, size, kind
    if length is None:
        if size - offset < 8:  # a few extra bytes
            return offset, size + 1, b""
        raise ValueError(kind)
    return offset + (16 if head[:4] == b"\0\0\0\1" else 8), offset + length, kind


def _children(read: Read, span: Span) -> Iterator[tuple[bytes, Span]]:
    """The boxes directly inside. Raises ``ValueError`` if one ends outside."""
    offset, end = span
    for _ in range(_MOST_CHILDREN):
        if end - offset < 8:  # QuickTime ends some lists with four zero bytes
            return
        begin, after, kind = _box(read, offset, end)
        if after > end:
            raise ValueError(kind)
        yield kind, (begin, after)
        offset = after
    raise ValueError("more boxes than any index")


def _inside(read: Read, span: Span | None, *way: bytes) -> Span | None:
    """The first box on this path of types; None if one is missing."""
    for wanted in way:
        if span is None:
            return None
        span = next((child for kind, child in _children(read, span) if kind == wanted), None)
    return span


def _content(read: Read, span: Span | None, most: int) -> bytes:
    """The first ``most`` bytes of a box; empty if there is none."""
    return b"" if span is None else read(span[0], min(most, span[1] - span[0]))


# --- The index --------------------------------------------------------------------------------------------------------


def _take_index(read: Read, span: Span, size: int, found: _Found) -> None:
    found.indexes += 1
    has_fragments = _inside(read, span, b"mvex") is not None
    movie_scale = _scale_and_duration(_content(read, _inside(read, span, b"mvhd"), 32))[0]
    if has_fragments:
        if span[1] - span[0] > LARGEST_INDEX:
            raise ValueError("an index too large for fragments")
        found.is_fragmented = True
        found.scales = tracks_in_fragments(_content(read, span, LARGEST_INDEX))
    for kind, trak in _children(read, span):
        if kind == b"trak":
            track = _track(read, trak, movie_scale, size, found, has_fragments=has_fragments)
            before = found.tracks.get(track.number)
            if before is not None and has_fragments and before.media_seconds and track.media_seconds:
                track = replace(track, media_seconds=track.media_seconds + before.media_seconds)
            found.tracks[track.number] = track


def _track(read: Read, trak: Span, movie_scale: int, size: int, found: _Found, *, has_fragments: bool) -> Track:
    head = _content(read, _inside(read, trak, b"tkhd"), 92)
    media = _inside(read, trak, b"mdia")
    table = _inside(read, media, b"minf", b"stbl")
    scale, claimed = _scale_and_duration(_content(read, _inside(read, media, b"mdhd"), 32))
    kind = _handler(_content(read, _inside(read, media, b"hdlr"), 12))
    samples, ticks, usual = _sample_times(read, _inside(read, table, b"stts"))
    track = Track(
        number=_number(head),
        kind=kind,
        samples=samples,
        usual={delta / scale: count for delta, count in usual.items()} if scale else {},
        media_seconds=ticks / scale if scale and ticks else None,
        is_of_unknown_length=claimed is None,
    )
    if kind == "video":
        track = replace(track, rotation_degrees=_rotation(head), is_mirrored=_rotation(head) is None)
        width, height = _frame_size(_content(read, _inside(read, table, b"stsd"), 52))
        track = replace(track, width=width, height=height)
    if has_fragments:
        # Recorders put fragments under a first edit that omits the encoder's delay.
        return replace(track, starts=_delay(read, trak, scale))
    if not samples:
        return replace(track, media_seconds=None)  # a header's claim without a single sample does not count
    claimed_seconds = claimed / scale if scale and claimed else None
    if _is_cut(read, table, size):
        found.remark("the file ends before its last samples")
        return replace(track, media_seconds=None)
    if track.media_seconds is None:
        track = replace(track, media_seconds=claimed_seconds)
    elif claimed_seconds is not None and not close_to(track.media_seconds, claimed_seconds):
        counted, told = f"{track.media_seconds:.3f} s", f"{claimed_seconds:.3f} s"
        found.remark(f"track {track.number}: its samples last {counted}, its header says {told}")
        return replace(track, media_seconds=None)
    if track.media_seconds is None:
        return track
    starts, seconds = _edited(read, trak, movie_scale, scale, track.media_seconds)
    return replace(track, starts=starts, seconds=seconds, ends=starts + seconds)


def _number(head: bytes) -> int:
    (number,) = struct.unpack_from(">I", head, 20 if head[:1] == b"\1" else 12)
    return int(number)


def _scale_and_duration(body: bytes) -> tuple[int, int | None]:
    """From ``mvhd`` or ``mdhd``; None for an unknown duration, with all bits set."""
    if not body:
        return 0, 0
    if body[:1] == b"\1":
        scale, duration = struct.unpack_from(">IQ", body, 20)
        return scale, None if duration >= 2**63 else duration
    scale, duration = struct.unpack_from(">II", body, 12)
    return scale, None if duration == 2**32 - 1 else duration


def _handler(body: bytes) -> str:
    name = body[8:12]
    return {b"vide": "video", b"soun": "audio"}.get(name, name.decode("latin-1"))


def _rotation(head: bytes) -> int | None:
    """Degrees clockwise by which a picture is rotated for display; None if it is also mirrored."""
    a, b, _, c, d = struct.unpack_from(">5i", head, 52 if head[:1] == b"\1" else 40)
    if a * d - b * c <= 0:
        return None
    return round(math.degrees(math.atan2(b, a))) % 360


def _frame_size(stsd: bytes) -> tuple[int | None, int | None]:
    """Width and height of the first sample entry."""
    if len(stsd) < 44:
        return None, None
    width, height = struct.unpack_from(">HH", stsd, 40)
    return width or None, height or None


def _sample_times(read: Read, stts: Span | None) -> tuple[int, int, Mapping[int, int]]:
    """Number of samples, the sum of their durations in the track's ticks, and the number of samples by duration."""
    samples = ticks = 0
    usual: dict[int, int] = {}
    for piece in _entries(read, stts, 8):
        for count, delta in struct.iter_unpack(">II", piece):
            samples += count
            ticks += count * (delta if delta < 2**31 else 0)  # some writers correct an overlap by a negative one
            if delta in usual or len(usual) < _MOST_DURATIONS:
                usual[delta] = usual.get(delta, 0) + count
    return samples, ticks, usual


def _entries(read: Read, span: Span | None, width: int) -> Iterator[bytes]:
    """The entries of a table, in pieces of whole entries."""
    head = _content(read, span, 8)
    if span is None or len(head) < 8:
        return
    (count,) = struct.unpack_from(">I", head, 4)
    length = count * width
    if length > span[1] - span[0] - 8 or length > _MOST_TABLE_BYTES:
        raise ValueError("a table longer than its box")
    offset, end = span[0] + 8, span[0] + 8 + length
    while offset < end:
        piece = read(offset, min(_PIECE // width * width, end - offset))
        if not piece or len(piece) % width:
            raise ValueError("a table that cannot be read")
        yield piece
        offset += len(piece)


def _is_cut(read: Read, table: Span | None, size: int) -> bool:
    """Whether a chunk of samples begins after the end of the file, or the last one is truncated."""
    last = 0
    for kind, width, form in ((b"stco", 4, ">I"), (b"co64", 8, ">Q")):
        for piece in _entries(read, _inside(read, table, kind), width):
            offsets = [offset for (offset,) in struct.iter_unpack(form, piece)]
            if max(offsets) >= size:
                return True
            last = offsets[-1]
    return last + _last_chunk_bytes(read, table) > size


def _last_chunk_bytes(read: Read, table: Span | None) -> int:
    """The sizes of the samples in the last chunk."""
    in_a_chunk = 0
    for piece in _entries(read, _inside(read, table, b"stsc"), 12):
        (in_a_chunk,) = struct.unpack_from(">I", piece, len(piece) - 8)
    stsz = _inside(read, table, b"stsz")
    head = _content(read, stsz, 12)
    if stsz is None or len(head) < 12:
        return 0
    same, samples = struct.unpack_from(">II", head, 4)
    count = min(in_a_chunk, samples)
    if same:
        return int(same * count)
    if samples * 4 > stsz[1] - stsz[0] - 12 or count * 4 > LARGEST_INDEX:
        raise ValueError("a table longer than its box")
    sizes = read(stsz[0] + 12 + (samples - count) * 4, count * 4)
    return sum(struct.unpack(f">{len(sizes) // 4}I", sizes[: len(sizes) // 4 * 4]))


def _delay(read: Read, trak: Span, scale: int) -> float:
    """Seconds that a first edit cuts off, up to one encoder's delay."""
    elst = _inside(read, trak, b"edts", b"elst")
    body = _content(read, elst, 28)
    if len(body) < 20 or not scale:
        return 0.0
    (begins,) = struct.unpack_from(">q" if body[:1] == b"\1" else ">i", body, 16 if body[:1] == b"\1" else 12)
    return begins / scale if 0 < begins / scale < _LONGEST_DELAY else 0.0


def _edited(read: Read, trak: Span, movie_scale: int, scale: int, media_seconds: float) -> tuple[float, float]:
    """Seconds until the track begins, and its playing time, from its edit list."""
    elst = _inside(read, trak, b"edts", b"elst")
    body = _content(read, elst, 4)
    width, form, unknown = (20, ">QqI", 2**64 - 1) if body[:1] == b"\1" else (12, ">IiI", 2**32 - 1)
    starts, seconds, has_media = 0.0, 0.0, False
    for piece in _entries(read, elst, width):
        for duration, begins, _ in struct.iter_unpack(form, piece):
            if begins < 0:  # an empty edit: nothing is displayed
                if duration != unknown:
                    starts, seconds = (
                        (starts, seconds + duration / movie_scale)
                        if has_media
                        else (starts + duration / movie_scale, seconds)
                    )
                continue
            left = max(0.0, media_seconds - begins / scale)
            has_media = True
            # 0 and "unknown" mean: as long as there is media.
            seconds += left if duration in (0, unknown) else min(left, duration / movie_scale)
    return (starts, seconds) if has_media else (starts, media_seconds)


# --- Fragments --------------------------------------------------------------------------------------------------------


def _take_fragment(read: Read, span: Span, found: _Found) -> None:
    if not found.scales or span[1] - span[0] > LARGEST_INDEX:
        raise ValueError("a fragment without an index")
    body = _content(read, span, LARGEST_INDEX)
    for traf in fragments_of(body, found.scales):
        if traf.seconds > _LONGEST_SAMPLE * max(1, traf.samples):
            found.makes_no_sense = True
            found.remark(f"track {traf.number}: a fragment claims {traf.seconds:.0f} s for {traf.samples} samples")
        found.seconds[traf.number] = found.seconds.get(traf.number, 0.0) + traf.seconds
        found.counts[traf.number] = found.counts.get(traf.number, 0) + traf.samples
        found.first.setdefault(traf.number, traf.starts)
        usual = found.usual.setdefault(traf.number, Counter())
        if traf.usual[0] in usual or len(usual) < _MOST_DURATIONS:
            usual[traf.usual[0]] += traf.usual[1]
        expected = found.last.get(traf.number, traf.starts)
        if not close_to(expected, traf.starts):
            found.remark("the clock jumps between two fragments")
            found.is_irregular = True
        found.last[traf.number] = traf.starts + traf.seconds
