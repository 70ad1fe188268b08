"""States of a daemon for what shows them: made from facts, as the daemon's own are."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from src.domain import FailedFor, Figures, Risk, Status
from src.page import Sample
from src.status import DaemonFacts, DoneFacts, Facts, RecorderFacts, RecordingFacts, ServiceFacts, StatusView, view_of
from tests.corpus.names import RECORDINGS

NOW = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
SINCE = NOW - timedelta(minutes=41)
MIB = 1024 * 1024
DAEMON = DaemonFacts("0.2.0", 4711, NOW - timedelta(days=3, hours=4), "/srv/recordings", "video-streams", "")
SERVICES = tuple(ServiceFacts(name, True, SINCE) for name in ("s3", "redis", "watched_folder"))


def figures(recordings: Sequence[RecordingFacts], **changes: Any) -> Figures:
    """Of recordings that are uploaded as fast as they grow."""
    total = Risk(
        sum(each.risk.bytes for each in recordings),
        sum(each.risk.seconds for each in recordings),
        max((each.risk.oldest for each in recordings), default=0.0),
    )
    usual = Figures(
        total=total,
        streams={},
        to_look_up=0,
        backlog=sum(each.sendable for each in recordings),
        ingest=2_275_000.0 if recordings else 0.0,
        uplink=5_500_000.0,
        sent=2_200_000.0 if recordings else 0.0,
        catch_up=0.4 if recordings else 0.0,
        free=340e9,
        disk_full=340e9 / 2_275_000 if recordings else math.inf,
    )
    return replace(usual, **changes)


def growing(path: str, number: int = 0, **changes: Any) -> RecordingFacts:
    """A recording of which the last seconds are at risk."""
    size = 2_140_000_000 // (1 + number % 7)
    missing = 1_500_000 + 900_000 * (number % 9)
    usual = RecordingFacts(
        path=path,
        size=size,
        stored=size - missing,
        sendable=0,
        risk=Risk(missing, missing / 2_275_000, 1.0 + number % 9),
        stream_id=f"{number * 7919 + 40503:032x}"[::-1],
        status=Status.ACTIVE,
        key=path,
        parts=200 // (1 + number % 7),
        started_at=NOW - timedelta(minutes=15),
    )
    return replace(usual, **changes)


def failed(path: str, number: int = 0, *, missing: bool = True) -> RecordingFacts:
    """A recording that waits for its file, of which only what S3 has is known, or for somebody."""
    stored = 1_300_000_000 // (1 + number % 7)
    if missing:
        return growing(
            path,
            number,
            size=stored,
            stored=stored,
            size_is_known=False,
            risk=Risk(),
            status=Status.FAILED,
            failed_for=FailedFor.SOURCE_MISSING,
            failure="source_missing",
        )
    return growing(
        path,
        number,
        stored=stored,
        risk=Risk(840_000_000 // (1 + number % 7), 369.0, 2460.0),
        status=Status.FAILED,
        failed_for=FailedFor.OTHER,
        failure="the store refused the part: AccessDenied",
        hint="Give the key the right s3:PutObject on this bucket.",
    )


def state(
    recordings: Sequence[RecordingFacts], services: Sequence[ServiceFacts] = SERVICES, **changes: Any
) -> StatusView:
    """The view of a running daemon; ``changes`` are those of the figures."""
    return view_of(facts(recordings, services, **changes))


def facts(
    recordings: Sequence[RecordingFacts],
    services: Sequence[ServiceFacts] = SERVICES,
    recorders: Sequence[RecorderFacts] = (),
    **changes: Any,
) -> Facts:
    """What the view is made from."""
    done = (DoneFacts("cam1/0700.mp4", "cam1/0700.mp4", 2_000_000_000, NOW - timedelta(minutes=4)),)
    return Facts(
        at=NOW,
        daemon=DAEMON,
        recordings=recordings,
        services=services,
        figures=figures(recordings, **changes),
        done_last_day=137,
        done_newest=done,
        recorders=recorders,
    )


def usual() -> StatusView:
    """Three recordings of an ordinary hour, one of them ready to be completed."""
    ending = growing("obs/talk about nothing.mp4", 5, status=Status.PENDING_COMPLETION, sendable=9_000_000)
    return state([growing("cam1/2026-11-28T12-00-00.mp4", 3), growing("cam2/2026-11-28T12-00-00.mp4", 1), ending])


def troubled() -> StatusView:
    """Two recordings failed and the store is away."""
    away = ServiceFacts("s3", False, NOW - timedelta(seconds=75), "no answer; see the log")
    recordings = [
        failed("cam2/gate.mp4", 1),
        failed("studio/take 3.mp4", 2, missing=False),
        growing("cam1/2026-11-28T12-00-00.mp4", 3, sendable=30_000_000),
        growing("obs/talk about nothing.mp4", 5, sendable=12_000_000),
    ]
    return state(recordings, [away, *SERVICES[1:]], uplink=0.0, sent=0.0, catch_up=math.inf)


def idle() -> StatusView:
    """Nothing to do."""
    return state([])


def crowd(number: int = 200, failures: int = 3) -> StatusView:
    """Many recordings."""
    paths = [f"cam{n % 12:02}/2026-11-28T{n // 12:02}-00-00.mp4" for n in range(number)]
    return state([failed(p, n) if n < failures else growing(p, n) for n, p in enumerate(paths)])


def odd() -> StatusView:
    """All names that hurt; every third of them failed."""
    paths = [os.fsdecode(each.path) for each in RECORDINGS]
    return state([failed(p, n) if n % 12 == 0 else growing(p, n) for n, p in enumerate(paths)])


def hour(now: float) -> list[Sample]:
    """An hour with an outage of the store of two minutes, half an hour ago."""
    samples = []
    for n in range(361):
        recorded = 2_275_000 + 240_000 * math.sin(n / 23) + 90_000 * math.sin(n * 1.7)
        behind = 180 <= n < 192
        caught_up = 192 <= n < 206
        uploaded = 0.0 if behind else 4_900_000.0 if caught_up else recorded * 0.99
        samples.append(Sample(now - 3600 + 10 * n, recorded, uploaded))
    return samples
