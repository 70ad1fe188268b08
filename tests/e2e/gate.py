"""A gate before a server: it passes everything on, and can keep back the answer to one kind of request."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Gate:
    """A TCP proxy on a port of its own, for clients on this machine."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._held_request: bytes | None = None
        self._closed = False
        self.held = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def hold_answers(self, beginning: bytes) -> None:
        """Pass on requests that begin so, but keep back their answers (counted in ``held``) until ``cut``."""
        self._held_request = beginning

    def cut(self) -> None:
        """End every connection in the middle of whatever it does; hold nothing any more."""
        self._held_request = None
        connections, self._connections = self._connections, []
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                continue
            self._connections += [client, server]
            _Pair(self, client, server).start()

    def is_held(self, request: bytes) -> bool:
        return self._held_request is not None and request.startswith(self._held_request)


class _Pair:
    """One connection through the gate. A request is known by the first bytes after an answer."""

    def __init__(self, gate: Gate, client: socket.socket, server: socket.socket) -> None:
        self._gate = gate
        self._client = client
        self._server = server
        self._holding = False

    def start(self) -> None:
        for work in (self._requests, self._answers):
            threading.Thread(target=work, daemon=True).start()

    def _requests(self) -> None:
        with self._client, self._server, suppress(OSError):
            while data := self._client.recv(65536):
                self._holding = self._holding or self._gate.is_held(data)
                self._server.sendall(data)
            self._server.shutdown(socket.SHUT_RDWR)

    def _answers(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65536):
                if self._holding:
                    self._gate.held += 1
                else:
                    self._client.sendall(data)
            self._client.shutdown(socket.SHUT_RDWR)
