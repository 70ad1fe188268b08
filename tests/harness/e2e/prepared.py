"""Daemons from a process that has imported everything already; see ``fork_server``."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from tests.harness.e2e.fork_server import MESSAGE_BYTES

_ROOT = Path(__file__).parents[3]
_TETHER = _ROOT / "src" / "embedded" / "tether.py"
#: An interpreter and its allocator read these once, when they begin.
_READ_AT_THE_BEGINNING = ("PYTHON", "MALLOC_", "LD_", "GLIBC_", "LANG", "LC_")


def can_be_prepared(settings: Mapping[str, str]) -> bool:
    """Whether a process that runs already can take on this environment."""
    return not any(name.startswith(_READ_AT_THE_BEGINNING) for name in settings)


class Prepared:
    """A process that the server has made: of ``subprocess.Popen`` what a daemon's operator needs."""

    def __init__(self, server: _Server, pid: int) -> None:
        self.pid = pid
        self._server = server

    def poll(self) -> int | None:
        return self._server.code(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises ``subprocess.TimeoutExpired``."""
        code = self._server.code(self.pid, timeout)
        if code is None:
            raise subprocess.TimeoutExpired("src.main", timeout or 0)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and its code is on the way
                os.kill(self.pid, number)


class _Server:
    """One for this process; both sides may be used from any thread."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", str(_TETHER), str(os.getpid())]
        program = [sys.executable, "-m", "tests.harness.e2e.fork_server", str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self._process = subprocess.Popen(
                [*command, *program],
                cwd=_ROOT,
                env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._codes: dict[int, int] = {}
        self._started: list[int] = []
        self._lock = threading.Lock()
        atexit.register(self._end)

    def start(self, cwd: Path, environment: Mapping[str, str], out: BinaryIO, err: BinaryIO) -> Prepared:
        message = json.dumps({"cwd": str(cwd), "environment": dict(environment)}).encode()
        assert len(message) < MESSAGE_BYTES
        with self._lock:
            socket.send_fds(self._control, [message], [out.fileno(), err.fileno()])
            while not self._started:
                self._hear(None)
            return Prepared(self, self._started.pop())

    def code(self, pid: int, within: float | None) -> int | None:
        """The exit code; None while it runs, after so many seconds."""
        until = None if within is None else time.monotonic() + within
        while True:
            with self._lock:
                left = 0.1 if until is None else min(0.1, max(0.0, until - time.monotonic()))
                while pid not in self._codes and self._hear(left):
                    left = 0.0
                if pid in self._codes:
                    return self._codes[pid]
            if until is not None and time.monotonic() >= until:
                return None

    def _hear(self, within: float | None) -> bool:
        """Take in one message; whether there was one. Called with the lock held."""
        if not select.select([self._control], [], [], within)[0]:
            return False
        message = self._control.recv(MESSAGE_BYTES)
        if not message:
            raise RuntimeError("the process that makes daemons has ended")
        told = json.loads(message)
        if "started" in told:
            self._started.append(told["started"])
            self._codes.pop(told["started"], None)  # an older process had the same number
        else:
            self._codes[told["ended"]] = told["code"]
        return True

    def _end(self) -> None:
        self._control.close()
        self._process.wait()


@cache
def server() -> _Server:
    """Begun with the first daemon, from the main thread: it ends with that."""
    return _Server()
