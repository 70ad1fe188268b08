"""MPEG transport streams: their packets, and the clock that they carry. ISO/IEC 13818-1, sections 2.4.3.2 to 2.4.3.5.

A transport stream has neither a header nor an index, and nothing in it says that it has ended. Its packets of 188 bytes
(in M2TS with a time stamp of four bytes before each) carry a program clock reference (PCR) every tenth of a second or
more often.
"""

from __future__ import annotations

from typing import Final

from ..domain import Curve
from .film import Film, of_unknown_length
from .fragments import Read

_SYNC: Final = 0x47
#: Size of a packet, and where in it the sync byte is.
_PACKETS: Final = ((188, 0), (192, 4))
_LEAST_PACKETS: Final = 3  # a text has a "G" somewhere, but not this often at these distances
_PIECE: Final = 1 << 20
_PIECES_A_WALK: Final = 16
_MOST_BYTES: Final = 8 << 30  # read for the clock of a finished file
_TICKS: Final = 27_000_000  # per second
_WRAPS: Final = (1 << 33) * 300
_LONGEST_GAP: Final = 5.0  # seconds between two references; more, or backwards, is another clock
_MOST_CLOCKS: Final = 64  # programs
#: 1 for packets that have an adaptation field.
_HAS_FIELD: Final = bytes(1 if control & 0x20 else 0 for control in range(256))


def _shape(head: bytes) -> tuple[int, int] | None:
    """The size of the packets and the place of the sync byte; None if a file that begins like this has none."""
    for size, place in _PACKETS:
        found = head[place::size]
        if len(found) >= _LEAST_PACKETS and found.count(_SYNC) == len(found):
            return size, place
    return None


def begins(head: bytes) -> bool:
    """Whether a file that begins like this has a sync byte at the same place of each packet."""
    return _shape(head) is not None


def content_type(head: bytes) -> str:
    """All transport streams are of one type."""
    return "video/mp2t"


class PacketClock:
    """Follows one file by its program clock references. Packets without the sync byte end the clock: where the next one
    begins is then unknown."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_behind = True
        self.jumps = 0
        self.total = 0.0  # seconds of media so far, of the program with the most
        self._offset = 0
        self._shape: tuple[int, int] | None = None
        self._last: dict[int, int] = {}  # by PID
        self._seconds: dict[int, float] = {}
        self._curve = Curve(0, 0.0)

    def walk(self, read: Read, size: int) -> None:
        """Read the new packets of a file of ``size`` bytes; if they are many, the rest next time."""
        self.is_behind = True
        for _ in range(_PIECES_A_WALK):
            if not self._read_on(read, size):
                self.is_behind = False
                return

    def seconds(self, begin: int, end: int) -> float | None:
        """Seconds of media between two offsets; None if unknown."""
        if self.is_over or self.is_behind or not self.total:
            return None
        return max(0.0, self._curve.moment(end) - self._curve.moment(begin))

    def _read_on(self, read: Read, size: int) -> bool:
        """Read the next packets; False at the end of the written data."""
        if self._shape is None:
            self._shape = _shape(read(0, _LEAST_PACKETS * 192))
            self.is_over = self._shape is None
        if self._shape is None or self.is_over:
            return False
        packet, place = self._shape
        count = min(_PIECE, size - self._offset) // packet * packet
        piece = read(self._offset, count) if count else b""
        piece = piece[: len(piece) // packet * packet]
        if not piece:
            return False
        syncs = piece[place::packet]
        if syncs.count(_SYNC) != len(syncs):
            self.is_over = True
            return False
        self._take(piece, packet, place)
        self._offset += len(piece)
        return True

    def _take(self, piece: bytes, packet: int, place: int) -> None:
        marks = piece[place + 3 :: packet].translate(_HAS_FIELD)
        number = marks.find(1)
        while number >= 0:
            at = number * packet + place
            # The length of the adaptation field, and the flag of its clock reference.
            if piece[at + 4] >= 7 and piece[at + 5] & 0x10:
                self._tick(piece[at : at + 12], self._offset + at)
            number = marks.find(1, number + 1)

    def _tick(self, packet: bytes, offset: int) -> None:
        pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
        coded = int.from_bytes(packet[6:12], "big")
        now = (coded >> 15) * 300 + (coded & 0x1FF)
        before = self._last.get(pid)
        if before is None and len(self._last) >= _MOST_CLOCKS:
            return
        self._last[pid] = now
        if before is None:
            return
        passed = (now - before) % _WRAPS / _TICKS
        if passed > _LONGEST_GAP:
            self.jumps += 1
            return
        self._seconds[pid] = self._seconds.get(pid, 0.0) + passed
        self.total = max(self.total, self._seconds[pid])
        self._curve.reach(offset, self.total)


def read_film(read: Read, size: int) -> Film:
    """The length of a finished file by its clock, which lacks the last frames: ``is_approximate``."""
    clock = PacketClock()
    if size > _MOST_BYTES:
        return of_unknown_length("a transport stream tells no duration, and its clock is too long to be read")
    while clock.is_behind:
        clock.walk(read, size)
    if clock.is_over:
        return of_unknown_length("a transport stream tells no duration, and its packets are damaged")
    if clock.jumps:
        return of_unknown_length("a transport stream tells no duration, and its clock jumps")
    if not clock.total:
        return of_unknown_length("a transport stream tells no duration, and this one has no clock")
    return Film(clock.total, {}, is_fragmented=False, is_approximate=True)
