"""The facts of a running daemon: from the dispatcher's entries, and from what was heard of streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from src.answering import advise
from src.domain import (
    FailedFor,
    Figures,
    Holding,
    Identity,
    Look,
    Manifest,
    Part,
    PartSchedule,
    Risk,
    SendReason,
    Snapshot,
    Status,
    Tally,
    Unfinished,
    Watch,
    moments,
)
from src.domain.recording import Checkpoint
from src.exceptions import ChunkProcessingError
from src.metrics import Metrics
from src.metrics.readiness import Condition
from src.status import Chronicle, DaemonFacts, Gathering, RecorderNotes, State, Tone, recording_facts, status_json

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
FILE = Identity(7, 1)
SEEN = Snapshot(FILE, 100, 1, 1)
ID = "8f1c" + "0" * 28


class _Clock:
    def __init__(self) -> None:
        self.at = NOW

    def utc_now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def _checkpoint(**changes: Any) -> Checkpoint:
    usual: dict[str, Any] = {
        "stream_id": ID,
        "status": Status.ACTIVE,
        "path": "a.mp4",
        "bucket": "b",
        "key": "a.mp4",
        "identity": FILE,
        "schedule": PartSchedule(5),
        "started_at": NOW,
    }
    return Checkpoint(**(usual | changes))


# -- one entry ---------------------------------------------------------------------------------------------------------


def test_an_entry_without_a_stream_waits_with_all_its_bytes() -> None:
    facts = recording_facts(Unfinished("a.mp4", Holding("a.mp4", SEEN)))
    assert (facts.size, facts.stored, facts.status, facts.stream_id) == (100, 0, None, None)


def test_an_active_entry_has_what_file_and_checkpoint_say() -> None:
    facts = recording_facts(Unfinished("a.mp4", Holding("a.mp4", SEEN, 60, 30, ID), _checkpoint(), 12, 60))
    assert (facts.size, facts.stored, facts.sendable, facts.parts) == (100, 60, 30, 12)
    assert (facts.status, facts.stream_id, facts.failure) == (Status.ACTIVE, ID, None)


@pytest.mark.parametrize(("expected", "size"), [(None, 60), (100, 100)])
def test_of_a_missing_file_the_size_is_that_in_s3_or_of_the_expected_object(expected: int | None, size: int) -> None:
    manifest = None if expected is None else Manifest(expected, 0, 1, SEEN)
    record = _checkpoint(status=Status.FAILED, failure="source_missing", manifest=manifest, upload_id="u")
    facts = recording_facts(Unfinished("a.mp4", None, record, 12, 60))
    assert (facts.size, facts.stored, facts.failed_for) == (size, 60, FailedFor.SOURCE_MISSING)


# -- what was heard ----------------------------------------------------------------------------------------------------


def _completed(key: str = "a.mp4") -> moments.Completed:
    return moments.Completed(key=key, size=5, duration_seconds=None, stream_seconds=1, processing_seconds=1)


def test_the_finished_of_the_last_day_are_counted_by_the_hour() -> None:
    clock = _Clock()
    chronicle = Chronicle(clock)
    for _ in range(30):
        chronicle.hear(ID, "a.mp4", _completed())
        chronicle.hear(ID, "b.mp4", _completed("b.mp4"))
        clock.at += timedelta(hours=1)
    assert chronicle.last_day == 46  # the hour of now is still empty
    assert [(done.path, done.at) for done in chronicle.newest][:2] == [
        ("b.mp4", clock.at - timedelta(hours=1)),
        ("a.mp4", clock.at - timedelta(hours=1)),
    ]
    assert len(chronicle.newest) == 20
    clock.at += timedelta(days=2)
    assert chronicle.last_day == 0


def test_trouble_is_remembered_until_something_works_and_never_quotes_the_error() -> None:
    chronicle = Chronicle(_Clock())
    error = ChunkProcessingError("http://user:secret@host", hint="Check the disk.")
    chronicle.hear(ID, "a.mp4", moments.Trouble(operation="read", error=error, retry_seconds=1))
    chronicle.hear("", "b.mp4", moments.Trouble(operation="claim", error=OSError("secret"), retry_seconds=1))
    assert chronicle.trouble(ID, "a.mp4") == "Check the disk."
    assert chronicle.trouble(None, "b.mp4") == "claim is being retried"
    chronicle.hear(ID, "a.mp4", moments.PartStored(number=1, size=1, seconds=1, reason=SendReason.NEW))
    chronicle.hear("f" * 32, "b.mp4", moments.PartStored(number=1, size=1, seconds=1, reason=SendReason.NEW))
    assert chronicle.trouble(ID, "a.mp4") == chronicle.trouble(None, "b.mp4") == ""


def test_a_file_that_is_found_done_is_in_trouble_no_longer() -> None:
    chronicle = Chronicle(_Clock())
    chronicle.hear("", "a.mp4", moments.Trouble(operation="claim", error=OSError(), retry_seconds=1))
    chronicle.hear(ID, "a.mp4", moments.AlreadyStored(key="a.mp4"))
    assert chronicle.trouble(None, "a.mp4") == ""


def test_the_advice_for_a_failure_stays_until_the_stream_goes_on() -> None:
    chronicle = Chronicle(_Clock())
    chronicle.hear(ID, "a.mp4", moments.Failed(reason="too long", hint="Raise it."))
    assert chronicle.hint(ID) == "Raise it."
    chronicle.hear(ID, "a.mp4", moments.StreamResumed(key="a.mp4"))
    assert chronicle.hint(ID) == ""


def test_only_so_many_streams_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.status.chronicle._MOST_STREAMS", 2)
    chronicle = Chronicle(_Clock())
    for stream_id in ("1", "2", "3"):
        chronicle.hear(stream_id, "a.mp4", moments.Failed(reason="", hint=f"h{stream_id}"))
    assert [chronicle.hint(stream_id) for stream_id in ("1", "2", "3")] == ["", "h2", "h3"]


def test_metrics_tell_which_stream_a_moment_belongs_to() -> None:
    metrics, clock = Metrics(version="x"), _Clock()
    chronicle = Chronicle(clock)
    metrics.listen_to_streams(chronicle.hear)
    metrics.stream(ID, "a.mp4").emit(moments.Failed(reason="", hint="h"))
    assert chronicle.hint(ID) == "h"


# -- all of it ---------------------------------------------------------------------------------------------------------


def _gathering(
    unfinished: list[Unfinished], figures: Figures | None, masked: Callable[[str], str] = str, waiting: int = 3
) -> Gathering:
    clock = _Clock()
    daemon = DaemonFacts("1", 1, NOW - timedelta(seconds=90), "/srv", "b", "")
    return Gathering(
        daemon,
        Chronicle(clock),
        clock,
        unfinished=lambda: (unfinished, waiting),
        figures=lambda: figures,
        services=lambda: {"s3": Condition(False, NOW, "no answer; secret")},
        recorders=RecorderNotes(clock),
        masked=masked,
        program="cefmp4",
    )


async def test_what_a_recorder_costs_is_logged_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.answering.ADVICE_SECONDS", 0.0)
    clock, metrics = _Clock(), Metrics(version="test")
    recorders = RecorderNotes(clock)
    metrics.listen_to_streams(recorders.hear_stream)
    moved = moments.PartStored(number=1, size=5_000_000, seconds=1.0, reason=SendReason.FASTSTART)
    metrics.stream(ID, "obs/a.mp4").emit(moved)
    gathering = Gathering(
        DaemonFacts("1", 1, NOW, "/srv", "b", ""),
        Chronicle(clock),
        clock,
        unfinished=lambda: ([], 0),
        figures=lambda: None,
        services=dict,
        recorders=recorders,
        masked=str,
        program="cefmp4",
    )
    said: list[moments.DaemonMoment] = []

    def emit(moment: moments.DaemonMoment) -> None:
        said.append(moment)
        metrics.emit(moment)
        clock.at += timedelta(days=1)
        if len(said) == 2:
            raise _EnoughError

    with capture_logs() as lines, pytest.raises(_EnoughError):
        await asyncio.wait_for(advise(gathering, emit), 60)
    assert [line["event"] for line in lines] == ["recorder_advice", "recorder_advice"]
    line = lines[0]
    assert (line["log_level"], line["advice"], line["recordings"]) == ("warning", "faststart", "obs/*.mp4")
    assert (line["bytes_sent_again"], line["seconds_at_risk"]) == (5_000_000, 0.0)
    assert line["reason"].endswith("5 MB sent twice") and "ffmpeg: leave out -movflags +faststart" in line["hint"]


class _EnoughError(Exception):
    pass


def test_the_view_has_the_risk_of_each_file_also_of_those_that_failed() -> None:
    figures = Figures(Risk(40, 8.0, 9.0), {}, 0, 0, 1.0, 2.0, 0.0, 5.0, 5.0, recordings={FILE: Risk(40, 8.0, 9.0)})
    record = _checkpoint(status=Status.FAILED, failure="secret was refused")
    entry = Unfinished("a.mp4", Holding("a.mp4", SEEN, 60), record, 12, 60)
    view = _gathering([entry], figures, lambda text: text.replace("secret", "***")).newest()()
    (seen,) = view.recordings
    assert (seen.state, seen.at_risk_bytes, seen.at_risk_seconds, seen.oldest_seconds) == (State.FAILED, 40, 8.0, 9.0)
    assert seen.failure is not None and seen.failure.text == "*** was refused"
    assert view.services[0].reason == "no answer; ***"
    assert view.daemon is not None and view.daemon.up_seconds == 90.0
    assert view.totals.waiting == 3


def _figures_of_growing_files() -> tuple[Figures, list[Unfinished]]:
    """A look at two streams and a waiting file, and all of them 50 bytes longer after it."""
    other, third = replace(SEEN, identity=Identity(7, 2)), replace(SEEN, identity=Identity(7, 3))
    looked = [Holding("a.mp4", SEEN, 60, 40, ID), Holding("b.mp4", other, 90, 10, "b" * 32)]
    tally = Tally()
    tally.put("c.mp4", third)
    figures = Watch().look(Look(1.0, 1.0, looked, tally.waiting(), 0, 5.0), {})
    records = [_checkpoint(), _checkpoint(stream_id="b" * 32, path="b.mp4", identity=other.identity)]
    grown = [
        Unfinished(each.path, replace(each, seen=replace(each.seen, size=150)), record)
        for each, record in zip(looked, records, strict=True)
    ]
    return figures, [*grown, Unfinished("c.mp4", Holding("c.mp4", replace(third, size=150)))]


def test_rows_at_risk_add_up_to_the_total_while_files_grow_between_two_looks() -> None:
    figures, grown = _figures_of_growing_files()
    view = _gathering(grown[:2], figures, waiting=0).shown()()
    document = status_json(view)
    assert [row.at_risk_bytes for row in view.recordings] == [40, 10]  # as at the look, and as the metrics
    assert view.totals.at_risk_bytes == 50
    assert sum(row["at_risk_bytes"] for row in document["recordings"]) == document["totals"]["at_risk_bytes"] == 50


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_rows_add_up_to_the_total_when_recordings_ended_or_began_since_the_look(kept: int) -> None:
    figures, grown = _figures_of_growing_files()
    begun = Unfinished("d.mp4", Holding("d.mp4", Snapshot(Identity(7, 4), 7, 1, 1)))
    view = _gathering([*grown[:kept], begun], figures, waiting=0).shown()()
    assert len(view.recordings) == kept + 1
    assert sum(row.at_risk_bytes for row in view.recordings) == view.totals.at_risk_bytes > 0


def test_waiting_files_that_are_not_listed_count_in_the_total() -> None:
    figures, grown = _figures_of_growing_files()
    view = _gathering(grown[:2], figures, waiting=1).shown()()
    assert view.totals.at_risk_bytes == figures.total.bytes == 40 + 10 + 100


def test_who_waits_for_everything_to_be_safe_gets_the_newest_sizes() -> None:
    figures, grown = _figures_of_growing_files()
    assert [row.at_risk_bytes for row in _gathering(grown, figures).newest()().recordings] == [90, 60, 150]


def test_on_the_event_loop_nothing_is_done_for_each_recording() -> None:
    """With thousands of recordings it would hold up everything else; the rest is done in a thread."""
    figures, grown = _figures_of_growing_files()
    masked: list[str] = []

    def mask(text: str) -> str:
        masked.append(text)
        return text

    gathering = _gathering(grown * 100, figures, mask)
    for gather in (gathering.shown, gathering.newest):
        masked.clear()
        made = gather()
        assert masked == ["no answer; secret"]  # of the one service
        assert len(made().recordings) == len(grown) * 100
        assert len(masked) > len(grown) * 100


def test_a_daemon_that_stops_says_so_since_it_no_longer_looks_at_the_folder() -> None:
    figures, grown = _figures_of_growing_files()
    gathering = _gathering(grown, figures)
    gathering._stopping = lambda: True
    view = gathering.shown()()
    assert (view.tone, view.verdict) == (Tone.WAITING, "The daemon is stopping.")


def test_a_record_with_its_parts_is_not_needed() -> None:
    part = Part(1, 5, "e", 1, NOW)
    with_parts = recording_facts(Unfinished("a.mp4", None, _checkpoint(parts={1: part}), 1, 5))
    without = recording_facts(Unfinished("a.mp4", None, _checkpoint(), 1, 5))
    assert with_parts == without
