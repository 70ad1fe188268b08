"""Completions at stores of which something is not known, through the real client and a proxy before VersityGW."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from src.domain import Answer, Chunk, matches
from src.exceptions import PartNotTaken
from src.retry import RetryPolicy
from src.s3_client import Choice, StoreSettings
from src.s3_client.abilities import Ability
from src.s3_client.settings import Deadlines
from tests.contract.test_object_store import MIB, body, manifest_of, opened_with, settings_of, uploaded
from tests.harness.asked_again import open_asked_again
from tests.harness.fakes.recordings import FakeChunkBody
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.faulty_s3 import FaultyS3, throttle
from tests.harness.servers import S3Server
from tests.harness.stores.personalities import PERSONALITIES, Personality, Refusal
from tests.harness.stores.proxy import PersonalS3

pytestmark = [pytest.mark.timeout(120), pytest.mark.versitygw]

_NO_SIZE = Personality(
    "refuses the object's size",
    "as some gateways refuse any header that they do not know",
    (),
    refusals=(
        Refusal(
            400,
            "InvalidArgument",
            "Unsupported header '{header}' received for this API call.",
            header="x-amz-mp-object-size",
        ),
    ),
)
_NO_MIXTURE = Personality(
    "refuses a checksum in an upload that was begun without",
    "as Amazon does",
    (),
    refusals=(
        Refusal(
            400,
            "InvalidRequest",
            "Checksum Type mismatch occurred, expected checksum Type: null, actual checksum Type: crc64nvme",
            operations=("UploadPart",),
            header="x-amz-checksum-crc64nvme",
        ),
    ),
)


async def test_a_strangers_object_is_kept_where_nobody_could_learn_whether_conditions_count(
    versitygw: S3Server,
) -> None:
    ceph = next(personality for personality in PERSONALITIES if personality.name == "Ceph RGW")
    with PersonalS3(versitygw, ceph) as proxy:
        async with opened_with(replace(settings_of(versitygw), endpoint_url=proxy.url)) as client:

            async def nothing(_: Ability) -> bool | None:
                return None

            client._learner._ask = nothing
            client._learner._began -= 100.0  # the store was away for the first minute
            film = os.urandom(5 * MIB)
            upload_id, parts = await uploaded(client, "k", film)
            await client._requests.call("put_object", Key="k", Body=b"a stranger's")
            answer = await client.complete_upload("k", upload_id, manifest_of(film), parts)
            there = await client.head("k")
            assert answer is Answer.PRECONDITION_FAILED
            assert there is not None and there.size == len(b"a stranger's")


@pytest.mark.parametrize("checksum", [Choice.ON, Choice.AUTO])
async def test_a_store_that_refuses_the_objects_size_completes_whatever_else_is_set(
    versitygw: S3Server, checksum: Choice
) -> None:
    with PersonalS3(versitygw, _NO_SIZE) as proxy:
        settings = replace(
            settings_of(versitygw), endpoint_url=proxy.url, checksum=checksum, conditional_writes=Choice.ON
        )
        async with opened_with(settings) as client:
            await client.abilities()
            film = os.urandom(5 * MIB)
            upload_id, parts = await uploaded(client, "k", film, b"tail")
            assert await client.complete_upload("k", upload_id, manifest_of(film, b"tail"), parts) is Answer.DONE


@pytest.mark.parametrize("is_aws", [True, False])
async def test_an_upload_that_was_begun_without_checksums_goes_on_without(
    versitygw: S3Server, is_aws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(versitygw)
    async with opened_with(replace(settings, checksum=Choice.OFF)) as client:
        await client.abilities()
        upload_id = await client.create_upload("k", {})
    if is_aws:
        monkeypatch.setattr(StoreSettings, "is_aws", property(lambda self: True))
    with PersonalS3(versitygw, _NO_MIXTURE) as proxy:
        async with opened_with(replace(settings, endpoint_url=proxy.url, addressing_style="path")) as client:
            await client.abilities()
            await client.list_parts("k", upload_id)
            film = os.urandom(5 * MIB)
            async with asyncio.timeout(60):
                bodies = [(1, film), (2, b"tail")]
                parts = [await client.upload_part("k", upload_id, n, await body(client, data)) for n, data in bodies]
            assert await client.complete_upload("k", upload_id, manifest_of(film, b"tail"), parts) is Answer.DONE


@pytest.mark.minio
async def test_a_part_without_the_checksum_that_its_upload_wants_is_not_sent_for_ever(minio: S3Server) -> None:
    """S3_CHECKSUM=none was set while the recording was under way: it goes on in another upload."""
    async with opened_with(settings_of(minio)) as client:
        await client.abilities()
        upload_id = await client.create_upload("k", {})
        settings = replace(settings_of(minio), bucket=client.bucket, checksum=Choice.OFF)
    async with opened_with(settings) as client:
        await client.list_parts("k", upload_id)
        async with asyncio.timeout(60):
            with pytest.raises(PartNotTaken):
                await client.upload_part("k", upload_id, 1, await body(client, b"tail"))


@pytest.mark.parametrize("is_aws", [True, False])
async def test_a_copy_is_proved_by_its_md5_where_no_checksums_are_kept(
    versitygw: S3Server, is_aws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings_of(versitygw), checksum=Choice.OFF, addressing_style="path")
    monkeypatch.setattr(StoreSettings, "is_aws", property(lambda self: is_aws))
    async with opened_with(settings) as client:
        film = os.urandom(5 * MIB)
        upload_id, parts = await uploaded(client, "k", film, b"tail")
        assert await client.complete_upload("k", upload_id, manifest_of(film, b"tail"), parts) is Answer.DONE
        there = await client.head("k")
        assert there is not None
        again = await client.create_upload("k", {}, of_copies=True)
        chunk = Chunk(1, 0, len(film))
        copy = await client.copy_part("k", again, chunk, source_key="k", source_etag=there.etag)
        sent = FakeChunkBody(film, await client.hashes_of_copies())
        assert matches(copy, sent.digest)


async def test_a_whole_file_may_take_as_long_as_a_part_of_its_size(versitygw: S3Server) -> None:
    """S10: longer than any request without a body may."""
    data = os.urandom(MIB)
    with FaultyS3(versitygw.port) as proxy:
        settings = replace(settings_of(versitygw), endpoint_url=proxy.url)
        async with open_asked_again(
            settings,
            policy=RetryPolicy(0.05, 0.2),
            emit=FakeTelemetry().emit,
            deadlines=Deadlines(call=2.0, completion=60.0),
        ) as client:
            await client.abilities()
            slow = proxy.on("PutObject", throttle(len(data) / 5), key="k", times=1)
            answer, told = await client.put_whole("k", {}, await body(client, data))
            assert slow.happened == 1
            assert answer is Answer.DONE and told is not None and told.size == len(data)
