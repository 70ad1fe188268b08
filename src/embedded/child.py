"""One child process: started with a log and a port, polled until it responds, and ended with the daemon.

Three guarantees hold for every child:

* It ends with the daemon, also when the daemon is killed (see ``tether``).
* Ctrl-C in the terminal does not reach it: the daemon can still drain.
* Its data has one user at a time: the lock is held by the daemon *and* the child, so that a child that is still
  flushing after the daemon was killed keeps the next run waiting.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from ..exceptions import Permanent
from ..timeouts import timeout

log = logging.getLogger(__package__)
TETHER = Path(__file__).with_name("tether.py")
LOG_LIMIT_BYTES = 1024 * 1024
POLL_SECONDS = 0.05
STOP_SECONDS = 10.0
# A killed run's child may need this long to flush and release its data.
LOCK_SECONDS = 5.0
# The first attempt uses the preferred ports, the others any free one: another program may take a port in between.
PORT_ATTEMPTS = 4


class EmbeddedServiceError(Permanent):
    """An embedded service could not be started; the message has the last lines of its log."""


class ChildProcess:
    """A running program whose output goes to a log file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path, log_offset: int) -> None:
        self.name = name
        self.log = log
        self._process = process
        self._log_offset = log_offset

    @classmethod
    async def start(
        cls, name: str, argv: Sequence[str], *, log: Path, lock: int, env: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start the program, tied to this process; ``lock`` stays open in it. Call it from the main thread: the child
        is tied to the thread that forks."""
        offset = _prepare_log(log)
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(TETHER),
                str(os.getpid()),
                *argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=None if env is None else dict(env),
                pass_fds=(lock,),
                start_new_session=True,
            )
        return cls(name, process, log, offset)

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self) -> bool:
        return self._process.returncode is not None

    def last_lines(self, count: int = 10) -> str:
        """The program's output since its start."""
        with self.log.open("rb") as file:
            file.seek(self._log_offset)
            lines = file.read(LOG_LIMIT_BYTES).decode(errors="replace").splitlines()
        return "\n".join(lines[-count:])

    async def wait_until(self, answers: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Returns once the program responds; raises EmbeddedServiceError if it ends first or takes too long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await answers():
            if self.has_ended():
                raise self._error(f"ended at its start with exit code {self._process.returncode}")
            if asyncio.get_running_loop().time() > deadline:
                raise self._error(f"did not answer within {seconds:.0f} seconds")
            await asyncio.sleep(POLL_SECONDS)
        # If another program responds on the same port, ours has ended or is about to.
        await asyncio.sleep(POLL_SECONDS)
        if self.has_ended():
            raise self._error(f"ended at its start with exit code {self._process.returncode}")

    async def tell_when_it_ends(self) -> None:
        """Log one line if the program ends unexpectedly."""
        code = await self._process.wait()
        log.error(
            "the embedded %s ended with code %s; stop the daemon and start it again: %s", self.name, code, self.log
        )

    def lost_its_port(self) -> bool:
        return "address already in use" in self.last_lines().lower()

    async def stop(self) -> None:
        """End the program: with a signal first, killed after a while. Calling it again does nothing."""
        if self.has_ended():
            return
        _send(self._process, signal.SIGTERM)
        try:
            async with timeout(STOP_SECONDS):
                await self._process.wait()
        except (TimeoutError, asyncio.CancelledError) as exc:
            _send(self._process, signal.SIGKILL)
            await self._process.wait()
            if isinstance(exc, asyncio.CancelledError):
                raise

    def _error(self, what: str) -> EmbeddedServiceError:
        said = self.last_lines() or "(nothing)"
        return EmbeddedServiceError(f"The embedded {self.name} {what}. Its output (in {self.log}):\n{said}")


@asynccontextmanager
async def listening_child(
    name: str,
    command: Callable[[Sequence[int]], Sequence[str]],
    answers: Callable[[ChildProcess, Sequence[int]], Awaitable[bool]],
    *,
    preferred_ports: Sequence[int],
    log: Path,
    lock: int,
    env: Mapping[str, str] | None = None,
    seconds: float = 30.0,
) -> AsyncIterator[Sequence[int]]:
    """Yields the ports on which the program responds; stops it on exit."""
    child, ports = await _start_on_free_ports(
        name, command, answers, preferred_ports, log=log, lock=lock, env=env, seconds=seconds
    )
    watching = asyncio.create_task(child.tell_when_it_ends(), name=f"watch-{name}")
    try:
        yield ports
    finally:
        watching.cancel()
        await child.stop()


async def _start_on_free_ports(
    name: str,
    command: Callable[[Sequence[int]], Sequence[str]],
    answers: Callable[[ChildProcess, Sequence[int]], Awaitable[bool]],
    preferred_ports: Sequence[int],
    *,
    log: Path,
    lock: int,
    env: Mapping[str, str] | None,
    seconds: float,
) -> tuple[ChildProcess, Sequence[int]]:
    for attempt in range(1, PORT_ATTEMPTS + 1):
        ports = free_ports(preferred_ports if attempt == 1 else [0] * len(preferred_ports))
        child = await ChildProcess.start(name, command(ports), log=log, lock=lock, env=env)
        try:
            await child.wait_until(partial(answers, child, ports), seconds)
            return child, ports
        except EmbeddedServiceError:
            await child.stop()
            if attempt == PORT_ATTEMPTS or not child.lost_its_port():
                raise
        except BaseException:
            await child.stop()
            raise
    raise AssertionError("the last attempt returns or raises")


def made(folder: Path) -> Path:
    """Create the folder; its path is valid whatever the child's working directory is."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder.absolute()


def free_ports(preferred: Sequence[int]) -> list[int]:
    """For each preferred port: itself if it is free on 127.0.0.1, otherwise any free one (0: any). All differ."""
    sockets: list[socket.socket] = []
    try:
        sockets.extend(_bind(port) for port in preferred)
        return [bound.getsockname()[1] for bound in sockets]
    finally:
        for bound in sockets:
            bound.close()


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Lingering connections of the last run do not make a port occupied.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.bind(("127.0.0.1", 0))
    return bound


@asynccontextmanager
async def only_user(lock_file: Path, what: str) -> AsyncIterator[int]:
    """Yields the descriptor of the held lock; raises EmbeddedServiceError if another run holds it."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await _acquire(descriptor, lock_file, what)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


async def _acquire(descriptor: int, lock_file: Path, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if asyncio.get_running_loop().time() > deadline:
                raise _in_use(descriptor, lock_file, what) from None
        await asyncio.sleep(POLL_SECONDS)


def _in_use(descriptor: int, lock_file: Path, what: str) -> EmbeddedServiceError:
    holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
    return EmbeddedServiceError(
        f"The data of the embedded {what} in {lock_file.parent} is in use by another run (process {holder}).",
        hint="Stop the other run first, or set another EMBEDDED_DATA_DIR.",
    )


def _prepare_log(log: Path) -> int:
    """Open the log for appending; returns where the new part begins. One older log is kept."""
    log.parent.mkdir(parents=True, exist_ok=True)
    size = log.stat().st_size if log.exists() else 0
    if size <= LOG_LIMIT_BYTES:
        return size
    log.replace(log.with_name(log.name + ".1"))
    return 0


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)
