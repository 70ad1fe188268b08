"""What follows from plain facts: progress, ends, failures and what to type, the verdict, and the JSON of all that."""

from __future__ import annotations

import json
import math
import os
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest

from src.domain import FailedFor, Figures, Risk, Status
from src.status import (
    DaemonFacts,
    DoneFacts,
    Facts,
    RecordingFacts,
    ServiceFacts,
    State,
    Tone,
    status_json,
    status_schema,
    view_of,
)
from src.status.conclusions import short_ids, when_they_end
from tests.corpus.names import RECORDINGS

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
DAEMON = DaemonFacts("0.2.0", 41, NOW - timedelta(hours=3), "/srv/recordings", "video-streams", "")
MB = 1_000_000
FIGURES = Figures(
    total=Risk(10 * MB, 19.0, 12.0),
    streams={},
    to_look_up=0,
    backlog=0,
    ingest=2 * MB,
    uplink=5 * MB,
    catch_up=0.0,
    free=500e9,
    disk_full=math.inf,
)
SERVICES = tuple(ServiceFacts(name, True, NOW) for name in ("s3", "redis", "watched_folder"))


def _recording(path: str = "cam1/0800.mp4", **changes: Any) -> RecordingFacts:
    usual = RecordingFacts(
        path=path,
        size=100 * MB,
        stored=90 * MB,
        risk=Risk(10 * MB, 19.0, 12.0),
        stream_id="8f1c" + "0" * 28,
        status=Status.ACTIVE,
        key=path,
        parts=9,
    )
    return replace(usual, **changes)


def _facts(*recordings: RecordingFacts, **changes: Any) -> Facts:
    usual = Facts(at=NOW, daemon=DAEMON, recordings=recordings, services=SERVICES, figures=FIGURES)
    return replace(usual, **changes)


# -- one recording -----------------------------------------------------------------------------------------------------


def test_progress_is_the_share_of_the_file_that_s3_has() -> None:
    (seen,) = view_of(_facts(_recording())).recordings
    assert (seen.size, seen.in_s3, seen.at_risk_bytes, seen.progress) == (100 * MB, 90 * MB, 10 * MB, 0.9)
    assert (seen.state, seen.failure, seen.ends_in_s3_seconds) == (State.RECORDING, None, None)


@pytest.mark.parametrize(("size", "stored", "progress"), [(0, 0, 0.0), (10, 20, 1.0), (0, 5, 0.0)])
def test_progress_of_an_empty_or_a_shortened_file(size: int, stored: int, progress: float) -> None:
    (seen,) = view_of(_facts(_recording(size=size, stored=stored))).recordings
    assert (seen.progress, seen.at_risk_bytes, seen.in_s3) == (progress, 0, min(size, stored))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (None, State.WAITING),
        (Status.ACTIVE, State.RECORDING),
        (Status.PENDING_COMPLETION, State.SEALING),
        (Status.S3_COMPLETED, State.DESCRIBING),
        (Status.FAILED, State.FAILED),
    ],
)
def test_each_status_has_a_state(status: Status | None, state: State) -> None:
    (seen,) = view_of(_facts(_recording(status=status))).recordings
    assert seen.state is state


def test_recordings_that_are_sent_at_once_share_the_uplink_evenly() -> None:
    """10 MB and 40 MB at 5 MB/s: the first after 4 s, at half the rate; the other has 30 MB left for 6 s more."""
    sealing = [
        _recording("a", sendable=10 * MB, status=Status.PENDING_COMPLETION),
        _recording("b", sendable=40 * MB, status=Status.PENDING_COMPLETION),
    ]
    assert when_they_end(sealing, FIGURES) == {0: 4.0, 1: 10.0}


def test_a_growing_recording_takes_its_share_but_has_no_end() -> None:
    both = [
        _recording("a", sendable=10 * MB, status=Status.PENDING_COMPLETION),
        _recording("b", sendable=40 * MB, status=Status.ACTIVE),
    ]
    assert when_they_end(both, FIGURES) == {0: 4.0}


