"""What the status page costs with 200 recordings open and three people who look."""

from __future__ import annotations

import calendar
import gzip
import http.client
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .daemon import Daemon, running_daemon, until
from .place import local_place
from .processes import GIB, cpu_seconds
from .report import Row

TARGET_PERCENT = 1.0
TARGET_MILLISECONDS = 20.0
TARGET_KILOBYTES = 100.0
TARGET_AGE_SECONDS = 2.0
_RECORDINGS = 200
_WRITE_BYTES = 64
_WRITE_SECONDS = 2.0
_LOOKERS = 3
_POLL_SECONDS = 2.0
_MEASURED_SECONDS = 60.0


def measure(_rounds: int) -> Iterator[Row]:
    """The same minute without and with the page; the recordings are too small to be sent."""
    with local_place(GIB) as place:
        report = place.root / "callbacks.json"
        settings = place.settings(BENCH_REPORT=str(report), STREAM_TIMEOUT_SECONDS="3600", FINISH_EARLY_SECONDS="off")
        with (
            running_daemon(settings, place.root, module="bench.instrumented") as daemon,
            _growing_files(place.watched),
        ):
            port = int(daemon.wait_for("daemon_started", seconds=120).fields["prom_port"])
            daemon.wait_for("stream_started", seconds=120, count=_RECORDINGS)
            kilobytes = _first_load(port)
            time.sleep(5)
            without = _cpu_percent(daemon)
            _report(daemon, report)
            with _people_who_look(port) as ages:
                with_page = _cpu_percent(daemon)
            callbacks = _report(daemon, report)
    yield Row(
        f"status page, {_RECORDINGS} recordings, {_LOOKERS} look",
        with_page - without,
        "%",
        TARGET_PERCENT,
        remarks=f"of one core over {_MEASURED_SECONDS:.0f} s; {with_page:.2f} with it, {without:.2f} without",
    )
    longest, where = callbacks[0]
    yield Row("longest callback meanwhile", longest, "ms", TARGET_MILLISECONDS, remarks=f"CPU time; in {where}")
    yield Row("first load, packed", kilobytes, "kB", TARGET_KILOBYTES, remarks="page, style sheet, script and icon")
    yield Row(
        "oldest answer",
        max(ages),
        "s",
        TARGET_AGE_SECONDS,
        remarks=f"at most, of {len(ages)} answers; the page shows whole seconds",
    )


@contextmanager
def _growing_files(folder: Path) -> Iterator[None]:
    """All recordings grow a little every two seconds."""
    over = threading.Event()
    with ExitStack() as stack:
        files = [
            stack.enter_context(open(folder / f"camera {number:03}.mp4", "wb", buffering=0))
            for number in range(_RECORDINGS)
        ]

        def grow() -> None:
            while not over.is_set():
                for file in files:
                    file.write(os.urandom(_WRITE_BYTES))
                over.wait(_WRITE_SECONDS)

        writer = threading.Thread(target=grow, daemon=True)
        writer.start()
        try:
            yield
        finally:
            over.set()
            writer.join()


@contextmanager
def _people_who_look(port: int) -> Iterator[list[float]]:
    """Each asks as the page's script does; the ages of the answers in seconds."""
    over, ages = threading.Event(), list[float]()

    def look() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while not over.is_set():
            text = gzip.decompress(_get(connection, "/fragment")).decode()
            found = re.search(r'datetime="(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)Z"', text)
            assert found is not None
            made_at = time.strptime(" ".join(found.groups()), "%Y %m %d %H %M %S")
            ages.append(time.time() - calendar.timegm(made_at))
            over.wait(_POLL_SECONDS)
        connection.close()

    threads = [threading.Thread(target=look, daemon=True) for _ in range(_LOOKERS)]
    for thread in threads:
        thread.start()
        time.sleep(_POLL_SECONDS / _LOOKERS)
    try:
        yield ages
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    return connection.getresponse().read()


def _first_load(port: int) -> float:
    """Kilobytes of the page and of all that it names, as they travel."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    page = _get(connection, "/")
    names = re.findall(rb'(?:href|src)="([\w.]+)"', gzip.decompress(page))
    total = len(page) + sum(len(_get(connection, f"/{name.decode()}")) for name in names)
    connection.close()
    return total / 1000


def _cpu_percent(daemon: Daemon) -> float:
    before, began = cpu_seconds(daemon.pid), time.monotonic()
    time.sleep(_MEASURED_SECONDS)
    return 100 * (cpu_seconds(daemon.pid) - before) / (time.monotonic() - began)


def _report(daemon: Daemon, report: Path) -> Sequence[tuple[float, str]]:
    """The longest callbacks since the last report, by CPU time."""
    report.unlink(missing_ok=True)
    os.kill(daemon.pid, signal.SIGUSR1)
    until(report.exists, seconds=30, what="the report of the callbacks")
    found: dict[str, list[tuple[float, str]]] = json.loads(report.read_text(encoding="utf-8"))
    return found["cpu"]
