"""Two network namespaces with a wire of 100 Mbit/s between them. Needs root, iproute2 and util-linux.

Each namespace lives as long as a process of ours that does nothing else: after any kill, nothing stays behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .daemon import until
from .processes import BenchError, dies_with_us, end

#: For documentation (RFC 5737): reserved, and these namespaces lead nowhere else.
CLIENT_ADDRESS = "192.0.2.1"
SERVER_ADDRESS = "192.0.2.2"
_LIFETIME_SECONDS = "900"
_WIRE = "wire"


@dataclass(frozen=True, slots=True)
class Wire:
    """The command prefix for running a command at one of the two ends."""

    client: tuple[str, ...]
    server: tuple[str, ...]


@contextmanager
def slow_wire(mbit: int) -> Iterator[Wire]:
    """Raises ``BenchError`` with the reason if this is not possible."""
    missing = [tool for tool in ("ip", "tc", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        raise BenchError(f"no {', '.join(missing)} here (Debian: iproute2, util-linux)")
    if os.geteuid() != 0:
        raise BenchError("network namespaces need root")
    with _namespace() as client, _namespace() as server:
        wire = Wire(_inside(client), _inside(server))
        _run(*wire.client, "ip", "link", "add", _WIRE, "type", "veth", "peer", "name", _WIRE, "netns", str(server.pid))
        for prefix, address in ((wire.client, CLIENT_ADDRESS), (wire.server, SERVER_ADDRESS)):
            _run(*prefix, "ip", "address", "add", f"{address}/24", "dev", _WIRE)
            _run(*prefix, "ip", "link", "set", "lo", "up")
            _run(*prefix, "ip", "link", "set", _WIRE, "up")
            limit = ("rate", f"{mbit}mbit", "burst", "128kb", "latency", "50ms")
            _run(*prefix, "tc", "qdisc", "add", "dev", _WIRE, "root", "tbf", *limit)
        yield wire


@contextmanager
def _namespace() -> Iterator[subprocess.Popen[bytes]]:
    ours = os.readlink("/proc/self/ns/net")
    holder = subprocess.Popen([*dies_with_us(), "unshare", "--net", "sleep", _LIFETIME_SECONDS])
    try:
        until(lambda: _namespace_of(holder.pid) not in (None, ours), seconds=10, what="a network namespace")
        yield holder
    finally:
        end(holder)


def _namespace_of(pid: int) -> str | None:
    try:
        return os.readlink(Path(f"/proc/{pid}/ns/net"))
    except OSError:
        return None


def _inside(holder: subprocess.Popen[bytes]) -> tuple[str, ...]:
    return "nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)}: {done.stderr.strip()}")
