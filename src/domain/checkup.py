"""Facts that ``doctor`` judges, as the store, Redis and the folder tell them. Pure. None: not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Right(StrEnum):
    """The S3 actions that the daemon needs."""

    LIST = "s3:ListBucket"
    LIST_UPLOADS = "s3:ListBucketMultipartUploads"
    PUT = "s3:PutObject"
    GET = "s3:GetObject"
    LIST_PARTS = "s3:ListMultipartUploadParts"
    ABORT = "s3:AbortMultipartUpload"


@dataclass(frozen=True, slots=True)
class Rule:
    """An enabled lifecycle rule that concerns recordings; each in days, None if it does not do this.

    ``removes_versions``: it deletes versions that are no longer current.
    """

    name: str
    aborts_after: int | None = None
    deletes_after: int | None = None
    archives_after: int | None = None
    archive: str = ""
    removes_versions: bool = False


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """``error``: the store cannot be used at all, with ``hint``; ``answers`` tells whether it answered.

    ``clock_ahead``: seconds by which the store's clock is ahead of this machine's. ``rights``: whether each was
    granted. ``rules`` is None if they cannot be read. ``product``: what the store calls itself. ``versioning``:
    "Enabled", or how it is off; None: it cannot be read.
    """

    error: str = ""
    hint: str = ""
    answers: bool = False
    seconds: float | None = None
    clock_ahead: float | None = None
    product: str = ""
    rights: Mapping[Right, bool | None] = field(default_factory=dict)
    rules: tuple[Rule, ...] | None = None
    versioning: str | None = None
    checksum: bool | None = None
    if_none_match: bool | None = None
    if_match: bool | None = None


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """``configuration``: values of CONFIG GET, empty if it is forbidden. Sizes are in bytes; ``limit`` 0: none.

    ``remembered``: completed recordings; ``sent_again``: those whose object was replaced because the file changed after
    it was finished. ``longest_seconds``: the longest recording among them.
    """

    error: str = ""
    hint: str = ""
    configuration: Mapping[str, str] = field(default_factory=dict)
    used: int = 0
    limit: int = 0
    is_replica: bool = False
    refused: str = ""
    failed: int = 0
    remembered: int = 0
    sent_again: int = 0
    longest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """``unmatched``: patterns of media files that no setting includes, with an example each. ``watches``: how many
    more folders could be watched, as far as was tried; None if that was not needed."""

    error: str = ""
    hint: str = ""
    file_system: str = ""
    has_leases: bool = True
    has_birth_times: bool = True
    folders: int = 0
    recordings: int = 0
    watches: int | None = None
    unmatched: tuple[tuple[str, str], ...] = ()
    free: int = 0
    total: int = 0
