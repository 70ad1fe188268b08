"""Translates botocore's errors into ours, by what the caller should do, with a hint about what to change."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import aiohttp
from botocore import xform_name
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from ..exceptions import (
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
from ..retry import ErrorClass
from .outcomes import BROKEN, GO_AROUND, NOT_A_STORE, NOT_UNDERSTOOD, SILENT, Meaning, Outcome, meaning, most_parts

_SHOWN = 300  # characters of a store's message that are quoted
#: Operations with a part number: if it is refused, it exceeds the store's limit.
_OF_ONE_PART = frozenset({"upload_part", "upload_part_copy"})
_UNKNOWN_HOST = (
    "the host name in S3_ENDPOINT_URL cannot be resolved; the store of docker compose is http://minio:9000 inside its "
    "containers and http://localhost:9000 on the host"
)
_CREDENTIALS_MISSING = "set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY and restart, or give the machine a role"


def refuses_credentials(exc: Exception) -> bool:
    """Whether other credentials might be accepted."""
    if isinstance(exc, ClientError):
        return _meaning_of(exc, _operation_of(exc)).outcome is Outcome.CREDENTIALS
    return isinstance(exc, NoCredentialsError | PartialCredentialsError)


def is_silent_about_missing(exc: BaseException | None) -> bool:
    """Whether this is a HEAD's 404 without a body: VersityGW also sends it for an access key ID that it does not
    know."""
    if not isinstance(exc, ClientError):
        return False
    error, answer = exc.response.get("Error", {}), exc.response.get("ResponseMetadata", {})
    return answer.get("HTTPStatusCode") == 404 and error.get("Code") == "404" and not _code_in_head(exc)


def _operation_of(exc: ClientError) -> str:
    return str(xform_name(exc.operation_name))


def _meaning_of(exc: ClientError, operation: str) -> Meaning:
    code, status = _code_of(exc)
    return meaning(operation, code, status, str(exc.response.get("Error", {}).get("Message", "")))


def _code_in_head(exc: ClientError) -> str:
    """MinIO sends the error code of a refused HEAD in a header."""
    headers = exc.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-minio-error-code", ""))


def _code_of(exc: ClientError) -> tuple[str, int]:
    error = exc.response.get("Error", {})
    status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(error.get("Code", ""))
    if code in ("", str(status)):
        code = _code_in_head(exc) or code
    if status == 404 and exc.operation_name == "HeadBucket" and code == "404":  # there is no body with a code
        return "NoSuchBucket", status
    return code, status


def _was_cut(cause: object) -> bool:
    """aiobotocore reports a broken connection as "could not connect", too."""
    never_stood = isinstance(cause, aiohttp.ClientConnectorError | socket.gaierror)
    return isinstance(cause, OSError | aiohttp.ClientError) and not never_stood


def _does_not_resolve(cause: object) -> bool:
    """Whether the host name did not resolve. aiohttp's error is one, or is made from one."""
    return isinstance(cause, aiohttp.ClientConnectorDNSError | socket.gaierror)


def translate(exc: Exception, *, operation: str) -> S3OperationError:
    """Translate botocore's error by what the caller should do. The message has code and operation, never a secret."""
    if isinstance(exc, ClientError):
        code, status = _code_of(exc)
        text = f"{operation}: {code or status} {exc.response.get('Error', {}).get('Message', '')}".strip()[:_SHOWN]
        named = "PreconditionFailed" if status == 412 else code or str(status)
        return _error(_meaning_of(exc, operation), text, operation=operation, code=named)
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        text = f"{operation}: no S3 credentials found"
        return S3Unavailable(text, operation=operation, hint=_CREDENTIALS_MISSING, misconfigured=True)
    if isinstance(exc, EndpointConnectionError) and _was_cut(exc.kwargs.get("error")):
        return S3ConnectionCut(f"{operation}: the connection was cut", operation=operation, hint=BROKEN)
    if isinstance(exc, EndpointConnectionError | ConnectTimeoutError):
        unknown = _does_not_resolve(exc.kwargs.get("error"))
        hint = _UNKNOWN_HOST if unknown else "check S3_ENDPOINT_URL and that the store is running"
        return S3Unavailable(f"{operation}: {exc}", operation=operation, hint=hint)
    text = f"{operation}: {type(exc).__name__}: {str(exc)[:_SHOWN]}"
    if isinstance(exc, ConnectionClosedError):
        return S3ConnectionCut(text, operation=operation, hint=_advice(exc))
    return S3Unavailable(text, operation=operation, hint=_advice(exc))


