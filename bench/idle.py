"""CPU at rest with 1,000 finished files in the folder, after a restart with Redis kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from .daemon import running_daemon
from .place import Place, local_place
from .processes import BenchError, cpu_seconds
from .report import Row

TARGET_PERCENT = 0.5
_FILES = 1_000
_MEASURED_SECONDS = 60.0


def measure(_rounds: int) -> Iterator[Row]:
    """All settings at their defaults in the run that is measured."""
    with local_place() as place:
        settings = place.settings()
        _finish_files(place, settings)
        with running_daemon(settings, place.root) as daemon:
            daemon.settle()
            before, began = cpu_seconds(daemon.pid), time.monotonic()
            time.sleep(_MEASURED_SECONDS)
            used, elapsed = cpu_seconds(daemon.pid) - before, time.monotonic() - began
            if daemon.events("stream_started"):
                raise BenchError("a finished file was taken up again after the restart")
    yield Row(
        f"CPU at rest, {_FILES:,} finished files",
        100 * used / elapsed,
        "%",
        TARGET_PERCENT,
        remarks=f"of one core over {elapsed:.0f} s ({used:.2f} s), after a restart, Redis kept, none sent again",
    )


def _finish_files(place: Place, settings: Mapping[str, str]) -> None:
    """Small files without ffprobe, since only the time afterwards is measured."""
    for number in range(_FILES):
        (place.watched / f"{number:04}.mp4").write_bytes(number.to_bytes(4, "big") * 256)
    quick = {**settings, "STREAM_TIMEOUT_SECONDS": "1", "FFPROBE_PATH": "no-ffprobe"}
    with running_daemon(quick, place.root) as daemon:
        daemon.wait_for("stream_completed", seconds=180, count=_FILES)
