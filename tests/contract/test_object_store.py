"""The port ``ObjectStore``: one suite for the fake, VersityGW, MinIO and moto's server.

Where a store lacks an ability, the documented fallback is asserted and the gap is printed at the end of the run.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import pytest

from src.domain import (
    Answer,
    Chunk,
    ChunkBody,
    Hashes,
    Identity,
    Manifest,
    ObjectStore,
    Snapshot,
    StoredPart,
    combine,
    matches,
    moments,
    multipart_etag,
)
from src.domain.completion import equals_manifest
from src.exceptions import FileChanged, S3Rejected, S3Unavailable, UploadGone
from src.retry import RetryPolicy
from src.s3_client import Choice, KeySettings, S3Client, StoreSettings
from src.s3_client.settings import Deadlines
from tests.harness.asked_again import open_asked_again
from tests.harness.fakes.recordings import FakeChunkBody
from tests.harness.fakes.store import FakeStore
from tests.harness.fakes.telemetry import FakeTelemetry
from tests.harness.servers import S3Server
from tests.harness.stores.real import REAL, Lack

MIB = 1024 * 1024
WHOLE = os.urandom(5 * MIB)
TAIL = os.urandom(1000)
SOME = Snapshot(Identity(1, 2), 3, 4, 5)


@dataclass
class Store:
    """A store under test. ``missing``: what the table says that it lacks."""

    port: ObjectStore
    kind: str
    node: pytest.Item
    missing: frozenset[Lack] = frozenset()

    def lacks(self, what: Lack) -> bool:
        """Noted for the end of the run, so that nobody takes a fallback for the real thing."""
        if what not in self.missing:
            return False
        self.node.user_properties.append(("gap", f"{self.kind} lacks {what}"))
        return True


def marks_of(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """The marks that leave a real store's cases out where its program is missing."""
    marker = REAL[name].marker
    return (getattr(pytest.mark, marker),) if marker else ()


def settings_of(server: S3Server, **more: object) -> StoreSettings:
    """A bucket of its own on a real server."""
    settings = StoreSettings(
        bucket=f"test-{secrets.token_hex(6)}",
        endpoint_url=server.endpoint,
        keys=KeySettings(server.access_key, server.secret_key),
        region=server.region,
    )
    return replace(settings, **more)  # type: ignore[arg-type]


@pytest.fixture(params=["fake", *(pytest.param(name, marks=marks_of(name)) for name in REAL)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "fake":
        yield Store(FakeStore(), "fake", request.node)
        return
    async with opened(request.getfixturevalue(request.param)) as client:
        await client.abilities()  # and the bucket is there
        yield Store(client, request.param, request.node, REAL[request.param].lacks)


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in REAL])
async def test_what_the_table_says_is_what_the_client_learns(name: str, request: pytest.FixtureRequest) -> None:
    lacks = REAL[name].lacks
    async with opened(request.getfixturevalue(name)) as client:
        learnt = await client.abilities()
        assert learnt.checksum is (Lack.CHECKSUM not in lacks)
        assert learnt.object_size is (Lack.OBJECT_SIZE not in lacks)
        assert learnt.if_match is (Lack.IF_MATCH not in lacks)
        assert learnt.if_none_match
        copies_keep_checksums = lacks.isdisjoint({Lack.CHECKSUM, Lack.COPY_CHECKSUM, Lack.COPY_INTO_CHECKSUMS})
        assert learnt.copy_checksum is copies_keep_checksums
        assert learnt.copies_without_checksums is not copies_keep_checksums
        assert await client.list_uploads(".cefmp4-probe") == [], "what the probe begins it ends"


def opened(server: S3Server, **more: object) -> AbstractAsyncContextManager[S3Client]:
    """The real client on a bucket of its own."""
    return opened_with(settings_of(server, **more))


