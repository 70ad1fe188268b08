"""The status as text: no line is wider than the terminal, whatever the names are, and nothing important is cut."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from rich.cells import cell_len

from src.cli.status_text import Paper, details, lines, shorten, table
from src.cli.wait import _safe, left
from src.domain import FailedFor, Status
from src.page import shown
from src.status import RecordingFacts, StatusView, view_of
from tests.corpus.names import RECORDINGS
from tests.unit.test_status_view import AWAY, FIGURES, MB, NOW, _facts, _recording

WIDTHS = (40, 60, 80, 120, 200)


def _view() -> StatusView:
    odd = [
        _recording(
            os.fsdecode(each.path), stream_id=f"{number:04x}".ljust(32, "0"), status=status, failed_for=FailedFor.OTHER
        )
        for number, each in enumerate(RECORDINGS)
        for status in [list(Status)[number % 3 if number % 7 else 4]]
    ]
    return view_of(_facts(*odd, services=AWAY))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_terminal_but_a_command_to_copy(width: int, ascii_only: bool) -> None:
    for line in lines(_view(), Paper(width, ascii_only)):
        if not line.plain.endswith("--apply") and " retry " not in line.plain:
            assert cell_len(line.plain) <= width, ascii(line.plain)
        assert "\n" not in line.plain and "\x1b" not in line.plain


def test_without_a_terminal_no_name_is_cut_and_there_is_no_bar() -> None:
    view = _view()
    text = "\n".join(line.plain for line in lines(view, Paper(None)))
    assert [each.name for each in view.recordings if each.name not in text] == []
    assert "█" not in text and "…" not in text


def test_a_wide_terminal_has_a_bar_that_is_full_only_at_the_end() -> None:
    almost = view_of(_facts(_recording(size=1000, stored=999))).recordings
    whole = view_of(_facts(_recording(size=1000, stored=1000))).recordings
    assert "█████████░  99 %" in list(table(almost, Paper(120)))[1].plain
    assert "██████████ 100 %" in list(table(whole, Paper(120)))[1].plain
    assert "#########-  99 %" in list(table(almost, Paper(120, ascii_only=True)))[1].plain


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("abcdefghij", 10, "abcdefghij"),
        ("abcdefghij", 9, "abc…efghij"[:4] + "fghij"[-5:]),
        ("録画録画録画.mp4", 9, "録…画.mp4"),
        ("録画録画録画.mp4", 8, "録….mp4"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_a_long_name_loses_its_middle(text: str, width: int, short: str) -> None:
    shortened = shorten(text, width, Paper(80))
    assert cell_len(shortened) <= max(width, 0)
    if width >= 8:
        assert (shortened[0], shortened[-4:]) == (short[0], short[-4:])


def test_a_failure_says_why_how_much_and_what_to_type() -> None:
    failed = _recording("gate.mp4", status=Status.FAILED, failure="source_missing", failed_for=FailedFor.SOURCE_MISSING)
    text = [line.plain for line in lines(view_of(_facts(failed)), Paper(80))]
    assert "8f1c  gate.mp4 failed: file missing; 10 MB are only on this disk" in text
    assert "          cefmp4 give-up 8f1c --apply" in text
    assert text.index("8f1c  gate.mp4 failed: file missing; 10 MB are only on this disk") < text.index(
        next(line for line in text if line.startswith("RECORDING"))
    )


def test_without_a_daemon_what_is_not_known_is_not_shown() -> None:
    view = view_of(_facts(_recording(), daemon=None, figures=None, services=()))
    text = "\n".join(line.plain for line in lines(view, Paper(200)))
    assert "AT RISK" not in text and "ENDS" not in text and "out " not in text
    assert "cefmp4: no daemon answers; this is what Redis says" in text


def test_of_a_file_that_was_not_looked_at_only_the_bytes_in_s3_are_shown() -> None:
    view = view_of(_facts(_recording(size_is_known=False, size=90 * MB), daemon=None, figures=None, services=()))
    (_, row) = table(view.recordings, Paper(200), known=False)
    assert row.plain.split() == ["cam1/0800.mp4", "recording", "-", "90", "MB"]
    assert "%" not in "\n".join(line.plain for line in details(view.recordings[0], Paper(80)))


def test_details_tell_everything_about_a_recording() -> None:
    (seen,) = view_of(_facts(_recording(started_at=NOW, size=100 * MB, stored=90 * MB))).recordings
    text = "\n".join(line.plain for line in details(replace(seen, trouble="Check the disk."), Paper(60)))
    for part in (
        "cam1/0800.mp4",
        seen.id or "?",
        "2026-05-01 12:00:00 UTC",
        "90 %, 90 MB in 9 parts",
        "Check the disk.",
    ):
        assert part in text


def _gone(status: Status = Status.ACTIVE) -> RecordingFacts:
    """As the dispatcher knows a recording whose file is gone: its size is what S3 has."""
    return _recording(status=status, size=90 * MB, stored=90 * MB, size_is_known=False)


def test_a_missing_file_is_named_before_its_recording_fails() -> None:
    row = list(table(view_of(_facts(_gone())).recordings, Paper(120)))[1].plain
    assert "file missing" in row and "recording " not in row and "%" not in row


def test_without_a_daemon_no_file_counts_as_missing() -> None:
    (seen,) = view_of(_facts(_gone(), daemon=None, figures=None, services=())).recordings
    assert seen.trouble is None


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.FAILED])
def test_the_page_claims_nothing_of_the_size_of_a_missing_file(status: Status) -> None:
    page = shown(view_of(_facts(_gone(status))), (), 0.0, "cefmp4")
    (row,) = page.rows
    assert (row.size, row.percent, row.in_store, row.at_risk) == ("unknown", None, "90 MB", "unknown")
    assert [each.facts for each in page.failures] == (["90 MB in the store"] if status is Status.FAILED else [])


def test_the_page_names_a_service_that_is_away_below_a_full_disk() -> None:
    full = replace(FIGURES, disk_full=1800.0)
    page = shown(view_of(_facts(_recording(), figures=full, services=AWAY)), (), 0.0, "cefmp4")
    assert page.verdict == "The disk is full in 30 min"
    assert page.because == "10 MB are only on this disk. Not available: Store."


def test_page_and_command_say_since_when_a_service_is_away() -> None:
    view = view_of(_facts(services=AWAY))
    assert shown(view, (), 0.0).services[0].reason == "since 12:00:00 UTC: no answer"
    assert "store AWAY since 12:00:00 UTC (no answer)" in next(iter(lines(view, Paper(None)))).plain


def test_a_rate_that_is_left_from_the_last_minute_is_called_so() -> None:
    over = shown(view_of(_facts()), (), 0.0)
    assert [each.note for each in over.figures if each.label == "Recording"] == [
        "no file open; average of the last minute"
    ]
    going_on = shown(view_of(_facts(_recording())), (), 0.0)
    assert [each.note for each in going_on.figures if each.label == "Recording"] == ["1 file open"]


def test_what_is_at_risk_of_a_missing_file_is_unknown_and_not_nothing() -> None:
    (seen,) = view_of(_facts(_gone(Status.FAILED))).recordings
    assert list(table([seen], Paper(200)))[1].plain.split()[-2:] == ["unknown", "-"]
    assert "at risk     unknown" in [line.plain for line in details(seen, Paper(80))]


def test_who_waited_hears_of_a_recording_whose_file_is_missing() -> None:
    assert _safe(0) == "Everything recorded is safe in S3."
    assert _safe(1).startswith("Every file here is safe in S3. 1 recording failed because its file is missing: see ")


def test_waiting_for_objects_to_be_completed_is_not_called_a_risk() -> None:
    assert left({"unfinished": 2, "at_risk_bytes": 5}) == "2 recordings unfinished, 5 B are only on this disk."
    assert left({"unfinished": 1, "at_risk_bytes": 0}).startswith("1 recording unfinished; nothing is known")
