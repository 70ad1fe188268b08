"""Uploads begun by the store's probe, noted in Redis under the ID of their process until they have ended.

A process that is killed during a probe leaves its note, and the next start on this machine aborts the upload at once.
Uploads begun on another machine, or during an outage of Redis, are aborted by age.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Protocol

from ..exceptions import RedisOperationError

_NAME = "probe:uploads"


class Beside(Protocol):
    """One command about a hash of this daemon."""

    async def __call__(self, verb: str, name: str, *arguments: bytes) -> Any: ...


def process_id(pid: int | None = None) -> str:
    """Machine, boot, PID and start time of a process: unique for each process. Empty if there is no such process."""
    try:
        # The second field, a name in parentheses, may contain anything; the start time is the 20th field after it.
        fields = Path(f"/proc/{pid or os.getpid()}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return f"{socket.gethostname()}:{boot}:{pid or os.getpid()}:{fields[19]}"


def is_of_this_machine(process: str) -> bool:
    """Whether the process ran on a machine with the name of this one."""
    return process.partition(":")[0] == socket.gethostname()


def is_gone(process: str) -> bool:
    """Whether a process of this machine has ended. Unknown for other machines."""
    rest = process.partition(":")[2]
    number = rest.split(":")[1] if rest.count(":") == 2 else ""
    return is_of_this_machine(process) and number.isdigit() and process_id(int(number)) != process


class RedisProbeNotes:
    """Notes in one hash. An outage of Redis costs a note, never a probe."""

    def __init__(self, beside: Beside) -> None:
        self._beside = beside
        self._own = process_id()

    async def note(self, upload_id: str) -> None:
        """Call before anything is put into the upload."""
        await self._ask("HSET", upload_id.encode(), self._own.encode())

    async def forget(self, upload_id: str) -> None:
        """The upload has ended."""
        await self._ask("HDEL", upload_id.encode())

    async def left_behind(self) -> list[str]:
        """The uploads of processes of this machine that are gone."""
        return [upload for upload, process in await self._noted() if is_gone(process)]

    async def from_elsewhere(self) -> list[str]:
        """The uploads of other machines, and of invalid notes."""
        return [upload for upload, process in await self._noted() if not is_of_this_machine(process)]

    async def _noted(self) -> list[tuple[str, str]]:
        noted = await self._ask("HGETALL") or {}
        pairs = noted.items() if isinstance(noted, dict) else zip(noted[::2], noted[1::2], strict=True)
        return [(upload.decode(errors="replace"), process.decode(errors="replace")) for upload, process in pairs]

    async def _ask(self, verb: str, *arguments: bytes) -> Any:
        try:
            return await self._beside(verb, _NAME, *arguments)
        except RedisOperationError:
            return None
