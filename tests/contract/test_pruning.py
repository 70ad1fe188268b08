"""Finished recordings against a real folder: none whose file is there is ever forgotten.

The folder and its scans are real, time is a number that the test moves on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from src.domain import DAY_SECONDS, Checkpoints, Identity, Marker, PartSchedule, Retention, Snapshot, moments
from src.exceptions import ChunkProcessingError
from src.ownership.pruning import Pruning
from src.watcher import Globs, RecordingFiles
from src.watcher.tree import Findings, Tree
from tests.contract.test_checkpoints import BUCKET, Opened, client, opened, opened_redis, prefix
from tests.contract.test_checkpoints_pruning import all_completed, all_markers
from tests.harness.fakes.telemetry import FakeTelemetry

__all__ = ["opened", "prefix"]

AreGone = Callable[[Sequence[tuple[Identity, str]]], Awaitable[list[bool]]]
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = 3600


@dataclass
class HandClock:
    """Both clocks of a machine, moved by hand and apart from each other."""

    now: float = 1000.0
    wall: datetime = NOON

    def monotonic(self) -> float:
        return self.now

    def utc_now(self) -> datetime:
        return self.wall


class Walked(Tree):
    """Folders that may not be read, whoever asks, and something that happens right before one is read."""

    locked: tuple[str, ...] = ()
    before: Callable[[str], None] = staticmethod(lambda folder: None)

    def _entries(self, folder: str, found: Findings) -> Iterator[os.DirEntry[str]]:
        self.before(folder)
        if folder in self.locked:
            self._cannot_list(folder, PermissionError(errno.EACCES, "Permission denied"), found)
            return iter(())
        return super()._entries(folder, found)


@dataclass
class Site:
    """A folder with a daemon's memory of it, as long as a process lives."""

    root: Path
    checkpoints: Checkpoints
    retention: Retention = field(default_factory=Retention)
    clock: HandClock = field(default_factory=HandClock)
    unreadable: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.telemetry = FakeTelemetry()
        self.start()

    def start(self) -> None:
        """Another process, which knows nothing of the one before; machines that are restarted begin at 0."""
        self.clock.now = 10.0
        self.tree = Walked(self.root, Globs(["*.mp4"]), self._stat, hints_of_deletion_are_proof=True)
        self.pruning = Pruning(self.checkpoints, self._census, self.retention, self.clock, self.telemetry.emit)

    def _stat(self, path: str) -> Snapshot | None:
        if path in self.unreadable:
            raise ChunkProcessingError("no answer", operation="stat")
        return RecordingFiles(self.root, in_memory_limit=1).stat(path)

    async def _census(self) -> AreGone | None:
        census = self.tree.census()
        if census is None:
            return None

        async def are_gone(files: Sequence[tuple[Identity, str]]) -> list[bool]:
            return census.are_gone(files)

        return are_gone

    def scan(self, times: int = 1) -> None:
        for _ in range(times):
            list(self.tree.scan())

    def move_during_scan(self, successor: str | None = None) -> Path:
        """Of two folders with a file each: the later one's file moves to the other while the scan is between them,
        and ``successor`` takes its place. Returns that place."""
        walked: list[str] = []
        self.tree.before = walked.append
        self.scan()
        _, early, late = walked
        (name,) = os.listdir(self.root / late)

        def moved(folder: str) -> None:
            if folder == late:
                os.rename(self.root / late / name, self.root / early / name)
                if successor is not None:
                    os.rename(self.root / successor, self.root / late / name)

        self.tree.before = moved
        self.scan()
        return self.root / late / name

    async def runs(self, seconds: float) -> None:
        """The daemon runs on for so long, and scans, and looks."""
        self.clock.now += seconds
        self.clock.wall += timedelta(seconds=seconds)
        self.scan(3)
        await self.pruning.look()

    async def days(self, many: int) -> None:
        for _ in range(many):
            await self.runs(DAY_SECONDS)

    async def finish(self, *names: str, hours: int = 0) -> None:
        for name in names:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(b"film")
            await self.checkpoints.put_marker(self.marker(name, completed_at=NOON + timedelta(hours=hours)))

    def marker(self, name: str, completed_at: datetime = NOON) -> Marker:
        snapshot = self._stat(name)
        assert snapshot is not None
        return Marker(f"of {name}", name, BUCKET, name, snapshot, 1, "e-1", PartSchedule(5), NOON, completed_at)

    async def remembered(self) -> dict[str, int]:
        """By the name that it was completed under: how often it was missed."""
        found = await all_markers(self.checkpoints)
        assert await all_completed(self.checkpoints) == {each.stream_id for each in found.values()}
        return {each.path: each.unseen for each in found.values()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


async def test_a_file_that_is_gone_is_forgotten_after_thirty_days_and_one_that_is_there_never(
    root: Path, opened: Opened
) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints)
        await site.finish("stays.mp4", "cam/goes.mp4")
        os.remove(root / "cam/goes.mp4")
        await site.days(29)
        assert await site.remembered() == {"stays.mp4": 0, "cam/goes.mp4": 29}
        await site.days(1)
        assert await site.remembered() == {"stays.mp4": 0}
        assert site.telemetry.moments[-1] == moments.MarkersCompared(gone=0, pruned=1)
        await site.days(40)
        assert await site.remembered() == {"stays.mp4": 0}


