"""What went wrong, from botocore's errors to ours: sorted by what the caller should do, with what to change."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
from botocore.exceptions import (
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

from .exceptions import S3OperationError, S3Rejected, S3Unavailable, S3WrongContent, UploadGone
from .request_outcome import ErrorClass

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
_UNKNOWN_HOST = (
    "the host name in S3_ENDPOINT_URL is not known here; the store of docker compose is http://minio:9000 for its "
    "containers, http://localhost:9000 for programs on the host"
)
_NOT_A_STORE = "something else than the store answers; check S3_ENDPOINT_URL and what is between here and the store"
#: A HEAD has no body that could name S3's code; the others are done without where a store does not know them.
_NEEDS_NO_CODE = {
    "abort_multipart_upload",
    "create_bucket",
    "head_bucket",
    "head_object",
    "list_multipart_uploads",
    "upload_part_copy",
}
SILENT = "look at the store's load and disks, and at the network or firewall between here and it"
_BROKEN = "look at the store's log, and at what is between here and the store"
_THROTTLED = "the store wants fewer requests: raise its limit, or lower MAX_CONCURRENT_STREAMS or PARTS_IN_FLIGHT"
_SHOWN = 300  # characters of what a store says, in a message
#: A HEAD that is refused says no more than 403.
_REFUSED = "check S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET_NAME, and the key's rights on the bucket"
#: What stores call a body, or a whole object, whose checksum is not the one that was sent: Amazon and VersityGW the
#: first, MinIO the second, Garage the third; the last where the checksum is part of the signature.
_WRONG_CONTENT = {
    "BadDigest",
    "XAmzContentChecksumMismatch",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
}
_TRANSIENT = {
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}


_REFUSES_CREDENTIALS = frozenset(
    {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "400", "403"}
)


def refuses_credentials(exc: Exception) -> bool:
    """Whether other credentials might be accepted. A HEAD, which has no body, says only 400 or 403."""
    if isinstance(exc, ClientError):
        return _code_of(exc)[0] in _REFUSES_CREDENTIALS
    return isinstance(exc, NoCredentialsError | PartialCredentialsError)


def _code_of(exc: ClientError) -> tuple[str, int]:
    error = exc.response.get("Error", {})
    status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == 404 and exc.operation_name == "HeadBucket":  # no body could say so
        return "NoSuchBucket", status
    return str(error.get("Code", "")), status


def _was_cut(cause: object) -> bool:
    """aiobotocore says "could not connect" of a connection that broke, too."""
    never_stood = isinstance(cause, aiohttp.ClientConnectorError | socket.gaierror)
    return isinstance(cause, OSError | aiohttp.ClientError) and not never_stood


def _does_not_resolve(cause: object) -> bool:
    """Whether the name of the host led to no address. aiohttp's error is one, or is made of one."""
    return isinstance(cause, aiohttp.ClientConnectorDNSError | socket.gaierror)


def translate(exc: Exception, *, operation: str) -> S3OperationError:
    """Sort botocore's error by what the caller should do. The message names code and operation, never a secret."""
    if isinstance(exc, ClientError):
        code, status = _code_of(exc)
        text = f"{operation}: {code or status} {exc.response.get('Error', {}).get('Message', '')}".strip()[:_SHOWN]
        if code == "NoSuchUpload":
            return UploadGone(text, operation=operation)
        if code in _WRONG_CONTENT:
            return S3WrongContent(text, operation=operation, hint=_advice(exc), code=code)
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
            return S3Unavailable(text, operation=operation, hint=_REFUSED if code == "400" else _advice(exc))
        if status == 412:
            return S3Rejected(text, operation=operation, code="PreconditionFailed")
        if code in ("", str(status)) and status != 409 and operation not in _NEEDS_NO_CODE:
            return S3Unavailable(text, operation=operation, hint=_NOT_A_STORE, misconfigured=True)
        hint = _MISCONFIGURED["NoSuchBucket"] if operation == "head_bucket" and status == 404 else ""
        return S3Rejected(text, operation=operation, hint=hint, code=code or str(status))
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        hint = "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY (and start again), or give the machine a role"
        return S3Unavailable(f"{operation}: no S3 credentials", operation=operation, hint=hint, misconfigured=True)
    if isinstance(exc, EndpointConnectionError) and _was_cut(exc.kwargs.get("error")):
        return S3Unavailable(f"{operation}: the connection was cut", operation=operation, hint=_BROKEN)
    if isinstance(exc, EndpointConnectionError | ConnectTimeoutError):
        unknown = _does_not_resolve(exc.kwargs.get("error"))
        hint = _UNKNOWN_HOST if unknown else "check S3_ENDPOINT_URL and that the store runs"
        return S3Unavailable(f"{operation}: {exc}", operation=operation, hint=hint)
    text = f"{operation}: {type(exc).__name__}: {str(exc)[:_SHOWN]}"
    return S3Unavailable(text, operation=operation, hint=_advice(exc))


def _advice(exc: Exception) -> str:
    """What to look at when the store or the line is in trouble; nothing, where it is this machine."""
    found = error_class(exc)
    if found is ErrorClass.TIMEOUT:
        return SILENT
    if found is ErrorClass.THROTTLED:
        return _THROTTLED
    ours = isinstance(exc, OSError) and not isinstance(exc, ConnectionError | aiohttp.ClientError)
    return "" if ours else _BROKEN


_CLASSES: Mapping[str, ErrorClass] = {
    "NoSuchBucket": ErrorClass.NO_BUCKET,
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
NONSENSE = (ResponseParserError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def no_sense(operation: str, what: object) -> S3Unavailable:
    message = f"{operation}: the answer makes no sense: {str(what)[:_SHOWN]}"
    return S3Unavailable(message, operation=operation, hint=_NOT_A_STORE)


@contextmanager
def reading(operation: str) -> Iterator[None]:
    """Round the reading of an answer, and nothing else: what cannot be read was not said by a store."""
    try:
        yield
    except NONSENSE as exc:
        raise no_sense(operation, repr(exc)) from exc
