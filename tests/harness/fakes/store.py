"""A store in memory: the full twin of ``ports.ObjectStore``, as strict as Amazon S3, with switches for other stores."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from awscrt import checksums

from src.domain import (
    S3_LIMITS,
    Answer,
    Chunk,
    ChunkBody,
    Hashes,
    Limits,
    ListedObject,
    Manifest,
    Need,
    OpenUpload,
    StoredObject,
    StoredPart,
)
from src.exceptions import S3Rejected, S3Unavailable, UploadGone
from tests.harness.fakes.fuse import Fuse, LostAnswer, unanswered

_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FakeObject:
    """An object as an auditor sees it, whatever the store would tell of it."""

    data: bytes
    etag: str
    metadata: Mapping[str, str]
    modified_at: datetime
    content_type: str = "binary/octet-stream"
    part_sizes: tuple[int, ...] = ()
    with_checksum: bool = True


@dataclass(slots=True)
class FakeUpload:
    """An open upload. ``parts`` holds each part's bytes beside what the store tells of it."""

    upload_id: str
    key: str
    metadata: Mapping[str, str]
    initiated_at: datetime
    with_checksums: bool = True
    parts: dict[int, tuple[StoredPart, bytes]] = field(default_factory=dict)


class Happens(StrEnum):
    """What becomes of a completion whose answer a test has chosen."""

    NOW = "now"
    NEVER = "never"
    LATER = "later"  # the upload is gone at once, the object appears with ``finish_assembling``


