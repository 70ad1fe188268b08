"""Failures of services and files: their kinds, and which of them to log.

Nothing here writes a log line or a metric; times are arguments in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..exceptions import ChunkProcessingError, FileChanged, RedisOperationError, S3OperationError

#: Minimum interval in seconds between log lines about failures of one operation.
QUIET_SECONDS = 60.0
#: A failure that was not repeated for this long, and for which no caller waits, is over.
FORGOTTEN_SECONDS = 600.0

#: Operations by their name in the code, and the kind in the metrics. Others use the name of their family.
OPERATION_TYPES: Mapping[str, str] = {
    "create_upload": "s3_create",
    "upload_part": "s3_upload",
    "put_object": "s3_upload",
    "copy_part": "s3_copy",
    "list_parts": "s3_list",
    "list_uploads": "s3_list",
    "complete_upload": "s3_complete",
    "abort_upload": "s3_abort",
    "head": "s3_head",
    "object_crc64": "s3_get",
    "get_object": "s3_get",
    "get_document": "s3_metadata",
    "put_document": "s3_metadata",
    "load": "redis_read",
    "marker": "redis_read",
    "configuration": "redis_read",
    "save": "redis_update",
    "save_part": "redis_update",
    "finish": "redis_update",
    "forget": "redis_update",
    "put_marker": "redis_update",
    "open": "file_read",
    "read": "file_read",
    "digest": "file_read",
    "snapshot": "file_read",
    "probe": "ffprobe",
}
_FAMILIES = ("s3", "redis", "file", "ffprobe")


def operation_type(operation: str, error: BaseException | None = None) -> str:
    """The kind of ``operation``, which may begin with its family and a dot; ``error`` shows the family of others."""
    family, dot, name = operation.rpartition(".")
    if dot:  # "s3.probe" is not "probe"
        known = OPERATION_TYPES.get(name, "")
        return known if known.startswith(family) else f"{family}_{name}"
    if operation in OPERATION_TYPES:
        return OPERATION_TYPES[operation]
    if operation.split("_")[0] in _FAMILIES:
        return operation
    if isinstance(error, S3OperationError):
        return f"s3_{operation}"
    if isinstance(error, RedisOperationError):
        return f"redis_{operation}"
    return "file_read" if isinstance(error, ChunkProcessingError | FileChanged | OSError) else operation


@dataclass(slots=True)
class _Line:
    """When a failure of an operation was last logged, and how many were not logged since."""

    at: float
    unsaid: int = 0


class Quiet:
    """Which failures to log: the first at once, then one in ``QUIET_SECONDS``."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], _Line] = {}

    def worth_a_line(self, key: tuple[str, str], now: float) -> int | None:
        """The number of failures for a log line now; None: no line."""
        line = self._lines.get(key)
        if line is not None and now - line.at < QUIET_SECONDS:
            line.unsaid += 1
            return None
        self._lines[key] = _Line(now)
        return 1 + (line.unsaid if line else 0)

    def told(self, family: str) -> None:
        """Another line has reported the failures of operations whose kind begins with ``family``; not those of one
        stream."""
        for (kind, stream), line in self._lines.items():
            if kind.startswith(family) and not stream:
                line.unsaid = 0

    def forget(self, now: float) -> None:
        for key in [key for key, line in self._lines.items() if now - line.at > FORGOTTEN_SECONDS]:
            del self._lines[key]
