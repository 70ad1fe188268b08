"""Many recordings that grow side by side and have parts in S3 meanwhile: what more than their bytes do they cost?"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from .daemon import Daemon, running_daemon
from .place import BUCKET, Place, local_place
from .processes import GIB, MIB, BenchError, cpu_seconds, dies_with_us, resident_bytes
from .report import Row

#: Fewer for a quick look: BENCH_RECORDINGS=200. 1,000 take 42 GB of disk.
_RECORDINGS = int(os.environ.get("BENCH_RECORDINGS", "1000"))
_BYTES_A_SECOND, _SECONDS, _SPREAD_SECONDS = 100_000, 200, 60
_PATIENCE_SECONDS = 1800.0
TARGET_CORES, TARGET_MIB = 0.25, 200.0

_RECORDER = """
import os, sys, time
folder, many, rate, seconds, spread = sys.argv[1], *map(int, sys.argv[2:])
piece, began, files = os.urandom(rate), time.monotonic(), {}
for second in range(seconds + spread):
    for number in range(many):
        first = number * spread // many
        if second == first:
            files[number] = open(f"{folder}/{number:05}.mp4", "wb", buffering=0)
        if first <= second < first + seconds:
            files[number].write(number.to_bytes(4, "big") + second.to_bytes(4, "big") + piece[8:])
        if second == first + seconds - 1:
            files.pop(number).close()
    time.sleep(max(0.0, began + second + 1 - time.monotonic()))
"""


def measure(_rounds: int) -> Iterator[Row]:
    """Parts of 5 MiB; what 1 GiB in one file costs is measured first, by the same daemon."""
    size = _RECORDINGS * _BYTES_A_SECOND * _SECONDS
    settings = {"CHUNK_SIZE_BYTES": str(5 * MIB), "STREAM_TIMEOUT_SECONDS": "10"}
    with local_place(2 * size + 4 * GIB) as place, running_daemon(place.settings(**settings), place.root) as daemon:
        daemon.settle()
        of_bytes = _cost_of_one_file(place, daemon) * size / GIB
        before, began = cpu_seconds(daemon.pid), time.monotonic()
        figures = map(str, (_RECORDINGS, _BYTES_A_SECOND, _SECONDS, _SPREAD_SECONDS))
        subprocess.run([*dies_with_us(), sys.executable, "-c", _RECORDER, str(place.watched), *figures], check=True)
        fewest = _fewest_parts(daemon, began)
        daemon.wait_for("object_proved", seconds=_PATIENCE_SECONDS, count=_RECORDINGS + 1)
        spent = cpu_seconds(daemon.pid) - before
        peak = resident_bytes(daemon.pid, peak=True) / MIB
        _compare(place)
    cores = (spent - of_bytes) / (_SECONDS + _SPREAD_SECONDS)
    yield Row(
        f"{_RECORDINGS:,} growing by 100 kB a second, beyond their bytes",
        cores,
        "cores",
        TARGET_CORES * _RECORDINGS / 1000,
        remarks=f"{spent:.0f} s of CPU, {of_bytes:.0f} s for the same bytes in one file; "
        f"at least {fewest} parts of each while it grew; load {os.getloadavg()[0]:.1f}",
        failed=fewest < 2,
    )
    yield Row("memory for it", peak, "MiB", TARGET_MIB, remarks="peak, until all are objects")


def _cost_of_one_file(place: Place, daemon: Daemon) -> float:
    file = place.make_file("one.mp4", GIB)
    before = cpu_seconds(daemon.pid)
    place.drop(file, "one.mp4")
    daemon.wait_for("stream_completed", seconds=_PATIENCE_SECONDS)
    spent = cpu_seconds(daemon.pid) - before
    place.forget("one.mp4")
    file.unlink()
    return spent


def _fewest_parts(daemon: Daemon, began: float) -> int:
    """Of all recordings, the smallest number of parts that were stored before the last write."""
    found = dict.fromkeys((f"{number:05}.mp4" for number in range(_RECORDINGS)), 0)
    for event in daemon.events("part_stored"):
        name = str(event.fields["file_path"])
        if name in found and event.at < began + int(name[:5]) * _SPREAD_SECONDS // _RECORDINGS + _SECONDS:
            found[name] += 1
    return min(found.values())


def _compare(place: Place) -> None:
    """Each object has the bytes of its file."""
    for file in place.watched.iterdir():
        stored = place.objects / BUCKET / file.name
        same = ["cmp", "--silent", str(file), str(stored)]
        if subprocess.run(same, check=False).returncode != 0:
            raise BenchError(f"the object of {file.name} is not the file")
    shutil.rmtree(place.objects / BUCKET, ignore_errors=True)
