"""Memory: of the idle daemon, and the maximum while 200 recordings grow until all are completed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

from src.config import Settings

from .daemon import Daemon, running_daemon
from .place import local_place
from .processes import MIB, resident_bytes
from .report import Row

_RECORDINGS = 200
#: Each recording becomes two whole chunks and a tail.
_RECORDED_BYTES = 24 * MIB
_WRITE_BYTES = 256 * 1024
#: Bytes per second of all recordings together: more than the daemon can send, so that all slots are in use.
_RATE = 400 * MIB
_QUIET_SECONDS = "5"
TARGET_BASE_MIB = 120


def measure(_rounds: int) -> Iterator[Row]:
    """Slots, parts in flight and part size have their defaults."""
    in_flight = _default("max_concurrent_streams") * _default("parts_in_flight") * _default("chunk_size_bytes") / MIB
    settings = {"STREAM_TIMEOUT_SECONDS": _QUIET_SECONDS}
    with local_place() as place, running_daemon(place.settings(**settings), place.root) as daemon:
        daemon.settle()
        at_rest = resident_bytes(daemon.pid)
        _record(str(place.watched))
        while_open = resident_bytes(daemon.pid, peak=True)
        open_streams = len(daemon.events("stream_started")) - len(daemon.events("stream_completed"))
        daemon.wait_for("stream_completed", seconds=180, count=_RECORDINGS)
        peak = resident_bytes(daemon.pid, peak=True)
        again = _after_rest(daemon)
    yield Row("memory at rest after start", at_rest / MIB, "MiB", remarks=f"{again / MIB:.0f} MiB after all of it")
    yield Row(
        f"memory, {_RECORDINGS} recordings open",
        max(while_open, peak) / MIB,
        "MiB",
        TARGET_BASE_MIB + in_flight,
        remarks=f"peak; {while_open / MIB:.0f} while {open_streams} grew, {peak / MIB:.0f} to the last completed; "
        f"target {TARGET_BASE_MIB} + {in_flight:.0f} in flight",
    )


def _default(name: str) -> int:
    return int(Settings.model_fields[name].default)


def _record(folder: str) -> None:
    """All recordings grow side by side, a little at a time, at the pace of ``_RATE``."""
    noise = os.urandom(_WRITE_BYTES)
    with ExitStack() as stack:
        files = [
            stack.enter_context(open(os.path.join(folder, f"{number:03}.mp4"), "wb", buffering=0))
            for number in range(_RECORDINGS)
        ]
        began, written = time.monotonic(), 0
        for turn in range(_RECORDED_BYTES // _WRITE_BYTES):
            for number, file in enumerate(files):
                file.write(turn.to_bytes(4, "big") + number.to_bytes(4, "big") + noise[8:])
                written += _WRITE_BYTES
                time.sleep(max(0.0, began + written / _RATE - time.monotonic()))


def _after_rest(daemon: Daemon) -> int:
    """Buffers are kept for a while, and should be released afterwards."""
    time.sleep(12)
    return resident_bytes(daemon.pid)
