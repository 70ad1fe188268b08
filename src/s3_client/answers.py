"""Converts a store's answers to the domain's types, and a manifest to the arguments of a completion."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..domain import (
    S3_LIMITS,
    Answer,
    ChunkBody,
    ListedObject,
    Manifest,
    StoredPart,
    crc64_from_base64,
    crc64_to_base64,
)
from ..exceptions import S3Rejected, S3Unavailable
from .part_list import PartList
from .settings import Abilities

#: An answer must contain one of these to be from a store; the page of another server contains none, with the same
#: status.
SAID: Mapping[str, tuple[str, ...]] = {
    # Ceph RGW 16.2 leaves the ETag empty. The object is checked in any case.
    "complete_multipart_upload": ("ETag", "Key", "Location"),
    "create_multipart_upload": ("UploadId",),
    "get_object": ("ETag",),
    "head_object": ("ETag",),
    "list_multipart_uploads": ("IsTruncated",),
    "list_objects_v2": ("IsTruncated",),
    "list_parts": ("IsTruncated",),
    "put_object": ("ETag",),
    "upload_part": ("ETag",),
    "upload_part_copy": ("CopyPartResult",),
}


#: Parameters that a completion may lack, since the object is compared afterwards; conditions are not among them.
HARMLESS = frozenset({"ChecksumType", "ChecksumCRC64NVME", "MpuObjectSize"})


def bare(etag: str) -> str:
    """Without its quotes, and without the suffix of a proxy that compresses responses."""
    return etag.removeprefix("W/").strip('"')


def is_said(value: object) -> bool:
    """Whether an answer contains this: one value that is not empty."""
    return bool(bare(value)) if isinstance(value, str) else isinstance(value, bool | dict)


def whole_size(value: int) -> int:
    if value < 0:
        raise ValueError(f"a size of {value}")
    return value


def listed_part(entry: Mapping[str, Any]) -> StoredPart:
    number = entry["PartNumber"]
    if not 1 <= number <= S3_LIMITS.max_parts:
        raise ValueError(f"a part with the number {number}")
    return stored_part(number, whole_size(entry["Size"]), entry)


def newer_part(part: StoredPart, before: StoredPart | None) -> StoredPart:
    """The later one of two parts that are listed under one number.

    SeaweedFS also keeps and lists the earlier parts of a number, in any order, with times in whole seconds; the object
    gets the one that the completion names. If the wrong one is chosen here, the part is sent again, and is then later.
    """
    if before is None or before.modified_at is None or part.modified_at is None:
        return part
    return part if part.modified_at >= before.modified_at else before


def stored_part(number: int, size: int, entry: Mapping[str, Any]) -> StoredPart:
    crc = entry.get("ChecksumCRC64NVME")
    modified: datetime | None = entry.get("LastModified")
    return StoredPart(number, size, bare(entry["ETag"]), crc64_from_base64(crc) if crc else None, modified)


def check_answer(stored: StoredPart, body: ChunkBody) -> None:
    """Compare the checksum in the store's answer with the sent one; if they differ, the part is sent again."""
    if stored.crc64 is not None and stored.crc64 != body.digest.crc64:
        raise S3Unavailable(f"part {stored.number} was stored with another checksum", operation="upload_part")


def content_md5(hex_digest: str) -> str:
    """The value for the header Content-MD5."""
    return base64.b64encode(bytes.fromhex(hex_digest)).decode()


def completion_arguments(manifest: Manifest, parts: PartList, abilities: Abilities) -> dict[str, Any]:
    arguments: dict[str, Any] = {"MultipartUpload": parts}
    if abilities.checksum:
        arguments |= {"ChecksumType": "FULL_OBJECT", "ChecksumCRC64NVME": crc64_to_base64(manifest.crc64)}
    if abilities.object_size:
        arguments["MpuObjectSize"] = manifest.size
    if manifest.replaces is None and abilities.if_none_match:
        arguments["IfNoneMatch"] = "*"
    elif manifest.replaces is not None and abilities.if_match:
        arguments["IfMatch"] = f'"{manifest.replaces}"'
    return arguments


def listed_object(entry: Mapping[str, Any]) -> ListedObject:
    return ListedObject(entry["Key"], whole_size(entry["Size"]), entry["LastModified"])


def completion_answer(exc: S3Rejected) -> Answer:
    match exc.code:
        case "PreconditionFailed" | "412" | "NoSuchKey" | "404":
            return Answer.PRECONDITION_FAILED
        case "ConditionalRequestConflict" | "409":
            return Answer.CONFLICT
        case "InvalidPart" | "InvalidPartOrder":
            return Answer.INVALID_PART
        case "InvalidRequest":
            return Answer.WRONG_CONTENT
    raise exc