def opened_with(
    settings: StoreSettings, telemetry: FakeTelemetry | None = None
) -> AbstractAsyncContextManager[S3Client]:
    return open_asked_again(
        settings,
        policy=RetryPolicy(0.05, 0.2),
        emit=(telemetry or FakeTelemetry()).emit,
        deadlines=Deadlines(call=20, completion=60),
    )


async def body(port: ObjectStore, data: bytes) -> ChunkBody:
    """A chunk's bytes with the digests that the store needs."""
    hashes = await port.hashes()
    return FakeChunkBody(data, Hashes(md5=True, sha256=hashes.sha256), piece=256 * 1024)


def manifest_of(*chunks: bytes, replaces: str | None = None) -> Manifest:
    digests = [FakeChunkBody(chunk, Hashes(md5=True)).digest for chunk in chunks]
    return Manifest(
        size=sum(digest.size for digest in digests),
        crc64=combine((digest.crc64, digest.size) for digest in digests),
        part_count=len(digests),
        snapshot=SOME,
        replaces=replaces,
        etag_md5=multipart_etag([str(digest.md5) for digest in digests]),
    )


async def uploaded(port: ObjectStore, key: str, *chunks: bytes) -> tuple[str, list[StoredPart]]:
    """An upload that holds these parts."""
    upload_id = await port.create_upload(key, {"cefmp4-stream-id": "s1"})
    parts = [
        await port.upload_part(key, upload_id, number, await body(port, chunk))
        for number, chunk in enumerate(chunks, 1)
    ]
    return upload_id, parts


async def completed(port: ObjectStore, key: str, *chunks: bytes) -> str:
    """An object made of these parts; its ETag."""
    upload_id, parts = await uploaded(port, key, *chunks)
    assert await port.complete_upload(key, upload_id, manifest_of(*chunks), parts) is Answer.DONE
    there = await port.head(key)
    assert there is not None
    return there.etag


@pytest.mark.parametrize("key", ["plain.mp4", "a b/ü%41+&=?#~2 .mp4", "-x.mp4", "'\"<>.mp4"])
async def test_an_object_is_the_parts_in_order(store: Store, key: str) -> None:
    upload_id, parts = await uploaded(store.port, key, WHOLE, TAIL)
    manifest = manifest_of(WHOLE, TAIL)
    assert await store.port.complete_upload(key, upload_id, manifest, parts) is Answer.DONE
    there = await store.port.head(key)
    assert there is not None
    assert there.size == len(WHOLE) + len(TAIL)
    assert there.metadata["cefmp4-stream-id"] == "s1"
    assert await store.port.object_crc64(key, there.etag) == manifest.crc64
    if not store.lacks(Lack.CHECKSUM):
        assert there.crc64 == manifest.crc64
    else:
        assert there.crc64 is None
        assert there.etag == manifest.etag_md5


async def test_a_part_sent_again_takes_the_place_of_the_first(store: Store) -> None:
    upload_id, _ = await uploaded(store.port, "k", WHOLE, TAIL)
    patched = b"head" + WHOLE[4:]
    await store.port.upload_part("k", upload_id, 1, await body(store.port, patched))
    parts = [part for _, part in sorted((await store.port.list_parts("k", upload_id)).items())]
    assert await store.port.complete_upload("k", upload_id, manifest_of(patched, TAIL), parts) is Answer.DONE
    there = await store.port.head("k")
    assert there is not None
    assert await store.port.object_crc64("k", there.etag) == manifest_of(patched, TAIL).crc64


async def test_the_listing_shows_size_etag_and_checksum_of_every_part(store: Store) -> None:
    upload_id, parts = await uploaded(store.port, "k", WHOLE, TAIL)
    listed = await store.port.list_parts("k", upload_id)
    assert sorted(listed) == [1, 2]
    assert [listed[n].etag for n in (1, 2)] == [part.etag for part in parts]
    assert [listed[n].size for n in (1, 2)] == [len(WHOLE), len(TAIL)]
    if not store.lacks(Lack.CHECKSUM):
        assert [listed[n].crc64 for n in (1, 2)] == [part.crc64 for part in parts]