@pytest.mark.parametrize("figures", [None, replace(FIGURES, uplink=0.0)])
def test_without_an_uplink_no_end_is_known(figures: Figures | None) -> None:
    assert when_they_end([_recording(sendable=1, status=Status.PENDING_COMPLETION)], figures) == {}


def test_a_short_id_is_as_long_as_it_has_to_be() -> None:
    assert short_ids(["8f1c00", "8f1c11", "aaaa00", "8f1c1f"]) == {
        "8f1c00": "8f1c0",
        "8f1c11": "8f1c11",
        "8f1c1f": "8f1c1f",
        "aaaa00": "aaaa",
    }
    assert short_ids([]) == {}


# -- failures ----------------------------------------------------------------------------------------------------------


def _failed(**changes: Any) -> RecordingFacts:
    return _recording("cam2/gate.mp4", status=Status.FAILED, failure="source_missing", **changes)


def test_a_missing_file_is_to_be_moved_back_or_given_up() -> None:
    (seen,) = view_of(_facts(_failed(failed_for=FailedFor.SOURCE_MISSING))).recordings
    assert seen.failure is not None
    assert (seen.failure.reason, seen.failure.waits_for, seen.failure.text) == (
        "source_missing",
        "source_missing",
        "file missing",
    )
    assert [each.command for each in seen.failure.actions] == [None, "cefmp4 give-up 8f1c --apply"]


def test_another_failure_names_the_hint_first_and_then_what_to_type() -> None:
    failed = _recording(status=Status.FAILED, failure="no more\nroom", failed_for=FailedFor.OTHER, hint="Raise X.")
    (seen,) = view_of(_facts(failed, program="python -m src")).recordings
    assert seen.failure is not None
    assert seen.failure.text == "no more\\nroom"
    assert [(each.what, each.command) for each in seen.failure.actions] == [
        ("Raise X.", None),
        ("Try again", "python -m src retry 8f1c"),
        ("Give it up: its upload is aborted", "python -m src give-up 8f1c --apply"),
    ]


def test_failures_come_first_and_the_rest_is_in_the_order_of_names() -> None:
    seen = view_of(_facts(_recording("b"), _failed(), _recording("a"))).recordings
    assert [each.name for each in seen] == ["cam2/gate.mp4", "a", "b"]


# -- verdict -----------------------------------------------------------------------------------------------------------

AWAY = (ServiceFacts("s3", False, NOW, "no answer"), *SERVICES[1:])
BOTH_AWAY = (ServiceFacts("redis", False, NOW), ServiceFacts("watched_folder", False, NOW))
SAFE = replace(FIGURES, total=Risk())
BEHIND = replace(FIGURES, backlog=9, catch_up=math.inf)


@pytest.mark.parametrize(
    ("facts", "tone", "verdict"),
    [
        (_facts(_recording()), Tone.GOOD, "Everything recorded until 12 s ago is safe."),
        (_facts(figures=SAFE), Tone.GOOD, "Everything recorded is safe."),
        (_facts(figures=None), Tone.WAITING, "The daemon has just started."),
        (_facts(services=AWAY), Tone.WAITING, "The store is not available."),
        (_facts(services=BOTH_AWAY), Tone.WAITING, "Redis and the watched folder are not available."),
        (_facts(_recording(size_is_known=False)), Tone.WAITING, "1 file missing."),
        (_facts(figures=BEHIND), Tone.WAITING, "The upload is slower than the recordings."),
        (_facts(figures=replace(SAFE, to_look_up=3)), Tone.WAITING, "Everything recorded is safe."),
        (_facts(figures=replace(FIGURES, disk_full=1800.0)), Tone.BAD, "The disk is full in 30 min."),
        (_facts(_failed(), services=AWAY), Tone.BAD, "1 recording failed."),
        (_facts(_failed(failed_for=FailedFor.DISPOSED)), Tone.GOOD, "Everything recorded until 12 s ago is safe."),
        (_facts(daemon=None, figures=None, services=()), Tone.BAD, "No daemon answers."),
    ],
)
def test_the_verdict_is_the_first_thing_that_matters(facts: Facts, tone: Tone, verdict: str) -> None:
    seen = view_of(facts)
    assert (seen.tone, seen.verdict) == (tone, verdict)


