"""What an operator asks for: a failed recording is tried again or given up, whatever is killed or unavailable."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.dispatcher import GivingUp, Refusal, Requests
from src.domain import Status
from src.exceptions import S3Rejected
from tests.harness.crash.scenes import (
    PATH,
    failed_reasons,
    growing_file,
    lived,
    put_back,
    recordings_in,
    settled,
    take_away,
    until,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, Fault, Killed, Simulation
from tests.harness.crash.virtual_time import run
from tests.harness.fakes.recordings import FakeFile
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(120)

CHUNKS = 3


def _requests(simulation: Simulation) -> Requests:
    assert simulation.dispatcher is not None
    return simulation.dispatcher.requests


def _failed_id(simulation: Simulation) -> str:
    (stream_id,) = simulation.redis.members(Status.FAILED)
    return str(stream_id)


async def _gone(simulation: Simulation) -> FakeFile:
    """A recording of which three chunks are sent when its file disappears; the file."""
    await growing_file(simulation, CHUNKS)
    await asyncio.sleep(5)
    file = take_away(simulation.disk)
    await settled(simulation)
    return file


def test_nothing_happens_before_it_is_applied_and_then_nothing_is_left() -> None:
    async def script(simulation: Simulation) -> None:
        await _gone(simulation)
        stream_id = _failed_id(simulation)
        (upload,) = uploads(simulation)
        planned = await _requests(simulation).give_up(stream_id, apply=False)
        assert planned == GivingUp(PATH, (upload.upload_id,), CHUNKS * CHUNK)
        assert (_failed_id(simulation), len(uploads(simulation))) == (stream_id, 1)
        assert await _requests(simulation).give_up(stream_id, apply=True) == planned
        assert await _requests(simulation).give_up(stream_id, apply=True) is Refusal.UNKNOWN

    simulation = lived(script)
    assert (uploads(simulation), simulation.redis.members(Status.FAILED)) == ([], set())
    assert simulation.problems() == []


def test_a_recording_whose_file_is_there_is_not_given_up() -> None:
    async def script(simulation: Simulation) -> None:
        file = await _gone(simulation)
        stream_id = _failed_id(simulation)
        simulation.disk.files[PATH] = file  # the scan has not seen it yet
        assert await _requests(simulation).give_up(stream_id, apply=True) is Refusal.FILE_THERE

    simulation = lived(script)
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


def test_given_up_at_every_kill_and_once_more_nothing_is_left() -> None:
    async def live(kill: int | None) -> Simulation:
        simulation = Simulation(faults={} if kill is None else {kill: Fault.KILL})

        async def recorder(_: object) -> None:
            await _gone(simulation)
            for _ in range(3):
                left = simulation.redis.members(Status.FAILED)
                for stream_id in left:
                    try:
                        await _requests(simulation).give_up(str(stream_id), apply=True)
                    except Killed:
                        await until(lambda: not simulation.fuse.blown.is_set(), "the next process")
                await settled(simulation)

        await simulation.run(recorder)
        return simulation

    calm = run(live(None))
    broken = {}
    for kill, effect in enumerate(calm.fuse.effects):
        if not effect.endswith(("abort_upload", "forget")):
            continue
        simulation = run(live(kill))
        held = [upload for upload in uploads(simulation) if upload.parts]
        if held or simulation.redis.members(Status.FAILED) or simulation.problems():
            broken[f"{kill}: {effect}"] = (held, simulation.problems())
    assert broken == {}
    assert sum(effect.endswith(("abort_upload", "forget")) for effect in calm.fuse.effects) >= 4


def test_while_the_store_is_away_nothing_is_lost_and_the_recording_goes_on_when_its_file_is_back() -> None:
    async def script(simulation: Simulation) -> None:
        file = await _gone(simulation)
        stream_id = _failed_id(simulation)
        simulation.store.go_away()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_requests(simulation).give_up(stream_id, apply=True), 30)
        simulation.store.come_back()
        assert failed_reasons(simulation) == ["source_missing"]
        put_back(simulation.disk, file)

    simulation = lived(script)
    assert simulation.problems() == []
    assert simulation.store.sent_bytes == CHUNKS * CHUNK + 3  # nothing was sent twice


class _Rejecting(FakeStore):
    rejects = True

    async def complete_upload(self, *args: Any, **more: Any) -> Any:
        if self.rejects:
            raise S3Rejected("complete_upload: InvalidArgument", code="InvalidArgument", hint="look at the bucket")
        return await super().complete_upload(*args, **more)


def test_a_recording_that_was_refused_is_tried_again_without_a_change_of_its_file() -> None:
    async def script(simulation: Simulation) -> None:
        store = simulation.store
        assert isinstance(store, _Rejecting)
        await growing_file(simulation, CHUNKS)
        await settled(simulation)
        stream_id = _failed_id(simulation)
        store.rejects = False
        await asyncio.sleep(1000)
        assert _failed_id(simulation) == stream_id  # nothing but the request makes it go on
        assert await _requests(simulation).retry(stream_id) is None
        await settled(simulation)
        assert await _requests(simulation).retry(stream_id) is Refusal.UNKNOWN

    simulation = lived(script, store=_Rejecting(limits=LIMITS))
    assert simulation.problems() == []
    assert simulation.store.sent_bytes == CHUNKS * CHUNK + 3


def test_what_has_no_file_cannot_be_tried_again() -> None:
    async def script(simulation: Simulation) -> None:
        await _gone(simulation)
        assert await _requests(simulation).retry(_failed_id(simulation)) is Refusal.FILE_MISSING
        assert await _requests(simulation).retry("no such ID") is Refusal.UNKNOWN

    lived(script)


def test_something_is_left_from_the_first_hint_until_the_file_is_done() -> None:
    async def script(simulation: Simulation) -> None:
        await until(lambda: _requests(simulation).nothing_is_left, "it knows that there is nothing")
        await growing_file(simulation, CHUNKS)
        await until(lambda: not _requests(simulation).nothing_is_left, "the file was hinted")
        await until(lambda: _requests(simulation).nothing_is_left, "it is done")
        assert set(recordings_in(simulation.store)) == {PATH}

    assert lived(script).problems() == []