async def test_a_stale_etag_in_the_completion_is_an_invalid_part(store: Store) -> None:
    upload_id, parts = await uploaded(store.port, "k", WHOLE)
    await store.port.upload_part("k", upload_id, 1, await body(store.port, b"x" + WHOLE[1:]))
    assert await store.port.complete_upload("k", upload_id, manifest_of(WHOLE), parts) is Answer.INVALID_PART
    assert await store.port.head("k") is None


async def test_a_completion_with_a_wrong_whole_checksum_makes_no_object(store: Store) -> None:
    if store.lacks(Lack.CHECKSUM):
        return
    upload_id, parts = await uploaded(store.port, "k", WHOLE)
    wrong = replace(manifest_of(WHOLE), crc64=manifest_of(WHOLE).crc64 ^ 1)
    assert await store.port.complete_upload("k", upload_id, wrong, parts) is Answer.WRONG_CONTENT
    assert await store.port.head("k") is None


async def test_a_completion_with_a_wrong_size_makes_no_object(store: Store) -> None:
    if store.lacks(Lack.OBJECT_SIZE):
        return
    upload_id, parts = await uploaded(store.port, "k", WHOLE)
    wrong = replace(manifest_of(WHOLE), size=len(WHOLE) + 1)
    assert await store.port.complete_upload("k", upload_id, wrong, parts) is Answer.WRONG_CONTENT
    assert await store.port.head("k") is None


async def test_an_object_that_is_there_is_never_overwritten_by_accident(store: Store) -> None:
    etag = await completed(store.port, "k", WHOLE)
    upload_id, parts = await uploaded(store.port, "k", TAIL)
    assert await store.port.complete_upload("k", upload_id, manifest_of(TAIL), parts) is Answer.PRECONDITION_FAILED
    there = await store.port.head("k")
    assert there is not None
    assert there.etag == etag


async def test_our_own_object_is_replaced_only_while_it_is_the_one_we_saw(store: Store) -> None:
    etag = await completed(store.port, "k", WHOLE)
    upload_id, parts = await uploaded(store.port, "k", TAIL)
    if not store.lacks(Lack.IF_MATCH):
        wrong = manifest_of(TAIL, replaces="0" * 32)
        assert await store.port.complete_upload("k", upload_id, wrong, parts) is Answer.PRECONDITION_FAILED
    right = manifest_of(TAIL, replaces=etag)
    assert await store.port.complete_upload("k", upload_id, right, parts) is Answer.DONE
    there = await store.port.head("k")
    assert there is not None
    assert there.size == len(TAIL)


async def test_a_repeated_completion_is_answered_and_changes_nothing(store: Store) -> None:
    upload_id, parts = await uploaded(store.port, "k", WHOLE)
    manifest = manifest_of(WHOLE)
    assert await store.port.complete_upload("k", upload_id, manifest, parts) is Answer.DONE
    again = await store.port.complete_upload("k", upload_id, manifest, parts)
    assert again in (Answer.DONE, Answer.UPLOAD_GONE, Answer.PRECONDITION_FAILED)
    there = await store.port.head("k")
    assert there is not None
    assert there.size == len(WHOLE)


async def test_an_unknown_upload_is_gone_for_every_question(store: Store) -> None:
    upload_id, parts = await uploaded(store.port, "k", WHOLE)
    await store.port.abort_upload("k", upload_id)
    await store.port.abort_upload("k", upload_id)
    asks: list[Callable[[], Awaitable[object]]] = [lambda: store.port.list_parts("k", upload_id)]
    if not store.lacks(Lack.GONE_AT_PART):
        asks.append(lambda: _send(store.port, upload_id))
    for ask in asks:
        with pytest.raises(UploadGone):
            await ask()
    answer = await store.port.complete_upload("k", upload_id, manifest_of(WHOLE), parts)
    assert answer is (Answer.NONE if store.lacks(Lack.GONE_AT_COMPLETION) else Answer.UPLOAD_GONE)


