"""Observations of the recording's file: has it changed, since when is it quiet, does it have writers."""

from __future__ import annotations

from dataclasses import replace

from ..domain import (
    EarlyEnd,
    Observation,
    Snapshot,
    StreamTelemetry,
    World,
    Writers,
    current_errand,
    lifecycle,
    moments,
)
from ..exceptions import ChunkProcessingError, SourceMissing
from .ledger import Ledger
from .pacing import Pacing


class Sight:
    """For one file. Times are those on the monotonic clock at which a change was *observed*: the file's own times may
    be those of a copy's original, or of a clock that runs ahead, and do not show how long it has been quiet.

    ``first`` is an earlier observation: a file that has waited for its turn unchanged has been quiet since.
    """

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        telemetry: StreamTelemetry,
        pacing: Pacing,
        first: Observation | None = None,
    ) -> None:
        self._world = world
        self._ledger = ledger
        self._telemetry = telemetry
        self._pacing = pacing
        self._first = first
        self._first_seen_at = self._changed_at = world.clock.monotonic() if first is None else first.at
        self._seen: Snapshot | None = None
        self._has_changed = False
        self._early_end = EarlyEnd(world.rhythm.finish_early)
        self._idle_told: Snapshot | None = None
        self._idle_since: float | None = None
        self._nobody_wrote = False

    @property
    def seen(self) -> Snapshot | None:
        """The file at the last look; None before the first."""
        return self._seen

    @property
    def has_changed(self) -> bool:
        """Whether the file was seen to change since the first look."""
        return self._has_changed

    async def look(self) -> Snapshot:
        """The current snapshot; waits for a missing file. Raises ``SourceMissing`` if it does not come back."""
        missing_since: float | None = None
        while True:
            self._pacing.check_stop()
            record = self._ledger.record
            snapshot = await self._world.recordings.snapshot(record.path)
            now = self._world.clock.monotonic()
            if snapshot is not None and snapshot.identity == record.identity:
                if snapshot != self._seen:
                    if self._seen is not None:
                        self._has_changed = True
                        current_errand().make_room()  # it grows: the limit on closed files does not apply to it
                    self._early_end.changed(snapshot)
                    first, self._first = self._first, None
                    self._changed_at = first.at if first is not None and first.snapshot == snapshot else now
                    self._seen = snapshot
                return snapshot
            missing_since = now if missing_since is None else missing_since
            remaining = missing_since + self._world.rhythm.missing_grace - now
            if remaining <= 0:
                raise SourceMissing(f"{record.path!r} is gone")
            await self._pacing.wait(remaining)

    async def holds(self, proved: Snapshot) -> bool:
        """Whether the file is unchanged, as far as a stat shows, under any name and with any permissions."""
        try:
            now = await self.look()  # after a rename, the new path may be known only in a moment
        except ChunkProcessingError:
            return True  # unknown
        except SourceMissing:
            return False
        return replace(now, ctime_ns=proved.ctime_ns) == proved

    # -- idle time ----------------------------------------------------------------------------------------------

    def idle_at(self) -> float:
        """The time from which the recording has been quiet for long enough, if it does not change before."""
        return lifecycle.idle_at(
            self._changed_at,
            self._first_seen_at,
            quiet_for=self._quiet_seconds(),
            min_age=self._world.rhythm.min_age,
        )

    @property
    def look_again_seconds(self) -> float:
        """Interval for looking at a quiet file: there is no notification for its closing."""
        return self._early_end.look_again_seconds

    async def is_closed(self, snapshot: Snapshot, now: float) -> bool:
        """Proof that the recorder has finished, so that the timeout need not pass: no process has the file open for
        writing, its structure proves its end, and it has not changed for ``finish_early`` seconds.

        Not for a recording that continued after its completion, nor for one that was written after it had been closed
        and quiet: a program that reopens it once may do so every minute.
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
        """The recording counts as finished from now on, unless it changes."""
        self._idle_since = self._world.clock.monotonic()
        if self._idle_told != snapshot:  # once, however often the file cannot be read then
            self._idle_told = snapshot
            self._telemetry.emit(moments.WentIdle(quiet_seconds=self._idle_since - self._changed_at))

    @property
    def idle_seconds(self) -> float:
        """Seconds since the recording was last found finished; 0 if this process has not observed that."""
        return 0.0 if self._idle_since is None else self._world.clock.monotonic() - self._idle_since

    # -- writers ------------------------------------------------------------------------------------------------

    async def ask_before_the_pass(self) -> None:
        """Check for writers before the last pass over the file; ``is_still_open`` checks again after it."""
        self._nobody_wrote = await self._writers() is Writers.NONE

    async def may_complete(self) -> bool:
        """Before its timeout has passed a recording is completed only if there is still no writer."""
        if self._world.clock.monotonic() >= self._changed_at + self._quiet_seconds():  # rounded like in ``idle_at``
            return True
        return await self._writers() is Writers.NONE

    async def is_still_open(self) -> bool:
        """Whether a process may have written during the last pass, or may still write: then no stat is a proof."""
        writers = await self._writers()
        return writers is Writers.PRESENT or (writers is Writers.NONE and not self._nobody_wrote)

    async def _writers(self) -> Writers:
        return await self._world.recordings.writers(self._ledger.record.path)

    def _quiet_seconds(self) -> float:
        return lifecycle.quiet_seconds(self._world.rhythm.timeout, self._ledger.record.replacements)
