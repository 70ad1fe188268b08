"""Looks at many files are few calls of a thread, and a file that hangs keeps none of the others waiting."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src import file_threads
from src.dispatcher.hints import Hints
from src.dispatcher.newcomers import Newcomers
from src.dispatcher.register import Register
from src.domain import Snapshot, Writers
from src.exceptions import ChunkProcessingError
from src.file_threads import FileThreads
from src.watcher import RecordingFiles, sweeps
from tests.harness.crash.simulation import Simulation
from tests.harness.waiting import until

MANY = 1000
#: Nobody waits so long where all is well.
LONG = 60.0


class Counted(RecordingFiles):
    """Counts its stats and the calls of threads that make them; some files hang until they are let go."""

    def __init__(self, root: Path, *, silent_seconds: float = LONG) -> None:
        super().__init__(root, in_memory_limit=1, silent_seconds=silent_seconds)
        self.stats: list[str] = []
        self.hanging: dict[str, threading.Event] = {}
        self.calls = 0
        run = self._looking.run

        async def counted(file: Any, work: Callable[..., Any], *rest: Any, **more: Any) -> Any:
            self.calls += 1
            return await run(file, work, *rest, **more)

        self._looking.run = counted  # type: ignore[method-assign]

    def stat(self, path: str) -> Snapshot | None:
        self.stats.append(path)
        if path == "bad.mp4":
            raise ChunkProcessingError("it cannot be looked at", operation="stat")
        if path in self.hanging:
            self.hanging[path].wait(LONG)
        return super().stat(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(MANY):
        (tmp_path / f"{number:04}.mp4").write_bytes(bytes(number % 7 + 1))
    return tmp_path


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that the machine does not let run is no file that hangs."""
    monkeypatch.setattr(sweeps, "_STALLED_SECONDS", LONG)


@pytest.fixture
async def files(folder: Path) -> AsyncIterator[Counted]:
    files = Counted(folder)
    yield files
    for event in files.hanging.values():
        event.set()
    await files.close()


@pytest.mark.usefixtures("unhurried")
async def test_a_thousand_looks_are_a_few_calls_of_a_thread(files: Counted, folder: Path) -> None:
    names = sorted(os.listdir(folder))
    found = await asyncio.gather(*map(files.snapshot, names))
    assert [snapshot.size if snapshot else None for snapshot in found] == [number % 7 + 1 for number in range(MANY)]
    assert sorted(files.stats) == names
    assert files.calls <= MANY / sweeps.MOST + 1


@pytest.mark.usefixtures("unhurried")
async def test_a_thousand_hints_are_a_few_calls_of_a_thread(files: Counted, folder: Path) -> None:
    names = sorted(os.listdir(folder))
    newcomers = Newcomers(began_ns=0)
    hints = Hints(replace(Simulation()._world(), recordings=files), Register(), newcomers)
    looking = asyncio.create_task(hints.look_at_all())
    hints.add(*names)
    await until(lambda: hints.are_all_looked_at)
    assert len(newcomers) == MANY
    assert sorted(files.stats) == names
    assert files.calls <= MANY / sweeps.MOST + 2
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def test_a_hint_at_a_file_that_hangs_delays_no_other(files: Counted, folder: Path) -> None:
    files.hanging["0003.mp4"] = threading.Event()
    newcomers = Newcomers(began_ns=0)
    hints = Hints(replace(Simulation()._world(), recordings=files), Register(), newcomers)
    looking = asyncio.create_task(hints.look_at_all())
    hints.add(*sorted(os.listdir(folder)))
    await until(lambda: len(newcomers) == MANY - 1)
    assert not hints.are_all_looked_at
    hints.add("0003.mp4")  # again: it is not looked at twice at the same time
    files.hanging["0003.mp4"].set()
    await until(lambda: len(newcomers) == MANY and hints.are_all_looked_at)
    assert files.stats.count("0003.mp4") == 2
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def test_files_that_hang_keep_no_other_waiting_and_one_thread_each(files: Counted, folder: Path) -> None:
    names = sorted(os.listdir(folder))[:100]
    hanging = [names[0], names[50], names[99]]
    files.hanging = {name: threading.Event() for name in hanging}
    looks = {name: asyncio.create_task(files.snapshot(name)) for name in names}
    again = [asyncio.create_task(files.snapshot(name)) for name in hanging * 3]
    await until(lambda: all(looks[name].done() for name in names if name not in hanging))
    assert not any(looks[name].done() for name in hanging)
    assert all(files.stats.count(name) <= 1 for name in hanging)
    for event in files.hanging.values():
        event.set()
    files.hanging = {}
    assert all(isinstance(found, Snapshot) for found in await asyncio.gather(*looks.values(), *again))
    assert not files._looks._hanging
    assert isinstance(await files.snapshot(hanging[0]), Snapshot)


