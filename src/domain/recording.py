"""The nouns: what a recording, a stream, a part and a checkpoint are.

Everything here is frozen. Sizes and offsets are bytes, times are aware UTC datetimes, checksums are the
unsigned 64-bit CRC64NVME (the one that S3 can combine over a whole object).

A path is the recording's path relative to the watched folder, as ``os.fsdecode`` gives it: bytes that are
not UTF-8 are lone surrogates in it, so it is to be encoded with ``os.fsencode`` and never with ``encode()``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """Where a stream stands on its way into S3."""

    ACTIVE = "active"
    PENDING_COMPLETION = "pending_completion"
    S3_COMPLETED = "s3_completed"
    COMPLETED = "completed"
    FAILED = "failed"


#: The failure of a stream whose file is gone; it goes on when the file is seen again.
SOURCE_MISSING = "source_missing"


class FailedFor(StrEnum):
    """What a failed stream waits for."""

    SOURCE_MISSING = SOURCE_MISSING  # its file; S3 holds an open upload of it
    DISPOSED = "disposed"  # nothing: the file is gone, and no upload of it is left open
    OTHER = "other"  # somebody who changes what its failure names


class WhenMissing(StrEnum):
    """What becomes of the parts in S3 when their file is gone for good."""

    KEEP = "keep"
    ABORT = "abort"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file this is, whatever it is called: inode and birth time (0 where the platform has none)."""

    inode: int
    birth_ns: int

    @property
    def born_at(self) -> datetime | None:
        """When the file came to be; None where nobody knows."""
        if not self.birth_ns:
            return None
        try:
            return _EPOCH + timedelta(microseconds=self.birth_ns // 1000)
        except OverflowError:
            return None  # a record that somebody has made up


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one stat said of a file. Two equal snapshots: nothing that a stat can show has changed."""

    identity: Identity
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """A byte range of the file that becomes the part ``number`` (from 1)."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Digest:
    """Checksums of one chunk's bytes. ``md5`` (hex) only where the store knows no CRC64NVME."""

    size: int
    crc64: int
    md5: str | None = None


class SendReason(StrEnum):
    """Why a part was sent: for the first time, or again because the recorder changed its bytes."""

    NEW = "new"
    HEAD_PATCH = "head_patch"
    FASTSTART = "faststart"
    REWRITE = "rewrite"
    TAIL_GREW = "tail_grew"
    LOST = "lost"
    COPIED = "copied"


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk that S3 holds.

    ``crc64`` and ``md5`` are those of the bytes that went into the socket, not of another read; both are None
    for a part that was found in S3 and whose store did not tell. ``sent_again`` names each repetition.
    """

    number: int
    size: int
    etag: str
    crc64: int | None
    uploaded_at: datetime
    md5: str | None = None
    sent_again: tuple[SendReason, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredPart:
    """What the store lists of a part. ``crc64`` is None where the store keeps none."""

    number: int
    size: int
    etag: str
    crc64: int | None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What the store says of an object. ``crc64`` is the whole object's, None where the store keeps none.

    ``metadata`` has the names without ``x-amz-meta-``, in lower case.
    """

    size: int
    etag: str
    crc64: int | None
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ListedObject:
    """What a listing of the bucket says of an object."""

    key: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """A multipart upload that the store lists as not completed."""

    key: str
    upload_id: str
    initiated_at: datetime | None


@dataclass(frozen=True, slots=True)
class PartSchedule:
    """How large each part is, pinned in the record when a stream begins, so that offsets follow from numbers alone.

    ``growing``: the first ``step`` parts have ``chunk_size``, each further ``step`` twice the size before it, at most
    5 GiB. Otherwise all parts but the last are equal (Cloudflare R2 accepts nothing else). None is the usual step of
    1,000; a store that takes fewer parts than 10,000 needs a shorter one, or its last part would come before the first
    doubling.
    """

    chunk_size: int
    growing: bool = True
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a completion will make: written to Redis before the request is sent.

    ``replaces`` is the ETag that the object at the key must have (If-Match); None: the key must be free.
    ``snapshot`` is the file's stat before the last pass over it.
    """

    size: int
    crc64: int
    part_count: int
    snapshot: Snapshot
    replaces: str | None = None
    etag_md5: str | None = None  # "md5-of-md5s-N" where the store tells no CRC


@dataclass(frozen=True, slots=True)
class Superseded:
    """An upload of ours that nothing needs any more once the stream's new object is proved.

    ``since``: when its stream began, which may have left uploads that it never knew of. ``upload_id`` is None for
    a stream that ended before it had one.
    """

    key: str
    upload_id: str | None
    stream_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What Redis knows of a stream: a hint and a log of intent; provable again from the file and S3.

    Written whole each time. What is here is here because it cannot be asked for later: who began the upload, how its
    parts were cut, and what was about to be done when the process ended.
    """

    # -- which stream, which file, which key ------------------------------------------------------------------

    #: Random, 128 bits. The object's metadata have it from the beginning of the upload, so that after a lost answer our
    #: own object can be told from a stranger's.
    stream_id: str
    #: Where it stands; which Redis set names it, and what may be done with it, follow from this alone.
    status: Status
    #: The file's last known name, for reading, logs and the document. It may change at any time; the key does not.
    path: str
    #: A record is worth nothing for another bucket than the one in which its upload is.
    bucket: str
    #: Fixed at first sight and written before anything is created, so that a rename or a changed prefix leads no
    #: further process to a second key.
    key: str
    #: Which file this is, whatever its name. A path that has another identity now is another recording.
    identity: Identity
    #: How the file is cut. Pinned: today's chunk size must not move the offsets of parts that are in S3 already.
    schedule: PartSchedule
    #: When the stream began. Of two streams of one file the later one counts; uploads at the key that began after this
    #: may be ours, from a creation whose answer was lost.
    started_at: datetime

    # -- its upload -------------------------------------------------------------------------------------------

    #: None until the store has begun one: written right after, since nothing else finds an upload again.
    upload_id: str | None = None
    #: The ETag of our own object that this upload brings up to date, which is the completion's condition (If-Match).
    #: None: the key must be free.
    replaces: str | None = None
    #: How often an object of this recording was replaced. Each time doubles the quiet time, so that a recorder that
    #: pauses again and again does not have it replaced as often.
    replacements: int = 0
    #: What the completion is to make; from before it is sent until the recording has gone on or is done. With it an
    #: object that is found later can be recognised as the one that was meant.
    manifest: Manifest | None = None
    #: True from before a completion is sent until its answer is understood. Then an upload that is gone proves nothing:
    #: the store may still be assembling.
    unanswered: bool = False

    # -- the object is there ----------------------------------------------------------------------------------

    #: Of the object, since it was proved. None: nothing is proved.
    etag: str | None = None
    #: When it was proved. Fixed here before the document is written, which is the same however often it is written.
    completed_at: datetime | None = None
    #: When it was described; fixed for the same reason.
    processed_at: datetime | None = None
    #: What is known of the film; fixed for the same reason, and since asking again costs a process.
    probe: Probe | None = None
    #: As in the marker: somebody may have written during the last pass, and the file is to be read once more.
    still_open: bool = False
    #: The upload was begun without checksums. Not every store tells that of an upload, and a part that is sent with one
    #: is refused.
    without_checksums: bool = False

    # -- when it cannot go on, and what it leaves behind ------------------------------------------------------

    #: Why it failed, for the operator; ``SOURCE_MISSING`` also for ourselves: such a stream goes on when its file is
    #: seen again. A stream that is pending completion with it makes an object of what was sent of the file.
    failure: str | None = None
    #: Uploads that were left for another one. They are thrown away when the new object is proved, not before: until
    #: then they may hold the only copy of the recording.
    superseded: tuple[Superseded, ...] = ()
    #: Which recording of its name a new one is, by the number in its key (1: none). Redis remembers the highest one, so
    #: that the next recording need not try all keys. None where nobody knows any more.
    number: int | None = None
    #: What S3 holds, with the checksums of the bytes that were sent: what the seal compares with the file.
    parts: Mapping[int, Part] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Marker:
    """What stays of a completed stream: enough to know after a restart that this file is done, under any name.

    ``still_open``: somebody may have written while the last pass read the file, through a mapping perhaps, which no
    stat need show. It is read once more when nobody has it open any longer.
    """

    stream_id: str
    path: str
    bucket: str
    key: str
    snapshot: Snapshot
    crc64: int
    etag: str
    schedule: PartSchedule
    started_at: datetime
    completed_at: datetime
    replacements: int = 0
    still_open: bool = False


@dataclass(frozen=True, slots=True)
class MediaStream:
    """One elementary stream of a film. What is unknown, or told differently by two witnesses, is None.

    ``frame_rate`` is the average. ``rotation_degrees`` (clockwise), ``sample_aspect_ratio`` ("width:height" of a pixel)
    and the colour words say how a picture is shown; ``display_width`` and ``display_height`` follow from the first two.

    A new field stands here with a default, in ``metadata_generator.media._stream``, in what ``Ffprobe`` asks for, and
    in ``docs/metadata.schema.json``.
    """

    kind: str
    codec: str | None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    attached_picture: bool = False
    rotation_degrees: int | None = None
    sample_aspect_ratio: str | None = None
    display_width: int | None = None
    display_height: int | None = None
    color_transfer: str | None = None
    color_primaries: str | None = None
    color_space: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of the film in a finished file. ``error``: why there is no duration; ``remarks``: what is odd.

    A new field stands here with a default, in ``metadata_generator.media``, in what ``Ffprobe`` asks for, in
    ``metadata_generator.document`` and in ``docs/metadata.schema.json``. Its type, as that of a field of
    ``MediaStream``, is one of ``redis_client.format.KINDS``: else no record keeps what was found.
    """

    duration_seconds: float | None = None
    streams: tuple[MediaStream, ...] = ()
    error: str | None = None
    remarks: tuple[str, ...] = ()


class Writers(StrEnum):
    """Whether somebody still has the file open for writing, as far as the operating system can prove it."""

    NONE = "none"
    PRESENT = "present"
    UNKNOWN = "unknown"


class Answer(StrEnum):
    """What the store said to a completion."""

    DONE = "done"
    NONE = "none"  # silence, a cut connection, 5xx, 403: it may have happened, or may happen yet
    PRECONDITION_FAILED = "precondition_failed"
    CONFLICT = "conflict"
    UPLOAD_GONE = "upload_gone"
    INVALID_PART = "invalid_part"
    WRONG_CONTENT = "wrong_content"
