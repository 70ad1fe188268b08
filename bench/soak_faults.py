"""Faults of daemon, Redis and store at random moments; all three run again after each fault."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.e2e.stage import Stage, frozen
from tests.harness.servers import RedisServer, S3Server, Server

#: A fault occurs after one of these lines, or after a timeout: half of all faults aim at the operations that they
#: announce.
_FINISHING = ("stream_went_idle", "stream_sealed", "object_proved", "object_being_replaced")
_GROWING = ("stream_started", "stream_resumed", "part_stored", "upload_adopted")
_LONGEST_WAIT_SECONDS = 4.0
_START_SECONDS = 20.0
#: Time limit for a daemon to stop.
STOP_SECONDS = 90.0
_LOOK_SECONDS = 0.02

Sleep = Callable[[float], None]


@dataclass
class Faults:
    """The faults of one round. ``kills``: with SIGKILL, by kind. ``others``: pauses and graceful stops. ``trouble``:
    violations.

    ``forgot``: the number of data losses in Redis, complete or of the newest writes.
    """

    stage: Stage
    store: S3Server
    memory: RedisServer
    chance: random.Random
    sleep: Sleep
    kills: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)
    forgot: int = 0
    _backups: list[Path] = field(default_factory=list)

    def strike(self) -> None:
        """One fault, at a random moment."""
        self._wait_for_a_moment()
        self._expect_running()
        self._back_up()
        faults = {
            self._kill_daemon: 55,
            self._stop_and_kill_daemon: 4,
            self._kill_redis: 6,
            self._wipe_redis: 3,
            self._roll_redis_back: 4,
            self._kill_store: 8,
            self._kill_all: 4,
            self._stop_daemon: 8,
            self._pause_daemon: 4,
            self._pause_server: 4,
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
            self.trouble.append(f"run {daemon.runs} ended by itself, exit code {daemon.exit_code()}")
            daemon.start()

    # -- the daemon -----------------------------------------------------------------------------------------------

    def _kill_daemon(self) -> None:
        self.stage.daemon.kill()
        self.kills["daemon"] += 1

    def _stop_and_kill_daemon(self) -> None:
        self.stage.daemon.signal(signal.SIGTERM)
        self.sleep(self.chance.uniform(0, 0.5))
        self.stage.daemon.kill()
        self.kills["daemon, after a SIGTERM"] += 1

    def _stop_daemon(self) -> None:
        daemon = self.stage.daemon
        started = bool(daemon.lines("daemon_started"))
        code = daemon.stop(within=STOP_SECONDS)
        if code != 0 and (started or code != -signal.SIGTERM):
            self.trouble.append(f"run {daemon.runs} was asked to stop and ended with exit code {code}")
        self.others["daemon told to stop"] += 1

    def _pause_daemon(self) -> None:
        self.stage.daemon.signal(signal.SIGSTOP)
        try:
            self.sleep(self.chance.uniform(0.2, 4.0))
        finally:
            self.stage.daemon.signal(signal.SIGCONT)
        self.others["daemon paused"] += 1

    # -- Redis and the store --------------------------------------------------------------------------------------

    def _pause_server(self) -> None:
        server = self.chance.choice((self.store, self.memory))
        with frozen(server):
            self.sleep(self.chance.uniform(0.2, 4.0))
        self.others[f"{server.name} paused"] += 1

    def _kill_redis(self) -> None:
        self._restart(self.memory)
        self.kills["Redis"] += 1

    def _wipe_redis(self) -> None:
        self.forgot += 1
        self._restart(self.memory, lambda: shutil.rmtree(self._records))
        self.kills["Redis, wiped"] += 1

    def _roll_redis_back(self) -> None:
        """Restore its state at an earlier fault of this round."""
        self.forgot += 1
        self._restart(self.memory, self._restore_a_backup)
        self.kills["Redis, rolled back"] += 1

    def _kill_store(self) -> None:
        self._restart(self.store)
        self.kills["S3"] += 1

    def _kill_all(self) -> None:
        """In any order, within a moment."""
        victims = [self.stage.daemon.kill, self.memory.kill, self.store.kill]
        self.chance.shuffle(victims)
        for kill in victims:
            kill()
        for server in (self.memory, self.store):
            server.start()
        self.kills["daemon, Redis and S3 together"] += 1

    def _restart(self, server: Server, between: Callable[[], object] = lambda: None) -> None:
        server.kill()
        between()
        try:
            self.sleep(self.chance.choice((0.0, self.chance.uniform(0, 2.5))))
        finally:
            server.start()

    # -- what Redis remembers -------------------------------------------------------------------------------------

    @property
    def _records(self) -> Path:
        return self.memory.directory / "appendonlydir"

    def _back_up(self) -> None:
        """A copy of the append-only files of the running Redis, as its manual recommends; it repairs a truncated end by
        itself."""
        backup = self.memory.directory / f"backup-{len(self._backups)}"
        shutil.copytree(self._records, backup)
        self._backups.append(backup)

    def _restore_a_backup(self) -> None:
        shutil.rmtree(self._records)
        shutil.copytree(self.chance.choice(self._backups[:-1] or self._backups), self._records)
