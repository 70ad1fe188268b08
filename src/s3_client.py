"""Multipart uploads and objects in one S3 bucket, through aiobotocore; no type of botocore's leaves this module.

What the operator should know of it:

* One session and one client for the life of the process. Retries are ours alone (``retry``), botocore makes one
  attempt. Every call has a deadline that follows the size of its body and the speed seen so far, because neither
  botocore nor aiohttp runs a timer while a body is written.
* The header ``Expect: 100-continue`` is not sent: a store that never answers it would hang the part for ever.
* A part carries the CRC64NVME that was computed on its very bytes, the completion that of the whole object, its
  size and a condition on the key, as far as the store knows these things. What it knows is a setting or is learnt
  (``auto``) with one small object at the key ``.cefmp4-probe``.
* With payload signing on, the SHA-256 comes from the thread that read the chunk, never from the event loop.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar
from urllib.parse import unquote_plus, urlsplit

import aioboto3
import aiohttp.payload
import botocore.auth
import botocore.handlers
import botocore.utils
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from awscrt import checksums as crt
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from .checksums import crc64_from_base64, crc64_to_base64
from .credentials import KeySettings, RenewableCredentials
from .exceptions import (
    ChunkProcessingError,
    ConfigurationError,
    FileChanged,
    S3OperationError,
    S3Rejected,
    S3Unavailable,
    UploadGone,
)
from .object_keys import PROBE_KEY
from .part_plan import S3_LIMITS
from .ports import ChunkBody, Hashes
from .recording import Answer, Chunk, ListedObject, Manifest, OpenUpload, StoredObject, StoredPart
from .request_outcome import ErrorClass, ServiceObserver, observed
from .retry import RetryPolicy, until_it_works

T = TypeVar("T")

_PARTS_A_PAGE = 200  # a page of 1,000 keeps the event loop busy for 50 ms
_LONGEST_PROBE = timedelta(minutes=5)
_PING_SECONDS = 2.5  # less than whoever asks for readiness waits, so that the silence is told
_DOCUMENT_LIMIT = 64 * 1024 * 1024


class Choice(StrEnum):
    """A store's ability as the operator set it."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How to reach the bucket."""

    bucket: str
    endpoint_url: str | None = None
    keys: KeySettings = field(default_factory=KeySettings)
    region: str | None = None
    key_prefix: str = ""
    addressing_style: str = "auto"
    checksum: Choice = Choice.AUTO
    conditional_writes: Choice = Choice.AUTO
    part_copy: Choice = Choice.AUTO
    equal_parts: Choice = Choice.AUTO
    payload_signing: Choice = Choice.AUTO
    connections: int = 32

    @property
    def is_aws(self) -> bool:
        """Whether this is Amazon's own S3, whose abilities need no probe."""
        host = urlsplit(self.endpoint_url or "").hostname
        return host is None or host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    @property
    def wants_equal_parts(self) -> bool:
        """Whether all parts but the last must have one size (Cloudflare R2, known by its endpoint)."""
        if self.equal_parts is not Choice.AUTO:
            return self.equal_parts is Choice.ON
        return (urlsplit(self.endpoint_url or "").hostname or "").endswith(".r2.cloudflarestorage.com")

    @property
    def signs_payloads(self) -> bool:
        """Off over TLS and on loopback, where our checksum guards the bytes; on over plain http elsewhere."""
        if self.payload_signing is not Choice.AUTO:
            return self.payload_signing is Choice.ON
        url = urlsplit(self.endpoint_url or "https://")
        return url.scheme != "https" and url.hostname not in ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the store can do beyond the oldest S3. ``checksum``: it verifies CRC64NVME of parts and whole objects."""

    checksum: bool
    if_none_match: bool
    if_match: bool
    object_size: bool
    part_copy: bool


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a call may take: a fixed part, and a part that follows the size of what it moves.

    ``slowest`` is the speed in bytes a second that is still believed in when nothing was measured; ``patience`` is
    how many times slower than measured a part may be before it counts as hanging.
    """

    call: float = 30.0
    completion: float = 900.0
    slowest: float = 64 * 1024
    patience: float = 10.0

    def for_body(self, size: int, measured: float | None) -> float:
        """The deadline of a request with ``size`` bytes at the measured bytes a second."""
        return self.call + size / max(self.slowest, (measured or 0.0) / self.patience)


