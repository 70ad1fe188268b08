"""Every shape of the corpus as a real file: what the watcher makes of it, and which bytes are read."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from awscrt.checksums import crc64nvme

from src.domain import Chunk, Hashes, Identity, OverCapacity, PartSchedule, Snapshot, Writers, capacity, combine
from src.domain.part_plan import chunks, whole_chunks
from src.exceptions import ChunkProcessingError, FileChanged
from src.watcher import RecordingFiles, Tree
from tests.contract.test_recordings import everything, seen, without_root_rights
from tests.contract.test_watcher import Scanned, told, tree_of
from tests.corpus.shapes import CHANGES, CHUNK, MOST, OTHERS, SCHEDULE, STILL, TINY, Change, Other, Still, noise

pytestmark = pytest.mark.timeout(60)
HASHES = Hashes(md5=True)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[RecordingFiles]:
    recordings = RecordingFiles(tmp_path, in_memory_limit=2 * CHUNK)
    yield recordings
    await recordings.close()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return tree_of(tmp_path)


def scan(tree: Tree) -> set[str]:
    """The next scan's events as words."""
    return {f"{change.name.lower()} {path}" for change, path in told(tree.scan()).events}


def test_there_are_as_many_as_promised() -> None:
    shapes = [str(shape) for table in (STILL, OTHERS, CHANGES) for shape in table]
    assert len(set(shapes)) == len(shapes) >= 60


# --- Files that lie still ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", STILL, ids=str)
async def test_its_parts_are_its_bytes(files: RecordingFiles, tree: Tree, tmp_path: Path, shape: Still) -> None:
    shape.make(tmp_path / "a.mp4")
    content = (tmp_path / "a.mp4").read_bytes()
    assert scan(tree) == {"create a.mp4"}
    found = await seen(files, "a.mp4")
    assert found.size == len(content)
    digests = []
    for chunk in chunks(SCHEDULE, found.size, TINY):
        body = await files.read("a.mp4", found.identity, chunk, HASHES)
        assert await everything(body) == content[chunk.offset : chunk.offset + chunk.size]
        assert body.digest == await files.digest("a.mp4", found.identity, chunk, HASHES)
        digests.append((body.digest.crc64, body.digest.size))
        body.release(reusable=True)
    assert combine(digests) == crc64nvme(content)
    whole = list(whole_chunks(SCHEDULE, found.size, TINY))
    assert len(digests) - len(whole) in (0, 1), "at most the tail waits for the end"
    assert not await files.is_whole("a.mp4", found.identity, found.size)
    assert await files.writers("a.mp4") in (Writers.NONE, Writers.UNKNOWN)
    assert await files.snapshot("a.mp4") == found, "looking and reading changes nothing"
    assert scan(tree) == set()


async def test_an_empty_file_is_seen_and_has_no_part(files: RecordingFiles, tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert scan(tree) == {"create a.mp4"}
    found = await seen(files, "a.mp4")
    assert (found.size, list(chunks(SCHEDULE, 0, TINY))) == (0, [])
    assert not await files.is_whole("a.mp4", found.identity, 0)


def test_a_byte_more_than_the_most_parts_hold_is_refused() -> None:
    with pytest.raises(OverCapacity):
        list(chunks(SCHEDULE, MOST + 1, TINY))
    assert len(list(whole_chunks(SCHEDULE, MOST + 1, TINY))) == TINY.max_parts


async def test_five_tebibytes_of_nothing_are_measured_at_once_and_read_only_where_asked(
    files: RecordingFiles, tmp_path: Path
) -> None:
    size = (5 << 40) + 1
    with (tmp_path / "a.mp4").open("wb") as file:
        file.truncate(size)
        file.seek(size - 4)
        file.write(b"last")
    begun = time.process_time()
    found = await seen(files, "a.mp4")
    assert found.size == size <= capacity(PartSchedule(10 << 20))
    body = await files.read("a.mp4", found.identity, Chunk(9_999, size - CHUNK, CHUNK), HASHES)
    assert await everything(body) == bytes(CHUNK - 4) + b"last"
    assert not await files.is_whole("a.mp4", found.identity, size)
    assert time.process_time() - begun < 5, "far less than reading it all"


# --- What has a recording's name and is none --------------------------------------------------------------------------


@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_it_is_skipped_with_one_line_and_found_when_it_becomes_a_file(
    files: RecordingFiles, tree: Tree, tmp_path: Path, other: Other
) -> None:
    if other.what.endswith(" device") and not other.what.startswith("link") and os.geteuid() != 0:
        pytest.skip("only root can make a device")
    (tmp_path / "real.mp4").write_bytes(b"real")
    other.make(tmp_path / "x.mp4")
    first = told(tree.scan())
    assert [path for _, path in first.events] == ["real.mp4"]
    assert first.skipped["x.mp4"] == other.reason
    assert told(tree.scan()).skipped == told(tree.look_at(["x.mp4"])).skipped == {}
    assert await files.snapshot("x.mp4") is None
    with pytest.raises(FileChanged):
        await files.read("x.mp4", Identity(1, 1), Chunk(1, 0, 1), HASHES)
    with pytest.raises(FileChanged):
        await files.is_whole("x.mp4", Identity(1, 1), 1)
    assert await files.writers("x.mp4") is Writers.UNKNOWN

    (tmp_path / "new.tmp").write_bytes(b"a file")
    if other.make is Path.mkdir:
        (tmp_path / "x.mp4").rmdir()
    (tmp_path / "new.tmp").replace(tmp_path / "x.mp4")
    assert scan(tree) == {"create x.mp4"}


@pytest.mark.parametrize("target", ["real", ".", "..", "/", "/dev"])
async def test_a_linked_folder_is_skipped_with_one_line_and_nothing_behind_it_is_read(
    tmp_path: Path, target: str
) -> None:
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real" / "a.mp4").write_bytes(b"x")
    (tmp_path / "a.mp4").write_bytes(b"secret")
    (root / "linked").symlink_to(target)
    tree, files = tree_of(root), RecordingFiles(root, in_memory_limit=CHUNK)
    found = told(tree.scan())
    assert [path for _, path in found.events] == ["real/a.mp4"]
    assert list(found.skipped) == ["linked"]
    for path in ("linked/a.mp4", "linked/real/a.mp4", "linked/zero"):
        assert await files.snapshot(path) is None
        assert (looked := told(tree.look_at([path]))) == Scanned(steps=looked.steps)
    await files.close()


@pytest.fixture
def nobodys() -> Iterator[Path]:
    with without_root_rights() as folder:
        yield folder


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o300, 0o077], ids=oct)
async def test_a_file_that_may_not_be_read_is_known_and_waits_for_its_right(nobodys: Path, mode: int) -> None:
    tree, files = tree_of(nobodys), RecordingFiles(nobodys, in_memory_limit=CHUNK)
    (nobodys / "a.mp4").write_bytes(noise(CHUNK))
    assert scan(tree) == {"create a.mp4"}
    (nobodys / "a.mp4").chmod(mode)
    assert scan(tree) == {"write a.mp4"}
    found = await seen(files, "a.mp4")
    with pytest.raises(ChunkProcessingError, match="Permission denied"):
        await files.read("a.mp4", found.identity, Chunk(1, 0, CHUNK), HASHES)
    (nobodys / "a.mp4").chmod(0o400)
    assert scan(tree) == {"write a.mp4"}, "the right that is given back is a reason to look again"
    body = await files.read("a.mp4", found.identity, Chunk(1, 0, CHUNK), HASHES)
    assert await everything(body) == noise(CHUNK)
    await files.close()


