"""Recorders that close a segment every few seconds, for hours: how far behind are objects and descriptions?"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from .daemon import Daemon, running_daemon
from .place import Place, local_place
from .processes import GIB, ROOT, children_cpu_seconds, cpu_seconds
from .report import Row

#: A shorter look: BENCH_SECONDS=60.
_SECONDS = float(os.environ.get("BENCH_SECONDS", "600"))
_A_SECOND = 5
_SAMPLE = ROOT / "test_data" / "sample_faststart.mp4"
_PATIENCE_SECONDS = 600.0
TARGET_OBJECTS, TARGET_DOCUMENTS, TARGET_CORES = 15.0, 60.0, 1.0


def measure(_rounds: int) -> Iterator[Row]:
    """All settings at their defaults."""
    count = int(_SECONDS * _A_SECOND)
    with local_place(2 * GIB) as place, running_daemon(place.settings(), place.root) as daemon:
        daemon.settle()
        cpu, ffprobe = cpu_seconds(daemon.pid), children_cpu_seconds(daemon.pid)
        closed = _record(place, count)
        daemon.wait_for("stream_completed", seconds=_PATIENCE_SECONDS, count=count)
        cpu, ffprobe = cpu_seconds(daemon.pid) - cpu, children_cpu_seconds(daemon.pid) - ffprobe
        objects, documents = _behind(daemon, "object_proved", closed), _behind(daemon, "stream_completed", closed)
    load = f"load {os.getloadavg()[0]:.1f}"
    told = f"{count:,} closed in {_SECONDS:.0f} s; median {objects[count // 2]:.1f} s; {load}"
    yield Row(f"{_A_SECOND} segments a second, object behind its close", objects[-1], "s", TARGET_OBJECTS, remarks=told)
    told = f"at most; median {documents[count // 2]:.1f} s"
    yield Row("description behind the close", documents[-1], "s", TARGET_DOCUMENTS, remarks=told)
    told = f"daemon {cpu / count * 1e3:.0f} ms and ffprobe {ffprobe / count * 1e3:.0f} ms for each"
    yield Row("CPU for it, ffprobe included", (cpu + ffprobe) / _SECONDS, "cores", TARGET_CORES, remarks=told)


def _record(place: Place, count: int) -> dict[str, float]:
    """Copies of one MP4, each another file, at a steady rate. When each was closed, by name."""
    sample, closed = _SAMPLE.read_bytes(), {}
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / _A_SECOND - time.monotonic()))
        name = f"{number:05}.mp4"
        _write(place.watched / name, sample, number)
        closed[name] = time.monotonic()
    return closed


def _write(path: Path, sample: bytes, number: int) -> None:
    with path.open("wb") as file:
        file.write(sample)
        file.write((16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big"))  # a box that no program reads


def _behind(daemon: Daemon, event: str, closed: dict[str, float]) -> list[float]:
    """Seconds from each close to the event, in ascending order."""
    return sorted(each.at - closed[str(each.fields["file_path"])] for each in daemon.events(event))
