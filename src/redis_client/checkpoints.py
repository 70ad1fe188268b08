"""Checkpoints in Redis: whole, versioned, each written atomically, none of them trusted blindly.

``names`` lists the keys. If Redis loses its data or is rolled back while the daemon runs, the next write of a stream
writes its whole checkpoint again, and ``keep_records`` rewrites those of streams that do not write.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

from ..domain import Checkpoint, Identity, Marker, MarkerPage, Part, Remembered, moments
from ..exceptions import RedisUnavailable
from ..retry import RetryPolicy
from .connection import PING_SECONDS, Command, RedisConnection
from .errors import RedisRejected
from .memory import RedisMemory
from .names import MARKERS, NUMBERS, Names, marker_field
from .quarantine import Quarantine
from .reader import OfAnotherBucket, RedisReader, Unreadable
from .writer import RedisWriter

log = logging.getLogger(__package__)

KEPT_SECONDS = 5.0  # interval for checking whether Redis still has the streams
#: Maximum number of remembered names. Above it all are dropped, and the keys of each name are listed once more.
MOST_NAMES = 10_000


class RedisCheckpoints:
    """``ports.Checkpoints`` in one Redis; an async context manager, one for the process.

    Entering it makes no request, so that the daemon starts during an outage of Redis. Every method except ``save_part``
    and ``ping`` waits until Redis is available.
    """

    def __init__(
        self,
        url: str,
        *,
        key_prefix: str,
        bucket: str,
        policy: RetryPolicy,
        emit: moments.Emit,
        connections: int = 16,
    ) -> None:
        self._bucket = bucket
        self._policy = policy
        self._emit = emit
        self._connection = RedisConnection(url, policy=policy, emit=emit, connections=connections)
        self._retried = self._connection.retried
        self._names = Names(key_prefix)
        self._quarantine = Quarantine(self._connection, self._names, emit)
        self._reader = RedisReader(self._connection, self._names, bucket)
        self._writer = RedisWriter(self._connection, self._names, self._quarantine)
        self._memory = RedisMemory(self._connection, self._names, self._quarantine, bucket)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._connection.__aexit__(*exc)

    # -- the port -----------------------------------------------------------------------------------------------

    async def load(self) -> list[Checkpoint]:
        """Every stream that is active, pending completion or failed; invalid checkpoints are set aside.

        Only for the daemon that owns them. To look at them from outside, use ``RedisReader.members`` and ``stream``.
        """
        await self._retried("load", self._reader.may_run_scripts)
        await self._retried("load", lambda: self._quarantine.set_aside_wrong_types("load"))
        found = [await self._load_one(stream_id) for stream_id in sorted(await self._reader.members())]
        return [checkpoint for checkpoint in found if checkpoint is not None]

    async def _load_one(self, stream_id: bytes) -> Checkpoint | None:
        read = await self._reader.stream(stream_id)
        meta, parts = self._names.of_stream(stream_id)
        if isinstance(read, Unreadable):
            await self._quarantine.set_aside_stream(stream_id, read.reason)
            return None
        if isinstance(read, OfAnotherBucket):
            self._quarantine.report(meta, f"ignored: it belongs to the bucket {read.bucket}")
            return None
        if not read.parts_are_a_hash:
            await self._retried("load", lambda: self._quarantine.set_aside("load", parts, "it is not a hash"))
        for number, reason in read.left_out.items():
            self._quarantine.report(parts + b"[" + number + b"]", f"part ignored: {reason}")
        # An ignored part is still in Redis: then no revision matches, and the next write rewrites everything.
        self._writer.was_loaded(read.checkpoint, b"" if read.left_out else read.revision)
        return read.checkpoint

    async def save(self, checkpoint: Checkpoint) -> None:
        """Write the whole checkpoint; of its parts only those that Redis does not have yet."""
        await self._retried("save", lambda: self._writer.write("save", checkpoint, checkpoint.parts, keep=False))

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        """Write the checkpoint with these parts added to the stored ones. Raises ``RedisUnavailable`` at once."""
        added = {**checkpoint.parts, **{part.number: part for part in parts}}
        await self._writer.write("save_part", checkpoint, added, keep=True)

    async def finish(self, checkpoint: Checkpoint, marker: Marker) -> None:
        """Remove the stream's keys, and write the marker and a member of ``streams:completed``."""
        await self._retried("finish", lambda: self._writer.finish(checkpoint, marker, MOST_NAMES))

    async def forget(self, stream_id: str) -> None:
        """Remove all keys of a stream."""
        await self._retried("forget", lambda: self._writer.forget(stream_id))

    async def marker(self, identity: Identity) -> Marker | None:
        """The marker of a completed stream of this file; None also if it belongs to another bucket."""
        marker, _ = await self.remembered(identity, "")
        return marker

    async def remembered(self, identity: Identity, name: str) -> tuple[Marker | None, int | None]:
        """The marker, and the highest number of the name; None for a value that is not a number."""
        ((found, number),) = await self._recalled([(identity, name)])
        return await self._usable(identity, found), number

    async def remembered_of(
        self, files: Sequence[tuple[Identity, str]]
    ) -> list[tuple[Marker | None, int | None] | None]:
        """The same for many files, in one request; None for a file with an invalid marker, which ``remembered`` sets
        aside."""
        found = await self._recalled(files)
        return [None if isinstance(marker, Unreadable) else (marker, number) for marker, number in found]

    async def _recalled(
        self, files: Sequence[tuple[Identity, str]]
    ) -> list[tuple[Marker | Unreadable | None, int | None]]:
        hashes = [self._names.of(MARKERS), self._names.of(NUMBERS)]

        async def ask() -> list[tuple[Marker | Unreadable | None, int | None]]:
            return await self._quarantine.making_way("marker", lambda: self._reader.remembered(files), hashes)

        return await self._retried("marker", ask)

    async def _usable(self, identity: Identity, found: Marker | Unreadable | None) -> Marker | None:
        if not isinstance(found, Unreadable):
            return found
        await self._quarantine.set_aside_marker(marker_field(identity), found.raw, found.reason)
        return None

    async def put_marker(self, marker: Marker) -> None:
        """Write a marker, and a member of ``streams:completed``, for an object that was proved without a checkpoint."""
        await self._retried("put_marker", lambda: self._writer.mark(marker))

    async def markers(self, cursor: int) -> tuple[int, MarkerPage]:
        """A page of the markers for this bucket, and the streams of those that are skipped."""
        return await self._memory.markers(cursor)

    async def revise_markers(self, changes: Sequence[tuple[Remembered, int | None]]) -> int:
        """Each only where it is as it was read."""
        return await self._memory.revise(changes)

    async def completed(self, cursor: int) -> tuple[int, list[str]]:
        """A page of ``streams:completed``."""
        return await self._memory.completed(cursor)

    async def leave_completed(self, stream_ids: Sequence[str]) -> None:
        """Take members out of ``streams:completed``."""
        await self._memory.leave_completed(stream_ids)

    async def ran(self) -> int | None:
        """Seconds of running time since the last scan that counted; None too for what is no number."""
        return await self._memory.ran()

    async def set_ran(self, seconds: int) -> None:
        """Set it."""
        await self._memory.set_ran(seconds)

    # -- outside the port ---------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Check once whether Redis is available. Raises ``RedisUnavailable``. If it is available again, wake all
        waiting retries."""
        await self._connection.ping()

    async def beside(self, verb: str, name: str, *arguments: bytes) -> Any:
        """One command about a key of this daemon that belongs to no stream. One attempt, with a short timeout."""
        command: Command = (verb, self._names.of(name.encode()), *arguments)
        (answer,) = await self._connection.run("beside", [command], seconds=PING_SECONDS)
        return answer

    async def warn_about_configuration(self) -> None:
        """Emit a moment if Redis may evict keys or lose them in a restart; silent if CONFIG is forbidden."""
        asked = [("CONFIG GET", name) for name in ("maxmemory-policy", "appendonly", "save")]
        try:
            replies = await self._retried(
                "configuration", lambda: self._connection.run_if_allowed("configuration", asked)
            )
        except RedisRejected as exc:
            log.debug("cannot read the Redis configuration: %s", exc)
            return
        told: dict[str, str] = {name: value for reply in replies for name, value in reply.items()}
        policy = told.get("maxmemory-policy", "noeviction")
        if policy != "noeviction":
            self._emit(moments.RedisDurabilityRisk(reason=f"maxmemory-policy is {policy}: set it to noeviction"))
        if told.get("appendonly") == "no" and told.get("save") == "":
            self._emit(moments.RedisDurabilityRisk(reason="persistence is off: set appendonly to yes"))

    async def keep_records(self) -> None:
        """Runs until cancelled: if Redis loses streams that this process has written, write them again.

        Each checkpoint is written together with its set membership, so the sets show what is missing. An active stream
        would rewrite its checkpoint with its next part, but a failed one never would.
        """
        while True:
            await self._policy.rest(KEPT_SECONDS)
            written = self._writer.written  # before reading the sets: streams written meanwhile are not missing
            await self._retried("load", lambda: self._quarantine.set_aside_wrong_types("load"))
            held = await self._reader.members()
            lost = [stream_id for stream_id in written if stream_id.encode() not in held]
            rewritten = []
            for stream_id in lost:
                with suppress(RedisUnavailable):  # nothing else waits for it: it is still missing at the next check
                    rewritten.append(await self._writer.write_anew(stream_id))
            if any(rewritten):
                self._emit(moments.RedisDataLost(records=sum(rewritten)))
