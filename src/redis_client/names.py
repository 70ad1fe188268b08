"""The names of what is in Redis. Pure.

Keys, all behind ``REDIS_KEY_PREFIX``:

* ``stream:{id}:meta``: a hash of readable fields; what a stream does not have (yet) has no field. ``revision`` is
  another one after each write.
* ``stream:{id}:parts``: a hash of part number to JSON. Every value names its own stream, so that a value in the
  wrong place, or a reply that belongs to another question, is noticed and not believed.
* ``streams:active``, ``streams:pending_completion`` (holds s3_completed too), ``streams:completed`` and
  ``streams:failed``: sets of stream ids.
* ``streams:markers``: a hash of ``<inode>:<birth_ns>`` to the JSON of what a completed stream leaves.
* ``streams:numbers``: a hash of a name (its natural key) to the JSON of the highest number that a recording of it got.
* ``bad:<key>``: what could not be read, kept for a human being.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from ..domain import STATUSES, Care, Identity, Status

MARKERS = b"streams:markers"
NUMBERS = b"streams:numbers"
#: The set that a stream of this status is a member of.
SETS: Mapping[Status, bytes] = {status: b"streams:" + kept.members.encode() for status, kept in STATUSES.items()}
ALL_SETS = tuple(dict.fromkeys(SETS.values()))
#: Those that hold streams whose records are to be read.
READ_SETS = tuple(dict.fromkeys(SETS[status] for status, kept in STATUSES.items() if kept.care is not Care.DONE))


class Names:
    """The names behind one ``REDIS_KEY_PREFIX``."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()

    def of(self, name: bytes) -> bytes:
        """The key of what is no single stream's."""
        return self._prefix + name

    def of_stream(self, stream_id: bytes) -> tuple[bytes, bytes]:
        """The names of a stream's meta and of its parts."""
        return self.of(b"stream:" + stream_id + b":meta"), self.of(b"stream:" + stream_id + b":parts")

    def aside(self, key: bytes) -> Iterator[bytes]:
        """Where a key is moved that cannot be used: the first of these that is free."""
        name = self._prefix + b"bad:" + key.removeprefix(self._prefix)
        yield name
        yield from (name + b"~%d" % number for number in count(2))


def marker_field(identity: Identity) -> bytes:
    """The file's field among the markers."""
    return b"%d:%d" % (identity.inode, identity.birth_ns)


def shown(key: bytes) -> str:
    """A name as it is logged."""
    return key.decode("utf-8", "backslashreplace")
