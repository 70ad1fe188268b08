"""Whose object is at a key: told by its metadata, its size and its checksum, never by its name.

Pure. The metadata are given once, when an upload begins, and stay with the object whatever happens to the record in
Redis; so they say which file an object was made from, and a stranger's object says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .recording import Identity, PartSchedule, Snapshot, StoredObject

FORMAT_VERSION = "1"
#: Of an object whose schedule has another step than 1,000, which readers of version 1 would cut elsewhere.
FORMAT_WITH_STEP = "2"
_PREFIX = "cefmp4-"


@dataclass(frozen=True, slots=True)
class Origin:
    """What an object's metadata say of the recording that it was made from."""

    stream_id: str
    path: str
    identity: Identity


def object_metadata(stream_id: str, path: str, identity: Identity, schedule: PartSchedule) -> dict[str, str]:
    """The metadata given at the beginning of an upload; ``path`` is already plain ASCII."""
    step = {f"{_PREFIX}step": str(schedule.step)} if schedule.step else {}
    return {
        f"{_PREFIX}format": FORMAT_WITH_STEP if step else FORMAT_VERSION,
        f"{_PREFIX}stream-id": stream_id,
        f"{_PREFIX}path": path,
        f"{_PREFIX}inode": str(identity.inode),
        f"{_PREFIX}birth-ns": str(identity.birth_ns),
        f"{_PREFIX}schedule": f"{'growing' if schedule.growing else 'equal'}-{schedule.chunk_size}",
        **step,
    }


def origin_of(metadata: Mapping[str, str]) -> Origin | None:
    """Where an object comes from; None when it is not one of ours, or of a format that we do not know."""
    if metadata.get(f"{_PREFIX}format") not in (FORMAT_VERSION, FORMAT_WITH_STEP):
        return None
    try:
        identity = Identity(int(metadata[f"{_PREFIX}inode"]), int(metadata[f"{_PREFIX}birth-ns"]))
        return Origin(metadata[f"{_PREFIX}stream-id"], metadata[f"{_PREFIX}path"], identity)
    except (KeyError, ValueError):
        return None


class Ownership(StrEnum):
    """Whose object is at a key."""

    FREE = "free"
    SAME = "same"  # byte for byte this recording, whoever completed it
    UNKNOWN = "unknown"  # same size, bytes not compared yet
    OURS = "ours"  # made from this very file, which has changed since: to be brought up to date
    EARLIER = "earlier"  # an earlier recording of this name
    STRANGER = "stranger"


def whose_object(
    stored: StoredObject | None, *, path: str, snapshot: Snapshot, crc64: int | None, stored_crc64: int | None
) -> Ownership:
    """Whose object is at the key that a recording wants.

    ``crc64`` is the file's, ``stored_crc64`` the object's, each None until known. Without a birth time an inode
    proves nothing (it may have been used again), so such an object is never taken for ours by identity alone.
    """
    if stored is None:
        return Ownership.FREE
    if stored.size == snapshot.size:
        if crc64 is None or stored_crc64 is None:
            return Ownership.UNKNOWN
        if crc64 == stored_crc64:
            return Ownership.SAME
    origin = origin_of(stored.metadata)
    if origin is None:
        return Ownership.STRANGER
    if origin.identity == snapshot.identity and snapshot.identity.birth_ns and stored.size <= snapshot.size:
        return Ownership.OURS
    return Ownership.EARLIER if origin.path == path else Ownership.STRANGER


def is_ours(stored: StoredObject, stream_id: str, identity: Identity, size: int) -> bool:
    """Whether an object was made by this stream, or by one of this very file whose record was lost.

    An object that is longer than the file was an earlier recording in it.
    """
    origin = origin_of(stored.metadata)
    if origin is None:
        return False
    of_this_file = origin.identity == identity and identity.birth_ns != 0 and stored.size <= size
    return origin.stream_id == stream_id or of_this_file