async def _send(port: ObjectStore, upload_id: str) -> object:
    return await port.upload_part("k", upload_id, 1, await body(port, WHOLE))


async def test_a_whole_file_becomes_the_object_that_an_upload_would_have_made(store: Store) -> None:
    port, metadata = store.port, {"cefmp4-stream-id": "s1"}
    if not port.refuses_a_second_put():
        assert store.lacks(Lack.CHECKSUM)
        return
    answer, told = await port.put_whole("whole", metadata, await body(port, TAIL))
    upload_id, parts = await uploaded(port, "uploaded", TAIL)
    assert await port.complete_upload("uploaded", upload_id, manifest_of(TAIL), parts) is Answer.DONE
    by_upload = await port.head("uploaded")
    whole = await port.head("whole")
    assert answer is Answer.DONE and whole is not None and by_upload is not None
    assert told == whole == replace(by_upload, etag=whole.etag)
    assert await port.object_crc64("whole", whole.etag) == manifest_of(TAIL).crc64
    told_of_upload = port.completed(upload_id)
    assert told_of_upload is None or told_of_upload == by_upload
    assert port.completed(upload_id) is None


async def test_a_second_whole_file_changes_nothing(store: Store) -> None:
    port = store.port
    if not port.refuses_a_second_put():
        assert store.lacks(Lack.CHECKSUM)
        return
    assert (await port.put_whole("k", {}, await body(port, TAIL)))[0] is Answer.DONE
    first = await port.head("k")
    assert await port.put_whole("k", {}, await body(port, TAIL)) == (Answer.PRECONDITION_FAILED, None)
    # A store may refuse by the head alone, and close a connection on which the body is still being sent.
    refused, _ = await port.put_whole("k", {}, await body(port, WHOLE))
    assert refused in (Answer.PRECONDITION_FAILED, Answer.NONE)
    assert await port.head("k") == first


async def test_a_whole_file_that_was_harmed_on_its_way_is_not_stored(store: Store) -> None:
    port = store.port
    if store.kind == "fake" or not port.refuses_a_second_put():
        return
    harmed = FakeChunkBody(TAIL, await port.hashes())
    harmed._digest = replace(harmed.digest, crc64=harmed.digest.crc64 ^ 1)
    assert await port.put_whole("k", {}, harmed) == (Answer.WRONG_CONTENT, None)
    assert await port.head("k") is None


async def test_open_uploads_are_found_at_exactly_their_key(store: Store) -> None:
    mine, _ = await uploaded(store.port, "folder/ü %.mp4", WHOLE)
    await uploaded(store.port, "folder/ü %.mp4.other", WHOLE)
    found = await store.port.list_uploads("folder/ü %.mp4")
    assert [upload.upload_id for upload in found] == [mine]
    assert found[0].initiated_at is not None


async def test_open_uploads_are_found_under_a_prefix_with_their_keys(store: Store) -> None:
    keys = {f"folder/{name}.mp4" for name in ("ü %", "a+b", "x")}
    begun = {(key, (await uploaded(store.port, key, WHOLE))[0]) for key in keys}
    await uploaded(store.port, "folders.mp4", WHOLE)
    found = await store.port.list_uploads_under("folder/")
    if store.lacks(Lack.LISTING_BY_PREFIX):
        assert found == []
        return
    assert {(upload.key, upload.upload_id) for upload in found} == begun


async def test_the_shortest_rule_that_aborts_uploads_is_known(moto: S3Server) -> None:
    async with opened(moto) as client:
        await client.abilities()
        assert await client.days_of_an_upload() is None
        rules = [_rule("long", 30), _rule("short", 3), _rule("off", 1, status="Disabled"), _rule("other", None)]
        await client._requests._client.put_bucket_lifecycle_configuration(
            Bucket=client.bucket, LifecycleConfiguration={"Rules": rules}
        )
        assert await client.days_of_an_upload() == 3


