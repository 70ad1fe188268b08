"""A real store behind a proxy that answers in another store's words: what the client makes of it must be the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from src.credentials import KeySettings
from src.exceptions import S3Unavailable
from src.recording import Answer
from tests.contract.test_object_store import TAIL, manifest_of, opened_with, settings_of, uploaded
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.faulty_s3 import FaultyS3, edited
from tests.harness.servers import S3Server

pytestmark = [pytest.mark.timeout(60), pytest.mark.versitygw]

#: What stores call a checksum that differs: VersityGW as Amazon, MinIO, Garage.
MISMATCHES = ("BadDigest", "XAmzContentChecksumMismatch", "InvalidDigest")


@pytest.mark.parametrize("code", MISMATCHES)
async def test_checksums_are_used_whatever_a_store_calls_one_that_differs(versitygw: S3Server, code: str) -> None:
    with FaultyS3(versitygw.port) as proxy:
        proxy.on(None, edited(b"BadDigest", code.encode(), name=code), times=None)
        async with opened_with(settings_of(versitygw, endpoint_url=proxy.url)) as client:
            assert (await client.abilities()).checksum
            upload_id, parts = await uploaded(client, "take.mp4", TAIL)
            right = manifest_of(TAIL)
            wrong = replace(right, crc64=right.crc64 ^ 1)
            assert await client.complete_upload("take.mp4", upload_id, wrong, parts) is Answer.WRONG_CONTENT
            assert await client.complete_upload("take.mp4", upload_id, right, parts) is Answer.DONE


async def test_a_head_that_misses_for_an_unknown_key_id_is_no_object_that_is_gone(
    versitygw: S3Server,
) -> None:
    """VersityGW answers both by a bare 404."""
    settings = settings_of(versitygw)
    async with opened_with(settings) as client:
        upload_id, parts = await uploaded(client, "take.mp4", TAIL)
        assert await client.complete_upload("take.mp4", upload_id, manifest_of(TAIL), parts) is Answer.DONE
        assert await client.head("no such thing.mp4") is None
    telemetry = FakeTelemetry()
    stranger = replace(settings, keys=KeySettings("nobody-has-this-key", versitygw.secret_key))
    async with opened_with(stranger, telemetry) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.head("take.mp4")
        assert telemetry.named("operation_failed")
        with pytest.raises(S3Unavailable, match="XAdminUserNotFound") as refused:
            await client.ping()
        assert refused.value.misconfigured
        assert "S3_ACCESS_KEY_ID" in refused.value.hint
