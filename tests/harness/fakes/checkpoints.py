"""Checkpoints in memory: the full twin of ``ports.Checkpoints``, with a fuse and the ways in which Redis forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from src.domain import Checkpoint, Identity, Marker, MarkerPage, Part, Remembered, Status, natural_of
from src.exceptions import RedisUnavailable
from tests.harness.fakes.fuse import Fuse, LostAnswer, asked_again


@dataclass(frozen=True, slots=True)
class State:
    """All that "Redis" holds at one moment; nothing in it can change any more."""

    records: Mapping[str, Checkpoint] = field(default_factory=lambda: MappingProxyType({}))
    markers: Mapping[Identity, Marker] = field(default_factory=lambda: MappingProxyType({}))
    completed: frozenset[str] = frozenset()
    numbers: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # by natural key
    ran_seconds: int | None = None


class FakeCheckpoints:
    """In memory. It outlives the "process" of a crash test: hand the same one to the next daemon.

    ``bucket``: as with Redis, records and markers of another bucket are not given; None gives all.
    """

    def __init__(self, *, fuse: Fuse | None = None, bucket: str | None = None) -> None:
        self.fuse = fuse
        self.bucket = bucket
        self.history: list[State] = [State()]
        self.calls: list[str] = []
        self.page = 1000
        self._turned: tuple[Identity, ...] = ()
        self.has_forgotten = False
        self.calm_since = 0.0  # when it came back, in the time of the running loop
        self._there = asyncio.Event()
        self._there.set()

    # -- the port -----------------------------------------------------------------------------------------------

    async def load(self) -> list[Checkpoint]:
        await self._wait("load")
        return [record for record in self.state.records.values() if self._ours(record.bucket)]

    @asked_again
    async def save(self, checkpoint: Checkpoint) -> None:
        await self._wait("save")
        self._effect("redis.save", self._with_record(checkpoint, checkpoint.parts))

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        self.calls.append("save_part")
        await asyncio.sleep(0)
        if self.is_away:
            raise RedisUnavailable("redis.save_part: away", operation="redis.save_part")
        before = self.state.records.get(checkpoint.stream_id)
        kept = before.parts if before else {}
        added = {part.number: part for part in parts}
        after = self._with_record(checkpoint, {**kept, **checkpoint.parts, **added})
        try:
            self._effect("redis.save_part", after)
        except LostAnswer:
            raise RedisUnavailable("redis.save_part: no answer", operation="redis.save_part") from None

    @asked_again
    async def finish(self, checkpoint: Checkpoint, marker: Marker) -> None:
        await self._wait("finish")
        records = {name: r for name, r in self.state.records.items() if name != checkpoint.stream_id}
        after = replace(
            self.state,
            records=MappingProxyType(records),
            markers=self._with_marker(marker),
            completed=self.state.completed | {checkpoint.stream_id},
            numbers=self._with_number(checkpoint),
        )
        self._effect("redis.finish", after)

    @asked_again
    async def forget(self, stream_id: str) -> None:
        await self._wait("forget")
        records = {name: record for name, record in self.state.records.items() if name != stream_id}
        completed = self.state.completed - {stream_id}
        self._effect("redis.forget", replace(self.state, records=MappingProxyType(records), completed=completed))

    async def marker(self, identity: Identity) -> Marker | None:
        await self._wait("marker")
        marker = self.state.markers.get(identity)
        return marker if marker and self._ours(marker.bucket) else None

    async def remembered(self, identity: Identity, name: str) -> tuple[Marker | None, int | None]:
        return await self.marker(identity), self.state.numbers.get(name)

    async def remembered_of(
        self, files: Sequence[tuple[Identity, str]]
    ) -> list[tuple[Marker | None, int | None] | None]:
        await self._wait("remembered_of")
        found = [(self.state.markers.get(identity), self.state.numbers.get(name)) for identity, name in files]
        return [(marker if marker and self._ours(marker.bucket) else None, number) for marker, number in found]

    @asked_again
    async def put_marker(self, marker: Marker) -> None:
        await self._wait("put_marker")
        completed = self.state.completed | {marker.stream_id}
        self._effect("redis.put_marker", replace(self.state, markers=self._with_marker(marker), completed=completed))

    async def markers(self, cursor: int) -> tuple[int, MarkerPage]:
        await self._wait("markers")
        if cursor == 0:
            self._turned = tuple(self.state.markers)  # what goes meanwhile hides no other
        page = [self.state.markers.get(identity) for identity in self._turned[cursor : cursor + self.page]]
        found = [marker for marker in page if marker is not None]
        following = cursor + self.page if cursor + self.page < len(self._turned) else 0
        ours = [m for m in found if self._ours(m.bucket)]
        return following, MarkerPage(
            [Remembered(m.snapshot.identity, m.path, m.stream_id, m.completed_at, m.unseen, m) for m in ours],
            {m.stream_id for m in found if not self._ours(m.bucket)},
        )

    @asked_again
    async def revise_markers(self, changes: Sequence[tuple[Remembered, int | None]]) -> int:
        await self._wait("revise_markers")
        markers, completed = dict(self.state.markers), set(self.state.completed)
        done = 0
        for remembered, unseen in changes:
            if markers.get(remembered.identity) is not remembered.state:
                continue
            done += 1
            if unseen is None:
                del markers[remembered.identity]
                completed.discard(remembered.stream_id)
            else:
                markers[remembered.identity] = replace(markers[remembered.identity], unseen=unseen)
        after = replace(self.state, markers=MappingProxyType(markers), completed=frozenset(completed))
        self._effect("redis.revise_markers", after)
        return done

    async def completed(self, cursor: int) -> tuple[int, list[str]]:
        await self._wait("completed")
        ids = sorted(self.state.completed)
        return (cursor + self.page if cursor + self.page < len(ids) else 0), ids[cursor : cursor + self.page]

    @asked_again
    async def leave_completed(self, stream_ids: Sequence[str]) -> None:
        await self._wait("leave_completed")
        self._effect("redis.leave_completed", replace(self.state, completed=self.state.completed - set(stream_ids)))

    async def ran(self) -> int | None:
        await self._wait("ran")
        return self.state.ran_seconds

    @asked_again
    async def set_ran(self, seconds: int) -> None:
        await self._wait("set_ran")
        self._effect("redis.set_ran", replace(self.state, ran_seconds=seconds))

    # -- what a test does to it -----------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What it holds now."""
        return self.history[-1]

    @property
    def writes(self) -> int:
        """How many writes it holds the history of (wiping and rolling back count as one each)."""
        return len(self.history) - 1

    def wipe(self) -> None:
        """FLUSHALL, or a restart without persistence."""
        self.has_forgotten = True
        self.history.append(State())

    def roll_back(self, writes: int) -> None:
        """Lose the last ``writes`` writes, as a failover or a lost second of the append-only file does."""
        self.has_forgotten = True
        self.history.append(self.history[max(0, len(self.history) - 1 - writes)])

    @property
    def is_away(self) -> bool:
        return not self._there.is_set()

    def go_away(self) -> None:
        """From now on ``save_part`` raises and everything else waits."""
        self._there.clear()

    def come_back(self) -> None:
        self._there.set()
        self.calm_since = asyncio.get_running_loop().time()

    def members(self, status: Status) -> set[str]:
        """The stream ids in the set of this status, as Redis would show them."""
        pending = (Status.PENDING_COMPLETION, Status.S3_COMPLETED)
        alike = pending if status in pending else (status,)
        found = {name for name, record in self.state.records.items() if record.status in alike}
        return found | set(self.state.completed - self.state.records.keys()) if status is Status.COMPLETED else found

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _wait(self, call: str) -> None:
        self.calls.append(call)
        await asyncio.sleep(0)
        await self._there.wait()

    def _ours(self, bucket: str) -> bool:
        return self.bucket in (None, bucket)

    def _with_record(self, checkpoint: Checkpoint, parts: Mapping[int, Part]) -> State:
        record = replace(checkpoint, parts=MappingProxyType(dict(sorted(parts.items()))))
        return State(
            records=MappingProxyType({**self.state.records, checkpoint.stream_id: record}),
            markers=self.state.markers,
            completed=self.state.completed - {checkpoint.stream_id},
            numbers=self.state.numbers,
        )

    def _with_number(self, checkpoint: Checkpoint) -> Mapping[str, int]:
        number = checkpoint.number or 1
        name = natural_of(checkpoint.key, number) if number > 1 else None
        return self.state.numbers if name is None else MappingProxyType({**self.state.numbers, name: number})

    def _with_marker(self, marker: Marker) -> Mapping[Identity, Marker]:
        return MappingProxyType({**self.state.markers, marker.snapshot.identity: marker})

    def _effect(self, name: str, after: State) -> None:
        if self.fuse:
            self.fuse(name, "before")
        self.history.append(after)
        if self.fuse:
            self.fuse(name, "after")
