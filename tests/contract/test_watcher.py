"""Watching a real folder: notifications, scans, and what must not be taken for a deletion."""

from __future__ import annotations

import asyncio
import mmap
import os
import shutil
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from src.config import Settings
from src.domain import Snapshot, moments
from src.events import StreamEvent, WatcherChangeType
from src.exceptions import Stopped
from src.watcher import Globs, RecordingFiles, Tree, Watcher, watcher
from src.watcher.tree import BATCH, Findings
from tests.corpus.names import RECORDINGS, Odd

CREATE, WRITE, DELETE = WatcherChangeType.CREATE, WatcherChangeType.WRITE, WatcherChangeType.DELETE
NEVER = 3600.0
Events = list[tuple[WatcherChangeType, str]]


class TestGlobs:
    @pytest.mark.parametrize(
        ("patterns", "path", "expected"),
        [
            (["*.mp4"], "a.mp4", True),
            (["*.mp4"], "deep/in/a.mp4", True),
            (["*.mp4"], "a.MP4", False),
            (["*.mp4"], "a.mp4.tmp", False),
            (["*.mp4"], "a.mp4/b.txt", False),
            (["*.mp4"], "line\nbreak.mp4", True),
            (["*.mp4"], "line.mp4\n", False),
            (["*.mp4"], "\udcff.mp4", True),
            (["*.mp4", "*.mov"], "a.mov", True),
            (["cam?.mp4"], "cam1.mp4", True),
            (["cam?.mp4"], "cam10.mp4", False),
            (["cam/*.mp4"], "cam/a.mp4", True),
            (["cam/*.mp4"], "cam/1/a.mp4", True),
            (["cam/*.mp4"], "other/a.mp4", False),
            (["cam/*.mp4"], "a.mp4", False),
            (["**/*.mp4"], "a.mp4", True),
            (["**/*.mp4"], "deep/in/a.mp4", True),
            (["cam/**/*.mp4"], "cam/a.mp4", True),
            (["cam/**/*.mp4"], "cam/1/2/a.mp4", True),
            (["cam/**/*.mp4"], "other/a.mp4", False),
            (["**/cam/**/*.mp4"], "cam/a.mp4", True),
            (["**/cam/**/*.mp4"], "x/cam/y/a.mp4", True),
            (["**/cam/**/*.mp4"], "x/a.mp4", False),
            ([], "a.mp4", False),
        ],
    )
    def test_names_match_the_patterns(self, patterns: list[str], path: str, expected: bool) -> None:
        assert Globs(patterns).match(path) is expected

    @pytest.mark.parametrize(
        "path",
        [
            *("._x.mp4", "cam/._x.mp4", ".Trash-1000/files/x.mp4", ".Trashes/501/x.mp4", "#recycle/x.mp4"),
            *("cam/@eaDir/x.mp4", "$RECYCLE.BIN/S-1-5/x.mp4", ".stversions/x~20260101.mp4", "lost+found/#1.mp4"),
            *("System Volume Information/x.mp4", ".snapshot/daily/x.mp4", ".zfs/snapshot/a/x.mp4"),
            *(".@__thumb/x.mp4", "cam/.recycle/x.mp4"),
        ],
    )
    def test_other_programs_leftovers_are_left_out_by_default(self, path: str) -> None:
        assert Globs(["*.mp4"]).match(path)
        assert not Globs(["*.mp4"], Settings().watch_exclude_globs).match(path)

    @pytest.mark.parametrize(
        "path", ["x.mp4", "cam 1/x.mp4", "_x.mp4", "recycle/x.mp4", "my.stversions/x.mp4", "eaDir/x.mp4", ".cam/x.mp4"]
    )
    def test_what_only_resembles_them_is_not(self, path: str) -> None:
        assert Globs(["*.mp4"], Settings().watch_exclude_globs).match(path)

    def test_an_excluding_pattern_with_a_slash_is_of_the_whole_path(self) -> None:
        globs = Globs(["*.mp4"], ["cam/old/*"])
        assert not globs.match("cam/old/x.mp4")
        assert globs.match("other/cam/old/x.mp4")


@dataclass
class Scanned:
    """What a scan or a look told, all steps together."""

    events: Events = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    missing: list[bool] = field(default_factory=list)
    other_root: bool = False
    steps: int = 0


def told(steps: Iterator[Findings]) -> Scanned:
    result = Scanned()
    for found in steps:
        result.events += [(event.change_type, event.path) for event in found.events]
        result.skipped |= dict(found.skipped)
        result.missing += [found.missing] if found.missing is not None else []
        result.other_root |= found.other_root
        result.steps += 1
        assert found.entries <= BATCH
    return result


