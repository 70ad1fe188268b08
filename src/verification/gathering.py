"""What is in the bucket and what should be: the listing, the documents, and what Redis remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from ..domain import METADATA_SUFFIX, PROBE_KEY, InspectedObject, ListedEntry, Marker
from ..exceptions import S3OperationError, S3Rejected, S3Unavailable
from ..metadata_generator import document_key, read_document
from .verdicts import Expected, Finding, Verdict, archived

T = TypeVar("T")

#: Pauses in seconds before the second attempt at a request, the third and the fourth.
PAUSES = (0.3, 1.0, 2.0)
#: A larger document is parsed in a thread.
_SMALL = 64 * 1024


class Bucket(Protocol):
    """The questions to the store; each is one attempt."""

    def pages(self, prefix: str) -> AsyncIterator[list[ListedEntry]]: ...
    async def look(self, key: str) -> InspectedObject | None: ...
    async def get_document(self, key: str) -> tuple[bytes, str] | None: ...
    async def object_crc64(self, key: str, etag: str) -> int | None: ...


async def asked(call: Callable[[], Awaitable[T]]) -> T:
    """The answer, after a few attempts. Raises ``S3OperationError``; at once if a repetition cannot help."""
    for pause in PAUSES:
        try:
            return await call()
        except S3Unavailable as exc:
            if exc.misconfigured:
                raise
        await asyncio.sleep(pause)
    return await call()


@dataclass(slots=True)
class Contents:
    """The bucket under one prefix: objects by key, and the keys that have a document."""

    objects: dict[str, ListedEntry] = field(default_factory=dict)
    described: set[str] = field(default_factory=set)

    def add(self, entries: Iterable[ListedEntry], probe_key: str) -> None:
        for entry in entries:
            if entry.key.endswith(METADATA_SUFFIX):
                self.described.add(entry.key.removesuffix(METADATA_SUFFIX))
            elif entry.key != probe_key:
                self.objects[entry.key] = entry


async def contents(bucket: Bucket, prefix: str) -> Contents:
    """The listing; begun again if it fails on the way. Raises ``S3OperationError``."""

    async def once() -> Contents:
        found = Contents()
        async for page in bucket.pages(prefix):
            found.add(page, prefix + PROBE_KEY)
        return found

    return await asked(once)


async def by_document(bucket: Bucket, key: str) -> Expected | Finding | None:
    """What the document of a key describes; None: there is none of ours. A finding: it cannot be read."""
    try:
        stored = await asked(lambda: bucket.get_document(document_key(key)))
    except S3Rejected as exc:
        if exc.code == "InvalidObjectState":
            found = archived(key, "of an archive")
            return Finding.of(found.verdict, key, "its document is in an archive and cannot be read")
        return not_checked(key, exc)
    except S3OperationError as exc:
        return not_checked(key, exc)
    if stored is None:
        return None
    small = len(stored[0]) <= _SMALL
    read = read_document(stored[0]) if small else await asyncio.to_thread(read_document, stored[0])
    if read is None:
        return None
    identity = read.snapshot.identity
    return Expected(key, read.stream_id, read.snapshot.size, read.crc64, read.etag, identity)


def by_marker(marker: Marker) -> Expected:
    """What Redis remembers of a completed recording."""
    snapshot = marker.snapshot
    return Expected(
        marker.key, marker.stream_id, snapshot.size, marker.crc64, marker.etag, snapshot.identity, source="redis"
    )


def not_checked(key: str, exc: S3OperationError) -> Finding:
    """An answer that is neither yes nor no."""
    return Finding.of(Verdict.NOT_CHECKED, key, str(exc), remedy=exc.hint)
