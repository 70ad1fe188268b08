"""Conduct on fakes in virtual time: uploads, parts and objects that vanish."""

from __future__ import annotations

import asyncio
import functools

import pytest

from src.domain import Answer, SendReason, moments
from src.metadata_generator import document_key
from tests.harness.crash.scenes import (
    PATH,
    SECOND,
    bytes_of,
    content_at,
    finished_file,
    growing_file,
    heard,
    killed_at,
    lived,
    on_effect,
    recordings_in,
    restart,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, Simulation
from tests.harness.fakes.store import FakeUpload, Happens

pytestmark = pytest.mark.timeout(120)  # a loop without a pause stops virtual time: it must fail, not hang


def test_an_upload_that_expires_while_the_recorder_writes_is_made_anew() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        simulation.store.expire(uploads(simulation)[0].upload_id)
        for number in range(3):
            simulation.disk.append(PATH, bytes_of(CHUNK, 50 + number))
            await asyncio.sleep(5)

    simulation = lived(script)
    assert simulation.problems(sent_at_most=9 * CHUNK + 3) == []
    assert set(recordings_in(simulation.store)) == {PATH}
    assert len(heard(simulation, moments.UploadLost)) == 1


def test_an_upload_that_expires_while_the_daemon_is_down_is_made_anew() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        await restart(simulation, lambda: simulation.store.expire(uploads(simulation)[0].upload_id))

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


@pytest.mark.parametrize("of", ["completed", "superseded"])
def test_a_part_that_arrives_late_brings_no_upload_back_for_good(of: str) -> None:
    """A dead process had sent it. Its bytes were patched since, so they are no longer the file's."""

    async def script(simulation: Simulation) -> None:
        def arrive() -> None:
            late = FakeUpload(begun.upload_id, PATH, {}, begun.initiated_at)
            simulation.store.uploads.setdefault(late.upload_id, late)
            simulation.store.put_part(late.upload_id, 1, bytes_of(CHUNK, 99))

        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        (begun,) = uploads(simulation)
        if of == "superseded":
            simulation.store.answer_next_completion(Answer.CONFLICT)
            # The next process has not seen the refusal, and aborts the refused upload at the very end.
            await on_effect(simulation, "store.create_upload", simulation.fuse.blown.set).wait()
        arrived.append(
            on_effect(simulation, "store.complete_upload" if of == "completed" else "store.abort_upload", arrive)
        )

    arrived: list[asyncio.Event] = []
    simulation = lived(script)
    assert arrived[0].is_set()
    assert simulation.problems() == []


def test_a_part_that_the_store_lost_is_sent_again_alone() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 4)
        await asyncio.sleep(5)
        del uploads(simulation)[0].parts[2]

    simulation = lived(script)
    assert simulation.problems(sent_at_most=5 * CHUNK + 3) == []
    assert [m.number for m in heard(simulation, moments.PartStored) if m.reason is SendReason.LOST] == [2]


def test_an_upload_that_expired_while_a_stranger_took_its_key_is_made_anew_at_the_next() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        simulation.store.expire(uploads(simulation)[0].upload_id)
        simulation.store.put_object(PATH, b"a stranger's film")
        simulation.disk.append(PATH, bytes_of(CHUNK, 50))

    simulation = lived(script)
    assert simulation.problems() == []
    assert content_at(simulation) == b"a stranger's film"
    assert content_at(simulation, SECOND) == simulation.disk.content(PATH)


def _lose_part(simulation: Simulation, number: int) -> None:
    del uploads(simulation)[0].parts[number]


def test_a_part_that_is_lost_behind_an_unanswered_completion_is_sent_again() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(Answer.NONE, Happens.NEVER)
        lose_a_part = functools.partial(_lose_part, simulation, 2)
        await growing_file(simulation, 4)
        await on_effect(simulation, "store.complete_upload", lose_a_part).wait()

    assert lived(script).problems(sent_at_most=5 * CHUNK + 3) == []


@pytest.mark.parametrize("strangers", [None, b"a stranger's film"])
def test_an_object_gone_or_overwritten_before_its_document_was_written_is_sent_anew(strangers: bytes | None) -> None:
    async def script(simulation: Simulation) -> None:
        def meanwhile() -> None:
            if strangers is None:
                simulation.store.delete_object(PATH)
            else:
                simulation.store.put_object(PATH, strangers)

        simulation.disk.write(PATH, bytes_of(3 * CHUNK, 1))
        await killed_at(simulation, "store.put_document", meanwhile, when="before")

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == ({PATH, SECOND} if strangers else {PATH})


def test_a_strangers_document_beside_the_same_bytes_stays_and_says_so_once() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.put_object(PATH, bytes_of(30, 1))
        simulation.store.put_object(document_key(PATH), b'{"mine": true}')
        await finished_file(simulation, 30)

    simulation = lived(script)
    assert content_at(simulation, document_key(PATH)) == b'{"mine": true}'
    assert set(recordings_in(simulation.store)) == {PATH}
    assert len(heard(simulation, moments.MetadataKeyOccupied)) == 1
    assert simulation.store.sent_bytes == 0
