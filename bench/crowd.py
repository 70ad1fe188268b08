"""Many recordings at once: those that lie ready, those that grow side by side, and those that close at one moment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .daemon import Daemon, running_daemon
from .place import BUCKET, Place, local_place
from .processes import GIB, MIB, ROOT, BenchError, children_cpu_seconds, cpu_seconds, resident_bytes
from .report import Row
from .rivals import Cost, Rival, find_rivals

#: Fewer for a quick look: BENCH_RECORDINGS=100.
_RECORDINGS = int(os.environ.get("BENCH_RECORDINGS", "1000"))
_SECONDS = 1200.0
_ROOM_BYTES = 4 * GIB
_SAMPLE = ROOT / "test_data" / "sample_faststart.mp4"
#: Milliseconds of CPU for each small recording, until its object, and with its document.
TARGET_OBJECT_MS, TARGET_ALL_MS = 12.0, 22.0
#: How many times as long as ``aws s3 cp --recursive`` the objects may take.
TARGET_READY, TARGET_CLOSED = 3.0, 5.0
TARGET_CORES, TARGET_MIB = 0.25, 200.0
_GROWING_SECONDS, _WRITES_A_SECOND, _BYTES_A_SECOND = 30.0, 5, 20_000


def measure(rounds: int) -> Iterator[Row]:
    """Ours and the others' take turns, on the same files."""
    rivals = find_rivals(with_rclone=True)
    with local_place(_ROOM_BYTES) as place:
        yield from _ready(place, rivals, rounds)
        yield from _growing(place, rivals)


# -- files that lie ready ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Crowd:
    """One run of ours: seconds until all objects and until all documents, CPU seconds of the daemon's process until
    then, and those of ffprobe's processes."""

    objects: float
    all: float
    object_cpu: float
    all_cpu: float
    ffprobe_cpu: float


