"""Multipart uploads and objects in one S3 bucket, through aiobotocore; no type of botocore's leaves ``s3_*``.

What the operator should know of it:

* One session and one client for the life of the process. Every method is one attempt, botocore's too; ``patience``
  repeats. Every call has a deadline that follows the size of its body and the speed seen so far, because neither
  botocore nor aiohttp runs a timer while a body is written.
* The header ``Expect: 100-continue`` is not sent: a store that never answers it would hang the part for ever.
* A part carries the CRC64NVME that was computed on its very bytes, the completion that of the whole object, its
  size and a condition on the key, as far as the store knows these things. What it knows is a setting or is learnt
  (``auto``) with one small object at the key ``.cefmp4-probe``.
* With payload signing on, the SHA-256 comes from the thread that read the chunk, never from the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote_plus

import aioboto3
import aiohttp
import botocore.handlers
from aiobotocore.config import AioConfig
from awscrt import checksums as crt
from botocore.exceptions import BotoCoreError, ClientError

from ..domain import (
    PROBE_KEY,
    Answer,
    Chunk,
    ChunkBody,
    Hashes,
    ListedObject,
    Manifest,
    Need,
    OpenUpload,
    StoredObject,
    StoredPart,
    crc64_from_base64,
    crc64_to_base64,
)
from ..exceptions import (
    ConfigurationError,
    PartNotTaken,
    PartNumberRefused,
    PartTooLarge,
    S3ConnectionCut,
    S3NotAble,
    S3NotUnderstood,
    S3OperationError,
    S3Rejected,
    S3Unavailable,
    S3WrongContent,
    UploadGone,
)
from ..retry import RetryPolicy, ServiceObserver, observed
from .abilities import CONDITIONS, PUT_CONDITIONS, AbilityObserver, Learner, Said, said
from .answers import (
    HARMLESS,
    SAID,
    bare,
    check_answer,
    completion_answer,
    completion_arguments,
    content_md5,
    is_said,
    listed_object,
    listed_part,
    newer_part,
    stored_part,
    whole_size,
)
from .credentials import RenewableCredentials
from .errors import (
    NONSENSE,
    NotUnderstood,
    error_class,
    is_silent_about_missing,
    no_sense,
    reading,
    refuses_credentials,
    translate,
)
from .outcomes import SILENT
from .probe import NoNotes, Probe, ProbeNotes
from .settings import Abilities, Choice, Deadlines, StoreSettings, addressing
from .transport import SIGNER, BodyFile, NeverElsewhere, moving, timestamp
from .uploads import KnownUploads

_PARTS_A_PAGE = 200  # a page of 1,000 keeps the event loop busy for 50 ms
_LONGEST_PROBE = timedelta(minutes=15)
_PING_SECONDS = 2.5  # less than whoever asks for readiness waits, so that the silence is told
_DOCUMENT_LIMIT = 64 * 1024 * 1024
#: For each listing: where the next page begins, in the request and in the answer before it.
_MARKERS = {
    "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
}
#: A body that the store calls another one so often was changed after its checksum was made: it is read again.
_MOST_REFUSED_SUMS = 3
_MEMORY = "if it goes on, something changes the bytes on their way, or this machine's memory does"
#: What a store answers where a condition of ``put_document`` does not hold.
_UNMET = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412"})


class StoreObserver(ServiceObserver, AbilityObserver, Protocol):
    """What the client tells: requests, operations that are tried again, and what the store can do."""


class S3Client:
    """The port ``ObjectStore`` on a real bucket. Build it with ``open_store``."""

    def __init__(
        self,
        client: Any,
        settings: StoreSettings,
        *,
        policy: RetryPolicy,
        observer: StoreObserver,
        credentials: RenewableCredentials,
        deadlines: Deadlines | None = None,
        notes: ProbeNotes | None = None,
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._settings = settings
        self._policy = policy
        self._observer = observer
        self._deadlines = deadlines or Deadlines()
        self._bucket_seen = False
        self._preparing = asyncio.Lock()
        self._notes = notes or NoNotes()
        known = True if settings.checksum is Choice.ON else None
        self._probe = Probe(self._call, settings.bucket, self._probe_key, self._notes, checksums=known)
        self._learner = Learner(
            settings,
            ready=self._prepare,
            ask=self._probe.ask,
            policy=policy,
            observer=observer,
            now=time.monotonic,
        )
        self._uploads = KnownUploads()
        self._speed: float | None = None
        self._not_understood = NotUnderstood()

    @property
    def bucket(self) -> str:
        return self._settings.bucket

    @property
    def is_atomic(self) -> bool:
        return self._settings.is_aws

    async def hashes(self, upload_id: str | None = None) -> Hashes:
        abilities = self._learner.current()
        with_checksums = abilities.checksum and not abilities.copies_without_checksums
        if upload_id is not None:
            with_checksums = self._sends_checksums(upload_id)
        return Hashes(md5=not with_checksums, sha256=self._settings.signs_payloads)

    async def hashes_of_copies(self) -> Hashes:
        return Hashes(md5=not self._learner.current().copy_checksum)

    def has_no_checksums(self, upload_id: str) -> bool:
        return not self._sends_checksums(upload_id)

    def begun_without_checksums(self, upload_id: str) -> None:
        self._uploads.begun(upload_id, checksums=False)

    async def learn(self, need: Need) -> None:
        await self._prepare()
        match need:
            case Need.CREATE:
                await self._learner.for_create()
            case Need.COPY:
                await self._learner.for_copies()
            case Need.DOCUMENT:
                await self._learner.for_conditions(PUT_CONDITIONS)

    async def abilities(self) -> Abilities:
        """What the store can do: set, known, or learnt with the probe's key, as far as it can be learnt."""
        await self._prepare()
        return await self._learner.everything()

    async def keep_abilities(self) -> None:
        """Never ends: stores are updated too, so they are asked anew every day."""
        await self._learner.keep()

    async def close(self) -> None:
        """End what runs beside the calls."""
        await self._learner.close()

    async def abort_forgotten_probes(self) -> None:
        """Abort what processes that are gone have noted as theirs at the probe's key.

        What nobody has noted may be the probe of another daemon at work, until it is old. What was noted on another
        machine is forgotten when the upload is there no more: that machine may never come back.
        """
        for upload_id in await self._notes.left_behind():
            await self.abort_upload(self._probe_key, upload_id)
            await self._notes.forget(upload_id)
        elsewhere = set(await self._notes.from_elsewhere())  # before the listing, which has all of them
        before = datetime.now(UTC) - _LONGEST_PROBE
        for upload in await self.list_uploads(self._probe_key):
            if upload.initiated_at is not None and upload.initiated_at < before:
                await self.abort_upload(upload.key, upload.upload_id)
            else:
                elsewhere.discard(upload.upload_id)
        for upload_id in elsewhere:
            await self._notes.forget(upload_id)

    async def days_of_an_upload(self) -> int | None:
        """After how many days a rule of the bucket aborts unfinished uploads; None: no rule, or it is not told."""
        try:
            answer = await self._call("get_bucket_lifecycle_configuration")
        except (S3Rejected, S3NotAble):
            return None  # no rules, or no such ability
        except S3Unavailable as exc:
            if not exc.misconfigured:
                raise
            return None  # no right to see them: nothing depends on it
        with reading("get_bucket_lifecycle_configuration"):
            rules = [rule for rule in answer.get("Rules", []) if self._concerns_recordings(rule)]
            days = [rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation") for rule in rules]
            return min((int(each) for each in days if each is not None), default=None)

    def _concerns_recordings(self, rule: Mapping[str, Any]) -> bool:
        """Whether an enabled rule can meet uploads behind our prefix. S3 allows no tag or size beside this action."""
        scope = rule.get("Filter", {})
        prefix = scope.get("Prefix", scope.get("And", {}).get("Prefix", rule.get("Prefix", "")))
        ours = self._settings.key_prefix
        return rule.get("Status") == "Enabled" and (ours.startswith(prefix) or prefix.startswith(ours))

    @property
    def _probe_key(self) -> str:
        return f"{self._settings.key_prefix}{PROBE_KEY}"

    async def ping(self) -> None:
        """Raise ``S3Unavailable`` unless the bucket answers now."""
        try:
            await self._call("head_bucket", deadline=_PING_SECONDS)
        except S3Unavailable as exc:
            # Until the bucket was there once, whoever makes it tells what is in its way.
            if self._bucket_seen or not _is_no_bucket(exc):
                self._observer.operation_failed(operation="s3.ping", error=exc, attempt=1, wait_seconds=0.0)
            raise

    # -- uploads ----------------------------------------------------------------------------------------------

    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        await self.learn(Need.COPY if of_copies else Need.CREATE)
        abilities = await self._learner.for_create()
        checksum = abilities.checksum and not (of_copies and abilities.copies_without_checksums)
        return await self._create(key, metadata, checksum=checksum)

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        async def send() -> StoredPart:
            await self._prepare()
            try:
                return await self._send_part(key, upload_id, number, body)
            except S3Unavailable as exc:
                if isinstance(exc, S3WrongContent):
                    exc.hint = _MEMORY
                # A refusal can be lost when it comes in mid-body and the line is cut: ask in a way that is heard.
                with suppress(S3Unavailable, S3Rejected):
                    await self._call("list_parts", Key=key, UploadId=upload_id, MaxParts=1, deadline=_PING_SECONDS)
                raise

        return await send()

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        async def copy() -> StoredPart | None:
            await self._prepare()
            if not self._learner.current().part_copy:
                return None
            try:
                answer = await ask()
            except (S3Rejected, S3NotAble, PartNumberRefused):
                return None
            with reading("upload_part_copy"):
                return stored_part(chunk.number, chunk.size, answer["CopyPartResult"])

        async def ask() -> dict[str, Any]:
            return await self._call(
                "upload_part_copy",
                Key=key,
                UploadId=upload_id,
                PartNumber=chunk.number,
                CopySource={"Bucket": self.bucket, "Key": source_key},
                CopySourceIfMatch=f'"{source_etag}"',
                CopySourceRange=f"bytes={chunk.offset}-{chunk.offset + chunk.size - 1}",
                deadline=self._deadlines.for_body(chunk.size, self._speed),
            )

        return await copy()

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        async def list_all() -> dict[int, StoredPart]:
            found: dict[int, StoredPart] = {}
            async for page in self._pages("list_parts", Key=key, UploadId=upload_id, MaxParts=_PARTS_A_PAGE):
                with reading("list_parts"):
                    if page.get("UploadId", upload_id) != upload_id:
                        raise ValueError("it is about another upload")
                    # Amazon says it of an upload without parts, too.
                    self._uploads.listed(upload_id, page, always_said=self._settings.is_aws)
                    for part in map(listed_part, page.get("Parts", [])):
                        found[part.number] = newer_part(part, found.get(part.number))
            return found

        return await list_all()

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        await self._prepare()
        abilities = await self._learner.for_conditions(CONDITIONS)
        conditional = abilities.if_none_match if manifest.replaces is None else abilities.if_match
        # Whether the store heeds a condition that nobody could ask about, nobody knows either.
        certain = conditional and self._learner.knows(CONDITIONS)
        if not certain and not await self._condition_holds(key, manifest):
            return Answer.PRECONDITION_FAILED
        deadline = self._deadlines.completion + manifest.size / self._deadlines.slowest / 64
        abilities = replace(abilities, checksum=self._sends_checksums(upload_id))
        arguments = completion_arguments(manifest, parts, abilities)
        call = partial(self._call, "complete_multipart_upload", Key=key, UploadId=upload_id, deadline=deadline)
        try:
            return await self._complete(call, upload_id, arguments)
        except S3ConnectionCut as exc:
            cut = exc
        # A kept connection may have been closed meanwhile, so that it never came. Where nothing has happened it is sent
        # once more at once; any answer but one that it is done leaves open what came of the first.
        with suppress(S3OperationError):
            nothing_happened = await self._condition_holds(key, manifest)
            # Last, since its answer has a body: some balancers end a connection after one that has none.
            await self._call("list_parts", Key=key, UploadId=upload_id, MaxParts=1)
            if nothing_happened and await self._complete(call, upload_id, arguments) is Answer.DONE:
                return Answer.DONE
        self._observer.operation_failed(operation="complete_upload", error=cut, attempt=1, wait_seconds=0.0)
        return Answer.NONE

    async def _complete(
        self, call: Callable[..., Awaitable[dict[str, Any]]], upload_id: str, arguments: Mapping[str, Any]
    ) -> Answer:
        """What the store answers. Raises ``S3ConnectionCut`` where the connection ended before that."""
        plain = {name: value for name, value in arguments.items() if name not in HARMLESS}
        try:
            await self._without_if_refused(call, arguments, plain)
        except S3ConnectionCut:
            raise
        except UploadGone:
            return Answer.UPLOAD_GONE
        except S3WrongContent:
            return Answer.WRONG_CONTENT
        except S3Rejected as exc:
            answer = completion_answer(exc)
            if answer is not Answer.PRECONDITION_FAILED:
                self._observer.operation_failed(operation="complete_upload", error=exc, attempt=1, wait_seconds=0.0)
            return answer
        except S3Unavailable as exc:
            # Also where a condition is refused: nobody knows yet that the store has none.
            self._observer.operation_failed(operation="complete_upload", error=exc, attempt=1, wait_seconds=0.0)
            return Answer.NONE
        self._uploads.ended(upload_id)
        return Answer.DONE

    async def abort_upload(self, key: str, upload_id: str) -> None:
        self._uploads.ended(upload_id)

        async def abort() -> None:
            try:
                await self._call("abort_multipart_upload", Key=key, UploadId=upload_id)
            except (UploadGone, S3Rejected, S3NotAble):
                return
            except S3Unavailable as exc:
                if not exc.misconfigured:
                    raise
                # Tidying up is worth no waiting for a right that may never be given; a lifecycle rule does it too.
                self._observer.operation_failed(operation="abort_upload", error=exc, attempt=1, wait_seconds=0.0)

        await abort()

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        # Some stores encode keys as they were asked to without saying so.
        listed = await self.list_uploads_under(key)
        return [replace(upload, key=key) for upload in listed if key in (upload.key, unquote_plus(upload.key))]

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        async def list_all() -> list[OpenUpload]:
            found: list[OpenUpload] = []
            try:
                async for page in self._pages("list_multipart_uploads", Prefix=prefix, EncodingType="url"):
                    decoded = unquote_plus if page.get("EncodingType") == "url" else str
                    with reading("list_multipart_uploads"):
                        found += [
                            OpenUpload(decoded(entry["Key"]), entry["UploadId"], entry.get("Initiated"))
                            for entry in page.get("Uploads", [])
                        ]
            except (S3Rejected, S3NotAble):
                return []  # a store that cannot list them: nothing is found, and nothing aborted
            return found

        return await list_all()

    # -- objects ----------------------------------------------------------------------------------------------

    async def head(self, key: str) -> StoredObject | None:
        return await self._head(key)

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        async def list_all() -> list[ListedObject]:
            found: list[ListedObject] = []
            async for page in self._pages("list_objects_v2", Prefix=prefix):
                with reading("list_objects_v2"):
                    found += filter(wanted, map(listed_object, page.get("Contents", [])))
            return found

        return await list_all()

    async def object_crc64(self, key: str, etag: str) -> int | None:
        async def fetch() -> int | None:
            try:
                answer = await self._get(key, IfMatch=f'"{etag}"')
            except S3Rejected:
                return None
            if bare(answer["ETag"]) != etag:
                answer["Body"].close()
                return None
            crc = 0
            async for piece in self._pieces(answer["Body"]):
                crc = crt.crc64nvme(piece, crc)
            return crc

        return await fetch()

    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        async def put() -> bool:
            await self._prepare()
            abilities = await self._learner.for_conditions(PUT_CONDITIONS)
            arguments: dict[str, Any] = {"Body": body, "ContentType": "application/json"}
            if replaces is None and abilities.put_if_none_match:
                arguments["IfNoneMatch"] = "*"
            elif replaces is None and (there := await self._get_document(key)) is not None:
                return there[0] == body
            if replaces is not None and abilities.put_if_match:
                arguments["IfMatch"] = f'"{replaces}"'
            plain = {**arguments, "ContentMD5": content_md5(hashlib.md5(body, usedforsecurity=False).hexdigest())}
            summed = {**arguments, "ChecksumCRC64NVME": crc64_to_base64(crt.crc64nvme(body))}
            try:
                call = partial(self._call, "put_object", Key=key)
                await self._without_if_refused(call, summed if abilities.checksum else plain, plain)
            except S3Rejected as exc:
                if exc.code not in _UNMET:
                    raise
                # Our own earlier attempt may have got through and lost its answer.
                stored = await self._get_document(key)
                return stored is not None and stored[0] == body
            return True

        return await put()

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
        return await self._get_document(key)

    # -- how a call is made -----------------------------------------------------------------------------------

    async def _call(self, operation: str, *, deadline: float | None = None, **arguments: Any) -> dict[str, Any]:
        try:
            with observed(self._observer, "s3", operation, error_class):
                answer = await self._ask(operation, deadline=deadline, **arguments)
        except S3NotUnderstood as exc:
            self._not_understood.met(exc)
            raise
        except S3OperationError as exc:
            self._not_understood.answered(operation)
            if isinstance(exc, UploadGone) and "UploadId" in arguments:
                self._uploads.ended(arguments["UploadId"])
            if not self._settings.is_aws and is_silent_about_missing(exc.__cause__):
                await self._confirm_missing(operation, arguments, deadline)
            raise
        self._not_understood.answered(operation)
        return answer

    async def _confirm_missing(self, operation: str, arguments: Mapping[str, Any], deadline: float | None) -> None:
        """Raise what is in the way where a HEAD's bare 404 does not mean that there is nothing.

        VersityGW answers an access key id that it does not know so, and an object that nobody may see is not gone.
        A request whose refusal has a body says which it is.
        """
        try:
            if operation == "head_bucket":
                await self._call("list_objects_v2", MaxKeys=1, deadline=deadline)
            else:
                answer = await self._call("get_object", Key=arguments["Key"], Range="bytes=0-0", deadline=deadline)
                answer["Body"].close()
        except S3Rejected:
            return
        except S3Unavailable as exc:
            if _is_no_bucket(exc) and operation == "head_bucket":
                return
            raise
        raise S3Unavailable(f"{operation}: it is there now", operation=operation)

    async def _ask(self, operation: str, *, deadline: float | None, **arguments: Any) -> dict[str, Any]:
        seconds = deadline or self._deadlines.call
        try:
            async with asyncio.timeout(seconds), moving(arguments.get("Body"), self._deadlines.call) as stalled:
                answer: dict[str, Any] = await getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        except TimeoutError:
            message = f"{operation}: no answer within {seconds:g} s"
            if stalled():
                message = f"{operation}: no byte was accepted for {self._deadlines.call:g} s"
            raise S3Unavailable(message, operation=operation, hint=SILENT) from None
        except (ClientError, BotoCoreError, OSError, aiohttp.ClientError) as exc:
            # A trial of the probe may be answered so for what it asks (GCS: a checksum): that is nothing of the keys'.
            if refuses_credentials(exc) and arguments.get("Key") != self._probe_key:
                self._credentials.refused()
            raise translate(exc, operation=operation) from exc
        except NONSENSE as exc:
            raise no_sense(operation, repr(exc)) from exc
        if operation in SAID and not any(is_said(answer.get(name)) for name in SAID[operation]):
            if "Body" in answer:
                answer["Body"].close()
            raise no_sense(operation, f"it has no {SAID[operation][0]}")
        return answer

    async def _pages(self, operation: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """The pages of a listing. One that leads back to a page that was seen would have no end."""
        markers: list[dict[str, Any]] = [{}]
        while True:
            page = await self._call(operation, **arguments, **markers[-1])
            yield page
            if not page["IsTruncated"]:
                return
            with reading(operation):
                marker = {ours: page[theirs] for ours, theirs in _MARKERS[operation].items()}
                if page.get("EncodingType") == "url" and "KeyMarker" in marker:
                    marker["KeyMarker"] = unquote_plus(marker["KeyMarker"])
                if marker in markers:
                    raise ValueError("the listing has no end")
            markers.append(marker)

    async def _pieces(self, body: Any) -> AsyncGenerator[bytes, None]:
        """An answer's body in pieces, each of which must come within the deadline of a call."""
        try:
            while True:
                async with asyncio.timeout(self._deadlines.call):
                    piece = await body.read(1024 * 1024)
                if not piece:
                    return
                yield piece
        except (TimeoutError, BotoCoreError, OSError, aiohttp.ClientError) as exc:
            raise translate(exc, operation="get_object") from exc
        finally:
            body.close()

    async def _get(self, key: str, **arguments: Any) -> dict[str, Any]:
        """An object as it is stored, not as somebody on the way has packed it."""
        answer = await self._call("get_object", Key=key, **arguments)
        packed = answer.get("ContentEncoding", "")
        if packed.removeprefix("aws-chunked").strip(", ") in ("", "identity"):
            return answer
        try:
            head = await self._call("head_object", Key=key)
            if (head.get("ContentEncoding"), head.get("ContentLength")) == (packed, answer.get("ContentLength")):
                return answer  # it is stored so
            raise no_sense("get_object", f"the object came packed with {packed}")
        except BaseException:
            answer["Body"].close()
            raise

    async def _get_document(self, key: str) -> tuple[bytes, str] | None:
        try:
            answer = await self._get(key)
        except S3Rejected as exc:
            if exc.code == "NoSuchKey":
                return None
            raise
        size, pieces = 0, []
        async with aclosing(self._pieces(answer["Body"])) as body:
            async for piece in body:
                pieces.append(piece)
                size += len(piece)
                if max(size, answer.get("ContentLength", 0)) > _DOCUMENT_LIMIT:
                    return b"", bare(answer["ETag"])
        return b"".join(pieces), bare(answer["ETag"])

    async def _create(self, key: str, metadata: Mapping[str, str], *, checksum: bool) -> str:
        plain: dict[str, Any] = {"Metadata": dict(metadata), "ContentType": "video/mp4"}
        declared = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"} if checksum else {}
        call = partial(self._call, "create_multipart_upload", Key=key)
        try:
            answer, whole = await self._without_if_refused(call, {**plain, **declared}, plain)
        except S3ConnectionCut:
            # A kept connection that was closed meanwhile: aiohttp itself repeats only what is idempotent. At worst an
            # upload without parts is left, which goes when this one is completed.
            answer, whole = await self._without_if_refused(call, {**plain, **declared}, plain)
        upload_id = str(answer["UploadId"])
        self._uploads.begun(upload_id, checksums=checksum and whole)
        return upload_id

    async def _send_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        file = BodyFile(body)
        plain: dict[str, Any] = {"Body": file, "ContentLength": body.size}
        if body.digest.md5 is not None:
            plain["ContentMD5"] = content_md5(body.digest.md5)
        arguments = plain
        if self._sends_checksums(upload_id):
            arguments = {**plain, "ChecksumCRC64NVME": crc64_to_base64(body.digest.crc64)}
            arguments.pop("ContentMD5", None)
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            call = partial(
                self._call,
                "upload_part",
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                deadline=self._deadlines.for_body(body.size, self._speed, self._uploads.patience(upload_id)),
            )
            answer, _ = await self._without_if_refused(call, arguments, plain)
        except PartNumberRefused as exc:
            exc.number = number
            raise
        except PartTooLarge as exc:
            exc.size = body.size
            raise
        except S3NotAble as exc:
            # Nothing optional is left in the request, so it is this part in this upload that the store cannot take.
            hint = f"the recording is sent again in another upload; if that is refused too: {exc.hint}"
            raise PartNotTaken(str(exc), operation=exc.operation, hint=hint) from exc
        except S3Unavailable:
            if file.broken:
                raise file.broken from None
            if not file.has_stalled:
                self._uploads.part_took_too_long(upload_id)
            raise
        self._uploads.part_stored(upload_id)
        self._measure(body.size, clock() - started)
        with reading("upload_part"):
            stored = stored_part(number, body.size, answer)
        check_answer(stored, body)
        return StoredPart(number, body.size, stored.etag, body.digest.crc64)

    def _measure(self, size: int, seconds: float) -> None:
        speed = size / max(seconds, 1e-6)
        self._speed = speed if self._speed is None else 0.8 * self._speed + 0.2 * speed

    async def _head(self, key: str) -> StoredObject | None:
        try:
            mode = {"ChecksumMode": "ENABLED"} if self._learner.current().checksum_mode else {}
            answer, _ = await self._without_if_refused(partial(self._call, "head_object", Key=key), mode, {})
        except S3Rejected as exc:
            if exc.code in ("404", "NoSuchKey", "NotFound"):
                return None
            raise
        whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        crc = answer.get("ChecksumCRC64NVME") if whole else None
        metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
        length = answer["ContentLength"] if "ContentLength" in answer else await self._length(key, answer["ETag"])
        with reading("head_object"):
            size, etag = whole_size(length), bare(answer["ETag"])
            return StoredObject(size, etag, crc64_from_base64(crc) if crc else None, metadata)

    async def _length(self, key: str, etag: str) -> int:
        """Of an object whose HEAD had lost it on the way: a byte of it comes with the length of the whole."""
        try:
            answer = await self._call("get_object", Key=key, IfMatch=f'"{bare(etag)}"', Range="bytes=0-0")
        except S3Rejected as exc:
            raise no_sense("head_object", "it has no length") from exc
        answer["Body"].close()
        with reading("get_object"):
            return int(answer["ContentRange"].rpartition("/")[2])

    async def _condition_holds(self, key: str, manifest: Manifest) -> bool:
        """For stores without conditional completion: the closest that can be had, with a small window."""
        stored = await self.head(key)
        return (stored.etag if stored else None) == manifest.replaces

    # -- what the store can do --------------------------------------------------------------------------------

    async def _without_if_refused(
        self, call: Callable[..., Awaitable[dict[str, Any]]], arguments: Mapping[str, Any], plain: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bool]:
        """The answer, and whether it is to the whole request. ``plain`` lacks headers that nothing depends on.

        Refused with them, it is asked once without. That teaches nothing; it makes the probe ask.
        """
        try:
            return await call(**arguments), True
        except S3Unavailable as exc:
            if self._settings.is_aws or said(exc) is not Said.NOT_KNOWN:
                raise
            self._learner.suspect()
            if arguments == plain or self._settings.checksum is Choice.ON:
                raise
        return await call(**plain), False

    def _sends_checksums(self, upload_id: str) -> bool:
        """Whether parts of this upload, and its completion, carry checksums; of an unknown one as of a new one."""
        if self._settings.checksum is Choice.OFF:
            return False
        known = self._uploads.with_checksums(upload_id)
        return self._learner.current().checksum if known is None else known

    async def _prepare(self) -> None:
        """The bucket, made sure of once; a single attempt, so that callers retry as a whole."""
        if not self._bucket_seen:
            async with self._preparing:
                if not self._bucket_seen:
                    await self._ensure_bucket()
                    self._bucket_seen = True

    async def _ensure_bucket(self) -> None:
        try:
            await self._call("head_bucket")
            return
        except S3Unavailable as exc:
            if not _is_no_bucket(exc):
                raise
        try:
            await self._create_bucket()
        except S3Rejected as exc:
            if exc.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                hint = "create the bucket, or check S3_ENDPOINT_URL, S3_BUCKET_NAME and S3_REGION_NAME"
                raise S3Unavailable(str(exc), operation="create_bucket", hint=hint, misconfigured=True) from exc

    async def _create_bucket(self) -> None:
        region = self._client.meta.region_name
        if region == "us-east-1":
            await self._call("create_bucket")
            return
        try:
            await self._call("create_bucket", CreateBucketConfiguration={"LocationConstraint": region})
        except (S3Rejected, S3NotAble) as exc:
            if exc.code not in ("InvalidLocationConstraint", "MalformedXML", "NotImplemented", "501"):
                raise
            await self._call("create_bucket")  # a store of one region that knows no others


def _is_no_bucket(exc: S3Unavailable) -> bool:
    return "NoSuchBucket" in str(exc)


@asynccontextmanager
async def open_store(
    settings: StoreSettings,
    *,
    policy: RetryPolicy,
    observer: StoreObserver,
    deadlines: Deadlines | None = None,
    notes: ProbeNotes | None = None,
    on_secret: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[S3Client]:
    """One client for the life of the process. Does not talk to the store yet: it may be away at start.

    ``notes``: where the probe notes what it begins.
    ``on_secret`` hears of each secret before it is used, so that no log line shows it.
    """
    limits = deadlines or Deadlines()
    credentials = RenewableCredentials(settings.keys, on_secret=on_secret)
    config = AioConfig(
        max_pool_connections=settings.connections,
        connect_timeout=5,
        read_timeout=24 * 3600,  # the deadline around each call is the one that counts
        ignore_configured_endpoint_urls=True,  # what the operator did not name here is not used
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
        http_session_cls=NeverElsewhere,
        s3={"addressing_style": addressing(settings), "payload_signing_enabled": settings.signs_payloads},
    )
    try:
        session = aioboto3.Session(region_name=settings.region)
        session._session._credentials = credentials
        parsers = session._session.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=timestamp)
        region = settings.region or session.region_name or "us-east-1"
        opening = session.client("s3", endpoint_url=settings.endpoint_url, region_name=region, config=config)
        opened = await opening.__aenter__()
    except (BotoCoreError, ValueError) as exc:
        raise ConfigurationError([f"The S3 client cannot be made from these settings and AWS profiles: {exc}"]) from exc
    async with AsyncExitStack() as stack:
        stack.push_async_exit(opening)
        client = opened
        client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
        client.meta.events.register("choose-signer.s3", lambda **_: SIGNER)
        store = S3Client(
            client,
            settings,
            policy=policy,
            observer=observer,
            credentials=credentials,
            deadlines=limits,
            notes=notes,
        )
        stack.push_async_callback(store.close)
        yield store
