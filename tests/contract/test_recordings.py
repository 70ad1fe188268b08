"""Reading files that may still grow: real files, real writers, odd names."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import mmap
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.domain import MIB, Chunk, ChunkBody, Hashes, Identity, Snapshot, Writers
from src.domain.ports import Recordings
from src.exceptions import ChunkProcessingError, FileChanged
from src.watcher import RecordingFiles, open_writers, stats
from src.watcher.chunk_bodies import BUFFERS_KEPT
from src.watcher.reading import PIECE
from src.watcher.recording_file import TURN
from tests.corpus.names import RECORDINGS, Odd

LIMIT = 4 * MIB
NO_HASHES = Hashes()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[RecordingFiles]:
    recordings = RecordingFiles(tmp_path, in_memory_limit=LIMIT)
    yield recordings
    await recordings.close()


async def seen(files: Recordings, path: str) -> Snapshot:
    snapshot = await files.snapshot(path)
    assert snapshot is not None
    return snapshot


async def identity_of(files: Recordings, path: str) -> Identity:
    return (await seen(files, path)).identity


async def everything(body: ChunkBody) -> bytes:
    return b"".join([bytes(piece) async for piece in body.pieces()])


def crc64_bit_by_bit(data: bytes) -> int:
    """CRC64NVME by its definition (reflected polynomial, all ones in and out)."""
    register = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x9A6C9329AC4BC9B5 if register & 1 else 0)
    return register ^ 0xFFFFFFFFFFFFFFFF


@contextmanager
def without_root_rights() -> Iterator[Path]:
    """A folder that nobody owns in particular, and the rights of nobody in particular while it is used."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
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


