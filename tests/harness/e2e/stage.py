"""The stage of a test: a folder, a bucket, a place in Redis, and a daemon that watches over them."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import redis

from tests.harness import auditor, servers
from tests.harness.e2e import view
from tests.harness.e2e.bucket import Bucket, Document
from tests.harness.e2e.daemon import PATIENCE_SECONDS, Daemon, eventually
from tests.harness.e2e.recorders import CHUNK


@dataclass
class Stage:
    """Everything that one test needs, in folders and under names of its own."""

    home: Path
    store: servers.S3Server
    redis_url: str
    redis_prefix: str
    bucket: Bucket
    settings: dict[str, str] = field(default_factory=dict)
    redis_server: servers.RedisServer | None = None
    daemons: list[Daemon] = field(default_factory=list)
    parts_known: bool = True  # nobody has forgotten the ETags of parts
    new_interpreter: bool = False  # of each daemon

    @cached_property
    def folder(self) -> Path:
        """The watched folder."""
        folder = self.home / "recordings"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def daemon(self) -> Daemon:
        """The one daemon of most tests; not started yet."""
        return self.another_daemon("daemon")

    def another_daemon(self, name: str, **settings: str) -> Daemon:
        usual = {
            "WATCH_DIR": str(self.folder),
            "S3_ENDPOINT_URL": self.store.endpoint,
            "S3_ACCESS_KEY_ID": self.store.access_key,
            "S3_SECRET_ACCESS_KEY": self.store.secret_key,
            "S3_BUCKET_NAME": self.bucket.name,
            "REDIS_URL": self.redis_url,
            "REDIS_KEY_PREFIX": self.redis_prefix,
            "CHUNK_SIZE_BYTES": str(CHUNK),
            "STREAM_TIMEOUT_SECONDS": "1",
            "WATCH_SCAN_SECONDS": "2",
        }
        daemon = Daemon(self.home / name, {**usual, **self.settings, **settings})
        daemon.new_interpreter = self.new_interpreter
        self.daemons.append(daemon)
        return daemon

    # -- what is to be true at the end --------------------------------------------------------------------------

    def wait_until_done(
        self,
        recording: Path,
        key: str | None = None,
        *,
        parts_known: bool = True,
        within: float = PATIENCE_SECONDS,
    ) -> Document:
        """The object is the file and its document is right; gives the document."""
        key = key or str(recording.relative_to(self.folder))
        self.parts_known &= parts_known
        eventually(lambda: self._is_done(key, recording), f"{key} is the file {recording}", within=within)
        return self.bucket.check_document(key, recording, parts_known=parts_known)

    def wait_until_clean(self, *keys: str, killed_at_random: bool = False, set_aside: bool = False) -> None:
        """These objects and no others, no open upload, nothing left in Redis but what says that they are done.

        ``killed_at_random``: the store may have got to a dead daemon's Create after all was over. Such an upload is
        empty, and the sweep's, a week later. ``set_aside``: Redis keeps for a human being what could not be read.

        Where a kill or an outage came while a daemon learnt what the store can do, what it left at the probe's key is a
        later daemon's to abort, once nobody can be at work there.
        """
        eventually(lambda: not self.redis_keys("stream:*"), "no stream is left in Redis")
        if not any(daemon.was_killed or daemon.lines("s3_unavailable") for daemon in self.daemons if daemon.runs):
            eventually(lambda: self.bucket.probe_uploads() == 0, "the probe has ended what it began")
        auditor.demand(view.whole(self, keys, empty_uploads=killed_at_random, set_aside=set_aside))

    def wait_until_probed(self) -> None:
        """The daemon knows what its store can do, and nothing is left of how it learnt that."""
        last = 'ability="copy_checksum"'
        eventually(lambda: last in self.daemon.page("/metrics")[1], "all that the store can do is known")
        eventually(lambda: self.bucket.probe_uploads() == 0, "the probe has ended what it began")

    def wait_until_sent(self, recording: Path, *numbers: int) -> None:
        """The newest run of the daemon has sent these parts of the recording."""
        eventually(lambda: set(numbers) <= set(self.sent(recording)), f"parts {numbers} of {recording} are sent")

    def sent(self, recording: Path) -> list[int]:
        """The numbers of the parts that the newest run of the daemon sent for a recording, in order."""
        name = str(recording.relative_to(self.folder))
        return [line["number"] for line in self.daemon.lines("part_stored", file_path=name)]

    def _is_done(self, key: str, recording: Path) -> bool:
        """By the document, which is written last; the object is compared once that is there."""
        document = self.bucket.document(key)
        status = recording.stat()
        return (
            document is not None
            and (document["file"]["mtime_ns"], document["file"]["inode"]) == (status.st_mtime_ns, status.st_ino)
            and self.bucket.holds(key, recording)
        )

    # -- Redis --------------------------------------------------------------------------------------------------

    @cached_property
    def redis(self) -> Any:
        return redis.Redis.from_url(self.redis_url, decode_responses=True)

    def redis_keys(self, pattern: str) -> list[str]:
        return sorted(self.redis.scan_iter(match=self.redis_prefix + pattern))

    def members(self, name: str) -> set[str]:
        return set(self.redis.smembers(f"{self.redis_prefix}streams:{name}"))

    def markers(self) -> dict[str, str]:
        return dict(self.redis.hgetall(f"{self.redis_prefix}streams:markers"))

    # -- the end ------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        for daemon in self.daemons:
            daemon.end()
            if daemon.runs:
                print(f"--- {daemon.home}, run {daemon.runs}\n{daemon.tail()}")


@contextmanager
def set_stage(home: Path, store: servers.S3Server, redis_url: str) -> Iterator[Stage]:
    name = secrets.token_hex(6)
    stage = Stage(home, store, redis_url, f"e2e-{name}:", Bucket(store, f"e2e-{name}"))
    try:
        yield stage
    finally:
        stage.clear()


@contextmanager
def frozen(server: servers.Server) -> Iterator[None]:
    """The server keeps its connections and answers nothing."""
    assert server.process is not None
    process = server.process
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
