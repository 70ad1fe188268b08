"""Elements of EBML, of which Matroska and WebM are made. RFC 8794, sections 4 to 6.

An element is its ID, its size, and its content; a size may be unknown until its writer comes back, or
indefinitely.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from .fragments import Read

_HEADER = 12  # four bytes of an ID, and eight of a size
_MOST_NUMBER = 8


class Element(NamedTuple):
    """``kind`` is the ID with its length marker, as in the specification. ``end`` is None for an unknown size."""

    kind: int
    content: int
    end: int | None


def element(read: Read, offset: int) -> Element:
    """The element that begins here. Raises ``ValueError`` if none does."""
    head = read(offset, _HEADER)
    width, kind, _ = number(head, 0)
    if width > 4:
        raise ValueError(kind)
    length, marked, size = number(head, width)
    content = offset + width + length
    is_unknown = marked == (1 << (7 * length + 1)) - 1
    return Element(kind, content, None if is_unknown else content + size)


def number(data: bytes, offset: int) -> tuple[int, int, int]:
    """The width in bytes of the number that begins here, the number with its length marker, and without it."""
    first = data[offset] if offset < len(data) else 0
    width = 9 - first.bit_length()
    if not first or offset + width > len(data):
        raise ValueError("no number")
    marked = int.from_bytes(data[offset : offset + width], "big")
    return width, marked, marked ^ (1 << (7 * width))


def children(read: Read, begin: int, end: int, *, most: int) -> Iterator[Element]:
    """The elements directly inside. Raises ``ValueError`` if one has no size or ends outside."""
    offset = begin
    for _ in range(most):
        if offset == end:
            return
        found = element(read, offset)
        if found.end is None or found.end > end:
            raise ValueError(found.kind)
        yield found
        offset = found.end
    raise ValueError("more elements than in any recording")


def unsigned(content: bytes) -> int:
    """An unsigned integer. Raises ``ValueError`` for more than eight bytes."""
    if len(content) > _MOST_NUMBER:
        raise ValueError("not a number")
    return int.from_bytes(content, "big")


def real(content: bytes) -> float:
    """A floating-point number. Raises ``ValueError`` for any other width than 0, 4 or 8 bytes."""
    if len(content) not in (0, 4, 8):
        raise ValueError("not a number")
    found: float = struct.unpack(">d" if len(content) == 8 else ">f", content)[0] if content else 0.0
    return found
