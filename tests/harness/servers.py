"""Real servers for tests: private processes on free ports, with their data in a folder of the test's, ended by pid.

Each is ready when its own process listens: another server that took the port meanwhile is never mistaken for it.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from src.embedded.s3_server import keeps_attributes
from tests.harness import asked_for, canary
from tests.harness.listening import ports_of

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
#: Below the range from which the kernel takes ports for outgoing connections: a restarted server finds its own free.
_PORTS = range(20_000, 32_000)

S = TypeVar("S", bound="Server")

#: For each tool: the environment variable that makes its absence a failure, and what to do about it.
TOOLS = {
    "redis-server": ("REQUIRE_TOOLS", "apt-get install redis-server"),
    "ffmpeg": ("REQUIRE_TOOLS", "apt-get install ffmpeg"),
    "ffprobe": ("REQUIRE_TOOLS", "apt-get install ffmpeg"),
    "versitygw": ("REQUIRE_VERSITYGW", "scripts/test builds it into .tools/bin"),
    "minio": ("REQUIRE_MINIO", "scripts/test builds it into .tools/bin"),
    "promtool": ("REQUIRE_PROMETHEUS", "scripts/test fetches it into .tools/bin"),
    "prometheus": ("REQUIRE_PROMETHEUS", "scripts/test fetches it into .tools/bin"),
    "chromium": ("REQUIRE_CHROMIUM", "apt-get install chromium fonts-dejavu-core"),
    "systemd-analyze": ("REQUIRE_SYSTEMD", "apt-get install systemd"),
    "strace": ("REQUIRE_SYSTEMD", "apt-get install strace"),
}


class ToolMissing(Exception):
    """A program that tests need is not on this machine. ``required``: it should have been."""

    def __init__(self, tool: str) -> None:
        variable, remedy = TOOLS[tool]
        super().__init__(f"{tool} is not there ({remedy})")
        self.tool = tool
        self.required = os.environ.get(variable) == "1"


def find_tool(name: str) -> Path:
    """Where the program is: in the checkout's own tools, else on the PATH. Raises ``ToolMissing``."""
    own = ROOT / ".tools" / "bin" / name
    if os.access(own, os.X_OK):
        return own
    installed = shutil.which(name)
    if installed is None:
        raise ToolMissing(name)
    return Path(installed)


