"""Nobody behind another, with the real process: what hangs for some recordings keeps no other one waiting.

Each service hangs for many times more recordings than there are turns at the store, and for more than there are
connections to Redis or threads that read; the files hang in FUSE.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import pytest

from tests.harness.e2e.bucket import SUFFIX
from tests.harness.e2e.daemon import PATIENCE_SECONDS, eventually
from tests.harness.e2e.recorders import CHUNK, write
from tests.harness.e2e.stage import Stage
from tests.harness.faulty_redis import Fault, FaultyRedis, Rule
from tests.harness.faulty_s3 import FaultyS3, stall
from tests.harness.faulty_s3 import Rule as S3Rule
from tests.harness.hanging_files import HangingFiles, Operation, hanging_files

pytestmark = [pytest.mark.slow, pytest.mark.versitygw, pytest.mark.redis]

SLOTS = 2
PARTS = 2
MANY = 8 * (SLOTS + 1)
#: Seconds after which every other recording is complete.
SOON = 60.0
REDIS_CONNECTIONS = 16
READING_THREADS = 4
SMALL = 100_000
LARGE = CHUNK + 5
#: What the process itself may grow by: code, records, threads and what is read in passes.
OWN = 24 * 1024 * 1024


#: By name: how many recordings of which size, and what makes one of them hang.
_Kinds = dict[str, tuple[int, int, Callable[[str], None]]]


@dataclass
class Scene:
    """A daemon with few turns, and ways to let each of its services hang for single recordings."""

    stage: Stage
    s3: FaultyS3
    redis: FaultyRedis
    files: HangingFiles
    at_s3: list[S3Rule] = field(default_factory=list)

    def is_held_by_those_that_hang(self, when: str) -> bool:
        """Whether as many hang with a part, or with the whole file, as there are turns."""
        bodies = [rule for rule in self.at_s3 if rule.operation in ("UploadPart", "PutObject")]
        sending = sum(rule._met > 0 for rule in bodies if not str(rule.key).endswith(SUFFIX))
        return (self.files.hung() if when == "disk" else sending) >= SLOTS

    def put(self, name: str, size: int) -> Path:
        """A recording that is closed already, as it is seen in the share."""
        write(self.stage.home / "made", size, seed=len(name) + sum(map(ord, name)))
        (self.stage.home / "made").replace(self.files.source / name)
        return self.files.mount / name

    def hang_at_s3(self, operation: str | None, name: str, suffix: str = "") -> None:
        self.at_s3.append(self.s3.on(operation, stall(), key=f"share/{name}{suffix}", times=None))

    def hang_at_redis(self, name: str) -> None:
        self.redis.add(Rule(Fault("stall"), about=name.encode(), times=None))

    def check_others(self, when: str, within: float = SOON) -> None:
        """Two recordings, in the share and outside, are complete soon after they were closed."""
        inside = self.put(f"good {when}.mp4", LARGE)
        outside = self.stage.folder / inside.name
        write(outside, LARGE, seed=9)
        for path in (inside, outside):
            document = self.stage.wait_until_done(path, within=within)
            assert document["total_size_bytes"] == LARGE

    def end(self) -> None:
        """All is well again."""
        self.s3.cut()
        self.redis.clear()
        self.redis.cut()
        self.files.end()


@contextmanager
def set_scene(stage: Stage) -> Iterator[Scene]:
    url = urlparse(stage.redis_url)
    with (
        FaultyS3(urlparse(stage.store.endpoint).port or 0) as s3,
        FaultyRedis(url.port or 0) as redis,
        hanging_files(stage.home / "source", stage.folder / "share") as files,
    ):
        stage.settings |= {
            "S3_ENDPOINT_URL": s3.url,
            "REDIS_URL": url._replace(netloc=url.netloc.replace(f":{url.port}", f":{redis.port}")).geturl(),
            "MAX_CONCURRENT_STREAMS": str(SLOTS),
            "PARTS_IN_FLIGHT": str(PARTS),
            "WATCH_SCAN_SECONDS": "1",
        }
        yield Scene(stage, s3, redis, files)


@pytest.mark.ffmpeg
def test_what_hangs_for_some_recordings_keeps_no_other_waiting(stage: Stage) -> None:
    with set_scene(stage) as scene:
        daemon = stage.daemon  # with the scene's settings
        daemon.start_and_wait()
        stage.wait_until_done(scene.put("first.mp4", LARGE * 2))
        before, pid = daemon.peak_memory(), daemon.pid
        services: _Kinds = {
            "whole": (SLOTS + 1, LARGE, partial(scene.hang_at_s3, None)),
            "part": (SLOTS + 1, LARGE, partial(scene.hang_at_s3, "UploadPart")),
            "one request": (MANY, SMALL, partial(scene.hang_at_s3, "PutObject")),
            "document": (SLOTS + 1, SMALL, partial(scene.hang_at_s3, "PutObject", suffix=SUFFIX)),
            "redis": (REDIS_CONNECTIONS + MANY, SMALL, scene.hang_at_redis),
        }
        disk: _Kinds = {
            "chunk": (SLOTS + 1, LARGE, scene.files.hang),
            "pass": (MANY, SMALL, scene.files.hang),
            "probe": (MANY, SMALL, partial(scene.files.hang, whose=pid)),
        }
        harmed = []
        for when, kinds in (("services", services), ("disk", disk)):
            for kind, (count, size, hang) in kinds.items():
                for name in [f"{kind} {number}.mp4" for number in range(count)]:
                    hang(name)
                    harmed.append(scene.put(name, size))
            eventually(partial(scene.is_held_by_those_that_hang, when), "all turns are taken")
            scene.check_others(f"beside {when}")
        assert daemon.page("/-/healthy")[0] == daemon.page("/-/ready")[0] == 200
        for name in ("chunk 0.mp4", "pass 0.mp4"):
            told = daemon.wait_for("operation_failed", operation="file_read", file_path=f"share/{name}")
            assert "no response" in told["error"] and "disk" in told["hint"]
            labels = {"stream_id": told["stream_id"], "operation_type": "file_read"}
            assert daemon.metric("video_failed_operations_total", **labels) > 0
        assert daemon.peak_memory() - before < SLOTS * PARTS * CHUNK + OWN
        scene.end()
        for path in harmed:
            stage.wait_until_done(path)
        assert daemon.pid == pid and daemon.runs == 1
        assert daemon.lines("unexpected_error") == daemon.lines("stream_failed") == []


@pytest.mark.ffmpeg
def test_files_that_hang_delay_no_stop_and_one_that_hangs_when_it_is_closed_stops_nobody(stage: Stage) -> None:
    """Whatever a child inherits it closes: there an ffprobe of another recording may hang, but not the daemon."""
    names = [f"bad {number}.mp4" for number in range(READING_THREADS + 1)]
    with set_scene(stage) as scene:
        daemon = stage.daemon  # with the scene's settings
        daemon.start_and_wait(SHUTDOWN_GRACE_SECONDS="2")
        scene.files.hang(*names)
        for name in names:
            scene.put(name, SMALL)
        eventually(lambda: scene.files.met() == set(names), "all of them hang")
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("daemon_stopped")
        assert daemon.exit_code(within=30) == 0
        assert daemon.lines("event_loop_hung") == []

        scene.files.hang(*names, at=(Operation.READ, Operation.FLUSH))
        daemon.start_and_wait(FFPROBE_TIMEOUT_SECONDS="5")
        eventually(lambda: scene.files.hung() >= len(names), "all of them hang again")
        scene.check_others("meanwhile", within=PATIENCE_SECONDS)
        assert daemon.page("/-/healthy")[0] == 200
        scene.end()
        for name in names:
            stage.wait_until_done(scene.files.mount / name)
