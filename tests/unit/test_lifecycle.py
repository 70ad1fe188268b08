"""The lifecycle table is complete, every status has a way out, and what it does not name is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from src.domain import (
    SOURCE_MISSING,
    STATUSES,
    TRANSITIONS,
    Care,
    Checkpoint,
    Fact,
    FailedFor,
    Identity,
    PartSchedule,
    Status,
    Superseded,
    after,
)
from src.domain.lifecycle import LONGEST_QUIET_SECONDS, IllegalTransition, failed_for, idle_at, quiet_seconds

EVERY_PAIR = [(status, fact) for status in Status for fact in Fact]
LEGAL = [(status, fact) for status, fact in EVERY_PAIR if fact in TRANSITIONS[status]]
ILLEGAL = [(status, fact) for status, fact in EVERY_PAIR if fact not in TRANSITIONS[status]]


def test_the_table_names_every_status() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_the_order_in_which_statuses_are_shown_is_that_of_their_entries() -> None:
    assert list(STATUSES) == list(TRANSITIONS)
    assert all(TRANSITIONS[status] is standing.ways for status, standing in STATUSES.items())


def test_a_stream_is_carried_until_it_is_done_or_has_failed() -> None:
    assert {status: standing.care for status, standing in STATUSES.items()} == {
        Status.ACTIVE: Care.CARRIED,
        Status.PENDING_COMPLETION: Care.CARRIED,
        Status.S3_COMPLETED: Care.CARRIED,
        Status.FAILED: Care.KEPT,
        Status.COMPLETED: Care.DONE,
    }


def test_every_fact_leads_somewhere() -> None:
    assert {fact for ways in TRANSITIONS.values() for fact in ways} == set(Fact)


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_way_out_to_another(status: Status) -> None:
    assert set(TRANSITIONS[status].values()) - {status}


@pytest.mark.parametrize("status", Status)
def test_a_completed_object_can_be_reached_from_every_status(status: Status) -> None:
    reached = {status}
    while True:
        further = reached | {to for known in reached for to in TRANSITIONS[known].values()}
        if further == reached:
            break
        reached = further
    assert Status.COMPLETED in reached


@pytest.mark.parametrize(("status", "fact"), LEGAL)
def test_a_fact_leads_where_the_table_says(status: Status, fact: Fact) -> None:
    assert after(status, fact) is TRANSITIONS[status][fact]


@pytest.mark.parametrize(("status", "fact"), ILLEGAL)
def test_a_fact_that_cannot_be_true_is_refused_by_name(status: Status, fact: Fact) -> None:
    with pytest.raises(IllegalTransition, match=f"{fact} cannot happen to a stream that is {status}"):
        after(status, fact)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[Status.ACTIVE][Fact.GREW] = Status.FAILED  # type: ignore[index]
    with pytest.raises(TypeError):
        TRANSITIONS[Status.ACTIVE] = {}  # type: ignore[index]


def test_growth_takes_a_stream_back_only_before_its_object_is_proved() -> None:
    assert after(Status.PENDING_COMPLETION, Fact.GREW) is Status.ACTIVE
    with pytest.raises(IllegalTransition):
        after(Status.S3_COMPLETED, Fact.GREW)


def test_nothing_but_stored_metadata_completes_a_stream() -> None:
    ways = [(status, fact) for status, fact in LEGAL if TRANSITIONS[status][fact] is Status.COMPLETED]
    assert ways == [(Status.S3_COMPLETED, Fact.METADATA_STORED)]


def test_a_failed_stream_goes_on_when_its_recording_is_seen_again() -> None:
    assert after(Status.FAILED, Fact.SEEN_AGAIN) is Status.ACTIVE


def test_each_replacement_doubles_the_quiet_time() -> None:
    assert [quiet_seconds(30, count) for count in range(4)] == [30, 60, 120, 240]


def test_the_quiet_time_ends_at_an_hour() -> None:
    assert quiet_seconds(30, 6) == 1920
    assert quiet_seconds(30, 7) == LONGEST_QUIET_SECONDS
    assert quiet_seconds(30, 1_000_000) == LONGEST_QUIET_SECONDS


def test_a_timeout_above_an_hour_is_kept() -> None:
    assert quiet_seconds(7200, 0) == 7200
    assert quiet_seconds(7200, 5) == 7200


def test_a_timeout_of_nothing_stays_nothing() -> None:
    assert quiet_seconds(0, 5) == 0


def test_a_recording_is_idle_when_it_was_quiet_long_enough() -> None:
    assert idle_at(100.0, 10.0, quiet_for=30, min_age=0) == 130.0


def test_a_young_recording_is_not_idle_however_quiet() -> None:
    assert idle_at(100.0, 100.0, quiet_for=30, min_age=60) == 160.0


def test_age_and_quiet_time_are_counted_each_from_its_own_beginning() -> None:
    assert idle_at(50.0, 20.0, quiet_for=30, min_age=60) == 80.0
    assert idle_at(50.0, 21.0, quiet_for=30, min_age=60) == 81.0


@pytest.mark.parametrize(
    ("failure", "upload_id", "left_by", "waits_for"),
    [
        ("more than S3 can hold", "u1", None, FailedFor.OTHER),
        ("more than S3 can hold", None, None, FailedFor.OTHER),
        (SOURCE_MISSING, "u1", None, FailedFor.SOURCE_MISSING),
        (SOURCE_MISSING, None, "s1", FailedFor.SOURCE_MISSING),  # its own former upload
        (SOURCE_MISSING, None, "s2", FailedFor.DISPOSED),
        (SOURCE_MISSING, None, None, FailedFor.DISPOSED),
    ],
)
def test_a_failed_stream_whose_file_is_gone_waits_for_it_only_while_s3_holds_something_to_go_on_with(
    failure: str, upload_id: str | None, left_by: str | None, waits_for: FailedFor
) -> None:
    moment = datetime(2026, 11, 21, tzinfo=UTC)
    left = (Superseded("key", "u0", left_by, moment),) if left_by else ()
    record = Checkpoint(
        *("s1", Status.FAILED, "a.mp4", "bucket", "key", Identity(1, 2), PartSchedule(5), moment),
        upload_id=upload_id,
        failure=failure,
        superseded=left,
    )
    assert failed_for(record) is waits_for
