"""Where a stream goes on whose record survived, and with which parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.domain import (
    Checkpoint,
    Identity,
    Limits,
    Manifest,
    Part,
    PartSchedule,
    Resume,
    SendReason,
    Snapshot,
    Status,
    StoredPart,
    resuming,
    schedule_of,
)
from src.domain.part_plan import chunks
from src.domain.resuming import merge_parts, where_to_resume
from tests.harness.numbered_cases import WithoutCase, demand_told_otherwise, without_each_case

NOW = datetime(2026, 11, 21, tzinfo=UTC)
OURS = "0123456789abcdef0123456789abcdef"
FILE = Identity(inode=7, birth_ns=1_700_000_000_000_000_001)
SNAPSHOT = Snapshot(FILE, size=100, mtime_ns=5, ctime_ns=6)
SCHEDULE = PartSchedule(10_485_760)
MANIFEST = Manifest(size=100, crc64=77, part_count=3, snapshot=SNAPSHOT)


# -- parts -------------------------------------------------------------------------------------------------------------


def _part(number: int, etag: str = "e", *, size: int = 8, crc64: int | None = 5) -> Part:
    return Part(number, size, etag, crc64, NOW, sent_again=(SendReason.HEAD_PATCH,))


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


@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_the_first_larger_part_tells_after_how_many_parts_they_grow(step: int) -> None:
    schedule = PartSchedule(4, growing=True, step=step)
    assert schedule_of(_cut(schedule, 59), GROWING, SMALL) == schedule


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


def test_a_whole_file_that_may_have_been_sent_is_resolved_first_too() -> None:
    record = _record(Status.PENDING_COMPLETION, manifest=MANIFEST, unanswered=True)
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


#: By what a record holds: each has what the cases behind it need, too.
EXAMPLES: dict[Resume, dict[str, Any]] = {
    Resume.DESCRIBE: {"upload_id": "u", "manifest": MANIFEST, "unanswered": True, "etag": "etag"},
    Resume.RESOLVE_COMPLETION: {"upload_id": "u", "manifest": MANIFEST, "unanswered": True},
    Resume.BEGIN: {"manifest": MANIFEST},
    Resume.UPLOAD: {"upload_id": "u", "manifest": MANIFEST},
}


@pytest.mark.parametrize("mutant", list(without_each_case(resuming, Resume)), ids=str)
def test_without_a_case_the_stream_goes_on_elsewhere(mutant: WithoutCase) -> None:
    assert isinstance(mutant.case, Resume)
    record = _record(**EXAMPLES[mutant.case])
    demand_told_otherwise(mutant, [lambda: resuming.where_to_resume(record)])