def _ready(place: Place, rivals: Mapping[str, Rival], rounds: int) -> Iterator[Row]:
    sample = _SAMPLE.read_bytes()
    old = time.time() - 3600.0  # lately written files would count as growing
    for number in range(_RECORDINGS):
        # A box that no program reads makes each file another one.
        box = (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")
        path = place.files / f"{number:05}.mp4"
        path.write_bytes(sample + box)
        os.utime(path, (old, old))
    ours: list[Crowd] = []
    theirs: dict[str, list[Cost]] = {}
    for number in range(rounds):
        ours.append(_run(place))
        for name, cost in _theirs(place, rivals, place.files):
            theirs.setdefault(name, []).append(cost)
        print(f"  round {number + 1}: {ours[-1]} {[(name, costs[-1]) for name, costs in theirs.items()]}", flush=True)
    others = _medians(theirs)
    objects, described = median(run.objects for run in ours), median(run.all for run in ours)
    yield Row(
        f"{_RECORDINGS:,} small recordings lie ready, all objects",
        objects,
        "s",
        None,
        *_ratios(objects, others),
        f"from daemon_started, with two quiet seconds; documents {described:.0f} s{_told(others)}",
        failed=_is_missed(objects, others, TARGET_READY),
    )
    cpu = median(run.object_cpu for run in ours) / _RECORDINGS * 1e3
    yield Row("CPU of the daemon for each, until its object", cpu, "ms", TARGET_OBJECT_MS)
    yield Row(
        "CPU of the daemon for each, in all",
        median(run.all_cpu for run in ours) / _RECORDINGS * 1e3,
        "ms",
        TARGET_ALL_MS,
        remarks=f"and {median(run.ffprobe_cpu for run in ours) / _RECORDINGS * 1e3:.0f} ms of ffprobe itself",
    )


def _run(place: Place) -> Crowd:
    """All settings at their defaults; the files are in the folder before the start."""
    shutil.rmtree(place.watched)
    shutil.copytree(place.files, place.watched)
    with running_daemon(place.settings(), place.root) as daemon:
        began = daemon.wait_for("daemon_started", seconds=60)
        objects = daemon.wait_for("object_proved", seconds=_SECONDS, count=_RECORDINGS)
        done = daemon.wait_for("stream_completed", seconds=_SECONDS, count=_RECORDINGS)
        ffprobe = children_cpu_seconds(daemon.pid)
    _compare(place, place.watched)
    return Crowd(objects.at - began.at, done.at - began.at, objects.cpu - began.cpu, done.cpu - began.cpu, ffprobe)


def _compare(place: Place, folder: Path) -> None:
    """Each object has the bytes of its file. The bucket is empty afterwards."""
    for file in folder.iterdir():
        stored = place.objects / BUCKET / file.name
        if not stored.exists() or stored.read_bytes() != file.read_bytes():
            raise BenchError(f"the object of {file.name} is not the file")
    _empty(place)


def _empty(place: Place) -> None:
    for entry in (place.objects / BUCKET).iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


# -- files that grow, and close at one moment --------------------------------------------------------------------------


def _growing(place: Place, rivals: Mapping[str, Rival]) -> Iterator[Row]:
    shutil.rmtree(place.watched)
    place.watched.mkdir()
    settings = place.settings(STREAM_TIMEOUT_SECONDS="10")
    with running_daemon(settings, place.root) as daemon:
        daemon.settle()
        recorder = _recorder(place)
        try:
            daemon.wait_for("stream_started", seconds=_SECONDS, count=_RECORDINGS)
            time.sleep(5.0)  # what a new recording needs is over
            cores = _cores(daemon, _GROWING_SECONDS)
            assert recorder.stdin is not None
            recorder.stdin.close()
            recorder.wait(_SECONDS)
            closed = time.monotonic()
        finally:
            recorder.kill()
            recorder.wait()
        objects = daemon.wait_for("object_proved", seconds=_SECONDS, count=_RECORDINGS)
        daemon.wait_for("stream_completed", seconds=_SECONDS, count=_RECORDINGS)
        peak = resident_bytes(daemon.pid, peak=True) / MIB
    _compare(place, place.watched)
    yield Row(
        f"{_RECORDINGS:,} growing recordings",
        cores,
        "cores",
        TARGET_CORES,
        remarks=f"{_BYTES_A_SECOND / 1000:.0f} kB/s each in {_WRITES_A_SECOND} writes a second, no part is whole",
    )
    yield Row("memory for it, until all are objects", peak, "MiB", TARGET_MIB, remarks="peak")
    others = _medians({name: [cost] for name, cost in _theirs(place, rivals, place.watched)})
    quiet = 10.0
    seconds = objects.at - closed - quiet
    yield Row(
        "closed at one moment, all objects",
        seconds,
        "s",
        None,
        *_ratios(seconds, others),
        f"without {quiet:.0f} s of quiet{_told(others)}",
        failed=_is_missed(seconds, others, TARGET_CLOSED),
    )


_RECORDER = """
import os, sys, threading, time
folder, many, each, writes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
files = [open(f"{folder}/{number:05}.mp4", "wb", buffering=0) for number in range(many)]
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
piece, began, written = os.urandom(each // writes), time.monotonic(), 0
while not ended.is_set():
    for number, file in enumerate(files):
        file.write(number.to_bytes(4, "big") + piece[4:])
    written += 1
    time.sleep(max(0.0, began + written / writes - time.monotonic()))
for file in files:
    file.close()
"""


def _recorder(place: Place) -> subprocess.Popen[bytes]:
    """Writes all files side by side until its standard input is closed."""
    figures = map(str, (_RECORDINGS, _BYTES_A_SECOND, _WRITES_A_SECOND))
    return subprocess.Popen([sys.executable, "-c", _RECORDER, str(place.watched), *figures], stdin=subprocess.PIPE)


def _cores(daemon: Daemon, seconds: float) -> float:
    before, began = cpu_seconds(daemon.pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(daemon.pid) - before) / (time.monotonic() - began)


# -- the others --------------------------------------------------------------------------------------------------------


def _theirs(place: Place, rivals: Mapping[str, Rival], folder: Path) -> Iterator[tuple[str, Cost]]:
    """Each copies the whole folder; and a script that copies one file after the other, as people write them."""
    for name, rival in rivals.items():
        yield name, rival.copy_folder(place, folder)
        _empty(place)
    one_by_one = rivals.get("s5cmd")
    if one_by_one is not None:
        costs = [one_by_one.copy(place, file, file.name) for file in sorted(folder.iterdir())]
        yield "a loop over s5cmd cp", Cost(sum(cost.cpu for cost in costs), sum(cost.wall for cost in costs))
        _empty(place)


def _medians(costs: Mapping[str, list[Cost]]) -> dict[str, Cost]:
    return {
        name: Cost(median(cost.cpu for cost in each), median(cost.wall for cost in each))
        for name, each in costs.items()
    }


def _ratios(seconds: float, others: Mapping[str, Cost]) -> tuple[float | None, float | None]:
    aws, s5cmd = others.get("aws"), others.get("s5cmd")
    return seconds / aws.wall if aws else None, seconds / s5cmd.wall if s5cmd else None


def _is_missed(seconds: float, others: Mapping[str, Cost], target: float) -> bool:
    ratio, _ = _ratios(seconds, others)
    return ratio is not None and ratio > target


def _told(others: Mapping[str, Cost]) -> str:
    return "".join(f"; {name} {cost.wall:.1f} s, {cost.cpu:.1f} of CPU" for name, cost in others.items())
