"""The real client on every personality before every real store: learn, upload, replace, describe, leave nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from src.domain import Answer
from src.exceptions import UploadGone
from src.s3_client import Choice, S3Client
from tests.contract.test_object_store import body, manifest_of, opened_with, settings_of, uploaded
from tests.harness.servers import S3Server
from tests.harness.stores.personalities import MIB, PERSONALITIES, Personality
from tests.harness.stores.proxy import PersonalS3

pytestmark = pytest.mark.timeout(120)

WHOLE, OTHER, TAIL = os.urandom(5 * MIB), os.urandom(5 * MIB), os.urandom(1000)
BEHIND = ("versitygw", "minio")
#: Long, because machines are shared; a case that passes never waits for it.
SECONDS, SECONDS_IN_VAIN = 90.0, 10.0
_CHOICES = {"none": Choice.OFF, "on": Choice.ON, "off": Choice.OFF}


def _marks(personality: Personality, name: str) -> list[pytest.MarkDecorator]:
    store = getattr(pytest.mark, name)
    # Strict: whoever mends it takes the reason out of the table, and the lives below tests/e2e run from then on.
    # Before the other store than its own it may be right already.
    strict = name == personality.behind
    return [store, pytest.mark.xfail(reason=personality.fault, strict=strict)] if personality.fault else [store]


ALL = [
    pytest.param(each, name, id=f"{each.name} before {name}", marks=_marks(each, name))
    for each in PERSONALITIES
    for name in BEHIND
]


@contextlib.asynccontextmanager
async def _opened(server: S3Server, proxy: PersonalS3, personality: Personality) -> AsyncIterator[S3Client]:
    settings = replace(settings_of(server), endpoint_url=proxy.url)
    if "S3_CHECKSUM" in personality.settings:
        settings = replace(settings, checksum=_CHOICES[personality.settings["S3_CHECKSUM"]])
    seconds = SECONDS_IN_VAIN if personality.fault else SECONDS
    async with asyncio.timeout(seconds), opened_with(settings) as client:
        yield client


@pytest.fixture
def server(request: pytest.FixtureRequest, name: str) -> S3Server:
    found: S3Server = request.getfixturevalue(name)
    return found


@pytest.mark.parametrize(("personality", "name"), ALL)
async def test_objects_are_made_replaced_and_described(personality: Personality, server: S3Server) -> None:
    key = "cam/take 1.mp4"
    with PersonalS3(server, personality) as proxy:
        async with _opened(server, proxy, personality) as client:
            await client.abilities()
            # Where it met a connection that was closed unsaid, a stream looks at the object.
            unmet = Answer.NONE if personality.closes_without_body else Answer.PRECONDITION_FAILED
            upload_id, parts = await uploaded(client, key, WHOLE, TAIL)
            listed = await client.list_parts(key, upload_id)
            assert [listed[number].size for number in (1, 2)] == [len(WHOLE), len(TAIL)]
            assert [upload.upload_id for upload in await client.list_uploads(key)] == [upload_id]
            assert await client.complete_upload(key, upload_id, manifest_of(WHOLE, TAIL), parts) is Answer.DONE
            with pytest.raises(UploadGone):
                await client.list_parts(key, upload_id)
            first = await client.head(key)
            assert first is not None and first.size == len(WHOLE) + len(TAIL)
            assert await client.object_crc64(key, first.etag) == manifest_of(WHOLE, TAIL).crc64

            again, parts = await uploaded(client, key, OTHER)
            assert await client.complete_upload(key, again, manifest_of(OTHER), parts) in (
                Answer.PRECONDITION_FAILED,
                unmet,
            )
            wanted = manifest_of(OTHER, replaces=first.etag)
            assert await client.complete_upload(key, again, wanted, parts) is Answer.DONE
            second = await client.head(key)
            assert second is not None
            assert await client.object_crc64(key, second.etag) == manifest_of(OTHER).crc64

            if client.refuses_a_second_put():
                answer, _ = await client.put_whole("whole.mp4", {}, await body(client, TAIL))
                assert answer in (Answer.DONE, unmet)
                assert await client.put_whole("whole.mp4", {}, await body(client, OTHER)) in (
                    (Answer.PRECONDITION_FAILED, None),
                    (unmet, None),
                )
                stored = await client.head("whole.mp4")
                assert stored is not None and stored.size == len(TAIL)

            assert await client.put_document("d.json", b"{}", replaces=None)
            assert not await client.put_document("d.json", b"[]", replaces=None)
            there = await client.get_document("d.json")
            assert there is not None
            assert await client.put_document("d.json", b"[1]", replaces=there[1])
        await _nothing_is_left_open(server, client.bucket, key)


async def _nothing_is_left_open(server: S3Server, bucket: str, key: str) -> None:
    async with opened_with(replace(settings_of(server), bucket=bucket)) as client:
        for each in (key, ".cefmp4-probe"):
            assert await client.list_uploads(each) == [], f"an upload is left open at {each}"
