"""The list of parts in a completion, as XML: with 10,000 parts botocore would block the event loop for 150 ms.

A ``PartList`` takes the place of the argument ``MultipartUpload``. botocore sees an empty one and prepares the request
as usual; before it is signed, its body is replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from ..domain import StoredPart, crc64_to_base64

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
#: A shorter list takes less than the way to a thread and back.
_FEW = 100


@dataclass(frozen=True, slots=True)
class PartList:
    """The body of a completion."""

    xml: bytes


async def part_list(parts: Sequence[StoredPart], *, checksums: bool) -> PartList:
    """``checksums``: the upload has an algorithm, and each part its checksum."""
    if len(parts) <= _FEW:
        return _written(parts, checksums)
    return await asyncio.to_thread(_written, parts, checksums)


def _written(parts: Sequence[StoredPart], checksums: bool) -> PartList:
    entries = "".join(_entry(part, checksums) for part in parts)
    return PartList(f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{entries}</CompleteMultipartUpload>'.encode())


def _entry(part: StoredPart, checksums: bool) -> str:
    checksum = ""
    if checksums and part.crc64 is not None:
        checksum = f"<ChecksumCRC64NVME>{crc64_to_base64(part.crc64)}</ChecksumCRC64NVME>"
    return f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{escape(part.etag)}"</ETag>{checksum}</Part>'


def take_part_lists(events: Any) -> None:
    """From now on the client with these ``events`` accepts a ``PartList``."""
    events.register("before-parameter-build.s3.CompleteMultipartUpload", _put_aside)
    events.register("before-call.s3.CompleteMultipartUpload", _put_in)


def _put_aside(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    given = params.get("MultipartUpload")
    if isinstance(given, PartList):
        context["part_list"] = given.xml
        params["MultipartUpload"] = {}


def _put_in(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    xml = context.get("part_list")
    if xml is not None:
        params["body"] = xml
