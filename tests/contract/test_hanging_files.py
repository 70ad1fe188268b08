"""Files that hang in a real file system, by FUSE: reading and looking go on for all others."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from src import file_threads
from src.domain import MIB, Chunk, Hashes, Identity, Writers
from src.exceptions import ChunkProcessingError
from src.watcher import RecordingFiles
from tests.harness.hanging_files import HangingFiles, Operation, hanging_files
from tests.harness.servers import ROOT
from tests.harness.waiting import until

#: More than there are threads, of either kind, several times over.
MANY = 12
SIZE = 2 * MIB + 7
NO_HASHES = Hashes()
#: Nobody waits so long where all is well.
LONG = 60.0
LOOKS = (Operation.LOOKUP, Operation.GETATTR)

#: Starts a program while a file is open, as a thread may have it that hangs in reading it.
_STARTS_A_PROGRAM = """
import asyncio, os, sys
from src.metadata_generator.child_process import start

async def main():
    os.open(sys.argv[1], os.O_RDONLY)
    child = await start(["/bin/true"], os.open(os.devnull, os.O_RDONLY))
    print("goes on", flush=True)
    print(await child.ended)

asyncio.run(main())
"""

Call = Callable[[RecordingFiles, str, Identity], Coroutine[Any, Any, object]]


async def _read(files: RecordingFiles, path: str, identity: Identity) -> object:
    body = await files.read(path, identity, Chunk(1, 0, SIZE), NO_HASHES)
    received = b"".join([bytes(piece) async for piece in body.pieces()])
    body.release(reusable=True)
    return received


async def _digest(files: RecordingFiles, path: str, identity: Identity) -> object:
    return (await files.digest(path, identity, Chunk(1, 0, SIZE), NO_HASHES)).size


async def _is_whole(files: RecordingFiles, path: str, identity: Identity) -> object:
    return await files.is_whole(path, identity, SIZE)


async def _has_index_first(files: RecordingFiles, path: str, identity: Identity) -> object:
    return await files.has_index_first(path, identity, SIZE)


async def _examine(files: RecordingFiles, path: str, identity: Identity) -> object:
    seen: list[bytes] = []
    await files.examine(path, identity, lambda read: seen.append(read(1, 3)))
    return seen


CALLS: tuple[Call, ...] = (_read, _digest, _is_whole, _has_index_first, _examine)


@pytest.fixture
async def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HangingFiles]:
    monkeypatch.setattr(file_threads, "_BESIDE_SECONDS", 0.1)
    with hanging_files(tmp_path / "source", tmp_path / "seen") as shown:
        for name in (*names(), "fine.mp4"):
            (shown.source / name).write_bytes(bytes(SIZE))
        yield shown


def names() -> list[str]:
    return [f"bad {number}.mp4" for number in range(MANY)]


async def identities(files: RecordingFiles) -> dict[str, Identity]:
    found = {}
    for name in (*names(), "fine.mp4"):
        snapshot = await files.snapshot(name)
        assert snapshot is not None
        found[name] = snapshot.identity
    return found


async def all_are_back(files: RecordingFiles) -> None:
    """What hung has its answer, and its threads have seen it."""
    await until(lambda: not files._reading._beside and not files._looking._beside)


@pytest.mark.parametrize("in_memory_limit", [4 * MIB, 1])
async def test_a_file_that_hangs_when_it_is_read_keeps_no_other_waiting(
    disk: HangingFiles, in_memory_limit: int
) -> None:
    files = RecordingFiles(disk.mount, in_memory_limit=in_memory_limit, silent_seconds=1.0)
    known = await identities(files)
    disk.hang(*names())
    calls = list(zip(names(), CALLS * MANY, strict=False))  # each file is met by one of them
    hanging = [asyncio.create_task(call(files, name, known[name])) for name, call in calls]
    await asyncio.sleep(0)
    async with asyncio.timeout(LONG):
        wanted = {call: await call(files, "fine.mp4", known["fine.mp4"]) for call in CALLS}
        for name in names():
            assert await files.snapshot(name), "it can be looked at all the same"
        told = await asyncio.gather(*hanging, return_exceptions=True)
    assert [type(each) for each in told] == [ChunkProcessingError] * MANY
    assert disk.met() == set(names())
    assert files._buffers._out == 0 and files.spare_bytes <= 4 * MIB, "nobody keeps memory that cannot be filled"
    disk.end()
    async with asyncio.timeout(LONG):
        await all_are_back(files)
        for name, call in calls:
            assert await call(files, name, known[name]) == wanted[call]
    await files.close()


async def test_a_file_that_hangs_when_it_is_looked_at_keeps_no_other_waiting(disk: HangingFiles) -> None:
    files = RecordingFiles(disk.mount, in_memory_limit=4 * MIB, silent_seconds=1.0)
    known = await identities(files)
    disk.hang(*names(), at=LOOKS)
    looking = [asyncio.create_task(files.snapshot(name)) for name in names()]
    await asyncio.sleep(0)
    async with asyncio.timeout(LONG):
        assert await files.snapshot("fine.mp4")
        told = await asyncio.gather(*looking, return_exceptions=True)
        assert [type(each) for each in told] == [ChunkProcessingError] * MANY
        assert await files.writers(names()[0]) is Writers.UNKNOWN
        disk.end()
        await all_are_back(files)
        for name in names():
            snapshot = await files.snapshot(name)
            assert snapshot is not None and snapshot.identity == known[name]
    await files.close()


async def test_a_program_is_started_while_a_file_is_open_that_hangs_when_it_is_closed(disk: HangingFiles) -> None:
    """Each child closes what it inherits; its parent does not wait for that."""
    disk.hang("fine.mp4", at=(Operation.FLUSH,))
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STARTS_A_PROGRAM, str(disk.mount / "fine.mp4")),
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
    )
    assert parent.stdout is not None
    try:
        async with asyncio.timeout(LONG):
            assert await parent.stdout.readline() == b"goes on\n"
            await until(lambda: disk.met() == {"fine.mp4"})
    finally:
        disk.end()
    async with asyncio.timeout(LONG):
        assert await parent.stdout.read() == b"0\n"
        assert await parent.wait() == 0
