"""Captures the commands in a real terminal: ``python -m bench.terminal``.

A real daemon with services of its own, recordings that grow, one that has failed, and some of the odd names of the
tests' corpus. ``tmux`` shows ``status``, ``status --watch``, ``config --changed`` and ``give-up`` in 60, 80 and 200
columns; what it shows is written to ``bench/results/terminal``. To be looked at after every change of the commands.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.corpus.names import RECORDINGS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "terminal"
WIDTHS = (60, 80, 200)
_HEIGHT = 50
_ODD = 14
_PATIENCE_SECONDS = 60.0
_CHUNK = 5 * 1024 * 1024
_COMMANDS = {
    "status": "status",
    "watch": "status --watch",
    "recording": "status cam1/0800.mp4",
    "give-up": "give-up cam2/gate.mp4",
    "config": "config --changed",
}


def main() -> int:
    """Take all captures; the exit code."""
    if shutil.which("tmux") is None:
        print("tmux is not installed", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cefmp4-") as home:
        environment = _environment(Path(home))
        with _recording_daemon(Path(home), environment):
            for name, command in _COMMANDS.items():
                for width in WIDTHS:
                    text = f"$ cefmp4 {command}\n{captured(command, width, environment)}"
                    (RESULTS / f"{name}-{width}.txt").write_text(text, encoding="utf-8")
                    print(f"{name}-{width}.txt", flush=True)
    return 0


def _environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "EMBEDDED_SERVICES": "auto",
        "EMBEDDED_DATA_DIR": str(home / "data"),
        "WATCH_DIR": str(home / "recordings"),
        "WATCH_SCAN_SECONDS": "2",
        "STREAM_TIMEOUT_SECONDS": "300",
        "PROM_PORT": "0",
        "CHUNK_SIZE_BYTES": str(_CHUNK),
        "LANG": "C.UTF-8",
    }


def captured(command: str, width: int, environment: Mapping[str, str]) -> str:
    """What ``cefmp4 COMMAND`` shows in a terminal of ``width`` columns, as soon as it shows something."""
    socket = f"cefmp4-{os.getpid()}-{time.monotonic_ns()}"
    tmux = ("tmux", "-L", socket, "-f", "/dev/null", "-u")
    shown = f"{sys.executable} -m src {command}; sleep 60"
    subprocess.run(
        [*tmux, "new-session", "-d", "-x", str(width), "-y", str(_HEIGHT), shown], env=environment, check=True
    )
    try:
        until, before = time.monotonic() + _PATIENCE_SECONDS, -1
        while time.monotonic() < until:
            time.sleep(1)
            got = subprocess.run([*tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True)
            if got.stdout.strip() and got.stdout.count("\n\n") == before:  # all of it is drawn
                return got.stdout.rstrip() + "\n"
            before = got.stdout.count("\n\n") if got.stdout.strip() else -1
        raise SystemExit(f"{command} shows nothing")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


@contextmanager
def _recording_daemon(home: Path, environment: dict[str, str]) -> Iterator[None]:
    folder = home / "recordings"
    for name in ("cam1", "cam2", "lecture hall"):
        (folder / name).mkdir(parents=True)
    with (home / "log").open("wb") as out:
        daemon = subprocess.Popen([sys.executable, "-m", "src"], cwd=home, env=environment, stdout=out)
    ended = threading.Event()
    try:
        growing = [folder / "cam1" / "0800.mp4", folder / "lecture hall" / "monday.mp4"]
        recorders = [threading.Thread(target=_grow, args=(path, ended)) for path in growing]
        for recorder in recorders:
            recorder.start()
        names = [each for each in RECORDINGS if b"/" not in each.path]
        for odd in names[:: len(names) // _ODD]:
            with suppress(OSError):
                Path(os.fsdecode(os.fsencode(folder) + b"/" + odd.path)).write_bytes(os.urandom(3000))
        gate = folder / "cam2" / "gate.mp4"
        gate.write_bytes(os.urandom(3 * _CHUNK + 10))
        _wait(home, b"part_stored", b"cam2/gate.mp4", 3)
        gate.unlink()
        _wait(home, b"stream_failed", b"cam2/gate.mp4", 1)
        yield
    finally:
        ended.set()
        for recorder in recorders:
            recorder.join()
        daemon.terminate()
        daemon.wait(60)


def _grow(path: Path, ended: threading.Event) -> None:
    with path.open("wb", buffering=0) as file:
        while not ended.wait(0.5):
            file.write(os.urandom(_CHUNK // 10))


def _wait(home: Path, event: bytes, path: bytes, count: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        lines = (home / "log").read_bytes().splitlines()
        if sum(event in line and path in line for line in lines) >= count:
            return
        time.sleep(0.5)
    raise SystemExit((home / "log").read_text(errors="replace")[-3000:])


if __name__ == "__main__":
    sys.exit(main())
