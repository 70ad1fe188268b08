"""Whose object is at a key, line by line of the table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from src.domain import (
    Identity,
    Ownership,
    PartSchedule,
    Snapshot,
    StoredObject,
    origin_of,
    whose,
)
from src.domain.whose import FORMAT_VERSION, Origin, object_metadata
from tests.harness.numbered_cases import WithoutCase, demand_told_otherwise, without_each_case

OURS = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
PATH = "cam/take%201.mp4"
FILE = Identity(inode=7, birth_ns=1_700_000_000_000_000_001)
SNAPSHOT = Snapshot(FILE, size=100, mtime_ns=5, ctime_ns=6)
SCHEDULE = PartSchedule(10_485_760)


def an_object(
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


@pytest.mark.parametrize("started_at", [datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), None])
def test_an_objects_metadata_tell_when_its_recording_began(started_at: datetime | None) -> None:
    metadata = object_metadata(OURS, PATH, FILE, SCHEDULE, started_at=started_at)
    assert origin_of(metadata) == Origin(OURS, PATH, FILE, started_at)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-01-02T03:04:05"])
def test_a_beginning_that_cannot_be_compared_is_unknown_and_the_origin_known(text: str) -> None:
    metadata = object_metadata(OURS, PATH, FILE, SCHEDULE) | {"cefmp4-started-at": text}
    assert origin_of(metadata) == Origin(OURS, PATH, FILE)


def test_an_objects_metadata_name_its_schedule_and_format() -> None:
    growing = object_metadata(OURS, PATH, FILE, PartSchedule(16))
    equal = object_metadata(OURS, PATH, FILE, PartSchedule(16, growing=False))
    assert growing["cefmp4-schedule"] == "growing-16"
    assert equal["cefmp4-schedule"] == "equal-16"
    assert growing["cefmp4-format"] == FORMAT_VERSION


def test_metadata_are_plain_ascii_as_the_header_that_they_travel_in() -> None:
    began = datetime(2026, 1, 2, tzinfo=UTC)
    for name, value in object_metadata(OURS, PATH, Identity(2**64 - 1, -1), SCHEDULE, started_at=began).items():
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
    return whose.whose_object(stored, path=PATH, snapshot=snapshot, crc64=crc64, stored_crc64=stored_crc64)


def test_a_key_without_an_object_is_free() -> None:
    assert _whose(None) is Ownership.FREE


@pytest.mark.parametrize("of", [OURS, OTHER, None])
def test_an_object_with_the_files_size_and_checksum_is_this_recording_whoever_completed_it(of: str | None) -> None:
    assert _whose(an_object(of=of), crc64=77, stored_crc64=77) is Ownership.SAME


@pytest.mark.parametrize(("crc64", "stored_crc64"), [(None, None), (77, None), (None, 77)])
def test_an_object_of_the_files_size_is_unknown_until_both_checksums_are_known(
    crc64: int | None, stored_crc64: int | None
) -> None:
    assert _whose(an_object(), crc64=crc64, stored_crc64=stored_crc64) is Ownership.UNKNOWN


def test_an_object_of_this_file_with_other_bytes_is_ours_to_be_brought_up_to_date() -> None:
    assert _whose(an_object(), crc64=77, stored_crc64=78) is Ownership.OURS


def test_an_object_of_this_file_that_has_grown_since_is_ours_and_needs_no_checksums() -> None:
    assert _whose(an_object(size=99)) is Ownership.OURS


def test_an_object_of_this_file_is_ours_also_when_the_file_has_another_name_now() -> None:
    assert _whose(an_object(size=99, path="old/name.mp4")) is Ownership.OURS


def test_an_object_longer_than_its_file_is_an_earlier_recording_in_the_same_file() -> None:
    assert _whose(an_object(size=101)) is Ownership.EARLIER


def test_an_object_of_this_name_from_another_file_is_an_earlier_recording() -> None:
    assert _whose(an_object(size=99, identity=Identity(8, 1))) is Ownership.EARLIER
    assert _whose(an_object(identity=Identity(8, 1)), crc64=77, stored_crc64=78) is Ownership.EARLIER


def test_an_inode_used_again_with_another_birth_time_is_another_file() -> None:
    assert _whose(an_object(size=99, identity=Identity(7, 1))) is Ownership.EARLIER


def test_without_a_birth_time_an_inode_proves_nothing() -> None:
    nowhere_born = Identity(7, 0)
    snapshot = Snapshot(nowhere_born, 100, 5, 6)
    assert _whose(an_object(size=99, identity=nowhere_born), snapshot=snapshot) is Ownership.EARLIER
    elsewhere = an_object(size=99, identity=nowhere_born, path="another.mp4")
    assert _whose(elsewhere, snapshot=snapshot) is Ownership.STRANGER


def test_an_object_of_another_name_and_another_file_is_a_strangers() -> None:
    assert _whose(an_object(size=99, identity=Identity(8, 1), path="another.mp4")) is Ownership.STRANGER


def test_an_object_that_says_nothing_of_its_origin_is_a_strangers() -> None:
    assert _whose(an_object(size=99, of=None)) is Ownership.STRANGER
    assert _whose(an_object(of=None), crc64=77, stored_crc64=78) is Ownership.STRANGER


EXAMPLES: dict[Ownership, Callable[[], Ownership]] = {
    Ownership.FREE: lambda: _whose(None),
    Ownership.UNKNOWN: lambda: _whose(an_object()),
    Ownership.SAME: lambda: _whose(an_object(), crc64=77, stored_crc64=77),
    Ownership.OURS: lambda: _whose(an_object(size=99)),
    Ownership.EARLIER: lambda: _whose(an_object(size=99, identity=Identity(8, 1))),
    Ownership.STRANGER: lambda: _whose(an_object(size=99, identity=Identity(8, 1), path="another.mp4")),
}


@pytest.mark.parametrize("mutant", list(without_each_case(whose, Ownership)), ids=str)
def test_without_a_case_the_object_is_somebody_elses(mutant: WithoutCase) -> None:
    assert isinstance(mutant.case, Ownership)
    demand_told_otherwise(mutant, [EXAMPLES[mutant.case]])