async def test_a_file_that_comes_back_is_missed_from_the_beginning_again(root: Path, opened: Opened) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints)
        await site.finish("a.mp4", "b.mp4")
        os.rename(root / "a.mp4", root.parent / "a.mp4")
        await site.days(29)
        os.rename(root.parent / "a.mp4", root / "elsewhere.mp4")
        await site.days(1)
        assert await site.remembered() == {"a.mp4": 0, "b.mp4": 0}
        os.remove(root / "elsewhere.mp4")
        await site.days(29)
        assert await site.remembered() == {"a.mp4": 29, "b.mp4": 0}


async def test_a_day_is_a_day_of_running_time_however_it_is_put_together(root: Path, opened: Opened) -> None:
    """A wall clock that says 2038 does not matter, and a restart each hour does not hinder."""
    async with opened() as checkpoints:
        site = Site(root, checkpoints)
        await site.finish("a.mp4", "b.mp4")
        os.remove(root / "a.mp4")
        await site.runs(60)
        assert await site.remembered() == {"a.mp4": 1, "b.mp4": 0}
        for hour in range(1, 25):
            site.clock.wall = datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC) if hour % 2 else NOON - timedelta(days=400)
            site.start()
            for _ in range(12):
                await site.runs(HOUR / 12)
            assert await site.remembered() == {"a.mp4": 1 + (hour == 24), "b.mp4": 0}, hour


async def test_a_daemon_that_was_off_for_forty_days_has_missed_nothing(root: Path, opened: Opened) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints)
        await site.finish("a.mp4", "b.mp4")
        await site.days(2)
        site.clock.wall += timedelta(days=40)
        os.remove(root / "a.mp4")
        site.start()
        await site.runs(60)
        await site.runs(HOUR)
        assert await site.remembered() == {"a.mp4": 0, "b.mp4": 0}
        await site.days(1)
        assert await site.remembered() == {"a.mp4": 1, "b.mp4": 0}


def _removed(root: Path) -> Callable[[], None]:
    away = root.parent / "away"
    os.rename(root, away)
    return lambda: os.rename(away, root)


def _unmounted(root: Path) -> Callable[[], None]:
    """An empty folder is where the disk was."""
    back = _removed(root)
    root.mkdir()

    def mounted() -> None:
        root.rmdir()
        back()

    return mounted


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("disk", [_removed, _unmounted])
async def test_a_disk_that_is_away_for_forty_days_costs_no_file_a_day(
    root: Path, opened: Opened, disk: Callable[[Path], Callable[[], None]], restarted: bool
) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(30, 0))
        await site.finish("a.mp4", "cam/b.mp4")
        await site.days(1)
        back = disk(root)
        if restarted:
            site.start()
        await site.days(40)
        assert await site.remembered() == {"a.mp4": 0, "cam/b.mp4": 0}
        back()
        await site.runs(60)
        assert await site.remembered() == {"a.mp4": 0, "cam/b.mp4": 0}


async def test_nothing_is_forgotten_before_two_whole_scans(root: Path, opened: Opened) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(1, 0))
        await site.finish("a.mp4", "b.mp4", "c.mp4")
        os.remove(root / "a.mp4")
        site.clock.now += 9 * DAY_SECONDS
        await site.pruning.look()
        site.scan()
        await site.pruning.look()
        steps = site.tree.scan()
        next(steps)
        await site.pruning.look()
        assert len(await site.remembered()) == 3
        list(steps)
        await site.pruning.look()
        assert await site.remembered() == {"b.mp4": 0, "c.mp4": 0}


async def test_a_file_that_is_moved_to_where_the_scan_has_been_is_there(root: Path, opened: Opened) -> None:
    """The scan meets it at neither place."""
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(1, 0))
        await site.finish("first/a.mp4", "second/b.mp4")
        assert not site.move_during_scan().exists()
        await site.pruning.look()
        assert await site.remembered() == {"first/a.mp4": 0, "second/b.mp4": 0}


async def test_a_folder_that_may_not_be_read_hides_its_files_and_keeps_no_other(root: Path, opened: Opened) -> None:
    """``lost+found``, for example, of which nobody reads more than the name."""
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(2, 100))
        await site.finish("locked/a.mp4", "locked/deep/b.mp4", "c.mp4", "d.mp4")
        os.remove(root / "c.mp4")
        site.tree.locked = ("locked",)
        await site.days(5)
        assert await site.remembered() == {"locked/a.mp4": 0, "locked/deep/b.mp4": 0, "d.mp4": 0}


async def test_a_file_that_nobody_can_look_at_may_be_there(root: Path, opened: Opened) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(1, 0))
        await site.finish("a.mp4")
        site.unreadable.add("a.mp4")
        await site.days(3)
        assert await site.remembered() == {"a.mp4": 0}


