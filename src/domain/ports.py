"""The interfaces to the outside world, and the guarantees of each method, also when it is called twice.

Files and store make one attempt: a temporary failure is raised as ``Transient``, within the deadline of the request.
``PatientlyAsked`` is the store with retries; ``Checkpoints`` retries by itself unless a method says otherwise. Every
method may be cancelled at any await. It is then unknown whether the effect happened, so every effect must be
repeatable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from .moments import DaemonMoment, StreamMoment
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
    MarkerPage,
    OpenUpload,
    Part,
    PartSchedule,
    Probe,
    Remembered,
    Snapshot,
    StoredObject,
    StoredPart,
    WhenMissing,
    Writers,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hashes:
    """Digests that a store needs besides CRC64NVME: MD5 if it keeps no CRC, SHA-256 if payloads are signed."""

    md5: bool = False
    sha256: bool = False


class Need(StrEnum):
    """A kind of request that depends on the features of the store."""

    CREATE = "create"
    COPY = "copy"
    DOCUMENT = "document"


class ChunkBody(Protocol):
    """The bytes of one chunk as they were read once, which can be sent any number of times."""

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> Digest:
        """Checksums of exactly the bytes that ``pieces`` returns."""

    @property
    def sha256(self) -> str | None:
        """Hex digest, if it was requested."""

    def pieces(self) -> AsyncIterator[memoryview]:
        """The bytes from the beginning, in pieces; the same bytes at every call.

        A body that is too large for memory reads the file again. If the bytes differ, it raises ``FileChanged`` before
        the last piece, so that no request with wrong bytes is ever complete.
        """

    def release(self, *, reusable: bool) -> None:
        """Free the memory. ``reusable`` only if no connection can still refer to it."""


class Recordings(Protocol):
    """Files that may still grow. Never blocks the event loop."""

    async def snapshot(self, path: str) -> Snapshot | None:
        """The current stat; None if there is no regular file inside the tree at this path.

        Raises ``ChunkProcessingError`` if this cannot be determined: the folder is missing or not readable.
        """

    async def read(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> ChunkBody:
        """Read exactly the chunk, once. Raises ``FileChanged`` if it is another file or ends before the chunk does,
        ``ChunkProcessingError`` if it cannot be read now (EIO, permission)."""

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        """Checksums of the chunk's current bytes on disk, in bounded memory. Raises like ``read``."""

    async def writers(self, path: str) -> Writers:
        """Whether any process has the file open for writing, as far as the operating system can prove it."""

    async def is_whole(self, path: str, identity: Identity, size: int) -> bool:
        """Whether the structure of a file of ``size`` bytes proves its end. Raises like ``read``."""

    async def has_index_first(self, path: str, identity: Identity, size: int) -> bool:
        """Whether the index precedes the media, as in a file that was rewritten. Raises like ``read``."""


class WholeFiles(Protocol):
    """Objects that are made in one request, without an upload."""

    def refuses_a_second_put(self) -> bool:
        """Whether one request with a whole file is known to leave an existing object as it is, and the store compares
        the bytes with their checksum."""

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        """Send the whole file in one request, on the condition that the key is free. Returns the answer, and the object
        if the answer contains the checksum of all bytes. Nothing fences a request without an answer: it may take effect
        at any later time, if the key is free then. Raises ``S3NotAble`` if the store does not accept it."""