async def test_a_file_that_hangs_for_too_long_is_refused_until_it_answers(folder: Path) -> None:
    files = Counted(folder, silent_seconds=1.5)
    back = threading.Event()
    files.hanging = {"0001.mp4": back}
    looks = [asyncio.create_task(files.snapshot(f"{number:04}.mp4")) for number in range(3)]
    async with asyncio.timeout(LONG):
        with pytest.raises(ChunkProcessingError, match="no response"):
            await looks[1]
        assert all(await asyncio.gather(looks[0], looks[2]))
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(ChunkProcessingError, match="no response"):
                await files.snapshot("0001.mp4")
        assert files.stats.count("0001.mp4") == 1
        assert time.monotonic() - began < LONG / 2
        assert await files.snapshot("0000.mp4")
        files.hanging = {}
        back.set()
        await until(lambda: not files._looks._hanging)
        assert await files.snapshot("0001.mp4")
    await files.close()


async def test_without_a_thread_every_look_is_refused_and_later_ones_succeed(
    files: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with asyncio.timeout(LONG):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            looks = [files.snapshot(f"{number:04}.mp4") for number in range(600)]
            found = await asyncio.gather(*looks, return_exceptions=True)
        assert all(isinstance(error, ChunkProcessingError) for error in found)
        assert isinstance(await files.snapshot("0000.mp4"), Snapshot)


async def test_a_cancelled_look_takes_no_other_with_it(files: Counted) -> None:
    looks = [asyncio.create_task(files.snapshot(f"{number:04}.mp4")) for number in range(20)]
    await asyncio.sleep(0)
    for look in looks[::2]:
        look.cancel()
    found = await asyncio.gather(*looks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in found[::2])
    assert all(isinstance(each, Snapshot) for each in found[1::2])


async def test_each_error_goes_to_its_own_caller(files: Counted, folder: Path) -> None:
    looks = [files.snapshot(f"{number:04}.mp4") for number in range(5)]
    bad = files.snapshot("bad.mp4")
    gone = files.snapshot("none.mp4")
    asked = files.writers("0001.mp4")
    found = await asyncio.gather(*looks, bad, gone, asked, return_exceptions=True)
    assert all(isinstance(each, Snapshot) for each in found[:5])
    assert isinstance(found[5], ChunkProcessingError)
    assert found[6] is None
    assert found[7] in set(Writers)


async def test_looks_after_the_end_are_refused(folder: Path) -> None:
    files = RecordingFiles(folder, in_memory_limit=1)
    await files.close()
    with pytest.raises(RuntimeError, match="closed"):
        await files.snapshot("0000.mp4")


async def test_what_a_thread_took_and_lost_is_never_examined_twice() -> None:
    """Work that is moved to another sweep is moved whole: nothing is lost, nothing is done twice."""
    threads = FileThreads(2, "sweep-test", silent_seconds=LONG)
    looks = sweeps.Sweeps(threads, LONG)
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.0005)
        done.append(number)
        return number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "_STALLED_SECONDS", 0.001)
        patch.setattr(file_threads, "_BESIDE_SECONDS", 0.001)
        assert await asyncio.gather(*(looks.run(number, work, number) for number in range(800))) == list(range(800))
    assert sorted(done) == list(range(800))
    threads.close()