class FakeStore:
    """One bucket. It outlives the "process" of a crash test: hand the same one to the next daemon.

    Switches: ``crc64`` the store checks and tells CRC64NVME · ``object_size`` it checks the size at completion ·
    ``conditional`` it knows If-Match and If-None-Match (without: the client looks right before, and
    ``before_completion`` is the window) · ``copy`` it knows UploadPartCopy · ``copy_checksum`` what becomes of a copied
    range's checksum in an upload that has them: right, the whole source's (VersityGW), or the copy is refused (MinIO);
    learnt already, so that an upload for copies is begun without · ``md5_etags`` ETags are MD5s ·
    ``whole`` it was seen to refuse a second PutObject · ``repeat_completion`` what it says to a completion that was
    answered before.
    """

    def __init__(
        self,
        *,
        limits: Limits = S3_LIMITS,
        bucket: str = "video-streams",
        crc64: bool = True,
        object_size: bool = True,
        conditional: bool = True,
        copy: bool = True,
        copy_checksum: Literal["right", "wrong", "refused"] = "right",
        md5_etags: bool = True,
        atomic: bool = True,
        whole: bool = True,
        repeat_completion: Literal["done", "gone", "precondition"] = "done",
        fuse: Fuse | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.limits = limits
        self.crc64 = crc64
        self.object_size = object_size
        self.conditional = conditional
        self.copy = copy
        self.copy_checksum = copy_checksum
        self._own: set[str] = set()  # begun by the client of this process, which was told so
        self._told: dict[str, StoredObject] = {}
        self._unanswered: set[str] = set()
        self._known_without: set[str] = set()  # what the client of this process knows of uploads without checksums
        self.md5_etags = md5_etags
        self.atomic = atomic
        self.repeat_completion = repeat_completion
        self.fuse = fuse
        self.whole = whole
        self.late_puts = 0  # so many whole files take effect late, and are not answered
        self._late: list[Callable[[], bool]] = []
        self.before_completion: Callable[[str], None] | None = None
        self.objects: dict[str, FakeObject] = {}
        self.uploads: dict[str, FakeUpload] = {}
        self.completed_uploads: dict[str, str] = {}  # upload id: key
        self.calls: list[tuple[str, str]] = []  # (method, key), also of those that failed
        self.writes: list[tuple[str, FakeObject | None, FakeObject]] = []  # key, what was there, what is; by the port
        self.sent_bytes = 0
        self.calm_since = 0.0  # when it came back, in the time of the running loop
        self._wrote: set[tuple[str, int]] = set()  # of the first ``_counted`` writes, which keep what they name alive
        self._counted = 0
        self._bucket = bucket
        self._now = now or self._tick
        self._ticks = 0
        self._names = 0
        self._answers: deque[tuple[Answer, Happens]] = deque()
        self._assembling: list[tuple[FakeUpload, tuple[StoredPart, ...]]] = []
        self._is_there = True

    # -- the port: uploads ----------------------------------------------------------------------------------------

    @property
    def bucket(self) -> str:
        return self._bucket

    @property
    def is_atomic(self) -> bool:
        return self.atomic

    async def ping(self) -> None:
        await self._call("ping", "")

    async def hashes(self, upload_id: str | None = None) -> Hashes:
        if upload_id is None:
            return Hashes(md5=not self.crc64 or self.copy_checksum != "right")
        return Hashes(md5=self.has_no_checksums(upload_id))

    async def hashes_of_copies(self) -> Hashes:
        return Hashes(md5=not self.crc64 or self.copy_checksum != "right")

    async def learn(self, need: Need) -> None:
        """It is all known."""

    def has_no_checksums(self, upload_id: str) -> bool:
        return not self.crc64 or upload_id in self._known_without

    def begun_without_checksums(self, upload_id: str) -> None:
        self._known_without.add(upload_id)

    def new_process(self) -> None:
        """The client that knew something is no more."""
        self._own.clear()
        self._told.clear()
        self._unanswered.clear()
        self._known_without.clear()

    @unanswered
    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        await self._call("create_upload", key)
        self._blow("create_upload", "before")
        upload = self.put_upload(key, metadata)
        without = of_copies and self.copy_checksum != "right"
        self.uploads[upload].with_checksums = not without
        self._blow("create_upload", "after", key)
        if without:
            self.begun_without_checksums(upload)
        self._own.add(upload)
        return upload

    def completed(self, upload_id: str) -> StoredObject | None:
        return self._told.pop(upload_id, None)

    def may_hold_more(self, key: str) -> bool:
        return key in self._unanswered

    @unanswered
    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        await self._call("upload_part", key)
        self._upload(key, upload_id)
        data = b"".join([bytes(piece) async for piece in body.pieces()])
        self.sent_bytes += len(data)
        self._blow("upload_part", "before")
        upload = self._upload(key, upload_id)  # it may have been aborted while the bytes were on their way
        if not upload.with_checksums:
            assert self.has_no_checksums(upload_id), "a part with a checksum for an upload without"
            assert body.digest.md5 is not None, "a part without any digest"
        if len(data) != body.size or checksums.crc64nvme(data) != body.digest.crc64:
            raise _rejected("BadDigest", "upload_part")
        stored = self._store_part(upload, number, data)
        self._blow("upload_part", "after", key)
        return stored

    @unanswered
    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        await self._call("copy_part", key)
        if not self.copy:
            return None
        upload = self._upload(key, upload_id)
        source = self.objects.get(source_key)
        if source is None or source.etag != source_etag:
            return None
        too_small = len(source.data) <= self.limits.min_part  # S3 copies ranges of larger objects only
        if too_small or chunk.offset + chunk.size > len(source.data):
            return None
        if self.crc64 and upload.with_checksums and self.copy_checksum == "refused":
            return None
        self._blow("copy_part", "before")
        stored = self._store_part(upload, chunk.number, source.data[chunk.offset : chunk.offset + chunk.size])
        if stored.crc64 is not None and self.copy_checksum == "wrong":
            stored = replace(stored, crc64=checksums.crc64nvme(source.data))
            upload.parts[chunk.number] = stored, upload.parts[chunk.number][1]
        self._blow("copy_part", "after")
        return stored

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        await self._call("list_parts", key)
        upload = self._upload(key, upload_id)
        if upload.parts and not upload.with_checksums:
            self.begun_without_checksums(upload_id)
        return {number: upload.parts[number][0] for number in sorted(upload.parts)}

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        await self._call("complete_upload", key)
        self._blow("complete_upload", "before")
        answer = self._complete(key, upload_id, manifest, tuple(parts))
        try:
            self._blow("complete_upload", "after", key)
        except LostAnswer:
            self._told.clear()
            return Answer.NONE
        return answer

    def refuses_a_second_put(self) -> bool:
        return self.conditional and self.crc64 and self.whole

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        await self._call("put_whole", key)
        data = b"".join([bytes(piece) async for piece in body.pieces()])
        self.sent_bytes += len(data)
        if self.is_away:
            return Answer.NONE, None
        self._blow("put_whole", "before")
        assert len(data) == body.size and checksums.crc64nvme(data) == body.digest.crc64

        def happen() -> bool:
            if key in self.objects:
                return False
            self.put_object(key, data, metadata, content_type="video/mp4")
            self.writes.append((key, None, self.objects[key]))
            return True

        if self.late_puts:
            self.late_puts -= 1
            self._late.append(happen)
            return Answer.NONE, None
        answer = Answer.DONE if happen() else Answer.PRECONDITION_FAILED
        told = None
        if answer is Answer.DONE:
            told = StoredObject(len(data), self.objects[key].etag, body.digest.crc64, self.objects[key].metadata)
        try:
            self._blow("put_whole", "after")
        except LostAnswer:
            return Answer.NONE, None
        return answer, told

    def land(self) -> None:
        """What was to take effect late takes effect now."""
        for happen in self._late:
            happen()
        self._late.clear()

    def lose_late(self) -> None:
        """What was to take effect late never arrived."""
        self._late.clear()

    @unanswered
    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self._call("abort_upload", key)
        self._blow("abort_upload", "before")
        upload = self.uploads.get(upload_id)
        if upload is not None and upload.key == key:
            del self.uploads[upload_id]
        self._blow("abort_upload", "after")

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        await self._call("list_uploads", key)
        self._unanswered.discard(key)
        found = [upload for upload in self.uploads.values() if upload.key == key]
        return [OpenUpload(key, upload.upload_id, upload.initiated_at) for upload in found]

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        await self._call("list_uploads_under", prefix)
        return [
            OpenUpload(upload.key, upload.upload_id, upload.initiated_at)
            for upload in self.uploads.values()
            if upload.key.startswith(prefix)
        ]

    # -- the port: objects ----------------------------------------------------------------------------------------

    async def head(self, key: str) -> StoredObject | None:
        await self._call("head", key)
        found = self.objects.get(key)
        if found is None:
            return None
        crc64 = checksums.crc64nvme(found.data) if self.crc64 and found.with_checksum else None
        return StoredObject(size=len(found.data), etag=found.etag, crc64=crc64, metadata=found.metadata)

    async def glance(self, key: str) -> StoredObject | None:
        return await self.head(key)

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        await self._call("list_objects", prefix)
        found = sorted((key, there) for key, there in self.objects.items() if key.startswith(prefix))
        return [*filter(wanted, (ListedObject(key, len(there.data), there.modified_at) for key, there in found))]

    async def object_crc64(self, key: str, etag: str) -> int | None:
        await self._call("object_crc64", key)
        found = self.objects.get(key)
        return checksums.crc64nvme(found.data) if found is not None and found.etag == etag else None

    @unanswered
    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        await self._call("put_document", key)
        self._blow("put_document", "before")
        found = self.objects.get(key)
        refused = (found.etag if found else None) != replaces if self.conditional else found and replaces is None
        if refused:
            return found is not None and found.data == body
        self.put_object(key, body, content_type="application/json")
        self.writes.append((key, found, self.objects[key]))
        self._blow("put_document", "after")
        return True

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
        await self._call("get_document", key)
        found = self.objects.get(key)
        return (found.data, found.etag) if found else None

    # -- what a test does to it -------------------------------------------------------------------------------------

    def put_object(
        self,
        key: str,
        data: bytes,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "binary/octet-stream",
    ) -> str:
        """Store an object past all conditions, as a stranger would; give its ETag."""
        etag = self._etag(data)
        self.objects[key] = FakeObject(data, etag, _lower(metadata or {}), self._now(), content_type)
        return etag

    def delete_object(self, key: str) -> None:
        del self.objects[key]

    def put_upload(self, key: str, metadata: Mapping[str, str] | None = None) -> str:
        """Begin an upload past the fuse, as another process would; give its id."""
        upload = FakeUpload(f"upload-{self._name()}", key, _lower(metadata or {}), self._now())
        self.uploads[upload.upload_id] = upload
        return upload.upload_id

    def put_part(self, upload_id: str, number: int, data: bytes) -> StoredPart:
        """Store a part past the fuse, as another process would."""
        return self._store_part(self.uploads[upload_id], number, data)

    def expire(self, upload_id: str) -> None:
        """Throw an upload away, as a lifecycle rule does."""
        del self.uploads[upload_id]

    def answer_next_completion(self, answer: Answer, happens: Happens = Happens.NEVER) -> None:
        """The next completion (then the one after it, …) gets this answer, whatever becomes of it.

        With ``Happens.NOW`` and ``LATER`` it happens only if the store would have accepted it.
        """
        self._answers.append((answer, happens))

    def finish_assembling(self) -> None:
        """What ``Happens.LATER`` left open happens now."""
        for upload, parts in self._assembling:
            self._assemble(upload, parts)
        self._assembling.clear()

    def wrote(self, key: str, there: FakeObject) -> bool:
        """Whether it came by the port, and was not put there by a test."""
        if self._counted < len(self.writes):
            self._wrote.update((at, id(new)) for at, _, new in self.writes[self._counted :])
            self._counted = len(self.writes)
        return (key, id(there)) in self._wrote

    @property
    def is_away(self) -> bool:
        return not self._is_there

    def go_away(self) -> None:
        """From now on every call says so, as the real edge does; a completion answers ``Answer.NONE``."""
        self._is_there = False

    def come_back(self) -> None:
        self._is_there = True
        self.calm_since = asyncio.get_running_loop().time()

    def count(self, method: str, key: str | None = None) -> int:
        """How often a method was called."""
        return sum(1 for name, at in self.calls if name == method and key in (None, at))

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _call(self, method: str, key: str) -> None:
        self.calls.append((method, key))
        await asyncio.sleep(0)
        if method == "put_whole" and self.is_away:
            return
        if method != "complete_upload" and self.is_away:
            raise S3Unavailable(f"{method}: the store is away", operation=method)

    def _blow(self, effect: str, when: str, key: str = "") -> None:
        """``key``: where an upload may be left if the answer is lost."""
        try:
            if self.fuse:
                self.fuse(f"store.{effect}", when)
        except LostAnswer:
            self._unanswered.add(key)
            raise

    def _upload(self, key: str, upload_id: str) -> FakeUpload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise UploadGone(f"NoSuchUpload: {upload_id}", operation="store")
        return upload

    def _store_part(self, upload: FakeUpload, number: int, data: bytes) -> StoredPart:
        if not 1 <= number <= self.limits.max_parts:
            raise _rejected("InvalidArgument", "upload_part")
        if len(data) > self.limits.max_part:
            raise _rejected("EntityTooLarge", "upload_part")
        crc64 = checksums.crc64nvme(data) if self.crc64 and upload.with_checksums else None
        stored = StoredPart(number, len(data), self._etag(data), crc64, self._now())
        upload.parts[number] = (stored, data)
        return stored

    def _complete(self, key: str, upload_id: str, manifest: Manifest, parts: tuple[StoredPart, ...]) -> Answer:
        if self.is_away:
            return Answer.NONE
        told, happens = self._answers.popleft() if self._answers else (None, Happens.NOW)
        if happens is Happens.NEVER:
            return told or Answer.NONE
        answer = self._judge(key, upload_id, manifest, parts)
        if answer is Answer.DONE and upload_id in self.uploads:
            upload = self.uploads.pop(upload_id)
            if happens is Happens.NOW:
                self._assemble(upload, parts)
                made = self.objects[key]
                if upload_id in self._own and self.crc64 and made.with_checksum and told is None and self.conditional:
                    crc64 = checksums.crc64nvme(made.data)
                    self._told[upload_id] = StoredObject(len(made.data), made.etag, crc64, made.metadata)
            else:
                self._assembling.append((upload, parts))
        return told or answer

    def _judge(self, key: str, upload_id: str, manifest: Manifest, parts: tuple[StoredPart, ...]) -> Answer:
        """What S3 would answer; changes nothing. Raises ``S3Rejected`` for what only a bug can ask for."""
        if not self.conditional and not self._condition_holds(key, manifest):
            return Answer.PRECONDITION_FAILED
        if self.before_completion:
            self.before_completion(key)
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            return self._repeated(upload_id)
        if not self._parts_hold(upload, parts):
            return Answer.INVALID_PART
        if self.conditional and not self._condition_holds(key, manifest):
            return Answer.PRECONDITION_FAILED
        data = _joined(upload, parts)
        wrong_size = self.object_size and len(data) != manifest.size
        wrong_sum = self.crc64 and upload.with_checksums and checksums.crc64nvme(data) != manifest.crc64
        return Answer.WRONG_CONTENT if wrong_size or wrong_sum else Answer.DONE

    def _repeated(self, upload_id: str) -> Answer:
        if upload_id not in self.completed_uploads:
            return Answer.UPLOAD_GONE
        return {"done": Answer.DONE, "gone": Answer.UPLOAD_GONE, "precondition": Answer.PRECONDITION_FAILED}[
            self.repeat_completion
        ]

    def _condition_holds(self, key: str, manifest: Manifest) -> bool:
        found = self.objects.get(key)
        return (found.etag if found else None) == manifest.replaces

    def _parts_hold(self, upload: FakeUpload, parts: tuple[StoredPart, ...]) -> bool:
        numbers = [part.number for part in parts]
        if not parts:
            raise _rejected("MalformedXML", "complete_upload")
        if numbers != sorted(set(numbers)):
            return False  # InvalidPartOrder
        for part in parts:
            held = upload.parts.get(part.number)
            if held is None or held[0].etag != part.etag:
                return False
            if self.crc64 and upload.with_checksums and part.crc64 not in (None, held[0].crc64):
                return False
        if any(upload.parts[number][0].size < self.limits.min_part for number in numbers[:-1]):
            raise _rejected("EntityTooSmall", "complete_upload")
        return True

    def _assemble(self, upload: FakeUpload, parts: tuple[StoredPart, ...]) -> None:
        data = _joined(upload, parts)
        sizes = tuple(upload.parts[part.number][0].size for part in parts)
        sums = b"".join(hashlib.md5(upload.parts[part.number][1]).digest() for part in parts)
        etag = f"{hashlib.md5(sums).hexdigest() if self.md5_etags else self._opaque()}-{len(parts)}"
        before = self.objects.get(upload.key)
        self.objects[upload.key] = FakeObject(
            data, etag, upload.metadata, self._now(), part_sizes=sizes, with_checksum=upload.with_checksums
        )
        self.writes.append((upload.key, before, self.objects[upload.key]))
        self.completed_uploads[upload.upload_id] = upload.key

    def _etag(self, data: bytes) -> str:
        return hashlib.md5(data).hexdigest() if self.md5_etags else self._opaque()

    def _opaque(self) -> str:
        return base64.b32encode(f"opaque {self._name()}".encode()).decode().lower().rstrip("=")

    def _name(self) -> int:
        self._names += 1
        return self._names

    def _tick(self) -> datetime:
        self._ticks += 1
        return _BEGIN + timedelta(seconds=self._ticks)


def _joined(upload: FakeUpload, parts: tuple[StoredPart, ...]) -> bytes:
    return b"".join(upload.parts[part.number][1] for part in parts)


def _lower(metadata: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({name.lower(): value for name, value in metadata.items()})


def _rejected(code: str, operation: str) -> S3Rejected:
    return S3Rejected(f"{operation}: {code}", operation=operation, code=code)
