"""One round of a soak: a folder, a Redis, a store, a daemon, some recordings, many kills; then quiet, and the audit.

Start it in a thread that lives as long as the round: what it starts ends with that thread.
"""

from __future__ import annotations

import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.e2e.bucket import Bucket, sha256
from tests.e2e.recorders import CHUNK
from tests.e2e.stage import Stage, frozen
from tests.servers import RedisServer, S3Server, Server, start_redis, start_versitygw

from .soak_auditor import Audit, Foreign
from .soak_recorders import FOREIGN_NAME, RECORDERS, Interrupted, Recorder, Take, record

_RECORDINGS = 9
_SETTINGS = {
    "STREAM_TIMEOUT_SECONDS": "1.5",
    "WATCH_SCAN_SECONDS": "1",
    "SHUTDOWN_GRACE_SECONDS": "5",
    "CHUNK_SIZE_BYTES": str(CHUNK),
}
#: After one of these lines, or after none in time, a kill comes: half of all kills aim at what they announce.
_FINISHING = ("stream_went_idle", "stream_sealed", "object_proved", "object_being_replaced")
_GROWING = ("stream_started", "stream_resumed", "part_stored", "upload_adopted")
_LONGEST_WAIT_SECONDS = 4.0
_START_SECONDS = 20.0
_STOP_SECONDS = 90.0
_LOOK_SECONDS = 0.02

Sleep = Callable[[float], None]


@dataclass
class Round:
    """What happened in one round. ``kills`` counts processes killed or told to end, by kind; ``pauses`` the others."""

    home: Path
    seed: str
    recordings: int = 0
    bytes: int = 0
    seconds: float = 0.0
    probe_uploads: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    pauses: Counter[str] = field(default_factory=Counter)
    mismatches: list[str] = field(default_factory=list)


@dataclass
class Killer:
    """Kills one of the three at a moment of its own choosing, and starts it again."""

    stage: Stage
    store: S3Server
    memory: RedisServer
    chance: random.Random
    sleep: Sleep
    result: Round
    wiped: bool = False

    def strike(self) -> None:
        """One fault; everything runs again afterwards."""
        self._wait_for_a_moment()
        self._expect_running()
        faults = {
            self._kill_daemon: 56,
            self._stop_daemon: 9,
            self._stop_and_kill_daemon: 4,
            self._pause_daemon: 5,
            self._pause_server: 4,
            self._kill_redis: 7,
            self._wipe_redis: 3,
            self._kill_store: 8,
            self._kill_all: 4,
        }
        self.chance.choices(list(faults), list(faults.values()))[0]()
        if not self.stage.daemon.is_running():
            self.stage.daemon.start()

    # -- moments --------------------------------------------------------------------------------------------------

    def _wait_for_a_moment(self) -> None:
        if self.chance.random() < 0.9:  # the others may hit the start
            self._wait_for_line(("daemon_started",), new=False, longest=_START_SECONDS)
        if self.chance.random() < 0.5:
            self._wait_for_line(_FINISHING if self.chance.random() < 0.7 else _GROWING)
            self.sleep(self.chance.uniform(0, 0.3))
        else:
            self.sleep(self.chance.uniform(0.005, 3.0))

    def _wait_for_line(
        self, events: tuple[str, ...], *, new: bool = True, longest: float = _LONGEST_WAIT_SECONDS
    ) -> None:
        def seen() -> int:
            return sum(len(self.stage.daemon.lines(event)) for event in events)

        before = seen() if new else 0
        until = time.monotonic() + longest
        while seen() <= before and time.monotonic() < until and self.stage.daemon.is_running():
            self.sleep(_LOOK_SECONDS)

    def _expect_running(self) -> None:
        daemon = self.stage.daemon
        if not daemon.is_running():
            self.result.mismatches.append(f"run {daemon.runs} ended by itself, exit code {daemon.exit_code()}")
            daemon.start()

    # -- faults ---------------------------------------------------------------------------------------------------

    def _kill_daemon(self) -> None:
        self.stage.daemon.kill()
        self.result.kills["daemon SIGKILL"] += 1

    def _stop_daemon(self) -> None:
        daemon = self.stage.daemon
        started = bool(daemon.lines("daemon_started"))
        code = daemon.stop(within=_STOP_SECONDS)
        if code != 0 and (started or code != -signal.SIGTERM):
            self.result.mismatches.append(f"run {daemon.runs} was told to stop and ended with exit code {code}")
        self.result.kills["daemon SIGTERM"] += 1

    def _stop_and_kill_daemon(self) -> None:
        self.stage.daemon.signal(signal.SIGTERM)
        self.sleep(self.chance.uniform(0, 0.5))
        self.stage.daemon.kill()
        self.result.kills["daemon SIGTERM, then SIGKILL"] += 1

    def _pause_daemon(self) -> None:
        self.stage.daemon.signal(signal.SIGSTOP)
        try:
            self.sleep(self.chance.uniform(0.2, 4.0))
        finally:
            self.stage.daemon.signal(signal.SIGCONT)
        self.result.pauses["daemon"] += 1

    def _pause_server(self) -> None:
        server = self.chance.choice((self.store, self.memory))
        with frozen(server):
            self.sleep(self.chance.uniform(0.2, 4.0))
        self.result.pauses[server.name] += 1

    def _kill_redis(self) -> None:
        self._restart(self.memory)
        self.result.kills["Redis SIGKILL"] += 1

    def _wipe_redis(self) -> None:
        self.wiped = True
        self._restart(self.memory, self._remove_data)
        self.result.kills["Redis SIGKILL, data wiped"] += 1

    def _kill_store(self) -> None:
        self._restart(self.store)
        self.result.kills["S3 SIGKILL"] += 1

    def _kill_all(self) -> None:
        """In any order, within a moment."""
        victims = [self.stage.daemon.kill, self.memory.kill, self.store.kill]
        self.chance.shuffle(victims)
        for kill in victims:
            kill()
        for server in (self.memory, self.store):
            server.start()
        self.result.kills["daemon, Redis and S3 SIGKILL"] += 1

    def _restart(self, server: Server, between: Callable[[], None] = lambda: None) -> None:
        server.kill()
        between()
        try:
            self.sleep(self.chance.choice((0.0, self.chance.uniform(0, 2.5))))
        finally:
            server.start()

    def _remove_data(self) -> None:
        shutil.rmtree(self.memory.directory / "appendonlydir")


