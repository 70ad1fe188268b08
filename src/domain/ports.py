"""What conduct needs from the world, and what each method guarantees, also when it is called twice.

Files and store are asked once: whatever passes is raised as ``Transient``, within the deadline that every request has.
``PatientlyAsked`` is the store that repeats; ``Checkpoints`` waits out transient trouble by itself unless a method says
otherwise. Every method may be cancelled at any await; then it is unknown whether the effect happened, which is why
every effect may be repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from .moments import Telemetry
from .part_plan import S3_LIMITS, Limits
from .recording import (
    Answer,
    Checkpoint,
    Chunk,
    Digest,
    Identity,
    ListedObject,
    Manifest,
    Marker,
    OpenUpload,
    Part,
    PartSchedule,
    Probe,
    Snapshot,
    StoredObject,
    StoredPart,
    WhenMissing,
    Writers,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hashes:
    """Which digests beside CRC64NVME a store needs: MD5 where it keeps no CRC, SHA-256 where payloads are signed."""

    md5: bool = False
    sha256: bool = False


class Need(StrEnum):
    """A request for which it matters what the store can do."""

    CREATE = "create"
    COPY = "copy"
    DOCUMENT = "document"


class ChunkBody(Protocol):
    """The bytes of one chunk as they were at one reading, ready to be sent any number of times."""

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> Digest:
        """Checksums of exactly the bytes that ``pieces`` gives."""

    @property
    def sha256(self) -> str | None:
        """Hex digest, when it was asked for."""

    def pieces(self) -> AsyncIterator[memoryview]:
        """The bytes from the beginning, in pieces; the same bytes at every call.

        A body too large for memory reads the file again. If it finds other bytes then, it raises ``FileChanged``
        before the last piece, so that no request with wrong bytes is ever whole.
        """

    def release(self, *, reusable: bool) -> None:
        """Give the memory back. ``reusable`` only when no connection can still refer to it."""


class Recordings(Protocol):
    """Files that may still grow. Never blocks the event loop."""

    async def snapshot(self, path: str) -> Snapshot | None:
        """What a stat says now; None when there is no regular file inside the tree at this path.

        Raises ``ChunkProcessingError`` when nobody can say: the folder is away or may not be read.
        """

    async def read(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> ChunkBody:
        """Read exactly the chunk, once. Raises ``FileChanged`` when it is another file or ends before the chunk does,
        ``ChunkProcessingError`` when it cannot be read now (EIO, permission)."""

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        """Checksums of the chunk as it is on disk now, in bounded memory. Raises as ``read`` does."""

    async def writers(self, path: str) -> Writers:
        """Whether anybody has the file open for writing, as far as the operating system can prove it."""

    async def is_whole(self, path: str, identity: Identity, size: int) -> bool:
        """Whether the MP4's top-level boxes, an index among them, end exactly at ``size``. Raises as ``read`` does."""

    async def has_index_first(self, path: str, identity: Identity, size: int) -> bool:
        """Whether the MP4's index stands before its media. Raises as ``read`` does."""


