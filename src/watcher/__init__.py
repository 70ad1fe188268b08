"""The watched folder: which files deserve a look, and the bytes of each.

The only room that touches the disk where recordings lie. It reads and never writes: nobody here has a way to.
Hints come from notifications and from a scan; what a file is, its stat, its bytes and its writers, ``RecordingFiles``
tells.
"""

from .globs import Globs
from .recording_file import RecordingFiles
from .stats import identity_of
from .tree import Tree
from .watcher import Watcher

__all__ = [
    "Globs",
    "RecordingFiles",
    "Tree",
    "Watcher",
    "identity_of",
]
