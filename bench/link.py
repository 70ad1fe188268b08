"""Time from the recorder's last write until the object is readable, with a link of 100 Mbit/s.

The daemon has been uploading while the recorder wrote; the rivals start at the last write. The recorder behaves like
ordinary MP4 recorders: its last write patches the head, so that the first part is sent again. The store is at the other
end of the wire and not on loopback, so that payload signing (``auto``) is on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.harness.servers import ToolMissing, find_tool

from .daemon import Daemon, running_daemon
from .network import SERVER_ADDRESS, Wire, slow_wire
from .place import BUCKET, Place, new_folder
from .processes import GIB, MIB, BenchError, dies_with_us, end, plain_environment
from .report import Row
from .rivals import Rival, find_rivals

_MBIT = 100
#: Sixteen whole parts, and a tail that waits for the end.
_RECORDED_BYTES = 164 * MIB
#: Seconds from the last write of a recording of this size until its completion is sent, without the quiet time.
_LONG_BYTES, TARGET_LONG_SECONDS = GIB, 2.5
_RECORDER_BYTES_A_SECOND = 40_000_000 / 8
_WRITE_BYTES = 256 * 1024
_SHORT_QUIET, _DEFAULT_QUIET = "5", "30"
_SECONDS = 120.0
_S3_PORT, _REDIS_PORT = 9000, 6379


def measure(rounds: int) -> Iterator[Row]:
    """The default timeout is measured once, since it only adds up; a shorter one as often as the rivals."""
    rivals = find_rivals()
    theirs: dict[str, list[float]] = {name: [] for name in rivals}
    ours: list[tuple[float, float]] = []
    with slow_wire(_MBIT) as wire, _far_place(wire) as place:
        for number in range(max(1, rounds // 2)):
            ours.append(_ours(place, wire, f"short-{number}.mp4", _SHORT_QUIET))
            recorded = place.watched / f"short-{number}.mp4"
            for name, rival in rivals.items():
                theirs[name].append(_theirs(place, wire, rival, recorded))
            print(f"  round {number + 1}: ours {ours[-1][0]:.1f} s; {_listed(theirs)}", flush=True)
        default, _ = _ours(place, wire, "default.mp4", _DEFAULT_QUIET)
    yield from _rows(ours, default, theirs)


def measure_long(rounds: int) -> Iterator[Row]:
    """The same for 1 GiB, without the others: until the completion is sent, since its answer is the store's work."""
    with slow_wire(_MBIT) as wire, _far_place(wire) as place:
        seconds = [_until_sealed(place, wire, f"long-{number}.mp4") for number in range(max(1, rounds // 2))]
    yield Row(
        "last write until the completion is sent, 1 GiB",
        median(seconds),
        "s",
        TARGET_LONG_SECONDS,
        remarks=f"without the quiet time; recorded at 40 Mbit/s; load {os.getloadavg()[0]:.1f}",
    )


def _until_sealed(place: Place, wire: Wire, name: str) -> float:
    settings = place.settings(STREAM_TIMEOUT_SECONDS=_SHORT_QUIET)
    with running_daemon(settings, place.root, prefix=wire.client) as daemon:
        daemon.settle()
        _record(place.watched / name, _LONG_BYTES)
        last_write = time.monotonic()
        sealed = daemon.wait_for("stream_sealed", seconds=_SECONDS)
        waited = _waited_for_quiet(daemon, last_write)
        daemon.wait_for("stream_completed", seconds=_SECONDS)
    place.forget(name)
    return sealed.at - last_write - waited


def _rows(ours: Sequence[tuple[float, float]], default: float, theirs: Mapping[str, Sequence[float]]) -> Iterator[Row]:
    figures = (
        ("without the quiet time", median(work for _, work in ours), "tail, sent again, seal, completion"),
        (f"STREAM_TIMEOUT_SECONDS={_SHORT_QUIET}", median(total for total, _ in ours), ""),
        ("default settings (30 s quiet)", default, "measured once"),
    )
    told = f"{_RECORDED_BYTES // MIB} MiB recorded at 40 Mbit/s, signing auto = on; {_listed(theirs)}"
    for what, seconds, remarks in figures:
        ratios = {name: seconds / median(times) for name, times in theirs.items()}
        yield Row(
            f"last write to readable, {what}",
            seconds,
            "s",
            None,
            ratios.get("aws"),
            ratios.get("s5cmd"),
            f"{remarks}; {told}" if remarks else told,
        )


def _listed(theirs: Mapping[str, Sequence[float]]) -> str:
    return ", ".join(f"{name} {median(times):.1f} s" for name, times in theirs.items())


def _ours(place: Place, wire: Wire, name: str, quiet: str) -> tuple[float, float]:
    """Seconds from the last write to the object, and the part of them after the timeout."""
    settings = place.settings(STREAM_TIMEOUT_SECONDS=quiet)
    with running_daemon(settings, place.root, prefix=wire.client) as daemon:
        daemon.settle()
        with _eyes_on(place, wire, name) as eyes:
            _record(place.watched / name)
            last_write = time.monotonic()
            readable = _answer(eyes)
        waited = _waited_for_quiet(daemon, last_write)
    return readable - last_write, readable - last_write - waited


def _waited_for_quiet(daemon: Daemon, last_write: float) -> float:
    return max(0.0, daemon.events("stream_went_idle")[-1].at - last_write)


def _theirs(place: Place, wire: Wire, rival: Rival, file: Path) -> float:
    """Seconds from the start of the copy to the object."""
    key = f"{rival.name}-{os.urandom(4).hex()}.mp4"
    with _eyes_on(place, wire, key) as eyes:
        began = time.monotonic()
        copy = rival.start(place, file, key, prefix=wire.client)
        try:
            return _answer(eyes) - began
        finally:
            end(copy)
            if copy.stderr is not None:
                copy.stderr.close()


def _record(path: Path, size: int = _RECORDED_BYTES) -> None:
    """A recorder at a steady rate, whose last write patches four bytes of the head."""
    noise = os.urandom(_WRITE_BYTES)
    with path.open("wb", buffering=0) as file:
        began = time.monotonic()
        for number in range(size // _WRITE_BYTES):
            file.write(number.to_bytes(8, "big") + noise[8:])
            time.sleep(max(0.0, began + file.tell() / _RECORDER_BYTES_A_SECOND - time.monotonic()))
        file.seek(36)
        file.write(b"\x01\x02\x03\x04")


# -- the store's end ---------------------------------------------------------------------------------------------------


@contextmanager
def _eyes_on(place: Place, wire: Wire, key: str) -> Iterator[subprocess.Popen[bytes]]:
    """Polls for the object at the store's end, which uses no bandwidth of the wire."""
    look = (sys.executable, "-m", "bench.await_object")
    eyes = subprocess.Popen(
        [*dies_with_us(), *wire.server, *look, place.endpoint, BUCKET, key, str(_SECONDS)],
        env=plain_environment(
            AWS_ACCESS_KEY_ID=place.access_key, AWS_SECRET_ACCESS_KEY=place.secret_key, AWS_DEFAULT_REGION="us-east-1"
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert eyes.stdout is not None
        if eyes.stdout.readline() != b"waiting\n":
            raise BenchError(f"{key} exists before it was written, or cannot be polled")
        yield eyes
    finally:
        end(eyes)
        if eyes.stdout is not None:
            eyes.stdout.close()


def _answer(eyes: subprocess.Popen[bytes]) -> float:
    assert eyes.stdout is not None
    line = eyes.stdout.readline()
    if not line:
        raise BenchError(f"the object could not be read within {_SECONDS:.0f} s")
    return float(line)


@contextmanager
def _far_place(wire: Wire) -> Iterator[Place]:
    """Redis beside the daemon, the store at the other end."""
    with new_folder() as root:
        here = Place(
            root,
            root / "watched",
            root / "files",
            f"http://{SERVER_ADDRESS}:{_S3_PORT}",
            "bench-access-key",
            os.urandom(16).hex(),
            root / "s3",
            f"redis://127.0.0.1:{_REDIS_PORT}/0",
        )
        for folder in (here.watched, here.files, here.objects, root / "meta"):
            folder.mkdir()
        with _process([*wire.client, *_redis(here)]), _process([*wire.server, *_versitygw(here)]):
            yield here


@contextmanager
def _process(command: Sequence[str]) -> Iterator[None]:
    process = subprocess.Popen(
        [*dies_with_us(), *command],
        env=plain_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        end(process)


def _tool(name: str) -> str:
    try:
        return str(find_tool(name))
    except ToolMissing as missing:
        raise BenchError(str(missing)) from missing


def _redis(place: Place) -> list[str]:
    basic = ["--bind", "127.0.0.1", "--port", str(_REDIS_PORT), "--dir", str(place.root), "--save", ""]
    return [_tool("redis-server"), *basic, "--appendonly", "yes", "--maxmemory-policy", "noeviction"]


def _versitygw(place: Place) -> list[str]:
    keys = ["--access", place.access_key, "--secret", place.secret_key, "--region", "us-east-1"]
    listening = ["--port", f"{SERVER_ADDRESS}:{_S3_PORT}", "--keep-alive", "--quiet"]
    beside = str(place.root / "meta")
    return [_tool("versitygw"), *keys, *listening, "posix", "--sidecar", beside, str(place.objects)]
