"""When a proved end may be finished early: quiet for long enough, closed, and never reopened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from src.domain import EarlyEnd, Identity, Snapshot, Writers

CLOSED = Snapshot(Identity(1, 2), size=100, mtime_ns=10, ctime_ns=20)


@pytest.mark.parametrize(("quiet", "is_due"), [(4.9, False), (5.0, True), (5.1, True)])
def test_it_is_due_from_the_quiet_time_on(quiet: float, is_due: bool) -> None:
    assert EarlyEnd(5.0).is_due(quiet) is is_due


def test_without_a_quiet_time_it_is_never_due() -> None:
    assert not EarlyEnd(None).is_due(1e9)


def test_a_quiet_time_of_nothing_is_one() -> None:
    assert EarlyEnd(0.0).is_due(0.0)


@pytest.mark.parametrize(
    ("quiet_for", "look_again"), [(0.25, 0.25), (2.0, 2.0), (2.5, 2.0), (60.0, 2.0), (None, 2.0), (0.0, 2.0)]
)
def test_it_looks_again_within_two_seconds_and_never_without_a_pause(
    quiet_for: float | None, look_again: float
) -> None:
    assert EarlyEnd(quiet_for).look_again_seconds == look_again


@pytest.mark.parametrize(
    ("writers", "is_closed"), [(Writers.NONE, True), (Writers.PRESENT, False), (Writers.UNKNOWN, False)]
)
def test_it_is_closed_when_the_system_proves_that_nobody_writes(writers: Writers, is_closed: bool) -> None:
    early = EarlyEnd(5.0)
    assert early.is_closed(CLOSED, writers) is is_closed
    assert early.is_due(5.0), "a first writer is not somebody who came back"


@pytest.mark.parametrize(
    ("seen", "came_back"),
    [
        (CLOSED, False),
        (replace(CLOSED, ctime_ns=21), False),
        (replace(CLOSED, size=101), True),
        (replace(CLOSED, size=99), True),
        (replace(CLOSED, mtime_ns=11), True),
        (replace(CLOSED, mtime_ns=9), True),
    ],
    ids=["nothing", "renamed", "longer", "shorter", "written", "time set back"],
)
def test_only_other_bytes_after_the_close_are_somebody_who_came_back(seen: Snapshot, came_back: bool) -> None:
    early = EarlyEnd(5.0)
    assert early.is_closed(CLOSED, Writers.NONE)
    early.changed(seen)
    assert early.is_due(5.0) is not came_back
    assert early.is_closed(seen, Writers.NONE) is not came_back


def test_a_change_before_the_first_close_is_a_recorder_at_work() -> None:
    early = EarlyEnd(5.0)
    early.changed(replace(CLOSED, size=50))
    assert early.is_due(5.0) and early.is_closed(CLOSED, Writers.NONE)


def test_a_writer_after_the_close_came_back_even_if_nothing_is_written() -> None:
    early = EarlyEnd(5.0)
    assert early.is_closed(CLOSED, Writers.NONE)
    assert not early.is_closed(CLOSED, Writers.PRESENT)
    assert not early.is_due(5.0)
    assert not early.is_closed(CLOSED, Writers.NONE), "from now on the quiet time alone ends it"


def test_nobody_knows_is_no_writer_that_came_back() -> None:
    early = EarlyEnd(5.0)
    assert early.is_closed(CLOSED, Writers.NONE)
    assert not early.is_closed(CLOSED, Writers.UNKNOWN)
    assert early.is_closed(CLOSED, Writers.NONE)


def test_the_latest_close_is_compared() -> None:
    early = EarlyEnd(5.0)
    renamed = replace(CLOSED, ctime_ns=30)
    assert early.is_closed(CLOSED, Writers.NONE) and early.is_closed(renamed, Writers.NONE)
    early.changed(replace(renamed, ctime_ns=40))
    assert early.is_due(5.0)
