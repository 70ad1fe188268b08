"""The longest single callback of the event loop while a finished file is uploaded, sealed and completed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from .daemon import Daemon, running_daemon, until
from .place import Place, local_place
from .processes import MIB
from .report import Row

#: By ``cpu`` and by ``wall`` (clock): milliseconds and name of the longest callbacks.
Report = dict[str, list[tuple[float, str]]]

TARGET_MILLISECONDS = 20.0
_FILE_BYTES = 512 * MIB
_CASES = ((10, "off"), (10, "on"), (64, "off"), (64, "on"))
#: A long recording: one full page of the store's listing.
_MANY_PARTS, _SMALLEST_PART_MIB = 1_000, 5


def measure(rounds: int) -> Iterator[Row]:
    """The CPU time of the callback, because wall-clock time includes other work of the machine."""
    with local_place() as place:
        file = place.make_file("ready.mp4", _FILE_BYTES)
        for part_mib, signing in _CASES:
            reports = [_upload(place, file, part_mib, signing) for _ in range(max(1, rounds // 2))]
            yield _row(f"longest callback, {part_mib} MiB parts, signing {signing}", reports)
        long = place.make_sparse_file("long.mp4", _MANY_PARTS * _SMALLEST_PART_MIB * MIB)
        yield _row(f"longest callback, {_MANY_PARTS:,} parts", [_upload(place, long, _SMALLEST_PART_MIB, "auto")])


def _row(what: str, reports: Sequence[Report]) -> Row:
    longest, where = max(_longest(report, "cpu") for report in reports)
    wall, _ = max(_longest(report, "wall") for report in reports)
    remarks = f"CPU time, start-up not; by the clock {wall:.0f}; in {where}"
    return Row(what, longest, "ms", TARGET_MILLISECONDS, remarks=remarks)


def _longest(report: Report, by: str) -> tuple[float, str]:
    milliseconds, name = report[by][0]
    return milliseconds, name


def _upload(place: Place, file: Path, part_mib: int, signing: str) -> Report:
    name = f"{part_mib}-{signing}.mp4"
    report = place.root / "callbacks.json"
    settings = place.settings(
        BENCH_REPORT=str(report),
        CHUNK_SIZE_BYTES=str(part_mib * MIB),
        S3_PAYLOAD_SIGNING=signing,
        STREAM_TIMEOUT_SECONDS="2",
    )
    with running_daemon(settings, place.root, module="bench.instrumented") as daemon:
        daemon.settle()
        _take_report(daemon, report)  # excludes the start
        place.drop(file, name)
        daemon.wait_for("stream_completed", seconds=180)
        found = _take_report(daemon, report)
    place.forget(name)
    return found


def _take_report(daemon: Daemon, path: Path) -> Report:
    path.unlink(missing_ok=True)
    os.kill(daemon.pid, signal.SIGUSR1)
    until(path.exists, seconds=10, what="the report of the callbacks")
    found: Report = json.loads(path.read_text())
    return found
