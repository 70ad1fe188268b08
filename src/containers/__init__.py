"""What the structure of a media file proves: its format, its end, its length, its clock. One port for all formats
(``formats``), and a few modules for each.

Pure, and independent of other packages, because three of them need it: reading files (does the structure prove the
end?), describing media (duration), and at-risk metrics (the media's clock). A function that reads a range is passed in;
no file is opened here.
"""

from .film import Film, Track, close_to
from .formats import BEGINNING, MediaClock, content_type, demuxer_of, has_index_first, is_whole, read_film
from .fragments import Read

__all__ = [
    "BEGINNING",
    "Film",
    "MediaClock",
    "Read",
    "Track",
    "close_to",
    "content_type",
    "demuxer_of",
    "has_index_first",
    "is_whole",
    "read_film",
]