def test_the_verdict_of_a_failure_says_how_much_exists_only_here() -> None:
    assert view_of(_facts(_failed())).because == "10 MB are only on this disk."
    assert view_of(_facts(_failed(stored=100 * MB))).because == "What was sent is not finished."


def test_the_verdict_of_a_missing_file_says_nothing_of_the_bytes_of_others() -> None:
    gone = _failed(failed_for=FailedFor.SOURCE_MISSING, size_is_known=False)
    assert view_of(_facts(gone, _recording())).because == "Its file is missing."
    assert view_of(_facts(gone, gone)).because == "Their files are missing."


def test_a_missing_file_is_named_beside_a_service_that_is_away() -> None:
    view = view_of(_facts(_recording(), _recording("b", size_is_known=False), services=AWAY))
    assert view.because == "10 MB are only on this disk. 1 file missing."


def test_never_and_unknown_are_absent() -> None:
    seen = view_of(_facts(figures=replace(BEHIND, free=math.nan)))
    assert (seen.totals.catch_up_seconds, seen.disk.free, seen.disk.full_in_seconds) == (None, None, None)


# -- JSON --------------------------------------------------------------------------------------------------------------

DONE = DoneFacts("a\n.mp4", "a\n.mp4", 5, NOW)


@pytest.mark.parametrize(
    "facts",
    [
        _facts(),
        _facts(_recording(), _failed(failed_for=FailedFor.SOURCE_MISSING), done_last_day=1, done_newest=(DONE,)),
        _facts(_recording("one\udcff.mp4", status=None, stream_id=None, key=None), services=AWAY),
        _facts(_recording(started_at=NOW, trouble="x"), figures=replace(BEHIND, free=math.nan)),
        _facts(_recording(), daemon=None, figures=None, services=()),
    ],
)
def test_the_json_of_every_view_is_as_the_schema_says(facts: Facts) -> None:
    document = json.loads(json.dumps(status_json(view_of(facts)), allow_nan=False))
    jsonschema.validate(document, status_schema(), format_checker=jsonschema.FormatChecker())


def test_the_schema_refuses_what_is_no_view() -> None:
    jsonschema.Draft202012Validator.check_schema(status_schema())
    document = status_json(view_of(_facts(_recording())))
    for wrong in ({**document, "tone": "great"}, {**document, "schema_version": 2}, {**document, "totals": None}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, status_schema())
    del document["recordings"][0]["size"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, status_schema())


def test_every_name_of_the_corpus_is_shown_on_one_line_and_without_tricks() -> None:
    """No control character, no change of direction, and valid Unicode; no two are shown alike. Emoji keep the joiners
    inside them."""
    paths = [os.fsdecode(odd.path) for odd in RECORDINGS]
    shown = [seen.name for seen in view_of(_facts(*map(_recording, paths))).recordings]
    for name in shown:
        visible = name.replace("\u200d", "").replace("\u200c", "")
        assert {unicodedata.category(each) for each in visible}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"}), ascii(name)
        name.encode()
    assert len(set(shown)) == len(set(paths)) > 50


def test_the_json_has_the_exact_path_where_there_is_one() -> None:
    both = view_of(_facts(_recording("one\udcff.mp4"), _recording("two\n.mp4"))).recordings
    assert [(each.name, each.path) for each in both] == [("one\\xff.mp4", None), ("two\\n.mp4", "two\n.mp4")]
