"""Conduct on fakes in virtual time: files that change at the wrong moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.domain import Chunk, Status, moments
from tests.harness.crash.recorders import SHAPES
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    finished_file,
    growing_file,
    heard,
    killed_at,
    lived,
    recordings_in,
    settled,
)
from tests.harness.crash.simulation import CHUNK, SCAN, Simulation
from tests.harness.crash.stores import STORES, store_with

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


# -- changes at the wrong moment ---------------------------------------------------------------------------------------


def _while_sealing(simulation: Simulation, at_chunk: int, change: Any) -> None:
    """Run ``change`` once, in the middle of the reading of this chunk while the recording is sealed."""

    def is_sealed() -> bool:  # Redis gets to know it with the next write
        assert simulation.dispatcher is not None
        streams = simulation.dispatcher._register.by_identity.values()
        return any(s.processor and s.processor.checkpoint.status is Status.PENDING_COMPLETION for s in streams)

    def on_read(_: str, chunk: Chunk) -> None:
        if chunk.number == at_chunk and is_sealed():
            simulation.disk.on_read = None
            change()

    simulation.disk.on_read = on_read


@pytest.mark.parametrize("offset", range(0, 4 * CHUNK, 5))
@pytest.mark.parametrize("at_chunk", [1, 3, 5])
@pytest.mark.parametrize("store", ["default", "etags that are md5", "no checksums at all"])
def test_a_patch_while_the_file_is_sealed_is_in_the_object(at_chunk: int, offset: int, store: str) -> None:
    async def script(simulation: Simulation) -> None:
        _while_sealing(simulation, at_chunk, lambda: simulation.disk.patch(PATH, offset, b"\xff\xfe"))
        await growing_file(simulation, 4)

    assert lived(script, store=store_with(**STORES.get(store, {}))).problems(sent_at_most=6 * CHUNK + 6) == []


@pytest.mark.parametrize("at_chunk", [1, 3, 5])
def test_growth_while_the_file_is_sealed_takes_it_back_to_active(at_chunk: int) -> None:
    async def script(simulation: Simulation) -> None:
        _while_sealing(simulation, at_chunk, lambda: simulation.disk.append(PATH, bytes_of(2 * CHUNK, 50)))
        await growing_file(simulation, 4)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=7 * CHUNK + 6) == []
    assert heard(simulation, moments.ObjectBeingReplaced) == [], "seen before the completion, so nothing was replaced"


@pytest.mark.parametrize("at_chunk", [1, 3, 5])
def test_a_cut_while_the_file_is_sealed_makes_the_shorter_file_the_object(at_chunk: int) -> None:
    async def script(simulation: Simulation) -> None:
        _while_sealing(simulation, at_chunk, lambda: simulation.disk.truncate(PATH, 2 * CHUNK + 1))
        await growing_file(simulation, 4)

    assert lived(script).problems() == []


def test_a_patch_while_a_part_is_read_is_in_the_object() -> None:
    async def script(simulation: Simulation) -> None:
        def patch_under_the_reader(path: str, chunk: Chunk) -> None:
            simulation.disk.on_read = None
            simulation.disk.patch(path, chunk.offset, b"\xff\xfe\xfd")

        simulation.disk.on_read = patch_under_the_reader
        await growing_file(simulation, 4)

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


def test_a_patch_between_seal_and_completion_is_in_the_object() -> None:
    async def script(simulation: Simulation) -> None:
        def patch(_: str) -> None:
            simulation.store.before_completion = None
            simulation.disk.patch(PATH, 1, b"\xff\xfe")

        simulation.store.before_completion = patch
        await growing_file(simulation, 4)

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("store", ["default", *STORES])
def test_a_patch_after_completion_replaces_the_object_at_its_key(store: str) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.patch(PATH, 2 * CHUNK + 1, b"\xff\xfe")
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script, store=store_with(**STORES.get(store, {})))
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_ends_right_on_every_kind_of_store(shape: str, store: str) -> None:
    async def script(simulation: Simulation) -> None:
        await SHAPES[shape](simulation.disk)

    assert lived(script, store=store_with(**STORES[store])).problems() == []


def test_each_replacement_doubles_the_quiet_time() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        for number in range(3):
            simulation.disk.patch(PATH, number, b"\xff")
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    assert [moment.quiet_seconds for moment in heard(simulation, moments.WentIdle)] == [30, 60, 120, 240]


def test_a_recorder_that_writes_every_forty_seconds_is_replaced_ever_more_rarely() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, bytes_of(3, 1))
        for number in range(200):
            await asyncio.sleep(40)
            simulation.disk.append(PATH, bytes_of(3, number))

    simulation = lived(script, settle=20_000)
    assert simulation.problems() == []
    assert simulation.store.count("complete_upload") <= 4


# -- replacing by copying ----------------------------------------------------------------------------------------------


async def _grows_after_completion(simulation: Simulation) -> None:
    await finished_file(simulation, 10 * CHUNK + 3)
    simulation.disk.append(PATH, bytes_of(2 * CHUNK, 70))
    await asyncio.sleep(2 * SCAN)


def test_growth_after_completion_copies_the_unchanged_parts_and_sends_the_rest() -> None:
    simulation = lived(_grows_after_completion)
    assert simulation.problems(sent_at_most=12 * CHUNK + 6) == []
    assert simulation.store.count("copy_part") == 10
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize(
    "store",
    ["etags that are md5", "no conditions", "copies without checksums", "copies with a wrong checksum"],
)
def test_growth_after_completion_copies_also_on_lesser_stores(store: str) -> None:
    simulation = lived(_grows_after_completion, store=store_with(**STORES[store]))
    assert simulation.problems(sent_at_most=12 * CHUNK + 6) == []
    assert simulation.store.count("copy_part") == 10


def test_where_nothing_proves_a_copy_it_is_tried_once_and_everything_is_sent_again() -> None:
    simulation = lived(_grows_after_completion, store=store_with(copy_checksum="refused", md5_etags=False))
    assert simulation.problems() == []
    assert simulation.store.count("copy_part") == 1


@pytest.mark.parametrize("store", ["default", "copies without checksums"])
def test_what_a_patch_copied_can_be_copied_by_the_next_one(store: str) -> None:
    """Also where the listing has no checksum of a copied part: the document has it from the file."""

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 10 * CHUNK + 3)
        for number in (1, 3):
            simulation.disk.patch(PATH, number * CHUNK, b"\xff\xfe")
            await asyncio.sleep(2 * SCAN)
            await settled(simulation)

    simulation = lived(script, store=store_with(**STORES.get(store, {})))
    assert simulation.problems(sent_at_most=12 * CHUNK + 9) == []
    assert simulation.store.count("copy_part") == 18


def test_an_upload_of_few_copies_is_begun_with_checksums() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 2 * CHUNK + 3)
        simulation.disk.append(PATH, bytes_of(8 * CHUNK, 70))
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script, store=store_with(copy_checksum="refused"))
    assert simulation.problems() == []
    assert simulation.store.objects[PATH].with_checksum


def test_without_copying_everything_is_sent_again_and_the_object_is_right() -> None:
    simulation = lived(_grows_after_completion, store=store_with(copy=False))
    assert simulation.problems() == []
    assert simulation.store.count("copy_part") == 1


def test_a_patch_after_completion_sends_the_patched_part_and_the_tail_alone() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 10 * CHUNK + 3)
        simulation.disk.patch(PATH, 4 * CHUNK, b"\xff\xfe")
        await asyncio.sleep(2 * SCAN)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=11 * CHUNK + 6) == []
    assert simulation.store.count("copy_part") == 9


def test_a_recorder_that_keeps_writing_has_its_unchanged_parts_copied_all_the_same() -> None:
    async def script(simulation: Simulation) -> None:
        disk = simulation.disk
        await finished_file(simulation, 10 * CHUNK + 3)
        disk.on_read = lambda path, chunk: disk.append(path, b"x") if chunk.number % 4 == 0 else None
        disk.append(PATH, bytes_of(2 * CHUNK, 70))
        await asyncio.sleep(10)
        disk.on_read = None

    simulation = lived(script)
    assert simulation.problems(sent_at_most=14 * CHUNK) == []
    assert simulation.store.count("copy_part") == 10


@pytest.mark.parametrize("store", ["default", "copies without checksums"])
@pytest.mark.parametrize("wiped", [False, True], ids=["redis kept", "redis wiped"])
def test_a_kill_while_parts_are_copied_goes_on_with_the_same_upload(wiped: bool, store: str) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 10 * CHUNK + 3)
        simulation.disk.append(PATH, bytes_of(2 * CHUNK, 70))
        await killed_at(simulation, "store.copy_part", simulation.redis.wipe if wiped else lambda: None, nth=5)

    simulation = lived(script, store=store_with(**STORES.get(store, {})))
    assert simulation.problems(sent_at_most=13 * CHUNK + 6) == []
    assert simulation.store.count("create_upload") == 2
    assert simulation.store.count("copy_part") <= 11
