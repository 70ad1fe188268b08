"""Whether an MP4 file is structurally complete: its top-level boxes end exactly where the file does.

A recorder that is still at work shows itself here: the size of its last box is 0 or points elsewhere until it is
closed, and an ordinary file gets its index (``moov``) last. A fragmented file is complete after every fragment, so
that this alone never proves a recording finished. ISO/IEC 14496-12, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

_HEADER = 16  # size, type, and the 64-bit size where there is one
_MOST_BOXES = 1_000_000  # ten days of fragments a second; more is no recording


def is_whole(read: Callable[[int, int], bytes], size: int) -> bool:
    """Walk the boxes of a file of ``size`` bytes. ``read(offset, count)`` gives at most ``count`` bytes."""
    offset, has_index = 0, False
    for _ in range(_MOST_BOXES):
        if offset == size:
            return has_index
        length, kind = header(read(offset, _HEADER))
        if length is None or length > size - offset:
            return False
        has_index = has_index or kind == b"moov"
        offset += length
    return False


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