@pytest.mark.parametrize(
    ("where", "meets"),
    [
        ({"Filter": {"Prefix": ""}}, True),
        ({"Filter": {"Prefix": "rec/"}}, True),
        ({"Filter": {"Prefix": "rec/cam/1"}}, True),
        ({"Filter": {"Prefix": "old/"}}, False),
        ({"Filter": {"Prefix": "rec/door/"}}, False),
        ({"Filter": {"And": {"Prefix": "old/", "Tags": [{"Key": "a", "Value": "b"}]}}}, False),
        ({"Prefix": "old/"}, False),
        ({"Prefix": "rec/cam/"}, True),
    ],
    ids=str,
)
async def test_only_rules_that_can_meet_our_uploads_count(
    moto: S3Server, where: dict[str, object], meets: bool
) -> None:
    async with opened(moto, key_prefix="rec/cam/") as client:
        await client.abilities()
        rule = {key: value for key, value in _rule("one", 2).items() if key != "Filter"} | where
        await client._requests._client.put_bucket_lifecycle_configuration(
            Bucket=client.bucket, LifecycleConfiguration={"Rules": [rule]}
        )
        assert await client.days_of_an_upload() == (2 if meets else None)


@pytest.mark.versitygw
async def test_a_store_that_knows_no_rules_tells_none(versitygw: S3Server) -> None:
    async with opened(versitygw) as client:
        await client.abilities()
        assert await client.days_of_an_upload() is None


def _rule(name: str, days: int | None, *, status: str = "Enabled") -> dict[str, object]:
    what: dict[str, object] = (
        {"Expiration": {"Days": 100}}
        if days is None
        else {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days}}
    )
    return {"ID": name, "Status": status, "Filter": {"Prefix": ""}, **what}


async def test_a_range_of_the_old_object_becomes_a_part_of_the_new_one(store: Store) -> None:
    etag = await completed(store.port, "k", WHOLE, TAIL)
    upload_id = await store.port.create_upload("k", {})
    chunk = Chunk(1, 0, len(WHOLE))
    copied = await store.port.copy_part("k", upload_id, chunk, source_key="k", source_etag=etag)
    if store.lacks(Lack.COPY_INTO_CHECKSUMS):
        assert copied is None
        return
    assert copied is not None
    assert copied.size == len(WHOLE)
    expected = manifest_of(WHOLE)
    if store.lacks(Lack.COPY_CHECKSUM):
        assert copied.crc64 != expected.crc64
        return
    if not store.lacks(Lack.CHECKSUM):
        assert copied.crc64 == expected.crc64
    answer = await store.port.complete_upload("k", upload_id, manifest_of(WHOLE, replaces=etag), [copied])
    assert answer is Answer.DONE


async def test_an_upload_of_copies_is_proved_from_its_parts_to_its_object_whatever_the_store_lacks(
    store: Store,
) -> None:
    port, patch = store.port, b"patched"
    etag = await completed(port, "k", WHOLE, TAIL)
    upload_id = await port.create_upload("k", {"cefmp4-stream-id": "s1"}, of_copies=True)
    chunk = Chunk(1, 0, len(WHOLE))
    copied = await port.copy_part("k", upload_id, chunk, source_key="k", source_etag=etag)
    sent = await port.upload_part("k", upload_id, 2, await body(port, patch))
    manifest = manifest_of(WHOLE, patch, replaces=etag)
    digests = [FakeChunkBody(data, Hashes(md5=True)).digest for data in (WHOLE, patch)]
    assert copied is not None
    listed = await port.list_parts("k", upload_id)
    for part, digest in zip([copied, listed[1], sent, listed[2]], [*digests[:1] * 2, *digests[1:] * 2], strict=True):
        assert matches(part, digest)
    named = [replace(listed[number], crc64=digest.crc64) for number, digest in enumerate(digests, 1)]
    assert await port.complete_upload("k", upload_id, manifest, named) is Answer.DONE
    there = await port.head("k")
    assert there is not None and equals_manifest(there, manifest)


