"""How a media file that still grows is laid out, as far as its boxes tell. Pure."""

from __future__ import annotations

from enum import StrEnum


class Structure(StrEnum):
    """Of MP4 and MOV. What cannot be told, or is another format, has none."""

    INDEX_LAST = "index_last"  # media before any index: nothing can be played until the file is closed
    INDEX_FIRST = "index_first"  # an index stands before the media
    FRAGMENTED = "fragmented"  # each fragment has an index of its own