class TestSnapshot:
    @pytest.mark.parametrize("name", RECORDINGS, ids=str)
    async def test_any_name_that_the_file_system_allows_is_seen_and_read(
        self, files: RecordingFiles, tmp_path: Path, name: Odd
    ) -> None:
        path = "a folder/-x/" + os.fsdecode(name.path)
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(b"0123456789")
        snapshot = await seen(files, path)
        status = (tmp_path / path).stat()
        assert (snapshot.size, snapshot.mtime_ns, snapshot.ctime_ns, snapshot.identity.inode) == (
            10,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
        )
        body = await files.read(path, snapshot.identity, Chunk(1, 2, 5), NO_HASHES)
        assert await everything(body) == b"23456"

    async def test_two_looks_at_an_unchanged_file_are_equal(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        assert await files.snapshot("a.mp4") == await files.snapshot("a.mp4") == files.stat("a.mp4")

    async def test_growth_keeps_the_identity(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        before = await seen(files, "a.mp4")
        with (tmp_path / "a.mp4").open("ab") as recorder:
            recorder.write(b"yz")
        after = await seen(files, "a.mp4")
        assert after.identity == before.identity
        assert (before.size, after.size) == (1, 3)

    async def test_a_rename_keeps_the_identity(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        before = await identity_of(files, "a.mp4")
        (tmp_path / "a.mp4").rename(tmp_path / "b.mp4")
        assert await identity_of(files, "b.mp4") == before

    async def test_a_root_that_is_a_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "a.mp4").write_bytes(b"x")
        (tmp_path / "root").symlink_to("real")
        files = RecordingFiles(tmp_path / "root", in_memory_limit=LIMIT)
        assert (await seen(files, "a.mp4")).size == 1
        await files.close()

    async def test_the_time_of_birth_is_the_files_own(self, files: RecordingFiles, tmp_path: Path) -> None:
        before = time.time()
        (tmp_path / "a.mp4").write_bytes(b"x")
        os.utime(tmp_path / "a.mp4", (1, 1))
        born_ns = (await identity_of(files, "a.mp4")).birth_ns
        if born_ns == 0:
            pytest.skip("this file system keeps no birth times")
        assert before - 1 < born_ns / 1e9 < time.time() + 1

    async def test_where_no_birth_is_known_it_is_zero(self) -> None:
        processes = RecordingFiles(Path("/proc/self"), in_memory_limit=LIMIT)
        assert (await identity_of(processes, "status")).birth_ns == 0
        await processes.close()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path of a socket must be short
    os.close(folder)


def make_link_inside(path: Path) -> None:
    (path.parent / "real.mp4").write_bytes(b"real")
    path.symlink_to("real.mp4")


def make_link_outside(path: Path) -> None:
    path.symlink_to("/etc/passwd")


NO_RECORDINGS: list[Callable[[Path], None]] = [
    lambda path: None,
    Path.mkdir,
    make_fifo,
    make_socket,
    make_link_inside,
    make_link_outside,
    lambda path: path.symlink_to("nowhere"),
    lambda path: path.symlink_to(path.name),
]
NO_RECORDING_NAMES = [
    "nothing",
    "folder",
    "fifo",
    "socket",
    "link inside",
    "link outside",
    "dangling link",
    "link to itself",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", NO_RECORDINGS, ids=NO_RECORDING_NAMES)
async def test_what_is_no_regular_file_is_no_recording(
    files: RecordingFiles, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "x.mp4")
    assert await files.snapshot("x.mp4") is None
    with pytest.raises(FileChanged):
        await files.read("x.mp4", Identity(1, 1), Chunk(1, 0, 1), NO_HASHES)
    with pytest.raises(FileChanged):
        await files.digest("x.mp4", Identity(1, 1), Chunk(1, 0, 1), NO_HASHES)
    assert await files.writers("x.mp4") is Writers.UNKNOWN


NO_PATHS_INSIDE = [
    "",
    ".",
    "..",
    "/etc/passwd",
    "../outside.mp4",
    "in/../in/a.mp4",
    "in//a.mp4",
    "./in/a.mp4",
    "in/a.mp4/",
    "a\0b",
    "in/a.mp4/b.mp4",
    "\ud800.mp4",
    "x" * 300,
    "link/a.mp4",
    "way out/outside.mp4",
]


@pytest.mark.parametrize("path", NO_PATHS_INSIDE, ids=ascii)
async def test_no_path_leads_out_of_the_tree_or_by_a_link(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside.mp4").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.mp4").write_bytes(b"inside")
    (root / "link").symlink_to("in")
    (root / "way out").symlink_to("..")
    files = RecordingFiles(root, in_memory_limit=LIMIT)
    assert await files.snapshot("in/a.mp4")
    assert await files.snapshot(path) is None
    with pytest.raises(FileChanged):
        await files.read(path, await identity_of(files, "in/a.mp4"), Chunk(1, 0, 1), NO_HASHES)
    await files.close()


class TestTroubleIsNotAbsence:
    async def test_a_root_that_is_away_says_nothing_of_its_files(self, tmp_path: Path) -> None:
        files = RecordingFiles(tmp_path / "away", in_memory_limit=LIMIT)
        with pytest.raises(ChunkProcessingError) as raised:
            await files.snapshot("a.mp4")
        assert not isinstance(raised.value, FileChanged)
        assert "WATCH_DIR" in raised.value.hint
        with pytest.raises(ChunkProcessingError) as raised:
            await files.read("a.mp4", Identity(1, 1), Chunk(1, 0, 1), NO_HASHES)
        assert not isinstance(raised.value, FileChanged)
        assert await files.writers("a.mp4") is Writers.UNKNOWN
        await files.close()

    async def test_a_read_error_is_transient_and_no_change(self) -> None:
        files = RecordingFiles(Path("/proc/self"), in_memory_limit=1)  # reading address 0 of a process is EIO
        identity = await identity_of(files, "mem")
        for chunk in (Chunk(1, 0, 1), Chunk(1, 0, 2)):
            with pytest.raises(ChunkProcessingError, match=os.strerror(errno.EIO)) as raised:
                await files.read("mem", identity, chunk, NO_HASHES)
            assert not isinstance(raised.value, FileChanged)
        await files.close()

    async def test_a_missing_right_is_transient_and_names_the_cure(self) -> None:
        with without_root_rights() as folder:
            (folder / "closed").mkdir()
            (folder / "closed" / "a.mp4").write_bytes(b"x")
            files = RecordingFiles(folder, in_memory_limit=LIMIT)
            identity = await identity_of(files, "closed/a.mp4")
            (folder / "closed" / "a.mp4").chmod(0)
            with pytest.raises(ChunkProcessingError, match=os.strerror(errno.EACCES)) as raised:
                await files.read("closed/a.mp4", identity, Chunk(1, 0, 1), NO_HASHES)
            assert "right to read" in raised.value.hint
            (folder / "closed").chmod(0)
            with pytest.raises(ChunkProcessingError, match=os.strerror(errno.EACCES)):
                await files.snapshot("closed/a.mp4")
            (folder / "closed").chmod(0o700)
            await files.close()


class TestWhereStatxIsMissing:
    async def test_the_plain_stat_gives_the_same_but_the_birth(
        self, files: RecordingFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a.mp4").write_bytes(b"abc")
        full = await seen(files, "a.mp4")
        monkeypatch.setattr(stats, "_statx", None)
        plain = await seen(files, "a.mp4")
        assert plain.identity == Identity(full.identity.inode, 0)
        assert (plain.size, plain.mtime_ns, plain.ctime_ns) == (full.size, full.mtime_ns, full.ctime_ns)
        body = await files.read("a.mp4", plain.identity, Chunk(1, 0, 3), NO_HASHES)
        assert await everything(body) == b"abc"
        assert await files.snapshot("none.mp4") is None

    @pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
    async def test_a_sandbox_that_refuses_the_call_is_no_trouble(
        self, files: RecordingFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def refused(*_: object) -> int:
            ctypes.set_errno(number)
            return -1

        (tmp_path / "a.mp4").write_bytes(b"abc")
        monkeypatch.setattr(stats, "_statx", refused)
        assert (await seen(files, "a.mp4")).identity.birth_ns == 0

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
    async def test_an_open_file_that_cannot_be_looked_at_is_trouble(
        self, files: RecordingFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def broken(*_: object) -> int:
            ctypes.set_errno(number)
            return -1

        (tmp_path / "a.mp4").write_bytes(b"abc")
        with monkeypatch.context() as patched:
            patched.setattr(stats, "_statx", broken)
            with pytest.raises(ChunkProcessingError, match=os.strerror(number)):
                await files.digest("a.mp4", Identity(1, 1), Chunk(1, 0, 1), NO_HASHES)
        identity = await identity_of(files, "a.mp4")
        assert (await files.digest("a.mp4", identity, Chunk(1, 0, 3), NO_HASHES)).size == 3  # opened by its path again


class TestDescriptorsAndThreads:
    async def test_no_file_stays_open_between_two_reads(self, files: RecordingFiles, tmp_path: Path) -> None:
        """However many recordings there are, only those that are being read this moment need a descriptor."""
        (tmp_path / "a.mp4").write_bytes(noise(LIMIT + 1))
        identity = await identity_of(files, "a.mp4")
        before = os.listdir("/proc/self/fd")
        small = await files.read("a.mp4", identity, Chunk(1, 0, 9), NO_HASHES)
        large = await files.read("a.mp4", identity, Chunk(1, 0, LIMIT + 1), NO_HASHES)
        pieces = large.pieces()
        await anext(pieces)
        await files.digest("a.mp4", identity, Chunk(1, 0, 9), NO_HASHES)
        await files.writers("a.mp4")
        assert os.listdir("/proc/self/fd") == before
        small.release(reusable=True)

    async def test_a_process_without_a_free_descriptor_reads_when_there_is_one(
        self, files: RecordingFiles, tmp_path: Path
    ) -> None:
        (tmp_path / "a.mp4").write_bytes(b"abc")
        identity = await identity_of(files, "a.mp4")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(ChunkProcessingError, match=os.strerror(errno.EMFILE)):
                await files.read("a.mp4", identity, Chunk(1, 0, 3), NO_HASHES)
            with pytest.raises(ChunkProcessingError):
                await files.snapshot("a.mp4")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await everything(await files.read("a.mp4", identity, Chunk(1, 0, 3), NO_HASHES)) == b"abc"

    async def test_a_look_does_not_wait_for_reads_that_hang(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"abc")
        disk_is_back = threading.Event()
        hanging = [asyncio.create_task(files._reading.run(number, disk_is_back.wait)) for number in range(20)]
        try:
            await asyncio.sleep(0)
            async with asyncio.timeout(20):
                assert (await seen(files, "a.mp4")).size == 3
                await files.writers("a.mp4")
            assert not any(each.done() for each in hanging)
        finally:
            disk_is_back.set()
            await asyncio.gather(*hanging)


class TestReading:
    @pytest.mark.parametrize("size", [1, 9, PIECE - 1, PIECE, PIECE + 1, MIB - 1, MIB, MIB + 1, LIMIT, LIMIT + 1])
    async def test_the_chunk_and_nothing_else_is_read_with_its_checksums(
        self, files: RecordingFiles, tmp_path: Path, size: int
    ) -> None:
        data = noise(size + 20)
        (tmp_path / "a.mp4").write_bytes(data)
        identity = await identity_of(files, "a.mp4")
        hashes = Hashes(md5=True, sha256=True)
        body = await files.read("a.mp4", identity, Chunk(3, 7, size), hashes)
        wanted = data[7 : 7 + size]
        assert await everything(body) == wanted
        assert body.size == body.digest.size == size
        assert body.digest.md5 == hashlib.md5(wanted).hexdigest()
        assert body.sha256 == hashlib.sha256(wanted).hexdigest()
        assert body.digest == await files.digest("a.mp4", identity, Chunk(3, 7, size), hashes)
        body.release(reusable=True)

    async def test_memory_that_a_failed_connection_may_still_send_from_is_not_used_again(
        self, files: RecordingFiles, tmp_path: Path
    ) -> None:
        (tmp_path / "a.mp4").write_bytes(noise(100))
        body = await files.read("a.mp4", await identity_of(files, "a.mp4"), Chunk(1, 0, 100), NO_HASHES)
        assert await everything(body) == await everything(body)
        body.release(reusable=True)
        assert files.spare_bytes == 0

    async def test_the_checksum_is_crc64nvme(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"123456789")
        digest = await files.digest("a.mp4", await identity_of(files, "a.mp4"), Chunk(1, 0, 9), NO_HASHES)
        assert digest.crc64 == crc64_bit_by_bit(b"123456789") == 0xAE8B14860A799888

    async def test_other_hashes_are_computed_only_when_asked_for(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        body = await files.read("a.mp4", await identity_of(files, "a.mp4"), Chunk(1, 0, 1), NO_HASHES)
        assert body.digest.md5 is None
        assert body.sha256 is None

    async def test_pieces_are_small_and_the_same_at_every_call(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(noise(LIMIT + PIECE))
        identity = await identity_of(files, "a.mp4")
        for size in (LIMIT - 5, LIMIT + 5):
            body = await files.read("a.mp4", identity, Chunk(1, 0, size), NO_HASHES)
            assert max([len(piece) async for piece in body.pieces()]) <= PIECE
            assert await everything(body) == await everything(body)
            body.release(reusable=True)

    async def test_a_chunk_in_memory_stays_as_it_was_read(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"before")
        body = await files.read("a.mp4", await identity_of(files, "a.mp4"), Chunk(1, 0, 6), NO_HASHES)
        with (tmp_path / "a.mp4").open("r+b") as recorder:
            recorder.write(b"after!")
        assert await everything(body) == b"before"

    async def test_a_long_pass_gives_others_their_turn(self, tmp_path: Path) -> None:
        files = RecordingFiles(tmp_path, in_memory_limit=LIMIT, threads=1)
        with (tmp_path / "long.mp4").open("wb") as recorder:
            recorder.truncate(8 * TURN)
        (tmp_path / "short.mp4").write_bytes(b"x")
        long_identity, short_identity = await identity_of(files, "long.mp4"), await identity_of(files, "short.mp4")
        long = asyncio.create_task(files.digest("long.mp4", long_identity, Chunk(1, 0, 8 * TURN), NO_HASHES))
        await asyncio.sleep(0)
        await files.digest("short.mp4", short_identity, Chunk(1, 0, 1), NO_HASHES)
        assert not long.done()
        assert (await long).size == 8 * TURN
        await files.close()


class TestChangedFiles:
    @pytest.mark.parametrize("size", [10, LIMIT + 10])
    async def test_a_file_that_ends_before_the_chunk_does_has_changed(
        self, files: RecordingFiles, tmp_path: Path, size: int
    ) -> None:
        (tmp_path / "a.mp4").write_bytes(bytes(size - 1))
        identity = await identity_of(files, "a.mp4")
        with pytest.raises(FileChanged, match=f"ends at or before byte {size - 1}"):
            await files.read("a.mp4", identity, Chunk(1, 0, size), NO_HASHES)
        with pytest.raises(FileChanged):
            await files.digest("a.mp4", identity, Chunk(1, 0, size), NO_HASHES)

    @pytest.mark.parametrize("size", [10, LIMIT + 10])
    async def test_another_file_under_the_name_has_changed(
        self, files: RecordingFiles, tmp_path: Path, size: int
    ) -> None:
        (tmp_path / "a.mp4").write_bytes(bytes(size))
        identity = await identity_of(files, "a.mp4")
        (tmp_path / "new").write_bytes(bytes(size))
        (tmp_path / "new").replace(tmp_path / "a.mp4")
        with pytest.raises(FileChanged, match="another file"):
            await files.read("a.mp4", identity, Chunk(1, 0, size), NO_HASHES)
        with pytest.raises(FileChanged):
            await files.digest("a.mp4", identity, Chunk(1, 0, size), NO_HASHES)

    async def test_another_birth_of_the_same_inode_is_another_file(self, files: RecordingFiles, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"x")
        identity = await identity_of(files, "a.mp4")
        with pytest.raises(FileChanged):
            await files.read("a.mp4", Identity(identity.inode, identity.birth_ns + 1), Chunk(1, 0, 1), NO_HASHES)


class TestMemory:
    async def body(self, files: RecordingFiles, size: int = MIB) -> ChunkBody:
        return await files.read("a.mp4", await identity_of(files, "a.mp4"), Chunk(1, 0, size), NO_HASHES)

    @pytest.fixture(autouse=True)
    def recording(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(noise(LIMIT))

    async def test_released_memory_is_used_again(self, files: RecordingFiles) -> None:
        (await self.body(files)).release(reusable=True)
        spare = files.spare_bytes
        assert spare >= MIB
        again = await self.body(files)
        assert files.spare_bytes == 0
        again.release(reusable=True)
        assert files.spare_bytes == spare

    async def test_memory_that_somebody_may_still_send_is_not_used_again(self, files: RecordingFiles) -> None:
        body = await self.body(files)
        pieces = [piece async for piece in body.pieces()]
        body.release(reusable=False)
        assert files.spare_bytes == 0
        other = await files.read("a.mp4", await identity_of(files, "a.mp4"), Chunk(1, MIB, MIB), NO_HASHES)
        assert b"".join(pieces) == noise(LIMIT)[:MIB]
        other.release(reusable=True)

    async def test_a_body_that_was_released_gives_no_bytes(self, files: RecordingFiles) -> None:
        body = await self.body(files)
        body.release(reusable=True)
        body.release(reusable=True)
        with pytest.raises(ValueError, match="released"):
            await everything(body)
        assert len([await self.body(files), await self.body(files)]) == 2

    async def test_releasing_twice_does_not_give_one_buffer_to_two(self, files: RecordingFiles) -> None:
        body = await self.body(files)
        body.release(reusable=True)
        spare = files.spare_bytes
        body.release(reusable=True)
        assert files.spare_bytes == spare

    async def test_only_a_few_buffers_wait(self, files: RecordingFiles) -> None:
        bodies = [await self.body(files) for _ in range(BUFFERS_KEPT + 3)]
        for body in bodies:
            body.release(reusable=True)
        one = files.spare_bytes // BUFFERS_KEPT
        assert files.spare_bytes == one * BUFFERS_KEPT
        assert one < 2 * MIB + 1

    async def test_a_spare_buffer_that_is_too_small_makes_room_for_a_larger_one(self, files: RecordingFiles) -> None:
        (await self.body(files)).release(reusable=True)
        large = await self.body(files, 3 * MIB)
        assert files.spare_bytes == 0
        large.release(reusable=True)
        assert files.spare_bytes == 4 * MIB

    async def test_the_smallest_buffer_that_fits_is_taken(self, files: RecordingFiles) -> None:
        small, large = await self.body(files), await self.body(files, 3 * MIB)
        large.release(reusable=True)
        small.release(reusable=True)
        again = await self.body(files)
        assert files.spare_bytes == 4 * MIB
        again.release(reusable=True)

    async def test_spare_memory_goes_back_to_the_system_when_nothing_is_sent(self, tmp_path: Path) -> None:
        files = RecordingFiles(tmp_path, in_memory_limit=LIMIT, spare_seconds=0.05)
        kept = await self.body(files)
        (await self.body(files)).release(reusable=True)
        await asyncio.sleep(0.1)
        assert files.spare_bytes > 0  # one chunk is still out: there is traffic
        kept.release(reusable=True)
        deadline = time.monotonic() + 10
        while files.spare_bytes:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await files.close()

    async def test_a_read_that_fails_or_is_cancelled_leaves_no_buffer_that_a_thread_may_write_into(
        self, files: RecordingFiles
    ) -> None:
        (await self.body(files)).release(reusable=True)
        identity = await identity_of(files, "a.mp4")
        reading = asyncio.create_task(files.read("a.mp4", identity, Chunk(1, 0, MIB), NO_HASHES))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert files.spare_bytes == 0
        with pytest.raises(FileChanged):
            await files.read("a.mp4", identity, Chunk(1, LIMIT, MIB), NO_HASHES)
        assert files.spare_bytes == 0

    async def test_closing_gives_everything_back(self, files: RecordingFiles) -> None:
        (await self.body(files)).release(reusable=True)
        await files.close()
        assert files.spare_bytes == 0


class TestChunksTooLargeForMemory:
    size = 3 * MIB + 5

    @pytest.fixture
    async def body(self, tmp_path: Path) -> AsyncIterator[ChunkBody]:
        (tmp_path / "a.mp4").write_bytes(noise(self.size + 100))
        files = RecordingFiles(tmp_path, in_memory_limit=MIB)
        yield await files.read("a.mp4", await identity_of(files, "a.mp4"), Chunk(1, 50, self.size), NO_HASHES)
        await files.close()

    async def received(self, body: ChunkBody) -> int:
        """Bytes that came before the body saw that the file is another."""
        count = 0
        try:
            async for piece in body.pieces():
                count += len(piece)
        except FileChanged:
            return count
        pytest.fail("the change was not noticed")

    async def test_they_are_the_same_bytes_as_often_as_they_are_sent(self, body: ChunkBody) -> None:
        assert await everything(body) == await everything(body) == noise(self.size + 100)[50 : self.size + 50]
        body.release(reusable=True)

    @pytest.mark.parametrize("at", [50, 50 + MIB, 50 + size - 1])
    async def test_a_changed_byte_is_noticed_before_the_last_piece(
        self, body: ChunkBody, tmp_path: Path, at: int
    ) -> None:
        with (tmp_path / "a.mp4").open("r+b") as recorder:
            recorder.seek(at)
            recorder.write(bytes([noise(self.size + 100)[at] ^ 1]))
        assert await self.received(body) < self.size

    @pytest.mark.parametrize("at", [0, 49, 50 + size, 99 + size])
    async def test_a_byte_outside_the_chunk_does_not_matter(self, body: ChunkBody, tmp_path: Path, at: int) -> None:
        with (tmp_path / "a.mp4").open("r+b") as recorder:
            recorder.seek(at)
            recorder.write(b"\0")
        assert len(await everything(body)) == self.size

    async def test_a_file_that_got_shorter_is_noticed(self, body: ChunkBody, tmp_path: Path) -> None:
        os.truncate(tmp_path / "a.mp4", 50 + self.size - 1)
        assert await self.received(body) < self.size

    async def test_another_file_in_its_place_is_noticed_in_the_middle(self, body: ChunkBody, tmp_path: Path) -> None:
        (tmp_path / "new").write_bytes(noise(self.size + 100))
        pieces = body.pieces()
        await anext(pieces)
        (tmp_path / "new").replace(tmp_path / "a.mp4")
        with pytest.raises(FileChanged):
            async for _ in pieces:
                pass

    async def test_pieces_that_a_connection_still_holds_are_not_overwritten(self, body: ChunkBody) -> None:
        pieces = [piece async for piece in body.pieces()]
        assert b"".join(pieces) == noise(self.size + 100)[50 : self.size + 50]


WRITER = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
print("open", flush=True); sys.stdin.readline()
view = mmap.mmap(fd, 4096)
os.close(fd)
print("mapped", flush=True); sys.stdin.readline()
view.close()
print("closed", flush=True); sys.stdin.readline()
"""

OPENS_ALL_THE_TIME = """
import os, sys
print("ready", flush=True)
while True:
    os.close(os.open(sys.argv[1], os.O_RDWR))
"""

ASKS_ALL_THE_TIME = """
import asyncio, signal, sys
from pathlib import Path
from src.watcher import RecordingFiles
assert signal.getsignal(signal.SIGIO) is signal.SIG_DFL
async def main():
    files = RecordingFiles(Path(sys.argv[1]), in_memory_limit=1)
    answers = set()
    for _ in range(1500):
        answers.add(await files.writers("a.mp4"))
    await files.close()
    print(*answers)
asyncio.run(main())
"""


@contextmanager
def process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def says(child: subprocess.Popen[str]) -> str:
    """The child's next line; it is told to go on first when it waits."""
    assert child.stdin is not None and child.stdout is not None
    return child.stdout.readline().strip()


def go_on(child: subprocess.Popen[str]) -> str:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return says(child)


class TestWriters:
    @pytest.fixture
    def local(self, tmp_path: Path) -> Iterator[Path]:
        """A folder on a file system of this machine's own: a container's temporary folder may be none."""
        for place in (tmp_path, Path("/dev/shm")):
            folder = Path(tempfile.mkdtemp(dir=place))
            fd = os.open(folder, os.O_RDONLY)
            known = open_writers.is_local(fd)
            os.close(fd)
            if known:
                (folder / "a.mp4").write_bytes(bytes(8192))
                yield folder
                shutil.rmtree(folder)
                return
            folder.rmdir()
        pytest.skip("no local file system here")

    @pytest.fixture
    async def files(self, local: Path) -> AsyncIterator[RecordingFiles]:
        recordings = RecordingFiles(local, in_memory_limit=LIMIT)
        yield recordings
        await recordings.close()

    async def test_a_closed_file_has_no_writer(self, files: RecordingFiles) -> None:
        assert await files.writers("a.mp4") is Writers.NONE
        assert await files.writers("a.mp4") is Writers.NONE

    async def test_a_recorder_is_seen_until_its_last_mapping_is_gone(self, files: RecordingFiles, local: Path) -> None:
        with process(WRITER, str(local / "a.mp4")) as recorder:
            assert says(recorder) == "open"
            assert await files.writers("a.mp4") is Writers.PRESENT
            assert go_on(recorder) == "mapped"
            assert await files.writers("a.mp4") is Writers.PRESENT
            assert go_on(recorder) == "closed"
            assert await files.writers("a.mp4") is Writers.NONE

    async def test_a_killed_recorder_is_no_writer(self, files: RecordingFiles, local: Path) -> None:
        with process(WRITER, str(local / "a.mp4")) as recorder:
            assert says(recorder) == "open"
            recorder.kill()
            recorder.wait()
            assert await files.writers("a.mp4") is Writers.NONE

    async def test_readers_are_no_writers(self, files: RecordingFiles, local: Path) -> None:
        with (
            (local / "a.mp4").open("rb") as reader,
            mmap.mmap(reader.fileno(), 4096, access=mmap.ACCESS_READ),
        ):
            assert await files.writers("a.mp4") is Writers.NONE

    async def test_asking_while_a_recorder_opens_the_file_harms_neither(self, local: Path) -> None:
        command = [sys.executable, "-c", ASKS_ALL_THE_TIME, str(local)]
        with process(OPENS_ALL_THE_TIME, str(local / "a.mp4")) as recorder:
            assert says(recorder) == "ready"
            asking = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONPATH": ""}
            )
            output, _ = await asyncio.wait_for(asking.communicate(), 60)
            assert recorder.poll() is None
        assert asking.returncode == 0, f"ended by {signal.Signals(-(asking.returncode or 0)).name}"
        assert set(output.decode().split()) <= {"none", "present"}

    async def test_a_file_system_that_may_have_writers_elsewhere_proves_nothing(self) -> None:
        processes = RecordingFiles(Path("/proc/self"), in_memory_limit=LIMIT)
        assert await processes.writers("status") is Writers.UNKNOWN
        await processes.close()

    async def test_somebody_elses_file_proves_nothing(self) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can make somebody else's file")
        with without_root_rights() as folder:
            os.seteuid(0)
            (folder / "a.mp4").write_bytes(b"x")
            os.seteuid(65534)
            files = RecordingFiles(folder, in_memory_limit=LIMIT)
            assert await files.writers("a.mp4") is Writers.UNKNOWN
            await files.close()


def test_the_class_keeps_the_promises_of_the_port(tmp_path: Path) -> None:
    recordings: Recordings = RecordingFiles(tmp_path, in_memory_limit=LIMIT)
    assert recordings


@pytest.mark.parametrize("folder", ["", "cam"])
async def test_a_file_whose_file_system_was_unmounted_is_not_gone(tmp_path: Path, folder: str) -> None:
    """F33: the folder is there then, and empty."""
    if not _is_another_file_system(tmp_path):
        pytest.skip("left out: no second file system to put in the folder's place")
    disk, path = tmp_path / "disk", f"{folder}/a.mp4".lstrip("/")
    (disk / folder).mkdir(parents=True)
    (disk / path).write_bytes(b"film")
    root = tmp_path / "root"
    root.symlink_to(disk)
    files = RecordingFiles(root, in_memory_limit=1024)
    with tempfile.TemporaryDirectory(dir=SHARED) as empty:
        assert await files.snapshot(path) is not None
        _point(root, Path(empty))
        with pytest.raises(ChunkProcessingError, match="another file system"):
            await files.snapshot(path)
        _point(root, disk)
        assert await files.snapshot(path) is not None
        (disk / path).unlink()
        assert await files.snapshot(path) is None
    await files.close()


SHARED = Path("/dev/shm")


def _is_another_file_system(beside: Path) -> bool:
    return SHARED.is_dir() and SHARED.stat().st_dev != beside.stat().st_dev


def _point(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)
