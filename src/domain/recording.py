"""The data types: recording, stream, part and checkpoint.

Everything here is frozen. Sizes and offsets are in bytes, times are aware UTC datetimes, checksums are unsigned 64-bit
CRC64NVME values (which S3 can combine over a whole object).

A path is relative to the watched folder, as returned by ``os.fsdecode``: bytes that are not UTF-8 are lone surrogates
in it, so encode it with ``os.fsencode``, never with ``encode()``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """The status of a stream on its way to S3; ``lifecycle.STATUSES`` defines the properties of each."""

    ACTIVE = "active"
    PENDING_COMPLETION = "pending_completion"
    S3_COMPLETED = "s3_completed"
    COMPLETED = "completed"
    FAILED = "failed"


#: The failure of a stream whose file is missing; it resumes when the file is seen again.
SOURCE_MISSING = "source_missing"


class FailedFor(StrEnum):
    """What a failed stream waits for."""

    SOURCE_MISSING = SOURCE_MISSING  # its file; S3 has an open upload
    DISPOSED = "disposed"  # nothing: the file is missing, and no upload is open
    OTHER = "other"  # a change by the operator, as its failure describes


class WhenMissing(StrEnum):
    """What happens to the parts in S3 if their file is permanently missing."""

    KEEP = "keep"
    ABORT = "abort"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a file independently of its name: inode and birth time (0 if the platform has none)."""

    inode: int
    birth_ns: int

    @property
    def born_at(self) -> datetime | None:
        """When the file was created; None if unknown."""
        if not self.birth_ns:
            return None
        try:
            return _EPOCH + timedelta(microseconds=self.birth_ns // 1000)
        except OverflowError:
            return None  # the checkpoint has an invalid value


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The result of one stat. Two equal snapshots: no change that a stat can show."""

    identity: Identity
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Observation:
    """When this process first saw the file with this snapshot, in seconds on the monotonic clock."""

    snapshot: Snapshot
    at: float


@dataclass(frozen=True, slots=True)
class Chunk:
    """A byte range of the file that becomes part ``number`` (from 1)."""

    number: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Digest:
    """Checksums of one chunk. ``md5`` (hex) only if the store has no CRC64NVME."""

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
    """A chunk that S3 has stored.

    ``crc64`` and ``md5`` are those of the bytes that were sent, not of another read; both are None for a part that was
    found in S3 without a checksum. ``sent_again`` has the reason for each re-upload.
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
    """A part in the store's listing. ``crc64`` is None if the store keeps none."""

    number: int
    size: int
    etag: str
    crc64: int | None
    modified_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object's properties in the store. ``crc64`` is that of the whole object, None if the store keeps none.

    ``metadata`` has the names without ``x-amz-meta-``, in lower case.
    """

    size: int
    etag: str
    crc64: int | None
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object in a listing of the bucket."""

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
    """The part sizes, pinned in the checkpoint when a stream begins, so that offsets follow from part numbers alone.

    ``growing``: the first ``step`` parts have ``chunk_size``, each further ``step`` parts twice the size before, at
    most 5 GiB. Otherwise all parts but the last are equal (Cloudflare R2 accepts nothing else). ``step`` None means
    1,000; a store that accepts fewer than 10,000 parts needs a smaller step, or its last part would come before the
    first doubling.
    """

    chunk_size: int
    growing: bool = True
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The expected result of a completion: written to Redis before the request is sent.

    ``replaces`` is the ETag that the object at the key must have (If-Match); None: the key must be free. ``snapshot``
    is the file's stat before the last pass over it.
    """

    size: int
    crc64: int
    part_count: int
    snapshot: Snapshot
    replaces: str | None = None
    etag_md5: str | None = None  # "md5-of-md5s-N" if the store reports no CRC


@dataclass(frozen=True, slots=True)
class Superseded:
    """An upload of ours that is no longer needed once the stream's new object is proved.

    ``since``: when its stream began; that stream may have left uploads that it never knew of. ``upload_id`` is None for
    a stream that ended before it had one.
    """

    key: str
    upload_id: str | None
    stream_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a stream in Redis: a hint and a log of intent that can be verified against the file and S3.

    Always written whole. It contains only what cannot be determined later: who began the upload, how its parts were
    cut, and what was about to happen when the process ended.
    """

    # -- stream, file and key ---------------------------------------------------------------------------------

    #: Random, 128 bits. It is in the object's metadata from the beginning of the upload, so that after a lost answer
    #: our own object is distinguishable from another program's.
    stream_id: str
    #: Determines the Redis set that the stream is in, and what may be done with it.
    status: Status
    #: The file's last known name, for people, logs and the metadata document. It may change at any time; the key does
    #: not.
    path: str
    #: A checkpoint is useless for any bucket other than that of its upload.
    bucket: str
    #: Fixed when the file is discovered and written before anything is created, so that a rename or a changed prefix
    #: never leads another process to a second key.
    key: str
    #: Identifies the file, whatever its name. A path with another identity is another recording.
    identity: Identity
    #: How the file is cut. Pinned: the current chunk size must not move the offsets of parts that are in S3 already.
    schedule: PartSchedule
    #: When the stream began. Of two streams of one file the later one counts. Uploads at the key that began after this
    #: may be ours, from a creation whose answer was lost.
    started_at: datetime

    # -- the upload -------------------------------------------------------------------------------------------

    #: None until the store has created one. Written immediately after, since nothing else identifies an upload.
    upload_id: str | None = None
    #: The ETag of our own object that this upload replaces: the condition of the completion (If-Match). None: the key
    #: must be free.
    replaces: str | None = None
    #: How often an object of this recording was replaced. Each time doubles the timeout, so that a recorder with many
    #: pauses does not cause as many replacements.
    replacements: int = 0
    #: The expected result of the completion; set from before it is sent until the recording continues or is done. It
    #: identifies an object that is found later as the intended one.
    manifest: Manifest | None = None
    #: True from before a completion is sent until its answer is understood. Meanwhile a missing upload proves nothing:
    #: the store may still be assembling the object.
    unanswered: bool = False

    # -- the object -------------------------------------------------------------------------------------------

    #: ETag of the object, once it is proved. None: nothing is proved.
    etag: str | None = None
    #: When it was proved. Fixed here before the metadata document is written, so that repeated writes are identical.
    completed_at: datetime | None = None
    #: When it was described; fixed for the same reason.
    processed_at: datetime | None = None
    #: Properties of the media; fixed for the same reason, and because asking again costs a process.
    probe: Probe | None = None
    #: As in the marker: a process may have written during the last pass, so the file is to be read once more.
    still_open: bool = False
    #: The upload was begun without checksums. Not every store reports this, and a part sent with a checksum is refused.
    without_checksums: bool = False

    # -- failure and leftovers --------------------------------------------------------------------------------

    #: Why it failed, for the operator. ``SOURCE_MISSING`` is also used by the daemon: such a stream resumes when its
    #: file is seen again. If a stream with it is pending completion, the parts sent so far become an object.
    failure: str | None = None
    #: Uploads that were replaced by another one. They are aborted when the new object is proved, not before: until then
    #: they may hold the only copy of the recording.
    superseded: tuple[Superseded, ...] = ()
    #: The number of this recording among those of the same name (1: the key has no number). Redis remembers the
    #: highest, so that the next recording need not try all keys. None if unknown.
    number: int | None = None
    #: The parts in S3, with the checksums of the bytes that were sent; the seal compares them with the file.
    parts: Mapping[int, Part] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Marker:
    """What remains of a completed stream: enough to know after a restart that this file is done, under any name.

    ``still_open``: a process may have written while the last pass read the file, perhaps through a mapping, which a
    stat need not show. The file is read once more when no process has it open any longer. ``unseen``:
    on how many days of running time the file was not found; reset to 0 as soon as it is found again.
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
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Remembered:
    """What pruning needs of a marker. ``state``: its value as it was read, so that only that very one is changed."""

    identity: Identity
    path: str
    stream_id: str
    completed_at: datetime
    unseen: int
    state: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class MarkerPage:
    """Some of the markers for one bucket. ``skipped``: the streams of those that are unreadable, or of another bucket;
    None for one that does not name its stream."""

    markers: list[Remembered]
    skipped: set[str | None]

    @property
    def stream_ids(self) -> Iterator[str | None]:
        """The streams of all of them."""
        yield from (marker.stream_id for marker in self.markers)
        yield from self.skipped


@dataclass(frozen=True, slots=True)
class MediaStream:
    """One elementary stream of the media. Values that are unknown, or that two sources contradict, are None.

    ``frame_rate`` is the average. ``rotation_degrees`` (clockwise), ``sample_aspect_ratio`` ("width:height" of a pixel)
    and the colour fields describe how a picture is displayed; ``display_width`` and ``display_height`` follow from the
    first two.

    To add a field, define it here with a default, and extend ``metadata_generator.media._stream``, the entries that
    ``metadata_generator.ffprobe._QUESTION`` requests, and ``docs/metadata.schema.json``. Its type must be one of
    ``redis_client.format.KINDS``; otherwise checkpoints do not keep it. The document contains it without further code.
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
    """Properties of the media in a finished file. ``error``: why there is no duration; ``remarks``: anomalies.

    To add a field, define it here with a default, and extend ``metadata_generator.media``,
    ``metadata_generator.ffprobe._QUESTION``, ``metadata_generator.document`` and ``docs/metadata.schema.json``. Its
    type must be one of ``redis_client.format.KINDS``, too.
    """

    duration_seconds: float | None = None
    streams: tuple[MediaStream, ...] = ()
    error: str | None = None
    remarks: tuple[str, ...] = ()


class Writers(StrEnum):
    """Whether a process still has the file open for writing, as far as the operating system can prove it."""

    NONE = "none"
    PRESENT = "present"
    UNKNOWN = "unknown"


class Answer(StrEnum):
    """The store's answer to a completion."""

    DONE = "done"
    NONE = "none"  # no response, a broken connection, 5xx, 403: it may have happened, or may still happen
    PRECONDITION_FAILED = "precondition_failed"
    CONFLICT = "conflict"
    UPLOAD_GONE = "upload_gone"
    INVALID_PART = "invalid_part"
    WRONG_CONTENT = "wrong_content"