class ObjectStore(WholeFiles, Protocol):
    """Multipart uploads and objects in one bucket. ETags have no quotes.

    Each call is one attempt with a deadline. It raises ``S3Unavailable`` if a retry may succeed.
    """

    async def ping(self) -> None:
        """Raise ``S3Unavailable`` unless the store responds; ``misconfigured``: it responds, but refuses."""

    @property
    def bucket(self) -> str: ...

    @property
    def is_atomic(self) -> bool:
        """Whether the store's information about parts and objects is correct even if the store was killed during a
        request. Otherwise, after a lost answer, only the bytes count."""

    async def hashes(self, upload_id: str | None = None) -> Hashes:
        """The digests that this upload, or any upload, needs; determined by the store's features or by settings."""

    async def hashes_of_copies(self) -> Hashes:
        """The digests that prove a copied part."""

    def completed(self, upload_id: str) -> StoredObject | None:
        """The object as the answer to a completion described it, with the metadata of the upload. None unless this
        process created the upload and the request was sent once and answered with the checksum of all bytes."""

    def may_hold_more(self, key: str) -> bool:
        """Whether the store may hold unknown uploads of this process at the key: an answer was lost, and the open
        uploads at the key were not listed since."""

    async def learn(self, need: Need) -> None:
        """Wait until the store's features for such a request are known, at most a minute after the start. Holds no
        resources."""

    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        """Begin a multipart upload and return its ID. Twice: a second upload; the first becomes an orphan.

        ``of_copies``: most parts will be copied. If the store's copies are verifiable only in an upload without
        checksums, the upload has none.
        """

    def has_no_checksums(self, upload_id: str) -> bool:
        """Whether the upload was begun without checksums: its parts and its completion must not send any."""

    def begun_without_checksums(self, upload_id: str) -> None:
        """Record that an earlier process began the upload without checksums; not every store reports this."""

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        """Store one part and check the store's answer against the digest. Twice: the later one counts. Raises
        ``UploadGone``; ``PartNotTaken`` if another upload may accept it; ``FileChanged`` if a body too large for memory
        found different bytes on disk."""

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        """Copy a range of an object into a part, inside the store. None if the store does not support it, or if the
        source no longer has this ETag. Raises ``UploadGone``."""

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        """All parts, of all pages. Raises ``UploadGone``."""

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        """Send the completion once, conditional if the store supports it, and return its answer; send it once more if
        the connection broke and had no effect. Exceptions are raised only before it is sent."""

    async def abort_upload(self, key: str, upload_id: str) -> None:
        """Abort the upload. An upload that no longer exists is not an error."""

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        """The open uploads at exactly this key; the store's listing may be incomplete."""

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        """The open uploads at every key with this prefix, all pages; the store's listing may be incomplete."""

    async def head(self, key: str) -> StoredObject | None:
        """The object now; None only if the store reports that it does not exist."""

    async def glance(self, key: str) -> StoredObject | None:
        """Like ``head``, but a 404 without a body is not confirmed: the store has just answered for another key with
        one that has a body. Only before conditional writes."""

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        """The objects with this key prefix, of all pages; the store's listing may be slightly outdated.

        A bucket may have millions of objects: only those that are ``wanted`` are kept.
        """

    async def object_crc64(self, key: str, etag: str) -> int | None:
        """CRC64NVME of the object's bytes, by downloading it; None if the object no longer has this ETag."""

    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        """Store a small JSON document: only if there is none (``replaces`` None), or in place of the one with this
        ETag. False if the condition does not hold. Twice with the same bytes: the same document."""

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
        """A small document with its ETag, or None."""


