"""What the structure of a media file proves, read from its own boxes: one module a format.

Pure and low, because three rooms need it: the one that reads files (does the structure prove the end?), the one that
describes a film (how long is it?), and the one that measures what is at risk (which clock does it carry?). Bytes come
in by a function that reads a range; no file is opened here.
"""

from . import boxes
from .film import Film, Track, close_to, read_film
from .fragments import FragmentClock, Read

__all__ = [
    "Film",
    "FragmentClock",
    "Read",
    "Track",
    "boxes",
    "close_to",
    "read_film",
]
