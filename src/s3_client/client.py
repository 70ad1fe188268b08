"""Multipart uploads and objects in one S3 bucket, through aiobotocore; no botocore type leaves this package.

Notes for operators:

* One session and one client for the life of the process. Every method is one attempt, also within botocore;
  ``patience`` retries. Every call has a deadline that depends on the size of its body and the speed measured so far,
  because neither botocore nor aiohttp has a timeout for writing a body.
* The header ``Expect: 100-continue`` is not sent: a store that never answers it would hang the part indefinitely.
* A part carries the CRC64NVME of its very bytes, the completion that of the whole object, its size and a condition on
  the key, as far as the store supports them. This is set, or determined (``auto``) with one small object at the key
  ``.cefmp4-probe``.
* With payload signing, the SHA-256 is computed in the thread that read the chunk, never on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import aioboto3
import botocore.handlers
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError

from .. import __version__
from ..domain import (
    Answer,
    Chunk,
    ChunkBody,
    Hashes,
    Manifest,
    Need,
    StoredObject,
    StoredPart,
    crc64_to_base64,
    moments,
)
from ..exceptions import (
    ConfigurationError,
    PartNotTaken,
    PartNumberRefused,
    PartTooLarge,
    S3ConnectionCut,
    S3NotAble,
    S3OperationError,
    S3Rejected,
    S3Unavailable,
    S3WrongContent,
    UploadGone,
)
from ..retry import RetryPolicy
from .abilities import CONDITIONS, PUT_CONDITIONS, Learner
from .answers import (
    HARMLESS,
    check_answer,
    completion_answer,
    completion_arguments,
    content_md5,
    stored_part,
    whole_object,
)
from .bucket import PING_SECONDS, Bucket
from .checkup import Checkup
from .credentials import RenewableCredentials
from .errors import reading
from .inspection import Inspection
from .listings import Listings
from .objects import FILM, Objects
from .part_list import part_list, take_part_lists
from .probe import NoNotes, Probe, ProbeNotes
from .requests import Requests
from .settings import Abilities, Choice, Deadlines, StoreSettings, addressing
from .transport import SIGNER, BodyFile, NeverElsewhere, find_endpoints_once, timestamp
from .uploads import KnownUploads

_LONGEST_PROBE = timedelta(minutes=15)
_MEMORY = "if it repeats, a proxy changes the bytes in transit, or this machine's memory is faulty"


class S3Client:
    """The port ``ObjectStore`` for a real bucket. Create it with ``open_store``."""

    def __init__(
        self,
        client: Any,
        settings: StoreSettings,
        *,
        policy: RetryPolicy,
        emit: moments.Emit,
        credentials: RenewableCredentials,
        deadlines: Deadlines | None = None,
        notes: ProbeNotes | None = None,
    ) -> None:
        self._settings = settings
        self._emit = emit
        self._deadlines = deadlines or Deadlines()
        self._notes = notes or NoNotes()
        self._uploads = KnownUploads()
        self._requests = Requests(
            client,
            settings,
            emit=emit,
            credentials=credentials,
            deadlines=self._deadlines,
            uploads=self._uploads,
        )
        self._call = self._requests.call
        self.completed = self._uploads.take_completed
        self.may_hold_more = self._uploads.may_hold_more
        self._bucket = Bucket(self._requests, settings, emit)
        known = True if settings.checksum is Choice.ON else None
        self._probe = Probe(self._call, settings.bucket, settings.probe_key, self._notes, checksums=known)
        self._learner = Learner(
            settings,
            ready=self._bucket.prepare,
            ask=self._probe.ask,
            policy=policy,
            emit=emit,
            now=time.monotonic,
        )
        # Bound directly: methods of our own would add nothing.
        self.ping = self._bucket.ping
        self.days_of_an_upload = self._bucket.days_of_an_upload
        objects = Objects(self._requests, self._bucket, self._learner, self._deadlines, self._uploads, emit)
        self.head = objects.head
        self.glance = objects.glance
        self.object_crc64 = objects.object_crc64
        self.put_whole = objects.put_whole
        self.refuses_a_second_put = self._learner.refuses_a_second_put
        self.put_document = objects.put_document
        self.get_document = objects.get_document
        listings = Listings(self._requests, settings, self._uploads)
        self.list_parts = listings.list_parts
        self.list_uploads = listings.list_uploads
        self.list_uploads_under = listings.list_uploads_under
        self.list_objects = listings.list_objects
        self.inspection = Inspection(self._requests, settings, listings, objects)
        self.checkup = Checkup(self._requests, settings, self.abilities)

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
        await self._bucket.prepare()
        match need:
            case Need.CREATE:
                await self._learner.for_create()
            case Need.COPY:
                await self._learner.for_copies()
            case Need.DOCUMENT:
                await self._learner.for_conditions(PUT_CONDITIONS)

    async def abilities(self) -> Abilities:
        """The store's features: set, known, or determined at the probe's key, as far as possible."""
        await self._bucket.prepare()
        return await self._learner.everything()

    async def keep_abilities(self) -> None:
        """Runs until cancelled: stores are updated too, so the trials are repeated every day."""
        await self._learner.keep()

    async def close(self) -> None:
        """End the background tasks."""
        await self._learner.close()

    async def abort_forgotten_probes(self) -> None:
        """Abort the uploads at the probe's key that ended processes have noted.

        An upload without a note may belong to the running probe of another daemon, until it is old. A note of another
        machine is removed when the upload no longer exists: that machine may never come back.
        """
        for upload_id in await self._notes.left_behind():
            await self.abort_upload(self._settings.probe_key, upload_id)
            await self._notes.forget(upload_id)
        elsewhere = set(await self._notes.from_elsewhere())  # before the listing, which contains all of them
        before = datetime.now(UTC) - _LONGEST_PROBE
        for upload in await self.list_uploads(self._settings.probe_key):
            if upload.initiated_at is not None and upload.initiated_at < before:
                await self.abort_upload(upload.key, upload.upload_id)
            else:
                elsewhere.discard(upload.upload_id)
        for upload_id in elsewhere:
            await self._notes.forget(upload_id)

    # -- uploads ----------------------------------------------------------------------------------------------

    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        await self.learn(Need.COPY if of_copies else Need.CREATE)
        abilities = await self._learner.for_create()
        checksum = abilities.checksum and not (of_copies and abilities.copies_without_checksums)
        with self._uploads.unless_answered(key):
            return await self._create(key, metadata, checksum=checksum)

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        await self._bucket.prepare()
        try:
            with self._uploads.unless_answered(key):
                return await self._send_part(key, upload_id, number, body)
        except S3Unavailable as exc:
            if isinstance(exc, S3WrongContent):
                exc.hint = _MEMORY
            # A refusal can be lost if it arrives during the body and the connection is cut: send a request whose
            # refusal is received.
            with suppress(S3Unavailable, S3Rejected):
                await self._call("list_parts", Key=key, UploadId=upload_id, MaxParts=1, deadline=PING_SECONDS)
            raise

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        await self._bucket.prepare()
        if not self._learner.current().part_copy:
            return None
        try:
            answer = await self._call(
                "upload_part_copy",
                Key=key,
                UploadId=upload_id,
                PartNumber=chunk.number,
                CopySource={"Bucket": self.bucket, "Key": source_key},
                CopySourceIfMatch=f'"{source_etag}"',
                CopySourceRange=f"bytes={chunk.offset}-{chunk.offset + chunk.size - 1}",
                deadline=self._requests.deadline_for(chunk.size),
            )
        except (S3Rejected, S3NotAble, PartNumberRefused):
            return None
        with reading("upload_part_copy"):
            return stored_part(chunk.number, chunk.size, answer["CopyPartResult"])

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        await self._bucket.prepare()
        abilities = await self._learner.for_conditions(CONDITIONS)
        conditional = abilities.if_none_match if manifest.replaces is None else abilities.if_match
        # If support for a condition could not be determined, it is also unknown whether the store heeds one.
        certain = conditional and self._learner.knows(CONDITIONS)
        if not certain and not await self._condition_holds(key, manifest):
            return Answer.PRECONDITION_FAILED
        deadline = self._deadlines.completion + manifest.size / self._deadlines.slowest / 64
        abilities = replace(abilities, checksum=self._sends_checksums(upload_id))
        listed = await part_list(parts, checksums=abilities.checksum)
        arguments = completion_arguments(manifest, listed, abilities)
        call = partial(self._call, "complete_multipart_upload", Key=key, UploadId=upload_id, deadline=deadline)
        try:
            answer, told = await self._complete(call, upload_id, arguments)
            if answer is Answer.NONE:
                self._uploads.unanswered.add(key)
            elif answer is Answer.DONE and certain and (etag := whole_object(told, manifest.crc64)):
                self._uploads.completed(upload_id, StoredObject(manifest.size, etag, manifest.crc64, {}))
            return answer
        except S3ConnectionCut as exc:
            cut = exc
        # A kept-alive connection may have been closed meanwhile, so that the request never arrived. If nothing has
        # happened, it is sent once more at once; otherwise the result of the first one is still unknown.
        self._uploads.unanswered.add(key)
        with suppress(S3OperationError):
            nothing_happened = await self._condition_holds(key, manifest)
            # Last, since its answer has a body: some load balancers close a connection after one that has none.
            await self._call("list_parts", Key=key, UploadId=upload_id, MaxParts=1)
            if nothing_happened and (await self._complete(call, upload_id, arguments))[0] is Answer.DONE:
                return Answer.DONE
        self._emit(moments.OperationFailed(operation="complete_upload", error=cut, attempt=1, wait_seconds=0.0))
        return Answer.NONE

    async def _complete(
        self, call: Callable[..., Awaitable[dict[str, Any]]], upload_id: str, arguments: Mapping[str, Any]
    ) -> tuple[Answer, Mapping[str, Any]]:
        """The store's answer, and what it says of the object. Raises ``S3ConnectionCut`` if the connection ended before
        it."""
        plain = {name: value for name, value in arguments.items() if name not in HARMLESS}
        try:
            told, _ = await self._learner.without_if_refused(call, arguments, plain)
        except S3ConnectionCut:
            raise
        except UploadGone:
            return Answer.UPLOAD_GONE, {}
        except S3WrongContent:
            return Answer.WRONG_CONTENT, {}
        except S3Rejected as exc:
            answer = completion_answer(exc)
            if answer is not Answer.PRECONDITION_FAILED:
                self._emit(moments.OperationFailed(operation="complete_upload", error=exc, attempt=1, wait_seconds=0.0))
            return answer, {}
        except S3Unavailable as exc:
            # Also after a refused condition: it is not known yet that the store does not support it.
            self._emit(moments.OperationFailed(operation="complete_upload", error=exc, attempt=1, wait_seconds=0.0))
            return Answer.NONE, {}
        self._uploads.ended(upload_id)
        return Answer.DONE, told

    async def abort_upload(self, key: str, upload_id: str) -> None:
        self._uploads.ended(upload_id)
        try:
            await self._call("abort_multipart_upload", Key=key, UploadId=upload_id)
        except (UploadGone, S3Rejected, S3NotAble):
            return
        except S3Unavailable as exc:
            if not exc.misconfigured:
                raise
            # Cleaning up never waits for a permission that may never be granted; a lifecycle rule does the same.
            self._emit(moments.OperationFailed(operation="abort_upload", error=exc, attempt=1, wait_seconds=0.0))

    async def _create(self, key: str, metadata: Mapping[str, str], *, checksum: bool) -> str:
        # Plain parameters are never omitted; declared checksums are, if the store refuses them.
        plain: dict[str, Any] = {"Metadata": dict(metadata), "ContentType": FILM}
        declared = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"} if checksum else {}
        call = partial(self._call, "create_multipart_upload", Key=key)
        try:
            answer, whole = await self._learner.without_if_refused(call, {**plain, **declared}, plain)
        except S3ConnectionCut:
            # For a kept-alive connection that was closed meanwhile: aiohttp itself repeats only idempotent requests. At
            # worst an upload without parts remains, which is aborted when this one is completed.
            self._uploads.unanswered.add(key)
            answer, whole = await self._learner.without_if_refused(call, {**plain, **declared}, plain)
        upload_id = str(answer["UploadId"])
        self._uploads.begun(upload_id, checksums=checksum and whole)
        self._uploads.begun_here(upload_id, metadata)
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
                deadline=self._requests.deadline_for(body.size, self._uploads.patience(upload_id)),
            )
            answer, _ = await self._learner.without_if_refused(call, arguments, plain)
        except PartNumberRefused as exc:
            exc.number = number
            raise
        except PartTooLarge as exc:
            exc.size = body.size
            raise
        except S3NotAble as exc:
            # The request has no optional parameters left, so the store cannot accept this part in this upload.
            hint = f"the recording is sent again in another upload; if that is refused too: {exc.hint}"
            raise PartNotTaken(str(exc), operation=exc.operation, hint=hint) from exc
        except S3Unavailable:
            if file.broken:
                raise file.broken from None
            if not file.has_stalled:
                self._uploads.part_took_too_long(upload_id)
            raise
        self._uploads.part_stored(upload_id)
        self._requests.body_sent(body.size, clock() - started)
        with reading("upload_part"):
            stored = stored_part(number, body.size, answer)
        check_answer(stored, body)
        return StoredPart(number, body.size, stored.etag, body.digest.crc64)

    async def _condition_holds(self, key: str, manifest: Manifest) -> bool:
        """For stores without conditional completion: the closest equivalent, with a small race window."""
        stored = await self.head(key)
        return (stored.etag if stored else None) == manifest.replaces

    # -- features of the store --------------------------------------------------------------------------------

    def _sends_checksums(self, upload_id: str) -> bool:
        """Whether parts of this upload, and its completion, carry checksums; an unknown upload counts as a new one."""
        if self._settings.checksum is Choice.OFF:
            return False
        known = self._uploads.with_checksums(upload_id)
        return self._learner.current().checksum if known is None else known


@asynccontextmanager
async def open_store(
    settings: StoreSettings,
    *,
    policy: RetryPolicy,
    emit: moments.Emit,
    deadlines: Deadlines | None = None,
    notes: ProbeNotes | None = None,
    on_secret: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[S3Client]:
    """One client for the life of the process. Makes no request yet: the store may be unavailable at the start.

    ``notes``: where the probe notes its uploads. ``on_secret`` receives each secret before it is used, so that no log
    line shows it.
    """
    limits = deadlines or Deadlines()
    credentials = RenewableCredentials(settings.keys, on_secret=on_secret)
    config = AioConfig(
        max_pool_connections=settings.connections,
        connect_timeout=5,
        read_timeout=24 * 3600,  # the deadline around each call applies instead
        ignore_configured_endpoint_urls=True,  # an endpoint that the operator did not set here is not used
        retries={"mode": "standard", "total_max_attempts": 1},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        signature_version="s3v4",
        user_agent=f"cefmp4/{__version__}",  # botocore's own takes a sixth of a request, and names no program
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
        take_part_lists(client.meta.events)
        find_endpoints_once(client)
        store = S3Client(
            client,
            settings,
            policy=policy,
            emit=emit,
            credentials=credentials,
            deadlines=limits,
            notes=notes,
        )
        stack.push_async_callback(store.close)
        yield store
