"""Uploads that belong to nothing go after the retention time; one that is in use, or may be somebody's, never does."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import pytest

from src.domain import WhenMissing, moments
from src.exceptions import S3Rejected, S3Unavailable, StreamProcessorError
from src.ownership.elsewhere import SURELY_LATER
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
    settled,
    take_away,
    uploads,
)
from tests.harness.crash.simulation import CHUNK, LIMITS, Simulation
from tests.harness.fakes.store import FakeStore

pytestmark = pytest.mark.timeout(60)

HOUR = 3600.0
RETENTION = timedelta(hours=1)
LONGER_THAN_RETENTION = 1.5 * HOUR


play = functools.partial(lived, orphan_retention=RETENTION)


def _orphan(simulation: Simulation, key: str = PATH, *, parts: int = 1) -> str:
    """An upload that no record names, with bytes that are in no file."""
    upload_id = simulation.store.put_upload(key)
    for number in range(1, parts + 1):
        simulation.store.put_part(upload_id, number, bytes_of(CHUNK, 200 + number))
    return upload_id


@pytest.mark.parametrize("parts", [0, 1, 3])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_orphan_at_the_key_of_our_object_goes_after_the_retention_and_not_before(
    parts: int, restarted: bool
) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        orphan = _orphan(simulation, parts=parts)
        if restarted:
            await restart(simulation)
        await asyncio.sleep(0.9 * HOUR)
        assert orphan in simulation.store.uploads
        await asyncio.sleep(0.6 * HOUR)
        assert orphan not in simulation.store.uploads
        assert heard(simulation, moments.OrphanAborted) == [moments.OrphanAborted(key=PATH, upload_id=orphan)]

    assert play(script).problems() == []


class _Repeats(FakeStore):
    """Behind a proxy that sends each Create twice and passes on one answer."""

    async def create_upload(self, key: str, metadata: Mapping[str, str], *, of_copies: bool = False) -> str:
        self.put_upload(key, metadata)
        return await super().create_upload(key, metadata, of_copies=of_copies)


def test_what_a_repeated_create_left_goes_with_the_next_look_at_all_uploads() -> None:
    async def script(simulation: Simulation) -> None:
        simulation.store.whole = False
        await asyncio.sleep(2 * SURELY_LATER.total_seconds())
        await finished_file(simulation)
        assert [upload.key for upload in simulation.store.uploads.values()] == [PATH]
        later, with_parts = _orphan(simulation, parts=0), _orphan(simulation)
        await asyncio.sleep(0.5 * HOUR)
        assert set(simulation.store.uploads) == {later, with_parts}
        await asyncio.sleep(LONGER_THAN_RETENTION)
        assert not simulation.store.uploads

    assert play(script, store=_Repeats(limits=LIMITS)).problems() == []


def test_a_part_that_came_lately_keeps_an_old_upload() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        orphan = _orphan(simulation)
        for _ in range(4):
            await asyncio.sleep(0.5 * HOUR)
            simulation.store.put_part(orphan, 1, b"somebody is still sending")
        assert orphan in simulation.store.uploads
        await asyncio.sleep(LONGER_THAN_RETENTION)
        assert orphan not in simulation.store.uploads

    play(script)


async def _nothing_there(simulation: Simulation) -> None:
    _orphan(simulation, "elsewhere.mp4")


async def _a_strangers_object(simulation: Simulation) -> None:
    simulation.store.put_object("elsewhere.mp4", b"a stranger's")
    _orphan(simulation, "elsewhere.mp4")


async def _our_object_without_its_document(simulation: Simulation) -> None:
    await finished_file(simulation, path="elsewhere.mp4")
    simulation.store.delete_object("elsewhere.mp4.metadata.json")
    _orphan(simulation, "elsewhere.mp4")


async def _our_object_overwritten(simulation: Simulation) -> None:
    await finished_file(simulation, path="elsewhere.mp4")
    simulation.store.put_object("elsewhere.mp4", b"a stranger's")
    _orphan(simulation, "elsewhere.mp4")


@pytest.mark.parametrize(
    "what_lies_there",
    [_nothing_there, _a_strangers_object, _our_object_without_its_document, _our_object_overwritten],
)
def test_everything_else_is_counted_and_told_and_never_aborted(
    what_lies_there: Callable[[Simulation], Awaitable[None]],
) -> None:
    async def script(simulation: Simulation) -> None:
        await what_lies_there(simulation)
        await asyncio.sleep(2 * LONGER_THAN_RETENTION)
        assert [upload.key for upload in uploads(simulation)] == ["elsewhere.mp4"]
        assert moments.OrphansLeft(count=1, keys=["elsewhere.mp4"]) in heard(simulation, moments.OrphansLeft)

    assert heard(play(script), moments.OrphanAborted) == []


@pytest.mark.parametrize("restarted", [False, True])
def test_the_upload_of_a_failed_stream_is_no_orphan(restarted: bool) -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        await asyncio.sleep(5)
        file = take_away(simulation.disk)
        await settled(simulation)
        if restarted:
            await restart(simulation)
        await asyncio.sleep(2 * LONGER_THAN_RETENTION)
        assert failed_reasons(simulation) == ["source_missing"]
        assert moments.OrphansLeft(count=1, keys=[PATH]) not in heard(simulation, moments.OrphansLeft)
        put_back(simulation.disk, file)

    simulation = play(script)
    assert simulation.problems(sent_at_most=3 * CHUNK + 3) == []
    assert simulation.store.count("create_upload") == 1


def test_the_upload_that_brings_our_object_up_to_date_is_no_orphan_however_long_it_takes() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.disk.append(PATH, bytes_of(CHUNK, 40))
        await asyncio.sleep(10)
        (upload,) = uploads(simulation)
        simulation.disk.unreadable.add(PATH)
        await asyncio.sleep(2 * LONGER_THAN_RETENTION)
        assert uploads(simulation) == [upload]
        simulation.disk.unreadable.clear()

    simulation = play(script)
    assert simulation.problems() == []
    assert simulation.store.count("create_upload") == 2


def test_a_failed_streams_upload_that_was_thrown_away_leaves_nothing() -> None:
    async def script(simulation: Simulation) -> None:
        await growing_file(simulation, 3)
        take_away(simulation.disk)
        await settled(simulation)

    assert uploads(play(script, when_missing=WhenMissing.ABORT)) == []


@pytest.mark.parametrize("retention", [None, 3 * RETENTION])
def test_the_operator_says_how_long(retention: timedelta | None) -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        orphan = _orphan(simulation)
        await asyncio.sleep(2.9 * HOUR)
        assert orphan in simulation.store.uploads
        await asyncio.sleep(HOUR)
        assert (orphan in simulation.store.uploads) is (retention is None)

    play(script, orphan_retention=retention)


def test_a_store_that_is_away_for_long_is_swept_when_it_is_back() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        orphan = _orphan(simulation)
        simulation.store.go_away()
        await asyncio.sleep(3 * HOUR)
        simulation.store.come_back()
        await asyncio.sleep(HOUR)
        assert orphan not in simulation.store.uploads

    assert play(script).problems() == []


def test_a_short_retention_has_the_bucket_listed_no_more_often_than_it_can_matter() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        simulation.plant_upload("a stranger's.mp4", b"half")
        await asyncio.sleep(24 * HOUR)

    simulation = play(script)
    assert simulation.problems() == []
    assert simulation.store.count("list_uploads_under") <= 26, "once in the retention time"
    assert simulation.store.count("list_objects") <= 5


def test_an_upload_whose_time_has_come_goes_before_twice_the_retention_is_over() -> None:
    async def script(simulation: Simulation) -> None:
        await finished_file(simulation)
        for minutes in (20, 45, 70):
            await asyncio.sleep(minutes * 60)
            orphan = _orphan(simulation)
            await asyncio.sleep(HOUR)
            assert orphan in simulation.store.uploads
            await asyncio.sleep(1.3 * HOUR)
            assert orphan not in simulation.store.uploads

    assert play(script).problems() == []


class StoreThatRefuses(FakeStore):
    """One operation at one key, for good."""

    def __init__(self, operation: str, key: str, error: StreamProcessorError) -> None:
        super().__init__(limits=LIMITS)
        self.operation = operation
        self.key = key
        self.error = error
        self.refuses = False

    async def _call(self, method: str, key: str) -> None:
        await super()._call(method, key)
        if self.refuses and (method, key) == (self.operation, self.key):
            raise self.error


@pytest.mark.parametrize(
    ("operation", "key"),
    [("list_parts", "a.mp4"), ("head", "a.mp4"), ("get_document", "a.mp4.metadata.json"), ("abort_upload", "a.mp4")],
)
@pytest.mark.parametrize("for_good", [False, True])
def test_what_the_store_refuses_of_one_upload_keeps_no_other_from_being_thrown_away(
    operation: str, key: str, for_good: bool
) -> None:
    error = S3Rejected("403", operation=operation) if for_good else S3Unavailable("403", misconfigured=True)
    store = StoreThatRefuses(operation, key, error)

    async def script(simulation: Simulation) -> None:
        for seed, path in enumerate(("a.mp4", "b.mp4")):
            await finished_file(simulation, path=path, seed=seed)
        store.refuses = True
        refused, other = _orphan(simulation, "a.mp4"), _orphan(simulation, "b.mp4")
        await asyncio.sleep(2 * LONGER_THAN_RETENTION)
        assert refused in store.uploads and other not in store.uploads
        store.refuses = False
        await asyncio.sleep(2 * LONGER_THAN_RETENTION)
        assert refused not in store.uploads

    assert play(script, store=store).problems() == []


def test_what_the_store_does_not_tell_of_one_object_keeps_no_other_from_being_missed() -> None:
    """The two are in no listing: the one is refused, the other is gone."""
    store = StoreThatRefuses("head", "a.mp4", S3Unavailable("403", misconfigured=True))

    async def script(simulation: Simulation) -> None:
        for seed, path in enumerate(("a.mp4", "b.mp4")):
            await finished_file(simulation, path=path, seed=seed)
        store.refuses = True
        kept = store.objects["a.mp4"]
        for path in ("a.mp4", "b.mp4"):
            store.delete_object(path)
        await asyncio.sleep(8 * HOUR)
        assert moments.ObjectsGone(count=1, keys=["b.mp4"]) in heard(simulation, moments.ObjectsGone)
        store.objects["a.mp4"] = kept

    play(script, store=store)
