"""The commands' end: finds the socket of a daemon, checks who is behind it, and asks."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .names import MISSING_FOLDER, PREFIX, Peer, name_of, peer_of

#: Seconds until a daemon counts as one that does not answer. Giving up waits for the store.
ANSWER_SECONDS = 10.0
LONG_ANSWER_SECONDS = 40.0
_TRY_AGAIN_SECONDS = 0.05
_LARGEST_ANSWER = 256 * 1024 * 1024


class DoorError(Exception):
    """No daemon answered."""


class NoAnswer(DoorError):
    """Nothing listens on the socket, or it does not answer in time, or not as a daemon does."""


class Refused(DoorError):
    """The two ends belong to different users. ``uid``: that of the other end, if it is known."""

    def __init__(self, uid: int | None = None) -> None:
        super().__init__("refused")
        self.uid = uid


@dataclass(frozen=True, slots=True)
class Door:
    """A daemon that has answered: its socket, process, folder, group (``REDIS_KEY_PREFIX``) and version; the bucket
    with the prefix of its keys, and the address of its Redis."""

    socket_name: str
    peer: Peer
    folder: str
    group: str
    version: str
    keys: str = ""
    redis: str = ""

    @property
    def place(self) -> tuple[int, int] | None:
        """Device and inode of the folder; None: it is missing."""
        return _identity(self.folder)

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, seconds: float = ANSWER_SECONDS
    ) -> tuple[int, Any]:
        """Status and JSON of the answer. Raises ``DoorError``."""
        return _ask(self.socket_name, method, path, body, seconds)[1:]


def knock(folder: str, group: str) -> Door:
    """The daemon of this folder and group. Raises ``DoorError``.

    The name is computed; where the folder cannot be examined, or is another one by now, all daemons are asked.
    """
    identity = _identity(folder)
    first: DoorError = NoAnswer("no daemon")
    if identity is not None:
        try:
            return _meet(name_of(folder, identity, group))
        except DoorError as error:
            first = error
    for door in find_doors():
        if door.folder == folder and door.group == group:
            return door
    raise first


def find_doors(seconds: float = ANSWER_SECONDS) -> Iterator[Door]:
    """All daemons of this machine that answer this user, each within ``seconds``."""
    for name in _names():
        try:
            yield _meet(name, seconds)
        except DoorError:
            continue


def _names() -> list[str]:
    """The kernel lists abstract sockets with an @ in front; a listening one may be listed several times."""
    try:
        text = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    last = (line.rpartition(" ")[2] for line in text.splitlines())
    return sorted({name[1:] for name in last if name.startswith(f"@{PREFIX}")})


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return MISSING_FOLDER
    return found.st_dev, found.st_ino


def _meet(name: str, seconds: float = ANSWER_SECONDS) -> Door:
    peer, status, told = _ask(name, "GET", "/v1/daemon", None, seconds)
    try:
        if status != 200:
            raise ValueError(status)
        return Door(
            name,
            peer,
            str(told["folder"]),
            str(told["group"]),
            str(told["version"]),
            str(told.get("keys", "")),
            str(told.get("redis", "")),
        )
    except (TypeError, KeyError, ValueError) as exc:
        raise NoAnswer("not a daemon's answer") from exc


class _Connection(http.client.HTTPConnection):
    def __init__(self, name: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._name, self._seconds = name, seconds
        self.peer = Peer(0, -1)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self._seconds)
        until = time.monotonic() + self._seconds
        while True:
            try:
                self.sock.connect(b"\0" + self._name.encode())
                break
            except BlockingIOError:  # too many callers wait already
                if time.monotonic() >= until:
                    raise
                time.sleep(_TRY_AGAIN_SECONDS)
        self.peer = peer_of(self.sock)
        if not self.peer.is_trusted and os.geteuid() != 0:
            raise Refused(self.peer.uid)


def _ask(name: str, method: str, path: str, body: Mapping[str, object] | None, seconds: float) -> tuple[Peer, int, Any]:
    connection = _Connection(name, seconds)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
        answer = connection.getresponse()
        told = json.loads(answer.read(_LARGEST_ANSWER))
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as exc:
        # A daemon of another user closes without a word.
        raise (NoAnswer("closed") if connection.peer.is_trusted else Refused(connection.peer.uid)) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise NoAnswer(str(exc)) from exc
    finally:
        connection.close()
    return connection.peer, answer.status, told