def _error(meant: Meaning, text: str, *, operation: str, code: str) -> S3OperationError:
    """The error for the action in the table."""
    match meant.outcome:
        case Outcome.GONE:
            return UploadGone(text, operation=operation)
        case Outcome.WRONG_CONTENT:
            return S3WrongContent(text, operation=operation, hint=BROKEN, code=code)
        case Outcome.PART_NUMBER:
            refused = PartNumberRefused(text, operation=operation, hint=meant.hint)
            refused.most = most_parts(text)
            if operation in _OF_ONE_PART or (refused.most and operation == "complete_multipart_upload"):
                return refused
            return S3NotUnderstood(text, operation=operation, hint=meant.hint, code=code)  # the limit is unknown
        case Outcome.TOO_LARGE if operation == "upload_part":
            return PartTooLarge(text, operation=operation, hint=meant.hint)
        case Outcome.ANSWER | Outcome.REFUSED:
            return S3Rejected(text, operation=operation, hint=meant.hint, code=code)
        case Outcome.NOT_ABLE:
            hint = GO_AROUND.get(operation, BROKEN)
            return S3NotAble(text, operation=operation, hint=hint, code=code)
        case Outcome.UNKNOWN:
            return S3NotUnderstood(text, operation=operation, hint=meant.hint, code=code)
    lasts = (Outcome.CREDENTIALS, Outcome.SETTING, Outcome.TOO_LARGE)
    misconfigured = meant.outcome in lasts and code != "400"  # a HEAD's 400 may be an expired token, or anything else
    return S3Unavailable(text, operation=operation, hint=meant.hint, misconfigured=misconfigured, code=code)


class NotUnderstood:
    """Counts consecutive unknown answers per operation, and names the setting that avoids them."""

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()

    def answered(self, operation: str) -> None:
        """An answer that is understood."""
        self._in_a_row.pop(operation, None)

    def met(self, error: S3NotUnderstood) -> None:
        """After ``NOT_UNDERSTOOD`` of them the error names a setting to try."""
        self._in_a_row[error.operation] += 1
        if self._in_a_row[error.operation] >= NOT_UNDERSTOOD:
            times = self._in_a_row[error.operation]
            around = GO_AROUND.get(error.operation, NOT_A_STORE)
            error.hint = f"answered like this {times} times in a row; {around}"


def _advice(exc: Exception) -> str:
    """What to check if the network fails; empty if this machine is the cause."""
    if error_class(exc) is ErrorClass.TIMEOUT:
        return SILENT
    ours = isinstance(exc, OSError) and not isinstance(exc, ConnectionError | aiohttp.ClientError)
    return "" if ours else BROKEN


_CLASSES: Mapping[Outcome, ErrorClass] = {
    Outcome.CREDENTIALS: ErrorClass.DENIED,
    Outcome.GONE: ErrorClass.NOT_FOUND,
    Outcome.THROTTLED: ErrorClass.THROTTLED,
    Outcome.TIMEOUT: ErrorClass.TIMEOUT,
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
    """The error class for the metrics."""
    if isinstance(exc, ClientError):
        code, status = _code_of(exc)
        if code == "NoSuchBucket":
            return ErrorClass.NO_BUCKET
        found = _CLASSES.get(_meaning_of(exc, _operation_of(exc)).outcome)
        if found is not None and code != "400":
            return found
        by_status = _STATUS_CLASSES.get(status)
        return by_status or (ErrorClass.SERVER if status >= 500 else ErrorClass.OTHER)
    if isinstance(exc, NoCredentialsError | PartialCredentialsError):
        return ErrorClass.DENIED
    if isinstance(exc, TimeoutError | ConnectTimeoutError | ReadTimeoutError):
        return ErrorClass.TIMEOUT
    broken = OSError | aiohttp.ClientError | HTTPClientError | BotoConnectionError
    return ErrorClass.CONNECTION if isinstance(exc, broken) else ErrorClass.OTHER


#: What botocore's parsers, and our code that reads their results, raise for an answer that is not from a store.
NONSENSE = (ResponseParserError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def no_sense(operation: str, what: object) -> S3Unavailable:
    message = f"{operation}: invalid response: {str(what)[:_SHOWN]}"
    return S3Unavailable(message, operation=operation, hint=NOT_A_STORE)


@contextmanager
def reading(operation: str) -> Iterator[None]:
    """Wraps the reading of an answer, and nothing else: an answer that cannot be read is not from a store."""
    try:
        yield
    except NONSENSE as exc:
        raise no_sense(operation, repr(exc)) from exc
