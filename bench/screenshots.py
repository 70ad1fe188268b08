"""Photographs the status page: ``python -m bench.screenshots [--seconds 200]``.

First a real daemon with services of its own while ffmpeg records three films (into ``docs/pictures/status-page.png``
and ``live-table.svg``, and all widths into ``bench/results/status-page``), then, from made-up states, what cannot be
arranged in minutes: failures, an outage, 200 recordings, odd names. To be looked at after every change of the page.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser

from bench.terminal import captured
from scripts.picture import drawn
from tests.harness import statuses
from tests.harness.browser import browser
from tests.harness.page_site import page_site

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "status-page"
PICTURE = ROOT / "docs" / "pictures" / "status-page.png"
TABLE = ROOT / "docs" / "pictures" / "live-table.svg"
_TABLE_TITLE, _TABLE_COLUMNS = "cefmp4 status --watch while three cameras record", 100
_SCREENS = ((360, "dark"), (768, "light"), (1440, "light"))
_START_SECONDS = 120.0
#: Name, picture size, bit rate in kbit/s.
_FILMS = (
    ("cam1/2026-11-28T12-00-00.mp4", "640x360", 4000),
    ("cam2/2026-11-28T12-00-00.mp4", "640x360", 6000),
    ("lecture hall/monday.mp4", "640x360", 3000),
)


def main() -> int:
    """Take all pictures; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.screenshots", description="Photographs the status page.")
    parser.add_argument("--seconds", type=int, default=200, help="how long the films run before (default: 200)")
    parser.add_argument("--made-up-only", action="store_true", help="only the made-up states")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        if not arguments.made_up_only:
            with (
                tempfile.TemporaryDirectory(prefix="cefmp4-") as home,
                _recording_daemon(Path(home)) as (address, environment),
            ):
                time.sleep(arguments.seconds)
                _draw_table(environment)
                _take(chromium, address, "recording")
                _photograph(chromium, address, PICTURE, width=1200, scheme="light")
        with page_site() as site:
            for name in ("troubled", "idle", "crowd", "odd"):
                site.show(getattr(statuses, name)())
                _take(chromium, site.address, name, whole=name in ("troubled", "idle"))
    return 0


def _draw_table(environment: Mapping[str, str]) -> None:
    shown = captured("status --watch", _TABLE_COLUMNS, environment)
    printed = ["$ cefmp4 status --watch", *shown.splitlines()]
    TABLE.write_text(drawn(printed, _TABLE_TITLE, _TABLE_COLUMNS), encoding="utf-8")


def _take(chromium: Browser, address: str, name: str, *, whole: bool = True) -> None:
    """A phone in the dark, a tablet and a desk in the light."""
    for width, scheme in _SCREENS:
        target = RESULTS / f"{name}-{width}-{scheme}.png"
        _photograph(chromium, address, target, width=width, scheme=scheme, whole=whole)


def _photograph(chromium: Browser, address: str, target: Path, *, width: int, scheme: str, whole: bool = True) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 760 if width > 800 else 900},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_timeout(500)
    page.screenshot(path=target, full_page=whole)
    context.close()
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size // 1024} KB", flush=True)


@contextmanager
def _recording_daemon(home: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A daemon and its recorders, which end with the block: the page's address, and the environment of commands."""
    folder = Path(tempfile.gettempdir()) / "recordings"  # it is in the picture
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "EMBEDDED_SERVICES": "auto",
        "WATCH_DIR": str(folder),
        "PROM_PORT": "0",
        "CHUNK_SIZE_BYTES": str(5 * 1024 * 1024),
    }
    for name, _, _ in _FILMS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
    log = home / "log"
    with ExitStack() as stack, log.open("wb") as out:
        stack.callback(shutil.rmtree, folder)
        daemon = subprocess.Popen([sys.executable, "-m", "src.main"], cwd=home, env=environment, stdout=out)
        stack.callback(_end, daemon)
        address = _printed_address(log, daemon)
        shutil.copy(ROOT / "test_data" / "sample.mp4", folder / "opening.mp4")
        for name, size, kbits in _FILMS:
            stack.callback(_end, subprocess.Popen(_film(folder / name, size, kbits)))
        yield address, environment


def _film(path: Path, size: str, kbits: int) -> list[str]:
    rate = f"{kbits}k"
    return [
        *("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-re"),
        *(
            "-f",
            "lavfi",
            "-i",
            f"testsrc2=size={size}:rate=25",
            "-t",
            "3600",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ),
        *("-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate, "-x264-params", "nal-hrd=cbr"),
        # Fragments of two seconds, as the guides advise: a film that plays whatever happens.
        *("-g", "50", "-movflags", "+frag_keyframe+empty_moov+default_base_moof", "-flush_packets", "1", str(path)),
    ]


def _printed_address(log: Path, daemon: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and daemon.poll() is None:
        if found := re.search(r"^Status page +(http\S+)", log.read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
        time.sleep(0.2)
    raise SystemExit(log.read_text(encoding="utf-8")[-2000:])


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
