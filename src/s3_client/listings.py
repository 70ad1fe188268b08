"""Paginated listings: parts of an upload, open uploads, objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus

from ..domain import ListedObject, OpenUpload, StoredPart
from ..exceptions import S3NotAble, S3Rejected
from .answers import listed_object, listed_part, newer_part
from .errors import reading
from .requests import Requests
from .settings import StoreSettings
from .uploads import KnownUploads

_PARTS_A_PAGE = 200  # a page of 1,000 would block the event loop for 50 ms
#: For each listing: the pagination token in the request and in the previous answer.
_MARKERS = {
    "list_multipart_uploads": {"KeyMarker": "NextKeyMarker", "UploadIdMarker": "NextUploadIdMarker"},
    "list_objects_v2": {"ContinuationToken": "NextContinuationToken"},
    "list_parts": {"PartNumberMarker": "NextPartNumberMarker"},
}


class Listings:
    """The listings of one bucket; ``uploads`` receives their information about uploads."""

    def __init__(self, requests: Requests, settings: StoreSettings, uploads: KnownUploads) -> None:
        self._call = requests.call
        self._settings = settings
        self._uploads = uploads

    async def list_parts(self, key: str, upload_id: str) -> dict[int, StoredPart]:
        found: dict[int, StoredPart] = {}
        async for page in self.pages("list_parts", Key=key, UploadId=upload_id, MaxParts=_PARTS_A_PAGE):
            with reading("list_parts"):
                if page.get("UploadId", upload_id) != upload_id:
                    raise ValueError("it describes another upload")
                # Amazon reports it for an upload without parts, too.
                self._uploads.listed(upload_id, page, always_said=self._settings.is_aws)
                for part in map(listed_part, page.get("Parts", [])):
                    found[part.number] = newer_part(part, found.get(part.number))
        return found

    async def list_uploads(self, key: str) -> list[OpenUpload]:
        # Some stores encode keys as requested without saying so.
        listed = await self.list_uploads_under(key)
        self._uploads.unanswered.discard(key)
        return [replace(upload, key=key) for upload in listed if key in (upload.key, unquote_plus(upload.key))]

    async def list_uploads_under(self, prefix: str) -> list[OpenUpload]:
        found: list[OpenUpload] = []
        try:
            async for page in self.pages("list_multipart_uploads", Prefix=prefix, EncodingType="url"):
                decoded = unquote_plus if page.get("EncodingType") == "url" else str
                with reading("list_multipart_uploads"):
                    found += [
                        OpenUpload(decoded(entry["Key"]), entry["UploadId"], entry.get("Initiated"))
                        for entry in page.get("Uploads", [])
                    ]
        except (S3Rejected, S3NotAble):
            return []  # a store that does not support the listing: nothing is found, and nothing aborted
        return found

    async def list_objects(self, prefix: str, wanted: Callable[[ListedObject], bool]) -> list[ListedObject]:
        found: list[ListedObject] = []
        async for page in self.pages("list_objects_v2", Prefix=prefix):
            with reading("list_objects_v2"):
                found += filter(wanted, map(listed_object, page.get("Contents", [])))
        return found

    async def pages(self, operation: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
        """The pages of a listing. Raises if a page is repeated: such a listing would never end."""
        markers: list[dict[str, Any]] = [{}]
        while True:
            page = await self._call(operation, **arguments, **markers[-1])
            yield page
            if not page["IsTruncated"]:
                return
            with reading(operation):
                marker = {ours: page[theirs] for ours, theirs in _MARKERS[operation].items()}
                if page.get("EncodingType") == "url" and "KeyMarker" in marker:
                    marker["KeyMarker"] = unquote_plus(marker["KeyMarker"])
                if marker in markers:
                    raise ValueError("the listing does not end")
            markers.append(marker)
