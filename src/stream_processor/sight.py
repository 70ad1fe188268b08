"""What was seen of the recording's file, and since when: has it changed, is it quiet, does anybody write."""

from __future__ import annotations

from dataclasses import replace

from ..domain import EarlyEnd, Snapshot, StreamTelemetry, World, Writers, current_errand, lifecycle, moments
from ..exceptions import ChunkProcessingError, SourceMissing
from .ledger import Ledger
from .pacing import Pacing


class Sight:
    """One file's. Times are those of the monotonic clock at which a change was *seen*: the file's own times may be a
    copy's original's, or of a clock that runs ahead, and say nothing of how long it has been quiet."""

    def __init__(self, world: World, ledger: Ledger, telemetry: StreamTelemetry, pacing: Pacing) -> None:
        self._world = world
        self._ledger = ledger
        self._telemetry = telemetry
        self._pacing = pacing
        self._first_seen_at = self._changed_at = world.clock.monotonic()
        self._seen: Snapshot | None = None
        self._early_end = EarlyEnd(world.rhythm.finish_early)
        self._idle_told: Snapshot | None = None
        self._idle_since: float | None = None
        self._nobody_wrote = False

    @property
    def seen(self) -> Snapshot | None:
        """The file at the last look; None before the first."""
        return self._seen

    async def look(self) -> Snapshot:
        """The file as it is now; waits for a file that is gone. Raises ``SourceMissing`` when it does not come back."""
        missing_since: float | None = None
        while True:
            self._pacing.check_stop()
            record = self._ledger.record
            snapshot = await self._world.recordings.snapshot(record.path)
            now = self._world.clock.monotonic()
            if snapshot is not None and snapshot.identity == record.identity:
                if snapshot != self._seen:
                    if self._seen is not None:
                        current_errand().make_room()
                    self._early_end.changed(snapshot)
                    self._seen, self._changed_at = snapshot, now
                return snapshot
            missing_since = now if missing_since is None else missing_since
            remaining = missing_since + self._world.rhythm.missing_grace - now
            if remaining <= 0:
                raise SourceMissing(f"{record.path!r} is gone")
            await self._pacing.wait(remaining)

    async def holds(self, proved: Snapshot) -> bool:
        """Whether the file is as it was, as far as a stat tells; under whatever name and with whatever rights."""
        try:
            now = await self.look()  # under another name, its own may be heard of only in a moment
        except ChunkProcessingError:
            return True  # nobody can say
        except SourceMissing:
            return False
        return replace(now, ctime_ns=proved.ctime_ns) == proved

    # -- quiet --------------------------------------------------------------------------------------------------

    def idle_at(self) -> float:
        """The moment from which the recording is quiet for long enough, if it does not change before."""
        return lifecycle.idle_at(
            self._changed_at,
            self._first_seen_at,
            quiet_for=self._quiet_seconds(),
            min_age=self._world.rhythm.min_age,
        )

    @property
    def look_again_seconds(self) -> float:
        """How long a quiet file may be left alone: no notification tells that it was closed."""
        return self._early_end.look_again_seconds

    async def is_closed(self, snapshot: Snapshot, now: float) -> bool:
        """Proof that the recorder is done, so that the quiet time need not pass: nobody has the file open for writing,
        its structure proves its end, and it has not changed for ``finish_early`` seconds.

        Not for a recording that went on after its completion, nor for one that was written to after it had been closed
        and quiet: whoever opens it again once may do so every minute.
        """
        quiet, record = now - self._changed_at, self._ledger.record
        if record.replacements or not self._early_end.is_due(quiet):
            return False
        if not self._early_end.is_closed(snapshot, await self._writers()):
            return False
        if now - self._first_seen_at < self._world.rhythm.min_age:
            return False
        return await self._world.recordings.is_whole(record.path, record.identity, snapshot.size)

    def went_idle(self, snapshot: Snapshot) -> None:
        """The recording is taken for finished from now on, unless it changes."""
        self._idle_since = self._world.clock.monotonic()
        if self._idle_told != snapshot:  # once, however often the file cannot be read then
            self._idle_told = snapshot
            self._telemetry.emit(moments.WentIdle(quiet_seconds=self._idle_since - self._changed_at))

    @property
    def idle_seconds(self) -> float:
        """Since the recording was last taken for finished; 0 when this process has not seen that."""
        return 0.0 if self._idle_since is None else self._world.clock.monotonic() - self._idle_since

    # -- who writes ---------------------------------------------------------------------------------------------

    async def ask_before_the_pass(self) -> None:
        """Whether anybody writes before the last pass over the file; ``is_still_open`` asks again after it."""
        self._nobody_wrote = await self._writers() is Writers.NONE

    async def may_complete(self) -> bool:
        """Before its quiet time has passed a recording is completed only while still nobody writes."""
        if self._world.clock.monotonic() >= self._changed_at + self._quiet_seconds():  # as ``idle_at`` rounds
            return True
        return await self._writers() is Writers.NONE

    async def is_still_open(self) -> bool:
        """Whether somebody may have written during the last pass, or may yet: then no stat is a proof."""
        writers = await self._writers()
        return writers is Writers.PRESENT or (writers is Writers.NONE and not self._nobody_wrote)

    async def _writers(self) -> Writers:
        return await self._world.recordings.writers(self._ledger.record.path)

    def _quiet_seconds(self) -> float:
        return lifecycle.quiet_seconds(self._world.rhythm.timeout, self._ledger.record.replacements)
