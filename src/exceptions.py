"""The errors, by what the caller should do.

* ``Transient``: a temporary failure; the same call may succeed later. Wait and retry.
* ``Permanent``: retrying cannot help; a change is required. ``hint`` says which.
* any other exception is a bug.

The four domain errors of the project say *where* it happened; each has a transient and a permanent form.
"""

from __future__ import annotations


class StreamProcessorError(Exception):
    """Base class of the project's errors. ``hint`` is a sentence for the operator: what to change."""

    def __init__(self, message: str, *, operation: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.operation = operation
        self.hint = hint


def described(error: BaseException) -> dict[str, object]:
    """An error as fields of a log line; its hint says what to change."""
    fields: dict[str, object] = {"error": str(error) or type(error).__name__, "error_type": type(error).__name__}
    if isinstance(error, StreamProcessorError) and error.hint:
        fields["hint"] = error.hint
    return fields


class Transient(StreamProcessorError):
    """The same call may succeed later. ``misconfigured``: only after a change of a setting or a permission."""

    misconfigured: bool = False


class Permanent(StreamProcessorError):
    """Retrying cannot help."""


class StreamInitializationError(Permanent):
    """A stream cannot begin."""


class ChunkProcessingError(Transient):
    """A chunk could not be read from the file; it may be readable later."""


def silent_file(seconds: float, *, more: str = "") -> ChunkProcessingError:
    """The file did not respond for this long."""
    return ChunkProcessingError(
        f"no response from the file for {seconds:g} s{more}",
        operation="read",
        hint="Check the disk or the file server that stores the file.",
    )


class FileChanged(StreamProcessorError):
    """The file is no longer the one the caller expected, or is shorter: re-examine the file; do not retry the call."""


class S3OperationError(StreamProcessorError):
    """A request to the store failed."""


class S3Unavailable(S3OperationError, Transient):
    """No answer, a 5xx, throttling, a broken connection, or a refusal that a change of settings can resolve.

    ``code``: S3's error code, empty if no store answered.
    """

    def __init__(
        self, message: str, *, operation: str = "", hint: str = "", misconfigured: bool = False, code: str = ""
    ) -> None:
        super().__init__(message, operation=operation, hint=hint)
        self.misconfigured = misconfigured
        self.code = code


class S3ConnectionCut(S3Unavailable):
    """The connection broke before an answer; a kept-alive one may have been dead for long."""


class S3WrongContent(S3Unavailable):
    """The store computed a different checksum than the one sent: read the bytes again and send them again."""


class S3NotUnderstood(S3Unavailable):
    """An unknown answer. It may be temporary; the message quotes it."""


class S3NotAble(S3Unavailable):
    """The store does not support an optional part of the request. Callers that can do without it omit it."""


class S3Rejected(S3OperationError, Permanent):
    """The store understood the request and will never accept it. ``code`` is S3's error code."""

    def __init__(self, message: str, *, operation: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message, operation=operation, hint=hint)
        self.code = code


class PartNumberRefused(S3OperationError):
    """The store accepts fewer parts than this one's ``number``. ``most``: the limit, if it is known."""

    most: int | None = None
    number: int = 1


class PartTooLarge(S3OperationError):
    """A server refuses request bodies of this ``size`` in bytes."""

    size: int = 0


class PartNotTaken(S3OperationError):
    """The store cannot accept this part in this upload; another upload may accept it.

    Some stores write parts through to an object as they arrive, and cannot replace them.
    """


class UploadGone(S3OperationError):
    """The store does not know this upload: it was completed, aborted, or has expired. Only the object shows which."""


class RedisOperationError(StreamProcessorError):
    """A command to Redis failed."""


class RedisUnavailable(RedisOperationError, Transient):
    """Redis is unavailable, loading, read-only, out of memory or refuses the password."""

    def __init__(self, message: str, *, operation: str = "", hint: str = "", misconfigured: bool = False) -> None:
        super().__init__(message, operation=operation, hint=hint)
        self.misconfigured = misconfigured


class ConfigurationError(StreamProcessorError):
    """The settings are invalid. ``problems`` has one sentence for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SourceMissing(StreamProcessorError):
    """The recording is no longer at its path, and at no other path."""


class Stopped(Exception):
    """Not an error: the stream was asked to stop; its checkpoint is where the next start resumes."""
