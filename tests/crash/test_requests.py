"""What an operator asks for: a failed recording is tried again or given up, whatever is killed or unavailable."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from src.answering import DaemonDesk
from src.dispatcher import GivingUp, Refusal, Requests
from src.domain import Status, moments
from src.doorkeeper import ACT_SECONDS
from src.exceptions import ChunkProcessingError, S3Rejected, Stopped
from src.status import Facts, StatusView, recording_facts, view_of
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    failed_reasons,
    growing_file,
    heard,
    lived,
    put_back,
    recordings_in,
    restart,
    settled,
    take_away,
    until,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, Fault, Killed, Simulation
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


class _SilentAfterAbort(FakeStore):
    """The first upload with parts is aborted, but the answer never arrives."""

    is_silent = True

    async def abort_upload(self, key: str, upload_id: str) -> None:
        has_parts = bool(self.uploads[upload_id].parts) if upload_id in self.uploads else False
        await super().abort_upload(key, upload_id)
        if has_parts and self.is_silent:
            self.is_silent = False
            await asyncio.Event().wait()


def test_after_a_timeout_a_recording_is_still_failed_though_its_upload_may_be_gone_and_can_be_given_up_again() -> None:
    async def script(simulation: Simulation) -> None:
        await _gone(simulation)
        stream_id = _failed_id(simulation)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_requests(simulation).give_up(stream_id, apply=True), 30)
        assert (_failed_id(simulation), failed_reasons(simulation), uploads(simulation)) == (
            stream_id,
            ["source_missing"],
            [],
        )
        assert isinstance(await _requests(simulation).give_up(stream_id, apply=True), GivingUp)

    simulation = lived(script, store=_SilentAfterAbort(limits=LIMITS))
    assert simulation.redis.members(Status.FAILED) == set()
    assert simulation.problems() == []


def test_a_file_that_hangs_is_said_to_hang_and_not_the_store() -> None:
    async def script(simulation: Simulation) -> None:
        await _gone(simulation)
        requests, stream_id = _requests(simulation), _failed_id(simulation)
        recordings = SimpleNamespace(snapshot=lambda _: asyncio.Event().wait())
        requests._world = replace(requests._world, recordings=cast(Any, recordings))
        for asked in (requests.retry(stream_id), requests.give_up(stream_id, apply=True)):
            with pytest.raises(ChunkProcessingError):
                await asyncio.wait_for(asked, ACT_SECONDS)

    assert lived(script).problems() == []


def test_a_daemon_that_stops_says_that_only_its_next_start_tries_again() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, CHUNKS)
        await settled(simulation)
        stream_id = _failed_id(simulation)
        assert simulation.dispatcher is not None and isinstance(simulation.store, _Rejecting)
        await simulation.dispatcher.drain(1)
        with pytest.raises(Stopped):
            await _requests(simulation).retry(stream_id)
        simulation.store.rejects = False
        await restart(simulation)
        await settled(simulation)
        assert simulation.redis.members(Status.FAILED) == set()

    simulation = lived(script, store=_Rejecting(limits=LIMITS))
    assert simulation.problems() == []
    assert set(recordings_in(simulation.store)) == {PATH}


class _SlowAbort(FakeStore):
    async def abort_upload(self, *args: Any, **more: Any) -> None:
        await asyncio.sleep(10)
        await super().abort_upload(*args, **more)


def test_a_file_that_comes_back_while_it_is_given_up_keeps_its_key() -> None:
    async def script(simulation: Simulation) -> None:
        file, disk = await _gone(simulation), simulation.disk
        giving_up = asyncio.create_task(_requests(simulation).give_up(_failed_id(simulation), apply=True))
        await asyncio.sleep(1)
        put_back(disk, file)
        await asyncio.sleep(15)
        assert isinstance(giving_up.result(), GivingUp)
        disk.rename(PATH, "cam/other.mp4")
        disk.write(PATH, bytes_of(5 * CHUNK, 77))  # another recording, which must not get the key of the first
        await settled(simulation)

    simulation = lived(script, store=_SlowAbort(limits=LIMITS))
    assert simulation.problems() == []
    assert heard(simulation, moments.KeyConflict) == []
    assert len(recordings_in(simulation.store)) == 2


def test_a_file_that_comes_back_while_giving_up_fails_goes_on() -> None:
    async def script(simulation: Simulation) -> None:
        file = await _gone(simulation)
        simulation.store.go_away()
        giving_up = asyncio.create_task(
            asyncio.wait_for(_requests(simulation).give_up(_failed_id(simulation), apply=True), 30)
        )
        await asyncio.sleep(5)
        put_back(simulation.disk, file)
        with pytest.raises(TimeoutError):
            await giving_up
        simulation.store.come_back()
        await settled(simulation)

    simulation = lived(script)
    assert simulation.problems() == []
    assert simulation.redis.members(Status.FAILED) == set()
    assert set(recordings_in(simulation.store)) == {PATH}


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


def test_a_daemon_that_stops_never_says_that_nothing_is_left() -> None:
    async def script(simulation: Simulation) -> None:
        await until(lambda: _requests(simulation).nothing_is_left, "it knows that there is nothing")
        dispatcher = simulation.dispatcher
        assert dispatcher is not None
        await dispatcher.drain(1)
        simulation.disk.write(PATH, bytes_of(CHUNK, 1))
        await asyncio.sleep(2 * SCAN)
        assert (len(dispatcher._newcomers), dispatcher._register.by_identity) == (0, {})  # it takes up nothing more
        assert not _requests(simulation).nothing_is_left
        await restart(simulation)

    assert lived(script).problems() == []


def _desk(simulation: Simulation) -> DaemonDesk:
    """A desk that has scanned the folder, and to which all services answer."""
    dispatcher = simulation.dispatcher
    assert dispatcher is not None

    def view() -> StatusView:
        found, waiting = dispatcher.unfinished()
        return view_of(
            Facts(at=datetime.now(UTC), recordings=[recording_facts(each) for each in found], waiting=waiting)
        )

    async def answer() -> dict[str, Any]:
        return {}

    parts: Any = (None, SimpleNamespace(newest=lambda: view), dispatcher, SimpleNamespace(nothing_is_left=True))
    scans: Any = (SimpleNamespace(newest_scan=1, unreadable=0), SimpleNamespace(answer=answer), None)
    return DaemonDesk(*parts, *scans)


def test_a_recording_that_is_sent_whole_and_refused_as_an_object_is_not_safe() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, CHUNKS)
        await settled(simulation)
        told = await _desk(simulation).waiting(1)
        assert (recordings_in(simulation.store), told["nothing_is_left"], told["at_risk_bytes"]) == ({}, True, 0)
        assert [each["name"] for each in told["failed"]] == [PATH]

    lived(script, store=_Rejecting(limits=LIMITS))


def test_a_recording_whose_file_is_gone_keeps_nobody_waiting() -> None:
    async def script(simulation: Simulation) -> None:
        await _gone(simulation)
        told = await _desk(simulation).waiting(1)
        assert (told["nothing_is_left"], told["failed"], told["missing"]) == (True, [], 1)

    lived(script)
