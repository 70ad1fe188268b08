"""The real stores that the suite runs on, and what each of them lacks.

A case that a store cannot serve asserts the documented fallback instead, and the gap is printed at the end of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Lack(StrEnum):
    """Something that S3 has, with what the daemon does without it."""

    CHECKSUM = "CRC64NVME of the whole object: ETags, or a download of the object, verify it instead"
    OBJECT_SIZE = "checking the object's size at completion: the object is compared afterwards"
    IF_MATCH = "If-Match at completion: a HEAD directly before replaces it, which leaves a small gap"
    IF_MATCH_AT_GET = "If-Match at GET: the ETag of the answer is compared instead"
    COPY_CONDITION = "If-Match on the source of a copy: the part is compared afterwards"
    COPY_CHECKSUM = "the correct checksum of a copied range: an upload of mostly copied parts has no checksums"
    COPY_INTO_CHECKSUMS = "copying into an upload with checksums: an upload of mostly copied parts has none"
    GONE_AT_COMPLETION = "a proper answer to the completion of an aborted upload: it counts as no answer"
    GONE_AT_PART = "a proper answer to a part for an aborted upload: it counts as no answer"
    LISTING_BY_PREFIX = "open uploads by prefix, only by exact key: former uploads below a prefix are not found"


@dataclass(frozen=True)
class RealStore:
    """``name``: the program's, and that of the fixture that gives it. ``marker``: what its tests are marked with."""

    name: str
    version: str
    lacks: frozenset[Lack]

    @property
    def marker(self) -> str | None:
        """Not for moto, which is a package of the development lock and always there."""
        return None if self.name == "moto" else self.name


_ALL = (
    RealStore("versitygw", "1.8.0", frozenset({Lack.COPY_CHECKSUM})),
    RealStore(
        "minio",
        "7aac2a2c5b7c (12 February 2026)",
        frozenset({Lack.OBJECT_SIZE, Lack.COPY_INTO_CHECKSUMS, Lack.LISTING_BY_PREFIX}),
    ),
    RealStore(
        "moto",
        "5",
        frozenset(
            {
                Lack.CHECKSUM,
                Lack.OBJECT_SIZE,
                Lack.IF_MATCH,
                Lack.IF_MATCH_AT_GET,
                Lack.COPY_CONDITION,
                Lack.GONE_AT_COMPLETION,
                Lack.GONE_AT_PART,
            }
        ),
    ),
)


@dataclass(frozen=True)
class Trial:
    """A store that was there once: the daemon ran on it for real, by hand. ``found``: what was seen."""

    name: str
    version: str
    day: str
    how: str
    found: tuple[str, ...]
    advice: str = "the defaults"


TRIED = (
    Trial(
        "Ceph RGW",
        "16.2.15 (Debian 12)",
        "28 November 2026",
        "one monitor, one OSD in memory",
        (
            "no checksums, no conditions for completions: ETags are compared, with a HEAD just before",
            "copies parts, and lists them by prefix",
            "completions are answered without an ETag: no feature could be determined, each completion waited; fixed",
            "a document's If-Match is refused even if it holds, so that no changed file was finished; fixed",
            "ListParts answers NoSuchKey for a missing upload, which was retried indefinitely; fixed",
            "the completion of an aborted upload is answered with 500, which counts as no answer",
            "ignores If-Match on the source of a copy: the part is compared afterwards",
            "lists open uploads with their keys encoded, without saying so: one with special characters in its name is "
            "not found again after a rename without Redis, nor aborted as an orphan",
        ),
    ),
    Trial(
        "rclone serve s3",
        "1.76.0",
        "28 November 2026",
        "on a folder",
        (
            "no checksums; conditions hold",
            "no part can be replaced: a recording that was patched during its upload never arrived; fixed: it is sent "
            "once more, in another upload",
            "the ETag of an object is the MD5 of all its bytes, so that objects are downloaded to prove them",
            "according to its manual open uploads and metadata are in memory only: recordings in progress at its "
            "restart are uploaded again",
        ),
        "the defaults; not for recordings of many gigabytes that are patched at their end",
    ),
    Trial(
        "SeaweedFS",
        "4.53",
        "28 November 2026",
        "`weed server` with filer and S3, on a folder",
        (
            "checksums, conditions and copies as on S3; the object's size is not checked at completion",
            "a replaced part is listed beside its successor, which was not accepted: a recording that was patched "
            "during its upload never arrived; fixed",
            "ListParts returns no checksums: after a data loss in Redis most uploads are not adopted but restarted",
        ),
        "the defaults; 4.39 or newer: older ones keep CRC64NVME of checksums (seaweedfs#10235)",
    ),
)
REAL: Mapping[str, RealStore] = {store.name: store for store in _ALL}
