"""Tests the features of a store, with one object of two bytes at one documented key, which is kept.

Each trial is an upload, or a PutObject, of its own, and cleans up after itself. The upload ID is noted before the first
part is sent, so that the next start aborts what a killed process has left.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from awscrt import checksums as crt

from ..domain import crc64_to_base64
from ..exceptions import S3ConnectionCut, S3OperationError, S3Rejected, S3Unavailable, UploadGone
from .abilities import Ability, Said, Trial, controlled, said
from .answers import bare

#: One request to the store by its operation and arguments: translated errors, no retries.
Call = Callable[..., Awaitable[dict[str, Any]]]


class ProbeNotes(Protocol):
    """Storage for the IDs of uploads that the probe has begun, under the ID of this process."""

    async def note(self, upload_id: str) -> None: ...
    async def forget(self, upload_id: str) -> None: ...
    async def left_behind(self) -> list[str]:
        """Those of ended processes of this machine."""

    async def from_elsewhere(self) -> list[str]:
        """Those of other machines, whose processes are unknown here."""


class NoNotes:
    """Stores no notes; leftovers are aborted by age."""

    async def note(self, upload_id: str) -> None: ...
    async def forget(self, upload_id: str) -> None: ...
    async def left_behind(self) -> list[str]:
        return []

    async def from_elsewhere(self) -> list[str]:
        return []


#: Codes for a condition that does not hold.
_UNMET = frozenset(
    {"PreconditionFailed", "ConditionalRequestConflict", "ConditionNotMet", "NoSuchKey", "404", "409", "412"}
)
#: Two, so that a range of the object is not the whole of it: some stores confuse their checksums.
_BYTES = b"\0\1"
_CRC = crt.crc64nvme(_BYTES)
_MD5 = base64.b64encode(hashlib.md5(_BYTES, usedforsecurity=False).digest()).decode()
_RANGE = _BYTES[:1]
_RANGE_CRC = crc64_to_base64(crt.crc64nvme(_RANGE))
_RANGE_MD5 = hashlib.md5(_RANGE, usedforsecurity=False).hexdigest()
_NO_ETAG = '"' + "0" * 32 + '"'


class Probe:
    """The trials. ``checksums``: whether the store verifies them, for the trials of other features.

    None: unknown.
    """

    def __init__(self, call: Call, bucket: str, key: str, notes: ProbeNotes, *, checksums: bool | None = None) -> None:
        self._ask = call
        self._bucket = bucket
        self._key = key
        self._notes = notes
        self._checksums = checksums
        self._left: list[str] = []

    async def ask(self, ability: Ability) -> bool | None:
        """Whether the store supports it; None: not determined. Raises the error that prevents the trial."""
        await self._end_what_is_left()
        if ability is not Ability.CHECKSUM:
            await self._make_object()
        match ability:
            case Ability.CHECKSUM:
                found = await self._about_checksums()
                self._checksums = found
                return found
            case Ability.CHECKSUM_MODE:
                return await controlled(right=partial(self._head, ChecksumMode="ENABLED"), without=self._head)
            case Ability.OBJECT_SIZE:
                sizes = {"wrong": {"MpuObjectSize": len(_BYTES) + 1}, "right": {"MpuObjectSize": len(_BYTES)}}
                return await controlled(**self._completions(sizes), without=self._complete)
            case Ability.IF_NONE_MATCH:
                return await controlled(wrong=partial(self._complete, IfNoneMatch="*"), without=self._complete)
            case Ability.IF_MATCH:
                return await controlled(
                    wrong=partial(self._complete, IfMatch=_NO_ETAG),
                    right=partial(self._on_the_object, self._complete),
                    without=self._complete,
                )
            case Ability.PUT_IF_NONE_MATCH:
                return await controlled(wrong=partial(self._put, IfNoneMatch="*"), without=self._put)
            case Ability.PUT_IF_MATCH:
                return await controlled(
                    wrong=partial(self._put, IfMatch=_NO_ETAG),
                    right=partial(self._on_the_object, self._put),
                    without=self._put,
                )
            case Ability.PART_COPY:
                return await self._about_copies(checksum=False)
            case Ability.COPY_CHECKSUM:
                # If the store keeps no checksum, a copied range has none either.
                return await self._about_copies(checksum=True) if self._checksums else self._checksums

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """With one immediate retry on a kept-alive connection that was closed."""
        try:
            return await self._ask(operation, **arguments)
        except S3ConnectionCut:
            return await self._ask(operation, **arguments)

    async def _about_checksums(self) -> bool | None:
        return await controlled(
            wrong=partial(self._complete, checksum=True, crc=_CRC ^ 1),
            right=partial(self._complete, checksum=True),
            without=partial(self._complete, checksum=False),
        )

    def _completions(self, each: Mapping[str, Mapping[str, Any]]) -> dict[str, Trial]:
        return {name: partial(self._complete, **condition) for name, condition in each.items()}

    async def _make_object(self) -> None:
        try:
            there = await self._call("head_object", Key=self._key)
        except S3Rejected:
            there = {"ContentLength": 0}
        if there.get("ContentLength", len(_BYTES)) != len(_BYTES):
            await self._call("put_object", Key=self._key, Body=_BYTES, ContentMD5=_MD5)

    async def _head(self, **mode: str) -> Said:
        try:
            await self._call("head_object", Key=self._key, **mode)
        except S3OperationError as exc:
            return said(exc)
        return Said.ACCEPTED

    async def _put(self, **condition: str) -> Said:
        sum_ = {"ChecksumCRC64NVME": crc64_to_base64(_CRC)} if self._checksums else {"ContentMD5": _MD5}
        try:
            await self._call("put_object", Key=self._key, Body=_BYTES, **sum_, **condition)
        except S3Rejected as exc:
            return Said.NOT_KNOWN if condition and exc.code not in _UNMET else said(exc)
        except S3OperationError as exc:
            return said(exc)
        return Said.ACCEPTED

    async def _on_the_object(self, trial: Any) -> Said:
        """Run the trial with the ETag of the existing object.

        If it is refused although the object has that ETag before and after, the store does not support the condition:
        Ceph RGW 16.2 answers 412 to every If-Match of a PutObject. Another daemon's probe may have interfered, so this
        counts only if it happens twice.
        """
        etag = await self._etag()
        if etag is None:
            return Said.NOTHING
        found: Said = await trial(IfMatch=f'"{etag}"')
        return Said.NOT_KNOWN if found is Said.REFUSED and await self._etag() == etag else found

    async def _etag(self) -> str | None:
        """The ETag of the probe's object; None: unknown."""
        try:
            return bare((await self._call("head_object", Key=self._key))["ETag"])
        except S3OperationError:
            return None

    async def _complete(self, *, checksum: bool | None = None, crc: int = _CRC, **more: Any) -> Said:
        """One complete upload with one part."""
        with_checksum = bool(self._checksums) if checksum is None else checksum
        return await self._in_an_upload(
            lambda upload_id: self._completed(upload_id, with_checksum, crc, more),
            checksum=with_checksum,
            completes=True,
        )

    async def _in_an_upload(self, do: Callable[[str], Awaitable[Said]], *, checksum: bool, completes: bool) -> Said:
        """The answer to a request in an upload of its own, which is ended afterwards."""
        declared = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"} if checksum else {}
        try:
            created = await self._call("create_multipart_upload", Key=self._key, **declared)
        except S3OperationError as exc:
            return said(exc)
        upload_id = str(created["UploadId"])
        await self._notes.note(upload_id)
        answer = await do(upload_id)
        if not (completes and answer is Said.ACCEPTED) and not await self._ended(upload_id):
            self._left.append(upload_id)
            return Said.NOTHING  # the trial is repeated later, after ending the leftovers
        await self._notes.forget(upload_id)
        return answer

    async def _about_copies(self, *, checksum: bool) -> bool | None:
        """The control is the same upload with a part that was sent."""
        return await controlled(
            right=partial(
                self._in_an_upload, partial(self._copied, checksum=checksum), checksum=checksum, completes=False
            ),
            without=partial(self._complete, checksum=checksum),
        )

    async def _copied(self, upload_id: str, *, checksum: bool) -> Said:
        """Whether a copied range is verifiable. If not, or if it is refused, copies count as not supported."""
        try:
            etag = bare((await self._call("head_object", Key=self._key))["ETag"])
            answer = await self._call(
                "upload_part_copy",
                Key=self._key,
                UploadId=upload_id,
                PartNumber=1,
                CopySource={"Bucket": self._bucket, "Key": self._key},
                CopySourceIfMatch=f'"{etag}"',
                CopySourceRange=f"bytes=0-{len(_RANGE) - 1}",
            )
        except S3Rejected as exc:
            return Said.NOTHING if exc.code in _UNMET else Said.NOT_KNOWN  # another daemon's probe is running
        except S3OperationError as exc:
            return said(exc)
        copy: Mapping[str, Any] = answer["CopyPartResult"]
        if checksum:
            proved = copy.get("ChecksumCRC64NVME") == _RANGE_CRC
        else:
            proved = bare(str(copy.get("ETag", ""))).lower() == _RANGE_MD5
        return Said.ACCEPTED if proved else Said.NOT_KNOWN

    async def _completed(self, upload_id: str, checksum: bool, crc: int, more: Mapping[str, Any]) -> Said:
        of_part = {"ChecksumCRC64NVME": crc64_to_base64(_CRC)} if checksum else {}
        of_body = of_part or {"ContentMD5": _MD5}
        whole = {"ChecksumType": "FULL_OBJECT", "ChecksumCRC64NVME": crc64_to_base64(crc)} if checksum else {}
        try:
            sent = await self._call(
                "upload_part", Key=self._key, UploadId=upload_id, PartNumber=1, Body=_BYTES, **of_body
            )
            parts = {"Parts": [{"PartNumber": 1, "ETag": sent["ETag"], **of_part}]}
            await self._call(
                "complete_multipart_upload",
                Key=self._key,
                UploadId=upload_id,
                MultipartUpload=parts,
                **whole,
                **more,
            )
        except S3Rejected as exc:
            # These two mean that it does not hold; any other refusal means that the condition is not supported.
            is_condition = not more.keys().isdisjoint({"IfMatch", "IfNoneMatch"})
            return Said.NOT_KNOWN if is_condition and exc.code not in _UNMET else said(exc)
        except S3OperationError as exc:
            return said(exc)
        return Said.ACCEPTED

    async def _end_what_is_left(self) -> None:
        for upload_id in tuple(self._left):
            if await self._ended(upload_id):
                self._left.remove(upload_id)
                await self._notes.forget(upload_id)

    async def _ended(self, upload_id: str) -> bool:
        """Aborted, or already gone; otherwise its note is handled by the next start."""
        try:
            await self._call("abort_multipart_upload", Key=self._key, UploadId=upload_id)
        except UploadGone:
            return True
        except S3OperationError as exc:
            # A missing permission must not block the trials; a lifecycle rule ends the upload.
            return isinstance(exc, S3Unavailable) and exc.misconfigured
        return True
