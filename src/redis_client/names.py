"""The names of keys in Redis. Pure.

All keys begin with ``REDIS_KEY_PREFIX``:

* ``stream:{id}:meta``: a hash of readable fields; values that a stream does not have (yet) have no field. ``revision``
  changes with each write.
* ``stream:{id}:parts``: a hash of part number to JSON. Every value contains its stream ID, so that a misplaced value,
  or a reply to another command, is detected.
* ``streams:active``, ``streams:pending_completion`` (also contains s3_completed), ``streams:completed`` and
  ``streams:failed``: sets of stream IDs.
* ``streams:markers``: a hash of ``<inode>:<birth_ns>`` to the JSON of a completed stream's marker.
* ``streams:numbers``: a hash of a name (its natural key) to the JSON of the highest number that a recording of it got.
* ``streams:census``: a hash; ``ran_seconds`` is the daemon's running time since markers were compared with the folder.
* ``bad:<key>``: invalid values, kept for inspection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from ..domain import STATUSES, Care, Identity, Status

MARKERS = b"streams:markers"
NUMBERS = b"streams:numbers"
CENSUS = b"streams:census"
#: The set of the streams at each status.
SETS: Mapping[Status, bytes] = {status: b"streams:" + kept.members.encode() for status, kept in STATUSES.items()}
ALL_SETS = tuple(dict.fromkeys(SETS.values()))
#: The sets of streams whose checkpoints are loaded.
READ_SETS = tuple(dict.fromkeys(SETS[status] for status, kept in STATUSES.items() if kept.care is not Care.DONE))
#: The sets of streams that have failed.
KEPT_SETS = tuple(dict.fromkeys(SETS[status] for status, kept in STATUSES.items() if kept.care is Care.KEPT))


class Names:
    """The key names with one ``REDIS_KEY_PREFIX``."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()

    def of(self, name: bytes) -> bytes:
        """The full name of a key that belongs to no single stream."""
        return self._prefix + name

    def of_stream(self, stream_id: bytes) -> tuple[bytes, bytes]:
        """The names of a stream's meta hash and of its parts hash."""
        return self.of(b"stream:" + stream_id + b":meta"), self.of(b"stream:" + stream_id + b":parts")

    def aside(self, key: bytes) -> Iterator[bytes]:
        """Names for setting a key aside: the first free one is used."""
        name = self._prefix + b"bad:" + key.removeprefix(self._prefix)
        yield name
        yield from (name + b"~%d" % number for number in count(2))


def marker_field(identity: Identity) -> bytes:
    """The file's field in the hash of markers."""
    return b"%d:%d" % (identity.inode, identity.birth_ns)


def identity_of_field(field: bytes) -> Identity:
    """The file again. Raises ``ValueError`` for what is no marker's field."""
    inode, birth_ns = field.split(b":")
    return Identity(int(inode), int(birth_ns))


def shown(key: bytes) -> str:
    """A name, formatted for the log."""
    return key.decode("utf-8", "backslashreplace")
