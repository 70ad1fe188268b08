"""Whether the structure of an MP4 file proves that its recording has ended.

An unfinished file is recognisable: the size of its last box is 0 or wrong until it is closed, and an ordinary file gets
its index (``moov``) last. A fragmented file looks complete after every fragment, so only the random-access index that
its writer appends at the end (``mfra``) is a proof. ISO/IEC 14496-12, sections 4.2, 8.8.1 and 8.8.9.
"""

from __future__ import annotations

from collections.abc import Callable

_HEADER = 16  # size, type, and the 64-bit size if there is one
_MOST_BOXES = 1_000_000  # ten days with a fragment per second; more is not a recording
_MOST_TRACKS = 10_000  # boxes directly inside an index; more is not a recording
#: Types of boxes that a file begins with: of ISO/IEC 14496-12, and of QuickTime files, which need no ``ftyp``.
_FIRST = frozenset((b"ftyp", b"styp", b"sidx", b"moov", b"moof", b"mdat", b"free", b"skip", b"uuid", b"wide", b"pnot"))
#: Major brands that tell more than that the file is an MP4.
_BRANDS = {
    b"qt  ": "video/quicktime",
    b"M4V ": "video/x-m4v",
    b"M4VH": "video/x-m4v",
    b"M4VP": "video/x-m4v",
    b"M4A ": "audio/mp4",
}


def begins(head: bytes) -> bool:
    """Whether a file that begins like this is an MP4 or a QuickTime file."""
    return header(head[:_HEADER])[1] in _FIRST


def content_type(head: bytes) -> str | None:
    """By its major brand; None without one."""
    return _BRANDS.get(head[8:12], "video/mp4") if head[4:8] == b"ftyp" else None


def is_whole(read: Callable[[int, int], bytes], size: int) -> bool:
    """Whether a file of ``size`` bytes proves its end. ``read(offset, count)`` returns at most ``count`` bytes.

    Its top-level boxes end exactly at the end of the file, it has an index, and, if it is fragmented, ``mfra`` is last.
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
    """Whether a ``moov`` with this content has an ``mvex``. An unreadable one counts as if it had: no proof."""
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
    """Whether ``moov`` precedes the first ``mdat``, as in a file that the recorder has rewritten."""
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
    """Length and type of the box that begins here; None if the length is missing or means "to the end"."""
    short, kind = int.from_bytes(data[:4], "big"), data[4:8]
    if len(data) < 8 or (not kind.isalnum() and not kind.strip().isalnum()):
        return None, kind
    if short == 1:
        length = int.from_bytes(data[8:16], "big")
        return (length if len(data) == _HEADER and length >= _HEADER else None), kind
    return (short if short >= 8 else None), kind
