"""Questions about objects for commands that examine a bucket: they write nothing, and start no trials.

``objects`` asks the same for the daemon, but a refusal there makes the probe repeat its trials, which write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..domain import InspectedObject, ListedEntry, StoredObject, crc64_from_base64
from ..exceptions import S3NotAble, S3NotUnderstood, S3Rejected, S3Unavailable
from .answers import bare, whole_size
from .errors import reading
from .listings import Listings
from .objects import Objects
from .requests import Requests
from .settings import Choice, StoreSettings

#: Their objects must be restored before they can be read. S3 sends no class for STANDARD.
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class Inspection:
    """Questions about one bucket; each call is one attempt."""

    def __init__(self, requests: Requests, settings: StoreSettings, listings: Listings, objects: Objects) -> None:
        self._call = requests.call
        self._pages = listings.pages
        self.get_document = objects.get_document
        self.object_crc64 = objects.object_crc64
        self._asks_for_checksums = settings.checksum is not Choice.OFF

    async def pages(self, prefix: str) -> AsyncIterator[list[ListedEntry]]:
        """All objects under a prefix, page by page."""
        async for page in self._pages("list_objects_v2", Prefix=prefix):
            with reading("list_objects_v2"):
                found = [_entry(each) for each in page.get("Contents", [])]
            yield found

    async def look(self, key: str) -> InspectedObject | None:
        """The object's properties, with its checksum if the store keeps one; None: there is no object."""
        try:
            answer = await self._head(key)
        except S3Rejected as exc:
            if exc.code in ("404", "NoSuchKey", "NotFound"):
                return None
            raise
        whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
        crc = answer.get("ChecksumCRC64NVME") if whole else None
        metadata = {name.lower(): value for name, value in answer.get("Metadata", {}).items()}
        with reading("head_object"):
            size, etag = whole_size(answer["ContentLength"]), bare(answer["ETag"])
            stored = StoredObject(size, etag, crc64_from_base64(crc) if crc else None, metadata)
        return InspectedObject(stored, _archive(answer))

    async def _head(self, key: str) -> dict[str, Any]:
        """A store that refuses the question for a checksum has none to compare."""
        if not self._asks_for_checksums:
            return await self._call("head_object", Key=key)
        try:
            return await self._call("head_object", Key=key, ChecksumMode="ENABLED")
        except S3Unavailable as exc:
            if not isinstance(exc, S3NotAble | S3NotUnderstood) and exc.code != "400":
                raise
        answer = await self._call("head_object", Key=key)
        self._asks_for_checksums = False
        return answer


def _entry(entry: Mapping[str, Any]) -> ListedEntry:
    return ListedEntry(entry["Key"], whole_size(entry["Size"]), bare(entry.get("ETag", "")), entry.get("LastModified"))


def _archive(answer: Mapping[str, Any]) -> str | None:
    """The class, or the archive tier within a class, from which nothing can be read now."""
    if 'ongoing-request="false"' in answer.get("Restore", ""):
        return None  # a restored copy is there
    if "ArchiveStatus" in answer:
        return str(answer["ArchiveStatus"])
    storage_class = answer.get("StorageClass")
    return str(storage_class) if storage_class in _ARCHIVES else None
