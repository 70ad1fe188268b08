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
    moments,
)
from ..exceptions import S3NotAble, S3NotUnderstood, S3OperationError, S3Rejected, S3Unavailable, S3WrongContent
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


#: Something on the way takes no body of this size.
_TOO_LARGE = frozenset({"413", "EntityTooLarge", "RequestEntityTooLarge", "MaxMessageLengthExceeded"})


def put_answer(exc: S3OperationError, *, emit: moments.Emit) -> Answer:
    """What a refusal of a whole file says. Raises ``S3NotAble`` for one that says that it is never taken so."""
    operation = "put_object"
    match exc:
        case S3WrongContent():
            return Answer.WRONG_CONTENT
        case S3Rejected(code="PreconditionFailed" | "412"):
            return Answer.PRECONDITION_FAILED
        case S3Rejected(code="ConditionalRequestConflict" | "409"):
            return Answer.CONFLICT
        case S3NotAble():
            raise exc
        case S3Rejected():
            raise S3NotAble(str(exc), operation=operation, hint=exc.hint, code=exc.code) from exc
        case S3NotUnderstood():
            # It may have been accepted all the same. An upload begins at once, and its completion finds the object.
            raise S3NotAble(str(exc), operation=operation, hint=exc.hint, code=exc.code) from exc
        case S3Unavailable() if exc.code in _TOO_LARGE:
            raise S3NotAble(str(exc), operation=operation, hint=exc.hint, code=exc.code) from exc
    emit(moments.OperationFailed(operation=operation, error=exc, attempt=1, wait_seconds=0.0))
    return Answer.NONE


def whole_object(answer: Mapping[str, Any], crc64: int) -> str:
    """The ETag of the object that an answer is about; empty where it does not say that all its bytes have this sum."""
    is_whole = answer.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    if not is_whole or answer.get("ChecksumCRC64NVME") != crc64_to_base64(crc64):
        return ""
    return bare(str(answer.get("ETag", "")))


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
