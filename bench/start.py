"""A start beside a huge folder of finished files: when has a live recording its first part in S3?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import redis

from src.domain import Marker, PartSchedule
from src.redis_client.format import encode_marker
from src.redis_client.names import marker_field
from src.watcher import RecordingFiles

from .daemon import running_daemon
from .place import BUCKET, Place, local_place
from .processes import GIB, MIB, dies_with_us, resident_bytes
from .report import Row

#: Fewer for a quick look: BENCH_FILES=10000.
_FILES = int(os.environ.get("BENCH_FILES", "100000"))
_OLD_SECONDS = 86_400.0
_AT_ONCE = 1_000
_LIVE = "live.mp4"
_SECONDS = 300.0
TARGET_KEPT, TARGET_WIPED = 10.0, 60.0

_RECORDER = """
import os, sys, time
piece = os.urandom(500_000)
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        file.write(piece)
        time.sleep(0.2)
"""


def measure(_rounds: int) -> Iterator[Row]:
    """All settings at their defaults. The recording has been growing by 2.5 MB a second before the start."""
    with local_place(4 * GIB) as place:
        settings = place.settings()
        _finished_files(place, settings["REDIS_KEY_PREFIX"])
        for state, target, more in (("kept", TARGET_KEPT, {}), ("wiped", TARGET_WIPED, {"REDIS_KEY_PREFIX": "wiped:"})):
            seconds, peak = _first_part(place, {**settings, **more})
            remarks = f"from daemon_started; {peak:.0f} MiB then; load {os.getloadavg()[0]:.1f}"
            if state == "wiped":
                remarks += "; the store has none of them"
            yield Row(
                f"first part beside {_FILES:,} finished files, Redis {state}", seconds, "s", target, None, None, remarks
            )


def _first_part(place: Place, settings: Mapping[str, str]) -> tuple[float, float]:
    live = place.watched / _LIVE
    recorder = subprocess.Popen([*dies_with_us(), sys.executable, "-c", _RECORDER, str(live)])
    try:
        time.sleep(2.0)
        with running_daemon(settings, place.root) as daemon:
            began = daemon.wait_for("daemon_started", seconds=60)
            until = time.monotonic() + _SECONDS
            count = 1
            while True:  # other recordings may be first
                part = daemon.wait_for("part_stored", seconds=until - time.monotonic(), count=count)
                if part.fields["file_path"] == _LIVE:
                    return part.at - began.at, resident_bytes(daemon.pid, peak=True) / MIB
                count += 1
    finally:
        recorder.kill()
        recorder.wait()
        live.unlink()


def _finished_files(place: Place, prefix: str) -> None:
    """Small files of yesterday, and in Redis their markers, as ``finish`` leaves them."""
    files, old = RecordingFiles(place.watched, in_memory_limit=MIB), time.time() - _OLD_SECONDS
    admin = redis.Redis.from_url(place.redis_url)
    for first in range(0, _FILES, _AT_ONCE):
        pipe = admin.pipeline(transaction=False)
        for number in range(first, min(first + _AT_ONCE, _FILES)):
            marker = _marker(files, place.watched, number, old)
            pipe.hset(f"{prefix}streams:markers", marker_field(marker.snapshot.identity), encode_marker(marker))
            pipe.sadd(f"{prefix}streams:completed", marker.stream_id)
        pipe.execute()


def _marker(files: RecordingFiles, folder: Path, number: int, old: float) -> Marker:
    name = f"{number // _AT_ONCE:03}/{number:06}.mp4"
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(number.to_bytes(8, "big") * 16)
    os.utime(path, (old, old))
    snapshot = files.stat(name)
    assert snapshot is not None
    began = snapshot.identity.born_at
    assert began is not None
    return Marker(
        stream_id=f"{number:032x}",
        path=name,
        bucket=BUCKET,
        key=name,
        snapshot=snapshot,
        crc64=number,
        etag=f"{number:032x}",
        schedule=PartSchedule(10 * MIB, growing=True, step=1_000),
        started_at=began,
        completed_at=began,
    )
