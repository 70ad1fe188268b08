"""One round of a soak: a folder, a Redis, a store, a daemon, some recordings, many kills; then quiet, and the audit.

Start it in a thread that lives as long as the round: its processes end with that thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from botocore.exceptions import BotoCoreError, ClientError

from tests.harness.e2e.bucket import Bucket, sha256
from tests.harness.e2e.daemon import Daemon
from tests.harness.e2e.recorders import CHUNK
from tests.harness.e2e.stage import Stage
from tests.harness.servers import RedisServer, start_minio, start_redis, start_versitygw

from .soak_auditor import Audit, Foreign
from .soak_faults import STOP_SECONDS, Faults, Sleep
from .soak_recorders import FOREIGN_NAME, RECORDERS, Recorder, Take, record

STORES = {"versitygw": start_versitygw, "minio": start_minio}
_RECORDINGS = 9
_SETTINGS = {
    "STREAM_TIMEOUT_SECONDS": "1.5",
    "WATCH_SCAN_SECONDS": "1",
    "SHUTDOWN_GRACE_SECONDS": "5",
    "CHUNK_SIZE_BYTES": str(CHUNK),
}
_LOOK_SECONDS = 0.3
_JOIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """``may_kill``: whether there is time for another kill. ``settle_seconds``: for the quiet after the last one.

    ``assembling_seconds``: how long the daemon waits for a completion without an answer; None: the default.
    """

    kills: int
    settle_seconds: float
    assembling_seconds: float | None
    may_kill: Callable[[], bool]
    sleep: Sleep
    store: str = "versitygw"


@dataclass(frozen=True, slots=True)
class Round:
    """The result of one round."""

    home: Path
    seed: str
    kills: Counter[str]
    others: Counter[str]
    recordings: int
    bytes: int
    probe_uploads: int
    mismatches: list[str]
    seconds: float


def play(home: Path, seed: str, ffmpeg: Path, source: Path, limits: Limits) -> Round:
    """One round, audited. Raises ``Interrupted`` if the soak is being stopped; ends all its processes."""
    began, chance = time.monotonic(), random.Random(seed)
    with _set_stage(home, limits) as (stage, memory), ExitStack() as stack:
        foreign = _put_foreign(stage, chance)
        faults = Faults(stage, stage.store, memory, chance, limits.sleep)
        recorders = Recorders(stage, chance, ffmpeg, source, limits.kills)
        stack.callback(recorders.stop)
        stage.daemon.start()
        _kill_often(faults, recorders, limits)
        calm = time.time()
        rolled_back = faults.kills["Redis, rolled back"] > 0
        trouble = [*faults.trouble, *_settle(stage, recorders, limits, rolled_back=rolled_back)]
        secrets = (stage.store.secret_key, memory.password or "")
        quiet = float(_SETTINGS["STREAM_TIMEOUT_SECONDS"])
        audit = Audit(stage, recorders.takes, foreign, secrets, forgot=faults.forgot, calm_since=calm, quiet=quiet)
        result = Round(
            home=home,
            seed=seed,
            kills=faults.kills,
            others=faults.others,
            mismatches=[*trouble, *audit.mismatches()],
            recordings=len(audit.takes),
            bytes=audit.bytes,
            probe_uploads=audit.probe_uploads,
            seconds=time.monotonic() - began,
        )
        if result.mismatches:
            _write_report(result, audit)
    return result


@contextmanager
def _set_stage(home: Path, limits: Limits) -> Iterator[tuple[Stage, RedisServer]]:
    home.mkdir()
    password = f"canary-{random.SystemRandom().getrandbits(64):x}"
    with (
        STORES[limits.store](home / "store") as store,
        start_redis(home / "redis", persistent=True, password=password) as memory,
    ):
        stage = Stage(home, store, memory.url, "soak:", Bucket(store, "soak"), dict(_SETTINGS))
        stage.redis = redis.Redis.from_url(memory.url, decode_responses=True, encoding_errors="surrogateescape")
        if limits.assembling_seconds is not None:
            stage.daemon.module = "bench.soak_daemon"
            stage.daemon.settings["SOAK_ASSEMBLY_SECONDS"] = str(limits.assembling_seconds)
        try:
            yield stage, memory
        finally:
            stage.daemon.end()


def _put_foreign(stage: Stage, chance: random.Random) -> list[Foreign]:
    stage.bucket.client.create_bucket(Bucket=stage.bucket.name)
    keys = (FOREIGN_NAME.decode(), "stranger.mp4")
    return [Foreign.put(stage.bucket, key, chance.randbytes(1000)) for key in keys]


@dataclass
class Recorders:
    """The recordings of a round, each in a thread; their starts are spread over its kills."""

    stage: Stage
    chance: random.Random
    ffmpeg: Path
    source: Path
    kills: int
    takes: list[Take] = field(default_factory=list)
    _kinds: list[str] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._kinds = self.chance.sample(list(RECORDERS), _RECORDINGS)
        self._beside.mkdir()

    def begin_those_due(self, kills: int) -> None:
        """Start the recordings due after this number of kills. Three begin with the round, the last well before its
        last kill."""
        due = 3 + int(kills / (0.8 * self.kills) * _RECORDINGS)
        for number in range(len(self._threads), min(due, _RECORDINGS)):
            arguments = (self._kinds[number], self._recorder(number))
            self._threads.append(threading.Thread(target=self._record, args=arguments, daemon=True))
            self._threads[-1].start()

    def are_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    @property
    def _beside(self) -> Path:
        return self.stage.home / "beside"

    def _recorder(self, number: int) -> Recorder:
        return Recorder(
            folder=self.stage.folder,
            beside=self._beside,
            number=number,
            random=random.Random(self.chance.getrandbits(64)),
            stopping=self._stopping,
            ffmpeg=self.ffmpeg,
            source=self.source,
            completed=lambda path: completed(self.stage.bucket, path),
        )

    def _record(self, kind: str, recorder: Recorder) -> None:
        self.takes.append(record(kind, recorder))


def completed(bucket: Bucket, path: Path) -> tuple[str, str] | None:
    """Key and SHA-256 of the object made of the file as it is now, once it is described; else None. None also during an
    outage of the store."""
    with suppress(BotoCoreError, ClientError):
        return _completed(bucket, path)
    return None


def _completed(bucket: Bucket, path: Path) -> tuple[str, str] | None:
    status = path.stat()
    wanted = (status.st_ino, status.st_mtime_ns, status.st_size)
    for key, document in bucket.documents().items():
        file = document["file"]
        if (file["inode"], file["mtime_ns"], file["size_bytes"]) == wanted:
            return (key, sha256(path)) if key in bucket.objects() else None
    return None


def _kill_often(faults: Faults, recorders: Recorders, limits: Limits) -> None:
    """Until the number of kills is reached, or there is no time for more; all recordings are begun in any case."""
    while faults.kills.total() < limits.kills and limits.may_kill():
        recorders.begin_those_due(faults.kills.total())
        faults.strike()
    recorders.begin_those_due(limits.kills)


def _settle(stage: Stage, recorders: Recorders, limits: Limits, *, rolled_back: bool) -> list[str]:
    """Wait until all work is done, then stop the daemon; returns the violations.

    A Redis that was ``rolled_back`` while the daemon ran shows finished streams as unfinished until the next start.
    """
    until = time.monotonic() + limits.settle_seconds
    while not (recorders.are_done() and _is_quiet(stage) and _are_described(stage, recorders.takes)):
        if not stage.daemon.is_running():
            return [_ended_by_itself(stage.daemon)]
        if rolled_back and recorders.are_done() and _are_described(stage, recorders.takes):
            stage.daemon.stop(within=STOP_SECONDS)
            stage.daemon.start()
            rolled_back = False
        if time.monotonic() > until:
            return [f"not settled within {limits.settle_seconds:.0f} s"]
        limits.sleep(_LOOK_SECONDS)
    code = stage.daemon.stop(within=STOP_SECONDS)
    return [f"the last stop ended with exit code {code}"] if code else []


def _ended_by_itself(daemon: Daemon) -> str:
    return f"run {daemon.runs} ended by itself, exit code {daemon.exit_code()}"


def _is_quiet(stage: Stage) -> bool:
    """It has started, has resumed its streams, and they are done."""
    recovered = bool(stage.daemon.lines("streams_recovered"))
    return recovered and not stage.members("active") and not stage.members("pending_completion")


def _are_described(stage: Stage, takes: list[Take]) -> bool:
    return all(take.facts is None or completed(stage.bucket, take.path) is not None for take in takes)


def _write_report(result: Round, audit: Audit) -> None:
    """For people: the violations and the state. The data themselves stay where they are."""
    stage = audit.stage
    lines = [f"seed {result.seed}", f"kills {dict(result.kills)}", f"other faults {dict(result.others)}", ""]
    lines += ["mismatches:", *result.mismatches, "", "recordings:"]
    lines += [repr(take) for take in audit.takes]
    lines += ["", "objects:", *(f"{there.body.digest} {key!r}" for key, there in audit.objects.items())]
    lines += ["", "open uploads:", *map(repr, stage.bucket.open_uploads()), "", "Redis:"]
    for key in stage.redis_keys("*"):
        kind = stage.redis.type(key)
        value = stage.redis.hgetall(key) if kind == "hash" else stage.redis.smembers(key) if kind == "set" else kind
        lines.append(f"{key}: {value}")
    (result.home / "report.txt").write_text("\n".join(lines), errors="backslashreplace")
