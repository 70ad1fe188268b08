"""Kernel statistics of a running process, and how to end one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MIB = 1024 * 1024
GIB = 1024 * MIB
_TICKS = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 30.0


class BenchError(Exception):
    """A measurement cannot be made or finished; the message says why."""


def cpu_seconds(pid: int) -> float:
    """User and system time of the process with all its threads, without its children. Steps of 10 ms."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS


def children_cpu_seconds(pid: int) -> float:
    """The same of its children that have ended."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[13]) + int(after_name[14])) / _TICKS


def resident_bytes(pid: int, *, peak: bool = False) -> int:
    """Resident memory, now or (``peak``) at its highest since the start."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(wanted):
            return int(line.split()[1]) * 1024
    raise BenchError(f"process {pid} has ended")


def dies_with_us() -> list[str]:
    """Put before a command: it ends also when the bench is killed. Start it from the main thread."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def plain_environment(**more: str) -> dict[str, str]:
    """Nothing of the user's own settings, which would change what is measured."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": "/nonexistent", "PYTHONPATH": str(ROOT), **more}


def end(process: subprocess.Popen[bytes]) -> None:
    """Terminate it; after half a minute kill it."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of the loopback address that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
