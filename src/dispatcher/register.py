"""The state of all recordings: their names, and the files that are done, have failed or are ignored.

Hints, claims and the ends of streams all change this state, each from a task of its own. Nothing here awaits, so that
no task ever sees a partial change.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Protocol

from ..domain import STATUSES, Checkpoint, Errand, Holding, Identity, Marker, Observation, Snapshot, Unfinished


class Processor(Protocol):
    """What the dispatcher needs of a stream's processor."""

    @property
    def checkpoint(self) -> Checkpoint: ...
    def holding(self, seen: Snapshot, proved: Snapshot | None) -> Holding: ...
    def unfinished(self, seen: Snapshot | None, proved: Snapshot | None) -> Unfinished: ...
    def hint(self) -> None: ...
    def renamed(self, path: str) -> None: ...
    def stop(self) -> None: ...
    async def run(self) -> Marker | None: ...


@dataclass(slots=True)
class Stream:
    """An active recording: its current path, its processor, and its task.

    ``seen`` is the newest stat that followed a hint; ``proved`` is the snapshot that its object contains.
    ``to_look_up`` is a file from before the start whose state in S3 is unknown. ``first``: how the file was when it was
    put into the queue from which it was taken up. ``may_grow``: it was written to shortly
    before it was taken up. ``decided`` counts the hints about it that were acted upon. ``waiting_paths`` are examined
    again when the recording has ended or moved: what they contain depends on the result.
    """

    path: str
    identity: Identity
    seen: Snapshot | None = None
    proved: Snapshot | None = None
    to_look_up: Snapshot | None = None
    first: Observation | None = None
    processor: Processor | None = None
    task: asyncio.Task[None] | None = None
    errand: Errand = field(default_factory=Errand)
    may_grow: bool = False
    decided: int = 0
    waiting_paths: set[str] = field(default_factory=set)

    def holding(self, seen: Snapshot) -> Holding:
        """Its data at risk, with the file at snapshot ``seen``."""
        if self.processor is not None:
            return self.processor.holding(seen, self.proved)
        stored = self.proved.size if self.proved else 0
        return Holding(self.path, seen, stored, max(0, seen.size - stored), proved=self.proved)

    def unfinished(self) -> Unfinished:
        """What is known of it."""
        if self.processor is not None:
            return self.processor.unfinished(self.seen, self.proved)
        return Unfinished(self.path, None if self.seen is None else self.holding(self.seen))

    @property
    def lacks_first_part(self) -> bool:
        """Whether it may be growing, and S3 has nothing of it as far as this process knows."""
        if not self.may_grow or self.processor is None:
            return self.may_grow
        record = self.processor.checkpoint
        return not record.parts and not STATUSES[record.status].is_proved

    def hint(self) -> None:
        """Tell its processor, if there is one, that its file or its name may have changed."""
        if self.processor is not None:
            self.processor.hint()


@dataclass(frozen=True, slots=True)
class Settled:
    """A file that is done as it is, and the key of its object. Once it became shorter it is another recording."""

    snapshot: Snapshot
    key: str
    was_cut: bool = False


class Register:
    """The register. A recording is found by its file's identity, which no rename changes, and by its path.

    ``left`` are the files of failed streams, which are still at risk; ``empty`` and ``links`` are files that were
    skipped and logged, so that each is logged once.
    """

    def __init__(self) -> None:
        self.by_path: dict[str, Stream] = {}
        self.by_identity: dict[Identity, Stream] = {}
        self.settled: dict[str, Settled] = {}
        self.failed: dict[Identity, Checkpoint] = {}
        self.left: dict[str, Holding] = {}
        self.empty: set[str] = set()
        self.links: set[str] = set()

    # -- active recordings ------------------------------------------------------------------------------------

    def add(self, stream: Stream) -> None:
        self.by_path[stream.path] = stream
        self.by_identity[stream.identity] = stream

    def remove(self, stream: Stream) -> None:
        """It has ended. Another one may have its path already."""
        self.by_identity.pop(stream.identity, None)
        if self.by_path.get(stream.path) is stream:
            del self.by_path[stream.path]

    def rename(self, stream: Stream, path: str) -> Stream | None:
        """Returns the recording that had this path until now, if there is one: its file is no longer there."""
        if self.by_path.get(stream.path) is stream:
            del self.by_path[stream.path]
        stream.path = path
        self.links.discard(path)
        displaced = self.by_path.get(path)
        self.by_path[path] = stream
        if displaced is None or displaced is stream:
            return None
        displaced.seen = None
        displaced.waiting_paths.add(path)
        return displaced

    # -- observations -----------------------------------------------------------------------------------------

    def see(self, path: str, snapshot: Snapshot) -> None:
        """A file that is shorter than its object contains another recording from now on, however long it becomes."""
        settled = self.settled.get(path)
        if settled is not None and snapshot.size < settled.snapshot.size:
            self.settled[path] = replace(settled, was_cut=True)
        known = self.by_identity.get(snapshot.identity)
        if known is not None:
            known.seen = snapshot
            if known.proved is not None and snapshot.size < known.proved.size:
                known.proved = None

    def proved(self, path: str, identity: Identity) -> Snapshot | None:
        """The snapshot that the recording's object contains, though the file has changed since."""
        settled = self.settled.get(path)
        if settled is None or settled.was_cut or settled.snapshot.identity != identity:
            return None
        return settled.snapshot

    def has_bytes(self, path: str) -> None:
        """A file with bytes exists where no stream is active: it is to be taken up, or done."""
        self.empty.discard(path)
        self.left.pop(path, None)

    def is_new(self, path: str, among: set[str]) -> bool:
        """Whether the path was not yet among those that were skipped and logged; from now on it is."""
        if path in among:
            return False
        among.add(path)
        return True

    def forget(self, path: str) -> None:
        """The file no longer exists."""
        self.settled.pop(path, None)
        self.left.pop(path, None)
        self.empty.discard(path)
        self.links.discard(path)

    # -- ends -------------------------------------------------------------------------------------------------

    def settle(self, path: str, marker: Marker) -> None:
        self.settled[path] = Settled(marker.snapshot, marker.key)

    def fail(self, stream: Stream, record: Checkpoint) -> None:
        """It is no longer sent, until its file changes or another takes its place."""
        self.failed[record.identity] = record
        if stream.seen is not None:
            self.left[stream.path] = replace(stream.holding(stream.seen), sendable=0, stream_id=None)

    def failed_at(self, path: str) -> list[Checkpoint]:
        """Unfinished recordings that a new file at this path has replaced."""
        return [record for record in self.failed.values() if record.path == path]