async def test_an_inode_that_is_used_again_hides_no_file_that_is_gone(root: Path, opened: Opened) -> None:
    """A folder that records and deletes uses few inodes: the files of old must not be taken for the living ones."""
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(2, 100))
        await site.finish("living.mp4")
        living = site.marker("living.mp4")
        for number in range(1, 6):
            identity = replace(living.snapshot.identity, birth_ns=number)
            snapshot = replace(living.snapshot, identity=identity)
            await checkpoints.put_marker(
                replace(living, stream_id=f"old {number}", path=f"{number}", snapshot=snapshot)
            )
        await site.days(2)
        assert await site.remembered() == {"living.mp4": 0}


@pytest.mark.parametrize("most", [0, 3, 20])
async def test_of_the_gone_only_so_many_are_kept_and_of_those_that_are_there_all(
    root: Path, opened: Opened, most: int
) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(30, most))
        for number in range(20):
            await site.finish(f"stays {number}.mp4", f"goes {number:02}.mp4", hours=-number)
            os.remove(root / f"goes {number:02}.mp4")
        await site.runs(60)
        there = {f"stays {number}.mp4": 0 for number in range(20)}
        youngest = {f"goes {number:02}.mp4": 1 for number in range(most)}
        assert await site.remembered() == there | youngest
        assert site.telemetry.moments[-1] == moments.MarkersCompared(gone=most, pruned=20 - most)
        await site.finish("fresh.mp4", hours=-500)
        os.remove(root / "fresh.mp4")
        await site.days(1)
        remembered = await site.remembered()
        assert remembered.items() >= there.items()
        assert len(remembered) == 20 + min(most, 21)
        assert ("fresh.mp4" in remembered) == (most > 0), "what was missed more often is older, whatever the clock said"


async def test_members_that_no_marker_remembers_leave_the_completed_streams(root: Path, opened: Opened) -> None:
    """A file that was begun anew has another marker in place of the first."""
    async with opened() as checkpoints:
        site = Site(root, checkpoints)
        await site.finish("a.mp4")
        await checkpoints.put_marker(replace(site.marker("a.mp4"), stream_id="second"))
        assert await all_completed(checkpoints) == {"of a.mp4", "second"}
        await site.runs(60)
        assert await all_completed(checkpoints) == {"second"}


@pytest.mark.redis
@pytest.mark.parametrize(
    ("skipped", "left"),
    [
        ({}, {"of a.mp4"}),
        ({"3:3": '{"v": 1, "bucket": "another", "stream_id": "third"}'}, {"of a.mp4", "third"}),
        ({"3:3": '{"v": 9, "stream_id": "third"}'}, {"of a.mp4", "third"}),
        ({"3:3": "no JSON"}, {"of a.mp4", "second", "third"}),
    ],
    ids=["no other marker", "another bucket's", "a newer release's", "one that nobody can read"],
)
async def test_members_whose_marker_is_skipped_stay_among_the_completed_streams(
    root: Path, redis_server: str, prefix: str, skipped: dict[str, str], left: set[str]
) -> None:
    admin = client(redis_server)
    async with opened_redis(redis_server, prefix=prefix) as checkpoints:
        site = Site(root, checkpoints)
        await site.finish("a.mp4")
        admin.sadd(f"{prefix}streams:completed", "second", "third")
        for field, raw in skipped.items():
            admin.hset(f"{prefix}streams:markers", field, raw)
        await site.days(2)
        assert await all_completed(checkpoints) == left


async def test_a_folder_without_a_file_of_ours_is_no_empty_one(root: Path, opened: Opened) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(2, 100))
        await site.finish("a.mp4")
        (root / "notes.txt").write_text("something else")
        os.remove(root / "a.mp4")
        await site.days(2)
        assert await site.remembered() == {}


async def test_a_file_that_no_pattern_takes_any_more_is_there(root: Path, opened: Opened) -> None:
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(1, 0))
        await site.finish("a.mp4", "kept/b.mov", "kept/c.mov")
        os.remove(root / "kept/c.mov")
        await site.days(3)
        assert await site.remembered() == {"a.mp4": 0, "kept/b.mov": 0}


async def test_a_recording_that_ends_while_the_markers_are_compared_is_there(root: Path, opened: Opened) -> None:
    """It was created after the scan that counts."""
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(1, 0))
        await site.finish("a.mp4", "b.mp4")
        os.remove(root / "b.mp4")
        site.scan(2)
        census = site.tree.census()
        assert census is not None
        await site.finish("new/c.mp4")
        site.tree.census = lambda: census  # type: ignore[method-assign]
        await site.pruning.look()
        assert await site.remembered() == {"a.mp4": 0, "new/c.mp4": 0}


async def test_a_file_whose_place_another_took_while_the_scan_went_on_is_there(root: Path, opened: Opened) -> None:
    """It is met neither where it was, nor where it is, and its old place is not empty."""
    async with opened() as checkpoints:
        site = Site(root, checkpoints, Retention(1, 0))
        await site.finish("first/a.mp4", "second/b.mp4")
        (root / "other").write_bytes(b"another film")
        assert site.move_during_scan(successor="other").exists()
        await site.pruning.look()
        assert await site.remembered() == {"first/a.mp4": 0, "second/b.mp4": 0}