class ObjectStore(Protocol):
    """Multipart uploads and objects in one bucket. ETags are given and taken without quotes.

    Each call is one attempt, which ends: with ``S3Unavailable`` where another may succeed.
    """

    async def ping(self) -> None:
        """Raise ``S3Unavailable`` unless the store answers now; ``misconfigured``: it answers, but refuses."""

    @property
    def bucket(self) -> str: ...

    @property
    def is_atomic(self) -> bool:
        """Whether what the store tells of parts and objects is true also when it was killed in the middle of a
        request; otherwise, after an answer that nobody heard, only the bytes are."""

    async def hashes(self, upload_id: str | None = None) -> Hashes:
        """Which digests this upload needs, or any of the store's; learnt from the store or set."""

    async def hashes_of_copies(self) -> Hashes:
        """Which digests of a chunk prove a part that was copied."""

    async def learn(self, need: Need) -> None:
        """Wait until it is known what the store can do for such a request, but not for long: at the most a minute
        from the start. Holds nothing."""

    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        """Begin a multipart upload, give its id. Twice: a second upload, the first is an orphan.

        ``of_copies``: most of it will be copied; where copies prove themselves only in an upload without checksums, it
        is one.
        """

    def has_no_checksums(self, upload_id: str) -> bool:
        """Whether the upload was begun without checksums: none may be sent with its parts and its completion."""

    def begun_without_checksums(self, upload_id: str) -> None:
        """An earlier process has begun the upload so; not every store tells."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        """Store one part and check the store's answer against the digest. Twice: the later one counts.
        Raises ``UploadGone``; ``PartNotTaken`` where another upload may take it; ``FileChanged`` when a body too large
        for memory found other bytes on disk."""

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        """Make a part out of a range of an object, inside the store. None where the store cannot, or the source
        is no longer the one with this ETag. Raises ``UploadGone``."""

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        """Every part, all pages. Raises ``UploadGone``."""

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        """Send the completion once, conditional where the store can, and give its answer; once more where the
        connection ended and nothing has come of it. What is raised was before it was sent."""

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Throw the upload's parts away. An upload that is gone already is no error."""

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        """The open uploads at exactly this key; what a store lists may be incomplete."""

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        """The open uploads at every key that begins so, all pages; what a store lists may be incomplete."""

    async def head(self, key: str) -> StoredObject | None:
        """The object now; None only when the store says that there is none."""

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        """The objects whose key begins with the prefix, of all pages; what a store lists may be a little old.

        A bucket may have millions: only those are kept that are ``wanted``.
        """

    async def object_crc64(self, key: str, etag: str) -> int | None:
        """CRC64NVME of the object's bytes by fetching them all; None when it is no longer the one with this ETag."""

    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        """Store a small JSON document: only where none is (``replaces`` None) or in place of the one with this ETag.
        False when the condition does not hold. Twice with the same bytes: the same document."""

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
        """A small document with its ETag, or None."""


