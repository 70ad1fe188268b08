"""Same or not the same, in the rules on parts and objects: what differs is smaller once and larger once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from src.domain import (
    Answer,
    Checkpoint,
    CompletionFacts,
    Identity,
    Manifest,
    Ownership,
    Part,
    PartSchedule,
    Snapshot,
    Status,
    Step,
    StoredObject,
    StoredPart,
    matches,
    resuming,
    whose,
)
from src.domain.completion import after_completion, equals_manifest
from src.domain.lifecycle import failed_for
from src.domain.recording import SOURCE_MISSING, Digest, FailedFor, Superseded
from src.domain.resuming import merge_parts

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILE = Identity(7, 50)
OTHER_FILES = [Identity(6, 99), Identity(8, 1), Identity(7, 49), Identity(7, 51)]
SNAPSHOT = Snapshot(FILE, 100, 5, 6)
SCHEDULE = PartSchedule(10)
WORDS = ["a", "z"]  # before and behind "m"


def an_object(
    size: int = 100, crc64: int | None = 77, etag: str = "m", *, stream: str = "m", path: str = "m", of: Identity = FILE
) -> StoredObject:
    return StoredObject(size, etag, crc64, whose.object_metadata(stream, path, of, SCHEDULE))


def ownership(stored: StoredObject, crc64: int | None = 77) -> Ownership:
    return whose.whose_object(stored, path="m", snapshot=SNAPSHOT, crc64=crc64, stored_crc64=stored.crc64)


@pytest.mark.parametrize("crc64", [76, 78])
def test_an_object_with_another_checksum_is_an_earlier_state_of_the_file(crc64: int) -> None:
    assert ownership(an_object()) is Ownership.SAME
    assert ownership(an_object(crc64=crc64)) is Ownership.OURS
    assert equals_manifest(an_object(crc64=crc64), Manifest(100, 77, 1, SNAPSHOT)) is False


@pytest.mark.parametrize("of", OTHER_FILES)
def test_an_object_of_another_file_is_an_earlier_recording_of_the_name(of: Identity) -> None:
    assert ownership(an_object(99, of=of)) is Ownership.EARLIER
    assert ownership(an_object(99)) is Ownership.OURS
    assert not whose.is_ours(an_object(99, stream="a", of=of), "m", FILE, 100)
    assert whose.is_ours(an_object(99, stream="a"), "m", FILE, 100)


@pytest.mark.parametrize("word", WORDS)
def test_a_stranger_has_another_name(word: str) -> None:
    other = OTHER_FILES[0]
    assert ownership(an_object(99, path=word, of=other)) is Ownership.STRANGER
    assert not whose.is_ours(an_object(stream=word, of=other), "m", FILE, 100)
    assert whose.is_ours(an_object(of=other), "m", FILE, 100)


@pytest.mark.parametrize(("size", "is_ours"), [(1, True), (100, True), (101, False)])
def test_an_object_longer_than_the_file_was_another_recording_in_it(size: int, is_ours: bool) -> None:
    assert whose.is_ours(an_object(size, stream="a"), "m", FILE, 100) is is_ours
    assert (ownership(an_object(size, crc64=1)) is Ownership.OURS) is is_ours


@pytest.mark.parametrize("birth_ns", [-1, 1])
def test_any_birth_time_but_none_tells_a_file(birth_ns: int) -> None:
    file = Identity(7, birth_ns)
    assert whose.is_ours(an_object(99, stream="a", of=file), "m", file, 100)
    undated = Identity(7, 0)
    assert not whose.is_ours(an_object(99, stream="a", of=undated), "m", undated, 100)


@pytest.mark.parametrize(("crc64", "stored"), [(None, 77), (77, None), (None, None)])
def test_an_object_of_the_same_size_is_compared_before_anything_is_said(crc64: int | None, stored: int | None) -> None:
    assert ownership(an_object(crc64=stored), crc64) is Ownership.UNKNOWN
    assert ownership(an_object(99, crc64=stored), crc64) is Ownership.OURS


@pytest.mark.parametrize("size", [99, 101])
def test_another_size_is_another_object_whatever_its_checksum(size: int) -> None:
    manifest = Manifest(100, 77, 1, SNAPSHOT, etag_md5="m")
    assert equals_manifest(an_object(size), manifest) is False
    assert equals_manifest(an_object(size, None), manifest) is False
    assert not matches(Part(1, size, "m", 77, NOW), Digest(100, 77))


@pytest.mark.parametrize("etag", WORDS)
def test_another_etag_proves_nothing_and_is_no_md5(etag: str) -> None:
    assert equals_manifest(an_object(crc64=None, etag=etag), Manifest(100, 77, 1, SNAPSHOT, etag_md5="m")) is None
    assert not matches(StoredPart(1, 100, etag, None), Digest(100, 77, "m"))
    assert matches(StoredPart(1, 100, "m", None), Digest(100, 77, "m"))


@pytest.mark.parametrize("crc64", [76, 78])
def test_a_part_with_another_checksum_does_not_match(crc64: int) -> None:
    assert not matches(Part(1, 100, "m", crc64, NOW), Digest(100, 77, "m"))


@pytest.mark.parametrize("etag", WORDS)
def test_an_object_that_is_not_the_one_to_be_replaced_came_in_between(etag: str) -> None:
    facts = CompletionFacts(Answer.PRECONDITION_FAILED, an_object(), False, True, False, False)
    manifest = Manifest(100, 1, 1, SNAPSHOT, replaces="m")
    assert after_completion(facts, manifest, "m") is Step.COMPLETE_AGAIN
    other = replace(facts, stored=an_object(etag=etag))
    assert after_completion(other, manifest, "m") is Step.BRING_UP_TO_DATE


@pytest.mark.parametrize("word", WORDS)
def test_a_part_that_was_sent_again_is_as_the_store_lists_it(word: str) -> None:
    known = {1: Part(1, 8, "m", 5, NOW)}
    listed = {1: StoredPart(1, 8, word, 6)}
    assert merge_parts(known, listed, NOW) == {1: Part(1, 8, word, 6, NOW)}
    assert merge_parts(known, listed, NOW, atomic=False) == {}


@pytest.mark.parametrize("size", [7, 9])
def test_a_part_of_another_size_is_as_the_store_lists_it(size: int) -> None:
    known = {1: Part(1, 8, "m", 5, NOW)}
    listed = {1: StoredPart(1, size, "m", 6)}
    assert merge_parts(known, listed, NOW) == {1: Part(1, size, "m", 6, NOW)}
    assert merge_parts(known, listed, NOW, atomic=False) == {}


def described(**other: object) -> Checkpoint:
    manifest = Manifest(100, 77, 1, SNAPSHOT)
    record = Checkpoint("m", Status.S3_COMPLETED, "m", "b", "m", FILE, SCHEDULE, NOW, manifest=manifest, etag="m")
    return replace(record, **other)  # type: ignore[arg-type]


def test_an_object_is_described_still_when_it_can_be_this_files() -> None:
    assert resuming.is_still_described(an_object(), described())
    assert resuming.is_still_described(an_object(crc64=None), described()), "nothing speaks against it"
    assert not resuming.is_still_described(None, described())
    assert not resuming.is_still_described(an_object(), described(manifest=None))
    for etag in WORDS:
        assert not resuming.is_still_described(an_object(etag=etag), described())
    for identity in OTHER_FILES:
        assert not resuming.is_still_described(an_object(), described(identity=identity))
    for size in (99, 101):
        assert not resuming.is_still_described(an_object(size), described())


@pytest.mark.parametrize("stream", WORDS)
def test_a_file_that_is_gone_waits_for_itself_while_an_upload_of_its_own_stream_is_left(stream: str) -> None:
    gone = described(failure=SOURCE_MISSING)
    left = Superseded("k", "u", stream, NOW)
    assert failed_for(replace(gone, superseded=(left,))) is FailedFor.DISPOSED
    assert failed_for(replace(gone, superseded=(replace(left, stream_id="m"),))) is FailedFor.SOURCE_MISSING
    assert failed_for(replace(gone, superseded=(replace(left, stream_id="m", upload_id=None),))) is FailedFor.DISPOSED
    assert failed_for(replace(gone, upload_id="u")) is FailedFor.SOURCE_MISSING
    for failure in ("a", "z", None):
        assert failed_for(replace(gone, failure=failure)) is FailedFor.OTHER


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_parts_that_were_begun_with_another_step_tell_it_by_the_first_larger_one(step: int) -> None:
    size = 5 * 1024 * 1024
    listed = {number: StoredPart(number, size, "m", None) for number in (1, step)}
    listed[step + 1] = StoredPart(step + 1, 2 * size, "m", None)
    found = resuming.schedule_of(listed, PartSchedule(size * 2))
    assert found == PartSchedule(size, True, None if step == 1000 else step)
    if step == 3:
        del listed[1]
        assert resuming.schedule_of(listed, PartSchedule(size * 2)) is None, "nobody knows where it begins"
