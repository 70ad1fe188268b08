"""The daemon as its operator has it: a process with an environment, pages, signals, a log and an exit code.

Start it from the main thread: it ends with the thread that started it (see ``src/embedded/tether.py``).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.harness import canary
from tests.harness.e2e import prepared
from tests.harness.listening import ports_of

ROOT = Path(__file__).parents[3]
TETHER = ROOT / "src" / "embedded" / "tether.py"
#: Long, because two suites may share two processors; a test that passes never waits for it.
PATIENCE_SECONDS = 120.0
_POLL_SECONDS = 0.02
#: Looking takes a third of the time at most: it must not take the processor from what it waits for.
_REST_AFTER_LOOKING = 2.0
_LONGEST_POLL_SECONDS = 0.1
#: What the daemon inherits; everything else could be taken for a setting.
_INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ")

T = TypeVar("T")
Line = dict[str, Any]


def eventually(find: Callable[[], T], what: str, *, within: float = PATIENCE_SECONDS) -> T:
    """What ``find`` gives as soon as that is true. Raises AssertionError after ``within`` seconds."""
    until = time.monotonic() + within
    while True:
        began = time.monotonic()
        if found := find():
            return found
        now = time.monotonic()
        if now > until:
            raise AssertionError(f"not within {within:.0f} s: {what}; the last answer was {found!r}")
        time.sleep(min(max(_POLL_SECONDS, _REST_AFTER_LOOKING * (now - began)), _LONGEST_POLL_SECONDS))


class Daemon:
    """``python -m src.main`` in a folder of its own; ``start`` may be called again after it has ended.

    Lines and metrics are those of the newest run. All output stays in ``<home>/run-<n>.log`` and ``.err``.
    ``new_interpreter``: nothing is imported before it starts. Else it comes from a process that has its imports, where
    that can be told by nothing.
    """

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        self.home = home
        self.settings = dict(settings)
        self.module = "src.main"
        self.python = sys.executable
        self.new_interpreter = False
        self.runs = 0
        self.was_killed = False
        self._process: subprocess.Popen[bytes] | prepared.Prepared | None = None
        self._port = 0
        self._read = 0
        self._lines: list[Line] = []
        self._plain: list[str] = []

    # -- life -------------------------------------------------------------------------------------------------

    def start(self, **changes: str) -> None:
        """Start with the settings and these changes; does not wait for anything."""
        assert not self.is_running(), "it runs already"
        self.home.mkdir(parents=True, exist_ok=True)
        self.runs += 1
        self._port, self._read, self._lines, self._plain = 0, 0, [], []
        environment = self._environment(changes)
        with self._file("log").open("wb") as out, self._file("err").open("wb") as err:
            if self._can_be_prepared(changes):
                self._process = prepared.server().start(self.home, environment, out, err)
                return
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def start_and_wait(self, **changes: str) -> None:
        """Start, and return when it is ready."""
        self.start(**changes)
        self.wait_until_ready()

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self.was_killed = True
        self.signal(signal.SIGKILL)
        self._running().wait()

    def stop(self, *, within: float = PATIENCE_SECONDS) -> int:
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        return self.exit_code(within=within)

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def exit_code(self, *, within: float = PATIENCE_SECONDS) -> int:
        """Wait for the end. Raises AssertionError when it does not come."""
        try:
            code = self._running().wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the daemon did not end within {within:.0f} s") from None
        self.was_killed |= code != 0  # by the kernel, or by its watchdog
        return code

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """For the end of a test: it runs no more, however the test went, and has told nobody a secret."""
        if self.is_running():
            self.kill()
        assert not canary.is_told(self.everything_said()), f"a secret is in the output of {self.home}"

    @property
    def pid(self) -> int:
        return self._running().pid

    # -- what it says -------------------------------------------------------------------------------------------

    def lines(self, event: str | None = None, **fields: object) -> list[Line]:
        """The log lines of this run so far that are of this event and have these fields."""
        self._read_on()
        wanted = {**fields, **({"event": event} if event else {})}
        return [line for line in self._lines if wanted.items() <= line.items()]

    def wait_for(self, event: str, *, count: int = 1, within: float = PATIENCE_SECONDS, **fields: object) -> Line:
        """The ``count``-th such line. AssertionError when it does not come, at once when the daemon has ended."""

        def seen() -> Line | None:
            ended = not self.is_running()
            found = self.lines(event, **fields)
            assert len(found) >= count or not ended, f"the daemon has ended without {event} {fields}:\n{self.tail()}"
            return found[count - 1] if len(found) >= count else None

        line = eventually(seen, f"{count} × {event} {fields} in the log of {self.home}", within=within)
        assert line is not None
        return line

    def plain_lines(self) -> list[str]:
        """What it wrote to standard output beside log lines."""
        self._read_on()
        return list(self._plain)

    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._file("err").read_text(errors="replace")

    def everything_said(self) -> str:
        """The output of all runs."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.home.glob("run-*")))

    def tail(self) -> str:
        """The end of this run's output, for a human being."""
        return self._file("log").read_text(errors="replace")[-4000:] + self.errors()[-2000:]

    # -- its pages ----------------------------------------------------------------------------------------------

    def wait_until_ready(self, *, within: float = PATIENCE_SECONDS) -> None:
        eventually(self._ready_or_ended, f"the daemon in {self.home} is ready", within=within)

    def page(self, path: str, *, within: float = 10) -> tuple[int, str]:
        """Status and text of a page; status 0 while nobody listens or answers."""
        port = self._listening_port()
        if not port:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=within) as answer:
                status, text = int(answer.status), str(answer.read().decode())
        except urllib.error.HTTPError as exc:
            status, text = exc.code, exc.read().decode()
        except OSError:
            return 0, ""
        assert not canary.is_told(text), f"a secret is on the page {path}"
        return status, text

    @property
    def address(self) -> str:
        """Host and port of its pages."""
        return f"127.0.0.1:{self._listening_port()}"

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all series of ``name`` that have these labels."""
        status, text = self.page("/metrics")
        assert status == 200, f"/metrics answers {status}"
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def peak_memory(self) -> int:
        """Bytes that were resident at most (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))

    # -- inside -------------------------------------------------------------------------------------------------

    def _can_be_prepared(self, changes: Mapping[str, str]) -> bool:
        usual = (self.python, self.module) == (sys.executable, "src.main") and not self.new_interpreter
        return usual and prepared.can_be_prepared({**self.settings, **changes})

    def _running(self) -> subprocess.Popen[bytes] | prepared.Prepared:
        assert self._process is not None, "it was never started"
        return self._process

    def _command(self) -> list[str]:
        return [sys.executable, "-I", str(TETHER), str(os.getpid()), self.python, "-m", self.module]

    def _environment(self, changes: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        measuring = {name: value for name, value in os.environ.items() if name.startswith(("COV_", "COVERAGE_"))}
        own = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "APP_ENV": "production", "PROM_PORT": "0"}
        return {**inherited, **measuring, **own, **self.settings, **changes}

    def _file(self, kind: str) -> Path:
        return self.home / f"run-{self.runs}.{kind}"

    def _read_on(self) -> None:
        with self._file("log").open("rb") as log:
            log.seek(self._read)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for raw in whole.splitlines():
            text = raw.decode(errors="replace")
            if text.startswith("{"):
                self._lines.append(json.loads(text))
            else:
                self._plain.append(text)

    def _ready_or_ended(self) -> bool:
        assert self.is_running(), f"the daemon has ended:\n{self.tail()}"
        return self.page("/-/ready")[0] == 200

    def _listening_port(self) -> int:
        """It takes any free port and tells nobody but the system."""
        if not self._port and self.is_running():
            ports = ports_of(self.pid)
            self._port = ports[0] if ports else 0
        return self._port
