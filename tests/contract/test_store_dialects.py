"""A real store behind a proxy that answers in another store's words: what the client makes of it must be the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from src.domain import PROBE_KEY, Answer, Hashes, moments
from src.exceptions import S3Unavailable
from src.s3_client import Choice, KeySettings, probe
from src.s3_client.abilities import Said, Trial
from src.s3_client.settings import Abilities
from tests.contract.test_object_store import TAIL, WHOLE, completed, manifest_of, opened_with, settings_of, uploaded
from tests.harness.fakes.recordings import FakeChunkBody
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.faulty_s3 import Fault, FaultyS3, drop, edited, lose_answer, status
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
        assert telemetry.of(moments.OperationFailed)
        with pytest.raises(S3Unavailable, match="XAdminUserNotFound") as refused:
            await client.ping()
        assert refused.value.misconfigured
        assert "S3_ACCESS_KEY_ID" in refused.value.hint


# -- one odd answer ----------------------------------------------------------------------------------------------------

#: What may meet the probe once at any of its requests, and say nothing of the store.
ODD = (status(400, "OddAnswer"), status(501, "NotImplemented"), status(404, "NoSuchUpload"), drop())
ASKED = ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject", "HeadObject", "UploadPartCopy")


async def _one_odd_answer_teaches_nothing(server: S3Server, operation: str, odd: Fault, skip: int) -> None:
    with FaultyS3(server.port) as proxy:
        settings = settings_of(server, endpoint_url=proxy.url)
        rule = proxy.on(operation, odd, key=PROBE_KEY, skip=skip)
        telemetry = FakeTelemetry()
        async with opened_with(settings, telemetry) as client:
            abilities = await client.abilities()
    assert rule.happened == 1
    learnt = replace(abilities, copy_checksum=True, copies_without_checksums=False)
    assert learnt == Abilities(True, True, True, True, True)
    assert not abilities.copy_checksum and abilities.copies_without_checksums, "as VersityGW is"
    assert telemetry.of(moments.AbilityLost) == []


@pytest.mark.parametrize("operation", ASKED)
@pytest.mark.parametrize("odd", ODD, ids=lambda fault: fault.name)
async def test_one_odd_answer_to_the_probe_teaches_nothing(versitygw: S3Server, operation: str, odd: Fault) -> None:
    for skip in (0, 1, 2):
        await _one_odd_answer_teaches_nothing(versitygw, operation, odd, skip)


async def test_a_probe_that_learns_from_a_single_refusal_is_caught(
    versitygw: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant: the second question of the pair is not asked."""

    async def hasty(*, wrong: Trial | None = None, right: Trial | None = None, without: Trial) -> bool:
        with_it = right or wrong
        assert with_it is not None
        answer = await with_it()
        return answer is (Said.ACCEPTED if right else Said.REFUSED)

    monkeypatch.setattr(probe, "controlled", hasty)
    with pytest.raises(AssertionError):
        await _one_odd_answer_teaches_nothing(versitygw, "CreateMultipartUpload", ODD[0], 0)


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject"])
async def test_a_refusal_in_a_recording_teaches_nothing_and_costs_one_repetition(
    versitygw: S3Server, operation: str
) -> None:
    with FaultyS3(versitygw.port) as proxy:
        settings, telemetry = settings_of(versitygw, endpoint_url=proxy.url), FakeTelemetry()
        async with opened_with(settings, telemetry) as client:
            before = await client.abilities()
            rule = proxy.on(operation, status(400, "" if operation == "HeadObject" else "OddAnswer"), key="take.mp4")
            await completed(client, "take.mp4", TAIL)
            assert await client.abilities() == before
        assert rule.happened == 1
        assert telemetry.of(moments.AbilityLost) == []
        assert telemetry.of(moments.OperationFailed) == [], "asked again at once, without what nothing depends on"