@dataclass
class Recorders:
    """The recordings of a round, each in a thread; they begin spread over its kills."""

    make: Callable[[int], Recorder]
    kinds: list[str]
    kills: int
    takes: list[Take] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def begin_those_due(self, kills: int) -> None:
        """The last begins well before the last kill."""
        while len(self.threads) < len(self.kinds) and kills >= self.kills * 0.8 * (len(self.threads) - 2) / len(
            self.kinds
        ):
            number = len(self.threads)
            thread = threading.Thread(target=self._record, args=(self.kinds[number], self.make(number)), daemon=True)
            self.threads.append(thread)
            thread.start()

    def are_done(self) -> bool:
        return not any(thread.is_alive() for thread in self.threads)

    def _record(self, kind: str, recorder: Recorder) -> None:
        self.takes.append(record(kind, recorder))


@dataclass(frozen=True, slots=True)
class Limits:
    """``may_kill``: whether there is time for another kill. ``settle_seconds``: for the quiet after the last one."""

    kills: int
    settle_seconds: float
    may_kill: Callable[[], bool]
    sleep: Sleep


def play(home: Path, seed: str, ffmpeg: Path, source: Path, limits: Limits) -> Round:
    """One round, audited. Raises ``Interrupted`` when the soak is being stopped; ends all that it started."""
    began, chance = time.monotonic(), random.Random(seed)
    result = Round(home, seed)
    with _set_stage(home) as (stage, memory), ExitStack() as stack:
        foreign = _put_foreign(stage, chance)
        killer = Killer(stage, stage.store, memory, chance, limits.sleep, result)
        recorders = _recorders(stage, chance, ffmpeg, source, limits, stack)
        stage.daemon.start()
        _kill_often(killer, recorders, limits)
        settled = _settle(stage, recorders, limits, result)
        audit = Audit(
            stage,
            recorders.takes,
            foreign,
            secrets=(stage.store.secret_key, memory.password or "-"),
            wiped=killer.wiped,
        )
        if settled and (code := stage.daemon.stop(within=_STOP_SECONDS)) != 0:
            result.mismatches.append(f"the last stop ended with exit code {code}")
        result.mismatches += audit.mismatches()
        result.recordings, result.bytes = len(recorders.takes), audit.bytes
        result.probe_uploads = audit.probe_uploads
        if result.mismatches:
            _write_report(result, audit)
    result.seconds = time.monotonic() - began
    return result