class PatientlyAsked(ObjectStore, Protocol):
    """The store whose small requests are repeated until they work, each attempt in a turn of its own.

    ``upload_part`` is one attempt here, too: its turn and its memory are the caller's.
    """

    async def until_it_works(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat the call while it raises ``S3Unavailable``. It must take its turn by itself and give it back, and hold
        nothing else, when it fails. It is not begun while the store as a whole does not answer."""

    async def where_told(self, operation: str, ask: Callable[[ObjectStore], Awaitable[T]]) -> T | None:
        """One small request about what may be anybody's. None when the store answers, but does not tell this."""


class Checkpoints(Protocol):
    """What must survive a crash of the daemon. Records are whole: each write says everything again.

    ``main`` needs more of a store of checkpoints than this: what ``RedisCheckpoints`` has beside the port, and notes
    for the probe. Its trouble is ``RedisUnavailable`` or another ``RedisOperationError``, and its operations are told
    as those of Redis, by ``metrics.trouble`` and ``metrics.instruments.SERVICES``.
    """

    async def load(self) -> list[Checkpoint]:
        """Every stream that is active, pending completion or failed. Records that cannot be read are set aside and
        reported, never raised."""

    async def save(self, checkpoint: Checkpoint) -> None:
        """Write the whole record with its parts and its place in ``streams:*``, at once. Twice: the same."""

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        """Add parts to the record, in one attempt: raises ``RedisUnavailable`` at once, because a fact may be lost
        (the store lists it) and sending need not wait for Redis."""

    async def finish(self, checkpoint: Checkpoint, marker: Marker) -> None:
        """Remove the stream's keys, leave the marker and a member of ``streams:completed``, and remember the number in
        its key. Twice: the same."""

    async def forget(self, stream_id: str) -> None:
        """Remove a failed stream's keys: another recording took its place. Twice: the same."""

    async def marker(self, identity: Identity) -> Marker | None:
        """What is left of a completed stream of this file, under whatever name it was."""

    async def remembered(self, identity: Identity, name: str) -> tuple[Marker | None, int | None]:
        """The same, and the highest number that a recording of this name (its natural key) got in this bucket, at once.
        The number is a hint: it may be forgotten at any time, or be an old one."""

    async def put_marker(self, marker: Marker) -> None:
        """Leave a marker without a stream (the object was proved after Redis had been emptied)."""


class Prober(Protocol):
    """Asks about the media inside a finished file."""

    async def probe(self, path: str, identity: Identity) -> Probe:
        """Of this very file. Never raises for another in its place, a bad file, a missing ffprobe or a time-out: the
        probe's ``error`` says it. May be cancelled."""


class Turn(Protocol):
    """A stream's turn at the store."""

    def over(self) -> bool:
        """Whether others have waited long enough that this stream should let them in at the next boundary."""

    @property
    def at_once(self) -> int:
        """Parts that may be on their way now; one while the turn is shared, or the store took none of the recording's
        yet, and none when the turn was given back."""

    def part(self) -> AbstractContextManager[None]:
        """For as long as a part is in memory."""

    def silence(self) -> float:
        """Seconds since an answer came, or a byte moved."""

    def has_read(self) -> None:
        """A part is in memory, and the store is asked from now on."""

    def stored(self) -> None:
        """A part was stored."""

    def giving_way(self, size: int) -> AbstractAsyncContextManager[None]:
        """Raises ``TimeoutError`` out of the sending of parts of up to ``size`` bytes, when others wait and none was
        stored for far longer than theirs take."""


class Slots(Protocol):
    """Turns at the store: at most so many streams do S3 work at once, the longest waiting first."""

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """For one small request: before all that wait to send parts. Raises ``TimeoutError`` out of one that is silent
        while too many others wait."""

    def sending(self, at_once: int = 1) -> AbstractAsyncContextManager[Turn]:
        """For parts, as many as the turn lasts; ``at_once`` of them fit into its memory."""

    def part_stored(self, size: int, seconds: float) -> None:
        """The store took a part of the current errand's recording."""

    def part_failed(self) -> None:
        """The store did not take it."""

    def ask_answered(self, *, answered: bool) -> None:
        """The store answered a small request for the current errand's recording, or did not."""

    def end_all_probations(self) -> None:
        """What failed was the store's own trouble, which is over."""


class Clock(Protocol):
    """Time. Intervals only ever come from ``monotonic``; ``utc_now`` is for documents and logs."""

    def monotonic(self) -> float: ...
    def utc_now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a stream is paced. Times are seconds, sizes bytes.

    ``timeout``, ``finish_early`` and ``min_age`` say when a file is quiet; ``stream_processor.sight`` asks for them.
    ``missing_grace`` is how long a file may be gone from its path before it counts as missing: a rename shows as
    gone first. ``memory`` is what the parts in flight of one stream may hold together. ``finish_early`` is the quiet
    time of a recording whose end is proved; None: always ``timeout``.
    """

    timeout: float = 30.0
    finish_early: float | None = 2.0
    min_age: float = 0.0
    missing_grace: float = 15.0
    first_pause: float = 1.0
    longest_pause: float = 60.0
    parts_in_flight: int = 2
    memory: int = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Naming:
    """Where objects go, and what happens when a name is used again. ``schedule`` is that of new streams."""

    schedule: PartSchedule
    key_prefix: str = ""
    replace_reused_names: bool = False
    limits: Limits = S3_LIMITS


@dataclass(frozen=True, slots=True)
class World:
    """Everything that conduct needs from outside, built in one place."""

    root: str
    recordings: Recordings
    store: PatientlyAsked
    checkpoints: Checkpoints
    prober: Prober
    slots: Slots
    telemetry: Telemetry
    clock: Clock
    rhythm: Rhythm
    naming: Naming
    when_missing: WhenMissing = WhenMissing.KEEP
    orphan_retention: timedelta | None = timedelta(days=7)  # None: orphan uploads stay
