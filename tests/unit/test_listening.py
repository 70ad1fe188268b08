"""The harness finds the ports of a process, whatever else the machine has open."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing, suppress

import pytest

from tests.harness.listening import _found_by_psutil, ports_of


def _loopbacks() -> list[str]:
    """The addresses of this machine for itself: one of IPv6 is not everywhere."""
    found = ["127.0.0.1"]
    with suppress(OSError), closing(socket.socket(socket.AF_INET6)) as probe:
        probe.bind(("::1", 0))
        found.append("::1")
    return found


@pytest.mark.parametrize("host", _loopbacks())
def test_the_ports_on_which_this_process_listens_are_found(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family)) as server, closing(socket.socket(family)) as client:
        server.bind((host, 0))
        port = server.getsockname()[1]
        assert port not in ports_of(os.getpid())
        server.listen()
        client.connect(server.getsockname())  # a connection of the same port, which is no listener
        assert ports_of(os.getpid()).count(port) == 1
        assert set(ports_of(os.getpid())) == set(_found_by_psutil(os.getpid()))
    assert port not in ports_of(os.getpid())


def test_ports_of_others_and_of_the_dead_are_none() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        assert server.getsockname()[1] not in ports_of(sleeper.pid)
        sleeper.communicate(b"\n")
        assert ports_of(sleeper.pid) == []
