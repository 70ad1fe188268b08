"""What can happen to some recordings alone: each operation of the world refused, hanging or slow for them, for ever.

A hanging call ends as the real edge ends it, with the same error after the same time; an edge that waits by itself
(Redis) makes room before it does, as ``retry`` has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from src.domain import (
    Answer,
    Checkpoint,
    Chunk,
    Digest,
    Hashes,
    Identity,
    Manifest,
    Marker,
    Part,
    Probe,
    StoredPart,
    World,
    Writers,
    current_errand,
)
from src.exceptions import ChunkProcessingError, RedisUnavailable, S3Unavailable
from tests.harness.crash.simulation import LIMITS, Disk, Simulation
from tests.harness.fakes.checkpoints import FakeCheckpoints
from tests.harness.fakes.prober import ReadingProber
from tests.harness.fakes.recordings import FakeChunkBody
from tests.harness.fakes.store import FakeStore

HARMED = "bad"
CALL_SECONDS = 30.0  # after which the edges end a request or a read
REDIS_SECONDS = 15.0
SLOW_SECONDS = 25.0
STORE = (
    *("create_upload", "upload_part", "list_parts", "complete_upload", "list_uploads", "abort_upload", "head"),
    *("put_document", "get_document", "copy_part", "object_crc64"),
)
REDIS = ("save", "save_part", "finish", "marker", "put_marker")
DISK = ("read", "digest", "is_whole", "writers")
FFPROBE = ("probe",)


class Kind(StrEnum):
    REFUSED = "refused"
    HANGING = "hanging"
    SLOW = "slow"


@dataclass
class Harm:
    """Meets every call of this operation for a recording whose name begins so, while it lasts."""

    operation: str = ""
    kind: Kind = Kind.REFUSED
    lasts: bool = True
    met: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def meets(self, operation: str, name: str) -> bool:
        found = self.lasts and operation == self.operation and name.startswith(HARMED)
        self.met += found
        return found

    def end(self) -> None:
        self.lasts = False
        self.over.set()

    async def take_its_time(self, seconds: float) -> None:
        """How long the call takes, before it fails unless it is only slow."""
        await asyncio.sleep({Kind.REFUSED: 0.0, Kind.HANGING: seconds, Kind.SLOW: SLOW_SECONDS}[self.kind])


class HarmedStore(FakeStore):
    def __init__(self, harm: Harm) -> None:
        super().__init__(limits=LIMITS)
        self.harm = harm

    async def _call(self, method: str, key: str) -> None:
        await super()._call(method, key)
        if self.harm.meets(method, key):
            await self.harm.take_its_time(CALL_SECONDS)
            if self.harm.kind is not Kind.SLOW:
                refused = self.harm.kind is Kind.REFUSED
                raise S3Unavailable(f"{method}: {self.harm.kind}", operation=method, misconfigured=refused)

    async def complete_upload(
        self, key: str, upload_id: str, manifest: Manifest, parts: Sequence[StoredPart]
    ) -> Answer:
        try:
            return await super().complete_upload(key, upload_id, manifest, parts)
        except S3Unavailable:
            return Answer.NONE  # it was sent; whoever asked finds out what came of it


class HarmedRedis(FakeCheckpoints):
    def __init__(self, harm: Harm, disk: Disk) -> None:
        super().__init__()
        self.harm = harm
        self.disk = disk

    async def _strike(self, operation: str, path: str) -> None:
        while self.harm.meets(operation, path):
            await self.harm.take_its_time(REDIS_SECONDS)
            if self.harm.kind is Kind.SLOW:
                return
            if operation == "save_part":
                raise RedisUnavailable(f"{operation}: {self.harm.kind}", operation=operation)
            current_errand().make_room()
            await self.harm.over.wait()

    async def save(self, checkpoint: Checkpoint) -> None:
        await self._strike("save", checkpoint.path)
        await super().save(checkpoint)

    async def save_part(self, checkpoint: Checkpoint, parts: Sequence[Part]) -> None:
        await self._strike("save_part", checkpoint.path)
        await super().save_part(checkpoint, parts)

    async def finish(self, checkpoint: Checkpoint, marker: Marker) -> None:
        await self._strike("finish", checkpoint.path)
        await super().finish(checkpoint, marker)

    async def marker(self, identity: Identity) -> Marker | None:
        await self._strike("marker", next((p for p, f in self.disk.files.items() if f.identity == identity), ""))
        return await super().marker(identity)

    async def put_marker(self, marker: Marker) -> None:
        await self._strike("put_marker", marker.path)
        await super().put_marker(marker)


class HarmedDisk(Disk):
    harm = Harm()

    async def _strike(self, operation: str, path: str) -> None:
        if self.harm.meets(operation, path):
            await self.harm.take_its_time(CALL_SECONDS)
            if self.harm.kind is not Kind.SLOW:
                raise ChunkProcessingError(f"{operation}: {self.harm.kind}", operation=operation)

    async def read(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> FakeChunkBody:
        await self._strike("read", path)
        return await super().read(path, identity, chunk, hashes)

    async def digest(self, path: str, identity: Identity, chunk: Chunk, hashes: Hashes) -> Digest:
        await self._strike("digest", path)
        return await super().digest(path, identity, chunk, hashes)

    async def writers(self, path: str) -> Writers:
        try:
            await self._strike("writers", path)
        except ChunkProcessingError:
            return Writers.UNKNOWN
        return await super().writers(path)

    async def is_whole(self, path: str, identity: Identity, size: int) -> bool:
        await self._strike("is_whole", path)
        return await super().is_whole(path, identity, size)


class HarmedProber(ReadingProber):
    harm = Harm()

    async def probe(self, path: str, identity: Identity) -> Probe:
        if self.harm.meets("probe", path):
            await self.harm.take_its_time(CALL_SECONDS)
            if self.harm.kind is not Kind.SLOW:
                return Probe(error="ffprobe took longer than 30 s")
        return await super().probe(path, identity)


@dataclass
class HarmedSimulation(Simulation):
    """A simulation in which one harm lasts until it is ended."""

    harm: Harm = field(default_factory=Harm)

    def __post_init__(self) -> None:
        self.store = HarmedStore(self.harm)
        super().__post_init__()
        self.disk = disk = HarmedDisk()
        disk.harm = self.harm
        self.redis = HarmedRedis(self.harm, disk)

    def _world(self) -> World:
        prober = HarmedProber(self.disk)
        prober.harm = self.harm
        return replace(super()._world(), prober=prober)

    def is_met(self, path: str) -> str | None:
        return f"{self.harm.operation} is {self.harm.kind}" if path.startswith(HARMED) else None