def tree_of(root: Path, *, polling: bool = False) -> Tree:
    stat = RecordingFiles(root, in_memory_limit=1).stat
    return Tree(root, Globs(["*.mp4"]), stat, hints_of_deletion_are_proof=not polling)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return tree_of(tmp_path)


class TestScan:
    def test_one_change_makes_one_event(self, tree: Tree, tmp_path: Path) -> None:
        (tmp_path / "cam").mkdir()
        recording = tmp_path / "cam" / "a.mp4"
        recording.write_bytes(b"x")
        (tmp_path / "stays.mp4").write_bytes(b"x")
        assert sorted(told(tree.scan()).events) == [(CREATE, "cam/a.mp4"), (CREATE, "stays.mp4")]
        assert told(tree.scan()).events == []
        recording.write_bytes(b"xy")
        assert told(tree.scan()).events == [(WRITE, "cam/a.mp4")]
        assert told(tree.scan()).events == []
        recording.unlink()
        assert told(tree.scan()).events == [(DELETE, "cam/a.mp4")]
        assert told(tree.scan()).events == []
        assert tree.files == 1

    def test_a_change_that_keeps_size_and_mtime_is_a_change(self, tree: Tree, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        told(tree.scan())
        status = (tmp_path / "a.mp4").stat()
        (tmp_path / "a.mp4").write_bytes(b"y")
        os.utime(tmp_path / "a.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert told(tree.scan()).events == [(WRITE, "a.mp4")]

    def test_another_file_under_the_name_is_a_change(self, tree: Tree, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        told(tree.scan())
        (tmp_path / "new").write_bytes(b"x")
        (tmp_path / "new").replace(tmp_path / "a.mp4")
        assert told(tree.scan()).events == [(WRITE, "a.mp4")]

    @pytest.mark.parametrize("name", RECORDINGS, ids=str)
    def test_any_name_that_the_file_system_allows_is_found(self, tree: Tree, tmp_path: Path, name: Odd) -> None:
        path = os.fsdecode(b"\xfe folder/" + name.path)
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"x")
        assert told(tree.scan()).events == [(CREATE, path)]
        assert told(tree.look_at([path])).events == []

    def test_a_folder_of_many_files_comes_in_batches(self, tree: Tree, tmp_path: Path) -> None:
        for number in range(2 * BATCH + 1):
            (tmp_path / f"{number}.mp4").touch()
        (tmp_path / "other.txt").touch()
        found = told(tree.scan())
        assert len(found.events) == 2 * BATCH + 1
        assert found.steps >= 3
        for number in range(2 * BATCH + 1):
            (tmp_path / f"{number}.mp4").unlink()
        assert len(told(tree.scan()).events) == 2 * BATCH + 1
        assert tree.files == 0

    def test_what_is_no_recording_is_reported_once_and_never_published(self, tree: Tree, tmp_path: Path) -> None:
        root = tmp_path
        os.mkfifo(root / "fifo.mp4")
        (root / "folder.mp4").mkdir()
        (root / "folder.mp4" / "inside.mp4").write_bytes(b"x")
        (root / "link.mp4").symlink_to("/etc/passwd")
        (root / "dangling.mp4").symlink_to("nowhere")
        (root / "dangling").symlink_to("nowhere")
        (root / "real").mkdir()
        (root / "linked").symlink_to("real")
        folder = os.open(root, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/socket.mp4")  # the path of a socket must be short
        os.close(folder)
        found = told(tree.scan())
        assert found.events == [(CREATE, "folder.mp4/inside.mp4")]
        assert {path: reason.split()[1] for path, reason in found.skipped.items()} == {
            "fifo.mp4": "FIFO,",
            "folder.mp4": "folder;",
            "link.mp4": "symbolic",
            "dangling.mp4": "symbolic",
            "linked": "symbolic",
            "socket.mp4": "socket",
        }
        assert told(tree.scan()).skipped == {}
        assert told(tree.look_at(["fifo.mp4", "link.mp4", "folder.mp4"])).skipped == {}

    def test_it_is_reported_again_when_it_comes_again(self, tree: Tree, tmp_path: Path) -> None:
        for _ in range(2):
            os.mkfifo(tmp_path / "x.mp4")
            assert "x.mp4" in told(tree.scan()).skipped
            (tmp_path / "x.mp4").unlink()
            assert told(tree.scan()).skipped == {}

    def test_a_fifo_that_becomes_a_recording_is_found(self, tree: Tree, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "x.mp4")
        told(tree.scan())
        (tmp_path / "x.mp4").unlink()
        (tmp_path / "x.mp4").write_bytes(b"x")
        assert told(tree.scan()).events == [(CREATE, "x.mp4")]

    def test_a_folder_too_deep_to_be_listed_is_reported_and_the_rest_is_found(self, tree: Tree, tmp_path: Path) -> None:
        folder = os.open(tmp_path, os.O_RDONLY)
        for _ in range(17):
            os.mkdir("d" * 250, dir_fd=folder)
            below = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        os.close(folder)
        (tmp_path / "a.mp4").write_bytes(b"x")
        found = told(tree.scan())
        assert found.events == [(CREATE, "a.mp4")]
        assert [reason for reason in found.skipped.values() if "cannot be listed" in reason]


@contextmanager
def without_root_rights() -> Iterator[Path]:
    """A folder, and the rights of nobody in particular while it is used."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        shutil.rmtree(folder)


class TestUnreadableFolders:
    @pytest.mark.parametrize("mode", [0o000, 0o400])
    def test_a_folder_that_becomes_unreadable_has_no_deleted_files(self, mode: int) -> None:
        with without_root_rights() as root:
            tree = tree_of(root)
            (root / "cam" / "deep").mkdir(parents=True)
            for path in ("cam/a.mp4", "cam/deep/b.mp4", "c.mp4", "d.mp4"):
                (root / path).write_bytes(b"x")
            assert len(told(tree.scan()).events) == 4
            (root / "cam").chmod(mode)
            (root / "d.mp4").unlink()
            found = told(tree.scan())
            assert found.events == [(DELETE, "d.mp4")]
            assert all("Permission denied" in reason for reason in found.skipped.values())
            assert found.skipped
            assert told(tree.look_at(["cam/a.mp4", "cam/deep"])).events == []
            assert told(tree.scan()) == Scanned(steps=3)
            (root / "cam").chmod(0o700)
            assert told(tree.scan()).events == []
            assert tree.files == 3

    def test_a_root_that_becomes_unreadable_has_no_deleted_files(self) -> None:
        with without_root_rights() as root:
            tree = tree_of(root)
            (root / "a.mp4").write_bytes(b"x")
            told(tree.scan())
            root.chmod(0)
            assert told(tree.scan()).missing == [True]
            assert told(tree.look_at(["a.mp4"])).events == []
            root.chmod(0o700)
            found = told(tree.scan())
            assert (found.missing, found.events) == ([False], [(WRITE, "a.mp4")]), "it was seen gone: look again"


class TestMountGone:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "root"
        root.mkdir()
        (root / "a.mp4").write_bytes(b"x")
        (root / "b.mp4").write_bytes(b"x")
        return root

    @pytest.fixture
    def tree(self, root: Path) -> Tree:
        tree = tree_of(root)
        told(tree.scan())
        return tree

    def test_a_root_that_is_away_has_no_deleted_files_and_is_reported_once(self, tree: Tree, root: Path) -> None:
        root.rename(root.parent / "away")
        assert told(tree.scan()) == Scanned(missing=[True], steps=1)
        assert told(tree.scan()) == Scanned(steps=1)
        assert told(tree.look_at(["a.mp4", "b.mp4"])).events == []
        (root.parent / "away").rename(root)
        found = told(tree.scan())
        assert (found.missing, sorted(found.events), found.other_root) == (
            [False],
            [(WRITE, "a.mp4"), (WRITE, "b.mp4")],
            True,
        )

    def test_a_root_that_is_empty_at_once_has_no_deleted_files(self, tree: Tree, root: Path) -> None:
        root.rename(root.parent / "away")
        root.mkdir()
        assert told(tree.scan()) == Scanned(missing=[True], steps=1)
        assert told(tree.scan()) == Scanned(steps=1)
        root.rmdir()
        (root.parent / "away").rename(root)
        (root / "a.mp4").write_bytes(b"longer")
        found = told(tree.scan())
        assert (found.missing, sorted(found.events)) == ([False], [(WRITE, "a.mp4"), (WRITE, "b.mp4")])

    def test_a_root_that_is_emptied_but_for_one_file_has_deleted_files(self, tree: Tree, root: Path) -> None:
        (root / "a.mp4").unlink()
        assert told(tree.scan()).events == [(DELETE, "a.mp4")]

    def test_a_new_folder_in_place_of_the_old_one_needs_new_notifications(self, tree: Tree, root: Path) -> None:
        root.rename(root.parent / "away")
        root.mkdir()
        (root / "a.mp4").write_bytes(b"x")
        found = told(tree.scan())
        assert (found.missing, found.events, found.other_root) == ([], [(WRITE, "a.mp4"), (DELETE, "b.mp4")], True)

    def test_files_on_another_device_do_not_make_the_old_ones_deleted(self, tmp_path: Path, root: Path) -> None:
        if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no second device here")
        mount = tmp_path / "mount"
        mount.symlink_to(root)
        tree = tree_of(mount)
        assert len(told(tree.scan()).events) == 2
        with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
            (Path(other) / "b.mp4").write_bytes(b"other")
            mount.unlink()
            mount.symlink_to(other)
            assert told(tree.look_at(["a.mp4"])).events == []
            interrupted = tree.scan()
            next(interrupted)
            mount.rename(tmp_path / "away")
            assert told(interrupted).events == []
            (tmp_path / "away").rename(mount)
            found = told(tree.scan())
            assert (found.missing, found.events, found.other_root) == ([True, False], [(WRITE, "b.mp4")], True)
            (Path(other) / "c.mp4").write_bytes(b"c")
            (Path(other) / "b.mp4").unlink()
            assert sorted(told(tree.scan()).events) == [(CREATE, "c.mp4"), (DELETE, "b.mp4")]

    def test_a_root_that_goes_away_in_the_middle_of_a_scan_has_no_deleted_files(self, tree: Tree, root: Path) -> None:
        steps = tree.scan()
        next(steps)
        root.rename(root.parent / "away")
        assert told(steps).events == []
        assert tree.files == 2

    def test_a_poller_that_names_everything_deleted_in_an_empty_folder_is_not_believed(self, root: Path) -> None:
        poller, notified = tree_of(root, polling=True), tree_of(root)
        told(poller.scan())
        told(notified.scan())
        (root / "b.mp4").unlink()
        assert told(poller.look_at(["b.mp4"])).events == [(DELETE, "b.mp4")]
        (root / "a.mp4").unlink()
        assert told(poller.look_at(["a.mp4"])).events == []
        assert sorted(told(notified.look_at(["a.mp4", "b.mp4"])).events) == [(DELETE, "a.mp4"), (DELETE, "b.mp4")]


class TestHints:
    def test_a_hint_is_only_a_reason_to_look(self, tree: Tree, tmp_path: Path) -> None:
        recording = tmp_path / "a.mp4"
        told(tree.scan())
        recording.write_bytes(b"x")
        assert told(tree.look_at(["a.mp4"])).events == [(CREATE, "a.mp4")]
        assert told(tree.look_at(["a.mp4"])).events == []
        recording.write_bytes(b"xy")
        assert told(tree.look_at(["a.mp4"])).events == [(WRITE, "a.mp4")]
        recording.unlink()
        assert told(tree.look_at(["a.mp4", "never.mp4"])).events == [(DELETE, "a.mp4")]
        assert told(tree.scan()).events == []

    def test_a_name_that_does_not_match_is_no_recording(self, tree: Tree, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"x")
        assert told(tree.look_at(["a.txt"])) == Scanned(steps=1)

    def test_a_new_folder_is_looked_into(self, tree: Tree, tmp_path: Path) -> None:
        (tmp_path / "x" / "y.mp4" / "z").mkdir(parents=True)
        (tmp_path / "x" / "y.mp4" / "z" / "a.mp4").write_bytes(b"x")
        found = told(tree.look_at(["x"]))
        assert found.events == [(CREATE, "x/y.mp4/z/a.mp4")]
        assert list(found.skipped) == ["x/y.mp4"]

    def test_a_vanished_folder_takes_its_files_along(self, tree: Tree, tmp_path: Path) -> None:
        (tmp_path / "x" / "y").mkdir(parents=True)
        (tmp_path / "x" / "y" / "a.mp4").write_bytes(b"x")
        (tmp_path / "xy.mp4").write_bytes(b"x")
        told(tree.scan())
        (tmp_path / "x").rename(tmp_path / "w")
        found = told(tree.look_at(["x", "w"]))
        assert sorted(found.events) == [(CREATE, "w/y/a.mp4"), (DELETE, "x/y/a.mp4")]

    def test_hints_from_behind_a_link_are_nothing(self, tree: Tree, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        root = tmp_path / "root"
        (outside / "deep").mkdir(parents=True)
        (outside / "a.mp4").write_bytes(b"x")
        root.mkdir()
        (root / "link").symlink_to("../outside")
        tree = tree_of(root)
        assert told(tree.look_at(["link/a.mp4", "link/deep", "link"])).events == []

    def test_hints_before_the_first_scan_delete_nothing(self, tree: Tree) -> None:
        assert told(tree.look_at(["a.mp4"])).events == []

    def test_what_a_hint_found_during_a_scan_is_not_deleted_by_it(self, tree: Tree, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        told(tree.scan())
        (tmp_path / "a.mp4").unlink()
        (tmp_path / "c.mp4").write_bytes(b"x")
        steps = tree.scan()
        found = [next(steps), next(steps)]
        (tmp_path / "b.mp4").write_bytes(b"x")
        assert told(tree.look_at(["b.mp4", "a.mp4"])).events == [(CREATE, "b.mp4"), (DELETE, "a.mp4")]
        assert told(steps).events == []
        assert [event.path for part in found for event in part.events] == ["c.mp4"]


class Telemetry:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.skipped: list[str] = []
        self.unmatched: list[tuple[str, str]] = []
        self.restarts: list[tuple[BaseException, float]] = []
        self.folder: list[str] = []
        self.scans: list[int] = []

    def emit(self, moment: moments.DaemonMoment) -> None:
        match moment:
            case moments.FileSkipped(file_path=path):
                self.skipped.append(path)
            case moments.WatcherRestarted(error=error, retry_in_seconds=seconds):
                self.restarts.append((error, seconds))
            case moments.UnmatchedMediaFile(file_path=path, pattern=pattern):
                self.unmatched.append((path, pattern))
            case moments.FolderMissing():
                self.folder.append("missing")
            case moments.FolderRecovered():
                self.folder.append("back")
            case moments.FolderScanned(files=files, seconds=seconds):
                assert seconds >= 0
                self.scans.append(files)
            case _:
                raise AssertionError(moment)


class Watched:
    """A running watcher with what it published and told."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.events: Events = []
        self.watcher: Watcher

    def publish(self, event: StreamEvent) -> None:
        self.events.append((event.change_type, event.path))

    async def until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in time; events: {self.events}, {vars(self.telemetry)}"
            await asyncio.sleep(0.01)

    async def sees(self, change: WatcherChangeType, path: str) -> None:
        await self.until(lambda: (change, path) in self.events)


@asynccontextmanager
async def watching(root: Path, *, scan_seconds: float = NEVER, polling: bool = False) -> AsyncIterator[Watched]:
    """Ready when notifications come: the scan that follows their beginning is done."""
    watched = Watched()
    files = RecordingFiles(root, in_memory_limit=1)
    watcher = watched.watcher = Watcher(
        root,
        globs=Globs(["*.mp4"]),
        scan_seconds=scan_seconds,
        force_polling=polling,
        stat=files.stat,
        emit=watched.telemetry.emit,
    )
    running = asyncio.create_task(watcher.run(watched.publish))
    try:
        await watched.until(lambda: len(watched.telemetry.scans) >= 2 or running.done() or watched.telemetry.folder)
        yield watched
        assert not running.done()
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait_for(running, 5)
        await files.close()


@pytest.mark.parametrize("polling", [False, True], ids=["notified", "polling"])
class TestNotifications:
    async def test_the_life_of_a_recording_is_told_without_a_scan(self, tmp_path: Path, polling: bool) -> None:
        (tmp_path / "stays.mp4").write_bytes(b"x")
        async with watching(tmp_path, polling=polling) as watched:
            assert watched.events == [(CREATE, "stays.mp4")]
            scans = len(watched.telemetry.scans)
            with (tmp_path / "a.mp4").open("wb", buffering=0) as recorder:
                recorder.write(b"x")
                await watched.sees(CREATE, "a.mp4")
                recorder.write(b"y")
                await watched.sees(WRITE, "a.mp4")
            (tmp_path / "a.mp4").unlink()
            await watched.sees(DELETE, "a.mp4")
            assert len(watched.telemetry.scans) == scans

    async def test_files_made_together_with_their_folders_are_found_without_a_scan(
        self, tmp_path: Path, polling: bool
    ) -> None:
        async with watching(tmp_path, polling=polling) as watched:
            scans = len(watched.telemetry.scans)
            (tmp_path / "x" / "y" / "z").mkdir(parents=True)
            (tmp_path / "x" / "y" / "z" / "a.mp4").write_bytes(b"x")
            await watched.sees(CREATE, "x/y/z/a.mp4")
            assert len(watched.telemetry.scans) == scans


def _listeners() -> int:
    """How many queues of notifications this process has asked the kernel for."""
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum("inotify" in os.readlink(link) for link in links if link.is_symlink())


@pytest.mark.parametrize(("polling", "listeners"), [(False, 1), (True, 0)])
async def test_where_polling_is_forced_the_kernel_is_not_asked(tmp_path: Path, polling: bool, listeners: int) -> None:
    before = _listeners()
    async with watching(tmp_path, polling=polling) as watched:
        (tmp_path / "a.mp4").write_bytes(b"x")
        await watched.sees(CREATE, "a.mp4")
        assert _listeners() - before == listeners


class TestWatching:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same with shorter waits."""
        monkeypatch.setattr(watcher, "HINT_STEP_MS", 20)
        monkeypatch.setattr(watcher, "HINT_DEBOUNCE_MS", 100)
        monkeypatch.setattr(watcher, "HINT_QUIET_MS", 150)

    async def test_files_that_exist_at_start_are_found_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "cam").mkdir()
        (tmp_path / "cam" / "a.mp4").write_bytes(b"x")
        async with watching(tmp_path) as watched:
            assert watched.events == [(CREATE, "cam/a.mp4")]
            assert watched.telemetry.scans[0] == 1

    async def test_a_renamed_folder_moves_its_recordings(self, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "a.mp4").write_bytes(b"x")
        async with watching(tmp_path) as watched:
            (tmp_path / "x").rename(tmp_path / "y")
            await watched.sees(CREATE, "y/a.mp4")
            await watched.sees(DELETE, "x/a.mp4")

    async def test_a_name_that_notifications_cannot_bear_is_found_and_they_come_back(self, tmp_path: Path) -> None:
        async with watching(tmp_path) as watched:
            name = os.fsdecode(b"\xff.mp4")
            (tmp_path / name).write_bytes(b"x")
            await watched.sees(CREATE, name)
            assert len(watched.telemetry.restarts) == 1
            (tmp_path / "after.mp4").write_bytes(b"x")
            await watched.sees(CREATE, "after.mp4")

    async def test_each_further_end_of_notifications_doubles_the_wait(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What lasts longer than the longest wait counts as good time: a busy machine's pauses must not.
        monkeypatch.setattr(watcher, "FIRST_RESTART_SECONDS", 0.5)
        monkeypatch.setattr(watcher, "LONGEST_RESTART_SECONDS", 2.0)
        (tmp_path / "file").touch()
        async with watching(tmp_path / "file" / "root") as watched:
            await watched.until(lambda: len(watched.telemetry.restarts) >= 4)
            waits = [seconds for _, seconds in watched.telemetry.restarts[:4]]
            assert waits == [0.5, 1.0, 2.0, 2.0]

    async def test_the_wait_begins_anew_after_a_long_good_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watcher, "FIRST_RESTART_SECONDS", 0.02)
        monkeypatch.setattr(watcher, "LONGEST_RESTART_SECONDS", 0.05)
        async with watching(tmp_path) as watched:
            for number in (1, 2):
                scans = len(watched.telemetry.scans)
                (tmp_path / os.fsdecode(b"\xff%d.mp4" % number)).write_bytes(b"x")
                await watched.until(lambda: len(watched.telemetry.restarts) == number)  # noqa: B023
                await watched.until(lambda: len(watched.telemetry.scans) >= scans + 2)  # noqa: B023
            assert [seconds for _, seconds in watched.telemetry.restarts] == [0.02, 0.02]

    async def test_a_file_that_is_written_often_is_looked_at_once_a_second(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However often hints come: the first look is at once, and the last write is seen, too."""
        async with watching(tmp_path) as watched:
            looks: list[tuple[str, float]] = []
            stat = watched.watcher._tree._stat

            def counted(path: str) -> Snapshot | None:
                looks.append((path, time.monotonic()))
                return stat(path)

            monkeypatch.setattr(watched.watcher._tree, "_stat", counted)
            files = [tmp_path / f"{number:04}.mp4" for number in range(40)]
            until = time.monotonic() + 3.5 * watcher.LOOK_SECONDS
            size = 0
            while time.monotonic() < until:
                for file in files:
                    with file.open("ab") as recorder:
                        recorder.write(b"x")
                size += 1
                watched.watcher._hinted([str(file) for file in files])
                await asyncio.sleep(0.02)
            for file in files:
                file.write_bytes(b"the end")
            await asyncio.sleep(0)
            sizes = watched.watcher._tree._seen
            await watched.until(lambda: all(sizes[file.name].facts[0] == len("the end") for file in files))
        by_path: dict[str, list[float]] = defaultdict(list)
        for path, at in looks:
            by_path[path].append(at)
        assert by_path.keys() == {file.name for file in files}
        for times in by_path.values():
            # a sweep begins at the same time for all its paths, and may be slow to come to one of them
            assert len(times) <= (times[-1] - times[0]) / watcher.LOOK_SECONDS + 2
        assert size > max(map(len, by_path.values()))

    async def test_more_hints_than_are_kept_lose_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watcher, "HINTS_KEPT", 3)
        async with watching(tmp_path) as watched:
            for number in range(50):
                (tmp_path / f"{number}.mp4").write_bytes(b"x")
            await watched.until(lambda: len(watched.events) == 50)

    @pytest.mark.parametrize(("hints", "become_a_scan"), [(3, False), (4, True)])
    async def test_too_many_hints_become_a_scan(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hints: int, become_a_scan: bool
    ) -> None:
        monkeypatch.setattr(watcher, "HINTS_KEPT", 3)
        looking = Watcher(
            tmp_path,
            globs=Globs(["*.mp4"]),
            scan_seconds=NEVER,
            force_polling=False,
            stat=lambda _: None,
            emit=Telemetry().emit,
        )
        looking._scan_wanted = False  # the first scan is done
        looking._hinted([str(tmp_path / f"{number}.mp4") for number in range(hints)])
        assert looking._scan_wanted is become_a_scan
        assert len(looking._hints) == (0 if become_a_scan else hints)

    async def test_the_scan_finds_what_notifications_do_not_tell(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        root = tmp_path / "file" / "root"  # cannot be watched, cannot be made
        async with watching(root, scan_seconds=0.05) as watched:
            assert watched.telemetry.folder == ["missing"]
            (tmp_path / "file").unlink()
            root.mkdir(parents=True)
            (root / "a.mp4").write_bytes(b"x")
            await watched.sees(CREATE, "a.mp4")
            assert watched.telemetry.folder == ["missing", "back"]
            (root / "a.mp4").write_bytes(b"xyz")
            await watched.sees(WRITE, "a.mp4")

    async def test_the_scan_finds_what_is_written_through_a_mapping(self, tmp_path: Path) -> None:
        """The kernel notifies nobody of that; a file on a share that another host writes is no different."""
        (tmp_path / "a.mp4").write_bytes(bytes(mmap.PAGESIZE))
        async with watching(tmp_path, scan_seconds=0.05) as watched:
            assert watched.events == [(CREATE, "a.mp4")]
            with (tmp_path / "a.mp4").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
                mapping[0] = 1
                mapping.flush()
                await watched.sees(WRITE, "a.mp4")

    async def test_thousands_of_files_that_vanish_at_once_are_all_told(self, tmp_path: Path) -> None:
        (tmp_path / "stays.mp4").touch()
        (tmp_path / "x").mkdir()
        for number in range(2 * BATCH):
            (tmp_path / "x" / f"{number}.mp4").touch()
        async with watching(tmp_path) as watched:
            (tmp_path / "x").rename(tmp_path.parent / f"{tmp_path.name} elsewhere")
            await watched.until(lambda: sum(change is DELETE for change, _ in watched.events) == 2 * BATCH)

    async def test_a_missing_folder_is_reported_and_waited_for_and_never_made(self, tmp_path: Path) -> None:
        root = tmp_path / "not" / "yet"
        async with watching(root, scan_seconds=0.2) as watched:
            await watched.until(lambda: watched.telemetry.folder == ["missing"])
            with pytest.raises(FileNotFoundError):
                await watched.watcher.ping()
            assert not root.parent.exists()
            root.mkdir(parents=True)
            (root / "a.mp4").write_bytes(b"x")
            await watched.sees(CREATE, "a.mp4")
            assert watched.telemetry.folder == ["missing", "back"]

    async def test_a_film_that_matches_no_pattern_is_named_once_per_pattern(self, tmp_path: Path) -> None:
        names = ("GX010001.MP4", "GX010002.MP4", "a.mov", "b.Mov", "notes.txt", ".mov", "x.mp4.part", "mov", "._e.MKV")
        for name in names:
            (tmp_path / name).touch()
        (tmp_path / "folder.avi").mkdir()
        (tmp_path / "link.webm").symlink_to("a.mov")
        async with watching(tmp_path, scan_seconds=0.1) as watched:
            await watched.until(lambda: len(watched.telemetry.scans) > 3)
            (tmp_path / "late.mkv").touch()
            await watched.until(lambda: len(watched.telemetry.unmatched) > 4)
        assert sorted(pattern for _, pattern in watched.telemetry.unmatched) == [
            "*.MKV",
            "*.MP4",
            "*.Mov",
            "*.mkv",
            "*.mov",
        ]

    async def test_a_folder_that_comes_back_is_watched_again(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (root / "a.mp4").write_bytes(b"x")
        async with watching(root, scan_seconds=0.2) as watched:
            root.rename(tmp_path / "away")
            await watched.until(lambda: watched.telemetry.folder == ["missing"])
            scans = len(watched.telemetry.scans)
            (tmp_path / "away").rename(root)
            await watched.until(lambda: watched.telemetry.folder == ["missing", "back"])
            (root / "b.mp4").write_bytes(b"x")
            await watched.sees(CREATE, "b.mp4")
            await watched.until(lambda: len(watched.telemetry.scans) > scans + 2)
            assert not [change for change in watched.events if change[0] is DELETE]

    async def test_a_folder_that_is_removed_is_told_by_notifications_too(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        async with watching(root) as watched:
            root.rmdir()
            await watched.until(lambda: watched.telemetry.folder == ["missing"])
            root.mkdir()
            (root / "a.mp4").write_bytes(b"x")
            await watched.sees(CREATE, "a.mp4")
            assert any(isinstance(error, FileNotFoundError) for error, _ in watched.telemetry.restarts)

    async def test_a_folder_that_may_not_be_read_does_not_end_notifications(self) -> None:
        with without_root_rights() as root:
            (root / "closed").mkdir(mode=0)
            async with watching(root) as watched:
                assert watched.telemetry.skipped == ["closed"]
                (root / "a.mp4").write_bytes(b"x")
                await watched.sees(CREATE, "a.mp4")
                assert watched.telemetry.restarts == []
            (root / "closed").chmod(0o700)

    async def test_what_is_no_recording_is_reported(self, tmp_path: Path) -> None:
        async with watching(tmp_path) as watched:
            (tmp_path / "link.mp4").symlink_to("/etc/passwd")
            os.mkfifo(tmp_path / "fifo.mp4")
            await watched.until(lambda: sorted(watched.telemetry.skipped) == ["fifo.mp4", "link.mp4"])
            assert watched.events == []

    async def test_a_relative_root_gives_the_same_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "root").mkdir()
        monkeypatch.chdir(tmp_path)
        async with watching(Path("./root")) as watched:
            (tmp_path / "root" / "a.mp4").write_bytes(b"x")
            await watched.sees(CREATE, "a.mp4")

    async def test_it_ends_soon_when_it_is_cancelled(self, tmp_path: Path) -> None:
        async with watching(tmp_path):
            began = time.monotonic()
        assert time.monotonic() - began < 4

    async def test_who_asks_it_after_its_end_is_told_so(self, tmp_path: Path) -> None:
        async with watching(tmp_path) as watched:
            await watched.watcher.census()
        with pytest.raises(Stopped):
            await watched.watcher.census()


async def test_a_file_system_that_owes_an_answer_is_taken_for_dead_until_it_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "SILENT_SECONDS", 0.5)
    watched, asked, answers = Watched(), threading.Event(), threading.Event()

    def stat(path: str) -> Snapshot | None:
        asked.set()
        answers.wait(60)
        return None

    looking = Watcher(
        tmp_path,
        globs=Globs(["*.mp4"]),
        scan_seconds=NEVER,
        force_polling=False,
        stat=stat,
        emit=watched.telemetry.emit,
    )
    running = asyncio.create_task(looking.run(watched.publish))
    try:
        await watched.until(lambda: watched.telemetry.scans)
        await looking.ping()
        (tmp_path / "a.mp4").write_bytes(b"x")
        await watched.until(asked.is_set)
        await watched.until(lambda: _is_silent(looking))
        other = asyncio.create_task(looking.census())
        await asyncio.sleep(0)
        other.cancel()
        await asyncio.wait([other])
        assert _is_silent(looking), "another's question hides the one that has no answer"
        answers.set()
        await watched.until(lambda: not _is_silent(looking))
    finally:
        answers.set()
        running.cancel()
        await asyncio.wait([running])


def _is_silent(looking: Watcher) -> bool:
    try:
        looking.ping().send(None)  # it asks nobody, so it never waits
    except StopIteration:
        return False
    except TimeoutError:
        return True
    raise AssertionError("it waited")
