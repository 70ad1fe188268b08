"""The list of parts in a completion says what botocore would say, and blocks the event loop for a moment only."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any
from xml.etree import ElementTree

import botocore.session
import pytest
from botocore.serialize import create_serializer

from src.domain import Answer, Identity, Manifest, Snapshot, StoredPart, crc64_to_base64
from src.retry import RetryPolicy
from src.s3_client import KeySettings, StoreSettings, open_store
from src.s3_client.part_list import part_list
from tests.harness.servers import S3Server

#: The CPU time of one callback of the event loop.
LONGEST_SECONDS = 0.02
MOST_PARTS = 10_000


def parts(count: int, *, etag: str = "{:032x}") -> list[StoredPart]:
    return [StoredPart(n, 5 << 20, etag.format(n), None if n % 3 == 0 else n * 7919) for n in range(1, count + 1)]


def by_botocore(stored: list[StoredPart], *, checksums: bool) -> bytes:
    model = botocore.session.get_session().get_service_model("s3").operation_model("CompleteMultipartUpload")
    named: list[dict[str, Any]] = []
    for part in stored:
        entry: dict[str, Any] = {"PartNumber": part.number, "ETag": f'"{part.etag}"'}
        if checksums and part.crc64 is not None:
            entry["ChecksumCRC64NVME"] = crc64_to_base64(part.crc64)
        named.append(entry)
    arguments = {"Bucket": "b", "Key": "k", "UploadId": "u", "MultipartUpload": {"Parts": named}}
    body: bytes = create_serializer("rest-xml").serialize_to_request(arguments, model)["body"]
    return body


def tree(xml: bytes) -> list[tuple[str, str | None]]:
    return [(element.tag, element.text) for element in ElementTree.fromstring(xml).iter()]


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("count", [1, 100, 101, MOST_PARTS])
async def test_it_says_what_botocore_would_say(count: int, checksums: bool) -> None:
    stored = parts(count)
    found = await part_list(stored, checksums=checksums)
    assert tree(found.xml) == tree(by_botocore(stored, checksums=checksums))


async def test_no_etag_breaks_it() -> None:
    stored = parts(3, etag="<&>\"'{}é")
    found = await part_list(stored, checksums=True)
    assert tree(found.xml) == tree(by_botocore(stored, checksums=True))


async def test_ten_thousand_parts_block_the_event_loop_for_a_moment(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured as the CPU time of the loop's thread: other work of the machine does not count."""
    longest = 0.0
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        began = time.thread_time()
        run(handle)
        longest = max(longest, time.thread_time() - began)

    settings = StoreSettings(
        bucket="parts",
        endpoint_url=versitygw.endpoint,
        keys=KeySettings(versitygw.access_key, versitygw.secret_key),
        region=versitygw.region,
    )
    async with open_store(settings, policy=RetryPolicy(), emit=lambda _: None) as store:
        await store.abilities()
        upload_id = await store.create_upload("long.mp4", {"stream-id": "1"})
        size = MOST_PARTS * (5 << 20)
        manifest = Manifest(size, 1, MOST_PARTS, Snapshot(Identity(1, 1), size, 1, 1), None)
        stored = parts(MOST_PARTS)
        await store.complete_upload("long.mp4", upload_id, manifest, stored)  # imports and caches
        gc.collect()
        gc.disable()  # a collection of this process's own would count
        try:
            with monkeypatch.context() as patch:
                patch.setattr(asyncio.Handle, "_run", timed)
                answer = await store.complete_upload("long.mp4", upload_id, manifest, stored)
                await asyncio.sleep(0)
        finally:
            gc.enable()
        await store.abort_upload("long.mp4", upload_id)
    assert answer is Answer.INVALID_PART  # the store has read the list
    assert 0 < longest < LONGEST_SECONDS
