"""The formats behind one port: what a file is, and what its structure proves.

The beginning of a file decides, never its name: a script may be named ``x.ts`` and a WebM ``x.mp4``. What no format
recognises is asked like an MP4, whose functions then prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..domain import Structure
from . import boxes, film, matroska, transport
from .film import Film
from .fragments import FragmentClock, Read

#: Bytes at the beginning of a file that suffice to recognise its format.
BEGINNING: Final = 1024


class Clock(Protocol):
    """The media's own clock in a growing file. ``is_over``: it can no longer be followed. ``is_behind``: there is
    something that was not read yet."""

    is_over: bool
    is_behind: bool

    def walk(self, read: Read, size: int) -> None:
        """Read what is new in a file of ``size`` bytes; if it is much, the rest next time."""

    def seconds(self, begin: int, end: int) -> float | None:
        """Seconds of media between two offsets; None if unknown."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format. ``head`` is up to ``BEGINNING`` bytes from the beginning of a file.

    ``demuxer`` is ffprobe's name for it. ``content_type`` returns None if the beginning does not tell which of several
    types it is, and ``usual_type`` is for a file whose name does not tell it either. ``is_whole``: whether the file's
    structure proves its end. ``has_index_first``: whether a recorder that came back has moved its index to the front.
    """

    demuxer: str
    usual_type: str
    begins: Callable[[bytes], bool]
    content_type: Callable[[bytes], str | None]
    is_whole: Callable[[Read, int], bool]
    has_index_first: Callable[[Read, int], bool]
    clock: Callable[[], Clock]
    film: Callable[[Read, int], Film | None]


def _never(read: Read, size: int) -> bool:
    """Nothing in the format shows it."""
    return False


MP4: Final = Format(
    demuxer="mov",
    usual_type="video/mp4",
    begins=boxes.begins,
    content_type=boxes.content_type,
    is_whole=boxes.is_whole,
    has_index_first=boxes.has_index_first,
    clock=FragmentClock,
    film=film.read_film,
)
MATROSKA: Final = Format(
    demuxer="matroska",
    usual_type="video/x-matroska",
    begins=matroska.begins,
    content_type=matroska.content_type,
    is_whole=matroska.is_whole,
    has_index_first=_never,
    clock=matroska.ClusterClock,
    film=matroska.read_film,
)
TRANSPORT_STREAM: Final = Format(
    demuxer="mpegts",
    usual_type="video/mp2t",
    begins=transport.begins,
    content_type=transport.content_type,
    is_whole=_never,
    has_index_first=_never,
    clock=transport.PacketClock,
    film=transport.read_film,
)
FORMATS: Final = (MP4, MATROSKA, TRANSPORT_STREAM)

#: By the last letters of a name, in lower case. Not for transport streams: ``*.ts`` is also TypeScript.
_TYPES_BY_NAME: Final = {
    ".mp4": "video/mp4",
    ".m4v": "video/x-m4v",
    ".mov": "video/quicktime",
    ".qt": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
}
_UNKNOWN_TYPE: Final = "application/octet-stream"


def format_of(head: bytes) -> Format | None:
    """The format of a file that begins like this; None for any other file."""
    return next((each for each in FORMATS if each.begins(head)), None)


def _asked(read: Read) -> Format:
    return format_of(read(0, BEGINNING)) or MP4


def is_whole(read: Read, size: int) -> bool:
    """Whether the structure of a file of ``size`` bytes proves its end."""
    return _asked(read).is_whole(read, size)


def has_index_first(read: Read, size: int) -> bool:
    """Whether the index precedes the media, as in a file that the recorder has rewritten."""
    return _asked(read).has_index_first(read, size)


def read_film(read: Read, size: int) -> Film | None:
    """Read a finished file of ``size`` bytes. None: no known format, or an unreadable file. Raises the errors of
    ``read``."""
    return _asked(read).film(read, size)


def demuxer_of(read: Read) -> str:
    """The name of the only ffprobe demuxer that may read this file."""
    return _asked(read).demuxer


def content_type(head: bytes, name: str) -> str:
    """The media type of a file that begins like this: by its content if that is plain, otherwise by its name."""
    found = format_of(head)
    told = found.content_type(head) if found else None
    usual = found.usual_type if found else _UNKNOWN_TYPE
    dot = name.rfind(".")
    return told or _TYPES_BY_NAME.get(name[dot:].lower() if dot >= 0 else "", usual)


class MediaClock:
    """Follows one file of any format; which one, its first bytes decide."""

    def __init__(self) -> None:
        self._clock: Clock | None = None

    @property
    def is_over(self) -> bool:
        return self._clock is not None and self._clock.is_over

    @property
    def is_behind(self) -> bool:
        return self._clock is None or self._clock.is_behind

    @property
    def structure(self) -> Structure | None:
        """How an MP4 is laid out; None: unknown, or another format."""
        return self._of_mp4.structure if self._of_mp4 else None

    @property
    def fragments(self) -> int:
        """The number of fragments of an MP4 so far."""
        return self._of_mp4.fragments if self._of_mp4 else 0

    @property
    def fragment_seconds(self) -> float:
        """Seconds of media in a fragment, on average; 0 before the first."""
        return self._of_mp4.fragment_seconds if self._of_mp4 else 0.0

    @property
    def _of_mp4(self) -> FragmentClock | None:
        return self._clock if isinstance(self._clock, FragmentClock) else None

    def walk(self, read: Read, size: int) -> None:
        if self._clock is None and size >= BEGINNING:
            self._clock = _asked(read).clock()
        if self._clock is not None:
            self._clock.walk(read, size)

    def seconds(self, begin: int, end: int) -> float | None:
        return self._clock.seconds(begin, end) if self._clock else None
