"""A process that has imported all that the daemon imports, and becomes a daemon by forking whenever it is asked to.

``python -m tests.harness.e2e.fork_server FD PARENT_PID``, only by ``tests/harness/e2e/prepared.py``. Most of a start is
imports, and the suite starts hundreds of daemons. A daemon made so is a process like any other: it has its own
environment, folder, output, signals and exit code, and runs ``src.main`` from its first line. What it does not show is
that the imports work in a new interpreter; tests marked ``new_interpreter`` do.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import time
from typing import Any

import src
from src.embedded.tether import tie_to

MESSAGE_BYTES = 256 * 1024
#: What is run, and so not imported.
_PROGRAMS = ("src.main", "src.__main__")
#: What is imported only once a client of S3 is made.
_LATE = ("aioboto3.s3.inject",)


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    tie_to(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    names = [module.name for module in pkgutil.walk_packages(src.__path__, "src.") if module.name not in _PROGRAMS]
    for name in (*names, *_LATE):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    asked = _serve(control)
    if asked is not None:
        _become(*asked)
        runpy.run_module("src.main", run_name="__main__", alter_sys=True)


def _serve(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """In the server until nobody asks any more: None. In each process that it makes: what it is to become."""
    server = os.getpid()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    os.read(ended, 4096)
                    _tell_of_the_ended(control)
                    continue
                message, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2)
                if not message:
                    return None
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    selector.close()
                    for fd in (ended, wake, control.detach()):
                        os.close(fd)
                    tie_to(server)
                    return json.loads(message), fds
                for fd in fds:
                    os.close(fd)
                control.send(json.dumps({"started": pid}).encode())


def _tell_of_the_ended(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.send(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}).encode())


def _become(asked: dict[str, Any], fds: list[int]) -> None:
    """A process as it is when an interpreter begins in this folder with this environment and output."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, number in ((nothing, 0), (fds[0], 1), (fds[1], 2)):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    sys.argv[1:] = []
    sys.path[0] = asked["cwd"]
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    main()