class _BodyFile:
    """What botocore asks of a body beside its bytes, which go through ``_BodyPayload`` alone."""

    def __init__(self, body: ChunkBody) -> None:
        self.body = body
        self.broken: FileChanged | ChunkProcessingError | None = None
        self._position = 0

    def __len__(self) -> int:
        return self.body.size

    def __bool__(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.body.size}[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Botocore takes nothing for a body that has no ``read``; whoever called it would copy the chunk."""
        raise io.UnsupportedOperation("a chunk is written piece by piece")


class _BodyPayload(aiohttp.payload.Payload):
    """Writes a chunk piece by piece, so that neither a large copy nor a long write stalls the event loop."""

    _value: _BodyFile

    def __init__(self, value: _BodyFile, *args: Any, **kwargs: Any) -> None:
        super().__init__(value, *args, **kwargs)
        self._size = value.body.size

    async def write(self, writer: Any) -> None:
        try:
            async for piece in self._value.body.pieces():
                await writer.write(piece)
        except (FileChanged, ChunkProcessingError) as exc:
            self._value.broken = exc
            raise

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a chunk of a recording is no text")


aiohttp.payload.PAYLOAD_REGISTRY.register(_BodyPayload, _BodyFile)


class _PresummedSigV4(botocore.auth.S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signature version 4 with the SHA-256 that came with the body instead of another pass over it."""

    def payload(self, request: Any) -> str:
        body = request.body
        if isinstance(body, _BodyFile) and body.body.sha256 and self._should_sha256_sign_payload(request):
            return body.body.sha256
        return str(super().payload(request))


class _NeverElsewhere(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """Follows no redirect: aiohttp would take a request, and what is in it, to whatever host an answer names."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        return SimpleNamespace(request=partial(session.request, allow_redirects=False))


_SIGNER = "s3v4-presummed"
botocore.auth.AUTH_TYPE_MAPS[_SIGNER] = _PresummedSigV4

_MISCONFIGURED = {
    "AccessDenied": "give these credentials the rights listed in docs/operations.md on this bucket",
    "AllAccessDisabled": "the account or bucket is disabled",
    "301": "set S3_REGION_NAME to the bucket's region",
    "AuthorizationHeaderMalformed": "set S3_REGION_NAME to the bucket's region",
    "ExpiredToken": "the session token has expired; supply new credentials",
    "InvalidAccessKeyId": "check S3_ACCESS_KEY_ID",
    "InvalidBucketName": "check S3_BUCKET_NAME",
    "InvalidToken": "supply new credentials",
    "NoSuchBucket": "create the bucket, or check S3_BUCKET_NAME",
    "PermanentRedirect": "set S3_REGION_NAME and S3_ENDPOINT_URL to the bucket's own",
    "RequestTimeTooSkewed": "set this machine's clock",
    "SignatureDoesNotMatch": "check S3_SECRET_ACCESS_KEY",
}
_NOT_A_STORE = "something else than the store answers; check S3_ENDPOINT_URL and what is between here and the store"
#: What an answer must say to be a store's; a page of another program says none of it, with the same status.
_ANSWERED = {
    "complete_multipart_upload": "ETag",
    "create_multipart_upload": "UploadId",
    "get_object": "ETag",
    "head_object": "ETag",
    "list_multipart_uploads": "IsTruncated",
    "list_objects_v2": "IsTruncated",
    "list_parts": "IsTruncated",
    "put_object": "ETag",
    "upload_part": "ETag",
    "upload_part_copy": "CopyPartResult",
}
#: A HEAD has no body that could name S3's code; the others are done without where a store does not know them.
_NEEDS_NO_CODE = {
    "abort_multipart_upload",
    "create_bucket",
    "head_bucket",
    "head_object",
    "list_multipart_uploads",
    "upload_part_copy",
}
_SHOWN = 300  # characters of what a store says, in a message
#: A HEAD that is refused says no more than 403.
_REFUSED = "check S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET_NAME, and the key's rights on the bucket"
#: A body that the store calls another one so often was changed after its checksum was made: it is read again.
_MOST_REFUSED_SUMS = 3
_WRONG_SUM = ("BadDigest", "XAmzContentChecksumMismatch")
_MEMORY = "if it goes on, something changes the bytes on their way, or this machine's memory does"
_TRANSIENT = {
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}


_REFUSES_CREDENTIALS = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "400", "403"}
)


def _refuses_credentials(exc: Exception) -> bool:
    """Whether other credentials might be accepted. A HEAD, which has no body, says only 400 or 403."""
    if isinstance(exc, ClientError):
        return _code_of(exc)[0] in _REFUSES_CREDENTIALS
    return isinstance(exc, NoCredentialsError | PartialCredentialsError)


def _code_of(exc: ClientError) -> tuple[str, int]:
    error = exc.response.get("Error", {})
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(error.get("Code", "")), int(status)


def _was_cut(cause: object) -> bool:
    """aiobotocore says "could not connect" of a connection that broke, too."""
    never_stood = isinstance(cause, aiohttp.ClientConnectorError | socket.gaierror)
    return isinstance(cause, OSError | aiohttp.ClientError) and not never_stood


def translate(exc: Exception, *, operation: str) -> S3OperationError:
    """Sort botocore's error by what the caller should do. The message names code and operation, never a secret."""
    if isinstance(exc, ClientError):
        code, status = _code_of(exc)
        text = f"{operation}: {code or status} {exc.response.get('Error', {}).get('Message', '')}".strip()[:_SHOWN]
        if code == "NoSuchUpload":
            return UploadGone(text, operation=operation)
        if code == "InvalidObjectState":  # an archived object, as a source
            return S3Rejected(text, operation=operation, code=code)
        if code in _MISCONFIGURED or code.startswith("KMS.") or status in (401, 403):
            hint = _MISCONFIGURED.get(code, _REFUSED)
            return S3Unavailable(text, operation=operation, hint=hint, misconfigured=True)
        if 300 <= status < 400:
            hint = _MISCONFIGURED.get(code, _MISCONFIGURED["PermanentRedirect"])
            return S3Unavailable(text, operation=operation, hint=hint, misconfigured=True)
        # A HEAD has no body that could say more than 400: an expired token, for one.
        if status == 501 or code == "NotImplemented":  # some stores answer so to what they do not know
            return S3Rejected(text, operation=operation, code="NotImplemented")
        if code in _TRANSIENT or code == "400" or status >= 500 or status in (0, 408, 429):
            return S3Unavailable(text, operation=operation)
        if status == 412:
            return S3Rejected(text, operation=operation, code="PreconditionFailed")
        if code in ("", str(status)) and status != 409 and operation not in _NEEDS_NO_CODE:
            return S3Unavailable(text, operation=operation, hint=_NOT_A_STORE, misconfigured=True)
        return S3Rejected(text, operation=operation, code=code or str(status))
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        hint = "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY (and start again), or give the machine a role"
        return S3Unavailable(f"{operation}: no S3 credentials", operation=operation, hint=hint, misconfigured=True)
    if isinstance(exc, EndpointConnectionError) and _was_cut(exc.kwargs.get("error")):
        return S3Unavailable(f"{operation}: the connection was cut", operation=operation)
    if isinstance(exc, EndpointConnectionError | ConnectTimeoutError):
        hint = "check S3_ENDPOINT_URL and that the store runs"
        return S3Unavailable(f"{operation}: {exc}", operation=operation, hint=hint)
    return S3Unavailable(f"{operation}: {type(exc).__name__}: {str(exc)[:_SHOWN]}", operation=operation)


_CLASSES: Mapping[str, ErrorClass] = {
    "NoSuchBucket": ErrorClass.NOT_FOUND,
    "NoSuchKey": ErrorClass.NOT_FOUND,
    "NoSuchUpload": ErrorClass.NOT_FOUND,
    "RequestTimeout": ErrorClass.TIMEOUT,
    "SlowDown": ErrorClass.THROTTLED,
    "Throttling": ErrorClass.THROTTLED,
    "ThrottlingException": ErrorClass.THROTTLED,
    "TooManyRequests": ErrorClass.THROTTLED,
}
_STATUS_CLASSES: Mapping[int, ErrorClass] = {
    401: ErrorClass.DENIED,
    403: ErrorClass.DENIED,
    404: ErrorClass.NOT_FOUND,
    408: ErrorClass.TIMEOUT,
    409: ErrorClass.CONFLICT,
    412: ErrorClass.CONFLICT,
    429: ErrorClass.THROTTLED,
}


def error_class(exc: BaseException) -> ErrorClass:
    """The word by which the metrics tell botocore's error."""
    if isinstance(exc, ClientError):
        code, status = _code_of(exc)
        if code in _REFUSES_CREDENTIALS - {"400"}:
            return ErrorClass.DENIED
        if found := _CLASSES.get(code) or _STATUS_CLASSES.get(status):
            return found
        return ErrorClass.SERVER if status >= 500 else ErrorClass.OTHER
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        return ErrorClass.DENIED
    if isinstance(exc, TimeoutError | ConnectTimeoutError | ReadTimeoutError):
        return ErrorClass.TIMEOUT
    broken = OSError | aiohttp.ClientError | HTTPClientError | BotoConnectionError
    return ErrorClass.CONNECTION if isinstance(exc, broken) else ErrorClass.OTHER


#: What botocore's parsers, and our reading of what they give, raise at an answer that no store would give.
_NONSENSE = (ResponseParserError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _no_sense(operation: str, what: object) -> S3Unavailable:
    message = f"{operation}: the answer makes no sense: {str(what)[:_SHOWN]}"
    return S3Unavailable(message, operation=operation, hint=_NOT_A_STORE)


@contextmanager
def _reading(operation: str) -> Iterator[None]:
    """Round the reading of an answer, and nothing else: what cannot be read was not said by a store."""
    try:
        yield
    except _NONSENSE as exc:
        raise _no_sense(operation, repr(exc)) from exc


class S3Client:
    """The port ``ObjectStore`` on a real bucket. Build it with ``open_store``."""

    def __init__(
        self,
        client: Any,
        settings: StoreSettings,
        *,
        policy: RetryPolicy,
        observer: ServiceObserver,
        credentials: RenewableCredentials,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._client = client
        self._credentials = credentials
        self._settings = settings
        self._policy = policy
        self._observer = observer
        self._deadlines = deadlines or Deadlines()
        self._abilities: Abilities | None = None
        self._preparing = asyncio.Lock()
        self._speed: float | None = None

    @property
    def bucket(self) -> str:
        return self._settings.bucket

    @property
    def is_atomic(self) -> bool:
        return self._settings.is_aws

    async def hashes(self) -> Hashes:
        abilities = await self.abilities()
        return Hashes(md5=not abilities.checksum, sha256=self._settings.signs_payloads)

    async def abilities(self) -> Abilities:
        """What the store can do: set, known, or learnt once with the probe key."""
        return await self._retried("probe", self._prepare)

    async def abort_forgotten_probes(self) -> None:
        """Abort what a process that was killed while it learnt has left at the probe's key.

        What began in the last minutes may be the probe of another daemon at work.
        """
        before = datetime.now(UTC) - _LONGEST_PROBE
        for upload in await self.list_uploads(self._probe_key):
            if upload.initiated_at is not None and upload.initiated_at < before:
                await self.abort_upload(upload.key, upload.upload_id)

    async def days_of_an_upload(self) -> int | None:
        """After how many days a rule of the bucket aborts unfinished uploads; None: no rule, or it is not told."""
        try:
            answer = await self._call("get_bucket_lifecycle_configuration")
        except S3OperationError:
            return None  # no rules, no such ability, or no right to see them: nothing depends on it
        rules = [rule for rule in answer.get("Rules", []) if rule.get("Status") == "Enabled"]
        days = [rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation") for rule in rules]
        return min((each for each in days if each is not None), default=None)

    @property
    def _probe_key(self) -> str:
        return f"{self._settings.key_prefix}{PROBE_KEY}"

    async def ping(self) -> None:
        """Raise ``S3Unavailable`` unless the bucket answers now."""
        try:
            await self._call("head_bucket", deadline=_PING_SECONDS)
        except S3Unavailable as exc:
            self._observer.operation_failed(operation="s3.ping", error=exc, attempt=1, wait_seconds=0.0)
            raise

    # -- uploads ----------------------------------------------------------------------------------------------

    async def create_upload(self, key: str, metadata: Mapping[str, str]) -> str:
        async def create() -> str:
            abilities = await self._prepare()
            return await self._create(key, metadata, checksum=abilities.checksum)

        return await self._retried("create_upload", create)

    async def upload_part(self, key: str, upload_id: str, number: int, body: ChunkBody) -> StoredPart:
        refused_sums = 0

        async def send() -> StoredPart:
            nonlocal refused_sums
            abilities = await self._prepare()
            try:
                return await self._send_part(key, upload_id, number, body, abilities)
            except S3Unavailable as exc:
                refused_sums += any(code in str(exc) for code in _WRONG_SUM)
                if refused_sums == _MOST_REFUSED_SUMS:
                    raise ChunkProcessingError(str(exc), operation="upload_part", hint=_MEMORY) from exc
                # A refusal can be lost when it comes in mid-body and the line is cut: ask in a way that is heard.
                with suppress(S3Unavailable, S3Rejected):
                    await self._call("list_parts", Key=key, UploadId=upload_id, MaxParts=1)
                raise

        return await self._retried("upload_part", send)

    async def copy_part(
        self, key: str, upload_id: str, chunk: Chunk, *, source_key: str, source_etag: str
    ) -> StoredPart | None:
        async def copy() -> StoredPart | None:
            if not (await self._prepare()).part_copy:
                return None
            answer = await self._call(
                "upload_part_copy",
                Key=key,
                UploadId=upload_id,
                PartNumber=chunk.number,
                CopySource={"Bucket": self.bucket, "Key": source_key},
                CopySourceIfMatch=f'"{source_etag}"',
                CopySourceRange=f"bytes={chunk.offset}-{chunk.offset + chunk.size - 1}",
                deadline=self._deadlines.for_body(chunk.size, self._speed),
            )
            with _reading("upload_part_copy"):
                return _stored_part(chunk.number, chunk.size, answer["CopyPartResult"])

        try:
            return await self._retried("copy_part", copy)
        except S3Rejected:
            return None

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        async def list_all() -> dict[int, StoredPart]:
            found: dict[int, StoredPart] = {}
            async for page in self._pages("list_parts", Key=key, UploadId=upload_id, MaxParts=_PARTS_A_PAGE):
                with _reading("list_parts"):
                    if page.get("UploadId", upload_id) != upload_id:
                        raise ValueError("it is about another upload")
                    for part in map(_listed_part, page.get("Parts", [])):
                        if found.setdefault(part.number, part) != part:
                            raise ValueError(f"part {part.number} is listed twice, and differs")
            return found

        return await self._retried("list_parts", list_all)

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        abilities = await self.abilities()
        conditional = abilities.if_none_match if manifest.replaces is None else abilities.if_match
        if not conditional and not await self._condition_holds(key, manifest):
            return Answer.PRECONDITION_FAILED
        arguments = _completion_arguments(manifest, parts, abilities)
        deadline = self._deadlines.completion + manifest.size / self._deadlines.slowest / 64
        try:
            await self._call("complete_multipart_upload", Key=key, UploadId=upload_id, deadline=deadline, **arguments)
        except UploadGone:
            return Answer.UPLOAD_GONE
        except S3Rejected as exc:
            answer = _completion_answer(exc)
            if answer is not Answer.PRECONDITION_FAILED:
                self._observer.operation_failed(operation="complete_upload", error=exc, attempt=1, wait_seconds=0.0)
            return answer
        except S3Unavailable as exc:
            if "BadDigest" in str(exc):
                return Answer.WRONG_CONTENT
            self._observer.operation_failed(operation="complete_upload", error=exc, attempt=1, wait_seconds=0.0)
            return Answer.NONE
        return Answer.DONE

    async def abort_upload(self, key: str, upload_id: str) -> None:
        async def abort() -> None:
            try:
                await self._call("abort_multipart_upload", Key=key, UploadId=upload_id)
            except (UploadGone, S3Rejected):
                return
            except S3Unavailable as exc:
                if not exc.misconfigured:
                    raise
                # Tidying up is worth no waiting for a right that may never be given; a lifecycle rule does it too.
                self._observer.operation_failed(operation="abort_upload", error=exc, attempt=1, wait_seconds=0.0)

        await self._retried("abort_upload", abort)

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        # Some stores encode keys as they were asked to without saying so.
        listed = await self.list_uploads_under(key)
        return [replace(upload, key=key) for upload in listed if key in (upload.key, unquote_plus(upload.key))]

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        async def list_all() -> list[OpenUpload]:
            found: list[OpenUpload] = []
            async for page in self._pages("list_multipart_uploads", Prefix=prefix, EncodingType="url"):
                decoded = unquote_plus if page.get("EncodingType") == "url" else str
                with _reading("list_multipart_uploads"):
                    found += [
                        OpenUpload(decoded(entry["Key"]), entry["UploadId"], entry.get("Initiated"))
                        for entry in page.get("Uploads", [])
                    ]
            return found

        try:
            return await self._retried("list_uploads", list_all)
        except S3Rejected:
            return []  # a store that cannot list them: nothing is found, and nothing aborted

    # -- objects ----------------------------------------------------------------------------------------------

    async def head(self, key: str) -> StoredObject | None:
        return await self._retried("head", lambda: self._head(key))

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        async def list_all() -> list[ListedObject]:
            found: list[ListedObject] = []
            async for page in self._pages("list_objects_v2", Prefix=prefix):
                with _reading("list_objects_v2"):
                    found += filter(wanted, map(_listed_object, page.get("Contents", [])))
            return found

        return await self._retried("list_objects", list_all)

    async def object_crc64(self, key: str, etag: str) -> int | None:
        async def fetch() -> int | None:
            try:
                answer = await self._get(key, IfMatch=f'"{etag}"')
            except S3Rejected:
                return None
            if _bare(answer["ETag"]) != etag:
                answer["Body"].close()
                return None
            crc = 0
            async for piece in self._pieces(answer["Body"]):
                crc = crt.crc64nvme(piece, crc)
            return crc

        return await self._retried("get_object", fetch)

    async def put_document(self, key: str, body: bytes, *, replaces: str | None) -> bool:
        async def put() -> bool:
            abilities = await self._prepare()
            arguments: dict[str, Any] = {"Body": body, "ContentType": "application/json"}
            if abilities.checksum:
                arguments["ChecksumCRC64NVME"] = crc64_to_base64(crt.crc64nvme(body))
            if replaces is None and abilities.if_none_match:
                arguments["IfNoneMatch"] = "*"
            elif replaces is None and (there := await self._get_document(key)) is not None:
                return there[0] == body
            if replaces is not None and abilities.if_match:
                arguments["IfMatch"] = f'"{replaces}"'
            try:
                await self._call("put_object", Key=key, **arguments)
            except S3Rejected as exc:
                if exc.code not in ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "404"):
                    raise
                # Our own earlier attempt may have got through and lost its answer.
                stored = await self._get_document(key)
                return stored is not None and stored[0] == body
            return True

        return await self._retried("put_document", put)

    async def get_document(self, key: str) -> tuple[bytes, str] | None:
        return await self._retried("get_document", lambda: self._get_document(key))

    # -- how a call is made -----------------------------------------------------------------------------------

    async def _retried(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        return await until_it_works(f"s3.{operation}", call, policy=self._policy, observer=self._observer)

    async def _call(self, operation: str, *, deadline: float | None = None, **arguments: Any) -> dict[str, Any]:
        with observed(self._observer, "s3", operation, error_class):
            return await self._ask(operation, deadline=deadline, **arguments)

    async def _ask(self, operation: str, *, deadline: float | None, **arguments: Any) -> dict[str, Any]:
        seconds = deadline or self._deadlines.call
        try:
            async with asyncio.timeout(seconds):
                answer: dict[str, Any] = await getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        except TimeoutError:
            message = f"{operation}: no answer within {seconds:.0f} s"
            raise S3Unavailable(message, operation=operation) from None
        except (ClientError, BotoCoreError, OSError, aiohttp.ClientError) as exc:
            if _refuses_credentials(exc):
                self._credentials.refused()
            raise translate(exc, operation=operation) from exc
        except _NONSENSE as exc:
            raise _no_sense(operation, repr(exc)) from exc
        if operation in _ANSWERED and not _is_said(answer.get(_ANSWERED[operation])):
            if "Body" in answer:
                answer["Body"].close()
            raise _no_sense(operation, f"it has no {_ANSWERED[operation]}")
        return answer

    async def _pages(self, operation: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """The pages of a listing. One that leads back to a page that was seen would have no end."""
        markers: list[dict[str, Any]] = [{}]
        while True:
            page = await self._call(operation, **arguments, **markers[-1])
            yield page
            if not page["IsTruncated"]:
                return
            with _reading(operation):
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
            raise _no_sense("get_object", f"the object came packed with {packed}")
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
                    return b"", _bare(answer["ETag"])
        return b"".join(pieces), _bare(answer["ETag"])

    async def _create(self, key: str, metadata: Mapping[str, str], *, checksum: bool) -> str:
        arguments: dict[str, Any] = {"Metadata": dict(metadata), "ContentType": "video/mp4"}
        if checksum:
            arguments |= {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
        answer = await self._call("create_multipart_upload", Key=key, **arguments)
        return str(answer["UploadId"])

    async def _send_part(
        self, key: str, upload_id: str, number: int, body: ChunkBody, abilities: Abilities
    ) -> StoredPart:
        file = _BodyFile(body)
        arguments: dict[str, Any] = {"Body": file, "ContentLength": body.size}
        if abilities.checksum:
            arguments["ChecksumCRC64NVME"] = crc64_to_base64(body.digest.crc64)
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            answer = await self._call(
                "upload_part",
                Key=key,
                UploadId=upload_id,
                PartNumber=number,
                deadline=self._deadlines.for_body(body.size, self._speed),
                **arguments,
            )
        except S3Unavailable:
            if file.broken:
                raise file.broken from None
            if self._speed is not None:
                self._speed /= 4  # a deadline that was too short must not be too short again
            raise
        self._measure(body.size, clock() - started)
        with _reading("upload_part"):
            stored = _stored_part(number, body.size, answer)
        _check_answer(stored, body)
        return StoredPart(number, body.size, stored.etag, body.digest.crc64)

    def _measure(self, size: int, seconds: float) -> None:
        speed = size / max(seconds, 1e-6)
        self._speed = speed if self._speed is None else 0.8 * self._speed + 0.2 * speed

    async def _head(self, key: str) -> StoredObject | None:
        try:
            answer = await self._call("head_object", Key=key, ChecksumMode="ENABLED")
        except S3Rejected as exc:
            if exc.code in ("404", "NoSuchKey", "NotFound"):
                return None
            raise
        whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        crc = answer.get("ChecksumCRC64NVME") if whole else None
        metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
        with _reading("head_object"):
            size, etag = _size(answer["ContentLength"]), _bare(answer["ETag"])
            return StoredObject(size, etag, crc64_from_base64(crc) if crc else None, metadata)

    async def _condition_holds(self, key: str, manifest: Manifest) -> bool:
        """For stores without conditional completion: the closest that can be had, with a small window."""
        stored = await self.head(key)
        return (stored.etag if stored else None) == manifest.replaces

    # -- learning what the store can do -----------------------------------------------------------------------

    async def _prepare(self) -> Abilities:
        """Bucket and abilities, made sure of once; a single attempt, so that callers retry as a whole."""
        if self._abilities is None:
            async with self._preparing:
                if self._abilities is None:
                    await self._ensure_bucket()
                    self._abilities = await self._learn()
        return self._abilities

    async def _ensure_bucket(self) -> None:
        try:
            await self._call("head_bucket")
            return
        except S3Rejected as exc:
            if exc.code not in ("404", "NoSuchBucket"):
                raise
        except S3Unavailable as exc:
            if "NoSuchBucket" not in str(exc):
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
        except S3Rejected as exc:
            if exc.code not in ("InvalidLocationConstraint", "MalformedXML", "NotImplemented"):
                raise
            await self._call("create_bucket")  # a store of one region that knows no others

    async def _learn(self) -> Abilities:
        settings = self._settings
        fixed = (settings.checksum, settings.conditional_writes)
        if settings.is_aws or Choice.AUTO not in fixed:
            learnt = Abilities(True, True, True, True, True)
        else:
            learnt = await _Probe(self, self._probe_key).run()
        return Abilities(
            checksum=_choose(settings.checksum, learnt.checksum),
            if_none_match=_choose(settings.conditional_writes, learnt.if_none_match),
            if_match=_choose(settings.conditional_writes, learnt.if_match),
            object_size=learnt.object_size and settings.checksum is not Choice.OFF,
            part_copy=_choose(settings.part_copy, learnt.part_copy),
        )


def _choose(choice: Choice, learnt: bool) -> bool:
    return learnt if choice is Choice.AUTO else choice is Choice.ON


class _Probe:
    """Learns what a store verifies by giving it what it must refuse, at one documented key.

    The store holds one object of one byte afterwards; every upload that the probe began is aborted. What is
    accepted although it is wrong counts as not supported.
    """

    _BYTE = b"\0"

    def __init__(self, store: S3Client, key: str) -> None:
        self._store = store
        self._key = key
        self._crc = crt.crc64nvme(self._BYTE)

    async def run(self) -> Abilities:
        """One attempt; trouble is raised for the caller to retry."""
        checksum = await self._refuses_wrong(crc=self._crc ^ 1)
        size = await self._refuses_wrong(checksum=checksum, size=2)
        if await self._store._head(self._key) is None:
            await self._store._call("put_object", Key=self._key, Body=self._BYTE)
        fresh = await self._refuses_wrong(checksum=checksum, condition={"IfNoneMatch": "*"})
        same = await self._refuses_wrong(checksum=checksum, condition={"IfMatch": '"' + "0" * 32 + '"'})
        return Abilities(checksum, fresh, same, size, part_copy=True)

    async def _refuses_wrong(
        self,
        *,
        checksum: bool = True,
        crc: int | None = None,
        size: int | None = None,
        condition: Mapping[str, str] | None = None,
    ) -> bool:
        call = self._store._call
        try:
            upload_id = await self._store._create(self._key, {}, checksum=checksum)
        except S3Rejected:
            return False
        try:
            part: dict[str, Any] = {"ChecksumCRC64NVME": crc64_to_base64(self._crc)} if checksum else {}
            sent = await call("upload_part", Key=self._key, UploadId=upload_id, PartNumber=1, Body=self._BYTE, **part)
            arguments: dict[str, Any] = dict(condition or {})
            if checksum:
                whole = self._crc if crc is None else crc
                arguments |= {"ChecksumType": "FULL_OBJECT", "ChecksumCRC64NVME": crc64_to_base64(whole)}
            if size is not None:
                arguments["MpuObjectSize"] = size
            completed = {"PartNumber": 1, "ETag": sent["ETag"], **part}
            await call(
                "complete_multipart_upload",
                Key=self._key,
                UploadId=upload_id,
                MultipartUpload={"Parts": [completed]},
                **arguments,
            )
        except S3Rejected as exc:
            return exc.code not in ("NotImplemented", "501") and await self._aborted(upload_id)
        except UploadGone as exc:  # somebody has tidied up here: no answer to what was asked
            raise S3Unavailable(str(exc), operation="probe") from exc
        except S3Unavailable as exc:
            await self._aborted(upload_id)
            if "BadDigest" in str(exc):
                return True
            raise
        return False

    async def _aborted(self, upload_id: str) -> bool:
        try:
            await self._store._call("abort_multipart_upload", Key=self._key, UploadId=upload_id)
        except S3OperationError:
            return True  # the probe's own leftovers are not worth failing for
        return True


#: For each listing: where the next page begins, in the request and in the answer before it.
_MARKERS = {
    "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
}


def _bare(etag: str) -> str:
    """Without its quotes, and without the mark of a proxy that packs answers."""
    return etag.removeprefix("W/").strip('"')


def _is_said(value: object) -> bool:
    """Whether an answer really says this: one value, and not an empty one."""
    return bool(_bare(value)) if isinstance(value, str) else isinstance(value, bool | dict)


def _size(value: int) -> int:
    if value < 0:
        raise ValueError(f"a size of {value}")
    return value


def _listed_part(entry: Mapping[str, Any]) -> StoredPart:
    number = entry["PartNumber"]
    if not 1 <= number <= S3_LIMITS.max_parts:
        raise ValueError(f"a part with the number {number}")
    return _stored_part(number, _size(entry["Size"]), entry)


def _stored_part(number: int, size: int, entry: Mapping[str, Any]) -> StoredPart:
    crc = entry.get("ChecksumCRC64NVME")
    modified: datetime | None = entry.get("LastModified")
    return StoredPart(number, size, _bare(entry["ETag"]), crc64_from_base64(crc) if crc else None, modified)


def _check_answer(stored: StoredPart, body: ChunkBody) -> None:
    """A store that says what it stored must say what was sent; otherwise the part is sent again."""
    if stored.crc64 is not None and stored.crc64 != body.digest.crc64:
        raise S3Unavailable(f"part {stored.number} was stored with another checksum", operation="upload_part")


def _completion_arguments(manifest: Manifest, parts: Sequence[StoredPart], abilities: Abilities) -> dict[str, Any]:
    named: list[dict[str, Any]] = []
    for part in parts:
        entry: dict[str, Any] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
        if abilities.checksum and part.crc64 is not None:
            entry["ChecksumCRC64NVME"] = crc64_to_base64(part.crc64)
        named.append(entry)
    arguments: dict[str, Any] = {"MultipartUpload": {"Parts": named}}
    if abilities.checksum:
        arguments |= {"ChecksumType": "FULL_OBJECT", "ChecksumCRC64NVME": crc64_to_base64(manifest.crc64)}
    if abilities.object_size:
        arguments["MpuObjectSize"] = manifest.size
    if manifest.replaces is None and abilities.if_none_match:
        arguments["IfNoneMatch"] = "*"
    elif manifest.replaces is not None and abilities.if_match:
        arguments["IfMatch"] = f'"{manifest.replaces}"'
    return arguments


def _listed_object(entry: Mapping[str, Any]) -> ListedObject:
    return ListedObject(entry["Key"], _size(entry["Size"]), entry["LastModified"])


def _completion_answer(exc: S3Rejected) -> Answer:
    match exc.code:
        case "PreconditionFailed" | "412" | "NoSuchKey" | "404":
            return Answer.PRECONDITION_FAILED
        case "ConditionalRequestConflict" | "409":
            return Answer.CONFLICT
        case "InvalidPart" | "InvalidPartOrder":
            return Answer.INVALID_PART
        case "BadDigest" | "InvalidRequest" | "XAmzContentChecksumMismatch":
            return Answer.WRONG_CONTENT
    raise exc


def _timestamp(text: Any) -> datetime:
    """botocore's own parser takes most of the time of a listing, on the event loop; this knows the usual form."""
    with suppress(TypeError, ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
    parsed: datetime = botocore.utils.parse_timestamp(text)
    return parsed


@asynccontextmanager
async def open_store(
    settings: StoreSettings,
    *,
    policy: RetryPolicy,
    observer: ServiceObserver,
    deadlines: Deadlines | None = None,
    on_secret: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[S3Client]:
    """One client for the life of the process. Does not talk to the store yet: it may be away at start.

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
        http_session_cls=_NeverElsewhere,
        s3={"addressing_style": _addressing(settings), "payload_signing_enabled": settings.signs_payloads},
    )
    try:
        session = aioboto3.Session(region_name=settings.region)
        session._session._credentials = credentials
        parsers = session._session.get_component("response_parser_factory")
        parsers.set_parser_defaults(timestamp_parser=_timestamp)
        region = settings.region or session.region_name or "us-east-1"
        opening = session.client("s3", endpoint_url=settings.endpoint_url, region_name=region, config=config)
        opened = await opening.__aenter__()
    except (BotoCoreError, ValueError) as exc:
        raise ConfigurationError([f"The S3 client cannot be made from these settings and AWS profiles: {exc}"]) from exc
    async with AsyncExitStack() as stack:
        stack.push_async_exit(opening)
        client = opened
        client.meta.events.unregister("before-call.s3", botocore.handlers.add_expect_header)
        client.meta.events.register("choose-signer.s3", lambda **_: _SIGNER)
        yield S3Client(client, settings, policy=policy, observer=observer, credentials=credentials, deadlines=limits)


def _addressing(settings: StoreSettings) -> str:
    """Other stores than Amazon's are reached by path: few have a DNS name for each bucket."""
    if settings.addressing_style != "auto":
        return settings.addressing_style
    return "auto" if settings.is_aws else "path"
