"""How long ``verify`` takes for 10,000 objects at level ``checksum``, beside a daemon that is recording."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import redis

from src.domain import Identity
from src.redis_client.format import decode_marker, encode_marker
from src.redis_client.names import MARKERS, identity_of_field, marker_field

from .daemon import running_daemon, until
from .place import BUCKET, Place, local_place
from .processes import BenchError, plain_environment
from .report import Row

TARGET_SECONDS = 60.0
_OBJECTS = 10_000
_FIRST = "first.mp4"
_SIZE = 4096


def measure(_rounds: int) -> Iterator[Row]:
    """With what Redis remembers, as beside any running daemon: a HEAD for each object; VersityGW on loopback."""
    with local_place() as place:
        settings = {**place.settings(), "STREAM_TIMEOUT_SECONDS": "1"}
        (place.watched / _FIRST).write_bytes(os.urandom(_SIZE))
        with running_daemon(settings, place.root) as daemon:
            daemon.wait_for("stream_completed", seconds=60)
            _multiply(place)
            _remember(place, settings["REDIS_KEY_PREFIX"])
            growing = place.watched / "growing.mp4"
            with growing.open("wb", buffering=0) as file:
                file.write(os.urandom(1024 * 1024))
                began = time.monotonic()
                report = _verified(settings, place)
                elapsed = time.monotonic() - began
            daemon.settle()
            until(lambda: bool(daemon.events("stream_completed")[1:]), seconds=60, what="the recording is completed")
        if report["counts"].keys() != {"ok"} or report["counts"]["ok"] < _OBJECTS:
            raise BenchError(f"not all was proved: {report['counts']}, {report['findings'][:2]}")
    yield Row(
        f"verify, {_OBJECTS:,} objects, checksum",
        elapsed,
        "s",
        TARGET_SECONDS,
        remarks="a listing and a HEAD each, beside a daemon with an open recording",
    )


def _multiply(place: Place) -> None:
    """Copies of the object and of its document, on the store's disk, with all that the store knows of them."""
    bucket = place.objects / BUCKET
    for number in range(1, _OBJECTS):
        path = bucket / _key(number)
        path.parent.mkdir(exist_ok=True)
        for suffix in ("", ".metadata.json"):
            shutil.copy2(bucket / f"{_FIRST}{suffix}", f"{path}{suffix}")


def _remember(place: Place, prefix: str) -> None:
    """Markers for all of them, made from that of the first."""
    admin = redis.Redis.from_url(place.redis_url)
    name = f"{prefix}{MARKERS.decode()}"
    held: dict[bytes, bytes] = admin.hgetall(name)  # type: ignore[assignment]  # decoded only if asked for
    ((field, raw),) = held.items()
    first = decode_marker(identity_of_field(field), raw)
    pipe = admin.pipeline(transaction=False)
    for number in range(1, _OBJECTS):
        identity = Identity(first.snapshot.identity.inode + number, first.snapshot.identity.birth_ns)
        snapshot = replace(first.snapshot, identity=identity)
        marker = replace(first, key=_key(number), path=_key(number), snapshot=snapshot)
        pipe.hset(name, marker_field(identity), encode_marker(marker))
    pipe.execute()


def _key(number: int) -> str:
    return f"camera-{number % 50:02}/{number:05}.mp4"


def _verified(settings: dict[str, str], place: Place) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "src", "verify", "--json"],
        cwd=place.root,
        env=plain_environment(**settings),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, 3):
        raise BenchError(f"verify ended with {done.returncode}: {done.stderr[-300:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report