async def test_an_upload_without_checksums_stays_so_for_a_process_that_only_has_its_record(store: Store) -> None:
    """It has no part yet, so that not every store's listing tells."""
    upload_id = await store.port.create_upload("k", {}, of_copies=True)
    if not store.port.has_no_checksums(upload_id):
        return  # it needs none
    if isinstance(store.port, FakeStore):
        store.port.new_process()
        await _goes_on_without(store.port, upload_id)
        return
    assert isinstance(store.port, S3Client)
    async with opened_with(store.port._settings) as successor:
        await successor.abilities()
        await _goes_on_without(successor, upload_id)


async def _goes_on_without(port: ObjectStore, upload_id: str) -> None:
    port.begun_without_checksums(upload_id)
    assert (await port.hashes(upload_id)).md5
    part = await port.upload_part("k", upload_id, 1, await body(port, TAIL))
    listed = await port.list_parts("k", upload_id)
    assert listed[1].crc64 is None
    assert await port.complete_upload("k", upload_id, manifest_of(TAIL), [part]) is Answer.DONE
    there = await port.head("k")
    assert there is not None and equals_manifest(there, manifest_of(TAIL))


async def test_a_copy_from_an_object_that_changed_is_refused(store: Store) -> None:
    if store.lacks(Lack.COPY_CONDITION):
        return
    await completed(store.port, "k", WHOLE)
    upload_id = await store.port.create_upload("k", {})
    chunk = Chunk(1, 0, len(WHOLE))
    assert await store.port.copy_part("k", upload_id, chunk, source_key="k", source_etag="0" * 32) is None


async def test_a_document_is_written_once_and_replaced_only_knowingly(store: Store) -> None:
    port = store.port
    assert await port.get_document("d.json") is None
    assert await port.put_document("d.json", b"{}", replaces=None)
    assert await port.put_document("d.json", b"{}", replaces=None), "the same bytes twice are the same document"
    assert not await port.put_document("d.json", b"[]", replaces=None)
    there = await port.get_document("d.json")
    assert there is not None
    assert there[0] == b"{}"
    assert await port.put_document("d.json", b"[1]", replaces=there[1])
    assert (await port.get_document("d.json") or (b"",))[0] == b"[1]"


async def test_the_listing_has_every_object_below_a_prefix(store: Store) -> None:
    await completed(store.port, "folder/ü %41 +.mp4", WHOLE, TAIL)
    await completed(store.port, "other.mp4", TAIL)
    await completed(store.port, "folder/unwanted.mp4", TAIL)
    (listed,) = await store.port.list_objects("folder/", lambda found: "unwanted" not in found.key)
    assert (listed.key, listed.size) == ("folder/ü %41 +.mp4", len(WHOLE) + len(TAIL))
    assert listed.modified_at.tzinfo is not None


@pytest.mark.versitygw
async def test_where_objects_are_files_none_can_lie_below_another(versitygw: S3Server) -> None:
    """A limit of such stores: their own words are told, and the object that is there stays as it is."""
    async with opened(versitygw) as client:
        etag = await completed(client, "take.mp4", TAIL)
        upload_id, parts = await uploaded(client, "take.mp4/inside.mp4", TAIL)
        with pytest.raises(S3Rejected, match="Object parent already exists as a file"):
            await client.complete_upload("take.mp4/inside.mp4", upload_id, manifest_of(TAIL), parts)
        there = await client.head("take.mp4")
        assert there is not None and there.etag == etag


async def test_there_is_no_object_and_no_checksum_where_nothing_is(store: Store) -> None:
    assert await store.port.head("nothing") is None
    await completed(store.port, "k", WHOLE)
    if not store.lacks(Lack.IF_MATCH_AT_GET):
        assert await store.port.object_crc64("k", "0" * 32) is None


@pytest.mark.versitygw
@pytest.mark.parametrize("signing", [Choice.ON, Choice.OFF])
async def test_payload_signing_uses_the_digest_that_came_with_the_body(versitygw: S3Server, signing: Choice) -> None:
    async with opened(versitygw, payload_signing=signing) as port:
        assert (await port.hashes()).sha256 is (signing is Choice.ON)
        await completed(port, "signed", WHOLE, TAIL)


