"""What the page says of a status, sentence by sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from src.domain import FailedFor, Status
from src.page.shown import Shown
from src.page.throughput import Sample
from src.page.wording import MOST_ADVICE, MOST_FAILURES, MOST_ROWS, shown
from src.status import Advice, RecordingFacts, Remedy, ServiceFacts, StatusView, view_of
from tests.harness import statuses
from tests.unit.test_status_view import MB, NOW, SERVICES, _facts, _recording

AWAY = ServiceFacts("s3", False, NOW - timedelta(seconds=75), "no answer")


def _page(view: StatusView, samples: Sequence[Sample] = (), now: float = 0.0) -> Shown:
    return shown(view, samples, now, "cefmp4")


def _of(*recordings: RecordingFacts, services: Sequence[ServiceFacts] = SERVICES, **figures: Any) -> Shown:
    facts = _facts(*recordings, services=services)
    assert facts.figures is not None
    return _page(view_of(replace(facts, figures=replace(facts.figures, **figures))))


def _failed(number: int = 0, **changes: Any) -> RecordingFacts:
    usual: dict[str, Any] = {"status": Status.FAILED, "failed_for": FailedFor.OTHER, "failure": "too long."}
    return _recording(f"{number:04}.mp4", stream_id=f"{number:032x}", **{**usual, **changes})


# -- headline ----------------------------------------------------------------------------------------------------------


def test_the_headline_is_the_verdict_without_its_full_stop() -> None:
    page = _of(_recording(stored=100 * MB), services=[AWAY])
    assert (page.verdict, page.tone) == ("The store is not available", "waiting")
    assert page.because == "Everything recorded is safe in S3."


@pytest.mark.parametrize(
    ("backlog", "catch_up", "until"),
    [
        (0, 0.0, ""),
        (0, 90.0, ""),
        (MB, 0.9, ""),
        (MB, 1.0, "; at the present rate the upload has caught up in 1 s"),
        (MB, 90.0, "; at the present rate the upload has caught up in 2 min"),
    ],
)
def test_below_a_good_verdict_stands_what_is_only_here_and_until_when(
    backlog: int, catch_up: float, until: str
) -> None:
    page = _of(_recording(), backlog=backlog, catch_up=catch_up)
    assert page.because == f"10 MB are only on this disk{until}."


def test_when_everything_is_in_the_store_the_page_says_so() -> None:
    assert _of(_recording(stored=100 * MB)).because == "No byte of a recording is only on this disk."


def test_a_service_that_is_away_is_added_to_a_bad_verdict_and_to_no_other() -> None:
    assert _of(_recording(), services=[AWAY]).because == "10 MB are only on this disk."
    assert _of(_failed(), services=[AWAY]).because == "10 MB are only on this disk. Not available: Store."
    assert _of(_failed()).because == "10 MB are only on this disk."


def test_the_title_tells_a_tab_in_the_background_what_is_wrong() -> None:
    assert _of(_recording()).title == "cefmp4"
    assert _of(_recording(), services=[AWAY]).title == "Store away · cefmp4"
    assert _of(_failed()).title == "1 failed · cefmp4"
    assert _page(statuses.troubled()).title == "Store away · 2 failed · cefmp4"


def test_what_is_read_aloud_has_no_figure_that_changes_all_the_time() -> None:
    assert _of(_recording()).announced == "All services answer."
    assert _of(_failed(1), _failed(2)).announced == "All services answer. 2 recordings failed."
    assert _of(_recording(), services=[AWAY]).announced == "Not available: Store."


# -- figures -----------------------------------------------------------------------------------------------------------


def _note(page: Shown, label: str) -> tuple[str, str, bool]:
    (found,) = (each for each in page.figures if each.label == label)
    return found.value, found.note, found.at_risk


def test_the_first_figure_is_what_is_only_on_this_disk() -> None:
    page = _of(_recording())
    assert _note(page, "Only on this disk") == ("10 MB", "19 s of recording, oldest 12 s", True)
    page = _of(_recording(stored=100 * MB))
    assert _note(page, "Only on this disk") == ("0 B", "all is in the store", False)


def test_files_that_grow_are_counted_as_open() -> None:
    sealing = _recording("b", status=Status.PENDING_COMPLETION)
    assert _note(_of(_recording("a"), sealing), "Recording") == ("16 Mbit/s", "1 file open", False)
    assert _note(_of(sealing), "Recording")[1] == "no file open; average of the last minute"
    assert _note(_of(sealing, ingest=0.0), "Recording")[1] == "0 files open"
    assert _note(_of(_recording(size_is_known=False), ingest=0.5), "Recording")[1] == "0 files open"


@pytest.mark.parametrize(
    ("backlog", "catch_up", "said"),
    [
        (0, 5.0, "nothing waits"),
        (1, math.inf, "does not catch up"),
        (1, 0.0, "keeps up"),
        (1, 60.0, "keeps up"),
        (1, 61.0, "caught up in 1 min"),
        (1, 600.0, "caught up in 10 min"),
    ],
)
def test_the_upload_keeps_up_unless_it_is_a_minute_behind(backlog: int, catch_up: float, said: str) -> None:
    page = _of(_recording(), backlog=backlog, catch_up=catch_up, sent=4 * MB)
    assert _note(page, "Upload") == ("32 Mbit/s", said, False)


def test_the_disk_is_urgent_when_it_is_full_within_six_hours() -> None:
    assert [each.label for each in _of(_recording(), disk_full=21_599.0).figures][-1] == "Disk full in"
    assert _note(_of(disk_full=21_599.0), "Disk full in") == ("6 h", "500 GB free", True)
    assert _note(_of(disk_full=21_600.0), "Disk full in") == ("6 h", "500 GB free", False)
    assert _note(_of(disk_full=86_400.0), "Disk full in") == ("1 d", "500 GB free", False)
    assert _note(_of(disk_full=math.inf), "Disk free") == ("500 GB", "nothing is being written", False)
    assert _note(_of(free=math.nan), "Disk free") == ("unknown", "the disk does not answer", False)


def test_a_service_that_is_away_says_why_and_since_when() -> None:
    page = _of(services=[AWAY, *SERVICES[1:]])
    assert [(each.name, each.ok, each.word) for each in page.services] == [
        ("Store", False, "away"),
        ("Redis", True, "answers"),
        ("Folder", True, "answers"),
    ]
    assert [each.reason for each in page.services] == ["since 11:58:45 UTC: no answer", "", ""]
    assert _of(services=[replace(AWAY, since=None)]).services[0].reason == "no answer"


# -- recordings --------------------------------------------------------------------------------------------------------


def test_a_row_says_how_much_is_in_the_store_rounded_down() -> None:
    page = _of(_recording("cam1/a.mp4", stored=100 * MB - 1))
    (row,) = page.rows
    assert (row.name.folder, row.name.file, row.state, row.failed) == ("cam1/", "a.mp4", "recording", False)
    assert (row.size, row.percent, row.in_store, row.at_risk, row.safe_in) == ("100 MB", 99, "100 MB", "1 B", "")
    (row,) = _of(_recording(stored=100 * MB)).rows
    assert (row.percent, row.at_risk) == (100, "nothing")
    (row,) = _of(_recording(size=0, stored=0)).rows
    assert (row.percent, row.size) == (0, "0 B")  # as in the command and in the JSON


def test_a_row_says_what_is_being_retried() -> None:
    troubles = [row.trouble for row in _of(_recording("a", trouble="Check the disk."), _recording("b")).rows]
    assert troubles == ["Check the disk.", ""]


def _advice(number: int) -> Advice:
    return Advice("faststart", f"cam{number}/*.mp4", "sent twice", 5, 0.0, (Remedy("OBS", "Hybrid MP4"),))


def test_advice_says_of_which_recordings_it_is_and_what_to_set() -> None:
    view = view_of(_facts())
    first, second = _page(replace(view, advice=(_advice(1), _advice(2)))).advice
    assert (first.name.folder, first.name.file, first.text) == ("cam1/", "*.mp4", "Sent twice.")
    assert [(step.what, step.command) for step in first.steps] == [("OBS", "Hybrid MP4")]
    assert first.id[0] == "a" and len(first.id) == 17 and first.id != second.id


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (MOST_ADVICE, ""),
        (MOST_ADVICE + 1, "1 more piece of advice: type cefmp4 doctor."),
        (MOST_ADVICE + 2, "2 more pieces of advice: type cefmp4 doctor."),
    ],
)
def test_more_advice_than_fits_is_counted(number: int, said: str) -> None:
    page = _page(replace(view_of(_facts()), advice=tuple(map(_advice, range(number)))))
    assert (len(page.advice), page.advice_left_out) == (MOST_ADVICE, said)


def test_a_finished_recording_says_when_it_is_safe() -> None:
    (row,) = _of(_recording(status=Status.PENDING_COMPLETION, sendable=10 * MB)).rows
    assert (row.state, row.safe_in) == ("sealing", "2 s")


def test_the_same_recording_keeps_its_place_in_the_browser() -> None:
    once, again = _of(_recording("a.mp4")), _of(_recording("b.mp4", stored=MB))
    assert once.rows[0].id == again.rows[0].id  # the stream's ID is in it, not the name
    assert once.rows[0].id[0] == "r" and len(once.rows[0].id) == 17
    waiting = [_recording(name, stream_id=None, status=None) for name in ("a.mp4", "b.mp4")]
    assert len({row.id for row in _of(*waiting).rows}) == 2


def test_a_failure_says_how_much_is_where_why_and_what_to_type() -> None:
    page = _of(_failed(1, failure="the store refuses it", hint="Ask for the right."))
    (failure,) = page.failures
    assert failure.facts == "100 MB, 90 % in the store, 10 MB only on this disk"
    assert failure.why == "The store refuses it."
    assert [(step.what, step.command) for step in failure.steps] == [
        ("Ask for the right.", ""),
        ("Try again", "cefmp4 retry 0000"),
        ("Give it up: its upload is aborted", "cefmp4 give-up 0000 --apply"),
    ]
    assert failure.id[0] == "f" and page.rows[0].failed
    (failure,) = _of(_failed(1, stored=100 * MB)).failures
    assert (failure.facts, failure.why) == ("100 MB, 100 % in the store", "Too long.")


def test_more_failures_than_fit_are_counted() -> None:
    page = _of(*(_failed(number) for number in range(MOST_FAILURES + 1)))
    assert len(page.failures) == MOST_FAILURES == 20
    assert page.failures_left_out == "1 more failed recording: type cefmp4 status to see all."
    assert _of(*(_failed(number) for number in range(MOST_FAILURES))).failures_left_out == ""


def test_of_more_recordings_than_fit_those_with_most_at_risk_are_shown_and_the_rest_counted() -> None:
    def at_risk(missing: int) -> RecordingFacts:
        return _recording(f"{missing:04}.mp4", stream_id=f"{missing:032x}", stored=100 * MB - missing)

    page = _of(*map(at_risk, range(MOST_ROWS)))
    assert (len(page.rows), page.left_out) == (MOST_ROWS, "") == (200, "")
    page = _of(*map(at_risk, range(MOST_ROWS + 2)))
    assert [row.at_risk for row in page.rows[:2]] == ["2 B", "3 B"]
    assert page.left_out == "2 more open recordings: type cefmp4 status to see all."
    safe = _failed(9999, stored=100 * MB)
    assert "9999.mp4" in [row.name.file for row in _of(*map(at_risk, range(MOST_ROWS + 2)), safe).rows]


def test_the_table_counts_open_failed_and_waiting_files() -> None:
    waiting = _recording("c", stream_id=None, status=None)
    assert _of(_recording("a")).count == "1 open"
    assert _of(_recording("a"), _failed(1), waiting).count == "2 open, 1 failed, 1 waiting"


def test_without_a_recording_the_page_says_where_to_drop_one() -> None:
    assert _of().nothing == "No recording is open. Drop one into /srv/recordings."


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (0, "No recording was finished in the last 24 hours."),
        (1, "1 recording finished in the last 24 hours, proved in the store."),
        (1200, "1,200 recordings finished in the last 24 hours, proved in the store."),
    ],
)
def test_finished_recordings_of_a_day_are_counted(done: int, said: str) -> None:
    assert _page(view_of(replace(_facts(), done_last_day=done))).finished == said


def test_without_a_daemon_there_is_nothing_to_say_of_it() -> None:
    page = _page(view_of(replace(_facts(), daemon=None)))
    assert (page.version, page.up, page.folder, page.nothing, page.finished) == ("", "", "", "", "")


def test_the_page_names_the_daemon_and_the_time() -> None:
    page = _of()
    assert (page.version, page.up, page.folder) == ("0.2.0", "3 h", "/srv/recordings")
    assert (page.rendered, page.rendered_at) == ("12:00:00 UTC", "2026-05-01T12:00:00Z")
    assert page.command == "cefmp4 status --watch"


# -- curve -------------------------------------------------------------------------------------------------------------


def test_the_curve_has_labels_and_a_sentence() -> None:
    page = _page(statuses.usual(), [Sample(0, 1e6, 0), Sample(600, 0, 5e5)], 600)
    assert page.curve is not None
    assert (page.curve.most, page.curve.half, page.curve.begin, page.curve.middle) == (
        *("10 Mbit/s", "5 Mbit/s"),
        *("10 min", "5 min"),
    )
    assert page.curve.told == ("Throughput of the last 10 min. Recorded: at most 8 Mbit/s; uploaded: at most 4 Mbit/s.")
    assert _page(statuses.usual()).curve is None