@contextmanager
def _set_stage(home: Path) -> Iterator[tuple[Stage, RedisServer]]:
    password = f"canary-{random.SystemRandom().getrandbits(64):x}"
    with (
        start_versitygw(home / "store") as store,
        start_redis(home / "redis", persistent=True, password=password) as memory,
    ):
        stage = Stage(home, store, memory.url, "soak:", Bucket(store, "soak"), dict(_SETTINGS))
        stage.redis = redis.Redis.from_url(memory.url, decode_responses=True, encoding_errors="surrogateescape")
        try:
            yield stage, memory
        finally:
            stage.daemon.end()


def _put_foreign(stage: Stage, chance: random.Random) -> list[Foreign]:
    stage.bucket.client.create_bucket(Bucket=stage.bucket.name)
    found = []
    for key in (FOREIGN_NAME.decode(), "stranger.mp4"):
        body = chance.randbytes(1000)
        stage.bucket.put(key, body)
        etag = stage.bucket.client.head_object(Bucket=stage.bucket.name, Key=key)["ETag"]
        found.append(Foreign(key, body, etag))
    return found


def _recorders(
    stage: Stage, chance: random.Random, ffmpeg: Path, source: Path, limits: Limits, stack: ExitStack
) -> Recorders:
    """They are told to stop, and waited for, when the stack is unwound."""
    beside = stage.home / "beside"
    beside.mkdir()
    stopping = threading.Event()

    def make(number: int) -> Recorder:
        own = random.Random(chance.getrandbits(64))
        return Recorder(
            stage.folder, beside, number, own, stopping, ffmpeg, source, lambda path: completed(stage.bucket, path)
        )

    recorders = Recorders(make, chance.sample(list(RECORDERS), _RECORDINGS), limits.kills)

    def stop() -> None:
        stopping.set()
        for thread in recorders.threads:
            thread.join(30)

    stack.callback(stop)
    return recorders


def completed(bucket: Bucket, path: Path) -> tuple[str, str] | None:
    """Key and SHA-256 of the object made of the file as it is now, once it is described; else None."""
    status = path.stat()
    for key, document in bucket.documents().items():
        facts = document["file"]
        if (facts["inode"], facts["mtime_ns"], facts["size_bytes"]) == (
            status.st_ino,
            status.st_mtime_ns,
            status.st_size,
        ):
            return (key, sha256(path)) if (bucket.folder / key).is_file() else None
    return None


def _kill_often(killer: Killer, recorders: Recorders, limits: Limits) -> None:
    for number in range(limits.kills):
        if not limits.may_kill():
            break
        recorders.begin_those_due(number)
        killer.strike()
    recorders.begin_those_due(limits.kills)


def _settle(stage: Stage, recorders: Recorders, limits: Limits, result: Round) -> bool:
    """Wait until nothing is under way any more."""
    until = time.monotonic() + limits.settle_seconds
    while not (recorders.are_done() and _is_quiet(stage) and _are_described(stage, recorders.takes)):
        if time.monotonic() > until:
            result.mismatches.append(f"not settled within {limits.settle_seconds:.0f} s")
            return False
        if not stage.daemon.is_running():
            result.mismatches.append(f"run {stage.daemon.runs} ended by itself, exit code {stage.daemon.exit_code()}")
            return False
        limits.sleep(0.3)
    return True


def _is_quiet(stage: Stage) -> bool:
    """It has started, has seen what there was to go on with, and that is done."""
    recovered = bool(stage.daemon.lines("streams_recovered"))
    return recovered and not stage.members("active") and not stage.members("pending_completion")


def _are_described(stage: Stage, takes: list[Take]) -> bool:
    return all(take.facts is None or completed(stage.bucket, take.path) is not None for take in takes)


def _write_report(result: Round, audit: Audit) -> None:
    """For a human being: what was wrong, and what was where. The data themselves stay where they are."""
    stage = audit.stage
    lines = [f"seed {result.seed}", f"kills {dict(result.kills)}", f"pauses {dict(result.pauses)}", ""]
    lines += ["mismatches:", *result.mismatches, "", "recordings:"]
    lines += [repr(take) for take in audit.takes]
    lines += ["", "objects:", *(f"{digest} {key!r}" for key, digest in audit.objects.items())]
    lines += ["", "open uploads:", *map(repr, stage.bucket.open_uploads()), "", "Redis:"]
    for key in stage.redis_keys("*"):
        kind = stage.redis.type(key)
        value = stage.redis.hgetall(key) if kind == "hash" else stage.redis.smembers(key) if kind == "set" else kind
        lines.append(f"{key}: {value}")
    (result.home / "report.txt").write_text("\n".join(lines), errors="backslashreplace")


__all__ = ["Interrupted", "Limits", "Round", "completed", "play"]
