"""What conduct tells on the way: where streams stand, how full an upload is, why and how long something was sent."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from src.domain import FailedFor, Limits, Naming, PartSchedule, SendReason, Status, WhenMissing, capacity, moments
from tests.harness.crash.scenes import (
    PATH,
    bytes_of,
    failed_reasons,
    finished_file,
    growing_file,
    heard,
    lived,
    put_back,
    restart,
    take_away,
    until,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, SCAN, TIMEOUT, Simulation
from tests.harness.fakes.store import FakeStore


def _box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4, "big") + kind + content


MEDIA, INDEX = bytes_of(5 * CHUNK, 1), _box(b"moov", bytes_of(6, 2))
#: The size of ``mdat`` is filled in last.
UNDER_WAY = b"\0\0\0\0mdat" + MEDIA


def _sent_again(closed: bytes) -> list[SendReason]:
    """Why parts were sent again of a recording that is left like this when it is closed."""

    async def script(simulation: Simulation) -> None:
        simulation.disk.write(PATH, UNDER_WAY)
        await until(lambda: len(heard(simulation, moments.PartStored)) >= 5, "the whole chunks are sent")
        simulation.disk.write(PATH, closed)
        await until(lambda: PATH in simulation.store.objects, "the object")

    simulation = lived(script)
    assert simulation.problems() == []
    return [m.reason for m in heard(simulation, moments.PartStored) if m.reason is not SendReason.NEW]


def test_an_index_that_was_moved_to_the_front_is_told_as_such() -> None:
    reasons = _sent_again(INDEX + _box(b"mdat", MEDIA))
    assert set(reasons) == {SendReason.FASTSTART} and len(reasons) >= 4


def test_a_file_that_was_written_anew_with_its_index_behind_is_a_rewrite() -> None:
    reasons = _sent_again(_box(b"mdat", bytes_of(5 * CHUNK, 9)) + INDEX)
    assert set(reasons) == {SendReason.REWRITE}


def test_a_stream_is_told_through_every_status() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)

    simulation = lived(script)
    assert [m.status for m in heard(simulation, moments.StatusIs)] == [
        *(Status.ACTIVE, Status.PENDING_COMPLETION, Status.S3_COMPLETED)
    ]
    assert all(m.failed_for == {} for m in heard(simulation, moments.KeptStreams))


def _failed(simulation: Simulation) -> dict[FailedFor, int]:
    return dict(heard(simulation, moments.KeptStreams)[-1].failed_for)


def test_a_failed_stream_that_goes_on_counts_as_failed_no_longer() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        file = take_away(simulation.disk)
        await until(lambda: failed_reasons(simulation), "the stream has failed")
        await until(lambda: _failed(simulation) == {FailedFor.SOURCE_MISSING: 1}, "it is counted")
        put_back(simulation.disk, file)
        await until(lambda: PATH in simulation.store.objects, "the object")

    simulation = lived(script)
    assert _failed(simulation) == {}
    assert Status.FAILED in [m.status for m in heard(simulation, moments.StatusIs)]


@pytest.mark.parametrize(
    ("when_missing", "waits_for"),
    [
        (WhenMissing.KEEP, FailedFor.SOURCE_MISSING),
        (WhenMissing.ABORT, FailedFor.DISPOSED),
        (WhenMissing.COMPLETE, FailedFor.DISPOSED),
    ],
)
def test_a_failed_stream_counts_as_what_was_chosen_for_it_also_after_a_restart(
    when_missing: WhenMissing, waits_for: FailedFor
) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        take_away(simulation.disk)
        await until(lambda: failed_reasons(simulation), "the stream has failed")
        await until(lambda: _failed(simulation) == {waits_for: 1}, "it is counted")
        await restart(simulation, simulation.telemetry.moments.clear)

    assert _failed(lived(script, when_missing=when_missing)) == {waits_for: 1}


def test_an_error_that_nobody_foresaw_is_told_with_its_stream() -> None:
    class Broken(FakeStore):
        broken = True

        async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
            if self.broken:
                self.broken = False
                raise ZeroDivisionError
            return await super().create_upload(key, metadata, of_copies=of_copies)

    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 2)

    simulation = lived(script, store=Broken(limits=LIMITS))
    (told,) = heard(simulation, moments.Unexpected)
    assert told.file_path == PATH and told.stream_id in {stream.stream_id for stream in simulation.telemetry.streams}


@pytest.mark.parametrize("growing", [False, True])
def test_an_upload_is_told_as_it_fills(growing: bool) -> None:
    limits = Limits(min_part=CHUNK, max_part=8 * CHUNK, max_parts=10, parts_per_step=6)

    async def script(simulation: Simulation) -> None:
        await finished_file(simulation, 4 * CHUNK)

    schedule = PartSchedule(CHUNK, growing=growing)
    simulation = lived(script, naming=Naming(schedule, limits=limits), store=FakeStore(limits=limits))
    assert heard(simulation, moments.CapacityUsed)[-1].ratio == 4 * CHUNK / capacity(schedule, limits)


def test_the_time_until_the_object_is_there_counts_from_the_last_change() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 5)

    (proved,) = heard(lived(script), moments.ObjectProved)
    assert proved.seconds_since_change is not None
    assert TIMEOUT <= proved.seconds_since_change <= TIMEOUT + 2 * SCAN
