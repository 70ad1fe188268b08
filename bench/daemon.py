"""The measured daemon: a separate process whose log is read line by line.

Each JSON line of the log is stamped on arrival with the time and with the CPU time used so far.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .processes import BenchError, cpu_seconds, dies_with_us, end, free_port, plain_environment

#: Below this share of one core over ``_SETTLING_SECONDS`` the work of the start is over.
_SETTLED = 0.03
_SETTLING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the log. ``at``: monotonic seconds; ``cpu``: CPU seconds of the process until then."""

    name: str
    at: float
    cpu: float
    fields: Mapping[str, Any]


class Daemon:
    """A running daemon."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self._events: list[Event] = []
        self._by_name: dict[str, list[Event]] = {}
        self._news = threading.Condition()
        assert process.stdout is not None
        threading.Thread(target=self._follow, args=(process.stdout,), name="log", daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def events(self, name: str) -> list[Event]:
        """All events of this name so far."""
        with self._news:
            return list(self._by_name.get(name, ()))

    def wait_for(self, name: str, *, seconds: float, count: int = 1) -> Event:
        """The event number ``count`` of this name. Raises ``BenchError`` if it does not arrive in time."""
        until = time.monotonic() + seconds
        with self._news:
            while len(self._by_name.get(name, ())) < count:
                left = until - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    found = len(self._by_name.get(name, ()))
                    raise BenchError(f"{found} of {count} × {name}: {self._trouble()}")
                self._news.wait(min(left, 0.5))
            return self._by_name[name][count - 1]

    def settle(self, *, seconds: float = 60.0) -> None:
        """Wait until the work of the start is over: the daemon is idle."""
        self.wait_for("daemon_started", seconds=seconds)
        until = time.monotonic() + seconds
        while True:
            before = cpu_seconds(self.pid)
            time.sleep(_SETTLING_SECONDS)
            if cpu_seconds(self.pid) - before <= _SETTLED * _SETTLING_SECONDS:
                return
            if time.monotonic() > until:
                raise BenchError("the daemon does not come to rest")

    def _follow(self, log: IO[bytes]) -> None:
        for line in log:
            self._take(line)
        with self._news:
            self._news.notify_all()

    def _take(self, line: bytes) -> None:
        at = time.monotonic()
        try:
            cpu = cpu_seconds(self.pid)
        except (OSError, IndexError):
            cpu = 0.0  # it has ended
        try:
            fields = json.loads(line)
        except ValueError:
            fields = {"event": line.decode(errors="replace").strip(), "level": "text"}
        event = Event(str(fields.get("event")), at, cpu, fields)
        with self._news:
            self._events.append(event)
            self._by_name.setdefault(event.name, []).append(event)
            self._news.notify_all()

    def _trouble(self) -> str:
        """Called with the lock held: the last warning or error in the log."""
        grave = [event.fields for event in self._events if event.fields.get("level") not in ("info", "debug")]
        return f"exit code {self.process.poll()}; the log says {[str(fields)[:300] for fields in grave[-3:]]}"


@contextmanager
def running_daemon(
    settings: Mapping[str, str],
    directory: Path,
    *,
    module: str = "src.main",
    prefix: Sequence[str] = (),
) -> Iterator[Daemon]:
    """The daemon with these settings and the defaults for all others; stopped on exit."""
    port = "8000" if prefix else str(free_port())  # all ports are free in a namespace of its own
    environment = plain_environment(APP_ENV="production", PROM_PORT=port, **settings)
    process = subprocess.Popen(
        [*dies_with_us(), *prefix, sys.executable, "-m", module],
        cwd=directory,  # outside the checkout, whose .env would be read
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield Daemon(process)
    finally:
        end(process)


def until(condition: Callable[[], bool], *, seconds: float, what: str, every: float = 0.05) -> None:
    """Poll the condition. Raises ``BenchError`` if it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)
