"""What the structure of a media file proves, from its boxes: one module per format.

Pure, and independent of other packages, because three of them need it: reading files (does the structure prove the
end?), describing media (duration), and at-risk metrics (the media's clock). A function that reads a range is passed in;
no file is opened here.
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
