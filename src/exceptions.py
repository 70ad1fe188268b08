"""The errors, sorted by what the caller should do.

* ``Transient``: the world is not as it should be just now; the same call may succeed later. Wait and repeat.
* ``Permanent``: repeating cannot help; somebody has to change something. ``hint`` says what.
* anything else that is raised is a bug.

The four domain errors of the project say *where* it happened; each has a transient and a permanent form.
"""

from __future__ import annotations


class StreamProcessorError(Exception):
    """Root of the project's errors. ``hint`` is a sentence for the operator: what to change."""

    def __init__(self, message: str, *, operation: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.operation = operation
        self.hint = hint


def described(error: BaseException) -> dict[str, object]:
    """The fields of a log line that tell an error; its hint says what to change."""
    fields: dict[str, object] = {"error": str(error) or type(error).__name__, "error_type": type(error).__name__}
    if isinstance(error, StreamProcessorError) and error.hint:
        fields["hint"] = error.hint
    return fields


class Transient(StreamProcessorError):
    """The same call may succeed later. ``misconfigured``: not before somebody changes a setting or a right."""

    misconfigured: bool = False


class Permanent(StreamProcessorError):
    """Repeating cannot help."""


class StreamInitializationError(Permanent):
    """A stream cannot be begun."""


class ChunkProcessingError(Transient):
    """A chunk could not be read from the file; the file may be readable later."""


def silent_file(seconds: float, *, more: str = "") -> ChunkProcessingError:
    """A file has given no byte and no other answer for so long."""
    return ChunkProcessingError(
        f"no response from the file for {seconds:g} s{more}",
        operation="read",
        hint="Check the disk or the file server that stores the file.",
    )


class FileChanged(StreamProcessorError):
    """The file is no longer the one, or no longer as long, as the caller believed: look at it again, not repeat."""


class S3OperationError(StreamProcessorError):
    """A request to the store did not succeed."""


class S3Unavailable(S3OperationError, Transient):
    """No answer, a 5xx, throttling, a cut connection, or a refusal that a changed setting can lift.

    ``code``: S3's error code, empty where no store answered.
    """

    def __init__(
        self, message: str, *, operation: str = "", hint: str = "", misconfigured: bool = False, code: str = ""
    ) -> None:
        super().__init__(message, operation=operation, hint=hint)
        self.misconfigured = misconfigured
        self.code = code


class S3ConnectionCut(S3Unavailable):
    """The connection ended before an answer; one that was kept open may have been dead for long."""


class S3WrongContent(S3Unavailable):
    """The store computed another checksum than the one that was sent: read the bytes again and send them again."""


class S3NotUnderstood(S3Unavailable):
    """An answer that nobody here knows. It may pass; its own words are in the message."""


class S3NotAble(S3Unavailable):
    """The store does not know something optional in the request. Whoever can do without leaves it out."""


class S3Rejected(S3OperationError, Permanent):
    """The store understood the request and will never accept it. ``code`` is S3's error code."""

    def __init__(self, message: str, *, operation: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message, operation=operation, hint=hint)
        self.code = code


class PartNumberRefused(S3OperationError):
    """The store takes fewer parts than this one's ``number``. ``most``: how many, where it says so."""

    most: int | None = None
    number: int = 1


class PartTooLarge(S3OperationError):
    """Something on the way takes no body of this size. ``size``: in bytes."""

    size: int = 0


class PartNotTaken(S3OperationError):
    """The store cannot take this part into this upload; another upload may take it.

    Some write parts through to an object as they arrive, and have no way to put other bytes in their place.
    """


class UploadGone(S3OperationError):
    """The store does not know this upload: completed, aborted or expired. Only the object tells which."""


class RedisOperationError(StreamProcessorError):
    """A command to Redis did not succeed."""


class RedisUnavailable(RedisOperationError, Transient):
    """Redis is away, loading, read-only, out of memory or refuses the password."""

    def __init__(self, message: str, *, operation: str = "", hint: str = "", misconfigured: bool = False) -> None:
        super().__init__(message, operation=operation, hint=hint)
        self.misconfigured = misconfigured


class ConfigurationError(StreamProcessorError):
    """The settings cannot be used. ``problems`` has one sentence for each, all of them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SourceMissing(StreamProcessorError):
    """The recording is gone from its path, and no other path has it."""


class Stopped(Exception):
    """No error: the stream was asked to stop; its record is where the next start goes on."""
