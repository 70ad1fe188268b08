"""A file that is gone before its end: what the operator chose is done, whatever is killed; and it may come back."""

from __future__ import annotations

import asyncio

import pytest

from src.domain import Answer, Status, WhenMissing, moments
from src.metadata_generator import document_key, read_document
from tests.harness.crash.scenes import (
    PATH,
    SECOND,
    content_at,
    failed_reasons,
    growing_file,
    heard,
    lived,
    on_effect,
    put_back,
    recordings_in,
    restart,
    settled,
    take_away,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, Fault, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.store import FakeStore, Happens

pytestmark = pytest.mark.timeout(120)

CHUNKS = 3


async def _burns_down(simulation: Simulation) -> bytes:
    """A recording of which three chunks are sent when its file disappears; what had been sent."""
    await growing_file(simulation, CHUNKS)
    await asyncio.sleep(5)
    sent = simulation.disk.content(PATH)[: CHUNKS * CHUNK]
    take_away(simulation.disk)
    await settled(simulation)
    return sent


def _life(when_missing: WhenMissing, kills: tuple[int, ...] = ()) -> tuple[Simulation, bytes]:
    sent = b""

    async def live() -> Simulation:
        simulation = Simulation(faults=dict.fromkeys(kills, Fault.KILL), when_missing=when_missing)

        async def recorder(_: object) -> None:
            nonlocal sent
            sent = await _burns_down(simulation)

        await simulation.run(recorder)
        return simulation

    return run(live()), sent


def _ends_as_chosen(simulation: Simulation, sent: bytes, when_missing: WhenMissing) -> list[str]:
    """What is wrong with the end of a recording that burnt down; empty when all is as the operator chose."""
    found = [f"unforeseen: {moment}" for moment in heard(simulation, moments.Unexpected)]
    if failed_reasons(simulation) != ["source_missing"]:
        found.append(f"failed streams: {failed_reasons(simulation)}")
    if simulation.redis.members(Status.ACTIVE) or simulation.redis.members(Status.PENDING_COMPLETION):
        found.append("it counts as alive")
    held = [b"".join(data for _, data in upload.parts.values()) for upload in uploads(simulation)]
    objects = {key: stored.data for key, stored in recordings_in(simulation.store).items()}
    expected: tuple[list[bytes], dict[str, bytes]] = {
        WhenMissing.KEEP: ([sent], {}),
        WhenMissing.ABORT: ([], {}),
        WhenMissing.COMPLETE: ([], {PATH: sent}),
    }[when_missing]
    # A kill between Create and its record leaves an upload without parts; it has nothing to do with the choice.
    if ([data for data in held if data], objects) != expected:
        found.append(f"uploads {held}, objects {objects}")
    return found


@pytest.mark.parametrize("when_missing", WhenMissing)
def test_what_was_chosen_is_done_at_every_kill(when_missing: WhenMissing) -> None:
    calm, sent = _life(when_missing)
    assert _ends_as_chosen(calm, sent, when_missing) == []
    broken = {}
    for kill, effect in enumerate(calm.fuse.effects):
        simulation, sent = _life(when_missing, (kill,))
        # Killed before the last part was stored, the daemon finds the file gone and has sent less.
        held = sent if simulation.store.sent_bytes >= len(sent) else sent[: simulation.store.sent_bytes]
        if problems := _ends_as_chosen(simulation, held, when_missing):
            broken[f"{kill}: {effect}"] = problems
    assert broken == {}


@pytest.mark.parametrize("down", [False, True], ids=["", "after a restart"])
@pytest.mark.parametrize("when_missing", WhenMissing)
def test_a_file_that_comes_back_is_uploaded_whole(when_missing: WhenMissing, down: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, CHUNKS)
        await asyncio.sleep(5)
        file = take_away(simulation.disk)
        await settled(simulation)
        if down:
            await restart(simulation)
        put_back(simulation.disk, file)

    simulation = lived(script, when_missing=when_missing)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}
    again = {WhenMissing.KEEP: 0, WhenMissing.COMPLETE: 0, WhenMissing.ABORT: CHUNKS * CHUNK}
    assert simulation.store.sent_bytes == CHUNKS * CHUNK + 3 + again[when_missing]


