"""On which TCP ports a process listens: asked again and again while it starts, so it must cost next to nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_TABLES = ("tcp", "tcp6")
_LISTEN = "0A"


def ports_of(pid: int) -> list[int]:
    """Empty also where the process has ended."""
    if not Path("/proc/net/tcp").exists():
        return _found_by_psutil(pid)
    try:
        sockets = _sockets_of(Path(f"/proc/{pid}/fd"))
        tables = [Path(f"/proc/{pid}/net/{name}") for name in _TABLES] if sockets else []
        return [port for table in tables if table.exists() for inode, port in _listeners(table) if inode in sockets]
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []


def _sockets_of(folder: Path) -> set[str]:
    """The inode numbers of the sockets that a process has open."""
    found = set()
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            target = os.readlink(folder / name)
            if target.startswith("socket:["):
                found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found


def _listeners(table: Path) -> Iterator[tuple[str, int]]:
    """Inode and port of each listening socket. The kernel gives these first, before thousands that are closing."""
    with table.open() as lines:
        next(lines, None)
        for line in lines:
            _, local, _, state, *_ = fields = line.split()
            if state != _LISTEN:
                return
            yield fields[9], int(local.rpartition(":")[2], 16)


def _found_by_psutil(pid: int) -> list[int]:
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return []
    return [each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN]