async def test_a_condition_that_is_refused_in_a_recording_stays(versitygw: S3Server) -> None:
    """Who has no condition, and has not been asked, may have one: the object is looked at, and it is asked again."""
    with FaultyS3(versitygw.port) as proxy:
        async with opened_with(settings_of(versitygw, endpoint_url=proxy.url)) as client:
            await client.abilities()
            proxy.on("CompleteMultipartUpload", status(501, "NotImplemented"), key="take.mp4", times=2)
            upload_id, parts = await uploaded(client, "take.mp4", TAIL)
            assert await client.complete_upload("take.mp4", upload_id, manifest_of(TAIL), parts) is Answer.NONE
            assert await client.complete_upload("take.mp4", upload_id, manifest_of(TAIL), parts) is Answer.DONE
        asked = proxy.seen("CompleteMultipartUpload", "take.mp4")
        assert len(asked) == 3
        assert all(request.headers["if-none-match"] == "*" for request in asked)


async def test_every_body_without_a_checksum_has_its_md5(versitygw: S3Server) -> None:
    with FaultyS3(versitygw.port) as proxy:
        settings = settings_of(versitygw, endpoint_url=proxy.url, checksum=Choice.OFF)
        async with opened_with(settings) as client:
            await completed(client, "take.mp4", TAIL)
            assert await client.put_document("take.json", b"{}", replaces=None)
        for operation in ("UploadPart", "PutObject"):
            assert proxy.seen(operation)
            assert all("content-md5" in request.headers for request in proxy.seen(operation))
        names = {name for request in proxy.requests for name in request.headers}
        assert not any(name.startswith("x-amz-checksum") for name in names)


async def test_an_upload_of_another_process_says_itself_whether_it_has_checksums(versitygw: S3Server) -> None:
    settings = settings_of(versitygw)
    async with opened_with(replace(settings, checksum=Choice.OFF)) as client:
        bare, parts = await uploaded(client, "bare.mp4", WHOLE)
    async with opened_with(settings) as client:
        summed, sums = await uploaded(client, "summed.mp4", WHOLE)
    async with opened_with(settings) as client:
        assert (await client.abilities()).checksum
        for key, upload_id, held in (("bare.mp4", bare, parts), ("summed.mp4", summed, sums)):
            listed = await client.list_parts(key, upload_id)
            body = FakeChunkBody(TAIL, Hashes(md5=True))
            tail = await client.upload_part(key, upload_id, 2, body)
            named = [replace(listed[1], crc64=held[0].crc64), tail]
            assert await client.complete_upload(key, upload_id, manifest_of(WHOLE, TAIL), named) is Answer.DONE


# -- a connection that was closed meanwhile --------------------------------------------------------------------------


async def test_a_completion_that_met_a_dead_connection_is_sent_once_more_at_once(versitygw: S3Server) -> None:
    with FaultyS3(versitygw.port) as proxy:
        settings, telemetry = settings_of(versitygw, endpoint_url=proxy.url), FakeTelemetry()
        async with opened_with(settings, telemetry) as client:
            await client.abilities()
            rule = proxy.on("CompleteMultipartUpload", drop(), key="take.mp4")
            await completed(client, "take.mp4", TAIL)
            there = await client.head("take.mp4")
        assert rule.happened == 1 and there is not None and there.size == len(TAIL)
        assert telemetry.of(moments.OperationFailed) == []


@pytest.mark.parametrize("fault", [lose_answer(), drop()], ids=lambda fault: fault.name)
async def test_a_completion_without_an_answer_is_left_open_where_anything_may_have_come_of_it(
    versitygw: S3Server, fault: Fault
) -> None:
    """The object is there, its answer lost; or a stranger's object is there by now, and stays."""
    with FaultyS3(versitygw.port) as proxy:
        settings, telemetry = settings_of(versitygw, endpoint_url=proxy.url), FakeTelemetry()
        async with opened_with(settings, telemetry) as client:
            await client.abilities()
            upload_id, parts = await uploaded(client, "take.mp4", TAIL)
            if fault.name == drop().name:
                await completed(client, "take.mp4", WHOLE)
            before = await client.head("take.mp4")
            rule = proxy.on("CompleteMultipartUpload", fault, key="take.mp4")
            assert await client.complete_upload("take.mp4", upload_id, manifest_of(TAIL), parts) is Answer.NONE
            there = await client.head("take.mp4")
        assert rule.happened == 1 and there is not None
        assert there == before if before else there.size == len(TAIL)
        assert len(telemetry.of(moments.OperationFailed)) == 1
