"""What no uploader can do without: two reads, two CRC64NVMEs and one write to a socket. ``python -m bench.floor FILE``.

Prints the CPU seconds. Another process takes the bytes at the other end of the socket; its CPU does not count.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys

from awscrt.checksums import crc64nvme

_PIECE = 1024 * 1024


def _pass(descriptor: int, view: memoryview, to: socket.socket | None) -> int:
    crc = offset = 0
    while count := os.preadv(descriptor, [view], offset):
        crc = int(crc64nvme(view[:count], crc))
        if to is not None:
            to.sendall(view[:count])
        offset += count
    return crc


def _take_all(from_: socket.socket) -> None:
    buffer = bytearray(_PIECE)
    while from_.recv_into(buffer):
        pass


def main(path: str) -> float:
    """CPU seconds of this process for the file."""
    # A connection over loopback, as to the store.
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    taker = os.fork()
    if taker == 0:
        ours.close()
        _take_all(theirs)
        os._exit(0)
    theirs.close()
    descriptor, view = os.open(path, os.O_RDONLY), memoryview(bytearray(_PIECE))
    before = resource.getrusage(resource.RUSAGE_SELF)
    first, second = _pass(descriptor, view, ours), _pass(descriptor, view, None)
    after = resource.getrusage(resource.RUSAGE_SELF)
    ours.close()
    os.kill(taker, signal.SIGTERM)
    os.waitpid(taker, 0)
    assert first == second
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    print(main(sys.argv[1]))