# --- Changes to a file that was seen ----------------------------------------------------------------------------------


def _seen_and_a_moment_later(tree: Tree, folder: Path) -> None:
    """Two files that were scanned; the clock of the file system, which may tick slowly, has gone on since."""
    (folder / "a.mp4").write_bytes(noise(3 * CHUNK))
    (folder / "b.mp4").write_bytes(noise(2 * CHUNK, 2))
    scan(tree)
    deadline = time.monotonic() + 20
    clock = folder / "clock.tmp"
    clock.touch()
    while clock.stat().st_ctime_ns <= (folder / "b.mp4").stat().st_ctime_ns:
        assert time.monotonic() < deadline, "the clock of the file system stands still"
        clock.touch()


async def _what_is_read(files: RecordingFiles, identity: Identity, size: int) -> bytes:
    """The file's bytes as parts of it are read, when it is still the one of this identity."""
    found = b""
    for chunk in chunks(SCHEDULE, size, TINY):
        body = await files.read("a.mp4", identity, chunk, HASHES)
        found += await everything(body)
        body.release(reusable=True)
    return found


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_it_is_told_by_the_next_scan_and_no_other_files_bytes_are_read(
    files: RecordingFiles, tree: Tree, tmp_path: Path, change: Change
) -> None:
    _seen_and_a_moment_later(tree, tmp_path)
    before = await seen(files, "a.mp4")
    change.happens(tmp_path)
    after: Snapshot | None = await files.snapshot("a.mp4")
    assert scan(tree) == change.told
    assert scan(tree) == set(), "each change is told once"
    assert (after != before) == ("a.mp4" in " ".join(change.told))
    assert (after and after.identity == before.identity) == change.same
    if after is not None and change.same:
        assert await _what_is_read(files, before.identity, after.size) == (tmp_path / "a.mp4").read_bytes()
    else:
        with pytest.raises(FileChanged):
            await files.read("a.mp4", before.identity, Chunk(1, 0, 1), HASHES)
        with pytest.raises(FileChanged):
            await files.digest("a.mp4", before.identity, Chunk(1, 0, 1), HASHES)


@pytest.mark.parametrize("change", [change for change in CHANGES if change.told], ids=str)
async def test_it_is_told_by_a_hint_as_well(tree: Tree, tmp_path: Path, change: Change) -> None:
    _seen_and_a_moment_later(tree, tmp_path)
    change.happens(tmp_path)
    found = told(tree.look_at(["a.mp4", "b.mp4", "c.mp4"]))
    at_once = {f"{kind.name.lower()} {path}" for kind, path in found.events}
    left_to_the_scan = change.same is None and "a.mp4" in os.listdir(tmp_path)
    assert at_once == (set() if left_to_the_scan else change.told)
    assert scan(tree) == change.told - at_once, "what a hint has told a scan does not tell again"
