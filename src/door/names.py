"""The socket's name, and who is at its other end."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
from dataclasses import dataclass

PREFIX = "cefmp4-"
#: Device and inode of a folder that does not exist; its path is then in the name.
MISSING_FOLDER = None
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end: its ID and its user."""

    pid: int
    uid: int

    @property
    def is_trusted(self) -> bool:
        """Root, or this process's user."""
        return self.uid in (0, os.geteuid())


def name_of(folder: str, identity: tuple[int, int] | None, group: str) -> str:
    """The name, without the NUL byte in front. ``identity``: the folder's device and inode, so that another path to it
    (a link, a bind mount) leads to the same name."""
    place = folder if identity is MISSING_FOLDER else f"{identity[0]}:{identity[1]}"
    return PREFIX + hashlib.sha256(f"{place}\0{group}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def peer_of(connection: socket.socket) -> Peer:
    """As the kernel knows it. Raises ``OSError``."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return Peer(pid, uid)
