"""Whether the structure of an MP4 file proves that its recording is over.

A recorder that is still at work shows itself here: the size of its last box is 0 or points elsewhere until it is
closed, and an ordinary file gets its index (``moov``) last. A fragmented file looks complete after every fragment, so
only the random-access index that its writer appends at the close (``mfra``) proves anything there. ISO/IEC 14496-12,
sections 4.2, 8.8.1 and 8.8.9.
"""

from __future__ import annotations

from collections.abc import Callable

_HEADER = 16  # size, type, and the 64-bit size where there is one
_MOST_BOXES = 1_000_000  # ten days of fragments a second; more is no recording
_MOST_TRACKS = 10_000  # boxes directly inside an index; more is no recording


def is_whole(read: Callable[[int, int], bytes], size: int) -> bool:
    """Whether a file of ``size`` bytes proves its end. ``read(offset, count)`` gives at most ``count`` bytes.

    Its top-level boxes end where the file does, it has an index, and, where it is fragmented, ``mfra`` comes last.
    """
    offset, has_index, is_fragmented, last = 0, False, False, b""
    for _ in range(_MOST_BOXES):
        if offset == size:
            return has_index and (last == b"mfra" or not is_fragmented)
        head = read(offset, _HEADER)
        length, kind = header(head)
        if length is None or length > size - offset:
            return False
        if kind == b"moov":
            has_index = True
            begin = offset + (16 if head[:4] == b"\0\0\0\1" else 8)
            is_fragmented = is_fragmented or _announces_fragments(read, begin, offset + length)
        is_fragmented = is_fragmented or kind == b"moof"
        offset, last = offset + length, kind
    return False


def _announces_fragments(read: Callable[[int, int], bytes], begin: int, end: int) -> bool:
    """Whether a ``moov`` with this content has an ``mvex``. One that cannot be walked counts as if it had: no proof."""
    offset = begin
    for _ in range(_MOST_TRACKS):
        if offset == end:
            return False
        length, kind = header(read(offset, _HEADER))
        if length is None or length > end - offset or kind == b"mvex":
            return True
        offset += length
    return True


def has_index_first(read: Callable[[int, int], bytes], size: int) -> bool:
    """Whether ``moov`` stands before the first ``mdat``: so it does once a recorder has written its file anew."""
    offset = 0
    for _ in range(_MOST_BOXES):
        length, kind = header(read(offset, _HEADER))
        if kind in (b"moov", b"mdat"):
            return kind == b"moov"
        if length is None or offset + length >= size:
            return False
        offset += length
    return False


def header(data: bytes) -> tuple[int | None, bytes]:
    """Length and type of the box that begins here; None where the length is missing or means "to the end"."""
    short, kind = int.from_bytes(data[:4], "big"), data[4:8]
    if len(data) < 8 or (not kind.isalnum() and not kind.strip().isalnum()):
        return None, kind
    if short == 1:
        length = int.from_bytes(data[8:16], "big")
        return (length if len(data) == _HEADER and length >= _HEADER else None), kind
    return (short if short >= 8 else None), kind