@dataclass
class Server:
    """A process of ours that listens on ``port``; ``start`` may be called again after ``stop`` or ``kill``."""

    name: str
    command: Callable[[int], Sequence[str]]
    directory: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    #: A path that answers 200 once it serves, for a program that listens earlier.
    ready_path: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start on the same port as before, the first time on any free one; returns when it listens."""
        ports = [self.port] if self.port else _free_ports()
        for port in ports:
            self.port = port
            if self._listens_after_start():
                return
        raise AssertionError(f"{self.name} does not start:\n{self.log()}")

    def stop(self) -> None:
        """End it in good order; after ten seconds not so."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: it saves nothing more."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        """The end of what it wrote to its standard output."""
        path = self.directory / f"{self.name}.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def _listens_after_start(self) -> bool:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / f"{self.name}.log").open("ab") as log:
            process = self.process = subprocess.Popen(
                [*_dies_with_us(), *self.command(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=self._environment(),
            )
        until = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < until:
            if self.port in ports_of(process.pid) and self._serves():
                return True
            time.sleep(0.02)
        self.kill()
        return False

    def _environment(self) -> dict[str, str]:
        """Without what the stores would take for settings of theirs."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VGW_", "MINIO_"))}
        return kept | dict(self.environment)

    def _serves(self) -> bool:
        if not self.ready_path:
            return True
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.ready_path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class RedisServer(Server):
    """A private redis-server."""

    password: str | None = None

    @property
    def url(self) -> str:
        """For redis-py, with the password if there is one."""
        secret = f":{quote(self.password, safe='')}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"


@dataclass
class S3Server(Server):
    """A private S3. ``data``: where the objects lie as plain files; None where they do not."""

    access_key: str = "test-access-key"
    secret_key: str = field(default_factory=canary.secret)
    region: str = "us-east-1"
    data: Path | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class MinioServer(S3Server):
    """MinIO takes its keys from its environment: another start may give it others."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "MINIO_ROOT_USER": self.access_key,
            "MINIO_ROOT_PASSWORD": self.secret_key,
            "MINIO_REGION": self.region,
            # Neither a page on another port nor a question whether there is a newer version.
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }


@contextmanager
def start_redis(
    directory: Path, *options: str, password: str | None = None, persistent: bool = False
) -> Iterator[RedisServer]:
    """A redis-server with these further options. ``persistent``: every write is on disk before it is answered."""
    program = find_tool("redis-server")
    kept = ["--appendonly", "yes", "--appendfsync", "always"] if persistent else ["--appendonly", "no"]
    secret = ["--requirepass", password] if password else []
    basic = ["--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "noeviction", "--dir", str(directory)]

    def command(port: int) -> list[str]:
        return [str(program), "--port", str(port), *basic, *kept, *secret, *options]

    with _running(RedisServer("redis-server", command, directory, password=password)) as server:
        yield server


@contextmanager
def start_versitygw(directory: Path) -> Iterator[S3Server]:
    """VersityGW on a folder; as strict as Amazon S3 in all that we ask of it.

    What it knows of an object lies in attributes of the object's file, or, where the file system has none, in files of
    their own. Killed between writing the one and the other, it then says what is not so.
    """
    program = find_tool("versitygw")
    data, beside = directory / "data", directory / "meta"
    for folder in (data, beside):
        folder.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> list[str]:
        keys = ["--access", server.access_key, "--secret", server.secret_key, "--region", server.region]
        listening = ["--port", f"127.0.0.1:{port}", "--health", "/health", "--keep-alive", "--quiet"]
        kept = [] if keeps_attributes(data) else ["--sidecar", str(beside)]
        return [str(program), *keys, *listening, *asked_for.access_log(directory), "posix", *kept, str(data)]

    server = S3Server("versitygw", command, directory, data=data)
    with _running(server):
        yield server


@contextmanager
def start_minio(directory: Path) -> Iterator[S3Server]:
    """MinIO on a folder, one drive. It keeps objects in files of a form of its own, so only S3 tells what it holds."""
    program = find_tool("minio")
    data, certificates = directory / "data", directory / "certificates"

    def command(port: int) -> list[str]:
        listening = ["--address", f"127.0.0.1:{port}", "--certs-dir", str(certificates)]
        return [str(program), "server", "--quiet", *listening, str(data)]

    server = MinioServer("minio", command, directory, ready_path="/minio/health/ready")
    with _running(server):
        yield server


@contextmanager
def start_moto(directory: Path) -> Iterator[S3Server]:
    """moto's server as a process of its own, since its decorators do not reach aiobotocore. Checks no checksums."""

    def command(port: int) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]

    with _running(S3Server("moto", command, directory)) as server:
        yield server


@contextmanager
def start_prometheus(directory: Path, configuration: Path) -> Iterator[Server]:
    """A Prometheus that asks and judges as this file says."""
    program = find_tool("prometheus")

    def command(port: int) -> list[str]:
        kept = ["--storage.tsdb.path", str(directory / "data")]
        listening = [f"--web.listen-address=127.0.0.1:{port}"]
        return [str(program), f"--config.file={configuration}", *kept, *listening]

    with _running(Server("prometheus", command, directory)) as server:
        yield server


@contextmanager
def _running(server: S) -> Iterator[S]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _free_ports() -> Iterator[int]:
    """A few ports that were free a moment ago."""
    for port in random.sample(_PORTS, 20):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


def _dies_with_us() -> list[str]:
    """Ends the server also when the tests themselves are killed (Linux).

    It ends with the *thread* that started it: start servers from the main thread only.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