def test_the_document_of_what_was_left_says_that_it_is_not_the_whole_recording() -> None:
    simulation, sent = _life(WhenMissing.COMPLETE)
    document = simulation.store.objects[document_key(PATH)].data
    described = read_document(document)
    assert described is not None
    assert [chunk.size for chunk in described.chunks] == [CHUNK] * CHUNKS
    assert b"disappeared before the recording was finished" in document
    assert heard(simulation, moments.Rescued) == [moments.Rescued(key=PATH, size=len(sent))]


@pytest.mark.parametrize("answer", [Answer.NONE, Answer.CONFLICT, Answer.INVALID_PART, Answer.UPLOAD_GONE])
@pytest.mark.parametrize("happens", Happens)
def test_whatever_the_store_answers_nothing_that_was_sent_is_lost(answer: Answer, happens: Happens) -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.answer_next_completion(answer, happens)
        sent = await _burns_down(simulation)
        simulation.store.finish_assembling()
        rescued = PATH in simulation.store.objects
        assert rescued or [sorted(upload.parts) for upload in uploads(simulation)] == [[1, 2, 3]]
        assert not rescued or content_at(simulation) == sent
        assert failed_reasons(simulation) == ["source_missing"]

    lived(script, when_missing=WhenMissing.COMPLETE)


def test_a_strangers_object_at_the_key_stays_and_the_parts_are_kept() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, CHUNKS)
        simulation.store.put_object(PATH, b"a stranger's")
        await asyncio.sleep(5)
        take_away(simulation.disk)
        await settled(simulation)

    simulation = lived(script, when_missing=WhenMissing.COMPLETE)
    assert content_at(simulation) == b"a stranger's"
    assert [sorted(upload.parts) for upload in uploads(simulation)] == [[1, 2, 3]]


@pytest.mark.parametrize("when_missing", WhenMissing)
def test_an_object_that_was_complete_once_is_never_replaced_by_a_shorter_one(when_missing: WhenMissing) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, CHUNKS)
        await settled(simulation)
        whole = content_at(simulation)
        simulation.disk.append(PATH, b"more")
        await on_effect(simulation, "store.create_upload").wait()
        take_away(simulation.disk)
        await settled(simulation)
        assert content_at(simulation) == whole

    assert failed_reasons(lived(script, when_missing=when_missing)) == ["source_missing"]


def test_only_what_is_there_without_a_gap_becomes_an_object() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, CHUNKS)
        await asyncio.sleep(5)
        del uploads(simulation)[0].parts[2]  # the store has lost it
        take_away(simulation.disk)
        await settled(simulation)
        assert len(content_at(simulation)) == CHUNK

    lived(script, when_missing=WhenMissing.COMPLETE)


def test_a_new_file_under_the_name_of_a_rescued_one_takes_the_next_key() -> None:
    async def script(simulation: Simulation) -> None:
        sent = await _burns_down(simulation)
        simulation.disk.write(PATH, b"another recording")
        await settled(simulation)
        assert content_at(simulation) == sent
        assert content_at(simulation, SECOND) == b"another recording"

    assert lived(script, when_missing=WhenMissing.COMPLETE).problems() == []


def test_a_store_without_checksums_can_be_left_an_object_too() -> None:
    async def live() -> Simulation:
        simulation = Simulation(
            when_missing=WhenMissing.COMPLETE, store=FakeStore(limits=Simulation().store.limits, crc64=False)
        )

        async def recorder(_: object) -> None:
            sent = await _burns_down(simulation)
            assert content_at(simulation) == sent

        await simulation.run(recorder)
        return simulation

    assert failed_reasons(run(live())) == ["source_missing"]
