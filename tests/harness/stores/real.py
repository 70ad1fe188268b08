"""The real stores that the suite runs on, and what each of them lacks.

A case that a store cannot serve asserts the documented fallback instead, and the gap is printed at the end of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Lack(StrEnum):
    """Something that S3 has, with what the daemon does without it."""

    CHECKSUM = "CRC64NVME of the whole object: ETags, or fetching the object, prove it instead"
    OBJECT_SIZE = "checking the object's size at completion: the object is compared afterwards"
    IF_MATCH = "If-Match at completion: HEAD right before is all that can be had"
    IF_MATCH_AT_GET = "If-Match at GET: the ETag of the answer is compared instead"
    COPY_CONDITION = "If-Match on the source of a copy: the part is compared afterwards"
    COPY_CHECKSUM = "the right checksum of a copied range: such parts are sent instead"
    COPY_INTO_CHECKSUMS = "copying into an upload with checksums: such parts are sent instead"
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
REAL: Mapping[str, RealStore] = {store.name: store for store in _ALL}