@pytest.mark.versitygw
async def test_a_wrong_digest_in_the_signature_is_refused_by_the_store(versitygw: S3Server) -> None:
    class Lying(FakeChunkBody):
        @property
        def sha256(self) -> str | None:
            return "0" * 64

    async with opened(versitygw, payload_signing=Choice.ON) as port:
        upload_id = await port.create_upload("k", {})
        with pytest.raises(S3Unavailable, match=r"SHA256|BadDigest"):
            await port._send_part("k", upload_id, 1, Lying(WHOLE))


@pytest.mark.versitygw
async def test_a_body_that_finds_other_bytes_on_disk_never_becomes_a_part(versitygw: S3Server) -> None:
    class Changing(FakeChunkBody):
        async def pieces(self) -> AsyncIterator[memoryview]:
            yield memoryview(WHOLE)[:MIB]
            raise FileChanged("changed under the reader")

    async with opened(versitygw) as port:
        upload_id = await port.create_upload("k", {})
        with pytest.raises(FileChanged):
            await port.upload_part("k", upload_id, 1, Changing(WHOLE))
        assert await port.list_parts("k", upload_id) == {}


@pytest.mark.versitygw
async def test_wrong_credentials_say_which_setting_to_change(versitygw: S3Server) -> None:
    async with opened(versitygw, keys=KeySettings(versitygw.access_key, "canary-wrong-secret")) as port:
        with pytest.raises(S3Unavailable) as caught:
            await port.ping()
    assert caught.value.misconfigured
    assert "S3" in caught.value.hint
    assert "canary-wrong-secret" not in str(caught.value)


async def test_nobody_listening_is_transient_and_names_the_setting() -> None:
    nobody = StoreSettings("bucket", "http://127.0.0.1:9", KeySettings("a", "b"))
    async with opened_with(nobody) as port:
        with pytest.raises(S3Unavailable) as caught:
            await port.ping()
    assert "S3_ENDPOINT_URL" in caught.value.hint


@pytest.mark.versitygw
async def test_a_missing_bucket_says_what_to_change_and_is_trouble_once_it_was_there(versitygw: S3Server) -> None:
    """Before that somebody makes it, and tells what is in the way."""
    settings, telemetry = settings_of(versitygw), FakeTelemetry()
    assert versitygw.data is not None
    async with open_asked_again(settings, policy=RetryPolicy(0.05, 0.2), emit=telemetry.emit) as port:
        for told in ([], ["s3.ping"]):
            with pytest.raises(S3Unavailable) as caught:
                await port.ping()
            assert caught.value.misconfigured and "create the bucket" in caught.value.hint
            assert [failure.operation for failure in telemetry.of(moments.OperationFailed)] == told
            if not told:
                await port.abilities()
                await port.ping()
                shutil.rmtree(versitygw.data / settings.bucket)


@pytest.mark.versitygw
@pytest.mark.parametrize("checksum", [Choice.OFF, Choice.ON])
@pytest.mark.parametrize("conditional", [Choice.OFF, Choice.ON])
async def test_abilities_that_are_set_are_not_probed(
    versitygw: S3Server, checksum: Choice, conditional: Choice
) -> None:
    async with opened(versitygw, checksum=checksum, conditional_writes=conditional) as port:
        abilities = await port.abilities()
        assert abilities.checksum is (checksum is Choice.ON)
        assert abilities.if_none_match is (conditional is Choice.ON)
        assert await port.head(".cefmp4-probe") is None
        await completed(port, "k", WHOLE, TAIL)
        upload_id, parts = await uploaded(port, "k", TAIL)
        answer = await port.complete_upload("k", upload_id, manifest_of(TAIL), parts)
        assert answer is Answer.PRECONDITION_FAILED, "with HEAD where the store is not asked for a condition"