class PatientlyAsked(ObjectStore, Protocol):
    """The store with retries: small requests are repeated until they succeed, each attempt in a turn of its own.

    ``upload_part`` is one attempt here, too: the caller has its turn and its memory.
    """

    async def until_it_works(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat the call while it raises ``S3Unavailable``. The call must acquire its turn itself, release it on
        failure, and hold nothing else. It does not start while the store as a whole is unavailable."""

    async def where_told(self, operation: str, ask: Callable[[ObjectStore], Awaitable[T]]) -> T | None:
        """One small request about objects of any owner. None if the store responds but refuses this information."""


class Checkpoints(Protocol):
    """State that must survive a crash of the daemon. Each write contains the whole checkpoint.

    What else depends on Redis, for another implementation:

    * ``main._serve_until``: the probe's notes (``RedisProbeNotes``), the check "redis", and the tasks "redis-check" and
      "redis-records" use methods of ``RedisCheckpoints`` that are not in this port;
    * ``trying_out.start_what_is_missing`` starts an embedded Redis, unless its URL is set;
    * ``config``: the fields ``redis_*`` and ``redis_url_given``, ``secrets``, ``_ALWAYS_TOLD`` and ``_HEADINGS``;
    * commands read Redis without the daemon: ``cli.daemon`` (``read_unfinished``), ``cli.verify`` and ``cli.doctor``
      (``open_outside``), whose facts are ``checkup.RedisFacts``;
    * failures are ``RedisUnavailable`` or another ``RedisOperationError``, which ``Ledger.part_stored`` handles, and
      which ``metrics.trouble`` and ``metrics.instruments.SERVICES`` report as those of Redis.

    The encoding in ``redis_client.format`` is pure, and may be moved to where both can use it.
    """

    async def load(self) -> list[Checkpoint]:
        """All streams that are active, pending completion or failed. Invalid checkpoints are set aside and reported,
        never raised. This changes Redis: only for the daemon that owns the checkpoints."""

    async def save(self, checkpoint: Checkpoint) -> None:
        """Write the whole checkpoint with its parts and its membership in ``streams:*``, atomically. Twice: the
        same."""

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        """Add parts to the checkpoint, in one attempt. Raises ``RedisUnavailable`` at once: this fact may be lost,
        since the store lists it, and the upload need not wait for Redis."""

    async def finish(self, checkpoint: Checkpoint, marker: Marker) -> None:
        """Remove the stream's keys, write the marker and a member of ``streams:completed``, and remember the number in
        its key. Twice: the same."""

    async def forget(self, stream_id: str) -> None:
        """Remove a failed stream's keys after another recording took its place. Twice: the same."""

    async def marker(self, identity: Identity) -> Marker | None:
        """The marker of a completed stream of this file, under any name."""

    async def remembered(self, identity: Identity, name: str) -> tuple[Marker | None, int | None]:
        """The marker, and the highest number that a recording of this name (its natural key) got in this bucket, in one
        request. The number is a hint: it may be missing or outdated at any time."""

    async def remembered_of(
        self, files: Sequence[tuple[Identity, str]]
    ) -> list[tuple[Marker | None, int | None] | None]:
        """``remembered`` of each file and name, in one request. None in place of one that has to be asked for by
        itself, because its marker is invalid."""

    async def put_marker(self, marker: Marker) -> None:
        """Write a marker without a stream (the object was proved after Redis had lost its data)."""

    async def markers(self, cursor: int) -> tuple[int, MarkerPage]:
        """Some of the markers for this bucket, and where to go on (0: there are no more). What is there from the first
        page to the last is given at least once."""

    async def revise_markers(self, changes: Sequence[tuple[Remembered, int | None]]) -> int:
        """Give each marker another ``unseen``; None: it goes, and its member of ``streams:completed``. One that is no
        longer as it was read stays as it is. How many went or changed; fewer, if an answer was lost."""

    async def completed(self, cursor: int) -> tuple[int, list[str]]:
        """Some of the members of ``streams:completed``, as ``markers`` gives markers."""

    async def leave_completed(self, stream_ids: Sequence[str]) -> None:
        """Take members out of ``streams:completed``. Twice: the same."""

    async def ran(self) -> int | None:
        """Seconds of running time since the last scan that counted for pruning; None: none has counted yet."""

    async def set_ran(self, seconds: int) -> None:
        """Set it."""


class Prober(Protocol):
    """Examines the media in a finished file."""

    async def probe(self, path: str, identity: Identity) -> Probe:
        """Examine exactly this file. A replaced file, a bad file, a missing ffprobe or a timeout never raises; the
        result's ``error`` reports it. May be cancelled. Waits while too many others are examined."""

    @property
    def waiting(self) -> int:
        """The number of files that wait to be examined."""


class Turn(Protocol):
    """A stream's turn at the store."""

    def over(self) -> bool:
        """Whether others have waited long enough for this stream to yield at the next boundary."""

    @property
    def at_once(self) -> int:
        """The number of parts that may be in flight now: one while the turn is shared or before the store has accepted
        a part of the recording; none after the turn was given back."""

    def part(self) -> AbstractContextManager[None]:
        """Active for as long as a part is in memory."""

    def silence(self) -> float:
        """Seconds since the last answer or transferred byte."""

    def has_read(self) -> None:
        """A part is in memory, and the request to the store begins."""

    def stored(self) -> None:
        """A part was stored."""

    def giving_way(self, size: int) -> AbstractAsyncContextManager[None]:
        """Cancel sending parts of up to ``size`` bytes with ``TimeoutError`` if others wait and no part was stored for
        far longer than theirs take."""


class Slots(Protocol):
    """Turns at the store: a limited number of streams do S3 work at the same time, in the order of waiting."""

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """A turn for one small request, ahead of all that wait to send parts. Cancels a silent one with
        ``TimeoutError`` if too many others wait."""

    def sending(self, at_once: int = 1) -> AbstractAsyncContextManager[Turn]:
        """A turn for parts, until it is over; ``at_once`` of them fit into its memory."""

    def part_stored(self, size: int, seconds: float) -> None:
        """The store accepted a part of the current errand's recording."""

    def part_failed(self) -> None:
        """The store did not accept a part."""

    def ask_answered(self, *, answered: bool) -> None:
        """The store answered a small request for the current errand's recording, or did not."""

    def end_all_probations(self) -> None:
        """The failures were caused by an outage of the whole store, which is over."""


class StreamTelemetry(Protocol):
    """Receives the events of one stream."""

    def emit(self, moment: StreamMoment) -> None: ...

    def bind(self) -> AbstractContextManager[None]:
        """Add ``stream_id`` and ``file_path`` to everything logged inside, also by the outer packages. On exit, the
        stream is no longer carried."""


class Telemetry(Protocol):
    """Receives all events."""

    def emit(self, moment: DaemonMoment) -> None: ...

    def stream(self, stream_id: str, path: str) -> StreamTelemetry:
        """The receiver for the events of this stream. ``stream_id`` is empty if there is none yet."""


class Clock(Protocol):
    """Time. Intervals always use ``monotonic``; ``utc_now`` is for documents and logs."""

    def monotonic(self) -> float: ...
    def utc_now(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Timing of a stream. Times are in seconds, sizes in bytes.

    ``timeout``, ``finish_early`` and ``min_age`` define when a file is quiet; ``stream_processor.sight`` uses them.
    ``missing_grace`` is how long a file may be absent from its path before it counts as missing: a rename first looks
    like a deletion. ``memory`` is the total size of a stream's parts in flight. ``finish_early`` is the timeout of a
    recording whose end is proved; None: always ``timeout``.

    All files have the same values. For values by path make ``timeout`` and ``finish_early`` functions of the path,
    built in ``main._rhythm`` with ``watcher.Globs``. ``Sight._quiet_seconds`` and ``Sight.__init__`` read them; the
    latter fixes ``finish_early`` for the life of the processor, also if its file is renamed.
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
    """Where objects are stored, and what happens when a name is reused. ``schedule`` is that of new streams."""

    schedule: PartSchedule
    key_prefix: str = ""
    replace_reused_names: bool = False
    limits: Limits = S3_LIMITS


@dataclass(frozen=True, slots=True)
class World:
    """All interfaces that a stream needs, built in ``main._serve_until``.

    A new outside service is a protocol in this module and a field here.
    """

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
