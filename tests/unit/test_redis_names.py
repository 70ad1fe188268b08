"""The names in Redis: a release finds what the one before has written, so they are said here letter by letter."""

from __future__ import annotations

from itertools import islice

from src.domain import Identity, Status
from src.redis_client.names import ALL_SETS, MARKERS, NUMBERS, READ_SETS, SETS, Names, marker_field, shown

NAMES = Names("cefmp4:")


def test_each_status_has_its_set() -> None:
    assert dict(SETS) == {
        Status.ACTIVE: b"streams:active",
        Status.PENDING_COMPLETION: b"streams:pending_completion",
        Status.S3_COMPLETED: b"streams:pending_completion",
        Status.FAILED: b"streams:failed",
        Status.COMPLETED: b"streams:completed",
    }


def test_what_is_done_is_not_read_at_a_start() -> None:
    assert ALL_SETS == (b"streams:active", b"streams:pending_completion", b"streams:failed", b"streams:completed")
    assert ALL_SETS[:3] == READ_SETS


def test_everything_lies_behind_the_prefix() -> None:
    assert NAMES.of(MARKERS) == b"cefmp4:streams:markers"
    assert NAMES.of(NUMBERS) == b"cefmp4:streams:numbers"
    assert NAMES.of_stream(b"id") == (b"cefmp4:stream:id:meta", b"cefmp4:stream:id:parts")


def test_what_cannot_be_used_is_set_aside_under_the_first_free_name() -> None:
    aside = [b"cefmp4:bad:stream:id:meta", b"cefmp4:bad:stream:id:meta~2", b"cefmp4:bad:stream:id:meta~3"]
    assert list(islice(NAMES.aside(b"cefmp4:stream:id:meta"), 3)) == aside


def test_a_marker_is_found_by_inode_and_birth() -> None:
    assert marker_field(Identity(12, 345)) == b"12:345"


def test_a_name_that_is_no_text_can_be_logged() -> None:
    assert shown(b"a\xff") == "a\\xff"
