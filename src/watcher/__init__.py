"""The watched folder: finds the files to examine, and reads their bytes.

The only package that accesses the disk with the recordings. It only reads: it has no code that writes. Hints come from
notifications and from scans; ``RecordingFiles`` returns a file's stat, bytes and writers.

Code that deletes a file after its upload would belong in ``recording_file``, as a method of ``ports.Recordings``, for
``Dispatcher._settle``, which lists what must be checked first. ``tests/unit/test_architecture.py`` rejects it until its
list of calls allows it.
"""

from .checkup import examine
from .globs import Globs
from .recording_file import RecordingFiles
from .stats import identity_of
from .tree import Tree, recordings_in
from .watcher import Watcher

__all__ = [
    "Globs",
    "RecordingFiles",
    "Tree",
    "Watcher",
    "examine",
    "identity_of",
    "recordings_in",
]
