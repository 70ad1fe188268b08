"""What a stream does next: an example of each numbered case, and the borders between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from src.domain import (
    SOURCE_MISSING,
    Checkpoint,
    Identity,
    Manifest,
    Marker,
    OverCapacity,
    PartSchedule,
    Snapshot,
    Status,
    StoredObject,
    whose,
)
from src.exceptions import (
    ChunkProcessingError,
    FileChanged,
    PartNotTaken,
    PartNumberRefused,
    PartTooLarge,
    S3Rejected,
    S3Unavailable,
    SourceMissing,
    UploadGone,
)
from src.stream_processor import next_step
from src.stream_processor.next_step import Case, Facts, Loss, Refusal, decide, taking_up
from tests.harness.numbered_cases import WithoutCase, without_each_case

BEGAN = datetime(2026, 11, 28, 12, tzinfo=UTC)
IDENTITY = Identity(7, 1)
SCHEDULE = PartSchedule(100)
SEEN = Snapshot(IDENTITY, 250, 1, 1)


def _record(status: Status = Status.ACTIVE, **more: Any) -> Checkpoint:
    return Checkpoint("a" * 32, status, "a.mp4", "bucket", "a.mp4", IDENTITY, SCHEDULE, BEGAN, **more)


def _marker(began: datetime) -> Marker:
    return Marker("b" * 32, "a.mp4", "bucket", "a.mp4", SEEN, 1, "etag", SCHEDULE, began, began)


MANIFEST = Manifest(250, 1, 3, SEEN)
#: A record of each kind in which a process may have left it, and whether a stream that began so much later is done.
TAKEN_UP: Mapping[Case, tuple[Checkpoint, timedelta | None]] = {
    Case.LEAVE_TO_LATER: (_record(upload_id="u"), timedelta(seconds=1)),
    Case.FINISH_REMAINS: (
        _record(Status.PENDING_COMPLETION, upload_id="u", manifest=MANIFEST, unanswered=True, failure=SOURCE_MISSING),
        None,
    ),
    Case.LOOK_AT_OBJECT: (_record(Status.S3_COMPLETED, upload_id="u", manifest=MANIFEST, etag="etag"), None),
    Case.SETTLE: (_record(Status.PENDING_COMPLETION, upload_id="u", manifest=MANIFEST, unanswered=True), None),
    Case.REJOIN: (_record(upload_id="u"), timedelta(0)),
    Case.ADOPT: (_record(), -timedelta(days=1)),
}

#: Of a recording of which all that is whole was sent, and that is not quiet for long enough.
CALM = Facts(
    _record(upload_id="u"),
    is_copied=False,
    replaced_size=0,
    largest_object=1000,
    whole_below=0,
    seen=SEEN,
    all_sent=True,
    now=100.0,
    idle_at=130.0,
    end_is_proved=False,
)
REPLACING = _record(upload_id="u", replaces="etag")
DECIDED: Mapping[Case, tuple[Facts, ...]] = {
    Case.PROVED: (replace(CALM, record=_record(Status.S3_COMPLETED, upload_id="u"), seen=None),),
    Case.GO_ON: (replace(CALM, record=_record(Status.PENDING_COMPLETION), seen=None, all_sent=False),),
    Case.OPEN: (replace(CALM, record=_record(replaces="etag"), seen=None, all_sent=False),),
    Case.COPY: (replace(CALM, record=REPLACING, seen=None), replace(CALM, record=REPLACING)),
    Case.LOOK: (replace(CALM, seen=None, all_sent=False), replace(CALM, record=REPLACING, is_copied=True, seen=None)),
    Case.LEAVE_OBJECT: (
        replace(CALM, record=REPLACING, is_copied=True, replaced_size=251, all_sent=False),
        replace(CALM, record=REPLACING, is_copied=True, replaced_size=251, largest_object=249),
    ),
    Case.TOO_LONG: (replace(CALM, largest_object=249, all_sent=False),),
    Case.SEND: (
        replace(CALM, all_sent=False, now=200.0),
        replace(CALM, record=REPLACING, is_copied=True, replaced_size=250, largest_object=250, all_sent=False),
    ),
    Case.EMPTY: (replace(CALM, seen=replace(SEEN, size=0), now=200.0),),
    Case.QUIET: (replace(CALM, now=130.0), replace(CALM, now=9000.0), replace(CALM, now=130.0, end_is_proved=None)),
    Case.ASK_FOR_END: (replace(CALM, end_is_proved=None),),
    Case.END_PROVED: (replace(CALM, end_is_proved=True),),
    Case.WAIT: (CALM,),
}

REFUSED: Mapping[Refusal, tuple[BaseException, ...]] = {
    Refusal.BACK: (FileChanged("other bytes"),),
    Refusal.PAUSE: (ChunkProcessingError("EIO"),),
    Refusal.LOOK_AT_OBJECT: (UploadGone("NoSuchUpload"),),
    Refusal.LARGER_PARTS: (OverCapacity("too long"),),
    Refusal.FEWER_PARTS: (PartNumberRefused("10001"),),
    Refusal.SMALLER_PARTS: (PartTooLarge("413"),),
    Refusal.ANOTHER_UPLOAD: (PartNotTaken("written through"),),
    Refusal.NOT_OURS: (S3Unavailable("503"), S3Rejected("400"), SourceMissing("gone"), ValueError("a bug")),
}


PARTLY = StoredObject(200, "there", 5)
OURS = replace(PARTLY, metadata=whose.object_metadata("a" * 32, "a.mp4", IDENTITY, SCHEDULE))
#: An object at the key, what is to be replaced there, and whether its bytes were found to be the file's.
LOST: Mapping[Loss, tuple[tuple[StoredObject | None, str | None, bool | None], ...]] = {
    Loss.LOST: ((None, None, None), (None, "there", None), (OURS, "there", None), (PARTLY, "there", None)),
    Loss.COMPARE: ((PARTLY, None, None), (OURS, "another", None)),
    Loss.COMPLETED: ((PARTLY, None, True), (OURS, None, True)),
    Loss.OUTDATED: ((OURS, None, False),),
    Loss.STRANGERS: ((PARTLY, None, False),),
}
Known = Case | Refusal | Loss


def _told(case: Known) -> list[Known | None]:
    """What the functions say to the examples of a case; None where they have nothing to say."""
    try:
        if isinstance(case, Refusal):
            return [next_step.after_refusal(error) for error in REFUSED[case]]
        if isinstance(case, Loss):
            return [
                next_step.after_loss(_record(upload_id="u", replaces=etag), stored, is_the_file=equal, size=250)
                for stored, etag, equal in LOST[case]
            ]
        if case in TAKEN_UP:
            record, later = TAKEN_UP[case]
            return [next_step.taking_up(record, None if later is None else _marker(BEGAN + later))]
        return [next_step.decide(facts) for facts in DECIDED[case]]
    except (AssertionError, AttributeError):
        return [None]


def test_the_cases_are_numbered_as_in_the_tables() -> None:
    assert [case.value for case in Case] == list(range(1, 20))
    assert [case.value for case in Refusal] == list(range(1, 9))
    assert [case.value for case in Loss] == list(range(1, 6))
    assert [*TAKEN_UP, *DECIDED] == list(Case)


@pytest.mark.parametrize("case", [*Case, *Refusal, *Loss], ids=str)
def test_each_case_has_its_examples(case: Known) -> None:
    assert set(_told(case)) == {case}


@pytest.mark.parametrize(
    "mutant", [mutant for cases in (Case, Refusal, Loss) for mutant in without_each_case(next_step, cases)], ids=str
)
def test_without_a_case_its_examples_are_told_something_else(
    mutant: WithoutCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    case = mutant.case
    assert isinstance(case, Known)
    assert case not in _told(case)


@pytest.mark.parametrize("began", [BEGAN, BEGAN - timedelta(seconds=1)])
def test_a_stream_is_left_only_to_one_that_began_later(began: datetime) -> None:
    assert taking_up(_record(), _marker(began)) is Case.ADOPT


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(("ended", "replacing", "is_over"), [(0, 0, True), (2, 1, True), (0, 1, False), (1, 2, False)])
def test_a_stream_that_has_ended_is_left_whatever_its_checkpoint_says(
    status: Status, ended: int, replacing: int, is_over: bool
) -> None:
    """Its object may be replaced later, under the same ID."""
    record = _record(status, replacements=replacing)
    marker = replace(_marker(BEGAN), stream_id=record.stream_id, replacements=ended)
    assert (taking_up(record, marker) is Case.LEAVE_TO_LATER) is is_over
    described_anew = replace(record, manifest=replace(MANIFEST, snapshot=replace(SEEN, mtime_ns=77)), etag="etag")
    assert taking_up(described_anew, marker) is not Case.LEAVE_TO_LATER, "its file was touched since"
    earlier = replace(marker, started_at=BEGAN - timedelta(seconds=1))
    assert taking_up(record, earlier) is not Case.LEAVE_TO_LATER, "what the ID began with is not this"


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("failure", [None, SOURCE_MISSING, "another"])
def test_only_a_completion_of_what_was_left_of_a_file_is_finished_as_such(status: Status, failure: str | None) -> None:
    record = _record(status, upload_id="u", manifest=MANIFEST, unanswered=True, failure=failure)
    remains = status is Status.PENDING_COMPLETION and failure == SOURCE_MISSING
    assert (taking_up(record, None) is Case.FINISH_REMAINS) is remains


@pytest.mark.parametrize(("size", "case"), [(0, Case.EMPTY), (1, Case.WAIT), (999, Case.WAIT), (1000, Case.WAIT)])
def test_any_file_that_an_object_can_hold_is_waited_for(size: int, case: Case) -> None:
    assert decide(replace(CALM, seen=replace(SEEN, size=size))) is case


def test_nothing_is_taken_for_sent_that_nobody_says_was_sent() -> None:
    assert decide(Facts(_record(upload_id="u"), False, 0, 1000, 0, SEEN)) is Case.SEND


@pytest.mark.parametrize(
    ("below", "size", "case"),
    [(0, 7, Case.OPEN), (8, 7, Case.WAIT), (8, 8, Case.OPEN), (8, 9, Case.OPEN), (8, 0, Case.EMPTY)],
)
def test_a_short_recording_needs_no_upload_until_it_is_longer(below: int, size: int, case: Case) -> None:
    facts = replace(CALM, record=_record(), whole_below=below, seen=replace(SEEN, size=size))
    assert decide(facts) is case
    assert decide(replace(facts, seen=None)) is (Case.LOOK if below else Case.OPEN)


def test_a_file_that_was_not_asked_about_the_clock_is_not_quiet() -> None:
    known = Facts(_record(upload_id="u"), False, 0, 1000, 0, SEEN, all_sent=True)
    assert decide(known) is Case.ASK_FOR_END
