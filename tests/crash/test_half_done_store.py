"""A store that was killed in the middle of a request may say what is not so: then the bytes are sent or read again.

Seen with VersityGW, which keeps what it knows of an object in files of their own where it is told to: killed between
the two writes, it lists the checksum of bytes that it does not have.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from awscrt import checksums

from src.domain import StoredObject
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    content_at,
    finished_file,
    growing_file,
    killed_at,
    lived,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, Simulation
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(60)
PATCH = b"\xff\xfe\xfd\xfc"


class HalfDoneStore(FakeStore):
    """``told`` is what it says of an object, by key, until the object is written anew."""

    def __init__(self) -> None:
        super().__init__(limits=LIMITS, atomic=False)
        self.told: dict[str, StoredObject] = {}

    async def head(self, key: str) -> StoredObject | None:
        stored = await super().head(key)
        told = self.told.get(key)
        return told if told and stored and stored.etag == told.etag else stored


def test_a_part_that_was_being_overwritten_when_both_were_killed_is_sent_once_more() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)

        def half_done() -> None:
            (upload,) = uploads(simulation)
            stored, old = upload.parts[1]
            new = simulation.disk.content(PATH)[:CHUNK]
            assert new != old
            upload.parts[1] = (replace(stored, etag="f" * 32, crc64=checksums.crc64nvme(new)), old)

        simulation.disk.patch(PATH, 1, PATCH)
        # The third sending from here on is that of the head: the tail and what is whole come first.
        await killed_at(simulation, "store.upload_part", half_done, when="before", nth=2)

    simulation = lived(script, store=HalfDoneStore())
    assert content_at(simulation)[1:5] == PATCH
    assert simulation.problems() == []


def test_an_object_whose_completion_nobody_answered_is_fetched_before_it_is_believed() -> None:
    store = HalfDoneStore()

    async def script(simulation: Simulation) -> None:
        before = await finished_file(simulation)
        simulation.disk.append(PATH, bytes_of(CHUNK, 70))

        def half_done() -> None:
            whole = store.objects[PATH]
            assert whole.data == simulation.disk.content(PATH)
            told = StoredObject(len(whole.data), whole.etag, checksums.crc64nvme(whole.data), whole.metadata)
            store.told[PATH] = told
            store.objects[PATH] = replace(whole, data=before)

        await killed_at(simulation, "store.complete_upload", half_done)

    simulation = lived(script, store=store)
    assert simulation.problems() == []
    assert store.count("object_crc64") == 1


def test_an_object_that_was_answered_for_is_not_fetched() -> None:
    store = HalfDoneStore()

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)

    assert lived(script, store=store).problems() == []
    assert store.count("object_crc64") == 0
