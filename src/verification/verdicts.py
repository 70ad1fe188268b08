"""What a comparison of a recording's object with its description means. Pure.

Bytes come before names: an object with the described size and checksum is the recording, whoever wrote it. Nothing
counts as proved that was not compared: a store without checksums gives ``NO_CHECKSUM``, never ``PROVED``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..domain import Identity, InspectedObject, ListedEntry, origin_of


class Level(StrEnum):
    """How much is compared, in order of cost."""

    LISTING = "listing"  # existence, size and ETag, from the listing of the bucket
    CHECKSUM = "checksum"  # the checksum that the store keeps, one HEAD for each object
    FILE = "file"  # also the bytes of the local file
    DOWNLOAD = "download"  # the bytes of the object


class Verdict(StrEnum):
    """The result for one recording."""

    PROVED = "ok"
    MISSING = "missing"
    SHORTER = "shorter"
    LONGER = "longer"
    DIFFERS = "differs"
    STRANGER = "stranger"
    CHANGED = "changed"
    NO_DOCUMENT = "no document"
    UNCLEAR = "unclear"
    NO_CHECKSUM = "no checksum"
    UNREADABLE = "unreadable"
    NOT_CHECKED = "not checked"

    @property
    def is_fault(self) -> bool:
        """Something is wrong; it is not that something could not be compared."""
        return self in _FAULTS


_FAULTS = frozenset(
    {
        *(Verdict.MISSING, Verdict.SHORTER, Verdict.LONGER, Verdict.DIFFERS, Verdict.STRANGER, Verdict.CHANGED),
        Verdict.NO_DOCUMENT,
    }
)

REMEDIES: Mapping[Verdict, str] = {
    Verdict.MISSING: "if the file still exists, touch FILE uploads it again; else restore the object from a backup",
    Verdict.SHORTER: "keep the local file; restore the object from a backup or an earlier version",
    Verdict.LONGER: "keep the local file; restore the object from a backup or an earlier version",
    Verdict.DIFFERS: "keep the local file; restore the object from a backup or an earlier version",
    Verdict.STRANGER: "keep the local file; find out which program writes to this key, and give it another prefix",
    Verdict.CHANGED: "keep the file; a running daemon uploads the change",
    Verdict.NO_DOCUMENT: "keep the local file; a copy of the bucket would not tell what this object is",
    Verdict.UNCLEAR: "compare with --level checksum",
    Verdict.NO_CHECKSUM: "compare with --level download",
    Verdict.UNREADABLE: "restore the object from the archive first",
    Verdict.NOT_CHECKED: "repeat the command",
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the object at a key must be, and the file that it was made from. ``source``: "document" or "redis"."""

    key: str
    stream_id: str
    size: int
    crc64: int
    etag: str
    identity: Identity
    source: str = "document"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one key, and on one local file if ``path`` is given. ``remedy``: what to do; empty: nothing."""

    verdict: Verdict
    key: str
    text: str = ""
    path: str | None = None
    remedy: str = ""

    @classmethod
    def of(cls, verdict: Verdict, key: str, text: str = "", path: str | None = None, remedy: str = "") -> Finding:
        """With the usual remedy, unless another one is given."""
        return cls(verdict, key, text, path, remedy or REMEDIES.get(verdict, ""))


def by_listing(expected: Expected, listed: ListedEntry | None) -> Finding:
    """The verdict at level ``listing``."""
    if listed is None:
        return missing(expected)
    if listed.size != expected.size:
        return _other_size(expected, listed.size)
    if listed.etag != expected.etag:
        text = f"its ETag is {listed.etag or 'empty'}, not {expected.etag}: it was written again"
        return Finding.of(Verdict.UNCLEAR, expected.key, text)
    return Finding(Verdict.PROVED, expected.key)


def by_checksum(expected: Expected, found: InspectedObject | None) -> Finding:
    """The verdict at level ``checksum``: the store's own checksum of the whole object must be the described one."""
    known = by_what_is_told(expected, found)
    if known is not None:
        return known
    assert found is not None, "a missing object has a verdict"
    if found.stored.etag != expected.etag:
        text = f"the store has no CRC64NVME of it, and its ETag is {found.stored.etag}, not {expected.etag}"
        return Finding.of(Verdict.DIFFERS, expected.key, f"{text}: it was written again", remedy=_BY_BYTES)
    text = "not possible here: the store has no CRC64NVME of it; size and ETag are those of the upload"
    return Finding.of(Verdict.NO_CHECKSUM, expected.key, text)


_BY_BYTES = "compare the bytes with --level download"


def by_what_is_told(expected: Expected, found: InspectedObject | None) -> Finding | None:
    """The verdict as far as a HEAD determines it; None if only the bytes can."""
    if found is None:
        return missing(expected)
    stored = found.stored
    if stored.size == expected.size and stored.crc64 == expected.crc64:
        return Finding(Verdict.PROVED, expected.key)
    if (stored.size != expected.size or stored.crc64 is not None) and (other := _owner(expected, found)):
        return Finding.of(Verdict.STRANGER, expected.key, other)
    if stored.size != expected.size:
        return _other_size(expected, stored.size)
    if stored.crc64 is not None:
        return Finding.of(Verdict.DIFFERS, expected.key, "its CRC64NVME is not that of the recording")
    return None


def by_bytes(expected: Expected, found: InspectedObject, crc64: int) -> Finding:
    """The verdict on bytes that were downloaded."""
    if crc64 == expected.crc64 and found.stored.size == expected.size:
        return Finding(Verdict.PROVED, expected.key)
    if other := _owner(expected, found):
        return Finding.of(Verdict.STRANGER, expected.key, other)
    if found.stored.size != expected.size:
        return _other_size(expected, found.stored.size)
    text = "its bytes are not those of the recording"
    if found.stored.crc64 == expected.crc64:
        text += ", although the store reports the recording's checksum"
    return Finding.of(Verdict.DIFFERS, expected.key, text)


def archived(key: str, storage_class: str) -> Finding:
    """An object whose bytes cannot be read now."""
    return Finding.of(Verdict.UNREADABLE, key, f"it is in class {storage_class}, which cannot be read")


def missing(expected: Expected) -> Finding:
    """The verdict on a key without an object."""
    said = "its document describes" if expected.source == "document" else "Redis remembers"
    return Finding.of(Verdict.MISSING, expected.key, f"there is no object; {said} {amount(expected.size)}")


def changed(expected: Expected, path: str, size: int) -> Finding:
    """The verdict on the file from which the object was made, if its bytes are others now."""
    text = f"the file has {amount(size)}, which are not those of the object ({amount(expected.size)})"
    return Finding.of(Verdict.CHANGED, expected.key, text, path)


def _owner(expected: Expected, found: InspectedObject) -> str | None:
    """Whose object it is instead; None: it is that of the recording."""
    origin = origin_of(found.stored.metadata)
    if origin is None:
        return f"another program's object of {amount(found.stored.size)}; the recording's is gone"
    if origin.stream_id != expected.stream_id:
        return f"another recording's object ({origin.path}, stream {origin.stream_id})"
    return None


def _other_size(expected: Expected, size: int) -> Finding:
    verdict = Verdict.SHORTER if size < expected.size else Verdict.LONGER
    return Finding.of(verdict, expected.key, f"it has {size:,} bytes, the recording {expected.size:,}")


def amount(size: int) -> str:
    """A size in bytes for readers: "2.1 GiB"."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{size:,} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
