"""A writer that is still there at the end: nobody waits for it, and the file is read once more when it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from src.domain import Chunk, Writers
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    content_at,
    killed_at,
    lived,
    on_effect,
    restart,
    settled,
)
from tests.harness.crash.simulation import CHUNK, Simulation

SIZE = 4 * CHUNK + 3
PATCH = b"\xff\xfe\xfd\xfc"

Meanwhile = Callable[[Simulation], Awaitable[None]]


async def _nothing(_: Simulation) -> None:
    return


async def _wiped(simulation: Simulation) -> None:
    await restart(simulation, simulation.redis.wipe)


def _opened(simulation: Simulation, writers: Writers = Writers.PRESENT) -> None:
    simulation.disk.write(PATH, bytes_of(SIZE, 1))
    simulation.disk.files[PATH].writers = writers


def _patch_unseen(simulation: Simulation) -> None:
    simulation.disk.patch(PATH, 1, PATCH, unseen=True)


def _close(simulation: Simulation) -> None:
    simulation.disk.files[PATH].writers = Writers.NONE


@pytest.mark.parametrize("meanwhile", [_nothing, restart, _wiped], ids=["", "a restart", "a restart without Redis"])
def test_a_patch_that_no_stat_shows_is_found_when_the_writer_has_gone(meanwhile: Meanwhile) -> None:
    async def script(simulation: Simulation) -> None:
        _opened(simulation)
        await settled(simulation)
        before = content_at(simulation)
        _patch_unseen(simulation)
        await meanwhile(simulation)
        await settled(simulation)
        await asyncio.sleep(600)
        assert content_at(simulation) == before, "while the writer is there nobody reads again"
        _close(simulation)
        await asyncio.sleep(600)

    simulation = lived(script, soon=None)  # it waits for the writer
    assert content_at(simulation)[1:5] == PATCH
    assert simulation.problems(sent_at_most=SIZE + CHUNK + 3) == []  # the head again; the tail is never copied


def test_a_file_that_did_not_change_is_read_once_more_and_never_again() -> None:
    async def script(simulation: Simulation) -> None:
        _opened(simulation)
        await settled(simulation)
        _close(simulation)
        before = len(simulation.disk.digests)
        await asyncio.sleep(600)
        assert len(simulation.disk.digests) == before + 5
        await restart(simulation)
        await asyncio.sleep(600)
        assert len(simulation.disk.digests) == before + 5

    simulation = lived(script)
    assert simulation.problems(sent_at_most=SIZE) == []
    assert simulation.store.count("complete_upload") == 1


def test_a_writer_that_comes_while_the_file_is_read_again_is_waited_for_too() -> None:
    async def script(simulation: Simulation) -> None:
        _opened(simulation)
        await settled(simulation)

        def opened_again(*_: object) -> None:
            simulation.disk.on_read = None
            simulation.disk.files[PATH].writers = Writers.PRESENT

        simulation.disk.on_read = opened_again
        _close(simulation)
        await asyncio.sleep(100)
        assert simulation.disk.on_read is None
        _patch_unseen(simulation)
        _close(simulation)
        await asyncio.sleep(600)

    simulation = lived(script)
    assert content_at(simulation)[1:5] == PATCH
    assert simulation.problems() == []


@pytest.mark.parametrize("effect", ["store.complete_upload", "redis.save", "store.put_document", "redis.finish"])
def test_a_kill_does_not_forget_that_a_writer_was_there(effect: str) -> None:
    async def script(simulation: Simulation) -> None:
        _opened(simulation)
        await on_effect(simulation, "store.upload_part", nth=5).wait()

        def meanwhile() -> None:
            _patch_unseen(simulation)
            _close(simulation)

        await killed_at(simulation, effect, meanwhile)
        await asyncio.sleep(600)

    simulation = lived(script)
    assert content_at(simulation)[1:5] == PATCH
    assert simulation.problems() == []


def test_a_writer_that_leaves_during_the_last_pass_was_there_too() -> None:
    async def script(simulation: Simulation) -> None:
        _opened(simulation)

        def leaves(_: str, chunk: Chunk) -> None:
            if chunk.number == 3:  # the pass is past the head
                _patch_unseen(simulation)
                _close(simulation)
                simulation.disk.on_read = None

        await on_effect(simulation, "store.upload_part", nth=4).wait()
        await asyncio.sleep(5)  # all whole chunks are sent: what is read from here on is read by the seal
        simulation.disk.on_read = leaves
        await settled(simulation)
        await asyncio.sleep(600)

    simulation = lived(script)
    assert content_at(simulation)[1:5] == PATCH
    assert simulation.problems() == []


@pytest.mark.parametrize("writers", [Writers.NONE, Writers.UNKNOWN])
def test_where_nobody_was_seen_writing_a_file_is_not_read_again(writers: Writers) -> None:
    async def script(simulation: Simulation) -> None:
        _opened(simulation, writers)
        await settled(simulation)
        before = len(simulation.disk.digests)
        await asyncio.sleep(600)
        assert len(simulation.disk.digests) == before

    assert lived(script).problems(sent_at_most=SIZE) == []
