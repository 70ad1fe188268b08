"""Objects and documents: queries, downloads for hashing, and conditional writes of short recordings and documents."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any

import aiohttp
from awscrt import checksums as crt
from botocore.exceptions import BotoCoreError

from ..domain import Answer, ChunkBody, StoredObject, crc64_from_base64, crc64_to_base64, moments
from ..exceptions import S3OperationError, S3Rejected
from ..timeouts import timeout
from .abilities import PUT_CONDITIONS, Learner
from .answers import bare, content_md5, put_answer, whole_object, whole_size
from .bucket import Bucket
from .errors import no_sense, reading, translate
from .requests import Requests
from .settings import Deadlines
from .transport import BodyFile, heard
from .uploads import KnownUploads

#: Content-Type of every recording's object, whether it was uploaded in parts or in one request.
FILM = "video/mp4"
_DOCUMENT_LIMIT = 64 * 1024 * 1024
#: The store's answers if a condition of ``put_document`` does not hold.
_UNMET = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412"})

Call = Callable[..., Awaitable[dict[str, Any]]]


class Objects:
    """Objects and documents in one bucket; each call is one attempt."""

    def __init__(
        self,
        requests: Requests,
        bucket: Bucket,
        learner: Learner,
        deadlines: Deadlines,
        uploads: KnownUploads,
        emit: moments.Emit,
    ) -> None:
        self._requests = requests
        self._uploads = uploads
        self._call = requests.call
        self._call_once = requests.call_once
        self._bucket = bucket
        self._learner = learner
        self._deadlines = deadlines
        self._emit = emit

    async def head(self, key: str) -> StoredObject | None:
        return await self._head(self._call, key)

    async def glance(self, key: str) -> StoredObject | None:
        return await self._head(self._call_once, key)

    async def _head(self, call: Call, key: str) -> StoredObject | None:
        try:
            mode = {"ChecksumMode": "ENABLED"} if self._learner.current().checksum_mode else {}
            answer, _ = await self._learner.without_if_refused(partial(call, "head_object", Key=key), mode, {})
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
        """The length of an object whose HEAD answer lacks it: a request for one byte returns the total length."""
        try:
            answer = await self._call("get_object", Key=key, IfMatch=f'"{bare(etag)}"', Range="bytes=0-0")
        except S3Rejected as exc:
            raise no_sense("head_object", "it has no Content-Length") from exc
        answer["Body"].close()
        with reading("get_object"):
            return int(answer["ContentRange"].rpartition("/")[2])

    async def object_crc64(self, key: str, etag: str) -> int | None:
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

    async def put_whole(
        self, key: str, metadata: Mapping[str, str], body: ChunkBody
    ) -> tuple[Answer, StoredObject | None]:
        crc64, file = body.digest.crc64, BodyFile(body)
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            # aiohttp repeats it once if the connection ends before the answer: the second may find the first's object.
            told = await self._call(
                "put_object",
                Key=key,
                Body=file,
                ContentLength=body.size,
                ContentType=FILM,
                Metadata=dict(metadata),
                ChecksumCRC64NVME=crc64_to_base64(crc64),
                IfNoneMatch="*",
                deadline=self._requests.deadline_for(body.size, self._uploads.patience(key)),
            )
        except S3OperationError as exc:
            if file.broken:
                raise file.broken from None  # an incomplete request, which stores nothing
            answer = put_answer(exc, emit=self._emit)
            if answer is Answer.NONE and not file.has_stalled:
                self._uploads.part_took_too_long(key)
            return answer, None
        self._uploads.part_stored(key)
        self._requests.body_sent(body.size, clock() - started)
        etag = whole_object(told, crc64)
        return Answer.DONE, StoredObject(body.size, etag, crc64, metadata) if etag else None

    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        await self._bucket.prepare()
        abilities = await self._learner.for_conditions(PUT_CONDITIONS)
        arguments: dict[str, Any] = {"Body": body, "ContentType": "application/json"}
        if replaces is None and abilities.put_if_none_match:
            arguments["IfNoneMatch"] = "*"
        elif replaces is None and (there := await self.get_document(key)) is not None:
            return there[0] == body
        if replaces is not None and abilities.put_if_match:
            arguments["IfMatch"] = f'"{replaces}"'
        plain = {**arguments, "ContentMD5": content_md5(hashlib.md5(body, usedforsecurity=False).hexdigest())}
        summed = {**arguments, "ChecksumCRC64NVME": crc64_to_base64(crt.crc64nvme(body))}
        try:
            call = partial(self._call, "put_object", Key=key)
            await self._learner.without_if_refused(call, summed if abilities.checksum else plain, plain)
        except S3Rejected as exc:
            if exc.code not in _UNMET:
                raise
            # Our own earlier attempt may have succeeded although its answer was lost.
            stored = await self.get_document(key)
            return stored is not None and stored[0] == body
        return True

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
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

    async def _get(self, key: str, **arguments: Any) -> dict[str, Any]:
        """An object as it is stored, without any Content-Encoding added by a proxy."""
        answer = await self._call("get_object", Key=key, **arguments)
        packed = answer.get("ContentEncoding", "")
        if packed.removeprefix("aws-chunked").strip(", ") in ("", "identity"):
            return answer
        try:
            head = await self._call("head_object", Key=key)
            if (head.get("ContentEncoding"), head.get("ContentLength")) == (packed, answer.get("ContentLength")):
                return answer  # it is stored that way
            raise no_sense("get_object", f"the object has Content-Encoding {packed}")
        except BaseException:
            answer["Body"].close()
            raise

    async def _pieces(self, body: Any) -> AsyncGenerator[bytes, None]:
        """An answer's body in pieces, each of which must arrive within the deadline of a call."""
        try:
            while True:
                async with timeout(self._deadlines.call):
                    piece = await body.read(1024 * 1024)
                heard()
                if not piece:
                    return
                yield piece
        except (TimeoutError, BotoCoreError, OSError, aiohttp.ClientError) as exc:
            raise translate(exc, operation="get_object") from exc
        finally:
            body.close()
