"""What ``main`` does besides serving: it ends whatever hangs, and asks again for what a hiccup hid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from src import main
from src.domain import moments
from src.exceptions import S3Unavailable
from tests.harness.fakes.telemetry import FakeTelemetry

ROOT = Path(__file__).parents[2]
HUNG_AND_CRASHED = """
import asyncio, time
from src import main

async def crash(*_):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
    await asyncio.sleep(0.1)
    raise RuntimeError("nobody foresaw this")

main._serve_until = crash
main._LAST_SECONDS = 0.5
raise SystemExit(main.main([]))
"""


def test_a_process_that_crashes_while_a_thread_hangs_ends_all_the_same(tmp_path: Path) -> None:
    settings = {"S3_BUCKET_NAME": "video-streams", "WATCH_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1/0"}
    command = [sys.executable, "-c", HUNG_AND_CRASHED]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PROM_PORT": "0", **settings}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, timeout=120, capture_output=True, check=False)
    assert ended.returncode == 1, ended.stderr


class _Store:
    """Tells the days of a rule after some hiccups."""

    def __init__(self, hiccups: int) -> None:
        self.hiccups = hiccups

    async def days_of_an_upload(self) -> int | None:
        if self.hiccups:
            self.hiccups -= 1
            raise S3Unavailable("503", operation="get_bucket_lifecycle_configuration")
        return 1


@pytest.mark.parametrize("hiccups", [0, 1, 2])
async def test_a_hiccup_does_not_silence_the_warning_of_rules_that_end_uploads(
    hiccups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "_REFUSED_SECONDS", 0.0)
    telemetry = FakeTelemetry()
    await main._tell_when_uploads_expire(_Store(hiccups), telemetry)  # type: ignore[arg-type]
    assert telemetry.moments == [moments.LifecycleRuleTooShort(1)]
