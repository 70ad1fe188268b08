"""From facts to one decision: the tables of the design, line by line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.domain import (
    Answer,
    Checkpoint,
    CompletionFacts,
    Identity,
    Limits,
    Manifest,
    Ownership,
    Part,
    PartSchedule,
    Resume,
    SendReason,
    Snapshot,
    Status,
    Step,
    StoredObject,
    StoredPart,
    origin_of,
    schedule_of,
    whose_object,
)
from src.domain.completion import after_completion, assembling_seconds, equals_manifest
from src.domain.part_plan import chunks
from src.domain.resuming import merge_parts, where_to_resume
from src.domain.whose import FORMAT_VERSION, Origin, object_metadata

NOW = datetime(2026, 11, 21, tzinfo=UTC)
OURS = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
PATH = "cam/take%201.mp4"
FILE = Identity(inode=7, birth_ns=1_700_000_000_000_000_001)
SNAPSHOT = Snapshot(FILE, size=100, mtime_ns=5, ctime_ns=6)
SCHEDULE = PartSchedule(10_485_760)
MANIFEST = Manifest(size=100, crc64=77, part_count=3, snapshot=SNAPSHOT)
REPLACING = Manifest(size=100, crc64=77, part_count=3, snapshot=SNAPSHOT, replaces="old-etag")


def _object(
    *, size: int = 100, etag: str = "etag", crc64: int | None = 77, of: str | None = OURS, **origin: Any
) -> StoredObject:
    """An object at the key; ``of`` None: without metadata of ours."""
    facts: dict[str, Any] = {"path": PATH, "identity": FILE, "schedule": SCHEDULE} | origin
    return StoredObject(size, etag, crc64, {} if of is None else object_metadata(of, **facts))


# -- where an object comes from ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [SCHEDULE, PartSchedule(5_242_880, growing=False)])
def test_an_objects_metadata_tell_the_recording_that_it_was_made_from(schedule: PartSchedule) -> None:
    metadata = object_metadata(OURS, PATH, FILE, schedule)
    assert origin_of(metadata) == Origin(OURS, PATH, FILE)


def test_an_objects_metadata_name_its_schedule_and_format() -> None:
    growing = object_metadata(OURS, PATH, FILE, PartSchedule(16))
    equal = object_metadata(OURS, PATH, FILE, PartSchedule(16, growing=False))
    assert growing["cefmp4-schedule"] == "growing-16"
    assert equal["cefmp4-schedule"] == "equal-16"
    assert growing["cefmp4-format"] == FORMAT_VERSION


def test_metadata_are_plain_ascii_as_the_header_that_they_travel_in() -> None:
    for name, value in object_metadata(OURS, PATH, Identity(2**64 - 1, -1), SCHEDULE).items():
        assert name.isascii() and name == name.lower()
        assert value.isascii() and value.isprintable()


def test_an_object_without_our_metadata_has_no_origin() -> None:
    assert origin_of({}) is None
    assert origin_of({"author": "somebody"}) is None


def test_an_object_of_an_unknown_format_has_no_origin() -> None:
    assert origin_of(object_metadata(OURS, PATH, FILE, SCHEDULE) | {"cefmp4-format": "3"}) is None


@pytest.mark.parametrize("name", ["stream-id", "path", "inode", "birth-ns"])
def test_metadata_that_lack_a_fact_have_no_origin(name: str) -> None:
    metadata = object_metadata(OURS, PATH, FILE, SCHEDULE)
    del metadata[f"cefmp4-{name}"]
    assert origin_of(metadata) is None


@pytest.mark.parametrize("name", ["inode", "birth-ns"])
def test_metadata_with_a_number_that_is_none_have_no_origin(name: str) -> None:
    assert origin_of(object_metadata(OURS, PATH, FILE, SCHEDULE) | {f"cefmp4-{name}": "seven"}) is None


# -- whose object is at the key ----------------------------------------------------------------------------------------


def _whose(
    stored: StoredObject | None,
    *,
    crc64: int | None = None,
    stored_crc64: int | None = None,
    snapshot: Snapshot = SNAPSHOT,
) -> Ownership:
    return whose_object(stored, path=PATH, snapshot=snapshot, crc64=crc64, stored_crc64=stored_crc64)


def test_a_key_without_an_object_is_free() -> None:
    assert _whose(None) is Ownership.FREE


@pytest.mark.parametrize("of", [OURS, OTHER, None])
def test_an_object_with_the_files_size_and_checksum_is_this_recording_whoever_completed_it(of: str | None) -> None:
    assert _whose(_object(of=of), crc64=77, stored_crc64=77) is Ownership.SAME


@pytest.mark.parametrize(("crc64", "stored_crc64"), [(None, None), (77, None), (None, 77)])
def test_an_object_of_the_files_size_is_unknown_until_both_checksums_are_known(
    crc64: int | None, stored_crc64: int | None
) -> None:
    assert _whose(_object(), crc64=crc64, stored_crc64=stored_crc64) is Ownership.UNKNOWN


def test_an_object_of_this_file_with_other_bytes_is_ours_to_be_brought_up_to_date() -> None:
    assert _whose(_object(), crc64=77, stored_crc64=78) is Ownership.OURS


def test_an_object_of_this_file_that_has_grown_since_is_ours_and_needs_no_checksums() -> None:
    assert _whose(_object(size=99)) is Ownership.OURS


def test_an_object_of_this_file_is_ours_also_when_the_file_has_another_name_now() -> None:
    assert _whose(_object(size=99, path="old/name.mp4")) is Ownership.OURS


def test_an_object_longer_than_its_file_is_an_earlier_recording_in_the_same_file() -> None:
    assert _whose(_object(size=101)) is Ownership.EARLIER


def test_an_object_of_this_name_from_another_file_is_an_earlier_recording() -> None:
    assert _whose(_object(size=99, identity=Identity(8, 1))) is Ownership.EARLIER
    assert _whose(_object(identity=Identity(8, 1)), crc64=77, stored_crc64=78) is Ownership.EARLIER


def test_an_inode_used_again_with_another_birth_time_is_another_file() -> None:
    assert _whose(_object(size=99, identity=Identity(7, 1))) is Ownership.EARLIER


def test_without_a_birth_time_an_inode_proves_nothing() -> None:
    nowhere_born = Identity(7, 0)
    snapshot = Snapshot(nowhere_born, 100, 5, 6)
    assert _whose(_object(size=99, identity=nowhere_born), snapshot=snapshot) is Ownership.EARLIER
    elsewhere = _object(size=99, identity=nowhere_born, path="another.mp4")
    assert _whose(elsewhere, snapshot=snapshot) is Ownership.STRANGER


def test_an_object_of_another_name_and_another_file_is_a_strangers() -> None:
    assert _whose(_object(size=99, identity=Identity(8, 1), path="another.mp4")) is Ownership.STRANGER


def test_an_object_that_says_nothing_of_its_origin_is_a_strangers() -> None:
    assert _whose(_object(size=99, of=None)) is Ownership.STRANGER
    assert _whose(_object(of=None), crc64=77, stored_crc64=78) is Ownership.STRANGER


# -- is it what the manifest says --------------------------------------------------------------------------------------


def test_an_object_of_another_size_is_not_the_manifests() -> None:
    assert equals_manifest(_object(size=99, etag="md5-3"), MANIFEST) is False


def test_the_stores_checksum_decides_where_it_tells_one() -> None:
    assert equals_manifest(_object(crc64=77), MANIFEST) is True
    assert equals_manifest(_object(crc64=78), MANIFEST) is False


def test_without_a_checksum_the_expected_etag_proves_the_object_and_any_other_proves_nothing() -> None:
    with_etag = Manifest(100, 77, 3, SNAPSHOT, etag_md5="md5-3")
    assert equals_manifest(_object(crc64=None, etag="md5-3"), with_etag) is True
    assert equals_manifest(_object(crc64=None, etag="opaque"), with_etag) is None
    assert equals_manifest(_object(crc64=None, etag="md5-3"), MANIFEST) is None


# -- answers to a completion -------------------------------------------------------------------------------------------


def _step(
    answer: Answer = Answer.NONE,
    *,
    stored: StoredObject | None = None,
    equals: bool | None = False,
    upload_open: bool | None = None,
    unanswered: bool = False,
    waited_out: bool = False,
    manifest: Manifest = MANIFEST,
) -> Step:
    facts = CompletionFacts(answer, stored, equals, upload_open, unanswered, waited_out)
    return after_completion(facts, manifest, OURS)


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("of", [OURS, OTHER, None])
def test_an_object_that_equals_the_manifest_is_verified_whoever_completed_it(answer: Answer, of: str | None) -> None:
    assert _step(answer, stored=_object(of=of), equals=True) is Step.VERIFIED


@pytest.mark.parametrize("answer", list(Answer))
def test_an_object_of_ours_with_other_bytes_is_brought_up_to_date_because_an_earlier_completion_won(
    answer: Answer,
) -> None:
    assert _step(answer, stored=_object()) is Step.BRING_UP_TO_DATE
    assert _step(answer, stored=_object(), manifest=REPLACING) is Step.BRING_UP_TO_DATE


@pytest.mark.parametrize("answer", [Answer.NONE, Answer.DONE, Answer.PRECONDITION_FAILED, Answer.UPLOAD_GONE])
def test_nothing_there_and_the_upload_still_listed_means_the_same_completion_again(answer: Answer) -> None:
    assert _step(answer, upload_open=True) is Step.COMPLETE_AGAIN


def test_the_object_to_be_replaced_still_there_and_the_upload_listed_means_the_same_completion_again() -> None:
    still_there = _object(etag="old-etag", size=50)
    assert _step(stored=still_there, upload_open=True, manifest=REPLACING) is Step.COMPLETE_AGAIN


def test_the_object_to_be_replaced_gone_and_the_upload_listed_means_that_the_manifest_is_for_a_free_key_first() -> None:
    assert _step(upload_open=True, manifest=REPLACING) is Step.COMPLETE_WHERE_NOTHING_IS


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_nothing_there_the_upload_gone_and_a_completion_unanswered_is_waited_for(manifest: Manifest) -> None:
    assert _step(upload_open=False, unanswered=True, manifest=manifest) is Step.WAIT


def test_what_may_still_be_assembling_is_uploaded_anew_once_its_time_has_passed() -> None:
    assert _step(upload_open=False, unanswered=True, waited_out=True) is Step.UPLOAD_ANEW


def test_nothing_there_the_upload_gone_and_nothing_unanswered_means_to_upload_anew() -> None:
    assert _step(Answer.UPLOAD_GONE, upload_open=False) is Step.UPLOAD_ANEW


def test_the_object_to_be_replaced_still_there_and_the_upload_gone_is_decided_like_nothing_there() -> None:
    still_there = _object(etag="old-etag", size=50)
    assert _step(stored=still_there, upload_open=False, unanswered=True, manifest=REPLACING) is Step.WAIT
    assert _step(stored=still_there, upload_open=False, manifest=REPLACING) is Step.UPLOAD_ANEW


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
@pytest.mark.parametrize("stranger", [_object(of=None), _object(of=OTHER, identity=Identity(8, 1))])
def test_a_strangers_object_means_the_next_key(stranger: StoredObject, manifest: Manifest, answer: Answer) -> None:
    assert _step(answer, stored=stranger, manifest=manifest) is Step.NEXT_KEY


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_an_object_of_this_file_whose_streams_record_was_lost_is_ours_too(manifest: Manifest) -> None:
    assert _step(stored=_object(of=OTHER), manifest=manifest) is Step.BRING_UP_TO_DATE
    assert _step(stored=_object(of=OTHER, size=99), manifest=manifest) is Step.BRING_UP_TO_DATE


def test_an_object_of_this_file_but_longer_than_it_is_an_earlier_recording_and_means_the_next_key() -> None:
    assert _step(stored=_object(of=OTHER, size=101)) is Step.NEXT_KEY


def test_without_a_birth_time_only_the_streams_id_makes_an_object_ours() -> None:
    unborn = Identity(7, 0)
    manifest = Manifest(100, 77, 3, Snapshot(unborn, 100, 5, 6))
    assert _step(stored=_object(of=OTHER, identity=unborn), manifest=manifest) is Step.NEXT_KEY
    assert _step(stored=_object(of=OURS, identity=unborn), manifest=manifest) is Step.BRING_UP_TO_DATE


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_a_conflict_means_to_upload_anew(manifest: Manifest) -> None:
    assert _step(Answer.CONFLICT, upload_open=True, manifest=manifest) is Step.UPLOAD_ANEW


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_an_invalid_part_means_to_prove_again(manifest: Manifest) -> None:
    assert _step(Answer.INVALID_PART, upload_open=True, manifest=manifest) is Step.PROVE_AGAIN


@pytest.mark.parametrize("manifest", [MANIFEST, REPLACING])
def test_a_wrong_digest_or_size_means_to_seal_again(manifest: Manifest) -> None:
    assert _step(Answer.WRONG_CONTENT, upload_open=True, manifest=manifest) is Step.SEAL_AGAIN


def test_silence_is_asked_about_again_and_never_taken_for_a_failure() -> None:
    assert _step(Answer.NONE) is Step.LOOK_AT_UPLOAD
    assert _step(Answer.NONE, upload_open=True) is Step.COMPLETE_AGAIN
    assert _step(Answer.NONE, upload_open=False, unanswered=True) is Step.WAIT


@pytest.mark.parametrize("answer", list(Answer))
def test_the_upload_is_looked_at_before_anything_is_done_where_nothing_is(answer: Answer) -> None:
    assert _step(answer) is Step.LOOK_AT_UPLOAD


@pytest.mark.parametrize("answer", list(Answer))
def test_an_object_that_nobody_can_tell_is_fetched_before_anything_is_done(answer: Answer) -> None:
    assert _step(answer, stored=_object(crc64=None), equals=None) is Step.FETCH_AND_COMPARE


def test_an_answer_alone_never_verifies_anything() -> None:
    assert _step(Answer.DONE) is Step.LOOK_AT_UPLOAD
    assert _step(Answer.DONE, upload_open=False) is Step.UPLOAD_ANEW


def test_a_completion_may_take_a_quarter_of_an_hour_at_least_and_longer_with_its_size() -> None:
    assert assembling_seconds(0) == 900
    assert assembling_seconds(1024**3) > 900
    assert assembling_seconds(5 * 1024**4) > 24 * 3600


# -- parts -------------------------------------------------------------------------------------------------------------


def _part(number: int, etag: str = "e", *, size: int = 8, crc64: int | None = 5) -> Part:
    return Part(number, size, etag, crc64, NOW, sent_again=(SendReason.HEAD_PATCH,))


def test_a_store_that_says_for_long_that_something_is_there_and_that_nothing_is_gets_the_next_key() -> None:
    """VersityGW after a kill in mid-completion, with its metadata in files of their own."""
    answer = Answer.PRECONDITION_FAILED
    assert _step(answer=answer, upload_open=True) is Step.COMPLETE_AGAIN
    assert _step(answer=answer, upload_open=True, waited_out=True) is Step.NEXT_KEY


def test_a_part_that_record_and_store_agree_on_keeps_what_the_record_knows() -> None:
    listed = {1: StoredPart(1, 8, "e", None, NOW + timedelta(hours=1))}
    assert merge_parts({1: _part(1)}, listed, NOW) == {1: _part(1)}


def test_a_part_that_only_the_record_knows_is_not_in_the_store() -> None:
    assert merge_parts({1: _part(1), 2: _part(2)}, {2: StoredPart(2, 8, "e", 5)}, NOW) == {2: _part(2)}


def test_a_part_that_only_the_store_knows_is_believed_as_far_as_its_checksum_goes() -> None:
    stored_at = NOW - timedelta(hours=1)
    listed = {1: StoredPart(1, 8, "e", 6, stored_at), 2: StoredPart(2, 8, "f", None)}
    assert merge_parts({}, listed, NOW) == {1: Part(1, 8, "e", 6, stored_at), 2: Part(2, 8, "f", None, NOW)}


@pytest.mark.parametrize("listed", [StoredPart(1, 8, "other", 6), StoredPart(1, 9, "e", 6)])
def test_a_part_that_the_store_holds_otherwise_than_the_record_says_is_as_the_store_says(listed: StoredPart) -> None:
    assert merge_parts({1: _part(1)}, {1: listed}, NOW) == {1: Part(1, listed.size, listed.etag, 6, NOW)}


@pytest.mark.parametrize("listed", [StoredPart(1, 8, "other", 6), StoredPart(1, 9, "e", 6)])
def test_a_part_that_was_sent_again_without_an_answer_is_not_believed_where_a_kill_leaves_halves(
    listed: StoredPart,
) -> None:
    assert merge_parts({1: _part(1)}, {1: listed, 2: StoredPart(2, 8, "f", 7)}, NOW, atomic=False).keys() == {2}


# -- the schedule that parts were cut by -------------------------------------------------------------------------------

SMALL = Limits(min_part=2, max_part=64, max_parts=40, parts_per_step=3)
GROWING = PartSchedule(4)
EQUAL = PartSchedule(4, growing=False)


def _cut(schedule: PartSchedule, size: int, *, without: frozenset[int] = frozenset()) -> dict[int, StoredPart]:
    found = chunks(schedule, size, SMALL)
    return {
        chunk.number: StoredPart(chunk.number, chunk.size, "e", 1) for chunk in found if chunk.number not in without
    }


def test_no_parts_tell_no_schedule() -> None:
    assert schedule_of({}, GROWING, SMALL) is None


@pytest.mark.parametrize("size", range(28, 60))
@pytest.mark.parametrize("preferred", [PartSchedule(9), PartSchedule(9, growing=False)])
@pytest.mark.parametrize("schedule", [GROWING, EQUAL])
def test_enough_parts_tell_their_schedule_whatever_todays_settings_are(
    schedule: PartSchedule, preferred: PartSchedule, size: int
) -> None:
    assert schedule_of(_cut(schedule, size), preferred, SMALL) == schedule


@pytest.mark.parametrize("size", [4, 8, 11, 12])
@pytest.mark.parametrize("preferred", [GROWING, EQUAL])
def test_where_the_parts_do_not_tell_whether_they_grow_the_settings_do(preferred: PartSchedule, size: int) -> None:
    assert schedule_of(_cut(preferred, size), preferred, SMALL) == preferred


@pytest.mark.parametrize("gone", [{1}, {2}, {1, 2, 3}, {4, 5}])
def test_missing_parts_do_not_hide_the_schedule(gone: set[int]) -> None:
    assert schedule_of(_cut(GROWING, 60, without=frozenset(gone)), GROWING, SMALL) == GROWING


def test_a_tail_before_parts_that_a_longer_file_left_does_not_hide_the_schedule() -> None:
    sizes = {1: 4, 2: 4, 3: 1, 4: 4}
    listed = {number: StoredPart(number, size, "e", 1) for number, size in sizes.items()}
    assert schedule_of(listed, EQUAL, SMALL) == EQUAL


def test_parts_that_no_schedule_of_ours_explains_are_not_ours() -> None:
    for sizes in ({1: 4, 2: 5, 3: 4, 4: 4}, {1: 4, 2: 3, 3: 4, 4: 3, 5: 4}):
        assert schedule_of({n: StoredPart(n, size, "e", 1) for n, size in sizes.items()}, GROWING, SMALL) is None
    assert schedule_of({1: StoredPart(1, 4, "e", 1), 2: StoredPart(2, 9, "e", 1)}, GROWING, SMALL) is None


def test_a_lone_tail_tells_nothing_because_it_is_smaller_than_any_chunk() -> None:
    assert schedule_of({1: StoredPart(1, 1, "e", 1)}, GROWING, SMALL) is None


# -- where to go on ----------------------------------------------------------------------------------------------------


def _record(status: Status = Status.ACTIVE, **facts: Any) -> Checkpoint:
    return Checkpoint(OURS, status, "cam/take 1.mp4", "bucket", "key", FILE, SCHEDULE, NOW, **facts)


def test_an_intent_without_an_upload_begins() -> None:
    assert where_to_resume(_record()) is Resume.BEGIN


def test_a_bound_upload_is_gone_on_with() -> None:
    assert where_to_resume(_record(upload_id="u")) is Resume.UPLOAD


def test_a_manifest_whose_completion_may_have_been_sent_is_resolved_first() -> None:
    record = _record(Status.PENDING_COMPLETION, upload_id="u", manifest=MANIFEST, unanswered=True)
    assert where_to_resume(record) is Resume.RESOLVE_COMPLETION


@pytest.mark.parametrize("facts", [{"manifest": MANIFEST}, {"unanswered": True}])
def test_without_a_manifest_on_its_way_a_pending_stream_goes_on_with_its_upload(facts: dict[str, Any]) -> None:
    assert where_to_resume(_record(Status.PENDING_COMPLETION, upload_id="u", **facts)) is Resume.UPLOAD


@pytest.mark.parametrize("upload_id", ["u", None])
def test_a_proved_object_is_described(upload_id: str | None) -> None:
    record = _record(Status.S3_COMPLETED, upload_id=upload_id, manifest=MANIFEST, etag="etag")
    assert where_to_resume(record) is Resume.DESCRIBE


def test_an_etag_without_its_manifest_proves_nothing() -> None:
    assert where_to_resume(_record(etag="etag")) is Resume.BEGIN
