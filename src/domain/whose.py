"""Determines who owns the object at a key, from its metadata, size and checksum, never from its name.

Pure. The metadata are set once, when an upload begins, and stay with the object whatever happens to the checkpoint in
Redis. They identify the file that an object was made from; another program's object has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .recording import Identity, PartSchedule, Snapshot, StoredObject

FORMAT_VERSION = "1"
#: For objects whose schedule has a step other than 1,000, which readers of version 1 would cut differently.
FORMAT_WITH_STEP = "2"
_PREFIX = "cefmp4-"


@dataclass(frozen=True, slots=True)
class Origin:
    """The source recording that an object's metadata describe. ``started_at``: when its stream began; None: unknown,
    because an older release made the object."""

    stream_id: str
    path: str
    identity: Identity
    started_at: datetime | None = None


def object_metadata(
    stream_id: str, path: str, identity: Identity, schedule: PartSchedule, *, started_at: datetime | None = None
) -> dict[str, str]:
    """The metadata for a new upload; ``path`` is already plain ASCII."""
    step = {f"{_PREFIX}step": str(schedule.step)} if schedule.step else {}
    since = {f"{_PREFIX}started-at": started_at.isoformat()} if started_at else {}
    return {
        f"{_PREFIX}format": FORMAT_WITH_STEP if step else FORMAT_VERSION,
        f"{_PREFIX}stream-id": stream_id,
        f"{_PREFIX}path": path,
        f"{_PREFIX}inode": str(identity.inode),
        f"{_PREFIX}birth-ns": str(identity.birth_ns),
        f"{_PREFIX}schedule": f"{'growing' if schedule.growing else 'equal'}-{schedule.chunk_size}",
        **since,
        **step,
    }


def origin_of(metadata: Mapping[str, str]) -> Origin | None:
    """The origin of an object; None if it is not one of ours, or if its format is unknown."""
    if metadata.get(f"{_PREFIX}format") not in (FORMAT_VERSION, FORMAT_WITH_STEP):
        return None
    try:
        identity = Identity(int(metadata[f"{_PREFIX}inode"]), int(metadata[f"{_PREFIX}birth-ns"]))
        return Origin(metadata[f"{_PREFIX}stream-id"], metadata[f"{_PREFIX}path"], identity, _started_at(metadata))
    except (KeyError, ValueError):
        return None


def _started_at(metadata: Mapping[str, str]) -> datetime | None:
    """Only a moment of a known time zone can be compared with others."""
    try:
        moment = datetime.fromisoformat(metadata.get(f"{_PREFIX}started-at", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


# The first case that applies. Bytes come before metadata: equal bytes are this recording, whoever uploaded them.
#
# 1  no object -> free
# 2  the file's size, but one of the checksums is unknown -> unknown: compare them
# 3  the file's size and checksum -> the same, byte for byte
# 4  made from this very file, and not longer -> ours: the file has changed since, and the object is to be replaced. A
#    longer object belongs to an earlier recording in this file, of which nothing else is left.
# 5  made from another file at this path -> an earlier recording of this name
# 6  anything else, also objects without readable metadata of ours -> another program's


class Ownership(StrEnum):
    """The owner of the object at a key, in the order of the table above."""

    FREE = "free"
    UNKNOWN = "unknown"
    SAME = "same"
    OURS = "ours"
    EARLIER = "earlier"
    STRANGER = "stranger"


def whose_object(
    stored: StoredObject | None, *, path: str, snapshot: Snapshot, crc64: int | None, stored_crc64: int | None
) -> Ownership:
    """The owner of the object at the key that a recording wants.

    ``crc64`` is the file's, ``stored_crc64`` the object's, each None until known. Without a birth time an inode proves
    nothing (it may have been reused), so such an object never counts as ours by identity alone.
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
    if origin.path == path:
        return Ownership.EARLIER
    return Ownership.STRANGER


def is_ours(stored: StoredObject, stream_id: str, identity: Identity, size: int) -> bool:
    """Whether an object was made by this stream, or by a stream of this very file whose checkpoint was lost.

    An object that is longer than the file was made from an earlier recording in it.
    """
    origin = origin_of(stored.metadata)
    if origin is None:
        return False
    of_this_file = origin.identity == identity and identity.birth_ns != 0 and stored.size <= size
    return origin.stream_id == stream_id or of_this_file
